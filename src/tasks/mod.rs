//! Task kinds: what a playbook can ask for. One kind, one file, one line in [`registry`].
//!
//! A kind looks ([`Task::probe`]) and decides ([`Task::decide`], pure). It never acts: it returns steps as
//! data and the engine performs them. Kinds know no YAML, no link and no reporter.

pub mod apparmor_lines;
pub mod apt;
pub mod apt_repository;
pub mod args;
pub mod assert;
pub mod blockinfile;
pub mod cluster;
pub mod command;
pub mod copy;
pub mod debug;
pub mod diff;
pub mod drbd_global;
mod drbd_guard;
pub mod drbd_module;
pub mod drbd_options;
pub mod drbd_resource;
mod drbd_seen;
pub mod drift_schedule;
pub mod fail;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod fake_cluster;
pub mod file;
pub mod filesystem;
pub mod get_url;
pub mod ha_group;
pub mod ha_resource;
pub mod ha_stop_fix;
pub mod hookscript;
pub mod lineinfile;
mod lines;
pub mod managed;
pub mod modprobe;
pub mod mount;
pub mod owed;
pub mod own_program;
pub mod pause;
pub mod pct;
mod program;
pub mod pve_storage;
pub mod pve_template;
pub mod registry;
pub mod replace;
pub mod rights;
#[cfg(test)]
mod rights_tests;
pub mod secret;
pub mod set_fact;
pub mod setup;
pub mod shell;
pub mod stat;
pub mod sysctl;
pub mod systemd;
pub mod template;
pub mod trail;
mod verdict;
pub mod wait_for;

pub use registry::KINDS;
pub use rights::{Lack, Right};
pub use trail::Trail;
pub use verdict::{After, Change, Decision, Meanwhile, Verdict};

use crate::host::{Bytes, LookError, Output, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// What a kind may change, and over how many hosts it must look before it may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touches {
    /// Changes nothing, ever (`stat`, `assert`, `debug`).
    Nothing,
    /// Looks at one host and changes that host.
    Host,
    /// Looks at all hosts of the play, also those outside `--limit`, and decides once over all observations.
    AllHosts,
    /// Runs with `hosts: cluster`: looks at the host `cluster` (the API) and at every node, decides once, and the
    /// verdict stands under `cluster`. Steps with `on` act on that node, the others on the API.
    Cluster,
}

/// What a host answered when a kind looked at it, or why it did not.
pub type Observation<Seen> = Result<Seen, LookError>;

/// A fault in a task's arguments that only the kind can know (two fields that exclude each other, …).
/// `field` names the field to point at; `None` points at the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgFault {
    pub field: Option<&'static str>,
    pub message: String,
    pub help: Option<String>,
}

impl ArgFault {
    pub fn at(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field), message: message.into(), help: None }
    }

    pub fn task(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Why what a task needs from the workstation could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A fault of the playbook or its files; the text may be a whole diagnostic with places.
    #[error("{0}")]
    Fault(String),
    /// Check only: it depends on a result that only an apply can produce.
    #[error("{0}")]
    NotYet(String),
}

/// What a task copies from the workstation: one file, or a directory with all it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it was found.
    pub path: String,
    /// A file alone: one entry without a path. A directory: itself without a path, then what it holds, every directory
    /// before what is in it.
    pub entries: Vec<SourceEntry>,
}

/// One name below a [`Source`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEntry {
    /// Relative to the source, with `/` between names.
    pub path: String,
    pub item: SourceItem,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceItem {
    Directory,
    /// `mode`: permission bits on the workstation.
    File {
        mode: u32,
        content: Bytes,
    },
    /// A symbolic link that is not followed.
    Link {
        target: String,
    },
}

/// What happens to white space around `{% … %}`; the default is Ansible's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateStyle {
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
}

impl Default for TemplateStyle {
    fn default() -> Self {
        Self { trim_blocks: true, lstrip_blocks: false }
    }
}

