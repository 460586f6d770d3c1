//! `sysctl`: kernel parameters.

use crate::lab::world::NodeState;
use std::collections::BTreeMap;

/// What parameters have before anyone sets them.
const DEFAULTS: &[(&str, &str)] = &[
    ("fs.nfs.nfs_callback_tcpport", "0"),
    ("kernel.panic", "0"),
    ("net.core.rmem_max", "212992"),
    ("net.core.wmem_max", "212992"),
    ("net.core.somaxconn", "4096"),
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.tcp_rmem", "4096\t131072\t6291456"),
    ("net.ipv4.tcp_wmem", "4096\t16384\t4194304"),
    ("vm.dirty_background_ratio", "10"),
    ("vm.dirty_ratio", "20"),
    ("vm.min_free_kbytes", "67584"),
    ("vm.swappiness", "60"),
];

/// All parameters of a node with their values.
pub fn values(node: &NodeState) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> =
        DEFAULTS.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    values.extend(node.sysctl.clone());
    values
}
