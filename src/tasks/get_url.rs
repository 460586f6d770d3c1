//! `get_url`: a file from the network, fetched by the host itself.
//!
//! Refuses to replace a file by anything but what the checksum names: the download lies beside the old file and is
//! compared before it takes its place.

use super::args::FileMode;
use super::managed::{self, Names, Wanted, kind_words, url_has_credentials};
use super::secret::Secret;
use super::{ArgFault, Task, Trail, Verdict, diff};
use crate::host::{Action, Bytes, Effect, FileKind, LookError, Output, Probe, Query, Stat, Step, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Fetches a file by HTTP or HTTPS with the host's `curl` or `wget`. With `checksum` the file is fetched when it is
/// missing or different, and never replaced by something that does not have this sum. Without, it is fetched only when
/// it is missing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetUrl {
    /// Where the file is. No credentials: they would show in the process list.
    pub url: String,
    /// Absolute path; a directory if it ends with `/` or is one.
    pub dest: String,
    /// `sha256:…` or `sha512:…`, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Permission bits: `0644` or `u=rw,g=r,o=r`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Owner, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Headers of the request, by name. Their values are shown nowhere and stand on no command line, which needs `curl`
    /// on the host. Where the server redirects to another one, all but `Authorization` and `Cookie` go there, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// Whether the server's certificate is checked.
    #[serde(default = "super::copy::yes")]
    pub validate_certs: bool,
    /// Seconds to wait for the connection.
    #[serde(default = "ten")]
    pub timeout: u64,
    /// Seconds after which the whole download is given up.
    #[serde(default = "one_hour")]
    pub timeout_s: u64,
}

fn ten() -> u64 {
    10
}
fn one_hour() -> u64 {
    3600
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    path: String,
    stat: Option<Stat>,
    above: Option<FileKind>,
    /// Hexadecimal sum of the file that is there; only with `checksum`.
    sum: Option<String>,
    /// Which of `curl` and `wget` the host has; asked only when something has to be fetched.
    program: Option<Fetcher>,
    names: Names,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fetcher {
    Curl,
    Wget,
}

impl GetUrl {
    /// Algorithm and sum, lower case.
    fn sum(&self) -> Option<(&str, String)> {
        let (algorithm, sum) = self.checksum.as_deref()?.split_once(':')?;
        Some((algorithm, sum.trim().to_ascii_lowercase()))
    }

    fn sum_query(&self, path: &str) -> Option<Query> {
        let (algorithm, _) = self.sum()?;
        Some(Query::new(Topic::Other, [format!("{algorithm}sum"), path.to_owned()]).timeout_s(600))
    }

    fn wanted(&self) -> Wanted<'_> {
        let (owner, group) = (self.owner.as_deref(), self.group.as_deref());
        Wanted { mode: self.mode.as_ref(), owner, group, ..Wanted::default() }
    }

    fn file_name(&self) -> &str {
        let plain = self.url.split(['?', '#']).next().unwrap_or_default();
        plain.rsplit('/').next().unwrap_or_default()
    }

    fn is_there(&self, seen: &Seen) -> bool {
        seen.stat.as_ref().is_some_and(|s| s.kind == FileKind::File)
            && self.sum().is_none_or(|(_, wanted)| seen.sum.as_ref() == Some(&wanted))
    }
}

