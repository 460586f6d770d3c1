//! `apt_repository`: a package source with the key that signs it.
//!
//! Refuses a key whose SHA-256 is not the one named, and a source that would contradict another one's `Signed-By`,
//! because apt then refuses to work at all. `apt-key` is never used: a key there may sign for every source.

mod decide;
mod sources;

use super::args::{FileMode, OneOrMany};
use super::managed::{self, Found};
use super::{ArgFault, ResolveError, Task, Verdict, Workstation, apt};
use crate::host::{Bytes, FileKind, LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sources::Entry;
use std::path::Path;

const PARTS: &str = "/etc/apt/sources.list.d";
const KEYRINGS: &str = "/etc/apt/keyrings";

/// Describes one package source. It is written in the format of the release (deb822 `.sources` from Debian 13 and Ubuntu
/// 24.04 on, `.list` before), with its own key ring and `Signed-By`. The next `apt` task that needs the package lists
/// fetches them anew. Also known as `deb822_repository`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AptRepository {
    /// Name of the file in `/etc/apt/sources.list.d`, without ending. Made from the URI if only `repo` is given.
    #[serde(default, alias = "filename", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The source as one line: `deb http://packages.linbit.com/public/ proxmox-9 drbd-9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// `deb`, `deb-src` or both.
    #[serde(default = "deb")]
    pub types: OneOrMany,
    /// Where the archive is.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    pub uris: OneOrMany,
    /// Suites, such as `proxmox-9`; one that ends with `/` is a path and has no components.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    pub suites: OneOrMany,
    /// Components, such as `drbd-9`.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    pub components: OneOrMany,
    /// Architectures; all that dpkg knows if empty.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    pub architectures: OneOrMany,
    /// The key in short: a path of a key ring that is on the host, an armored key, or a URL (with `key_sha256`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// Where the host fetches the key. Needs `key_sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_url: Option<String>,
    /// SHA-256 of the key file. A key with another one is never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_sha256: Option<String>,
    /// A key file of the workstation, searched in `files/` first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The armored key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `present` writes the source and its keyring, `absent` removes them.
    #[serde(default)]
    pub state: State,
    /// `false`: the source stays written down and is not used.
    #[serde(default = "super::copy::yes")]
    pub enabled: bool,
    /// How the source is written: by the release of the host, unless it is said here.
    #[serde(default)]
    pub format: Format,
    /// `true`: use the source without a signature. For a local archive only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<bool>,
    /// Permission bits of the source file.
    #[serde(default = "readable")]
    pub mode: FileMode,
    /// Fetch the package lists right after a change instead of leaving that to the next `apt` task.
    #[serde(default)]
    pub update_cache: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    resolved: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// By the release of the host; a `.sources` file that is there stays one.
    #[default]
    Auto,
    Deb822,
    List,
}

fn deb() -> OneOrMany {
    OneOrMany::from_iter(["deb"])
}
fn readable() -> FileMode {
    FileMode::octal(0o644)
}

/// Where the key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    None,
    /// A key ring on the host that somebody else keeps.
    Ring(String),
    /// Fetched by the host into `path`.
    Url {
        url: String,
        sha256: String,
        path: String,
    },
    Bytes {
        bytes: Vec<u8>,
        path: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// `ID` and major number of `VERSION_ID` in os-release.
    os: Option<(String, u32)>,
    sources: Found,
    list: Found,
    key: Option<Found>,
    keyrings_exist: bool,
    /// Sources of all other files.
    others: Vec<Entry>,
    /// Files that mention our key ring, ours left out.
    key_users: Vec<String>,
    lists: apt::Lists,
    /// Text of other `.list` files that hold the source, for taking it out.
    foreign_lists: Vec<(String, String)>,
}

impl AptRepository {
    fn name(&self) -> String {
        match (&self.name, self.uris().first()) {
            (Some(name), _) => name.strip_suffix(".list").or(name.strip_suffix(".sources")).unwrap_or(name).to_owned(),
            // As Ansible makes it: the URI without its scheme, words joined by `_`.
            (None, Some(uri)) => {
                let place = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
                let words = place.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
                words.collect::<Vec<_>>().join("_")
            }
            (None, None) => String::new(),
        }
    }

    fn line(&self) -> Option<Entry> {
        self.repo.as_deref().and_then(sources::one_line)
    }

    fn uris(&self) -> Vec<String> {
        match self.line() {
            Some(entry) => vec![entry.uri],
            None => self.uris.iter().map(str::to_owned).collect(),
        }
    }

    fn wanted(&self) -> sources::Wanted {
        let all = |list: &OneOrMany| list.iter().map(str::to_owned).collect::<Vec<_>>();
        let signed_by = match self.key_source() {
            Key::None => self.line().and_then(|entry| entry.signed_by),
            Key::Ring(path) | Key::Url { path, .. } | Key::Bytes { path, .. } => Some(path),
        };
        let mut wanted = sources::Wanted {
            types: all(&self.types),
            uris: all(&self.uris),
            suites: all(&self.suites),
            components: all(&self.components),
            architectures: all(&self.architectures),
            signed_by,
            trusted: self.trusted,
            enabled: self.enabled,
        };
        if let Some(entry) = self.line() {
            let (arch, trusted, _) = sources::options(self.repo.as_deref().unwrap_or_default());
            (wanted.types, wanted.uris, wanted.suites) = (vec![entry.kind], vec![entry.uri], vec![entry.suite]);
            wanted.components = entry.components;
            wanted.trusted = wanted.trusted.or(trusted);
            if wanted.architectures.is_empty() {
                wanted.architectures = arch;
            }
        }
        wanted
    }

