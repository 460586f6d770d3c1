//! Before and after a stop: warn when nobody could take over; see that DRBD is let go, find who keeps it, and demote
//! what nobody keeps.
//!
//! Never forces, and ends no process unless the configuration says so.

use super::config::Settings;
use super::holders::{self, Holder, Process};
use super::look::{self, Needed};
use super::machine::Machine;
use super::observation::{Held, Module};
use super::start::stamp_path;
use super::tell::{self, Event, Kind};
use crate::drbd::health;
use crate::drbd::status::Resource;
use crate::drbd::words::Role;
use crate::host::{Action, Step, StepError};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(500);
/// What nobody holds is demoted by DRBD itself within moments; after this it is told to.
const GRACE: Duration = Duration::from_secs(2);
/// Between the request to end and the force.
const LAST_WORDS: Duration = Duration::from_secs(3);

fn tell(
    machine: &dyn Machine,
    settings: &Settings,
    phase: &'static str,
    vmid: u32,
    names: &[String],
    what: (Kind, &str, &str),
) {
    let (kind, cause, message) = what;
    machine.say(&format!("converge: {message}"));
    let event = Event { kind, vmid, phase, resources: names.to_vec(), cause: cause.to_owned(), message };
    tell::tell(machine, settings, &event);
}

/// pre-stop: where the data would be once this node lets go.
pub fn before(machine: &dyn Machine, vmid: u32, settings: &Settings) {
    let Ok(needed) = look::needed(machine, vmid, settings) else { return };
    let Ok(all) = up(machine, settings) else { return };
    let last: Vec<String> =
        wanted(&needed, &[], &all).filter(|r| health::is_last_up_to_date(r)).map(|r| r.name.clone()).collect();
    if last.is_empty() {
        return;
    }
    let message = format!(
        "no connected node but this one has a current copy of {}: until one has, container {vmid} can be started again \
         here alone",
        last.join(", ")
    );
    tell(machine, settings, "pre-stop", vmid, &last, (Kind::LastCopy, "last-copy", &message));
}

/// Every resource that is up; none without a module.
fn up(machine: &dyn Machine, settings: &Settings) -> Result<Vec<Resource>, String> {
    match look::module(machine) {
        Module::Absent => Ok(Vec::new()),
        Module::Untold(why) => Err(why),
        Module::Loaded(_) => look::status(machine, settings),
    }
}

/// Those that the container stands on, by what it mounts or by name.
fn wanted<'a>(needed: &'a [Needed], names: &'a [String], all: &'a [Resource]) -> impl Iterator<Item = &'a Resource> {
    all.iter().filter(|r| {
        names.contains(&r.name)
            || needed.iter().any(|n| {
                n.stack.resource.as_ref() == Some(&r.name)
                    || r.devices.iter().any(|d| n.stack.minors.contains(&d.minor))
            })
    })
}

struct Stop<'a> {
    machine: &'a dyn Machine,
    settings: &'a Settings,
    vmid: u32,
    needed: Vec<Needed>,
    /// Of the start before, in case the configuration has gone with the container.
    names: Vec<String>,
    stamp: Option<String>,
}

enum Round {
    Released,
    /// A new start was let through meanwhile: what is Primary now is its own.
    StartedAgain,
    Held(Vec<Resource>),
    Untold(String),
}

/// post-stop.
pub fn after(machine: &dyn Machine, vmid: u32, settings: &Settings) {
    let stamp = machine.read_text(Path::new(&stamp_path(vmid))).ok().flatten();
    let names = stamp.iter().filter_map(|s| s.lines().nth(1)).flat_map(str::split_whitespace).map(str::to_owned);
    let names: Vec<String> = names.collect();
    let needed = match look::needed(machine, vmid, settings) {
        Ok(needed) => needed,
        Err(_) if !names.is_empty() => Vec::new(),
        Err(error) => {
            let message = format!("container {vmid} stopped, and whether DRBD was let go cannot be told: {error}");
            return tell(machine, settings, "post-stop", vmid, &[], (Kind::Untold, "config", &message));
        }
    };
    if needed.is_empty() && names.is_empty() {
        return;
    }
    Stop { machine, settings, vmid, needed, names, stamp }.run();
}

