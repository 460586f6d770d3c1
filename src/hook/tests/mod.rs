mod combinations;
mod recorded;
mod table;

use super::*;
use crate::drbd::module::Version;
use crate::drbd::status::{Connection, Device, PeerDevice, Resource};
use crate::drbd::words::{ConnectionState, DiskState, ReplicationState, Role};
use std::path::PathBuf;

/// Compares with a file below `tests/cases/hook`; `CONVERGE_BLESS=1` writes it instead, for a person to read.
fn golden(name: &str, now: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/hook").join(name);
    if std::env::var_os("CONVERGE_BLESS").is_some() {
        std::fs::write(&path, now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    for (kept, now) in kept.lines().zip(now.lines()) {
        assert_eq!(kept, now, "{name}");
    }
    assert_eq!(kept.lines().count(), now.lines().count(), "{name}");
}

fn module_9() -> Module {
    Module::Loaded(Version::parse("9.3.3").unwrap())
}

/// A resource of one volume; each peer: connection, role, disk, replication.
fn resource(role: &str, disk: &str, peers: &[[&str; 4]]) -> Resource {
    let connection = |(n, [connection, role, disk, replication]): (usize, &[&str; 4])| Connection {
        peer_node_id: n as u32 + 1,
        name: format!("pve{}", n + 2),
        connection_state: ConnectionState::from(*connection),
        congested: false,
        peer_role: Role::from(*role),
        peer_devices: vec![PeerDevice {
            volume: 0,
            replication_state: ReplicationState::from(*replication),
            peer_disk_state: DiskState::from(*disk),
            peer_client: false,
            resync_suspended: "no".into(),
            out_of_sync: 0,
            percent_in_sync: 100.0,
            estimated_seconds_to_finish: None,
        }],
    };
    Resource {
        name: "nfs1".into(),
        node_id: 0,
        role: Role::from(role),
        suspended: false,
        suspended_user: false,
        suspended_no_data: false,
        suspended_fencing: false,
        suspended_quorum: false,
        force_io_failures: false,
        devices: vec![Device {
            volume: 0,
            minor: 100,
            disk_state: DiskState::from(disk),
            client: false,
            open: None,
            quorum: Some(true),
            size: None,
        }],
        connections: peers.iter().enumerate().map(connection).collect(),
    }
}

fn up(status: Resource, quorum: Quorum, held: Held) -> Observation {
    let state = State::Up { status: Box::new(status), quorum, held };
    Observation { module: module_9(), resources: vec![Seen { name: "nfs1".into(), state }] }
}

fn rows(verdict: &Verdict) -> String {
    verdict.findings.iter().map(|f| f.row.id).collect::<Vec<_>>().join(" ")
}

fn answer(verdict: &Verdict) -> &'static str {
    match (verdict.answer, verdict.heals()) {
        (Answer::Allow, _) => "allow",
        (Answer::Warn, _) => "warn",
        (Answer::Deny, false) => "deny",
        (Answer::Deny, true) => "deny, waits",
    }
}
