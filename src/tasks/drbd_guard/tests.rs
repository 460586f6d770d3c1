use super::*;
use serde_json::{Value as Json, json};

const GOOD: (&str, &str, &str) = ("Connected", "Secondary", "UpToDate");
const AWAY: (&str, &str, &str) = ("Connecting", "Unknown", "DUnknown");

/// `nfs1` as node `id` of three sees it, with its peers in order.
fn view(id: u32, role: &str, peers: [(&str, &str, &str); 2]) -> Up {
    let others: Vec<u32> = (0..3).filter(|other| *other != id).collect();
    let connections: Vec<Json> = others
        .iter()
        .zip(peers)
        .map(|(id, (connection, role, disk))| {
            let replication = if connection == "Connected" { "Established" } else { "Off" };
            json!({
                "peer-node-id": id, "name": format!("pve{}", id + 1), "connection-state": connection,
                "peer-role": role,
                "peer_devices": [{ "volume": 0, "replication-state": replication, "peer-disk-state": disk }],
            })
        })
        .collect();
    let resource = json!({
        "name": "nfs1", "node-id": id, "role": role,
        "devices": [{ "volume": 0, "minor": 100, "disk-state": "UpToDate" }],
        "connections": connections,
    });
    Up(Ok(vec![serde_json::from_value(resource).unwrap()]))
}

fn decided(all: &[(&str, Observation<Up>)], wanting: &[&str], again: bool) -> Vec<(String, String)> {
    let all: BTreeMap<&str, Observation<&Up>> =
        all.iter().map(|(host, up)| (*host, up.as_ref().map_err(Clone::clone))).collect();
    let turns = turns(&all, &wanting.iter().copied().collect(), again);
    let text = |turn: Turn| match turn {
        Turn::Now => "now".to_owned(),
        Turn::After(other) => format!("after {other}"),
        Turn::NotYet(why) => format!("not yet: {why}"),
        Turn::Never(why) => format!("never: {why}"),
    };
    turns.into_iter().map(|(host, turn)| (host, text(turn))).collect()
}

fn says(found: &[(String, String)], wanted: &[(&str, &str)]) {
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for ((host, said), (name, words)) in found.iter().zip(wanted) {
        assert!(host == name && said.contains(words), "{found:#?}");
    }
}

fn healthy() -> Vec<(&'static str, Observation<Up>)> {
    vec![
        ("pve1", Ok(view(0, "Secondary", [GOOD, GOOD]))),
        ("pve2", Ok(view(1, "Secondary", [GOOD, GOOD]))),
        ("pve3", Ok(view(2, "Secondary", [GOOD, GOOD]))),
    ]
}

#[test]
fn of_three_that_all_are_to_stop_one_may() {
    let found = decided(&healthy(), &["pve1", "pve2", "pve3"], false);
    let left = "lose the quorum (1 of 3 nodes left), once pve1 has stopped it";
    says(&found, &[("pve1", "now"), ("pve2", left), ("pve3", left)]);
}

#[test]
fn the_one_that_uses_it_never_stops_and_counts_for_the_others() {
    let user = ("Connected", "Primary", "UpToDate");
    let all = [
        ("pve1", Ok(view(0, "Primary", [GOOD, GOOD]))),
        ("pve2", Ok(view(1, "Secondary", [user, GOOD]))),
        ("pve3", Ok(view(2, "Secondary", [user, GOOD]))),
    ];
    let found = decided(&all, &["pve1", "pve2", "pve3"], false);
    says(&found, &[("pve1", "never: nfs1: it is in use"), ("pve2", "now"), ("pve3", "never: ")]);
    // The user itself has lost one node already, which the one that is to stop does not see.
    let all = [
        ("pve1", Ok(view(0, "Primary", [GOOD, AWAY]))),
        ("pve2", Ok(view(1, "Secondary", [user, GOOD]))),
        ("pve3", Ok(view(2, "Secondary", [AWAY, GOOD]))),
    ];
    says(&decided(&all, &["pve2"], false), &[("pve2", "pve1 is using it and would lose the quorum (1 of 3")]);
}

#[test]
fn restarts_go_one_after_another_and_wait_for_the_one_before() {
    let all = ["pve1", "pve2", "pve3"];
    let after = "after pve1";
    says(&decided(&healthy(), &all, true), &[("pve1", "now"), ("pve2", after), ("pve3", after)]);
    let meanwhile = [
        ("pve1", Ok(view(0, "Secondary", [AWAY, AWAY]))),
        ("pve2", Ok(view(1, "Secondary", [AWAY, GOOD]))),
        ("pve3", Ok(view(2, "Secondary", [AWAY, GOOD]))),
    ];
    // Both wait: neither has gone first.
    says(&decided(&meanwhile, &all[1..], true), &[("pve2", "not yet: "), ("pve3", "not yet: ")]);
    says(&decided(&healthy(), &all[1..], true), &[("pve2", "now"), ("pve3", "after pve2")]);
}

#[test]
fn while_one_cannot_be_asked_nobody_stops() {
    let mut all = healthy();
    all[2].1 = Err(LookError::Unreachable { host: "pve3".into(), why: "no route".into() });
    says(&decided(&all, &["pve1"], false), &[("pve1", "never: what would be left is not known")]);
    all[2].1 = Ok(Up(Err("drbdsetup is silent".into())));
    says(&decided(&all, &["pve1"], false), &[("pve1", "pve3 (drbdsetup is silent)")]);
    // Where nothing is up there is nothing to lose.
    all[0].1 = Ok(Up::NOTHING);
    says(&decided(&all, &["pve1"], false), &[("pve1", "now")]);
}

#[test]
fn what_stops_drbd_is_known_by_its_name() {
    let of = |line: &str| of_line(line).map(|stops| if let Stops::Resource(name) = stops { name } else { "*".into() });
    for (line, wanted) in [
        ("drbdadm down nfs1", Some("nfs1")),
        ("/usr/sbin/drbdadm -v down all", Some("*")),
        ("drbdsetup down nfs1", Some("nfs1")),
        ("systemctl restart drbd", Some("*")),
        ("systemctl stop --now drbd@my\\\\x2dres.target", Some("my-res")),
        ("systemctl stop drbd@a.service drbd@b.service", Some("*")),
        ("cd / && drbdadm down nfs1; true", Some("nfs1")),
        ("drbdadm adjust nfs1", None),
        ("systemctl restart nfs-server", None),
        ("systemctl stop drbd-promote@nfs1.service", None),
        ("echo drbdadm down", None),
    ] {
        assert_eq!(of(line).as_deref(), wanted, "{line}");
    }
}
