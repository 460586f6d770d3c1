//! The way through a play: tasks, blocks with rescue and always, includes, meta.

use super::prepare::{Nth, loop_vars};
use super::{Fleet, Flow};
use crate::event::Event;
use crate::fleet::render;
use crate::playbook::{self, Block, Common, Expr, Include, Included, Item, MetaAction, Play};
use crate::yaml::Node;
use std::sync::Arc;

/// What encloses the tasks being run.
pub struct Scene<'p> {
    pub play: &'p Play,
    /// All hosts of the play, also those outside `--limit`.
    pub all: &'p [String],
    /// Conditions and variables of the enclosing blocks and includes, outermost first.
    pub chain: Vec<Enclosure>,
    /// A `rescue` stands around: a failure here is not the run's failure.
    pub rescued: bool,
    /// A task that fails here is not the end of its host's way: what comes after it in the list may never run.
    pub unsure: bool,
    pub handler: bool,
    /// The tasks were loaded for this moment and are dropped after it, so nothing may be remembered by their address.
    pub passing: bool,
}

#[derive(Clone)]
pub struct Enclosure {
    /// Evaluated anew for each task inside.
    pub when: Vec<Expr>,
    pub vars: Arc<Vec<(String, Node)>>,
    /// A role's defaults: weaker than everything.
    pub defaults: Arc<Vec<(String, Node)>>,
    /// Values fixed when the include ran (its loop item).
    pub fixed: Arc<super::vars::Vars>,
    /// Only these hosts take part (an include's `when` may differ by host).
    pub tags: Vec<String>,
}

impl<'p> Scene<'p> {
    fn inside(&self, enclosure: Enclosure, rescued: bool) -> Scene<'p> {
        let mut chain = self.chain.clone();
        chain.push(enclosure);
        Scene { chain, rescued: self.rescued || rescued, ..*self }
    }
}

fn enclosure_of(block: &Block, when: Vec<Expr>, fixed: super::vars::Vars) -> Enclosure {
    Enclosure {
        when,
        vars: Arc::new(block.common.vars.clone()),
        defaults: Arc::new(block.defaults.clone()),
        fixed: Arc::new(fixed),
        tags: block.common.tags.clone(),
    }
}

