//! `converge check` and `converge apply`.

use super::ground::Ground;
use super::list;
use super::{Output, load};
use crate::diagnostic::Sources;
use crate::drift::shell_word;
use crate::event::{Mode, Reporter};
use crate::exit;
use crate::fleet::{self, Fleet, vars_of};
use crate::inventory::select;
use crate::link::lock::{Claim, Held, How, LockError, Loss};
use crate::link::{self, Connect};
use crate::playbook::Play;
use crate::report::{Json as JsonReport, JsonLines, Style, Terminal};
use clap::Parser;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[group(id = "run")]
pub struct Args {
    /// Playbooks
    #[arg(required = true)]
    playbooks: Vec<PathBuf>,
    /// Hosts: a cluster.yml, Ansible's INI or YAML inventory, a folder of them, or `host,host`
    #[arg(short, long, value_name = "FILE", conflicts_with = "lab")]
    inventory: Vec<String>,
    /// Use the embedded cluster; its state lives in DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = ".lab")]
    lab: Option<PathBuf>,
    /// This machine is a node of the cluster: ask its own API, this node itself, and the others by ssh; no login
    #[arg(long, conflicts_with = "lab")]
    on_node: bool,
    /// Only these hosts (a pattern, as in `hosts:`)
    #[arg(short, long, value_name = "PATTERN")]
    limit: Option<String>,
    /// Only tasks with one of these tags
    #[arg(short, long, value_delimiter = ',')]
    tags: Vec<String>,
    /// No tasks with one of these tags
    #[arg(long, value_delimiter = ',')]
    skip_tags: Vec<String>,
    /// Variables that win over all others: key=value, JSON, or @FILE
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    extra_vars: Vec<String>,
    /// How results are written to standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Hosts at a time (0: all)
    #[arg(long, default_value_t = 0)]
    forks: usize,
    /// Begin with the task of this name
    #[arg(long, value_name = "NAME")]
    start_at_task: Option<String>,
    /// Apply: take over the lock of another apply on the same cluster. Be sure that it is no more
    #[arg(long)]
    break_lock: bool,
    /// List the tasks that would run, and stop
    #[arg(long)]
    pub(super) list_tasks: bool,
    /// List the hosts of each play, and stop
    #[arg(long)]
    pub(super) list_hosts: bool,
    /// Hide diffs
    #[arg(long)]
    no_diff: bool,
    /// Say more: also why tasks were ok or skipped
    #[arg(short, long)]
    verbose: bool,
}

impl Args {
    pub(super) fn playbooks(&self) -> &[PathBuf] {
        &self.playbooks
    }

    pub(super) fn lab(&self) -> Option<&PathBuf> {
        self.lab.as_ref()
    }

    pub(super) fn output(&self) -> Output {
        self.output
    }

    /// The command that converges what this one found. Extra variables are left out: they may hold a secret, and whoever
    /// knows them knows that they belong there.
    pub(super) fn as_apply(&self) -> String {
        let mut words = vec!["converge".to_owned(), "apply".to_owned()];
        // Read elsewhere than typed: in a mail, on a page.
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        words.extend(self.playbooks.iter().map(|path| shell_word(&whole(path))));
        for inventory in &self.inventory {
            words.extend(["-i".to_owned(), shell_word(inventory)]);
        }
        if self.on_node {
            words.push("--on-node".to_owned());
        }
        match &self.lab {
            Some(dir) if dir.as_os_str() == ".lab" => words.push("--lab".to_owned()),
            Some(dir) => words.push(format!("--lab={}", shell_word(&dir.display().to_string()))),
            None => {}
        }
        if !self.extra_vars.is_empty() {
            words.push("-e …".to_owned());
        }
        words.join(" ")
    }
}

pub fn run(args: &Args, mode: Mode) -> u8 {
    let out = std::io::stdout();
    let mut reporter: Box<dyn Reporter> = match args.output {
        Output::Json => Box::new(JsonReport::new(out)),
        Output::Jsonl => Box::new(JsonLines::new(out)),
        Output::Text => {
            let style = Style {
                colour: super::colour(&out),
                progress: super::colour(&std::io::stderr()) && std::io::stderr().is_terminal(),
                diff: !args.no_diff,
                verbose: args.verbose,
                width: super::columns(&out),
            };
            Box::new(Terminal::new(out, style))
        }
    };
    drive(args, mode, false, reporter.as_mut()).unwrap_or_else(|(code, why)| {
        tell!("{why}");
        code
    })
}

