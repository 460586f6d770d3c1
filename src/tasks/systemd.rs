//! `systemd`: a unit's state now and at boot.
//!
//! Refuses to stop DRBD's units where that would take the last good copy of the data or the quorum away, judged over
//! all hosts of the play.

mod names;
mod show;

use super::drbd_guard::{self, Turn, Up};
use super::{After, ArgFault, Change, Decision, Meanwhile, Observation, Task, Touches, Trail, Verdict, diff};
use crate::host::{LookError, Output, Probe, Query, Step, Topic};
use names::{full_name, unit_file_exists};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use show::Show;
use std::collections::{BTreeMap, BTreeSet};

/// Starts, stops, enables and disables a systemd unit. A unit that does not exist is an error, not "stopped".
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Systemd {
    /// Unit, with or without `.service`; instances of templates as `drbd@nfs1.target`.
    #[serde(default, alias = "unit", alias = "service", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// State now. `restarted` and `reloaded` act each time and belong into handlers; `reloaded` starts a unit that
    /// does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Whether it starts at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether it is masked: nothing can start it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<bool>,
    /// Let systemd read changed unit files first. Done only if some unit file did change since it was read.
    #[serde(default, alias = "daemon-reload")]
    pub daemon_reload: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// What systemd says of the unit; `None` without a name.
    unit: Option<Show>,
    /// systemd does not know the unit, yet its file is there: it has not read it yet.
    unread: bool,
    /// Some loaded unit's file changed since systemd read it. Asked only for `daemon_reload`.
    stale: bool,
    /// What stopping it takes down, for DRBD's units.
    drbd: Up,
}

fn show_query(unit: &str) -> Query {
    let topic = Topic::Unit(full_name(unit));
    Query::new(topic, ["systemctl", "show", unit, "-p", &show::KEYS.join(",")])
}

fn stale_query() -> Query {
    Query::new(Topic::Other, ["systemctl", "show", "*", "-p", "NeedDaemonReload"])
}

fn ask(host: &dyn Probe, query: &Query) -> Result<String, LookError> {
    let answer = host.query(query)?;
    if answer.rc != 0 {
        return Err(LookError::cannot_tell(format!("`{}`", query.argv.join(" ")), answer.complaint()));
    }
    Ok(answer.stdout)
}

impl Task for Systemd {
    const KIND: &'static str = "systemd";
    const ALIASES: &'static [&'static str] = &["systemd_service", "service"];
    const EXAMPLE: &'static str = "\
- name: DRBD brings the resource up at boot
  systemd:
    name: drbd@nfs1.target
    enabled: true
    state: started
