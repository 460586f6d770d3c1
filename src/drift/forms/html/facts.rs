//! What is known of one finding beside its text: standing, history, marks, traces, command, id.
//!
//! A fact nobody knows is left away, never guessed.

use super::Page;
use super::escape::text;
use crate::drift::forms::words;
use crate::drift::{Finding, MarkKind, Standing, TraceSource};
use std::fmt::Write as _;

/// Earlier spells and traces that are shown; the rest is in the JSON.
const SHOWN: usize = 12;

/// A fact's name and how it is written.
pub struct Fact {
    pub name: &'static str,
    pub has: fn(&Finding) -> bool,
    pub write: fn(&mut String, &Page<'_>, &Finding),
}

pub const FACTS: &[Fact] = &[
    Fact { name: "Standing", has: |_| true, write: standing },
    Fact { name: "Seen", has: |_| true, write: seen },
    Fact { name: "Marked", has: |finding| finding.mark.is_some(), write: mark },
    Fact { name: "Changed by", has: |finding| !finding.traces.is_empty(), write: traces },
    Fact { name: "Earlier", has: |finding| !finding.earlier.is_empty(), write: earlier },
];

fn standing(out: &mut String, page: &Page<'_>, finding: &Finding) {
    let class = words::standing_key(finding.standing);
    let _ = write!(out, "<span class=\"tag s-{class}\">{}</span>", words::standing(finding.standing));
    match (finding.standing, finding.gone_since) {
        (Standing::Gone, Some(since)) => {
            out.push_str(" since ");
            page.clock.write(out, since);
        }
        (Standing::Still | Standing::NotLooked, _) => {
            out.push_str(if finding.standing == Standing::Still { " since " } else { " this time, there since " });
            page.clock.write(out, finding.since);
            let _ = write!(out, " ({})", words::span(page.report.run.ended.saturating_sub(finding.since)));
        }
        _ => {}
    }
}

fn seen(out: &mut String, page: &Page<'_>, finding: &Finding) {
    if finding.seen <= 1 && finding.first_seen == finding.last_seen {
        out.push_str("once, ");
        return page.clock.write(out, finding.first_seen);
    }
    let _ = write!(out, "{} times, first ", finding.seen);
    page.clock.write(out, finding.first_seen);
    out.push_str(", last ");
    page.clock.write(out, finding.last_seen);
}

fn mark(out: &mut String, page: &Page<'_>, finding: &Finding) {
    let Some(mark) = &finding.mark else { return };
    out.push_str(match mark.kind {
        MarkKind::Acknowledged => "<span class=\"tag\">acknowledged</span> by ",
        MarkKind::Muted => "<span class=\"tag\">muted</span> by ",
    });
    text(out, &mark.by);
    out.push_str(" on ");
    page.clock.write(out, mark.at);
    match mark.until {
        Some(until) => {
            out.push_str(" until ");
            page.clock.write(out, until);
        }
        None => out.push_str(" until it is gone"),
    }
    out.push_str(": <q>");
    text(out, &mark.reason);
    out.push_str("</q>");
}

fn traces(out: &mut String, page: &Page<'_>, finding: &Finding) {
    list(out, &finding.traces, finding.traces.len(), |out, trace| {
        if !trace.by.is_empty() {
            out.push_str("<b>");
            text(out, &trace.by);
            out.push_str("</b> ");
        }
        page.clock.write(out, trace.at);
        out.push_str(", <code>");
        text(out, &trace.what);
        out.push_str(match trace.source {
            TraceSource::File => "</code> <small>(owner and time of the file; not certainly who wrote it)</small>",
            TraceSource::TaskLog => "</code> <small>(Proxmox task log)</small>",
        });
    });
}

fn earlier(out: &mut String, page: &Page<'_>, finding: &Finding) {
    let spells: Vec<_> = finding.earlier.iter().rev().collect();
    list(out, &spells, spells.len(), |out, (from, to)| {
        page.clock.write(out, *from);
        out.push_str(" to ");
        page.clock.write(out, *to);
        let _ = write!(out, " <small>({})</small>", words::span(to.saturating_sub(*from)));
    });
}

fn list<T>(out: &mut String, all: &[T], count: usize, write: impl Fn(&mut String, &T)) {
    if let [only] = all {
        return write(out, only);
    }
    out.push_str("<ul>");
    for item in all.iter().take(SHOWN) {
        out.push_str("<li>");
        write(out, item);
        out.push_str("</li>");
    }
    if count > SHOWN {
        let _ = write!(out, "<li>and {} more, in report.json</li>", count - SHOWN);
    }
    out.push_str("</ul>");
}

/// A command to be copied.
pub fn command(out: &mut String, command: &str) {
    out.push_str("<code class=\"cmd\">");
    text(out, command);
    out.push_str("</code>");
}
