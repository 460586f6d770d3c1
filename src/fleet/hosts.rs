//! What the run knows of each host: its link, its variables, whether it is still taking part.

use super::hostvars::HostVars;
use super::vars::{Layer, SharedDoubt, Vars};
use crate::event::Mode;
use crate::host::Step;
use crate::inventory::Inventory;
use crate::link::{Connect, FutureHost, Link, LinkError, in_process};
use crate::wire::{Request, Response};
use minijinja::value::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a container may take to come up before the tasks inside it give up.
const CONTAINER_START: Duration = Duration::from_secs(90);
/// Links opened at the same time.
const AT_ONCE: usize = 64;

#[derive(Default)]
pub struct State {
    pub has_facts: bool,
    /// What earlier runs owe this host is known.
    pub asked_for_owed: bool,
    /// Handlers to run at the next flush.
    pub notified: BTreeSet<String>,
    /// A task failed: no further tasks.
    pub failed: bool,
    pub ended: bool,
    pub unreachable: Option<String>,
}

/// A task by its key, and the answer once it had to be taken in.
type Ahead = (usize, Option<Result<Response, LinkError>>);

pub struct Hosts<'a> {
    connect: &'a dyn Connect,
    mode: Mode,
    links: BTreeMap<String, Link>,
    /// What opening a link ahead of its first use came to; told at that use.
    refused: BTreeMap<String, LinkError>,
    states: BTreeMap<String, State>,
    /// Tasks whose questions were sent before their turn, oldest first, with the answer where it had to be taken in.
    ahead: BTreeMap<String, VecDeque<Ahead>>,
    /// Check: what tasks on other hosts would have led to on this one, to be told before its next question.
    predicted: BTreeMap<String, Vec<Step>>,
    known: Arc<HostVars>,
    /// Asked before each change whether the run may still make it; else why not.
    guard: Option<Guard<'a>>,
    pub stopped: Option<String>,
}

pub type Guard<'a> = Box<dyn FnMut() -> Option<String> + 'a>;

impl<'a> Hosts<'a> {
    pub fn new(connect: &'a dyn Connect, mode: Mode, inventory: &Inventory, doubt: SharedDoubt) -> Self {
        let known = HostVars::of(inventory, doubt);
        let (links, refused) = (BTreeMap::new(), BTreeMap::new());
        let (states, ahead, predicted) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (guard, stopped) = (None, None);
        Self { connect, mode, links, refused, states, ahead, predicted, known, guard, stopped }
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
        self.known.set(host, name, value);
    }

    /// `meta: clear_facts`: what was gathered is gathered anew when something asks for it.
    pub fn forget_facts(&mut self, host: &str) {
        self.state(host).has_facts = false;
        self.known.forget_facts(host);
    }

    /// `meta: reset_connection`. A check keeps its link, which holds what was predicted so far.
    pub fn hang_up(&mut self, host: &str) {
        if self.mode == Mode::Apply {
            self.links.remove(host);
        }
    }

    /// The layers of a host's given variables, and the found ones.
    pub fn vars(&mut self, host: &str, inventory: &Inventory) -> ([Layer; 2], Arc<Vars>) {
        self.known.layers(host, inventory)
    }

    /// Whether a task that becomes root, or does not, is run so on a host.
    pub fn becomes(&self, host: &str, wanted: bool) -> Result<(), String> {
        self.connect.becomes(host, wanted)
    }

    pub fn hostvars(&self) -> Value {
        self.known.value()
    }

    /// The link to a host, opened at first use. `may_come`: in a check, a container that is not there yet may be
    /// one that an earlier task would create.
    pub fn link(&mut self, host: &str, may_come: bool) -> Result<&mut Link, LinkError> {
        // A container that moved between two tasks is followed. In a check what was predicted would be lost with the
        // old agent, so there the link's end is the host's.
        if self.mode == Mode::Apply
            && Inventory::is_container(host)
            && self.links.get_mut(host).is_some_and(Link::has_ended)
        {
            self.links.remove(host);
        }
        if !self.links.contains_key(host) {
            if let Some(why) = self.state(host).unreachable.clone() {
                // What was told once is not wrapped in the same words again.
                let words = why.strip_prefix(&format!("{host} ")).unwrap_or(&why);
                let why = words.strip_prefix("cannot be reached: ").unwrap_or(words).to_owned();
                return Err(LinkError::Lost { host: host.to_owned(), why });
            }
            if let Some(error) = self.refused.get(host) {
                return Err(error.clone());
            }
            let link = open(self.connect, self.mode, host, may_come)?;
            self.links.insert(host.to_owned(), link);
        }
        Ok(self.links.get_mut(host).expect("inserted above"))
    }

