//! Before an apply by a login that is not root@pam itself: a check that nobody sees finds what this login may not do, in
//! all plays at once.
//!
//! It neither grants nor tries anything. What it is sure of ends the run before its first change; the rest is said.

use super::{Event, Fleet, Mode, Options, Outcome, Play, Playbook, Reporter, TaskResult};
use crate::diagnostic::Sources;
use crate::inventory::Inventory;
use crate::link::Connect;
use crate::playbook::{self, Included, Item, TaskDef};
use crate::pve::permissions::ROOT;
use crate::tasks::rights::Sure;
use crate::tasks::{Lack, Touches};
use crate::wire::{HostResult, Status};
use std::time::Instant;

/// What the login may not do in a run.
#[derive(Debug, Default)]
pub struct Foreseen(Vec<Finding>);

/// One task that needs what the login lacks.
#[derive(Debug)]
pub(super) struct Finding {
    result: TaskResult,
    lacks: Vec<Lack>,
    hidden: bool,
}

const HIDDEN: &str = "the login lacks rights that this task needs (hidden by no_log)";

impl Finding {
    fn forbids(&self) -> bool {
        !self.result.ignored && self.lacks.iter().any(|lack| lack.sure == Sure::Certainly)
    }

    fn words(&self) -> String {
        if self.hidden {
            return HIDDEN.to_owned();
        }
        let mut lacks: Vec<&Lack> = self.lacks.iter().collect();
        lacks.sort_by_key(|lack| lack.sure);
        let words = |lack: &Lack| match lack.sure {
            Sure::Certainly | Sure::CannotTell => lack.to_string(),
            Sure::Perhaps => format!("and perhaps: {lack}"),
        };
        lacks.into_iter().map(words).collect::<Vec<_>>().join("\n")
    }

    /// For a run that goes on.
    fn as_notes(&self) -> Vec<String> {
        let TaskResult { place, task, .. } = &self.result;
        let note = |lack: &Lack| {
            let begin = match lack.sure {
                Sure::Certainly if self.result.ignored => "is refused, which the playbook ignores",
                Sure::Certainly | Sure::Perhaps => "may be refused when its turn comes",
                Sure::CannotTell => "may or may not be refused",
            };
            let words = if self.hidden { HIDDEN.to_owned() } else { lack.to_string() };
            format!("{place}: `{task}` {begin}: {words}")
        };
        let mut notes: Vec<String> = self.lacks.iter().map(note).collect();
        notes.dedup();
        notes
    }
}

impl Foreseen {
    /// Whether some task certainly wants a change that this login may not make.
    pub fn forbids(&self) -> bool {
        self.0.iter().any(Finding::forbids)
    }
}

/// Nobody hears of the check.
struct Silence;

impl Reporter for Silence {
    fn event(&mut self, _: &Event) {}
}

/// Looks ahead where the login is not root@pam itself and some task asks the API; else nobody is asked anything.
pub fn foresee(
    options: &Options,
    inventory: &Inventory,
    context: &playbook::Context,
    connect: &dyn Connect,
    sources: Sources,
    playbooks: &[Playbook],
) -> Foreseen {
    let reserved = connect.api_user().is_some_and(|user| user != ROOT);
    let plays: Vec<&Play> = playbooks.iter().flat_map(|p| &p.plays).collect();
    if !reserved || !plays.iter().any(|play| asks_the_api(&play.tasks)) {
        return Foreseen::default();
    }
    let options = Options { trace: false, ..options.clone() };
    let mut silence = Silence;
    let mut fleet = Fleet::new(Mode::Check, &options, inventory, context, connect, sources, &mut silence);
    fleet.foreseen = Some(Vec::new());
    for play in plays {
        // Also where no host of an earlier play is left: everything is to be told at once.
        fleet.play(play);
    }
    Foreseen(fleet.foreseen.take().unwrap_or_default())
}

fn asks_the_api(items: &[Item]) -> bool {
    items.iter().any(|item| match item {
        Item::Task(def) => def.kind.touches == Touches::Cluster,
        Item::Meta(..) => false,
        Item::Block(block) => asks_the_api(&block.body) || asks_the_api(&block.rescue) || asks_the_api(&block.always),
        Item::Include(include) => match &include.what {
            Included::Loaded(block) => asks_the_api(&block.body),
            // Nobody knows yet what it includes.
            Included::TasksAt(_) | Included::RoleAt(_) => true,
        },
    })
}

impl Fleet<'_> {
    /// What is to be said before the first task of a run that goes on.
    pub fn foreseen(mut self, foreseen: &Foreseen) -> Self {
        self.first_words = foreseen.0.iter().flat_map(Finding::as_notes).collect();
        self
    }

    /// Ends the run before it began: what is certain is `blocked`, the rest is said.
    pub fn refuse(mut self, playbooks: &[Playbook], foreseen: Foreseen) -> u8 {
        let since = Instant::now();
        self.begin(playbooks);
        let (certain, rest): (Vec<Finding>, Vec<Finding>) = foreseen.0.into_iter().partition(Finding::forbids);
        let mut play = None;
        for finding in certain {
            let mut result = TaskResult { outcome: Outcome::Blocked, summary: finding.words(), ..finding.result };
            result.warnings.clear();
            let hosts = vec![result.host.clone()];
            if play.as_ref() != Some(&result.play) {
                play = Some(result.play.clone());
                self.reporter.event(&Event::PlayStarted { play: result.play.clone(), hosts: hosts.clone() });
            }
            self.reporter.event(&Event::TaskStarted {
                play: result.play.clone(),
                task: result.task.clone(),
                kind: result.kind.clone(),
                hosts,
                handler: result.handler,
            });
            self.report(result);
        }
        for finding in rest {
            for note in finding.as_notes() {
                self.note(note);
            }
        }
        self.note(
            "stopped before the first change: nothing was changed on any host. The password login of root@pam, or a run on \
             a node with --on-node, may do all of this",
        );
        self.end(since)
    }

    /// A task that cannot be looked at before an apply: what it will need cannot be told.
    pub(super) fn cannot_foresee(&self, def: &TaskDef, answer: &mut HostResult) {
        let changes = def.kind.touches == Touches::Cluster && def.common.check_mode != Some(true);
        if self.foreseen.is_some() && changes && !answer.provisional.is_empty() {
            let why = answer.provisional.join("; ");
            let lack = Lack::cannot_tell(format!("what it needs of the login cannot be told before it runs: {why}"));
            answer.lacks.push(lack);
        }
    }

    pub(super) fn keep_lacks(&mut self, def: &TaskDef, result: &TaskResult, answer: &mut HostResult) {
        let Some(found) = self.foreseen.as_mut().filter(|_| !answer.lacks.is_empty()) else { return };
        found.push(Finding { result: result.clone(), lacks: answer.lacks.clone(), hidden: def.common.no_log });
        if answer.status == Status::Blocked {
            // The tasks after it may lack more. Where this one may yet be done, nobody knows what it leaves them.
            answer.status = Status::Drifted;
            self.anything_done |= answer.lacks.iter().all(|lack| lack.sure != Sure::Certainly);
        }
    }
}
