//! Reading the files of one place: what is made up by the kernel or pmxcfs, then what lies below the lab's directory.
//!
//! Links are followed inside the tree only, and never more than forty; a block device is not read as a file.

use super::{FileError, Files, Spot, Zone, components, join, reference};
use crate::host::{FileKind, Stat};
use crate::lab::device;
use crate::lab::virtual_files::{self, Entry};
use crate::lab::world::{Attrs, Place, World};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

const MAX_LINKS: usize = 40;

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

    pub(super) fn walk(&self, path: &str, follow_last: bool) -> Result<Spot, FileError> {
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
            Ok(bytes) => reference::resolve(bytes).map(Some).map_err(|text| FileError::new(path, text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(FileError::io(path, &e)),
        }
    }

    /// The build of converge that a file stands for, if it is one of those.
    pub fn reference(&self, path: &str) -> Option<crate::host::OwnProgram> {
        reference::read(&self.walk(path, true).ok()?.real)
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
        let referred = (meta.len() == reference::LENGTH && mode & 0o111 != 0).then(|| reference::read(&spot.real));
        let size_bytes = referred.flatten().map_or(meta.len(), |program| program.size_bytes);
        Ok(Some(Stat { kind, mode, owner, group, size_bytes, link_target, modified_s: meta.mtime() }))
    }

    fn entry_stat(&self, entry: &Entry, spot: &Spot) -> Stat {
        let (kind, mode, group, size, link) = match entry {
            Entry::File(bytes) => {
                (FileKind::File, if spot.zone == Zone::Root { 0o444 } else { 0o640 }, "root", bytes.len(), None)
            }
            Entry::Dir(_) => (FileKind::Directory, 0o555, "root", 0, None),
            Entry::Link(target) => {
                // This is how pmxcfs says that it is read-only.
                let quorate = match (&spot.zone, self.place) {
                    (Zone::Pmxcfs, Place::Node(node)) => self.world.quorate(node),
                    _ => true,
                };
                let mode = if quorate { 0o777 } else { 0o555 };
                (FileKind::Symlink, mode, "root", target.len(), Some(target.clone()))
            }
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

    pub(super) fn attrs_map(&self, spot: &Spot) -> Option<&BTreeMap<String, Attrs>> {
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
