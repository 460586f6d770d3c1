//! `converge explain [KIND]`.

use crate::playbook::explain;
use clap::Parser;

#[derive(Debug, Parser)]
pub struct Args {
    /// A task kind; without it, all of them in a line each
    kind: Option<String>,
}

pub fn run(args: &Args) -> u8 {
    let Some(kind) = &args.kind else {
        put!("{}", explain::list());
        return crate::exit::OK;
    };
    match explain::explain(kind) {
        Ok(text) => {
            put!("{text}");
            crate::exit::OK
        }
        Err(why) => super::complain(crate::exit::USAGE, why),
    }
}