impl Task for GetUrl {
    const KIND: &'static str = "get_url";
    const EXAMPLE: &'static str = "\
- name: A tool that is not packaged
  get_url:
    url: https://example.org/tool
    dest: /etc/tool
    checksum: sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
    mode: '0755'
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults: Vec<ArgFault> = managed::path_fault("dest", &self.dest).into_iter().collect();
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            faults.push(ArgFault::at("url", "only http and https can be fetched"));
        }
        if url_has_credentials(&self.url) {
            faults.push(ArgFault::at("url", "credentials in a URL would show in the process list"));
        }
        if self.url.contains(char::is_whitespace) {
            faults.push(ArgFault::at("url", "white space in a URL must be written as %20"));
        }
        if self.dest.ends_with('/') && self.file_name().is_empty() {
            faults.push(ArgFault::at("dest", "the URL names no file, so the file must be named here"));
        }
        if let Some(checksum) = &self.checksum {
            let digits = match self.sum() {
                Some(("sha256", sum)) => Some((64, sum)),
                Some(("sha512", sum)) => Some((128, sum)),
                _ => None,
            };
            match digits {
                None => faults.push(
                    ArgFault::at("checksum", format!("`{checksum}` is neither sha256:… nor sha512:…"))
                        .help("md5 and sha1 can be forged"),
                ),
                Some((count, sum)) if sum.len() != count || !sum.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    faults.push(ArgFault::at("checksum", format!("this is not {count} hexadecimal digits")));
                }
                Some(_) => {}
            }
        }
        for (name, value) in &self.headers {
            // RFC 9110, 5.6.2: what a name may hold, without what curl reads as something else.
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                faults.push(ArgFault::at("headers", format!("`{name}` is not the name of a header")));
            }
            let value = value.reveal();
            if value.trim().is_empty() || value.chars().any(char::is_control) {
                faults.push(ArgFault::at("headers", format!("the value of `{name}` is empty or has line ends in it")));
            }
        }
        if self.mode.as_ref().is_some_and(FileMode::is_preserve) {
            faults.push(ArgFault::at("mode", "there is no source whose mode could be preserved"));
        }
        faults
    }

    fn object(&self) -> String {
        self.dest.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.dest.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let (real, stat, _) = managed::follow(host, self.dest.trim_end_matches('/'))?;
        let inside = self.dest.ends_with('/') || stat.as_ref().is_some_and(|s| s.kind == FileKind::Directory);
        let (path, stat) = if inside {
            let (path, stat, _) = managed::follow(host, &format!("{real}/{}", self.file_name()))?;
            (path, stat)
        } else {
            (real, stat)
        };
        let above = match Path::new(&path).parent() {
            Some(dir) => managed::follow(host, &dir.to_string_lossy())?.1.map(|s| s.kind),
            None => None,
        };
        let names = Names::look(host, self.owner.as_deref(), self.group.as_deref(), stat.as_ref())?;
        let mut seen = Seen { path, stat, above, sum: None, program: None, names };
        let is_file = seen.stat.as_ref().is_some_and(|s| s.kind == FileKind::File);
        if let (true, Some(query)) = (is_file, self.sum_query(&seen.path)) {
            let answer = host.query(&query)?;
            let sum = answer.stdout.split_whitespace().next().filter(|_| answer.rc == 0);
            // A backslash in front says that the name behind was escaped.
            let sum = sum.map(|sum| sum.trim_start_matches('\\').to_ascii_lowercase());
            seen.sum = Some(sum.ok_or_else(|| LookError::cannot_tell(&*seen.path, answer.complaint()))?);
        }
        if !self.is_there(&seen) {
            seen.program = fetcher(host, self.headers.is_empty())?;
        }
        Ok(seen)
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let path = &seen.path;
        let data = json!({ "dest": path, "url": self.url, "checksum": self.checksum });
        if let Err(why) = seen.names.known() {
            return Verdict::blocked(why).data(data);
        }
        if let Some(stat) = &seen.stat
            && stat.kind != FileKind::File
        {
            return Verdict::blocked(format!("{path} is {}, not a file", kind_words(stat.kind))).data(data);
        }
        if let (true, Some(stat)) = (self.is_there(seen), &seen.stat) {
            let plan = managed::attributes_of(path, stat, &seen.names, &self.wanted());
            let ok = if seen.sum.is_some() { "has this checksum" } else { "exists; its content is not compared" };
            return plan.verdict(format!("{path} {ok}")).data(data);
        }
        if seen.above != Some(FileKind::Directory) {
            return Verdict::blocked(format!("the directory of {path} does not exist")).data(data);
        }
        let Some(program) = seen.program else {
            let why = match self.headers.is_empty() {
                true => "neither curl nor wget is installed on this host",
                false => "`headers` need curl, which is not installed: wget would show them in the process list",
            };
            return Verdict::blocked(why).data(data);
        };
        let was = match (&seen.stat, &seen.sum) {
            (Some(_), Some(sum)) => vec![sum.clone()],
            _ => Vec::new(),
        };
        let text = diff::lines(path, &was, &[format!("{} ({})", self.checksum.as_deref().unwrap_or("-"), self.url)]);
        let verdict = Verdict::drift(format!("fetch {path}"), text, self.steps(seen, program)).data(data);
        if self.checksum.is_none() && self.url.starts_with("http://") {
            return self
                .unhidden(verdict)
                .warn("fetched without encryption and without a checksum: anybody on the way can change it");
        }
        self.unhidden(verdict)
    }
}

