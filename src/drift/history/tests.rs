use super::*;
use crate::drift::{MarkKind, Report, Standing};
use crate::event::{Outcome, TaskResult, Totals};
use std::collections::BTreeMap;

const DAY: Time = 86_400;
const T0: Time = 1_800_000_000;

fn result(host: &str, object: &str, outcome: Outcome) -> TaskResult {
    serde_json::from_value(serde_json::json!({
        "play": "p", "task": format!("keep {object}"), "kind": "copy", "host": host, "outcome": outcome, "summary": "s",
        "diff": "", "provisional": false, "took_ms": 1, "place": "site.yml:3", "object": object
    }))
    .unwrap()
}

fn facts(at: Time, results: Vec<TaskResult>) -> Facts {
    Facts {
        started: at - 5,
        ended: at,
        took_ms: 5000,
        playbooks: vec!["site.yml".into()],
        hosts: vec!["pve1".into()],
        totals: Totals::default(),
        exit: 0,
        untold: 0,
        results,
        notes: Vec::new(),
        traces: BTreeMap::new(),
        by: "ws".into(),
        heal: "converge apply site.yml".into(),
    }
}

fn run(history: &mut History, at: Time, outcomes: &[(&str, Outcome)]) -> Report {
    let results = outcomes.iter().map(|(object, outcome)| result("pve1", object, *outcome)).collect();
    history.record(facts(at, results), |_, _| Ok(())).unwrap()
}

fn standing(report: &Report, object: &str) -> Option<Standing> {
    report.findings.iter().find(|f| f.object == object).map(|f| f.standing)
}

#[test]
fn the_life_of_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    let drifted = [("/a", Outcome::Drifted), ("/b", Outcome::Ok)];
    let fine = [("/a", Outcome::Ok), ("/b", Outcome::Ok)];

    let report = run(&mut history, T0, &drifted);
    assert_eq!(standing(&report, "/a"), Some(Standing::New));
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].heal, "converge apply site.yml --limit pve1");
    assert_eq!(report.run.previous, None);

    let report = run(&mut history, T0 + DAY, &drifted);
    let found = &report.findings[0];
    assert_eq!((found.standing, found.seen, found.first_seen, found.since), (Standing::Still, 2, T0, T0));
    assert_eq!(report.run.previous, Some(T0));

    // Nobody looked: neither seen nor gone.
    let report = run(&mut history, T0 + 2 * DAY, &[("/b", Outcome::Ok)]);
    let found = &report.findings[0];
    assert_eq!((found.standing, found.seen, found.last_seen), (Standing::NotLooked, 2, T0 + DAY));
    assert_eq!(report.counted().count(), 0);

    let report = run(&mut history, T0 + 3 * DAY, &fine);
    let found = &report.findings[0];
    assert_eq!((found.standing, found.gone_since), (Standing::Gone, Some(T0 + 3 * DAY)));
    assert!(found.heal.is_empty());
    // It is told once.
    assert!(run(&mut history, T0 + 4 * DAY, &fine).findings.is_empty());

    let report = run(&mut history, T0 + 5 * DAY, &drifted);
    let found = &report.findings[0];
    assert_eq!((found.standing, found.first_seen, found.since), (Standing::Back, T0, T0 + 5 * DAY));
    assert_eq!(found.earlier, [(T0, T0 + 3 * DAY)]);

    let entry = history.entry(&found.id[..5], T0 + 5 * DAY).unwrap();
    let words: Vec<&str> = entry.log.iter().map(|told| told.what.as_str()).collect();
    assert_eq!(words, ["seen for the first time: drifted", "gone: as described again", "there again: drifted"]);
}

/// As systemd makes it for a dynamic user.
#[test]
fn the_folder_may_be_a_link_and_the_file_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert!(History::open(&link).is_ok());
    std::fs::rename(real.join(FILE), dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), real.join(FILE)).unwrap();
    assert!(History::open(&link).is_err());
}

