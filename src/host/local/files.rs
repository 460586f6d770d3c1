//! Changes to files: the old or the new file, never a torn one, and never more rights than asked for.
//!
//! Refuses to write through a dangling link, over anything that is no file, and to remove what holds a mount.

use super::Local;
use super::owners::Owners;
use crate::host::{Action, FileKind, Probe, Stat, StepError, copy_own_program};
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy)]
struct Attributes<'a> {
    mode: Option<u32>,
    owner: Option<&'a str>,
    group: Option<&'a str>,
}

fn failed(what: impl Into<String>, why: impl ToString) -> StepError {
    StepError::Failed { what: what.into(), why: why.to_string() }
}

/// An error of a file system, with what it means for those who have to do something about it.
fn told(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let what = match error.kind() {
        ErrorKind::StorageFull => "disk full: its file system has no space left, or no inodes (`df -h`, `df -i`)",
        ErrorKind::QuotaExceeded => "the quota there is used up",
        ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only, as the kernel makes it after an error of its disk (`dmesg`)"
        }
        _ => return error.to_string(),
    };
    format!("{what}: {error}")
}

fn refused(reason: impl Into<String>) -> StepError {
    StepError::Refused { reason: reason.into() }
}

impl Local {
    pub(super) fn perform_on_files(&self, action: &Action) -> Result<(), StepError> {
        match action {
            Action::WriteFile { path, content, mode, owner, group, validate, backup } => {
                let attributes = Attributes { mode: *mode, owner: owner.as_deref(), group: group.as_deref() };
                self.write_file(path, &content.0, attributes, validate.as_deref(), *backup)
            }
            Action::CreateDirectory { path, mode, owner, group } => {
                let attributes = Attributes { mode: *mode, owner: owner.as_deref(), group: group.as_deref() };
                self.create_directory(path, attributes)
            }
            Action::SetAttributes { path, mode, owner, group } => {
                let attributes = Attributes { mode: *mode, owner: owner.as_deref(), group: group.as_deref() };
                self.set_attributes(path, attributes)
            }
            Action::Symlink { path, target } => self.symlink(path, target),
            Action::InstallSelf { path, sha256, .. } => self.install_self(path, sha256),
            Action::Remove { path, recursive } => self.remove(path, *recursive),
            Action::Run { .. } | Action::Api { .. } | Action::Sleep { .. } => {
                Err(failed("file action", "this is none"))
            }
        }
    }

    fn real(&self, path: &str) -> Result<PathBuf, StepError> {
        self.paths.unfollowed(Path::new(path)).map_err(|e| failed(path, e))
    }

    /// The file to write: `path`, or what it points at when it is a link to a file.
    fn target(&self, path: &str) -> Result<(PathBuf, Option<Stat>), StepError> {
        let real = self.real(path)?;
        let Some(stat) = self.stat(Path::new(path))? else { return Ok((real, None)) };
        match stat.kind {
            FileKind::File => Ok((real, Some(stat))),
            FileKind::Symlink => {
                let followed = self.paths.followed(Path::new(path)).map_err(|e| failed(path, e))?;
                // On this machine the kernel follows; the temporary file must lie beside the target.
                let followed = if self.paths.is_machine() { followed.canonicalize().ok() } else { Some(followed) };
                let beyond = match &followed {
                    Some(followed) => self.stat(&self.paths.inside(followed))?,
                    None => None,
                };
                match (followed, beyond) {
                    (Some(followed), Some(stat)) if stat.kind == FileKind::File => Ok((followed, Some(stat))),
                    _ => Err(refused(format!("{path} is a link that does not lead to a file"))),
                }
            }
            FileKind::Directory => Err(refused(format!("{path} is a directory"))),
            FileKind::BlockDevice | FileKind::Other => Err(refused(format!("{path} is no regular file"))),
        }
    }

