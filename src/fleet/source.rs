//! Reads a file or a whole directory of this machine for a task that copies it.
//!
//! Refuses what cannot be copied as it is: sockets and devices, links that lead nowhere or back to themselves, names
//! that are not UTF-8, and more than a task should carry.

use crate::host::Bytes;
use crate::tasks::{Source, SourceEntry, SourceItem};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files, directories and links of one source.
const MAX_ENTRIES: usize = 2000;
/// Bytes of all files of a directory: they travel to every host in one message.
const MAX_BYTES: u64 = 16 << 20;

/// `Ok(None)`: there is nothing at this path. An error is a person's sentence.
pub fn read(path: &Path, follow: bool) -> Result<Option<Source>, String> {
    let shown = path.display().to_string();
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(format!("{shown}: {e}")),
    };
    let mut walk = Walk { root: path, follow, bytes: 0, entries: Vec::new(), above: Vec::new() };
    if meta.is_dir() {
        walk.directory(path, "")?;
    } else {
        // A file alone is bounded by what it always was.
        walk.entries.push(SourceEntry { path: String::new(), item: file(path, &meta)? });
    }
    Ok(Some(Source { path: shown, entries: walk.entries }))
}

struct Walk<'a> {
    root: &'a Path,
    follow: bool,
    bytes: u64,
    entries: Vec<SourceEntry>,
    /// Directories that are being read, by their real names.
    above: Vec<PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, relative: &str) -> Result<(), String> {
        let fault = |e: std::io::Error| format!("{}: {e}", path.display());
        let real = fs::canonicalize(path).map_err(fault)?;
        if self.above.contains(&real) {
            return Err(format!("{} leads back to {}, so it has no end", path.display(), real.display()));
        }
        self.push(relative, SourceItem::Directory)?;
        self.above.push(real);
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(fault)? {
            let name = entry.map_err(fault)?.file_name();
            names.push(
                name.into_string()
                    .map_err(|name| format!("{}: the name {} is not UTF-8", path.display(), name.to_string_lossy()))?,
            );
        }
        names.sort();
        for name in names {
            let below = if relative.is_empty() { name.clone() } else { format!("{relative}/{name}") };
            self.entry(&path.join(name), &below)?;
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: &Path, relative: &str) -> Result<(), String> {
        let fault = |e: std::io::Error| format!("{}: {e}", path.display());
        let own = fs::symlink_metadata(path).map_err(fault)?;
        if own.is_symlink() && !self.follow {
            let target = fs::read_link(path).map_err(fault)?;
            let target = target.to_str().ok_or_else(|| format!("{}: its target is not UTF-8", path.display()))?;
            return self.push(relative, SourceItem::Link { target: target.to_owned() });
        }
        let meta = fs::metadata(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                format!("{} is a link that leads nowhere; `local_follow: false` copies it as it is", path.display())
            }
            _ => fault(e),
        })?;
        if meta.is_dir() {
            return self.directory(path, relative);
        }
        self.bytes += meta.len();
        self.bounded()?;
        let item = file(path, &meta)?;
        self.push(relative, item)
    }

    fn push(&mut self, relative: &str, item: SourceItem) -> Result<(), String> {
        self.entries.push(SourceEntry { path: relative.to_owned(), item });
        self.bounded()
    }

    fn bounded(&self) -> Result<(), String> {
        let what = match () {
            () if self.entries.len() > MAX_ENTRIES => format!("more than {MAX_ENTRIES} entries"),
            () if self.bytes > MAX_BYTES => format!("more than {} MiB", MAX_BYTES >> 20),
            () => return Ok(()),
        };
        let root = self.root.display();
        Err(format!(
            "{root} has {what}, too much for `copy`: pack it, bring the archive with `get_url` and unpack it with `command`"
        ))
    }
}

fn file(path: &Path, meta: &Metadata) -> Result<SourceItem, String> {
    if !meta.is_file() {
        return Err(format!("{} is neither a file nor a directory", path.display()));
    }
    let content = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(SourceItem::File { mode: meta.permissions().mode() & 0o7777, content: Bytes(content) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(source: &Source) -> Vec<(&str, &'static str)> {
        let kind = |item: &SourceItem| match item {
            SourceItem::Directory => "directory",
            SourceItem::File { .. } => "file",
            SourceItem::Link { .. } => "link",
        };
        source.entries.iter().map(|e| (e.path.as_str(), kind(&e.item))).collect()
    }

    #[test]
    fn a_directory_is_read_with_all_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("conf");
        fs::create_dir_all(root.join("b/empty")).unwrap();
        fs::write(root.join("b/x"), [0xff, 0]).unwrap();
        fs::write(root.join("a.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("a.sh"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("a.sh", root.join("c")).unwrap();
        symlink("b", root.join("d")).unwrap();
        let found = read(&root, true).unwrap().unwrap();
        let expected = [
            ("", "directory"),
            ("a.sh", "file"),
            ("b", "directory"),
            ("b/empty", "directory"),
            ("b/x", "file"),
            ("c", "file"),
            ("d", "directory"),
            ("d/empty", "directory"),
            ("d/x", "file"),
        ];
        assert_eq!(names(&found), expected);
        let mode = found.entries.iter().find_map(|e| match e.item {
            SourceItem::File { mode, .. } if e.path == "c" => Some(mode),
            _ => None,
        });
        assert_eq!(mode, Some(0o750));
        let kept = read(&root, false).unwrap().unwrap();
        assert_eq!(names(&kept)[5..], [("c", "link"), ("d", "link")]);
        assert_eq!(names(&read(&root.join("a.sh"), true).unwrap().unwrap()), [("", "file")]);
        assert_eq!(read(&root.join("gone"), true), Ok(None));
    }

    #[test]
    fn what_cannot_be_copied_is_refused_by_name() {
        let fault = |lay: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            lay(dir.path());
            read(dir.path(), true).unwrap_err()
        };
        assert!(fault(&|d| symlink("nowhere", d.join("l")).unwrap()).contains("leads nowhere"));
        assert!(fault(&|d| symlink(".", d.join("l")).unwrap()).contains("has no end"));
        let many = fault(&|d| (0..MAX_ENTRIES).for_each(|n| fs::write(d.join(n.to_string()), "").unwrap()));
        assert!(many.contains("more than 2000 entries"), "{many}");
        let sparse = fault(&|d| fs::File::create(d.join("x")).unwrap().set_len(MAX_BYTES + 1).unwrap());
        assert!(sparse.contains("more than 16 MiB"), "{sparse}");
        let socket = fault(&|d| drop(std::os::unix::net::UnixListener::bind(d.join("s")).unwrap()));
        assert!(socket.contains("neither a file nor a directory"), "{socket}");
    }
}
