//! What the history knows, for people: what is there, what was, and the story of one finding.

use super::super::report::{Finding, Time};
use super::{History, HistoryError, mark, rows};
use rusqlite::{OptionalExtension, params};

/// A finding with its story.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Entry {
    #[serde(flatten)]
    pub finding: Finding,
    /// Oldest first.
    pub log: Vec<Told>,
}

/// Something that happened to a finding.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Told {
    pub at: Time,
    pub what: String,
}

impl History {
    /// What is there, longest first; `all`: also what is gone. As of the last run; marks as of `now`.
    pub fn list(&self, all: bool, now: Time) -> Result<Vec<Finding>, HistoryError> {
        let which = if all { "" } else { "WHERE f.gone_since IS NULL" };
        let query = format!("{} {which} ORDER BY f.gone_since IS NOT NULL, f.since, f.host, f.id", rows::FINDING);
        let mut findings: Vec<Finding> = self
            .db
            .prepare_cached(&query)
            .and_then(|mut query| query.query_map([now], rows::finding)?.collect())
            .map_err(self.fault())?;
        rows::stand(&self.db, &mut findings).map_err(self.fault())?;
        Ok(findings)
    }

    pub fn entry(&self, id: &str, now: Time) -> Result<Entry, HistoryError> {
        let fault = self.fault();
        let mut finding = mark::resolve(&self.db, id, now, &fault)?;
        finding.earlier = rows::spells(&self.db, &finding.id).map_err(&fault)?;
        let log = self
            .db
            .prepare_cached("SELECT at, what FROM log WHERE finding = ?1 ORDER BY at, rowid")
            .and_then(|mut query| {
                query.query_map(params![finding.id], |row| Ok(Told { at: row.get(0)?, what: row.get(1)? }))?.collect()
            })
            .map_err(&fault)?;
        Ok(Entry { finding, log })
    }

    /// When the last run ended.
    pub fn last_run(&self) -> Result<Option<Time>, HistoryError> {
        self.db
            .query_row("SELECT ended FROM runs ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(self.fault())
    }
}
