//! Two ends meet: who has the newer data, is there a split brain, who follows whom.
//! Never merges, never guesses: what the generations do not tell ends with StandAlone on both sides.

use super::fabric::Fabric;
use super::machines::Machines;
use super::state::{Disk, Link, MetaData, Role};

/// What the generation identifiers of two replicas say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Same,
    LeftIsNewer { whole: bool },
    RightIsNewer { whole: bool },
    SplitBrain,
    Unrelated,
}

/// `left_id` and `right_id` are node-ids: each metadata keeps one bitmap a peer.
pub fn compare(left: &MetaData, left_id: u32, right: &MetaData, right_id: u32) -> Compared {
    match (left.just_created(), right.just_created()) {
        (true, true) => return Compared::Same,
        (true, false) => return Compared::RightIsNewer { whole: true },
        (false, true) => return Compared::LeftIsNewer { whole: true },
        (false, false) => {}
    }
    let (a, b) = (left.generation(), right.generation());
    let (base_a, base_b) = (left.bitmap_of(right_id), right.bitmap_of(left_id));
    if a == b {
        Compared::Same
    } else if base_a == b {
        Compared::LeftIsNewer { whole: false }
    } else if base_b == a {
        Compared::RightIsNewer { whole: false }
    } else if base_a != 0 && base_a == base_b {
        Compared::SplitBrain
    } else if left.history.contains(&b) {
        Compared::LeftIsNewer { whole: true }
    } else if right.history.contains(&a) {
        Compared::RightIsNewer { whole: true }
    } else {
        let related = |base: u64, history: &[u64]| base != 0 && history.contains(&base);
        let shared = left.history.iter().any(|h| right.history.contains(h));
        if shared || related(base_a, &right.history) || related(base_b, &left.history) {
            Compared::SplitBrain
        } else {
            Compared::Unrelated
        }
    }
}

impl Fabric {
    /// Connects `a` and `b`, or leaves both StandAlone. Also used when a disk comes back on a live connection.
    pub(super) fn handshake(&mut self, machines: &mut dyn Machines, name: &str, a: &str, b: &str) {
        let (Some(left), Some(right)) = (self.resource(a, name), self.resource(b, name)) else { return };
        let (a_id, b_id) = (left.node_id, right.node_id);
        let two_primaries = left.role == Role::Primary && right.role == Role::Primary;
        let compared = match (self.attached(a, name), self.attached(b, name)) {
            (Some(left), Some(right)) => Some(compare(left, a_id, right, b_id)),
            _ => None,
        };
        let outcome = match compared {
            None => Ok(None),
            Some(Compared::Same) => Ok(self.by_disk_state(name, a, b)),
            Some(Compared::LeftIsNewer { whole }) => Ok(Some((a, b, whole))),
            Some(Compared::RightIsNewer { whole }) => Ok(Some((b, a, whole))),
            Some(Compared::SplitBrain) => match self.settle_split_brain(name, a, b) {
                Some(victim) if victim == a => Ok(Some((b, a, false))),
                Some(_) => Ok(Some((a, b, false))),
                None => Err("Split-Brain detected but unresolved, dropping connection!"),
            },
            Some(Compared::Unrelated) => Err("Unrelated data, aborting!"),
        };
        let outcome = match outcome {
            Ok(_) if two_primaries => Err("Multiple primaries not allowed by config"),
            Ok(Some((_, target, _))) if self.would_overrun_primary(target, name) => {
                Err("I shall become SyncTarget, but I am primary!")
            }
            other => other,
        };
        for (node, peer_name, id) in [(a, b, b_id), (b, a, a_id)] {
            let link = if outcome.is_ok() { Link::Connected } else { Link::StandAlone };
            if let Some(peer) = self.peer_mut(node, name, id) {
                peer.link = link;
                peer.target = false;
                peer.discard_my_data = false;
                if outcome.is_ok() {
                    peer.known_disk = None;
                }
            }
            let minor = self.resource(node, name).map_or(0, |r| r.minor);
            if let Err(why) = outcome {
                self.say(node, format!("drbd {name}/0 drbd{minor} {peer_name}: {why}"));
                self.say(node, format!("drbd {name} {peer_name}: conn( Disconnecting -> StandAlone ) [disconnected]"));
            } else {
                self.say(node, format!("drbd {name} {peer_name}: conn( Connecting -> Connected )"));
            }
        }
        let Ok(decision) = outcome else { return };
        self.agree_on_size(name, a, b);
        match decision {
            Some((source, target, whole)) => self.start_resync(machines, name, source, target, whole),
            None if compared == Some(Compared::Same) => self.note_equal(name, a, b),
            None => {}
        }
    }

    fn would_overrun_primary(&self, target: &str, name: &str) -> bool {
        self.resource(target, name).is_some_and(|r| r.role == Role::Primary && r.disk == Disk::UpToDate)
    }

