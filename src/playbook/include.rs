//! `import_tasks`, `include_tasks`, `include_vars` and their like: other files in the place of a task.

use super::loader::{At, Loader, first_line};
use super::model::{Block, Common, Include, Included, Item, TaskDef};
use super::role::RoleCall;
use crate::diagnostic::{Fault, Span};
use crate::yaml::{Node, Value};
use std::path::PathBuf;

impl Loader<'_> {
    pub(super) fn inclusion(
        &mut self,
        word: &str,
        key: &Node,
        value: &Node,
        name: Option<String>,
        common: Common,
        at: &At,
    ) -> Option<Item> {
        match word {
            "import_tasks" | "include_tasks" => self.task_file(word, key, value, name, common, at),
            "import_role" | "include_role" => self.role_task(word, key, value, name, common, at),
            _ => self.vars_task(key, value, name, common, at),
        }
    }

    fn task_file(
        &mut self,
        word: &str,
        key: &Node,
        value: &Node,
        name: Option<String>,
        mut common: Common,
        at: &At,
    ) -> Option<Item> {
        let mut path = Some(value);
        if let Some(entries) = value.entries() {
            path = value.get("file");
            for (key, value) in entries {
                match key.as_str().unwrap_or_default() {
                    "file" => {}
                    "apply" => self.apply(&mut common, value),
                    _ => self.unknown_key(key, &format!("`{word}`"), ["file", "apply"]),
                }
            }
            if path.is_none() {
                let fault = Fault::new(key.span, "missing field `file`").label(format!("`{word}` needs `file`"));
                self.fault(fault);
            }
        }
        let path = path?;
        let imports = word == "import_tasks";
        self.only_shared(&common, if imports { "an import" } else { "an include" }, key);
        let text = self.text(path)?;
        let shown = name.clone().unwrap_or_else(|| format!("{word}: {text}"));
        if path.is_template() {
            if imports {
                let fault = Fault::new(path.span, "a template cannot stand here").label("must be written out");
                self.fault(fault.help("use `include_tasks`, which is read when its turn comes"));
                return None;
            }
            return Some(self.include(shown, Included::TasksAt(path.clone()), common, key.span, at));
        }
        let body = self.task_list(&text, path.span, &common, at)?;
        if imports {
            return Some(Item::Block(Box::new(Block { name, body, common, span: key.span, ..Block::default() })));
        }
        let block = Block { body, span: key.span, ..Block::default() };
        Some(self.include(shown, Included::Loaded(Box::new(block)), common, key.span, at))
    }

    fn include(&mut self, name: String, what: Included, common: Common, span: Span, at: &At) -> Item {
        Item::Include(Box::new(Include {
            name,
            what,
            common,
            span,
            folder: at.dir.clone(),
            base: at.base.clone(),
            role: at.role.clone(),
        }))
    }

    /// `apply:`, what an include says for the tasks inside.
    pub(super) fn apply(&mut self, common: &mut Common, node: &Node) {
        for (key, value) in self.entries(node, "a mapping") {
            match key.as_str().unwrap_or_default() {
                "when" => {
                    let when = self.expressions(value);
                    common.when.extend(when);
                }
                "vars" => {
                    let vars = self.variables(value);
                    common.vars.extend(vars);
                }
                "become" | "become_method" | "become_user" => {
                    common.becomes = self.become_root(key, value).or(common.becomes);
                }
                word => {
                    if !self.shared_word(common, word, value) {
                        self.unknown_key(key, "`apply`", ["tags", "when", "vars", "environment", "no_log"]);
                    }
                }
            }
        }
    }

    fn task_list(&mut self, name: &str, named: Span, common: &Common, at: &At) -> Option<Vec<Item>> {
        let mut dirs = vec![at.dir.clone()];
        if let Some(role) = &at.role {
            let part = if at.handlers { "handlers" } else { "tasks" };
            dirs.push(role.join(part));
        }
        dirs.push(at.base.clone());
        let (found, tree) = self.file_named(name, named, &dirs)?;
        if tree.items().is_none() && !tree.is_null() {
            let what = tree.what();
            let mut fault =
                Fault::new(first_line(&tree), format!("a file of tasks is a list of tasks, this is {what}"));
            fault = fault.also(named, "included here");
            self.fault(fault);
            return None;
        }
        if let Some(play) = tree.items().and_then(|items| items.iter().find(|item| item.get("hosts").is_some())) {
            let fault = Fault::new(first_line(play), "a play where tasks are expected").also(named, "included here");
            self.fault(fault.help("use `import_playbook` for files of plays"));
            return None;
        }
        let inner = at.in_file(&found);
        self.inside(&found, named, |loader| loader.tasks(&tree, &inner, common))
    }

    /// `include_vars` of a file known beforehand is `set_fact` with the file's content.
    fn vars_task(&mut self, key: &Node, value: &Node, name: Option<String>, common: Common, at: &At) -> Option<Item> {
        let mut path = Some(value);
        let mut under = None;
        if let Some(entries) = value.entries() {
            path = value.get("file");
            for (key, value) in entries {
                match key.as_str().unwrap_or_default() {
                    "file" => {}
                    "name" => under = self.is_variable(value).then_some(value),
                    _ => self.unknown_key(key, "`include_vars`", ["file", "name"]),
                }
            }
        }
        let Some(path) = path else {
            self.fault(Fault::new(key.span, "missing field `file`").label("`include_vars` needs `file`"));
            return None;
        };
        let text = self.text(path)?;
        if path.is_template() {
            let fault = Fault::new(path.span, "a template cannot stand here").label("must be written out");
            self.fault(fault.help("include each file with a `when` of its own, or give it with `-e @FILE`"));
            return None;
        }
        let mut dirs: Vec<PathBuf> = at.role.iter().map(|role| role.join("vars")).collect();
        dirs.extend([at.dir.join("vars"), at.dir.clone(), at.base.clone()]);
        let (_, tree) = self.file_named(&text, path.span, &dirs)?;
        let vars = self.variables(&tree);
        let mut entries: Vec<(Node, Node)> =
            vars.into_iter().map(|(name, node)| (Node::scalar(name, true, node.span), node)).collect();
        if let Some(under) = under {
            let whole = Node { value: Value::Mapping(entries), span: path.span };
            entries = vec![(under.clone(), whole)];
        }
        let kind = crate::tasks::registry::find("set_fact")?;
        Some(Item::Task(Box::new(TaskDef {
            name: name.unwrap_or_else(|| format!("include_vars: {text}")),
            name_span: key.span,
            kind,
            args: Node { value: Value::Mapping(entries), span: path.span },
            common,
            span: key.span,
            kind_span: key.span,
            folder: at.folder().to_owned(),
        })))
    }

    pub(super) fn included_tasks(&mut self, include: &Include, path: &str) -> Option<Block> {
        let body = self.task_list(path, include.span, &include.common, &include.at())?;
        Some(Block { body, span: include.span, ..Block::default() })
    }

    pub(super) fn included_role(&mut self, include: &Include, role: &str) -> Option<Block> {
        let call = RoleCall { name: role.to_owned(), named: include.span, ..RoleCall::default() };
        self.role(&call, &include.common, &include.at()).map(|role| role.block)
    }
}

impl Include {
    fn at(&self) -> At {
        At { base: self.base.clone(), dir: self.folder.clone(), role: self.role.clone(), handlers: false }
    }
}
