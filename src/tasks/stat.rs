//! `stat`: what a path is, for `register`.

use super::{ArgFault, Task, Touches, Verdict};
use crate::host::{self, FileKind, LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256, Sha512};
use std::path::{Component, Path, PathBuf};

/// Looks at a path; the answer stands under `stat` of the registered variable: `exists`, `isreg`, `isdir`, `islnk`,
/// `isblk`, `size`, `mode`, `pw_name`, `gr_name`, `mtime`, `lnk_target`, `lnk_source`, and `checksum` if asked for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stat {
    /// Absolute path.
    #[serde(alias = "name", alias = "dest")]
    pub path: String,
    /// Look at what a link points at, not at the link.
    #[serde(default)]
    pub follow: bool,
    /// Give the checksum of a regular file under `checksum`; without this field there is none.
    #[serde(default, alias = "checksum", skip_serializing_if = "Option::is_none")]
    pub checksum_algorithm: Option<Algorithm>,
    /// `false`: no checksum.
    #[serde(default = "yes")]
    pub get_checksum: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Sha256,
    Sha512,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    stat: Option<host::Stat>,
    /// Where a link leads in the end; `None` for anything else and for a link that leads nowhere.
    source: Option<String>,
    checksum: Option<String>,
}

/// As the kernel: more links than this are a loop.
const MAX_LINKS: usize = 40;

/// The path without `.` and `..`, as text alone can tell it.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// Follows links at the end of a path. `None`: it leads nowhere.
pub(super) fn follow(host: &dyn Probe, path: &Path) -> Result<Option<(PathBuf, host::Stat)>, LookError> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let Some(stat) = host.stat(&path)? else { return Ok(None) };
        match &stat.link_target {
            Some(target) if stat.kind == FileKind::Symlink => {
                path = lexical(&path.parent().unwrap_or(Path::new("/")).join(target));
            }
            _ => return Ok(Some((path, stat))),
        }
    }
    Err(LookError::cannot_tell(path.display().to_string(), "too many levels of symbolic links"))
}

impl Task for Stat {
    const KIND: &'static str = "stat";
    const EXAMPLE: &'static str = "\
- name: Is the resource described?
  stat:
    path: /etc/drbd.d/nfs1.res
    checksum_algorithm: sha256
  register: res
";
    const TOUCHES: Touches = Touches::Nothing;
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        if self.path.starts_with('/') {
            return Vec::new();
        }
        vec![ArgFault::at("path", "the path is not absolute")]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let path = Path::new(&self.path);
        let here = host.stat(path)?;
        let end = match &here {
            Some(stat) if stat.kind == FileKind::Symlink => follow(host, path)?,
            _ => None,
        };
        let source = end.as_ref().map(|(path, _)| path.display().to_string());
        let stat = match here {
            Some(stat) if stat.kind == FileKind::Symlink && self.follow => end.map(|(_, stat)| stat),
            other => other,
        };
        let is_file = stat.as_ref().is_some_and(|s| s.kind == FileKind::File);
        let checksum = match self.checksum_algorithm {
            Some(algorithm) if self.get_checksum && is_file => host.read(path)?.map(|bytes| match algorithm {
                Algorithm::Sha256 => hex(&Sha256::digest(bytes)),
                Algorithm::Sha512 => hex(&Sha512::digest(bytes)),
            }),
            _ => None,
        };
        Ok(Seen { stat, source, checksum })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let Some(stat) = &seen.stat else {
            return Verdict::ok(format!("{} does not exist", self.path)).data(json!({ "stat": { "exists": false } }));
        };
        let bit = |bit: u32| Json::Bool(stat.mode & bit != 0);
        let mut data = json!({
            "exists": true, "path": self.path,
            "isreg": stat.kind == FileKind::File, "isdir": stat.kind == FileKind::Directory,
            "islnk": stat.kind == FileKind::Symlink, "isblk": stat.kind == FileKind::BlockDevice,
            "size": stat.size_bytes, "mode": format!("{:04o}", stat.mode), "mtime": stat.modified_s,
            "pw_name": stat.owner, "gr_name": stat.group,
            "rusr": bit(0o400), "wusr": bit(0o200), "xusr": bit(0o100),
            "rgrp": bit(0o040), "wgrp": bit(0o020), "xgrp": bit(0o010),
            "roth": bit(0o004), "woth": bit(0o002), "xoth": bit(0o001),
            "isuid": bit(0o4000), "isgid": bit(0o2000),
        });
        for (key, value) in
            [("lnk_target", &stat.link_target), ("lnk_source", &seen.source), ("checksum", &seen.checksum)]
        {
            if let Some(value) = value {
                data[key] = Json::String(value.clone());
            }
        }
        let what = match stat.kind {
            FileKind::File => "a file",
            FileKind::Directory => "a directory",
            FileKind::Symlink => "a link",
            FileKind::BlockDevice => "a block device",
            FileKind::Other => "neither file nor directory",
        };
        Verdict::ok(format!("{} is {what}", self.path)).data(json!({ "stat": data }))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Local;
    use std::os::unix::fs::symlink;

    fn seen(path: &str, more: Json) -> (Json, String) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/file"), "abc").unwrap();
        symlink("../etc/file", dir.path().join("etc/link")).unwrap();
        symlink("nowhere", dir.path().join("etc/dangling")).unwrap();
        let mut args = json!({ "path": path });
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let task: Stat = serde_json::from_value(args).unwrap();
        let verdict = task.decide(&task.probe(&Local::rooted("pve1", dir.path())).unwrap());
        (verdict.data["stat"].clone(), format!("{:?}", verdict.decision))
    }

    #[test]
    fn files_links_and_nothing() {
        let (file, _) = seen("/etc/file", json!({"checksum_algorithm": "sha256"}));
        assert_eq!((&file["exists"], &file["isreg"], &file["size"]), (&json!(true), &json!(true), &json!(3)));
        assert_eq!(file["checksum"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let (link, _) = seen("/etc/link", json!({}));
        assert_eq!((&link["islnk"], &link["lnk_source"]), (&json!(true), &json!("/etc/file")));
        assert!(link.get("checksum").is_none());
        let (followed, _) = seen("/etc/link", json!({"follow": true}));
        assert_eq!(followed["isreg"], true);
        assert_eq!(seen("/etc/dangling", json!({"follow": true})).0, json!({"exists": false}));
        assert_eq!(seen("/etc/dangling", json!({})).0["islnk"], true);
        assert_eq!(seen("/none", json!({})).0, json!({"exists": false}));
    }
}
