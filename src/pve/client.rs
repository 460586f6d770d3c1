//! The REST client: one object, blocking, for plain threads; a small runtime of its own does the waiting.
//!
//! Reads and logins are repeated once when a connection breaks, and at another entry point when one does not answer; one
//! that hangs is asked last from then on. A write is never repeated unless it certainly did not arrive: an unanswered one
//! is [`Error::UnknownOutcome`].

mod answer;
mod once;
mod send;
mod task;
mod words;

use super::{Error, Login, TaskEnd, Trust, tls};
pub(super) use send::{Core, entry};
use serde_json::Value as Json;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
pub(super) use words::no_answer;

/// pveproxy closes a connection that was idle for 5 s; a pooled one must be gone before that.
const POOL_IDLE: Duration = Duration::from_secs(3);
/// Of one answer (bytes); the longest that Proxmox gives are some MiB.
const ANSWER_LIMIT: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(7);

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host`, `host:port` or `https://host:port`; the next is tried when one cannot be connected to.
    pub entry_points: Vec<String>,
    pub login: Login,
    pub trust: Trust,
    /// For one request. Longer than the 30 s after which one node gives up on another.
    pub deadline: Duration,
    /// The longest answer that is read (bytes).
    pub answer_limit: usize,
}

impl Config {
    pub fn new(entry_points: Vec<String>, login: Login, trust: Trust) -> Self {
        Self { entry_points, login, trust, deadline: Duration::from_secs(35), answer_limit: ANSWER_LIMIT }
    }
}

/// The methods that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Post,
    Put,
    Delete,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// An answer, and when it was asked for.
type Told = (Instant, Result<Json, Error>);

/// A client of one cluster. Cheap to clone; clones share login and connections.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    runtime: Arc<OwnRuntime>,
    /// What was answered to [`Client::permissions`].
    permissions: Arc<Mutex<Option<Told>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("entry_points", &self.core.entry_points()).finish_non_exhaustive()
    }
}

impl Client {
    /// The same login and session at one entry point alone: a node's own.
    pub fn at(&self, entry_point: &str) -> Result<Self, Error> {
        let core = Arc::new(self.core.at(entry_point)?);
        Ok(Self { core, runtime: self.runtime.clone(), permissions: self.permissions.clone() })
    }

    /// Connects to nothing yet; faults of the configuration are found here.
    pub fn new(config: Config) -> Result<Self, Error> {
        let tls = tls::config(&config.trust)?;
        let for_terminals = Arc::new(tls.clone());
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .http1_only()
            // A node sends no redirect that should be followed, and following one would carry the cookie along.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(POOL_IDLE)
            .connect_timeout(CONNECT_TIMEOUT.min(config.deadline))
            // Nodes are on the administrator's own network; a proxy of the environment would see the ticket.
            .no_proxy()
            .build()
            .map_err(|e| Error::Config(chain(&e)))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("pve-client")
            .enable_all()
            .build()
            .map_err(|e| Error::Config(format!("no threads for the client: {e}")))?;
        let core = Core::new(http, config, for_terminals)?;
        Ok(Self { core: Arc::new(core), runtime: Arc::new(OwnRuntime(Some(runtime))), permissions: Arc::default() })
    }

    /// A GET; the answer is what stands under `data`. `path` is without `/api2/json`, its segments encoded.
    pub fn get<K: AsRef<str>, V: AsRef<str>>(
        &self,
        path: &str,
        params: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Json, Error> {
        let (path, query) = (path.to_owned(), super::form(params));
        self.wait_for(move |core| async move { Ok(core.read(&path, &query).await?.data) })
    }

    /// `/cluster/status`, from an entry point that has quorum if there is one: what a node says that was cut off from
    /// the others is old. Later requests go there, too.
    pub fn cluster_status(&self) -> Result<Json, Error> {
        self.wait_for(|core| async move {
            let first = core.read("/cluster/status", "").await?.data;
            if !without_quorum(&first) {
                return Ok(first);
            }
            for _ in 1..core.entry_points().len() {
                core.pass_over();
                match core.read("/cluster/status", "").await {
                    Ok(other) if !without_quorum(&other.data) => return Ok(other.data),
                    _ => {}
                }
            }
            Ok(first)
        })
    }

    /// A write; the answer is what stands under `data`, a task's name where a task was started.
    pub fn write<K: AsRef<str>, V: AsRef<str>>(
        &self,
        method: Method,
        path: &str,
        params: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Json, Error> {
        let (path, form) = (path.to_owned(), super::form(params));
        self.wait_for(move |core| async move { Ok(core.write(method, &path, &form).await?.data) })
    }

    /// Follows a task to its end. A task that ended badly is an error with the end of its log.
    pub fn follow(&self, upid: &super::Upid, deadline: Duration) -> Result<TaskEnd, Error> {
        let upid = upid.clone();
        self.wait_for(move |core| async move { task::follow(&core, &upid, deadline).await })
    }

    /// Logs in now, to find a wrong password before any work starts. A token is tried with `GET /version`.
    pub fn login(&self) -> Result<super::Version, Error> {
        let answer = self.get::<&str, &str>("/version", [])?;
        super::Version::from_answer(&answer).map_err(|why| Error::BadAnswer { path: "/version".into(), why })
    }

    /// Who the requests are made as: `root@pam`, or `root@pam!name` for a token. Only the former is the identity that
    /// devices, hookscripts and most features of a container are reserved for.
    pub fn user(&self) -> &str {
        match self.core.login() {
            Login::Password { user, .. } => user,
            Login::Token { id, .. } => id,
        }
    }

    /// What this login may do ([`super::permissions`]), as it was told to any clone, and asked for where it was not, or
    /// not `since` then. A refusal is an answer as well, while an answer that did not come is asked for again.
    pub fn permissions(&self, since: Option<Instant>) -> Result<Json, Error> {
        let mut known = self.permissions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, answer)) = &*known
            && since.is_none_or(|since| *asked >= since)
        {
            return answer.clone();
        }
        let asked = Instant::now();
        let answer = self.get::<&str, &str>("/access/permissions", []);
        if matches!(answer, Ok(_) | Err(Error::Api { .. })) {
            *known = Some((asked, answer.clone()));
        }
        answer
    }

    /// Waits on a channel, not with `block_on`: that would panic on a thread that belongs to another runtime.
    pub(super) fn wait_for<T, F, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
        W: FnOnce(Arc<Core>) -> F,
    {
        let (give, take) = std::sync::mpsc::sync_channel(1);
        let future = work(self.core.clone());
        self.runtime.handle().spawn(async move {
            let _ = give.send(future.await);
        });
        take.recv().unwrap_or_else(|_| Err(Error::Config("the client was shut down in the middle of a request".into())))
    }
}

/// A node alone has no entry about the cluster, and always a quorum.
fn without_quorum(status: &Json) -> bool {
    let mut entries = status.as_array().into_iter().flatten();
    entries.any(|entry| entry["type"] == "cluster" && !super::values::truthy(entry.get("quorate")))
}

struct OwnRuntime(Option<tokio::runtime::Runtime>);

impl OwnRuntime {
    fn handle(&self) -> &tokio::runtime::Handle {
        self.0.as_ref().expect("taken only on drop").handle()
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // Dropping a runtime waits, which is forbidden on a thread of another runtime; this does not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;
