//! What dpkg and apt are asked, and what their answers mean. Every question only reads.
//!
//! Fields are told by their position in our own format (dpkg-query) or by their key (apt-cache), never by substring.

use crate::host::{FileKind, LookError, Output, Probe, Query, Topic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// dpkg-query expands the escapes itself.
pub const FORMAT: &str =
    r"${Package}\t${Architecture}\t${Version}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\n";

/// Where `converge` notes what it knows about package lists.
pub const NOTES: &str = "/var/lib/converge";
/// Holds the time of our last `apt-get update`, in seconds since the epoch.
pub const UPDATED: &str = "/var/lib/converge/apt-updated";
/// Exists after a predicted update; a real one takes it away again.
pub const UPDATE_PREDICTED: &str = "/var/lib/converge/apt-updated.new";
/// `apt-stale-NAME`: a source was changed after the last update.
pub const STALE_PREFIX: &str = "apt-stale-";

/// A line of `dpkg-query`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub arch: String,
    pub version: String,
    /// `install`, `hold`, `deinstall`, `purge`, `unknown`
    pub want: String,
    /// `ok` or `reinstreq`
    pub flag: String,
    /// `installed`, `config-files`, `half-configured`, `not-installed`, …
    pub status: String,
}

impl Row {
    pub fn installed(&self) -> bool {
        self.status == "installed"
    }

    pub fn held(&self) -> bool {
        self.want == "hold"
    }

    /// What keeps it from working: its state, when that is neither installed nor gone.
    pub fn broken(&self) -> Option<&str> {
        match self.status.as_str() {
            _ if self.flag != "ok" => Some(&self.flag),
            "installed" | "not-installed" | "config-files" => None,
            other => Some(other),
        }
    }

    pub fn line(&self) -> String {
        let Row { name, arch, version, want, flag, status } = self;
        format!("{name}\t{arch}\t{version}\t{want}\t{flag}\t{status}\n")
    }
}

pub fn rows_query(names: &[String]) -> Query {
    let topic = match names {
        [one] => Topic::Package(one.clone()),
        _ => Topic::Other,
    };
    let argv = ["dpkg-query", "-W", "-f", FORMAT].into_iter().map(str::to_owned).chain(names.iter().cloned());
    Query::new(topic, argv)
}

/// What dpkg knows about these packages. A name that dpkg never heard of has no row.
pub fn rows(host: &dyn Probe, names: &[String]) -> Result<Vec<Row>, LookError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let query = rows_query(names);
    let answer = host.query(&query)?;
    // 1: some names are not known. 2: a real error.
    if !matches!(answer.rc, 0 | 1) {
        return Err(LookError::cannot_tell("installed packages", answer.complaint()));
    }
    parse_rows(&answer.stdout).map_err(|line| LookError::cannot_tell("installed packages", format!("`{line}`")))
}

/// `Err` is the line that could not be read.
pub fn parse_rows(stdout: &str) -> Result<Vec<Row>, String> {
    stdout
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, arch, version, want, flag, status] = fields[..] else { return Err(line.to_owned()) };
            let [name, arch, version, want, flag, status] =
                [name, arch, version, want, flag, status].map(str::to_owned);
            Ok(Row { name, arch, version, want, flag, status })
        })
        .collect()
}

/// What the package lists offer under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What apt would install.
    pub candidate: Option<String>,
    /// Every version known, newest first.
    pub versions: Vec<String>,
    /// For a purely virtual name: packages that provide it.
    pub providers: Vec<String>,
}

pub fn policies(host: &dyn Probe, names: &[String]) -> Result<BTreeMap<String, Policy>, LookError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let argv = ["apt-cache", "policy"].into_iter().map(str::to_owned).chain(names.iter().cloned());
    let answer = host.query(&Query::new(Topic::Other, argv).timeout_s(60))?;
    if answer.rc != 0 {
        return Err(LookError::cannot_tell("package candidates", answer.complaint()));
    }
    let mut policies = parse_policy(&answer.stdout);
    for (name, policy) in &mut policies {
        // Known by name but without a version: virtual, or removed from the archive.
        if policy.versions.is_empty() {
            let answer = host.query(&Query::new(Topic::Other, ["apt-cache", "showpkg", name]).timeout_s(60))?;
            if answer.rc == 0 {
                policy.providers = parse_providers(&answer.stdout);
            }
        }
    }
    Ok(policies)
}

pub fn parse_policy(stdout: &str) -> BTreeMap<String, Policy> {
    let mut all: BTreeMap<String, Policy> = BTreeMap::new();
    let mut name = String::new();
    for line in stdout.lines() {
        if !line.starts_with(' ') {
            line.strip_suffix(':').unwrap_or(line).clone_into(&mut name);
            all.entry(name.clone()).or_default();
            continue;
        }
        let Some(policy) = all.get_mut(&name) else { continue };
        if let Some(candidate) = line.strip_prefix("  Candidate: ") {
            policy.candidate = (candidate != "(none)").then(|| candidate.to_owned());
        } else if let Some(version) = line.strip_prefix(" *** ").or_else(|| line.strip_prefix("     "))
            && !version.starts_with(' ')
        {
            policy.versions.extend(version.split(' ').next().map(str::to_owned));
        }
    }
    all
}

/// Names under "Reverse Provides:" of `apt-cache showpkg`.
pub fn parse_providers(stdout: &str) -> Vec<String> {
    let after = stdout.lines().skip_while(|line| line.trim() != "Reverse Provides:").skip(1);
    let mut names: Vec<String> = after.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

/// How old the package lists are, and what speaks against them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lists {
    /// Seconds since the epoch on the host; asked only where age matters.
    pub now_s: Option<i64>,
    pub updated_s: Option<i64>,
    /// Notes that a source changed since.
    pub stale_notes: Vec<String>,
    /// A source file that was written after the lists were fetched.
    pub newer_source: Option<String>,
    /// An update is predicted: names that are not known now may be then.
    pub predicted: bool,
    pub notes_exist: bool,
}

