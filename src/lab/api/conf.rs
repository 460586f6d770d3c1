//! The two text formats of `/etc/pve`: guest configurations and section files (storage.cfg, ha/*.cfg).
//! Written byte for byte as PVE writes them, so that digests agree; it gives the keys no meaning.

use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// SHA-1 over a file as read, in hex: PVE's `digest`.
pub fn digest(text: &str) -> String {
    super::state::hex(&Sha1::digest(text))
}

/// One container's file: the part in force, what waits for the next start, and snapshots kept as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestConf {
    pub main: Keys,
    pub pending: Keys,
    /// Keys to be removed at the next start.
    pub pending_delete: Vec<String>,
    /// Everything from the first snapshot section on.
    pub snapshots: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// As GET shows it: with a newline after the last line.
    pub description: Option<String>,
    pub keys: BTreeMap<String, String>,
    /// Raw `lxc.*` lines in file order.
    pub lxc: Vec<(String, String)>,
}

impl Keys {
    pub fn get(&self, key: &str) -> Option<&str> {
        if key == "description" { self.description.as_deref() } else { self.keys.get(key).map(String::as_str) }
    }

    pub fn set(&mut self, key: &str, value: &str) {
        if key == "description" {
            let lines: String = value.lines().map(|line| format!("{line}\n")).collect();
            self.description = Some(lines).filter(|text| !text.is_empty());
        } else {
            self.keys.insert(key.into(), value.into());
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<String> {
        if key == "description" { self.description.take() } else { self.keys.remove(key) }
    }

    /// Every key with its value, the description among them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let description = self.description.as_deref().map(|text| ("description", text));
        self.keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).chain(description)
    }

    fn parse_line(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix('#') {
            let all = self.description.get_or_insert_default();
            all.push_str(&super::request::percent_decode(text, false));
            all.push('\n');
        } else if line.starts_with("lxc.") {
            if let Some((key, value)) = line.split_once([':', '=']) {
                self.lxc.push((key.trim().into(), value.trim().into()));
            }
        } else if let Some((key, value)) = line.split_once(':') {
            let plain = key.starts_with(|c: char| c.is_ascii_lowercase()) && !key.contains(char::is_whitespace);
            if plain && !value.trim().is_empty() {
                self.keys.insert(key.into(), value.trim().into());
            }
        }
    }

    fn render(&self, out: &mut String) {
        for line in self.description.iter().flat_map(|text| text.lines()) {
            let _ = writeln!(out, "#{}", encode_text(line));
        }
        for (key, value) in &self.keys {
            let _ = writeln!(out, "{key}: {value}");
        }
        for (key, value) in &self.lxc {
            let _ = writeln!(out, "{key}: {value}");
        }
    }
}

/// Escapes control characters, everything beyond ASCII, `%` and `:`.
fn encode_text(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'%' | b':' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(byte.into()),
        }
    }
    out
}

impl GuestConf {
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut lines = text.lines();
        let mut in_pending = false;
        while let Some(line) = lines.next() {
            if line.trim_end().eq_ignore_ascii_case("[pve:pending]") {
                in_pending = true;
            } else if line.starts_with('[') {
                conf.snapshots = std::iter::once(line).chain(lines.by_ref()).map(|l| format!("{l}\n")).collect();
            } else if in_pending && let Some(list) = line.strip_prefix("delete:") {
                conf.pending_delete = super::formats::split_list(list).map(str::to_string).collect();
            } else if in_pending {
                conf.pending.parse_line(line);
            } else {
                conf.main.parse_line(line);
            }
        }
        conf
    }

    pub fn render(&self) -> String {
        let mut out = String::new();
        self.main.render(&mut out);
        if self.pending != Keys::default() || !self.pending_delete.is_empty() {
            out.push_str("\n[pve:pending]\n");
            if !self.pending_delete.is_empty() {
                let _ = writeln!(out, "delete: {}", self.pending_delete.join(","));
            }
            self.pending.render(&mut out);
        }
        if !self.snapshots.is_empty() {
            out.push('\n');
            out.push_str(&self.snapshots);
        }
        out
    }

    /// The configuration as it will be after the next start.
    pub fn merged(&self) -> Keys {
        let mut keys = self.main.clone();
        for key in &self.pending_delete {
            keys.remove(key);
        }
        for (key, value) in self.pending.iter() {
            keys.set(key, value);
        }
        keys
    }

    /// What a start or a stop does with waiting values.
    pub fn apply_pending(&mut self) {
        self.main = self.merged();
        self.pending = Keys::default();
        self.pending_delete.clear();
    }
}

/// A section file: `TYPE: ID`, then `\tKEY VALUE` lines, then an empty line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sections {
    pub list: Vec<Section>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    pub kind: String,
    pub id: String,
    pub keys: BTreeMap<String, String>,
}

impl Sections {
    pub fn parse(text: &str) -> Self {
        let mut list: Vec<Section> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            if line.starts_with([' ', '\t']) {
                let line = line.trim();
                let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, "1"));
                if let Some(section) = list.last_mut() {
                    section.keys.insert(key.into(), value.trim().into());
                }
            } else if let Some((kind, id)) = line.split_once(':') {
                list.push(Section { kind: kind.trim().into(), id: id.trim().into(), keys: BTreeMap::new() });
            }
        }
        Self { list }
    }

    /// `first` are the keys that stand before the others.
    pub fn render(&self, first: &[&str]) -> String {
        let mut out = String::new();
        for section in &self.list {
            let _ = writeln!(out, "{}: {}", section.kind, section.id);
            let leading = first.iter().filter_map(|key| section.keys.get_key_value(*key));
            let others = section.keys.iter().filter(|(key, _)| !first.contains(&key.as_str()));
            for (key, value) in leading.chain(others) {
                let _ = writeln!(out, "\t{key} {value}");
            }
            out.push('\n');
        }
        out
    }

    pub fn get(&self, id: &str) -> Option<&Section> {
        self.list.iter().find(|section| section.id == id)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut Section> {
        self.list.iter_mut().find(|section| section.id == id)
    }
}
