//! The four moments at which Proxmox VE calls a hookscript, and the exit code of each.

use super::config::{self, Settings};
use super::machine::Machine;
use super::{start, stop};
use std::path::Path;

/// What holds for a container; a fault as a line for a task log.
///
/// # Errors
/// When the file is there and does not read.
pub fn settings(machine: &dyn Machine, vmid: u32) -> Result<Settings, String> {
    match machine.read_text(Path::new(config::PATH)) {
        Ok(None) => Ok(Settings::default()),
        Ok(Some(text)) => config::read(&text, vmid).map_err(|fault| config::one_line(&fault)),
        Err(error) => Err(error.to_string()),
    }
}

/// One call. The exit code: 1 refuses a start, everything else is 0, because Proxmox can do nothing with it.
pub fn run(machine: &dyn Machine, vmid: u32, phase: &str) -> u8 {
    let settings = || {
        settings(machine, vmid).unwrap_or_else(|fault| {
            machine.say(&format!("converge: {fault}; going on with the defaults"));
            Settings::default()
        })
    };
    match phase {
        "pre-start" => return u8::from(!start::before(machine, vmid, self::settings(machine, vmid))),
        "post-start" => start::after(machine, vmid, &settings()),
        "pre-stop" => stop::before(machine, vmid, &settings()),
        "post-stop" => stop::after(machine, vmid, &settings()),
        // A phase of a later Proxmox VE is none of our business.
        _ => {}
    }
    0
}

/// The next start of a container on this node is not refused, whatever the verdict; for an hour.
///
/// # Errors
/// When the note cannot be written.
pub fn allow_once(machine: &dyn Machine, vmid: u32) -> Result<(), String> {
    machine.publish(&start::once_path(vmid), &format!("{}\n", machine.epoch_s()))
}
