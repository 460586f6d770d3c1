//! DRBD metadata v09 on a backing device: where it lies, how it is printed, what creates it.

use super::fabric::Fabric;
use super::state::{JUST_CREATED, MetaData};
use std::fmt::Write as _;

/// Byte offsets of internal metadata on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub md: u64,
    pub al: u64,
    pub bm: u64,
}

/// `None` when the device is too small.
pub fn layout(device_bytes: u64, max_peers: u32) -> Option<Layout> {
    // Below this drbdmeta does not even try.
    const LEAST_BYTES: u64 = 65_536;
    if device_bytes < LEAST_BYTES {
        return None;
    }
    let device_bytes = device_bytes / 4096 * 4096;
    let md = device_bytes.checked_sub(4096)?;
    let al = md.checked_sub(32_768)?;
    let bm = al.checked_sub(bitmap_bytes(device_bytes, max_peers))?;
    Some(Layout { md, al, bm })
}

pub fn bitmap_bytes(device_bytes: u64, max_peers: u32) -> u64 {
    let bits = device_bytes.div_ceil(4096).next_multiple_of(64);
    (bits / 8 * u64::from(max_peers)).next_multiple_of(4096)
}

pub fn usable_kib(device_bytes: u64, max_peers: u32) -> u64 {
    layout(device_bytes, max_peers).map_or(0, |l| l.bm / 1024)
}

impl Fabric {
    pub fn create_metadata(&mut self, node: &str, device: &str, device_bytes: u64, max_peers: u32) {
        let md = MetaData {
            current: JUST_CREATED,
            history: Vec::new(),
            max_peers,
            device_bytes,
            node_id: None,
            consistent: false,
            up_to_date: false,
            primary_known: false,
            crashed_primary: false,
            al_clean: true,
            lost_quorum: false,
            peers: std::collections::BTreeMap::new(),
        };
        self.metadata.entry(node.into()).or_default().insert(device.into(), md);
    }
}

/// One line of `get-gi`: the generations as this node keeps them against one peer.
pub fn gi_line(md: &MetaData, peer: u32) -> String {
    let slot = md.peers.get(&peer).cloned().unwrap_or_default();
    let history = |n: usize| md.history.get(n).copied().unwrap_or(0);
    let flags = [
        md.consistent,
        md.up_to_date,
        md.primary_known,
        md.crashed_primary,
        md.al_clean,
        false,
        md.lost_quorum,
        slot.connected,
        slot.outdated,
        false,
        false,
        slot.seen,
    ];
    let flags: Vec<&str> = flags.iter().map(|f| if *f { "1" } else { "0" }).collect();
    format!("{:016X}:{:016X}:{:016X}:{:016X}:{}", md.current, slot.bitmap_uuid, history(0), history(1), flags.join(":"))
}

/// `show-gi`: the same with its legend.
pub fn gi_explained(md: &MetaData, peer: u32) -> String {
    let mut out = String::from(
        "\n       +--<  Current data generation UUID  >-\n       |               +--<  Bitmap's base data generation UUID  >-\n       |               |                 +--<  younger history UUID  >-\n       |               |                 |         +-<  older history  >-\n       V               V                 V         V\n",
    );
    let _ = writeln!(out, "{}", gi_line(md, peer));
    out.push_str("                                                                    ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^\n");
    let words = [
        "Data consistency flag",
        "Data was/is currently up-to-date",
        "Node was/is currently primary",
        "This node was a crashed primary, and has not seen its peer since",
        "The activity-log was applied, the disk can be attached",
        "The activity-log was disabled, peer is completely out of sync",
        "This node was primary when it lost quorum",
        "Node was/is currently connected",
        "The peer's disk was out-dated or inconsistent",
        "A fence policy other the dont-care was used",
        "Node was in the progress of marking all blocks as out of sync",
        "At least once we saw this node with a backing device attached",
    ];
    for (n, word) in words.iter().enumerate() {
        let label = format!("-<  {word}  >--+");
        let _ = write!(out, "{label:>width$}", width = 69 + 2 * n);
        out.push_str(&" |".repeat(words.len() - 1 - n));
        out.push('\n');
    }
    if md.peers.get(&peer).is_none_or(|s| !s.seen) {
        out.push_str("zero size device -- never seen peer yet?\n");
    }
    out
}

/// `dump-md`.
pub fn dump(md: &MetaData, node: &str, minor: u32, path: &str, when: &str) -> String {
    let layout = layout(md.device_bytes, md.max_peers).unwrap_or(Layout { md: 0, al: 0, bm: 0 });
    let sectors = (md.device_bytes / 4096 * 4096 - layout.bm) / 512;
    let flags = u32::from(md.consistent)
        | u32::from(md.primary_known) << 1
        | u32::from(md.crashed_primary) << 2
        | u32::from(md.up_to_date) << 4
        | u32::from(md.al_clean) << 7
        | u32::from(md.lost_quorum) << 9;
    let mut out = format!(
        "# DRBD meta data dump\n# {when}\n# {node}> drbdmeta {minor} v09 {path} internal dump-md\n#\n\nversion \"v09\";\n\n\
         max-peers {};\n# md_size_sect {sectors}\n# md_offset {}\n# al_offset {}\n# bm_offset {}\n\n\
         node-id {};\ncurrent-uuid 0x{:016X};\nflags 0x{flags:08X};\n",
        md.max_peers,
        layout.md,
        layout.al,
        layout.bm,
        md.node_id.map_or(-1, i64::from),
        md.current,
    );
    for id in 0..32_u32 {
        let slot = md.peers.get(&id).cloned().unwrap_or_default();
        let index = md.peers.keys().position(|k| *k == id).map_or(-1, |i| i as i64);
        let flags = u32::from(slot.connected) | u32::from(slot.outdated) << 1 | u32::from(slot.seen) << 6;
        let _ = write!(
            out,
            "peer[{id}] {{\n    bitmap-index {index};\n    bitmap-uuid 0x{:016X};\n    bitmap-dagtag 0x0000000000000000;\n    flags 0x{flags:08X};\n}}\n",
            slot.bitmap_uuid
        );
    }
    out.push_str("history-uuids {\n");
    for row in 0..8 {
        let word = |n: usize| format!("0x{:016X};", md.history.get(row * 4 + n).copied().unwrap_or(0));
        let _ = writeln!(out, "        {} {} {} {}", word(0), word(1), word(2), word(3));
    }
    out.push_str("}\n");
    let _ = writeln!(out, "# al-extents 257;\nla-size-sect {};\nbm-byte-per-bit 4096;", layout.bm / 512);
    out
}