";
    type Seen = Seen;

    /// Debian's packages enable and start what they bring; instances of templates, and DRBD's units, are left off.
    fn expects_change(&self) -> bool {
        let running = !matches!(self.state, None | Some(State::Started));
        let off = self.enabled == Some(false) || self.masked == Some(true);
        let left_off = |name: &String| name.contains('@') || name.starts_with("drbd");
        running || off || self.name.as_ref().is_some_and(left_off)
    }

    /// One host alone cannot know who else is to stop its copy of the data at the same time.
    fn touches(&self) -> Touches {
        if self.stops().is_some() { Touches::AllHosts } else { Touches::Host }
    }

    fn check_args(&self) -> Vec<ArgFault> {
        let wants = self.state.is_some() || self.enabled.is_some() || self.masked.is_some();
        let mut faults = Vec::new();
        match &self.name {
            None if wants => faults.push(ArgFault::task("no unit is named").help("add `name: UNIT`")),
            None if !self.daemon_reload => faults.push(ArgFault::task("there is nothing to do")),
            Some(name) if name.is_empty() || name.starts_with('-') || name.contains(['*', '?', '[', '/', ' ']) => {
                faults.push(ArgFault::at("name", format!("`{name}` is no name of a unit")));
            }
            Some(name) if full_name(name).contains("@.") => faults
                .push(ArgFault::at("name", "a template cannot run").help("name an instance, as in `drbd@nfs1.target`")),
            Some(_) if !wants && !self.daemon_reload => {
                faults.push(ArgFault::task("neither `state` nor `enabled` nor `masked` says what is wanted"));
            }
            _ => {}
        }
        if self.masked == Some(true) {
            if self.enabled == Some(true) {
                faults.push(ArgFault::at("enabled", "a masked unit cannot be enabled"));
            }
            if matches!(self.state, Some(State::Started | State::Restarted | State::Reloaded)) {
                faults.push(ArgFault::at("state", "a masked unit cannot be started"));
            }
        }
        faults
    }

    fn object(&self) -> String {
        self.name.clone().unwrap_or_default()
    }

    fn trails(&self) -> Vec<Trail> {
        self.name.iter().map(|name| Trail::Service(name.clone())).collect()
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let mut seen = Seen { unit: None, unread: false, stale: false, drbd: Up::NOTHING };
        if let Some(name) = &self.name {
            let query = show_query(name);
            let show = Show::parse(&ask(host, &query)?).map_err(|why| LookError::cannot_tell(name.as_str(), why))?;
            let full = full_name(name);
            seen.unread = show.load == "not-found" && unit_file_exists(host, &full)?;
            if let Some(stops) = self.stops() {
                seen.drbd = drbd_guard::look(host, &stops)?;
            }
            seen.unit = Some(show);
        }
        if self.daemon_reload {
            seen.stale = ask(host, &stale_query())?.lines().any(|line| line == "NeedDaemonReload=yes");
        }
        Ok(seen)
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let (Some(name), Some(show)) = (&self.name, &seen.unit) else {
            if !seen.stale {
                return Verdict::ok("systemd has read all unit files");
            }
            return Verdict::drift("let systemd read its unit files", String::new(), vec![reload_step()]);
        };
        let mut verdict = match self.plan(name, show, seen) {
            Ok(plan) => plan.verdict(name, show),
            Err(verdict) => *verdict,
        };
        if show.need_reload && !self.daemon_reload {
            verdict = verdict
                .warn(format!("the unit file of {name} changed since systemd read it; use `daemon_reload: true`"));
        }
        if self.enabled == Some(true) && full_name(name) == "drbd.service" {
            verdict = verdict.warn(
                "drbd.service waits for its peers at boot and, when stopped, unmounts and downs every resource; \
                 enable drbd@RESOURCE.target instead",
            );
        }
        verdict.data(show.data(name))
    }

    fn decide_among(
        &self,
        all: &BTreeMap<String, Observation<Seen>>,
        acting: &BTreeSet<String>,
    ) -> BTreeMap<String, Verdict> {
        let mut verdicts = self.decide_all(all);
        let Some(name) = self.name.as_deref().filter(|_| self.stops().is_some()) else { return verdicts };
        let runs = |host: &&String| match all.get(*host) {
            Some(Ok(seen)) => seen.unit.as_ref().is_some_and(runs_in_some_way),
            _ => false,
        };
        let wanting: BTreeSet<&str> = acting.iter().filter(runs).map(String::as_str).collect();
        let up = all.iter().map(|(host, seen)| (host.as_str(), seen.as_ref().map(|s| &s.drbd).map_err(Clone::clone)));
        let turns = drbd_guard::turns(&up.collect(), &wanting, self.state == Some(State::Restarted));
        for (host, turn) in turns {
            let verdict = match turn {
                Turn::Now => continue,
                Turn::After(other) => {
                    let what = format!("{name} is restarted after {other}, one host after another");
                    Verdict::wait(what, 600, 1, None).meanwhile(Meanwhile::Changes)
                }
                Turn::NotYet(why) => Verdict::wait(why, 300, 2, None).meanwhile(Meanwhile::Trouble),
                Turn::Never(why) => self.must_run(name, &why),
            };
            let data = verdicts.remove(&host).map(|judged| judged.data).unwrap_or_default();
            verdicts.insert(host, verdict.data(data));
        }
        verdicts
    }
}

