//! What a change to a file still owes: a program that must read it anew. Noted on the host before the file changes and
//! crossed out when the program did, so that a run which is killed in between, or whose program failed, is found out by
//! the next one: the file alone would look as described.

use crate::host::{Action, Bytes, LookError, Probe, Step};
use std::path::Path;

/// Where the host keeps what it is owed; only root looks in there.
pub const DIRECTORY: &str = "/var/lib/converge";

fn note(what: &str) -> String {
    format!("{DIRECTORY}/owed-{what}")
}

/// Whether an earlier run changed the file and then did not get to `what`.
pub fn look(host: &dyn Probe, what: &str) -> Result<bool, LookError> {
    Ok(host.stat(Path::new(&note(what)))?.is_some())
}

/// The change, and then the action it owes. `what` is one word for a file name; `sentence` is for people who find it.
pub fn steps(what: &str, sentence: &str, change: Vec<Step>, action: Step) -> Vec<Step> {
    let directory = Action::CreateDirectory { path: DIRECTORY.into(), mode: Some(0o700), owner: None, group: None };
    let noted = Action::WriteFile {
        path: note(what),
        content: Bytes(format!("{sentence}\n").into_bytes()),
        mode: Some(0o600),
        owner: None,
        group: None,
        validate: None,
        backup: false,
    };
    let mut steps: Vec<Step> = vec![directory.into(), noted.into()];
    steps.extend(change);
    steps.extend(pay(what, action));
    steps
}

/// The action alone, for a change that was made by an earlier run.
pub fn pay(what: &str, action: Step) -> Vec<Step> {
    vec![action, Action::Remove { path: note(what), recursive: false }.into()]
}
