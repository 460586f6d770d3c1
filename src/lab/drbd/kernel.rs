//! What drbdsetup asks of the kernel, one call each: make and take apart resources, disks, peers, connections.

use super::fabric::Fabric;
use super::machines::Machines;
use super::role::{Refusal, no_up_to_date};
use super::state::{Backing, Disk, Link, Options, Path, Peer, Resource, Role};

/// Why the kernel said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// `State change failed: (-N) …`, exit code 11 or 17.
    State(Refusal),
    /// `Failure: (NNN) …`, exit code 10.
    Failure(u32, &'static str),
    /// Exit code 11 without a word.
    Silent,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::State(refusal)
    }
}

pub const UNKNOWN_RESOURCE: Denied = Denied::Failure(158, "Unknown resource");

impl Fabric {
    pub fn new_resource(&mut self, node: &str, name: &str, node_id: u32, minor: u32, options: Options) {
        self.kernels.entry(node.into()).or_default().insert(name.into(), Resource::new(node_id, minor, options));
    }

    pub fn new_peer(&mut self, node: &str, name: &str, id: u32, peer: Peer) -> Result<(), Denied> {
        let resource = self.resource_mut(node, name).ok_or(UNKNOWN_RESOURCE)?;
        if resource.peers.contains_key(&id) {
            return Err(Denied::Failure(164, "Connection already exists"));
        }
        let size = resource.size_kib;
        resource.peers.insert(id, peer);
        // A bitmap slot that was never used marks everything.
        if let Some(md) = self.attached_mut(node, name)
            && !md.peers.contains_key(&id)
        {
            md.slot(id).out_of_sync_kib = size;
        }
        Ok(())
    }

    pub fn set_path(&mut self, node: &str, name: &str, id: u32, path: Option<Path>) -> Result<(), Denied> {
        self.peer_mut(node, name, id).ok_or(UNKNOWN_RESOURCE)?.path = path;
        Ok(())
    }

    pub fn del_peer(&mut self, machines: &mut dyn Machines, node: &str, name: &str, id: u32) -> Result<(), Denied> {
        self.disconnect(machines, node, name, id)?;
        if let Some(resource) = self.resource_mut(node, name) {
            resource.peers.remove(&id);
        }
        self.settle(machines);
        Ok(())
    }

    pub fn connect(
        &mut self,
        machines: &mut dyn Machines,
        node: &str,
        name: &str,
        id: u32,
        discard_my_data: bool,
    ) -> Result<(), Denied> {
        let primary = self.resource(node, name).is_some_and(|r| r.role == Role::Primary);
        let peer = self.peer_mut(node, name, id).ok_or(UNKNOWN_RESOURCE)?;
        if peer.link != Link::StandAlone {
            return Err(Denied::Failure(125, "Device has a net-config (use disconnect first)"));
        }
        if discard_my_data && primary {
            return Err(Denied::Failure(123, "--discard-my-data not allowed when primary."));
        }
        peer.link = Link::Connecting;
        peer.discard_my_data = discard_my_data;
        self.say(node, format!("drbd {name}: conn( StandAlone -> Connecting )"));
        self.settle(machines);
        Ok(())
    }

    /// Takes a connection down; a Secondary that leaves a Primary knows that it falls behind.
    pub fn disconnect(&mut self, machines: &mut dyn Machines, node: &str, name: &str, id: u32) -> Result<(), Denied> {
        let peer = self.peer(node, name, id).ok_or(UNKNOWN_RESOURCE)?;
        let was = peer.link;
        let other = peer.name.clone();
        let role_there = self.peer_role(node, name, id);
        let role_here = self.resource(node, name).map(|r| r.role);
        if let Some(peer) = self.peer_mut(node, name, id) {
            peer.link = Link::StandAlone;
            peer.target = false;
            peer.discard_my_data = false;
        }
        if was == Link::Connected {
            match (role_here, role_there) {
                (Some(Role::Secondary), Some(Role::Primary)) => self.outdate(&other, name, node),
                (Some(Role::Primary), Some(Role::Secondary)) => self.outdate(node, name, &other),
                _ => {}
            }
        }
        self.settle(machines);
        Ok(())
    }

