//! A change of which nobody knows whether it was made: what the look after it says settles it, in words that keep what was
//! answered. Never says done of what was not seen.

use crate::host::{Action, Output, Step};
use crate::wire::Status;

pub struct Doubt {
    /// What was answered, or why nothing was.
    pub said: String,
    /// Its place among the summaries of what was done.
    pub change: usize,
}

impl Doubt {
    /// The look wanted another change first: mostly because this one was made, and nobody saw it.
    pub fn left_open(self) -> String {
        format!("{}; looked again: what comes next is another change", self.said)
    }

    /// The look found it made.
    fn settled(self) -> String {
        format!("{}; looked again: it is done all the same", self.said)
    }
}

/// The words of a verdict, what is remarked besides, and what was done, where the last change may be in doubt.
pub fn settle(
    status: Status,
    words: String,
    mut done: Vec<String>,
    doubt: Option<Doubt>,
    mut remarks: Vec<String>,
) -> (String, Vec<String>, Vec<String>) {
    let Some(doubt) = doubt else { return (words, remarks, done) };
    if matches!(status, Status::Ok | Status::Changed) {
        remarks.push(doubt.settled());
        return (words, remarks, done);
    }
    if doubt.change < done.len() {
        done.remove(doubt.change);
    }
    (format!("{}; looked again: {words}", doubt.said), remarks, done)
}

/// What the API said besides of what it did: the warnings of a task.
pub fn remarks(steps: &[Step], outputs: &[Output]) -> Vec<String> {
    let told = steps
        .iter()
        .zip(outputs)
        .filter(|(step, output)| matches!(step.action, Action::Api { .. }) && !output.stderr.trim().is_empty());
    told.map(|(step, output)| format!("{}: {}", step.describe(), output.stderr.trim())).collect()
}
