//! Every combination of the words that DRBD has, held to rules that are written here a second time, without the table.

use super::*;

const TOMORROW: &str = "Tomorrow";

fn words(known: &'static [&'static str]) -> impl Iterator<Item = &'static str> + Clone {
    known.iter().copied().chain([TOMORROW])
}

/// What nobody may ever start on, said without rows.
fn must_deny(status: &Resource, quorum: &Quorum, held: &Held) -> bool {
    let device = &status.devices[0];
    let linked = |c: &&Connection| {
        c.connection_state == ConnectionState::Connected
            && c.peer_devices[0].replication_state != ReplicationState::Off
            && c.peer_devices[0].replication_state.is_known()
    };
    let good = |c: &&Connection| linked(c) && c.peer_devices[0].peer_disk_state == DiskState::UpToDate;
    let visible = 1 + status.connections.iter().filter(linked).count();
    let most = visible * 2 > status.connections.len() + 1;
    let vouched = *quorum == Quorum::Configured && device.quorum == Some(true);
    !status.unknown_words().is_empty()
        || status.suspended
        || status.force_io_failures
        || device.quorum == Some(false)
        || status.connections.is_empty()
        || status.connections.iter().any(|c| c.peer_role == Role::Primary)
        || (status.role == Role::Primary && *held != Held::No)
        || !(most || vouched)
        || (device.disk_state != DiskState::UpToDate && !status.connections.iter().any(|c| good(&c)))
        || matches!(device.disk_state, DiskState::Outdated | DiskState::Consistent | DiskState::DUnknown)
        || (status.connections.iter().any(|c| c.connection_state == ConnectionState::StandAlone)
            && !(vouched && visible > 1))
}

#[test]
fn what_nobody_may_start_on_is_always_denied() {
    let (mut count, mut allowed) = (0_u64, 0_u64);
    for (disk, connection) in words(DiskState::KNOWN).flat_map(|d| words(ConnectionState::KNOWN).map(move |c| (d, c))) {
        // A connection that is none replicates nothing.
        let connected = connection == "Connected";
        let replications: Vec<_> = words(ReplicationState::KNOWN).filter(|r| connected || *r == "Off").collect();
        for (peer_role, peer_disk) in words(Role::KNOWN).flat_map(|r| words(DiskState::KNOWN).map(move |d| (r, d))) {
            for replication in &replications {
                let other = ["Connected", "Secondary", "UpToDate", "Established"];
                let one = [connection, peer_role, peer_disk, replication];
                for peers in [&[one][..], &[one, other][..]] {
                    let mut status = resource("Secondary", disk, peers);
                    for (has, quorum) in [
                        (Some(true), Quorum::Configured),
                        (Some(true), Quorum::Off),
                        (Some(false), Quorum::Configured),
                        (None, Quorum::Untold("x".into())),
                    ] {
                        status.devices[0].quorum = has;
                        let must = must_deny(&status, &quorum, &Held::NotAsked);
                        let now = judge(&up(status.clone(), quorum, Held::NotAsked), OwnDisk::Syncing);
                        count += 1;
                        allowed += u64::from(now.answer != Answer::Deny);
                        assert!(!must || now.answer == Answer::Deny, "{status:?} {}", rows(&now));
                        assert_eq!(now.answer == Answer::Deny, now.findings.first().is_some_and(deny));
                    }
                }
            }
        }
    }
    assert!(count > 100_000 && allowed > 1_000, "{count} {allowed}");
}

fn deny(finding: &Finding) -> bool {
    finding.row.answer == Answer::Deny
}

