//! Three nodes with one disk each, as they were when the recordings were made.

use crate::host::Output;
use crate::lab::drbd::machines::{Data, Device, Machines};
use crate::lab::drbd::{Fabric, commands};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub const NODES: [&str; 3] = ["pve1", "pve2", "pve3"];

pub struct Nodes {
    pub clock_ms: u64,
    pub off: BTreeSet<String>,
    pub module: BTreeMap<String, String>,
    pub available: Option<String>,
    pub utils: &'static str,
    pub files: BTreeMap<(String, String), String>,
    pub disks: BTreeMap<(String, String), Device>,
    /// What the data area holds, by device: follows resyncs.
    pub data: BTreeMap<(String, String), String>,
}

impl Machines for Nodes {
    fn now_ms(&self) -> u64 {
        self.clock_ms
    }
    fn skip(&mut self, ms: u64) {
        self.clock_ms += ms;
    }
    fn is_up(&self, node: &str) -> bool {
        !self.off.contains(node)
    }
    fn module_loaded(&self, node: &str) -> Option<String> {
        self.module.get(node).cloned()
    }
    fn load_module(&mut self, node: &str) -> Result<(), String> {
        match &self.available {
            Some(version) => {
                self.module.insert(node.into(), version.clone());
                Ok(())
            }
            None => Err("modprobe: FATAL: Module drbd not found in directory /lib/modules/6.12.107\n".into()),
        }
    }
    fn utils_version(&self, _node: &str) -> String {
        self.utils.into()
    }
    fn read(&self, node: &str, path: &str) -> Option<String> {
        self.files.get(&(node.into(), path.into())).cloned()
    }
    fn list(&self, node: &str, dir: &str) -> Vec<String> {
        let start = format!("{dir}/");
        self.files
            .keys()
            .filter(|(n, _)| n == node)
            .filter_map(|(_, p)| p.strip_prefix(&start))
            .map(str::to_owned)
            .collect()
    }
    fn device(&self, node: &str, path: &str) -> Option<Device> {
        self.disks.get(&(node.into(), path.into())).cloned()
    }
    fn copy_data(&mut self, from: (&str, &str), to: (&str, &str)) {
        if let Some(data) = self.data.get(&(from.0.to_owned(), from.1.to_owned())).cloned() {
            self.data.insert((to.0.into(), to.1.into()), data);
        }
    }
}

pub struct Bed {
    pub fabric: Fabric,
    pub nodes: Nodes,
}

pub const RES: &str = include_str!("nfs1.res");

impl Bed {
    /// The state of recording 02: module loaded, configuration there, disks blank.
    pub fn new() -> Self {
        let mut nodes = Nodes {
            clock_ms: 1_795_333_687_000,
            off: BTreeSet::new(),
            module: NODES.iter().map(|n| ((*n).to_owned(), "9.3.3".to_owned())).collect(),
            available: Some("9.3.3".into()),
            utils: "9.22.0",
            files: BTreeMap::new(),
            disks: BTreeMap::new(),
            data: BTreeMap::new(),
        };
        for node in NODES {
            let device = Device { device: "/dev/vdb".into(), size_bytes: 128 << 20, data: Data::Blank, busy: false };
            nodes.disks.insert((node.into(), format!("/dev/disk/by-id/virtio-{node}data")), device);
            for (path, text) in [
                (
                    "/etc/drbd.conf",
                    "# You can find an example in  /usr/share/doc/drbd.../drbd.conf.example\n\ninclude \"drbd.d/global_common.conf\";\ninclude \"drbd.d/*.res\";\n",
                ),
                ("/etc/drbd.d/global_common.conf", "global {\n\tusage-count no;\n}\ncommon {\n}\n"),
                ("/etc/drbd.d/nfs1.res", RES),
            ] {
                nodes.files.insert((node.into(), path.into()), text.into());
            }
        }
        Self { fabric: Fabric::default(), nodes }
    }

    /// Recording 11: initialised without a sync, everywhere Secondary and UpToDate.
    pub fn healthy() -> Self {
        let mut bed = Self::new();
        bed.all("drbdadm create-md nfs1");
        bed.all("drbdadm up nfs1");
        bed.ok("pve1", "drbdadm new-current-uuid --clear-bitmap nfs1/0");
        bed
    }

    pub fn with_quorum(on_no_quorum: &str) -> Self {
        let mut bed = Self::healthy();
        bed.edit("  net {", &format!("  options {{ quorum majority; on-no-quorum {on_no_quorum}; }}\n  net {{"));
        bed.all("drbdadm adjust nfs1");
        bed
    }

    pub fn run(&mut self, node: &str, line: &str) -> Output {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        commands::run(&mut self.fabric, &mut self.nodes, node, &words[0], &words[1..])
    }

    #[track_caller]
    pub fn ok(&mut self, node: &str, line: &str) -> Output {
        let out = self.run(node, line);
        assert_eq!(out.rc, 0, "{node}: {line}: {out:?}");
        out
    }

    #[track_caller]
    pub fn all(&mut self, line: &str) {
        for node in NODES {
            self.ok(node, line);
        }
    }

    /// Replaces text in the resource file of every node.
    pub fn edit(&mut self, from: &str, to: &str) {
        for node in NODES {
            self.edit_on(node, from, to);
        }
    }

