//! Three nodes as observations, and what the steps of a verdict make of them: just enough of DRBD to go through whole
//! life cycles. What DRBD itself does is held to recordings elsewhere; here only decisions are tested.

use super::*;
use crate::drbd::resource::File;
use crate::tasks::diff;

pub const FRESH: u64 = 4;

#[derive(Debug, Clone)]
pub struct Node {
    pub reachable: bool,
    pub module: Option<String>,
    pub file: Option<String>,
    pub disk: Disk,
    pub uuid: u64,
    pub past: [u64; 2],
    pub up: bool,
    pub role: &'static str,
    pub state: &'static str,
    pub openers: usize,
    /// What the running resource was configured with.
    pub running: Option<String>,
    pub others: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct Cluster {
    pub nodes: BTreeMap<String, Node>,
    /// Words for a connection as seen from the first towards the second, where it is not Connected.
    pub links: BTreeMap<(String, String), &'static str>,
    /// 0–100 of a running sync.
    pub percent: Option<f64>,
    pub log: Vec<String>,
}

impl Cluster {
    /// Module loaded, blank disks, no file.
    pub fn virgin() -> Self {
        let node = || Node {
            reachable: true,
            module: Some("9.3.3".into()),
            file: None,
            disk: Disk::Blank,
            uuid: FRESH,
            past: [0, 0],
            up: false,
            role: "Secondary",
            state: "Diskless",
            openers: 0,
            running: None,
            others: Vec::new(),
        };
        let nodes = ["pve1", "pve2", "pve3"].map(|n| (n.to_owned(), node())).into();
        Self { nodes, links: BTreeMap::new(), percent: None, log: Vec::new() }
    }

    /// Everything as the task says, with data.
    pub fn healthy(task: &DrbdResource) -> Self {
        let mut cluster = Self::virgin();
        for node in cluster.nodes.values_mut() {
            node.file = Some(task.text());
            node.running = Some(task.text());
            node.disk = Disk::Metadata { version: "v09".into() };
            (node.up, node.uuid, node.state) = (true, 0xE1BB_6857_3920_744E, "UpToDate");
        }
        cluster
    }

    pub fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap()
    }

