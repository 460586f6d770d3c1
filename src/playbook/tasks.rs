//! Lists of tasks: tasks, blocks, and the words they share.

use super::loader::{At, Loader, first_line};
use super::model::{Block, Common, Item, MetaAction, TaskDef};
use crate::diagnostic::{Fault, did_you_mean};
use crate::tasks::registry::{self, Kind};
use crate::yaml::{Node, Value};

pub const KEYWORDS: &[&str] = &[
    "always",
    "any_errors_fatal",
    "args",
    "become",
    "become_method",
    "become_user",
    "block",
    "changed_when",
    "check_mode",
    "delay",
    "delegate_to",
    "environment",
    "failed_when",
    "ignore_errors",
    "ignore_unreachable",
    "import_role",
    "import_tasks",
    "include_role",
    "include_tasks",
    "include_vars",
    "listen",
    "loop",
    "loop_control",
    "meta",
    "name",
    "no_log",
    "notify",
    "register",
    "rescue",
    "retries",
    "run_once",
    "tags",
    "throttle",
    "timeout",
    "until",
    "vars",
    "when",
    "with_items",
];

/// Words that are tasks without being kinds.
const DIRECTIVES: &[&str] =
    &["block", "import_role", "import_tasks", "include_role", "include_tasks", "include_vars", "meta"];

/// Ansible's modules that have another name here.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "service" | "systemd_service" | "sysvinit" => "systemd",
        "package" | "dpkg_selections" => "apt",
        "deb822_repository" | "apt_key" => "apt_repository",
        "raw" | "script" | "expect" => "shell",
        "proxmox" | "community.proxmox.proxmox" | "lxc_container" => "pct",
        "community.proxmox.proxmox_cluster_ha_groups" | "community.proxmox.proxmox_cluster_ha_rules" => "ha_group",
        "community.proxmox.proxmox_cluster_ha_resources" => "ha_resource",
        "community.proxmox.proxmox_storage" => "pve_storage",
        "community.proxmox.proxmox_template" => "pve_template",
        _ => return None,
    })
}

