//! `converge hook`: called by Proxmox VE around every start and stop of a container, and by people who ask why.

use crate::hook::{self, ThisNode};
use clap::Parser;

/// Exit codes: before a start 1 refuses it; every other call of Proxmox VE ends with 0. `--explain` ends with 1 where a
/// start would be refused.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// The container's number
    vmid: Option<u32>,
    /// pre-start, post-start, pre-stop or post-stop; others are ignored
    #[arg(requires = "vmid")]
    phase: Option<String>,
    /// Show the verdict on a start here and now, with every reason; changes nothing
    #[arg(long, value_name = "VMID", conflicts_with_all = ["vmid", "start_once"])]
    explain: Option<u32>,
    /// Let the next start of the container on this node through, whatever the verdict; for an hour
    #[arg(long, value_name = "VMID", conflicts_with = "vmid")]
    start_once: Option<u32>,
}

pub fn run(args: &Args) -> u8 {
    let node = ThisNode::default();
    match args {
        Args { explain: Some(vmid), .. } => {
            let (text, allowed) = hook::explain(&node, *vmid);
            put!("{text}");
            if allowed { crate::exit::OK } else { crate::exit::FAILED }
        }
        Args { start_once: Some(vmid), .. } => match hook::allow_once(&node, *vmid) {
            Ok(()) => {
                out!("the next start of container {vmid} on this node is let through, within an hour");
                crate::exit::OK
            }
            Err(why) => super::complain(crate::exit::FAILED, why),
        },
        Args { vmid: Some(vmid), phase: Some(phase), .. } => hook::run(&node, *vmid, phase),
        _ => super::complain(crate::exit::USAGE, "name a container and a phase, or use --explain VMID"),
    }
}

/// The call of Proxmox VE, recognised before anything else is set up: `converge hook VMID PHASE`, or under the name of
/// a hookscript `NAME VMID PHASE`.
pub fn quick() -> Option<u8> {
    let mut args = std::env::args();
    let own = args.next()?;
    let (first, second, third, more) = (args.next()?, args.next()?, args.next(), args.next());
    let as_hook = own.rsplit('/').next().is_some_and(|name| name.contains("hook"));
    let (vmid, phase) = match (first.as_str(), third, more) {
        ("hook", Some(phase), None) => (second, phase),
        (_, None, None) if as_hook => (first, second),
        _ => return None,
    };
    // A name or an option is for the usage text to explain.
    Some(hook::run(&ThisNode::default(), vmid.parse().ok()?, &phase))
}
