//! The events of a check, kept for its report.

use super::Time;
use super::history::Facts;
use super::sighting::RUN;
use crate::event::{Event, Outcome, Reporter, TaskResult, Totals, Trace};
use crate::exit;
use std::collections::BTreeMap;

/// Host, place and object of a result → who changed it.
pub type Traces = BTreeMap<(String, String, String), Vec<Trace>>;

/// Keeps what a run says, and hands every event on.
pub struct Collect<'r> {
    next: Option<&'r mut dyn Reporter>,
    results: Vec<TaskResult>,
    notes: Vec<String>,
    hosts: Vec<String>,
    traces: Traces,
    totals: Totals,
    took_ms: u64,
    untold: usize,
}

impl<'r> Collect<'r> {
    pub fn new(next: Option<&'r mut dyn Reporter>) -> Self {
        let (results, notes, hosts, traces) = Default::default();
        Self { next, results, notes, hosts, traces, totals: Totals::default(), took_ms: 0, untold: 0 }
    }
}

impl Reporter for Collect<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { hosts, .. } => self.hosts.clone_from(hosts),
            Event::Result(result) => self.results.push(result.clone()),
            Event::Note { message } => self.notes.push(message.clone()),
            Event::Traced { host, place, object, traces } => {
                self.traces.insert((host.clone(), place.clone(), object.clone()), traces.clone());
            }
            Event::RunEnded { totals, took_ms, untold, .. } => {
                self.untold = *untold;
                self.totals = totals.clone();
                self.took_ms = *took_ms;
            }
            Event::PlayStarted { .. } | Event::TaskStarted { .. } | Event::Progress { .. } => {}
        }
        if let Some(next) = &mut self.next {
            next.event(event);
        }
    }
}

/// What is known of a run besides its events.
#[derive(Debug, Clone)]
pub struct About {
    pub playbooks: Vec<String>,
    pub started: Time,
    pub ended: Time,
    /// The machine that looked.
    pub by: String,
    /// What converges a host, without `--limit`.
    pub heal: String,
}

impl Collect<'_> {
    pub fn facts(self, about: About, exit: u8) -> Facts {
        let About { playbooks, started, ended, by, heal } = about;
        let Self { results, notes, hosts, traces, totals, took_ms, untold, .. } = self;
        Facts { started, ended, took_ms, playbooks, hosts, totals, exit, untold, results, notes, traces, by, heal }
    }
}

/// A run that could not even begin is a finding, too: silence would pass for "in sync".
pub fn could_not_look(about: About, exit: u8, why: &str) -> Facts {
    let unreachable = exit == exit::UNREACHABLE;
    let result = TaskResult {
        play: String::new(),
        task: "look at the cluster".into(),
        kind: RUN.into(),
        host: about.by.clone(),
        item: None,
        outcome: Outcome::Failed,
        summary: why.trim().trim_start_matches("error: ").to_owned(),
        diff: String::new(),
        provisional: false,
        provisional_reason: None,
        warnings: Vec::new(),
        took_ms: 0,
        place: about.playbooks.first().cloned().unwrap_or_default(),
        delegated_to: None,
        object: if unreachable { "the way to the cluster" } else { "playbooks and inventory" }.into(),
        handler: false,
        ignored: false,
    };
    let mut collect = Collect::new(None);
    collect.totals.count(result.outcome);
    collect.results.push(result);
    collect.took_ms = u64::try_from((about.ended - about.started) * 1000).unwrap_or(0);
    collect.facts(about, exit)
}
