//! `converge agent NAME MODE`: serves requests from standard input until it ends.

use crate::event::Mode;
use clap::Parser;
use std::io::{BufReader, BufWriter};

#[derive(Debug, Parser)]
pub struct Args {
    /// The host's name in the inventory
    name: String,
    /// What the run does
    #[arg(value_parser = ["check", "apply"])]
    mode: String,
}

pub fn run(args: &Args) -> u8 {
    // Programs that have not been used for a week are removed at the next install: this one is in use.
    let used = std::fs::File::open("/proc/self/exe").and_then(|file| file.set_modified(std::time::SystemTime::now()));
    drop(used);
    let host = Box::new(crate::host::Local::this_machine(&args.name));
    let mode = if args.mode == "apply" { Mode::Apply } else { Mode::Check };
    let (input, output) = (std::io::stdin(), std::io::stdout());
    match crate::agent::serve(&mut BufReader::new(input), &mut BufWriter::new(output), host, mode) {
        Ok(()) => crate::exit::OK,
        // The link is gone: there is nobody to tell, and nothing half done.
        Err(_) => crate::exit::UNREACHABLE,
    }
}
