//! Changes as data: they can be shown, previewed, counted, sent over a wire and refused.

use super::query::{ApiGet, Output, Query, Topic};
use base64::Engine as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// One change to a host, with what it is known to lead to and what must still hold right before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The node to act on, in a change that a kind decided for the whole cluster. The controller routes it there;
    /// `None` is the host that the verdict is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    pub action: Action,
    /// Looked at again immediately before the action; the first that differs refuses the step. This closes the
    /// gap between looking and acting for everything that could destroy data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// What later tasks of a preview shall see. File actions need none: the preview knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Writes beside the file, validates, then renames: the old or the new file, never a torn one.
    /// `mode`, `owner`, `group`: `None` keeps what an existing file has; a new one gets 0644 and root.
    WriteFile {
        path: String,
        content: Bytes,
        mode: Option<u32>,
        owner: Option<String>,
        group: Option<String>,
        /// Program and arguments that must succeed on the new file before it replaces the old; `%s` is its path.
        validate: Option<Vec<String>>,
        /// Keeps the old file beside the new one (`NAME.SECONDS~`), as Ansible's `backup: true`.
        backup: bool,
    },
    CreateDirectory {
        path: String,
        mode: Option<u32>,
        owner: Option<String>,
        group: Option<String>,
    },
    SetAttributes {
        path: String,
        mode: Option<u32>,
        owner: Option<String>,
        group: Option<String>,
    },
    Symlink {
        path: String,
        target: String,
    },
    /// Copies the program that performs this step, so this very one, beside and renamed, mode 0755. Refused where it
    /// is not the build that was decided upon: an agent is always the program that the controller sends.
    InstallSelf {
        path: String,
        sha256: String,
        size_bytes: u64,
    },
    /// A missing path is no error.
    Remove {
        path: String,
        recursive: bool,
    },
    /// Runs a program; an exit code outside `ok_codes` (empty = any code is fine) fails the step.
    Run {
        argv: Vec<String>,
        stdin: Option<Bytes>,
        env: BTreeMap<String, String>,
        cwd: Option<String>,
        timeout_s: u64,
        ok_codes: Vec<i32>,
    },
    /// A write on the Proxmox API. With `wait_s`, a returned UPID is followed to its end.
    Api {
        method: Method,
        path: String,
        params: BTreeMap<String, String>,
        wait_s: Option<u64>,
    },
    Sleep {
        seconds: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Post,
    Put,
    Delete,
}

/// A question with the only answer under which the step may go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    pub query: Query,
    pub rc: i32,
    /// Exact stdout (trailing white space ignored), where the code alone does not say it.
    pub stdout: Option<String>,
    /// Shown when the answer is another one.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// After this step the query answers thus.
    Answers { query: Query, output: Output },
    /// After this step the GET answers thus (`None`: it is gone).
    ApiAnswers { get: ApiGet, data: Option<serde_json::Value> },
    /// After this step a file that the kernel makes up reads thus (`None`: it is gone): `/sys/module/nfsd/initstate`
    /// once the module is loaded, a parameter under `/proc/sys`. Files on disk need no effect.
    Reads { path: String, content: Option<String> },
    /// After this step nobody can tell what questions on this topic answer.
    Unsettles { topic: Topic },
    /// The same on another host, by its name: what is written on a replicated device is there as well.
    UnsettlesOn { host: String, topic: Topic },
    /// After this step whatever is missing now may be there (a package brings files, units, programs).
    MayBring { what: String },
    /// After this step anything may be different (a shell command).
    UnsettlesAll { what: String },
}

/// Bytes that travel as base64 inside JSON. `Debug` shows only the length: content may be secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        base64::engine::general_purpose::STANDARD.decode(text).map(Bytes).map_err(serde::de::Error::custom)
    }
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self { on: None, action, guards: Vec::new(), effects: Vec::new() }
    }
}

impl Step {
    /// A program with a ten-minute deadline that must exit 0.
    pub fn run<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Action::Run {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: None,
            env: BTreeMap::new(),
            cwd: None,
            timeout_s: 600,
            ok_codes: vec![0],
        }
        .into()
    }

    /// A file whose attributes stay as they are (0644 root:root when new).
    pub fn write(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Action::WriteFile {
            path: path.into(),
            content: Bytes(content.into()),
            mode: None,
            owner: None,
            group: None,
            validate: None,
            backup: false,
        }
        .into()
    }

    pub fn api<K: Into<String>, V: Into<String>>(
        method: Method,
        path: impl Into<String>,
        params: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Action::Api {
            method,
            path: path.into(),
            params: params.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            wait_s: Some(600),
        }
        .into()
    }

    pub fn on(mut self, node: impl Into<String>) -> Self {
        self.on = Some(node.into());
        self
    }

    pub fn effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Later questions equal to `query` will be answered `output` in a preview.
    pub fn answers(self, query: Query, output: Output) -> Self {
        self.effect(Effect::Answers { query, output })
    }

    pub fn unsettles(self, topic: Topic) -> Self {
        self.effect(Effect::Unsettles { topic })
    }

    pub fn guard(mut self, query: Query, rc: i32, reason: impl Into<String>) -> Self {
        self.guards.push(Guard { query, rc, stdout: None, reason: reason.into() });
        self
    }

    /// The change in a person's words: the command line, or what happens to which file.
    pub fn describe(&self) -> String {
        let what = match &self.action {
            Action::WriteFile { path, content, .. } => format!("write {path} ({} bytes)", content.0.len()),
            Action::CreateDirectory { path, .. } => format!("create directory {path}"),
            Action::SetAttributes { path, .. } => format!("set mode and owner of {path}"),
            Action::Symlink { path, target } => format!("link {path} -> {target}"),
            Action::InstallSelf { path, .. } => format!("install converge as {path}"),
            Action::Remove { path, .. } => format!("remove {path}"),
            Action::Run { argv, .. } => argv.join(" "),
            Action::Api { method, path, .. } => format!("{} {path}", format!("{method:?}").to_uppercase()),
            Action::Sleep { seconds } => format!("wait {seconds} s"),
        };
        match &self.on {
            Some(node) => format!("on {node}: {what}"),
            None => what,
        }
    }
}