    fn write_file(
        &self,
        path: &str,
        content: &[u8],
        attributes: Attributes<'_>,
        validate: Option<&[String]>,
        backup: bool,
    ) -> Result<(), StepError> {
        let (target, old) = self.target(path)?;
        let (Some(dir), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(refused(format!("{path} cannot be a file")));
        };
        if on_pmxcfs(&self.paths.inside(&target)) {
            self.pmxcfs_is_mounted()?;
            return self.write_on_pmxcfs(path, &target, content, validate);
        }
        let fail = |e: &std::io::Error| failed(format!("write {path}"), told(e));
        // The dot keeps it out of `*.conf`, `*.res`, `*.list` and run-parts while it lies there.
        let prefix = format!(".{}.", name.to_string_lossy());
        let temp = tempfile::Builder::new().prefix(&prefix).tempfile_in(dir).map_err(|e| fail(&e))?;
        let mut file = temp.as_file();
        file.write_all(content).map_err(|e| fail(&e))?;

        // Owner first: changing it clears the set-id bits.
        // Without the rights of root a new file stays its writer's; an owner that was asked for is still an error.
        let fresh = rustix::process::geteuid().is_root().then_some("root");
        let owner = attributes.owner.or(old.as_ref().map(|s| s.owner.as_str())).or(fresh);
        let group = attributes.group.or(old.as_ref().map(|s| s.group.as_str())).or(fresh);
        if self.paths.is_machine() {
            self.own(temp.path(), owner, group)?;
        }
        let mode = attributes.mode.or(old.as_ref().map(|s| s.mode)).unwrap_or(0o644);
        file.set_permissions(Permissions::from_mode(mode)).map_err(|e| fail(&e))?;

        self.validate(path, temp.path(), validate)?;
        if backup && old.is_some() {
            self.back_up(&target)?;
        }
        if self.paths.is_machine() {
            file.sync_all().map_err(|e| fail(&e))?;
        }
        temp.persist(&target).map_err(|e| fail(&e.error))?;
        if self.paths.is_machine() {
            sync_directory(dir).map_err(|e| fail(&e))?;
        } else {
            self.owners.set(&self.paths, &target, attributes.owner, attributes.group)?;
        }
        Ok(())
    }

    /// Changes the owner only where it differs, so that a user without the rights of root can write own files.
    fn own(&self, real: &Path, owner: Option<&str>, group: Option<&str>) -> Result<(), StepError> {
        let Some(now) = self.stat(&self.paths.inside(real))? else {
            return Err(failed(real.display().to_string(), "vanished"));
        };
        let owner = owner.filter(|name| *name != now.owner);
        let group = group.filter(|name| *name != now.group);
        self.owners.set(&self.paths, real, owner, group)
    }

    fn validate(&self, path: &str, temp: &Path, validate: Option<&[String]>) -> Result<(), StepError> {
        let Some(validate) = validate else { return Ok(()) };
        let name = self.paths.inside(temp).to_string_lossy().into_owned();
        let argv: Vec<String> = validate.iter().map(|arg| arg.replace("%s", &name)).collect();
        let output = self.run(&super::run::Call {
            argv: &argv,
            stdin: None,
            env: &Default::default(),
            cwd: None,
            timeout: std::time::Duration::from_secs(60),
            whole_output: false,
        })?;
        if output.rc == 0 {
            return Ok(());
        }
        // The name of the temporary file would only puzzle.
        let why = output.complaint().replace(&name, path);
        let what = format!("the new {path} is not valid (`{}` ended with {})", validate.join(" "), output.rc);
        Err(failed(what, why))
    }

