//! `apt`: packages of a Debian system, as its lists and its administrator's holds allow.
//!
//! Refuses to remove packages that nobody named: an installation that would is blocked, with apt's own words.

mod decide;
mod look;
mod steps;
pub mod version;

pub use look::{Lists, NOTES, STALE_PREFIX};
pub(super) use steps::update;

use super::args::OneOrMany;
use super::{ArgFault, Task, Trail, Verdict};
use crate::host::{LookError, Probe, Query, Topic};
use look::{Policy, Row, Simulation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Installs, upgrades or removes packages. Everything that comes along or goes is in the diff before anything is
/// done; held packages stay; the package lists are fetched first when a source changed since they were.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apt {
    /// Packages: `drbd-utils`, `drbd-utils=9.22.0-1`, `drbd-utils=9.22.*`, `libc6:i386`.
    #[serde(default, alias = "pkg", alias = "package", skip_serializing_if = "OneOrMany::is_empty")]
    pub name: OneOrMany,
    /// Refused: `get_url` with a `checksum` brings a package file, `command: apt-get install -y /path/x.deb` with
    /// `creates` installs it; `apt_repository` keeps it up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deb: Option<String>,
    /// `present` installs what is missing, `latest` upgrades as well, `absent` removes.
    #[serde(default)]
    pub state: State,
    /// Fetch the package lists when they are older than `cache_valid_time`. With packages named, only if something
    /// has to be installed or `state` is `latest`.
    #[serde(default)]
    pub update_cache: bool,
    /// Age in seconds up to which the package lists are good enough. Setting it implies `update_cache`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_valid_time: Option<u64>,
    /// Upgrade everything: `safe` (or `yes`) adds packages but removes none, `full` (or `dist`) may replace some,
    /// which is refused if packages would be removed.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// With `state: absent`, remove configuration files too.
    #[serde(default)]
    pub purge: bool,
    /// Remove packages that were installed as dependencies and that nothing needs any more.
    #[serde(default)]
    pub autoremove: bool,
    /// Whether recommended packages come along; apt's own setting where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_recommends: Option<bool>,
    /// Release to install from, `apt-get -t`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_release: Option<String>,
    /// Only upgrade what is installed already.
    #[serde(default)]
    pub only_upgrade: bool,
    /// Allow `name=version` to go back to an older version.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// Change packages that are held, too.
    #[serde(default)]
    pub allow_change_held_packages: bool,
    /// dpkg's options, comma-separated.
    #[serde(default = "conffile_options")]
    pub dpkg_options: String,
    /// Seconds to wait for another apt or dpkg to finish.
    #[serde(default = "two_minutes")]
    pub lock_timeout: u64,
    /// Seconds after which an installation is given up (DKMS builds take minutes).
    #[serde(default = "one_hour")]
    pub timeout_s: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Installed, in whatever version is there (or the one named).
    #[default]
    #[serde(alias = "installed")]
    Present,
    /// Installed in the version that apt would choose now.
    Latest,
    /// Not installed.
    #[serde(alias = "removed")]
    Absent,
    /// Refused: what a source package needs is known to apt alone. Name the packages with `present`.
    #[serde(rename = "build-dep")]
    BuildDep,
    /// Refused, for the same reason as in `dpkg`: a broken installation is finished by any task that names the package.
    Fixed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Upgrade {
    #[default]
    #[serde(alias = "false")]
    No,
    #[serde(alias = "yes", alias = "true")]
    Safe,
    #[serde(alias = "dist")]
    Full,
}

fn conffile_options() -> String {
    "force-confdef,force-confold".into()
}
fn two_minutes() -> u64 {
    120
}
fn one_hour() -> u64 {
    3600
}

/// A package as the playbook names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Want {
    /// With architecture, if one is given.
    name: String,
    version: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    rows: Vec<Row>,
    policies: BTreeMap<String, Policy>,
    /// Installed packages that provide a name.
    provided_by: BTreeMap<String, String>,
    lists: Lists,
    /// What apt says it would do; only where there is something to do.
    simulation: Option<Simulation>,
}

impl Apt {
    fn wants(&self) -> Vec<Want> {
        let mut wants: Vec<Want> = Vec::new();
        for word in self.name.words() {
            let (name, version) = match word.split_once('=') {
                Some((name, version)) => (name, Some(version.to_owned())),
                None => (word, None),
            };
            if !wants.iter().any(|w| w.name == name) {
                wants.push(Want { name: name.to_owned(), version });
            }
        }
        wants.sort_by(|a, b| a.name.cmp(&b.name));
        wants
    }

    fn names(&self) -> Vec<String> {
        self.wants().into_iter().map(|want| want.name).collect()
    }

    fn refreshes(&self) -> bool {
        self.update_cache || self.cache_valid_time.is_some()
    }

    fn valid_s(&self) -> u64 {
        self.cache_valid_time.unwrap_or(3600)
    }
}

