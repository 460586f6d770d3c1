//! Being heard: the journal, a metric file, mail. What a hook prints after a stop is visible nowhere.
//!
//! Telling never changes an outcome: what cannot be written is left out.

use super::config::Settings;
use super::machine::Machine;
use crate::host::{Action, Bytes, Step};
use crate::mail::{Mail, SENDMAIL};
use std::collections::BTreeMap;
use std::path::Path;

/// Where the hook keeps what it must remember between two calls; gone after a boot.
pub const RUN: &str = "/run/converge/hook";

/// What happened, each with a message id that never changes: `journalctl MESSAGE_ID=…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Allowed,
    Warned,
    Denied,
    /// Denied, and started all the same: once by hand, or by `mode: advisory`.
    Overridden,
    /// Started, and something about it is not as it should be.
    StartedBadly,
    /// Stopping leaves no node that could take over.
    LastCopy,
    Released,
    /// Let go by an explicit `secondary`.
    Demoted,
    Stuck,
    /// Processes were ended, because the configuration says so.
    Killed,
    /// A stop, and whether the device was let go cannot be told.
    Untold,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Allowed,
        Self::Warned,
        Self::Denied,
        Self::Overridden,
        Self::StartedBadly,
        Self::LastCopy,
        Self::Released,
        Self::Demoted,
        Self::Stuck,
        Self::Killed,
        Self::Untold,
    ];

    pub fn message_id(self) -> &'static str {
        match self {
            Self::Allowed => "3f0c1d5b8a5e4f6c9d1f0a7be6c41101",
            Self::Warned => "b1a5c6e07d0f4f2a8e4f6f1d5b9c2202",
            Self::Denied => "6c2f4e9ab3d94c1e8f7a0d4b1e5a3303",
            Self::Overridden => "e47b0a6cf2134d0b9a6e5c8d7f124404",
            Self::StartedBadly => "92d8f1b6a0c74e5d8b3c6f2e1a905505",
            Self::LastCopy => "0b6e9c3d5f8a47129e4d7c1b8a366606",
            Self::Released => "d5a7e2c41f9b4b8c86f03e9a5d717707",
            Self::Demoted => "7e1c8b5f3a6d4920b5f9d0c4e2a88808",
            Self::Stuck => "a9f35d7c2e1b4680971d8e6b0c5f9909",
            Self::Killed => "18d6c0e9b7f24a35ac5e3f1d6b920a10",
            Self::Untold => "c30b7a9e5d1f48e2b64c9f0a8e7d1b11",
        }
    }

    /// As syslog has it: 2 critical, 3 error, 4 warning, 6 information.
    pub fn priority(self) -> u8 {
        match self {
            Self::Stuck => 2,
            Self::Denied => 3,
            Self::Warned | Self::Overridden | Self::StartedBadly | Self::LastCopy | Self::Killed | Self::Untold => 4,
            Self::Allowed | Self::Released | Self::Demoted => 6,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Warned => "allowed-with-warning",
            Self::Denied => "denied",
            Self::Overridden => "overridden",
            Self::StartedBadly => "started-badly",
            Self::LastCopy => "last-copy",
            Self::Released => "released",
            Self::Demoted => "demoted",
            Self::Stuck => "stuck",
            Self::Killed => "killed",
            Self::Untold => "untold",
        }
    }

    fn is_mailed(self) -> bool {
        matches!(self, Self::Denied | Self::Stuck)
    }
}

#[derive(Debug, Clone)]
pub struct Event<'a> {
    pub kind: Kind,
    pub vmid: u32,
    pub phase: &'static str,
    pub resources: Vec<String>,
    /// Ids of the table's rows, or another short word for the cause: what makes two mails the same.
    pub cause: String,
    pub message: &'a str,
}

/// Tells everybody.
pub fn tell(machine: &dyn Machine, settings: &Settings, event: &Event<'_>) {
    journal(machine, event);
    metric(machine, settings, event);
    mail(machine, settings, event);
}

pub fn journal(machine: &dyn Machine, event: &Event<'_>) {
    machine.journal(&vec![
        ("MESSAGE", event.message.to_owned()),
        ("MESSAGE_ID", event.kind.message_id().to_owned()),
        ("PRIORITY", event.kind.priority().to_string()),
        ("SYSLOG_IDENTIFIER", "converge-hook".to_owned()),
        ("CONVERGE_VMID", event.vmid.to_string()),
        ("CONVERGE_PHASE", event.phase.to_owned()),
        ("CONVERGE_RESULT", event.kind.word().to_owned()),
        ("CONVERGE_CAUSE", event.cause.clone()),
        ("DRBD_RESOURCE", event.resources.join(" ")),
    ]);
}

