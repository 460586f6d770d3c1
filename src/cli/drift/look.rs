//! One look with a report: check, remember, tell, write.

use super::{FailOn, layout, machine, now};
use crate::cli::{Output, run};
use crate::diagnostic::Sources;
use crate::drift::collect::{About, Collect, could_not_look};
use crate::drift::folder::Folder;
use crate::drift::history::{self, Facts, History};
use crate::drift::notice::{self, Config};
use crate::drift::{Finding, Report, Standing, Undelivered, forms};
use crate::event::{Mode, Outcome, Reporter};
use crate::exit;
use crate::report::{JsonLines, Waiting};
use crate::schedule::turn;
use clap::Parser;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

#[derive(Debug, Parser)]
#[group(id = "look")]
pub struct Args {
    #[command(flatten)]
    run: run::Args,
    /// Where reports and history are kept: report.html, report.json, junit.xml, drift.prom, history.sqlite
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// Tell people what is news, as this notify.yml says
    #[arg(long, value_name = "FILE")]
    notify: Option<PathBuf>,
    /// What makes the exit code other than 0
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
}

pub fn run(args: &Args) -> u8 {
    let Some(out) = &args.out else { return crate::cli::complain(exit::USAGE, "--out DIR is missing") };
    // A folder that cannot be written to is told before the cluster is asked anything.
    if let Err(why) = Folder::open(out) {
        return crate::cli::complain(exit::FAILED, why);
    }
    // Who cannot be told is no reason not to look.
    let (notify, mute) = match args.notify.as_deref().map(notify_config).transpose() {
        Ok(notify) => (notify, None),
        Err(faults) => {
            tell!("{faults}");
            (None, Some(format!("nobody was told: {}", faults.lines().next().unwrap_or_default())))
        }
    };
    let started = match now(args.run.lab()) {
        Ok(now) => now,
        Err(why) => return crate::cli::complain(exit::USAGE, why),
    };
    let mut lines = (args.run.output() == Output::Jsonl).then(|| JsonLines::new(std::io::stdout()));
    let mut waiting = Waiting::new(crate::cli::colour(&std::io::stderr()) && std::io::stderr().is_terminal());
    let mut next: Option<&mut dyn Reporter> = Some(&mut waiting);
    if let Some(lines) = &mut lines {
        next = Some(lines);
    }
    let mut collect = Collect::new(next);
    let ended = run::drive(&args.run, Mode::Check, true, &mut collect);
    let about = About {
        playbooks: args.run.playbooks().iter().map(|p| p.display().to_string()).collect(),
        started,
        ended: now(args.run.lab()).unwrap_or(started),
        by: machine(),
        heal: args.run.as_apply(),
    };
    let (mut facts, code, trouble) = match ended {
        Ok(_) if args.run.list_tasks || args.run.list_hosts => return exit::OK,
        Ok(code) => (collect.facts(about, code), None, None),
        Err((code, why)) => {
            tell!("{why}");
            // Whoever types a fault reads of it here; where nobody does, silence would pass for health.
            if code == exit::USAGE && std::io::stderr().is_terminal() {
                return code;
            }
            (could_not_look(about, code, &why), Some(code), Some(why))
        }
    };
    let code = code.or_else(|| mute.is_some().then_some(exit::USAGE));
    facts.notes.extend(mute);
    let untold = facts.untold;
    let done = Folder::open(out).map_err(|e| e.to_string()).and_then(|folder| {
        let (mut report, mut history) = remember(&folder, facts, notify.as_ref(), trouble.as_deref())?;
        report.exit = code.unwrap_or_else(|| exit_of(&report, untold, args.fail_on));
        report.undelivered = told(notify.as_ref(), &history, &mut report);
        Ok(finish(args, &folder, &mut history, report))
    });
    done.unwrap_or_else(|why| crate::cli::complain(exit::FAILED, format!("the run is in no report: {why}")))
}

pub(super) fn notify_config(path: &Path) -> Result<Config, String> {
    let mut sources = Sources::default();
    Config::read(path, &mut sources).map_err(|faults| sources.show(&faults, crate::cli::colour(&std::io::stderr())))
}

