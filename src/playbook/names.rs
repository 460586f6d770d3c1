//! Which variables are known at a place of a run.

use super::Context;
use super::model::{Included, Item, Playbook, TaskDef};
use crate::diagnostic::Span;
use std::collections::{HashMap, HashSet};

/// Provided for every host; `ansible_…` besides.
const MAGIC: &[&str] = &[
    "inventory_hostname",
    "inventory_hostname_short",
    "group_names",
    "groups",
    "hostvars",
    "play_hosts",
    "playbook_dir",
    "omit",
    "pve_version",
    "environment",
    "role_name",
    "role_path",
    "inventory_dir",
    "inventory_file",
];

pub struct Names<'c> {
    context: &'c Context,
    /// Variables of plays, blocks, tasks, loops: those of what is being looked at, innermost last.
    scopes: Vec<HashSet<String>>,
    /// Names that a condition around asks for with `is defined`.
    guards: Vec<HashSet<String>>,
    /// Registered results and `set_fact` so far.
    facts: HashSet<String>,
    /// All of these in the whole run, with the task that sets them.
    ever: HashMap<String, Span>,
    /// Something before here may have set any name (a dynamic include).
    pub open: bool,
}

impl<'c> Names<'c> {
    pub fn new(context: &'c Context, playbooks: &[Playbook]) -> Self {
        let mut names = Self {
            context,
            scopes: Vec::new(),
            guards: Vec::new(),
            facts: HashSet::new(),
            ever: HashMap::new(),
            open: false,
        };
        for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
            names.note_items(&play.tasks);
            play.handlers.iter().for_each(|handler| names.note_task(handler));
        }
        names
    }

    fn note_items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Task(task) => self.note_task(task),
                Item::Block(block) => {
                    for list in [&block.body, &block.rescue, &block.always] {
                        self.note_items(list);
                    }
                }
                Item::Include(include) => {
                    if let Included::Loaded(block) = &include.what {
                        self.note_items(&block.body);
                    }
                }
                Item::Meta(..) => {}
            }
        }
    }

    fn note_task(&mut self, task: &TaskDef) {
        for name in sets(task) {
            self.ever.entry(name).or_insert(task.span);
        }
    }

    pub fn enter(&mut self, scope: impl IntoIterator<Item = String>) {
        self.scopes.push(scope.into_iter().collect());
    }

    pub fn leave(&mut self) {
        self.scopes.pop();
    }

    pub fn guard(&mut self, names: impl IntoIterator<Item = String>) {
        self.guards.push(names.into_iter().collect());
    }

    pub fn unguard(&mut self) {
        self.guards.pop();
    }

    /// What a task leaves behind for those after it.
    pub fn learn(&mut self, task: &TaskDef) {
        if task.kind.name == "set_fact" && task.args.entries().is_none_or(|e| e.iter().any(|(k, _)| k.is_template())) {
            self.open = true;
        }
        self.facts.extend(sets(task));
    }

    pub fn knows(&self, name: &str) -> bool {
        self.open
            || name.starts_with("ansible_")
            || MAGIC.contains(&name)
            || self.scopes.iter().any(|scope| scope.contains(name))
            || self.facts.contains(name)
            || self.guards.iter().any(|guard| guard.contains(name))
            || self.context.extra_vars.contains(name)
            || self.context.inventory.as_ref().is_some_and(|known| known.vars.contains(name))
    }

    /// The task that sets a name, wherever it stands.
    pub fn set_by(&self, name: &str) -> Option<Span> {
        self.ever.get(name).copied()
    }

    /// For "did you mean".
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let inventory = self.context.inventory.iter().flat_map(|known| &known.vars);
        self.scopes
            .iter()
            .flatten()
            .chain(&self.facts)
            .chain(&self.context.extra_vars)
            .chain(inventory)
            .map(String::as_str)
            .chain(MAGIC.iter().copied())
    }
}

/// The names a task sets.
fn sets(task: &TaskDef) -> impl Iterator<Item = String> {
    let facts = match task.kind.name {
        "set_fact" => task.args.entries().unwrap_or_default(),
        _ => &[],
    };
    let facts = facts.iter().filter_map(|(key, _)| key.as_str()).filter(|name| *name != "cacheable");
    facts.map(str::to_owned).chain(task.common.register.clone())
}
