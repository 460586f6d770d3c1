//! File trees of the lab: paths as a node or container sees them → real files below the lab's directory.
//!
//! Links are followed inside the tree only; nothing outside of the lab's directory is ever touched. Owners and
//! modes are kept in the world, because an ordinary user cannot chown.

pub mod reference;
mod view;
mod writer;

pub use view::View;
pub use writer::Writer;

use super::device::FsId;
use super::virtual_files::Entry;
use std::path::{Path, PathBuf};

/// Where the lab's trees are.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn node_root(&self, node: &str) -> PathBuf {
        self.dir.join("nodes").join(node).join("root")
    }

    /// `/etc/pve`, one tree for all nodes.
    pub fn pve(&self) -> PathBuf {
        self.dir.join("pve")
    }

    /// The files on a file system, wherever it is replicated to.
    pub fn filesystem(&self, fs: &FsId) -> PathBuf {
        self.dir.join("devices").join(fs)
    }
}

/// Why a file operation did not happen, in the words of `strerror`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {text}")]
pub struct FileError {
    pub path: String,
    pub text: String,
}

impl FileError {
    pub fn new(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), text: text.into() }
    }

    fn io(path: &str, error: &std::io::Error) -> Self {
        let text = match error.kind() {
            std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "Permission denied".to_owned(),
            std::io::ErrorKind::AlreadyExists => "File exists".to_owned(),
            std::io::ErrorKind::IsADirectory => "Is a directory".to_owned(),
            std::io::ErrorKind::NotADirectory => "Not a directory".to_owned(),
            std::io::ErrorKind::DirectoryNotEmpty => "Directory not empty".to_owned(),
            _ => error.to_string(),
        };
        Self::new(path, text)
    }
}

/// Which tree a path lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Zone {
    Root,
    Pmxcfs,
    Filesystem(FsId),
}

/// A path after following links.
#[derive(Debug, Clone)]
struct Spot {
    /// As the place sees it, absolute and without links (but for a last one that was not to be followed).
    seen: String,
    real: PathBuf,
    zone: Zone,
    /// Within its zone, absolute: the key of its attributes.
    inner: String,
    entry: Option<Entry>,
}

fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|c| !c.is_empty() && *c != ".").map(str::to_owned)
}

fn join(parts: &[String]) -> String {
    format!("/{}", parts.join("/"))
}

/// Copies a tree with its links; what is not there copies to an empty directory.
pub fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    if !from.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
        } else if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
