//! Handlers that a host is owed: noted on the host before a change, crossed out when the handler ran. A run that
//! is killed in between loses none; the next run finds them first.

use crate::host::{Action, Bytes, Host, LookError, Probe, StepError};
use crate::tasks::owed::DIRECTORY;
use std::path::Path;

const FILE: &str = "/var/lib/converge/handlers.json";

/// The handlers that earlier runs owe this host, oldest first.
pub fn pending(host: &dyn Probe) -> Result<Vec<String>, LookError> {
    match host.read(Path::new(FILE))? {
        None => Ok(Vec::new()),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| LookError::cannot_tell(FILE, e)),
    }
}

/// Notes handlers; those noted already stay where they are.
pub fn owe(host: &dyn Host, handlers: &[String]) -> Result<(), StepError> {
    if handlers.is_empty() {
        return Ok(());
    }
    let mut all = pending(host)?;
    let before = all.len();
    for handler in handlers {
        if !all.contains(handler) {
            all.push(handler.clone());
        }
    }
    if all.len() == before {
        return Ok(());
    }
    if host.stat(Path::new(DIRECTORY))?.is_none() {
        let create = Action::CreateDirectory { path: DIRECTORY.into(), mode: Some(0o700), owner: None, group: None };
        host.perform(&create.into())?;
    }
    write(host, &all)
}

/// Crosses a handler out.
pub fn done(host: &dyn Host, handler: &str) -> Result<(), StepError> {
    let mut all = pending(host)?;
    let before = all.len();
    all.retain(|name| name != handler);
    if all.len() == before {
        return Ok(());
    }
    if all.is_empty() {
        host.perform(&Action::Remove { path: FILE.into(), recursive: false }.into())?;
        return Ok(());
    }
    write(host, &all)
}

fn write(host: &dyn Host, handlers: &[String]) -> Result<(), StepError> {
    let content = serde_json::to_vec(handlers).expect("a list of strings is JSON");
    let step = Action::WriteFile {
        path: FILE.into(),
        content: Bytes(content),
        mode: Some(0o600),
        owner: None,
        group: None,
        validate: None,
        backup: false,
    };
    host.perform(&step.into()).map(drop)
}
