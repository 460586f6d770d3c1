//! Faults of DRBD to be caused in a lab: what is done, what a check should say, what only a person may decide.
//! Nothing here repairs: that is for `apply`, or for the person.

use super::doors;
use crate::lab::device::{self, OpenMode};
use crate::lab::world::World;

/// One fault.
pub struct Break {
    pub name: &'static str,
    /// What is done to the cluster.
    pub what: &'static str,
    /// What a check should report.
    pub check_says: &'static str,
    /// What no program may decide.
    pub only_a_person: &'static str,
    /// Causes it; the text says what was done, the error why it cannot be.
    pub cause: fn(&mut World) -> Result<String, String>,
}

pub const BREAKS: &[Break] = &[
    Break {
        name: "link-cut",
        what: "The replication cable between the Primary and the last Secondary is cut.",
        check_says: "drbd_resource is blocked on both ends and points at the network: the peer is Connecting, and the node that the Primary cannot reach \
                     is Outdated as soon as something was written. The third node keeps quorum for both, so the service goes on.",
        only_a_person: "Nothing about data: when the cable is mended, the Outdated node catches up by itself. No `adjust` \
                        can mend a cable.",
        cause: link_cut,
    },
    Break {
        name: "node-isolated",
        what: "All replication cables of the node that is Primary (or of the first node) are cut.",
        check_says: "That node has no quorum: with `on-no-quorum io-error` its writes fail and the container there must end, \
                     so that another node can take over. drbd_resource is blocked everywhere: the others see it as Connecting.",
        only_a_person: "Never `primary --force` on the isolated node: it overrides quorum and makes a second writer.",
        cause: isolated,
    },
    Break {
        name: "split-brain",
        what: "Quorum is switched off behind the configuration's back, one node is cut off, both sides write, the cables \
               are mended.",
        check_says: "drbd_resource is blocked: both were written to while apart. Connections are StandAlone on both sides, the kernel log says \
                     \"Split-Brain detected\". Quorum differs from the file as well. An `adjust` is refused because it \
                     would reconnect, and the after-sb policies would throw one side's writes away.",
        only_a_person: "Whose data is kept. The victim: umount, `drbdadm disconnect`, `drbdadm secondary`, \
                        `drbdadm connect --discard-my-data`; the survivor: `drbdadm connect`.",
        cause: split_brain,
    },
    Break {
        name: "disk-failed",
        what: "The disk below DRBD on the last node gives I/O errors; DRBD detaches from it.",
        check_says: "drbd_resource drifts on that node: Diskless where the file names a disk. The others stay UpToDate and \
                     the service goes on over them. `apply` attaches again, which fetches what changed meanwhile.",
        only_a_person: "Nothing now; look at the disk (`dmesg`, SMART) before you trust it again. One that is replaced gets \
                        fresh metadata and a full resync.",
        cause: disk_failed,
    },
    Break {
        name: "held-primary",
        what: "Somebody keeps the device open on the node where the container runs (as nfsd does with a client's open \
               file), so that it stays Primary after the container has gone.",
        check_says: "Nothing while the container runs there, which is as it should be. Once it has stopped or moved, drbd_resource \
                     is blocked on that node, the hook's post-stop says who holds the device, and pre-start on another node is \
                     refused because a peer is Primary.",
        only_a_person: "`secondary --force`: it fails every read and write of the holder.",
        cause: held_primary,
    },
    Break {
        name: "peer-outdated",
        what: "The last node's replica is marked Outdated: it was cut off from a Primary, through another node, while that wrote.",
        check_says: "drbd_resource is blocked there: Outdated, and not connected to the Primary. Starting the container on that node is refused.",
        only_a_person: "Nothing: once the cable is mended it catches up by itself.",
        cause: outdated,
    },
];

/// Every replication cable is whole again.
pub fn mend_links(world: &mut World) {
    doors::mend_links(world);
}

/// The first resource that is up, with its minor on that node.
fn resource(world: &World) -> Result<(String, u32), String> {
    let kernels = &world.drbd.kernels;
    let first = kernels.values().flatten().find(|(_, r)| r.made && !r.peers.is_empty());
    first.map(|(name, r)| (name.clone(), r.minor)).ok_or_else(|| {
        "no DRBD resource is up in this lab; run `converge apply` with the reference playbook first".to_owned()
    })
}

