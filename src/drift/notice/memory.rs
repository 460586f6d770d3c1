//! What each channel was told, and what is so now; the difference is the news.
//!
//! It holds what it last saw of a finding, too: what is gone must still be named hours later.

use super::config::Channel;
use super::message::{Change, What, cut};
use crate::drift::{Finding, MarkKind, Standing, Time};
use crate::event::Outcome;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

/// `notice_channel`: the last run that was looked at, and since when a digest is owed. `notice_finding`: a finding that is
/// open, or was when the channel last heard of it; `told` is the outcome it heard, `came` how it came.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS notice_channel (
    channel TEXT PRIMARY KEY,
    run INTEGER NOT NULL DEFAULT 0,
    digest INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notice_finding (
    channel TEXT NOT NULL,
    finding TEXT NOT NULL,
    came TEXT NOT NULL,
    told TEXT,
    open INTEGER NOT NULL,
    again INTEGER NOT NULL DEFAULT 0,
    muted INTEGER NOT NULL DEFAULT 0,
    acked INTEGER NOT NULL DEFAULT 0,
    seen TEXT NOT NULL,
    PRIMARY KEY (channel, finding)
) WITHOUT ROWID;
";

/// The finding that stands for a run that could not look.
pub const RUN: &str = "run";
/// Of a diff that is kept (bytes).
const MAX_DIFF: usize = 8192;

#[derive(Debug, Clone)]
struct Known {
    came: String,
    told: Option<Outcome>,
    open: bool,
    /// It was gone in between.
    again: bool,
    muted: bool,
    acked: bool,
    seen: Finding,
}

