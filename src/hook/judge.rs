//! From an observation to a verdict: which rows of the table apply, and the sentence that the worst of them makes.
//!
//! Every state word is matched without a catch-all, so that a word DRBD gains cannot slip through as harmless.

use super::observation::{Held, Module, Observation, Quorum, Seen, State};
use super::rows::{self as row, Row};
use crate::drbd::status::{Connection, Device, PeerDevice, Resource};
use crate::drbd::words::{ConnectionState, DiskState, ReplicationState, Role};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Allow,
    /// Allowed, with something that a person should know.
    Warn,
    Deny,
}

/// What the disk of this node must at least be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnDisk {
    UpToDate,
    /// Or on its way there, with an UpToDate peer to read from meanwhile.
    #[default]
    Syncing,
    /// None at all will do, with an UpToDate peer to read from.
    Any,
}

/// A row that applies, with its texts filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub row: &'static Row,
    resource: String,
    peer: String,
    state: String,
}

impl Finding {
    fn fill(&self, text: &str) -> String {
        text.replace("{r}", &self.resource).replace("{p}", &self.peer).replace("{s}", &self.state)
    }

    /// What is wrong.
    pub fn wrong(&self) -> String {
        self.fill(self.row.wrong)
    }

    /// What is wrong, why that is dangerous, what to do.
    pub fn sentence(&self) -> String {
        self.fill(&format!("{}: {}. {}.", self.row.wrong, self.row.danger, self.row.todo))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub answer: Answer,
    /// What is worth saying, the worst first.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Everything that denies can pass by itself.
    pub fn heals(&self) -> bool {
        self.answer == Answer::Deny && self.denials().all(|f| f.row.heals)
    }

    fn denials(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.row.answer == Answer::Deny)
    }

    /// One line: the worst in full, the rest by what is wrong.
    pub fn sentence(&self) -> String {
        let Some((first, rest)) = self.findings.split_first() else { return String::new() };
        let mut text = first.sentence();
        if !rest.is_empty() {
            text.push_str(" Also: ");
            text.push_str(&rest.iter().map(Finding::wrong).collect::<Vec<_>>().join("; "));
            text.push('.');
        }
        text
    }
}

/// Judges a start from one look.
pub fn judge(observation: &Observation, own_disk: OwnDisk) -> Verdict {
    let mut found = Found::default();
    if observation.resources.is_empty() {
        return found.verdict();
    }
    if let Some((seen, why)) = observation.resources.iter().find_map(|seen| match &seen.state {
        State::Hidden(why) => Some((seen, why)),
        _ => None,
    }) {
        found.add(&row::CONTAINER_UNTOLD, &seen.name, "", why);
        return found.verdict();
    }
    let names: Vec<&str> = observation.resources.iter().map(|r| r.name.as_str()).collect();
    let names = names.join(", ");
    match &observation.module {
        Module::Loaded(version) if version.major == 9 => {}
        Module::Loaded(version) if version.major < 9 => found.add(&row::MODULE_8, &names, "", version),
        Module::Loaded(version) => found.add(&row::MODULE_NEW, &names, "", version),
        Module::Absent => found.add(&row::MODULE_ABSENT, &names, "", ""),
        Module::Untold(why) => found.add(&row::MODULE_UNTOLD, &names, "", why),
    }
    // Without a module of this generation its answers mean nothing.
    if found.0.is_empty() {
        for seen in &observation.resources {
            resource(&mut found, seen, own_disk);
        }
    }
    found.verdict()
}

#[derive(Default)]
struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, row: &'static Row, resource: &str, peer: &str, state: impl ToString) {
        if row.answer == Answer::Allow {
            return;
        }
        let state = state.to_string();
        self.0.push(Finding { row, resource: resource.to_owned(), peer: peer.to_owned(), state });
    }

    /// The same row for several peers is one finding that names them all.
    fn verdict(self) -> Verdict {
        let mut findings: Vec<Finding> = Vec::new();
        for next in self.0 {
            match findings.iter_mut().find(|f| f.row == next.row && f.resource == next.resource) {
                Some(same) => {
                    append(&mut same.peer, &next.peer);
                    append(&mut same.state, &next.state);
                }
                None => findings.push(next),
            }
        }
        // What waiting does not cure comes first: that is what a person has to do something about.
        findings.sort_by_key(|f| (std::cmp::Reverse(f.row.answer), f.row.heals));
        Verdict { answer: findings.first().map_or(Answer::Allow, |f| f.row.answer), findings }
    }
}

fn append(list: &mut String, word: &str) {
    if !word.is_empty() && !list.split(", ").any(|w| w == word) {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(word);
    }
}

