//! What `drbdsetup` and debugfs tell about the kernel: status as text and JSON, events, openers, show.

use super::fabric::Fabric;
use super::state::{Disk, Link, Replication, Resource, Role};
use std::fmt::Write as _;

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

impl Fabric {
    fn disk_word(&self, node: &str, name: &str, id: u32) -> &'static str {
        self.peer_disk(node, name, id).map_or("DUnknown", Disk::as_str)
    }

    fn role_word(&self, node: &str, name: &str, id: u32) -> &'static str {
        self.peer_role(node, name, id).map_or("Unknown", Role::as_str)
    }

    /// KiB out of sync with a peer, as the node's own bitmap says; nothing without a disk.
    pub fn behind(&self, node: &str, name: &str, id: u32) -> u64 {
        self.attached(node, name).map_or(0, |m| m.out_of_sync(id))
    }

    /// Share of the running resync that is done.
    fn done(&self, node: &str, name: &str, id: u32) -> f64 {
        let Some(resource) = self.resource(node, name) else { return 0.0 };
        percent(resource.size_kib.saturating_sub(self.behind(node, name, id)), resource.size_kib)
    }

    /// `drbdsetup status` and `drbdadm status`.
    pub fn status_text(&self, node: &str, name: &str) -> String {
        let mut out = String::new();
        let Some(resource) = self.resource(node, name) else { return out };
        let _ = write!(out, "{name} role:{}", resource.role.as_str());
        if resource.suspended_quorum() {
            out.push_str(" suspended:quorum");
        }
        if resource.force_io_failures {
            out.push_str(" force-io-failures:yes");
        }
        let _ = write!(out, "\n  disk:{}", resource.disk.as_str());
        if resource.disk == Disk::Diskless {
            let _ = write!(out, " client:{}", yes(resource.client));
        }
        if !resource.quorum {
            out.push_str(" quorum:no");
        }
        if resource.suspended_quorum() && resource.held_rw() {
            out.push_str(" blocked:upper");
        }
        out.push('\n');
        for (id, peer) in &resource.peers {
            if peer.link != Link::Connected {
                let _ = writeln!(out, "  {} connection:{}", peer.name, peer.link.as_str());
                continue;
            }
            let _ = writeln!(out, "  {} role:{}", peer.name, self.role_word(node, name, *id));
            let replication = self.replication(node, name, *id);
            let held = self.held_back(node, name, *id).words();
            out.push_str("    ");
            if replication.syncs() {
                let _ = write!(out, "replication:{} ", replication.as_str());
            }
            let _ = write!(out, "peer-disk:{}", self.disk_word(node, name, *id));
            if self.peer_disk(node, name, *id) == Some(Disk::Diskless) {
                let client = self.resource(&peer.name, name).is_some_and(|r| r.client);
                let _ = write!(out, " peer-client:{}", yes(client));
            }
            if replication.syncs() {
                let _ = write!(out, " done:{:.2}", self.done(node, name, *id));
            }
            if held != "no" {
                let pad = if replication.syncs() { "\n        " } else { " " };
                let _ = write!(out, "{pad}resync-suspended:{held}");
            }
            out.push('\n');
        }
        out.push('\n');
        out
    }

    /// One element of `drbdsetup status --json`, laid out as DRBD 9 utils print it.
    pub fn status_json(&self, node: &str, name: &str, newer: bool) -> String {
        let Some(r) = self.resource(node, name) else { return String::new() };
        let suspended = r.suspended_quorum();
        let mut out = format!(
            "{{\n  \"name\": \"{name}\",\n  \"node-id\": {},\n  \"role\": \"{}\",\n  \"suspended\": {suspended},\n  \
             \"suspended-user\": false,\n  \"suspended-no-data\": false,\n  \"suspended-fencing\": false,\n  \
             \"suspended-quorum\": {suspended},\n  \"force-io-failures\": {},\n  \"write-ordering\": \"{}\",\n  \
             \"devices\": [\n    {{\n      \"volume\": 0,\n      \"minor\": {},\n      \"disk-state\": \"{}\",\n      \
             \"client\": {},{}\n      \"quorum\": {},\n      \"size\": {},\n      \"read\": 0,\n      \"written\": {},\n      \
             \"al-writes\": 0,\n      \"bm-writes\": 0,\n      \"upper-pending\": {},\n      \"lower-pending\": 0\n    }} ],\n",
            r.node_id,
            r.role.as_str(),
            r.force_io_failures,
            if r.size_kib == 0 { "none" } else { "flush" },
            r.minor,
            r.disk.as_str(),
            r.client,
            if newer { format!("\n      \"open\": {},", !r.openers.is_empty()) } else { String::new() },
            r.quorum,
            r.size_kib,
            r.written_kib,
            u8::from(suspended && r.held_rw()),
        );
        out.push_str("  \"connections\": [");
        let parts: Vec<String> = r.peers.keys().map(|id| self.connection_json(node, name, r, *id, newer)).collect();
        if parts.is_empty() {
            out.push_str(" ]\n}");
        } else {
            let _ = write!(out, "\n{} ]\n}}", parts.join(",\n"));
        }
        out
    }

    fn connection_json(&self, node: &str, name: &str, r: &Resource, id: u32, newer: bool) -> String {
        let Some(peer) = r.peers.get(&id) else { return String::new() };
        let replication = self.replication(node, name, id);
        let behind = self.behind(node, name, id);
        let client = peer.link == Link::Connected && self.resource(&peer.name, name).is_some_and(|x| x.client);
        let in_sync = if r.size_kib == 0 { 0.0 } else { percent(r.size_kib.saturating_sub(behind), r.size_kib) };
        let tls = if newer { "      \"tls\": false,\n" } else { "" };
        let paths = if newer {
            peer.path.as_ref().map(|p| paths_json(p, peer.link)).unwrap_or_default()
        } else {
            String::new()
        };
        let mut out = format!(
            "    {{\n      \"peer-node-id\": {id},\n      \"name\": \"{}\",\n      \"connection-state\": \"{}\", \n      \
             \"congested\": false,\n      \"peer-role\": \"{}\",\n{tls}      \"ap-in-flight\": 0,\n      \
             \"rs-in-flight\": 0,\n{paths}      \"peer_devices\": [\n        {{\n          \"volume\": 0,\n          \
             \"replication-state\": \"{}\",\n          \"peer-disk-state\": \"{}\",\n          \"peer-client\": {client},\n          \
             \"resync-suspended\": \"{}\",\n          \"received\": {},\n          \"sent\": {},\n          \
             \"out-of-sync\": {behind},\n          \"pending\": 0,\n          \"unacked\": 0,\n          \
             \"has-sync-details\": {},\n          \"has-online-verify-details\": false,\n          \
             \"percent-in-sync\": {in_sync:.2}",
            peer.name,
            peer.link.as_str(),
            self.role_word(node, name, id),
            replication.as_str(),
            self.disk_word(node, name, id),
            self.held_back(node, name, id).words(),
            peer.received_kib,
            peer.sent_kib,
            replication.syncs(),
        );
        if replication.syncs() {
            out.push_str(&self.sync_json(node, name, id, replication));
        }
        out.push_str("\n        } ]\n    }");
        out
    }

    fn sync_json(&self, node: &str, name: &str, id: u32, replication: Replication) -> String {
        let (Some(own), Some(peer)) = (self.resource(node, name), self.peer(node, name, id)) else {
            return String::new();
        };
        // The target keeps the books of a resync.
        let books = match replication {
            Replication::SyncTarget | Replication::PausedSyncT => Some(peer),
            _ => self.peer(&peer.name, name, own.node_id),
        };
        let behind = self.behind(node, name, id);
        let total = books.map_or(behind, |b| b.resync_total_kib.max(behind));
        let ms = books.map_or(0, |b| self.now_ms.saturating_sub(b.resync_started_ms));
        let moved = total - behind;
        let rate = if ms == 0 { 0.0 } else { moved as f64 / 1024.0 / (ms as f64 / 1000.0) };
        let eta = if rate > 0.0 { (behind as f64 / 1024.0 / rate) as u64 } else { 0 };
        format!(
            ",\n          \"rs-total\": {},\n          \"rs-dt-start-ms\": {ms},\n          \"rs-paused-ms\": 0,\n          \
             \"rs-dt0-ms\": {ms},\n          \"rs-db0-sectors\": {},\n          \"rs-dt1-ms\": {ms},\n          \
             \"rs-db1-sectors\": {},\n          \"rs-failed\": 0,\n          \"rs-same-csum\": 0,\n          \
             \"want\": {rate:.2},\n          \"db0/dt0 [MiB/s]\": {rate:.2},\n          \"db1/dt1 [MiB/s]\": {rate:.2},\n          \
             \"estimated-seconds-to-finish\": {eta},\n          \"db/dt [MiB/s]\": {rate:.2},\n          \
             \"percent-resync-done\": {:.2}",
            total * 2,
            moved * 2,
            moved * 2,
            percent(moved, total),
        )
    }

    /// `drbdsetup status --json`: of one resource, or of all.
    pub fn status_json_document(&self, node: &str, only: Option<&str>, newer: bool) -> String {
        let parts: Vec<String> = self
            .kernels
            .get(node)
            .into_iter()
            .flatten()
            .filter(|(name, _)| only.is_none_or(|o| o == *name))
            .map(|(name, _)| self.status_json(node, name, newer))
            .collect();
        if parts.is_empty() { "[\n]\n\n".into() } else { format!("[\n{}\n]\n\n", parts.join(",\n")) }
    }

    /// Lines of `drbdsetup events2 --now`, without the closing `exists -`.
    pub fn events(&self, node: &str, name: &str, newer: bool) -> String {
        let Some(r) = self.resource(node, name) else { return String::new() };
        let suspended = if r.suspended_quorum() { "quorum" } else { "no" };
        let (may_promote, score) = self.promotion(node, name);
        let mut out = format!(
            "exists resource name:{name} role:{} suspended:{suspended} force-io-failures:{} may_promote:{} promotion_score:{score}\n",
            r.role.as_str(),
            yes(r.force_io_failures),
            yes(may_promote),
        );
        for (id, peer) in r.peers.iter().rev() {
            let _ = writeln!(
                out,
                "exists connection name:{name} peer-node-id:{id} conn-name:{} connection:{} role:{}",
                peer.name,
                peer.link.as_str(),
                self.role_word(node, name, *id)
            );
        }
        let _ = writeln!(
            out,
            "exists device name:{name} volume:0 minor:{} backing_dev:{} disk:{} client:{}{} quorum:{}",
            r.minor,
            r.backing.as_ref().map_or("none", |b| b.path.as_str()),
            r.disk.as_str(),
            yes(r.client),
            if newer { format!(" open:{}", yes(!r.openers.is_empty())) } else { String::new() },
            yes(r.quorum)
        );
        for (id, peer) in r.peers.iter().rev() {
            let replication = self.replication(node, name, *id);
            let client = self.resource(&peer.name, name).is_some_and(|x| x.client);
            let _ = write!(
                out,
                "exists peer-device name:{name} peer-node-id:{id} conn-name:{} volume:0 replication:{} peer-disk:{} peer-client:{} resync-suspended:{}",
                peer.name,
                replication.as_str(),
                self.disk_word(node, name, *id),
                yes(client),
                self.held_back(node, name, *id).words()
            );
            if replication.syncs() {
                let _ = write!(out, " done:{:.2}", self.done(node, name, *id));
            }
            out.push('\n');
            if let Some(path) = &peer.path {
                let _ = writeln!(
                    out,
                    "exists path name:{name} peer-node-id:{id} conn-name:{} local:{} peer:{} established:{}",
                    peer.name,
                    path.local,
                    path.remote,
                    yes(peer.link == Link::Connected)
                );
            }
        }
        out
    }

    /// `may_promote` and `promotion_score`, which drbdsetup computes from what it sees.
    fn promotion(&self, node: &str, name: &str) -> (bool, u64) {
        let Some(r) = self.resource(node, name) else { return (false, 0) };
        let local = r.disk == Disk::UpToDate;
        let good_peers = r
            .peers
            .keys()
            .filter(|id| self.connected(node, name, **id) && self.peer_disk(node, name, **id) == Some(Disk::UpToDate));
        let replicas = good_peers.count() as u64 + u64::from(local);
        if !r.quorum || replicas == 0 {
            return (false, 0);
        }
        let own_disk = matches!(r.disk, Disk::UpToDate | Disk::Consistent | Disk::Inconsistent);
        let score = if own_disk { 10_000 } else { 0 } + if local { 100 } else { 0 } + replicas;
        let primary =
            r.role == Role::Primary || r.peers.keys().any(|id| self.peer_role(node, name, *id) == Some(Role::Primary));
        (!primary && r.disk != Disk::Outdated, score)
    }

    /// `/sys/kernel/debug/drbd/resources/NAME/volumes/0/openers`; `None` when the resource is not there.
    pub fn openers_text(&self, node: &str, name: &str, now_ms: u64) -> Option<String> {
        let resource = self.resource(node, name)?;
        let mut out = String::new();
        for o in &resource.openers {
            let age = now_ms.saturating_sub(o.at_ms);
            let _ = writeln!(out, "{}\t{}\t{age}", o.comm, o.pid);
            if o.promoted {
                let _ = writeln!(out, "+{}\t{}\t{age}", o.comm, o.pid);
            }
        }
        Some(out)
    }
}

