//! Which finding a result of this run was seen as, so that a form can show its standing and respect its mute.
//!
//! It never guesses: a result that could be one of several findings belongs to none, and so is not muted.

use crate::drift::{Finding, Report, Standing};
use crate::event::{Outcome, TaskResult};
use std::collections::HashMap;

/// What a check counts as not as described or not to be told.
pub fn is_bad(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Drifted | Outcome::Blocked | Outcome::Failed | Outcome::Unreachable)
}

type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

fn key(result: &TaskResult) -> Key<'_> {
    (&result.host, &result.place, &result.play, &result.task)
}

/// For each of `results`, in their order, its finding.
pub fn findings(report: &Report) -> Vec<Option<&Finding>> {
    let mut seen: HashMap<Key<'_>, Vec<&Finding>> = HashMap::new();
    for finding in &report.findings {
        if !matches!(finding.standing, Standing::Gone | Standing::NotLooked) {
            seen.entry((&finding.host, &finding.place, &finding.play, &finding.task)).or_default().push(finding);
        }
    }
    let mut bad: HashMap<Key<'_>, usize> = HashMap::new();
    for result in report.results.iter().filter(|result| is_bad(result.outcome)) {
        *bad.entry(key(result)).or_default() += 1;
    }
    report.results.iter().map(|result| one(result, &seen, &bad)).collect()
}

fn one<'a>(
    result: &'a TaskResult,
    seen: &HashMap<Key<'a>, Vec<&'a Finding>>,
    bad: &HashMap<Key<'a>, usize>,
) -> Option<&'a Finding> {
    let candidates = seen.get(&key(result)).filter(|_| is_bad(result.outcome))?;
    if let ([only], Some(1)) = (candidates.as_slice(), bad.get(&key(result))) {
        return Some(*only);
    }
    // A loop: several results of one task.
    let object = |finding: &&Finding| {
        let words = [Some(result.object.as_str()), result.item.as_deref()];
        words.into_iter().flatten().any(|word| !word.is_empty() && word == finding.object)
    };
    let words = |finding: &&Finding| {
        finding.outcome == result.outcome && finding.summary == result.summary && finding.diff == result.diff
    };
    let candidates = || candidates.iter().copied();
    sole(candidates().filter(object))
        .or_else(|| sole(candidates().filter(words)))
        .or_else(|| sole(candidates().filter(object).filter(words)))
}

fn sole<'a>(mut found: impl Iterator<Item = &'a Finding>) -> Option<&'a Finding> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