    pub fn link(&mut self, a: &str, b: &str, words: [&'static str; 2]) {
        self.links.insert((a.into(), b.into()), words[0]);
        self.links.insert((b.into(), a.into()), words[1]);
    }

    fn status(&self, name: &str, task: &DrbdResource) -> Option<status::Resource> {
        let node = &self.nodes[name];
        if !node.up {
            return None;
        }
        let peers = self.nodes.iter().filter(|(n, _)| *n != name).map(|(peer, other)| {
            let words = self.links.get(&(name.to_owned(), peer.clone())).copied();
            let connected = words.is_none() && other.up && other.reachable;
            let connection = words.unwrap_or(if connected { "Connected" } else { "Connecting" });
            let replication = match (connected, node.state, other.state, self.percent) {
                (false, ..) => "Off",
                (true, "UpToDate", "Inconsistent", Some(_)) => "SyncSource",
                (true, "Inconsistent", "UpToDate", Some(_)) => "SyncTarget",
                _ => "Established",
            };
            json!({ "peer-node-id": task.on[peer].node_id, "name": peer, "connection-state": connection,
                "peer-role": if connected { other.role } else { "Unknown" },
                "peer_devices": [{ "volume": 0, "replication-state": replication,
                    "peer-disk-state": if connected { other.state } else { "DUnknown" },
                    "resync-suspended": "no", "percent-in-sync": self.percent.unwrap_or(100.0) }] })
        });
        let connections: Vec<Json> = peers.collect();
        let connected = connections.iter().filter(|c| c["connection-state"] == "Connected").count();
        let quorum = !task.has_quorum() || (connected + 1) * 2 > self.nodes.len();
        let doc = json!({ "name": task.name, "node-id": task.on[name].node_id, "role": node.role,
            "devices": [{ "volume": 0, "minor": 100, "disk-state": node.state, "quorum": quorum }],
            "connections": connections });
        Some(serde_json::from_value(doc).unwrap())
    }

    fn plan(&self, name: &str, task: &DrbdResource) -> plan::Plan {
        let node = &self.nodes[name];
        let mut lines = String::new();
        match (&node.running, &node.file) {
            _ if !node.up => {
                lines.push_str(
                    "drbdsetup new-resource nfs1 0\ndrbdsetup new-minor nfs1 100 0\ndrbdsetup connect nfs1 1\n",
                );
            }
            (Some(running), Some(file)) if running != file => {
                let read = |text: &str| File::read(text).unwrap().resources.remove(0);
                for d in crate::drbd::compare::differences(&read(running), &read(file)) {
                    lines.push_str(match d.reach {
                        crate::drbd::compare::Reach::Option => "drbdsetup net-options nfs1 0 --set-defaults\n",
                        crate::drbd::compare::Reach::Network => {
                            "drbdsetup disconnect nfs1 2\ndrbdsetup connect nfs1 2\n"
                        }
                        crate::drbd::compare::Reach::Identity => "drbdsetup del-minor 100\n",
                    });
                }
            }
            _ => {}
        }
        if node.up && node.state == "Diskless" {
            lines.push_str("drbdmeta 100 v09 /dev/x internal apply-al\ndrbdsetup attach 100 /dev/x /dev/x internal\n");
        }
        for ((a, b), words) in &self.links {
            if a == name && *words == "StandAlone" {
                lines.push_str(&format!("drbdsetup connect nfs1 {}\n", task.on[b].node_id));
            }
        }
        plan::parse(&lines)
    }

    pub fn seen(&self, task: &DrbdResource) -> BTreeMap<String, Observation<Seen>> {
        let look = |(name, node): (&String, &Node)| {
            if !node.reachable {
                let why = "no route to host".to_owned();
                return (name.clone(), Err(LookError::Unreachable { host: name.clone(), why }));
            }
            let disk = task.on[name].disk.clone().unwrap();
            let mut seen = Seen {
                inventory_name: name.clone(),
                uname: name.clone(),
                module: node.module.clone(),
                module_found: None,
                file: node
                    .file
                    .clone()
                    .map(|text| FileSeen { text, mode: if task.has_secret() { 0o600 } else { 0o644 } }),
                others: node
                    .others
                    .iter()
                    .map(|(path, text)| OtherFile {
                        path: path.clone(),
                        resources: File::read(text).map(|f| f.resources).map_err(|e| e.to_string()),
                    })
                    .collect(),
                disks: BTreeMap::from([(disk, node.disk.clone())]),
                stable_names: BTreeMap::new(),
                runtime: None,
            };
            if node.disk == Disk::Missing || task.on[name].disk.as_deref() == Some("none") {
                seen.disks.retain(|path, _| path != "none");
            }
            if seen.module_is_9() {
                let described = seen.described(&task.name).is_some_and(|d| d.is_ok());
                let has_md = matches!(node.disk, Disk::Metadata { .. });
                let text = format!(
                    "{:016X}:{:016X}:{:016X}:0000000000000000:0:0:0:0:0:0:0:1:1:0:0:1\n",
                    node.uuid, node.past[0], node.past[1]
                );
                let lines = gi::parse_get_gi(&text).unwrap();
                seen.runtime = Some(Runtime {
                    status: Ok(self.status(name, task)),
                    minors: BTreeMap::new(),
                    generations: if described && has_md {
                        BTreeMap::from([(0, Ok(Gi { text, lines }))])
                    } else {
                        BTreeMap::new()
                    },
                    plan: described.then(|| Ok(self.plan(name, task))),
                    openers: BTreeMap::from([(0, node.openers)]),
                    owner: None,
                    md_node_ids: BTreeMap::new(),
                });
            }
            (name.clone(), Ok(seen))
        };
        self.nodes.iter().map(look).collect()
    }

    /// Does what a step says. Panics on anything that must never be asked for.
    pub fn perform(&mut self, on: &str, step: &Step) {
        let what = step.describe();
        self.log.push(format!("{on}: {what}"));
        match &step.action {
            Action::WriteFile { content, validate, .. } => {
                assert!(validate.is_some(), "an unchecked file may break every drbdadm command");
                self.node(on).file = Some(String::from_utf8(content.0.clone()).unwrap());
            }
            Action::SetAttributes { .. } => {}
            Action::Run { argv, .. } => {
                let words: Vec<&str> = argv.iter().map(String::as_str).collect();
                match words[..] {
                    ["drbdadm", "create-md", "--max-peers=7", "nfs1"] => {
                        assert_eq!(self.node(on).disk, Disk::Blank, "metadata over data");
                        let guard = &step.guards[0];
                        assert_eq!((guard.rc, guard.stdout.as_deref()), (2, Some("")));
                        self.node(on).disk = Disk::Metadata { version: "v09".into() };
                        self.node(on).uuid = FRESH;
                    }
                    ["drbdadm", "adjust", "nfs1"] => {
                        let fresh_join = self.nodes.values().any(|n| n.state == "UpToDate" && n.up);
                        let node = self.node(on);
                        node.running = node.file.clone();
                        if !node.up || node.state == "Diskless" {
                            node.state = if node.uuid == FRESH { "Inconsistent" } else { "UpToDate" };
                            if node.state == "Inconsistent" && fresh_join {
                                self.percent = Some(5.0);
                            }
                        }
                        self.node(on).up = true;
                        self.links.retain(|(a, b), _| a != on && b != on);
                    }
                    ["drbdadm", "new-current-uuid", "--clear-bitmap", "nfs1/0"] => {
                        assert!(self.nodes.values().all(|n| n.uuid == FRESH), "a second first source");
                        assert_eq!(step.guards.len(), 1);
                        for node in self.nodes.values_mut() {
                            (node.uuid, node.state) = (0x1111, "UpToDate");
                        }
                    }
                    ["drbdadm", "primary", "--force", "nfs1"] => {
                        assert!(self.nodes.values().all(|n| n.uuid == FRESH), "a second first source");
                        assert_eq!(step.guards.len(), 1);
                        let node = self.node(on);
                        (node.uuid, node.state, node.role) = (0x1111, "UpToDate", "Primary");
                        self.percent = Some(5.0);
                    }
                    ["drbdadm", "secondary", "nfs1"] => self.node(on).role = "Secondary",
                    ["drbdadm", "down", "nfs1"] => self.node(on).up = false,
                    _ => panic!("unexpected: {what}"),
                }
            }
            _ => panic!("unexpected: {what}"),
        }
    }

    /// Rounds as the fleet makes them, at most `rounds`. Returns the last verdicts in words.
    pub fn converge(&mut self, task: &DrbdResource, rounds: usize) -> BTreeMap<String, String> {
        let mut last = BTreeMap::new();
        for _ in 0..rounds {
            let verdicts = task.decide_all(&self.seen(task));
            last = verdicts.iter().map(|(host, v)| (host.clone(), told(v))).collect();
            let mut acted = false;
            for (host, verdict) in &verdicts {
                for step in steps(verdict) {
                    assert!(step.on.is_none() || step.on.as_deref() == Some(host));
                    self.perform(host, &step);
                    acted = true;
                }
            }
            if !acted {
                break;
            }
        }
        last
    }

    pub fn verdicts(&self, task: &DrbdResource) -> BTreeMap<String, String> {
        task.decide_all(&self.seen(task)).iter().map(|(host, v)| (host.clone(), told(v))).collect()
    }

    /// The text of a changed file, to see that diffs are made of it.
    pub fn diff(before: &str, after: &str) -> String {
        diff::unified("/etc/drbd.d/nfs1.res", before, after)
    }
}