/// `paths` of a connection, which newer tools show.
fn paths_json(path: &super::state::Path, link: Link) -> String {
    let end = |end: &str| {
        let (family, rest) = end.split_once(':').unwrap_or(("ipv4", end));
        let (address, port) = rest.rsplit_once(':').unwrap_or((rest, "0"));
        format!(
            "            \"address\": \"{address}\",\n            \"port\": {port},\n            \"family\": \"{family}\"\n"
        )
    };
    format!(
        "      \"paths\": [\n        {{\n          \"this_host\": {{\n{}          }},\n          \"remote_host\": {{\n{}          }},\n          \"established\": {}\n        }} ],\n",
        end(&path.local),
        end(&path.remote),
        link == Link::Connected
    )
}

/// `/proc/drbd` of a loaded module; DRBD 9 tells no states there.
pub fn proc_drbd(version: &str, any_peer: bool) -> String {
    if version.starts_with("8.") {
        return format!("version: {version} (api:1/proto:86-101)\nsrcversion: 637677C4EAFCF5D1D5446B0 \n");
    }
    let transports = if any_peer { format!(" tcp ({version})") } else { String::new() };
    format!(
        "version: {version} (api:2/proto:118-124)\n\
         GIT-hash: 97da76040a6b31aaf9e12f1a167e77ca2b3cb43e build by @vm, 2026-11-22 07:15:02\n\
         Transports (api:22):{transports}\n"
    )
}
