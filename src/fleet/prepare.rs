//! From a task as written to a task for one host: variables, conditions, loop items, rendered and resolved arguments.

use super::flow::Scene;
use super::render::{self, Desk};
use super::vars::{self, Layer, OMIT, Scope, Vars};
use super::{Fleet, Mode};
use crate::diagnostic::Fault;
use crate::playbook::{Common, Expr, Play, TaskDef};
use crate::tasks::{AnyTask, ResolveError};
use crate::yaml::Node;
use minijinja::value::{Value, ValueKind};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A task ready for its host.
pub struct Ready {
    pub task: Arc<dyn AnyTask>,
    pub notify: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

/// What came out of preparing.
pub enum Prepared {
    Ready(Ready),
    /// A condition does not hold; the text says which.
    Skip(String),
    /// Check: it depends on what only an apply can know.
    NotYet(String),
    /// The playbook is wrong in a way that only showed now.
    Fault(String),
}

type Nodes = Vec<(String, Node)>;

/// Tasks whose arguments are the same on every host are decoded once.
#[derive(Default)]
pub struct Cache {
    same_for_all: HashMap<usize, Arc<dyn AnyTask>>,
    /// The magic variables of the play that is running.
    magic: Option<(usize, Arc<Vars>)>,
    play: Option<(usize, Arc<Nodes>, Arc<Nodes>)>,
}

impl Fleet<'_> {
    /// The variables a task of this scene sees on a host, weakest first: role defaults, inventory, facts and results,
    /// play, blocks, task, loop item, extra vars. (Facts and results stand above play vars, as in Ansible.)
    pub(super) fn scope(
        &mut self,
        scene: &Scene<'_>,
        host: &str,
        task_vars: &[(String, Node)],
        fixed: Vars,
    ) -> Arc<Scope> {
        let mut layers = Vec::with_capacity(10 + scene.chain.len());
        let (play_defaults, play_vars) = self.of_play(scene.play);
        layers.push(Layer::Nodes(play_defaults));
        for enclosure in &scene.chain {
            if !enclosure.defaults.is_empty() {
                layers.push(Layer::Nodes(enclosure.defaults.clone()));
            }
        }
        let (given, found) = self.hosts.vars(host, self.inventory);
        layers.extend(given);
        layers.push(Layer::Nodes(play_vars));
        for enclosure in &scene.chain {
            if !enclosure.vars.is_empty() {
                layers.push(Layer::Nodes(enclosure.vars.clone()));
            }
        }
        if !task_vars.is_empty() {
            layers.push(Layer::Nodes(Arc::new(task_vars.to_vec())));
        }
        layers.push(Layer::Values(found));
        for enclosure in &scene.chain {
            if !enclosure.fixed.is_empty() {
                layers.push(Layer::Values(enclosure.fixed.clone()));
            }
        }
        layers.push(Layer::Values(Arc::new(fixed)));
        layers.push(Layer::Values(self.magic(scene)));
        if !self.options.extra_vars.is_empty() {
            layers.push(Layer::Values(Arc::new(self.options.extra_vars.clone())));
        }
        Scope::new(layers, self.doubt.clone())
    }

    /// A play's defaults and variables, shared by all scopes made in it.
    fn of_play(&mut self, play: &Play) -> (Arc<Nodes>, Arc<Nodes>) {
        let key = std::ptr::from_ref(play) as usize;
        if let Some((of, defaults, vars)) = &self.cache.play
            && *of == key
        {
            return (defaults.clone(), vars.clone());
        }
        let (defaults, vars) = (Arc::new(play.defaults.clone()), Arc::new(play.vars.clone()));
        self.cache.play = Some((key, defaults.clone(), vars.clone()));
        (defaults, vars)
    }

