//! A message in words: for somebody at 3 a.m. with a telephone. What is new first, short lines, nothing that needs colour.

use super::message::{Change, Content, Kind, What, cut, essence};
use super::schedule::{ago, show};
use crate::drift::{Finding, Trace, TraceSource, Undelivered};
use jiff::tz::TimeZone;

/// Told with everything that is known; more are told in one line each.
const IN_FULL: usize = 20;
/// Told in one line each; more are counted.
const IN_LINES: usize = 100;
/// Of one diff, and of all of a message (bytes).
const MAX_DIFF: usize = 1500;
const MAX_DIFFS: usize = 12_000;
const MAX_SUMMARY: usize = 600;

/// The text for mail, and the shorter one for chat.
pub fn write(content: &Content<'_>, zone: &TimeZone, reminded: &dyn Fn(&Finding) -> bool) -> (String, String) {
    let words =
        |diffs| Words { content, zone, diffs: if diffs { MAX_DIFFS } else { 0 }, left: IN_FULL, lines: IN_LINES };
    (words(true).write(reminded), words(false).write(reminded))
}

/// `chat: 3 tries since 2026-11-22 03:10 CET: the server answered 503`.
pub fn undelivered(late: &Undelivered, zone: &TimeZone) -> String {
    let tries = if late.tries == 1 { "1 try".to_owned() } else { format!("{} tries", late.tries) };
    format!("{}: {tries} since {}: {}", late.channel, show(late.since, zone), one_line(&late.error))
}

struct Words<'a> {
    content: &'a Content<'a>,
    zone: &'a TimeZone,
    /// How much of diffs may still be shown (bytes).
    diffs: usize,
    left: usize,
    lines: usize,
}

impl Words<'_> {
    fn write(mut self, reminded: &dyn Fn(&Finding) -> bool) -> String {
        let content = self.content;
        let mut out = self.head();
        let told = |finding: &Finding| content.changes.iter().any(|change| change.finding.id == finding.id);
        for (rank, title) in
            ["New", "Back", "Changed", "No longer muted", "There since before", "Gone", "Came and went"]
                .into_iter()
                .enumerate()
        {
            let group: Vec<&Change> = content.changes.iter().filter(|change| change.what.rank() == rank).collect();
            let words = group.iter().map(|change| (change.what, &change.finding));
            out.push_str(&self.group(title, words.collect()));
        }
        let still = content.open.iter().filter(|finding| reminded(finding) && !told(finding));
        out.push_str(&self.group("Still there", still.map(|finding| (What::Known, *finding)).collect()));
        if !content.troubles.is_empty() {
            out.push_str("\nMESSAGES NOT DELIVERED\n");
            content.troubles.iter().for_each(|line| out.push_str(&format!("- {line}\n")));
        }
        if !content.report.is_empty() {
            out.push_str(&format!("\nReport: {}\n", content.report));
        }
        out
    }

    fn head(&self) -> String {
        let content = self.content;
        let when = show(content.now, self.zone);
        let head = match content.run {
            None => format!("{} could not look, {when}.\n", content.by),
            Some((run, ..)) => {
                let (essence, ended) = (capital(&essence(content)), show(run.ended, self.zone));
                format!("{essence}.\nLooked from {} at {} hosts, {ended}.\n", run.by, run.hosts.len())
            }
        };
        let unreachable = content.run.map_or(0, |(_, totals, _)| totals.unreachable);
        let away = if unreachable > 0 { "Not every host could be reached: what is there is not known.\n" } else { "" };
        let urgent = if content.kind == Kind::Urgent { "Only what is urgent; the rest follows.\n" } else { "" };
        format!("{head}{away}{urgent}")
    }

    fn group(&mut self, title: &str, members: Vec<(What, &Finding)>) -> String {
        if members.is_empty() {
            return String::new();
        }
        let mut out = format!("\n{} ({})\n", title.to_uppercase(), members.len());
        let mut more = 0;
        for (what, finding) in members {
            if self.left > 0 && what.is_open() {
                self.left -= 1;
                out.push_str(&self.in_full(what, finding));
            } else if self.lines > 0 {
                self.lines -= 1;
                out.push_str(&self.in_a_line(what, finding));
            } else {
                more += 1;
            }
        }
        if more > 0 {
            out.push_str(&format!("- and {more} more: see the report\n"));
        }
        out
    }

    fn in_a_line(&self, what: What, finding: &Finding) -> String {
        let when = match (what, finding.gone_since) {
            (What::Gone | What::Passed, Some(gone)) => {
                let lasted = ago(gone - finding.since);
                format!("gone {}, after {lasted}", show(gone, self.zone))
            }
            _ => format!("since {}", show(finding.since, self.zone)),
        };
        format!("- {}: {} ({when})\n", name(finding), finding.outcome.word())
    }

    fn in_full(&mut self, what: What, finding: &Finding) -> String {
        let mut out = format!("- {}\n", name(finding));
        let mut say = |line: String| out.push_str(&format!("  {line}\n"));
        let summary = cut(&one_line(&finding.summary), MAX_SUMMARY);
        let was = match what {
            What::Outcome(was) => format!(" (was {})", was.word()),
            _ => String::new(),
        };
        say(format!("{}{was}: {}", finding.outcome.word(), summary.lines().next().unwrap_or_default()));
        if finding.provisional {
            say("provisional: it rests on changes that were only predicted".into());
        }
        let (since, now) = (finding.since, self.content.now);
        let before = match finding.earlier.len() {
            0 => String::new(),
            1 => ", and once before".into(),
            n => format!(", and {n} times before"),
        };
        match now - since {
            ..60 => say(format!("since now{before}")),
            age => say(format!("since {} ({}){before}", show(since, self.zone), ago(age))),
        }
        for trace in &finding.traces {
            say(trace_line(trace, self.zone));
        }
        if let Some(mark) = &finding.mark {
            say(format!("acknowledged by {}: {}", one_line(&mark.by), one_line(&mark.reason)));
        }
        match finding.heal.as_str() {
            "" => say("only you can decide what to do".into()),
            // Not wrapped and not quoted, so that it can be copied.
            command => say(format!("heal: {}", one_line(command))),
        }
        if !finding.place.is_empty() {
            say(format!("task: {}", one_line(&finding.place)));
        }
        if self.diffs > 0 && !finding.diff.is_empty() {
            let diff = cut(&finding.diff, MAX_DIFF.min(self.diffs));
            self.diffs = self.diffs.saturating_sub(diff.len());
            diff.lines().for_each(|line| say(printable(line)));
        }
        out
    }
}

/// `pve3: The resource comes up at boot: drbd@nfs1.target`.
fn name(finding: &Finding) -> String {
    let mut name = format!("{}: {}", one_line(&finding.host), one_line(&finding.task));
    if !finding.object.is_empty() && finding.object != finding.task {
        name.push_str(&format!(": {}", one_line(&finding.object)));
    }
    name
}

fn trace_line(trace: &Trace, zone: &TimeZone) -> String {
    let (by, what, at) = (one_line(&trace.by), one_line(&trace.what), show(trace.at, zone));
    match trace.source {
        TraceSource::TaskLog => format!("done by {by}, {at}: {what}"),
        TraceSource::File => format!("{what}: changed {at}, belongs to {by}"),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().map(printable).collect::<Vec<_>>().join(" ")
}

/// Without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