/// Flags, holders, policies: too many for the product above, so beside a good state and a syncing one.
#[test]
fn flags_holders_and_policies() {
    let good = ["Connected", "Secondary", "UpToDate", "Established"];
    let source = ["Connected", "Secondary", "UpToDate", "SyncTarget"];
    let judged = |change: &dyn Fn(&mut Resource), held: Held, own: OwnDisk| {
        let mut status = resource("Secondary", "UpToDate", &[good, good]);
        change(&mut status);
        let verdict = judge(&up(status, Quorum::NotAsked, held), own);
        format!("{} [{}]", answer(&verdict), rows(&verdict))
    };
    let plain = |change: &dyn Fn(&mut Resource)| judged(change, Held::NotAsked, OwnDisk::Syncing);
    assert_eq!(plain(&|_| ()), "allow []");
    assert_eq!(plain(&|r| r.suspended = true), "deny, waits [suspended]");
    let by_hand = |r: &mut Resource| (r.suspended, r.suspended_user) = (true, true);
    assert_eq!(plain(&by_hand), "deny [suspended-user]");
    let no_quorum = |r: &mut Resource| (r.suspended, r.suspended_quorum) = (true, true);
    assert_eq!(plain(&no_quorum), "deny, waits [suspended]");
    assert_eq!(plain(&|r| r.suspended_fencing = true), "deny, waits [suspended]");
    assert_eq!(plain(&|r| r.suspended_no_data = true), "deny, waits [suspended]");
    assert_eq!(plain(&|r| r.force_io_failures = true), "deny, waits [io-fails]");
    assert_eq!(plain(&|r| r.role = Role::Primary), "deny, waits [held-untold]");
    let primary = |r: &mut Resource| r.role = Role::Primary;
    assert_eq!(judged(&primary, Held::No, OwnDisk::Syncing), "warn [primary-free]");
    assert_eq!(judged(&primary, Held::By(vec!["x".into()]), OwnDisk::Syncing), "deny, waits [held-here]");
    let disk = |state: DiskState, client: bool| {
        move |r: &mut Resource| {
            (r.devices[0].disk_state, r.devices[0].client) = (state.clone(), client);
        }
    };
    let diskless = disk(DiskState::Diskless, false);
    assert_eq!(plain(&diskless), "deny, waits [diskless]");
    assert_eq!(judged(&diskless, Held::NotAsked, OwnDisk::Any), "warn [diskless-any]");
    assert_eq!(plain(&disk(DiskState::Diskless, true)), "allow []");
    let syncing = |r: &mut Resource| *r = resource("Secondary", "Inconsistent", &[source, good]);
    assert_eq!(plain(&syncing), "warn [sync-target]");
    assert_eq!(judged(&syncing, Held::NotAsked, OwnDisk::UpToDate), "deny, waits [sync-target-strict]");
    assert_eq!(plain(&|r| r.connections.clear()), "deny, waits [no-peers]");
}

#[test]
fn several_resources_and_modules() {
    let fine = resource("Secondary", "UpToDate", &[["Connected", "Secondary", "UpToDate", "Established"]; 2]);
    let mut observation = up(fine, Quorum::NotAsked, Held::NotAsked);
    assert_eq!(judge(&observation, OwnDisk::Syncing).answer, Answer::Allow);
    observation.resources.push(Seen { name: "data2".into(), state: State::NotUp });
    let verdict = judge(&observation, OwnDisk::Syncing);
    assert_eq!(rows(&verdict), "not-up");
    assert!(verdict.sentence().starts_with("data2 is not up on this node"), "{}", verdict.sentence());
    for (module, expected) in [
        (Module::Loaded(Version::parse("8.4.11").unwrap()), "deny [module-8]"),
        (Module::Loaded(Version::parse("9.0.32-1").unwrap()), "deny, waits [not-up]"),
        (Module::Loaded(Version::parse("10.1").unwrap()), "deny [module-new]"),
        (Module::Absent, "deny, waits [module-absent]"),
        (Module::Untold("EIO".into()), "deny, waits [module-untold]"),
    ] {
        observation.module = module;
        let verdict = judge(&observation, OwnDisk::Syncing);
        assert_eq!(format!("{} [{}]", answer(&verdict), rows(&verdict)), expected);
    }
    observation.resources.clear();
    assert_eq!(judge(&observation, OwnDisk::Syncing).answer, Answer::Allow, "no DRBD: none of our business");
    observation.resources.push(Seen { name: "nfs1".into(), state: State::Untold("no answer within 3 s".into()) });
    observation.module = module_9();
    let sentence = judge(&observation, OwnDisk::Syncing).sentence();
    assert!(sentence.starts_with("cannot tell the state of nfs1 (no answer within 3 s): "), "{sentence}");
}