    pub fn edit_on(&mut self, node: &str, from: &str, to: &str) {
        let text = self.nodes.files.get_mut(&(node.into(), "/etc/drbd.d/nfs1.res".into())).expect("the file");
        assert!(text.contains(from), "{from:?} is not in {text}");
        *text = text.replace(from, to);
    }

    pub fn cut(&mut self, a: &str, b: &str, cut: bool) {
        self.fabric.set_cuts(&mut self.nodes, &[(a, b)], cut);
    }

    pub fn isolate(&mut self, node: &str, cut: bool) {
        let cables: Vec<(&str, &str)> = NODES.iter().filter(|n| **n != node).map(|other| (node, *other)).collect();
        self.fabric.set_cuts(&mut self.nodes, &cables, cut);
    }

    pub fn power(&mut self, node: &str, on: bool) {
        if on {
            self.nodes.off.remove(node);
            self.nodes.module.insert(node.into(), "9.3.3".into());
        } else {
            self.nodes.off.insert(node.into());
            self.nodes.module.remove(node);
        }
        self.fabric.settle(&mut self.nodes);
    }

    pub fn pass(&mut self, ms: u64) {
        self.fabric.wait(&mut self.nodes, ms);
    }

    #[track_caller]
    pub fn mount(&mut self, node: &str) {
        self.fabric.open_rw(&mut self.nodes, node, 100, "mount").unwrap_or_else(|e| panic!("mount on {node}: {e}"));
        self.fabric.write(&mut self.nodes, node, 100, 4).expect("the super block is written");
    }

    pub fn umount(&mut self, node: &str) {
        self.fabric.close(&mut self.nodes, node, 100, "mount");
    }

    #[track_caller]
    pub fn write(&mut self, node: &str, kib: u64, text: &str) {
        self.fabric.write(&mut self.nodes, node, 100, kib).expect("a write");
        for (replica, device) in self.fabric.replicas(node, 100) {
            self.nodes.data.insert((replica, device), text.into());
        }
    }

    pub fn data(&self, node: &str) -> Option<&str> {
        self.nodes.data.get(&(node.into(), "/dev/vdb".into())).map(String::as_str)
    }

    /// What a node shows, in the shape of `states.jsonl`.
    pub fn shown(&mut self, node: &str) -> Value {
        let json = self.ok(node, "drbdsetup status --json").stdout;
        let document: Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
        let r = &document[0];
        let device = &r["devices"][0];
        let events = self.ok(node, "drbdsetup events2 --now").stdout;
        let word = |key: &str| {
            events
                .split_whitespace()
                .find_map(|w| w.strip_prefix(key))
                .unwrap_or_else(|| panic!("{key} in {events}"))
                .to_owned()
        };
        let mut peers = serde_json::Map::new();
        for c in r["connections"].as_array().expect("connections") {
            let p = &c["peer_devices"][0];
            let row = [
                &c["connection-state"],
                &c["peer-role"],
                &p["peer-disk-state"],
                &p["replication-state"],
                &p["resync-suspended"],
            ];
            peers.insert(c["name"].as_str().expect("a name").into(), row.into_iter().cloned().collect());
        }
        serde_json::json!({
            "role": r["role"], "disk": device["disk-state"], "quorum": device["quorum"],
            "suspended_quorum": r["suspended-quorum"], "force_io_failures": r["force-io-failures"],
            "size_kib": device["size"], "may_promote": word("may_promote:"),
            "promotion_score": word("promotion_score:").parse::<u64>().expect("a number"),
            "peers": peers, "status": without_progress(&self.ok(node, "drbdadm status").stdout),
        })
    }

    /// Compares nodes with a recorded state; `leave_out` names parts that had not settled when it was recorded.
    #[track_caller]
    pub fn is_as_recorded(&mut self, state: &str, nodes: &[&str], leave_out: &[&str]) {
        for node in nodes {
            let mut recorded = recorded(state, node);
            let mut shown = self.shown(node);
            for part in leave_out {
                for side in [&mut recorded, &mut shown] {
                    match part.split_once('/') {
                        Some((at, peer)) if at == *node => drop(side["peers"].as_object_mut().map(|p| p.remove(peer))),
                        Some(_) => {}
                        None => drop(side.as_object_mut().map(|o| o.remove(*part))),
                    }
                }
            }
            assert_eq!(shown, recorded, "{node} in {state}");
        }
    }
}

/// Without what moves while a resync runs.
fn without_progress(text: &str) -> String {
    let lines = text.trim_end().lines().map(|line| {
        let words = line.split(' ').filter(|w| !w.starts_with("congested:") && !w.contains("-in-flight:"));
        words.map(|w| if w.starts_with("done:") { "done:N" } else { w }).collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn recorded(state: &str, node: &str) -> Value {
    let all = include_str!("../../../../tests/captured/drbd-9.3.3-utils-9.22-2026-11-22/states.jsonl");
    for line in all.lines() {
        let mut one: Value = serde_json::from_str(line).expect("a recording");
        if one["state"].as_str().is_some_and(|s| s.starts_with(&format!("{state}-"))) && one["node"] == node {
            let object = one.as_object_mut().expect("an object");
            object.remove("state");
            object.remove("node");
            let status = object["status"].as_str().map(without_progress).unwrap_or_default();
            object.insert("status".into(), status.into());
            return one;
        }
    }
    panic!("nothing was recorded for {node} in {state}");
}
