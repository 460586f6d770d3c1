//! Changes that a node without quorum cannot make: `/etc/pve` is read-only there. Found before the first step, so that
//! a check says it, too. What is not below `/etc/pve` is none of its business.

use crate::host::{Action, Probe, Step};
use crate::tasks::Change;
use std::path::Path;

/// Why this change cannot be made now, if that is certain.
pub fn missing(host: &dyn Probe, change: &Change) -> Option<String> {
    if !change.steps.iter().any(writes) {
        return None;
    }
    // pmxcfs says it by the mode of its own links, which nothing else changes.
    let local = host.stat(Path::new("/etc/pve/local")).ok().flatten()?;
    (local.mode & 0o200 == 0).then(|| {
        format!(
            "no quorum: this node does not see enough of the others, so that /etc/pve is read-only here (`pvecm status`). \
             Bring the missing nodes, or the network between the nodes, back first; not done: {}",
            change.summary
        )
    })
}

/// Whether a step writes to the cluster's file system on the host itself.
fn writes(step: &Step) -> bool {
    let path = match &step.action {
        Action::WriteFile { path, .. }
        | Action::CreateDirectory { path, .. }
        | Action::SetAttributes { path, .. }
        | Action::Symlink { path, .. }
        | Action::InstallSelf { path, .. }
        | Action::Remove { path, .. } => path,
        Action::Run { .. } | Action::Api { .. } | Action::Sleep { .. } => return false,
    };
    step.on.is_none() && path.starts_with("/etc/pve/")
}
