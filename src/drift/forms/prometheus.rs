//! Metrics for the textfile collector of node_exporter, as `promtool check metrics` wants them.
//!
//! No diff, summary or error text goes in: a scrape is read by many. The number of series is bounded.

use super::matching::is_bad;
use super::text::short;
use super::words;
use crate::drift::{Finding, MarkKind, Report, Standing};
use crate::event::Outcome;
use crate::visible::visible;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{Display, Write as _};

/// Findings that get series of their own, worst first; `converge_drift_findings_unlisted` says how many did not.
const LISTED: usize = 200;
/// Characters of a label's value.
const VALUE: usize = 200;

const OUTCOMES: [Outcome; 7] = [
    Outcome::Ok,
    Outcome::Drifted,
    Outcome::Changed,
    Outcome::Skipped,
    Outcome::Blocked,
    Outcome::Failed,
    Outcome::Unreachable,
];
const STANDINGS: [Standing; 5] = [Standing::New, Standing::Back, Standing::Still, Standing::NotLooked, Standing::Gone];
const MARKS: [&str; 3] = ["none", "acknowledged", "muted"];

#[derive(Default)]
struct Metrics {
    text: String,
}

impl Metrics {
    fn family(&mut self, name: &str, help: &str) -> Family<'_> {
        let name = format!("converge_drift_{name}");
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
        Family { text: &mut self.text, name }
    }
}

struct Family<'a> {
    text: &'a mut String,
    name: String,
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(&self.name);
        for (n, (label, words)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if n == 0 { '{' } else { ',' });
            escape(self.text, words);
            self.text.push('"');
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn escape(text: &mut String, words: &str) {
    for c in visible(&short(words, VALUE)).chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

fn mark(finding: &Finding) -> &'static str {
    match finding.mark.as_ref().map(|mark| mark.kind) {
        None => "none",
        Some(MarkKind::Acknowledged) => "acknowledged",
        Some(MarkKind::Muted) => "muted",
    }
}

/// Gauges in the text format 0.0.4, each with the state the last run found.
pub fn prometheus(report: &Report) -> String {
    let mut metrics = Metrics::default();
    run(&mut metrics, report);
    counts(&mut metrics, report);
    hosts(&mut metrics, report);
    listed(&mut metrics, report);
    undelivered(&mut metrics, report);
    metrics.text
}

fn run(metrics: &mut Metrics, report: &Report) {
    let run = &report.run;
    let mut one = |name: &str, help: &str, value: &dyn Display| metrics.family(name, help).sample(&[], value);
    one("last_run_timestamp_seconds", "When the last run ended, in seconds since 1970-01-01 UTC.", &run.ended);
    let took = format!("{}.{:03}", run.took_ms / 1000, run.took_ms % 1000);
    one("last_run_duration_seconds", "How long the last run took.", &took);
    one(
        "last_run_exit_code",
        "0 in sync, 1 a task failed or was blocked, 2 faults in the playbook, 3 drift, 4 a host could not be reached.",
        &report.exit,
    );
    let labels = [("by", run.by.as_str()), ("playbooks", &run.playbooks.join(" ")), ("version", &run.version)];
    metrics.family("last_run_info", "Who looked, at what, with which version; always 1.").sample(&labels, 1);
}

fn counts(metrics: &mut Metrics, report: &Report) {
    let mut tasks = metrics.family("tasks", "Tasks on hosts in the last run, by outcome.");
    for outcome in OUTCOMES {
        let count = report.results.iter().filter(|result| result.outcome == outcome).count();
        tasks.sample(&[("outcome", outcome.word())], count);
    }
    let mut findings: BTreeMap<_, usize> = BTreeMap::new();
    for finding in &report.findings {
        *findings.entry((finding.standing, finding.outcome, mark(finding))).or_default() += 1;
    }
    let mut family = metrics.family("findings", "Findings by standing, outcome and mark (none, acknowledged, muted).");
    for standing in STANDINGS {
        for outcome in OUTCOMES.into_iter().filter(|outcome| is_bad(*outcome)) {
            for mark in MARKS {
                let count = findings.get(&(standing, outcome, mark)).copied().unwrap_or(0);
                let standing = words::standing_key(standing);
                family.sample(&[("standing", standing), ("outcome", outcome.word()), ("mark", mark)], count);
            }
        }
    }
    let open = report.findings.iter().filter(|finding| finding.is_open() && !finding.is_muted());
    let age = open.map(|finding| report.run.ended.saturating_sub(finding.since)).max().unwrap_or(0).max(0);
    metrics
        .family(
            "oldest_open_finding_age_seconds",
            "Age of the oldest open finding that is not muted, at the end of the last run; 0 when there is none.",
        )
        .sample(&[], age);
}

