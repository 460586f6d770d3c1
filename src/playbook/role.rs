//! Roles: a directory of tasks, handlers, defaults, variables, files and templates.

use super::loader::{At, Loader, clean};
use super::model::{Block, Common, Included, Item, TaskDef};
use super::play::one_or_many;
use crate::diagnostic::{Fault, Span, did_you_mean};
use crate::yaml::Node;
use std::path::{Path, PathBuf};

/// A role as it is asked for.
#[derive(Debug, Default)]
pub struct RoleCall {
    pub name: String,
    pub named: Span,
    pub tasks_from: Option<(String, Span)>,
    pub vars_from: Option<(String, Span)>,
    pub defaults_from: Option<(String, Span)>,
    pub handlers_from: Option<(String, Span)>,
    /// Parameters: variables that win over the role's own.
    pub params: Vec<(String, Node)>,
}

/// A role as it was found.
pub struct Role {
    pub defaults: Vec<(String, Node)>,
    /// `vars/main.yml`, which the rest of the play sees as well.
    pub play_vars: Vec<(String, Node)>,
    pub handlers: Vec<TaskDef>,
    pub block: Block,
}

const CALL_KEYS: &[&str] = &[
    "name",
    "role",
    "tasks_from",
    "vars_from",
    "defaults_from",
    "handlers_from",
    "apply",
    "public",
    "allow_duplicates",
    "rolespec_validate",
];

