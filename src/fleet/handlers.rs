//! Handlers: who notified whom, the flush, and what earlier runs still owe.

use super::flow::Scene;
use super::{Fleet, Mode};
use crate::link::{Link, LinkError};
use crate::playbook::{Play, TaskDef};
use crate::wire::{Request, Response};

impl Fleet<'_> {
    /// The names of the handlers that a task notifies; `listen` words become the handlers that listen.
    pub(super) fn resolve_notify(&self, scene: &Scene<'_>, def: &TaskDef) -> Vec<String> {
        let mut names = Vec::new();
        for (word, _) in &def.common.notify {
            for handler in &scene.play.handlers {
                if (handler.name == *word || handler.common.listen.contains(word)) && !names.contains(&handler.name) {
                    names.push(handler.name.clone());
                }
            }
        }
        names
    }

    /// Takes in what earlier runs owe hosts, once, so that it runs at the next flush. Nobody is waited for: a
    /// container that comes up later in the play is asked at the flush.
    pub(super) fn collect_owed(&mut self, hosts: &[String]) {
        let may_come = self.mode == Mode::Check && self.cluster_changes;
        let strangers: Vec<String> = hosts.iter().filter(|h| !self.hosts.state(h).asked_for_owed).cloned().collect();
        self.hosts.open_all(&strangers, may_come);
        for host in hosts {
            if self.hosts.state(host).asked_for_owed {
                continue;
            }
            match self.hosts.link(host, may_come).map(Link::take_owed) {
                Ok(owed) => {
                    self.hosts.state(host).asked_for_owed = true;
                    match owed.unwrap_or(Ok(Vec::new())) {
                        Ok(handlers) => {
                            self.owed.extend(handlers.into_iter().map(|handler| (host.clone(), handler)));
                        }
                        Err(why) => {
                            // What is owed cannot be told, so the run must not end as if nothing were.
                            self.failures += 1;
                            self.untold += 1;
                            self.note(format!("{host}: the handlers it is owed cannot be read: {why}"));
                        }
                    }
                }
                Err(LinkError::NotRunning { .. }) => {}
                // Its first task says so; connecting once more would only cost the time again.
                Err(error) => self.hosts.lose(host, &error),
            }
        }
    }

    /// Runs the notified handlers of a play in the order they are written; returns the hosts still fine.
    pub(super) fn flush_handlers(&mut self, scene: &Scene<'_>, mut hosts: Vec<String>) -> Vec<String> {
        self.collect_owed(&hosts);
        let inside = Scene { chain: scene.chain.clone(), rescued: false, handler: true, ..*scene };
        for handler in &scene.play.handlers {
            let due: Vec<String> = hosts
                .iter()
                .filter(|host| {
                    self.owed.contains(&((*host).clone(), handler.name.clone()))
                        || self.hosts.state(host).notified.contains(&handler.name)
                })
                .cloned()
                .collect();
            if due.is_empty() {
                continue;
            }
            let left = self.task(&inside, handler, due.clone());
            for host in &due {
                if !left.contains(host) {
                    continue;
                }
                self.hosts.state(host).notified.remove(&handler.name);
                self.owed.remove(&(host.clone(), handler.name.clone()));
                if self.mode == Mode::Apply {
                    self.cross_out(host, &handler.name);
                }
            }
            hosts.retain(|host| !due.contains(host) || left.contains(host));
        }
        hosts
    }

    /// The flush at the end of a play. With `force_handlers` those who failed run theirs, too, and stay failed.
    pub(super) fn last_flush(&mut self, scene: &Scene<'_>, all: &[String], fine: Vec<String>) {
        let forced = scene.play.force_handlers;
        let failed: Vec<String> = all.iter().filter(|h| forced && self.hosts.state(h).failed).cloned().collect();
        for host in &failed {
            self.hosts.state(host).failed = false;
        }
        let due = all.iter().filter(|host| fine.contains(host) || failed.contains(host)).cloned().collect();
        self.flush_handlers(scene, due);
        for host in &failed {
            self.hosts.state(host).failed = true;
        }
    }

    /// Takes back what was noted for a change that `changed_when` says was none; what was owed before stays.
    pub(super) fn forgive(&mut self, scene: &Scene<'_>, def: &TaskDef, host: &str) {
        for handler in self.resolve_notify(scene, def) {
            let due = self.hosts.state(host).notified.contains(&handler)
                || self.owed.contains(&(host.to_owned(), handler.clone()));
            if !due {
                self.cross_out(host, &handler);
            }
        }
    }

    fn cross_out(&mut self, host: &str, handler: &str) {
        let request = Request::HandlerDone { handler: handler.to_owned() };
        let answer = self.hosts.send(host, false, &request).and_then(|()| self.hosts.answer(host, &mut |_, _| {}));
        match answer {
            Ok(Response::Done) => {}
            Ok(Response::Error { message }) => {
                self.note(format!("{host}: handler `{handler}` ran, but could not be crossed out: {message}"));
            }
            Ok(other) => self.note(format!("{host}: unexpected answer {other:?}")),
            Err(error) => {
                self.note(format!("{host}: handler `{handler}` ran, but could not be crossed out: {error}"));
                self.lost(host, &error);
            }
        }
    }

    /// At the end of a run: handlers that are still owed, and those that no play defines any more.
    pub(super) fn tell_owed(&mut self, plays: &[&Play]) {
        let known = |name: &str| plays.iter().any(|p| p.handlers.iter().any(|h| h.name == name));
        let mut lines = Vec::new();
        if self.mode == Mode::Apply {
            self.owed.extend(self.hosts.left_notified());
        }
        for (host, handler) in &self.owed {
            if known(handler) {
                lines.push(format!("{host} is still owed handler `{handler}`; the next apply runs it"));
            } else {
                lines.push(format!(
                    "{host} is owed handler `{handler}` from an earlier run, but no play here defines it; \
                     run the playbook that does, or remove it from /var/lib/converge/handlers.json"
                ));
            }
        }
        for line in lines {
            self.note(line);
        }
    }
}