/// One file a container and side of its life, for node_exporter's textfile collector; only where its directory is.
fn metric(machine: &dyn Machine, settings: &Settings, event: &Event<'_>) {
    let (vmid, now) = (event.vmid, machine.epoch_s());
    let (file, name, help, value) = match (event.phase, event.kind) {
        ("pre-start", kind) => {
            let value = match kind {
                Kind::Allowed => 0,
                Kind::Warned => 1,
                Kind::Denied => 2,
                _ => 3,
            };
            let help = "Last answer before a start: 0 allowed, 1 with a warning, 2 denied, 3 denied and overridden.";
            ("start", "converge_hook_start_answer", help, value)
        }
        ("post-stop", kind) => {
            let value = match kind {
                Kind::Released | Kind::Demoted | Kind::Killed => 0,
                Kind::Stuck => 1,
                _ => 2,
            };
            let help = "Whether DRBD stayed Primary after the last stop: 0 no, 1 yes, 2 cannot be told.";
            ("stop", "converge_hook_stuck_primary", help, value)
        }
        _ => return,
    };
    let dir = settings.metrics.trim_end_matches('/');
    if !matches!(machine.stat(Path::new(dir)), Ok(Some(_))) {
        return;
    }
    let time = format!("converge_hook_{file}_timestamp_seconds");
    let text = format!(
        "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{vmid=\"{vmid}\"}} {value}\n\
         # HELP {time} When that was.\n# TYPE {time} gauge\n{time}{{vmid=\"{vmid}\"}} {now}\n"
    );
    // A directory that cannot be written to is no reason to keep a container from starting.
    let _ = machine.publish(&format!("{dir}/converge-hook-{vmid}-{file}.prom"), &text);
}

fn mail(machine: &dyn Machine, settings: &Settings, event: &Event<'_>) {
    let Some(to) = settings.mail.as_ref().filter(|_| event.kind.is_mailed()) else { return };
    if !is_due(machine, settings, event) {
        return;
    }
    let (vmid, node) = (event.vmid, machine.name());
    let subject = match event.kind {
        Kind::Stuck => format!("converge: DRBD stays Primary on {node} after container {vmid} stopped"),
        _ => format!("converge: start of container {vmid} refused on {node}"),
    };
    let every = settings.mail_every_s / 60;
    let text = format!(
        "{}\n\nOn {node}: converge hook --explain {vmid}\n\
         The same is mailed at most every {every} minutes; each time stands in the journal:\n\
         journalctl -t converge-hook\n",
        event.message
    );
    let mail = Mail { from: "root", to: vec![to], subject: &subject, text: &text, ..Mail::default() };
    let step = Step::from(Action::Run {
        argv: SENDMAIL.map(str::to_owned).to_vec(),
        stdin: Some(Bytes(mail.to_bytes())),
        env: BTreeMap::new(),
        cwd: None,
        timeout_s: settings.command_timeout_s,
        ok_codes: vec![0],
    });
    if let Err(error) = machine.perform(&step) {
        let message = format!("mail to {to} about container {vmid} was not sent: {error}");
        machine.journal(&vec![
            ("MESSAGE", message),
            ("PRIORITY", "4".to_owned()),
            ("SYSLOG_IDENTIFIER", "converge-hook".to_owned()),
            ("CONVERGE_VMID", vmid.to_string()),
        ]);
    }
}

/// Whether the same was not mailed lately; notes that it is now.
fn is_due(machine: &dyn Machine, settings: &Settings, event: &Event<'_>) -> bool {
    let cause: String = event.cause.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(80).collect();
    let path = format!("{RUN}/told/{}-{}-{cause}", event.vmid, event.kind.word());
    let last = machine.read_text(Path::new(&path)).ok().flatten().and_then(|t| t.trim().parse::<i64>().ok());
    let now = machine.epoch_s();
    // A clock that was set back must not silence for years.
    let lately = |last: i64| (last..last + settings.mail_every_s as i64).contains(&now);
    if last.is_some_and(lately) {
        return false;
    }
    let _ = machine.publish(&path, &format!("{now}\n"));
    true
}
