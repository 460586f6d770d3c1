//! Reads files, each once, and keeps every fault found on the way.

use super::model::{Block, Common, Play, Playbook, TaskDef};
use super::{Context, verify};
use crate::diagnostic::{Fault, Sources, Span};
use crate::yaml::{self, Node};
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// Tasks after all imports; twice-imported files that import twice would multiply without end.
const MAX_TASKS: usize = 100_000;
/// Files within files.
const MAX_FILES_OPEN: usize = 40;

pub struct Loader<'a> {
    pub(super) sources: &'a mut Sources,
    pub(super) context: &'a Context,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    files: HashMap<PathBuf, Option<Rc<Node>>>,
    /// Files being read, outermost first, with the place that named them.
    open: Vec<(PathBuf, Span)>,
    tasks: usize,
    /// Handlers of roles met in the play being read, and the roles that ran in it.
    pub(super) role_handlers: Vec<TaskDef>,
    pub(super) roles_ran: HashSet<PathBuf>,
}

/// Where a piece of playbook stands: what its relative paths mean.
#[derive(Debug, Clone)]
pub struct At {
    /// Of the playbook.
    pub base: PathBuf,
    /// Of the file.
    pub dir: PathBuf,
    /// Of the role, inside of one.
    pub role: Option<PathBuf>,
    /// Reading handlers.
    pub handlers: bool,
}

impl At {
    pub fn of(path: &Path) -> Self {
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        Self { base: dir.clone(), dir, role: None, handlers: false }
    }

    /// Where `files/` and `templates/` are looked for first.
    pub fn folder(&self) -> &Path {
        self.role.as_deref().unwrap_or(&self.dir)
    }

    pub fn in_file(&self, path: &Path) -> Self {
        Self { dir: path.parent().unwrap_or(Path::new("")).to_owned(), ..self.clone() }
    }
}

impl<'a> Loader<'a> {
    pub fn new(sources: &'a mut Sources, context: &'a Context) -> Self {
        Self {
            sources,
            context,
            faults: Vec::new(),
            warnings: Vec::new(),
            files: HashMap::new(),
            open: Vec::new(),
            tasks: 0,
            role_handlers: Vec::new(),
            roles_ran: HashSet::new(),
        }
    }

    /// Every playbook, checked as one run: what an earlier one registers, a later one may use.
    pub fn playbooks(mut self, paths: &[PathBuf]) -> Result<Vec<Playbook>, Vec<Fault>> {
        let mut found = Vec::new();
        for path in paths {
            let path = clean(path);
            match yaml::read(&path, self.sources) {
                Err(fault) => self.fault(fault),
                Ok(file) => {
                    let plays = self.playbook(&path, file);
                    found.push(Playbook { path, plays, warnings: Vec::new() });
                }
            }
        }
        self.finish(found)
    }

    /// The outcome of reading one block at run time: faults only it can have.
    pub fn one_block(mut self, block: Option<Block>) -> Result<Block, Vec<Fault>> {
        if let Some(block) = &block {
            verify::block(&mut self, block);
        }
        match block {
            Some(block) if self.faults.is_empty() => Ok(block),
            _ => Err(self.faults),
        }
    }

    /// A playbook whose text is already among the sources.
    pub fn playbook_of(mut self, path: &Path, file: u32) -> Result<Vec<Playbook>, Vec<Fault>> {
        let plays = self.playbook(path, file);
        self.finish(vec![Playbook { path: path.to_owned(), plays, warnings: Vec::new() }])
    }

    fn finish(mut self, mut playbooks: Vec<Playbook>) -> Result<Vec<Playbook>, Vec<Fault>> {
        verify::playbooks(&mut self, &playbooks);
        if !self.faults.is_empty() {
            self.faults.append(&mut self.warnings);
            return Err(self.faults);
        }
        if let Some(first) = playbooks.first_mut() {
            first.warnings = self.warnings;
        }
        Ok(playbooks)
    }

    fn playbook(&mut self, path: &Path, file: u32) -> Vec<Play> {
        let (node, faults) = yaml::parse_all(self.sources, file);
        self.faults.extend(faults);
        let Some(node) = node else { return Vec::new() };
        let start = Span { file, start: 0, end: 0 };
        self.inside(path, start, |loader| loader.plays(&node, &At::of(path))).unwrap_or_default()
    }

    fn plays(&mut self, node: &Node, at: &At) -> Vec<Play> {
        let Some(items) = node.items() else {
            let found = node.what();
            let mut fault = Fault::new(first_line(node), format!("a playbook is a list of plays, this is {found}"));
            if node.get("hosts").is_some() {
                fault = fault.help("begin with `- hosts:` and indent the rest");
            }
            self.fault(fault);
            return Vec::new();
        };
        let mut plays = Vec::new();
        for item in items {
            match import_of(item) {
                Some((key, path)) => plays.extend(self.import_playbook(item, key, path, at)),
                None => plays.extend(self.play(item, at)),
            }
        }
        plays
    }

