//! Resyncs: who copies from whom, how far it is, what holds when it ends.

use super::fabric::Fabric;
use super::machines::Machines;
use super::state::{Disk, Link, Role};

/// A whole device takes this long, whatever its size: long enough to be seen, short enough to wait for.
pub const FULL_RESYNC_MS: u64 = 4_000;

impl Fabric {
    pub(super) fn start_resync(
        &mut self,
        machines: &mut dyn Machines,
        name: &str,
        source: &str,
        target: &str,
        whole: bool,
    ) {
        let (Some(from), Some(to)) = (self.resource(source, name), self.resource(target, name)) else { return };
        let (source_id, target_id, size) = (from.node_id, to.node_id, from.size_kib.max(to.size_kib));
        if from.disk != Disk::UpToDate {
            // Newer than the other, but itself behind a third: the other cannot be current either.
            if to.disk == Disk::UpToDate {
                self.set_disk(target, name, Disk::Outdated);
            }
            return;
        }
        let behind = self.attached(source, name).map_or(0, |m| m.out_of_sync(target_id))
            + self.attached(target, name).map_or(0, |m| m.out_of_sync(source_id));
        let behind = if whole { size } else { behind.min(size) };
        let generation = self.attached(target, name).filter(|m| !m.just_created()).map_or(0, |m| m.generation());
        if let Some(md) = self.attached_mut(source, name) {
            let slot = md.slot(target_id);
            slot.out_of_sync_kib = behind;
            if slot.bitmap_uuid == 0 {
                slot.bitmap_uuid = generation;
            }
        }
        if let Some(md) = self.attached_mut(target, name) {
            md.slot(source_id).out_of_sync_kib = behind;
        }
        self.set_disk(target, name, Disk::Inconsistent);
        if let Some(peer) = self.peer_mut(target, name, source_id) {
            peer.target = true;
        }
        self.say(target, format!("drbd {name} {source}: Began resync as SyncTarget (will sync {behind} KB)"));
        if behind == 0 {
            self.finish_resync(machines, name, source, target);
        }
    }

    /// One source at a time: the one in use, else the lowest node-id.
    pub(super) fn choose_sources(&mut self) {
        for name in self.resource_names() {
            for node in self.holders(&name) {
                let Some(resource) = self.resource(&node, &name) else { continue };
                let able: Vec<u32> = resource
                    .peers
                    .iter()
                    .filter(|(id, p)| {
                        p.target
                            && !p.paused
                            && p.link == Link::Connected
                            && self.peer_disk(&node, &name, **id) == Some(Disk::UpToDate)
                            && !self.peer(&p.name, &name, resource.node_id).is_some_and(|back| back.paused)
                    })
                    .map(|(id, _)| *id)
                    .collect();
                let chosen = match resource.active_source {
                    Some(id) if able.contains(&id) => Some(id),
                    _ => able.first().copied(),
                };
                if chosen == resource.active_source {
                    continue;
                }
                let now = self.now_ms;
                let behind = chosen.and_then(|id| Some(self.attached(&node, &name)?.out_of_sync(id))).unwrap_or(0);
                let Some(resource) = self.resource_mut(&node, &name) else { continue };
                resource.active_source = chosen;
                if let Some(peer) = chosen.and_then(|id| resource.peers.get_mut(&id)) {
                    peer.resync_total_kib = behind;
                    peer.resync_started_ms = now;
                }
            }
        }
    }

    /// Moves every running resync by `ms`; true when one ended.
    pub(super) fn resync(&mut self, machines: &mut dyn Machines, ms: u64) -> bool {
        let mut ended = false;
        for name in self.resource_names() {
            for node in self.holders(&name) {
                let Some(resource) = self.resource(&node, &name) else { continue };
                let Some(source_id) = resource.active_source else { continue };
                let Some(peer) = resource.peers.get(&source_id) else { continue };
                let (source, node_id) = (peer.name.clone(), resource.node_id);
                let step = resource.size_kib.saturating_mul(ms) / FULL_RESYNC_MS;
                let behind = self.attached(&node, &name).map_or(0, |m| m.out_of_sync(source_id));
                let moved = step.min(behind);
                // Blocks of 4 KiB.
                let left = (behind - moved) / 4 * 4;
                self.set_behind(&name, (&node, node_id), (&source, source_id), left);
                if let Some(peer) = self.peer_mut(&node, &name, source_id) {
                    peer.received_kib += behind - left;
                }
                if let Some(peer) = self.peer_mut(&source, &name, node_id) {
                    peer.sent_kib += behind - left;
                }
                if left == 0 && behind > 0 || behind == 0 {
                    self.finish_resync(machines, &name, &source, &node);
                    ended = true;
                } else {
                    self.follow_along(&name, &node, source_id, left);
                }
            }
        }
        ended
    }

    fn set_behind(&mut self, name: &str, a: (&str, u32), b: (&str, u32), kib: u64) {
        for (node, other) in [(a.0, b.1), (b.0, a.1)] {
            if let Some(md) = self.attached_mut(node, name) {
                md.slot(other).out_of_sync_kib = kib;
            }
        }
    }

