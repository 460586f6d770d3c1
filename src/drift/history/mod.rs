//! The memory of drift: one SQLite file beside the reports. Everything a run adds comes in one transaction, so that a
//! crash leaves the run before.
//!
//! It never throws a damaged or newer file away; that is for its owner to do.

mod list;
mod mark;
mod record;
mod rows;
mod shared;

pub use list::{Entry, Told};
pub use mark::{Asked, Author};
pub use record::Facts;
pub use shared::{pull, push};

use super::Time;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the file in the report folder.
pub const FILE: &str = "history.sqlite";
/// How long one run waits for another that writes.
const PATIENCE: Duration = Duration::from_secs(20);
/// What `PRAGMA user_version` says of a file in this form.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started INTEGER NOT NULL, ended INTEGER NOT NULL, took_ms INTEGER NOT NULL,
  exit INTEGER NOT NULL, totals TEXT NOT NULL, playbooks TEXT NOT NULL
) STRICT;
CREATE TABLE findings (
  id TEXT PRIMARY KEY,
  host TEXT NOT NULL, kind TEXT NOT NULL, object TEXT NOT NULL,
  play TEXT NOT NULL, task TEXT NOT NULL, tasks TEXT NOT NULL, place TEXT NOT NULL,
  outcome TEXT NOT NULL, summary TEXT NOT NULL, diff TEXT NOT NULL, provisional INTEGER NOT NULL, traces TEXT NOT NULL,
  first_seen INTEGER NOT NULL, since INTEGER NOT NULL, last_seen INTEGER NOT NULL, seen INTEGER NOT NULL,
  last_run INTEGER NOT NULL, gone_since INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX findings_open ON findings(gone_since);
-- Spells that have ended.
CREATE TABLE spells (
  finding TEXT NOT NULL REFERENCES findings(id) ON DELETE CASCADE,
  since INTEGER NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (finding, since)
) STRICT, WITHOUT ROWID;
-- At most one mark is in force for a finding.
CREATE TABLE marks (
  finding TEXT PRIMARY KEY REFERENCES findings(id) ON DELETE CASCADE,
  kind TEXT NOT NULL, reason TEXT NOT NULL, author TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER
) STRICT, WITHOUT ROWID;
-- One row: the id of the copy that was shared last, and the file by which machines share it.
CREATE TABLE copy (id TEXT NOT NULL, shared TEXT) STRICT;
INSERT INTO copy (id) VALUES ('');
-- What happened to findings, for people.
CREATE TABLE log (
  finding TEXT NOT NULL REFERENCES findings(id) ON DELETE CASCADE,
  at INTEGER NOT NULL, what TEXT NOT NULL
) STRICT;
CREATE INDEX log_finding ON log(finding, at);
";

/// Why the memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error(
        "{path} is damaged ({source}): move it and its -journal away to begin a new history; `sqlite3 {path} .recover` may save the old one"
    )]
    Damaged { path: PathBuf, source: rusqlite::Error },
    #[error("{path} was written by a newer converge (form {found}, this one knows {VERSION}): use that one")]
    Newer { path: PathBuf, found: i64 },
    #[error("{0}")]
    Usage(String),
}

pub struct History {
    db: Connection,
    path: PathBuf,
}

impl History {
    /// Opens the history of a report folder; makes it where there is none.
    pub fn open(folder: &Path) -> Result<Self, HistoryError> {
        Self::open_with(folder, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens a history that must be there.
    pub fn open_existing(folder: &Path) -> Result<Self, HistoryError> {
        let path = folder.join(FILE);
        if !path.exists() {
            let words = format!("no history in {}: `converge drift PLAYBOOK --out {0}` begins one", folder.display());
            return Err(HistoryError::Usage(words));
        }
        Self::open_with(folder, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    fn open_with(folder: &Path, flags: OpenFlags) -> Result<Self, HistoryError> {
        let path = folder.join(FILE);
        let fault = |source| fault(&path, source);
        // The diffs of a whole cluster are nobody else's business, whoever may enter the folder.
        if flags.contains(OpenFlags::SQLITE_OPEN_CREATE) {
            let made = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
            made.map_err(|source| HistoryError::Io { path: path.clone(), source })?;
        }
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        // The file itself may be no link, the way to it may: systemd makes the folder of a dynamic user one.
        let real = folder.canonicalize().map_err(|source| HistoryError::Io { path: path.clone(), source })?;
        let mut db = Connection::open_with_flags(real.join(FILE), flags).map_err(fault)?;
        db.busy_timeout(PATIENCE).map_err(fault)?;
        db.pragma_update(None, "foreign_keys", true).map_err(fault)?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
        if found > VERSION {
            return Err(HistoryError::Newer { path, found });
        }
        if found == 0 {
            tx.execute_batch(SCHEMA).map_err(fault)?;
            for schema in super::notice::SCHEMA {
                tx.execute_batch(schema).map_err(fault)?;
            }
            tx.pragma_update(None, "user_version", VERSION).map_err(fault)?;
        }
        tx.commit().map_err(fault)?;
        Ok(Self { db, path })
    }

    /// Everything or nothing; nobody else writes meanwhile.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let path = self.path.clone();
        let fault = |source| fault(&path, source);
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let done = work(&tx)?;
        tx.commit().map_err(fault)?;
        Ok(done)
    }

    /// For what others keep here: messages and who was told.
    pub fn db(&self) -> &Connection {
        &self.db
    }

    fn fault(&self) -> impl Fn(rusqlite::Error) -> HistoryError + use<> {
        let path = self.path.clone();
        move |source| fault(&path, source)
    }
}

fn fault(path: &Path, source: rusqlite::Error) -> HistoryError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => HistoryError::Damaged { path, source },
        _ => HistoryError::Sqlite { path, source },
    }
}

/// Adds a line to a finding's own history.
fn log(tx: &Transaction<'_>, finding: &str, at: Time, what: &str) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO log (finding, at, what) VALUES (?1, ?2, ?3)")?.execute((finding, at, what)).map(drop)
}

#[cfg(test)]
mod tests;
