//! The whole of the lab's DRBD in one value, and the questions every sibling asks of it.

use super::state::{Disk, Link, MetaData, Peer, Replication, Resource, Role};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Kernels, metadata and cables of all nodes. Part of the lab's stored state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fabric {
    /// Last seen lab clock, milliseconds.
    pub now_ms: u64,
    uuids_made: u64,
    pub(super) pids_made: u32,
    /// Cut cables, by the names of both nodes in order.
    pub cuts: BTreeSet<(String, String)>,
    /// node → resource → what its kernel holds. Lost when the node goes down.
    pub kernels: BTreeMap<String, BTreeMap<String, Resource>>,
    /// node → backing device → metadata.
    pub metadata: BTreeMap<String, BTreeMap<String, MetaData>>,
    /// Replicas (node, device) that just began a data generation without the others: their data goes its own way.
    pub diverged: Vec<Vec<(String, String)>>,
    /// The kernels' words about connections, newest last.
    pub log: Vec<LogLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at_ms: u64,
    pub node: String,
    pub text: String,
}

impl Fabric {
    pub fn resource(&self, node: &str, name: &str) -> Option<&Resource> {
        self.kernels.get(node)?.get(name)
    }

    pub fn resource_mut(&mut self, node: &str, name: &str) -> Option<&mut Resource> {
        self.kernels.get_mut(node)?.get_mut(name)
    }

    pub fn peer(&self, node: &str, name: &str, id: u32) -> Option<&Peer> {
        self.resource(node, name)?.peers.get(&id)
    }

    pub fn peer_mut(&mut self, node: &str, name: &str, id: u32) -> Option<&mut Peer> {
        self.resource_mut(node, name)?.peers.get_mut(&id)
    }

    /// The metadata of an attached resource.
    pub fn attached(&self, node: &str, name: &str) -> Option<&MetaData> {
        let resource = self.resource(node, name)?;
        let device = &resource.backing.as_ref()?.device;
        self.metadata.get(node)?.get(device)
    }

    pub fn attached_mut(&mut self, node: &str, name: &str) -> Option<&mut MetaData> {
        let device = self.resource(node, name)?.backing.as_ref()?.device.clone();
        self.metadata.get_mut(node)?.get_mut(&device)
    }

    pub fn metadata_on(&self, node: &str, device: &str) -> Option<&MetaData> {
        self.metadata.get(node)?.get(device)
    }

    /// The resource and node that hold `/dev/drbdMINOR` there.
    pub fn by_minor(&self, node: &str, minor: u32) -> Option<&str> {
        self.kernels.get(node)?.iter().find(|(_, r)| r.made && r.minor == minor).map(|(name, _)| name.as_str())
    }

    pub fn resource_names(&self) -> BTreeSet<String> {
        self.kernels.values().flat_map(|k| k.keys().cloned()).collect()
    }

    /// Nodes whose kernel holds the resource.
    pub fn holders(&self, name: &str) -> Vec<String> {
        self.kernels.iter().filter(|(_, k)| k.contains_key(name)).map(|(n, _)| n.clone()).collect()
    }

    /// The node behind a peer, when its kernel holds the resource under that node-id.
    pub fn node_of(&self, name: &str, peer_name: &str, id: u32) -> Option<&str> {
        let (node, kernel) = self.kernels.get_key_value(peer_name)?;
        (kernel.get(name)?.node_id == id).then_some(node.as_str())
    }

    pub fn is_cut(&self, a: &str, b: &str) -> bool {
        self.cuts.contains(&ordered(a, b))
    }

    pub fn connected(&self, node: &str, name: &str, id: u32) -> bool {
        self.peer(node, name, id).is_some_and(|p| p.link == Link::Connected)
    }

    /// Connected peers of a node: their names and node-ids.
    pub fn neighbours(&self, node: &str, name: &str) -> Vec<(String, u32)> {
        let Some(resource) = self.resource(node, name) else { return Vec::new() };
        resource
            .peers
            .iter()
            .filter(|(_, p)| p.link == Link::Connected)
            .filter_map(|(id, p)| Some((self.node_of(name, &p.name, *id)?.to_owned(), *id)))
            .collect()
    }

    /// Nodes reachable over connections of this resource, itself included.
    pub fn partition(&self, node: &str, name: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::from([node.to_owned()]);
        let mut open = vec![node.to_owned()];
        while let Some(next) = open.pop() {
            for (neighbour, _) in self.neighbours(&next, name) {
                if seen.insert(neighbour.clone()) {
                    open.push(neighbour);
                }
            }
        }
        seen
    }

    pub fn partition_has_primary(&self, node: &str, name: &str) -> bool {
        self.partition(node, name).iter().any(|n| self.resource(n, name).is_some_and(|r| r.role == Role::Primary))
    }