/// Reads everything and runs it. `trace`: ask in the end who changed what differs. An error is the exit code and what to
/// say: no task was run.
pub(super) fn drive(args: &Args, mode: Mode, trace: bool, reporter: &mut dyn Reporter) -> Result<u8, (u8, String)> {
    allow_many_files();
    let usage = |why: String| (exit::USAGE, format!("error: {why}"));
    let extra = load::extra_vars(&args.extra_vars).map_err(usage)?;
    let mut sources = Sources::default();
    let Ground { inventory, ways } = ground(args, &mut sources, &extra)?;
    let context = load::context(Some(load::known(&inventory)), &extra);
    let playbooks = load::playbooks(&args.playbooks, &mut sources, &context).map_err(|faults| (exit::USAGE, faults))?;
    for play in playbooks.iter().flat_map(|p| &p.plays) {
        let patterns: Vec<&str> = play.hosts.iter().map(|(pattern, _)| pattern.as_str()).collect();
        select(&inventory, &patterns).map_err(|why| usage(format!("play `{}`: {why}", play.name)))?;
    }
    if let Some(limit) = &args.limit {
        select(&inventory, &[limit]).map_err(|why| usage(format!("--limit: {why}")))?;
    }
    let options = fleet::Options {
        limit: args.limit.clone(),
        tags: args.tags.iter().cloned().collect(),
        skip_tags: args.skip_tags.iter().cloned().collect(),
        extra_vars: vars_of(&extra),
        forks: args.forks,
        start_at_task: args.start_at_task.clone(),
        trace,
    };
    if args.list_hosts || args.list_tasks {
        return Ok(list::list(args, &playbooks, &inventory, &options));
    }
    if let Some(name) = &options.start_at_task
        && !playbooks.iter().flat_map(|p| &p.plays).any(|p| list::names(&p.tasks).contains(&name.as_str()))
    {
        return Err(usage(format!("--start-at-task: no task is named `{name}`")));
    }
    list::some_task_is_chosen(&playbooks, &options).map_err(usage)?;
    list::some_host_is_chosen(&playbooks, &inventory, args.limit.as_deref()).map_err(usage)?;
    let plays: Vec<&Play> = playbooks.iter().flat_map(|p| &p.plays).collect();
    let connect = ways.settle(&plays, &inventory, &options, &sources).map_err(|why| (exit::USAGE, why))?;
    let foreseen = match mode {
        Mode::Check => fleet::Foreseen::default(),
        // Before the lock: a run that may not change anything leaves nothing behind, also not for a moment.
        Mode::Apply => fleet::foresee(&options, &inventory, &context, connect.as_ref(), sources.clone(), &playbooks),
    };
    if foreseen.forbids() {
        let fleet = Fleet::new(mode, &options, &inventory, &context, connect.as_ref(), sources, reporter);
        return Ok(fleet.refuse(&playbooks, foreseen));
    }
    let lock = match mode {
        Mode::Check => None,
        Mode::Apply => lock(args, connect.as_ref()).map_err(|why| (exit::FAILED, format!("error: {why}")))?,
    };
    let mut fleet =
        Fleet::new(mode, &options, &inventory, &context, connect.as_ref(), sources, reporter).foreseen(&foreseen);
    // Kept to the end of the run.
    if let Some(mut lock) = lock {
        fleet = fleet.guarded(move || lock.is_lost());
    }
    Ok(fleet.run(&playbooks))
}

/// Each link holds a few descriptors, and many systems begin with 1024. What cannot be had is said by the link that
/// gets none.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Where the run takes place. Faults of inventory and playbooks come before a cluster is logged in to.
fn ground(args: &Args, sources: &mut Sources, extra: &BTreeMap<String, Json>) -> Result<Ground, (u8, String)> {
    let usage = |why: String| (exit::USAGE, format!("error: {why}"));
    if let Some(dir) = &args.lab {
        return Ground::lab(dir).map_err(usage);
    }
    if args.on_node {
        let loaded =
            super::ground::read(&args.inventory, &args.playbooks, sources).map_err(|faults| (exit::USAGE, faults))?;
        return Ground::on_node(loaded, sources);
    }
    if args.inventory.is_empty() {
        return Ok(Ground::this_machine());
    }
    let as_is = |faults| (exit::USAGE, faults);
    let loaded = super::ground::read(&args.inventory, &args.playbooks, sources).map_err(as_is)?;
    if loaded.cluster.is_some() {
        let offline = super::ground::read(&args.inventory, &args.playbooks, sources).map_err(as_is)?;
        let context = load::context(Some(super::ground::known_offline(offline).0), extra);
        load::playbooks(&args.playbooks, &mut sources.clone(), &context).map_err(as_is)?;
    }
    Ground::of(loaded, sources)
}

/// The lock of an apply, and what is needed to take it up again.
struct Lock<'a> {
    connect: &'a dyn Connect,
    owner: String,
    held: Option<Held>,
}

impl Lock<'_> {
    /// Why the run must not change anything any more. A lock whose node went away is taken up at another node.
    fn is_lost(&mut self) -> Option<String> {
        let stop = |who: String| {
            format!(
                "{who} took over this cluster's lock, so this run stops before its next change; \
                 run it again when the other one is done"
            )
        };
        match self.held.as_mut()?.lost()? {
            Loss::Taken(who) => return Some(stop(who)),
            Loss::Away => self.held = None,
        }
        let (since, who) = self.owner.split_once(' ').unwrap_or_default();
        let claim = Claim { owner: format!("{since} {who} again"), how: How::Resume(self.owner.clone()) };
        match self.connect.lock(&claim, &mut |told| tell!("note: {told}")) {
            Ok(held) => {
                tell!("note: the node that held this run's lock was lost; it is held at another now");
                (self.held, self.owner) = (held, claim.owner);
                None
            }
            Err(LockError::Busy(why)) => Some(format!("this run's lock was lost with its node, and {why}")),
            Err(LockError::Unknown(why)) => {
                tell!("warning: this run's lock was lost with its node, another apply could run beside it: {why}");
                None
            }
        }
    }
}

/// One apply at a time on a cluster. Where nobody can tell, that is said, and the run goes on: a cluster that is half
/// down is what an apply may have to mend.
fn lock<'a>(args: &Args, connect: &'a dyn Connect) -> Result<Option<Lock<'a>>, String> {
    let names: Vec<String> = args.playbooks.iter().map(|p| p.display().to_string()).collect();
    let owner = link::lock::owner(&format!("apply {}", names.join(" ")));
    let claim = Claim { owner, how: if args.break_lock { How::Break } else { How::Wait } };
    match connect.lock(&claim, &mut |told| tell!("note: {told}")) {
        Ok(held) => Ok(Some(Lock { connect, owner: claim.owner, held })),
        Err(LockError::Busy(why)) => Err(why),
        Err(LockError::Unknown(why)) => {
            tell!("warning: this run has no lock on the cluster, another apply could run beside it: {why}");
            Ok(None)
        }
    }
}
