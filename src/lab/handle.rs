//! The door to a lab: opens its directory, hands out the world one caller at a time, keeps changes.
//!
//! Every transaction holds a lock on the directory, so that several processes (a served API and a check beside it)
//! see each other's whole changes and never half of one.

use super::files::Files;
use super::world::{Flavour, World};
use super::{LabContainer, LabNode, base};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long to wait for another process that is in the middle of a change.
const LOCK_WAIT: Duration = Duration::from_secs(20);
const FORMAT: u32 = 1;

#[derive(Debug, Clone, thiserror::Error)]
pub enum LabError {
    #[error("the lab in {dir} is in use by another process and did not become free within {waited_s} s")]
    Busy { dir: PathBuf, waited_s: u64 },
    #[error("the lab in {dir} cannot be used: {why}")]
    Broken { dir: PathBuf, why: String },
}

/// A lab; clones share it.
#[derive(Clone)]
pub struct Lab {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    lock: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    world: World,
    /// Which version of `state.json` the world was read from or written to; `None` = not in step with the disk.
    of: Option<Version>,
}

/// A file that was replaced has another inode or time.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    modified_ns: i64,
    modified_s: i64,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct Kept<W> {
    format: u32,
    world: W,
}

impl Lab {
    /// Opens the lab in `dir`; an empty or missing directory becomes a fresh cluster of three nodes.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LabError> {
        Self::with_nodes(dir, 3, Flavour::default())
    }

    /// As [`Lab::open`]; `nodes` and `flavour` count only when the lab is new.
    pub fn with_nodes(dir: impl AsRef<Path>, nodes: u32, flavour: Flavour) -> Result<Self, LabError> {
        let dir = dir.as_ref();
        let broken = |why: std::io::Error| LabError::Broken { dir: dir.to_path_buf(), why: why.to_string() };
        std::fs::create_dir_all(dir).map_err(broken)?;
        let dir_path = dir.canonicalize().map_err(broken)?;
        let lock_path = dir_path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(broken)?;
        let lab = Self { inner: Arc::new(Inner { files: Files::new(dir_path), lock, state: Mutex::default() }) };
        let _held = lab.lock()?;
        if !lab.state_path().exists() {
            lab.refuse_strange_directory()?;
            let world = base::fresh_world(&lab.inner.files, nodes, flavour).map_err(broken)?;
            let mut state = lab.state();
            state.world = world;
            lab.keep(&mut state)?;
        }
        drop(_held);
        lab.look(|_| ())?;
        Ok(lab)
    }

    /// A directory with other things in it is not made a lab of.
    fn refuse_strange_directory(&self) -> Result<(), LabError> {
        let dir = self.inner.files.dir();
        let entries = std::fs::read_dir(dir).map_err(|e| self.broken(e))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // What an interrupted creation leaves; it is completed.
            if !["lock", "nodes", "pve", "devices", "state.json.tmp"].contains(&name.as_str()) {
                return Err(self.broken(format!("it holds `{name}` and no lab; name an empty directory")));
            }
        }
        Ok(())
    }

    pub fn files(&self) -> &Files {
        &self.inner.files
    }

    pub fn dir(&self) -> &Path {
        self.inner.files.dir()
    }

    /// Gives the world to `f`; what it changed is on disk when this returns. An error means that nothing was run,
    /// or that the change could not be kept and is forgotten.
    pub fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> Result<R, LabError> {
        let mut state = self.state();
        let _held = self.lock()?;
        self.refresh(&mut state)?;
        state.world.files = Some(self.files().clone());
        let of = state.of.take();
        let result = f(&mut state.world);
        if state.world.take_touched() {
            self.keep(&mut state)?;
        } else {
            state.of = of;
        }
        Ok(result)
    }

    /// As [`Lab::with`], for looking only.
    pub fn look<R>(&self, f: impl FnOnce(&World) -> R) -> Result<R, LabError> {
        self.with(|world| f(world))
    }

    /// The simulated node of that name, if there is one.
    pub fn node(&self, name: &str) -> Option<LabNode> {
        let there = self.look(|world| world.nodes.contains_key(name)).unwrap_or(false);
        there.then(|| LabNode::new(self.clone(), name))
    }

    /// Inside a container, wherever it runs; whether it runs is found at each use.
    pub fn container(&self, vmid: u32) -> LabContainer {
        LabContainer::new(self.clone(), vmid)
    }

    pub fn host_names(&self) -> Result<Vec<String>, LabError> {
        self.look(|world| world.nodes.keys().cloned().collect())
    }

    /// Throws everything away and builds a fresh cluster; what is not said stays as it was.
    pub fn reset(&self, nodes: Option<u32>, flavour: Option<Flavour>) -> Result<(), LabError> {
        let mut state = self.state();
        let _held = self.lock()?;
        self.refresh(&mut state)?;
        let nodes = nodes.unwrap_or_else(|| u32::try_from(state.world.nodes.len()).unwrap_or(3));
        let flavour = flavour.unwrap_or(state.world.flavour);
        state.of = None;
        for part in ["nodes", "pve", "devices"] {
            match std::fs::remove_dir_all(self.dir().join(part)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(self.broken(e)),
                _ => {}
            }
        }
        state.world = base::fresh_world(self.files(), nodes, flavour).map_err(|e| self.broken(e))?;
        self.keep(&mut state)
    }

    fn broken(&self, why: impl ToString) -> LabError {
        LabError::Broken { dir: self.dir().to_path_buf(), why: why.to_string() }
    }

    /// A panic in a transaction leaves a half-changed world in memory; it is read again from disk.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.of = None;
            self.inner.state.clear_poison();
            state
        })
    }

    fn state_path(&self) -> PathBuf {
        self.dir().join("state.json")
    }

    fn lock(&self) -> Result<Held<'_>, LabError> {
        let since = Instant::now();
        loop {
            match flock(&self.inner.lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Held(&self.inner.lock)),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if since.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    return Err(LabError::Busy { dir: self.dir().to_path_buf(), waited_s: LOCK_WAIT.as_secs() });
                }
                Err(e) => return Err(self.broken(e)),
            }
        }
    }

    fn version(&self) -> Result<Version, LabError> {
        let meta = std::fs::metadata(self.state_path()).map_err(|e| self.broken(format!("state.json: {e}")))?;
        Ok(Version { inode: meta.ino(), modified_ns: meta.mtime_nsec(), modified_s: meta.mtime(), size: meta.len() })
    }

    /// Reads the world again if another process replaced it, or a transaction was broken off.
    fn refresh(&self, state: &mut State) -> Result<(), LabError> {
        let on_disk = self.version()?;
        if state.of == Some(on_disk) {
            return Ok(());
        }
        let text = std::fs::read(self.state_path()).map_err(|e| self.broken(e))?;
        let format: Kept<serde::de::IgnoredAny> =
            serde_json::from_slice(&text).map_err(|e| self.broken(format!("state.json: {e}")))?;
        if format.format != FORMAT {
            return Err(self.broken(format!(
                "state.json has format {}, this program knows {FORMAT}; `converge lab reset` builds a new one",
                format.format
            )));
        }
        let kept: Kept<World> = serde_json::from_slice(&text).map_err(|e| self.broken(format!("state.json: {e}")))?;
        state.world = kept.world;
        state.of = Some(on_disk);
        Ok(())
    }

    /// Replaces `state.json`: the old one or the new one, never a torn one. No fsync: a killed process is to leave
    /// a whole state, a machine that loses power may lose its lab.
    fn keep(&self, state: &mut State) -> Result<(), LabError> {
        state.of = None;
        let _ = state.world.take_touched();
        let beside = self.dir().join("state.json.tmp");
        let text = serde_json::to_vec(&Kept { format: FORMAT, world: &state.world }).map_err(|e| self.broken(e))?;
        std::fs::write(&beside, text).map_err(|e| self.broken(e))?;
        std::fs::rename(&beside, self.state_path()).map_err(|e| self.broken(e))?;
        state.of = Some(self.version()?);
        Ok(())
    }
}

/// The lock on the directory, let go when dropped.
struct Held<'a>(&'a File);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}