    /// Attaches a disk that carries metadata. `device` is what `path` leads to.
    pub fn attach(
        &mut self,
        machines: &mut dyn Machines,
        node: &str,
        name: &str,
        backing: Backing,
        size_bytes: u64,
    ) -> Result<(), Denied> {
        let resource = self.resource(node, name).ok_or(UNKNOWN_RESOURCE)?;
        if resource.backing.is_some() {
            return Err(Denied::Failure(124, "Device is attached to a disk (use detach first)"));
        }
        let taken = self
            .kernels
            .get(node)
            .into_iter()
            .flatten()
            .any(|(_, r)| r.backing.as_ref().is_some_and(|b| b.device == backing.device));
        if taken {
            return Err(Denied::Failure(114, "Lower device is already claimed. This usually means it is mounted."));
        }
        let (node_id, ids) = (resource.node_id, resource.peers.keys().copied().collect::<Vec<_>>());
        let agreed = resource.size_kib;
        let Some(md) = self.metadata.get_mut(node).and_then(|d| d.get_mut(&backing.device)) else {
            return Err(Denied::Failure(
                119,
                "No valid meta-data signature found.\n\n\t==> Use 'drbdadm create-md res' to initialize meta-data area. <==\n",
            ));
        };
        if md.node_id.is_some_and(|id| id != node_id) {
            return Err(Denied::Failure(165, "There is no bitmap slot for this node-id in the meta-data"));
        }
        md.node_id = Some(node_id);
        md.device_bytes = size_bytes;
        let usable = super::metadata::usable_kib(size_bytes, md.max_peers);
        let size = if agreed == 0 { usable } else { agreed.min(usable) };
        for id in ids {
            if !md.peers.contains_key(&id) {
                md.slot(id).out_of_sync_kib = size;
            }
        }
        let disk = match (md.consistent, md.up_to_date) {
            (false, _) => Disk::Inconsistent,
            (true, false) => Disk::Outdated,
            (true, true) => Disk::UpToDate,
        };
        let remembered: Vec<(u32, bool)> = md.peers.iter().map(|(id, s)| (*id, s.outdated)).collect();
        if let Some(resource) = self.resource_mut(node, name) {
            resource.backing = Some(backing);
            resource.disk = disk;
            resource.size_kib = size;
            for (id, outdated) in remembered {
                if let Some(peer) = resource.peers.get_mut(&id)
                    && peer.link != Link::Connected
                {
                    peer.known_disk = (outdated && disk == Disk::UpToDate).then_some(Disk::Outdated);
                }
            }
        }
        for (other, _) in self.neighbours(node, name) {
            self.handshake(machines, name, node, &other);
        }
        self.settle(machines);
        Ok(())
    }

    pub fn detach(&mut self, machines: &mut dyn Machines, node: &str, name: &str) -> Result<(), Denied> {
        let resource = self.resource(node, name).ok_or(UNKNOWN_RESOURCE)?;
        if resource.backing.is_none() {
            return Ok(());
        }
        let elsewhere = self
            .neighbours(node, name)
            .iter()
            .any(|(n, _)| self.resource(n, name).is_some_and(|r| r.disk == Disk::UpToDate));
        if resource.role == Role::Primary && !elsewhere {
            return Err(no_up_to_date().into());
        }
        self.drop_disk(node, name);
        self.settle(machines);
        Ok(())
    }

    /// Takes a resource down: demote, disconnect, detach, remove. A reader stops it half way.
    pub fn down(&mut self, machines: &mut dyn Machines, node: &str, name: &str) -> Result<(), Denied> {
        let Some(resource) = self.resource(node, name) else { return Ok(()) };
        let failing = resource.force_io_failures;
        if !failing && resource.role == Role::Primary {
            self.demote(machines, node, name, false)?;
        }
        let ids: Vec<u32> = self.resource(node, name).map(|r| r.peers.keys().copied().collect()).unwrap_or_default();
        for id in ids {
            self.del_peer(machines, node, name, id)?;
        }
        if !failing && self.resource(node, name).is_some_and(|r| !r.openers.is_empty()) {
            let info = self.holders_text(node, name, false);
            return Err(Refusal { info, ..no_up_to_date() }.into());
        }
        self.drop_disk(node, name);
        if let Some(kernel) = self.kernels.get_mut(node) {
            kernel.remove(name);
        }
        self.settle(machines);
        Ok(())
    }

