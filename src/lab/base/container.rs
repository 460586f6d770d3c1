//! The root tree that a Debian template unpacks to.
//!
//! A file that is there already is never replaced.

use super::{codename, os_release, unit_files, write_tree};
use crate::lab::commands::apt::units;
use crate::lab::guest;
use std::collections::BTreeMap;

/// Lays a minimal Debian root tree; files that are there stay.
pub fn unpack_container(root: &std::path::Path, debian: u32, hostname: &str, config: &str) -> std::io::Result<()> {
    let net = guest::config_value(config, "net0").unwrap_or_default();
    let option = |key: &str| {
        net.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().to_owned()
    };
    let interfaces = format!(
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\taddress {}\n\tgateway {}\n",
        option("ip"),
        option("gw")
    );
    let code = codename(debian);
    let text = |s: &str| s.to_owned();
    let tree = BTreeMap::from([
        (text("etc/hostname"), format!("{hostname}\n")),
        (text("etc/hosts"), format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n")),
        (text("etc/os-release"), os_release(debian)),
        (text("usr/lib/os-release"), os_release(debian)),
        (text("etc/network/interfaces"), interfaces),
        (
            text("etc/passwd"),
            text(
                "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            ),
        ),
        (text("etc/group"), text("root:x:0:\nshadow:x:42:\nwww-data:x:33:\nnogroup:x:65534:\n")),
        (text("etc/fstab"), text("# UNCONFIGURED FSTAB FOR BASE SYSTEM\n")),
        (
            text("etc/apt/sources.list.d/debian.sources"),
            format!(
                "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {code} {code}-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
            ),
        ),
        (text("usr/share/keyrings/debian-archive-keyring.gpg"), text("lab: Debian archive keyring\n")),
    ]);
    let mut tree = tree;
    tree.extend(unit_files(units::CONTAINER_UNITS));
    let missing = tree.into_iter().filter(|(path, _)| !root.join(path).exists()).collect();
    write_tree(
        root.to_path_buf(),
        &missing,
        &[
            "etc/default",
            "etc/systemd/system",
            "etc/apt/keyrings",
            "root",
            "run",
            "tmp",
            "mnt",
            "srv",
            "usr/bin",
            "usr/sbin",
            "usr/lib/systemd/system",
            "var/lib/dpkg",
            "var/lib/converge",
            "var/tmp",
            "home",
        ],
    )
}
