//! Check only: the questions of coming tasks leave before the answers to earlier ones are in, so that a distant host
//! costs a few round trips and not one a task.
//!
//! An apply never does this: a task may act only when those before it are done everywhere. Nor does a check where what
//! comes depends on an answer (a registered result, a fact, a `rescue`).

use super::flow::Scene;
use super::prepare::Prepared;
use super::task::wire;
use super::{Fleet, Mode};
use crate::playbook::{Item, TaskDef};
use crate::tasks::Touches;
use crate::wire::Request;

/// How many tasks one host may be ahead.
const WINDOW: usize = 64;

/// The name of a task while its list is being run.
pub(super) fn key(def: &TaskDef) -> usize {
    std::ptr::from_ref(def) as usize
}

impl Fleet<'_> {
    /// Sends what can be sent of the items from `at` on; `next` is the first that was not looked at yet.
    pub(super) fn send_ahead(
        &mut self,
        scene: &Scene<'_>,
        items: &[Item],
        at: usize,
        next: &mut usize,
        hosts: &[String],
    ) {
        let fixed_order = scene.unsure || scene.handler || !self.started || self.options.forks > 0;
        if self.mode == Mode::Apply || fixed_order {
            return;
        }
        *next = (*next).max(at);
        while *next < items.len() && *next - at < WINDOW {
            let waits_for_answers = *next > at && matters_later(&items[*next - 1]);
            let Item::Task(def) = &items[*next] else { return };
            if waits_for_answers || !alone(def) {
                return;
            }
            *next += 1;
            if !self.selected(scene, &def.common.tags, Some(&def.name)) {
                continue;
            }
            for host in hosts {
                if self.hosts.is_out(host) || self.hosts.state(host).ended {
                    continue;
                }
                // What is not ready now is prepared again, and told, when its turn comes.
                let Prepared::Ready(ready) = self.prepare(scene, def, host, None) else { continue };
                if matches!(ready.task.touches(), Touches::AllHosts | Touches::Cluster) {
                    continue;
                }
                let request = Request::Run {
                    task: wire(ready.task.as_ref()),
                    notify: ready.notify,
                    environment: ready.environment,
                    look_only: def.common.check_mode == Some(true),
                };
                let may_come = self.may_come();
                self.hosts.send_ahead(host, may_come, key(def), &request);
            }
        }
    }
}

/// Whether a task concerns each host by itself, once, with nothing to wait for.
fn alone(def: &TaskDef) -> bool {
    let common = &def.common;
    matches!(def.kind.touches, Touches::Host | Touches::Nothing)
        && common.loop_.is_none()
        && common.delegate_to.is_none()
        && !common.run_once
        && common.until.is_none()
        && common.retries.is_none()
        && common.throttle.is_none()
        && common.timeout_s.is_none()
}

/// Whether later tasks may ask for what this one finds out.
fn matters_later(item: &Item) -> bool {
    match item {
        Item::Task(def) => def.common.register.is_some() || def.kind.gives_facts,
        _ => true,
    }
}
