//! This machine, or a directory that stands for one: looks and acts with plain system calls and programs.
//!
//! A rooted directory never runs a program of this machine, and no path leads out of it, neither by `..` nor by a
//! link. Files under `/etc/pve` are written the way pmxcfs bears it.

mod clerk;
mod files;
mod owners;
mod paths;
mod run;
#[cfg(test)]
mod tests;

use super::{Action, ApiGet, FileKind, Host, LookError, Output, Probe, Query, Stat, Step, StepError, pvesh};
use clerk::Clerk;
use owners::Owners;
use paths::Paths;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// What stands for the programs of a rooted directory: argv and standard input → what the program leaves behind.
/// `None`: there is no such program.
pub type Programs = Box<dyn Fn(&[String], Option<&[u8]>) -> Option<Output> + Send>;

/// A file larger than this is not read whole (bytes).
const READ_LIMIT: u64 = 64 << 20;

pub struct Local {
    name: String,
    paths: Paths,
    owners: Owners,
    programs: Option<Programs>,
    output_limit: usize,
    /// Asks the file systems of a real machine.
    clerk: Option<Clerk>,
}

impl Local {
    pub fn this_machine(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { clerk: Some(Clerk::new(&name)), ..Self::unwatched(name) }
    }

    /// Asks file systems itself, and waits for them as long as it takes.
    fn unwatched(name: String) -> Self {
        Self {
            name,
            paths: Paths::machine(),
            owners: Owners::of_machine(),
            programs: None,
            output_limit: run::OUTPUT_LIMIT,
            clerk: None,
        }
    }

    /// A directory that stands for a machine. It has no programs until [`Local::with_programs`]. Owners are
    /// remembered in `DIR/.owners`, not set: that works without being root and never gives files away.
    pub fn rooted(name: impl Into<String>, dir: impl Into<std::path::PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            name: name.into(),
            owners: Owners::of_root(&dir),
            paths: Paths::rooted(dir),
            programs: None,
            output_limit: run::OUTPUT_LIMIT,
            clerk: None,
        }
    }

    /// The stand-ins for a rooted directory's programs; on this machine they replace the real ones.
    pub fn with_programs(mut self, programs: Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    /// Keeps at most this much of each output of a program (bytes); a question with a longer answer is not answered.
    pub fn with_output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    fn run(&self, call: &run::Call<'_>) -> Result<Output, LookError> {
        if self.paths.is_machine() && self.programs.is_none() {
            if let (Some(clerk), Some(dir)) = (&self.clerk, call.cwd) {
                let cwd = dir.to_owned();
                let _ = clerk.ask(dir, clerk::LOOK, move |_| std::fs::metadata(cwd).map(drop))?;
            }
            return run::run(call, self.output_limit);
        }
        let answer = self.programs.as_ref().and_then(|programs| programs(call.argv, call.stdin));
        answer.ok_or_else(|| LookError::NoProgram { program: call.argv.first().cloned().unwrap_or_default() })
    }
}

/// `Ok(None)` only when the path is certainly not there; every other failure says why it cannot be told.
fn answer<T>(what: &Path, result: std::io::Result<T>) -> Result<Option<T>, LookError> {
    match result {
        Ok(value) => Ok(Some(value)),
        // ENOTDIR: a component above is no directory, so nothing can be below it.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(LookError::cannot_tell(what.display().to_string(), e)),
    }
}

impl Probe for Local {
    fn name(&self) -> &str {
        &self.name
    }

    /// `pvesh` runs the API's code as root, in its own process.
    fn api_user(&self) -> Option<String> {
        Some("root@pam".into())
    }