    /// Opens the links that are missing at the same time: a login takes many round trips.
    pub fn open_all(&mut self, hosts: &[String], may_come: bool) {
        let missing: Vec<&String> = hosts
            .iter()
            .filter(|h| !self.links.contains_key(*h) && self.states.get(*h).is_none_or(|s| s.unreachable.is_none()))
            .collect();
        let (connect, mode) = (self.connect, self.mode);
        for some in missing.chunks(AT_ONCE) {
            let opened: Vec<Result<Link, LinkError>> = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    some.iter().map(|host| scope.spawn(move || open(connect, mode, host, may_come))).collect();
                threads.into_iter().map(|t| t.join().expect("a link's thread does not panic")).collect()
            });
            for (host, link) in some.iter().zip(opened) {
                match link {
                    Ok(link) => drop(self.links.insert((*host).clone(), link)),
                    // It may be running by the time it is needed.
                    Err(LinkError::NotRunning { .. }) => {}
                    Err(error) => drop(self.refused.insert((*host).clone(), error)),
                }
            }
        }
    }

    pub fn guard(&mut self, guard: Guard<'a>) {
        self.guard = Some(guard);
    }

    /// Refuses what would change a host once the run has lost the right to.
    fn may_change(&mut self, request: &Request) -> Result<(), LinkError> {
        let changes = matches!(request, Request::Run { look_only: false, .. } | Request::Perform { .. });
        if self.mode == Mode::Apply && changes && self.stopped.is_none() {
            self.stopped = self.guard.as_mut().and_then(|guard| guard());
        }
        match &self.stopped {
            Some(why) if changes => Err(LinkError::Stopped { why: why.clone() }),
            _ => Ok(()),
        }
    }

    pub fn send(&mut self, host: &str, may_come: bool, request: &Request) -> Result<(), LinkError> {
        self.may_change(request)?;
        // Answers come in the order of the questions.
        if let (Some(link), Some(ahead)) = (self.links.get_mut(host), self.ahead.get_mut(host)) {
            for (_, answer) in ahead.iter_mut().filter(|(_, answer)| answer.is_none()) {
                *answer = Some(link.answer(None, &mut |_, _| {}));
            }
        }
        if let Some(steps) = self.predicted.remove(host) {
            let link = self.link(host, may_come)?;
            link.send(&Request::Perform { steps, notify: Vec::new() })?;
            link.answer(None, &mut |_, _| {})?;
        }
        self.link(host, may_come)?.send(request)
    }

    /// Keeps predicted steps for the hosts they are `on`. No link is opened for that: a host that nobody asks needs
    /// to know nothing.
    pub fn predict(&mut self, steps: impl IntoIterator<Item = Step>) {
        for mut step in steps {
            if let Some(host) = step.on.take() {
                self.predicted.entry(host).or_default().push(step);
            }
        }
    }

    /// Sends the question of a task whose turn has not come. A link that fails here fails again then.
    pub fn send_ahead(&mut self, host: &str, may_come: bool, task: usize, request: &Request) {
        let sent = match self.predicted.contains_key(host) {
            true => self.send(host, may_come, request),
            false => self.link(host, may_come).and_then(|link| link.send(request)),
        };
        if sent.is_ok() {
            self.ahead.entry(host.to_owned()).or_default().push_back((task, None));
        }
    }

    pub fn is_ahead(&self, host: &str, task: usize) -> bool {
        self.ahead.get(host).and_then(VecDeque::front).is_some_and(|(first, _)| *first == task)
    }

    /// The answer to the oldest question that was sent ahead.
    pub fn answer_ahead(
        &mut self,
        host: &str,
        progress: &mut dyn FnMut(String, Option<f32>),
    ) -> Result<Response, LinkError> {
        match self.ahead.get_mut(host).and_then(VecDeque::pop_front) {
            Some((_, Some(answer))) => answer,
            _ => self.answer(host, progress),
        }
    }

    /// Nobody will ask for what is still to come of these hosts.
    pub fn forget_ahead(&mut self, hosts: &[String]) {
        for host in hosts {
            if let (Some(ahead), Some(link)) = (self.ahead.remove(host), self.links.get_mut(host)) {
                link.give_up(ahead.iter().filter(|(_, answer)| answer.is_none()).count());
            }
        }
    }

    pub fn answer(&mut self, host: &str, progress: &mut dyn FnMut(String, Option<f32>)) -> Result<Response, LinkError> {
        self.answer_within(host, None, progress)
    }

    /// `within`: the task's own timeout. A host that is still busy then works on, and what it answers later is thrown
    /// away.
    pub fn answer_within(
        &mut self,
        host: &str,
        within: Option<Duration>,
        progress: &mut dyn FnMut(String, Option<f32>),
    ) -> Result<Response, LinkError> {
        match self.links.get_mut(host) {
            Some(link) => link.answer(within, progress),
            None => Err(LinkError::Lost { host: host.to_owned(), why: "there is no link".into() }),
        }
    }

    pub fn lose(&mut self, host: &str, error: &LinkError) {
        if matches!(error, LinkError::Stopped { .. }) {
            return;
        }
        self.links.remove(host);
        self.ahead.remove(host);
        self.state(host).unreachable = Some(error.to_string());
    }

    /// Hosts whose notified handlers did not run.
    pub fn left_notified(&self) -> Vec<(String, String)> {
        let pairs = |(host, state): (&String, &State)| -> Vec<(String, String)> {
            state.notified.iter().map(|handler| (host.clone(), handler.clone())).collect()
        };
        self.states.iter().flat_map(pairs).collect()
    }
}

fn open(connect: &dyn Connect, mode: Mode, host: &str, may_come: bool) -> Result<Link, LinkError> {
    let until = Instant::now() + CONTAINER_START;
    loop {
        match connect.connect(host, mode) {
            Err(LinkError::NotRunning { why, .. }) if mode == Mode::Check && may_come => {
                let name = host.to_owned();
                let why = format!("{why} yet, and the cluster is about to be changed");
                return in_process(host, mode, move || Box::new(FutureHost { name, why }));
            }
            // A container that was just started needs a moment; nobody else is waited for.
            Err(LinkError::NotRunning { .. }) if mode == Mode::Apply && Instant::now() < until && may_come => {
                std::thread::sleep(Duration::from_millis(500));
            }
            other => return other,
        }
    }
}
