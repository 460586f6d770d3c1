//! Files written whole or not at all. Refuses what was changed by somebody else since it was read.

use rustix::fs::{Access, Gid, Uid};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Puts `new` in the place of `old`: beside it, then renamed, with the mode and the owner that the file had. What a link
/// points at is written, and the link stays.
pub fn replace(path: &Path, old: &str, new: &str) -> Result<(), String> {
    let bad = |why: String| format!("{} cannot be written: {why}", path.display());
    let target = writable(path)?;
    let meta = std::fs::metadata(&target).map_err(|e| bad(e.to_string()))?;
    let mut beside = beside(&target).map_err(&bad)?;
    let file = beside.as_file();
    let mine = file.metadata().map_err(|e| bad(e.to_string()))?;
    if (mine.uid(), mine.gid()) != (meta.uid(), meta.gid()) {
        rustix::fs::fchown(file, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())))
            .map_err(|e| bad(format!("its owner (uid {}, gid {}) cannot be kept: {e}", meta.uid(), meta.gid())))?;
    }
    let mode = std::fs::Permissions::from_mode(meta.mode() & 0o7777);
    file.set_permissions(mode).map_err(|e| bad(e.to_string()))?;
    beside.write_all(new.as_bytes()).and_then(|()| beside.as_file().sync_all()).map_err(|e| bad(e.to_string()))?;
    let now = std::fs::read_to_string(&target).map_err(|e| bad(e.to_string()))?;
    if now != old {
        return Err(bad("somebody else changed it in the meantime; look at it and start again".into()));
    }
    beside.persist(&target).map_err(|e| bad(e.error.to_string()))?;
    settle(&target);
    Ok(())
}

/// The file that is to be written, with every reason why it cannot be.
pub fn writable(path: &Path) -> Result<PathBuf, String> {
    let bad = |why: String| format!("{} cannot be written: {why}", path.display());
    let target = std::fs::canonicalize(path).map_err(|e| bad(e.to_string()))?;
    let meta = std::fs::metadata(&target).map_err(|e| bad(e.to_string()))?;
    if !meta.is_file() {
        return Err(bad("it is no regular file".into()));
    }
    if meta.nlink() > 1 {
        return Err(bad(format!("it has {} names (hard links), and only one of them would change", meta.nlink())));
    }
    // A new file in its place would not ask what the old one allows.
    rustix::fs::access(&target, Access::WRITE_OK).map_err(|e| bad(e.to_string()))?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    rustix::fs::access(folder, Access::WRITE_OK).map_err(|e| bad(format!("its folder {}: {e}", folder.display())))?;
    Ok(target)
}

/// A file that is not there yet, readable by everybody.
pub fn create(path: &Path, text: &str) -> Result<(), String> {
    let bad = |why: String| format!("{} cannot be written: {why}", path.display());
    let mut beside = beside(path).map_err(&bad)?;
    let mode = std::fs::Permissions::from_mode(0o644);
    beside.as_file().set_permissions(mode).map_err(|e| bad(e.to_string()))?;
    beside.write_all(text.as_bytes()).and_then(|()| beside.as_file().sync_all()).map_err(|e| bad(e.to_string()))?;
    beside.persist_noclobber(path).map_err(|e| bad(e.error.to_string()))?;
    settle(path);
    Ok(())
}

fn beside(path: &Path) -> Result<tempfile::NamedTempFile, String> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix(".converge-")
        .tempfile_in(folder)
        .map_err(|e| format!("no file can be made beside it, in {}: {}", folder.display(), why(&e)))
}

/// Without the name of the file that was never made.
fn why(error: &std::io::Error) -> String {
    error.kind().to_string()
}

/// The new name is on the disk, too. The file is in its place by then, and a file system that cannot do this says so.
fn settle(path: &Path) {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if let Err(error) = std::fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!("{}: {error}", folder.display());
    }
}