    fn url(&self) -> Option<&str> {
        self.key_url.as_deref().or_else(|| self.signed_by.as_deref().filter(|text| text.contains("://")))
    }

    fn key_source(&self) -> Key {
        let ring = |armored: bool| format!("{KEYRINGS}/{}.{}", self.name(), if armored { "asc" } else { "gpg" });
        let inline = self.key.as_deref().or(self.signed_by.as_deref().filter(|text| text.contains("-----BEGIN")));
        if let Some(url) = self.url() {
            // apt tells armored from binary by the ending, and the content is not known here.
            let binary = [".gpg", ".pgp", ".kbx"].iter().any(|end| url.ends_with(end));
            let sha256 = self.key_sha256.clone().unwrap_or_default().to_ascii_lowercase();
            return Key::Url { url: url.to_owned(), sha256, path: ring(!binary) };
        }
        if let Some(bytes) = &self.resolved {
            let armored = bytes.0.starts_with(b"-----BEGIN");
            return Key::Bytes { bytes: bytes.0.clone(), path: ring(armored) };
        }
        if let Some(text) = inline {
            let text = format!("{}\n", text.trim());
            return Key::Bytes { bytes: text.into_bytes(), path: ring(true) };
        }
        match &self.signed_by {
            Some(path) => Key::Ring(path.clone()),
            None => Key::None,
        }
    }
}

impl Task for AptRepository {
    const KIND: &'static str = "apt_repository";
    const ALIASES: &'static [&'static str] = &["deb822_repository"];
    const EXAMPLE: &'static str = "\
- name: LINBIT's packages
  apt_repository:
    name: linbit
    uris: http://packages.linbit.com/public/
    suites: proxmox-9
    components: drbd-9
    signed_by: /usr/share/keyrings/linbit.gpg
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = self.source_faults();
        faults.extend(self.key_faults());
        faults
    }

    fn resolve(&mut self, from: &dyn Workstation) -> Result<(), ResolveError> {
        if let Some(file) = &self.key_file {
            let (path, bytes) = from.file("files", file)?;
            let found = super::diff::sha256(&bytes);
            if self.key_sha256.as_ref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&found)) {
                return Err(ResolveError::Fault(format!(
                    "{path}: its SHA-256 is {found}, not the one in `key_sha256`"
                )));
            }
            self.resolved = Some(Bytes(bytes));
        }
        Ok(())
    }

    fn object(&self) -> String {
        self.name.clone().or_else(|| self.repo.clone()).unwrap_or_else(|| self.uris.0.join(" "))
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let name = self.name();
        let plain = managed::Wanted::default();
        let sources = plain.look(host, &format!("{PARTS}/{name}.sources"))?;
        let list = plain.look(host, &format!("{PARTS}/{name}.list"))?;
        let (key_path, key) = match self.key_source() {
            Key::None => (None, None),
            Key::Ring(path) | Key::Url { path, .. } | Key::Bytes { path, .. } => {
                let found = plain.look(host, &path)?;
                (Some(path), Some(found))
            }
        };
        let mut seen = Seen {
            os: release(host)?,
            keyrings_exist: host.stat(Path::new(KEYRINGS))?.is_some_and(|s| s.kind == FileKind::Directory),
            others: Vec::new(),
            key_users: Vec::new(),
            lists: apt::Lists::look(host, self.update_cache)?,
            foreign_lists: Vec::new(),
            sources,
            list,
            key,
        };
        let mut files = vec!["/etc/apt/sources.list".to_owned()];
        files.extend(host.list(Path::new(PARTS))?.unwrap_or_default().iter().map(|file| format!("{PARTS}/{file}")));
        let own = [format!("{PARTS}/{name}.sources"), format!("{PARTS}/{name}.list")];
        for file in files {
            if !(file.ends_with(".list") || file.ends_with(".sources")) || own.contains(&file) {
                continue;
            }
            // Somebody else's file that is not text is apt's to complain about.
            let Some(bytes) = host.read(Path::new(&file))? else { continue };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let entries = sources::entries(&file, &text);
            if key_path.as_ref().is_some_and(|path| text.contains(path.as_str())) {
                seen.key_users.push(file.clone());
            }
            if file.ends_with(".list") && entries.iter().any(|entry| self.is_wanted(entry)) {
                seen.foreign_lists.push((file, text));
            }
            seen.others.extend(entries);
        }
        Ok(seen)
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        match self.state {
            State::Present => self.present(seen),
            State::Absent => self.absent(seen),
        }
    }
}

/// `ID` and the major number of `VERSION_ID`; `None` where there is no number (Debian's unstable).
fn release(host: &dyn Probe) -> Result<Option<(String, u32)>, LookError> {
    let mut text = host.read_text(Path::new("/etc/os-release"))?;
    if text.is_none() {
        text = host.read_text(Path::new("/usr/lib/os-release"))?;
    }
    let text = text.unwrap_or_default();
    let get = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.map(|v| v.trim_matches(['"', '\'']).to_owned())
    };
    let major = get("VERSION_ID").and_then(|v| v.split('.').next().and_then(|n| n.parse().ok()));
    Ok(get("ID").zip(major))
}

#[cfg(test)]
mod tests;
