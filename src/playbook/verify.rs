//! What can be told of plays once all of them are read: arguments, variables, templates, hosts, handlers, files.

mod files;
mod secrets;
mod words;

use super::jinja::Analyser;
use super::loader::Loader;
use super::model::{Block, Common, Expr, Included, Item, Play, Playbook, TaskDef};
use super::names::Names;
use super::read::within;
use crate::diagnostic::{Fault, Span, closest, did_you_mean};
use crate::tasks::Touches;
use crate::template::has_template;
use crate::yaml::{Node, Value};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Fields that hold bare expressions.
const EXPRESSIONS: &[(&str, &str)] = &[("assert", "that"), ("debug", "var")];

/// Variables that say how a host is reached.
const REACHED_BY: &[&str] = &[
    "ansible_become",
    "ansible_become_method",
    "ansible_become_user",
    "ansible_connection",
    "ansible_host",
    "ansible_port",
    "ansible_private_key_file",
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ansible_ssh_executable",
    "ansible_ssh_extra_args",
    "ansible_ssh_host",
    "ansible_ssh_port",
    "ansible_ssh_private_key_file",
    "ansible_ssh_user",
    "ansible_user",
    "converge_agent_dir",
    "pve_endpoint",
];

pub fn playbooks(loader: &mut Loader<'_>, playbooks: &[Playbook]) {
    let names = Names::new(loader.context, playbooks);
    let mut verifier = Verifier::new(loader, names);
    for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
        verifier.play(play);
    }
}

/// A block read at run time: variables and handlers are the run's matter.
pub fn block(loader: &mut Loader<'_>, block: &Block) {
    let mut names = Names::new(loader.context, &[]);
    names.open = true;
    let mut verifier = Verifier::new(loader, names);
    verifier.handlers.open = true;
    verifier.on_cluster = true;
    verifier.block(block);
}

struct Verifier<'l, 'a> {
    loader: &'l mut Loader<'a>,
    analyser: Analyser,
    names: Names<'a>,
    handlers: Handlers,
    /// The play's hosts are the cluster itself.
    on_cluster: bool,
    /// Template files read, by path.
    templates: HashMap<PathBuf, Option<u32>>,
    told: HashSet<(Span, String)>,
}

#[derive(Default)]
struct Handlers {
    known: HashSet<String>,
    /// A handler's name is a template, or more come at run time.
    open: bool,
}

impl<'l, 'a> Verifier<'l, 'a> {
    fn new(loader: &'l mut Loader<'a>, names: Names<'a>) -> Self {
        Self {
            loader,
            analyser: Analyser::new(),
            names,
            handlers: Handlers::default(),
            on_cluster: false,
            templates: HashMap::new(),
            told: HashSet::new(),
        }
    }

    fn tell(&mut self, fault: Fault) {
        if self.told.insert((fault.span, fault.message.clone())) {
            self.loader.fault(fault);
        }
    }

    fn play(&mut self, play: &Play) {
        for (pattern, span) in &play.hosts {
            self.hosts(pattern, *span);
        }
        self.on_cluster = play.hosts.iter().all(|(pattern, _)| pattern == "cluster");
        self.handlers = Handlers::default();
        for handler in &play.handlers {
            self.handlers.open |= has_template(&handler.name);
            self.handlers.known.insert(handler.name.clone());
            self.handlers.known.extend(handler.common.listen.iter().cloned());
        }
        self.handlers.open |= has_dynamic(&play.tasks);
        self.names.enter(play.defaults.iter().chain(&play.vars).map(|(name, _)| name.clone()));
        self.definitions(&play.defaults);
        self.definitions(&play.vars);
        self.items(&play.tasks);
        for handler in &play.handlers {
            self.task(handler);
        }
        self.names.leave();
    }

    /// Values of variables are rendered when they are used, so whatever is set anywhere may be known by then.
    fn definitions(&mut self, vars: &[(String, Node)]) {
        for (_, value) in vars {
            self.node(value, true);
        }
    }

    fn hosts(&mut self, pattern: &str, span: Span) {
        let Some(known) = &self.loader.context.inventory else { return };
        for part in parts(pattern) {
            let name = part.trim_start_matches(['!', '&']);
            let always = ["all", "*", "cluster", "localhost", "nodes", "ungrouped"].contains(&name);
            let searched = name.contains(['*', '?', '[']) || name.starts_with('~');
            if always || searched || is_container(name) {
                continue;
            }
            if known.open || known.hosts.contains(name) || known.groups.contains(name) {
                continue;
            }
            let at = name.as_ptr() as usize - pattern.as_ptr() as usize;
            let place = within(self.loader.sources, span, pattern, at..at + name.len());
            let fault = Fault::new(place, format!("unknown host or group `{name}`")).label("not in the inventory");
            let names = known.hosts.iter().chain(&known.groups).map(String::as_str);
            let fault = fault.hint(did_you_mean(name, names));
            self.tell(fault);
        }
    }

