//! From PVE 9 on: one node affinity rule, and `failback` of each resource.

use super::{Found, HaGroup, text};
use crate::host::{Method, Step};
use crate::pve::values;
use crate::tasks::cluster::{self, Params, Row, field};
use crate::tasks::pve_storage::Presence;
use crate::tasks::{Verdict, diff};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

const NODE_AFFINITY: &str = "node-affinity";

pub fn judge(task: &HaGroup, found: &Found, all: &[Row], nodes: &BTreeMap<String, u32>) -> Verdict {
    let ours = task.sids();
    let is_ours = |row: &&Row| field(row, "type") == NODE_AFFINITY && !ours.is_disjoint(&members(row));
    let holding: Vec<&Row> = all.iter().filter(is_ours).collect();
    let named = cluster::find(all, "rule", &task.name);
    // A resource can be in one such rule only, so one that holds it already is the one to change, whatever its name:
    // Proxmox itself makes `ha-group-NAME` of a group on the way to 9.
    let rule = match (holding.as_slice(), named) {
        ([], named) => named,
        ([one], _) => Some(*one),
        (several, _) => {
            let names: Vec<String> = several.iter().map(|row| field(row, "rule")).collect();
            return Verdict::blocked(format!(
                "the resources are held by several rules ({}); which of them shall stay is for a person to say: \
                 describe them in tasks of their own, or remove all but one",
                names.join(", ")
            ));
        }
    };
    if let Some(row) = rule.filter(|row| field(row, "type") != NODE_AFFINITY) {
        return Verdict::blocked(format!(
            "the name {} is taken by a rule of type {}; choose another",
            task.name,
            field(row, "type")
        ));
    }
    match task.state {
        Presence::Absent => remove(&ours, all, rule, &task.name),
        Presence::Present => present(task, found, all, rule, nodes),
    }
}

fn present(task: &HaGroup, found: &Found, all: &[Row], rule: Option<&Row>, nodes: &BTreeMap<String, u32>) -> Verdict {
    let (mut steps, mut words, mut difference) = (Vec::new(), Vec::new(), String::new());
    // Before the rule: once it holds, the manager may move a resource, and shall then know whether it may go back.
    failback(task, found, &mut steps, &mut words, &mut difference);
    let printed = values::print_node_priorities(nodes);
    let mut warning = None;
    match rule {
        None => {
            let name = task.name.clone();
            let mut params = Params::default();
            params.put("rule", &name);
            params.put("type", NODE_AFFINITY);
            params.put("resources", &join(&task.sids()));
            params.put("nodes", &printed);
            if task.restricted {
                params.put("strict", "1");
            }
            params.set.extend(task.comment.clone().filter(|c| !c.is_empty()).map(|c| ("comment".to_owned(), c)));
            let row: Row = params.set.iter().map(|(k, v)| (k.clone(), Json::from(v.as_str()))).collect();
            let after = shown(&row);
            let step = Step::api(Method::Post, "/cluster/ha/rules", params.set);
            steps.push(cluster::will_answer(step, cluster::ha_rules(), cluster::with_row(all, "rule", row)));
            words.push(format!("make HA rule {name}"));
            difference.push_str(&diff::created(&format!("/cluster/ha/rules/{name}"), &after));
        }
        Some(row) => {
            let name = field(row, "rule");
            let (is, wanted) = (members(row), task.sids());
            let others: Vec<String> = is.difference(&wanted).cloned().collect();
            if !others.is_empty() {
                warning = Some(format!("HA rule {name} also holds {}, which stays in it", others.join(", ")));
            }
            let params = changes(task, row, &is, nodes, &printed);
            if !params.is_empty() {
                let changed = cluster::written(row, &params);
                let place = format!("/cluster/ha/rules/{name}");
                difference.push_str(&diff::unified(&place, &shown(row), &shown(&changed)));
                let mut params = params.update(&field(row, "digest"));
                params.insert("type".into(), NODE_AFFINITY.into());
                let step = Step::api(Method::Put, place, params);
                steps.push(cluster::will_answer(step, cluster::ha_rules(), cluster::with_row(all, "rule", changed)));
                words.push(format!("change HA rule {name}"));
            }
        }
    }
    let verdict = if steps.is_empty() {
        let name = rule.map(|row| field(row, "rule")).unwrap_or_default();
        Verdict::ok(format!("HA rule {name} is as described"))
    } else {
        Verdict::drift(words.join("; "), difference, steps)
    };
    match warning {
        Some(warning) => verdict.warn(warning),
        None => verdict,
    }
}