/// A unit that does not run loses nothing when it is stopped.
fn runs_in_some_way(show: &Show) -> bool {
    !matches!(show.active.as_str(), "inactive" | "failed")
}

/// systemd reads every unit file again; no program's state changes by that.
fn reload_step() -> Step {
    Step::run(["systemctl", "daemon-reload"]).answers(stale_query(), Output::ok("NeedDaemonReload=no\n"))
}

struct Plan {
    /// Verb of systemctl and what it does, in order.
    verbs: Vec<(&'static str, String)>,
    reload: bool,
    after: After,
    /// What systemd will say then.
    then: Show,
}

impl Systemd {
    fn plan(&self, name: &str, show: &Show, seen: &Seen) -> Result<Plan, Box<Verdict>> {
        let block = |why: String| Err(Box::new(Verdict::blocked(why)));
        let mut then = show.clone();
        let mut plan = Plan { verbs: Vec::new(), reload: false, after: After::LookAgain, then: show.clone() };
        let masked = show.load == "masked" || show.unit_file.starts_with("masked");
        match show.load.as_str() {
            "loaded" => {}
            "masked" if self.masked == Some(true) || !self.wants_running() => {}
            "masked" if self.masked == Some(false) => {
                // What lies under the mask is seen only afterwards.
                let step = Step::run(["systemctl", "unmask", name]).unsettles(Topic::Unit(full_name(name)));
                return Err(Box::new(Verdict::stage(format!("unmask {name}"), String::new(), vec![step])));
            }
            "masked" => return block(format!("{name} is masked; `masked: false` takes the mask off")),
            "not-found" if seen.unread => (then.load, then.unit_file) = ("loaded".into(), "disabled".into()),
            "not-found" if self.masked == Some(true) => {}
            "not-found" => return block(format!("there is no unit {name}; is its package installed?")),
            other => return block(format!("systemd cannot load {name}: {other}; see `systemctl status {name}`")),
        }
        plan.reload = seen.unread || (self.daemon_reload && seen.stale);
        if plan.reload {
            then.need_reload = false;
        }
        if self.masked == Some(false) && masked {
            plan.verbs.push(("unmask", format!("unmask {name}")));
            then.unit_file = "disabled".into();
        }
        self.plan_boot(name, &mut plan, &mut then)?;
        self.plan_state(name, show, seen, &mut plan, &mut then)?;
        if self.masked == Some(true) && !masked {
            plan.verbs.push(("mask", format!("mask {name}")));
            (then.load, then.unit_file) = ("masked".into(), "masked".into());
        }
        plan.then = then;
        Ok(plan)
    }

    /// What of DRBD this takes down.
    fn stops(&self) -> Option<drbd_guard::Stops> {
        let stops = matches!(self.state, Some(State::Stopped | State::Restarted));
        self.name.as_ref().filter(|_| stops).and_then(|name| drbd_guard::of_unit(&full_name(name)))
    }

    fn must_run(&self, name: &str, why: &str) -> Verdict {
        let verb = if self.state == Some(State::Stopped) { "stopped" } else { "restarted" };
        Verdict::blocked(format!("{name} must not be {verb} now: {why}"))
    }

    fn wants_running(&self) -> bool {
        matches!(self.state, Some(State::Started | State::Restarted | State::Reloaded)) || self.enabled == Some(true)
    }