    /// Role of a peer as the node sees it; `None` shows as Unknown.
    pub fn peer_role(&self, node: &str, name: &str, id: u32) -> Option<Role> {
        let peer = self.peer(node, name, id)?;
        if peer.link != Link::Connected {
            return None;
        }
        Some(self.resource(&peer.name, name)?.role)
    }

    /// Disk of a peer as the node sees it; `None` shows as DUnknown.
    pub fn peer_disk(&self, node: &str, name: &str, id: u32) -> Option<Disk> {
        let peer = self.peer(node, name, id)?;
        match peer.link {
            Link::Connected => Some(self.resource(&peer.name, name)?.disk),
            _ => peer.known_disk,
        }
    }

    /// Where UpToDate data is within direct reach: here, or at a connected peer.
    pub fn reaches_good_data(&self, node: &str, name: &str) -> bool {
        self.resource(node, name).is_some_and(|r| r.disk == Disk::UpToDate)
            || self
                .neighbours(node, name)
                .iter()
                .any(|(n, _)| self.resource(n, name).is_some_and(|r| r.disk == Disk::UpToDate))
    }

    /// Why a resync towards or from that peer does not run, seen from one end.
    pub fn held_back(&self, node: &str, name: &str, id: u32) -> Held {
        let own = self.holds(node, name, id);
        let remote = self.peer(node, name, id).filter(|p| p.link == Link::Connected).map(|p| p.name.clone());
        let mine = self.resource(node, name).map(|r| r.node_id);
        let theirs = match (remote, mine) {
            (Some(remote), Some(mine)) => self.holds(&remote, name, mine),
            _ => (false, false),
        };
        Held { user: own.0, dependency: own.1, peer: theirs.0 || theirs.1 }
    }

    fn holds(&self, node: &str, name: &str, id: u32) -> (bool, bool) {
        let Some(resource) = self.resource(node, name) else { return (false, false) };
        let Some(peer) = resource.peers.get(&id).filter(|p| p.link == Link::Connected) else { return (false, false) };
        let both_wait =
            resource.disk == Disk::Inconsistent && self.peer_disk(node, name, id) == Some(Disk::Inconsistent);
        let other = resource.active_source.is_some_and(|source| source != id);
        (peer.paused, other && (peer.target || both_wait))
    }

    pub fn replication(&self, node: &str, name: &str, id: u32) -> Replication {
        let Some(resource) = self.resource(node, name) else { return Replication::Off };
        let Some(peer) = resource.peers.get(&id).filter(|p| p.link == Link::Connected) else {
            return Replication::Off;
        };
        if peer.target {
            return if resource.active_source == Some(id) { Replication::SyncTarget } else { Replication::PausedSyncT };
        }
        match self.resource(&peer.name, name) {
            Some(remote) if remote.peers.get(&resource.node_id).is_some_and(|p| p.target) => {
                if remote.active_source == Some(resource.node_id) {
                    Replication::SyncSource
                } else {
                    Replication::PausedSyncS
                }
            }
            _ => Replication::Established,
        }
    }

    /// A generation nobody had before; even, as bit 0 means "made by a Primary".
    pub fn new_uuid(&mut self) -> u64 {
        self.uuids_made += 1;
        // splitmix64: well spread, and the same lab tells the same story twice.
        let mut z = self.uuids_made.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0xD1B5_4A32_D192_ED03);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) & !1 | 1 << 63
    }

    pub fn is_syncing(&self) -> bool {
        self.kernels.values().flatten().any(|(_, r)| r.active_source.is_some())
    }

    pub fn same_but_time(&self, other: &Self) -> bool {
        Self { now_ms: other.now_ms, ..self.clone() } == *other
    }

    pub fn say(&mut self, node: &str, text: impl Into<String>) {
        self.log.push(LogLine { at_ms: self.now_ms, node: node.into(), text: text.into() });
        let excess = self.log.len().saturating_sub(500);
        self.log.drain(..excess);
    }
}

/// Why a resync waits: `resync-suspended` of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    pub user: bool,
    pub peer: bool,
    pub dependency: bool,
}

impl Held {
    pub fn words(self) -> String {
        let words: Vec<&str> = [(self.user, "user"), (self.peer, "peer"), (self.dependency, "dependency")]
            .into_iter()
            .filter_map(|(on, word)| on.then_some(word))
            .collect();
        if words.is_empty() { "no".into() } else { words.join(",") }
    }
}

pub fn ordered(a: &str, b: &str) -> (String, String) {
    if a <= b { (a.into(), b.into()) } else { (b.into(), a.into()) }
}
