//! The commands that drbdadm runs below itself: as text for `-d`, and performed.

use super::Run;
use crate::lab::drbd::state::{Backing, Options, Path, Peer};

/// One call of drbdsetup or drbdmeta.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    NewResource { name: String, node_id: u32, minor: u32, options: Options },
    NewMinor { name: String, minor: u32 },
    NewPeer { name: String, id: u32, peer: String, net: Options },
    DelPeer { name: String, id: u32 },
    NewPath { name: String, id: u32, path: Path },
    DelPath { name: String, id: u32, path: Path },
    Connect { name: String, id: u32, discard_my_data: bool },
    Disconnect { name: String, id: u32 },
    ApplyAl { minor: u32, disk: String },
    Attach { name: String, minor: u32, disk: String, options: Options },
    DetachDiskless { name: String, minor: u32 },
    DelMinor { name: String, minor: u32 },
    ResourceOptions { name: String, options: Options },
    NetOptions { name: String, id: u32, peer: String, options: Options },
    PeerDeviceOptions { name: String, id: u32, options: Options },
    DiskOptions { name: String, minor: u32, options: Options },
}

/// ` --name=value` for each, in the order in which the tools happen to print the usual ones.
fn flags(options: &Options) -> String {
    let mut names: Vec<&String> = options.keys().rev().collect();
    names.sort_by_key(|n| n.as_str() == "protocol");
    names.into_iter().map(|n| format!(" --{n}={}", if options[n].is_empty() { "yes" } else { &options[n] })).collect()
}

impl Action {
    pub fn text(&self) -> String {
        match self {
            Self::NewResource { name, node_id, options, .. } => {
                format!("drbdsetup new-resource {name} {node_id}{}", flags(options))
            }
            Self::NewMinor { name, minor } => format!("drbdsetup new-minor {name} {minor} 0"),
            Self::NewPeer { name, id, peer, net } => {
                format!("drbdsetup new-peer {name} {id} --_name={peer}{}", flags(net))
            }
            Self::DelPeer { name, id } => format!("drbdsetup del-peer {name} {id}"),
            Self::NewPath { name, id, path } => {
                format!("drbdsetup new-path {name} {id} {} {}", path.local, path.remote)
            }
            Self::DelPath { name, id, path } => {
                format!("drbdsetup del-path {name} {id} {} {}", path.local, path.remote)
            }
            Self::Connect { name, id, discard_my_data } => {
                let discard = if *discard_my_data { " --discard-my-data" } else { "" };
                format!("drbdsetup connect {name} {id}{discard}")
            }
            Self::Disconnect { name, id } => format!("drbdsetup disconnect {name} {id}"),
            Self::ApplyAl { minor, disk } => format!("drbdmeta {minor} v09 {disk} internal apply-al"),
            Self::Attach { minor, disk, options, .. } => {
                format!("drbdsetup attach {minor} {disk} {disk} internal{}", flags(options))
            }
            Self::DetachDiskless { minor, .. } => format!("drbdsetup detach --diskless {minor}"),
            Self::DelMinor { minor, .. } => format!("drbdsetup del-minor {minor}"),
            Self::ResourceOptions { name, options } => {
                format!("drbdsetup resource-options {name} --set-defaults{}", flags(options))
            }
            Self::NetOptions { name, id, peer, options } => {
                format!("drbdsetup net-options {name} {id} --set-defaults --_name={peer}{}", flags(options))
            }
            Self::PeerDeviceOptions { name, id, options } => {
                format!("drbdsetup peer-device-options {name} {id} 0 --set-defaults{}", flags(options))
            }
            Self::DiskOptions { minor, options, .. } => {
                format!("drbdsetup disk-options {minor} --set-defaults{}", flags(options))
            }
        }
    }

