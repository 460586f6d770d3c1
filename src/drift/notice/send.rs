//! Out of the outbox to people: by `sendmail` or a webhook, each try noted before it is made.
//!
//! A channel that does not deliver is left alone for the rest of the run, so that a dead server costs one deadline.

use super::config::{Channel, Config, Mail, Way};
use super::message::{Kind, Message};
use super::outbox::{self, Failure, Waiting};
use super::{memory, webhook};
use crate::drift::{Time, Undelivered};
use crate::host::{Action, Bytes, Host, Local, LookError, Step, StepError};
use rusqlite::{Connection, Result};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const GONE: &str = "this channel is no longer in the configuration";

/// Sends what is due, and gives back what could not be delivered so far. Not to be called within a transaction: what was
/// sent must be marked even if what follows fails.
///
/// # Errors
/// Those of the database. What was sent and could not be marked is sent again.
pub fn deliver(config: &Config, db: &Connection, now: Time) -> Result<Vec<Undelivered>> {
    outbox::prune(db, now)?;
    let mut tired = BTreeSet::new();
    for waiting in outbox::due(db, now)? {
        if tired.contains(&waiting.channel) || !outbox::claim(db, &waiting, now)? {
            continue;
        }
        let outcome = match config.channel(&waiting.channel) {
            Some(channel) => send(config, channel, &waiting.message),
            None => Err(Failure { why: GONE.into(), unsure: false, whole_channel: true, pause_s: None }),
        };
        match outcome {
            Ok(()) => outbox::sent(db, waiting.id, now)?,
            Err(failure) => {
                failed(config, db, &waiting, &failure, now)?;
                if failure.whole_channel {
                    tired.insert(waiting.channel);
                }
            }
        }
    }
    outbox::undelivered(db, now)
}

fn failed(config: &Config, db: &Connection, waiting: &Waiting, failure: &Failure, now: Time) -> Result<()> {
    if outbox::failed(db, waiting, failure, config.give_up_s, now)? {
        // Whoever never heard of it must hear of it once the channel works again.
        memory::untold(db, &waiting.channel)?;
    }
    Ok(())
}

/// Sends one message by a channel at once, past the outbox, quiet hours and everything else: to try a configuration.
///
/// # Errors
/// What is wrong, in words for a person and without secrets.
pub fn test(config: &Config, channel: &str, by: &str, now: Time) -> std::result::Result<(), String> {
    let Some(channel) = config.channel(channel) else {
        let names = config.channels.iter().map(|channel| channel.name.as_str());
        let hint = crate::diagnostic::did_you_mean(channel, names.clone());
        let all = names.collect::<Vec<_>>().join(", ");
        let hint = hint.unwrap_or_else(|| format!("there are: {all}"));
        return Err(format!("there is no channel `{channel}`; {hint}"));
    };
    let subject = format!("converge: a test from {by}");
    let subject = match &channel.way {
        Way::Mail(mail) if !mail.subject_prefix.is_empty() => format!("{} {subject}", mail.subject_prefix),
        _ => subject,
    };
    let at = super::schedule::show(now, &config.zone);
    let text = format!(
        "Sent by {by} over the channel {}, {at}, because somebody asked for it.\nNothing is wrong: this is how a message \
         about drift reaches you.\n",
        channel.name
    );
    let id = format!("test-{by}-{now}").chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    let object = json!({
        "version": 1, "id": id, "kind": Kind::Test, "at": super::schedule::rfc3339(now), "by": by,
        "program": env!("CARGO_PKG_VERSION"), "subject": subject, "text": text, "report": "", "run": null,
        "counts": {}, "changes": [], "more": 0, "open": [],
    });
    let message = Message { id, kind: Kind::Test, at: now, by: by.into(), subject, short: text.clone(), text, object };
    send(config, channel, &message).map_err(|failure| {
        let unsure = if failure.unsure { " (it may have arrived all the same)" } else { "" };
        format!("{}: {}{unsure}", channel.name, failure.why)
    })
}

fn send(config: &Config, channel: &Channel, message: &Message) -> std::result::Result<(), Failure> {
    match &channel.way {
        Way::Mail(mail) => by_mail(mail, message),
        Way::Webhook(hook) => webhook::post(config, hook, message),
    }
}

/// As `sendmail` is called and what it says: 0 is "accepted", everything else is not; when it does not end in time, nobody
/// knows.
fn by_mail(mail: &Mail, message: &Message) -> std::result::Result<(), Failure> {
    let by: String = message.by.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    let bytes = crate::mail::Mail {
        from: &mail.from,
        to: mail.to.iter().map(String::as_str).collect(),
        subject: &message.subject,
        text: &message.text,
        date: Some(message.at),
        message_id: Some(format!("{}@converge.{}", message.id, by.trim_matches('.'))),
    }
    .to_bytes();
    let step = Step::from(Action::Run {
        argv: mail.command.clone(),
        stdin: Some(Bytes(bytes)),
        env: BTreeMap::new(),
        cwd: None,
        timeout_s: mail.deadline_s,
        ok_codes: vec![0],
    });
    let program = mail.command.first().map(String::as_str).unwrap_or_default();
    let (why, unsure) = match Local::this_machine("localhost").perform(&step) {
        Ok(_) => return Ok(()),
        Err(StepError::Command { rc, stderr, .. }) => {
            (format!("`{program}` ended with {rc}: {}", stderr.lines().next().unwrap_or("without a word")), false)
        }
        Err(StepError::Look(LookError::Timeout { after_s, .. })) => {
            (format!("`{program}` did not end within {after_s} s"), true)
        }
        Err(error) => (error.to_string(), false),
    };
    Err(Failure { why, unsure, whole_channel: true, pause_s: None })
}
