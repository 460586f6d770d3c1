//! File trees of the lab: paths as a node or container sees them → real files below the lab's directory.
//!
//! Links are followed inside the tree only; nothing outside of the lab's directory is ever touched. Owners and
//! modes are kept in the world, because an ordinary user cannot chown.

use super::device::{self, FsId};
use super::virtual_files::{self, Entry};
use super::world::{Attrs, Place, World};
use crate::host::{FileKind, Stat};
use std::collections::{BTreeSet, VecDeque};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Largest file that pmxcfs takes.
const PMXCFS_MAX_BYTES: usize = 1024 * 1024;
const MAX_LINKS: usize = 40;

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

/// The files of one place, for reading.
pub struct View<'a> {
    pub world: &'a World,
    pub files: &'a Files,
    pub place: &'a Place,
}

impl View<'_> {
    fn locate(&self, seen: &str) -> Spot {
        let entry = match self.place {
            Place::Node(node) => virtual_files::lookup(self.world, node, seen),
            Place::Container(vmid) => virtual_files::lookup_container(self.world, *vmid, seen),
        };
        let (zone, inner, base) = self.zone_of(seen);
        let real = base.join(inner.trim_start_matches('/'));
        let entry = entry.or_else(|| self.pmxcfs_link(&zone, &inner));
        Spot { seen: seen.to_owned(), real, zone, inner, entry }
    }

    fn zone_of(&self, seen: &str) -> (Zone, String, PathBuf) {
        let below = |top: &str| {
            let rest = seen.strip_prefix(top)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| if rest.is_empty() { "/" } else { rest }.to_owned())
        };
        match self.place {
            Place::Node(node) => {
                for mount in device::mounts_of(self.world, self.place).iter().rev() {
                    if let (Some(fs), Some(inner)) = (&mount.fs, below(&mount.target)) {
                        return (Zone::Filesystem(fs.clone()), inner, self.files.filesystem(fs));
                    }
                }
                match below("/etc/pve") {
                    Some(inner) => (Zone::Pmxcfs, inner, self.files.pve()),
                    None => (Zone::Root, seen.to_owned(), self.files.node_root(node)),
                }
            }
            Place::Container(vmid) => {
                let running = self.world.guests.get(vmid).and_then(|g| g.running.as_ref());
                let fs = running.map(|r| r.rootfs.clone()).unwrap_or_else(|| "none".into());
                (Zone::Filesystem(fs.clone()), seen.to_owned(), self.files.filesystem(&fs))
            }
        }
    }

    /// The links that pmxcfs makes up for each node.
    fn pmxcfs_link(&self, zone: &Zone, inner: &str) -> Option<Entry> {
        let (Zone::Pmxcfs, Place::Node(me)) = (zone, self.place) else { return None };
        let target = match inner {
            "/local" => format!("nodes/{me}"),
            "/lxc" => format!("nodes/{me}/lxc"),
            "/qemu-server" => format!("nodes/{me}/qemu-server"),
            "/openvz" => format!("nodes/{me}/openvz"),
            _ => return None,
        };
        Some(Entry::Link(target))
    }

    fn walk(&self, path: &str, follow_last: bool) -> Result<Spot, FileError> {
        let mut todo: VecDeque<String> = components(path).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            done.push(name);
            let spot = self.locate(&join(&done));
            let link = match &spot.entry {
                Some(Entry::Link(target)) => Some(target.clone()),
                Some(_) => None,
                None => std::fs::read_link(&spot.real).ok().map(|t| t.to_string_lossy().into_owned()),
            };
            if let Some(target) = link {
                if todo.is_empty() && !follow_last {
                    break;
                }
                links += 1;
                if links > MAX_LINKS {
                    return Err(FileError::new(path, "Too many levels of symbolic links"));
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                for part in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    todo.push_front(part);
                }
            } else if !todo.is_empty() && self.is_file(&spot) {
                return Err(FileError::new(path, "Not a directory"));
            }
        }
        Ok(self.locate(&join(&done)))
    }

    fn is_file(&self, spot: &Spot) -> bool {
        match &spot.entry {
            Some(entry) => !matches!(entry, Entry::Dir(_)),
            None => spot.real.symlink_metadata().is_ok_and(|m| !m.is_dir()),
        }
    }

    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        let spot = match self.walk(path, true) {
            Err(error) if error.text == "Not a directory" => return Ok(None),
            spot => spot?,
        };
        match spot.entry {
            Some(Entry::File(bytes)) => return Ok(Some(bytes)),
            Some(Entry::Dir(_)) => return Err(FileError::new(path, "Is a directory")),
            Some(Entry::Block { .. }) => {
                return Err(FileError::new(path, "is a block device; the lab does not simulate reading one as a file"));
            }
            Some(Entry::Link(_)) | None => {}
        }
        match std::fs::read(&spot.real) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(FileError::io(path, &e)),
        }
    }

    /// `read` as text, `None` also for what is no text: for the lab's own needs.
    pub fn text(&self, path: &str) -> Option<String> {
        self.read(path).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok())
    }

    /// The path without links.
    pub fn canonical(&self, path: &str) -> Result<String, FileError> {
        self.walk(path, true).map(|spot| spot.seen)
    }

    pub fn exists(&self, path: &str) -> bool {
        let Ok(spot) = self.walk(path, true) else { return false };
        spot.entry.is_some() || spot.real.symlink_metadata().is_ok()
    }

    /// `lstat`.
    pub fn stat(&self, path: &str) -> Result<Option<Stat>, FileError> {
        let spot = match self.walk(path, false) {
            Err(error) if error.text == "Not a directory" => return Ok(None),
            spot => spot?,
        };
        if let Some(entry) = &spot.entry {
            return Ok(Some(self.entry_stat(entry, &spot)));
        }
        let meta = match spot.real.symlink_metadata() {
            Ok(meta) => meta,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(FileError::io(path, &e)),
        };
        let kind = if meta.is_symlink() {
            FileKind::Symlink
        } else if meta.is_dir() {
            FileKind::Directory
        } else {
            FileKind::File
        };
        let (mode, owner, group) = self.attributes(&spot, kind, &meta);
        let link_target = std::fs::read_link(&spot.real).ok().map(|t| t.to_string_lossy().into_owned());
        Ok(Some(Stat { kind, mode, owner, group, size_bytes: meta.len(), link_target, modified_s: meta.mtime() }))
    }

    fn entry_stat(&self, entry: &Entry, spot: &Spot) -> Stat {
        let (kind, mode, group, size, link) = match entry {
            Entry::File(bytes) => {
                (FileKind::File, if spot.zone == Zone::Root { 0o444 } else { 0o640 }, "root", bytes.len(), None)
            }
            Entry::Dir(_) => (FileKind::Directory, 0o555, "root", 0, None),
            Entry::Link(target) => (FileKind::Symlink, 0o777, "root", target.len(), Some(target.clone())),
            Entry::Block { .. } => (FileKind::BlockDevice, 0o660, "disk", 0, None),
        };
        let modified_s = match self.place {
            Place::Node(node) => self.world.node(node).booted_at_s,
            Place::Container(_) => 0,
        };
        Stat {
            kind,
            mode,
            owner: "root".into(),
            group: group.into(),
            size_bytes: size as u64,
            link_target: link,
            modified_s,
        }
    }

    fn attributes(&self, spot: &Spot, kind: FileKind, meta: &std::fs::Metadata) -> (u32, String, String) {
        if spot.zone == Zone::Pmxcfs {
            let private = spot.inner.starts_with("/priv");
            let mode = match (kind, private) {
                (FileKind::Directory, true) => 0o700,
                (FileKind::Directory, false) => 0o755,
                (_, true) => 0o600,
                (_, false) => 0o640,
            };
            return (mode, "root".into(), "www-data".into());
        }
        let kept = self.attrs_map(spot).and_then(|attrs| attrs.get(&spot.inner)).cloned().unwrap_or_default();
        let executable = meta.permissions().mode() & 0o100 != 0;
        let default = match kind {
            FileKind::Symlink => 0o777,
            FileKind::Directory => 0o755,
            _ if executable => 0o755,
            _ => 0o644,
        };
        let root = || "root".to_owned();
        (kept.mode.unwrap_or(default), kept.owner.unwrap_or_else(root), kept.group.unwrap_or_else(root))
    }

    fn attrs_map(&self, spot: &Spot) -> Option<&std::collections::BTreeMap<String, Attrs>> {
        match (&spot.zone, self.place) {
            (Zone::Pmxcfs, _) => None,
            (Zone::Filesystem(fs), _) => {
                self.world.filesystems.get(fs).and_then(|f| f.system.as_ref()).map(|s| &s.attrs)
            }
            (Zone::Root, Place::Node(node)) => Some(&self.world.node(node).system.attrs),
            (Zone::Root, Place::Container(_)) => None,
        }
    }

    pub fn list(&self, path: &str) -> Result<Option<Vec<String>>, FileError> {
        let spot = match self.walk(path, true) {
            Err(error) if error.text == "Not a directory" => return Ok(None),
            spot => spot?,
        };
        let mut names = BTreeSet::new();
        let mut there = false;
        match &spot.entry {
            Some(Entry::Dir(made_up)) => {
                there = true;
                names.extend(made_up.iter().cloned());
            }
            Some(_) => return Err(FileError::new(path, "Not a directory")),
            None => {}
        }
        match std::fs::read_dir(&spot.real) {
            Ok(entries) => {
                there = true;
                for entry in entries {
                    let entry = entry.map_err(|e| FileError::io(path, &e))?;
                    names.insert(entry.file_name().to_string_lossy().into_owned());
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound || there => {}
            Err(e) => return Err(FileError::io(path, &e)),
        }
        if spot.zone == Zone::Pmxcfs && spot.inner == "/" {
            names.extend(["local", "lxc", "qemu-server", "openvz"].map(str::to_owned));
        }
        Ok(there.then(|| names.into_iter().collect()))
    }
}

fn components(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|c| !c.is_empty() && *c != ".").map(str::to_owned)
}