impl Loader<'_> {
    /// The list under `roles:`.
    pub(super) fn roles(&mut self, list: &Node, at: &At, inherited: &Common) -> Vec<Role> {
        self.roles_ran.clear();
        let items = self.items(list, "a list of roles");
        items.iter().flat_map(|item| self.role_entry(item, at, inherited)).collect()
    }

    /// One entry of `roles:` or of a role's dependencies.
    fn role_entry(&mut self, item: &Node, at: &At, inherited: &Common) -> Option<Role> {
        let mut common = inherited.passed_down();
        let mut call = RoleCall { named: item.span, ..RoleCall::default() };
        if let Some(entries) = item.entries() {
            for (key, value) in entries {
                match key.as_str().unwrap_or_default() {
                    "role" | "name" => {
                        call.named = value.span;
                        call.name = self.written_out(value).unwrap_or_default();
                    }
                    "when" => common.when = self.expressions(value),
                    "vars" => {
                        let vars = self.variables(value);
                        call.params.extend(vars);
                    }
                    "become" | "become_method" | "become_user" => {
                        common.becomes = self.become_root(key, value).or(common.becomes);
                    }
                    word if self.shared_word(&mut common, word, value) => {}
                    // Everything else is a parameter of the role, as in Ansible.
                    word if self.is_variable(key) => call.params.push((word.to_owned(), value.clone())),
                    _ => {}
                }
            }
            if item.get("role").or(item.get("name")).is_none() {
                let fault = Fault::new(super::loader::first_line(item), "missing field `role`");
                self.fault(fault.label("an entry of `roles` needs `role`"));
            }
        } else {
            call.name = self.written_out(item)?;
        }
        if call.name.is_empty() {
            return None;
        }
        // Asked for twice without anything different, a role runs once.
        if call.params.is_empty() && common.when.is_empty() {
            let dir = self.role_dir(&call, at)?;
            if !self.roles_ran.insert(dir) {
                return None;
            }
        }
        self.role(&call, &common, at)
    }

    /// `import_role` and `include_role`.
    pub(super) fn role_task(
        &mut self,
        word: &str,
        key: &Node,
        value: &Node,
        name: Option<String>,
        mut common: Common,
        at: &At,
    ) -> Option<Item> {
        let mut call = RoleCall::default();
        let mut role_name = Some(value);
        if let Some(entries) = value.entries() {
            role_name = value.get("name").or(value.get("role"));
            for (key, value) in entries {
                let from = |loader: &mut Self| loader.written_out(value).map(|name| (name, value.span));
                match key.as_str().unwrap_or_default() {
                    "name" | "role" | "public" | "allow_duplicates" | "rolespec_validate" => {}
                    "tasks_from" => call.tasks_from = from(self),
                    "vars_from" => call.vars_from = from(self),
                    "defaults_from" => call.defaults_from = from(self),
                    "handlers_from" => call.handlers_from = from(self),
                    "apply" => self.apply(&mut common, value),
                    _ => self.unknown_key(key, &format!("`{word}`"), CALL_KEYS.iter().copied()),
                }
            }
        }
        let Some(role_name) = role_name else {
            self.fault(Fault::new(key.span, "missing field `name`").label(format!("`{word}` needs `name`")));
            return None;
        };
        let imports = word == "import_role";
        self.only_shared(&common, if imports { "an import" } else { "an include" }, key);
        call.name = self.text(role_name)?;
        call.named = role_name.span;
        let shown = name.unwrap_or_else(|| format!("{word}: {}", call.name));
        let include = |what, common| {
            Some(Item::Include(Box::new(super::model::Include {
                name: shown.clone(),
                what,
                common,
                span: key.span,
                folder: at.dir.clone(),
                base: at.base.clone(),
                role: at.role.clone(),
            })))
        };
        if role_name.is_template() {
            if imports {
                let fault = Fault::new(role_name.span, "a template cannot stand here").label("must be written out");
                self.fault(fault.help("use `include_role`, which is read when its turn comes"));
                return None;
            }
            return include(Included::RoleAt(role_name.clone()), common);
        }
        if imports {
            call.params = std::mem::take(&mut common.vars);
        }
        let role = self.role(&call, &common, at)?;
        self.role_handlers.extend(role.handlers);
        let mut block = role.block;
        if imports {
            return Some(Item::Block(Box::new(block)));
        }
        // The include has them, and evaluates them once.
        block.common.when.clear();
        include(Included::Loaded(Box::new(block)), common)
    }

    pub(super) fn take_handlers(&mut self) -> Vec<TaskDef> {
        std::mem::take(&mut self.role_handlers)
    }

    fn role_dir(&mut self, call: &RoleCall, at: &At) -> Option<PathBuf> {
        let name = Path::new(&call.name);
        let mut dirs = Vec::new();
        if let Some(beside) = at.role.as_deref().and_then(Path::parent) {
            dirs.push(beside.join(name));
        }
        dirs.extend([at.base.join("roles").join(name), Path::new("roles").join(name), at.base.join(name)]);
        let dirs: Vec<PathBuf> = dirs.iter().map(|dir| clean(dir)).collect();
        let found = dirs.iter().find(|dir| dir.is_dir()).cloned();
        if found.is_none() {
            let mut looked: Vec<String> = Vec::new();
            for dir in &dirs {
                let shown = format!("`{}`", dir.display());
                if !looked.contains(&shown) {
                    looked.push(shown);
                }
            }
            let fault = Fault::new(call.named, format!("there is no role `{}`", call.name))
                .label(format!("looked for {}", looked.join(", ")));
            let beside: Vec<String> = dirs.iter().filter_map(|dir| dir.parent()).flat_map(names_in).collect();
            self.fault(fault.hint(did_you_mean(&call.name, beside.iter().map(String::as_str))));
        }
        found
    }

    pub(super) fn role(&mut self, call: &RoleCall, common: &Common, at: &At) -> Option<Role> {
        let dir = self.role_dir(call, at)?;
        let inner = At { base: at.base.clone(), dir: dir.join("tasks"), role: Some(dir.clone()), handlers: false };
        self.inside(&dir, call.named, |loader| loader.role_parts(&dir, call, common, &inner))
    }

    fn role_parts(&mut self, dir: &Path, call: &RoleCall, common: &Common, at: &At) -> Role {
        let defaults = self.role_vars(&dir.join("defaults"), &call.defaults_from);
        let vars = self.role_vars(&dir.join("vars"), &call.vars_from);
        let mut block = Block {
            name: Some(call.name.clone()),
            defaults: defaults.clone(),
            common: Common { when: common.when.clone(), vars: vars.clone(), ..common.passed_down() },
            span: call.named,
            ..Block::default()
        };
        block.common.vars.extend(call.params.iter().cloned());
        let mut role = Role { defaults, play_vars: vars, handlers: Vec::new(), block };
        for needed in self.dependencies(dir, common, at) {
            role.defaults.splice(0..0, needed.defaults);
            role.play_vars.splice(0..0, needed.play_vars);
            role.handlers.extend(needed.handlers);
            role.block.body.push(Item::Block(Box::new(needed.block)));
        }
        if let Some((path, tree)) = self.role_part(&dir.join("tasks"), &call.tasks_from, call.named) {
            let inner = at.in_file(&path);
            let tasks = self.inside(&path, call.named, |loader| loader.tasks(&tree, &inner, common));
            role.block.body.extend(tasks.unwrap_or_default());
        }
        if let Some((path, tree)) = self.role_part(&dir.join("handlers"), &call.handlers_from, call.named) {
            let inner = At { handlers: true, ..at.in_file(&path) };
            let items = self.tasks(&tree, &inner, common);
            let mut outer = Common::default();
            outer.vars.extend(role.defaults.iter().chain(&role.block.common.vars).cloned());
            self.flatten(items, &outer, &mut role.handlers);
        }
        role
    }

    fn dependencies(&mut self, dir: &Path, common: &Common, at: &At) -> Vec<Role> {
        let Some((_, meta)) = self.role_part(&dir.join("meta"), &None, Span::default()) else { return Vec::new() };
        let Some(list) = meta.get("dependencies") else { return Vec::new() };
        one_or_many(list)
            .iter()
            .filter(|item| !item.is_null())
            .filter_map(|item| self.role_entry(item, at, common))
            .collect()
    }

    fn role_vars(&mut self, dir: &Path, from: &Option<(String, Span)>) -> Vec<(String, Node)> {
        match self.role_part(dir, from, Span::default()) {
            Some((_, tree)) => self.variables(&tree),
            None => Vec::new(),
        }
    }

    /// `main.yml` of a part, which need not be there; or the file asked for, which must.
    fn role_part(
        &mut self,
        dir: &Path,
        from: &Option<(String, Span)>,
        named: Span,
    ) -> Option<(PathBuf, std::rc::Rc<Node>)> {
        let (name, named, must) = match from {
            Some((name, span)) => (name.as_str(), *span, true),
            None => ("main", named, false),
        };
        let candidates = [dir.join(name), dir.join(format!("{name}.yml")), dir.join(format!("{name}.yaml"))];
        match candidates.iter().find(|path| path.is_file()) {
            Some(path) => {
                let path = clean(path);
                let tree = self.tree(&path, named)?;
                Some((path, tree))
            }
            None => {
                if must {
                    let fault = Fault::new(named, format!("there is no file `{name}`"));
                    let known: Vec<String> = names_in(dir).iter().map(|n| stem(n)).collect();
                    let fault = fault.label(format!("looked for `{}`", candidates[1].display()));
                    self.fault(fault.hint(did_you_mean(name, known.iter().map(String::as_str))));
                }
                None
            }
        }
    }
}

fn stem(name: &str) -> String {
    name.trim_end_matches(".yml").trim_end_matches(".yaml").to_owned()
}

fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
