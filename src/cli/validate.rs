//! `converge validate PLAYBOOK...`.

use crate::diagnostic::Sources;
use clap::Parser;
use std::path::PathBuf;

#[derive(Debug, Parser)]
pub struct Args {
    /// Playbooks
    #[arg(required = true)]
    playbooks: Vec<PathBuf>,
    /// Variables that the run will be given: key=value, JSON, or @FILE
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    extra_vars: Vec<String>,
    /// Inventories of the run: files, folders, or `host,host`. Nobody is asked
    #[arg(short, long, value_name = "FILE")]
    inventory: Vec<String>,
}

pub fn run(args: &Args) -> u8 {
    let extra = match super::load::extra_vars(&args.extra_vars) {
        Ok(extra) => extra,
        Err(why) => return super::complain(crate::exit::USAGE, why),
    };
    let mut sources = Sources::default();
    let mut known = None;
    let mut faulty = false;
    if !args.inventory.is_empty() {
        match super::ground::read(&args.inventory, &args.playbooks, &mut sources) {
            Ok(loaded) => known = Some(super::ground::known_offline(loaded)),
            Err(faults) => {
                // The playbooks' own faults are told all the same.
                tell!("{faults}");
                faulty = true;
            }
        }
    }
    let context = super::load::context(known, &extra);
    match super::load::playbooks(&args.playbooks, &mut sources, &context) {
        Ok(_) if faulty => crate::exit::USAGE,
        Ok(playbooks) => {
            let plays: usize = playbooks.iter().map(|p| p.plays.len()).sum();
            out!("no fault found: {} playbook(s), {plays} play(s)", playbooks.len());
            crate::exit::OK
        }
        Err(faults) => {
            tell!("{faults}");
            crate::exit::USAGE
        }
    }
}
