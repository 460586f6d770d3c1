//! The command line: one file a command, wiring only.

// `println!` to a reader that may have gone away.
macro_rules! out {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

// `print!` to a reader that may have gone away.
macro_rules! put {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stdout(), $($words)*);
    }};
}

// `eprintln!` to a reader that may have gone away.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod agent;
mod completions;
mod drift;
mod explain;
mod ground;
mod hook;
mod lab;
mod list;
mod load;
mod run;
mod schedule;
mod schema;
mod trust;
mod validate;

use clap::{Parser, Subcommand, ValueEnum};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Describe storage on Proxmox VE in playbooks; check the drift, converge it.
#[derive(Debug, Parser)]
#[command(name = "converge", version, about, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every fault in playbooks, offline, touching nothing
    Validate(validate::Args),
    /// Look only: show the drift as unified diffs
    Check(run::Args),
    /// Converge, then look again
    Apply(run::Args),
    /// Check for schedulers: reports, a memory of what was found, messages
    Drift(Box<drift::Args>),
    /// The container hookscript: whether DRBD lets a container start here, and whether it was let go
    Hook(hook::Args),
    /// Look for drift at set times, by systemd
    Schedule(schedule::Args),
    /// Show the certificates of a cluster's endpoints and whether they are believed; write whom to believe
    Trust(trust::Args),
    /// Documentation of the task kinds, with a working example each
    Explain(explain::Args),
    /// JSON Schema of playbooks, for editors
    Schema,
    /// The embedded cluster
    Lab(lab::Args),
    /// Completions for a shell
    Completions(completions::Args),
    /// The far end of a link: started on a host by a run, never by hand
    #[command(hide = true)]
    Agent(agent::Args),
}

/// How results are written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For a person
    #[default]
    Text,
    /// One object at the end
    Json,
    /// One event a line, as it happens
    Jsonl,
}

pub fn main() -> ExitCode {
    // A container waits for this one: no parser, no log, no runtime.
    if let Some(code) = hook::quick() {
        return ExitCode::from(code);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not faults.
            let code = if error.use_stderr() { crate::exit::USAGE } else { crate::exit::OK };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    init_log();
    let code = match cli.command {
        Command::Validate(args) => validate::run(&args),
        Command::Check(args) => run::run(&args, crate::event::Mode::Check),
        Command::Apply(args) => run::run(&args, crate::event::Mode::Apply),
        Command::Drift(args) => drift::run(&args),
        Command::Hook(args) => hook::run(&args),
        Command::Schedule(args) => schedule::run(&args),
        Command::Trust(args) => trust::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema => schema::run(),
        Command::Lab(args) => lab::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Agent(args) => agent::run(&args),
    };
    ExitCode::from(code)
}

/// Talk for whoever debugs: `CONVERGE_LOG=debug`, to standard error.
fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CONVERGE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Whether text to this stream may have colour: a terminal, and nobody said no.
fn colour(stream: &impl IsTerminal) -> bool {
    let said_no = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
        || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    stream.is_terminal() && !said_no
}

/// Says what went wrong, in the form of all other faults, and gives the exit code back.
fn complain(code: u8, message: impl std::fmt::Display) -> u8 {
    tell!("error: {message}");
    code
}

/// Existing playbooks, or the fault.
fn playbooks_exist(paths: &[PathBuf]) -> Result<(), String> {
    match paths.iter().find(|p| !p.exists()) {
        Some(missing) => Err(format!("no playbook {}", missing.display())),
        None => Ok(()),
    }
}

/// The clap definition, for completions and tests.
fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// How wide a terminal is; nothing for a file or a pipe.
fn columns(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
