//! `converge explain [KIND]`.

use crate::tasks::{KINDS, registry};
use clap::Parser;

#[derive(Debug, Parser)]
pub struct Args {
    /// A task kind; without it, all of them in a line each
    kind: Option<String>,
}

pub fn run(args: &Args) -> u8 {
    let Some(name) = &args.kind else {
        print!("{}", crate::playbook::explain_all());
        return crate::exit::OK;
    };
    match registry::find(name) {
        Some(kind) => {
            print!("{}", crate::playbook::explain(kind));
            crate::exit::OK
        }
        None => {
            let near = KINDS.iter().max_by(|a, b| {
                strsim::jaro_winkler(a.name, name).total_cmp(&strsim::jaro_winkler(b.name, name))
            });
            let help = near.map_or_else(String::new, |k| format!("; did you mean `{}`?", k.name));
            super::complain(crate::exit::USAGE, format!("no task kind `{name}`{help}"))
        }
    }
}
