//! Who looked last: nodes of one cluster have the same schedule, and each run is one node's.
//!
//! What one node leaves for the others lies in `/etc/pve/priv/converge`, which all of them see and only root may read.
//! The lock that keeps two from looking at once is the link's matter.

use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The cluster's own file system.
pub const PMXCFS: &str = "/etc/pve";
/// Tells the run where the node that takes over will look for what this one remembers.
pub const SHARED_MEMORY: &str = "CONVERGE_SHARED_MEMORY";
/// The most that pmxcfs holds in one file since Proxmox VE 7 (bytes); 5 and 6 hold half of it.
pub const SHARED_MEMORY_LIMIT: u64 = 1 << 20;

/// What a node says of the run that it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub node: String,
    /// `None`: it ended by a signal.
    pub exit: Option<i32>,
}

/// A mark, and when it was made by the clock of the node that made it (seconds since 1970).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub mark: Mark,
    pub at_s: u64,
}

fn folder(pve: &Path) -> PathBuf {
    pve.join("priv/converge")
}

fn path(pve: &Path, name: &str) -> PathBuf {
    folder(pve).join(format!("turn-{name}.json"))
}

/// Where the memory of the schedule's runs is to lie, so that it survives a node: one file below `/etc/pve/priv`, written
/// whole and renamed, at most [`SHARED_MEMORY_LIMIT`]. `None` for a run that takes no turns.
pub fn shared_memory() -> Option<PathBuf> {
    std::env::var_os(SHARED_MEMORY).map(PathBuf::from).filter(|path| path.is_absolute())
}

pub fn shared_memory_of(pve: &Path, name: &str) -> PathBuf {
    folder(pve).join(format!("memory-{name}"))
}

/// The last run of whichever node; `Ok(None)`: there was none yet.
///
/// # Errors
/// When that cannot be told.
pub fn last(pve: &Path, name: &str) -> Result<Option<Made>, String> {
    let path = path(pve, name);
    let wrong = |why: String| format!("{}: {why}", path.display());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(wrong(e.to_string())),
    };
    let mark = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let modified = std::fs::metadata(&path).and_then(|meta| meta.modified()).map_err(|e| wrong(e.to_string()))?;
    let at_s = modified.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_secs());
    Ok(Some(Made { mark, at_s }))
}

/// Why this node need not look now. A run of this node's own is no reason: somebody wants another one.
pub fn is_done(made: &Made, me: &str, now_s: u64, within_s: u64) -> Option<String> {
    let Mark { node, exit } = &made.mark;
    // Clocks of nodes differ a little: ahead or behind, it was just now.
    let apart_s = now_s.abs_diff(made.at_s);
    // A run that ended in another way could not tell, or could not keep what it saw (1 is both); another node may.
    let told = matches!(exit, Some(0 | 3));
    let done = node != me && told && apart_s < within_s;
    done.then(|| format!("{node} looked {} ago", span(apart_s)))
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Leaves word for the others.
///
/// # Errors
/// When it cannot be written: the others may look once more.
pub fn leave(pve: &Path, name: &str, mark: &Mark) -> Result<(), String> {
    let path = path(pve, name);
    let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
    // One folder and no more: where pmxcfs is not mounted, nothing must come to lie below it.
    match std::fs::create_dir(folder(pve)) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(wrong(e)),
        _ => {}
    }
    // As Proxmox itself writes there: a name of its own beside, then renamed. Its modes are the file system's.
    let beside = folder(pve).join(format!("turn-{name}.json.tmp.{}", std::process::id()));
    let text = serde_json::to_string(mark).expect("texts and numbers");
    let written = std::fs::File::create(&beside).and_then(|mut file| file.write_all(text.as_bytes()));
    written.and_then(|()| std::fs::rename(&beside, &path)).map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        wrong(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_another_node_just_made_is_not_repeated() {
        let made = |node: &str, exit, at_s| Made { mark: Mark { node: node.into(), exit }, at_s };
        let done = |made: &Made| is_done(made, "pve1", 100_000, 3600);
        assert_eq!(done(&made("pve2", Some(3), 99_000)).as_deref(), Some("pve2 looked 16 min ago"));
        assert_eq!(
            done(&made("pve2", Some(0), 100_050)).as_deref(),
            Some("pve2 looked 50 s ago"),
            "its clock is ahead"
        );
        for again in [
            made("pve2", Some(3), 90_000),
            made("pve2", Some(3), 200_000),
            made("pve1", Some(3), 99_999),
            made("pve2", Some(4), 99_999),
            made("pve2", Some(1), 99_999),
            made("pve2", Some(2), 99_999),
            made("pve2", None, 99_999),
        ] {
            assert_eq!(done(&again), None, "{again:?}");
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_left_and_a_torn_one_is_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last(dir.path(), "x"), Ok(None));
        let mark = Mark { node: "pve2".into(), exit: Some(3) };
        assert!(leave(dir.path(), "x", &mark).is_err(), "pmxcfs is not there");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::create_dir(dir.path().join("priv")).unwrap();
        leave(dir.path(), "x", &mark).unwrap();
        assert_eq!(last(dir.path(), "x").unwrap().unwrap().mark, mark);
        assert_eq!(std::fs::read_dir(folder(dir.path())).unwrap().count(), 1);
        std::fs::write(path(dir.path(), "x"), "{").unwrap();
        assert!(last(dir.path(), "x").is_err());
    }
}