impl Fleet<'_> {
    /// Runs items on hosts; returns the hosts that are still fine.
    pub(super) fn items(&mut self, scene: &Scene<'_>, items: &[Item], hosts: Vec<String>) -> (Vec<String>, Flow) {
        let entered = hosts.clone();
        let end = self.one_after_another(scene, items, hosts);
        self.hosts.forget_ahead(&entered);
        end
    }

    fn one_after_another(&mut self, scene: &Scene<'_>, items: &[Item], mut hosts: Vec<String>) -> (Vec<String>, Flow) {
        let entered = hosts.clone();
        let mut ahead = 0;
        for (at, item) in items.iter().enumerate() {
            if hosts.is_empty() {
                break;
            }
            match item {
                Item::Task(def) => {
                    self.send_ahead(scene, items, at, &mut ahead, &hosts);
                    hosts = self.task(scene, def, hosts);
                }
                Item::Block(block) => {
                    let (left, flow) = self.block(scene, block, hosts);
                    hosts = left;
                    if flow != Flow::Go {
                        return (hosts, flow);
                    }
                }
                Item::Include(include) => {
                    let (left, flow) = self.include(scene, include, hosts);
                    hosts = left;
                    if flow != Flow::Go {
                        return (hosts, flow);
                    }
                }
                Item::Meta(_, common) if !self.selected(scene, &common.tags, None) => {}
                Item::Meta(action, common) => {
                    let asked = self.where_holds(scene, common, &hosts);
                    match action {
                        MetaAction::FlushHandlers => hosts = self.flush_handlers(scene, hosts),
                        MetaAction::EndPlay if !asked.is_empty() => return (hosts, Flow::EndPlay),
                        MetaAction::EndBatch if !asked.is_empty() => return (hosts, Flow::EndBatch),
                        MetaAction::EndHost => {
                            for host in &asked {
                                self.hosts.state(host).ended = true;
                            }
                        }
                        MetaAction::ClearHostErrors => {
                            for host in scene.all {
                                self.hosts.state(host).failed = false;
                            }
                        }
                        MetaAction::ClearFacts => {
                            for host in &asked {
                                self.hosts.forget_facts(host);
                            }
                        }
                        MetaAction::ResetConnection => {
                            for host in &asked {
                                self.hosts.hang_up(host);
                            }
                        }
                        MetaAction::EndPlay | MetaAction::EndBatch | MetaAction::Noop => {}
                    }
                }
            }
            if self.fatal {
                for host in &entered {
                    let state = self.hosts.state(host);
                    state.failed = state.unreachable.is_none() && !state.ended;
                }
                return (Vec::new(), Flow::Go);
            }
        }
        (hosts, Flow::Go)
    }

    fn block(&mut self, scene: &Scene<'_>, block: &Block, hosts: Vec<String>) -> (Vec<String>, Flow) {
        let enclosure = enclosure_of(block, block.common.when.clone(), Default::default());
        let mut body = scene.inside(enclosure.clone(), !block.rescue.is_empty());
        body.unsure |= !block.rescue.is_empty() || !block.always.is_empty();
        let (mut fine, mut flow) = self.items(&body, &block.body, hosts.clone());
        let plain = scene.inside(enclosure, false);
        // What is rescued is no longer fatal; `always` runs in any case.
        let fatal = std::mem::take(&mut self.fatal) && block.rescue.is_empty();
        if !block.rescue.is_empty() {
            let failed: Vec<String> =
                hosts.iter().filter(|h| !fine.contains(h) && self.hosts.state(h).failed).cloned().collect();
            for host in &failed {
                self.hosts.state(host).failed = false;
            }
            if !failed.is_empty() {
                let (rescued, rescue_flow) = self.items(&plain, &block.rescue, failed);
                fine.extend(rescued);
                if rescue_flow != Flow::Go {
                    flow = rescue_flow;
                }
            }
        }
        if !block.always.is_empty() {
            // `always` runs also where the block failed; what failed stays failed.
            let everybody: Vec<String> =
                hosts.iter().filter(|h| self.hosts.state(h).unreachable.is_none()).cloned().collect();
            let failed: Vec<String> = everybody.iter().filter(|h| self.hosts.state(h).failed).cloned().collect();
            for host in &failed {
                self.hosts.state(host).failed = false;
            }
            let (after, always_flow) = self.items(&plain, &block.always, everybody);
            for host in &failed {
                self.hosts.state(host).failed = true;
            }
            fine.retain(|h| after.contains(h));
            if always_flow != Flow::Go {
                flow = always_flow;
            }
        }
        self.fatal |= fatal;
        fine.sort_by_key(|h| hosts.iter().position(|x| x == h));
        (fine, flow)
    }

    fn include(&mut self, scene: &Scene<'_>, include: &Include, hosts: Vec<String>) -> (Vec<String>, Flow) {
        let mut fine = hosts.clone();
        // Hosts may differ in condition, items and path, so each distinct (item, path) runs on the hosts that have it.
        let mut rounds: Vec<(String, super::vars::Vars, Included, Vec<String>)> = Vec::new();
        for host in &hosts {
            let planned = self.plan_include(scene, include, host);
            match planned {
                Ok(plans) => {
                    for (key, fixed, what) in plans {
                        match rounds.iter_mut().find(|(k, ..)| *k == key) {
                            Some((.., with)) => with.push(host.clone()),
                            None => rounds.push((key, fixed, what, vec![host.clone()])),
                        }
                    }
                }
                Err(fault) => {
                    let message = self.sources.show(&[fault], false);
                    self.fail_include(scene, include, host, message);
                    fine.retain(|h| h != host);
                }
            }
        }
        for (_, fixed, what, with) in rounds {
            let with: Vec<String> = with.into_iter().filter(|h| fine.contains(h)).collect();
            let block = match self.load_include(include, &what) {
                Ok(block) => block,
                Err(message) => {
                    for host in &with {
                        self.fail_include(scene, include, host, message.clone());
                    }
                    fine.retain(|h| !with.contains(h));
                    continue;
                }
            };
            let mut enclosure = enclosure_of(&block, Vec::new(), fixed);
            let mut vars = include.common.vars.clone();
            vars.extend(block.common.vars.iter().cloned());
            enclosure.vars = Arc::new(vars);
            enclosure.tags.extend(include.common.tags.iter().cloned());
            let inside = Scene { passing: true, ..scene.inside(enclosure, false) };
            let (left, flow) = self.items(&inside, &block.body, with.clone());
            fine.retain(|h| !with.contains(h) || left.contains(h));
            if flow != Flow::Go {
                return (fine, flow);
            }
        }
        (fine, Flow::Go)
    }

    /// What one host includes: a key that is equal for equal work, fixed values, content.
    fn plan_include(
        &mut self,
        scene: &Scene<'_>,
        include: &Include,
        host: &str,
    ) -> Result<Vec<(String, super::vars::Vars, Included)>, crate::diagnostic::Fault> {
        let items = Arc::new(self.loop_items(scene, &include.common, host)?);
        let control = &include.common.loop_control;
        let counted = control.extended || control.index_var.is_some();
        let mut plans = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let nth = item.clone().map(|item| Nth { index, item, all: items.clone() });
            let fixed = loop_vars(&include.common, nth);
            let scope = self.scope(scene, host, &include.common.vars, fixed.clone());
            let conditions = scene.chain.iter().flat_map(|e| &e.when).chain(&include.common.when);
            let conditions: Vec<Expr> = conditions.cloned().collect();
            if !render::holds(&conditions, &scope.value())? {
                continue;
            }
            let (what, name) = match &include.what {
                Included::Loaded(_) => (include.what.clone(), String::new()),
                Included::TasksAt(node) | Included::RoleAt(node) => {
                    let rendered = render::render(node, &scope.value())?.unwrap_or_else(|| node.clone());
                    let name = rendered.as_str().unwrap_or_default().to_owned();
                    let what = match &include.what {
                        Included::RoleAt(_) => Included::RoleAt(rendered),
                        _ => Included::TasksAt(rendered),
                    };
                    (what, name)
                }
            };
            let key = format!(
                "{name}\0{}",
                item.as_ref().map_or_else(String::new, |i| if counted {
                    format!("{index} {i}")
                } else {
                    i.to_string()
                })
            );
            plans.push((key, fixed, what));
        }
        Ok(plans)
    }

    fn load_include(&mut self, include: &Include, what: &Included) -> Result<Block, String> {
        let loaded = match what {
            Included::Loaded(block) => return Ok((**block).clone()),
            Included::TasksAt(node) => {
                playbook::load_tasks(include, node.as_str().unwrap_or_default(), &mut self.sources, self.context)
            }
            Included::RoleAt(node) => {
                playbook::load_role(include, node.as_str().unwrap_or_default(), &mut self.sources, self.context)
            }
        };
        loaded.map_err(|faults| self.sources.show(&faults, false))
    }

    fn fail_include(&mut self, scene: &Scene<'_>, include: &Include, host: &str, message: String) {
        self.reporter.event(&Event::TaskStarted {
            play: scene.play.name.clone(),
            task: include.name.clone(),
            kind: "include_tasks".into(),
            hosts: vec![host.to_owned()],
            handler: false,
        });
        let mut result = self.blank_result(scene, &include.name, "include_tasks", include.span, host);
        result.outcome = crate::event::Outcome::Failed;
        result.summary = message;
        result.ignored = scene.rescued;
        self.report(result);
        self.hosts.state(host).failed = true;
    }

    /// The hosts on which the conditions hold; one that cannot be evaluated does not.
    fn where_holds(&mut self, scene: &Scene<'_>, common: &Common, hosts: &[String]) -> Vec<String> {
        let mut asked = Vec::new();
        for host in hosts {
            let scope = self.scope(scene, host, &common.vars, Default::default());
            if render::holds(&common.when, &scope.value()).unwrap_or(false) {
                asked.push(host.clone());
            }
        }
        asked
    }
}
