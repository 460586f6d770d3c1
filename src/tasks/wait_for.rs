//! `wait_for`: waits until a port or a path is as described.

mod port;

use super::{ArgFault, Task, Touches, Verdict};
use crate::host::{LookError, Probe, Query, Topic};
use port::{Socket, is_here};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

/// Waits until a port is open or closed, or a path is there or gone. Changes nothing; in check it tells what it
/// would wait for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// TCP port. On this host it is looked up among the listening sockets, elsewhere a connection is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Host whose port is meant, as a name or an address.
    #[serde(default = "localhost")]
    pub host: String,
    /// Absolute path of a file or directory.
    #[serde(default, alias = "dest", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `started` and `present`: the port accepts connections, the path exists. `stopped` and `absent`: the opposite.
    /// `drained`: no connection to the port is open any more.
    #[serde(default)]
    pub state: State,
    /// Regular expression that the file at `path` must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_regex: Option<String>,
    /// Seconds after which the task fails, `delay` included.
    #[serde(default = "five_minutes")]
    pub timeout: u64,
    /// Seconds before the first look counts.
    #[serde(default)]
    pub delay: u64,
    /// Seconds between two looks.
    #[serde(default = "one")]
    pub sleep: u64,
    /// Seconds that one attempt to connect may take.
    #[serde(default = "five")]
    pub connect_timeout: u64,
    /// What to say when the time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// When the first look was taken.
    #[serde(skip)]
    began: OnceLock<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Started,
    Present,
    Stopped,
    Absent,
    Drained,
}

fn localhost() -> String {
    "127.0.0.1".into()
}

fn five_minutes() -> u64 {
    300
}

fn one() -> u64 {
    1
}

fn five() -> u64 {
    5
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    passed_s: u64,
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// Before the delay is over nothing is looked at.
    NotYet,
    Path {
        exists: bool,
        matches: bool,
    },
    Port {
        open: bool,
        why: String,
        connections: usize,
    },
}

impl WaitFor {
    fn look(&self, host: &dyn Probe) -> Result<What, LookError> {
        if let Some(path) = &self.path {
            let exists = host.stat(Path::new(path))?.is_some();
            let matches = match &self.search_regex {
                // A file that vanished in between does not match.
                Some(pattern) if exists => host.read(Path::new(path))?.is_some_and(|bytes| {
                    regex::bytes::RegexBuilder::new(pattern)
                        .multi_line(true)
                        .build()
                        .is_ok_and(|regex| regex.is_match(&bytes))
                }),
                _ => exists,
            };
            return Ok(What::Path { exists, matches });
        }
        let port = self.port.unwrap_or_default();
        if !is_here(&self.host) {
            return self.connect(host, port);
        }
        let mut sockets: Vec<Socket> = Vec::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            // tcp6 is not there where IPv6 is off.
            if let Some(text) = host.read_text(Path::new(table))? {
                sockets.extend(port::parse(&text).map_err(|why| LookError::cannot_tell(table, why))?);
            }
        }
        let connections = sockets.iter().filter(|s| s.port == port && s.is_connection()).count();
        let open = sockets.iter().any(|s| s.port == port && s.listens_on(&self.host));
        let why = if open { "listening" } else { "nobody listens" };
        Ok(What::Port { open, why: why.into(), connections })
    }

    /// bash opens the connection: it is on every Debian, which no `nc` is. The script is fixed; host and port are
    /// arguments.
    fn connect(&self, host: &dyn Probe, port: u16) -> Result<What, LookError> {
        const SCRIPT: &str = r#"exec 3<>"/dev/tcp/$1/$2""#;
        let argv = ["bash", "-c", SCRIPT, "wait_for", &self.host, &port.to_string()].map(str::to_owned);
        let query = Query::new(Topic::Other, argv).timeout_s(self.connect_timeout.max(1));
        let (open, why) = match host.query(&query) {
            Ok(answer) if answer.rc == 0 => (true, "it accepts connections".to_owned()),
            Ok(answer) => (false, answer.complaint().lines().last().unwrap_or("no connection").to_owned()),
            Err(LookError::Timeout { .. }) => (false, "no answer".to_owned()),
            Err(error) => return Err(error),
        };
        Ok(What::Port { open, why, connections: 0 })
    }

    /// What is waited for, in words.
    fn goal(&self) -> String {
        let what = match (&self.path, self.port) {
            (Some(path), _) => path.clone(),
            (None, Some(port)) => format!("port {port} of {}", self.host),
            (None, None) => String::new(),
        };
        match (self.state, &self.search_regex) {
            (State::Started | State::Present, Some(pattern)) => format!("{what} contains /{pattern}/"),
            (State::Started | State::Present, None) if self.path.is_some() => format!("{what} exists"),
            (State::Started | State::Present, None) => format!("{what} is open"),
            (State::Stopped | State::Absent, _) if self.path.is_some() => format!("{what} is gone"),
            (State::Stopped | State::Absent, _) => format!("{what} is closed"),
            (State::Drained, _) => format!("{what} has no connections"),
        }
    }
}

