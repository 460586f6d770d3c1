//! Many hosts at once: the order of plays and tasks, variables, handlers, decisions over all hosts, lost links.
//!
//! It never looks at or changes a host itself; it renders tasks, sends them to the hosts' agents and tells the
//! reporter what became of them.

mod ahead;
mod flow;
mod foresee;
mod handlers;
mod hosts;
mod hostvars;
mod judge;
mod prepare;
mod reach;
mod register;
mod render;
mod select;
mod source;
mod task;
mod together;
mod traces;
mod vars;

use crate::diagnostic::Sources;
use crate::event::{Event, Mode, Outcome, Reporter, TaskResult, Totals};
use crate::exit;
use crate::inventory::{self, Inventory};
use crate::link::Connect;
use crate::playbook::{self, Batch, Item, Play, Playbook};
use hosts::Hosts;
use std::collections::BTreeSet;
use std::time::Instant;
use vars::{SharedDoubt, Vars};

/// What the command line says about a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub limit: Option<String>,
    /// Empty: all tasks but those tagged `never`.
    pub tags: BTreeSet<String>,
    pub skip_tags: BTreeSet<String>,
    pub extra_vars: Vars,
    /// Hosts at a time; 0 = all.
    pub forks: usize,
    pub start_at_task: Option<String>,
    /// Check: ask in the end who changed what differs.
    pub trace: bool,
}

/// One run over playbooks.
pub struct Fleet<'a> {
    mode: Mode,
    options: &'a Options,
    inventory: &'a Inventory,
    context: &'a playbook::Context,
    sources: Sources,
    reporter: &'a mut dyn Reporter,
    hosts: Hosts<'a>,
    doubt: SharedDoubt,
    totals: Totals,
    /// Failures and blocks that nothing ignored or rescued.
    failures: usize,
    /// Those of them that have no result, and plays that were not run because of a failure.
    untold: usize,
    /// Tasks are skipped until the one named by `--start-at-task` was met.
    started: bool,
    /// Check: something on the cluster is only predicted, so that a container may be about to exist.
    cluster_changes: bool,
    /// Hosts that were lost, where the task does not ignore that.
    lost: usize,
    /// A task failed that says `any_errors_fatal`: nobody goes on until something rescues them.
    fatal: bool,
    owed: BTreeSet<(String, String)>,
    cache: prepare::Cache,
    trailed: Vec<traces::Trailed>,
    /// Check: a program that may do anything is only predicted to have run.
    anything_done: bool,
    /// What the login may not do, where that is what the run is for.
    foreseen: Option<Vec<foresee::Finding>>,
    /// To be told before the first task.
    first_words: Vec<String>,
}

/// Why a play goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Go,
    EndBatch,
    EndPlay,
}

impl<'a> Fleet<'a> {
    pub fn new(
        mode: Mode,
        options: &'a Options,
        inventory: &'a Inventory,
        context: &'a playbook::Context,
        connect: &'a dyn Connect,
        sources: Sources,
        reporter: &'a mut dyn Reporter,
    ) -> Self {
        let doubt = SharedDoubt::default();
        Self {
            mode,
            options,
            inventory,
            context,
            sources,
            reporter,
            hosts: Hosts::new(connect, mode, inventory, doubt.clone()),
            doubt,
            totals: Totals::default(),
            failures: 0,
            untold: 0,
            started: options.start_at_task.is_none(),
            cluster_changes: false,
            lost: 0,
            fatal: false,
            owed: BTreeSet::new(),
            cache: prepare::Cache::default(),
            trailed: Vec::new(),
            anything_done: false,
            foreseen: None,
            first_words: Vec::new(),
        }
    }

    /// `guard` is asked before each change whether the run may still make it; what it answers is why not.
    pub fn guarded(mut self, guard: impl FnMut() -> Option<String> + 'a) -> Self {
        self.hosts.guard(Box::new(guard));
        self
    }

    /// Runs the playbooks to their end and returns the exit code.
    pub fn run(mut self, playbooks: &[Playbook]) -> u8 {
        let since = Instant::now();
        let plays: Vec<&Play> = playbooks.iter().flat_map(|p| &p.plays).collect();
        self.begin(playbooks);
        for message in std::mem::take(&mut self.first_words) {
            self.note(message);
        }
        for (at, play) in plays.iter().enumerate() {
            if !self.play(play) {
                let left: Vec<&str> = plays[at + 1..].iter().map(|p| p.name.as_str()).collect();
                if !left.is_empty() {
                    self.untold += 1;
                    let message =
                        format!("stopped: no host of play `{}` can go on; not run: {}", play.name, left.join(", "));
                    self.reporter.event(&Event::Note { message });
                }
                break;
            }
        }
        self.tell_owed(&plays);
        self.follow_trails();
        self.end(since)
    }

    fn begin(&mut self, playbooks: &[Playbook]) {
        self.reporter.event(&Event::RunStarted {
            mode: self.mode,
            playbooks: playbooks.iter().map(|p| p.path.display().to_string()).collect(),
            tasks: playbooks.iter().flat_map(|p| &p.plays).map(|play| count(&play.tasks)).sum(),
            hosts: self.inventory.hosts.clone(),
        });
    }