    /// `NAME.SECONDS~` beside it, with the same owner and mode.
    fn back_up(&self, real: &Path) -> Result<(), StepError> {
        let fail = |e: std::io::Error| failed(format!("back up {}", real.display()), told(&e));
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let meta = std::fs::metadata(real).map_err(fail)?;
        let mut number = 0;
        let (copy, mut file) = loop {
            let mut name = real.as_os_str().to_owned();
            name.push(if number == 0 { format!(".{seconds}~") } else { format!(".{seconds}.{number}~") });
            match File::options().write(true).create_new(true).mode(0o600).open(&name) {
                Ok(file) => break (PathBuf::from(name), file),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && number < 100 => number += 1,
                Err(e) => return Err(fail(e)),
            }
        };
        std::io::copy(&mut File::open(real).map_err(fail)?, &mut file).map_err(fail)?;
        if let Some(stat) = self.stat(&self.paths.inside(real))? {
            self.own(&copy, Some(&stat.owner), Some(&stat.group))?;
        }
        file.set_permissions(meta.permissions()).map_err(fail)
    }

    /// pmxcfs sets owner and mode itself and refuses others; without its mount a write would land on the disk
    /// below, be seen by no other node and vanish under the next mount.
    fn pmxcfs_is_mounted(&self) -> Result<(), StepError> {
        const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;
        if !self.paths.is_machine() {
            return Ok(());
        }
        let found = rustix::fs::statfs("/etc/pve").map_err(|e| failed("/etc/pve", e))?;
        if found.f_type == FUSE_SUPER_MAGIC {
            return Ok(());
        }
        Err(refused("/etc/pve is not mounted; is pve-cluster.service running?"))
    }

    fn write_on_pmxcfs(
        &self,
        path: &str,
        target: &Path,
        content: &[u8],
        validate: Option<&[String]>,
    ) -> Result<(), StepError> {
        let fail = |e: std::io::Error| {
            let read_only = e.kind() == std::io::ErrorKind::PermissionDenied && rustix::process::geteuid().is_root();
            let why = if read_only { " (no quorum? `pvecm status`)" } else { "" };
            failed(format!("write {path}"), format!("{}{why}", told(&e)))
        };
        // The name Proxmox itself uses, so that its own readers skip it.
        let mut temp = target.as_os_str().to_owned();
        temp.push(format!(".tmp.{}", std::process::id()));
        let temp = PathBuf::from(temp);
        let written = (|| {
            let mut file = File::create(&temp).map_err(fail)?;
            file.write_all(content).map_err(fail)?;
            let _ = file.sync_all();
            drop(file);
            self.validate(path, &temp, validate)?;
            std::fs::rename(&temp, target).map_err(fail)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&temp);
        }
        written
    }

