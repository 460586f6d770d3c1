//! Drift reports to be shown: of a large fleet, of texts that try to break out, of nothing at all.

#![allow(dead_code)] // Each test and bench uses its part.

use converge::drift::{Finding, Mark, MarkKind, Report, Run, Standing, Trace, TraceSource, Undelivered};
use converge::event::{Outcome, TaskResult, Totals};

/// 2026-11-22 20:44:05 UTC.
pub const NOW: i64 = 1_795_380_245;
const DAY: i64 = 86_400;

/// `hosts` × `tasks` with 5 % of the results drifted, each with a diff; a third of those agree on many hosts.
pub fn large(hosts: usize, tasks: usize) -> Report {
    let mut report = empty();
    report.exit = 3;
    report.run.hosts = (1..=hosts).map(|n| format!("node{n:03}")).collect();
    for task in 0..tasks {
        for host in 0..hosts {
            let drifted = (host * 7 + task * 13) % 20 == 0;
            let mut result = result(&report.run.hosts[host], task);
            if drifted {
                result.outcome = Outcome::Drifted;
                result.summary = "content differs".to_owned();
                result.diff = diff(&result.object, if task % 3 == 0 { 0 } else { host }, task);
                let age = ((host + task) % 40) as i64 * DAY;
                let mut finding = finding(&result, &format!("{task:06x}{host:06x}"));
                finding.first_seen = NOW - age;
                finding.since = NOW - age;
                finding.seen = 1 + (age / DAY) as u64;
                finding.standing = if age == 0 { Standing::New } else { Standing::Still };
                if host % 50 == 7 {
                    finding.mark = Some(mark(MarkKind::Acknowledged));
                }
                finding.traces = vec![trace(&result.object)];
                report.findings.push(finding);
            }
            report.totals.count(result.outcome);
            report.results.push(result);
        }
    }
    report
}

fn diff(object: &str, host: usize, task: usize) -> String {
    let mut diff = format!("--- {object}\n+++ {object}\n@@ -1,14 +1,14 @@\n");
    for line in 0..16 {
        let sign = [" ", " ", " ", "-", "+", " "][line % 6];
        diff.push_str(&format!(
            "{sign}option_{line} = value {line} of host {host} and task {task}, as it stands there\n"
        ));
    }
    diff
}

/// In order, but with nothing in it.
pub fn empty() -> Report {
    Report {
        mode: "drift".to_owned(),
        exit: 0,
        totals: Totals::default(),
        run: Run {
            id: 7,
            started: NOW - 13,
            ended: NOW,
            took_ms: 12_840,
            playbooks: vec!["site.yml".to_owned()],
            hosts: Vec::new(),
            version: "0.1.0".to_owned(),
            by: "ops1".to_owned(),
            previous: None,
        },
        findings: Vec::new(),
        results: Vec::new(),
        notes: Vec::new(),
        undelivered: Vec::new(),
    }
}

pub fn result(host: &str, task: usize) -> TaskResult {
    TaskResult {
        play: format!("Play {}", task / 25 + 1),
        task: format!("Task {task} keeps something as it is described"),
        kind: "copy".to_owned(),
        host: host.to_owned(),
        item: None,
        outcome: Outcome::Ok,
        summary: String::new(),
        diff: String::new(),
        provisional: false,
        provisional_reason: None,
        warnings: Vec::new(),
        took_ms: 3,
        place: format!("site.yml:{}", task * 6 + 4),
        delegated_to: None,
        object: format!("/etc/service{task}/main.conf"),
        handler: false,
        ignored: false,
    }
}

pub fn finding(result: &TaskResult, id: &str) -> Finding {
    Finding {
        id: id.to_owned(),
        play: result.play.clone(),
        task: result.task.clone(),
        kind: result.kind.clone(),
        host: result.host.clone(),
        object: result.object.clone(),
        place: result.place.clone(),
        outcome: result.outcome,
        summary: result.summary.clone(),
        diff: result.diff.clone(),
        provisional: result.provisional,
        standing: Standing::New,
        first_seen: NOW,
        since: NOW,
        last_seen: NOW,
        seen: 1,
        gone_since: None,
        earlier: Vec::new(),
        mark: None,
        traces: Vec::new(),
        heal: format!("converge apply site.yml --limit {} --start-at-task '{}'", result.host, result.task),
    }
}

pub fn mark(kind: MarkKind) -> Mark {
    Mark { kind, reason: "known".to_owned(), by: "jane".to_owned(), at: NOW - DAY, until: Some(NOW + DAY) }
}

pub fn trace(what: &str) -> Trace {
    Trace { at: NOW - 2 * DAY, source: TraceSource::File, by: "root".to_owned(), what: what.to_owned() }
}

/// Every text tries to break out of where it stands.
pub fn hostile() -> Report {
    const EVIL: &str = "</script></style></title></pre></textarea><script>document.title='owned'</script>\
                        <img src=x onerror=\"document.title='owned'\">'\"`--><!--&lt;&#39;\\\n}{ ]]> \0\u{1b}[31m\u{7f}\u{85}\u{202e}\u{feff}\u{ffff}\t\r";
    let evil = |n: usize| format!("{n}{EVIL}");
    let mut report = empty();
    report.exit = 1;
    report.run.hosts = vec![evil(0), "pve1".to_owned()];
    report.run.playbooks = vec![evil(1)];
    report.run.by = evil(2);
    report.run.version = evil(3);
    report.notes = vec![evil(4)];
    report.undelivered = vec![Undelivered { channel: evil(5), since: NOW - DAY, tries: 3, error: evil(6) }];
    let outcomes = [Outcome::Drifted, Outcome::Failed, Outcome::Blocked, Outcome::Unreachable, Outcome::Drifted];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let mut result = result(&evil(0), n);
        result.play = evil(7);
        result.task = evil(10 + n);
        result.item = Some(evil(8));
        result.object = evil(9);
        result.place = evil(20);
        result.kind = evil(21);
        result.outcome = outcome;
        result.summary = evil(22);
        result.provisional = true;
        result.provisional_reason = Some(evil(23));
        result.warnings = vec![evil(24)];
        result.diff = match n {
            // A line of 5 MB, and more lines than anybody reads.
            0 => format!("--- a\n+++ b\n@@ -1 +1 @@\n-{}\n+{EVIL}\n", "x".repeat(5 << 20)),
            1 => format!("@@\n{}", "+line\n".repeat(100_000)),
            _ => format!("--- {EVIL}\n+++ {EVIL}\n@@ {EVIL}\n-{EVIL}\n+{EVIL}  \n"),
        };
        let mut finding = finding(&result, &format!("{n:012x}"));
        finding.heal = evil(25);
        finding.mark = Some(Mark { reason: evil(26), by: evil(27), ..mark(MarkKind::Acknowledged) });
        finding.traces = vec![Trace { by: evil(28), ..trace(&evil(29)) }];
        finding.first_seen = if n == 4 { i64::MIN } else { NOW };
        finding.since = finding.first_seen;
        report.findings.push(finding);
        report.totals.count(outcome);
        report.results.push(result);
    }
    report
}
