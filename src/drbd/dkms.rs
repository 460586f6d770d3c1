//! `dkms status`: which module sources are known, and how far each got on which kernel.
//!
//! Reads the forms of dkms 2 (`drbd, 9.0, 5.4, x86_64: installed`) and 3 (`drbd/9.3.3, …`); a line it cannot read is kept.

use serde::{Deserialize, Serialize};

/// One line of `dkms status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub module: String,
    pub version: String,
    /// `None`: added, nothing built for any kernel that was asked about.
    pub kernel: Option<String>,
    pub arch: Option<String>,
    pub state: State,
    /// The in-tree module was moved away when this one was installed: the healthy state for drbd.
    pub original_exists: bool,
    /// The file under /lib/modules is not (any more) the one that was built.
    pub differs: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Added,
    Built,
    Installed,
    /// The sources are gone.
    Broken,
    Other(String),
}

/// Entries and the lines that are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub entries: Vec<Entry>,
    pub unread: Vec<String>,
}

pub fn parse(stdout: &str) -> Status {
    let mut status = Status::default();
    for line in stdout.lines().map(str::trim).filter(|l| !l.is_empty()) {
        match entry(line) {
            Some(entry) => status.entries.push(entry),
            None => status.unread.push(line.to_owned()),
        }
    }
    status
}

fn entry(line: &str) -> Option<Entry> {
    let (what, state) = line.split_once(": ").or_else(|| line.split_once(':'))?;
    let mut parts = what.split(',').map(str::trim);
    let first = parts.next()?;
    let (module, version) = match first.split_once('/') {
        Some((module, version)) => (module, version),
        None => (first, parts.next()?),
    };
    if module.is_empty() || version.is_empty() || module.contains(char::is_whitespace) {
        return None;
    }
    let kernel = parts.next().map(str::to_owned);
    let arch = parts.next().map(str::to_owned);
    let state = state.trim();
    let word = state.split('(').next().unwrap_or(state).trim();
    // dkms 2.8 wrote the notes after a plain `WARNING! Diff between built and installed module!`.
    let word = word.split("WARNING").next().unwrap_or(word).trim();
    let lower = state.to_ascii_lowercase();
    Some(Entry {
        module: module.to_owned(),
        version: version.to_owned(),
        kernel,
        arch,
        state: match word {
            "added" => State::Added,
            "built" => State::Built,
            "installed" => State::Installed,
            "broken" => State::Broken,
            other => State::Other(other.to_owned()),
        },
        original_exists: lower.contains("original modules exist") || lower.contains("original_module exists"),
        differs: lower.contains("differences between built and installed") || lower.contains("diff between built"),
    })
}

impl Status {
    /// Entries of one module, in order of appearance.
    pub fn of<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |e| e.module == module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_dkms_status() {
        let status = parse(
            "drbd/9.3.3: added\n\
             drbd/9.3.3-1, 6.12.107+deb13-cloud-amd64, x86_64: built\n\
             drbd/9.3.3, 6.12.1, x86_64: installed (Original modules exist) (Differences between built and installed modules)\n\
             tinymod/1.0: broken\n\
             drbd, 9.0.14-1, 4.15.18-1-pve, x86_64: installed (original_module exists)\n\
             drbd, 9.0.14-1: added\n\
             drbd/9.9, 7.0, x86_64: half-installed\n\
             Deprecated feature: REMAKE_INITRD\n\
             nonsense\n\n",
        );
        let short: Vec<_> =
            status.entries.iter().map(|e| (e.version.as_str(), e.kernel.as_deref(), e.state.clone())).collect();
        assert_eq!(
            short,
            [
                ("9.3.3", None, State::Added),
                ("9.3.3-1", Some("6.12.107+deb13-cloud-amd64"), State::Built),
                ("9.3.3", Some("6.12.1"), State::Installed),
                ("1.0", None, State::Broken),
                ("9.0.14-1", Some("4.15.18-1-pve"), State::Installed),
                ("9.0.14-1", None, State::Added),
                ("9.9", Some("7.0"), State::Other("half-installed".into())),
            ]
        );
        assert!(status.entries[2].original_exists && status.entries[2].differs && status.entries[4].original_exists);
        assert_eq!(status.unread, ["Deprecated feature: REMAKE_INITRD", "nonsense"]);
        assert_eq!(parse(""), Status::default());
    }
}
