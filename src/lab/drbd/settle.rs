//! What happens by itself after every change: links break and come up, nodes outdate, quorum moves.

use super::fabric::{Fabric, ordered};
use super::machines::Machines;
use super::state::{Disk, Link, Role};
use std::collections::BTreeSet;

impl Fabric {
    /// Brings the clock to the present and lets everything happen that is due by then.
    pub fn advance(&mut self, machines: &mut dyn Machines) {
        let now = machines.now_ms();
        let passed = if self.now_ms == 0 { 0 } else { now.saturating_sub(self.now_ms) };
        self.now_ms = self.now_ms.max(now);
        self.settle(machines);
        if self.resync(machines, passed) {
            self.settle(machines);
        }
    }

    /// Lets time pass at once: somebody waits for it.
    pub fn wait(&mut self, machines: &mut dyn Machines, ms: u64) {
        machines.skip(ms);
        self.advance(machines);
    }

    /// Cuts or mends cables, all at the same moment.
    pub fn set_cuts(&mut self, machines: &mut dyn Machines, cables: &[(&str, &str)], cut: bool) {
        for (a, b) in cables {
            if cut {
                self.cuts.insert(ordered(a, b));
            } else {
                self.cuts.remove(&ordered(a, b));
            }
        }
        self.settle(machines);
    }

    pub fn settle(&mut self, machines: &mut dyn Machines) {
        let dead: Vec<String> = self.kernels.keys().filter(|n| !machines.is_up(n)).cloned().collect();
        for node in dead {
            self.crash(&node);
        }
        self.drop_lost_links();
        while self.connect_next(machines) {}
        self.outdate_weak();
        self.choose_sources();
        self.judge_quorum();
        self.stamp();
    }

    /// Power is gone: the kernel forgets, the metadata stays as the last write left it.
    pub fn crash(&mut self, node: &str) {
        let Some(kernel) = self.kernels.remove(node) else { return };
        for resource in kernel.into_values() {
            let Some(backing) = resource.backing else { continue };
            let Some(md) = self.metadata.get_mut(node).and_then(|d| d.get_mut(&backing.device)) else { continue };
            if !md.primary_known {
                md.al_clean = true;
            }
        }
    }

    fn drop_lost_links(&mut self) {
        for name in self.resource_names() {
            for node in self.holders(&name) {
                let ids: Vec<(u32, String)> = match self.resource(&node, &name) {
                    Some(r) => r
                        .peers
                        .iter()
                        .filter(|(_, p)| p.link == Link::Connected)
                        .map(|(id, p)| (*id, p.name.clone()))
                        .collect(),
                    None => continue,
                };
                for (id, peer) in ids {
                    if self.both_connected(&node, &name, id, &peer) && !self.is_cut(&node, &peer) {
                        continue;
                    }
                    self.lose(&node, &name, id);
                }
            }
        }
    }

    fn both_connected(&self, node: &str, name: &str, id: u32, peer: &str) -> bool {
        let Some(own) = self.resource(node, name) else { return false };
        self.resource(peer, name).is_some_and(|r| {
            r.node_id == id && r.peers.get(&own.node_id).is_some_and(|p| p.link == Link::Connected && p.name == node)
        })
    }

    /// One end notices that the other is gone and goes on trying.
    fn lose(&mut self, node: &str, name: &str, id: u32) {
        let Some(peer) = self.peer_mut(node, name, id) else { return };
        peer.link = Link::Connecting;
        peer.target = false;
        let who = peer.name.clone();
        self.say(node, format!("drbd {name} {who}: conn( Connected -> NetworkFailure -> Connecting )"));
    }

    /// Performs one handshake that is due; false when there is none.
    fn connect_next(&mut self, machines: &mut dyn Machines) -> bool {
        for name in self.resource_names() {
            let nodes = self.holders(&name);
            for (i, a) in nodes.iter().enumerate() {
                for b in &nodes[i + 1..] {
                    if self.can_connect(&name, a, b) {
                        self.handshake(machines, &name, a, b);
                        return true;
                    }
                }
            }
        }
        false
    }

    fn can_connect(&self, name: &str, a: &str, b: &str) -> bool {
        let (Some(left), Some(right)) = (self.resource(a, name), self.resource(b, name)) else { return false };
        let (Some(to_b), Some(to_a)) = (left.peers.get(&right.node_id), right.peers.get(&left.node_id)) else {
            return false;
        };
        let paths_meet = match (&to_b.path, &to_a.path) {
            (Some(p), Some(q)) => p.local == q.remote && p.remote == q.local,
            _ => false,
        };
        to_b.link == Link::Connecting
            && to_a.link == Link::Connecting
            && to_b.name == b
            && to_a.name == a
            && paths_meet
            && !self.cuts.contains(&ordered(a, b))
    }

