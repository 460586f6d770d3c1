//! `converge lab break`: faults of the cluster itself, its quorum and its HA settings.
//! Each changes the world as the real fault would, through the files that a person would have changed.

use super::acl::Identity;
use super::bridge::within;
use super::call::record;
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
        name: "ha-error",
        what: "The HA manager could not stop the container and gave up: the service is in state error, the container \
               runs on.",
        check_says: "ha_resource is blocked: nothing touches the service until a person has found the cause, set it to \
                     `disabled` and to `started` again.",
        cause: ha_error,
    },
    Fault {
        name: "storage-hung",
        what: "The server of the NFS storage takes requests and answers none: what asks a node about the storage hangs.",
        check_says: "pve_storage is blocked with the nodes that cannot use it; an apply waits half a minute for it, and \
                     fails. `converge lab mend` brings the server back.",
        cause: storage_hung,
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

fn ha_error(world: &mut World, files: &Files) -> Result<String, String> {
    within(world, files, |cluster, site, flavour| {
        super::ha::advance(cluster, site, flavour);
        let started = cluster.ha.services.iter_mut().find(|(_, service)| service.state == "started");
        let (sid, service) = started.ok_or("no HA resource is started yet: apply a playbook first")?;
        service.state = "error".into();
        let (sid, node) = (sid.clone(), service.node.clone());
        let vmid = sid.rsplit(':').next().unwrap_or_default();
        let who = Identity { user: "root@pam".into(), token: None };
        let log = vec!["task started by HA resource agent".into(), format!("shutdown CT {vmid}")];
        let gave_up = Err("container did not stop".to_owned());
        record(cluster, site.now_ms(), &node, &who, "vzshutdown", vmid, log, gave_up);
        Ok(format!("{sid} is in state error on {node}: it did not stop in time"))
    })
}

fn storage_hung(world: &mut World, files: &Files) -> Result<String, String> {
    let node = world.nodes_on().next().ok_or("every node is off")?.to_string();
    within(world, files, |cluster, site, _| {
        let all = super::storage::of_site(site, &node);
        let network = all.into_iter().find(|entry| entry.kind == "nfs");
        let storage = network.ok_or("there is no NFS storage yet: apply a playbook first")?.id;
        if !cluster.hung_storages.insert(storage.clone()) {
            return Err(format!("storage {storage} hangs already"));
        }
        Ok(format!("storage {storage} hangs on every node"))
    })
}

/// The servers of storages answer again.
pub fn mend(world: &mut World) -> Vec<String> {
    if world.cluster.hung_storages.is_empty() {
        return Vec::new();
    }
    let hung = std::mem::take(&mut world.cluster.hung_storages);
    hung.into_iter().map(|storage| format!("the server of storage {storage} answers again")).collect()
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