/// What a task may use of the workstation before it goes to its host: files and variables.
pub trait Workstation {
    /// A file named by the task, searched as Ansible does (`files/` or `templates/` of the role or playbook,
    /// then beside the playbook). Returns the content and the path found.
    fn file(&self, folder: &str, name: &str) -> Result<(String, Vec<u8>), ResolveError>;
    /// A file, or a directory with all it holds, searched like [`Workstation::file`]. `follow`: symbolic links below a
    /// directory stand for what they lead to. The default knows files only.
    fn source(&self, folder: &str, name: &str, _follow: bool) -> Result<Source, ResolveError> {
        let (path, content) = self.file(folder, name)?;
        let item = SourceItem::File { mode: 0o644, content: Bytes(content) };
        Ok(Source { path, entries: vec![SourceEntry { path: String::new(), item }] })
    }
    /// Renders a template with the variables of the host; `name` stands in errors.
    fn render(&self, name: &str, text: &str) -> Result<String, ResolveError>;
    /// Like `render`, with white space around blocks treated as the template asks.
    fn render_styled(&self, name: &str, text: &str, style: TemplateStyle) -> Result<String, ResolveError> {
        if style == TemplateStyle::default() {
            return self.render(name, text);
        }
        Err(ResolveError::Fault(format!("{name}: `trim_blocks` and `lstrip_blocks` cannot be changed here")))
    }
    /// Evaluates a bare expression (`when:` syntax).
    fn eval(&self, expression: &str) -> Result<Json, ResolveError>;
}

/// A task kind. The struct holds the arguments; its doc comment and its fields' are the documentation that
/// `converge explain` and the JSON schema show.
pub trait Task: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    const KIND: &'static str;
    /// Other names that Ansible has for the same module.
    const ALIASES: &'static [&'static str] = &[];
    /// A list of tasks in YAML that works as it stands, after whatever state the law tests lay out for it.
    const EXAMPLE: &'static str;
    const TOUCHES: Touches = Touches::Host;
    /// Its result sets variables of the host, also without `register`.
    const GIVES_FACTS: bool = false;
    /// The field that a bare string stands for: `command: touch /x` is `command: {cmd: touch /x}`.
    const FREE_FORM: Option<&'static str> = None;
    /// What was seen. It crosses the wire for kinds that decide over all hosts.
    type Seen: Serialize + DeserializeOwned + Send;

    /// What the task keeps, as a path, a unit, a resource: the same word in every run, so that what drifts is known again
    /// when its texts and the task's name have changed. Empty: the task's name has to do.
    fn object(&self) -> String {
        String::new()
    }

    /// Where it may be read who changed what the task keeps.
    fn trails(&self) -> Vec<Trail> {
        Vec::new()
    }

    /// Faults of the arguments beyond their types, found before any host is touched. Not called for a task
    /// whose fields still hold templates.
    fn check_args(&self) -> Vec<ArgFault> {
        Vec::new()
    }

    /// Fetches what the task needs from the workstation: a file's content, a rendered template.
    fn resolve(&mut self, _from: &dyn Workstation) -> Result<(), ResolveError> {
        Ok(())
    }

    /// Looks. Changes nothing, also not by asking (`drbdadm status` loads a module).
    fn probe(&self, host: &dyn Probe) -> Result<Self::Seen, LookError>;

    /// Decides on what was seen. Pure: no host, clock, random or log.
    fn decide(&self, seen: &Self::Seen) -> Verdict;

    /// What this very task touches: one that is a host's own business mostly may need all hosts in some cases (a unit
    /// of DRBD that is to be stopped).
    fn touches(&self) -> Touches {
        Self::TOUCHES
    }

    /// When a check cannot look yet (the package or container is only predicted): whether an apply is more likely to
    /// find something to change. The answer is reported as provisional either way.
    fn expects_change(&self) -> bool {
        Self::TOUCHES != Touches::Nothing
    }

    /// What the login at the Proxmox API must be allowed for the change that the task wants by this look at the cluster;
    /// nothing where it wants none. Nodes are not asked, so this is known also where the decision has to wait for them.
    fn rights(&self, _seen: &Self::Seen) -> Vec<Right> {
        Vec::new()
    }

    /// Decides over all hosts of the play at once. A host that could not be asked is there as an error.
    /// Hosts that get no verdict have no result. `Touches::Cluster` answers with the key `cluster` alone.
    fn decide_all(&self, all: &BTreeMap<String, Observation<Self::Seen>>) -> BTreeMap<String, Verdict> {
        all.iter()
            .map(|(host, seen)| {
                let verdict = match seen {
                    Ok(seen) => self.decide(seen),
                    Err(error) => Verdict::blocked(error.to_string()),
                };
                (host.clone(), verdict)
            })
            .collect()
    }

    /// As [`Task::decide_all`], told which hosts can still act in this run: one that failed earlier or is left out by
    /// `--limit` is looked at, and waiting for it to act would be in vain.
    fn decide_among(
        &self,
        all: &BTreeMap<String, Observation<Self::Seen>>,
        _acting: &BTreeSet<String>,
    ) -> BTreeMap<String, Verdict> {
        self.decide_all(all)
    }

    /// What `register` gets after the steps ran: `data` is that of the last verdict, `outputs` one per step
    /// performed. An error makes the task failed (a command that exited non-zero), with the data kept.
    fn finish(&self, data: Json, _outputs: &[Output]) -> (Json, Result<(), String>) {
        (data, Ok(()))
    }
}