fn hosts(metrics: &mut Metrics, report: &Report) {
    let away: HashSet<&str> =
        report.results.iter().filter(|r| r.outcome == Outcome::Unreachable).map(|r| r.host.as_str()).collect();
    let hosts = &report.run.hosts;
    metrics.family("hosts", "Hosts of the inventory.").sample(&[], hosts.len());
    let mut family = metrics.family("host_unreachable", "1 where the host could not be reached in the last run.");
    for host in hosts {
        family.sample(&[("host", host)], u8::from(away.contains(host.as_str())));
    }
    let mut open: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut exact: BTreeMap<_, usize> = BTreeMap::new();
    for finding in &report.findings {
        let host = finding.host.as_str();
        if finding.is_open() {
            *open.entry((host, mark(finding))).or_default() += 1;
        }
        *exact.entry((host, finding.standing, finding.outcome, mark(finding))).or_default() += 1;
    }
    let mut family = metrics.family("host_open_findings", "Open findings of each host, by mark.");
    // A finding may be of a host that has left the inventory.
    let known: HashSet<&str> = hosts.iter().map(String::as_str).collect();
    let mut former: Vec<&str> = exact.keys().map(|key| key.0).filter(|host| !known.contains(host)).collect();
    former.dedup();
    for host in hosts.iter().map(String::as_str).chain(former) {
        for mark in MARKS {
            family.sample(&[("host", host), ("mark", mark)], open.get(&(host, mark)).copied().unwrap_or(0));
        }
    }
    let mut family =
        metrics.family("host_findings", "Findings of each host by standing, outcome and mark, where there are any.");
    for ((host, standing, outcome, mark), count) in exact {
        let (standing, outcome) = (words::standing_key(standing), outcome.word());
        family.sample(&[("host", host), ("standing", standing), ("outcome", outcome), ("mark", mark)], count);
    }
}

fn listed(metrics: &mut Metrics, report: &Report) {
    let open: Vec<&Finding> = report.findings.iter().filter(|finding| finding.is_open()).collect();
    let listed = &open[..open.len().min(LISTED)];
    let mut family = metrics.family("finding_info", "An open finding; always 1. The worst are listed.");
    for finding in listed {
        family.sample(
            &[
                ("id", &finding.id),
                ("host", &finding.host),
                ("play", &finding.play),
                ("task", &finding.task),
                ("kind", &finding.kind),
                ("object", &finding.object),
                ("outcome", finding.outcome.word()),
                ("standing", words::standing_key(finding.standing)),
                ("mark", mark(finding)),
            ],
            1,
        );
    }
    let mut family = metrics.family("finding_since_timestamp_seconds", "Since when a listed finding is there.");
    for finding in listed {
        family.sample(&[("id", &finding.id)], finding.since);
    }
    metrics
        .family("findings_unlisted", "Open findings that finding_info leaves out, to stay small.")
        .sample(&[], open.len() - listed.len());
}

fn undelivered(metrics: &mut Metrics, report: &Report) {
    let mut channels: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for message in &report.undelivered {
        let (count, since) = channels.entry(&message.channel).or_insert((0, message.since));
        *count += 1;
        *since = (*since).min(message.since);
    }
    metrics
        .family("undelivered_messages", "Messages that could not be handed over yet.")
        .sample(&[], report.undelivered.len());
    let mut family = metrics.family("channel_undelivered_messages", "The same for each channel that has any.");
    for (channel, (count, _)) in &channels {
        family.sample(&[("channel", channel)], count);
    }
    let mut family = metrics
        .family("channel_undelivered_since_timestamp_seconds", "Since when the oldest of a channel's messages waits.");
    for (channel, (_, since)) in &channels {
        family.sample(&[("channel", channel)], since);
    }
}