impl Lists {
    pub fn look(host: &dyn Probe, with_clock: bool) -> Result<Self, LookError> {
        let notes = host.list(Path::new(NOTES))?;
        let mut lists = Self { notes_exist: notes.is_some(), ..Self::default() };
        let notes = notes.unwrap_or_default();
        lists.stale_notes =
            notes.iter().filter(|n| n.starts_with(STALE_PREFIX)).map(|n| format!("{NOTES}/{n}")).collect();
        lists.predicted = host.stat(Path::new(UPDATE_PREDICTED))?.is_some();
        let noted = host.read_text(Path::new(UPDATED))?.and_then(|text| text.trim().parse::<i64>().ok());
        let fetched = host.list(Path::new("/var/lib/apt/lists"))?.unwrap_or_default();
        let by_mtime = if fetched.iter().any(|name| name.ends_with("Release")) {
            host.stat(Path::new("/var/lib/apt/lists"))?.map(|s| s.modified_s)
        } else {
            None
        };
        lists.updated_s = noted.max(by_mtime);
        lists.newer_source = newest_source(host)?
            .filter(|(modified_s, _)| lists.updated_s.is_some_and(|updated_s| *modified_s > updated_s))
            .map(|(_, path)| path);
        if with_clock {
            let answer = host.query(&Query::new(Topic::Other, ["date", "+%s"]))?;
            let now = answer.stdout.trim().parse().ok().filter(|_| answer.rc == 0);
            lists.now_s = Some(now.ok_or_else(|| LookError::cannot_tell("the time on the host", answer.complaint()))?);
        }
        Ok(lists)
    }

    /// Why the lists do not show what the sources offer now.
    pub fn outdated(&self) -> Option<String> {
        if let Some(note) = self.stale_notes.first() {
            let name = note.rsplit(STALE_PREFIX).next().unwrap_or_default();
            return Some(format!("the source {name} changed since the package lists were fetched"));
        }
        if let Some(path) = &self.newer_source {
            return Some(format!("{path} is newer than the package lists"));
        }
        self.updated_s.is_none().then(|| "the package lists were never fetched".to_owned())
    }

    /// Older than `valid_s`. `None` also when the clock was not asked.
    pub fn aged(&self, valid_s: u64) -> Option<String> {
        let age_s = self.now_s?.checked_sub(self.updated_s?)?;
        (age_s >= 0 && age_s.unsigned_abs() > valid_s)
            .then(|| format!("the package lists are {} old", span(age_s.unsigned_abs())))
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

fn newest_source(host: &dyn Probe) -> Result<Option<(i64, String)>, LookError> {
    let mut paths = vec!["/etc/apt/sources.list".to_owned()];
    for name in host.list(Path::new("/etc/apt/sources.list.d"))?.unwrap_or_default() {
        if name.ends_with(".list") || name.ends_with(".sources") {
            paths.push(format!("/etc/apt/sources.list.d/{name}"));
        }
    }
    let mut newest = None;
    for path in paths {
        if let Some(stat) = host.stat(Path::new(&path))?
            && stat.kind == FileKind::File
        {
            newest = newest.max(Some((stat.modified_s, path)));
        }
    }
    Ok(newest)
}

/// What `apt-get -s` would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulation {
    /// Name, version now, version then.
    pub installs: Vec<(String, Option<String>, String)>,
    /// Name, version now.
    pub removes: Vec<(String, String)>,
    /// apt's own words when it refuses.
    pub refused: Option<String>,
}

impl Simulation {
    pub fn of(answer: &Output) -> Self {
        let mut simulation = Self::default();
        if answer.rc != 0 {
            let errors: Vec<&str> = answer.stderr.lines().filter_map(|l| l.strip_prefix("E: ")).collect();
            let words = if errors.is_empty() { answer.complaint().to_owned() } else { errors.join("; ") };
            simulation.refused = Some(words);
            return simulation;
        }
        for line in answer.stdout.lines() {
            if let Some(rest) = line.strip_prefix("Inst ") {
                // Inst NAME [OLD] (NEW ORIGIN [ARCH])
                let name = rest.split(' ').next().unwrap_or_default().to_owned();
                let head = rest.split('(').next().unwrap_or_default();
                let old = head.split_once('[').and_then(|(_, r)| r.split(']').next()).map(str::to_owned);
                let new = rest.split_once('(').and_then(|(_, r)| r.split([' ', ')']).next()).unwrap_or("?");
                simulation.installs.push((name, old, new.to_owned()));
            } else if let Some(rest) = line.strip_prefix("Remv ").or_else(|| line.strip_prefix("Purg ")) {
                let name = rest.split(' ').next().unwrap_or_default().to_owned();
                let old = rest.split_once('[').and_then(|(_, r)| r.split(']').next()).unwrap_or("?");
                simulation.removes.push((name, old.to_owned()));
            }
        }
        simulation
    }

    pub fn diff(&self) -> String {
        let mut before: Vec<String> = self.removes.iter().map(|(name, old)| format!("{name} {old}")).collect();
        before.extend(self.installs.iter().filter_map(|(name, old, _)| Some(format!("{name} {}", old.as_ref()?))));
        let after: Vec<String> = self.installs.iter().map(|(name, _, new)| format!("{name} {new}")).collect();
        super::super::diff::lines("packages", &before, &after)
    }
}
