//! Where a path of the host lies on this machine. Paths must be absolute.

use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path, PathBuf};

/// As the kernel: more links than this in one path are a loop.
const MAX_LINKS: usize = 40;

pub struct Paths {
    /// `None`: this machine itself, whose kernel resolves paths.
    root: Option<PathBuf>,
}

impl Paths {
    pub fn machine() -> Self {
        Self { root: None }
    }

    pub fn rooted(dir: PathBuf) -> Self {
        Self { root: Some(dir) }
    }

    pub fn is_machine(&self) -> bool {
        self.root.is_none()
    }

    pub fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new("/"))
    }

    /// Where `path` lies, all links followed.
    pub fn followed(&self, path: &Path) -> Result<PathBuf> {
        self.resolve(path, true)
    }

    /// Where `path` lies; a link as the last component stays.
    pub fn unfollowed(&self, path: &Path) -> Result<PathBuf> {
        self.resolve(path, false)
    }

    /// The path as the host knows it.
    pub fn inside(&self, real: &Path) -> PathBuf {
        match &self.root {
            None => real.to_path_buf(),
            Some(root) => Path::new("/").join(real.strip_prefix(root).unwrap_or(real)),
        }
    }

    /// Walks component by component, as `openat2` with `RESOLVE_IN_ROOT` does: `..` stops at the root, an absolute
    /// link starts there again. Not that call itself, since missing tails must resolve too (a file to be created).
    fn resolve(&self, path: &Path, follow_last: bool) -> Result<PathBuf> {
        if !path.is_absolute() {
            return Err(Error::new(ErrorKind::InvalidInput, "the path is not absolute"));
        }
        let Some(root) = &self.root else { return Ok(path.to_path_buf()) };
        let mut real = root.clone();
        let mut links = 0;
        let mut rest: Vec<PathBuf> = parts(path);
        while let Some(part) = rest.pop() {
            if part == Path::new("..") {
                if real != *root {
                    real.pop();
                }
                continue;
            }
            let here = real.join(&part);
            match std::fs::symlink_metadata(&here) {
                Ok(meta) if meta.is_symlink() && (follow_last || !rest.is_empty()) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::other("too many levels of symbolic links"));
                    }
                    let target = std::fs::read_link(&here)?;
                    if target.is_absolute() {
                        real = root.clone();
                    }
                    rest.extend(parts(&target));
                }
                Ok(meta) if !meta.is_dir() && !rest.is_empty() => return Err(ErrorKind::NotADirectory.into()),
                Ok(_) => real = here,
                Err(e) if e.kind() == ErrorKind::NotFound => real = here,
                Err(e) => return Err(e),
            }
        }
        Ok(real)
    }
}

/// The components, last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let named = |component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(named).collect()
}
