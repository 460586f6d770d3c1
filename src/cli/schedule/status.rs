//! `converge schedule status`: each schedule in the words of systemd and of its own unit files.

use super::{Done, Where, failed, named, usage};
use crate::host::{Local, Probe};
use crate::schedule::{Schedule, systemd::Shown};
use crate::tasks::drift_schedule::units::{self, Seen, Target};
use clap::Parser;
use serde_json::{Value as Json, json};
use std::path::Path;

/// Ends with 0 where every schedule is as it should be, with 3 where units differ or do not wait, with 1 where that
/// cannot be told.
#[derive(Debug, Parser)]
pub struct Args {
    /// Only this one
    #[arg(value_parser = named)]
    name: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

/// One schedule.
struct Line {
    name: String,
    schedule: Option<Schedule>,
    /// What is not as `install` would leave it.
    differs: Vec<String>,
    /// Why systemd's part is not known.
    unknown: Option<String>,
    shown: Option<Shown>,
}

pub fn run(args: &Args) -> Done {
    let host = super::this_machine();
    let folder = args.at.folder().map_err(usage)?;
    let mut names = names(&host, &folder).map_err(failed)?;
    if let Some(wanted) = &args.name {
        names.retain(|name| name == wanted);
        if names.is_empty() {
            return Err(failed(format!("there is no schedule {wanted} in {folder}")));
        }
    }
    let mut lines = Vec::new();
    for name in &names {
        let target = args.at.target(name).map_err(usage)?;
        lines.extend(line(&host, &target).map_err(failed)?);
    }
    if args.json {
        out!("{}", Json::from(lines.iter().map(Line::json).collect::<Vec<_>>()));
    } else if lines.is_empty() {
        out!("no schedule of converge's in {folder}");
    }
    for line in lines.iter().filter(|_| !args.json) {
        put!("{}", line.text());
    }
    Ok(match &lines {
        lines if lines.iter().any(|line| line.unknown.is_some()) => crate::exit::FAILED,
        lines if lines.iter().any(|line| !line.differs.is_empty()) => crate::exit::DRIFT,
        _ => crate::exit::OK,
    })
}

/// Units whose name could be ours.
fn names(host: &Local, folder: &str) -> Result<Vec<String>, String> {
    let files = host.list(Path::new(folder)).map_err(|e| e.to_string())?.unwrap_or_default();
    let of = |file: &String| {
        let name = file.strip_prefix("converge-")?;
        name.strip_suffix(".service").or_else(|| name.strip_suffix(".timer")).map(str::to_owned)
    };
    let mut names: Vec<String> =
        files.iter().filter_map(of).filter(|name| crate::schedule::name_of(name).is_ok()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// `None`: it is not one of ours.
fn line(host: &Local, target: &Target) -> Result<Option<Line>, String> {
    let mut unknown = None;
    let seen = match units::look(host, target, None) {
        Ok(seen) => seen,
        Err(error) => {
            // The files tell their part all the same.
            unknown = Some(error.to_string());
            let files_only = Target { runs: false, ..target.clone() };
            units::look(host, &files_only, None).map_err(|e| e.to_string())?
        }
    };
    let Some(schedule) = seen.schedule() else { return Ok(None) };
    let (schedule, mut differs) = match schedule {
        Ok(schedule) => (Some(schedule), Vec::new()),
        Err(why) => (None, vec![why]),
    };
    if let Some(schedule) = &schedule {
        differs = differences(host, target, &seen, schedule, unknown.is_some())?;
    }
    Ok(Some(Line { name: target.name.clone(), schedule, differs, unknown, shown: seen.shown }))
}

fn differences(
    host: &Local,
    target: &Target,
    seen: &Seen,
    schedule: &Schedule,
    files_only: bool,
) -> Result<Vec<String>, String> {
    let mut differs = match units::install(schedule, target, seen) {
        Ok(work) => work.words,
        Err(why) => vec![why],
    };
    if files_only {
        // Whether it is enabled is systemd's to say.
        differs.retain(|word| !word.starts_with("enable "));
    }
    if host.stat(Path::new(&schedule.program)).map_err(|e| e.to_string())?.is_none() {
        differs.push(format!("the program {} is not there any more", schedule.program));
    }
    Ok(differs)
}

impl Line {
    fn ended(&self) -> Option<String> {
        self.shown.as_ref().map(Shown::ended)
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.name);
        let mut say = |what: &str, value: &str| text.push_str(&format!("  {what:<12}{value}\n"));
        if let Some(schedule) = &self.schedule {
            let command = [vec![schedule.program.clone()], schedule.arguments.clone()].concat().join(" ");
            say("runs", &command);
            let within = schedule.spread_s.div_ceil(60);
            say("when", &format!("{}, within {within} min", schedule.calendar.join(", ")));
        }
        match (&self.unknown, &self.shown) {
            (Some(why), _) => say("next run", &format!("cannot tell: {why}")),
            (None, None) => say("next run", "no systemd runs there"),
            (None, Some(shown)) => {
                let none = if shown.is_waiting() { "now" } else { "never: the timer does not wait" };
                say("next run", shown.next().unwrap_or(none));
                say("last run", shown.last().unwrap_or("none yet"));
                say("it ended", &shown.ended());
                for path in shown.drop_ins() {
                    say("drop-ins", path);
                }
            }
        }
        if let Some(schedule) = &self.schedule {
            say("reports", &schedule.out);
        }
        match self.differs.as_slice() {
            [] => say("units", "as `converge schedule install` writes them"),
            differs => say("units", &format!("differ; `converge schedule install` would {}", differs.join(", "))),
        }
        text
    }

    fn json(&self) -> Json {
        let shown = self.shown.as_ref();
        json!({
            "name": self.name,
            "schedule": self.schedule,
            "next": shown.and_then(Shown::next),
            "last": shown.and_then(Shown::last),
            "ended": self.ended(),
            "reports": self.schedule.as_ref().map(|s| &s.out),
            "differs": self.differs,
            "cannot_tell": self.unknown,
        })
    }
}
