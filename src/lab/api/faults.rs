//! `converge lab break`: faults of the cluster itself, its quorum and its HA settings.
//! Each changes the world as the real fault would, through the files that a person would have changed.

use super::bridge::within;
use super::conf::Sections;
use super::ha::{GROUPS, RULES, parse_nodes, print_nodes};
use crate::lab::files::Files;
use crate::lab::world::{Flavour, World};

struct Fault {
    name: &'static str,
    what: &'static str,
    check_says: &'static str,
    cause: fn(&mut World, &Files) -> Result<String, String>,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "no-quorum",
        what: "corosync's network fails: every node sees only itself, none has quorum, /etc/pve is read-only.",
        check_says: "What is there can still be read; an apply of anything in /etc/pve fails with Proxmox's text about \
                     quorum. `converge lab mend` repairs the network.",
        cause: no_quorum,
    },
    Fault {
        name: "ha-group-edited",
        what: "Somebody took the last node out of the HA group (a rule on Proxmox VE 9) and made it a preference.",
        check_says: "ha_group drifts: nodes and restricted. Apply sets them again.",
        cause: ha_group_edited,
    },
];

/// Every fault: name, what is done, what a check says.
pub fn list() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FAULTS.iter().map(|fault| (fault.name, fault.what, fault.check_says))
}

/// Causes the fault of that name; `None` when it is none of these.
pub fn cause(world: &mut World, files: &Files, name: &str) -> Option<Result<String, String>> {
    let fault = FAULTS.iter().find(|fault| fault.name == name)?;
    Some((fault.cause)(world, files))
}

fn no_quorum(world: &mut World, _: &Files) -> Result<String, String> {
    if world.nodes.len() < 2 {
        return Err("a node alone has no quorum to lose".into());
    }
    for node in world.nodes.values_mut() {
        node.cut_from_cluster = true;
    }
    Ok("every node sees only itself; no quorum".into())
}

fn ha_group_edited(world: &mut World, files: &Files) -> Result<String, String> {
    let (file, kind, strict) = match world.flavour {
        Flavour::Pve9 => (RULES, "node-affinity", "strict"),
        Flavour::Pve8 => (GROUPS, "group", "restricted"),
    };
    let node = world.nodes_on().next().ok_or("every node is off")?.to_string();
    within(world, files, |_, site, _| {
        let mut all = Sections::parse(&super::call::etc(site, &node, file));
        let found = all.list.iter_mut().find(|section| section.kind == kind);
        let section = found.ok_or("there is no HA group or rule yet: apply a playbook first")?;
        let mut nodes = parse_nodes(section.keys.get("nodes").map_or("", String::as_str));
        let gone = nodes.pop_last().filter(|_| !nodes.is_empty());
        let (gone, _) = gone.ok_or_else(|| format!("`{}` names one node only", section.id))?;
        section.keys.insert("nodes".into(), print_nodes(&nodes));
        section.keys.remove(strict);
        let id = section.id.clone();
        site.write(&node, &format!("/etc/pve/{file}"), all.render(&[]).as_bytes())?;
        Ok(format!("`{id}` no longer names {gone} and is a preference only"))
    })
}