/// What is remembered of a channel: the last run planned, and since when a digest is owed.
pub fn channel(db: &Connection, name: &str, now: Time) -> Result<(i64, Time)> {
    db.execute("INSERT OR IGNORE INTO notice_channel (channel, digest) VALUES (?1, ?2)", params![name, now])?;
    let select = "SELECT run, digest FROM notice_channel WHERE channel = ?1";
    let (run, digest): (i64, Time) = db.query_row(select, [name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // A digest in the future was noted by a clock that was wrong.
    Ok((run, digest.min(now)))
}

pub fn planned(db: &Connection, name: &str, run: i64) -> Result<()> {
    db.execute("UPDATE notice_channel SET run = ?2 WHERE channel = ?1", params![name, run]).map(drop)
}

pub fn digest_done(db: &Connection, name: &str, now: Time) -> Result<()> {
    db.execute("UPDATE notice_channel SET digest = ?2 WHERE channel = ?1", params![name, now]).map(drop)
}

/// Everything is forgotten: a channel that is switched on again hears of what is so then.
pub fn forget(db: &Connection, name: &str) -> Result<()> {
    db.execute("DELETE FROM notice_finding WHERE channel = ?1", [name]).map(drop)
}

/// A message of the channel was given up: what is open is told again.
pub fn untold(db: &Connection, name: &str) -> Result<()> {
    let update = "UPDATE notice_finding SET told = NULL, came = 'known' WHERE channel = ?1 AND told IS NOT NULL";
    db.execute(update, [name]).map(drop)
}

/// Whether a run that could not look was the last thing heard of, not ended since.
pub fn trouble(db: &Connection, name: &str) -> Result<Option<Finding>> {
    Ok(get(db, name, RUN)?.filter(|known| known.open).map(|known| known.seen))
}

/// Takes in how a finding is now.
pub fn look(db: &Connection, channel: &Channel, finding: &Finding) -> Result<()> {
    let before = get(db, &channel.name, &finding.id)?;
    let known = match (before, finding.is_open()) {
        (None, true) if finding.is_muted() => known("unmuted", finding),
        (None, true) if !is_wanted(channel, finding) => return Ok(()),
        (None, true) => {
            let came = match finding.standing {
                Standing::New => "new",
                Standing::Back => "back",
                _ => "known",
            };
            known(came, finding)
        }
        (None, false) => return Ok(()),
        // Nobody is told of the end of what was muted.
        (Some(before), false) if before.muted || finding.is_muted() => return delete(db, &channel.name, &finding.id),
        (Some(before), false) => Known { open: false, seen: bounded(finding), ..before },
        (Some(_), true) if finding.is_muted() => known("unmuted", finding),
        // It was muted all the time that the channel could have heard of it, and is nothing for the channel now.
        (Some(before), true) if before.muted && !is_wanted(channel, finding) => {
            return delete(db, &channel.name, &finding.id);
        }
        (Some(before), true) => {
            let is_news = matches!(finding.standing, Standing::New | Standing::Back);
            Known {
                open: true,
                again: before.again || before.told.is_some() && (is_news || !before.open),
                muted: false,
                acked: is_acked(finding),
                seen: bounded(finding),
                ..before
            }
        }
    };
    put(db, &channel.name, &known)
}

fn known(came: &str, finding: &Finding) -> Known {
    Known {
        came: came.to_owned(),
        told: None,
        open: true,
        again: false,
        muted: finding.is_muted(),
        acked: is_acked(finding),
        seen: bounded(finding),
    }
}

fn is_wanted(channel: &Channel, finding: &Finding) -> bool {
    finding.id == RUN || channel.outcomes.contains(&finding.outcome)
}

fn is_acked(finding: &Finding) -> bool {
    finding.mark.as_ref().is_some_and(|mark| mark.kind == MarkKind::Acknowledged)
}

fn bounded(finding: &Finding) -> Finding {
    Finding { diff: cut(&finding.diff, MAX_DIFF), ..finding.clone() }
}

/// What the channel does not know yet, new before gone, the worst of each first.
pub fn changes(db: &Connection, name: &str) -> Result<Vec<Change>> {
    let mut select = db.prepare("SELECT * FROM notice_finding WHERE channel = ?1 AND muted = 0 ORDER BY finding")?;
    let rows = select.query_map([name], known_of)?;
    let mut changes = Vec::new();
    for known in rows {
        let known = known?;
        let what = match (known.open, known.told) {
            (true, None) => match known.came.as_str() {
                "new" => What::New,
                "back" => What::Back,
                "unmuted" => What::Unmuted,
                _ => What::Known,
            },
            (true, Some(_)) if known.acked => continue,
            (true, Some(_)) if known.again => What::Back,
            (true, Some(told)) if told != known.seen.outcome => What::Outcome(told),
            (true, Some(_)) => continue,
            (false, Some(_)) => What::Gone,
            (false, None) => What::Passed,
        };
        changes.push(Change { what, finding: known.seen });
    }
    changes.sort_by(|a, b| {
        let key = |change: &Change| (change.what.rank(), std::cmp::Reverse(change.finding.outcome));
        key(a).cmp(&key(b)).then_with(|| a.finding.host.cmp(&b.finding.host))
    });
    Ok(changes)
}

/// The channel knows these now.
pub fn told(db: &Connection, name: &str, changes: &[Change]) -> Result<()> {
    for change in changes {
        if change.what.is_open() {
            let update = "UPDATE notice_finding SET told = ?3, again = 0 WHERE channel = ?1 AND finding = ?2";
            db.execute(update, params![name, change.finding.id, change.finding.outcome.word()])?;
        } else {
            delete(db, name, &change.finding.id)?;
        }
    }
    Ok(())
}

/// Drops what nobody was told of and nobody need be: what was there before the channel was, and went unseen.
pub fn tidy(db: &Connection, name: &str) -> Result<()> {
    let delete = "DELETE FROM notice_finding
         WHERE channel = ?1 AND open = 0 AND told IS NULL AND came NOT IN ('new', 'back')";
    db.execute(delete, [name]).map(drop)
}

fn get(db: &Connection, channel: &str, finding: &str) -> Result<Option<Known>> {
    let select = "SELECT * FROM notice_finding WHERE channel = ?1 AND finding = ?2";
    db.prepare_cached(select)?.query_row([channel, finding], known_of).optional()
}

fn put(db: &Connection, channel: &str, known: &Known) -> Result<()> {
    let insert = "INSERT OR REPLACE INTO notice_finding
         (channel, finding, came, told, open, again, muted, acked, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let seen = serde_json::to_string(&known.seen).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    let Known { came, told, open, again, muted, acked, .. } = known;
    let told = told.map(Outcome::word);
    db.prepare_cached(insert)?
        .execute(params![channel, known.seen.id, came, told, open, again, muted, acked, seen])
        .map(drop)
}

fn delete(db: &Connection, channel: &str, finding: &str) -> Result<()> {
    db.execute("DELETE FROM notice_finding WHERE channel = ?1 AND finding = ?2", [channel, finding]).map(drop)
}

fn known_of(row: &Row<'_>) -> Result<Known> {
    let bad =
        |e: serde_json::Error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e));
    let (told, seen): (Option<String>, String) = (row.get("told")?, row.get("seen")?);
    Ok(Known {
        came: row.get("came")?,
        told: told.map(|word| serde_json::from_value(word.into())).transpose().map_err(bad)?,
        open: row.get("open")?,
        again: row.get("again")?,
        muted: row.get("muted")?,
        acked: row.get("acked")?,
        seen: serde_json::from_str(&seen).map_err(bad)?,
    })
}
