//! Every state that was recorded on real nodes, and every pair of recorded peers.

use super::*;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

#[derive(Deserialize)]
struct Recorded {
    state: String,
    node: String,
    module: Option<String>,
    resource: Option<Resource>,
    quorum: Option<bool>,
    held: Vec<String>,
}

impl Recorded {
    fn observation(&self) -> Observation {
        let module = self.module.as_deref().and_then(Version::parse).map_or(Module::Absent, Module::Loaded);
        let state = match &self.resource {
            None => State::NotUp,
            Some(status) => State::Up {
                status: Box::new(status.clone()),
                quorum: match self.quorum {
                    Some(true) => Quorum::Configured,
                    Some(false) => Quorum::Off,
                    None => Quorum::Untold("no answer".into()),
                },
                held: match &self.held[..] {
                    [] => Held::No,
                    who => Held::By(who.to_vec()),
                },
            },
        };
        Observation { module, resources: vec![Seen { name: "nfs1".into(), state }] }
    }
}

fn all() -> Vec<Recorded> {
    include_str!("../../../tests/cases/hook/recorded.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn every_recorded_state_has_its_verdict_and_sentence() {
    let mut text = String::new();
    for recorded in all() {
        let verdict = judge(&recorded.observation(), OwnDisk::Syncing);
        let (state, node) = (&recorded.state, &recorded.node);
        let _ = writeln!(text, "{state} {node}: {} [{}]", answer(&verdict), rows(&verdict));
        if verdict.answer != Answer::Allow {
            let _ = writeln!(text, "    {}", verdict.sentence());
        }
    }
    golden("recorded.txt", &text);
}

/// What a person decided from the facts about each state, independently of the table.
#[test]
fn the_verdicts_that_matter_are_those_a_person_gave() {
    for (state, node, expected) in [
        ("02-drbd9-loaded-nothing-configured", "pve1", "deny, waits"),
        ("03-drbd84-loaded-with-drbd9-res", "pve1", "deny"),
        ("07-up-peers-absent-connecting", "pve1", "deny, waits"),
        ("08-all-inconsistent-secondary", "pve1", "deny, waits"),
        ("11-healthy-all-secondary", "pve1", "allow"),
        ("11-healthy-all-secondary", "pve3", "allow"),
        ("12-primary-mounted-on-pve1", "pve2", "deny, waits"),
        ("12-primary-mounted-on-pve1", "pve1", "deny, waits"),
        ("15-held-by-other-mount-namespace", "pve1", "deny, waits"),
        ("17-mesh-partial-pve1-pve3-cut", "pve3", "deny, waits"),
        ("18-pve3-powered-off", "pve2", "deny, waits"),
        ("25-pve2-standalone-promoted-after-disconnect", "pve2", "deny"),
        ("28-split-brain-two-primaries", "pve1", "deny"),
        ("28-split-brain-two-primaries", "pve2", "deny"),
        ("28-split-brain-two-primaries", "pve3", "deny"),
        ("34-quorum-lost-primary-io-error-pve1", "pve1", "deny, waits"),
        ("34-quorum-lost-primary-io-error-pve1", "pve2", "warn"),
        ("34-quorum-lost-primary-io-error-pve1", "pve3", "warn"),
        ("36-quorum-lost-primary-suspended-io-pve1", "pve1", "deny, waits"),
        ("37-suspended-then-reconfigured-io-error", "pve1", "deny, waits"),
        ("42-unrelated-data-standalone", "pve3", "deny"),
        ("46-crashed-primary-returns", "pve2", "allow"),
        ("46b-nonsplitbrain-standalone-after-crash", "pve1", "warn"),
        ("46b-nonsplitbrain-standalone-after-crash", "pve3", "warn"),
        ("47-up-alone-with-quorum-configured", "pve1", "deny, waits"),
        ("48-two-of-three-up", "pve1", "warn"),
        ("49-backing-disk-missing", "pve3", "deny, waits"),
        ("51-final", "pve2", "allow"),
        ("52-nfsd-in-dead-container-netns", "pve1", "deny, waits"),
        ("53-nfsd-container-killed-remote-client", "pve1", "allow"),
    ] {
        let recorded = all().into_iter().find(|r| r.state == state && r.node == node).unwrap();
        let verdict = judge(&recorded.observation(), OwnDisk::Syncing);
        assert_eq!(answer(&verdict), expected, "{state} {node}: {} {}", rows(&verdict), verdict.sentence());
    }
}

/// Every peer that was recorded beside every other, seen from a good Secondary and from every other recorded state of
/// an own disk, with and without a configured quorum.
#[test]
fn every_pair_of_recorded_peers_has_its_verdict() {
    let (mut owns, mut peers) = (BTreeSet::new(), BTreeSet::new());
    for resource in all().iter().filter_map(|r| r.resource.as_ref()) {
        let disk = resource.devices[0].disk_state.as_str().to_owned();
        owns.insert((resource.role.as_str().to_owned(), disk, resource.devices[0].quorum));
        for c in &resource.connections {
            let d = &c.peer_devices[0];
            peers.insert([
                c.connection_state.as_str().to_owned(),
                c.peer_role.as_str().to_owned(),
                d.peer_disk_state.as_str().to_owned(),
                d.replication_state.as_str().to_owned(),
            ]);
        }
    }
    assert!(owns.len() >= 8 && peers.len() >= 15, "{} {}", owns.len(), peers.len());
    let mut text = String::new();
    for (role, disk, quorum) in &owns {
        for (n, a) in peers.iter().enumerate() {
            for b in peers.iter().skip(n) {
                let both = [a, b].map(|p| p.each_ref().map(String::as_str));
                let mut status = resource(role, disk, &both);
                status.devices[0].quorum = *quorum;
                let of = |quorum| judge(&up(status.clone(), quorum, Held::No), OwnDisk::Syncing);
                let (with, without) = (of(Quorum::Configured), of(Quorum::Off));
                let lost = if *quorum == Some(false) { " quorum:no" } else { "" };
                let _ = writeln!(
                    text,
                    "{role}/{disk}{lost} | {} | {} => {} [{}]; quorum off: {} [{}]",
                    a.join("/"),
                    b.join("/"),
                    answer(&with),
                    rows(&with),
                    answer(&without),
                    rows(&without)
                );
            }
        }
    }
    golden("pairs.txt", &text);
}
