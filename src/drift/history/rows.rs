//! Rows of the history as values. Words that this version does not know are an error, never a guess.

use super::super::{Finding, Mark, MarkKind, Standing, Time};
use crate::event::Outcome;
use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use serde::{Serialize, de::DeserializeOwned};

/// The columns that [`finding`] reads, with the mark in force at `?1`.
pub const FINDING: &str = "
SELECT f.id, f.play, f.task, f.kind, f.host, f.object, f.place, f.outcome, f.summary, f.diff, f.provisional,
       f.first_seen, f.since, f.last_seen, f.seen, f.gone_since, f.traces,
       m.kind, m.reason, m.author, m.at, m.until
FROM findings f LEFT JOIN marks m ON m.finding = f.id AND (m.until IS NULL OR m.until > ?1)";

/// A finding as it stands in the table. Standing and earlier spells are not in its row.
pub fn finding(row: &Row<'_>) -> rusqlite::Result<Finding> {
    let gone_since: Option<Time> = row.get(15)?;
    let kind: Option<String> = row.get(17)?;
    let mark = match kind {
        None => None,
        Some(kind) => Some(Mark {
            kind: word::<MarkKind>(17, &kind)?,
            reason: row.get(18)?,
            by: row.get(19)?,
            at: row.get(20)?,
            until: row.get(21)?,
        }),
    };
    Ok(Finding {
        id: row.get(0)?,
        play: row.get(1)?,
        task: row.get(2)?,
        kind: row.get(3)?,
        host: row.get(4)?,
        object: row.get(5)?,
        place: row.get(6)?,
        outcome: word::<Outcome>(7, &row.get::<_, String>(7)?)?,
        summary: row.get(8)?,
        diff: row.get(9)?,
        provisional: row.get(10)?,
        standing: if gone_since.is_some() { Standing::Gone } else { Standing::NotLooked },
        first_seen: row.get(11)?,
        since: row.get(12)?,
        last_seen: row.get(13)?,
        seen: row.get::<_, i64>(14)?.unsigned_abs(),
        gone_since,
        earlier: Vec::new(),
        mark,
        traces: json(16, &row.get::<_, String>(16)?)?,
        heal: String::new(),
    })
}

/// Gives findings the standing that they had after the last run.
pub fn stand(db: &Connection, findings: &mut [Finding]) -> rusqlite::Result<()> {
    for finding in findings.iter_mut().filter(|finding| finding.is_open()) {
        let query = "SELECT last_run = (SELECT max(id) FROM runs) FROM findings WHERE id = ?1";
        let looked: bool = db.prepare_cached(query)?.query_row([&finding.id], |row| row.get(0))?;
        finding.standing = match finding.seen {
            _ if !looked => Standing::NotLooked,
            1 => Standing::New,
            _ if finding.since == finding.last_seen => Standing::Back,
            _ => Standing::Still,
        };
    }
    Ok(())
}

/// The spells that ended before this one, oldest first.
pub fn spells(db: &Connection, finding: &str) -> rusqlite::Result<Vec<(Time, Time)>> {
    db.prepare_cached("SELECT since, until FROM spells WHERE finding = ?1 ORDER BY since")?
        .query_map([finding], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// An enumeration's word, as serde spells it.
pub fn spelled(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("a word was expected: {other:?}"),
    }
}

fn word<T: DeserializeOwned>(column: usize, word: &str) -> rusqlite::Result<T> {
    let value = serde_json::Value::String(word.to_owned());
    serde_json::from_value(value)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

pub fn json<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