    fn import_playbook(&mut self, item: &Node, key: &Node, path: &Node, at: &At) -> Vec<Play> {
        let mut tags = Vec::new();
        let mut vars = Vec::new();
        for (other, value) in item.entries().unwrap_or_default() {
            match other.as_str().unwrap_or_default() {
                "name" => drop(self.text(value)),
                "tags" => tags = self.words(value, true),
                "vars" => vars = self.variables(value),
                "when" => {
                    let fault = Fault::new(other.span, "`when` on `import_playbook` is not supported");
                    self.fault(fault.help("put it on the tasks, or on a block around them"));
                }
                _ if other.span == key.span => {}
                _ => self.unknown_key(other, "`import_playbook`", ["name", "tags", "vars", "import_playbook"]),
            }
        }
        let Some(name) = self.written_out(path) else { return Vec::new() };
        let Some((found, node)) = self.file_named(&name, path.span, &[at.dir.clone(), at.base.clone()]) else {
            return Vec::new();
        };
        let mut plays =
            self.inside(&found, path.span, |loader| loader.plays(&node, &At::of(&found))).unwrap_or_default();
        for play in &mut plays {
            super::tasks::add_tags(&mut play.tags, tags.iter().map(|(tag, _)| tag.clone()));
            play.push_tags();
            play.vars.splice(0..0, vars.iter().cloned());
        }
        plays
    }

    /// Does something in a file, unless the file is being read already.
    pub(super) fn inside<T>(&mut self, path: &Path, named: Span, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if let Some(first) = self.open.iter().position(|(open, _)| open == path) {
            let names = self.open[first..].iter().map(|(open, _)| open.display().to_string());
            let circle: Vec<String> = names.chain([path.display().to_string()]).collect();
            self.fault(Fault::new(named, format!("a file that includes itself: {}", circle.join(" → "))));
            return None;
        }
        if self.open.len() >= MAX_FILES_OPEN {
            self.fault(Fault::new(named, format!("files within files, more than {MAX_FILES_OPEN} deep")));
            return None;
        }
        self.open.push((path.to_owned(), named));
        let result = work(self);
        self.open.pop();
        Some(result)
    }

    /// The tree of a file, looked for in these directories; a fault at the place that names it if there is none.
    pub(super) fn file_named(&mut self, name: &str, named: Span, dirs: &[PathBuf]) -> Option<(PathBuf, Rc<Node>)> {
        let path = self.path_named(name, named, dirs)?;
        let node = self.tree(&path, named)?;
        Some((path, node))
    }

    pub(super) fn path_named(&mut self, name: &str, named: Span, dirs: &[PathBuf]) -> Option<PathBuf> {
        let mut places: Vec<PathBuf> = dirs.iter().map(|dir| clean(&dir.join(name))).collect();
        places.dedup();
        let found = places.iter().find(|place| place.is_file() || self.files.contains_key(*place)).cloned();
        if found.is_none() {
            let looked: Vec<String> = places.iter().map(|place| format!("`{}`", place.display())).collect();
            let fault = Fault::new(named, format!("there is no file `{name}`"));
            self.fault(fault.label(format!("looked for {}", looked.join(", "))));
        }
        found
    }

    /// `None`: it has faults, which were told.
    pub(super) fn tree(&mut self, path: &Path, named: Span) -> Option<Rc<Node>> {
        if let Some(known) = self.files.get(path) {
            return known.clone();
        }
        let tree = match yaml::read(path, self.sources) {
            Ok(file) => {
                let (node, faults) = yaml::parse_all(self.sources, file);
                let empty = node.is_none() && only_comments(self.sources.text(file));
                if empty {
                    // Ansible takes an empty file for an empty list or mapping; so do those who call here.
                    Some(Node::scalar("", true, Span { file, start: 0, end: 0 }))
                } else {
                    self.faults.extend(faults);
                    node
                }
            }
            Err(fault) => {
                self.fault(fault.also(named, "named here"));
                None
            }
        };
        let tree = tree.map(Rc::new);
        self.files.insert(path.to_owned(), tree.clone());
        tree
    }

    /// Counts a task; `false` when there are too many.
    pub(super) fn one_more(&mut self, span: Span) -> bool {
        self.tasks += 1;
        if self.tasks == MAX_TASKS + 1 {
            self.fault(
                Fault::new(span, format!("more than {MAX_TASKS} tasks")).help("do files import each other twice?"),
            );
        }
        self.tasks <= MAX_TASKS
    }
}

impl Play {
    /// Hands the play's tags to everything in it.
    pub(super) fn push_tags(&mut self) {
        let common = Common { tags: self.tags.clone(), ..Common::default() };
        super::tasks::push_tags(&mut self.tasks, &common.tags);
        for handler in &mut self.handlers {
            super::tasks::add_tags(&mut handler.common.tags, common.tags.iter().cloned());
        }
    }
}

fn import_of(item: &Node) -> Option<(&Node, &Node)> {
    let entries = item.entries()?;
    let found = entries
        .iter()
        .find(|(key, _)| matches!(key.as_str(), Some("import_playbook" | "ansible.builtin.import_playbook")))?;
    Some((&found.0, &found.1))
}

/// Of a mapping or list the part that can be underlined.
pub fn first_line(node: &Node) -> Span {
    match node.entries().and_then(<[_]>::first) {
        Some((key, _)) => key.span,
        None => node.span,
    }
}

fn only_comments(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
}

/// Without `.` and `a/..`, so that a file has one name.
pub fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
