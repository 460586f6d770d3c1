//! What stands in a message.

use super::*;
use crate::drift::{Trace, TraceSource};

fn root(folder: &Path) -> Config {
    config(folder, "timezone: Europe/Berlin\nchannels: { root: { mail: {} } }\n")
}

#[test]
fn everything_that_somebody_needs_at_night() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let config = root(folder.path());
    let log = Trace { source: TraceSource::TaskLog, by: "root@pam".into(), at: NOON - 600, what: "vzstop 101".into() };
    let file = Trace { source: TraceSource::File, by: "anna".into(), at: NOON - 7200, what: "/etc/exports".into() };
    let mut new = finding("exports", "pve3", Outcome::Drifted, Standing::New, NOON);
    new.traces = vec![log, file];
    let mut back = finding("drbd", "pve1", Outcome::Blocked, Standing::Back, NOON - 86_400 * 9);
    (back.since, back.heal, back.diff) = (NOON - 7200, String::new(), String::new());
    back.earlier = vec![(NOON - 86_400 * 9, NOON - 86_400 * 8)];
    let known = finding("swap", "pve1", Outcome::Drifted, Standing::Still, NOON - 86_400 * 3);
    plan(&config, &db, &report(7, NOON, vec![new, back, known]), "pve1:/var/lib/converge/drift/index.html", NOON)
        .unwrap();
    let message = last_message(&db);
    assert_eq!(message.subject, "converge: pve1, pve3: 1 new, 1 back, 1 known, 3 differ");
    let expected = "\
1 new, 1 back, 1 known, 3 differ.
Looked from pve1 at 3 hosts, 2026-03-23 12:00 CET.

NEW (1)
- pve3: The state of exports: exports.service
  drifted: enable exports.service
  since now
  done by root@pam, 2026-03-23 11:50 CET: vzstop 101
  /etc/exports: changed 2026-03-23 10:00 CET, belongs to anna
  heal: converge apply site.yml -l pve3
  task: site.yml:12
  --- a
  +++ b
  -off
  +on

BACK (1)
- pve1: The state of drbd: drbd.service
  blocked: enable drbd.service
  since 2026-03-23 10:00 CET (2 hours), and once before
  only you can decide what to do
  task: site.yml:12

THERE SINCE BEFORE (1)
- pve1: The state of swap: swap.service
  drifted: enable swap.service
  since 2026-03-20 12:00 CET (3 days)
  heal: converge apply site.yml -l pve1
  task: site.yml:12
  --- a
  +++ b
  -off
  +on

Report: pve1:/var/lib/converge/drift/index.html
";
    assert_eq!(message.text, expected);
    assert!(!message.short.contains("+++ b") && message.short.contains("heal: "), "{}", message.short);
    // Healed.
    let now = NOON + 3600;
    let gone = |id: &str, host: &str| Finding {
        gone_since: Some(now),
        ..finding(id, host, Outcome::Drifted, Standing::Gone, NOON)
    };
    let findings = vec![gone("exports", "pve3"), gone("drbd", "pve1"), gone("swap", "pve1")];
    plan(&config, &db, &report(8, now, findings), "here", now).unwrap();
    let message = last_message(&db);
    assert_eq!(message.subject, "converge: pve1, pve3: 3 gone, all as described");
    let line = "- pve3: The state of exports: exports.service: drifted (gone 2026-03-23 13:00 CET, after 60 minutes)\n";
    assert!(message.text.contains(line), "{}", message.text);
}

#[test]
fn a_flood_of_findings_stays_a_message() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let config = root(folder.path());
    let all = (0..3000).map(|n| {
        let mut finding =
            finding(&format!("f{n:04}"), &format!("pve{}", n % 300), Outcome::Drifted, Standing::New, NOON);
        finding.diff = "-old line\n+new line\n".repeat(5000);
        finding.summary = "what is wrong here ".repeat(1000);
        finding
    });
    plan(&config, &db, &report(1, NOON, all.collect()), "here", NOON).unwrap();
    let message = last_message(&db);
    assert_eq!(message.subject, "converge: 300 hosts: 3000 new, 3000 differ");
    assert!(message.text.len() < 60_000, "{}", message.text.len());
    assert!(
        message.text.contains("more lines: see the report]")
            && message.text.contains("- and 2880 more: see the report")
    );
    assert_eq!((&message.object["more"], message.object["changes"].as_array().unwrap().len()), (&2900.into(), 100));
    assert!(message.object.to_string().len() < 3_000_000, "{}", message.object.to_string().len());
}