fn resource(found: &mut Found, seen: &Seen, own_disk: OwnDisk) {
    let name = &seen.name;
    let (status, quorum, held) = match &seen.state {
        State::NotUp => return found.add(&row::NOT_UP, name, "", ""),
        State::Untold(why) | State::Hidden(why) => return found.add(&row::UNTOLD, name, "", why),
        State::Up { status, quorum, held } => (status, quorum, held),
    };
    for word in status.unknown_words() {
        found.add(&row::UNKNOWN_WORD, name, "", word);
    }
    role_here(found, status, held);
    suspended(found, status);
    for device in &status.devices {
        disk(found, status, device, own_disk);
        if device.quorum == Some(false) {
            found.add(&row::QUORUM_LOST, name, "", "");
        }
    }
    connections(found, status, quorum);
}

fn role_here(found: &mut Found, status: &Resource, held: &Held) {
    let name = &status.name;
    match (&status.role, held) {
        (Role::Secondary, _) => {}
        (Role::Primary, Held::No) => found.add(&row::PRIMARY_FREE, name, "", ""),
        (Role::Primary, Held::By(who)) => found.add(&row::HELD_HERE, name, "", who.join(", ")),
        (Role::Primary, Held::Untold(why)) => found.add(&row::HELD_UNTOLD, name, "", why),
        (Role::Primary, Held::NotAsked) => found.add(&row::HELD_UNTOLD, name, "", "nobody asked"),
        (Role::Unknown, _) => found.add(&row::ROLE_UNTOLD, name, "", ""),
        // Said by `unknown_words`.
        (Role::Other(_), _) => {}
    }
}

fn suspended(found: &mut Found, status: &Resource) {
    let name = &status.name;
    if status.suspended_user {
        found.add(&row::SUSPENDED_USER, name, "", "");
    }
    let why = [
        (status.suspended_no_data, "no-data"),
        (status.suspended_fencing, "fencing"),
        (status.suspended_quorum, "quorum"),
    ];
    for (_, word) in why.iter().filter(|(set, _)| *set) {
        found.add(&row::SUSPENDED, name, "", word);
    }
    if status.suspended && !status.suspended_user && why.iter().all(|(set, _)| !set) {
        found.add(&row::SUSPENDED, name, "", "no reason given");
    }
    if status.force_io_failures {
        found.add(&row::IO_FAILS, name, "", "");
    }
}

/// Data goes to and comes from that peer: connected, and past the handshake.
fn is_linked(c: &Connection) -> bool {
    c.connection_state == ConnectionState::Connected
        && c.peer_devices.iter().any(|d| d.replication_state.is_known() && d.replication_state != ReplicationState::Off)
}

fn towards(status: &Resource, volume: u32) -> impl Iterator<Item = (&Connection, &PeerDevice)> {
    status.connections.iter().flat_map(move |c| {
        let of_volume = c.peer_devices.iter().filter(move |d| d.volume == volume);
        of_volume.map(move |d| (c, d))
    })
}

fn disk(found: &mut Found, status: &Resource, device: &Device, own_disk: OwnDisk) {
    let name = &status.name;
    let good: Vec<(&Connection, &PeerDevice)> = towards(status, device.volume)
        .filter(|(c, d)| is_linked(c) && d.peer_disk_state == DiskState::UpToDate)
        .collect();
    let state = &device.disk_state;
    match state {
        DiskState::UpToDate => {}
        DiskState::Inconsistent => match good.iter().find(|(_, d)| d.replication_state.is_sync_target()) {
            Some((c, d)) => {
                let how = format!("{:.1} %, from {}", d.percent_in_sync, c.name);
                let strict = own_disk == OwnDisk::UpToDate;
                found.add(if strict { &row::SYNC_TARGET_STRICT } else { &row::SYNC_TARGET }, name, "", how);
            }
            None => found.add(&row::INCONSISTENT, name, "", ""),
        },
        DiskState::Outdated => found.add(&row::OUTDATED, name, "", ""),
        DiskState::Consistent => found.add(&row::CONSISTENT, name, "", ""),
        DiskState::Attaching | DiskState::Negotiating => found.add(&row::TRANSIENT, name, "", state),
        DiskState::Diskless | DiskState::Failed | DiskState::Detaching => {
            let row = match (good.is_empty(), device.client && *state == DiskState::Diskless, own_disk) {
                (true, _, _) => &row::NO_DATA,
                (false, true, _) => &row::CLIENT,
                (false, false, OwnDisk::Any) => &row::DISKLESS_ANY,
                (false, false, OwnDisk::UpToDate | OwnDisk::Syncing) => &row::DISKLESS,
            };
            found.add(row, name, "", state);
        }
        DiskState::DUnknown => found.add(&row::DISK_UNTOLD, name, "", ""),
        // Said by `unknown_words`.
        DiskState::Other(_) => {}
    }
}

