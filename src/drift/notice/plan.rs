//! What is said now and what waits: changes, digests, quiet hours, the limit of messages an hour. It only puts messages
//! into the outbox; whatever is held back stays the difference to what the channel knows, and is summed up in the next.

use super::config::{Channel, Config, On, Way};
use super::message::{self, Change, Content, Kind, Message};
use super::{memory, outbox, text};
use crate::drift::{Finding, Report, Run, Standing, Time};
use crate::event::{Outcome, Totals};
use rusqlite::{Connection, Result};

/// A channel that does not deliver is given no more than one message in this time (seconds): what it misses is summed up.
const STUCK: Time = 86_400;
const HOUR: Time = 3600;

/// A run that could not look at all: a playbook that does not read, a cluster that does not answer.
#[derive(Debug, Clone)]
pub struct Trouble<'a> {
    /// What is wrong, where, and what to do; without secrets.
    pub error: &'a str,
    /// The machine that was to look.
    pub by: &'a str,
    /// The command that shows it.
    pub command: &'a str,
}

/// Puts what is news for each channel into the outbox. `report_at`: where the report lies, for people. To be called in the
/// transaction that records the run; the same run twice says nothing the second time. How many messages were put in.
///
/// # Errors
/// Those of the database. What was put in before goes with the caller's transaction.
pub fn plan(config: &Config, db: &Connection, report: &Report, report_at: &str, now: Time) -> Result<usize> {
    let findings: Vec<&Finding> = report.findings.iter().collect();
    let seen = Seen { findings, run: Some((&report.run, &report.totals, report.exit)), by: &report.run.by, report_at };
    all(config, db, &seen, now)
}

/// Puts in that it could not be looked: once, until it can be again, which the next [`plan`] tells.
///
/// # Errors
/// Those of the database.
pub fn plan_trouble(config: &Config, db: &Connection, trouble: &Trouble<'_>, now: Time) -> Result<usize> {
    let finding = Finding {
        id: memory::RUN.to_owned(),
        play: String::new(),
        task: "the run itself".into(),
        kind: String::new(),
        host: trouble.by.to_owned(),
        object: String::new(),
        place: String::new(),
        outcome: Outcome::Failed,
        // Without the colours that it has for a terminal.
        summary: anstream::adapter::strip_str(trouble.error).to_string(),
        diff: String::new(),
        provisional: false,
        standing: Standing::Still,
        first_seen: now,
        since: now,
        last_seen: now,
        seen: 1,
        gone_since: None,
        earlier: Vec::new(),
        mark: None,
        traces: Vec::new(),
        heal: trouble.command.to_owned(),
    };
    let seen = Seen { findings: vec![&finding], run: None, by: trouble.by, report_at: "" };
    all(config, db, &seen, now)
}

struct Seen<'a> {
    findings: Vec<&'a Finding>,
    run: Option<(&'a Run, &'a Totals, u8)>,
    by: &'a str,
    report_at: &'a str,
}

fn all(config: &Config, db: &Connection, seen: &Seen<'_>, now: Time) -> Result<usize> {
    let mut put = 0;
    for channel in &config.channels {
        put += usize::from(one(config, channel, db, seen, now)?);
    }
    Ok(put)
}

fn one(config: &Config, channel: &Channel, db: &Connection, seen: &Seen<'_>, now: Time) -> Result<bool> {
    let name = &channel.name;
    let (last_run, digest_since) = memory::channel(db, name, now)?;
    if let Some((run, ..)) = seen.run {
        if run.id == last_run {
            return Ok(false);
        }
        memory::planned(db, name, run.id)?;
    }
    if channel.on == On::Never {
        memory::forget(db, name)?;
        return Ok(false);
    }
    let before = memory::trouble(db, name)?;
    for finding in &seen.findings {
        match &before {
            None if finding.id == memory::RUN => {
                memory::look(db, channel, &Finding { standing: Standing::New, ..(*finding).clone() })?;
            }
            // It began with the first run that could not look.
            Some(first) if finding.id == memory::RUN => {
                let (first_seen, since, seen) = (first.first_seen, first.since, first.seen + 1);
                memory::look(db, channel, &Finding { first_seen, since, seen, ..(*finding).clone() })?;
            }
            _ => memory::look(db, channel, finding)?,
        }
    }
    if let (Some(over), Some(_)) = (before, seen.run) {
        memory::look(db, channel, &Finding { standing: Standing::Gone, gone_since: Some(now), ..over })?;
    }
    memory::tidy(db, name)?;
    let changes = memory::changes(db, name)?;
    let Some((kind, changes)) = said_now(config, channel, db, (digest_since, now), seen, changes)? else {
        return Ok(false);
    };
    let message = write(config, channel, db, seen, (kind, &changes), now)?;
    memory::told(db, name, &changes)?;
    if kind != Kind::Urgent {
        memory::digest_done(db, name, now)?;
    }
    outbox::enqueue(db, name, &message, now)
}

