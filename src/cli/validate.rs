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
}

pub fn run(args: &Args) -> u8 {
    let extra = match super::load::extra_vars(&args.extra_vars) {
        Ok(extra) => extra,
        Err(why) => return super::complain(crate::exit::USAGE, why),
    };
    let context = super::load::context(None, &extra);
    match super::load::playbooks(&args.playbooks, &mut Sources::default(), &context) {
        Ok(playbooks) => {
            let plays: usize = playbooks.iter().map(|p| p.plays.len()).sum();
            println!("no fault found: {} playbook(s), {plays} play(s)", playbooks.len());
            crate::exit::OK
        }
        Err(faults) => {
            eprintln!("{faults}");
            crate::exit::USAGE
        }
    }
}