    /// How a host is reached is settled before the run: what would be said later would be ignored.
    fn reached(&mut self, name: &str, span: Span) {
        if REACHED_BY.contains(&name) {
            let fault = Fault::new(span, format!("`{name}` cannot be said here"));
            let fault = fault.label("a run reaches a host in one way, settled before it begins");
            self.tell(fault.help("say it in the inventory, in the `vars` of a play, or with `-e`"));
        }
    }

    fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Task(task) => self.task(task),
                Item::Block(block) => self.block(block),
                Item::Meta(_, common) => self.conditions(&common.when, false),
                Item::Include(include) => {
                    self.enter(&include.common);
                    self.conditions(&include.common.when, true);
                    self.looped(&include.common);
                    self.text(&include.name, include.span, false);
                    match &include.what {
                        Included::Loaded(block) => self.block(block),
                        Included::TasksAt(node) | Included::RoleAt(node) => {
                            self.node(node, false);
                            self.names.open = true;
                        }
                    }
                    self.names.unguard();
                    self.leave(&include.common);
                }
            }
        }
    }

    fn block(&mut self, block: &Block) {
        self.names.enter(block.defaults.iter().map(|(name, _)| name.clone()));
        self.enter(&block.common);
        self.definitions(&block.defaults);
        self.conditions(&block.common.when, true);
        for list in [&block.body, &block.rescue, &block.always] {
            self.items(list);
        }
        self.names.unguard();
        self.leave(&block.common);
        self.names.leave();
    }

    /// The variables of a task or block, and of its loop.
    fn enter(&mut self, common: &Common) {
        self.names.enter(common.vars.iter().map(|(name, _)| name.clone()));
        let mut of_loop = Vec::new();
        if common.loop_.is_some() {
            of_loop.push(common.loop_control.loop_var.clone());
            of_loop.extend(common.loop_control.index_var.clone());
        }
        self.names.enter(of_loop);
        for (name, value) in &common.vars {
            self.node(value, false);
            self.reached(name, value.span);
        }
        for (_, value) in &common.environment {
            self.node(value, false);
        }
    }

    fn leave(&mut self, _common: &Common) {
        self.names.leave();
        self.names.leave();
    }

    fn looped(&mut self, common: &Common) {
        if let Some(list) = &common.loop_ {
            self.node(list, false);
        }
        if let Some(label) = &common.loop_control.label {
            self.node(label, false);
        }
    }

    /// Each condition is only asked when those before it held; all of them guard what they stand around (`guard`).
    fn conditions(&mut self, conditions: &[Expr], guard: bool) {
        let mut guarded = HashSet::new();
        for condition in conditions {
            self.names.guard(guarded.iter().cloned());
            let found = self.expression(&condition.text, condition.span);
            self.names.unguard();
            guarded.extend(found);
        }
        if guard {
            self.names.guard(guarded);
        }
    }

    fn task(&mut self, task: &TaskDef) {
        let common = &task.common;
        self.enter(common);
        self.conditions(&common.when, true);
        self.looped(common);
        self.text(&task.name, task.name_span, false);
        if let Some(host) = &common.delegate_to {
            self.node(host, false);
            match host.as_str() {
                Some(name) if !host.is_template() => self.hosts(name, host.span),
                _ => {}
            }
        }
        self.args(task);
        if task.kind.name == "set_fact" {
            for (key, value) in task.args.entries().unwrap_or_default() {
                self.reached(key.as_str().unwrap_or_default(), value.span);
            }
        }
        self.names.enter(common.register.clone());
        for conditions in [&common.changed_when, &common.failed_when, &common.until].into_iter().flatten() {
            self.conditions(conditions, false);
        }
        self.names.leave();
        self.notified(common);
        self.cluster(task);
        self.names.unguard();
        self.leave(common);
        self.names.learn(task);
    }

    fn args(&mut self, task: &TaskDef) {
        for mut fault in (task.kind.check)(&task.args) {
            // Of a whole mapping only the kind's name can be underlined.
            if fault.span == task.args.span && task.args.entries().is_some() || task.args.is_null() {
                fault.span = task.kind_span;
            }
            if let Value::Scalar { text, .. } = &task.args.value
                && fault.span == task.args.span
                && let Some(yaml) = key_values(text)
            {
                fault = fault.help(format!("write each field on a line of its own: {yaml}"));
            }
            self.tell(fault);
        }
        self.fields_in_text(task);
        let expressions = EXPRESSIONS.iter().find(|(kind, _)| *kind == task.kind.name).map(|(_, field)| *field);
        match task.args.entries() {
            None => self.node(&task.args, false),
            Some(entries) => {
                for (key, value) in entries {
                    self.node(key, false);
                    if expressions.is_some() && key.as_str() == expressions {
                        self.bare(value);
                    } else {
                        self.node(value, false);
                    }
                }
            }
        }
        self.file(task);
        self.secret(task);
    }

    /// Ansible takes `creates=/x` out of a command's text. Here the text is the command, so it would be an argument.
    fn fields_in_text(&mut self, task: &TaskDef) {
        let (Some(_), Some(text)) = (task.kind.free_form, task.args.as_str()) else { return };
        let fields = ["creates", "removes", "chdir", "executable", "stdin", "warn"];
        let found = text.split_whitespace().find_map(|word| {
            let (name, value) = word.split_once('=')?;
            fields.contains(&name).then_some((word, name, value))
        });
        if let Some((word, name, value)) = found {
            let at = word.as_ptr() as usize - text.as_ptr() as usize;
            let place = within(self.loader.sources, task.args.span, text, at..at + word.len());
            let fault = Fault::new(place, format!("`{name}` would be part of the command"));
            self.tell(fault.help(format!("write it beside: `args: {{{name}: {value}}}`")));
        }
    }

    /// A field that is an expression, or a list of them.
    fn bare(&mut self, node: &Node) {
        match &node.value {
            Value::Scalar { text, .. } if node.as_bool().is_none() => drop(self.expression(text, node.span)),
            Value::Sequence(items) => items.iter().for_each(|item| self.bare(item)),
            _ => {}
        }
    }

    fn notified(&mut self, common: &Common) {
        for (name, span) in &common.notify {
            if has_template(name) {
                self.text(name, *span, false);
                continue;
            }
            if self.handlers.open || self.handlers.known.contains(name) {
                continue;
            }
            let fault = Fault::new(*span, format!("unknown handler `{name}`")).label("no handler has this name");
            let known: Vec<&str> = self.handlers.known.iter().map(String::as_str).collect();
            let fault = match (closest(name, known.iter().copied()), known.is_empty()) {
                (Some(near), _) => fault.help(format!("did you mean `{near}`?")),
                (None, true) => fault.help("the play has no `handlers`"),
                (None, false) => fault,
            };
            self.tell(fault);
        }
    }

    fn cluster(&mut self, task: &TaskDef) {
        let delegated = task.common.delegate_to.as_ref().and_then(Node::as_str) == Some("cluster");
        if task.kind.touches == Touches::Cluster && !self.on_cluster && !delegated {
            let fault = Fault::new(task.kind_span, format!("`{}` concerns the cluster, not a host", task.kind.name));
            let fault = fault.label("needs `hosts: cluster`");
            self.tell(fault.help("put it into a play with `hosts: cluster`"));
        }
    }
}