impl Loader<'_> {
    pub(super) fn tasks(&mut self, list: &Node, at: &At, inherited: &Common) -> Vec<Item> {
        let items = self.items(list, "a list of tasks");
        items.iter().filter_map(|node| self.task(node, at, inherited)).collect()
    }

    /// One item of a list of tasks.
    pub(super) fn task(&mut self, node: &Node, at: &At, inherited: &Common) -> Option<Item> {
        let Some(entries) = node.entries() else {
            self.wrong_type(node, "a task");
            return None;
        };
        if !self.one_more(first_line(node)) {
            return None;
        }
        let mut common = inherited.passed_down();
        let mut name = None;
        let mut extra_args = None;
        let mut directive: Option<(&Node, &Node)> = None;
        let mut kind: Option<(&'static Kind, &Node, &Node)> = None;
        let mut unknown = Vec::new();
        let mut outdated = false;
        for (key, value) in entries {
            let word = key.as_str().unwrap_or_default();
            let word = word.strip_prefix("ansible.builtin.").or(word.strip_prefix("ansible.legacy.")).unwrap_or(word);
            if word == "name" {
                name = self.text(value);
            } else if word == "args" {
                extra_args = Some(value);
            } else if word == "rescue" || word == "always" {
                if node.get("block").is_none() {
                    let fault = Fault::new(key.span, format!("`{word}` without `block`"));
                    self.fault(fault.label("belongs beside a `block`"));
                }
            } else if DIRECTIVES.contains(&word) {
                match (directive, kind) {
                    (Some((first, _)), _) | (None, Some((_, first, _))) => self.two_kinds(key, first),
                    (None, None) => directive = Some((key, value)),
                }
            } else if let Some(found) = registry::find(word) {
                match (directive, kind) {
                    (Some((first, _)), _) | (None, Some((_, first, _))) => self.two_kinds(key, first),
                    (None, None) => kind = Some((found, key, value)),
                }
            } else if self.common_word(&mut common, key, value) {
            } else if self.old_word(key) {
                outdated = true;
            } else {
                unknown.push(key);
            }
        }
        if directive.is_none() && kind.is_none() {
            match unknown.as_slice() {
                // `action`: the kind is in there, which was told.
                [] if outdated => {}
                [] => {
                    let fault = Fault::new(first_line(node), "a task without a kind").label("what should be done?");
                    self.fault(fault.help("add one of those `converge explain` lists, such as `copy:` or `command:`"));
                }
                keys => keys.iter().for_each(|key| self.unknown_kind(key)),
            }
            return None;
        }
        for key in unknown {
            self.unknown_word(key, kind.map(|(kind, ..)| kind));
        }
        if let Some((key, value)) = directive {
            if let Some(args) = extra_args {
                self.fault(Fault::new(args.span, "`args` belongs to a kind of task"));
            }
            return self.directive(node, key, value, name, common, at);
        }
        let (kind, key, value) = kind?;
        self.without_a_host(kind, node);
        let args = self.args(kind, key, value, extra_args);
        Some(Item::Task(Box::new(TaskDef {
            name: name.unwrap_or_else(|| kind.name.to_owned()),
            name_span: node.get("name").map_or(key.span, |name| name.span),
            kind,
            args,
            common,
            span: first_line(node),
            kind_span: key.span,
            folder: at.folder().to_owned(),
        })))
    }

    fn directive(
        &mut self,
        node: &Node,
        key: &Node,
        value: &Node,
        name: Option<String>,
        common: Common,
        at: &At,
    ) -> Option<Item> {
        let word = key.as_str().unwrap_or_default();
        let word = word.rsplit('.').next().unwrap_or(word);
        match word {
            "block" => {
                let section = |loader: &mut Self, list: Option<&Node>| match list {
                    Some(list) => loader.tasks(list, at, &common),
                    None => Vec::new(),
                };
                let body = section(self, Some(value));
                let rescue = section(self, node.get("rescue"));
                let always = section(self, node.get("always"));
                self.only_shared(&common, "a block", key);
                let span = first_line(node);
                Some(Item::Block(Box::new(Block { name, body, rescue, always, common, span, ..Block::default() })))
            }
            "meta" => {
                let action = self.meta(value)?;
                self.only_when(node);
                Some(Item::Meta(action, Box::new(common)))
            }
            _ => self.inclusion(word, key, value, name, common, at),
        }
    }

    fn meta(&mut self, value: &Node) -> Option<MetaAction> {
        let text = self.written_out(value)?;
        let known = [
            ("flush_handlers", MetaAction::FlushHandlers),
            ("end_play", MetaAction::EndPlay),
            ("end_batch", MetaAction::EndBatch),
            ("end_host", MetaAction::EndHost),
            ("clear_host_errors", MetaAction::ClearHostErrors),
            ("noop", MetaAction::Noop),
            ("clear_facts", MetaAction::ClearFacts),
            ("reset_connection", MetaAction::ResetConnection),
            ("refresh_inventory", MetaAction::Noop),
        ];
        let found = known.iter().find(|(name, _)| *name == text).map(|(_, action)| *action);
        if text == "refresh_inventory" {
            let fault = Fault::new(value.span, "`refresh_inventory` has no effect");
            self.fault(fault.label("the inventory is read once, at the beginning").warning());
        }
        if found.is_none() {
            let fault = Fault::new(value.span, format!("unknown value `{text}`")).label("not an action of `meta`");
            self.fault(fault.hint(did_you_mean(&text, known.map(|(name, _)| name))));
        }
        found
    }

    /// `meta` is about the run: whether it happens is all that can be said beside it.
    fn only_when(&mut self, node: &Node) {
        let known = ["name", "when", "tags", "run_once", "vars", "meta", "ansible.builtin.meta"];
        for (key, _) in node.entries().unwrap_or_default() {
            let word = key.as_str().unwrap_or_default();
            if KEYWORDS.contains(&word) && !known.contains(&word) {
                let fault = Fault::new(key.span, format!("`meta` cannot have `{word}`"));
                self.fault(fault.help("`when` and `tags` say whether it happens"));
            }
        }
    }

    /// What only a task can do stands on a block or include: Ansible refuses it, too.
    pub(super) fn only_shared(&mut self, common: &Common, what: &str, key: &Node) {
        let cases = [
            ("register", common.register.is_some()),
            ("notify", !common.notify.is_empty() && what != "a block"),
            ("until", common.until.is_some()),
            ("changed_when", common.changed_when.is_some()),
            ("failed_when", common.failed_when.is_some()),
            ("loop", common.loop_.is_some() && what == "a block"),
            ("loop", common.loop_.is_some() && what == "an import"),
        ];
        for (word, present) in cases {
            if present {
                let fault = Fault::new(key.span, format!("{what} cannot have `{word}`"));
                self.fault(match (word, what) {
                    ("loop", "an import") => fault.help("use `include_tasks` or `include_role`"),
                    ("loop", _) => fault.help("put the tasks into a file and loop over `include_tasks`"),
                    _ => fault.help("put it on the tasks inside"),
                });
            }
        }
    }

    fn two_kinds(&mut self, key: &Node, first: &Node) {
        let fault = Fault::new(key.span, "two kinds in one task").label("the second");
        self.fault(fault.also(first.span, "the first").help("begin a task of its own with `- `"));
    }

    /// No kind was found: each unknown word may be meant as one.
    fn unknown_kind(&mut self, key: &Node) {
        let name = key.as_str().unwrap_or_default();
        let fault = Fault::new(key.span, format!("unknown kind `{name}`")).label("not a kind of task");
        let short = name.rsplit('.').next().unwrap_or(name);
        let known = registry::KINDS.iter().map(|kind| kind.name).chain(KEYWORDS.iter().copied());
        let fault = match elsewhere(name).or(elsewhere(short)).filter(|name| registry::find(name).is_some()) {
            Some(other) => fault.help(format!("use `{other}`")),
            None => match did_you_mean(short, known) {
                Some(help) => fault.help(help),
                None => fault.help("`converge explain` lists the kinds there are"),
            },
        };
        self.fault(fault);
    }

    /// A kind is there: an unknown word beside it is a misspelt keyword, or a field that is not indented enough.
    fn unknown_word(&mut self, key: &Node, kind: Option<&'static Kind>) {
        let name = key.as_str().unwrap_or_default();
        if let Some(kind) = kind {
            let schema = (kind.schema)();
            if schema.get("properties").and_then(|fields| fields.get(name)).is_some() {
                let fault = Fault::new(key.span, format!("unknown field `{name}`")).label("not a field of a task");
                self.fault(fault.help(format!("it is a field of `{}`: indent it below", kind.name)));
                return;
            }
        }
        self.unknown_key(key, "a task", KEYWORDS.iter().copied());
    }

    /// Ansible's words for which another is to be written; `true` if it was one.
    fn old_word(&mut self, key: &Node) -> bool {
        let word = key.as_str().unwrap_or_default();
        let help = match word {
            "action" | "local_action" => "write the kind as a key of its own: `copy:` with its fields below",
            "async" | "poll" => "every task has a deadline of its own: use `timeout`",
            "sudo" | "sudo_user" | "su" => "write `become: true`, of the play",
            "include" => "write `import_tasks` or `include_tasks`",
            "loop_with" => "write `loop`",
            "with_dict" => "write `loop: \"{{ … | dict2items }}\"` and use `item.key` and `item.value`",
            "with_sequence" => "write `loop: \"{{ range(1, 4) | list }}\"`",
            "with_together" => "write `loop: \"{{ a | zip(b) | list }}\"`",
            "with_indexed_items" => "write `loop` and `loop_control: {index_var: index}`",
            "with_fileglob" | "with_filetree" | "with_first_found" => "write the names of the files under `loop`",
            "module_defaults" => "write the fields in the task",
            _ if word.starts_with("with_") => "write `loop` with a list",
            _ => return self.needless(key),
        };
        self.fault(Fault::new(key.span, format!("`{word}` is not supported")).help(help));
        true
    }

    /// The arguments of a kind, with what stands under `args` beside it.
    fn args(&mut self, kind: &'static Kind, key: &Node, value: &Node, extra: Option<&Node>) -> Node {
        let Some(extra) = extra else { return value.clone() };
        let added = self.entries(extra, "a mapping");
        let mut entries = match &value.value {
            Value::Mapping(entries) => entries.clone(),
            Value::Scalar { .. } if value.is_null() => Vec::new(),
            Value::Scalar { .. } if kind.free_form.is_some() => {
                vec![(Node::scalar(kind.free_form.unwrap_or_default(), true, value.span), value.clone())]
            }
            _ => return value.clone(),
        };
        for (name, field) in added {
            match entries.iter().find(|(known, _)| known.as_str() == name.as_str()) {
                Some((first, _)) => {
                    let word = name.as_str().unwrap_or_default();
                    let fault = Fault::new(name.span, format!("`{word}` is written twice")).label("again here");
                    let first = first.span;
                    self.fault(fault.also(first, "first here"));
                }
                None => entries.push((name.clone(), field.clone())),
            }
        }
        Node { value: Value::Mapping(entries), span: if value.is_null() { key.span } else { value.span } }
    }
}

