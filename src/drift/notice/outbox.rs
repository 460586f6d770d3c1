//! Messages that wait to be sent, in the history's database: put there first, sent then, marked last.
//!
//! None is lost in silence: one that could not be sent is tried again, later and later, then given up for all to see.
//! One that is known to have arrived is never sent again. Of one whose fate is unknown (no answer, or the program ended
//! in the middle) it is assumed that it did not arrive: hearing twice of a broken mirror costs less than never. Every
//! try carries the same id, so that whoever gets it twice can tell.

use super::message::Message;
use crate::drift::{Time, Undelivered};
use rusqlite::{Connection, OptionalExtension, Result, params};

/// What this module keeps. All times are seconds since the epoch. `refused`: the far end works, and does not take this one.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    queued INTEGER NOT NULL,
    message TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER NOT NULL,
    refused INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    sent INTEGER,
    given_up INTEGER
);
CREATE INDEX IF NOT EXISTS outbox_of_channel ON outbox (channel, queued);
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (next_try) WHERE sent IS NULL AND given_up IS NULL;
";

/// The first wait between two tries, and the longest (seconds).
const FIRST_WAIT: Time = 300;
const LONGEST_WAIT: Time = 6 * 3600;
/// How long what was sent or given up is kept (seconds).
const KEPT: Time = 30 * 86_400;
/// How long a message that was given up is shown in reports (seconds).
const SHOWN: Time = 7 * 86_400;
const MAX_ERROR: usize = 300;

const WAITING: &str = "sent IS NULL AND given_up IS NULL";

/// A message and how it fared so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    pub id: i64,
    pub channel: String,
    pub queued: Time,
    /// Tries before this one.
    pub tries: u32,
    pub message: Message,
}

/// Why a try did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words without any secret.
    pub why: String,
    /// It may have arrived all the same.
    pub unsure: bool,
    /// The channel's other messages would fare no better now.
    pub whole_channel: bool,
    /// The far end asked for so long a pause (seconds).
    pub pause_s: Option<i64>,
}

/// Puts a message in. The same key twice is the same message: the second is not taken, and `false` comes back.
pub fn enqueue(db: &Connection, channel: &str, message: &Message, now: Time) -> Result<bool> {
    let text = serde_json::to_string(message).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    let insert = "INSERT OR IGNORE INTO outbox (key, channel, queued, message, next_try) VALUES (?1, ?2, ?3, ?4, ?3)";
    Ok(db.execute(insert, params![message.id, channel, now, text])? == 1)
}

/// What is to be tried now, oldest first. A wait that is longer than any there is was set by a clock that was wrong.
pub fn due(db: &Connection, now: Time) -> Result<Vec<Waiting>> {
    let select = format!(
        "SELECT id, channel, queued, tries, message FROM outbox
         WHERE {WAITING} AND (next_try <= ?1 OR next_try > ?1 + ?2) ORDER BY queued, id"
    );
    let mut select = db.prepare(&select)?;
    let rows = select.query_map(params![now, LONGEST_WAIT + 3600], |row| {
        let text: String = row.get(4)?;
        let bad = |e| rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(e));
        let message = serde_json::from_str(&text).map_err(bad)?;
        Ok(Waiting { id: row.get(0)?, channel: row.get(1)?, queued: row.get(2)?, tries: row.get(3)?, message })
    })?;
    rows.collect()
}

/// Notes a try before it is made. `false`: somebody else makes it, or has made it.
pub fn claim(db: &Connection, waiting: &Waiting, now: Time) -> Result<bool> {
    let update = format!(
        "UPDATE outbox SET tries = tries + 1, next_try = ?2, error = ?3 WHERE id = ?1 AND tries = ?4 AND {WAITING}"
    );
    let next = now + wait_after(waiting.tries + 1);
    let error = "a try was not ended: whether it arrived is not known";
    Ok(db.execute(&update, params![waiting.id, next, error, waiting.tries])? == 1)
}

pub fn sent(db: &Connection, id: i64, now: Time) -> Result<()> {
    db.execute("UPDATE outbox SET sent = ?2, error = NULL WHERE id = ?1", params![id, now])?;
    Ok(())
}

/// Notes a try that failed. `true`: it was the last, the message is given up.
pub fn failed(db: &Connection, waiting: &Waiting, failure: &Failure, give_up_s: i64, now: Time) -> Result<bool> {
    let unsure = if failure.unsure { " (it may have arrived all the same)" } else { "" };
    let why: String = failure.why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR).collect();
    let pause = failure.pause_s.unwrap_or(0).clamp(0, LONGEST_WAIT);
    let next = now + wait_after(waiting.tries + 1).max(pause);
    let given_up = (now - waiting.queued >= give_up_s).then_some(now);
    db.execute(
        "UPDATE outbox SET error = ?2, next_try = ?3, given_up = ?4, refused = ?5 WHERE id = ?1 AND sent IS NULL",
        params![waiting.id, format!("{why}{unsure}"), next, given_up, !failure.whole_channel],
    )?;
    Ok(given_up.is_some())
}

/// What could not be handed over yet, and what was given up lately, oldest first. A message that was not tried yet is
/// neither.
pub fn undelivered(db: &Connection, now: Time) -> Result<Vec<Undelivered>> {
    let select = "SELECT channel, queued, tries, error, given_up FROM outbox
         WHERE sent IS NULL AND tries > 0 AND (given_up IS NULL OR given_up > ?1) ORDER BY queued, id";
    let mut select = db.prepare(select)?;
    let rows = select.query_map([now - SHOWN], |row| {
        let (error, given_up): (Option<String>, Option<Time>) = (row.get(3)?, row.get(4)?);
        let error = error.unwrap_or_default();
        let error = if given_up.is_some() { format!("given up; the last try: {error}") } else { error };
        Ok(Undelivered { channel: row.get(0)?, since: row.get(1)?, tries: row.get(2)?, error })
    })?;
    rows.collect()
}

/// How many messages were put in for a channel from a time on.
pub fn queued_since(db: &Connection, channel: &str, from: Time, now: Time) -> Result<u32> {
    // What lies in the future was put in by a clock that was wrong.
    let count = "SELECT count(*) FROM outbox WHERE channel = ?1 AND queued > ?2 AND queued <= ?3";
    db.query_row(count, params![channel, from, now], |row| row.get(0))
}

/// Since when the newest message waits that was tried in vain, if the channel does not work. One or two that were refused
/// for what they are say nothing about others.
pub fn stuck_since(db: &Connection, channel: &str) -> Result<Option<Time>> {
    let select = format!(
        "SELECT max(queued) FROM outbox WHERE channel = ?1 AND tries > 0 AND {WAITING}
         HAVING sum(refused = 0) > 0 OR count(*) > 2"
    );
    db.query_row(&select, [channel], |row| row.get(0)).optional().map(Option::flatten)
}

/// Forgets what was sent or given up long ago.
pub fn prune(db: &Connection, now: Time) -> Result<usize> {
    db.execute("DELETE FROM outbox WHERE coalesce(sent, given_up) < ?1", [now - KEPT])
}

fn wait_after(tries: u32) -> Time {
    (FIRST_WAIT << (tries.saturating_sub(1)).min(10)).min(LONGEST_WAIT)
}
