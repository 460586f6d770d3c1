//! The seam between deciding and the world: looking (`Probe`) and acting (`Host`) on one host.
//!
//! A `Probe` cannot change anything, so code that holds only a `Probe` cannot write by mistake. Acting
//! happens through `Host::perform`, one [`Step`] at a time, and only the engine holds a `Host`.

mod environ;
mod local;
mod own_program;
mod preview;
pub mod pvesh;
mod query;
mod step;

pub use environ::{keep_from_programs, without_secrets};
pub use local::{Local, Programs};
pub use own_program::{OwnProgram, copy as copy_own_program, own_program};
pub use preview::Preview;
pub use query::{ApiGet, Output, Query, Topic};
pub use step::{Action, Bytes, Effect, Guard, Method, Step};

use std::path::Path;

/// What `lstat` says about a path, with owner and group by name where the host knows the name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stat {
    pub kind: FileKind,
    /// Permission bits only (`0o7777`).
    pub mode: u32,
    pub owner: String,
    pub group: String,
    pub size_bytes: u64,
    /// Where a symbolic link points, as written.
    pub link_target: Option<String>,
    /// Seconds since the epoch.
    pub modified_s: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    File,
    Directory,
    Symlink,
    BlockDevice,
    Other,
}

/// Why a look gave no answer. It never means "absent": absence is an answer (`Ok(None)`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum LookError {
    /// The question was asked and could not be answered (permission, I/O error, wrong type of file).
    #[error("cannot tell: {what}: {why}")]
    CannotTell { what: String, why: String },
    /// No answer within the deadline.
    #[error("no answer within {after_s} s: {what}")]
    Timeout { what: String, after_s: u64 },
    /// The program is not on this host. Distinct from a program that ran and failed.
    #[error("{program} is not installed on this host")]
    NoProgram { program: String },
    /// The host cannot be asked at all.
    #[error("{host} cannot be reached: {why}")]
    Unreachable { host: String, why: String },
    /// The Proxmox API answered with an error; `status` is the HTTP status, `message` Proxmox's own text.
    #[error("{path}: {status} {message}")]
    Api { path: String, status: u16, message: String },
    /// Preview only: the answer depends on changes that were predicted, not made.
    #[error("cannot be known before the earlier changes are made: {why}")]
    NotYet { why: String },
}

impl LookError {
    pub fn cannot_tell(what: impl Into<String>, why: impl ToString) -> Self {
        Self::CannotTell { what: what.into(), why: why.to_string() }
    }
}

/// Why a step did not do its work. The world may have changed up to the point of failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum StepError {
    #[error("{what}: {why}")]
    Failed { what: String, why: String },
    /// A program ended with a code that the step did not allow.
    #[error("`{command}` ended with {rc}: {stderr}")]
    Command { command: String, rc: i32, stdout: String, stderr: String },
    /// A guard looked right before the action and found something else than what was decided upon.
    #[error("refused: {reason}")]
    Refused { reason: String },
    /// Somebody else changed the same thing since it was looked at; nothing was done, and a new look helps.
    #[error("{what}: {why}")]
    Overtaken { what: String, why: String },
    /// It may have been done or not, and only a new look tells: no answer came, or one that settles nothing (Proxmox
    /// writes some configurations and answers with an error all the same).
    #[error("{what}: {why}")]
    Unknown { what: String, why: String },
    #[error(transparent)]
    Look(#[from] LookError),
}

/// Looking at one host. Nothing here changes anything.
///
/// `Ok(None)` from `read`, `stat` and `list` means "certainly not there".
pub trait Probe {
    /// The host's name in the inventory (`pve1`, `cluster`, `ct:101`).
    fn name(&self) -> &str;
    /// The whole content of a regular file, following links.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError>;
    /// `lstat`: does not follow a final symbolic link.
    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError>;
    /// Runs a program that only reads. Any exit code is an answer.
    fn query(&self, query: &Query) -> Result<Output, LookError>;
    /// A GET on the Proxmox API: through REST from a workstation, through `pvesh` on a node. The answer is
    /// what stands under `data`.
    fn api(&self, get: &ApiGet) -> Result<serde_json::Value, LookError>;
    /// Whom the API takes us for (`root@pam`, `root@pam!token`), where that is known without asking. Proxmox reserves
    /// some settings for `root@pam` itself, which no token is.
    fn api_user(&self) -> Option<String> {
        None
    }
    /// The answer of `GET /access/permissions` for that user. One that was given before will do, unless it was asked for
    /// before `since`.
    fn api_permissions(&self, _since: Option<std::time::Instant>) -> Result<serde_json::Value, LookError> {
        self.api(&ApiGet::new("/access/permissions"))
    }
    /// Whether a write on the API keeps its parameters from everybody else on the way. `pvesh` has them on its command
    /// line.
    fn api_takes_secrets(&self) -> bool {
        true
    }
    /// `read` as text; a file that is not UTF-8 cannot be told.
    fn read_text(&self, path: &Path) -> Result<Option<String>, LookError> {
        match self.read(path)? {
            None => Ok(None),
            Some(bytes) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|_| LookError::cannot_tell(path.display().to_string(), "not UTF-8 text")),
        }
    }
}

/// Looking at and changing one host.
pub trait Host: Probe {
    /// Performs one step and returns what the program or the API said (empty for file actions).
    fn perform(&self, step: &Step) -> Result<Output, StepError>;
}

/// A [`Probe`] that looks with the eyes of another: `look_through!(self => **self)`.
macro_rules! look_through {
    ($self:ident => $inner:expr) => {
        fn name(&$self) -> &str {
            $inner.name()
        }
        fn read(&$self, path: &std::path::Path) -> Result<Option<Vec<u8>>, $crate::host::LookError> {
            $inner.read(path)
        }
        fn stat(&$self, path: &std::path::Path) -> Result<Option<$crate::host::Stat>, $crate::host::LookError> {
            $inner.stat(path)
        }
        fn list(&$self, dir: &std::path::Path) -> Result<Option<Vec<String>>, $crate::host::LookError> {
            $inner.list(dir)
        }
        fn query(&$self, query: &$crate::host::Query) -> Result<$crate::host::Output, $crate::host::LookError> {
            $inner.query(query)
        }
        fn api(&$self, get: &$crate::host::ApiGet) -> Result<serde_json::Value, $crate::host::LookError> {
            $inner.api(get)
        }
        fn api_user(&$self) -> Option<String> {
            $inner.api_user()
        }
        fn api_permissions(
            &$self,
            since: Option<std::time::Instant>,
        ) -> Result<serde_json::Value, $crate::host::LookError> {
            $inner.api_permissions(since)
        }
        fn api_takes_secrets(&$self) -> bool {
            $inner.api_takes_secrets()
        }
    };
}
pub(crate) use look_through;

/// Holding a host is enough to look at it.
impl<H: Probe + ?Sized> Probe for Box<H> {
    look_through!(self => (**self));
}

impl<H: Probe + ?Sized> Probe for &H {
    look_through!(self => (**self));
}
