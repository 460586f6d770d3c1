//! Promotion and demotion, by command and by opening the device; writes; what a Primary may do.

use super::fabric::Fabric;
use super::machines::Machines;
use super::state::{Disk, Link, Opener, Role};

/// Why the kernel refuses a state change: its number, its words, and what it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub number: i32,
    pub text: &'static str,
    /// Lines under `additional info from kernel:`.
    pub info: Vec<String>,
}

impl Refusal {
    fn new(number: i32, text: &'static str) -> Self {
        Self { number, text, info: Vec::new() }
    }

    /// Exit code of drbdsetup.
    pub fn rc(&self) -> i32 {
        if self.number == -2 { 17 } else { 11 }
    }
}

pub fn multiple_primaries() -> Refusal {
    Refusal::new(-1, "Multiple primaries not allowed by config")
}

pub fn no_up_to_date() -> Refusal {
    Refusal::new(-2, "Need access to UpToDate data")
}

/// Why `/dev/drbdN` does not open; `errno` is the symbol, `text` what programs print for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("No such file or directory")]
    NoDevice,
    /// ENODATA: no current data within reach, or no quorum.
    #[error("No data available")]
    NoData,
    /// EMEDIUMTYPE: in use on another node.
    #[error("Wrong medium type")]
    WrongMedium,
    /// EROFS: Secondary, and opening does not promote here.
    #[error("Read-only file system")]
    ReadOnly,
    /// ENOTRECOVERABLE: demoted by force while open.
    #[error("State not recoverable")]
    NotRecoverable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("Input/output error")]
    Io,
    /// The write would wait until quorum returns.
    #[error("I/O is suspended until quorum returns")]
    Suspended,
}

impl Fabric {
    /// `drbdsetup primary`.
    pub fn promote(
        &mut self,
        machines: &mut dyn Machines,
        node: &str,
        name: &str,
        force: bool,
        explicit: bool,
    ) -> Result<(), Refusal> {
        self.settle(machines);
        let Some(resource) = self.resource(node, name) else { return Err(no_up_to_date()) };
        if resource.role == Role::Primary {
            if explicit && let Some(resource) = self.resource_mut(node, name) {
                resource.explicit = true;
            }
            return Ok(());
        }
        if self.partition_has_primary(node, name) {
            return Err(multiple_primaries());
        }
        if resource.disk == Disk::Outdated && !force && !self.reaches_good_data(node, name) {
            return Err(no_up_to_date());
        }
        let good = self.reaches_good_data(node, name);
        let may_invent = force && resource.has_disk();
        if !good && !may_invent {
            return Err(no_up_to_date());
        }
        if !resource.quorum && !force {
            let (seen, of, need) = self.votes(node, name);
            return Err(Refusal {
                info: vec![format!("{seen} of {of} nodes visible, need {need} for quorum")],
                ..Refusal::new(-25, "No quorum")
            });
        }
        if force && !resource.quorum {
            self.consider_peers_outdated(node, name);
        }
        if !good {
            self.invent_generation(machines, node, name, true);
        }
        if let Some(resource) = self.resource_mut(node, name) {
            resource.role = Role::Primary;
            resource.explicit = explicit;
        }
        self.say(node, format!("drbd {name}: role( Secondary -> Primary )"));
        self.settle(machines);
        Ok(())
    }

    fn consider_peers_outdated(&mut self, node: &str, name: &str) {
        let Some(resource) = self.resource_mut(node, name) else { return };
        for peer in resource.peers.values_mut().filter(|p| p.link != Link::Connected) {
            peer.known_disk = Some(Disk::Outdated);
        }
        self.say(node, format!("drbd {name}: Forced to consider peers as Outdated!"));
    }

    /// Declares the local disk good: a new data set, which all others must copy whole.
    pub(super) fn invent_generation(&mut self, machines: &mut dyn Machines, node: &str, name: &str, primary: bool) {
        let base = self.new_uuid();
        let current = self.new_uuid();
        let Some(resource) = self.resource(node, name) else { return };
        let (size, node_id, ids) =
            (resource.size_kib, resource.node_id, resource.peers.keys().copied().collect::<Vec<_>>());
        let near = self.neighbours(node, name);
        if let Some(md) = self.attached_mut(node, name) {
            let old = md.generation();
            md.remember(old);
            md.current = current | u64::from(primary);
            for id in ids {
                let slot = md.slot(id);
                slot.bitmap_uuid = base;
                slot.out_of_sync_kib = size;
            }
        }
        self.set_disk(node, name, Disk::UpToDate);
        self.say(node, format!("drbd {name}: new current UUID: {current:016X}"));
        for (other, _) in near {
            let behind = self.resource(&other, name).is_some_and(|r| r.has_disk());
            if !behind {
                continue;
            }
            if let Some(md) = self.attached_mut(&other, name) {
                md.current = base;
                md.slot(node_id).out_of_sync_kib = size;
            }
            self.start_resync(machines, name, node, &other, true);
        }
    }