#[test]
fn what_a_terminal_would_obey_is_not_said() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let config = root(folder.path());
    let mut new = finding("a", "pve1", Outcome::Drifted, Standing::New, NOON);
    (new.summary, new.diff) = ("\u{1b}[2Jgone\nsecond".into(), "+\u{1b}]0;title\u{7}\n".into());
    plan(&config, &db, &report(1, NOON, vec![new]), "here", NOON).unwrap();
    let message = last_message(&db);
    assert!(!message.text.contains('\u{1b}') && !message.text.contains('\u{7}'), "{}", message.text);
    assert!(message.text.contains("[2Jgone second\n"), "{}", message.text);
}

#[test]
fn what_could_not_be_sent_elsewhere_is_said_here() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let program = sendmail(folder.path(), "exit 75");
    let text = format!(
        "timezone: UTC\nchannels: {{ a: {{ mail: {{ command: [{}] }} }}, b: {{ mail: {{}}, on: always }} }}",
        program.display()
    );
    let config = config(folder.path(), &text);
    plan(&config, &db, &report(1, NOON, vec![finding("x", "pve1", Outcome::Drifted, Standing::New, NOON)]), "", NOON)
        .unwrap();
    let waiting = outbox::due(&db, NOON).unwrap().remove(0);
    let failure = outbox::Failure { why: "it is full".into(), unsure: false, whole_channel: true, pause_s: None };
    outbox::claim(&db, &waiting, NOON).unwrap();
    outbox::failed(&db, &waiting, &failure, 1_000_000, NOON).unwrap();
    plan(&config, &db, &report(2, NOON + 60, Vec::new()), "", NOON + 60).unwrap();
    let text = last_message(&db).text;
    assert!(text.contains("MESSAGES NOT DELIVERED\n- a: 1 try since 2026-03-23 11:00 UTC: it is full\n"), "{text}");
}

#[test]
fn a_run_that_could_not_look_says_so_once() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let config = root(folder.path());
    let trouble =
        Trouble { error: "site.yml:3:5: unknown field `hosst`", by: "pve1", command: "converge validate site.yml" };
    assert_eq!(plan_trouble(&config, &db, &trouble, NOON).unwrap(), 1);
    assert_eq!(plan_trouble(&config, &db, &trouble, NOON + 900).unwrap(), 0);
    let message = last_message(&db);
    let expected = "\
pve1 could not look, 2026-03-23 12:00 CET.

NEW (1)
- pve1: the run itself
  failed: site.yml:3:5: unknown field `hosst`
  since now
  heal: converge validate site.yml
";
    assert_eq!((message.subject.as_str(), message.text.as_str()), ("converge: pve1: could not look", expected));
    assert_eq!(plan(&config, &db, &report(1, NOON + 1800, Vec::new()), "", NOON + 1800).unwrap(), 1);
    assert_eq!(last_message(&db).subject, "converge: pve1: can look again, all as described");
}

/// Every run does it, in the transaction that records the run; 300 hosts × 100 tasks with 5 % drift are 1500 findings.
#[test]
fn a_large_report_is_taken_in_and_nothing_new_is_said_of_it_twice() {
    let (folder, mut db) = (tempfile::tempdir().unwrap(), database());
    let text = "timezone: UTC\nchannels: { a: { mail: {} }, b: { mail: {}, digest: daily at 07:00 }, c: { mail: {}, on: always } }";
    let config = config(folder.path(), text);
    let with = |standing| {
        let all =
            (0..1500).map(|n| finding(&format!("f{n}"), &format!("pve{}", n % 300), Outcome::Drifted, standing, NOON));
        all.collect::<Vec<_>>()
    };
    let mut said = Vec::new();
    for (run, standing) in [(1, Standing::New), (2, Standing::Still), (3, Standing::Still)] {
        let report = report(run, NOON + run * 900, with(standing));
        let transaction = db.transaction().unwrap();
        said.push(plan(&config, &transaction, &report, "here", NOON + run * 900).unwrap());
        transaction.commit().unwrap();
    }
    assert_eq!(said, [2, 1, 1]);
}