impl Common {
    /// What a play, block or include hands to what it holds.
    pub(super) fn passed_down(&self) -> Self {
        Self {
            tags: self.tags.clone(),
            no_log: self.no_log,
            ignore_errors: self.ignore_errors,
            ignore_unreachable: self.ignore_unreachable,
            any_errors_fatal: self.any_errors_fatal,
            run_once: self.run_once,
            delegate_to: self.delegate_to.clone(),
            check_mode: self.check_mode,
            environment: self.environment.clone(),
            throttle: self.throttle,
            timeout_s: self.timeout_s,
            becomes: self.becomes,
            notify: self.notify.clone(),
            ..Self::default()
        }
    }
}

pub fn add_tags(tags: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for tag in more {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
}

pub fn push_tags(items: &mut [Item], tags: &[String]) {
    for item in items {
        let common = match item {
            Item::Task(task) => &mut task.common,
            Item::Meta(_, common) => common,
            Item::Include(include) => {
                if let super::model::Included::Loaded(block) = &mut include.what {
                    push_tags(&mut block.body, tags);
                }
                &mut include.common
            }
            Item::Block(block) => {
                for list in [&mut block.body, &mut block.rescue, &mut block.always] {
                    push_tags(list, tags);
                }
                &mut block.common
            }
        };
        add_tags(&mut common.tags, tags.iter().cloned());
    }
}
