//! `converge drift`: a check for schedulers, with reports and a memory; and what people say about findings.

mod look;
mod marks;

use crate::drift::Time;
use crate::drift::forms::Look;
use crate::drift::history::HistoryError;
use crate::exit;
use clap::{Parser, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(flatten)]
    look: look::Args,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What makes the exit code other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum FailOn {
    /// Everything that is there and not muted
    #[default]
    Any,
    /// Of drift only what is new; what could not be told always counts
    New,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is there as of the last run; with --all also what was
    List(marks::List),
    /// One finding with its diff and its story
    Show(marks::Show),
    /// Say that findings are known: they still count and are no longer told
    Ack(marks::Mark),
    /// Neither count nor tell findings for a time
    Mute(marks::Mark),
    /// Send a test message by a channel of a notify.yml
    TestNotify(marks::TestNotify),
    /// Take an acknowledgement or mute back
    Unmark(marks::Which),
    /// Remove findings with their history: of hosts that are no more, of tasks that were taken out
    Forget(marks::Which),
}

/// Where the reports and their history are.
#[derive(Debug, Clone, Parser)]
struct Folder {
    /// The folder of the reports
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Use the clock of the embedded cluster in DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = ".lab")]
    lab: Option<PathBuf>,
}

pub fn run(args: &Args) -> u8 {
    match &args.command {
        Some(Command::List(args)) => marks::list(args),
        Some(Command::Show(args)) => marks::show(args),
        Some(Command::Ack(args)) => marks::mark(args, crate::drift::MarkKind::Acknowledged),
        Some(Command::Mute(args)) => marks::mark(args, crate::drift::MarkKind::Muted),
        Some(Command::Unmark(args)) => marks::unmark(args),
        Some(Command::TestNotify(args)) => marks::test_notify(args),
        Some(Command::Forget(args)) => marks::forget(args),
        None => look::run(&args.look),
    }
}

/// The lab has a clock of its own, so that days can be tried in seconds.
fn now(lab: Option<&PathBuf>) -> Result<Time, String> {
    match lab {
        Some(dir) => {
            crate::lab::Lab::open(dir).and_then(|lab| lab.look(|world| world.now_s())).map_err(|e| e.to_string())
        }
        None => Ok(jiff::Timestamp::now().as_second()),
    }
}

fn layout(all: bool) -> Look {
    let out = std::io::stdout();
    Look { colour: super::colour(&out), width: super::columns(&out), zone: TimeZone::system(), all }
}

/// `ann@workstation`
fn author() -> String {
    let name = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let user = name("SUDO_USER").or_else(|| name("USER")).or_else(|| name("LOGNAME"));
    format!("{}@{}", user.as_deref().unwrap_or("somebody"), machine())
}

fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn complain(error: &HistoryError) -> u8 {
    let code = if matches!(error, HistoryError::Usage(_)) { exit::USAGE } else { exit::FAILED };
    super::complain(code, error)
}