impl Stop<'_> {
    fn tell(&self, resources: &[String], kind: Kind, cause: &str, message: &str) {
        tell(self.machine, self.settings, "post-stop", self.vmid, resources, (kind, cause, message));
    }

    fn above(&self, resource: &Resource) -> Vec<String> {
        let of = |n: &&Needed| resource.devices.iter().any(|d| n.stack.minors.contains(&d.minor));
        self.needed.iter().filter(of).flat_map(|n| n.stack.above.clone()).collect()
    }

    fn run(&self) {
        let began = self.machine.now();
        let patience = Duration::from_secs(self.settings.release_wait_s);
        let mut demoted = Vec::new();
        let last = self.wait(began, patience, &mut demoted);
        let last = match last {
            Round::Held(stuck) if self.settings.kill => {
                self.end(&stuck);
                self.wait(self.machine.now(), patience, &mut demoted)
            }
            other => other,
        };
        let vmid = self.vmid;
        match last {
            Round::StartedAgain => {}
            Round::Untold(why) => {
                let message = format!("container {vmid} stopped, and whether DRBD was let go cannot be told: {why}");
                self.tell(&self.names, Kind::Untold, "status", &message);
            }
            Round::Released if demoted.is_empty() => {
                let message = format!("container {vmid} stopped and DRBD was let go");
                self.tell(&self.names, Kind::Released, "", &message);
            }
            Round::Released => {
                let message = format!(
                    "container {vmid} stopped; nobody held {} any more and it was Primary all the same (a role taken by \
                     hand, or auto-promote is off), so it was made Secondary",
                    demoted.join(", ")
                );
                self.tell(&demoted, Kind::Demoted, "demoted", &message);
            }
            Round::Held(stuck) => self.stuck(&stuck),
        }
    }

    fn wait(&self, began: Duration, patience: Duration, demoted: &mut Vec<String>) -> Round {
        loop {
            let round = self.round();
            let passed = self.machine.now().saturating_sub(began);
            if matches!(round, Round::Released | Round::StartedAgain) || passed >= patience {
                return round;
            }
            if let (Round::Held(primary), true) = (&round, passed >= GRACE) {
                self.demote_free(primary, demoted);
            }
            self.machine.pause(POLL);
        }
    }

    fn round(&self) -> Round {
        let all = match up(self.machine, self.settings) {
            Ok(all) => all,
            Err(why) => return Round::Untold(why),
        };
        let primary: Vec<Resource> =
            wanted(&self.needed, &self.names, &all).filter(|r| r.role == Role::Primary).cloned().collect();
        if primary.is_empty() {
            return Round::Released;
        }
        let stamp = self.machine.read_text(Path::new(&stamp_path(self.vmid))).ok().flatten();
        if stamp != self.stamp { Round::StartedAgain } else { Round::Held(primary) }
    }

    /// `secondary` without force: the kernel refuses it where somebody opened it meanwhile.
    fn demote_free(&self, primary: &[Resource], demoted: &mut Vec<String>) {
        for resource in primary {
            let above = self.above(resource);
            // What lies on LVM is held by LVM, which Proxmox deactivates itself.
            if !above.is_empty() || holders::held(self.machine, resource, &[]) != Held::No {
                continue;
            }
            if self.act(&["drbdsetup", "secondary", &resource.name]).is_ok() && !demoted.contains(&resource.name) {
                demoted.push(resource.name.clone());
            }
        }
    }

    fn stuck(&self, stuck: &[Resource]) {
        for resource in stuck {
            let who = match holders::find(self.machine, resource, &self.above(resource)) {
                Ok(found) if found.is_empty() => {
                    "nobody whom /proc, sysfs or the kernel's list of openers names".to_owned()
                }
                Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                Err(why) => format!("somebody; who, cannot be told ({why})"),
            };
            let name = &resource.name;
            let message = format!(
                "container {} stopped, but {name} stays Primary on {}: it is held by {who}. Until that ends the container \
                 can start on no other node. End it (umount, `exportfs -ua` and `echo MOUNT > \
                 /proc/fs/nfsd/unlock_filesystem` in its network namespace, stop the process), then `drbdadm secondary \
                 {name}`; `drbdsetup secondary --force {name}` makes all its I/O fail and is the last resort",
                self.vmid,
                self.machine.name()
            );
            self.tell(std::slice::from_ref(name), Kind::Stuck, &format!("stuck {name}"), &message);
        }
    }

    /// Ends the processes that hold it, first politely. Those that share the node's own mounts are left alone.
    fn end(&self, stuck: &[Resource]) {
        let victims = || -> Vec<Process> {
            let found = stuck.iter().filter_map(|r| holders::find(self.machine, r, &self.above(r)).ok()).flatten();
            let of = |holder: Holder| match holder {
                Holder::Open(process) => vec![process],
                Holder::Mount { host: false, processes, .. } => processes,
                _ => Vec::new(),
            };
            let mut all: Vec<Process> =
                found.flat_map(of).filter(|p| p.pid > 1 && p.pid != std::process::id()).collect();
            all.sort();
            all.dedup();
            all
        };
        let first = victims();
        if first.is_empty() {
            return;
        }
        let names: Vec<String> = stuck.iter().map(|r| r.name.clone()).collect();
        let who: Vec<String> = first.iter().map(ToString::to_string).collect();
        let message = format!(
            "container {} stopped, and {} kept {} open: ended, as hook.yml says",
            self.vmid,
            who.join(", "),
            names.join(", ")
        );
        self.tell(&names, Kind::Killed, "kill", &message);
        self.signal("-TERM", &first);
        self.machine.pause(LAST_WORDS);
        // Only those that were there before and still are: a number may have a new owner.
        let left: Vec<Process> = victims().into_iter().filter(|p| first.contains(p)).collect();
        self.signal("-KILL", &left);
    }

    fn signal(&self, signal: &str, processes: &[Process]) {
        if matches!(self.round(), Round::StartedAgain) {
            return;
        }
        for process in processes {
            // It may have gone by itself.
            let _ = self.act(&["kill", signal, &process.pid.to_string()]);
        }
    }

    fn act(&self, argv: &[&str]) -> Result<(), StepError> {
        let step = Step::from(Action::Run {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            stdin: None,
            env: BTreeMap::new(),
            cwd: None,
            timeout_s: self.settings.command_timeout_s,
            ok_codes: vec![0],
        });
        self.machine.perform(&step).map(drop)
    }
}
