//! What a playbook means, as types that hold only what was proved right. No YAML words are left unread here.
//!
//! Inheritance is done in two places. The loader pushes down what is known as it stands: `tags`, `no_log`,
//! `ignore_errors`, `run_once`, `delegate_to`, `check_mode`, `environment`, `any_errors_fatal` of plays, roles, blocks and
//! includes are already in the [`Common`] of every task inside. What must be evaluated is left to the runner, scope by
//! scope from the outside in: `when` and `vars` of a [`Block`] or an [`Include`] come before those of what it holds.

use crate::diagnostic::{Fault, Span};
use crate::tasks::registry::Kind;
use crate::yaml::Node;
use std::path::PathBuf;

/// A playbook file with everything it imports.
#[derive(Debug, Clone)]
pub struct Playbook {
    pub path: PathBuf,
    /// In order; those of an `import_playbook` stand in its place.
    pub plays: Vec<Play>,
    /// Worth telling, no reason to stop (`become: true`).
    pub warnings: Vec<Fault>,
}

#[derive(Debug, Clone)]
pub struct Play {
    /// As given, or the host patterns.
    pub name: String,
    /// Host patterns, Ansible's way (`nodes`, `pve1`, `all:!pve3`, `cluster`, `ct:101`), split at commas.
    pub hosts: Vec<(String, Span)>,
    /// Defaults of the play's roles: weaker than everything, also than the inventory.
    pub defaults: Vec<(String, Node)>,
    /// `vars`, then the content of `vars_files`; later wins.
    pub vars: Vec<(String, Node)>,
    /// `pre_tasks`, the roles' tasks, `tasks`, `post_tasks`, with a flush of handlers after each of these sections.
    pub tasks: Vec<Item>,
    pub handlers: Vec<TaskDef>,
    pub tags: Vec<String>,
    pub serial: Option<Serial>,
    pub gather_facts: Option<bool>,
    /// The play stops when more than this share of the hosts of a batch has failed.
    pub max_fail_percentage: Option<u32>,
    /// Handlers run although a task failed.
    pub force_handlers: bool,
    /// How its hosts are reached, where no variable says otherwise.
    pub way: Way,
    /// Directory of the file the play stands in.
    pub folder: PathBuf,
    pub span: Span,
}

/// `connection`, `remote_user`, `port` and `become` of a play, each with its place.
#[derive(Debug, Clone, Default)]
pub struct Way {
    pub connection: Option<(String, Span)>,
    pub remote_user: Option<(String, Span)>,
    pub port: Option<(String, Span)>,
    pub becomes: Option<(bool, Span)>,
}

/// How many hosts go through the play at a time; the last number repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serial(pub Vec<Batch>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    Hosts(usize),
    /// Of the play's hosts, 1–100; at least one host.
    Percent(u32),
}

