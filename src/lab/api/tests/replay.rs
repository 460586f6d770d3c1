//! Replays recorded exchanges with Proxmox VE 9.1.7 against a lab in the same starting state.
//! Every recording is either reproduced or listed in `gaps` with the reason; both lists must be true.

use super::compare::differences;
use super::stage::{Stage, form};
use crate::lab::api::{Reply, Request};
use crate::lab::world::Flavour;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

const RECORDINGS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captured/pve-9.1.7-2026-04-01.jsonl"));
/// `NAME<tab>REASON` of what the lab does not reproduce.
const GAPS: &str = include_str!("gaps.tsv");

/// First and last recording of each test bed.
const SESSIONS: [(u32, u32); 3] = [(2, 379), (400, 425), (430, 459)];

#[derive(Deserialize)]
struct Recording {
    seq: u32,
    name: String,
    request: Asked,
    response: Answered,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Answered {
    status: u16,
    reason: String,
    body: Option<Value>,
}

/// A run through one test bed.
struct Session {
    stage: Stage,
    /// Text of the recording → text of this run: UPIDs, digests.
    same: BTreeMap<String, String>,
    /// Secrets by `user!token`.
    tokens: BTreeMap<String, String>,
}

impl Session {
    fn new(stage: Stage) -> Self {
        Self { stage, same: BTreeMap::new(), tokens: BTreeMap::new() }
    }

    /// The recording's devices have other names here, and what it learnt earlier has other values.
    fn translate(&self, text: &str) -> String {
        let mut text = text.replace("/dev/drbd100", "/dev/sdz").replace("%2Fdev%2Fdrbd100", "%2Fdev%2Fsdz");
        text = text.replace("/dev/drbd999", "/dev/sdy").replace("%2Fdev%2Fdrbd999", "%2Fdev%2Fsdy");
        for (theirs, ours) in &self.same {
            text = text.replace(theirs, ours);
            text = text.replace(&theirs.replace(':', "%3A").replace('@', "%40").replace('!', "%21"), ours);
        }
        text
    }

    fn request(&self, asked: &Asked) -> Request {
        let target = asked.path.strip_prefix("/api2/json").unwrap_or(&asked.path);
        let target = if target.is_empty() { "/" } else { target };
        let body = asked.body.as_deref().unwrap_or_default();
        let body = body.replace("PVE%3Aroot%4-TICKET-SCRUBBED", &form(&[("", &self.stage.ticket)])[1..]);
        let mut request = self.stage.raw(&asked.method, &self.translate(target), &self.translate(&body), &[]);
        for (name, value) in &asked.headers {
            let value = match name.as_str() {
                "Cookie" => format!("PVEAuthCookie={}", self.stage.ticket.replace('+', "%2B")),
                "CSRFPreventionToken" if value.contains("SCRUBBED") => self.stage.csrf.clone(),
                "Authorization" => {
                    let id = value.trim_start_matches("PVEAPIToken=").split('=').next().unwrap_or_default();
                    value.replace("TOKEN-SECRET-SCRUBBED", self.tokens.get(id).map_or("unknown", String::as_str))
                }
                _ => value.clone(),
            };
            request.headers.insert(name.to_lowercase(), value);
        }
        request
    }

    /// What later requests and answers will name otherwise.
    fn learn(&mut self, expected: &Value, reply: &Reply) {
        let Some(actual) = &reply.body else { return };
        if let (Some(theirs), Some(ours)) = (expected["data"].as_str(), actual["data"].as_str())
            && theirs.starts_with("UPID:")
        {
            self.same.insert(theirs.into(), ours.into());
        }
        if let (Some(theirs), Some(ours)) = (expected["data"]["upid"].as_str(), actual["data"]["upid"].as_str()) {
            self.same.insert(theirs.into(), ours.into());
        }
        if let (Some(theirs), Some(ours)) = (expected["data"]["digest"].as_str(), actual["data"]["digest"].as_str()) {
            self.same.insert(theirs.into(), ours.into());
        }
        let data = &actual["data"];
        if let (Some(id), Some(secret)) = (data["full-tokenid"].as_str(), data["value"].as_str()) {
            self.tokens.insert(id.into(), secret.into());
        }
    }

    /// A request that the bed was sent and that is not among the recordings; its task is.
    fn unrecorded(&mut self, theirs: &str, path: &str, form: &str) {
        let ours = self.stage.data("POST", path, form);
        self.same.insert(theirs.into(), ours.as_str().unwrap_or_default().into());
    }

