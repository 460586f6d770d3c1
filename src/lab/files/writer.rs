//! Writing the files of one place, with the attributes that an ordinary user's file cannot have.
//!
//! What the kernel makes up is not written to, and `/etc/pve` only where the node is quorate and as pmxcfs allows.

use super::{FileError, Files, Spot, View, Zone, components};
use crate::host::{FileKind, Stat};
use crate::lab::virtual_files::Entry;
use crate::lab::world::{Attrs, Place, World};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// Largest file that pmxcfs takes.
const PMXCFS_MAX_BYTES: usize = 1024 * 1024;

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

    fn attrs_mut(&mut self, spot: &Spot) -> Option<&mut BTreeMap<String, Attrs>> {
        match (&spot.zone, self.place) {
            (Zone::Pmxcfs, _) | (Zone::Root, Place::Container(_)) => None,
            (Zone::Filesystem(fs), _) => {
                self.world.filesystems.get_mut(fs).and_then(|f| f.system.as_mut()).map(|s| &mut s.attrs)
            }
            (Zone::Root, Place::Node(node)) => Some(&mut self.world.node_mut(node).system.attrs),
        }
    }
}