#[derive(Debug, Clone)]
pub enum Item {
    Task(Box<TaskDef>),
    Block(Box<Block>),
    Include(Box<Include>),
    Meta(MetaAction, Box<Common>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaAction {
    FlushHandlers,
    EndPlay,
    EndBatch,
    EndHost,
    ClearHostErrors,
    ClearFacts,
    ResetConnection,
    Noop,
}

/// Tasks that share conditions and variables; also what `import_tasks`, `import_role` and `roles` become.
/// `common.when` is evaluated anew for each task inside, as Ansible does.
#[derive(Debug, Clone, Default)]
pub struct Block {
    pub name: Option<String>,
    /// A role's `defaults`: weaker than everything else inside the block, also than the inventory.
    pub defaults: Vec<(String, Node)>,
    pub body: Vec<Item>,
    pub rescue: Vec<Item>,
    pub always: Vec<Item>,
    /// `when`, `vars` (a role's `vars` and parameters, too) and `tags` count; the rest was pushed down.
    pub common: Common,
    pub span: Span,
}

/// `include_tasks`, `include_role`: whether, how often and with which variables the content runs is known at run time.
/// `common.when` is evaluated once per host and loop item, then the content runs.
#[derive(Debug, Clone)]
pub struct Include {
    pub name: String,
    pub what: Included,
    pub common: Common,
    pub span: Span,
    /// Directory of the file that includes, for paths that are rendered at run time.
    pub folder: PathBuf,
    /// Directory of the playbook, where they are looked for next.
    pub base: PathBuf,
    /// Directory of the role that includes.
    pub role: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub enum Included {
    /// The path was written without templates, so the content has been read and checked.
    Loaded(Box<Block>),
    /// The name of a task file, to be rendered and given to [`super::load_tasks`].
    TasksAt(Node),
    /// The name of a role, to be rendered and given to [`super::load_role`].
    RoleAt(Node),
}

#[derive(Debug, Clone)]
pub struct TaskDef {
    /// As given, or the kind's name. May hold templates.
    pub name: String,
    /// Of the name as given, otherwise of the kind.
    pub name_span: Span,
    pub kind: &'static Kind,
    /// The kind's arguments as written, templates unrendered.
    pub args: Node,
    pub common: Common,
    /// The whole task.
    pub span: Span,
    /// The kind's name.
    pub kind_span: Span,
    /// Where `files/` and `templates/` are looked for first: the role's directory, or that of the file.
    pub folder: PathBuf,
}

/// What every task, block and include may say beside its own words.
#[derive(Debug, Clone)]
pub struct Common {
    /// All must hold.
    pub when: Vec<Expr>,
    /// A sequence, or a scalar with a template that gives one.
    pub loop_: Option<Node>,
    /// `with_items`: items that are lists are taken apart, one level deep.
    pub loop_flatten: bool,
    pub loop_control: LoopControl,
    pub register: Option<String>,
    /// Names of handlers, or words they listen to.
    pub notify: Vec<(String, Span)>,
    /// Handlers only: words beside the name that notify it.
    pub listen: Vec<String>,
    /// Own and inherited, without repetition.
    pub tags: Vec<String>,
    pub changed_when: Option<Vec<Expr>>,
    pub failed_when: Option<Vec<Expr>>,
    pub until: Option<Vec<Expr>>,
    /// More tries after the first. Without `until`: until it did not fail.
    pub retries: Option<u32>,
    pub delay_s: u64,
    pub run_once: bool,
    pub delegate_to: Option<Node>,
    pub vars: Vec<(String, Node)>,
    pub no_log: bool,
    pub ignore_errors: bool,
    pub ignore_unreachable: bool,
    pub any_errors_fatal: bool,
    /// `Some(true)`: only ever looked at. `Some(false)` has no effect: check changes nothing.
    pub check_mode: Option<bool>,
    /// Environment variables; a task's own win over those of its block and play (later wins).
    pub environment: Vec<(String, Node)>,
    /// At most so many hosts at a time.
    pub throttle: Option<u32>,
    /// Seconds until the task counts as failed.
    pub timeout_s: Option<u64>,
    /// `become` of the task or of what is around it in the play, and where it is said.
    pub becomes: Option<(bool, Span)>,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            when: Vec::new(),
            loop_: None,
            loop_flatten: false,
            loop_control: LoopControl::default(),
            register: None,
            notify: Vec::new(),
            listen: Vec::new(),
            tags: Vec::new(),
            changed_when: None,
            failed_when: None,
            until: None,
            retries: None,
            delay_s: 5,
            run_once: false,
            delegate_to: None,
            vars: Vec::new(),
            no_log: false,
            ignore_errors: false,
            ignore_unreachable: false,
            any_errors_fatal: false,
            check_mode: None,
            environment: Vec::new(),
            throttle: None,
            timeout_s: None,
            becomes: None,
        }
    }
}

impl Common {
    /// How often it is tried again: as Ansible, 3 times with `until` alone.
    pub fn retries(&self) -> u32 {
        self.retries.unwrap_or(if self.until.is_some() { 3 } else { 0 })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct LoopControl {
    pub loop_var: String,
    /// A template, shown instead of the item.
    pub label: Option<Node>,
    pub index_var: Option<String>,
    pub pause_s: u64,
    /// Provide `ansible_loop`.
    pub extended: bool,
}

impl Default for LoopControl {
    fn default() -> Self {
        Self { loop_var: "item".to_owned(), label: None, index_var: None, pause_s: 0, extended: false }
    }
}

/// A bare Jinja expression, as in `when`. A literal `true` or `false` stands as that text.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub text: String,
    pub span: Span,
}
