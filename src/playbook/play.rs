//! A play: its own words, then its sections.

use super::loader::{At, Loader, first_line};
use super::model::{Batch, Block, Common, Item, MetaAction, Play, Serial, TaskDef, Way};
use crate::diagnostic::{Fault, Span};
use crate::yaml::{Node, Value};

pub const KEYS: &[&str] = &[
    "any_errors_fatal",
    "become",
    "become_method",
    "become_user",
    "check_mode",
    "connection",
    "environment",
    "force_handlers",
    "gather_facts",
    "handlers",
    "hosts",
    "ignore_errors",
    "ignore_unreachable",
    "max_fail_percentage",
    "name",
    "no_log",
    "port",
    "post_tasks",
    "pre_tasks",
    "remote_user",
    "roles",
    "run_once",
    "serial",
    "strategy",
    "tags",
    "tasks",
    "throttle",
    "timeout",
    "vars",
    "vars_files",
];

/// Ansible's words that mean nothing here, and why.
fn needless(key: &str) -> Option<&'static str> {
    Some(match key {
        "strategy" | "order" => "every task runs on all hosts at once, in the order of the inventory",
        "gather_subset" | "gather_timeout" | "fact_path" => "facts are gathered when a task uses them",
        "collections" => "all kinds are built in",
        "diff" => "diffs are always made; `--no-diff` hides them",
        "debugger" => "there is no debugger",
        _ => return None,
    })
}

