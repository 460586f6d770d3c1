//! `converge validate PLAYBOOK...`.

use crate::diagnostic::Sources;
use crate::fleet;
use crate::inventory::Inventory;
use crate::playbook::{Play, Playbook};
use clap::Parser;
use serde_json::Value as Json;
use std::collections::BTreeMap;
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
    let (mut known, mut inventory) = (None, None);
    let mut faulty = false;
    if !args.inventory.is_empty() {
        match super::ground::read(&args.inventory, &args.playbooks, &mut sources) {
            Ok(loaded) => {
                super::ground::tell_left_out(&loaded);
                let (names, hosts) = super::ground::known_offline(loaded);
                (known, inventory) = (Some(names), Some(hosts));
            }
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
        Ok(playbooks) if !reached(&playbooks, inventory.as_ref(), &extra, &sources) => crate::exit::USAGE,
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

/// Whether what is said of how the plays' hosts are reached makes sense; of other hosts it is only told.
fn reached(
    playbooks: &[Playbook],
    inventory: Option<&Inventory>,
    extra: &BTreeMap<String, Json>,
    sources: &Sources,
) -> bool {
    let Some(inventory) = inventory else { return true };
    let options = fleet::Options { extra_vars: fleet::vars_of(extra), ..fleet::Options::default() };
    let plays: Vec<&Play> = playbooks.iter().flat_map(|p| &p.plays).collect();
    let reaches = fleet::reaches(&plays, inventory, &options, sources);
    let wrong = fleet::troubles(&plays, inventory, &options, &reaches);
    let others: std::collections::BTreeSet<&String> =
        reaches.wrong.values().filter(|why| !wrong.contains(why)).collect();
    for why in others {
        tell!("warning: {why}");
    }
    if !wrong.is_empty() {
        let (told, count) = (super::ground::listed(&wrong), wrong.len());
        tell!("{told}\n{count} fault{} found; no host was touched", if count == 1 { "" } else { "s" });
    }
    wrong.is_empty()
}
