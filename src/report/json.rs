//! Machine-readable runs: one object at the end, or one event a line as it happens.

use crate::event::{Event, Mode, Reporter, TaskResult, Totals};
use serde::Serialize;
use std::io::Write;

/// `-o json`. Fields are an interface: added at times, never renamed or removed.
#[derive(Debug, Serialize)]
struct Run<'a> {
    mode: Option<Mode>,
    exit: u8,
    totals: &'a Totals,
    results: &'a [TaskResult],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    took_ms: u64,
}

pub struct Json<W> {
    out: W,
    mode: Option<Mode>,
    results: Vec<TaskResult>,
    notes: Vec<String>,
}

impl<W: Write> Json<W> {
    pub fn new(out: W) -> Self {
        Self { out, mode: None, results: Vec::new(), notes: Vec::new() }
    }
}

impl<W: Write> Reporter for Json<W> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { mode, .. } => self.mode = Some(*mode),
            Event::Result(result) => self.results.push(result.clone()),
            Event::Note { message } => self.notes.push(message.clone()),
            Event::RunEnded { totals, exit, took_ms, .. } => {
                let run = Run {
                    mode: self.mode,
                    exit: *exit,
                    totals,
                    results: &self.results,
                    notes: &self.notes,
                    took_ms: *took_ms,
                };
                // A reader that went away is no reason to fail a run that converged.
                let _ = serde_json::to_writer_pretty(&mut self.out, &run).map(|()| writeln!(self.out));
                let _ = self.out.flush();
            }
            Event::PlayStarted { .. } | Event::TaskStarted { .. } | Event::Progress { .. } | Event::Traced { .. } => {}
        }
    }
}

/// `-o jsonl`.
pub struct JsonLines<W> {
    out: W,
}

impl<W: Write> JsonLines<W> {
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Reporter for JsonLines<W> {
    fn event(&mut self, event: &Event) {
        let _ = serde_json::to_writer(&mut self.out, event).map(|()| writeln!(self.out));
        let _ = self.out.flush();
    }
}
