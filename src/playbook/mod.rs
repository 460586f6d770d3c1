//! Playbooks: YAML trees → plays, tasks and handlers, with every fault of every file found in one run.
//!
//! Offline: it reads the playbook's own files, renders nothing and asks no host.

pub mod explain;
mod include;
mod jinja;
mod keywords;
mod loader;
mod model;
mod names;
mod play;
mod read;
mod role;
mod schema;
mod shared;
mod tasks;
mod verify;

pub use model::{
    Batch, Block, Common, Expr, Include, Included, Item, LoopControl, MetaAction, Play, Playbook, Serial, TaskDef, Way,
};

pub use schema::schema;

use crate::diagnostic::{Fault, Sources};
use loader::Loader;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is known beside the playbooks' own files.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Names given with `--extra-vars`.
    pub extra_vars: BTreeSet<String>,
    /// What the inventory knows; `None` when there is none, and then host names are not checked.
    pub inventory: Option<Known>,
}

/// The names that an inventory defines.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub hosts: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    /// Variables of any host or group (`group_vars`, `host_vars`, inventory lines).
    pub vars: BTreeSet<String>,
    /// More hosts are discovered when the run begins, so that a name that is not here may still be one.
    pub open: bool,
}

/// Reads playbooks and everything they import, include and name; all faults at once.
pub fn load(paths: &[PathBuf], sources: &mut Sources, context: &Context) -> Result<Vec<Playbook>, Vec<Fault>> {
    Loader::new(sources, context).playbooks(paths)
}

/// Reads one playbook from text, as if it stood in a file of that path.
pub fn parse_str(path: &str, text: &str, sources: &mut Sources, context: &Context) -> Result<Playbook, Vec<Fault>> {
    let file = sources.add(path, text);
    let mut found = Loader::new(sources, context).playbook_of(Path::new(path), file)?;
    Ok(found.remove(0))
}

/// Reads the task file of an `include_tasks` whose path had to be rendered first. What the include passes down is
/// in the tasks already; its `when` and `vars` are not.
pub fn load_tasks(
    include: &Include,
    path: &str,
    sources: &mut Sources,
    context: &Context,
) -> Result<Block, Vec<Fault>> {
    let mut loader = Loader::new(sources, context);
    let block = loader.included_tasks(include, path);
    loader.one_block(block)
}

/// Reads the role of an `include_role` whose name had to be rendered first. Its handlers are not known to the play.
pub fn load_role(include: &Include, role: &str, sources: &mut Sources, context: &Context) -> Result<Block, Vec<Fault>> {
    let mut loader = Loader::new(sources, context);
    let block = loader.included_role(include, role);
    loader.one_block(block)
}

#[cfg(test)]
mod tests;