    /// Equal generations: an unfinished replica follows a finished one, a crashed Primary's last writes win.
    fn by_disk_state<'a>(&self, name: &str, a: &'a str, b: &'a str) -> Option<(&'a str, &'a str, bool)> {
        let (left, right) = (self.resource(a, name)?, self.resource(b, name)?);
        match (left.disk, right.disk) {
            (Disk::UpToDate, Disk::Inconsistent) => return Some((a, b, false)),
            (Disk::Inconsistent, Disk::UpToDate) => return Some((b, a, false)),
            (Disk::Inconsistent, _) | (_, Disk::Inconsistent) => return None,
            _ => {}
        }
        let (mine, theirs) = (self.attached(a, name)?, self.attached(b, name)?);
        if mine.out_of_sync(right.node_id) + theirs.out_of_sync(left.node_id) == 0 {
            return None;
        }
        match (mine.crashed_primary, theirs.crashed_primary) {
            (true, false) => Some((a, b, false)),
            (false, true) => Some((b, a, false)),
            _ => None,
        }
    }

    /// The side whose changes go, when a policy or an operator said so.
    fn settle_split_brain<'a>(&self, name: &str, a: &'a str, b: &'a str) -> Option<&'a str> {
        let (left, right) = (self.resource(a, name)?, self.resource(b, name)?);
        let (to_b, to_a) = (left.peers.get(&right.node_id)?, right.peers.get(&left.node_id)?);
        // Who is already fetching the other data set has given up its own.
        match (left.disk == Disk::Inconsistent, right.disk == Disk::Inconsistent) {
            (true, false) => return Some(a),
            (false, true) => return Some(b),
            _ => {}
        }
        match (to_b.discard_my_data, to_a.discard_my_data) {
            (true, false) => return Some(a),
            (false, true) => return Some(b),
            _ => {}
        }
        // A Primary that the node follows counts as if it were the node itself.
        let primaries = (self.partition_has_primary(a, name), self.partition_has_primary(b, name));
        let policy = |key: &str| to_b.net.get(key).map_or("disconnect", String::as_str);
        let changed = |node: &str, peer: u32| self.attached(node, name).map_or(0, |m| m.out_of_sync(peer));
        let (left_changed, right_changed) = (changed(a, right.node_id), changed(b, left.node_id));
        let nobody = || match policy("after-sb-0pri") {
            "discard-zero-changes" if left_changed == 0 => Some(a),
            "discard-zero-changes" if right_changed == 0 => Some(b),
            "discard-least-changes" if left_changed < right_changed => Some(a),
            "discard-least-changes" if right_changed < left_changed => Some(b),
            _ => None,
        };
        let secondary = if primaries.0 { b } else { a };
        match primaries {
            (false, false) => nobody(),
            (true, true) => None,
            _ => match policy("after-sb-1pri") {
                "discard-secondary" => Some(secondary),
                "consensus" if nobody() == Some(secondary) => Some(secondary),
                _ => None,
            },
        }
    }

    fn agree_on_size(&mut self, name: &str, a: &str, b: &str) {
        let size = |f: &Self, n: &str| f.resource(n, name).map_or(0, |r| r.size_kib);
        let (left, right) = (size(self, a), size(self, b));
        let agreed = match (left, right) {
            (0, s) | (s, 0) => s,
            (l, r) => l.min(r),
        };
        for node in [a, b] {
            if let Some(resource) = self.resource_mut(node, name) {
                resource.size_kib = agreed;
            }
        }
    }

    /// Both hold the same generation: nothing separates them any more.
    pub(super) fn note_equal(&mut self, name: &str, a: &str, b: &str) {
        let (Some(left), Some(right)) = (self.resource(a, name), self.resource(b, name)) else { return };
        let (a_id, b_id, disks) = (left.node_id, right.node_id, (left.disk, right.disk));
        match disks {
            (Disk::Inconsistent, _) | (_, Disk::Inconsistent) => return,
            (Disk::UpToDate, Disk::Outdated | Disk::Consistent) => self.set_disk(b, name, Disk::UpToDate),
            (Disk::Outdated | Disk::Consistent, Disk::UpToDate) => self.set_disk(a, name, Disk::UpToDate),
            _ => {}
        }
        self.clear_between(name, (a, a_id), (b, b_id));
    }

    pub(super) fn set_disk(&mut self, node: &str, name: &str, disk: Disk) {
        if let Some(resource) = self.resource_mut(node, name) {
            resource.disk = disk;
        }
    }

    /// Forgets bitmap and bitmap UUID of each for the other.
    pub(super) fn clear_between(&mut self, name: &str, a: (&str, u32), b: (&str, u32)) {
        for (node, other) in [(a.0, b.1), (b.0, a.1)] {
            let primary = self.resource(node, name).is_some_and(|r| r.role == Role::Primary);
            if let Some(md) = self.attached_mut(node, name) {
                let base = md.bitmap_of(other);
                md.remember(base);
                let slot = md.slot(other);
                slot.bitmap_uuid = 0;
                slot.out_of_sync_kib = 0;
                if !primary {
                    md.crashed_primary = false;
                }
            }
            if let Some(peer) = self.peer_mut(node, name, other) {
                peer.target = false;
            }
        }
    }
}
