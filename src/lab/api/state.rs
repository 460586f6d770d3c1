//! What the API remembers beside files: accounts, tasks, the HA manager's notes.
//! Guests, storages and HA settings are not here: they are the files under `/etc/pve`, read on every request.

use super::ha::ManagerState;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The API's part of the lab's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// corosync's cluster name; empty plays a standalone node.
    pub name: String,
    pub users: BTreeMap<String, User>,
    /// Roles made by users; the built-in ones are constant. Name → privileges.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    pub acl: Vec<Acl>,
    pub tasks: Vec<Task>,
    /// Counts everything that gets a made-up identity (process ids, MAC addresses, file system UUIDs).
    pub serial: u64,
    /// For how long a task that does something reports `running`, in milliseconds.
    pub task_ms: u64,
    pub ha: ManagerState,
    /// Every hookscript call: what was called, where, in which phase.
    pub hook_calls: Vec<HookCall>,
    /// Terminals that wait for their client.
    pub terminals: Vec<Waiting>,
    /// Storages whose server takes requests and never answers them.
    pub hung_storages: BTreeSet<String>,
}

/// A termproxy that was started and not been connected to yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub port: u16,
    pub node: String,
    /// `user@realm` or `user@realm!token`, as the first line has to say.
    pub user: String,
    pub upid: String,
    pub since_ms: i64,
}

impl Default for Cluster {
    fn default() -> Self {
        let root = User { enabled: true, ..User::default() };
        Self {
            name: "lab".into(),
            users: BTreeMap::from([("root@pam".to_string(), root)]),
            roles: BTreeMap::new(),
            acl: Vec::new(),
            tasks: Vec::new(),
            serial: 0,
            task_ms: 200,
            ha: ManagerState::default(),
            hook_calls: Vec::new(),
            terminals: Vec::new(),
            hung_storages: BTreeSet::new(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub enabled: bool,
    pub comment: Option<String>,
    /// Salt and SHA-256 of salt and password, hex; only for realm `pve`.
    pub password: Option<(String, String)>,
    pub tokens: BTreeMap<String, Token>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// SHA-256 of the secret, hex: the secret itself is shown once and kept nowhere.
    pub secret_sha256: String,
    pub privsep: bool,
    pub expire: i64,
    pub comment: Option<String>,
}

/// One line of the access list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acl {
    pub path: String,
    /// `user@realm` or `user@realm!token`.
    pub who: String,
    pub role: String,
    pub propagate: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub upid: String,
    pub node: String,
    pub pid: u32,
    pub pstart: u64,
    pub start_s: i64,
    pub kind: String,
    pub id: String,
    pub user: String,
    pub token: Option<String>,
    /// Milliseconds since the epoch from which on the task reports `stopped`.
    pub ends_ms: i64,
    /// Without the closing `TASK …` line.
    pub log: Vec<String>,
    /// `OK`, `WARNINGS: n`, or what it died with.
    pub exit: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCall {
    pub at_s: i64,
    pub node: String,
    pub vmid: u32,
    pub phase: String,
    pub script: String,
    /// Its exit code and what it printed, wherever that went.
    #[serde(default)]
    pub rc: i32,
    #[serde(default)]
    pub said: Vec<String>,
}

impl Cluster {
    /// A number never handed out before.
    pub fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A MAC address with Proxmox' prefix, the same in every run of the same lab.
    pub fn next_mac(&mut self) -> String {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(format!("mac {}", self.next_serial()));
        format!("BC:24:11:{:02X}:{:02X}:{:02X}", hash[0], hash[1], hash[2])
    }

    /// A UUID for a file system made here.
    pub fn next_uuid(&mut self) -> String {
        use sha2::{Digest, Sha256};
        uuid_from(&Sha256::digest(format!("uuid {}", self.next_serial())))
    }
}

/// The textual form of a version 4 UUID over the first 16 bytes.
pub fn uuid_from(bytes: &[u8]) -> String {
    let mut b = [0u8; 16];
    b.copy_from_slice(&bytes[..16]);
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let hex = hex(&b);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
