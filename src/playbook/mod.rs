//! Playbooks: YAML trees → plays, tasks and handlers, with every fault of every file found in one run.
//!
//! Offline: it reads the playbook's own files, renders nothing and asks no host.

mod model;

pub use model::{
    Batch, Block, Common, Expr, Include, Included, Item, LoopControl, MetaAction, Play, Playbook, Serial, TaskDef,
};

use crate::diagnostic::{Fault, Sources};
use std::collections::BTreeSet;
use std::path::PathBuf;

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
}

/// Reads playbooks and everything they import, include and name; all faults at once.
pub fn load(_paths: &[PathBuf], _sources: &mut Sources, _context: &Context) -> Result<Vec<Playbook>, Vec<Fault>> {
    Ok(Vec::new())
}

/// Reads one playbook from text, as if it stood in a file of that path.
pub fn parse_str(_path: &str, _text: &str, _sources: &mut Sources, _context: &Context) -> Result<Playbook, Vec<Fault>> {
    Err(Vec::new())
}

/// Reads the task file of an `include_tasks` whose path had to be rendered first. `common` of what comes back
/// holds what the include passes down.
pub fn load_tasks(
    _include: &Include,
    _path: &str,
    _sources: &mut Sources,
    _context: &Context,
) -> Result<Block, Vec<Fault>> {
    Err(Vec::new())
}

/// Reads the role of an `include_role` whose name had to be rendered first.
pub fn load_role(
    _include: &Include,
    _role: &str,
    _sources: &mut Sources,
    _context: &Context,
) -> Result<Block, Vec<Fault>> {
    Err(Vec::new())
}