fn primary(world: &World, name: &str) -> Option<String> {
    let kernels = &world.drbd.kernels;
    kernels.iter().find(|(_, k)| k.get(name).is_some_and(|r| r.role == super::Role::Primary)).map(|(n, _)| n.clone())
}

/// Where the service is: the Primary, else the first node that has the resource up.
fn active(world: &World, name: &str) -> Result<String, String> {
    let up = world.drbd.holders(name);
    primary(world, name).or_else(|| up.first().cloned()).ok_or_else(|| format!("{name} is up nowhere"))
}

fn last_other(world: &World, name: &str, than: &str) -> Result<String, String> {
    let up = world.drbd.holders(name);
    up.into_iter().rfind(|n| n != than).ok_or_else(|| format!("{name} is up on one node only"))
}

fn link_cut(world: &mut World) -> Result<String, String> {
    let (name, _) = resource(world)?;
    let a = active(world, &name)?;
    let b = last_other(world, &name, &a)?;
    doors::cut_link(world, &a, &b, true);
    Ok(format!("the replication link between {a} and {b} is cut"))
}

fn isolated(world: &mut World) -> Result<String, String> {
    let (name, _) = resource(world)?;
    let node = active(world, &name)?;
    doors::isolate(world, &node, true);
    Ok(format!("{node} is cut off from all its peers"))
}

fn split_brain(world: &mut World) -> Result<String, String> {
    let (name, minor) = resource(world)?;
    let ours = active(world, &name)?;
    let theirs = last_other(world, &name, &ours)?;
    for node in world.drbd.holders(&name) {
        if let Some(resource) = world.drbd.resource_mut(&node, &name) {
            resource.options.insert("quorum".into(), "off".into());
        }
    }
    doors::isolate(world, &ours, true);
    let mut wrote = Vec::new();
    for node in [&theirs, &ours] {
        // Who is Primary already just goes on writing; the other side is mounted, written to and kept.
        let here = primary_at(world, node, &name);
        if !here {
            doors::open(world, node, minor, OpenMode::Write, "mount").map_err(|e| format!("{node}: {}", e.why))?;
        }
        doors::wrote(world, node, minor, 1024).map_err(|e| format!("{node}: {e}"))?;
        wrote.push(node.as_str());
    }
    doors::isolate(world, &ours, false);
    Ok(format!(
        "quorum was switched off; {} wrote while they did not see each other, and the links are back",
        wrote.join(" and ")
    ))
}

fn primary_at(world: &World, node: &str, name: &str) -> bool {
    world.drbd.resource(node, name).is_some_and(|r| r.role == super::Role::Primary)
}

fn disk_failed(world: &mut World) -> Result<String, String> {
    let (name, _) = resource(world)?;
    let node = last_other(world, &name, &active(world, &name)?)?;
    let device = world.drbd.resource(&node, &name).and_then(|r| r.backing.as_ref()).map(|b| b.device.clone());
    let device = device.ok_or_else(|| format!("{name} has no disk on {node} already"))?;
    doors::disk_failed(world, &node, device.trim_start_matches("/dev/"));
    Ok(format!("{device} on {node} gave I/O errors; DRBD detached from it"))
}

fn held_primary(world: &mut World) -> Result<String, String> {
    let (name, minor) = resource(world)?;
    let node = active(world, &name)?;
    let path = format!("/dev/drbd{minor}");
    device::open(world, &node, &path, OpenMode::Write, "nfsd").map_err(|e| format!("{node}: {}", e.why))?;
    Ok(format!("nfsd on {node} keeps {path} open"))
}

fn outdated(world: &mut World) -> Result<String, String> {
    let (name, minor) = resource(world)?;
    let writer =
        primary(world, &name).ok_or_else(|| format!("{name} is Primary nowhere: start the container first"))?;
    let behind = last_other(world, &name, &writer)?;
    doors::cut_link(world, &writer, &behind, true);
    doors::wrote(world, &writer, minor, 512).map_err(|e| format!("{writer}: {e}"))?;
    Ok(format!("{writer} wrote while it did not see {behind}, which is Outdated"))
}
