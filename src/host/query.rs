//! Questions to a host: programs that only read, and GETs on the Proxmox API.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a question is about, so that a preview knows which answers an earlier predicted change puts in doubt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    Package(String),
    Unit(String),
    Module(String),
    /// A block device by path.
    Device(String),
    /// A DRBD resource by name.
    Drbd(String),
    Container(u32),
    Other,
}

/// A program that only reads, as argv. Never through a shell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Query {
    pub argv: Vec<String>,
    pub topic: Topic,
    pub timeout_s: u64,
}

impl Query {
    pub fn new<S: Into<String>>(topic: Topic, argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), topic, timeout_s: 30 }
    }

    pub fn timeout_s(mut self, seconds: u64) -> Self {
        self.timeout_s = seconds;
        self
    }
}

/// What a program left behind. Output that is not UTF-8 is kept with replacement characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub rc: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn ok(stdout: impl Into<String>) -> Self {
        Self { rc: 0, stdout: stdout.into(), stderr: String::new() }
    }

    pub fn failed(rc: i32, stderr: impl Into<String>) -> Self {
        Self { rc, stdout: String::new(), stderr: stderr.into() }
    }

    /// The first words a person should read when the program failed.
    pub fn complaint(&self) -> &str {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        text.trim()
    }
}

/// A GET on the Proxmox API; `path` without `/api2/json`, e.g. `/cluster/ha/resources`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApiGet {
    pub path: String,
    pub params: BTreeMap<String, String>,
}

impl ApiGet {
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), params: BTreeMap::new() }
    }

    pub fn param(mut self, key: &str, value: impl Into<String>) -> Self {
        self.params.insert(key.into(), value.into());
        self
    }
}
