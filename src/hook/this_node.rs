//! This machine as the hook needs it: plain files, one clock, the journal's own protocol. No runtime, no threads
//! beyond those that read a program's output.

use super::machine::{Entry, Machine};
use crate::host::{Action, ApiGet, FileKind, Host, Local, LookError, Output, Probe, Query, Stat, Step, StepError};
use serde_json::Value as Json;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// journald's native socket.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// A status is some kilobytes; more than this is no answer.
const OUTPUT_LIMIT: usize = 1 << 20;
/// A directory that stands for the node, with its programs in `bin/`: how the whole program is tested.
const ROOT: &str = "CONVERGE_HOOK_ROOT";

pub struct ThisNode {
    files: Local,
    /// Runs the programs; of a directory those below it, which are real programs all the same.
    programs: Local,
    root: Option<PathBuf>,
    began: Instant,
}

impl Default for ThisNode {
    fn default() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let short = name.split('.').next().unwrap_or_default();
        let root = std::env::var_os(ROOT).map(PathBuf::from);
        let files = match &root {
            Some(root) => Local::rooted(short, root.clone()),
            None => Local::this_machine(short),
        };
        let programs = Local::this_machine(short).with_output_limit(OUTPUT_LIMIT);
        Self { files, programs, root, began: Instant::now() }
    }
}

impl ThisNode {
    fn real(&self, path: &str) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.trim_start_matches('/')),
            None => PathBuf::from(path),
        }
    }

    fn argv(&self, argv: &[String]) -> Vec<String> {
        let mut argv = argv.to_vec();
        if let (Some(root), Some(program)) = (&self.root, argv.first_mut()) {
            *program = root.join("bin").join(&*program).to_string_lossy().into_owned();
        }
        argv
    }
}

impl Probe for ThisNode {
    fn name(&self) -> &str {
        self.files.name()
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        self.files.read(path)
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        match path.starts_with("/proc") && self.root.is_none() {
            true => of_process(path),
            false => self.files.stat(path),
        }
    }
    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        self.files.list(dir)
    }
    fn query(&self, query: &Query) -> Result<Output, LookError> {
        self.programs.query(&Query { argv: self.argv(&query.argv), ..query.clone() })
    }
    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        self.programs.api(get)
    }
}

/// As [`Local`] does it, without names of owners: those are read from files, and `/proc` has many thousand links.
fn of_process(path: &Path) -> Result<Option<Stat>, LookError> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LookError::cannot_tell(path.display().to_string(), e)),
    };
    let kind = match () {
        () if meta.is_symlink() => FileKind::Symlink,
        () if meta.is_dir() => FileKind::Directory,
        () if meta.is_file() => FileKind::File,
        () => FileKind::Other,
    };
    let link_target = std::fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned());
    Ok(Some(Stat {
        kind,
        mode: meta.mode() & 0o7777,
        owner: meta.uid().to_string(),
        group: meta.gid().to_string(),
        size_bytes: meta.len(),
        link_target,
        modified_s: meta.mtime(),
    }))
}

impl Host for ThisNode {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        match &step.action {
            Action::Run { argv, stdin, env, cwd, timeout_s, ok_codes } => {
                let (argv, stdin, env, cwd) = (self.argv(argv), stdin.clone(), env.clone(), cwd.clone());
                let action = Action::Run { argv, stdin, env, cwd, timeout_s: *timeout_s, ok_codes: ok_codes.clone() };
                self.programs.perform(&Step::from(action))
            }
            _ => self.files.perform(step),
        }
    }
}

impl Machine for ThisNode {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn epoch_s(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn say(&self, line: &str) {
        // Whoever started the container may have gone; that must not end the hook.
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    fn journal(&self, entry: &Entry) {
        let Ok(socket) = UnixDatagram::unbound() else { return };
        // A journal that does not keep up must not hold a start.
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(&journal_bytes(entry), self.real(JOURNAL));
    }

    fn publish(&self, path: &str, text: &str) -> Result<(), String> {
        let fail = |e: std::io::Error| format!("{path}: {e}");
        let target = self.real(path);
        let (Some(dir), Some(name)) = (target.parent(), target.file_name()) else { return Err(path.to_owned()) };
        std::fs::create_dir_all(dir).map_err(fail)?;
        let beside = dir.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &target));
        written.inspect_err(|_| drop(std::fs::remove_file(&beside))).map_err(fail)
    }
}

/// The native protocol: `NAME=text`, or the name, a length and the text where that has several lines.
pub fn journal_bytes(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, text) in entry {
        bytes.extend_from_slice(name.as_bytes());
        if text.contains('\n') {
            bytes.push(b'\n');
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        } else {
            bytes.push(b'=');
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}
