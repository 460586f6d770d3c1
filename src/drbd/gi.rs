//! Data generation: the lines of `drbdadm get-gi` and the head of `drbdadm dump-md`.
//!
//! Refuses a line that is not whole; half a generation identifier must not look like a fresh disk.

use serde::{Deserialize, Serialize};

/// The current UUID that `create-md` writes: no data yet.
pub const JUST_CREATED: u64 = 4;
/// Bit 0 of the current UUID says "was Primary" and is no part of the generation.
const PRIMARY_BIT: u64 = 1;

/// One line of `get-gi`: how this node's data relates to one peer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    pub current: u64,
    pub bitmap: u64,
    pub younger: u64,
    pub older: u64,
    pub flags: Flags,
}

/// In the order of `drbdadm show-gi`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    pub consistent: bool,
    pub was_up_to_date: bool,
    pub primary: bool,
    pub crashed_primary: bool,
    pub al_clean: bool,
    pub al_disabled: bool,
    pub primary_lost_quorum: bool,
    pub peer_connected: bool,
    pub peer_outdated: bool,
    pub fencing: bool,
    pub full_sync: bool,
    pub peer_disk_seen: bool,
}

impl Generation {
    /// Metadata was created and never held data: no write, no sync, no `primary --force`.
    pub fn is_just_created(&self) -> bool {
        self.current & !PRIMARY_BIT == JUST_CREATED
    }

    /// The generation without the Primary bit, for comparing nodes.
    pub fn current_masked(&self) -> u64 {
        self.current & !PRIMARY_BIT
    }
}

/// How the data of two nodes relates, from the generations both keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// One of them never held data; it takes the other's.
    Fresh,
    Same,
    /// The first has everything the second has, and more.
    Ahead,
    Behind,
    /// A common past, and both were written to since.
    SplitBrain,
    /// No common past.
    Unrelated,
}

/// Compares what `get-gi` printed on two nodes.
pub fn relation(a: &[Generation], b: &[Generation]) -> Option<Relation> {
    let (first_a, first_b) = (a.first()?, b.first()?);
    let history = |lines: &[Generation]| -> std::collections::BTreeSet<u64> {
        let all = lines.iter().flat_map(|g| [g.bitmap, g.younger, g.older]);
        all.map(|uuid| uuid & !PRIMARY_BIT).filter(|uuid| *uuid != 0).collect()
    };
    let (past_a, past_b) = (history(a), history(b));
    let (now_a, now_b) = (first_a.current_masked(), first_b.current_masked());
    Some(if first_a.is_just_created() || first_b.is_just_created() {
        Relation::Fresh
    } else if now_a == now_b {
        Relation::Same
    } else if past_a.contains(&now_b) {
        Relation::Ahead
    } else if past_b.contains(&now_a) {
        Relation::Behind
    } else if past_a.intersection(&past_b).next().is_some() {
        Relation::SplitBrain
    } else {
        Relation::Unrelated
    })
}

/// Every line of `get-gi` (one a peer). An error names the line; an empty output is an error too.
pub fn parse_get_gi(stdout: &str) -> Result<Vec<Generation>, String> {
    let lines: Vec<_> = stdout
        .lines()
        .map(str::trim)
        // `get-gi` on an attached disk may say that what drbdmeta read could be stale.
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|l| parse_line(l).ok_or_else(|| format!("not a generation identifier: `{l}`")))
        .collect::<Result<_, _>>()?;
    if lines.is_empty() {
        return Err("get-gi printed nothing".into());
    }
    Ok(lines)
}

/// The lines of `show-gi` that `get-gi` would print; the drawing around them is left out.
pub fn parse_show_gi(stdout: &str) -> Vec<Generation> {
    stdout.lines().filter_map(|l| parse_line(l.trim())).collect()
}