    fn plan_boot(&self, name: &str, plan: &mut Plan, then: &mut Show) -> Result<(), Box<Verdict>> {
        let Some(wanted) = self.enabled else { return Ok(()) };
        let now = match then.unit_file.as_str() {
            "enabled" => true,
            // Until the next boot only, or linked without being wanted by anything.
            "enabled-runtime" | "linked" | "linked-runtime" | "disabled" | "masked" | "masked-runtime" | "" => false,
            // As `systemctl is-enabled`, which answers yes for these: they start when something wants them.
            "static" | "alias" | "indirect" => wanted,
            other => {
                let why = format!("{name} is `{other}`: systemctl cannot enable or disable it");
                return Err(Box::new(Verdict::blocked(why)));
            }
        };
        if now != wanted {
            let verb = if wanted { "enable" } else { "disable" };
            plan.verbs.push((verb, format!("{verb} {name}")));
            then.unit_file = format!("{verb}d");
        }
        Ok(())
    }

    fn plan_state(
        &self,
        name: &str,
        show: &Show,
        seen: &Seen,
        plan: &mut Plan,
        then: &mut Show,
    ) -> Result<(), Box<Verdict>> {
        let Some(wanted) = self.state else { return Ok(()) };
        if matches!(wanted, State::Stopped | State::Restarted)
            && runs_in_some_way(show)
            && let Some(why) = drbd_guard::why_not(&seen.drbd)
        {
            return Err(Box::new(self.must_run(name, &why)));
        }
        let runs = match show.active.as_str() {
            "active" | "reloading" | "refreshing" => true,
            "inactive" | "failed" | "maintenance" => false,
            // A start or stop that is under way ends by itself; nothing else is to be done before it has.
            "activating" | "deactivating" if !matches!(wanted, State::Restarted) && plan.verbs.is_empty() => {
                let what = format!("{name} is {} ({})", show.active, show.sub);
                return Err(Box::new(Verdict::wait(what, 90, 2, None).meanwhile(Meanwhile::Trouble)));
            }
            "activating" | "deactivating" => true,
            other => {
                let why = format!("{name} is in the state `{other}`, which this program does not know");
                return Err(Box::new(Verdict::blocked(why)));
            }
        };
        let verb = match (wanted, runs) {
            (State::Started, true) | (State::Stopped, false) => return Ok(()),
            (State::Started | State::Reloaded, false) => "start",
            (State::Stopped, true) => "stop",
            (State::Restarted, _) => "restart",
            (State::Reloaded, true) => "reload",
        };
        plan.verbs.push((verb, format!("{verb} {name}")));
        // A oneshot without RemainAfterExit has run and is inactive again: there is nothing to look at.
        let leaves_no_trace = wanted == State::Started && show.is_oneshot_without_trace();
        if matches!(wanted, State::Restarted | State::Reloaded) || leaves_no_trace {
            plan.after = After::Done;
        }
        (then.active, then.sub) = match (verb, leaves_no_trace) {
            ("stop", _) | (_, true) => ("inactive".into(), "dead".into()),
            _ => ("active".into(), if show.sub.is_empty() || !runs { "running".into() } else { show.sub.clone() }),
        };
        Ok(())
    }
}

impl Plan {
    fn verdict(self, name: &str, show: &Show) -> Verdict {
        if self.verbs.is_empty() && !self.reload {
            return Verdict::ok(format!("{name} is {}, {}", show.active, show.at_boot()));
        }
        let mut steps = Vec::new();
        let mut words = Vec::new();
        if self.reload {
            steps.push(reload_step());
            words.push("let systemd read its unit files".to_owned());
        }
        for (verb, what) in &self.verbs {
            steps.push(Step::run(["systemctl", verb, name]));
            words.push(what.clone());
        }
        if let Some(last) = steps.pop() {
            let mut last = last.answers(show_query(name), Output::ok(self.then.text()));
            if let Some(resource) = drbd_guard::resource_of(&full_name(name)) {
                last = last.unsettles(Topic::Drbd(resource));
            }
            steps.push(last);
        }
        let path = full_name(name);
        let change = Change {
            summary: words.join(", "),
            diff: diff::unified(&path, &show.for_people(), &self.then.for_people()),
            steps,
            after: self.after,
        };
        Decision::Drift(change).into()
    }
}

#[cfg(test)]
mod tests;
