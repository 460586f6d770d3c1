use super::*;
use serde_json::{Value as Json, json};

fn healthy() -> Json {
    let peer = |id: u32, name: &str| {
        json!({ "peer-node-id": id, "name": name, "connection-state": "Connected", "congested": false,
            "peer-role": "Secondary", "peer_devices": [{ "volume": 0, "replication-state": "Established",
            "peer-disk-state": "UpToDate", "peer-client": false, "resync-suspended": "no", "out-of-sync": 260,
            "percent-in-sync": 100.0 }] })
    };
    json!({ "name": "nfs1", "node-id": 0, "role": "Secondary", "suspended": false,
        "devices": [{ "volume": 0, "minor": 100, "disk-state": "UpToDate", "client": false, "quorum": true, "size": 131028 }],
        "connections": [peer(1, "pve2"), peer(2, "pve3")] })
}

fn judged(changes: &[(&str, Json)]) -> Health {
    let mut doc = healthy();
    for (pointer, value) in changes {
        *doc.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone();
    }
    judge(&serde_json::from_value(doc).unwrap(), 2)
}

#[test]
fn out_of_sync_bits_alone_are_healthy() {
    let health = judged(&[]);
    assert_eq!((health.level, health.sentence().as_str()), (Level::Healthy, "healthy"));
}

#[test]
fn every_trouble_has_its_level_and_sentence() {
    let dev = "/devices/0/disk-state";
    let c = "/connections/0/connection-state";
    let r = "/connections/0/peer_devices/0/replication-state";
    let p = "/connections/0/peer_devices/0/peer-disk-state";
    for (changes, what, level, says) in [
        (vec![(dev, json!("HalfFull"))], What::UnknownWord, Level::Bad, "HalfFull"),
        (vec![(r, json!("Teleporting"))], What::UnknownWord, Level::Bad, "Teleporting"),
        (vec![("/suspended", json!(true))], What::Suspended, Level::Bad, "no reason given"),
        (vec![("/devices/0/quorum", json!(false))], What::QuorumLost, Level::Bad, "no quorum"),
        (vec![("/connections", json!([]))], What::NoConnections, Level::Bad, "no connections at all"),
        (vec![(c, json!("StandAlone"))], What::StandAlone, Level::Bad, "StandAlone towards pve2"),
        (vec![(c, json!("Connecting"))], What::NotConnected, Level::Degraded, "pve2 is not connected (Connecting)"),
        (vec![(dev, json!("Diskless"))], What::Diskless, Level::Degraded, "without its local disk"),
        (vec![(dev, json!("Failed"))], What::DiskFailed, Level::Bad, "failed"),
        (vec![(dev, json!("Inconsistent"))], What::Inconsistent, Level::Bad, "Inconsistent"),
        (vec![(dev, json!("Outdated"))], What::Outdated, Level::Bad, "Outdated"),
        (
            vec![(dev, json!("Inconsistent")), (r, json!("SyncTarget"))],
            What::Inconsistent,
            Level::Working,
            "syncing from pve2",
        ),
        (vec![(r, json!("SyncSource")), (p, json!("Inconsistent"))], What::Syncing, Level::Working, "syncing to pve2"),
        (vec![(r, json!("VerifyS"))], What::Verifying, Level::Working, "verifying"),
        (vec![(p, json!("Diskless"))], What::PeerDisk, Level::Degraded, "disk of pve2 is Diskless"),
    ] {
        let health = judged(&changes);
        assert!(health.has(what) && health.level == level, "{changes:?}: {health:?}");
        assert!(health.sentence().contains(says), "{changes:?}: {}", health.sentence());
    }
    let forced = serde_json::from_value::<Resource>({
        let mut doc = healthy();
        doc["force-io-failures"] = json!(true);
        doc
    });
    assert!(judge(&forced.unwrap(), 2).has(What::IoFailuresForced));
}

#[test]
fn the_slowest_sync_counts() {
    let health = judged(&[
        ("/connections/0/peer_devices/0/replication-state", json!("SyncSource")),
        ("/connections/0/peer_devices/0/percent-in-sync", json!(40.0)),
        ("/connections/1/peer_devices/0/replication-state", json!("PausedSyncS")),
        ("/connections/1/peer_devices/0/percent-in-sync", json!(10.0)),
    ]);
    assert_eq!(health.sync_fraction, Some(0.1));
}

#[test]
fn the_last_good_copy_is_known() {
    let one = |changes: &[(&str, Json)]| {
        let mut doc = healthy();
        for (pointer, value) in changes {
            *doc.pointer_mut(pointer).unwrap() = value.clone();
        }
        is_last_up_to_date(&serde_json::from_value(doc).unwrap())
    };
    assert!(!one(&[]));
    assert!(!one(&[("/connections/0/peer_devices/0/peer-disk-state", json!("Outdated"))]));
    assert!(one(&[
        ("/connections/0/peer_devices/0/peer-disk-state", json!("Outdated")),
        ("/connections/1/connection-state", json!("Connecting")),
    ]));
    assert!(!one(&[("/devices/0/disk-state", json!("Inconsistent")), ("/connections", json!([]))]));
}