/// Takes the run into the history, and with it, or not at all, what people are to be told.
fn remember(
    folder: &Folder,
    mut facts: Facts,
    notify: Option<&Config>,
    trouble: Option<&str>,
) -> Result<(Report, History), String> {
    let words = |e: &dyn ToString| e.to_string();
    let out = folder.path();
    if let Some(shared) = turn::shared_memory() {
        history::pull(out, &shared).map_err(|e| words(&e))?;
    }
    let mut history = History::open(out).map_err(|e| words(&e))?;
    if folder.has_reports() && history.last_run().map_err(|e| words(&e))?.is_none() {
        facts
            .notes
            .push("the history of the reports here is gone: everything counts as new, and no mark is left".into());
    }
    let now = facts.ended;
    let at = std::path::absolute(out).unwrap_or_else(|_| out.to_owned()).join("report.html").display().to_string();
    let (by, command) = (facts.by.clone(), facts.heal.replacen("apply", "check", 1));
    let report = history.record(facts, |tx, report| match (notify, trouble) {
        (Some(config), Some(error)) => {
            let trouble = notice::Trouble { error, by: &by, command: &command };
            notice::plan_trouble(config, tx, &trouble, now).map(drop)
        }
        (Some(config), None) => notice::plan(config, tx, report, &at, now).map(drop),
        (None, _) => Ok(()),
    });
    let mut report = report.map_err(|e| words(&e))?;
    // Before people are told, which may take its time: another node may be asked something meanwhile.
    report.notes.extend(hand_on(out, &mut history));
    Ok((report, history))
}

/// Sends what waits. Whatever fails here is in the report.
fn told(notify: Option<&Config>, history: &History, report: &mut Report) -> Vec<Undelivered> {
    let now = report.run.ended;
    let sent = match notify {
        Some(config) => notice::deliver(config, history.db(), now),
        None => notice::undelivered(history.db(), now),
    };
    sent.unwrap_or_else(|why| {
        report.notes.push(format!("nobody could be told: {why}"));
        Vec::new()
    })
}

/// Writes all forms and says how it stands.
fn finish(args: &Args, folder: &Folder, history: &mut History, report: Report) -> u8 {
    let out = folder.path();
    // What was sent must not be sent by the next node once more; if that one was faster, it may be.
    if let Some(why) = hand_on(out, history).filter(|_| args.notify.is_some()) {
        tell!("note: {why}");
    }
    let written = {
        let (json, html) = (forms::json(&report), forms::html(&report));
        let (junit, prometheus) = (forms::junit(&report), forms::prometheus(&report));
        folder.publish(
            report.run.id,
            &[
                ("report.json", json.as_bytes()),
                ("report.html", html.as_bytes()),
                ("junit.xml", junit.as_bytes()),
                ("drift.prom", prometheus.as_bytes()),
            ],
        )
    };
    match args.run.output() {
        Output::Text => put!("{}", forms::brief(&report, &layout(false))),
        Output::Json => put!("{}", forms::json(&report)),
        Output::Jsonl => {}
    }
    match written {
        Ok(()) => {
            tell!("report: {}", out.join("report.html").display());
            report.exit
        }
        Err(why) => crate::cli::complain(exit::FAILED, format!("the reports could not be written: {why}")),
    }
}

/// Leaves the memory where the next node finds it. One that could not be left is only this machine's.
fn hand_on(out: &Path, history: &mut History) -> Option<String> {
    match history::push(history, out, &turn::shared_memory()?) {
        Ok(words) => words,
        Err(why) => Some(format!("another node that takes over will not know of this run: {why}")),
    }
}

/// The exit code of the contract, about what counts. What could not be told is never old news, and what a check failed on
/// without any finding (`untold`: handlers that cannot be read, plays that were not run) is never silent.
fn exit_of(report: &Report, untold: usize, fail_on: FailOn) -> u8 {
    let is_new = |standing: Standing| matches!(standing, Standing::New | Standing::Back);
    let counts = |f: &&Finding| fail_on == FailOn::Any || f.outcome != Outcome::Drifted || is_new(f.standing);
    let outcomes: Vec<Outcome> = report.counted().filter(counts).map(|f| f.outcome).collect();
    if outcomes.contains(&Outcome::Unreachable) {
        exit::UNREACHABLE
    } else if untold > 0 || outcomes.iter().any(|o| matches!(o, Outcome::Failed | Outcome::Blocked)) {
        exit::FAILED
    } else if outcomes.contains(&Outcome::Drifted) {
        exit::DRIFT
    } else {
        exit::OK
    }
}
