//! Every parser against recordings of real nodes: a selection beside the sources, and all of them where they are.

use super::status::{Connection, Resource};
use super::words::ConnectionState;
use super::{dkms, gi, health, module, plan, resource, status};
use serde_json::Value as Json;
use std::path::Path;

const SELECTION: &str = "tests/captured/drbd-9.3.3-utils-9.22-2026-11-22/recordings.jsonl";
/// The whole set, outside of the repository; its absence is no fault.
const ALL: &str = "../shared/data/drbd-recordings.jsonl";

struct Recording(Json);

impl Recording {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn rc(&self) -> i64 {
        self.0["rc"].as_i64().unwrap_or(-1)
    }

    fn label(&self) -> String {
        format!("{} {} {}", self.text("state"), self.text("node"), self.text("what"))
    }
}

fn recordings(path: &str) -> Vec<Recording> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no {}", path.display());
        return Vec::new();
    };
    text.lines().map(|l| Recording(serde_json::from_str(l).unwrap())).collect()
}

fn both() -> impl Iterator<Item = Recording> {
    let selection = recordings(SELECTION);
    assert!(selection.len() > 100, "the selection belongs to the sources");
    selection.into_iter().chain(recordings(ALL))
}

/// The short form in which the states were written down when they were recorded.
fn index_of(r: &Resource) -> String {
    let device = &r.devices[0];
    let mut out = format!("{}/{}", r.role, device.disk_state);
    if device.quorum == Some(false) {
        out.push_str(" quorum:no");
    }
    if r.suspended_quorum {
        out.push_str(" SUSPENDED(quorum)");
    }
    if r.force_io_failures {
        out.push_str(" FORCE-IO-FAIL");
    }
    let peer = |c: &Connection| {
        let d = &c.peer_devices[0];
        let suspended = match d.resync_suspended.as_str() {
            "no" => String::new(),
            words => format!("({words})"),
        };
        let (state, role) = (&c.connection_state, &c.peer_role);
        format!(" | {}:{state}/{role}/{}/{}{suspended}", c.name, d.peer_disk_state, d.replication_state)
    };
    out.extend(r.connections.iter().map(peer));
    out
}

#[test]
fn status_documents_say_what_was_written_down() {
    let (mut documents, mut compared) = (0, 0);
    for r in both().filter(|r| r.text("what").contains("status") && r.text("what").contains("json") && r.rc() == 0) {
        let Ok(all) = status::parse(r.text("out")) else {
            // Actions print more than the document.
            assert!(r.text("what").starts_with("actions/"), "{}", r.label());
            continue;
        };
        documents += 1;
        for resource in &all {
            assert_eq!(resource.unknown_words(), Vec::<String>::new(), "{}", r.label());
            let health = health::judge(resource, 2);
            assert_eq!(health.findings.is_empty(), health.level == health::Level::Healthy);
            let standing_alone = resource.connections.iter().any(|c| c.connection_state == ConnectionState::StandAlone);
            assert_eq!(health.has(health::What::StandAlone), standing_alone, "{}", r.label());
        }
        let index = r.text("index").split("  [").next().unwrap();
        if let ([resource], true) = (&all[..], index.contains('/')) {
            assert_eq!(index_of(resource), index, "{}", r.label());
            compared += 1;
        }
    }
    assert!(documents > 40 && compared > 30, "{documents} documents, {compared} compared");
}

#[test]
fn states_get_the_verdict_a_person_gave_them() {
    use health::{Level, What};
    for (state, node, level, what) in [
        ("11-healthy-all-secondary", "pve1", Level::Healthy, None),
        ("10-initial-sync-running", "pve1", Level::Working, Some(What::Syncing)),
        ("17-mesh-partial-pve1-pve3-cut", "pve3", Level::Bad, Some(What::Outdated)),
        ("18-pve3-powered-off", "pve1", Level::Degraded, Some(What::NotConnected)),
        ("20-pve2-detached-diskless", "pve2", Level::Degraded, Some(What::Diskless)),
        ("28-split-brain-two-primaries", "pve1", Level::Bad, Some(What::StandAlone)),
        ("36-quorum-lost-primary-suspended-io-pve1", "pve1", Level::Bad, Some(What::Suspended)),
        ("34-quorum-lost-primary-io-error-pve1", "pve1", Level::Bad, Some(What::QuorumLost)),
        ("15-held-by-other-mount-namespace", "pve1", Level::Bad, Some(What::NoConnections)),
    ] {
        let mut found = false;
        for r in both()
            .filter(|r| r.text("state") == state && r.text("node") == node && r.text("what") == "drbdsetup-status-json")
        {
            let all = status::parse(r.text("out")).unwrap();
            let health = health::judge(&all[0], 2);
            assert_eq!(health.level, level, "{}: {}", r.label(), health.sentence());
            assert!(what.is_none_or(|w| health.has(w)), "{}: {}", r.label(), health.sentence());
            found = true;
        }
        assert!(found, "no recording of {state} {node}");
    }
}

