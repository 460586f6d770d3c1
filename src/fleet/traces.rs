//! After the results of a check: who changed what differs, asked of the hosts that may know.

use super::Fleet;
use crate::event::{Event, Outcome, TaskResult, Trace};
use crate::tasks::Trail;
use crate::tasks::cluster::CLUSTER;
use crate::wire::{HostResult, Request, Response};
use std::collections::BTreeMap;

/// A result that somebody may be behind.
pub(super) struct Trailed {
    host: String,
    /// Who was asked.
    target: String,
    place: String,
    object: String,
    trails: Vec<Trail>,
}

impl Fleet<'_> {
    /// Keeps the trails of a result for later. What is as described was changed by nobody.
    pub(super) fn keep_trails(&mut self, result: &TaskResult, answer: &HostResult) {
        let differs = matches!(result.outcome, Outcome::Drifted | Outcome::Blocked | Outcome::Failed);
        // Without an object there is nothing to tie the answer to, and `no_log` has taken it away.
        if self.options.trace && differs && !result.object.is_empty() && !answer.trails.is_empty() {
            let TaskResult { host, place, object, .. } = result.clone();
            let target = result.delegated_to.clone().unwrap_or_else(|| host.clone());
            self.trailed.push(Trailed { host, target, place, object, trails: answer.trails.clone() });
        }
    }

    /// One question a host, all hosts at once. One that does not answer knows nothing.
    pub(super) fn follow_trails(&mut self) {
        let trailed = std::mem::take(&mut self.trailed);
        let mut asked: BTreeMap<String, Vec<(usize, Trail)>> = BTreeMap::new();
        for (at, one) in trailed.iter().enumerate() {
            for trail in &one.trails {
                for host in self.who_knows(&one.target, trail) {
                    asked.entry(host).or_default().push((at, trail.clone()));
                }
            }
        }
        asked.retain(|host, trails| {
            let trails = trails.iter().map(|(_, trail)| trail.clone()).collect();
            !self.hosts.is_out(host) && self.hosts.send(host, false, &Request::Trace { trails }).is_ok()
        });
        let mut found: BTreeMap<usize, Vec<Trace>> = BTreeMap::new();
        for (host, trails) in &asked {
            if let Ok(Response::Trace { traces }) = self.hosts.answer(host, &mut |_, _| {}) {
                for (which, trace) in traces {
                    if let Some((at, _)) = trails.get(which) {
                        found.entry(*at).or_default().push(trace);
                    }
                }
            }
        }
        for (at, one) in trailed.into_iter().enumerate() {
            let Some(mut traces) = found.remove(&at) else { continue };
            traces.sort_by(|a, b| b.cmp(a));
            // Every node shows the same files of pmxcfs.
            traces.dedup();
            let Trailed { host, place, object, .. } = one;
            self.reporter.event(&Event::Traced { host, place, object, traces });
        }
    }

    /// A task of the cluster leaves its traces in the API's log and, as files, on the nodes.
    fn who_knows(&self, host: &str, trail: &Trail) -> Vec<String> {
        match trail {
            Trail::File(_) if host == CLUSTER => self.inventory.groups.get("nodes").cloned().unwrap_or_default(),
            _ => vec![host.to_owned()],
        }
    }
}
