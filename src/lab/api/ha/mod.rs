//! High availability: resources, groups, rules, and a small manager that acts on them.
//! Settings are the files under `/etc/pve/ha`; only what the manager is doing at the moment is remembered.

pub mod groups;
pub mod manager;
pub mod placement;
pub mod resources;
pub mod rules;
pub mod status;

pub use manager::{ManagerState, advance};

use super::call::{Call, Outcome, etc};
use super::conf::{Section, Sections};
use super::formats::split_list;
use super::request::Fault;
use super::site::Site;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub const RESOURCES: &str = "ha/resources.cfg";
pub const GROUPS: &str = "ha/groups.cfg";
pub const RULES: &str = "ha/rules.cfg";

pub fn index(call: &mut Call) -> Outcome {
    let rules = if call.flavour == crate::lab::world::Flavour::Pve9 { " rules" } else { "" };
    let words = format!("status resources groups{rules}");
    Ok(words.split(' ').map(|word| json!({ "id": word })).collect())
}

/// Reads a settings file with its text.
fn read(site: &dyn Site, node: &str, file: &str) -> (Sections, String) {
    let text = etc(site, node, file);
    (Sections::parse(&text), text)
}

/// `ct:101`, also from the bare number.
pub fn full_sid(sid: &str) -> String {
    if sid.contains(':') { sid.into() } else { format!("ct:{sid}") }
}

pub fn sid_of(section: &Section) -> String {
    format!("{}:{}", section.kind, section.id)
}

/// A section's keys as answers show them: what looks like a number is one, `id_key` names the section.
fn show(section: &Section, texts: &[&str]) -> Map<String, Value> {
    let typed = |(key, value): (&String, &String)| {
        let number = value.parse::<i64>().ok().filter(|_| !texts.contains(&key.as_str()));
        (key.clone(), number.map_or_else(|| json!(value), |n| json!(n)))
    };
    section.keys.iter().map(typed).collect()
}

/// `pve1:2,pve2` → node and priority; of several entries for a node the last counts.
pub fn parse_nodes(text: &str) -> BTreeMap<String, u32> {
    let one = |entry: &str| {
        let (node, priority) = entry.split_once(':').unwrap_or((entry, "0"));
        (node.to_string(), priority.parse().unwrap_or(0))
    };
    split_list(text).map(one).collect()
}

pub fn print_nodes(nodes: &BTreeMap<String, u32>) -> String {
    let one = |(node, priority): (&String, &u32)| match priority {
        0 => node.clone(),
        _ => format!("{node}:{priority}"),
    };
    nodes.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Whether HA acts for this container; `ignored` ones are left to the administrator.
pub fn is_managed(call: &Call, vmid: u32) -> bool {
    configured(call, vmid).is_some_and(|section| section.keys.get("state").is_none_or(|state| state != "ignored"))
}

fn configured(call: &Call, vmid: u32) -> Option<Section> {
    let (all, _) = read(call.site, &call.node, RESOURCES);
    all.get(&vmid.to_string()).filter(|section| section.kind == "ct").cloned()
}

/// As `status/current` of a container shows it.
pub fn of_guest(call: &Call, vmid: u32) -> Value {
    let Some(section) = configured(call, vmid) else { return json!({"managed": 0}) };
    let mut map = show(&section, &["comment", "group"]);
    map.insert("managed".into(), json!(1));
    map.entry("state").or_insert(json!("started"));
    Value::Object(map)
}

pub fn state_of(call: &Call, vmid: u32) -> Option<String> {
    configured(call, vmid).map(|section| status::verbose_state(call.cluster, &section))
}

/// Sets the wished state, as start and stop of a managed container do.
pub fn request_state(call: &mut Call, vmid: u32, state: &str) -> Result<(), String> {
    let (mut all, _) = read(call.site, &call.node, RESOURCES);
    let sid = format!("ct:{vmid}");
    if call.cluster.ha.is_in_error(&sid) {
        return Err(format!("service '{sid}' in error state, must be disabled and fixed first"));
    }
    if let Some(section) = all.get_mut(&vmid.to_string()) {
        section.keys.insert("state".into(), state.into());
    }
    call.write_etc(RESOURCES, &all.render(&[])).map_err(|fault| fault.text())
}

/// Queues a move for the manager.
pub fn request_move(call: &mut Call, sid: &str, target: &str, how: &str) {
    call.cluster.ha.moves.insert(sid.into(), (how.into(), target.into()));
}

/// Takes a container out of resources and rules.
pub fn purge(call: &mut Call, vmid: u32) -> Result<(), Fault> {
    resources::forget(call, &format!("ct:{vmid}"), true)
}