    /// A node that a Primary can reach only through others must not pass for current.
    fn outdate_weak(&mut self) {
        for name in self.resource_names() {
            for primary in self.holders(&name) {
                let Some(resource) = self.resource(&primary, &name) else { continue };
                if resource.role != Role::Primary {
                    continue;
                }
                let direct: BTreeSet<String> = self.neighbours(&primary, &name).into_iter().map(|(n, _)| n).collect();
                for node in self.partition(&primary, &name) {
                    if node == primary || direct.contains(&node) {
                        continue;
                    }
                    self.outdate(&primary, &name, &node);
                }
            }
        }
    }

    /// `node` becomes Outdated and `primary` remembers it.
    pub(super) fn outdate(&mut self, primary: &str, name: &str, node: &str) {
        let Some(resource) = self.resource_mut(node, name) else { return };
        if resource.role == Role::Primary || resource.disk < Disk::Outdated {
            return;
        }
        let id = resource.node_id;
        if resource.disk != Disk::Outdated {
            resource.disk = Disk::Outdated;
            let minor = resource.minor;
            self.say(node, format!("drbd {name}/0 drbd{minor}: disk( UpToDate -> Outdated )"));
        }
        if let Some(peer) = self.peer_mut(primary, name, id) {
            peer.known_disk = Some(Disk::Outdated);
        }
    }

    /// Nodes seen, of how many, needed for quorum.
    pub fn votes(&self, node: &str, name: &str) -> (usize, usize, usize) {
        let Some(resource) = self.resource(node, name) else { return (0, 0, 0) };
        let mut voters = usize::from(!resource.client);
        let mut seen = usize::from(resource.has_disk());
        for (id, peer) in &resource.peers {
            let remote = (peer.link == Link::Connected)
                .then(|| self.node_of(name, &peer.name, *id))
                .flatten()
                .and_then(|n| self.resource(n, name));
            voters += usize::from(!remote.is_some_and(|r| r.client));
            seen += usize::from(remote.is_some_and(|r| r.has_disk()));
        }
        (seen, voters, voters / 2 + 1)
    }

    fn judge_quorum(&mut self) {
        for name in self.resource_names() {
            for node in self.holders(&name) {
                let (seen, _, need) = self.votes(&node, &name);
                let Some(resource) = self.resource(&node, &name) else { continue };
                // The last one standing keeps quorum when it knows that all others are behind.
                let all_behind = resource.disk == Disk::UpToDate
                    && resource
                        .peers
                        .values()
                        .all(|p| p.link == Link::Connected || p.known_disk == Some(Disk::Outdated));
                let quorum = !resource.wants_quorum() || seen >= need || all_behind;
                if quorum == resource.quorum {
                    continue;
                }
                let (primary, minor) = (resource.role == Role::Primary, resource.minor);
                if let Some(md) = self.attached_mut(&node, &name) {
                    md.lost_quorum = primary && !quorum;
                }
                if let Some(resource) = self.resource_mut(&node, &name) {
                    resource.quorum = quorum;
                }
                let words = if quorum { "no -> yes" } else { "yes -> no" };
                self.say(&node, format!("drbd {name}/0 drbd{minor}: quorum( {words} )"));
            }
        }
    }

    /// Writes into the metadata what must be known after a crash.
    fn stamp(&mut self) {
        for name in self.resource_names() {
            for node in self.holders(&name) {
                let Some(resource) = self.resource(&node, &name) else { continue };
                let (disk, role, ids) =
                    (resource.disk, resource.role, resource.peers.keys().copied().collect::<Vec<_>>());
                let primary_near = role == Role::Primary
                    || ids.iter().any(|id| self.peer_role(&node, &name, *id) == Some(Role::Primary));
                let seen: Vec<(u32, bool, Option<Disk>)> = ids
                    .iter()
                    .map(|id| (*id, self.connected(&node, &name, *id), self.peer_disk(&node, &name, *id)))
                    .collect();
                let Some(md) = self.attached_mut(&node, &name) else { continue };
                md.consistent = disk >= Disk::Outdated;
                md.up_to_date = disk == Disk::UpToDate;
                md.primary_known = primary_near;
                md.al_clean = false;
                if role == Role::Primary {
                    md.crashed_primary = true;
                }
                for (id, connected, disk) in seen {
                    let slot = md.slot(id);
                    slot.connected = connected;
                    slot.outdated = matches!(disk, Some(Disk::Inconsistent | Disk::Outdated));
                    slot.seen |= connected && disk.is_some_and(|d| d != Disk::Diskless);
                }
            }
        }
    }
}