    fn api_takes_secrets(&self) -> bool {
        false
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        if let Some(clerk) = &self.clerk {
            return clerk.look(path, |local, path| local.read(path));
        }
        let Some(real) = answer(path, self.paths.followed(path))? else { return Ok(None) };
        // O_NONBLOCK: opening a FIFO must not wait for its other end.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let opened = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&real);
        let Some(mut file) = answer(path, opened)? else { return Ok(None) };
        let no = |why: &str| Err(LookError::cannot_tell(path.display().to_string(), why));
        let Some(meta) = answer(path, file.metadata())? else { return no("vanished") };
        if meta.is_dir() {
            return no("it is a directory");
        }
        if !meta.is_file() {
            return no("it is no regular file");
        }
        let mut bytes = Vec::new();
        let read = (&mut file).take(READ_LIMIT + 1).read_to_end(&mut bytes);
        if let Err(e) = read {
            return no(&e.to_string());
        }
        if bytes.len() as u64 > READ_LIMIT {
            return no("it is larger than 64 MiB");
        }
        Ok(Some(bytes))
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        if let Some(clerk) = &self.clerk {
            return clerk.look(path, |local, path| local.stat(path));
        }
        let Some(real) = answer(path, self.paths.unfollowed(path))? else { return Ok(None) };
        let Some(meta) = answer(path, std::fs::symlink_metadata(&real))? else { return Ok(None) };
        let file_type = meta.file_type();
        let kind = match () {
            () if file_type.is_symlink() => FileKind::Symlink,
            () if file_type.is_dir() => FileKind::Directory,
            () if file_type.is_file() => FileKind::File,
            () if file_type.is_block_device() => FileKind::BlockDevice,
            () => FileKind::Other,
        };
        let link_target = match kind {
            FileKind::Symlink => answer(path, std::fs::read_link(&real))?.map(|t| t.to_string_lossy().into_owned()),
            _ => None,
        };
        let (owner, group) = self.owners.of(&self.paths, &real, &meta)?;
        Ok(Some(Stat {
            kind,
            mode: meta.mode() & 0o7777,
            owner,
            group,
            size_bytes: meta.size(),
            link_target,
            modified_s: meta.mtime(),
        }))
    }

    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        if let Some(clerk) = &self.clerk {
            return clerk.look(dir, |local, dir| local.list(dir));
        }
        let Some(real) = answer(dir, self.paths.followed(dir))? else { return Ok(None) };
        let Some(meta) = answer(dir, std::fs::metadata(&real))? else { return Ok(None) };
        if !meta.is_dir() {
            return Err(LookError::cannot_tell(dir.display().to_string(), "it is no directory"));
        }
        let Some(entries) = answer(dir, std::fs::read_dir(&real))? else { return Ok(None) };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| LookError::cannot_tell(dir.display().to_string(), e))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        self.owners.hide_record(&self.paths, &real, &mut names);
        names.sort();
        Ok(Some(names))
    }

    fn query(&self, query: &Query) -> Result<Output, LookError> {
        self.run(&run::Call {
            argv: &query.argv,
            stdin: None,
            env: &BTreeMap::new(),
            cwd: None,
            timeout: Duration::from_secs(query.timeout_s),
            whole_output: true,
        })
    }

    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        let output = self.query(&pvesh::get_query(get))?;
        pvesh::answer(&get.path, &output)
    }
}

impl Host for Local {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        match &step.action {
            Action::Run { argv, stdin, env, cwd, timeout_s, ok_codes } => {
                let output = self.run(&run::Call {
                    argv,
                    stdin: stdin.as_ref().map(|bytes| bytes.0.as_slice()),
                    env,
                    cwd: cwd.as_deref(),
                    timeout: Duration::from_secs(*timeout_s),
                    whole_output: false,
                })?;
                if ok_codes.is_empty() || ok_codes.contains(&output.rc) {
                    return Ok(output);
                }
                let Output { rc, stdout, stderr } = output;
                Err(StepError::Command { command: argv.join(" "), rc, stdout, stderr })
            }
            Action::Api { method, path, params, wait_s } => {
                let (argv, timeout_s) = pvesh::write_argv(*method, path, params, *wait_s)?;
                let output = self.run(&run::Call {
                    argv: &argv,
                    stdin: None,
                    env: &BTreeMap::new(),
                    cwd: None,
                    timeout: Duration::from_secs(timeout_s),
                    whole_output: false,
                })?;
                // What it prints is a task's log and name, or nothing: no answer to be read.
                if output.rc == 0 { Ok(output) } else { Err(pvesh::refusal(path, &output).into()) }
            }
            Action::Sleep { seconds } => {
                std::thread::sleep(Duration::from_secs(*seconds));
                Ok(Output::default())
            }
            file_action => match self.clerk.as_ref().filter(|_| self.programs.is_none()) {
                Some(clerk) => clerk.change(step),
                None => self.perform_on_files(file_action),
            }
            .map(|()| Output::default()),
        }
    }
}
