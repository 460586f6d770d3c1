//! `converge lab …`, and the lab as ground of a run.

use crate::inventory::Inventory;
use crate::lab::Lab;
use crate::link::Connect;
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Debug, Parser)]
pub struct Args {
    /// Where the lab's state lives
    #[arg(long, value_name = "DIR", default_value = ".lab", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What the cluster looks like now
    Status,
    /// Start over with a fresh cluster
    Reset,
}

/// The embedded cluster as inventory and ways to its hosts.
pub fn ground(dir: &Path) -> Result<(Inventory, Box<dyn Connect>), String> {
    let lab = Lab::open(dir).map_err(|e| e.to_string())?;
    let _ = lab;
    Err("not yet".into())
}

pub fn run(_args: &Args) -> u8 {
    crate::exit::USAGE
}
