//! What people say about findings: known, muted for a time, no longer so, forgotten.

use super::super::report::{Finding, MarkKind, Time};
use super::rows::{self, spelled};
use super::{History, HistoryError, log};
use rusqlite::{Connection, params};

/// Who marks.
pub type Author = String;

/// What is asked for a mark.
#[derive(Debug, Clone)]
pub struct Asked {
    pub kind: MarkKind,
    pub reason: String,
    pub by: Author,
    pub at: Time,
    /// Without one, until the finding is gone.
    pub until: Option<Time>,
}

/// Fewer digits would soon name another finding.
const SHORTEST: usize = 4;

impl History {
    /// Marks all or none. Gives what was marked.
    pub fn mark(&mut self, ids: &[String], asked: &Asked) -> Result<Vec<Finding>, HistoryError> {
        if asked.reason.trim().is_empty() {
            return Err(HistoryError::Usage(
                "a reason is needed: whoever reads this in a month will want to know".into(),
            ));
        }
        if asked.until.is_some_and(|until| until <= asked.at) {
            return Err(HistoryError::Usage("the time until which it shall hold is over already".into()));
        }
        let fault = self.fault();
        self.transaction(|tx| {
            let mut marked = Vec::new();
            for id in ids {
                let finding = resolve(tx, id, asked.at, &fault)?;
                if finding.gone_since.is_some() && asked.until.is_none() {
                    let words = format!("{} is gone already; to mark it for when it comes back, say until when", finding.id);
                    return Err(HistoryError::Usage(words));
                }
                tx.execute(
                    "INSERT OR REPLACE INTO marks (finding, kind, reason, author, at, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![finding.id, spelled(&asked.kind), asked.reason, asked.by, asked.at, asked.until],
                )
                .map_err(&fault)?;
                let words = format!("{} by {}: {}", spelled(&asked.kind), asked.by, asked.reason);
                log(tx, &finding.id, asked.at, &words).map_err(&fault)?;
                marked.push(resolve(tx, &finding.id, asked.at, &fault)?);
            }
            Ok(marked)
        })
    }

    /// Takes marks back. A finding without one is a fault: somebody meant another.
    pub fn unmark(&mut self, ids: &[String], by: &str, now: Time) -> Result<Vec<Finding>, HistoryError> {
        let fault = self.fault();
        self.transaction(|tx| {
            let mut lifted = Vec::new();
            for id in ids {
                let finding = resolve(tx, id, now, &fault)?;
                let Some(mark) = &finding.mark else {
                    let words = format!("{} is neither acknowledged nor muted", finding.id);
                    return Err(HistoryError::Usage(words));
                };
                tx.execute("DELETE FROM marks WHERE finding = ?1", [&finding.id]).map_err(&fault)?;
                let words = format!("no longer {}: taken back by {by}", spelled(&mark.kind));
                log(tx, &finding.id, now, &words).map_err(&fault)?;
                lifted.push(resolve(tx, &finding.id, now, &fault)?);
            }
            Ok(lifted)
        })
    }

    /// Removes findings with all that is known of them: of hosts that are no more, of tasks that were taken out. What is
    /// still there comes back as new.
    pub fn forget(&mut self, ids: &[String], now: Time) -> Result<Vec<Finding>, HistoryError> {
        let fault = self.fault();
        self.transaction(|tx| {
            let mut forgotten = Vec::new();
            for id in ids {
                let finding = resolve(tx, id, now, &fault)?;
                tx.execute("DELETE FROM findings WHERE id = ?1", [&finding.id]).map_err(&fault)?;
                forgotten.push(finding);
            }
            Ok(forgotten)
        })
    }
}

/// The finding whose id begins so.
pub(super) fn resolve(
    db: &Connection,
    given: &str,
    now: Time,
    fault: &impl Fn(rusqlite::Error) -> HistoryError,
) -> Result<Finding, HistoryError> {
    let prefix = given.to_ascii_lowercase();
    if prefix.len() < SHORTEST || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
        let words =
            format!("`{given}` is no id of a finding: at least {SHORTEST} of its 12 digits (`converge drift list`)");
        return Err(HistoryError::Usage(words));
    }
    let query = format!("{} WHERE f.id >= ?2 AND f.id < ?2 || 'g' ORDER BY f.id LIMIT 3", rows::FINDING);
    let found: Vec<Finding> = db
        .prepare_cached(&query)
        .and_then(|mut query| query.query_map(params![now, prefix], rows::finding)?.collect())
        .map_err(fault)?;
    match <[Finding; 1]>::try_from(found) {
        Ok([mut finding]) => {
            rows::stand(db, std::slice::from_mut(&mut finding)).map_err(fault)?;
            Ok(finding)
        }
        Err(found) if found.is_empty() => Err(HistoryError::Usage(format!(
            "no finding `{given}` in this history: `converge drift list --all` shows all"
        ))),
        Err(found) => {
            let ids: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
            Err(HistoryError::Usage(format!("`{given}` begins more than one id: {}", ids.join(", "))))
        }
    }
}