    /// Names that Ansible always provides, the same for all hosts of a play.
    fn magic(&mut self, scene: &Scene<'_>) -> Arc<Vars> {
        let play = std::ptr::from_ref(scene.play) as usize;
        if let Some((of, magic)) = &self.cache.magic
            && *of == play
        {
            return magic.clone();
        }
        let names = |hosts: &[String]| Value::from_iter(hosts.iter().map(String::as_str));
        let mut magic = Vars::new();
        magic.insert("groups".into(), vars::groups(self.inventory));
        for name in ["ansible_play_hosts", "ansible_play_hosts_all", "play_hosts"] {
            magic.insert(name.into(), names(scene.all));
        }
        magic.insert("ansible_play_name".into(), scene.play.name.as_str().into());
        // What is foreseen is an apply.
        let checks = self.mode == Mode::Check && self.foreseen.is_none();
        magic.insert("ansible_check_mode".into(), checks.into());
        magic.insert("playbook_dir".into(), scene.play.folder.display().to_string().into());
        magic.insert("omit".into(), OMIT.into());
        magic.insert("hostvars".into(), self.hosts.hostvars());
        let magic = Arc::new(magic);
        self.cache.magic = Some((play, magic.clone()));
        magic
    }

    /// The items of a loop, or one `None` without a loop.
    pub(super) fn loop_items(
        &mut self,
        scene: &Scene<'_>,
        common: &Common,
        host: &str,
    ) -> Result<Vec<Option<Value>>, Fault> {
        let Some(node) = &common.loop_ else { return Ok(vec![None]) };
        let scope = self.scope(scene, host, &common.vars, Vars::new());
        let value = vars::to_value(node, &scope.value()).map_err(|e| render::fault_in(node.span, &e))?;
        if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
            let message = format!("`loop` wants a list, this is {}", value.kind());
            return Err(Fault::new(node.span, message).help("a mapping becomes a list with `| dict2items`"));
        }
        let mut items = Vec::new();
        for item in value.try_iter().map_err(|e| render::fault_in(node.span, &e))? {
            match item.kind() {
                ValueKind::Seq if common.loop_flatten => {
                    items.extend(item.try_iter().map_err(|e| render::fault_in(node.span, &e))?.map(Some));
                }
                _ => items.push(Some(item)),
            }
        }
        Ok(items)
    }

    /// Conditions, rendering, decoding, resolving; facts are gathered when something asks for them.
    pub(super) fn prepare(&mut self, scene: &Scene<'_>, def: &TaskDef, host: &str, item: Option<Nth>) -> Prepared {
        let conditions: Vec<Expr> = scene.chain.iter().flat_map(|e| &e.when).chain(&def.common.when).cloned().collect();
        let literal = render::is_static(&def.args);
        if conditions.is_empty()
            && literal
            && def.common.environment.is_empty()
            && !scene.passing
            && let Some(task) = self.cached(def)
        {
            let environment = BTreeMap::new();
            return Prepared::Ready(Ready { task, notify: self.resolve_notify(scene, def), environment });
        }
        for attempt in 0..2 {
            self.doubt_reset();
            let fixed = loop_vars(&def.common, item.clone());
            let scope = self.scope(scene, host, &def.common.vars, fixed);
            let prepared = self.prepare_in(scene, def, &conditions, scope.value(), literal && item.is_none());
            let (not_yet, wants_facts) = {
                let doubt = self.doubt.lock().expect("no panic while holding");
                (doubt.not_yet.clone(), doubt.wants_facts)
            };
            let has_facts = self.hosts.state(host).has_facts;
            if wants_facts
                && !has_facts
                && attempt == 0
                && matches!(prepared, Prepared::Fault(_) | Prepared::Skip(_) | Prepared::Ready(_))
            {
                self.gather_facts(host);
                continue;
            }
            return match (prepared, not_yet) {
                // Skipped or wrong because of something that cannot be known: that is neither.
                (Prepared::Skip(_) | Prepared::Fault(_), Some(why)) => Prepared::NotYet(why),
                // A verdict on a value that cannot be known would end the check for nothing.
                (Prepared::Ready(_), Some(why)) if matches!(def.kind.name, "assert" | "fail") => Prepared::NotYet(why),
                (prepared, _) => prepared,
            };
        }
        Prepared::Fault("facts could not be gathered".into())
    }

    fn prepare_in(
        &mut self,
        scene: &Scene<'_>,
        def: &TaskDef,
        conditions: &[Expr],
        scope: Value,
        literal: bool,
    ) -> Prepared {
        let show = |fleet: &Self, fault: Fault| Prepared::Fault(fleet.sources.show(&[fault], false));
        for condition in conditions {
            match render::holds(std::slice::from_ref(condition), &scope) {
                Ok(true) => {}
                Ok(false) => return Prepared::Skip(format!("`{}` is false", condition.text)),
                Err(fault) => return show(self, fault),
            }
        }
        let args = match render::render(&def.args, &scope) {
            Ok(Some(args)) => args,
            Ok(None) => return Prepared::Skip("its arguments are omitted".into()),
            Err(fault) => return show(self, fault),
        };
        let mut environment = BTreeMap::new();
        for (name, node) in &def.common.environment {
            match render::render(node, &scope) {
                Ok(value) => drop(value.and_then(|v| environment.insert(name.clone(), v.as_str()?.to_owned()))),
                Err(fault) => return show(self, fault),
            }
        }
        let mut task = match (def.kind.decode)(&args) {
            Ok(task) => task,
            Err(faults) => return Prepared::Fault(self.sources.show(&faults, false)),
        };
        let desk = Desk { folder: &def.folder, scope, used_variables: Cell::new(false) };
        match task.resolve(&desk) {
            Ok(()) => {}
            Err(ResolveError::NotYet(why)) => return Prepared::NotYet(why),
            Err(ResolveError::Fault(why)) => {
                let place = self.sources.place(def.span);
                return Prepared::Fault(format!("{place}: {why}"));
            }
        }
        let task: Arc<dyn AnyTask> = Arc::from(task);
        if literal && !scene.passing && !desk.used_variables.get() {
            self.cache.same_for_all.insert(std::ptr::from_ref(def) as usize, task.clone());
        }
        Prepared::Ready(Ready { task, notify: self.resolve_notify(scene, def), environment })
    }

    fn cached(&self, def: &TaskDef) -> Option<Arc<dyn AnyTask>> {
        self.cache.same_for_all.get(&(std::ptr::from_ref(def) as usize)).cloned()
    }

    pub(super) fn doubt_reset(&self) {
        *self.doubt.lock().expect("no panic while holding") = Default::default();
    }
}

