//! Up to PVE 8: the group, then the resources that belong to it.

use super::{Found, HaGroup, text};
use crate::host::{Method, Step};
use crate::pve::values;
use crate::tasks::cluster::{self, Params, Row, field};
use crate::tasks::pve_storage::Presence;
use crate::tasks::{Verdict, diff};
use serde_json::Value as Json;
use std::collections::BTreeMap;

pub fn judge(task: &HaGroup, found: &Found, all: &[Row], nodes: &BTreeMap<String, u32>) -> Verdict {
    let name = task.name.as_str();
    let group = cluster::find(all, "group", name);
    if task.state == Presence::Absent {
        return remove(task, found, all, group);
    }
    let mut steps = Vec::new();
    let mut words = Vec::new();
    let mut difference = String::new();
    let place = format!("/cluster/ha/groups/{name}");
    let printed = values::print_node_priorities(nodes);
    let wanted_comment = |row: Option<&Row>| task.comment.clone().unwrap_or_else(|| comment(row));
    let after = text(name, &printed, task.restricted, Some(task.nofailback), &wanted_comment(group));
    match group {
        None => {
            let mut params = Params::default();
            params.put("group", name);
            params.put("nodes", &printed);
            params.set.extend(flags(task).filter(|(_, on)| *on).map(|(k, _)| (k.to_owned(), "1".to_owned())));
            params.set.extend(task.comment.clone().filter(|c| !c.is_empty()).map(|c| ("comment".to_owned(), c)));
            let row: Row = params.set.iter().map(|(k, v)| (k.clone(), Json::from(v.as_str()))).collect();
            let step = Step::api(Method::Post, "/cluster/ha/groups", params.set);
            steps.push(cluster::will_answer(step, cluster::ha_groups(), cluster::with_row(all, "group", row)));
            words.push(format!("make HA group {name}"));
            difference.push_str(&diff::created(&place, &after));
        }
        Some(row) => {
            let mut params = Params::default();
            if values::node_priorities(&field(row, "nodes")).as_ref() != Ok(nodes) {
                params.put("nodes", &printed);
            }
            for (key, wanted) in flags(task) {
                if values::truthy(row.get(key)) != wanted {
                    params.put(key, if wanted { "1" } else { "" });
                }
            }
            if task.comment.as_ref().is_some_and(|c| c.trim_end() != comment(Some(row))) {
                params.put("comment", &wanted_comment(None));
            }
            if !params.is_empty() {
                let changed = cluster::written(row, &params);
                let before = shown(row);
                difference.push_str(&diff::unified(&place, &before, &after));
                let step = Step::api(Method::Put, place, params.update(&field(row, "digest")));
                steps.push(cluster::will_answer(step, cluster::ha_groups(), cluster::with_row(all, "group", changed)));
                words.push(format!("change HA group {name}"));
            }
        }
    }
    join(task, found, name, &mut steps, &mut words, &mut difference);
    if steps.is_empty() {
        return Verdict::ok(format!("HA group {name} is as described"));
    }
    Verdict::drift(words.join("; "), difference, steps)
}

/// Puts every resource of ours into `group` (empty: takes it out).
fn join(
    task: &HaGroup,
    found: &Found,
    group: &str,
    steps: &mut Vec<Step>,
    words: &mut Vec<String>,
    difference: &mut String,
) {
    let mut resources = found.resources.clone();
    for row in task.rows(found) {
        let (sid, now) = (field(row, "sid"), field(row, "group"));
        let leaves = group.is_empty() && now == task.name;
        let joins = !group.is_empty() && now != group;
        if !leaves && !joins {
            continue;
        }
        let mut params = Params::default();
        params.put("group", group);
        let changed = cluster::written(row, &params);
        let place = format!("/cluster/ha/resources/{sid}");
        let line = |group: &str| cluster::lines([("group", group.to_owned())]);
        difference.push_str(&diff::unified(&place, &line(&now), &line(group)));
        // The digest is that of the whole file, which the step before this one may have changed.
        let step = Step::api(Method::Put, place, params.update(""));
        let list = cluster::with_row(&resources, "sid", changed);
        resources = serde_json::from_value(list.clone()).unwrap_or(resources);
        steps.push(cluster::will_answer(step, cluster::ha_resources(), list));
        words.push(if leaves { format!("take {sid} out of it") } else { format!("put {sid} into it") });
    }
}

fn remove(task: &HaGroup, found: &Found, all: &[Row], group: Option<&Row>) -> Verdict {
    let Some(row) = group else { return Verdict::ok(format!("there is no HA group {}", task.name)) };
    let ours = task.sids();
    let others: Vec<String> = found
        .resources
        .iter()
        .filter(|r| field(r, "group") == task.name && !ours.contains(&field(r, "sid")))
        .map(|r| field(r, "sid"))
        .collect();
    if !others.is_empty() {
        let others = others.join(", ");
        return Verdict::blocked(format!("HA group {} still holds {others}, which is not described here", task.name));
    }
    let (mut steps, mut words, mut difference) = (Vec::new(), Vec::new(), String::new());
    join(task, found, "", &mut steps, &mut words, &mut difference);
    let place = format!("/cluster/ha/groups/{}", task.name);
    let before = shown(row);
    difference.push_str(&diff::removed(&place, &before));
    let step = Step::api::<String, String>(Method::Delete, place, []);
    steps.push(cluster::will_answer(step, cluster::ha_groups(), cluster::without_row(all, "group", &task.name)));
    words.push(format!("remove HA group {}", task.name));
    Verdict::drift(words.join("; "), difference, steps)
}

fn flags(task: &HaGroup) -> impl Iterator<Item = (&'static str, bool)> {
    [("restricted", task.restricted), ("nofailback", task.nofailback)].into_iter()
}

fn comment(row: Option<&Row>) -> String {
    row.map(|row| field(row, "comment").trim_end().to_owned()).unwrap_or_default()
}

fn shown(row: &Row) -> String {
    let flag = |key: &str| values::truthy(row.get(key));
    let nofailback = Some(flag("nofailback"));
    text(&field(row, "group"), &field(row, "nodes"), flag("restricted"), nofailback, &comment(Some(row)))
}
