//! What went wrong with a request, answering its reader's questions: may I retry, whose fault is it, what now.

use std::collections::BTreeMap;

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was done; sending it again is safe and may help (lock held, node busy).
    Later,
    /// It may have been done: look first, then decide.
    LookFirst,
    /// Sending the same again gives the same answer.
    Never,
}

/// Who has to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request asks for something impossible or malformed.
    Request,
    /// The account lacks rights, or cannot log in.
    Rights,
    /// The cluster or a node is in a state that forbids it.
    Cluster,
    /// No way there, or the connection broke.
    Network,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Proxmox answered with an error status. `message` is its own text, `errors` what it said of single parameters.
    #[error("{method} {path}: {status} {}", told(message, errors))]
    Api { method: &'static str, path: String, status: u16, message: String, errors: BTreeMap<String, String> },
    #[error("login of {user} at {entry} was refused: {why}")]
    Login { user: String, entry: String, why: String },
    /// No entry point could be connected to.
    #[error("{}", unreachable(tried))]
    Unreachable { tried: Vec<(String, String)> },
    /// The certificate is not one to trust; nothing was sent.
    #[error("the certificate of {entry} is not trusted: {why}")]
    Untrusted { entry: String, why: String, fingerprint: Option<String> },
    #[error("{method} {path}: no answer within {after_s} s")]
    Timeout { method: &'static str, path: String, after_s: u64 },
    /// A write whose connection ended before an answer came: it may have been done or not.
    #[error("{method} {path}: the connection ended before an answer came ({why}); it may have been carried out or not")]
    UnknownOutcome { method: &'static str, path: String, why: String },
    /// More came than is ever read.
    #[error("{method} {path}: the answer is longer than {} MiB, and was not read on", limit_bytes >> 20)]
    TooLong { method: &'static str, path: String, limit_bytes: usize },
    /// The connection of a read broke, also the second time.
    #[error("{method} {path}: {why}")]
    Broken { method: &'static str, path: String, why: String },
    #[error("{path}: the answer is not what the API documents: {why}")]
    BadAnswer { path: String, why: String },
    /// A task that was started and ended badly, with the end of its log.
    #[error("task {kind} {id} on {node} failed: {exitstatus}{}", log_text(log))]
    Task { node: String, kind: String, id: String, exitstatus: String, log: Vec<String> },
    /// `silent`: why nobody could be asked at the end, if so.
    #[error("task {kind} {id} on {node} still runs after {after_s} s ({upid}){}", unasked(silent.as_deref()))]
    TaskRuns { node: String, kind: String, id: String, upid: String, after_s: u64, silent: Option<String> },
    /// A task that ended, nobody can tell how.
    #[error("task {kind} {id} on {node} ended, and how cannot be told: {why} ({upid})")]
    TaskLost { node: String, kind: String, id: String, upid: String, why: String },
    /// The client cannot be built from what it was given.
    #[error("{0}")]
    Config(String),
}

fn told(message: &str, errors: &BTreeMap<String, String>) -> String {
    let mut text = message.trim().to_owned();
    for (parameter, why) in errors {
        text.push_str(&format!("; {parameter}: {}", why.trim()));
    }
    text
}

fn unreachable(tried: &[(String, String)]) -> String {
    let each: Vec<String> = tried.iter().map(|(entry, why)| format!("{entry}: {why}")).collect();
    match each.as_slice() {
        [one] => one.clone(),
        all => format!("no entry point of the cluster answers: {}", all.join("; ")),
    }
}

fn unasked(silent: Option<&str>) -> String {
    silent.map_or_else(String::new, |why| format!(", as far as is known: its node could not be asked any more ({why})"))
}

fn log_text(log: &[String]) -> String {
    if log.is_empty() { String::new() } else { format!("\n  {}", log.join("\n  ")) }
}

impl Error {
    /// Proxmox's text for an answered error: the message and what it said of single parameters.
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Api { message, errors, .. } => Some(told(message, errors)),
            _ => None,
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The call does not exist in this version of Proxmox. 501 means nothing else on a path without a body.
    pub fn is_not_implemented(&self) -> bool {
        self.status() == Some(501)
    }

    /// Groups were replaced by rules: every call on groups answers 500 with this text on PVE 9.
    pub fn is_groups_migrated(&self) -> bool {
        matches!(self, Self::Api { message, .. } if message.contains("ha groups have been migrated to rules"))
    }

    /// The digest sent along is not that of the configuration as it stands now: nothing was written.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { message, .. } if message.contains("detected modified configuration"))
    }

    /// Refused before anything was done: the node that answered does not see enough of the others.
    pub fn is_without_quorum(&self) -> bool {
        matches!(self, Self::Api { status: 500, message, .. } if message.contains("no quorum"))
    }

    pub fn retry(&self) -> Retry {
        match self {
            // The proxy between the nodes gave up, or the handler said something unexpected on a write: Proxmox may
            // have done it all the same (a PUT of a config can answer 500 and be written).
            Self::Api { method, status, message, .. } => match status {
                500 if is_lock(message) || self.is_without_quorum() => Retry::Later,
                595 => Retry::Later,
                500 | 596 | 599 if *method != "GET" => Retry::LookFirst,
                596 | 599 => Retry::Later,
                _ => Retry::Never,
            },
            Self::UnknownOutcome { .. } => Retry::LookFirst,
            Self::TooLong { method, .. } if *method != "GET" => Retry::LookFirst,
            Self::Timeout { method, .. } if *method != "GET" => Retry::LookFirst,
            Self::Timeout { .. } | Self::Broken { .. } | Self::Unreachable { .. } => Retry::Later,
            Self::Task { .. } | Self::TaskRuns { .. } | Self::TaskLost { .. } => Retry::LookFirst,
            Self::Login { .. }
            | Self::Untrusted { .. }
            | Self::BadAnswer { .. }
            | Self::TooLong { .. }
            | Self::Config(_) => Retry::Never,
        }
    }

    pub fn fault(&self) -> Fault {
        match self {
            Self::Api { status: 401 | 403, .. } | Self::Login { .. } => Fault::Rights,
            Self::Api { status: 400 | 501, .. } | Self::Config(_) => Fault::Request,
            Self::Api { status: 595..=599, .. } => Fault::Network,
            Self::Api { .. }
            | Self::Task { .. }
            | Self::TaskRuns { .. }
            | Self::TaskLost { .. }
            | Self::TooLong { .. }
            | Self::BadAnswer { .. } => Fault::Cluster,
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Timeout { .. }
            | Self::UnknownOutcome { .. }
            | Self::Broken { .. } => Fault::Network,
        }
    }

    /// There was no word of the one who knows: no way there, no answer, or that of a proxy in between which had none.
    pub fn is_no_answer(&self) -> bool {
        match self {
            Self::Api { status, .. } => matches!(status, 502..=504 | 595..=599),
            Self::Broken { .. } | Self::Unreachable { .. } | Self::Timeout { .. } | Self::UnknownOutcome { .. } => true,
            _ => false,
        }
    }

    /// What the reader can do now, where it is more than reading the message.
    pub fn what_now(&self) -> Option<String> {
        match self {
            Self::Api { status: 403, message, .. } if message.contains("only allowed for root@pam") => {
                Some("an API token is never root@pam: log in with the password of root@pam, or run on a node".into())
            }
            Self::Api { status: 500, message, .. } if message.contains("Only root can pass arbitrary") => Some(
                "a device as rootfs needs the password login of root@pam (no API token), or a run on a node".into(),
            ),
            Self::Api { status: 500, message, .. } if message.contains("CT is locked") => {
                Some("if no task is running on the container any more: `pct unlock VMID` on its node".into())
            }
            Self::Api { status: 500, message, .. } if is_lock(message) => Some("try again in a moment".into()),
            _ if self.is_without_quorum() => {
                Some("bring the missing nodes, or the network between the nodes, back first (`pvecm status`)".into())
            }
            Self::Api { status: 401, .. } => {
                Some("check user, realm and token; a clock that is wrong by more than minutes also ends so".into())
            }
            Self::Login { .. } => {
                Some("the user needs its realm (root@pam); root's password may differ from node to node".into())
            }
            Self::Untrusted { fingerprint, .. } => Some(format!(
                "`converge trust` with the same `-i` shows the certificates, how to compare them, and what makes them \
                 believed{}",
                fingerprint.as_ref().map_or_else(String::new, |met| format!(" (met: {met})"))
            )),
            Self::Api { status: 595, .. } => {
                Some("the node that was to answer is off, or cut off from the others".into())
            }
            Self::Api { status: 596 | 599, path, .. } => Some(slow(path)),
            Self::Timeout { path, .. } => Some(slow(path)),
            Self::TaskLost { upid, .. } => Some(format!("the task log of its node has {upid}")),
            Self::TaskRuns { upid, .. } => Some(format!("it goes on without us; its log is that of {upid}")),
            _ => None,
        }
    }
}

/// What an answer that does not come within Proxmox's own limit means.
fn slow(path: &str) -> String {
    let after = |word: &str| path.split(word).nth(1).and_then(|rest| rest.split('/').next()).filter(|s| !s.is_empty());
    match (after("/nodes/"), after("/storage/"), path.contains("/storage")) {
        (Some(node), Some(storage), _) => format!(
            "storage {storage} hangs on {node}, as a network storage whose server is gone does: look there with \
             `pvesm status --storage {storage}`, bring its server back, or set `disable: true` for it meanwhile"
        ),
        (Some(node), None, true) => format!("a storage hangs on {node}: `pvesm status` there says which"),
        (Some(node), ..) => format!("{node} takes connections and does not answer: it hangs, or is overloaded"),
        _ => "the node that was asked takes connections and does not answer: it hangs, or is overloaded".into(),
    }
}

fn is_lock(message: &str) -> bool {
    message.contains("got timeout") && message.contains("lock") || message.contains("got lock request timeout")
}