fn mark(kind: MarkKind, at: Time, until: Option<Time>) -> Asked {
    Asked { kind, reason: "a rack moves".into(), by: "ann@ws".into(), at, until }
}

#[test]
fn a_mute_counts_for_nothing_until_it_expires() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    let drifted = [("/a", Outcome::Drifted)];
    let id = run(&mut history, T0, &drifted).findings[0].id.clone();
    history.mark(&[id[..6].to_owned()], &mark(MarkKind::Muted, T0, Some(T0 + 2 * DAY))).unwrap();
    let report = run(&mut history, T0 + DAY, &drifted);
    assert!(report.findings[0].is_muted());
    assert_eq!(report.counted().count(), 0);
    // It goes, the mute stays for its time.
    run(&mut history, T0 + DAY + 1, &[("/a", Outcome::Ok)]);
    assert!(run(&mut history, T0 + DAY + 2, &drifted).findings[0].is_muted());
    let report = run(&mut history, T0 + 2 * DAY, &drifted);
    assert_eq!((report.findings[0].mark.clone(), report.counted().count()), (None, 1));
    let log = history.entry(&id, T0 + 2 * DAY).unwrap().log;
    assert_eq!(log.last().unwrap().what, "no longer muted: its time is over");
}

#[test]
fn a_mark_without_an_end_ends_with_its_finding() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    let drifted = [("/a", Outcome::Drifted)];
    let id = run(&mut history, T0, &drifted).findings[0].id.clone();
    history.mark(std::slice::from_ref(&id), &mark(MarkKind::Acknowledged, T0, None)).unwrap();
    let report = run(&mut history, T0 + 1, &drifted);
    assert_eq!((report.counted().count(), report.findings[0].mark.is_some()), (1, true));
    // The report that says it is gone still says who knew.
    assert!(run(&mut history, T0 + 2, &[("/a", Outcome::Ok)]).findings[0].mark.is_some());
    assert!(run(&mut history, T0 + 3, &drifted).findings[0].mark.is_none());
}

#[test]
fn marks_need_sense() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    let id = run(&mut history, T0, &[("/a", Outcome::Drifted)]).findings[0].id.clone();
    let none = Asked { reason: " ".into(), ..mark(MarkKind::Muted, T0, None) };
    let over = mark(MarkKind::Muted, T0, Some(T0));
    let fine = mark(MarkKind::Muted, T0, None);
    let said = |result: Result<Vec<crate::drift::Finding>, HistoryError>| result.unwrap_err().to_string();
    assert!(said(history.mark(std::slice::from_ref(&id), &none)).contains("a reason is needed"));
    assert!(said(history.mark(std::slice::from_ref(&id), &over)).contains("over already"));
    assert!(said(history.mark(&["zzzz".into()], &fine)).contains("no id"));
    // All or none.
    assert!(said(history.mark(&[id.clone(), "0000".into()], &fine)).contains("no finding"));
    assert!(history.entry(&id, T0).unwrap().finding.mark.is_none());
    assert!(said(history.unmark(std::slice::from_ref(&id), "ann", T0)).contains("neither"));
    history.forget(std::slice::from_ref(&id), T0).unwrap();
    assert_eq!(standing(&run(&mut history, T0 + 1, &[("/a", Outcome::Drifted)]), "/a"), Some(Standing::New));
}

#[test]
fn what_fails_halfway_leaves_the_run_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    run(&mut history, T0, &[("/a", Outcome::Drifted)]);
    let broken = history
        .record(facts(T0 + 1, vec![result("pve1", "/b", Outcome::Drifted)]), |_, _| Err(rusqlite::Error::InvalidQuery));
    assert!(broken.is_err());
    let left = history.list(true, T0 + 1).unwrap();
    assert_eq!(left.iter().map(|f| f.object.as_str()).collect::<Vec<_>>(), ["/a"]);
    assert_eq!(history.last_run().unwrap(), Some(T0));
}

