//! The verdict and its reasons for a person, at any time, on any node; changes nothing.

use super::config::Mode;
use super::judge::{Answer, Verdict};
use super::look::Needed;
use super::machine::Machine;
use super::observation::{Module, Quorum, Seen, State};
use super::start::judged;
use super::{holders, phases};
use crate::drbd::status::Resource;
use crate::drbd::words::Role;

/// The text, and whether a start would be let through now.
pub fn explain(machine: &dyn Machine, vmid: u32) -> (String, bool) {
    let settings = match phases::settings(machine, vmid) {
        Ok(settings) => settings,
        Err(fault) => return (format!("{fault}\nUntil it is mended every start is refused.\n"), false),
    };
    let seen = judged(machine, vmid, &settings);
    let mut lines = vec![format!("Container {vmid} on {}", machine.name())];
    lines.extend(seen.needed.iter().map(mounted));
    if seen.observation.resources.is_empty() {
        lines.push("  needs no DRBD: the hook has nothing to say about it\n".into());
        return (lines.join("\n"), true);
    }
    lines.push(match &seen.observation.module {
        Module::Loaded(version) => format!("  DRBD module {version}"),
        Module::Absent => "  no DRBD module is loaded".into(),
        Module::Untold(why) => format!("  DRBD module: {why}"),
    });
    for one in &seen.observation.resources {
        lines.extend(resource(machine, one, &seen.needed));
    }
    lines.push(String::new());
    lines.extend(verdict(&seen.verdict));
    let denied = seen.verdict.answer == Answer::Deny;
    if denied && settings.mode == Mode::Advisory {
        lines.push("It is started all the same: mode is advisory.".into());
    } else if denied {
        lines.push(format!("To start it once all the same, on this node: converge hook --start-once {vmid}"));
    }
    lines.push(String::new());
    (lines.join("\n"), !denied || settings.mode == Mode::Advisory)
}

fn mounted(needed: &Needed) -> String {
    let below: Vec<String> = needed.stack.minors.iter().map(|minor| format!("/dev/drbd{minor}")).collect();
    let mut text = format!("  {}: {}", needed.key, needed.what);
    if !below.is_empty() && below != [needed.what.clone()] {
        text.push_str(&format!(" on {}", below.join(", ")));
    }
    if !needed.stack.above.is_empty() {
        text.push_str(&format!(" through {}", needed.stack.above.join(", ")));
    }
    text
}

fn resource(machine: &dyn Machine, seen: &Seen, needed: &[Needed]) -> Vec<String> {
    let (status, quorum) = match &seen.state {
        State::NotUp => return vec![format!("{}: not up", seen.name)],
        State::Hidden(why) => return vec![format!("the devices of {}: cannot be told: {why}", seen.name)],
        State::Untold(why) => return vec![format!("{}: cannot be told: {why}", seen.name)],
        State::Up { status, quorum, .. } => (status, quorum),
    };
    let disks: Vec<&str> = status.devices.iter().map(|d| d.disk_state.as_str()).collect();
    let lost = status.devices.iter().any(|d| d.quorum == Some(false));
    let quorum = match quorum {
        _ if lost => "quorum lost",
        Quorum::Off => "no quorum configured",
        Quorum::Configured => "quorum holds",
        Quorum::NotAsked => "every peer connected",
        Quorum::Untold(_) => "whether a quorum is configured cannot be told",
    };
    let mut lines = vec![format!("{}: {} here, disk {}, {quorum}", seen.name, status.role, disks.join("/"))];
    for c in &status.connections {
        let device = |d: &crate::drbd::status::PeerDevice| format!("{} {}", d.peer_disk_state, d.replication_state);
        let devices: Vec<String> = c.peer_devices.iter().map(device).collect();
        lines.push(format!("  {}: {}, {}, {}", c.name, c.connection_state, c.peer_role, devices.join(" / ")));
    }
    if status.role == Role::Primary {
        lines.extend(held(machine, status, needed));
    }
    lines
}

fn held(machine: &dyn Machine, status: &Resource, needed: &[Needed]) -> Vec<String> {
    let above: Vec<String> = needed.iter().flat_map(|n| n.stack.above.clone()).collect();
    match holders::find(machine, status, &above) {
        Ok(found) if found.is_empty() => vec!["  held by nobody".into()],
        Ok(found) => found.iter().map(|holder| format!("  held by {holder}")).collect(),
        Err(why) => vec![format!("  held by: cannot be told: {why}")],
    }
}

fn verdict(verdict: &Verdict) -> Vec<String> {
    let answer = match verdict.answer {
        Answer::Allow => "allowed",
        Answer::Warn => "allowed, with a warning",
        Answer::Deny if verdict.heals() => "refused, after waiting for it to pass",
        Answer::Deny => "refused",
    };
    let mut lines = vec![format!("A start here now is {answer}.")];
    for finding in &verdict.findings {
        let mark = if finding.row.answer == Answer::Deny { "refuses" } else { "warns" };
        lines.push(format!("- {mark} [{}]: {}", finding.row.id, finding.sentence()));
    }
    if verdict.findings.iter().any(|f| f.row.id == "held-here") {
        lines.push("While the container runs here it is what holds the device; that is as it should be.".into());
    }
    lines
}
