//! The HA manager as a state machine in lab time: one step a tick, caught up at each request.
//! CRM and LRM are one here; what outsiders see (states, files that move, tasks) is PVE's.

use super::placement::{self, Wish};
use super::{RESOURCES, read, sid_of};
use crate::lab::api::acl::Identity;
use crate::lab::api::call::{record, write_etc};
use crate::lab::api::conf::Section;
use crate::lab::api::lxc::{self, migrate::move_config, power};
use crate::lab::api::site::Site;
use crate::lab::api::state::Cluster;
use crate::lab::world::Flavour;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Ticks a node must be away before it counts as fenced, and before its services are recovered.
const FENCE_AFTER: u32 = 2;
const RECOVER_AFTER: u32 = 4;
/// A long pause is not caught up step by step: by then everything has settled.
const MOST_STEPS: i64 = 50;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManagerState {
    /// One step of the manager, in milliseconds; ten seconds in a real cluster.
    pub tick_ms: i64,
    pub last_ms: i64,
    pub master: String,
    pub services: BTreeMap<String, Service>,
    /// Requested moves: service → (`migrate` or `relocate`, target).
    pub moves: BTreeMap<String, (String, String)>,
    /// When a node last had a service, in milliseconds: its LRM stays active for a while.
    pub busy: BTreeMap<String, i64>,
    /// Steps since a node was last seen.
    pub away: BTreeMap<String, u32>,
}

impl Default for ManagerState {
    fn default() -> Self {
        Self {
            tick_ms: 500,
            last_ms: 0,
            master: String::new(),
            services: BTreeMap::new(),
            moves: BTreeMap::new(),
            busy: BTreeMap::new(),
            away: BTreeMap::new(),
        }
    }
}

/// What the manager knows of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub node: String,
    /// The CRM's word: request_stop, stopped, started, migrate, relocate, fence, recovery, error.
    pub state: String,
    /// Starts that failed on this node in a row.
    pub failed_starts: u32,
    /// Nodes on which the tries ran out.
    pub tried: Vec<String>,
}

/// Steps after which an LRM without services lets its lock and watchdog go.
const IDLE_AFTER: i64 = 60;

impl ManagerState {
    pub fn lrm_is_active(&self, node: &str, now_ms: i64) -> bool {
        self.busy.get(node).is_some_and(|last| (now_ms - last) / self.tick_ms.max(1) < IDLE_AFTER)
    }

    pub fn is_in_error(&self, sid: &str) -> bool {
        self.services.get(sid).is_some_and(|service| service.state == "error")
    }

    /// A changed setting: failed tries no longer count.
    pub fn forgive(&mut self, sid: &str) {
        if let Some(service) = self.services.get_mut(sid) {
            service.failed_starts = 0;
            service.tried.clear();
        }
    }
}

/// Lets the manager live up to now.
pub fn advance(cluster: &mut Cluster, site: &mut dyn Site, flavour: Flavour) {
    let now = site.now_ms();
    let tick = cluster.ha.tick_ms.max(1);
    let passed = (now - cluster.ha.last_ms) / tick;
    // A first look, or a clock that was set back, starts the count.
    if cluster.ha.last_ms == 0 || passed < 0 {
        if has_work(cluster, site) {
            cluster.ha.last_ms = now;
        }
        return;
    }
    if passed == 0 || !has_work(cluster, site) {
        return;
    }
    for _ in 0..passed.min(MOST_STEPS) {
        step(cluster, site, flavour);
    }
    cluster.ha.last_ms = now - (now - cluster.ha.last_ms) % tick;
}

/// Without resources there is nothing to manage, and nothing to write.
fn has_work(cluster: &Cluster, site: &dyn Site) -> bool {
    let nodes = site.nodes();
    let Some(seen) = nodes.iter().find(|node| node.online) else { return false };
    !cluster.ha.services.is_empty() || !read(site, &seen.name, RESOURCES).0.list.is_empty()
}

