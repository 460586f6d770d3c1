//! `converge schedule …`: drift reports at their times, by systemd on this machine.

mod install;
mod secrets;
mod status;
mod turn;

use crate::host::{Host, Local};
use crate::schedule::{REPORTS, name_of};
use crate::tasks::drift_schedule::units::{self, Target, Work};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look for drift at set times: write a systemd service and timer, and start the timer
    Install(Box<install::Args>),
    /// Take a schedule away; its reports stay
    Remove(Remove),
    /// When each schedule ran, how that ended, when it runs next, and whether its units are as they should be
    Status(status::Args),
    /// Run a program if no other node of the cluster does: what the units on nodes start, never a person
    #[command(hide = true)]
    Turn(turn::Args),
}

#[derive(Debug, Parser)]
struct Remove {
    /// Name of the schedule
    #[arg(value_parser = named)]
    name: String,
    /// Show what would be taken away, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: Where,
}

/// Whose systemd.
#[derive(Debug, Clone, Parser)]
pub struct Where {
    /// The schedules of your own systemd (`systemctl --user`) instead of the machine's
    #[arg(long)]
    user: bool,
    /// The machine whose root folder this is, where systemd does not run: an image that is being made
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    root: Option<PathBuf>,
}

fn named(text: &str) -> Result<String, String> {
    name_of(text).map(|()| text.to_owned())
}

impl Where {
    fn folder(&self) -> Result<String, String> {
        if self.user {
            return below_home("XDG_CONFIG_HOME", ".config", "systemd/user");
        }
        let Some(root) = &self.root else { return Ok(units::FOLDER.to_owned()) };
        let root = std::path::absolute(root).map_err(|e| format!("{}: {e}", root.display()))?;
        let root = root.to_str().ok_or_else(|| format!("{}: not UTF-8", root.display()))?;
        Ok(format!("{}{}", root.trim_end_matches('/'), units::FOLDER))
    }

    fn target(&self, name: &str) -> Result<Target, String> {
        Ok(Target { name: name.to_owned(), folder: self.folder()?, own: self.user, runs: self.root.is_none() })
    }

    /// Where reports go that nobody named another place for.
    fn reports(&self, name: &str) -> Result<String, String> {
        match self.user {
            true => below_home("XDG_STATE_HOME", ".local/state", &format!("converge/{name}")),
            false => Ok(format!("{REPORTS}/{name}")),
        }
    }
}

fn below_home(variable: &str, usual: &str, rest: &str) -> Result<String, String> {
    let given = std::env::var(variable).ok().filter(|path| path.starts_with('/'));
    let home = || std::env::var("HOME").ok().map(|home| format!("{home}/{usual}"));
    let base = given.or_else(home).ok_or_else(|| format!("neither {variable} nor HOME is set"))?;
    Ok(format!("{base}/{rest}"))
}

pub fn run(args: &Args) -> u8 {
    let done = match &args.command {
        Command::Install(args) => install::run(args),
        Command::Remove(args) => remove(args),
        Command::Status(args) => status::run(args),
        Command::Turn(args) => turn::run(args),
    };
    done.unwrap_or_else(|(code, why)| super::complain(code, why))
}

type Done = Result<u8, (u8, String)>;

fn failed(why: impl ToString) -> (u8, String) {
    (crate::exit::FAILED, why.to_string())
}

fn usage(why: impl ToString) -> (u8, String) {
    (crate::exit::USAGE, why.to_string())
}

fn absolute(path: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = absolute.to_str().ok_or_else(|| format!("{}: not UTF-8, which a unit file must be", path.display()))?;
    Ok(if text.len() > 1 { text.trim_end_matches('/').to_owned() } else { text.to_owned() })
}

fn this_machine() -> Local {
    Local::this_machine("localhost")
}

fn look(host: &Local, target: &Target, out: Option<&str>) -> Result<units::Seen, (u8, String)> {
    units::look(host, target, out).map_err(|error| {
        let way_out =
            if target.own { "" } else { "; for a machine whose systemd does not run now, name its root: `--root /`" };
        failed(format!("{error}{way_out}"))
    })
}

/// Shows what is done and does it.
fn carry_out(host: &Local, work: &Work, dry_run: bool) -> Result<(), (u8, String)> {
    put!("{}", work.diff);
    for warning in &work.warnings {
        tell!("warning: {warning}");
    }
    if dry_run {
        return Ok(());
    }
    for step in &work.steps {
        if let Err(error) = host.perform(step) {
            let not_root = !rustix::process::geteuid().is_root();
            let help = if not_root { "; a schedule of the machine needs root, one of your own `--user`" } else { "" };
            return Err(failed(format!("{}: {error}{help}", step.describe())));
        }
    }
    Ok(())
}

fn remove(args: &Remove) -> Done {
    let target = args.at.target(&args.name).map_err(usage)?;
    let host = this_machine();
    let seen = look(&host, &target, None)?;
    let work = units::remove(&target, &seen).map_err(failed)?;
    if work.steps.is_empty() {
        out!("there is no schedule {}", args.name);
        return Ok(crate::exit::OK);
    }
    let reports = seen.schedule().and_then(Result::ok).map(|schedule| schedule.out);
    carry_out(&host, &work, args.dry_run)?;
    let verb = if args.dry_run { "would be removed" } else { "is removed" };
    match reports {
        Some(reports) => out!("schedule {} {verb}; its reports stay in {reports}", args.name),
        None => out!("schedule {} {verb}; its reports stay where they are", args.name),
    }
    Ok(crate::exit::OK)
}
