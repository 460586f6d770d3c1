//! The page administrators look at: one file without network, legible without scripts, on paper and by ear.
//!
//! It trusts no text: everything is escaped, its scripts and styles are named by hash, and nothing else may run or load.
//! Findings that agree but for their host are one entry with one diff, so that 300 hosts stay legible.

mod clock;
mod diff;
mod escape;
mod facts;
mod findings;
mod grid;
mod groups;

use super::matching;
use super::words::{self, State};
use crate::drift::Report;
use base64::Engine as _;
use clock::Clock;
use escape::text;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page, with times in the zone of this machine.
pub fn html(report: &Report) -> String {
    page(report, TimeZone::system())
}

/// What every part of the page is made from.
struct Page<'a> {
    report: &'a Report,
    clock: Clock,
    groups: Vec<groups::Group<'a>>,
    /// For each result, its finding.
    matched: Vec<Option<&'a crate::drift::Finding>>,
}

fn page(report: &Report, zone: TimeZone) -> String {
    let matched = matching::findings(report);
    let page = Page { report, clock: Clock::new(zone), groups: groups::of(report), matched };
    // Twice what a page of ordinary findings takes, so that it is not copied while it grows.
    let mut out = String::with_capacity(64 * 1024 + report.findings.len() * 4096 + report.results.len() * 16);
    let (state, sentence) = words::verdict(report);
    head(&mut out, report, state, &sentence);
    top(&mut out, &page, state, &sentence);
    undelivered(&mut out, &page);
    notes(&mut out, &page);
    findings::write(&mut out, &page);
    grid::write(&mut out, &page);
    foot(&mut out, report);
    out
}

fn hash(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text))
}

fn state_symbol(state: State) -> &'static str {
    match state {
        State::InSync => "✓",
        State::Differs => "≠",
        State::Unknown => "?",
    }
}

fn state_class(state: State) -> &'static str {
    match state {
        State::InSync => "ok",
        State::Differs => "drifted",
        State::Unknown => "unreachable",
    }
}

fn head(out: &mut String, report: &Report, state: State, sentence: &str) {
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    let symbol = state_symbol(state);
    let colour = match state {
        State::InSync => "%2317692f",
        State::Differs => "%238a5300",
        State::Unknown => "%237a2a9c",
    };
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style}'; \
         script-src 'sha256-{script}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
         %3Crect width='16' height='16' rx='3' fill='{colour}'/%3E%3Ctext x='8' y='13' font-size='14' fill='white' \
         text-anchor='middle'%3E{symbol}%3C/text%3E%3C/svg%3E\">\n<title>"
    );
    text(out, &format!("{symbol} {sentence} Drift of {}", report.run.playbooks.join(", ")));
    let _ = write!(out, "</title>\n<style>{STYLE}</style>\n</head>\n");
}

/// The state in one sentence, and who looked when.
fn top(out: &mut String, page: &Page<'_>, state: State, sentence: &str) {
    let run = &page.report.run;
    out.push_str("<body>\n<a class=\"skip\" href=\"#findings\">Skip to the findings</a>\n<header>\n<h1>Drift of ");
    for (n, playbook) in run.playbooks.iter().enumerate() {
        out.push_str(if n > 0 { ", " } else { "" });
        text(out, playbook);
    }
    let (class, symbol) = (state_class(state), state_symbol(state));
    let _ = write!(out, "</h1>\n<p class=\"state o-{class}\"><span class=\"y\" aria-hidden=\"true\">{symbol}</span> ");
    text(out, sentence);
    out.push_str("</p>\n<p class=\"run\">Looked ");
    page.clock.write(out, run.started);
    out.push_str(" by <b>");
    text(out, &run.by);
    let _ = write!(out, "</b>, took {}", words::took(run.took_ms));
    let _ = write!(out, "; run {} of this history, ", run.id);
    match run.previous {
        Some(previous) => {
            out.push_str("the one before ended ");
            page.clock.write(out, previous);
        }
        None => out.push_str("the first"),
    }
    let _ = write!(out, "; exit code {}; converge ", page.report.exit);
    text(out, &run.version);
    out.push_str(
        ".</p>\n<nav aria-label=\"On this page\"><a href=\"#findings\">Findings</a> <a href=\"#grid\">Tasks and hosts at \
         a glance</a></nav>\n</header>\n<main>\n",
    );
}

fn undelivered(out: &mut String, page: &Page<'_>) {
    let waiting = &page.report.undelivered;
    if waiting.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "<section class=\"box warn\" aria-labelledby=\"h-undelivered\">\n<h2 id=\"h-undelivered\"><span class=\"y\" \
         aria-hidden=\"true\">!</span> {} could not be handed over</h2>\n<p>Nobody may have been told of what is below. \
         The next run tries again.</p>\n<ul>\n",
        words::count(waiting.len(), "message")
    );
    for message in waiting {
        out.push_str("<li><b>");
        text(out, &message.channel);
        out.push_str("</b> since ");
        page.clock.write(out, message.since);
        let tries = words::count(message.tries as usize, "attempt");
        let _ = write!(out, ", {tries}: ");
        text(out, &message.error);
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n</section>\n");
}

fn notes(out: &mut String, page: &Page<'_>) {
    if page.report.notes.is_empty() {
        return;
    }
    out.push_str(
        "<section class=\"box\" aria-labelledby=\"h-notes\">\n<h2 id=\"h-notes\">Notes of this run</h2>\n<ul>\n",
    );
    for note in &page.report.notes {
        out.push_str("<li>");
        text(out, note);
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n</section>\n");
}

fn foot(out: &mut String, report: &Report) {
    out.push_str(
        "</main>\n<footer>\n<p>Everything in full, for programs and for what was cut here: <code>report.json</code> beside \
         this page. A finding is known by its id: <code>converge drift ack ID</code> says that you know it, <code>converge \
         drift mute ID</code> that it is not to count, both with a reason and an expiry; <code>converge explain KIND</code> \
         describes a task kind.</p>\n</footer>\n",
    );
    let _ = write!(out, "<script data-run=\"{}\">{SCRIPT}</script>\n</body>\n</html>\n", report.run.id);
}

#[cfg(test)]
mod tests;
