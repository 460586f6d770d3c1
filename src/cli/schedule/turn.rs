//! `converge schedule turn`: what the units on nodes run. One node of the cluster does the work, the others end at once.

use super::{Done, named};
use crate::exit;
use crate::link::lock::{self, LockError};
use crate::schedule::{calendar, turn};
use clap::Parser;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Ends as the program does; with 0 where it is another node's turn, and with 4 where that cannot be told.
#[derive(Debug, Parser)]
pub struct Args {
    /// Name of the schedule, the same on every node
    #[arg(value_parser = named)]
    name: String,
    /// A run that another node ended less than this ago is not repeated
    #[arg(long, value_name = "SPAN", default_value = "30m")]
    not_within: String,
    /// This node
    #[arg(long, hide = true)]
    node: Option<String>,
    /// Where the cluster's file system is
    #[arg(long, hide = true, default_value = turn::PMXCFS)]
    pve: PathBuf,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub fn run(args: &Args) -> Done {
    let within_s = calendar::seconds(&args.not_within).map_err(super::usage)?;
    let me = args.node.clone().unwrap_or_else(this_node);
    let unknown = |why: String| {
        let told = format!("{me} cannot tell whether another node looks already, and does not look: {why}");
        (exit::UNREACHABLE, told)
    };
    let pve = args.pve.to_str().ok_or_else(|| unknown("not UTF-8".into()))?;
    let lock = match lock::take_turn(pve, &format!("converge-{}", args.name), &lock::owner(&me)) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            return Err(unknown(format!("{pve} is not the cluster's file system; `systemctl status pve-cluster`")));
        }
        Err(LockError::Busy(owner)) => {
            out!("{me} has nothing to do: another node is looking ({owner})");
            return Ok(exit::OK);
        }
        Err(LockError::Unknown(why)) => return Err(unknown(why)),
    };
    match turn::last(&args.pve, &args.name) {
        Ok(Some(made)) => {
            if let Some(why) = turn::is_done(&made, &me, now_s(), within_s) {
                out!("{me} has nothing to do: {why}");
                return Ok(exit::OK);
            }
        }
        Ok(None) => {}
        // A look too many does no harm, one too few may.
        Err(why) => tell!("warning: who looked last cannot be told: {why}"),
    }
    let code = work(args, &me)?;
    drop(lock);
    Ok(code)
}

fn work(args: &Args, me: &str) -> Done {
    let (program, words) = args.command.split_first().expect("clap requires one");
    let mut command = Command::new(program);
    command.args(words).env(turn::SHARED_MEMORY, turn::shared_memory_of(&args.pve, &args.name));
    let status = command.status().map_err(|e| super::failed(format!("{program}: {e}")))?;
    let mark = turn::Mark { node: me.to_owned(), exit: status.code() };
    if let Err(why) = turn::leave(&args.pve, &args.name, &mark) {
        tell!("warning: the other nodes cannot be told that this one looked: {why}");
    }
    match status.code() {
        Some(code) => Ok(u8::try_from(code).unwrap_or(exit::FAILED)),
        None => Err(super::failed(format!("{program} ended with {status}"))),
    }
}

/// Proxmox calls a node by the first label of its host name.
fn this_node() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