    /// `drbdsetup secondary`.
    pub fn demote(&mut self, machines: &mut dyn Machines, node: &str, name: &str, force: bool) -> Result<(), Refusal> {
        let Some(resource) = self.resource(node, name) else { return Ok(()) };
        if resource.role == Role::Secondary {
            return Ok(());
        }
        let held = resource.held_rw();
        if held && !force {
            return Err(Refusal {
                info: self.holders_text(node, name, true),
                ..Refusal::new(-12, "Device is held open by someone")
            });
        }
        if let Some(resource) = self.resource_mut(node, name) {
            resource.force_io_failures = held;
        }
        self.become_secondary(node, name);
        self.settle(machines);
        Ok(())
    }

    pub(super) fn become_secondary(&mut self, node: &str, name: &str) {
        let quorum = self.resource(node, name).is_none_or(|r| r.quorum);
        if let Some(resource) = self.resource_mut(node, name) {
            resource.role = Role::Secondary;
            resource.explicit = false;
        }
        if let Some(md) = self.attached_mut(node, name) {
            md.current &= !1;
            md.crashed_primary = false;
            md.lost_quorum &= !quorum;
        }
        self.say(node, format!("drbd {name}: role( Primary -> Secondary )"));
    }

    pub(super) fn holders_text(&self, node: &str, name: &str, writers_only: bool) -> Vec<String> {
        let Some(resource) = self.resource(node, name) else { return Vec::new() };
        resource
            .openers
            .iter()
            .filter(|o| o.writes || !writers_only)
            .map(|o| format!("drbd{} opened by {} (pid {}) at {}", resource.minor, o.comm, o.pid, clock(o.at_ms)))
            .collect()
    }

    /// Opens for reading and writing: promotes if it must and may.
    pub fn open_rw(
        &mut self,
        machines: &mut dyn Machines,
        node: &str,
        minor: u32,
        holder: &str,
    ) -> Result<(), OpenError> {
        self.settle(machines);
        let name = self.by_minor(node, minor).ok_or(OpenError::NoDevice)?.to_owned();
        let resource = self.resource(node, &name).ok_or(OpenError::NoDevice)?;
        if resource.force_io_failures {
            return Err(OpenError::NotRecoverable);
        }
        let promoted = resource.role == Role::Secondary;
        if promoted {
            if !resource.auto_promote() {
                return Err(OpenError::ReadOnly);
            }
            self.promote(machines, node, &name, false, false).map_err(|refusal| match refusal.number {
                -1 => OpenError::WrongMedium,
                _ => OpenError::NoData,
            })?;
        } else if !self.reaches_good_data(node, &name) {
            return Err(OpenError::NoData);
        }
        self.add_opener(node, &name, holder, true, promoted);
        Ok(())
    }

    /// Opens for reading only: never promotes, and does not work beside a Primary elsewhere.
    pub fn open_ro(
        &mut self,
        machines: &mut dyn Machines,
        node: &str,
        minor: u32,
        holder: &str,
    ) -> Result<(), OpenError> {
        let name = self.can_read(machines, node, minor)?;
        self.add_opener(node, &name, holder, false, false);
        Ok(())
    }

    /// Whether a read-only open would work now (blkid, blockdev, dumpe2fs); the resource's name when it does.
    pub fn can_read(&mut self, machines: &mut dyn Machines, node: &str, minor: u32) -> Result<String, OpenError> {
        self.settle(machines);
        let name = self.by_minor(node, minor).ok_or(OpenError::NoDevice)?.to_owned();
        let resource = self.resource(node, &name).ok_or(OpenError::NoDevice)?;
        if resource.force_io_failures {
            Err(OpenError::NotRecoverable)
        } else if resource.role == Role::Secondary && self.partition_has_primary(node, &name) {
            Err(OpenError::WrongMedium)
        } else if !self.reaches_good_data(node, &name) || (resource.role == Role::Secondary && !resource.quorum) {
            Err(OpenError::NoData)
        } else {
            Ok(name)
        }
    }