impl GetUrl {
    fn unhidden(&self, verdict: Verdict) -> Verdict {
        if self.headers.is_empty() || self.url.starts_with("https://") {
            return verdict;
        }
        verdict.warn("the headers travel without encryption: anybody on the way can read them")
    }

    fn steps(&self, seen: &Seen, program: Fetcher) -> Vec<Step> {
        let path = &seen.path;
        let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        // Always the same name: what a broken run leaves is overwritten by the next.
        let new = parent.join(format!(".{name}.converge-download")).to_string_lossy().into_owned();
        let timeout = self.timeout.to_string();
        let mut argv: Vec<&str> = match program {
            Fetcher::Curl => vec!["curl", "-fsSL", "--proto", "=https,http", "--connect-timeout", &timeout],
            Fetcher::Wget => vec!["wget", "-q", "--timeout", &timeout],
        };
        match program {
            Fetcher::Curl => {
                argv.extend(if self.validate_certs { [].as_slice() } else { &["--insecure"] });
                // From standard input: a command line is everybody's to read.
                argv.extend(if self.headers.is_empty() { [].as_slice() } else { &["-H", "@-"] });
                argv.extend(["-o", &new, &self.url]);
            }
            Fetcher::Wget => {
                argv.extend(if self.validate_certs { [].as_slice() } else { &["--no-check-certificate"] });
                argv.extend(["-O", &new, "--", &self.url]);
            }
        }
        let mut fetch = Step::run(argv);
        if let Action::Run { timeout_s, stdin, .. } = &mut fetch.action {
            *timeout_s = self.timeout_s;
            if !self.headers.is_empty() {
                let lines = self.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.reveal()));
                *stdin = Some(Bytes(lines.collect::<String>().into_bytes()));
            }
        }
        let mut steps = vec![fetch];
        if let Some((algorithm, sum)) = self.sum() {
            let mut verify = Step::run([format!("{algorithm}sum"), "-c".into(), "--strict".into(), "-".into()]);
            if let Action::Run { stdin, .. } = &mut verify.action {
                *stdin = Some(Bytes(format!("{sum}  {new}\n").into_bytes()));
            }
            steps.push(verify);
        }
        let now = seen.stat.as_ref();
        let fresh = now.map_or(0o644, |s| s.mode);
        let attributes = Action::SetAttributes {
            path: new.clone(),
            mode: Some(self.mode.as_ref().map_or(fresh, |m| m.apply(fresh, false))),
            owner: self.owner.clone().or_else(|| now.map(|s| s.owner.clone())),
            group: self.group.clone().or_else(|| now.map(|s| s.group.clone())),
        };
        steps.push(attributes.into());
        let what = format!("the download of {path}");
        let mut place = Step::run(["mv", "-fT", &new, path]).effect(Effect::MayBring { what });
        if let (Some(query), Some((_, sum))) = (self.sum_query(path), self.sum()) {
            place = place.answers(query, Output::ok(format!("{sum}  {path}\n")));
        }
        steps.push(place);
        steps
    }
}

/// `wget`: whether it would do, too.
fn fetcher(host: &dyn Probe, wget: bool) -> Result<Option<Fetcher>, LookError> {
    let known = [("curl", Fetcher::Curl), ("wget", Fetcher::Wget)];
    for (name, fetcher) in known.into_iter().filter(|(_, fetcher)| wget || *fetcher == Fetcher::Curl) {
        match host.query(&Query::new(Topic::Other, [name, "--version"])) {
            Ok(_) => return Ok(Some(fetcher)),
            Err(LookError::NoProgram { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
