//! A history that several machines carry on in turn: one compressed copy in a place that all of them see (pmxcfs), taken
//! over before something is added and left there after.
//!
//! Each copy has an id of its own, drawn when it was left. Whoever finds another id than that of the copy it left last takes
//! over what is there; whoever finds one when it wants to leave its own does not. So a word that was said on one node is not
//! lost to another that did not hear it.

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
/// How many of the steps below nobody will miss.
const SPARED_IN_SILENCE: usize = 2;
/// What is left out of a copy that is too large, a step after the other.
const LEAVE_OUT: &[&str] = &[
    "DELETE FROM outbox WHERE sent IS NOT NULL OR given_up IS NOT NULL",
    "UPDATE findings SET diff = '' WHERE gone_since IS NOT NULL; DELETE FROM runs WHERE id < (SELECT max(id) FROM runs) - 100",
    "DELETE FROM log",
    "DELETE FROM findings WHERE gone_since IS NOT NULL",
    "UPDATE findings SET diff = ''",
];

/// Takes the shared copy over if another machine left it. What this one did since and could not share is given up for it:
/// there is one history. To be called by whoever holds the folder.
///
/// # Errors
/// When the copy cannot be read or is no history; the local one is as it was.
pub fn pull(folder: &Path, shared: &Path) -> Result<(), HistoryError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| HistoryError::Io { path, source }
    };
    let Some(bytes) = opened(shared).map_err(io(shared))? else { return Ok(()) };
    let (path, fresh) = (folder.join(FILE), folder.join(".history.pulled"));
    write(&fresh, &bytes).map_err(io(&fresh))?;
    let take = || -> Result<bool, HistoryError> {
        let theirs = sound(&fresh)?;
        // Opened for writing: what a crash left half written must be rolled back, not waited for.
        let ours = if path.exists() { Some(History::open_existing(folder)?.copy_id()?) } else { None };
        Ok(ours.as_deref() != Some(theirs.as_str()))
    };
    match take() {
        Ok(true) => {
            // A journal belongs to the file that goes.
            let mut journal = path.clone().into_os_string();
            journal.push("-journal");
            match fs::remove_file(&journal) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(&path)(e)),
                _ => {}
            }
            fs::rename(&fresh, &path).map_err(io(&path))
        }
        other => {
            let _ = fs::remove_file(&fresh);
            other.map(drop)
        }
    }
}

/// Leaves a copy for the others. One that is too large goes without what can best be spared; `Some`: words on that.
///
/// # Errors
/// When another machine left one since this one took over, or it could not be written; the copy there is as it was.
pub fn push(history: &mut History, folder: &Path, shared: &Path) -> Result<Option<String>, HistoryError> {
    let path = history.path.clone();
    let fault = |source| fault(&path, source);
    let io = |source| HistoryError::Io { path: shared.to_owned(), source };
    let name = shared.to_str().ok_or_else(|| HistoryError::Usage(format!("{}: not UTF-8", shared.display())))?;
    let copy = folder.join(".history.copy");
    let copy_name = copy.to_str().ok_or_else(|| HistoryError::Usage(format!("{}: not UTF-8", folder.display())))?;
    if let Some(bytes) = opened(shared).map_err(io)? {
        write(&copy, &bytes).map_err(io)?;
        if sound(&copy)? != history.copy_id()? {
            let _ = fs::remove_file(&copy);
            return Err(io(io::Error::other("another node has carried the history on meanwhile")));
        }
    }
    // An empty file of mode 0600, which SQLite fills.
    write(&copy, b"").map_err(io)?;
    history.db.execute("VACUUM INTO ?1", [copy_name]).map_err(fault)?;
    let id: String = history.db.query_row("SELECT lower(hex(randomblob(8)))", [], |row| row.get(0)).map_err(fault)?;
    let stamp = "UPDATE copy SET id = ?1, shared = ?2";
    let mut left_out = 0;
    let packed = loop {
        let db = Connection::open(&copy).map_err(fault)?;
        db.execute(stamp, [&id, name]).map_err(fault)?;
        drop(db);
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
    // Only now: a copy that was not left must not look like this one.
    history.db.execute(stamp, [&id, name]).map_err(fault)?;
    let words = "the shared history was too large and lacks stories or diffs of findings; this machine has them all";
    Ok((left_out > SPARED_IN_SILENCE).then(|| words.to_owned()))
}

impl History {
    /// Where the copy lies that this history shares with others, if it does.
    pub fn shared(folder: &Path) -> Result<Option<PathBuf>, HistoryError> {
        let history = Self::open_existing(folder)?;
        let path: Option<String> =
            history.db.query_row("SELECT shared FROM copy", [], |row| row.get(0)).map_err(history.fault())?;
        Ok(path.map(PathBuf::from))
    }

    /// The shared copy in a folder of its own, to read from; `None` where there is none.
    pub fn of_copy(shared: &Path, folder: &Path) -> Result<Option<Self>, HistoryError> {
        let io = |source| HistoryError::Io { path: shared.to_owned(), source };
        let Some(bytes) = opened(shared).map_err(io)? else { return Ok(None) };
        write(&folder.join(FILE), &bytes).map_err(io)?;
        sound(&folder.join(FILE))?;
        Self::open_existing(folder).map(Some)
    }

    fn copy_id(&self) -> Result<String, HistoryError> {
        self.db.query_row("SELECT id FROM copy", [], |row| row.get(0)).map_err(self.fault())
    }
}

/// Which copy this is, if it is whole.
fn sound(path: &Path) -> Result<String, HistoryError> {
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
    db.query_row("SELECT id FROM copy", [], |row| row.get(0)).map_err(fault)
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
    // One folder and no more: where pmxcfs is not mounted, nothing must come to lie below it.
    if let Some(folder) = shared.parent()
        && let Err(e) = fs::create_dir(folder)
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(e);
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