fn has_dynamic(items: &[Item]) -> bool {
    items.iter().any(|item| match item {
        Item::Include(include) => match &include.what {
            Included::Loaded(block) => has_dynamic(&block.body),
            _ => true,
        },
        Item::Block(block) => [&block.body, &block.rescue, &block.always].into_iter().any(|list| has_dynamic(list)),
        _ => false,
    })
}

/// A host pattern taken apart at `:`, `ct:101` kept whole.
fn parts(pattern: &str) -> Vec<&str> {
    if pattern.starts_with('~') {
        return vec![pattern];
    }
    let mut found = Vec::new();
    let mut start = 0;
    for (at, _) in pattern.match_indices(':').chain([(pattern.len(), "")]) {
        let part = &pattern[start..at];
        if part.trim_start_matches(['!', '&']) == "ct" && at < pattern.len() {
            continue;
        }
        if !part.is_empty() {
            found.push(part);
        }
        start = (at + 1).min(pattern.len());
    }
    found
}

/// `src=a dest=b` → "`src: a`, `dest: b`".
fn key_values(text: &str) -> Option<String> {
    let fields: Option<Vec<String>> = text
        .split_whitespace()
        .map(|word| {
            let (key, value) = word.split_once('=')?;
            let is_word = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            is_word.then(|| format!("`{key}: {value}`"))
        })
        .collect();
    fields.filter(|fields| !fields.is_empty()).map(|fields| fields.join(", "))
}

/// `ct:101`.
fn is_container(name: &str) -> bool {
    name.strip_prefix("ct:").is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
}
