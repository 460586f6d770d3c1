//! A container's configuration file: which devices and volumes it is mounted from.
//!
//! Only the section in force counts: what stands under `[pve:pending]` or a snapshot's name does not.

/// Where a mount of the container comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// `rootfs`, `mp0`, `lxc.mount.entry`.
    pub key: String,
    pub from: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A path below `/dev`.
    Device(String),
    /// A volume of a storage.
    Volume { storage: String, name: String },
    /// A directory of the node.
    Directory(String),
}

/// Everything the container mounts, in the order of the file.
pub fn mounted(text: &str) -> Vec<Mounted> {
    let mut all = Vec::new();
    for line in text.lines().take_while(|line| !is_section(line)) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        let source = match key {
            "rootfs" => property(value),
            "lxc.mount.entry" => value.split_whitespace().next().unwrap_or_default(),
            _ if key.strip_prefix("mp").is_some_and(is_number) => property(value),
            _ => continue,
        };
        if let Some(from) = from(source) {
            all.push(Mounted { key: key.to_owned(), from });
        }
    }
    all
}

fn is_section(line: &str) -> bool {
    let line = line.trim_end();
    line.starts_with('[') && line.ends_with(']')
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The part of a property string that has no key, or the key `volume`.
fn property(value: &str) -> &str {
    let parts = || value.split(',').map(str::trim);
    let named = parts().find_map(|part| part.strip_prefix("volume="));
    named.or_else(|| parts().find(|part| !part.contains('='))).unwrap_or_default()
}

fn from(source: &str) -> Option<Origin> {
    if source.starts_with("/dev/") {
        return Some(Origin::Device(source.to_owned()));
    }
    if source.starts_with('/') {
        return Some(Origin::Directory(source.to_owned()));
    }
    let (storage, name) = source.split_once(':')?;
    Some(Origin::Volume { storage: storage.to_owned(), name: name.to_owned() })
}

/// The device of a storage's volume, for storages whose volumes are devices that may lie on DRBD: LVM and LINSTOR.
/// `None`: another type (a directory, ZFS, Ceph), which names no device.
pub fn device_of_volume(storage_cfg: &str, storage: &str, name: &str) -> Option<String> {
    let mut lines = storage_cfg.lines();
    let kind = lines.find_map(|line| {
        let (kind, id) = line.split_once(':')?;
        (!line.starts_with([' ', '\t']) && id.trim() == storage).then_some(kind)
    })?;
    match kind {
        "lvm" | "lvmthin" => {
            let section = lines.take_while(|line| line.starts_with([' ', '\t']));
            let group = section.filter_map(|line| line.trim().split_once(char::is_whitespace));
            let group = group.into_iter().find_map(|(key, value)| (key == "vgname").then_some(value.trim()))?;
            Some(format!("/dev/{group}/{name}"))
        }
        // LINSTOR's plugin names the resource; older ones add the container's number.
        "drbd" => Some(format!("/dev/drbd/by-res/{}/0", name.split('_').next().unwrap_or(name))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_force_and_only_mounts_count() {
        let text = "#rootfs: /dev/drbd1\narch: amd64\nrootfs: volume=/dev/drbd100,shared=1\nmp0: /dev/drbd/by-res/data/0,mp=/data\n\
            mp1: local-lvm:vm-101-disk-1,mp=/x,size=4G\nmp12: /srv/share,mp=/share\nmpx: /dev/drbd9,mp=/y\nnet0: name=eth0\n\
            mp3: mp=/z,volume=/dev/vg/lv\nlxc.mount.entry: /dev/drbd102 mnt ext4 defaults 0 0\ndev0: /dev/drbd103\n\n\
            [pve:pending]\nmp4: /dev/drbd104,mp=/p\n[snap]\nrootfs: /dev/drbd105\n";
        let found: Vec<_> = mounted(text).into_iter().map(|m| (m.key, m.from)).collect();
        let device = |path: &str| Origin::Device(path.into());
        let expected = [
            ("rootfs", device("/dev/drbd100")),
            ("mp0", device("/dev/drbd/by-res/data/0")),
            ("mp1", Origin::Volume { storage: "local-lvm".into(), name: "vm-101-disk-1".into() }),
            ("mp12", Origin::Directory("/srv/share".into())),
            ("mp3", device("/dev/vg/lv")),
            ("lxc.mount.entry", device("/dev/drbd102")),
        ];
        assert_eq!(found, expected.map(|(k, f)| (k.to_owned(), f)));
    }

    #[test]
    fn volumes_of_lvm_and_linstor_are_devices() {
        let cfg = "dir: local\n\tpath /var/lib/vz\n\nlvm: ondrbd\n\tvgname vg_drbd\n\tcontent rootdir\n\nlvmthin: thin\n\tthinpool data\n\
            \tvgname pve\n\ndrbd: linstor\n\tcontroller 10.0.0.1\n\tresourcegroup x\n";
        let of = |storage, name| device_of_volume(cfg, storage, name);
        assert_eq!(of("ondrbd", "vm-101-disk-0").as_deref(), Some("/dev/vg_drbd/vm-101-disk-0"));
        assert_eq!(of("thin", "vm-1").as_deref(), Some("/dev/pve/vm-1"));
        assert_eq!(of("linstor", "pm-1234_101").as_deref(), Some("/dev/drbd/by-res/pm-1234/0"));
        assert_eq!(of("local", "101/x.raw"), None);
        assert_eq!(of("gone", "x"), None);
    }
}