impl Task for WaitFor {
    const KIND: &'static str = "wait_for";
    const EXAMPLE: &'static str = "\
- name: NFS answers
  wait_for:
    port: 2049
    timeout: 60
";
    const TOUCHES: Touches = Touches::Nothing;
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        match (&self.path, self.port) {
            (Some(_), Some(_)) => faults.push(ArgFault::at("path", "`path` and `port` exclude each other")),
            (None, None) => faults.push(
                ArgFault::task("neither `path` nor `port` says what to wait for")
                    .help("`pause` waits for a fixed time, `until` repeats a task until a condition holds"),
            ),
            (Some(path), None) if !path.starts_with('/') => {
                faults.push(ArgFault::at("path", "the path is not absolute"));
            }
            _ => {}
        }
        if let Some(pattern) = &self.search_regex {
            if let Err(error) = regex::bytes::Regex::new(pattern) {
                faults.push(ArgFault::at("search_regex", error.to_string()));
            }
            if self.path.is_none() {
                faults.push(ArgFault::at("search_regex", "only the content of a file can be searched"));
            }
        }
        if self.state == State::Drained && (self.path.is_some() || !is_here(&self.host)) {
            faults.push(ArgFault::at("state", "only the connections to a port of this host can be seen"));
        }
        faults
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let passed_s = self.began.get_or_init(Instant::now).elapsed().as_secs();
        let what = if passed_s < self.delay { What::NotYet } else { self.look(host)? };
        Ok(Seen { passed_s, what })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let (there, now) = match &seen.what {
            What::NotYet => {
                let left_s = self.delay - seen.passed_s.min(self.delay);
                return Verdict::wait(format!("{} (looking in {left_s} s)", self.goal()), self.timeout, left_s, None);
            }
            What::Path { exists, matches } => {
                let wanted = *exists && *matches;
                (wanted, if *exists && !wanted { "it does not match yet".to_owned() } else { String::new() })
            }
            What::Port { open, why, .. } => (*open, why.clone()),
        };
        let reached = match (self.state, &seen.what) {
            (State::Started | State::Present, _) => there,
            (State::Drained, What::Port { connections, .. }) => *connections == 0,
            (State::Stopped | State::Absent | State::Drained, _) => !there,
        };
        if reached {
            return Verdict::ok(self.goal());
        }
        let mut what = self.msg.clone().unwrap_or_else(|| format!("waiting until {}", self.goal()));
        if !now.is_empty() {
            what.push_str(&format!(" ({now})"));
        }
        let fraction = (self.timeout > 0).then(|| (seen.passed_s as f32 / self.timeout as f32).min(1.0));
        Verdict::wait(what, self.timeout, self.sleep, fraction)
    }
}

#[cfg(test)]
#[path = "wait_for/tests.rs"]
mod tests;
