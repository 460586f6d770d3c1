//! Whose disk a device is: the container that has it in its configuration, and the node that the container belongs to.
//!
//! A host without Proxmox's cluster file system tells nothing, which is not "nobody's".

use crate::host::{LookError, Probe};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub vmid: String,
    pub node: String,
}

/// The container that has one of these devices as its root or mount point.
pub fn look(host: &dyn Probe, devices: &[String]) -> Result<Option<Owner>, LookError> {
    let nodes = Path::new("/etc/pve/nodes");
    for node in host.list(nodes)?.unwrap_or_default() {
        let directory = nodes.join(&node).join("lxc");
        for name in host.list(&directory)?.unwrap_or_default() {
            let Some(vmid) = name.strip_suffix(".conf") else { continue };
            // One that is moved just now is found where it goes.
            let text = host.read_text(&directory.join(&name))?.unwrap_or_default();
            if has(&text, devices) {
                return Ok(Some(Owner { vmid: vmid.to_owned(), node }));
            }
        }
    }
    Ok(None)
}

/// Whether a container's configuration, apart from its snapshots, has one of the devices.
fn has(config: &str, devices: &[String]) -> bool {
    config.lines().take_while(|line| !line.starts_with('[')).any(|line| {
        let Some((key, value)) = line.split_once(':') else { return false };
        let volume = value.trim().split(',').find_map(|part| match part.split_once('=') {
            None => Some(part),
            Some(("volume", path)) => Some(path),
            Some(_) => None,
        });
        let is_disk = key == "rootfs" || key.strip_prefix("mp").is_some_and(|n| n.parse::<u32>().is_ok());
        is_disk && volume.is_some_and(|volume| devices.iter().any(|device| device == volume))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fake::Fake;

    #[test]
    fn the_container_is_found_by_its_device_where_it_belongs() {
        let host = Fake::with(&[
            ("/etc/pve/nodes/pve1/lxc/100.conf", "rootfs: local:100/x.raw\n[old]\nrootfs: /dev/drbd100\n"),
            ("/etc/pve/nodes/pve2/lxc/101.conf", "arch: amd64\nrootfs: volume=/dev/drbd100,shared=1\n"),
            ("/etc/pve/nodes/pve2/lxc/102.conf", "#rootfs: /dev/drbd102\nmp0: /dev/drbd101,mp=/data\n"),
        ]);
        let of = |device: &str| look(&host, &[device.to_owned()]).unwrap().map(|o| (o.vmid, o.node));
        assert_eq!(of("/dev/drbd100"), Some(("101".into(), "pve2".into())));
        assert_eq!(of("/dev/drbd101"), Some(("102".into(), "pve2".into())));
        assert_eq!(of("/dev/drbd102"), None);
        assert_eq!(look(&Fake::with(&[]), &["/dev/drbd100".into()]).unwrap(), None);
    }
}