    /// Local data is thrown away and fetched again.
    pub fn invalidate(&mut self, machines: &mut dyn Machines, node: &str, name: &str) -> Result<(), Denied> {
        let resource = self.resource(node, name).ok_or(UNKNOWN_RESOURCE)?;
        if resource.role == Role::Primary {
            return Err(Denied::Silent);
        }
        let sources: Vec<String> = self
            .neighbours(node, name)
            .into_iter()
            .map(|(n, _)| n)
            .filter(|n| self.resource(n, name).is_some_and(|r| r.disk == Disk::UpToDate))
            .collect();
        if !resource.has_disk() {
            return Err(Denied::Failure(102, "No disk"));
        }
        if sources.is_empty() {
            return Err(no_up_to_date().into());
        }
        for source in sources {
            self.start_resync(machines, name, &source, node, true);
        }
        self.settle(machines);
        Ok(())
    }

    /// `new-current-uuid`; with `clear_bitmap` on a fresh data set it declares all replicas equal.
    pub fn new_current_uuid(
        &mut self,
        machines: &mut dyn Machines,
        node: &str,
        name: &str,
        clear_bitmap: bool,
        force_resync: bool,
    ) -> Result<(), Denied> {
        let resource = self.resource(node, name).ok_or(UNKNOWN_RESOURCE)?;
        let fresh = self.attached(node, name).ok_or(Denied::Failure(102, "No disk"))?.just_created();
        let near = self.neighbours(node, name);
        let node_id = resource.node_id;
        let all_established = near.iter().all(|(_, id)| !self.replication(node, name, *id).syncs());
        let fresh_everywhere = fresh
            && all_established
            && near.iter().all(|(n, _)| self.attached(n, name).is_none_or(|m| m.just_created()));
        if force_resync && fresh_everywhere {
            self.invent_generation(machines, node, name, false);
            self.settle(machines);
            return Ok(());
        }
        if !fresh_everywhere && !near.is_empty() {
            return Err(Denied::Failure(151, "Need to be StandAlone"));
        }
        let new = self.new_uuid();
        if !fresh_everywhere {
            if let Some(md) = self.attached_mut(node, name) {
                let old = md.generation();
                md.remember(old);
                md.current = new;
                for slot in md.peers.values_mut() {
                    slot.bitmap_uuid = if clear_bitmap { 0 } else { old };
                    slot.out_of_sync_kib = if clear_bitmap { 0 } else { slot.out_of_sync_kib };
                }
            }
            return Ok(());
        }
        let mut group = vec![(node.to_owned(), node_id)];
        group.extend(near);
        group.retain(|(n, _)| self.resource(n, name).is_some_and(|r| r.has_disk()));
        for (n, _) in &group {
            if let Some(md) = self.attached_mut(n, name) {
                md.current = new;
            }
            self.set_disk(n, name, Disk::UpToDate);
        }
        for (i, a) in group.iter().enumerate() {
            for b in &group[i + 1..] {
                self.clear_between(name, (&a.0, a.1), (&b.0, b.1));
            }
        }
        self.settle(machines);
        Ok(())
    }

    /// Takes the sizes of grown disks; the new part is synced in the background.
    pub fn resize(&mut self, machines: &mut dyn Machines, node: &str, name: &str) -> Result<(), Denied> {
        let resource = self.resource(node, name).ok_or(UNKNOWN_RESOURCE)?;
        let node_id = resource.node_id;
        let old = resource.size_kib;
        let mut group = vec![(node.to_owned(), node_id)];
        group.extend(self.neighbours(node, name));
        group.retain(|(n, _)| self.resource(n, name).is_some_and(|r| r.backing.is_some()));
        let mut smallest = u64::MAX;
        for (n, _) in &group {
            let Some(path) = self.resource(n, name).and_then(|r| r.backing.as_ref()).map(|b| b.path.clone()) else {
                continue;
            };
            let Some(device) = machines.device(n, &path) else { continue };
            let Some(md) = self.attached_mut(n, name) else { continue };
            md.device_bytes = device.size_bytes;
            smallest = smallest.min(super::metadata::usable_kib(device.size_bytes, md.max_peers));
        }
        if smallest == u64::MAX || smallest == old {
            return Ok(());
        }
        if smallest < old {
            return Err(Denied::Failure(140, "Low.dev. smaller than requested DRBD-dev. size."));
        }
        for (n, _) in &group {
            if let Some(resource) = self.resource_mut(n, name) {
                resource.size_kib = smallest;
            }
        }
        for (n, id) in group.iter().skip(1) {
            if let Some(md) = self.attached_mut(node, name) {
                md.slot(*id).out_of_sync_kib += smallest - old;
            }
            self.start_resync(machines, name, node, n, false);
        }
        self.settle(machines);
        Ok(())
    }
}