    fn differences(&mut self, recording: &Recording) -> Vec<String> {
        let reply = self.stage.ask(&self.request(&recording.request));
        let expected = recording.response.body.clone().unwrap_or_default();
        self.learn(&expected, &reply);
        let mut found = Vec::new();
        if reply.status != recording.response.status {
            found.push(format!("status {} recorded, {} here", recording.response.status, reply.status));
        }
        let reason = self.translate(&recording.response.reason);
        if reply.reason != reason {
            found.push(format!("reason {reason:?} recorded, {:?} here", reply.reason));
        }
        let expected: Value = serde_json::from_str(&self.translate(&expected.to_string())).unwrap_or_default();
        found.extend(differences(&expected, &reply.body.unwrap_or_default()));
        found
    }
}

fn recordings(from: u32, to: u32) -> Vec<Recording> {
    let all = RECORDINGS.lines().map(|line| serde_json::from_str::<Recording>(line).expect("a recording"));
    all.filter(|recording| (from..=to).contains(&recording.seq)).collect()
}

fn gaps() -> BTreeMap<&'static str, &'static str> {
    GAPS.lines().filter_map(|line| line.split_once('\t')).collect()
}

/// Replays; `before` fills in what happened on the bed between two recordings.
fn replay(mut session: Session, (from, to): (u32, u32), mut before: impl FnMut(&mut Session, u32)) {
    let gaps = gaps();
    let mut wrong = Vec::new();
    let mut last = from;
    for recording in recordings(from, to) {
        for seq in last..=recording.seq {
            before(&mut session, seq);
        }
        last = recording.seq + 1;
        let settled = ["-final", "-log", "tasks"].iter().any(|word| recording.name.contains(word));
        if settled {
            session.stage.pass_ms(1000);
        }
        let found = session.differences(&recording);
        match gaps.get(recording.name.as_str()) {
            None if !found.is_empty() => {
                wrong.push(format!("{} {}:\n    {}", recording.seq, recording.name, found.join("\n    ")));
            }
            Some(_) if found.is_empty() => {
                wrong.push(format!("{} {}: is reproduced, take it off gaps.tsv", recording.seq, recording.name));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} recordings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_gap_names_a_recording() {
    let names: Vec<String> = recordings(0, u32::MAX).into_iter().map(|recording| recording.name).collect();
    for (name, reason) in gaps() {
        assert!(names.iter().any(|known| known == name), "gaps.tsv: no recording is called {name}");
        assert!(reason.len() > 10, "gaps.tsv: {name} needs a reason");
    }
    for recording in recordings(0, u32::MAX) {
        let replayed = SESSIONS.iter().any(|(from, to)| (*from..=*to).contains(&recording.seq));
        assert!(
            replayed || gaps().contains_key(recording.name.as_str()),
            "{} is neither replayed nor listed",
            recording.name
        );
    }
}

/// A node alone, outside of a cluster, with two templates and nothing else.
fn standalone() -> Session {
    let stage = Stage::new(1, Flavour::Pve9);
    stage.world(|world| {
        world.cluster.name = String::new();
        // No HA manager ran on that bed.
        world.cluster.ha.tick_ms = i64::MAX / 4;
    });
    for name in ["debian-12-standard_12.12-1_amd64.tar.gz", "debian-12-tiny_12.12-1_amd64.tar.gz"] {
        stage.template(name);
    }
    stage.put_file("pve1", "/etc/pve/storage.cfg", b"", 0o640);
    stage.put_file("pve1", "/etc/pve/datacenter.cfg", b"", 0o640);
    stage.shared_device("sdz", false);
    Session::new(stage)
}

#[test]
fn a_standalone_node_answers_as_recorded() {
    replay(standalone(), SESSIONS[0], |session, seq| {
        let stage = &session.stage;
        let config = "/nodes/pve1/lxc/100/config";
        match seq {
            62 => drop(stage.data("DELETE", "/access/users/root@pam/token/full", "")),
            70 => drop(stage.data("POST", "/access/users", "userid=alice%40pve&password=alice-secret")),
            143 => session.unrecorded(
                "UPID:pve1:000000C5:000632EE:6B029EF8:vzcreate:100:root@pam:",
                "/nodes/pve1/lxc",
                "ostemplate=local%3Avztmpl%2Fdebian-12-tiny_12.12-1_amd64.tar.gz&vmid=100&rootfs=%2Fdev%2Fsdz%2Cshared%3D1",
            ),
            248 => session.unrecorded(
                "UPID:pve1:00000190:000639BB:6B029F09:vzsnapshot:100:root@pam:",
                "/nodes/pve1/lxc/100/snapshot",
                "snapname=s1",
            ),
            147 => session.stage.shared_device("sdz", true),
            151 => session.stage.world(|world| {
                for fs in world.filesystems.values_mut() {
                    fs.root_uid = 100_000;
                }
            }),
            189 => stage.put_file("pve1", "/var/lib/vz/snippets/hook.sh", b"#!/bin/sh\n", 0o755),
            200 => drop(stage.root("PUT", config, "net1=name%3Deth1%2Cbridge%3Dvmbr9")),
            206 => drop(stage.root("PUT", config, "features=nesting%3D1%2Ckeyctl%3D1")),
            245 => {
                // `pct unlock`.
                let path = "/etc/pve/nodes/pve1/lxc/100.conf";
                let text = stage.text("pve1", path).unwrap_or_default().replace("lock: backup\n", "");
                stage.put_file("pve1", path, text.as_bytes(), 0o640);
            }
            280 => drop(stage.data("POST", "/cluster/ha/resources", "sid=101&state=ignored")),
            // The terminal of 350 got a client, which left; those that got none end by themselves.
            353 => stage.leave_terminal("pve1", 5900),
            362 | 366 | 368 | 377 | 379 => stage.pass_ms(11_000),
            320 => drop(stage.data("DELETE", "/cluster/ha/resources/ct:100", "")),
            _ => {}
        }
    });
}

#[test]
fn a_running_container_answers_as_recorded() {
    let stage = Stage::new(1, Flavour::Pve9);
    stage.world(|world| world.cluster.name = "bed".into());
    stage.put_file("pve1", "/var/lib/vz/snippets/hook.sh", b"#!/bin/sh\n", 0o755);
    stage.template("debian-12-tiny_12.12-1_amd64.tar.gz");
    stage.shared_device("vdb", true);
    let create = form(&[
        ("vmid", "100"),
        ("ostemplate", "local:vztmpl/debian-12-tiny_12.12-1_amd64.tar.gz"),
        ("rootfs", "/dev/vdb,shared=1,size=230M"),
        ("hostname", "ct100"),
        ("memory", "64"),
        ("swap", "0"),
        ("cores", "1"),
        ("unprivileged", "0"),
        ("features", "nesting=1"),
        ("hookscript", "local:snippets/hook.sh"),
        ("net0", "name=eth0,bridge=vmbr0,ip=10.77.0.100/24"),
    ]);
    assert_eq!(stage.exit_of(&stage.data("POST", "/nodes/pve1/lxc", &create)), "OK");
    let path = "/etc/pve/nodes/pve1/lxc/100.conf";
    let text = stage.text("pve1", path).unwrap_or_default().replace(",size=230M", "").replace("cores: 1\n", "");
    stage.put_file("pve1", path, format!("{text}unprivileged: 1\n").as_bytes(), 0o640);
    assert_eq!(stage.exit_of(&stage.data("POST", "/nodes/pve1/lxc/100/status/start", "")), "OK");
    replay(Session::new(stage), SESSIONS[1], |session, seq| {
        let power = |word: &str| -> String { format!("/nodes/pve1/lxc/100/status/{word}") };
        match seq {
            411 => session.unrecorded("UPID:pve1:0000057E:000249E0:6B02A6C7:vzstop:100:root@pam:", &power("stop"), ""),
            416 => {
                session.unrecorded("UPID:pve1:00000598:00024FA5:6B02A6D6:vzstart:100:root@pam:", &power("start"), "")
            }
            _ => {}
        }
    });
}

const TICK_MS: i64 = 20_000;

#[test]
fn three_nodes_under_ha_answer_as_recorded() {
    let stage = Stage::new(3, Flavour::Pve9);
    stage.world(|world| {
        // The container had been on both nodes before.
        let now = world.now_ms();
        world.cluster.name = "bed".into();
        world.cluster.ha.master = "pve3".into();
        // Only the test's own clock moves the manager, however slow the machine.
        world.cluster.ha.tick_ms = TICK_MS;
        world.cluster.ha.last_ms = now;
        world.cluster.ha.busy = [("pve1".to_string(), now), ("pve2".to_string(), now)].into();
    });
    stage.template("debian-12-tiny_12.12-1_amd64.tar.gz");
    stage.shared_device("vdb", true);
    let create = form(&[
        ("vmid", "100"),
        ("ostemplate", "local:vztmpl/debian-12-tiny_12.12-1_amd64.tar.gz"),
        ("rootfs", "/dev/vdb,shared=1"),
        ("hostname", "ct100b"),
        ("memory", "96"),
        ("swap", "0"),
        ("cores", "1"),
        ("unprivileged", "0"),
    ]);
    assert_eq!(stage.exit_of(&stage.data("POST", "/nodes/pve1/lxc", &create)), "OK");
    replay(Session::new(stage), SESSIONS[2], |session, seq| {
        let stage = &session.stage;
        let rule = "rule=ct100-nodes&type=node-affinity&resources=ct%3A100&nodes=pve1%3A2";
        match seq {
            434 => drop(stage.data("POST", "/cluster/ha/rules", rule)),
            // Two steps of the manager: taken over; then started.
            438 => (0..6).for_each(|_| {
                stage.pass_ms(TICK_MS);
                stage.data("GET", "/version", "");
            }),
            441 => {
                stage.data("POST", "/cluster/ha/resources/ct:100/migrate", "node=pve2");
                stage.pass_ms(TICK_MS);
            }
            443 => (0..6).for_each(|_| {
                stage.pass_ms(TICK_MS);
                stage.data("GET", "/version", "");
            }),
            _ => {}
        }
    });
}
