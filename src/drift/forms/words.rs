//! The words and signs that all forms use for the same thing, and the sentence that says how it stands.
//!
//! It never says "in sync" where something could not be looked at.

use crate::drift::{Finding, Report, Standing, Time};
use crate::event::Outcome;
use std::collections::HashSet;

/// Told apart by shape, not by colour.
pub fn symbol(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "✓",
        Outcome::Drifted => "≠",
        Outcome::Changed => "Δ",
        Outcome::Skipped => "–",
        Outcome::Blocked => "⊘",
        Outcome::Failed => "✗",
        Outcome::Unreachable => "?",
    }
}

/// As in JSON.
pub fn standing_key(standing: Standing) -> &'static str {
    match standing {
        Standing::New => "new",
        Standing::Back => "back",
        Standing::Still => "still",
        Standing::NotLooked => "not_looked",
        Standing::Gone => "gone",
    }
}

pub fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::New => "new",
        Standing::Back => "back again",
        Standing::Still => "still there",
        Standing::NotLooked => "not looked at",
        Standing::Gone => "gone",
    }
}

/// `1 finding`, `2 findings`.
pub fn count(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// How long something took.
pub fn took(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// A span in its largest unit: `3 days`.
pub fn span(seconds: Time) -> String {
    let (n, unit) = match seconds.max(0) {
        s @ 0..60 => (s, "second"),
        s @ 60..3600 => (s / 60, "minute"),
        s @ 3600..172_800 => (s / 3600, "hour"),
        s => (s / 86_400, "day"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    InSync,
    Differs,
    /// Something could not be told; what is known may differ or not.
    Unknown,
}

/// How it stands: the state, and one sentence for it.
pub fn verdict(report: &Report) -> (State, String) {
    let open: Vec<&Finding> = report.findings.iter().filter(|f| f.is_open() && !f.is_muted()).collect();
    let muted = report.findings.iter().filter(|f| f.is_open() && f.is_muted()).count();
    let hosts = |of: &[&Finding]| count(of.iter().map(|f| f.host.as_str()).collect::<HashSet<_>>().len(), "host");
    let is_differing = |f: &&Finding| matches!(f.outcome, Outcome::Drifted | Outcome::Changed | Outcome::Blocked);
    let (differ, untold): (Vec<&Finding>, Vec<&Finding>) = open.iter().copied().partition(is_differing);
    let looked: HashSet<&str> = report.results.iter().map(|r| r.host.as_str()).collect();
    let with = |n: usize, words: &str| (n > 0).then(|| format!("{n} {words}"));
    let standing = |of: Standing| differ.iter().filter(|f| f.standing == of).count();
    let mut parts = Vec::new();
    if !differ.is_empty() {
        let details: Vec<String> = [
            with(standing(Standing::New), "new"),
            with(standing(Standing::Back), "back again"),
            with(differ.iter().filter(|f| f.outcome == Outcome::Blocked).count(), "blocked"),
            with(standing(Standing::NotLooked), "not looked at this time"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
        let verb = if differ.len() == 1 { "differs" } else { "differ" };
        parts.push(format!("{} {verb} on {}{details}", differ.len(), hosts(&differ)));
    }
    if !untold.is_empty() {
        parts.push(format!("{} could not be told on {}", untold.len(), hosts(&untold)));
    }
    if muted > 0 {
        parts.push(format!("{muted} muted"));
    }
    // What the exit code knows and no finding shows.
    let silent = untold.is_empty() && matches!(report.exit, crate::exit::FAILED | crate::exit::UNREACHABLE) && {
        let blocked = differ.iter().any(|f| f.outcome == Outcome::Blocked);
        !(blocked && report.exit == crate::exit::FAILED)
    };
    if silent {
        parts.push("not everything could be looked at".to_owned());
    }
    let state = match (untold.is_empty() && !silent, differ.is_empty()) {
        _ if looked.is_empty() => State::Unknown,
        (false, _) => State::Unknown,
        (true, false) => State::Differs,
        (true, true) => State::InSync,
    };
    let sentence = match state {
        _ if looked.is_empty() && open.is_empty() => "Nothing was looked at".to_owned(),
        State::InSync if muted == 0 => {
            format!("In sync: everything looked at on {} is as described", count(looked.len(), "host"))
        }
        State::InSync => format!("In sync on {}, except for what is muted: {muted}", count(looked.len(), "host")),
        State::Differs | State::Unknown => {
            let all = parts.join("; ");
            all.get(..1).unwrap_or_default().to_uppercase() + all.get(1..).unwrap_or_default()
        }
    };
    (state, format!("{}.", sentence.trim_end_matches('.')))
}