fn connections(found: &mut Found, status: &Resource, quorum: &Quorum) {
    let name = &status.name;
    if status.connections.is_empty() {
        return found.add(&row::NO_PEERS, name, "", "");
    }
    let linked = status.connections.iter().filter(|c| is_linked(c)).count();
    // As `quorum majority` would count, also where it is not configured.
    let most = (linked + 1) * 2 > status.connections.len() + 1;
    let holds = *quorum == Quorum::Configured && status.devices.iter().all(|d| d.quorum == Some(true));
    let lost = status.devices.iter().any(|d| d.quorum == Some(false));
    // Without a disk here nothing can have been written apart; that there is no data within reach denies already.
    let no_data = linked == 0 && status.devices.iter().all(|d| d.disk_state == DiskState::Diskless);
    for c in &status.connections {
        let there = &c.name;
        role_there(found, name, c);
        let state = &c.connection_state;
        match state {
            ConnectionState::Connected => peer_devices(found, name, c),
            ConnectionState::StandAlone if no_data => found.add(&row::PEER_MISSING, name, there, state),
            ConnectionState::StandAlone if holds && linked > 0 => {
                found.add(&row::STANDALONE_QUORUM, name, there, state);
            }
            ConnectionState::StandAlone => found.add(&row::STANDALONE, name, there, state),
            ConnectionState::Disconnecting
            | ConnectionState::Unconnected
            | ConnectionState::Timeout
            | ConnectionState::BrokenPipe
            | ConnectionState::NetworkFailure
            | ConnectionState::ProtocolError
            | ConnectionState::TearDown
            | ConnectionState::Connecting => found.add(missing(most, holds, lost, quorum), name, there, state),
            ConnectionState::Other(_) => {}
        }
        // Connected in name only counts as missing.
        if *state == ConnectionState::Connected && !is_linked(c) && !most {
            found.add(missing(most, holds, lost, quorum), name, there, "handshake");
        }
    }
}

fn missing(most: bool, holds: bool, lost: bool, quorum: &Quorum) -> &'static Row {
    match quorum {
        // Lost quorum is a finding of its own, which denies.
        Quorum::Off if most => &row::PEER_MISSING_NO_QUORUM,
        _ if most || lost => &row::PEER_MISSING,
        _ if holds => &row::ALONE_QUORUM,
        Quorum::Off => &row::ALONE,
        Quorum::Configured | Quorum::NotAsked | Quorum::Untold(_) => &row::ALONE_UNTOLD,
    }
}

fn role_there(found: &mut Found, name: &str, c: &Connection) {
    match &c.peer_role {
        Role::Primary => found.add(&row::PEER_PRIMARY, name, &c.name, ""),
        Role::Unknown if c.connection_state == ConnectionState::Connected => {
            found.add(&row::PEER_ROLE_UNTOLD, name, &c.name, "");
        }
        Role::Unknown | Role::Secondary | Role::Other(_) => {}
    }
}

fn peer_devices(found: &mut Found, name: &str, c: &Connection) {
    for d in &c.peer_devices {
        let disk = &d.peer_disk_state;
        match &d.replication_state {
            state @ (ReplicationState::StartingSyncS
            | ReplicationState::WFBitMapS
            | ReplicationState::SyncSource
            | ReplicationState::PausedSyncS
            | ReplicationState::Ahead) => {
                found.add(&row::PEER_SYNCS, name, &c.name, state);
                continue;
            }
            ReplicationState::Off => {
                found.add(&row::NO_REPLICATION, name, &c.name, "");
                continue;
            }
            ReplicationState::Established
            | ReplicationState::VerifyS
            | ReplicationState::VerifyT
            | ReplicationState::StartingSyncT
            | ReplicationState::WFBitMapT
            | ReplicationState::WFSyncUUID
            | ReplicationState::SyncTarget
            | ReplicationState::PausedSyncT
            | ReplicationState::Behind
            | ReplicationState::Other(_) => {}
        }
        match disk {
            DiskState::UpToDate => {}
            DiskState::Diskless if d.peer_client => {}
            DiskState::Diskless
            | DiskState::Attaching
            | DiskState::Detaching
            | DiskState::Failed
            | DiskState::Negotiating
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::DUnknown
            | DiskState::Consistent => found.add(&row::PEER_DISK, name, &c.name, disk),
            DiskState::Other(_) => {}
        }
    }
}