fn step(cluster: &mut Cluster, site: &mut dyn Site, flavour: Flavour) {
    let nodes = site.nodes();
    let online: Vec<String> =
        nodes.iter().filter(|node| node.online && site.quorate(&node.name)).map(|node| node.name.clone()).collect();
    let Some(first) = online.first() else { return };
    if !online.contains(&cluster.ha.master) {
        cluster.ha.master.clone_from(first);
    }
    for node in &nodes {
        let away = cluster.ha.away.entry(node.name.clone()).or_default();
        *away = if online.contains(&node.name) { 0 } else { *away + 1 };
    }
    let master = cluster.ha.master.clone();
    let (resources, _) = read(site, &master, RESOURCES);
    let known: Vec<String> = resources.list.iter().map(sid_of).collect();
    cluster.ha.services.retain(|sid, _| known.contains(sid));
    for resource in resources.list.iter().filter(|section| section.kind == "ct") {
        let Some(guest) = resource.id.parse().ok().and_then(|vmid| lxc::find(site, vmid)) else { continue };
        let wish = placement::wish(site, &master, flavour, resource);
        let mut at = Turn { cluster, site, online: &online, resource, sid: sid_of(resource), vmid: guest.vmid, wish };
        at.take(guest.node);
    }
}

/// One service in one step.
struct Turn<'a> {
    cluster: &'a mut Cluster,
    site: &'a mut dyn Site,
    online: &'a [String],
    resource: &'a Section,
    sid: String,
    vmid: u32,
    wish: Wish,
}