fn changes(task: &HaGroup, row: &Row, is: &BTreeSet<String>, nodes: &BTreeMap<String, u32>, printed: &str) -> Params {
    let mut params = Params::default();
    if values::node_priorities(&field(row, "nodes")).as_ref() != Ok(nodes) {
        params.put("nodes", printed);
    }
    if !task.sids().is_subset(is) {
        params.put("resources", &join(&is.union(&task.sids()).cloned().collect()));
    }
    if values::truthy(row.get("strict")) != task.restricted {
        params.put("strict", if task.restricted { "1" } else { "0" });
    }
    // `disable=0` does not enable it again.
    if values::truthy(row.get("disable")) {
        params.put("disable", "");
    }
    if let Some(comment) = &task.comment
        && comment.trim_end() != field(row, "comment").trim_end()
    {
        params.put("comment", comment.trim_end());
    }
    params
}

fn failback(task: &HaGroup, found: &Found, steps: &mut Vec<Step>, words: &mut Vec<String>, difference: &mut String) {
    let mut resources = found.resources.clone();
    for row in task.rows(found) {
        let now = row.get("failback").is_none() || values::truthy(row.get("failback"));
        let wanted = !task.nofailback;
        if now == wanted {
            continue;
        }
        let sid = field(row, "sid");
        let mut params = Params::default();
        params.put("failback", &cluster::flag(wanted));
        let changed = cluster::written(row, &params);
        let place = format!("/cluster/ha/resources/{sid}");
        let line = |value: bool| cluster::lines([("failback", cluster::flag(value))]);
        difference.push_str(&diff::unified(&place, &line(now), &line(wanted)));
        // No digest: it is that of the whole file, which a step before this one may have changed.
        let step = Step::api(Method::Put, place, params.update(""));
        let list = cluster::with_row(&resources, "sid", changed);
        resources = serde_json::from_value(list.clone()).unwrap_or(resources);
        steps.push(cluster::will_answer(step, cluster::ha_resources(), list));
        words.push(format!("{} failback of {sid}", if wanted { "allow" } else { "switch off" }));
    }
}

fn remove(ours: &BTreeSet<String>, all: &[Row], rule: Option<&Row>, group: &str) -> Verdict {
    let Some(row) = rule else { return Verdict::ok(format!("no HA rule holds the resources of {group}")) };
    let name = field(row, "rule");
    let others: Vec<String> = members(row).difference(ours).cloned().collect();
    if !others.is_empty() {
        let others = others.join(", ");
        return Verdict::blocked(format!("HA rule {name} still holds {others}, which is not described here"));
    }
    let place = format!("/cluster/ha/rules/{name}");
    let step = Step::api::<String, String>(Method::Delete, place.clone(), []);
    let step = cluster::will_answer(step, cluster::ha_rules(), cluster::without_row(all, "rule", &name));
    Verdict::drift(format!("remove HA rule {name}"), diff::removed(&place, &shown(row)), vec![step])
}

fn members(row: &Row) -> BTreeSet<String> {
    values::set(&field(row, "resources"))
}

fn join(sids: &BTreeSet<String>) -> String {
    sids.iter().cloned().collect::<Vec<_>>().join(",")
}

fn shown(row: &Row) -> String {
    let mut lines = text(
        &field(row, "rule"),
        &field(row, "nodes"),
        values::truthy(row.get("strict")),
        None,
        &field(row, "comment"),
    );
    let disabled = if values::truthy(row.get("disable")) { "1".to_owned() } else { String::new() };
    lines.push_str(&cluster::lines([("resources", join(&members(row))), ("disable", disabled)]));
    lines
}