impl Loader<'_> {
    pub(super) fn needless(&mut self, key: &Node) -> bool {
        let name = key.as_str().unwrap_or_default();
        if matches!(name, "remote_user" | "port" | "connection") {
            let fault = Fault::new(key.span, format!("`{name}` cannot be said of a single task"));
            let fault = fault.label("a run reaches a host in one way");
            self.fault(fault.help(match name {
                "connection" => "say it of the play, or let the task run elsewhere: `delegate_to: localhost`",
                _ => "say it of the play, or in the inventory",
            }));
            return true;
        }
        if matches!(name, "become_flags" | "become_exe") {
            let fault = Fault::new(key.span, format!("`{name}` is not supported"));
            self.fault(fault.help("`sudo -n` has to do, allowed in sudoers without a password"));
            return true;
        }
        let Some(why) = needless(name) else { return false };
        self.fault(Fault::new(key.span, format!("`{name}` has no effect")).label(why).warning());
        true
    }

    /// `become`, `become_user` and `become_method`: root by sudo, or nobody else. What `become` says, and where.
    pub(super) fn become_root(&mut self, key: &Node, value: &Node) -> Option<(bool, Span)> {
        match (key.as_str(), value.as_str()) {
            (Some("become"), _) => return self.flag(value).map(|becomes| (becomes, key.span)),
            (Some("become_user"), Some("root")) | (Some("become_method"), Some("sudo" | "ansible.builtin.sudo")) => {}
            (Some("become_method"), _) => {
                self.fault(Fault::new(value.span, "tasks become root by sudo, in no other way"))
            }
            _ => {
                let fault =
                    Fault::new(value.span, "tasks run as root or as the login; they cannot become another user");
                self.fault(fault.help("use the kind's `owner`, or `command: runuser -u NAME -- …`"));
            }
        }
        None
    }

    pub(super) fn play(&mut self, node: &Node, at: &At) -> Option<Play> {
        let Some(entries) = node.entries() else {
            self.wrong_type(node, "a play");
            return None;
        };
        let mut play = Play {
            name: String::new(),
            hosts: Vec::new(),
            defaults: Vec::new(),
            vars: Vec::new(),
            tasks: Vec::new(),
            handlers: Vec::new(),
            tags: Vec::new(),
            serial: None,
            gather_facts: None,
            max_fail_percentage: None,
            force_handlers: false,
            way: Way::default(),
            folder: at.dir.clone(),
            span: first_line(node),
        };
        let mut common = Common::default();
        for (key, value) in entries {
            self.play_word(&mut play, &mut common, key, value, at);
        }
        if node.get("hosts").is_none() {
            let fault = Fault::new(play.span, "missing field `hosts`").label("a play needs `hosts`");
            self.fault(match node.get("tasks") {
                Some(_) => fault,
                None => fault.help("tasks belong under `tasks:` of a play with `hosts:`"),
            });
        }
        if play.name.is_empty() {
            let hosts: Vec<&str> = play.hosts.iter().map(|(pattern, _)| pattern.as_str()).collect();
            play.name = hosts.join(", ");
        }
        play.tags = common.tags.clone();
        self.sections(&mut play, &common, node, at);
        Some(play)
    }

    fn play_word(&mut self, play: &mut Play, common: &mut Common, key: &Node, value: &Node, at: &At) {
        match key.as_str().unwrap_or_default() {
            "name" => play.name = self.text(value).unwrap_or_default(),
            "hosts" => play.hosts = self.hosts(value),
            "vars" => play.vars.splice(0..0, self.variables(value)).for_each(drop),
            "vars_files" => {
                let loaded = self.vars_files(value, at);
                play.vars.extend(loaded);
            }
            "vars_prompt" => {
                let fault = Fault::new(key.span, "nobody is asked while a run goes on");
                self.fault(fault.help("give the values with `-e NAME=VALUE` or `-e @FILE`"));
            }
            "gather_facts" => play.gather_facts = self.flag(value),
            "force_handlers" => play.force_handlers = self.flag(value).unwrap_or_default(),
            "max_fail_percentage" => {
                play.max_fail_percentage = self.number(value);
                if play.max_fail_percentage.is_some_and(|percent| percent > 100) {
                    self.fault(Fault::new(value.span, "more than 100 percent"));
                }
            }
            "serial" => play.serial = self.serial(value),
            "become" | "become_method" | "become_user" => {
                if let Some(becomes) = self.become_root(key, value) {
                    play.way.becomes = Some(becomes);
                }
            }
            "connection" => play.way.connection = self.written_out(value).map(|text| (text, value.span)),
            "remote_user" => play.way.remote_user = self.written_out(value).map(|text| (text, value.span)),
            "port" => play.way.port = self.written_out(value).map(|text| (text, value.span)),
            "strategy" if value.as_str() == Some("linear") => {}
            "pre_tasks" | "roles" | "tasks" | "post_tasks" | "handlers" => {}
            "module_defaults" => {
                let fault = Fault::new(key.span, "`module_defaults` is not supported");
                self.fault(fault.help("write the fields in the tasks, or share them with a YAML anchor"));
            }
            word @ ("tags" | "environment" | "no_log" | "ignore_errors" | "ignore_unreachable" | "any_errors_fatal"
            | "run_once" | "check_mode" | "throttle" | "timeout") => {
                self.shared_word(common, word, value);
            }
            _ if self.needless(key) => {}
            _ => {
                let name = key.as_str().unwrap_or_default();
                if crate::tasks::registry::find(name).is_some() {
                    let fault = Fault::new(key.span, format!("unknown field `{name}`")).label("not a field of a play");
                    self.fault(fault.help(format!("`{name}` is a kind of task; put it under `tasks:`")));
                } else {
                    self.unknown_key(key, "a play", KEYS.iter().copied());
                }
            }
        }
    }

    fn hosts(&mut self, node: &Node) -> Vec<(String, Span)> {
        let mut found = Vec::new();
        for (pattern, span) in self.words(node, true) {
            if crate::template::has_template(&pattern) {
                let fault = Fault::new(span, "a template cannot stand here").label("must be written out");
                self.fault(fault.help("name a group here and choose with `--limit`"));
            } else {
                found.push((pattern, span));
            }
        }
        if found.is_empty() && (node.is_null() || node.items().is_some_and(<[_]>::is_empty)) {
            self.fault(Fault::new(node.span, "a play without hosts"));
        }
        found
    }

    fn serial(&mut self, node: &Node) -> Option<Serial> {
        let nodes = node.items().unwrap_or(std::slice::from_ref(node));
        let mut batches = Vec::new();
        for item in nodes {
            let text = self.written_out(item)?;
            let percent = text.strip_suffix('%');
            let number = percent.unwrap_or(&text).trim().parse::<u32>().ok().filter(|number| *number > 0);
            match (number, percent) {
                (Some(number), None) => batches.push(Batch::Hosts(number as usize)),
                (Some(number), Some(_)) if number <= 100 => batches.push(Batch::Percent(number)),
                _ => {
                    let fault = Fault::new(item.span, format!("`{text}` is no number of hosts"));
                    self.fault(fault.label("expected a number from 1, or `1%` to `100%`"));
                }
            }
        }
        (!batches.is_empty()).then_some(Serial(batches))
    }

    /// Variables from files. Templates in the paths would need values that are known only later.
    pub(super) fn vars_files(&mut self, node: &Node, at: &At) -> Vec<(String, Node)> {
        let mut vars = Vec::new();
        for (name, span) in self.words(node, false) {
            if crate::template::has_template(&name) {
                let fault = Fault::new(span, "a template cannot stand here").label("must be written out");
                self.fault(fault.help("give the file with `-e @FILE` instead"));
                continue;
            }
            let dirs = [at.dir.clone(), at.base.clone()];
            if let Some((_, tree)) = self.file_named(&name, span, &dirs) {
                vars.extend(self.variables(&tree));
            }
        }
        vars
    }

    fn sections(&mut self, play: &mut Play, common: &Common, node: &Node, at: &At) {
        // As Ansible: the flush after a section happens whatever tags are chosen.
        let flush = || {
            let common = Common { tags: vec!["always".to_owned()], ..Common::default() };
            Item::Meta(MetaAction::FlushHandlers, Box::new(common))
        };
        let section = |loader: &mut Self, name: &str| match node.get(name) {
            Some(list) => loader.tasks(list, at, common),
            None => Vec::new(),
        };
        let pre = section(self, "pre_tasks");
        if !pre.is_empty() {
            play.tasks.extend(pre);
            play.tasks.push(flush());
        }
        if let Some(list) = node.get("roles") {
            for role in self.roles(list, at, common) {
                play.defaults.extend(role.defaults.iter().cloned());
                play.vars.extend(role.play_vars);
                play.handlers.extend(role.handlers);
                let block = Block { defaults: role.defaults, ..role.block };
                play.tasks.push(Item::Block(Box::new(block)));
            }
        }
        play.tasks.extend(section(self, "tasks"));
        let post = section(self, "post_tasks");
        if !post.is_empty() {
            play.tasks.push(flush());
            play.tasks.extend(post);
        }
        let mut imported = self.take_handlers();
        play.handlers.append(&mut imported);
        if let Some(list) = node.get("handlers") {
            let at = At { handlers: true, ..at.clone() };
            let items = self.tasks(list, &at, common);
            // The play's own win over a role's of the same name, as they come later.
            self.flatten(items, &Common::default(), &mut play.handlers);
        }
        self.unique_names(&play.handlers);
    }

    fn unique_names(&mut self, handlers: &[TaskDef]) {
        let mut seen: std::collections::HashMap<&str, &TaskDef> = std::collections::HashMap::new();
        let mut faults = Vec::new();
        for handler in handlers {
            // Without a name of its own a handler can only be notified by what it listens to.
            if handler.name == handler.kind.name {
                continue;
            }
            match seen.get(handler.name.as_str()) {
                Some(first) if first.span.file == handler.span.file && first.span != handler.span => {
                    let fault = Fault::new(handler.name_span, format!("two handlers are named `{}`", handler.name));
                    faults.push(fault.label("only one of them would run").also(first.name_span, "the other one"));
                }
                _ => drop(seen.insert(&handler.name, handler)),
            }
        }
        self.faults.extend(faults);
    }

    /// Handlers are a flat list: what blocks and imports say is moved into each.
    pub(super) fn flatten(&mut self, items: Vec<Item>, outer: &Common, out: &mut Vec<TaskDef>) {
        for item in items {
            match item {
                Item::Task(mut task) => {
                    let common = &mut task.common;
                    common.when.splice(0..0, outer.when.iter().cloned());
                    common.vars.splice(0..0, outer.vars.iter().cloned());
                    out.push(*task);
                }
                Item::Block(block) if block.rescue.is_empty() && block.always.is_empty() => {
                    let mut inner = outer.clone();
                    inner.when.extend(block.common.when.iter().cloned());
                    inner.vars.extend(block.defaults.iter().chain(&block.common.vars).cloned());
                    self.flatten(block.body, &inner, out);
                }
                Item::Block(block) => {
                    let span = block.span;
                    self.fault(Fault::new(span, "`rescue` and `always` cannot stand among handlers"));
                }
                Item::Include(include) => {
                    let fault = Fault::new(include.span, "handlers cannot be included at run time");
                    self.fault(fault.help("use `import_tasks`"));
                }
                Item::Meta(_, common) => {
                    let span = common.when.first().map(|expr| expr.span).unwrap_or_default();
                    self.fault(Fault::new(span, "`meta` cannot be a handler"));
                }
            }
        }
    }
}

/// A value that is a list, or one thing that stands for a list of it.
pub fn one_or_many(node: &Node) -> &[Node] {
    match &node.value {
        Value::Sequence(items) => items,
        _ => std::slice::from_ref(node),
    }
}
