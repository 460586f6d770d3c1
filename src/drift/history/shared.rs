//! A history that several machines carry on in turn: one compressed copy in a place that all of them see (pmxcfs), taken
//! over before something is added and left there after.
//!
//! The copy with the higher revision is the newer one; all copies descend from each other, because whoever adds something
//! holds the copy of all that was added before.

use super::{FILE, History, HistoryError, PATIENCE, fault};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Before Proxmox VE 7 a file in pmxcfs had 512 KiB at most.
const LARGEST: usize = 512 * 1024;
/// What a copy may grow to when it is opened up; more is no history of ours.
const LARGEST_OPEN: u64 = 256 * 1024 * 1024;
/// What is left out of a copy that is too large, a step after the other.
const LEAVE_OUT: &[&str] = &[
    "UPDATE findings SET diff = '' WHERE gone_since IS NOT NULL; DELETE FROM runs WHERE id < (SELECT max(id) FROM runs) - 100",
    "DELETE FROM log",
    "DELETE FROM findings WHERE gone_since IS NOT NULL",
    "UPDATE findings SET diff = ''",
];

/// Takes the shared copy over if it is newer than what lies in `folder`. Nobody else may have the history open.
///
/// # Errors
/// When the copy cannot be read or is no history; the local one is as it was.
pub fn pull(folder: &Path, shared: &Path) -> Result<(), HistoryError> {
    let Some(bytes) = opened(shared).map_err(|source| HistoryError::Io { path: shared.to_owned(), source })? else {
        return Ok(());
    };
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| HistoryError::Io { path, source }
    };
    let (path, fresh) = (folder.join(FILE), folder.join(".history.pulled"));
    write(&fresh, &bytes).map_err(io(&fresh))?;
    let theirs = revision(&fresh)?;
    let ours = if path.exists() { revision(&path)? } else { -1 };
    if theirs <= ours {
        return fs::remove_file(&fresh).map_err(io(&fresh));
    }
    fs::rename(&fresh, &path).map_err(io(&path))
}

/// Leaves a copy for the others. One that is too large goes without what can best be spared; `Some`: words on that.
///
/// # Errors
/// When it could not be written; the copy there is as it was.
pub fn push(history: &mut History, folder: &Path, shared: &Path) -> Result<Option<String>, HistoryError> {
    let path = history.path.clone();
    let fault = |source| fault(&path, source);
    let name = shared.to_str().ok_or_else(|| HistoryError::Usage(format!("{}: not UTF-8", shared.display())))?;
    history.db.execute("UPDATE copy SET revision = revision + 1, shared = ?1", [name]).map_err(fault)?;
    let copy = folder.join(".history.copy");
    let io = |source| HistoryError::Io { path: shared.to_owned(), source };
    let _ = fs::remove_file(&copy);
    // SQLite makes the file as the umask says; the folder's own mode guards it, and it lives for a moment.
    write(&copy, b"").map_err(io)?;
    let name = copy.to_str().ok_or_else(|| io(io::Error::other("the folder's path is not UTF-8")))?;
    history.db.execute("VACUUM INTO ?1", [name]).map_err(fault)?;
    let mut left_out = 0;
    let packed = loop {
        let packed = packed(&copy).map_err(io)?;
        let Some(step) = LEAVE_OUT.get(left_out).filter(|_| packed.len() > LARGEST) else { break packed };
        let db = Connection::open(&copy).map_err(fault)?;
        db.execute_batch(&format!("PRAGMA foreign_keys = ON; {step}; VACUUM")).map_err(fault)?;
        left_out += 1;
    };
    let _ = fs::remove_file(&copy);
    if packed.len() > LARGEST {
        let size = packed.len() / 1024;
        let words = format!("the history is too large to be shared ({size} KiB of {} KiB)", LARGEST / 1024);
        return Err(io(io::Error::other(words)));
    }
    leave(shared, &packed).map_err(io)?;
    let words = "the shared history was too large and lacks stories or diffs of findings; this machine has them all";
    Ok((left_out > 1).then(|| words.to_owned()))
}

impl History {
    /// Where the copy lies that this history shares with others, if it does.
    pub fn shared(folder: &Path) -> Result<Option<PathBuf>, HistoryError> {
        let history = Self::open_existing(folder)?;
        let path: Option<String> =
            history.db.query_row("SELECT shared FROM copy", [], |row| row.get(0)).map_err(history.fault())?;
        Ok(path.map(PathBuf::from))
    }
}

/// Which copy this is.
fn revision(path: &Path) -> Result<i64, HistoryError> {
    let fault = |source| fault(path, source);
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fault)?;
    db.busy_timeout(PATIENCE).map_err(fault)?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    if version > super::VERSION {
        return Err(HistoryError::Newer { path: path.to_owned(), found: version });
    }
    let sound: String = db.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(fault)?;
    if sound != "ok" {
        let words = io::Error::other(format!("it is damaged: {sound}"));
        return Err(HistoryError::Io { path: path.to_owned(), source: words });
    }
    db.query_row("SELECT revision FROM copy", [], |row| row.get(0)).map_err(fault)
}

fn opened(shared: &Path) -> io::Result<Option<Vec<u8>>> {
    let packed = match fs::read(shared) {
        Ok(packed) => packed,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    GzDecoder::new(packed.as_slice()).take(LARGEST_OPEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_OPEN {
        return Err(io::Error::other("it opens up to more than any history"));
    }
    Ok(Some(bytes))
}

fn packed(path: &Path) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(&fs::read(path)?)?;
    packer.finish()
}

/// Whole or not at all, on pmxcfs, too.
fn leave(shared: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = shared.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = shared.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh: PathBuf = shared.with_file_name(name);
    write(&fresh, bytes)?;
    fs::rename(&fresh, shared)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