    fn end(self, since: Instant) -> u8 {
        let exit = self.exit();
        let took_ms = since.elapsed().as_millis() as u64;
        self.reporter.event(&Event::RunEnded { totals: self.totals.clone(), exit, took_ms, untold: self.untold });
        exit
    }

    fn exit(&self) -> u8 {
        if self.lost > 0 {
            exit::UNREACHABLE
        } else if self.failures > 0 || self.hosts.stopped.is_some() {
            exit::FAILED
        } else if self.mode == Mode::Check && self.totals.drifted > 0 {
            exit::DRIFT
        } else {
            exit::OK
        }
    }

    /// `false`: every host failed or was lost, the run cannot go on.
    fn play(&mut self, play: &Play) -> bool {
        let (all, chosen) = hosts_of(play, self.inventory, self.options);
        for host in &chosen {
            self.hosts.state(host).ended = false;
        }
        let alive: Vec<String> = chosen.iter().filter(|h| !self.hosts.is_out(h)).cloned().collect();
        if all.is_empty() {
            let patterns: Vec<&str> = play.hosts.iter().map(|(pattern, _)| pattern.as_str()).collect();
            self.note(format!(
                "play `{}`: no host matches `{}`; nothing was looked at",
                play.name,
                patterns.join(", ")
            ));
        }
        if chosen.is_empty() {
            return true;
        }
        self.reporter.event(&Event::PlayStarted { play: play.name.clone(), hosts: alive.clone() });
        if alive.is_empty() {
            return false;
        }
        let mut survivors = 0;
        for batch in batches(play, &alive) {
            let started = batch.clone();
            self.collect_owed(&batch);
            let scene = flow::Scene {
                play,
                all: &all,
                chain: Vec::new(),
                rescued: false,
                unsure: play.force_handlers,
                handler: false,
                passing: false,
            };
            if play.gather_facts == Some(true) {
                for host in &batch {
                    self.gather_facts(host);
                }
            }
            let (left, flow) = self.items(&scene, &play.tasks, batch);
            let fatal = std::mem::take(&mut self.fatal);
            self.last_flush(&scene, &started, left);
            self.fatal = false;
            let failed = started.iter().filter(|h| self.hosts.is_out(h)).count();
            survivors += started.len() - failed;
            let started = started.len();
            let too_many = play.max_fail_percentage.is_some_and(|p| failed * 100 > p as usize * started);
            if flow == Flow::EndPlay && failed < started {
                return true;
            }
            if failed == started || too_many || fatal {
                return survivors > 0 && !too_many && !fatal;
            }
        }
        true
    }

    fn report(&mut self, result: TaskResult) {
        self.totals.count(result.outcome);
        if matches!(result.outcome, Outcome::Failed | Outcome::Blocked) && !result.ignored {
            self.failures += 1;
        }
        self.lost += usize::from(result.outcome == Outcome::Unreachable && !result.ignored);
        self.reporter.event(&Event::Result(result));
    }

    fn note(&mut self, message: impl Into<String>) {
        self.reporter.event(&Event::Note { message: message.into() });
    }
}

/// The hosts of a play, before and after `--limit`.
fn hosts_of(play: &Play, inventory: &Inventory, options: &Options) -> (Vec<String>, Vec<String>) {
    let patterns: Vec<&str> = play.hosts.iter().map(|(p, _)| p.as_str()).collect();
    // The loader proved the patterns against the same inventory.
    let all = inventory::select(inventory, &patterns).unwrap_or_default();
    let chosen = match &options.limit {
        None => all.clone(),
        Some(limit) => {
            let limit = inventory::select(inventory, &[limit]).unwrap_or_default();
            all.iter().filter(|h| limit.contains(h)).cloned().collect()
        }
    };
    (all, chosen)
}

fn count(items: &[Item]) -> usize {
    items
        .iter()
        .map(|item| match item {
            Item::Task(_) => 1,
            Item::Meta(..) => 0,
            Item::Block(block) => count(&block.body) + count(&block.always),
            Item::Include(include) => match &include.what {
                playbook::Included::Loaded(block) => count(&block.body),
                _ => 1,
            },
        })
        .sum()
}

fn batches(play: &Play, hosts: &[String]) -> Vec<Vec<String>> {
    let Some(serial) = &play.serial else { return vec![hosts.to_vec()] };
    let mut left = hosts;
    let mut all = Vec::new();
    let mut sizes = serial.0.iter();
    let mut size = Batch::Percent(100);
    while !left.is_empty() {
        size = sizes.next().copied().unwrap_or(size);
        let take = match size {
            Batch::Hosts(n) => n,
            Batch::Percent(p) => hosts.len() * p as usize / 100,
        };
        let (now, later) = left.split_at(take.clamp(1, left.len()));
        all.push(now.to_vec());
        left = later;
    }
    all
}

pub use foresee::{Foreseen, foresee};
pub use reach::{reaches, troubles, unfit};
pub use select::selected_by_tags;

/// Extra variables as the templates see them.
pub fn vars_of(json: &std::collections::BTreeMap<String, serde_json::Value>) -> Vars {
    json.iter().map(|(k, v)| (k.clone(), vars::from_json(v))).collect()
}
