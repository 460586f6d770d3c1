//! What a DRBD kernel module and its metadata remember: roles, disks, connections, generations.
//! Only data and small questions about it; every transition is made by the siblings.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The current UUID that `create-md` writes: metadata that never held any data.
pub const JUST_CREATED: u64 = 4;

/// Options as written, without those that equal nothing but a default.
pub type Options = BTreeMap<String, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Primary,
    Secondary,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Primary => "Primary",
            Role::Secondary => "Secondary",
        }
    }
}

/// Disk states that last; the passing ones (Attaching, Negotiating, Failed) are over within a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Disk {
    Diskless,
    Inconsistent,
    Outdated,
    Consistent,
    UpToDate,
}

impl Disk {
    pub fn as_str(self) -> &'static str {
        match self {
            Disk::Diskless => "Diskless",
            Disk::Inconsistent => "Inconsistent",
            Disk::Outdated => "Outdated",
            Disk::Consistent => "Consistent",
            Disk::UpToDate => "UpToDate",
        }
    }
}

/// Connection states that last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Link {
    StandAlone,
    Connecting,
    Connected,
}

impl Link {
    pub fn as_str(self) -> &'static str {
        match self {
            Link::StandAlone => "StandAlone",
            Link::Connecting => "Connecting",
            Link::Connected => "Connected",
        }
    }
}

/// Replication states that last, verify left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replication {
    Off,
    Established,
    SyncSource,
    SyncTarget,
    PausedSyncS,
    PausedSyncT,
}

impl Replication {
    pub fn as_str(self) -> &'static str {
        match self {
            Replication::Off => "Off",
            Replication::Established => "Established",
            Replication::SyncSource => "SyncSource",
            Replication::SyncTarget => "SyncTarget",
            Replication::PausedSyncS => "PausedSyncS",
            Replication::PausedSyncT => "PausedSyncT",
        }
    }

    pub fn syncs(self) -> bool {
        !matches!(self, Replication::Off | Replication::Established)
    }
}

/// Somebody who has `/dev/drbdN` open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opener {
    /// The lab's word for who holds it; [`Opener::comm`] is the kernel's.
    pub holder: String,
    pub comm: String,
    pub pid: u32,
    /// Lab clock, milliseconds.
    pub at_ms: u64,
    pub writes: bool,
    /// This open made the node Primary.
    pub promoted: bool,
}

/// A backing device in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backing {
    /// As the configuration names it.
    pub path: String,
    /// What the path leads to; the key of the metadata.
    pub device: String,
}

/// Both ends of a connection as `ipv4:ADDRESS:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    pub local: String,
    pub remote: String,
}

/// One configured peer of a resource, as the kernel of one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub name: String,
    pub link: Link,
    pub path: Option<Path>,
    pub net: Options,
    pub device_options: Options,
    /// What is remembered of the peer's disk while it is away; `None` shows as DUnknown.
    pub known_disk: Option<Disk>,
    /// This node takes its data from that peer, now or as soon as it may.
    pub target: bool,
    /// `pause-sync` was given here.
    pub paused: bool,
    /// `connect --discard-my-data`, until the next handshake.
    pub discard_my_data: bool,
    /// Out-of-sync at the start of the running resync.
    pub resync_total_kib: u64,
    pub resync_started_ms: u64,
    pub received_kib: u64,
    pub sent_kib: u64,
}

impl Peer {
    pub fn new(name: &str, net: Options, device_options: Options) -> Self {
        Self {
            name: name.into(),
            link: Link::StandAlone,
            path: None,
            net,
            device_options,
            known_disk: None,
            target: false,
            paused: false,
            discard_my_data: false,
            resync_total_kib: 0,
            resync_started_ms: 0,
            received_kib: 0,
            sent_kib: 0,
        }
    }
}

/// A resource in the kernel of one node. One volume: volume 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub node_id: u32,
    pub minor: u32,
    /// `new-minor` was run: `/dev/drbdMINOR` exists.
    pub made: bool,
    pub role: Role,
    /// The role was taken by command, so the last close does not give it back.
    pub explicit: bool,
    pub options: Options,
    pub disk_options: Options,
    pub disk: Disk,
    pub backing: Option<Backing>,
    /// `disk none`: Diskless on purpose.
    pub client: bool,
    /// Agreed size; 0 until a disk or a peer told it.
    pub size_kib: u64,
    pub quorum: bool,
    pub force_io_failures: bool,
    pub openers: Vec<Opener>,
    pub peers: BTreeMap<u32, Peer>,
    /// The one peer a resync is running from; others wait ("dependency").
    pub active_source: Option<u32>,
    pub written_kib: u64,
}

impl Resource {
    pub fn new(node_id: u32, minor: u32, options: Options) -> Self {
        Self {
            node_id,
            minor,
            made: false,
            role: Role::Secondary,
            explicit: false,
            options,
            disk_options: Options::new(),
            disk: Disk::Diskless,
            backing: None,
            client: false,
            size_kib: 0,
            quorum: true,
            force_io_failures: false,
            openers: Vec::new(),
            peers: BTreeMap::new(),
            active_source: None,
            written_kib: 0,
        }
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub fn wants_quorum(&self) -> bool {
        !matches!(self.option("quorum"), None | Some("off"))
    }

    /// I/O is frozen: quorum is lost and the answer to that is to wait (the default of DRBD).
    pub fn suspended_quorum(&self) -> bool {
        !self.quorum && self.option("on-no-quorum") != Some("io-error")
    }

    pub fn auto_promote(&self) -> bool {
        self.option("auto-promote") != Some("no")
    }

    pub fn has_disk(&self) -> bool {
        self.disk != Disk::Diskless
    }

    pub fn held_rw(&self) -> bool {
        self.openers.iter().any(|o| o.writes)
    }
}

/// A peer's slot in the metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSlot {
    pub bitmap_uuid: u64,
    pub out_of_sync_kib: u64,
    pub connected: bool,
    pub outdated: bool,
    /// The peer was once seen with a disk.
    pub seen: bool,
}

/// DRBD metadata v09 at the end of a backing device. It outlives reboots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaData {
    /// Bit 0 says that a Primary made this generation.
    pub current: u64,
    pub history: Vec<u64>,
    pub max_peers: u32,
    pub device_bytes: u64,
    /// `None` until the first attach.
    pub node_id: Option<u32>,
    pub consistent: bool,
    pub up_to_date: bool,
    /// Some Primary was known when last heard.
    pub primary_known: bool,
    /// This node was Primary and did not say good-bye.
    pub crashed_primary: bool,
    /// The activity log needs no replay.
    pub al_clean: bool,
    pub lost_quorum: bool,
    pub peers: BTreeMap<u32, PeerSlot>,
}

impl MetaData {
    pub fn just_created(&self) -> bool {
        self.current & !1 == JUST_CREATED
    }

    pub fn generation(&self) -> u64 {
        self.current & !1
    }

    pub fn remember(&mut self, uuid: u64) {
        let uuid = uuid & !1;
        if uuid == 0 || uuid == JUST_CREATED || self.history.contains(&uuid) {
            return;
        }
        self.history.insert(0, uuid);
        self.history.truncate(32);
    }

    pub fn slot(&mut self, peer: u32) -> &mut PeerSlot {
        self.peers.entry(peer).or_default()
    }

    pub fn bitmap_of(&self, peer: u32) -> u64 {
        self.peers.get(&peer).map_or(0, |s| s.bitmap_uuid & !1)
    }

    pub fn out_of_sync(&self, peer: u32) -> u64 {
        self.peers.get(&peer).map_or(0, |s| s.out_of_sync_kib)
    }
}
