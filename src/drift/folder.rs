//! The report folder. All forms of a report change at once: they lie in a folder of their own that a link points to, and
//! the link is replaced. Who reads meanwhile has the old ones or the new ones, and a crash leaves the old ones.
//!
//! ```text
//! DIR/history.sqlite
//! DIR/report.html -> current/report.html      (and so for the others)
//! DIR/current     -> run-42
//! DIR/run-42/     report.json report.html drift.prom junit.xml
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

const CURRENT: &str = "current";
const PREFIX: &str = "run-";
const LOCK: &str = ".lock";
/// Whoever opened a form of the run before may read it to its end.
const KEPT: usize = 2;
/// How long one run waits for another that writes its report and tells people.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why a folder cannot hold reports.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub struct FolderError {
    path: PathBuf,
    why: String,
}

/// A report folder that nobody else writes to while this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where there is none (mode 0700: reports tell a lot about a cluster) and waits until nobody else
    /// writes there.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let fail = |path: &Path, why: &dyn ToString| FolderError { path: path.to_owned(), why: why.to_string() };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| match path.is_dir() {
            false if path.exists() => fail(path, &"is no folder"),
            _ => fail(path, &e),
        })?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let file = file.map_err(|e| fail(&lock, &e))?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: file }),
                Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {
                    let why = format!("another run has been writing here for {} s", PATIENCE.as_secs());
                    return Err(fail(&lock, &why));
                }
                Err(TryLockError::Error(e)) => return Err(fail(&lock, &e)),
            }
        }
    }

    /// Whether a run has left its reports here.
    pub fn has_reports(&self) -> bool {
        fs::symlink_metadata(self.path.join(CURRENT)).is_ok()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces all forms by those of run `id`: name and content.
    pub fn publish(&self, id: i64, forms: &[(&str, &[u8])]) -> Result<(), FolderError> {
        let fail = |path: &Path, why: io::Error| FolderError { path: path.to_owned(), why: why.to_string() };
        // A run that died while it wrote may have left one of this name, or a history that was begun anew has its ids again.
        let names = (0..).map(|n| if n == 0 { format!("{PREFIX}{id}") } else { format!("{PREFIX}{id}.{n}") });
        let is_free = |name: &String| fs::symlink_metadata(self.path.join(name)).is_err();
        let name = names.into_iter().find(is_free).expect("numbers do not end");
        let folder = self.path.join(&name);
        fs::DirBuilder::new().mode(0o755).create(&folder).map_err(|e| fail(&folder, e))?;
        for (form, content) in forms {
            let path = folder.join(form);
            write(&path, content).map_err(|e| fail(&path, e))?;
        }
        sync(&folder).map_err(|e| fail(&folder, e))?;
        self.point(CURRENT, Path::new(&name)).map_err(|e| fail(&self.path.join(CURRENT), e))?;
        for (form, _) in forms {
            let target = Path::new(CURRENT).join(form);
            self.point(form, &target).map_err(|e| fail(&self.path.join(form), e))?;
        }
        sync(&self.path).map_err(|e| fail(&self.path, e))?;
        self.sweep(&name);
        Ok(())
    }

    /// Lets a link point elsewhere, in one step. What is no link of ours is not replaced.
    fn point(&self, name: &str, target: &Path) -> io::Result<()> {
        let link = self.path.join(name);
        match fs::symlink_metadata(&link) {
            Ok(meta) if !meta.is_symlink() => {
                return Err(io::Error::other("is there already and was not written by converge: move it away"));
            }
            Ok(_) if fs::read_link(&link)? == target => return Ok(()),
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let fresh = self.path.join(format!(".{name}.new"));
        let _ = fs::remove_file(&fresh);
        symlink(target, &fresh)?;
        fs::rename(&fresh, &link)
    }

    /// Takes the folders of older runs away. One that stays costs only space.
    fn sweep(&self, current: &str) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let mut runs: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX) && name != current))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        runs.sort_unstable_by(|a, b| b.cmp(a));
        for (_, old) in runs.into_iter().skip(KEPT - 1) {
            let _ = fs::remove_dir_all(old);
        }
    }
}

/// Metrics hold no diffs and are scraped by whoever scrapes; the rest shows what is in files, and is the owner's and the
/// group's.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mode = if path.extension().is_some_and(|ending| ending == "prom") { 0o644 } else { 0o640 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