/// An item of a loop, with its place among all of them.
#[derive(Debug, Clone)]
pub struct Nth {
    pub index: usize,
    pub item: Value,
    pub all: Arc<Vec<Option<Value>>>,
}

pub fn loop_vars(common: &Common, item: Option<Nth>) -> Vars {
    let mut fixed = Vars::new();
    if let Some(nth) = item {
        if let Some(name) = &common.loop_control.index_var {
            fixed.insert(name.clone(), nth.index.into());
        }
        if common.loop_control.extended {
            fixed.insert("ansible_loop".into(), extended(&nth));
        }
        fixed.insert(common.loop_control.loop_var.clone(), nth.item);
    }
    fixed
}

/// `ansible_loop`, as Ansible describes it.
fn extended(nth: &Nth) -> Value {
    let all: Vec<Value> = nth.all.iter().flatten().cloned().collect();
    let (index, length) = (nth.index, all.len());
    let mut vars = Vars::from([
        ("index".to_owned(), (index + 1).into()),
        ("index0".to_owned(), index.into()),
        ("revindex".to_owned(), (length - index).into()),
        ("revindex0".to_owned(), (length - index - 1).into()),
        ("first".to_owned(), (index == 0).into()),
        ("last".to_owned(), (index + 1 == length).into()),
        ("length".to_owned(), length.into()),
    ]);
    vars.extend(index.checked_sub(1).and_then(|before| all.get(before)).map(|v| ("previtem".to_owned(), v.clone())));
    vars.extend(all.get(index + 1).map(|v| ("nextitem".to_owned(), v.clone())));
    vars.insert("allitems".to_owned(), all.into());
    Value::from_object(vars)
}