    /// What arrived from one source need not come from another: their bitmaps clear in steps of 4 MiB.
    fn follow_along(&mut self, name: &str, node: &str, source_id: u32, left: u64) {
        let coarse = left.next_multiple_of(4096);
        let Some(node_id) = self.resource(node, name).map(|r| r.node_id) else { return };
        for (other, other_id) in self.neighbours(node, name) {
            let waits = self.peer(node, name, other_id).is_some_and(|p| p.target);
            let between = self.attached(node, name).map_or(0, |m| m.out_of_sync(other_id));
            if other_id != source_id && waits && between > coarse {
                self.set_behind(name, (node, node_id), (&other, other_id), coarse);
            }
        }
    }

    pub(super) fn finish_resync(&mut self, machines: &mut dyn Machines, name: &str, source: &str, target: &str) {
        let (Some(from), Some(to)) = (self.attached(source, name).cloned(), self.attached(target, name)) else {
            return;
        };
        let old = to.generation();
        let (Some(s), Some(t)) = (self.resource(source, name), self.resource(target, name)) else { return };
        let (source_id, target_id) = (s.node_id, t.node_id);
        if let (Some(a), Some(b)) = (&s.backing, &t.backing) {
            let (a, b) = (a.device.clone(), b.device.clone());
            machines.copy_data((source, &a), (target, &b));
        }
        self.clear_between(name, (source, source_id), (target, target_id));
        if let Some(md) = self.attached_mut(target, name) {
            md.current = from.generation();
            md.history = from.history.clone();
            md.remember(from.bitmap_of(target_id));
            md.remember(old);
            md.crashed_primary = false;
            // What the source knows to have changed since others left, the target knows now too.
            for (id, slot) in &from.peers {
                if *id != target_id {
                    let own = md.slot(*id);
                    own.bitmap_uuid = slot.bitmap_uuid;
                    own.out_of_sync_kib = slot.out_of_sync_kib;
                }
            }
        }
        if let Some(resource) = self.resource_mut(target, name) {
            resource.disk = Disk::UpToDate;
            resource.active_source = None;
        }
        self.say(target, format!("drbd {name} {source}: Resync done"));
        for (other, other_id) in self.neighbours(target, name) {
            let same = self.attached(&other, name).is_some_and(|m| m.generation() == from.generation());
            if other_id != source_id && same {
                self.note_equal(name, target, &other);
            }
        }
    }

    /// A write reached the node's device: it goes to all connected replicas and is noted for the absent ones.
    pub(super) fn note_write(&mut self, node: &str, name: &str, kib: u64) {
        let Some(resource) = self.resource(node, name) else { return };
        let size = resource.size_kib;
        let writer_id = resource.node_id;
        let mut current: Vec<(String, u32)> = vec![(node.to_owned(), writer_id)];
        current.extend(self.neighbours(node, name));
        current.retain(|(n, _)| self.resource(n, name).is_some_and(|r| r.disk == Disk::UpToDate));
        let ids: Vec<u32> = resource.peers.keys().copied().filter(|id| !current.iter().any(|(_, c)| c == id)).collect();
        // Targets of a running resync get the write too; only those out of reach fall behind.
        let away: Vec<u32> = ids
            .into_iter()
            .filter(|id| {
                !self.connected(node, name, *id) || self.peer_disk(node, name, *id) != Some(Disk::Inconsistent)
            })
            .collect();
        let needs_generation = current
            .iter()
            .any(|(n, _)| self.attached(n, name).is_some_and(|md| away.iter().any(|id| md.bitmap_of(*id) == 0)));
        if needs_generation && !current.is_empty() {
            let new = self.new_uuid();
            let by_primary = self.resource(node, name).is_some_and(|r| r.role == Role::Primary);
            for (n, _) in &current {
                let writer = n == node && by_primary;
                if let Some(md) = self.attached_mut(n, name) {
                    let old = md.current;
                    for id in &away {
                        let slot = md.slot(*id);
                        if slot.bitmap_uuid == 0 {
                            slot.bitmap_uuid = old & !1;
                        }
                    }
                    md.current = new | u64::from(writer);
                }
            }
            self.say(node, format!("drbd {name}: new current UUID: {new:016X}"));
            let replicas = current.iter().filter_map(|(n, _)| {
                let backing = self.resource(n, name)?.backing.as_ref()?;
                Some((n.clone(), backing.device.clone()))
            });
            let replicas = replicas.collect();
            self.diverged.push(replicas);
        }
        for (n, _) in &current {
            if let Some(md) = self.attached_mut(n, name) {
                for id in &away {
                    let slot = md.slot(*id);
                    slot.out_of_sync_kib = (slot.out_of_sync_kib + kib).min(size);
                }
            }
        }
        if let Some(resource) = self.resource_mut(node, name) {
            resource.written_kib += kib;
        }
    }
}