    /// Runs it; the exit code is drbdsetup's or drbdmeta's.
    pub fn perform(&self, run: &mut Run) -> i32 {
        if let Self::ApplyAl { minor, disk } = self {
            return super::meta::apply_al(run, *minor, disk);
        }
        if let Err(rc) = run.need_module() {
            return rc;
        }
        let node = run.node.to_owned();
        let done = match self {
            Self::ApplyAl { .. } => Ok(()),
            Self::NewResource { name, node_id, minor, options } => {
                if run.fabric.resource(&node, name).is_none() {
                    run.fabric.new_resource(&node, name, *node_id, *minor, options.clone());
                }
                Ok(())
            }
            Self::NewMinor { name, minor } => return new_minor(run, name, *minor),
            Self::NewPeer { name, id, peer, net } => {
                run.fabric.new_peer(&node, name, *id, Peer::new(peer, net.clone(), Options::new()))
            }
            Self::DelPeer { name, id } => run.fabric.del_peer(run.machines, &node, name, *id),
            Self::NewPath { name, id, path } => run.fabric.set_path(&node, name, *id, Some(path.clone())),
            Self::DelPath { name, id, .. } => run.fabric.set_path(&node, name, *id, None),
            Self::Connect { name, id, discard_my_data } => {
                run.fabric.connect(run.machines, &node, name, *id, *discard_my_data)
            }
            Self::Disconnect { name, id } => run.fabric.disconnect(run.machines, &node, name, *id),
            Self::Attach { name, disk, options, .. } => return attach(run, name, disk, options),
            Self::DetachDiskless { name, .. } => run.fabric.detach(run.machines, &node, name),
            Self::DelMinor { .. } => Ok(()),
            Self::ResourceOptions { name, options } => {
                if let Some(resource) = run.fabric.resource_mut(&node, name) {
                    resource.options = options.clone();
                }
                Ok(())
            }
            Self::NetOptions { name, id, options, .. } => {
                if let Some(peer) = run.fabric.peer_mut(&node, name, *id) {
                    peer.net = options.clone();
                }
                Ok(())
            }
            Self::PeerDeviceOptions { name, id, options } => {
                if let Some(peer) = run.fabric.peer_mut(&node, name, *id) {
                    peer.device_options = options.clone();
                }
                Ok(())
            }
            Self::DiskOptions { name, options, .. } => {
                if let Some(resource) = run.fabric.resource_mut(&node, name) {
                    resource.disk_options = options.clone();
                }
                Ok(())
            }
        };
        run.fabric.settle(run.machines);
        match done {
            Ok(()) => 0,
            Err(denied) => {
                let subject = match self {
                    Self::Attach { minor, .. } | Self::DetachDiskless { minor, .. } => minor.to_string(),
                    _ => self.resource().to_owned(),
                };
                run.denied(&subject, &denied)
            }
        }
    }

    fn resource(&self) -> &str {
        match self {
            Self::ApplyAl { .. } => "",
            Self::NewResource { name, .. }
            | Self::NewMinor { name, .. }
            | Self::NewPeer { name, .. }
            | Self::DelPeer { name, .. }
            | Self::NewPath { name, .. }
            | Self::DelPath { name, .. }
            | Self::Connect { name, .. }
            | Self::Disconnect { name, .. }
            | Self::Attach { name, .. }
            | Self::DetachDiskless { name, .. }
            | Self::DelMinor { name, .. }
            | Self::ResourceOptions { name, .. }
            | Self::NetOptions { name, .. }
            | Self::PeerDeviceOptions { name, .. }
            | Self::DiskOptions { name, .. } => name,
        }
    }
}

/// A resource is made with its minor already in mind, so this only finds what is in the way.
fn new_minor(run: &mut Run, name: &str, minor: u32) -> i32 {
    let taken = run.fabric.by_minor(run.node, minor).is_some_and(|other| other != name)
        || run.fabric.resource(run.node, name).is_some_and(|r| r.made && r.minor == minor);
    if taken {
        run.complain(format!(
            "new-minor {name} {minor} 0: sysfs node '/sys/devices/virtual/block/drbd{minor}' (already? still?) exists\n\
             {name}: Failure: (161) Minor or volume exists already (delete it first)\n"
        ));
        return 10;
    }
    if let Some(resource) = run.fabric.resource_mut(run.node, name) {
        resource.minor = minor;
        resource.made = true;
    }
    0
}

fn attach(run: &mut Run, name: &str, disk: &str, options: &Options) -> i32 {
    let Some(device) = run.machines.device(run.node, disk) else {
        run.complain(format!("open({disk}) failed: No such file or directory\n"));
        return 20;
    };
    let backing = Backing { path: disk.to_owned(), device: device.device };
    let node = run.node.to_owned();
    match run.fabric.attach(run.machines, &node, name, backing, device.size_bytes) {
        Ok(()) => {
            if let Some(resource) = run.fabric.resource_mut(&node, name) {
                resource.disk_options = options.clone();
            }
            0
        }
        Err(denied) => {
            let minor = run.fabric.resource(&node, name).map_or(0, |r| r.minor).to_string();
            run.denied(&minor, &denied)
        }
    }
}
