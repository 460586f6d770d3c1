//! Before and after a start: wait for what heals, judge, tell, and let a person override once.

use super::config::{Mode, Settings};
use super::judge::{Answer, Verdict, judge};
use super::look::{self, Needed};
use super::machine::Machine;
use super::observation::{Observation, Seen, State};
use super::tell::{self, Event, Kind, RUN};
use crate::drbd::words::{ConnectionState, DiskState, Role};
use crate::host::{Action, Step};
use std::path::Path;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(500);
/// As long after a boot connections and syncs are only just beginning (seconds).
const BOOTING_S: f64 = 300.0;
/// An override that nobody used is forgotten after this (seconds).
const ONCE_S: i64 = 3600;

/// A look and its verdict.
pub struct Judged {
    pub needed: Vec<Needed>,
    pub observation: Observation,
    pub verdict: Verdict,
}

pub fn judged(machine: &dyn Machine, vmid: u32, settings: &Settings) -> Judged {
    let (needed, observation) = match look::needed(machine, vmid, settings) {
        Ok(needed) => {
            let observation = look::look(machine, &needed, settings);
            (needed, observation)
        }
        Err(error) => {
            let seen = Seen { name: format!("container {vmid}"), state: State::Hidden(error.to_string()) };
            (Vec::new(), Observation { module: look::module(machine), resources: vec![seen] })
        }
    };
    let verdict = judge(&observation, settings.own_disk);
    Judged { needed, observation, verdict }
}

/// How long a start may wait.
fn patience(machine: &dyn Machine, settings: &Settings) -> Duration {
    let uptime = machine.read_text(Path::new("/proc/uptime")).ok().flatten();
    let uptime = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let booting = uptime.is_some_and(|s| s < BOOTING_S);
    Duration::from_secs(if booting { settings.boot_wait_s.max(settings.wait_s) } else { settings.wait_s })
}

/// pre-start. Whether the container may start.
pub fn before(machine: &dyn Machine, vmid: u32, settings: Result<Settings, String>) -> bool {
    let phase = "pre-start";
    let settings = match settings {
        Ok(settings) => settings,
        Err(fault) => {
            let message = format!(
                "start of container {vmid} refused: the hook's configuration does not read ({fault}), so what it asks \
                 for is not known. Mend it, or move it away. {}",
                how_once(vmid)
            );
            let told = Told { vmid, phase, settings: &Settings::default(), resources: Vec::new() };
            return denied(machine, &told, "config", &message);
        }
    };
    let (began, patience) = (machine.now(), patience(machine, &settings));
    let mut waited = false;
    let last = loop {
        let judged = judged(machine, vmid, &settings);
        if !judged.verdict.heals() || machine.now().saturating_sub(began) >= patience {
            break judged;
        }
        if !waited {
            let left = patience.as_secs();
            machine.say(&format!("converge: waiting up to {left} s: {}", judged.verdict.findings[0].wrong()));
            waited = true;
        }
        machine.pause(POLL);
    };
    let Judged { observation, verdict, .. } = last;
    let resources: Vec<String> = observation.resources.iter().map(|r| r.name.clone()).collect();
    if resources.is_empty() {
        // Nothing of DRBD's is needed: none of our business.
        return true;
    }
    let cause = verdict.findings.iter().map(|f| f.row.id).collect::<Vec<_>>().join(" ");
    let told = Told { vmid, phase, settings: &settings, resources };
    match verdict.answer {
        Answer::Deny => {
            let after =
                if waited { format!(" (waited {} s)", (machine.now() - began).as_secs()) } else { String::new() };
            let sentence = verdict.sentence();
            if settings.mode == Mode::Advisory {
                let message = format!("container {vmid} starts although it should not (mode: advisory): {sentence}");
                told.tell(machine, Kind::Overridden, &cause, &message);
                stamp(machine, &told);
                return true;
            }
            let message = format!("start of container {vmid} refused{after}: {sentence} {}", how_once(vmid));
            denied(machine, &told, &cause, &message)
        }
        answer => {
            let (kind, message) = match answer {
                Answer::Warn => (Kind::Warned, format!("container {vmid} may start, but: {}", verdict.sentence())),
                _ => (Kind::Allowed, format!("container {vmid} may start: {}", in_words(&observation))),
            };
            told.tell(machine, kind, &cause, &message);
            stamp(machine, &told);
            true
        }
    }
}