/// Debian policy 5.6.7, with an architecture behind a colon.
fn is_package_name(name: &str) -> bool {
    let (name, arch) = name.split_once(':').unwrap_or((name, "any"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() >= 2
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || "+-.".contains(c))
        // apt-get reads a trailing `-` as "remove it".
        && !name.ends_with('-')
        && !arch.is_empty()
        && arch.chars().all(|c| plain(c) || c == '-')
}

impl Task for Apt {
    const KIND: &'static str = "apt";
    const EXAMPLE: &'static str = "\
- name: DRBD's tools
  apt:
    name: [drbd-utils, nfs-common]
    state: present
    update_cache: true
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        let words = self.name.words();
        for word in &words {
            let (name, version) = word.split_once('=').map_or((*word, None), |(n, v)| (n, Some(v)));
            if word.contains(['<', '>', '/']) {
                let fault = ArgFault::at("name", format!("`{word}`: only `=` may follow a package name"));
                faults.push(fault.help("use `default_release` for a release, `name=1.2.*` for a range of versions"));
            } else if name.contains(['*', '?', '[']) {
                faults.push(ArgFault::at("name", format!("`{name}`: patterns in package names are not supported")));
            } else if !is_package_name(name) {
                faults.push(ArgFault::at("name", format!("`{name}` is not a name of a Debian package")));
            }
            if version.is_some_and(|v| v.is_empty() || v.contains(char::is_whitespace)) {
                faults.push(ArgFault::at("name", format!("`{word}` names no version")));
            }
            if version.is_some() && self.state == State::Latest {
                faults.push(ArgFault::at("state", format!("`{word}` asks for one version, `latest` for another")));
            }
            if version.is_some() && self.state == State::Absent {
                faults.push(ArgFault::at("name", format!("`{word}`: a version says nothing about what is removed")));
            }
        }
        if self.deb.is_some() {
            faults.push(
                ArgFault::at("deb", "package files are not installed by `apt`: nothing would check what they are")
                    .help(
                        "fetch it with `get_url` and a `checksum`, then `command: apt-get install -y /path/x.deb` with \
                     `creates`; or name the repository with `apt_repository`",
                    ),
            );
            return faults;
        }
        match self.state {
            State::BuildDep => faults.push(
                ArgFault::at("state", "`build-dep` is not supported: whether it is in order cannot be told")
                    .help("name the packages: `name: [build-essential, …]` with `state: present`"),
            ),
            State::Fixed => faults.push(
                ArgFault::at("state", "`fixed` is not supported: it may change packages that nobody named")
                    .help("`state: present` finishes the installation of the packages it names"),
            ),
            _ => {}
        }
        if words.is_empty() && !self.refreshes() && self.upgrade == Upgrade::No && !self.autoremove {
            faults.push(ArgFault::task("nothing to do: no `name`, `update_cache`, `upgrade` or `autoremove`"));
        }
        if words.is_empty() && self.state == State::Absent {
            faults.push(ArgFault::at("state", "`absent` needs a `name`"));
        }
        if !words.is_empty() && self.upgrade != Upgrade::No {
            faults.push(ArgFault::at("upgrade", "`name` and `upgrade` exclude each other"));
        }
        let lone = words.is_empty() && self.upgrade == Upgrade::No;
        if self.autoremove && self.state != State::Absent && !lone {
            faults.push(
                ArgFault::at("autoremove", "what is left over is removed by a task of its own")
                    .help("- apt: {autoremove: true}"),
            );
        }
        if self.purge && self.state != State::Absent && !self.autoremove {
            faults.push(ArgFault::at("purge", "`purge` needs `state: absent` or `autoremove`"));
        }
        if self.cache_valid_time == Some(0) {
            let fault = ArgFault::at("cache_valid_time", "0 would fetch the lists in every run, for ever");
            faults.push(fault.help("name the seconds up to which the lists are fresh enough; 3600 is the default"));
        }
        if self.default_release.as_ref().is_some_and(|r| r.is_empty() || r.starts_with('-')) {
            faults.push(ArgFault::at("default_release", "this is not the name of a release"));
        }
        if self.dpkg_options.split(',').any(|o| !o.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')) {
            faults.push(ArgFault::at("dpkg_options", "write dpkg's options without dashes, separated by commas"));
        }
        faults
    }

    fn object(&self) -> String {
        let mut names = self.name.0.clone();
        names.sort_unstable();
        names.join(" ")
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File("/var/lib/dpkg/status".into())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let names = self.names();
        let mut seen = Seen { rows: look::rows(host, &names)?, ..Seen::default() };
        let broken = seen.rows.iter().any(|row| row.broken().is_some());
        if self.state != State::Absent && !broken {
            // Candidates matter for what is missing, and for everything when the newest is wanted.
            let asked: Vec<String> = self
                .wants()
                .into_iter()
                .filter(|want| self.state == State::Latest || !seen.satisfies(want))
                .map(|want| want.name)
                .collect();
            seen.policies = look::policies(host, &asked)?;
            for (name, policy) in seen.policies.clone() {
                let providers = look::rows(host, &policy.providers)?;
                if let Some(row) = providers.into_iter().find(Row::installed) {
                    seen.provided_by.insert(name, row.name);
                }
            }
            if !asked.is_empty() || names.is_empty() {
                seen.lists = Lists::look(host, self.refreshes())?;
            }
        }
        if let Some(argv) = self.simulates(&seen) {
            let answer = host.query(&Query::new(Topic::Other, argv).timeout_s(120))?;
            seen.simulation = Some(Simulation::of(&answer));
        }
        Ok(seen)
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        self.judge(seen).data(self.data(seen))
    }
}

#[cfg(test)]
mod tests;
