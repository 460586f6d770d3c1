//! `/cluster/ha/rules` of PVE 9: where resources may run, and which keep together or apart.
//! A rule that cannot be met is refused as a whole, with PVE's two-line text.

use super::{RESOURCES, RULES, parse_nodes, print_nodes, read, show, sid_of};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::cluster::need_digest;
use crate::lab::api::conf::{Section, Sections, digest};
use crate::lab::api::formats::split_list;
use crate::lab::api::request::Fault;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn entry(section: &Section, order: usize, digest: &str) -> Map<String, Value> {
    let mut map = show(section, &["comment", "nodes", "resources"]);
    map.insert("rule".into(), json!(section.id));
    map.insert("type".into(), json!(section.kind));
    map.insert("order".into(), json!(order));
    map.insert("digest".into(), json!(digest));
    map
}

pub fn list(call: &mut Call) -> Outcome {
    let (all, text) = read(call.site, &call.node, RULES);
    let mentions = |section: &Section, sid: &str| {
        section.keys.get("resources").is_some_and(|list| split_list(list).any(|id| id == sid))
    };
    let shown = all.list.iter().enumerate().filter(|(_, section)| {
        call.get("type").is_none_or(|kind| section.kind == kind)
            && call.get("resource").is_none_or(|sid| mentions(section, &super::full_sid(sid)))
    });
    Ok(shown.map(|(at, section)| Value::Object(entry(section, at + 1, &digest(&text)))).collect())
}

pub fn read_one(call: &mut Call) -> Outcome {
    let (all, text) = read(call.site, &call.node, RULES);
    let id = call.param("rule");
    let found = all.list.iter().enumerate().find(|(_, section)| section.id == id);
    let (at, section) = found.ok_or_else(|| Fault::die(format!("no such ha rule '{id}'")))?;
    Ok(Value::Object(entry(section, at + 1, &digest(&text))))
}

/// The keys to store, lists sorted and without doubles.
fn asked(call: &Call) -> BTreeMap<String, String> {
    let skip = ["rule", "type", "digest", "delete"];
    let keys = call.params.iter().filter(|(key, _)| !skip.contains(&key.as_str()));
    keys.map(|(key, value)| match key.as_str() {
        "nodes" => (key.clone(), print_nodes(&parse_nodes(value))),
        "resources" => {
            let ids: BTreeSet<&str> = split_list(value).collect();
            (key.clone(), ids.into_iter().collect::<Vec<_>>().join(","))
        }
        _ => (key.clone(), value.clone()),
    })
    .collect()
}

/// Whether the rule can stand beside the others.
fn check(call: &Call, all: &Sections, rule: &Section) -> Result<(), Fault> {
    let list = |section: &Section, key: &str| -> Vec<String> {
        split_list(section.keys.get(key).map_or("", String::as_str)).map(str::to_string).collect()
    };
    let known: Vec<String> = call.site.nodes().into_iter().map(|node| node.name).collect();
    let nodes = parse_nodes(rule.keys.get("nodes").map_or("", String::as_str));
    let strange: Vec<&str> = nodes.keys().filter(|node| !known.contains(node)).map(String::as_str).collect();
    if !strange.is_empty() {
        return Err(Fault::die(format!("cannot use non-existent node(s) {}.", strange.join(", "))));
    }
    let (managed, _) = read(call.site, &call.node, RESOURCES);
    let managed: Vec<String> = managed.list.iter().map(sid_of).collect();
    let resources = list(rule, "resources");
    let unmanaged: Vec<&str> = resources.iter().filter(|id| !managed.contains(id)).map(String::as_str).collect();
    if !unmanaged.is_empty() {
        return Err(Fault::die(format!("cannot use unmanaged resource(s) {}.", unmanaged.join(", "))));
    }
    let mut faults = Vec::new();
    if rule.kind == "node-affinity" {
        let others = all.list.iter().filter(|other| other.kind == rule.kind && other.id != rule.id);
        let taken: BTreeSet<String> = others.flat_map(|other| list(other, "resources")).collect();
        for id in resources.iter().filter(|id| taken.contains(*id)) {
            faults.push(format!("resource '{id}' is already used in another node affinity rule"));
        }
    } else {
        // A standalone node has no HA manager and so no node that the manager counts.
        let available = if call.cluster.name.is_empty() { 0 } else { known.len() };
        if resources.len() < 2 {
            faults.push("rule is ineffective as there are less than two resources".into());
        }
        if rule.keys.get("affinity").is_some_and(|word| word == "negative") && resources.len() > available {
            faults.push("rule defines more resources than available nodes".into());
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Fault::die(format!("400 Rule '{}' is invalid.\nresources: {}", rule.id, faults.join(", "))))
}

pub fn create(call: &mut Call) -> Outcome {
    let within = "create ha rule failed";
    let (id, kind) = (call.param("rule").to_string(), call.param("type").to_string());
    let needed = if kind == "node-affinity" { "nodes" } else { "affinity" };
    if call.get(needed).is_none() {
        return Err(Fault::param(needed, "property is missing and it is not optional"));
    }
    call.need_file_lock("domain-ha").map_err(|fault| fault.within(within))?;
    let (mut all, _) = read(call.site, &call.node, RULES);
    if all.get(&id).is_some() {
        return Err(Fault::die(format!("{within}: HA rule '{id}' already defined")));
    }
    let rule = Section { kind, id, keys: asked(call) };
    check(call, &all, &rule).map_err(|fault| fault.within(within))?;
    all.list.push(rule);
    call.write_etc(RULES, &all.render(&[]))?;
    Ok(Value::Null)
}

pub fn update(call: &mut Call) -> Outcome {
    change(call).map_err(|fault| fault.within("update HA rules failed"))
}

fn change(call: &mut Call) -> Outcome {
    call.need_file_lock("domain-ha")?;
    let (mut all, text) = read(call.site, &call.node, RULES);
    need_digest(call, &text)?;
    let id = call.param("rule");
    let mut rule = all.get(id).cloned().ok_or_else(|| Fault::die(format!("HA rule '{id}' does not exist")))?;
    if rule.kind != call.param("type") {
        return Err(Fault::die(format!("rule '{id}' is of type '{}'", rule.kind)));
    }
    for key in split_list(call.get("delete").unwrap_or_default()) {
        rule.keys.remove(key);
    }
    rule.keys.extend(asked(call));
    check(call, &all, &rule)?;
    if let Some(old) = all.get_mut(id) {
        *old = rule;
    }
    call.write_etc(RULES, &all.render(&[]))?;
    Ok(Value::Null)
}

/// A rule that is not there is no error.
pub fn delete(call: &mut Call) -> Outcome {
    call.need_file_lock("domain-ha").map_err(|fault| fault.within("delete ha rule failed"))?;
    let (mut all, _) = read(call.site, &call.node, RULES);
    let before = all.list.len();
    let id = call.param("rule").to_string();
    all.list.retain(|section| section.id != id);
    if all.list.len() != before {
        call.write_etc(RULES, &all.render(&[]))?;
    }
    Ok(Value::Null)
}