impl Turn<'_> {
    fn wanted(&self) -> &str {
        match self.resource.keys.get("state").map_or("started", String::as_str) {
            "enabled" => "started",
            other => other,
        }
    }

    fn limit(&self, key: &str) -> u32 {
        self.resource.keys.get(key).and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    fn set(&mut self, state: &str) {
        if let Some(service) = self.cluster.ha.services.get_mut(&self.sid) {
            service.state = state.into();
        }
    }

    fn take(&mut self, owner: String) {
        if self.wanted() == "ignored" {
            self.cluster.ha.services.remove(&self.sid);
            return;
        }
        self.cluster.ha.busy.insert(owner.clone(), self.site.now_ms());
        let known = self.cluster.ha.services.contains_key(&self.sid);
        let service = self.cluster.ha.services.entry(self.sid.clone()).or_default();
        service.node.clone_from(&owner);
        if !known {
            // As in PVE a service is first taken over, and acted on with the next step.
            service.state = "request_stop".into();
            return;
        }
        let state = service.state.clone();
        if state == "error" {
            if self.wanted() == "disabled" {
                self.cluster.ha.forgive(&self.sid);
                self.set("stopped");
            }
            return;
        }
        if !self.online.contains(&owner) {
            return self.node_is_away(&owner);
        }
        match self.wanted() {
            "started" => self.keep_started(owner),
            _ => self.keep_stopped(&owner),
        }
    }

    fn node_is_away(&mut self, owner: &str) {
        let away = self.cluster.ha.away.get(owner).copied().unwrap_or(0);
        if away < FENCE_AFTER {
            return;
        }
        // It may only be cut off and still run what is to be started elsewhere.
        self.site.fence(owner);
        if self.wanted() == "disabled" {
            return self.set("stopped");
        }
        if away < RECOVER_AFTER {
            return self.set("fence");
        }
        self.set("recovery");
        let Some(target) = self.wish.choose(self.online, owner, &[]) else { return };
        if move_config(self.site, owner, &target, self.vmid).is_ok() {
            self.clear_lock(&target);
            self.arrive(&target);
        }
    }

    /// Recovery takes over whatever the dead node was in the middle of.
    fn clear_lock(&mut self, node: &str) {
        let Ok((mut conf, _)) = lxc::load(self.site, node, self.vmid) else { return };
        if matches!(conf.main.get("lock"), Some("backup" | "mounted" | "migrate" | "snapshot" | "snapshot-delete")) {
            conf.main.remove("lock");
            let path = lxc::path_of(node, self.vmid);
            // Not written: the start fails on the lock and says so.
            let _ = write_etc(self.cluster, self.site, node, &path, &conf.render());
        }
    }

    fn arrive(&mut self, node: &str) {
        let state = if self.wanted() == "started" { "started" } else { "request_stop" };
        if let Some(service) = self.cluster.ha.services.get_mut(&self.sid) {
            service.node = node.into();
            service.state = state.into();
            service.failed_starts = 0;
        }
    }

    fn keep_stopped(&mut self, owner: &str) {
        if let Some((_, target)) = self.cluster.ha.moves.remove(&self.sid) {
            return self.relocate(owner, &target);
        }
        if self.site.running(self.vmid).is_none() {
            return self.set("stopped");
        }
        self.set("request_stop");
        if self.stop(owner).is_err() {
            self.set("error");
        }
    }

    fn keep_started(&mut self, owner: String) {
        if let Some((how, target)) = self.cluster.ha.moves.get(&self.sid).cloned() {
            let allowed = !self.wish.strict || self.wish.nodes.is_empty() || self.wish.nodes.contains_key(&target);
            if target == owner || !self.online.contains(&target) || !allowed {
                // The CRM logs that it ignores such a request.
                self.cluster.ha.moves.remove(&self.sid);
            } else if self.cluster.ha.services.get(&self.sid).is_some_and(|service| service.state == how) {
                self.cluster.ha.moves.remove(&self.sid);
                return self.relocate(&owner, &target);
            } else {
                return self.set(&how);
            }
        }
        let tried = self.cluster.ha.services.get(&self.sid).map(|service| service.tried.clone()).unwrap_or_default();
        let best = self.wish.choose(self.online, &owner, &tried);
        if let Some(target) = best.filter(|target| *target != owner) {
            return self.relocate(&owner, &target);
        }
        if self.site.running(self.vmid).is_some_and(|running| running.node == owner) {
            self.cluster.ha.forgive(&self.sid);
            return self.set("started");
        }
        self.set("started");
        if self.start(&owner).is_err() {
            self.count_failure(&owner);
        }
    }

    fn count_failure(&mut self, owner: &str) {
        let (restarts, relocations) = (self.limit("max_restart"), self.limit("max_relocate"));
        let Some(service) = self.cluster.ha.services.get_mut(&self.sid) else { return };
        service.failed_starts += 1;
        if service.failed_starts <= restarts {
            return;
        }
        if !service.tried.iter().any(|node| node == owner) {
            service.tried.push(owner.into());
        }
        let tried = service.tried.clone();
        let target = self.wish.choose(self.online, owner, &tried).filter(|target| !tried.contains(target));
        match target {
            Some(target) if tried.len() as u32 <= relocations => self.relocate(owner, &target),
            _ => self.set("error"),
        }
    }

    /// Stop, move the file, start with the next step. A container that does not stop stays where it is.
    fn relocate(&mut self, from: &str, to: &str) {
        if self.site.running(self.vmid).is_some() && self.stop(from).is_err() {
            return self.set("started");
        }
        let result = move_config(self.site, from, to, self.vmid);
        let log = vec![
            "task started by HA resource agent".into(),
            format!("starting migration of CT {} to node '{to}'", self.vmid),
        ];
        let ok = result.is_ok();
        self.task(from, "vzmigrate", log, result);
        if ok {
            self.arrive(to);
        }
    }

    fn start(&mut self, node: &str) -> Result<(), String> {
        let mut log = vec!["task started by HA resource agent".to_string()];
        let result = power::start_on(self.cluster, self.site, node, self.vmid, &mut log);
        self.task(node, "vzstart", log, result.clone());
        result
    }

    fn stop(&mut self, node: &str) -> Result<(), String> {
        let mut log = vec!["task started by HA resource agent".to_string()];
        let result = power::stop_on(self.cluster, self.site, node, self.vmid, &mut log);
        self.task(node, "vzshutdown", log, result.clone());
        result
    }

    fn task(&mut self, node: &str, kind: &str, log: Vec<String>, result: Result<(), String>) {
        let who = Identity { user: "root@pam".into(), token: None };
        record(self.cluster, self.site.now_ms(), node, &who, kind, &self.vmid.to_string(), log, result);
    }
}