fn parse_line(line: &str) -> Option<Generation> {
    let parts: Vec<&str> = line.split(':').collect();
    if parts.len() < 7 {
        return None;
    }
    let uuid = |text: &str| {
        if text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            u64::from_str_radix(text, 16).ok()
        } else {
            None
        }
    };
    let mut flags = Vec::new();
    for part in &parts[4..] {
        flags.push(match *part {
            "0" => false,
            "1" => true,
            _ => return None,
        });
    }
    // 9.0 printed fewer flags; those it did not print are taken as not set.
    let flag = |i: usize| flags.get(i).copied().unwrap_or(false);
    Some(Generation {
        current: uuid(parts[0])?,
        bitmap: uuid(parts[1])?,
        younger: uuid(parts[2])?,
        older: uuid(parts[3])?,
        flags: Flags {
            consistent: flag(0),
            was_up_to_date: flag(1),
            primary: flag(2),
            crashed_primary: flag(3),
            al_clean: flag(4),
            al_disabled: flag(5),
            primary_lost_quorum: flag(6),
            peer_connected: flag(7),
            peer_outdated: flag(8),
            fencing: flag(9),
            full_sync: flag(10),
            peer_disk_seen: flag(11),
        },
    })
}

/// The head of `dump-md`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaData {
    /// `v09`, `v08`.
    pub version: String,
    pub max_peers: Option<u32>,
    /// -1 before the first attach.
    pub node_id: Option<i32>,
    pub current_uuid: Option<u64>,
}

/// Reads `dump-md`. `None`: there is no metadata in this text.
pub fn parse_dump_md(stdout: &str) -> Option<MetaData> {
    let mut found = MetaData::default();
    for line in stdout.lines() {
        // What follows belongs to single peers.
        if line.starts_with("peer[") {
            break;
        }
        let Some((key, value)) = line.strip_suffix(';').and_then(|l| l.split_once(' ')) else { continue };
        match key {
            "version" => value.trim_matches('"').clone_into(&mut found.version),
            "max-peers" => found.max_peers = value.parse().ok(),
            "node-id" => found.node_id = value.parse().ok(),
            "current-uuid" => {
                found.current_uuid = value.strip_prefix("0x").and_then(|v| u64::from_str_radix(v, 16).ok());
            }
            _ => {}
        }
    }
    (!found.version.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fresh_with_and_without_the_primary_bit() {
        let fresh = "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:1:0:0:0:0:0:0:0\n";
        let all = parse_get_gi(fresh).unwrap();
        assert!(all[0].is_just_created() && all[0].flags.al_clean);
        let primary = fresh.replace("0000000000000004:", "0000000000000005:");
        assert!(parse_get_gi(&primary).unwrap()[0].is_just_created());
        let data = fresh.replace("0000000000000004:", "E1BB68573920744E:");
        assert!(!parse_get_gi(&data).unwrap()[0].is_just_created());
    }

    #[test]
    fn half_a_line_is_no_fresh_disk() {
        for text in ["", "\n", "4:0:0:0", "0000000000000004:0000", "No valid meta data found"] {
            assert!(parse_get_gi(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn dump_md_head() {
        let text = "# DRBD meta data dump\nversion \"v09\";\n\nmax-peers 5;\n# md_size_sect 96\nnode-id -1;\n\
                    current-uuid 0x0000000000000004;\nflags 0x00000080;\npeer[0] {\n    bitmap-index -1;\n}\n";
        let md = parse_dump_md(text).unwrap();
        assert_eq!(
            (md.version.as_str(), md.max_peers, md.node_id, md.current_uuid),
            ("v09", Some(5), Some(-1), Some(4))
        );
        assert_eq!(parse_dump_md("No valid meta data found\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in ".*") {
            let _ = parse_get_gi(&text);
            let _ = parse_show_gi(&text);
            let _ = parse_dump_md(&text);
            let _ = crate::drbd::module::parse_proc_drbd(&text);
            let _ = crate::drbd::module::Version::parse(&text);
            let _ = crate::drbd::dkms::parse(&text);
        }

        #[test]
        fn no_near_miss_makes_them_panic(text in "version: [0-9.]{0,12}[ (api:/proto0-9)-]{0,30}\n?[A-Za-z0-9:, ()/.-]{0,80}") {
            let _ = crate::drbd::module::parse_proc_drbd(&text);
            let _ = crate::drbd::dkms::parse(&text);
        }
    }
}