    fn add_opener(&mut self, node: &str, name: &str, holder: &str, writes: bool, promoted: bool) {
        let at_ms = self.now_ms;
        self.pids_made += 1;
        let pid = 2000 + self.pids_made * 7 % 30_000;
        // A container's root is mounted by `mount`, and what nfsd holds was; the kernel keeps 15 characters.
        let comm = if holder.starts_with("lxc-") || holder == "nfsd" { "mount" } else { holder };
        let comm: String = comm.chars().take(15).collect();
        if let Some(resource) = self.resource_mut(node, name) {
            resource.openers.push(Opener { holder: holder.into(), comm, pid, at_ms, writes, promoted });
        }
    }

    /// The last writer's close gives back a role that opening had taken.
    pub fn close(&mut self, machines: &mut dyn Machines, node: &str, minor: u32, holder: &str) {
        let Some(name) = self.by_minor(node, minor).map(str::to_owned) else { return };
        let Some(resource) = self.resource_mut(node, &name) else { return };
        let Some(at) = resource.openers.iter().rposition(|o| o.holder == holder) else { return };
        let closed = resource.openers.remove(at);
        if resource.openers.is_empty() {
            resource.force_io_failures = false;
        }
        let last = closed.writes && !resource.held_rw();
        let gives_back = last && resource.role == Role::Primary && !resource.explicit && resource.auto_promote();
        if gives_back {
            self.become_secondary(node, &name);
        }
        self.settle(machines);
    }

    /// A write of so many KiB at a Primary.
    pub fn write(&mut self, machines: &mut dyn Machines, node: &str, minor: u32, kib: u64) -> Result<(), WriteError> {
        self.settle(machines);
        let name = self.by_minor(node, minor).ok_or(WriteError::Io)?.to_owned();
        let resource = self.resource(node, &name).ok_or(WriteError::Io)?;
        if resource.force_io_failures || resource.role == Role::Secondary {
            return Err(WriteError::Io);
        }
        if !resource.quorum {
            return Err(if resource.suspended_quorum() { WriteError::Suspended } else { WriteError::Io });
        }
        if !self.reaches_good_data(node, &name) {
            return Err(WriteError::Io);
        }
        self.note_write(node, &name, kib);
        self.settle(machines);
        Ok(())
    }

    /// Where the data of the node's device lives now: every current replica that gets its writes.
    pub fn replicas(&self, node: &str, minor: u32) -> Vec<(String, String)> {
        let Some(name) = self.by_minor(node, minor) else { return Vec::new() };
        let mut nodes = vec![node.to_owned()];
        nodes.extend(self.neighbours(node, name).into_iter().map(|(n, _)| n));
        nodes
            .into_iter()
            .filter_map(|n| {
                let resource = self.resource(&n, name)?;
                let backing = resource.backing.as_ref()?;
                (resource.disk == Disk::UpToDate).then(|| (n.clone(), backing.device.clone()))
            })
            .collect()
    }

    /// A local disk gave an I/O error: DRBD detaches and goes on over the network.
    pub fn fail_disk(&mut self, machines: &mut dyn Machines, node: &str, device: &str) {
        let names: Vec<String> = self
            .kernels
            .get(node)
            .into_iter()
            .flatten()
            .filter(|(_, r)| r.backing.as_ref().is_some_and(|b| b.device == device))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.say(node, format!("drbd {name}/0: local IO error, detaching"));
            self.drop_disk(node, &name);
        }
        self.settle(machines);
    }

    /// The disk leaves, the device stays. The metadata keeps that it is no longer current.
    pub(super) fn drop_disk(&mut self, node: &str, name: &str) {
        if let Some(md) = self.attached_mut(node, name) {
            if md.up_to_date && md.primary_known {
                md.up_to_date = false;
            }
            md.al_clean = true;
        }
        if let Some(resource) = self.resource_mut(node, name) {
            resource.backing = None;
            resource.disk = Disk::Diskless;
            resource.active_source = None;
            for peer in resource.peers.values_mut() {
                peer.target = false;
            }
        }
        let Some(id) = self.resource(node, name).map(|r| r.node_id) else { return };
        for other in self.holders(name) {
            if let Some(peer) = self.peer_mut(&other, name, id) {
                peer.target = false;
            }
        }
    }
}

/// `2026-11-22 07:58:07.623` for a lab clock in milliseconds since the epoch.
pub fn clock(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let (y, m, d) = civil(days as i64);
    let (h, min, s, milli) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    format!("{y:04}-{m:02}-{d:02} {h:02}:{min:02}:{s:02}.{milli:03}")
}

/// Howard Hinnant's days-to-civil.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}