    fn create_directory(&self, path: &str, attributes: Attributes<'_>) -> Result<(), StepError> {
        let real = self.paths.followed(Path::new(path)).map_err(|e| failed(path, e))?;
        let fail = |e: std::io::Error| failed(format!("create directory {path}"), told(&e));
        let on_pmxcfs = on_pmxcfs(&self.paths.inside(&real));
        if on_pmxcfs {
            self.pmxcfs_is_mounted()?;
        }
        match std::fs::metadata(&real) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(refused(format!("{path} exists and is no directory"))),
            Err(_) => {
                if let Some(above) = real.parent() {
                    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(fail)?;
                }
                // Narrow until owner and mode are set.
                std::fs::DirBuilder::new().mode(0o700).create(&real).map_err(fail)?;
                if !on_pmxcfs && attributes.mode.is_none() {
                    std::fs::set_permissions(&real, Permissions::from_mode(0o755)).map_err(fail)?;
                }
            }
        }
        if on_pmxcfs { Ok(()) } else { self.set_on(&real, attributes) }
    }

    fn set_attributes(&self, path: &str, attributes: Attributes<'_>) -> Result<(), StepError> {
        let real = self.paths.followed(Path::new(path)).map_err(|e| failed(path, e))?;
        if on_pmxcfs(&self.paths.inside(&real)) {
            return Err(refused(format!("{path}: pmxcfs sets mode and owner itself and cannot be told others")));
        }
        let real = if self.paths.is_machine() { real.canonicalize().map_err(|e| failed(path, e))? } else { real };
        self.set_on(&real, attributes)
    }

    fn set_on(&self, real: &Path, attributes: Attributes<'_>) -> Result<(), StepError> {
        self.own(real, attributes.owner, attributes.group)?;
        if let Some(mode) = attributes.mode {
            std::fs::set_permissions(real, Permissions::from_mode(mode))
                .map_err(|e| failed(format!("set the mode of {}", real.display()), e))?;
        }
        Ok(())
    }

    fn install_self(&self, path: &str, sha256: &str) -> Result<(), StepError> {
        let real = self.real(path)?;
        let fail = |e: &std::io::Error| failed(format!("install {path}"), told(e));
        let dir = real.parent().unwrap_or(Path::new("/"));
        let temp = tempfile::Builder::new().prefix(".converge.").tempfile_in(dir).map_err(|e| fail(&e))?;
        let copied = copy_own_program(&mut temp.as_file()).map_err(|e| failed(format!("install {path}"), e))?;
        if copied.sha256 != sha256 {
            return Err(refused(format!("this program is another build ({}) than the controller's", copied.sha256)));
        }
        temp.as_file().set_permissions(Permissions::from_mode(0o755)).map_err(|e| fail(&e))?;
        temp.as_file().sync_all().map_err(|e| fail(&e))?;
        temp.persist(&real).map(drop).map_err(|e| fail(&e.error))
    }

    fn symlink(&self, path: &str, target: &str) -> Result<(), StepError> {
        let real = self.real(path)?;
        let fail = |e: std::io::Error| failed(format!("link {path}"), told(&e));
        if on_pmxcfs(&self.paths.inside(&real)) {
            return Err(refused(format!("{path}: pmxcfs has no symbolic links")));
        }
        if let Some(stat) = self.stat(Path::new(path))?
            && stat.kind != FileKind::Symlink
        {
            return Err(refused(format!("{path} exists and is no link")));
        }
        let dir = real.parent().unwrap_or(Path::new("/"));
        let made = tempfile::Builder::new().prefix(".link.").make_in(dir, |p| std::os::unix::fs::symlink(target, p));
        made.map_err(fail)?.into_temp_path().persist(&real).map_err(|e| fail(e.error))
    }

    fn remove(&self, path: &str, recursive: bool) -> Result<(), StepError> {
        let real = self.real(path)?;
        let Some(stat) = self.stat(Path::new(path))? else { return Ok(()) };
        let fail = |e: std::io::Error| failed(format!("remove {path}"), told(&e));
        if stat.kind == FileKind::Directory {
            if self.paths.inside(&real).components().count() <= 2 && recursive {
                return Err(refused(format!("{path} is a top-level directory")));
            }
            if self.paths.is_machine() {
                self.holds_no_mount(&real)?;
            }
        }
        match (stat.kind, recursive) {
            (FileKind::Directory, true) => std::fs::remove_dir_all(&real).map_err(fail)?,
            (FileKind::Directory, false) => std::fs::remove_dir(&real).map_err(fail)?,
            _ => std::fs::remove_file(&real).map_err(fail)?,
        }
        Owners::forget(&self.owners, &self.paths, &real)
    }

    /// Removing a tree would also empty what is mounted in it.
    fn holds_no_mount(&self, real: &Path) -> Result<(), StepError> {
        let real = real.canonicalize().map_err(|e| failed(real.display().to_string(), e))?;
        let table = std::fs::read_to_string("/proc/self/mountinfo").map_err(|e| failed("/proc/self/mountinfo", e))?;
        let targets = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|t| t.replace("\\040", " "));
        match targets.into_iter().find(|target| Path::new(target).starts_with(&real)) {
            Some(target) => Err(refused(format!("{target} is a mount point"))),
            None => Ok(()),
        }
    }
}

/// By the path, not by the file system: a rooted directory stands for a node too.
fn on_pmxcfs(inside: &Path) -> bool {
    inside.starts_with("/etc/pve")
}

fn sync_directory(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