/// What may be said now of what is news; `None`: nothing is to be said, or it waits.
fn said_now(
    config: &Config,
    channel: &Channel,
    db: &Connection,
    (digest_since, now): (Time, Time),
    seen: &Seen<'_>,
    changes: Vec<Change>,
) -> Result<Option<(Kind, Vec<Change>)>> {
    let full = outbox::queued_since(db, &channel.name, now - HOUR, now)? >= channel.per_hour;
    // A clock that was set back makes nothing stuck.
    let stuck = outbox::stuck_since(db, &channel.name)?.is_some_and(|since| (since..since + STUCK).contains(&now));
    if full || stuck {
        return Ok(None);
    }
    let is_quiet = channel.quiet.is_some_and(|quiet| quiet.covers(now, &config.zone));
    let is_due = channel.digest.map(|d| d.last_due(now, &config.zone).is_some_and(|due| due > digest_since));
    if is_quiet || is_due == Some(false) {
        let is_urgent = |change: &Change| change.what.is_open() && channel.urgent.contains(&change.finding.outcome);
        let urgent: Vec<Change> = changes.into_iter().filter(is_urgent).collect();
        return Ok(Some((Kind::Urgent, urgent)).filter(|(_, urgent)| !urgent.is_empty()));
    }
    let reminds = seen.findings.iter().any(|finding| is_reminded(channel, finding));
    let kind = match (is_due, channel.on) {
        (Some(_), On::Always) => Kind::Digest,
        (Some(_), _) if reminds || !changes.is_empty() => Kind::Digest,
        // Nothing is owed until the next: a change right after it waits for that.
        (Some(_), _) => return memory::digest_done(db, &channel.name, now).map(|()| None),
        (None, On::Always) => Kind::Status,
        (None, _) if changes.is_empty() => return Ok(None),
        (None, _) => Kind::Change,
    };
    Ok(Some((kind, changes)))
}

/// It is named again in a digest although nothing happened to it.
pub fn is_reminded(channel: &Channel, finding: &Finding) -> bool {
    finding.is_open() && finding.mark.is_none() && is_told(channel, finding)
}

fn is_told(channel: &Channel, finding: &Finding) -> bool {
    finding.id == memory::RUN || channel.outcomes.contains(&finding.outcome)
}

fn write(
    config: &Config,
    channel: &Channel,
    db: &Connection,
    seen: &Seen<'_>,
    (kind, changes): (Kind, &[Change]),
    now: Time,
) -> Result<Message> {
    // Also what this channel is not told of: "all as described" must hold.
    let is_open = |finding: &&&Finding| finding.is_open() && !finding.is_muted();
    let others = outbox::undelivered(db, now)?;
    let content = Content {
        kind,
        now,
        by: seen.by,
        run: seen.run,
        changes,
        open: seen.findings.iter().filter(is_open).copied().collect(),
        report: config.report_url.as_deref().unwrap_or(seen.report_at),
        troubles: others.iter().map(|late| text::undelivered(late, &config.zone)).collect(),
    };
    let id = message::id(&channel.name, &content);
    let subject = match &channel.way {
        Way::Mail(mail) if !mail.subject_prefix.is_empty() => {
            format!("{} {}", mail.subject_prefix, message::subject(&content))
        }
        _ => message::subject(&content),
    };
    let reminded = |finding: &Finding| kind != Kind::Change && kind != Kind::Urgent && is_reminded(channel, finding);
    let (text, short) = text::write(&content, &config.zone, &reminded);
    let object = message::object(&id, &subject, &text, &content);
    Ok(Message { id, kind, at: now, by: seen.by.to_owned(), subject, text, short, object })
}
