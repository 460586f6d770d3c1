//! `/cluster/ha/resources`: which guests the manager looks after, and what it shall want of them.
//! Only what was set is stored and shown; a missing key means its default.

use super::{GROUPS, RESOURCES, RULES, full_sid, read, show, sid_of};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::cluster::need_digest;
use crate::lab::api::conf::{Section, digest};
use crate::lab::api::formats::split_list;
use crate::lab::api::lxc;
use crate::lab::api::request::Fault;
use crate::lab::world::Flavour;
use serde_json::{Map, Value, json};

fn entry(section: &Section, digest: &str) -> Map<String, Value> {
    let mut map = show(section, &["comment", "group"]);
    map.insert("sid".into(), json!(sid_of(section)));
    map.insert("type".into(), json!(section.kind));
    map.insert("digest".into(), json!(digest));
    map
}

pub fn list(call: &mut Call) -> Outcome {
    let (all, text) = read(call.site, &call.node, RESOURCES);
    let wanted = |section: &&Section| call.get("type").is_none_or(|kind| kind == section.kind);
    Ok(all.list.iter().filter(wanted).map(|section| Value::Object(entry(section, &digest(&text)))).collect())
}

pub fn read_one(call: &mut Call) -> Outcome {
    let (all, text) = read(call.site, &call.node, RESOURCES);
    let sid = full_sid(call.param("sid"));
    let found = all.list.iter().find(|section| sid_of(section) == sid);
    let found = found.ok_or_else(|| Fault::die(format!("no such resource '{sid}'")))?;
    Ok(Value::Object(entry(found, &digest(&text))))
}

/// PVE 9 has no groups; PVE 8 wants the group to be there.
fn check_group(call: &Call) -> Result<(), Fault> {
    let Some(group) = call.get("group") else { return Ok(()) };
    if call.flavour == Flavour::Pve9 {
        return Err(Fault::die("invalid parameter 'group': ha groups have been migrated to rules"));
    }
    let (groups, _) = read(call.site, &call.node, GROUPS);
    if groups.get(group).is_none() {
        return Err(Fault::die(format!("HA group '{group}' does not exist")));
    }
    Ok(())
}

pub fn create(call: &mut Call) -> Outcome {
    let sid = full_sid(call.param("sid"));
    let (kind, id) = sid.split_once(':').unwrap_or(("ct", &sid));
    if call.get("type").is_some_and(|given| given != kind) {
        return Err(Fault::param("type", format!("type does not match SID '{sid}'")));
    }
    check_group(call)?;
    let there = id.parse().is_ok_and(|vmid| kind == "ct" && lxc::find(call.site, vmid).is_some());
    if !there {
        return Err(Fault::die(format!("resource '{sid}' does not exist in cluster")));
    }
    let within = "create resource failed";
    call.need_file_lock("domain-ha").map_err(|fault| fault.within(within))?;
    let (mut all, _) = read(call.site, &call.node, RESOURCES);
    if all.get(id).is_some() {
        return Err(Fault::die(format!("{within}: resource ID '{sid}' already defined")));
    }
    let skip = ["sid", "type", "digest"];
    let keys = call.params.iter().filter(|(key, _)| !skip.contains(&key.as_str()));
    let keys = keys.map(|(key, value)| (key.clone(), value.clone())).collect();
    all.list.push(Section { kind: kind.into(), id: id.into(), keys });
    call.write_etc(RESOURCES, &all.render(&[]))?;
    Ok(Value::Null)
}

pub fn update(call: &mut Call) -> Outcome {
    check_group(call)?;
    let sid = full_sid(call.param("sid"));
    if call.cluster.ha.is_in_error(&sid) && call.get("state") != Some("disabled") {
        return Err(Fault::die(format!("service '{sid}' in error state, must be disabled and fixed first")));
    }
    change(call, &sid).map_err(|fault| fault.within("update resources config failed"))
}

fn change(call: &mut Call, sid: &str) -> Outcome {
    call.need_file_lock("domain-ha")?;
    let (mut all, text) = read(call.site, &call.node, RESOURCES);
    need_digest(call, &text)?;
    let missing = || Fault::die(format!("no such resource '{sid}'"));
    let section = all.list.iter_mut().find(|section| sid_of(section) == sid).ok_or_else(missing)?;
    for key in split_list(call.get("delete").unwrap_or_default()) {
        section.keys.remove(key);
    }
    let skip = ["sid", "type", "digest", "delete"];
    for (key, value) in call.params.iter().filter(|(key, _)| !skip.contains(&key.as_str())) {
        section.keys.insert(key.clone(), value.clone());
    }
    // A changed wish gives a service its tries back.
    call.cluster.ha.forgive(sid);
    call.write_etc(RESOURCES, &all.render(&[]))?;
    Ok(Value::Null)
}

pub fn delete(call: &mut Call) -> Outcome {
    let sid = full_sid(call.param("sid"));
    let (all, _) = read(call.site, &call.node, RESOURCES);
    if !all.list.iter().any(|section| sid_of(section) == sid) {
        return Err(Fault::die(format!("cannot delete service '{sid}', not HA managed!")));
    }
    let purge = call.get("purge") != Some("0");
    forget(call, &sid, purge).map_err(|fault| fault.within("delete resource failed"))?;
    Ok(Value::Null)
}

/// Removes a resource, and with `purge` its name from the rules; rules left empty go too.
pub fn forget(call: &mut Call, sid: &str, purge: bool) -> Result<(), Fault> {
    call.need_file_lock("domain-ha")?;
    let (mut all, before) = read(call.site, &call.node, RESOURCES);
    all.list.retain(|section| sid_of(section) != sid);
    let after = all.render(&[]);
    if after != before {
        call.write_etc(RESOURCES, &after)?;
    }
    let (mut rules, _) = read(call.site, &call.node, RULES);
    if purge && !rules.list.is_empty() {
        for rule in &mut rules.list {
            let left =
                rule.keys.get("resources").map(|list| split_list(list).filter(|id| *id != sid).collect::<Vec<_>>());
            rule.keys.insert("resources".into(), left.unwrap_or_default().join(","));
        }
        rules.list.retain(|rule| rule.keys.get("resources").is_some_and(|list| !list.is_empty()));
        call.write_etc(RULES, &rules.render(&[]))?;
    }
    call.cluster.ha.services.remove(sid);
    call.cluster.ha.moves.remove(sid);
    Ok(())
}

fn request(call: &mut Call, how: &str) -> Outcome {
    let sid = full_sid(call.param("sid"));
    let node = call.param("node").to_string();
    let (all, _) = read(call.site, &call.node, RESOURCES);
    if !all.list.iter().any(|section| sid_of(section) == sid) {
        return Err(Fault::die(format!("no such resource '{sid}'")));
    }
    super::request_move(call, &sid, &node, how);
    match call.flavour {
        Flavour::Pve9 => Ok(json!({"sid": sid, "requested-node": node})),
        Flavour::Pve8 => Ok(Value::Null),
    }
}

pub fn migrate(call: &mut Call) -> Outcome {
    request(call, "migrate")
}

pub fn relocate(call: &mut Call) -> Outcome {
    request(call, "relocate")
}