fn join(parts: &[String]) -> String {
    format!("/{}", parts.join("/"))
}

/// The files of one place, for writing.
pub struct Writer<'a> {
    pub world: &'a mut World,
    pub files: &'a Files,
    pub place: &'a Place,
}

impl Writer<'_> {
    pub fn view(&self) -> View<'_> {
        View { world: self.world, files: self.files, place: self.place }
    }

    fn writable(&self, path: &str, follow_last: bool) -> Result<Spot, FileError> {
        let spot = self.view().walk(path, follow_last)?;
        if spot.entry.is_some() && !(matches!(spot.entry, Some(Entry::Dir(_))) && spot.zone != Zone::Root) {
            return Err(FileError::new(path, "Permission denied"));
        }
        if spot.seen == "/proc"
            || spot.seen == "/sys"
            || spot.seen.starts_with("/proc/")
            || spot.seen.starts_with("/sys/")
        {
            return Err(FileError::new(path, "Permission denied"));
        }
        if let (Zone::Pmxcfs, Place::Node(node)) = (&spot.zone, self.place)
            && !self.world.quorate(node)
        {
            return Err(FileError::new(path, "Permission denied"));
        }
        Ok(spot)
    }

    /// Writes through links, beside and renamed. Attributes of an existing file stay.
    pub fn write(&mut self, path: &str, content: &[u8]) -> Result<(), FileError> {
        let spot = self.writable(path, true)?;
        if spot.real.is_dir() {
            return Err(FileError::new(path, "Is a directory"));
        }
        let parent = spot.real.parent().ok_or_else(|| FileError::new(path, "Is a directory"))?.to_path_buf();
        if !parent.is_dir() {
            return Err(FileError::new(path, "No such file or directory"));
        }
        if spot.zone == Zone::Pmxcfs {
            self.pmxcfs_takes(path, &spot, content.len())?;
        }
        // Kept as it was: hard attributes such as the executable bit survive the replacement.
        let permissions = spot.real.metadata().ok().map(|m| m.permissions());
        let beside = parent.join(format!(".lab-{}.tmp", std::process::id()));
        std::fs::write(&beside, content).map_err(|e| FileError::io(path, &e))?;
        if let Some(permissions) = permissions {
            std::fs::set_permissions(&beside, permissions).map_err(|e| FileError::io(path, &e))?;
        }
        std::fs::rename(&beside, &spot.real).map_err(|e| FileError::io(path, &e))
    }

    fn pmxcfs_takes(&self, path: &str, spot: &Spot, len: usize) -> Result<(), FileError> {
        if len > PMXCFS_MAX_BYTES {
            return Err(FileError::new(path, "File too large"));
        }
        if spot.real.exists() {
            return Ok(());
        }
        let parts: Vec<&str> = spot.inner.split('/').skip(1).collect();
        let ["nodes", _, "lxc" | "qemu-server", config] = parts[..] else { return Ok(()) };
        let taken = std::fs::read_dir(self.files.pve().join("nodes"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|node| ["lxc", "qemu-server"].iter().any(|k| node.path().join(k).join(config).exists()));
        if taken { Err(FileError::new(path, "File exists")) } else { Ok(()) }
    }

    pub fn create_dir(&mut self, path: &str) -> Result<(), FileError> {
        let spot = self.writable(path, true)?;
        match std::fs::create_dir(&spot.real) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && spot.real.is_dir() => Ok(()),
            result => result.map_err(|e| FileError::io(path, &e)),
        }
    }

    /// With parents.
    pub fn create_dir_all(&mut self, path: &str) -> Result<(), FileError> {
        let mut so_far = String::new();
        for part in components(path).collect::<Vec<_>>() {
            so_far = format!("{so_far}/{part}");
            if !self.view().exists(&so_far) {
                self.create_dir(&so_far)?;
            }
        }
        Ok(())
    }

    /// A file with its parents and mode, for what packages ship.
    pub fn ship(&mut self, path: &str, content: &[u8], mode: u32) -> Result<(), FileError> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.create_dir_all(parent)?;
        }
        self.write(path, content)?;
        if mode == 0o644 { Ok(()) } else { self.set_attrs(path, Some(mode), None, None) }
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), FileError> {
        let spot = self.writable(path, false)?;
        if spot.zone == Zone::Pmxcfs {
            return Err(FileError::new(path, "Operation not permitted"));
        }
        if spot.real.symlink_metadata().is_ok_and(|m| !m.is_dir()) {
            std::fs::remove_file(&spot.real).map_err(|e| FileError::io(path, &e))?;
        }
        std::os::unix::fs::symlink(target, &spot.real).map_err(|e| FileError::io(path, &e))
    }

    /// A missing path is no error.
    pub fn remove(&mut self, path: &str, recursive: bool) -> Result<(), FileError> {
        let spot = self.writable(path, false)?;
        let Ok(meta) = spot.real.symlink_metadata() else { return Ok(()) };
        let result = match (meta.is_dir(), recursive) {
            (true, true) => std::fs::remove_dir_all(&spot.real),
            (true, false) => std::fs::remove_dir(&spot.real),
            (false, _) => std::fs::remove_file(&spot.real),
        };
        result.map_err(|e| FileError::io(path, &e))?;
        let below = format!("{}/", spot.inner);
        let kept = self.view().attrs_map(&spot).is_some_and(|a| a.keys().any(|p| p.starts_with(&spot.inner)));
        if kept && let Some(attrs) = self.attrs_mut(&spot) {
            attrs.retain(|p, _| *p != spot.inner && !p.starts_with(&below));
        }
        Ok(())
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), FileError> {
        let (source, target) = (self.writable(from, false)?, self.writable(to, false)?);
        if source.zone != target.zone {
            return Err(FileError::new(to, "Invalid cross-device link"));
        }
        if !source.real.exists() && source.real.symlink_metadata().is_err() {
            return Err(FileError::new(from, "No such file or directory"));
        }
        std::fs::rename(&source.real, &target.real).map_err(|e| FileError::io(to, &e))?;
        let target_inner = target.inner.clone();
        let kept = self
            .view()
            .attrs_map(&source)
            .is_some_and(|a| a.contains_key(&source.inner) || a.contains_key(&target.inner));
        if kept && let Some(attrs) = self.attrs_mut(&source) {
            attrs.remove(&target_inner);
            if let Some(kept) = attrs.remove(&source.inner) {
                attrs.insert(target_inner, kept);
            }
        }
        Ok(())
    }

    /// Follows links, as chmod and chown do.
    pub fn set_attrs(
        &mut self,
        path: &str,
        mode: Option<u32>,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), FileError> {
        let Some(now) = self.view().stat(&self.view().walk(path, true)?.seen)? else {
            return Err(FileError::new(path, "No such file or directory"));
        };
        let spot = self.writable(path, true)?;
        if spot.zone == Zone::Pmxcfs {
            let same = mode.is_none_or(|m| m == now.mode)
                && owner.is_none_or(|o| o == now.owner)
                && group.is_none_or(|g| g == now.group);
            return if same { Ok(()) } else { Err(FileError::new(path, "Operation not permitted")) };
        }
        let stat = Stat {
            mode: mode.unwrap_or(now.mode),
            owner: owner.unwrap_or(&now.owner).to_owned(),
            group: group.unwrap_or(&now.group).to_owned(),
            ..now
        };
        self.keep_real_mode(&spot, &stat)?;
        let fresh_mode = if stat.kind == FileKind::Directory { 0o755 } else { 0o644 };
        let kept = Attrs {
            mode: (stat.mode != fresh_mode).then_some(stat.mode),
            owner: (stat.owner != "root").then_some(stat.owner),
            group: (stat.group != "root").then_some(stat.group),
        };
        if self.view().attrs_map(&spot).and_then(|a| a.get(&spot.inner)).cloned().unwrap_or_default() == kept {
            return Ok(());
        }
        let Some(attrs) = self.attrs_mut(&spot) else { return Ok(()) };
        if kept == Attrs::default() {
            attrs.remove(&spot.inner);
        } else {
            attrs.insert(spot.inner.clone(), kept);
        }
        Ok(())
    }

    /// What is secret in the lab is secret on this machine, and stays readable for the lab itself.
    fn keep_real_mode(&self, spot: &Spot, stat: &Stat) -> Result<(), FileError> {
        let own = if stat.kind == FileKind::Directory || stat.mode & 0o111 != 0 { 0o700 } else { 0o600 };
        let others = if stat.mode & 0o077 == 0 { 0 } else { own >> 3 & 0o055 | own >> 6 & 0o005 };
        let mode = own | (others & stat.mode);
        std::fs::set_permissions(&spot.real, std::fs::Permissions::from_mode(mode))
            .map_err(|e| FileError::io(&spot.seen, &e))
    }

    fn attrs_mut(&mut self, spot: &Spot) -> Option<&mut std::collections::BTreeMap<String, Attrs>> {
        match (&spot.zone, self.place) {
            (Zone::Pmxcfs, _) | (Zone::Root, Place::Container(_)) => None,
            (Zone::Filesystem(fs), _) => {
                self.world.filesystems.get_mut(fs).and_then(|f| f.system.as_mut()).map(|s| &mut s.attrs)
            }
            (Zone::Root, Place::Node(node)) => Some(&mut self.world.node_mut(node).system.attrs),
        }
    }
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