fn how_once(vmid: u32) -> String {
    format!("To start it once all the same, on this node: converge hook --start-once {vmid}")
}

struct Told<'a> {
    vmid: u32,
    phase: &'static str,
    settings: &'a Settings,
    resources: Vec<String>,
}

impl Told<'_> {
    fn tell(&self, machine: &dyn Machine, kind: Kind, cause: &str, message: &str) {
        // First where it is waited for.
        machine.say(&format!("converge: {message}"));
        let resources = self.resources.clone();
        let event = Event { kind, vmid: self.vmid, phase: self.phase, resources, cause: cause.to_owned(), message };
        tell::tell(machine, self.settings, &event);
    }
}

/// A denial, unless somebody asked for this one start.
fn denied(machine: &dyn Machine, told: &Told<'_>, cause: &str, message: &str) -> bool {
    if !use_once(machine, told.vmid) {
        told.tell(machine, Kind::Denied, cause, message);
        return false;
    }
    let message = format!("{message} This was asked for, and holds for this start alone.");
    told.tell(machine, Kind::Overridden, cause, &message);
    stamp(machine, told);
    true
}

pub fn once_path(vmid: u32) -> String {
    format!("{RUN}/start-once/{vmid}")
}

/// Takes the override away; whether it was there and fresh.
fn use_once(machine: &dyn Machine, vmid: u32) -> bool {
    let path = once_path(vmid);
    let Ok(Some(text)) = machine.read_text(Path::new(&path)) else { return false };
    let made = text.trim().parse::<i64>().ok();
    let made = made.or_else(|| machine.stat(Path::new(&path)).ok().flatten().map(|stat| stat.modified_s));
    let removed = machine.perform(&Step::from(Action::Remove { path, recursive: false })).is_ok();
    // What cannot be taken away would hold for ever.
    removed && made.is_some_and(|made| (made..=made + ONCE_S).contains(&machine.epoch_s()))
}

/// Notes that a start was let through, so that the hook of the stop before it does not mistake it for a leftover.
fn stamp(machine: &dyn Machine, told: &Told<'_>) {
    let text = format!("{}.{:09}\n{}\n", machine.epoch_s(), machine.now().subsec_nanos(), told.resources.join(" "));
    let _ = machine.publish(&stamp_path(told.vmid), &text);
}

pub fn stamp_path(vmid: u32) -> String {
    format!("{RUN}/started/{vmid}")
}

/// "nfs1 is UpToDate here, 2 of 2 peers connected".
fn in_words(observation: &Observation) -> String {
    let one = |seen: &Seen| {
        let State::Up { status, .. } = &seen.state else { return seen.name.clone() };
        let disks: Vec<&str> = status.devices.iter().map(|d| d.disk_state.as_str()).collect();
        let connected = status.connections.iter().filter(|c| c.connection_state == ConnectionState::Connected).count();
        let (disks, all) = (disks.join("/"), status.connections.len());
        format!("{} is {disks} here, {connected} of {all} peers connected", seen.name)
    };
    observation.resources.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// post-start: what was mounted must be Primary here by now, with its data current.
pub fn after(machine: &dyn Machine, vmid: u32, settings: &Settings) {
    let Ok(needed) = look::needed(machine, vmid, settings) else { return };
    let observation = look::look(machine, &needed, settings);
    let mut wrong = Vec::new();
    for seen in &observation.resources {
        match &seen.state {
            State::Up { status, .. } => {
                if status.role != Role::Primary {
                    wrong.push(format!(
                        "{} is {} here although the container has started: it may live on something else",
                        seen.name, status.role
                    ));
                }
                let bad = status.devices.iter().filter(|d| d.disk_state != DiskState::UpToDate && !d.client);
                wrong.extend(bad.map(|d| format!("the copy of {} here is {}", seen.name, d.disk_state)));
            }
            State::NotUp => wrong.push(format!("{} is not up here although the container has started", seen.name)),
            State::Untold(why) | State::Hidden(why) => {
                wrong.push(format!("cannot tell the state of {} ({why})", seen.name))
            }
        }
    }
    if wrong.is_empty() {
        return;
    }
    let message = format!("container {vmid} runs, but: {}", wrong.join("; "));
    let resources = observation.resources.iter().map(|r| r.name.clone()).collect();
    Told { vmid, phase: "post-start", settings, resources }.tell(machine, Kind::StartedBadly, "started", &message);
}
