//! What the run knows of each host: its link, its variables, whether it is still taking part.

use super::vars::{Vars, from_json};
use crate::event::Mode;
use crate::inventory::Inventory;
use crate::link::{Connect, FutureHost, Link, LinkError, in_process};
use crate::wire::{Request, Response};
use minijinja::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a container may take to come up before the tasks inside it give up.
const CONTAINER_START: Duration = Duration::from_secs(90);

#[derive(Default)]
pub struct State {
    /// Registered results, `set_fact`, gathered facts.
    pub vars: Arc<Vars>,
    /// The inventory's variables, read once.
    pub inventory_vars: Option<Arc<Vars>>,
    pub has_facts: bool,
    /// Handlers to run at the next flush.
    pub notified: BTreeSet<String>,
    /// A task failed: no further tasks.
    pub failed: bool,
    pub ended: bool,
    pub unreachable: Option<String>,
}

pub struct Hosts<'a> {
    connect: &'a dyn Connect,
    mode: Mode,
    links: BTreeMap<String, Link>,
    states: BTreeMap<String, State>,
}

impl<'a> Hosts<'a> {
    pub fn new(connect: &'a dyn Connect, mode: Mode) -> Self {
        Self { connect, mode, links: BTreeMap::new(), states: BTreeMap::new() }
    }

    pub fn state(&mut self, host: &str) -> &mut State {
        if !self.states.contains_key(host) {
            self.states.insert(host.to_owned(), State::default());
        }
        self.states.get_mut(host).expect("inserted above")
    }

    pub fn is_out(&self, host: &str) -> bool {
        self.states.get(host).is_some_and(|s| s.failed || s.unreachable.is_some())
    }

    pub fn set_var(&mut self, host: &str, name: &str, value: Value) {
        Arc::make_mut(&mut self.state(host).vars).insert(name.to_owned(), value);
    }

    pub fn vars(&mut self, host: &str) -> Arc<Vars> {
        self.state(host).vars.clone()
    }

    pub fn inventory_vars(&mut self, host: &str, inventory: &Inventory) -> Arc<Vars> {
        let state = self.state(host);
        if let Some(vars) = &state.inventory_vars {
            return vars.clone();
        }
        let vars: Vars = inventory.vars(host).iter().map(|(k, v)| (k.clone(), from_json(v))).collect();
        let vars = Arc::new(vars);
        state.inventory_vars = Some(vars.clone());
        vars
    }

    /// The link to a host, opened at first use. `may_come`: in a check, a container that is not there yet may be
    /// one that an earlier task would create.
    pub fn link(&mut self, host: &str, may_come: bool) -> Result<&mut Link, LinkError> {
        if !self.links.contains_key(host) {
            if let Some(why) = self.state(host).unreachable.clone() {
                return Err(LinkError::Lost { host: host.to_owned(), why });
            }
            let link = self.open(host, may_come)?;
            self.links.insert(host.to_owned(), link);
        }
        Ok(self.links.get_mut(host).expect("inserted above"))
    }

    fn open(&self, host: &str, may_come: bool) -> Result<Link, LinkError> {
        let until = Instant::now() + CONTAINER_START;
        loop {
            match self.connect.connect(host, self.mode) {
                Err(LinkError::NotRunning { why, .. }) if self.mode == Mode::Check && may_come => {
                    let name = host.to_owned();
                    let why = format!("{host}: {why}, and changes to the cluster are predicted");
                    return in_process(host, self.mode, move || Box::new(FutureHost { name, why }));
                }
                // A container that was just started needs a moment; nobody else is waited for.
                Err(LinkError::NotRunning { .. }) if self.mode == Mode::Apply && Instant::now() < until && may_come => {
                    std::thread::sleep(Duration::from_millis(500));
                }
                other => return other,
            }
        }
    }

    pub fn send(&mut self, host: &str, may_come: bool, request: &Request) -> Result<(), LinkError> {
        self.link(host, may_come)?.send(request)
    }

    pub fn answer(&mut self, host: &str, progress: &mut dyn FnMut(String, Option<f32>)) -> Result<Response, LinkError> {
        match self.links.get_mut(host) {
            Some(link) => link.answer(progress),
            None => Err(LinkError::Lost { host: host.to_owned(), why: "there is no link".into() }),
        }
    }

    pub fn lose(&mut self, host: &str, error: &LinkError) {
        self.links.remove(host);
        self.state(host).unreachable = Some(error.to_string());
    }

    /// For `hostvars`: what is known of every host that took part so far.
    pub fn everything(&mut self, inventory: &Inventory) -> Vars {
        let mut names: BTreeSet<String> = inventory.hosts.iter().cloned().collect();
        names.extend(self.states.keys().cloned());
        names
            .into_iter()
            .map(|host| {
                let mut all: Vars = (*self.inventory_vars(&host, inventory)).clone();
                all.extend((*self.vars(&host)).clone());
                all.insert("inventory_hostname".into(), host.as_str().into());
                (host, Value::from_object(all))
            })
            .collect()
    }
}
