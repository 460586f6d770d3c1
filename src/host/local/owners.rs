//! Owners and groups: names from `/etc/passwd` and `/etc/group`, numbers where there is no name.
//!
//! In a rooted directory owners are remembered in a file and never set, so that it can stand for a machine
//! without the rights of root; what is not remembered belongs to root there.

use super::paths::Paths;
use crate::host::{LookError, StepError};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const RECORD: &str = ".owners";

pub struct Owners {
    /// The file that remembers, for a rooted directory.
    record: Option<PathBuf>,
    passwd: PathBuf,
    group: PathBuf,
}

/// Path as the host knows it → owner and group.
type Remembered = BTreeMap<PathBuf, (String, String)>;

impl Owners {
    pub fn of_machine() -> Self {
        Self { record: None, passwd: "/etc/passwd".into(), group: "/etc/group".into() }
    }

    pub fn of_root(root: &Path) -> Self {
        Self { record: Some(root.join(RECORD)), passwd: root.join("etc/passwd"), group: root.join("etc/group") }
    }

    pub fn hide_record(&self, paths: &Paths, dir: &Path, names: &mut Vec<String>) {
        if self.record.is_some() && dir == paths.root() {
            names.retain(|name| name != RECORD);
        }
    }

    /// Owner and group of what lies at `real`.
    pub fn of(&self, paths: &Paths, real: &Path, meta: &Metadata) -> Result<(String, String), LookError> {
        if self.record.is_some() {
            let remembered = self.remembered()?.remove(&paths.inside(real));
            return Ok(remembered.unwrap_or_else(|| ("root".into(), "root".into())));
        }
        let owner = name_of(&self.passwd, meta.uid())?;
        let group = name_of(&self.group, meta.gid())?;
        Ok((owner, group))
    }

    /// Sets (or remembers) owner and group; `None` leaves as is. Does not follow a link at `real`.
    pub fn set(&self, paths: &Paths, real: &Path, owner: Option<&str>, group: Option<&str>) -> Result<(), StepError> {
        if owner.is_none() && group.is_none() {
            return Ok(());
        }
        let uid = owner.map(|name| id_of(&self.passwd, name)).transpose()?;
        let gid = group.map(|name| id_of(&self.group, name)).transpose()?;
        if self.record.is_some() {
            let inside = paths.inside(real);
            return self.remember(|all| {
                let entry = all.entry(inside).or_insert_with(|| ("root".into(), "root".into()));
                // By name where there is one, as a look at a real machine would show it.
                if let Some((_, name)) = uid {
                    entry.0 = name;
                }
                if let Some((_, name)) = gid {
                    entry.1 = name;
                }
            });
        }
        std::os::unix::fs::lchown(real, uid.map(|u| u.0), gid.map(|g| g.0))
            .map_err(|e| StepError::Failed { what: format!("set the owner of {}", real.display()), why: e.to_string() })
    }

    /// What lay at `real` and below it is gone.
    pub fn forget(&self, paths: &Paths, real: &Path) -> Result<(), StepError> {
        let inside = paths.inside(real);
        if self.record.is_none() || !self.remembered()?.keys().any(|path| path.starts_with(&inside)) {
            return Ok(());
        }
        self.remember(|all| all.retain(|path, _| !path.starts_with(&inside)))
    }

    fn remembered(&self) -> Result<Remembered, LookError> {
        let Some(record) = &self.record else { return Ok(Remembered::new()) };
        let no = |why: String| LookError::cannot_tell(record.display().to_string(), why);
        match std::fs::read(record) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| no(e.to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Remembered::new()),
            Err(e) => Err(no(e.to_string())),
        }
    }

    fn remember(&self, change: impl FnOnce(&mut Remembered)) -> Result<(), StepError> {
        let Some(record) = &self.record else { return Ok(()) };
        let mut all = self.remembered()?;
        change(&mut all);
        let failed = |why: String| StepError::Failed { what: "remember owners".into(), why };
        let bytes = serde_json::to_vec(&all).map_err(|e| failed(e.to_string()))?;
        let dir = record.parent().unwrap_or(Path::new("/"));
        let temp = tempfile::NamedTempFile::new_in(dir).map_err(|e| failed(e.to_string()))?;
        std::fs::write(temp.path(), bytes).map_err(|e| failed(e.to_string()))?;
        temp.persist(record).map_err(|e| failed(e.to_string()))?;
        Ok(())
    }
}

/// `name:x:ID:…` lines, as both files have them.
fn entries(file: &Path) -> Result<Vec<(String, u32)>, LookError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(LookError::cannot_tell(file.display().to_string(), e)),
    };
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?.parse().ok()?;
        Some((name.to_owned(), id))
    };
    let mut all: Vec<(String, u32)> = text.lines().filter_map(entry).collect();
    if !all.iter().any(|(name, _)| name == "root") {
        all.push(("root".into(), 0));
    }
    Ok(all)
}

fn name_of(file: &Path, id: u32) -> Result<String, LookError> {
    let found = entries(file)?.into_iter().find(|(_, known)| *known == id);
    Ok(found.map_or_else(|| id.to_string(), |(name, _)| name))
}

/// The id of a name or a number, with the name to show.
fn id_of(file: &Path, wanted: &str) -> Result<(u32, String), StepError> {
    let all = entries(file)?;
    if let Some((name, id)) = all.iter().find(|(name, _)| name == wanted) {
        return Ok((*id, name.clone()));
    }
    let id: u32 = wanted.parse().map_err(|_| StepError::Failed {
        what: format!("owner or group `{wanted}`"),
        why: format!("there is no such name in {}", file.display()),
    })?;
    let name = all.into_iter().find(|(_, known)| *known == id).map_or_else(|| id.to_string(), |(name, _)| name);
    Ok((id, name))
}