#[test]
fn generations_read_or_say_why_not() {
    let mut seen = 0;
    for r in both().filter(|r| r.text("what") == "drbdadm-get-gi") {
        match gi::parse_get_gi(r.text("out")) {
            Ok(lines) => {
                seen += 1;
                let fresh = r.text("out").starts_with("0000000000000004");
                assert_eq!(lines[0].is_just_created(), fresh, "{}", r.label());
            }
            Err(_) => assert!(r.text("out").trim().is_empty() || r.rc() != 0, "{}", r.label()),
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn proc_drbd_and_dkms_read() {
    let (mut proc, mut dkms_lines) = (0, 0);
    for r in both() {
        match r.text("what") {
            "proc-drbd" if r.rc() == 0 && !r.text("out").is_empty() => {
                proc += 1;
                let found = module::parse_proc_drbd(r.text("out")).unwrap_or_else(|| panic!("{}", r.label()));
                assert_eq!(found.version.major, if found.api == 1 { 8 } else { 9 }, "{}", r.label());
            }
            what if r.text("state") == "dkms" && what.contains("-status") && r.rc() == 0 => {
                let status = dkms::parse(r.text("out"));
                assert_eq!(status.unread, Vec::<String>::new(), "{}", r.label());
                assert!(!status.entries.iter().any(|e| matches!(e.state, dkms::State::Other(_))), "{}", r.label());
                dkms_lines += status.entries.len();
            }
            _ => {}
        }
    }
    assert!(proc >= 3 && dkms_lines > 20, "{proc} {dkms_lines}");
}

#[test]
fn dry_runs_of_adjust_have_the_reach_that_was_measured() {
    use plan::Class;
    let mut seen = 0;
    for r in both() {
        let expected = match r.text("what") {
            "actions/a01-adjust-d-insync" => None,
            "actions/a02-adjust-d-net-options"
            | "actions/a03-adjust-d-disk-options"
            | "actions/a09-adjust-d-protocol" => Some(Class::Benign),
            "actions/a04-adjust-d-peer-address" | "actions/a05-adjust-d-port" => Some(Class::Network),
            "actions/a06-adjust-d-missing-peer"
            | "actions/a07-adjust-d-disk-changed"
            | "actions/a08-adjust-d-minor-changed"
            | "actions/a10-adjust-d-node-id" => Some(Class::Dangerous),
            "actions/c7-drbdadm-adjust-d" => Some(Class::BringUp),
            _ => continue,
        };
        let out: String = r.text("out").lines().filter(|l| l.starts_with("drbd")).map(|l| format!("{l}\n")).collect();
        assert_eq!(plan::parse(&out).class(), expected, "{}", r.label());
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

/// What `drbdadm dump` printed for accepted files reads, and means what the file was written to mean.
#[test]
fn dumps_of_accepted_files_read() {
    let mut seen = 0;
    for r in both().filter(|r| r.text("state") == "40-config-cases" && r.text("what").starts_with("actions/c")) {
        let out: String = r.text("out").lines().filter(|l| !l.starts_with("rc=")).map(|l| format!("{l}\n")).collect();
        if !out.contains("resource nfs1 {") || r.text("cmd").contains("head") {
            continue;
        }
        let file = resource::File::read(&out).unwrap_or_else(|e| panic!("{}: {e}", r.label()));
        let nfs1 = file.resource("nfs1").unwrap();
        assert_eq!(nfs1.hosts.len(), 3, "{}", r.label());
        assert_eq!(nfs1.volumes[&0].device.as_ref().unwrap().minor(), Some(100));
        let text = super::res::render(&[nfs1.to_statement()]);
        let again = resource::File::read(&text).unwrap();
        assert_eq!(super::compare::differences(nfs1, &again.resources[0]), [], "{}", r.label());
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
}

/// Why a StandAlone is one, from the generations alone; what the kernel log said is in the state's name.
#[test]
fn split_brain_is_told_from_a_lost_handshake() {
    use gi::Relation;
    for (state, a, b, relation) in [
        ("28-split-brain-two-primaries", "pve1", "pve2", Relation::SplitBrain),
        ("28-split-brain-two-primaries", "pve1", "pve3", Relation::SplitBrain),
        ("28-split-brain-two-primaries", "pve2", "pve3", Relation::Same),
        ("42-unrelated-data-standalone", "pve1", "pve3", Relation::Unrelated),
        ("46b-nonsplitbrain-standalone-after-crash", "pve1", "pve3", Relation::Same),
        ("25-pve2-standalone-promoted-after-disconnect", "pve1", "pve2", Relation::Behind),
        ("25-pve2-standalone-promoted-after-disconnect", "pve2", "pve1", Relation::Ahead),
        ("41-pve3-fresh-metadata-rejoin", "pve1", "pve3", Relation::Fresh),
    ] {
        let all = recordings(ALL);
        if all.is_empty() {
            return;
        }
        let of = |node: &str| {
            let is = |r: &&Recording| {
                r.text("state") == state && r.text("node") == node && r.text("what") == "drbdadm-get-gi"
            };
            gi::parse_get_gi(all.iter().find(is).unwrap_or_else(|| panic!("{state} {node}")).text("out")).unwrap()
        };
        assert_eq!(gi::relation(&of(a), &of(b)), Some(relation), "{state} {a} {b}");
    }
}
