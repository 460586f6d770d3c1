//! The cluster itself as a host: questions and changes go over the Proxmox API.
//!
//! There is no file system and no program behind it; whoever asks for one is told so, never "absent".

mod write;

use crate::host::{Action, ApiGet, Host, LookError, Output, Probe, Query, Stat, Step, StepError};
use crate::pve::{self, Client};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use write::Write;

/// The one file the engine keeps on every host: the handlers it owes. For the cluster it lies on the workstation.
const JOURNAL: &str = "/var/lib/converge/handlers.json";

/// How the API is asked.
enum Way {
    Rest(Client),
    /// Through a node, by its own `pvesh`.
    Node(Box<dyn Host>),
}

/// The host `cluster`.
pub struct ApiHost {
    way: Way,
    name: String,
    journal: PathBuf,
}

impl ApiHost {
    /// `state` is a directory of the workstation that keeps what this cluster's runs still owe; it is made when
    /// there is something to keep.
    pub fn new(client: Client, state: &Path) -> Self {
        Self::by(Way::Rest(client), state)
    }

    /// Asked through a node, where no login is needed.
    pub fn on_node(node: Box<dyn Host>, state: &Path) -> Self {
        Self::by(Way::Node(node), state)
    }

    fn by(way: Way, state: &Path) -> Self {
        Self { way, name: "cluster".into(), journal: state.join("handlers.json") }
    }

    fn no_files(path: &Path) -> LookError {
        LookError::cannot_tell(path.display().to_string(), "the cluster has no files; run the task on its nodes")
    }
}

/// An error of the client in the words of a look.
fn look_error(error: &pve::Error) -> LookError {
    match error {
        pve::Error::Api { path, status, .. } => LookError::Api {
            path: path.clone(),
            status: *status,
            message: with_advice(error.told().unwrap_or_default(), error),
        },
        pve::Error::Timeout { after_s, path, .. } => {
            LookError::Timeout { what: with_advice(format!("GET {path}"), error), after_s: *after_s }
        }
        pve::Error::Unreachable { .. } | pve::Error::Untrusted { .. } | pve::Error::Broken { .. } => {
            LookError::Unreachable { host: "cluster".into(), why: with_advice(error.to_string(), error) }
        }
        other => LookError::cannot_tell("the Proxmox API", with_advice(other.to_string(), other)),
    }
}

fn with_advice(text: String, error: &pve::Error) -> String {
    match error.what_now() {
        Some(advice) => format!("{text} ({advice})"),
        None => text,
    }
}

impl Probe for ApiHost {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        if path != Path::new(JOURNAL) {
            return Err(Self::no_files(path));
        }
        match std::fs::read(&self.journal) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(LookError::cannot_tell(self.journal.display().to_string(), e)),
        }
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        if Path::new(JOURNAL).parent() == Some(path) {
            // The directory is the workstation's business; `read` and `perform` see to it.
            return Ok(None);
        }
        Err(Self::no_files(path))
    }

    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        Err(Self::no_files(dir))
    }

    fn query(&self, query: &Query) -> Result<Output, LookError> {
        Err(LookError::cannot_tell(
            format!("`{}`", query.argv.join(" ")),
            "the cluster runs no programs; run the task on its nodes",
        ))
    }

    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        match &self.way {
            Way::Rest(client) if get.path == "/cluster/status" => client.cluster_status().map_err(|e| look_error(&e)),
            Way::Rest(client) => client.get(&get.path, &get.params).map_err(|e| look_error(&e)),
            Way::Node(node) => node.api(get),
        }
    }

    fn api_user(&self) -> Option<String> {
        match &self.way {
            Way::Rest(client) => Some(client.user().to_owned()),
            Way::Node(node) => node.api_user(),
        }
    }

    fn api_permissions(&self, since: Option<Instant>) -> Result<Json, LookError> {
        match &self.way {
            Way::Rest(client) => client.permissions(since).map_err(|e| look_error(&e)),
            Way::Node(node) => node.api_permissions(since),
        }
    }

    fn api_takes_secrets(&self) -> bool {
        match &self.way {
            Way::Rest(_) => true,
            Way::Node(node) => node.api_takes_secrets(),
        }
    }
}

impl Host for ApiHost {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        match &step.action {
            Action::Api { method, path, params, wait_s } => {
                let write = Write { method: *method, path, params, wait_s: *wait_s };
                match &self.way {
                    Way::Rest(client) => write::by_rest(client, &write),
                    Way::Node(node) => write::by_node(node.as_ref(), step, &write),
                }
            }
            Action::WriteFile { path, content, .. } if path == JOURNAL => {
                keep(&self.journal, &content.0).map_err(|e| file_error(&self.journal, &e))?;
                Ok(Output::default())
            }
            Action::CreateDirectory { path, .. } if Path::new(JOURNAL).parent() == Some(Path::new(path)) => {
                Ok(Output::default())
            }
            Action::Remove { path, .. } if path == JOURNAL => match std::fs::remove_file(&self.journal) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file_error(&self.journal, &e)),
                _ => Ok(Output::default()),
            },
            Action::Sleep { seconds } => {
                std::thread::sleep(Duration::from_secs(*seconds));
                Ok(Output::default())
            }
            _ => Err(StepError::Failed {
                what: step.describe(),
                why: "the cluster has no files and runs no programs; run the task on its nodes".into(),
            }),
        }
    }
}

fn file_error(path: &Path, error: &std::io::Error) -> StepError {
    StepError::Failed { what: path.display().to_string(), why: error.to_string() }
}

/// Beside it, then renamed: the old or the new journal, never half of one. Names of handlers may tell of what is
/// run, so the file is for its owner alone.
fn keep(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::journal;
    use crate::host::Topic;

    fn host(state: &Path) -> ApiHost {
        let login = pve::Login::Token { id: "root@pam!x".into(), secret: pve::Secret::new("s") };
        let trust = pve::Trust::Pinned(vec![pve::Fingerprint::of(b"x")]);
        // Port 9 of the loopback: nobody is there, and nothing here is asked to be.
        let config = pve::Config::new(vec!["127.0.0.1:9".into()], login, trust);
        ApiHost::new(Client::new(config).unwrap(), state)
    }

    #[test]
    fn handlers_are_owed_and_paid_in_a_file_of_the_workstation() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(&folder.path().join("not-yet-there"));
        assert_eq!(journal::pending(&host).unwrap(), Vec::<String>::new());
        journal::owe(&host, &["restart ha".into(), "tell".into()]).unwrap();
        journal::done(&host, "restart ha").unwrap();
        assert_eq!(journal::pending(&host).unwrap(), ["tell"]);
        journal::done(&host, "tell").unwrap();
        assert_eq!(journal::pending(&host).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn files_and_programs_are_not_absent_but_unknowable() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        assert!(matches!(host.read(Path::new("/etc/hosts")), Err(LookError::CannotTell { .. })));
        assert!(matches!(host.stat(Path::new("/etc/hosts")), Err(LookError::CannotTell { .. })));
        assert!(matches!(host.query(&Query::new(Topic::Other, ["true"])), Err(LookError::CannotTell { .. })));
        assert!(host.perform(&Step::write("/etc/hosts", "x")).is_err());
        let error = host.api(&ApiGet::new("/version")).unwrap_err();
        assert!(matches!(error, LookError::Unreachable { .. }), "{error:?}");
    }
}