#[test]
fn a_damaged_or_newer_file_is_named_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    std::fs::write(&path, "this is no database, and it is long enough to be looked at as one ".repeat(40)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(History::open(dir.path()), Err(HistoryError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::remove_file(&path).unwrap();
    drop(History::open(dir.path()).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    assert!(matches!(History::open(dir.path()), Err(HistoryError::Newer { .. })));
}

#[test]
fn a_clock_that_goes_back_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    run(&mut history, T0, &[("/a", Outcome::Drifted)]);
    let report = run(&mut history, T0 - 3 * DAY, &[("/a", Outcome::Drifted)]);
    assert!(report.notes[0].contains("clock"), "{:?}", report.notes);
    assert!(report.findings[0].last_seen >= report.findings[0].first_seen);
}

#[test]
fn two_writers_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    drop(History::open(dir.path()).unwrap());
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let path = dir.path().to_owned();
            std::thread::spawn(move || {
                let mut history = History::open(&path).unwrap();
                for turn in 0..10 {
                    run(&mut history, T0 + turn * 10 + n, &[("/a", Outcome::Drifted)]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let history = History::open(dir.path()).unwrap();
    assert_eq!(history.list(false, T0).unwrap()[0].seen, 40);
}

#[test]
fn another_machine_carries_the_history_on() {
    let (one, two, pmxcfs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = pmxcfs.path().join("priv/memory-nfs");
    let drifted = [("/a", Outcome::Drifted)];
    let turn = |folder: &Path, at: Time| {
        pull(folder, &shared).unwrap();
        let mut history = History::open(folder).unwrap();
        let report = run(&mut history, at, &drifted);
        assert_eq!(push(&mut history, folder, &shared).unwrap(), None);
        report.findings[0].clone()
    };
    let id = turn(one.path(), T0).id;
    assert_eq!(turn(two.path(), T0 + 1).seen, 2);
    assert_eq!(turn(two.path(), T0 + 2).seen, 3);
    // The first comes back with an old history of its own.
    let found = turn(one.path(), T0 + 3);
    assert_eq!((found.seen, found.first_seen, found.id), (4, T0, id));
    assert_eq!(History::shared(two.path()).unwrap(), Some(shared.clone()));
    // What is newer here than there stays.
    let mut ahead = History::open(one.path()).unwrap();
    run(&mut ahead, T0 + 4, &drifted);
    drop(ahead);
    pull(one.path(), &shared).unwrap();
    assert_eq!(History::open(one.path()).unwrap().list(false, T0).unwrap()[0].seen, 5);
}

#[test]
fn a_shared_history_that_cannot_be_read_changes_nothing_here() {
    let (folder, pmxcfs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = pmxcfs.path().join("memory");
    run(&mut History::open(folder.path()).unwrap(), T0, &[("/a", Outcome::Drifted)]);
    let before = std::fs::read(folder.path().join(FILE)).unwrap();
    for damaged in [&b"no gzip"[..], &[0x1f, 0x8b, 8, 0, 0, 0]] {
        std::fs::write(&shared, damaged).unwrap();
        assert!(pull(folder.path(), &shared).is_err());
        assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), before);
    }
}

#[test]
fn a_history_that_is_too_large_to_share_loses_stories_before_findings() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = other.path().join("memory");
    let mut history = History::open(folder.path()).unwrap();
    // Text that does not compress.
    let mut seed = 1_u64;
    let mut noise = |length: usize| -> String {
        let mut letter = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + u8::try_from((seed >> 33) % 90).unwrap())
        };
        (0..length).map(|_| letter()).collect()
    };
    let results: Vec<TaskResult> = (0..200)
        .map(|n| TaskResult { diff: noise(5000), ..result("pve1", &format!("/f{n}"), Outcome::Drifted) })
        .collect();
    history.record(facts(T0, results), |_, _| Ok(())).unwrap();
    let words = push(&mut history, folder.path(), &shared).unwrap().unwrap();
    assert!(words.contains("too large"), "{words}");
    assert_eq!(history.list(false, T0).unwrap().iter().filter(|f| f.diff.is_empty()).count(), 0);
    pull(other.path(), &shared).unwrap();
    assert_eq!(History::open(other.path()).unwrap().list(false, T0).unwrap().len(), 200);
}

/// A word said on one node while another is looking, or could not share, is not lost.
#[test]
fn copies_that_went_apart_do_not_overwrite_each_other() {
    let (one, two, pmxcfs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = pmxcfs.path().join("priv/memory");
    let drifted = [("/a", Outcome::Drifted)];
    let mut looking = History::open(one.path()).unwrap();
    let id = run(&mut looking, T0, &drifted).findings[0].id.clone();
    push(&mut looking, one.path(), &shared).unwrap();
    // The other node marks while this one is still telling people.
    pull(two.path(), &shared).unwrap();
    let mut other = History::open(two.path()).unwrap();
    other.mark(std::slice::from_ref(&id), &mark(MarkKind::Muted, T0, Some(T0 + DAY))).unwrap();
    push(&mut other, two.path(), &shared).unwrap();
    let error = push(&mut looking, one.path(), &shared).unwrap_err().to_string();
    assert!(error.contains("another node"), "{error}");
    drop(looking);
    pull(one.path(), &shared).unwrap();
    assert!(run(&mut History::open(one.path()).unwrap(), T0 + 1, &drifted).findings[0].is_muted());
}

#[test]
fn a_copy_that_could_not_be_left_is_none() {
    let (one, two, pmxcfs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = pmxcfs.path().join("memory");
    let drifted = [("/a", Outcome::Drifted)];
    let mut history = History::open(one.path()).unwrap();
    let id = run(&mut history, T0, &drifted).findings[0].id.clone();
    push(&mut history, one.path(), &shared).unwrap();
    // Something is in the way of the next one.
    std::fs::create_dir(pmxcfs.path().join("memory.new")).unwrap();
    run(&mut history, T0 + 1, &drifted);
    assert!(push(&mut history, one.path(), &shared).is_err());
    std::fs::remove_dir(pmxcfs.path().join("memory.new")).unwrap();
    drop(history);
    pull(two.path(), &shared).unwrap();
    let mut other = History::open(two.path()).unwrap();
    other.mark(&[id], &mark(MarkKind::Acknowledged, T0, None)).unwrap();
    push(&mut other, two.path(), &shared).unwrap();
    pull(one.path(), &shared).unwrap();
    assert!(History::open(one.path()).unwrap().list(false, T0).unwrap()[0].mark.is_some());
}

#[test]
fn a_crash_in_the_middle_does_not_stop_the_next_take_over() {
    let (one, pmxcfs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = pmxcfs.path().join("memory");
    let drifted = [("/a", Outcome::Drifted)];
    let mut history = History::open(one.path()).unwrap();
    run(&mut history, T0, &drifted);
    push(&mut history, one.path(), &shared).unwrap();
    drop(history);
    // What a kill leaves: the file half changed, and the journal to take that back.
    let (path, journal) = (one.path().join(FILE), one.path().join(format!("{FILE}-journal")));
    let db = Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN").unwrap();
    for n in 0..2000 {
        db.execute("INSERT INTO log (finding, at, what) SELECT id, ?1, hex(randomblob(200)) FROM findings", [n])
            .unwrap();
    }
    let (half, hot) = (std::fs::read(&path).unwrap(), std::fs::read(&journal).unwrap());
    drop(db);
    std::fs::write(&path, half).unwrap();
    std::fs::write(&journal, hot).unwrap();
    pull(one.path(), &shared).unwrap();
    let mut history = History::open(one.path()).unwrap();
    assert_eq!(run(&mut history, T0 + 1, &drifted).findings[0].seen, 2);
    let id = history.list(false, T0).unwrap()[0].id.clone();
    assert_eq!(history.entry(&id, T0).unwrap().log.len(), 1);
}