/// A task whose kind is known only at run time.
pub trait AnyTask: Send + Sync {
    fn kind(&self) -> &'static str;
    fn touches(&self) -> Touches;
    fn expects_change(&self) -> bool;
    fn object(&self) -> String;
    fn trails(&self) -> Vec<Trail>;
    fn to_json(&self) -> Json;
    fn check_args(&self) -> Vec<ArgFault>;
    fn resolve(&mut self, from: &dyn Workstation) -> Result<(), ResolveError>;
    fn look_and_decide(&self, host: &dyn Probe) -> Result<Verdict, LookError>;
    /// The `Seen` as JSON, for deciding elsewhere.
    fn probe_json(&self, host: &dyn Probe) -> Result<Json, LookError>;
    /// [`Task::rights`] on an observation as JSON.
    fn rights_json(&self, seen: &Json) -> Result<Vec<Right>, serde_json::Error>;
    /// [`Task::decide_among`] on observations as JSON.
    fn decide_all_json(
        &self,
        all: &BTreeMap<String, Observation<Json>>,
        acting: &BTreeSet<String>,
    ) -> BTreeMap<String, Verdict>;
    fn finish(&self, data: Json, outputs: &[Output]) -> (Json, Result<(), String>);
}

impl<T: Task> AnyTask for T {
    fn kind(&self) -> &'static str {
        T::KIND
    }

    fn touches(&self) -> Touches {
        Task::touches(self)
    }

    fn expects_change(&self) -> bool {
        Task::expects_change(self)
    }

    fn object(&self) -> String {
        Task::object(self)
    }

    fn trails(&self) -> Vec<Trail> {
        Task::trails(self)
    }

    fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("task arguments have string keys and finite numbers")
    }

    fn check_args(&self) -> Vec<ArgFault> {
        Task::check_args(self)
    }

    fn resolve(&mut self, from: &dyn Workstation) -> Result<(), ResolveError> {
        Task::resolve(self, from)
    }

    fn look_and_decide(&self, host: &dyn Probe) -> Result<Verdict, LookError> {
        Ok(self.decide(&self.probe(host)?))
    }

    fn probe_json(&self, host: &dyn Probe) -> Result<Json, LookError> {
        let seen = self.probe(host)?;
        serde_json::to_value(seen).map_err(|e| LookError::cannot_tell(T::KIND, e))
    }

    fn rights_json(&self, seen: &Json) -> Result<Vec<Right>, serde_json::Error> {
        Ok(self.rights(&T::Seen::deserialize(seen)?))
    }

    fn decide_all_json(
        &self,
        all: &BTreeMap<String, Observation<Json>>,
        acting: &BTreeSet<String>,
    ) -> BTreeMap<String, Verdict> {
        let typed = all
            .iter()
            .map(|(host, seen)| {
                let seen = seen
                    .clone()
                    .and_then(|json| serde_json::from_value(json).map_err(|e| LookError::cannot_tell(T::KIND, e)));
                (host.clone(), seen)
            })
            .collect();
        self.decide_among(&typed, acting)
    }

    fn finish(&self, data: Json, outputs: &[Output]) -> (Json, Result<(), String>) {
        Task::finish(self, data, outputs)
    }
}
