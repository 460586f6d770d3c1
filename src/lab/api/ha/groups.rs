//! `/cluster/ha/groups`: which nodes a resource may run on, up to PVE 8.
//! On PVE 9 every call is refused: groups have become rules.

use super::{GROUPS, RESOURCES, parse_nodes, print_nodes, read, show, sid_of};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::cluster::need_digest;
use crate::lab::api::conf::{Section, digest};
use crate::lab::api::formats::split_list;
use crate::lab::api::request::Fault;
use crate::lab::world::Flavour;
use serde_json::{Map, Value, json};

fn need_groups(call: &Call, what: &str) -> Result<(), Fault> {
    match call.flavour {
        Flavour::Pve9 => Err(Fault::die(format!("cannot {what}: ha groups have been migrated to rules"))),
        Flavour::Pve8 => Ok(()),
    }
}

fn entry(section: &Section, digest: &str) -> Map<String, Value> {
    let mut map = show(section, &["comment", "nodes"]);
    map.insert("group".into(), json!(section.id));
    map.insert("type".into(), json!("group"));
    map.insert("digest".into(), json!(digest));
    map
}

pub fn list(call: &mut Call) -> Outcome {
    need_groups(call, "index groups")?;
    let (all, text) = read(call.site, &call.node, GROUPS);
    Ok(all.list.iter().map(|section| Value::Object(entry(section, &digest(&text)))).collect())
}

pub fn read_one(call: &mut Call) -> Outcome {
    need_groups(call, "read group")?;
    let (all, text) = read(call.site, &call.node, GROUPS);
    let id = call.param("group");
    let found = all.get(id).ok_or_else(|| Fault::die(format!("no such ha group '{id}'")))?;
    Ok(Value::Object(entry(found, &digest(&text))))
}

/// The keys to store; nodes without doubles.
fn asked(call: &Call) -> Vec<(String, String)> {
    let skip = ["group", "type", "digest", "delete"];
    let keys = call.params.iter().filter(|(key, _)| !skip.contains(&key.as_str()));
    keys.map(|(key, value)| match key.as_str() {
        "nodes" => (key.clone(), print_nodes(&parse_nodes(value))),
        _ => (key.clone(), value.clone()),
    })
    .collect()
}

pub fn create(call: &mut Call) -> Outcome {
    need_groups(call, "create group")?;
    let within = "create ha group failed";
    call.need_file_lock("domain-ha").map_err(|fault| fault.within(within))?;
    let (mut all, _) = read(call.site, &call.node, GROUPS);
    let id = call.param("group").to_string();
    if all.get(&id).is_some() {
        return Err(Fault::die(format!("{within}: ha group ID '{id}' already defined")));
    }
    all.list.push(Section { kind: "group".into(), id, keys: asked(call).into_iter().collect() });
    call.write_etc(GROUPS, &all.render(&[]))?;
    Ok(Value::Null)
}

pub fn update(call: &mut Call) -> Outcome {
    need_groups(call, "update group")?;
    change(call).map_err(|fault| fault.within("update ha group failed"))
}

fn change(call: &mut Call) -> Outcome {
    call.need_file_lock("domain-ha")?;
    let (mut all, text) = read(call.site, &call.node, GROUPS);
    need_digest(call, &text)?;
    let id = call.param("group");
    let section = all.get_mut(id).ok_or_else(|| Fault::die(format!("no such ha group '{id}'")))?;
    for key in split_list(call.get("delete").unwrap_or_default()) {
        section.keys.remove(key);
    }
    section.keys.extend(asked(call));
    call.write_etc(GROUPS, &all.render(&[]))?;
    Ok(Value::Null)
}

pub fn delete(call: &mut Call) -> Outcome {
    need_groups(call, "delete group")?;
    let within = "delete ha group failed";
    call.need_file_lock("domain-ha").map_err(|fault| fault.within(within))?;
    let id = call.param("group").to_string();
    let (resources, _) = read(call.site, &call.node, RESOURCES);
    if let Some(user) = resources.list.iter().find(|section| section.keys.get("group") == Some(&id)) {
        return Err(Fault::die(format!("{within}: ha group is used by service '{}'", sid_of(user))));
    }
    let (mut all, _) = read(call.site, &call.node, GROUPS);
    if all.get(&id).is_none() {
        return Err(Fault::die(format!("{within}: no such ha group '{id}'")));
    }
    all.list.retain(|section| section.id != id);
    call.write_etc(GROUPS, &all.render(&[]))?;
    Ok(Value::Null)
}
