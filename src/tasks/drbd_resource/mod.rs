//! `drbd_resource`: one DRBD resource on all its nodes, from the file to the first sync.
//!
//! Decides over all nodes at once and refuses whatever could cost data: it never forces, never overwrites a
//! signature, and chooses a first source only when every node says that nobody has data.

mod args;
mod data;
mod decide;
mod interruption;
mod local;
mod look;
mod overall;
mod owner;
mod refuse;
mod words;

pub use args::{FirstSync, Host, State, VolumeArgs};
pub use look::Seen;

use super::drbd_options::DrbdOptions;
use super::{ArgFault, Observation, Task, Touches, Trail, Verdict};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A DRBD 9 resource: the same file on every node, metadata once, up, connected, and exactly one first source in its
/// life. Runs on all nodes named in `on` and decides over all of them; a node that cannot be asked blocks whatever
/// could lose data. A device with anything on it is never touched, `--force` is never passed to create-md, and a
/// file change that would renumber, move or rename a live resource is refused.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrbdResource {
    /// Name of the resource and of its file, /etc/drbd.d/NAME.res.
    pub name: String,
    /// The device of volume 0, as `/dev/drbd100`. The number is its minor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Minor of volume 0 instead of `device`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<u32>,
    /// More volumes than one: number to device. Each host then names its disks under `volumes`, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, VolumeArgs>,
    /// Section `options`. Without `quorum` there is a warning: two isolated nodes could both write.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub options: DrbdOptions,
    /// Section `net`. With `shared-secret` the file gets mode 0600 and the secret is never shown.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub net: DrbdOptions,
    /// Section `disk`, with the options of the resync controller.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub disk: DrbdOptions,
    /// Section `handlers`.
    #[serde(default, skip_serializing_if = "DrbdOptions::is_empty")]
    pub handlers: DrbdOptions,
    /// The hosts of the resource by name as `uname -n` says it. All are connected with all.
    pub on: BTreeMap<String, Host>,
    /// Where metadata is kept: `internal` (at the end of the disk) or a device.
    #[serde(default = "args::internal")]
    pub meta_disk: String,
    /// Peers that metadata has room for; more than now lets nodes be added later without new metadata.
    #[serde(default = "args::seven")]
    pub max_peers: u32,
    /// How the first data comes about, once in the life of the resource: `full` copies the first source to the
    /// others, `skip` declares all copies equal (you assert that the disks are blank, or that differences in unused
    /// areas do not matter), `none` leaves it to you.
    #[serde(default)]
    pub first_sync: FirstSync,
    /// The host to be the first source. The lowest node_id with a disk if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_source: Option<String>,
    /// Wait until no sync is running, with progress.
    #[serde(default)]
    pub wait_for_sync: bool,
    /// Seconds to wait for a sync.
    #[serde(default = "args::one_day")]
    pub sync_timeout_s: u64,
    /// Seconds to wait until all hosts are connected.
    #[serde(default = "args::one_minute")]
    pub connect_timeout_s: u64,
    /// `up` or `down`. Down is refused while a host is Primary.
    #[serde(default)]
    pub state: State,
}

impl Task for DrbdResource {
    const KIND: &'static str = "drbd_resource";
    const EXAMPLE: &'static str = "\
- name: Replicated device of the NFS server
  drbd_resource:
    name: nfs1
    device: /dev/drbd100
    options: { quorum: majority, on-no-quorum: io-error, auto-promote-timeout: 50 }
    net: { protocol: C }
    on:
      pve1: { address: \"192.168.2.11:7000\", disk: /dev/disk/by-partuuid/0d9b1a10-0001-4a6e-9d6e-000000000001, node_id: 0 }
      pve2: { address: \"192.168.2.12:7000\", disk: /dev/disk/by-partuuid/0d9b1a10-0002-4a6e-9d6e-000000000002, node_id: 1 }
      pve3: { address: \"192.168.2.13:7000\", disk: /dev/disk/by-partuuid/0d9b1a10-0003-4a6e-9d6e-000000000003, node_id: 2 }
    first_sync: skip
";
    const TOUCHES: Touches = Touches::AllHosts;
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        args::faults(self)
    }

    fn object(&self) -> String {
        self.name.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.path())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        look::probe(self, host)
    }

    /// One host alone is never enough; this serves callers that know only one.
    fn decide(&self, seen: &Seen) -> Verdict {
        let all = BTreeMap::from([(seen.inventory_name.clone(), Ok(seen.clone()))]);
        self.decide_all(&all).remove(&seen.inventory_name).unwrap_or_else(|| Verdict::blocked("no verdict"))
    }

    fn decide_all(&self, all: &BTreeMap<String, Observation<Seen>>) -> BTreeMap<String, Verdict> {
        self.decide_among(all, &all.keys().cloned().collect())
    }

    fn decide_among(
        &self,
        all: &BTreeMap<String, Observation<Seen>>,
        acting: &BTreeSet<String>,
    ) -> BTreeMap<String, Verdict> {
        decide::decide(self, all, acting)
    }
}

#[cfg(test)]
mod tests;
