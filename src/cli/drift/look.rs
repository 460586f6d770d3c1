//! One look with a report: check, remember, tell, write.

use super::{FailOn, layout, machine, now};
use crate::cli::{Output, run};
use crate::drift::collect::{About, Collect, could_not_look};
use crate::drift::folder::Folder;
use crate::drift::history::{Facts, History};
use crate::drift::{Report, Standing, forms};
use crate::event::{Mode, Outcome, Reporter};
use crate::exit;
use crate::report::{JsonLines, Waiting};
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
    /// What makes the exit code other than 0
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
}

pub fn run(args: &Args) -> u8 {
    let Some(out) = &args.out else { return crate::cli::complain(exit::USAGE, "--out DIR is missing") };
    // A folder that cannot be written to is told before the cluster is asked anything.
    if let Err(why) = Folder::open(out) {
        return crate::cli::complain(exit::USAGE, why);
    }
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
    let (facts, code) = match ended {
        Ok(_) if args.run.list_tasks || args.run.list_hosts => return exit::OK,
        Ok(code) => (collect.facts(about, code), None),
        Err((code, why)) => {
            tell!("{why}");
            (could_not_look(about, code, &why), Some(code))
        }
    };
    match remember(out, facts) {
        Ok(mut report) => {
            report.exit = code.unwrap_or_else(|| exit_of(&report, args.fail_on));
            finish(args, out, report)
        }
        Err(why) => crate::cli::complain(exit::FAILED, format!("the run is in no report: {why}")),
    }
}

fn remember(out: &Path, facts: Facts) -> Result<Report, String> {
    let mut history = History::open(out).map_err(|e| e.to_string())?;
    history.record(facts, |_, _| Ok(())).map_err(|e| e.to_string())
}

/// Writes all forms and says how it stands.
fn finish(args: &Args, out: &Path, report: Report) -> u8 {
    let written = Folder::open(out).and_then(|folder| {
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
    });
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

/// The exit code of the contract, about what counts. What a check failed on without any finding (an unreadable journal)
/// is never silent.
fn exit_of(report: &Report, fail_on: FailOn) -> u8 {
    let counts = |standing: Standing| fail_on == FailOn::Any || matches!(standing, Standing::New | Standing::Back);
    let outcomes: Vec<Outcome> = report.counted().filter(|f| counts(f.standing)).map(|f| f.outcome).collect();
    let found = |outcomes_of: &[Outcome]| outcomes.iter().any(|o| outcomes_of.contains(o));
    let known =
        |outcomes_of: &[Outcome]| report.findings.iter().any(|f| f.is_open() && outcomes_of.contains(&f.outcome));
    let bad = [Outcome::Failed, Outcome::Blocked];
    let silent = match report.exit {
        exit::UNREACHABLE => !known(&[Outcome::Unreachable]),
        exit::FAILED => !known(&bad),
        _ => false,
    };
    if silent {
        report.exit
    } else if found(&[Outcome::Unreachable]) {
        exit::UNREACHABLE
    } else if found(&bad) {
        exit::FAILED
    } else if found(&[Outcome::Drifted]) {
        exit::DRIFT
    } else {
        exit::OK
    }
}
