//! What is to be done about packages, from what was seen. Pure.

use super::look::{Row, UPDATE_PREDICTED};
use super::{Apt, Seen, State, Upgrade, Want, steps, version};
use crate::host::Action;
use crate::tasks::{Verdict, diff};
use serde_json::{Value as Json, json};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a task wants of apt, before anybody asked whether it can be had.
#[derive(Debug, Default)]
struct Plan {
    /// Arguments for `apt-get install`, each with name, version now and version then.
    installs: Vec<Install>,
    /// Names that the package lists do not have.
    unknown: Vec<String>,
    blocked: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Install {
    spec: String,
    name: String,
    now: Option<String>,
    then: String,
}

impl Seen {
    /// The row of a name: the installed one where several architectures have it.
    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        let (name, arch) = name.split_once(':').map_or((name, None), |(n, a)| (n, Some(a)));
        let mut rows = self.rows.iter().filter(|r| r.name == name && arch.is_none_or(|a| a == r.arch));
        let first = rows.next();
        if first.is_some_and(Row::installed) { first } else { rows.find(|r| r.installed()).or(first) }
    }

    pub(super) fn satisfies(&self, want: &Want) -> bool {
        self.row(&want.name)
            .is_some_and(|row| row.installed() && want.version.as_ref().is_none_or(|v| matches(v, &row.version)))
    }
}

/// `9.22.*` matches as apt's own pattern does.
fn matches(pattern: &str, version: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == version,
        Some((head, "")) => version.starts_with(head),
        Some((head, tail)) => {
            version.strip_prefix(head).is_some_and(|rest| rest.len() >= tail.len() && rest.ends_with(tail))
        }
    }
}

impl Apt {
    /// The question to `apt-get -s` that the decision needs, if any.
    pub(super) fn simulates(&self, seen: &Seen) -> Option<Vec<String>> {
        if !seen.rows.iter().all(|row| row.broken().is_none()) {
            return None;
        }
        if self.state == State::Absent {
            let gone = self.to_remove(seen);
            return (!gone.is_empty()).then(|| Self::simulation(self.remove_words(&gone)));
        }
        if self.names().is_empty() {
            if self.needs_lists(seen, true).is_some() {
                return None;
            }
            return match (self.upgrade, self.autoremove) {
                (Upgrade::No, false) => None,
                (Upgrade::No, true) => Some(Self::simulation(self.autoremove_words())),
                _ => Some(Self::simulation(self.upgrade_words())),
            };
        }
        let plan = self.plan(seen);
        let ready = plan.blocked.is_empty() && plan.unknown.is_empty() && !plan.installs.is_empty();
        if !ready || self.needs_lists(seen, true).is_some() {
            return None;
        }
        let specs: Vec<String> = plan.installs.into_iter().map(|i| i.spec).collect();
        Some(Self::simulation(self.install_words(&specs)))
    }

    pub(super) fn judge(&self, seen: &Seen) -> Verdict {
        if let Some(verdict) = self.repair(seen) {
            return verdict;
        }
        if self.state == State::Absent {
            return self.absent(seen);
        }
        let plan = self.plan(seen);
        let verdict = self.present(seen, &plan);
        plan.warnings.into_iter().fold(verdict, Verdict::warn)
    }

    /// Packages that dpkg left half way, before anything else is tried.
    fn repair(&self, seen: &Seen) -> Option<Verdict> {
        let broken: Vec<&Row> = seen.rows.iter().filter(|row| row.broken().is_some()).collect();
        if broken.is_empty() || self.state == State::Absent {
            return None;
        }
        let states: Vec<String> =
            broken.iter().map(|r| format!("{} {} {}", r.name, r.version, r.broken().unwrap_or_default())).collect();
        let then: Vec<String> = broken.iter().map(|r| format!("{} {} installed", r.name, r.version)).collect();
        let reinstall: Vec<String> =
            broken.iter().filter(|r| r.flag != "ok" || r.status == "half-installed").map(|r| r.name.clone()).collect();
        let step = if reinstall.is_empty() {
            let argv = ["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"];
            let mut step = self.step(Vec::new());
            if let Action::Run { argv: words, .. } = &mut step.action {
                *words = argv.into_iter().map(str::to_owned).collect();
            }
            step
        } else {
            let mut words = self.install_words(&reinstall);
            words.insert(1, "--reinstall".into());
            self.step(words)
        };
        let versions = broken.iter().map(|r| (r.name.clone(), r.version.clone())).collect();
        let step = self.expect(step, seen, &versions);
        let names: Vec<&str> = broken.iter().map(|r| r.name.as_str()).collect();
        let summary = format!("finish the installation of {}", names.join(", "));
        Some(Verdict::stage(summary, diff::lines("packages", &states, &then), vec![step]))
    }

    fn to_remove(&self, seen: &Seen) -> Vec<String> {
        let there = |row: &Row| match row.status.as_str() {
            "not-installed" => false,
            "config-files" => self.purge,
            _ => true,
        };
        self.names().into_iter().filter(|name| seen.row(name).is_some_and(there)).collect()
    }

    fn absent(&self, seen: &Seen) -> Verdict {
        let names = self.to_remove(seen);
        if names.is_empty() {
            return Verdict::ok(format!("{} not installed", self.names().join(", ")));
        }
        let held: Vec<&String> = names.iter().filter(|n| seen.row(n).is_some_and(Row::held)).collect();
        if let (Some(name), false) = (held.first(), self.allow_change_held_packages) {
            return Verdict::blocked(format!("{name} is held; `allow_change_held_packages: true` removes it"));
        }
        let simulation = seen.simulation.clone().unwrap_or_default();
        if let Some(refused) = simulation.refused {
            return Verdict::blocked(format!("apt would not remove {}: {refused}", names.join(", ")));
        }
        let plain = |name: &str| name.split(':').next().unwrap_or(name).to_owned();
        let named: Vec<String> = names.iter().map(|n| plain(n)).collect();
        let others: Vec<&str> =
            simulation.removes.iter().map(|(n, _)| n.as_str()).filter(|n| !named.contains(&plain(n))).collect();
        if !others.is_empty() && !self.autoremove {
            return Verdict::blocked(format!(
                "removing {} would also remove {}; name them too if that is meant",
                names.join(", "),
                others.join(", ")
            ));
        }
        let step = self.expect(self.step(self.remove_words(&names)), seen, &BTreeMap::new());
        let verb = if self.purge { "purge" } else { "remove" };
        Verdict::drift(format!("{verb} {}", names.join(", ")), simulation.diff(), vec![step])
    }

    fn plan(&self, seen: &Seen) -> Plan {
        let mut plan = Plan::default();
        for want in self.wants() {
            match seen.row(&want.name).filter(|row| row.installed()) {
                Some(row) => self.plan_installed(&mut plan, seen, &want, row),
                None => self.plan_missing(&mut plan, seen, &want),
            }
        }
        plan
    }

    fn plan_installed(&self, plan: &mut Plan, seen: &Seen, want: &Want, row: &Row) {
        let name = &want.name;
        let policy = seen.policies.get(name);
        let then = match &want.version {
            Some(wanted) if matches(wanted, &row.version) => return,
            Some(wanted) => match policy.and_then(|p| p.versions.iter().find(|v| matches(wanted, v))) {
                Some(version) => version.clone(),
                None => return plan.unknown.push(format!("{name}={wanted}")),
            },
            None if self.state != State::Latest => return,
            None => match policy.and_then(|p| p.candidate.clone()) {
                Some(candidate) if version::compare(&candidate, &row.version) == Ordering::Greater => candidate,
                Some(_) => return,
                None => return plan.warnings.push(format!("{name} is installed but in no package list")),
            },
        };
        if row.held() && !self.allow_change_held_packages {
            if want.version.is_none() {
                return plan.warnings.push(format!("{name} is held at {}; {then} is available", row.version));
            }
            return plan.blocked.push(format!("{name} is held at {}", row.version));
        }
        if version::compare(&then, &row.version) == Ordering::Less && !self.allow_downgrade {
            return plan.blocked.push(format!(
                "{name} {} is installed; going back to {then} needs `allow_downgrade: true`",
                row.version
            ));
        }
        plan.installs.push(Install { spec: spec(want), name: name.clone(), now: Some(row.version.clone()), then });
    }

    fn plan_missing(&self, plan: &mut Plan, seen: &Seen, want: &Want) {
        let name = &want.name;
        if self.only_upgrade || (want.version.is_none() && seen.provided_by.contains_key(name)) {
            return;
        }
        let policy = seen.policies.get(name).cloned().unwrap_or_default();
        let then = match &want.version {
            Some(wanted) => policy.versions.iter().find(|v| matches(wanted, v)).cloned(),
            None => policy.candidate,
        };
        match (then, policy.providers.as_slice()) {
            (Some(then), _) => {
                plan.installs.push(Install { spec: spec(want), name: name.clone(), now: None, then });
            }
            (None, [only]) if want.version.is_none() => {
                let then = format!("(by {only})");
                plan.installs.push(Install { spec: only.clone(), name: name.clone(), now: None, then });
            }
            (None, [_, ..]) if want.version.is_none() => {
                plan.blocked.push(format!("{name} is a virtual package; name one of {}", policy.providers.join(", ")))
            }
            (None, _) => plan.unknown.push(spec(want)),
        }
    }

    /// Why the package lists must be fetched first. `work`: there is something to do that rests on them.
    fn needs_lists(&self, seen: &Seen, work: bool) -> Option<String> {
        if !work {
            return None;
        }
        let aged = || if self.refreshes() { seen.lists.aged(self.valid_s()) } else { None };
        seen.lists.outdated().or_else(aged)
    }

    fn present(&self, seen: &Seen, plan: &Plan) -> Verdict {
        if !plan.blocked.is_empty() {
            return Verdict::blocked(plan.blocked.join("; "));
        }
        let work = !plan.installs.is_empty()
            || !plan.unknown.is_empty()
            || self.state == State::Latest
            || self.names().is_empty();
        let predicted = seen.lists.predicted && !plan.unknown.is_empty();
        let predicted = predicted.then(|| format!("{UPDATE_PREDICTED} tells of an update whose lists were not seen"));
        if let Some(why) = self.needs_lists(seen, work).or(predicted) {
            return self.update_first(seen, plan, &why);
        }
        if !plan.unknown.is_empty() {
            let advice = if self.refreshes() { "" } else { "; `update_cache: true` would look for newer lists" };
            let missing = plan.unknown.join(", ");
            return Verdict::blocked(format!("no package `{missing}` in the package lists of this host{advice}"));
        }
        let simulation = seen.simulation.clone().unwrap_or_default();
        if let Some(refused) = &simulation.refused {
            return Verdict::blocked(format!("apt refuses: {refused}"));
        }
        if !plan.installs.is_empty() {
            let specs: Vec<String> = plan.installs.iter().map(|i| i.spec.clone()).collect();
            let versions = plan.installs.iter().map(|i| (i.name.clone(), i.then.clone())).collect();
            let step = self.expect(self.step(self.install_words(&specs)), seen, &versions);
            return Verdict::drift(self.summary(plan), simulation.diff(), vec![step]);
        }
        if simulation.installs.is_empty() && simulation.removes.is_empty() {
            return Verdict::ok(self.fine(seen));
        }
        if self.upgrade != Upgrade::No {
            let count = simulation.installs.len();
            let step = self
                .step(self.upgrade_words())
                .effect(crate::host::Effect::MayBring { what: format!("the upgrade of {count} packages") });
            return Verdict::drift(format!("upgrade {count} packages"), simulation.diff(), vec![step]);
        }
        let names: Vec<&str> = simulation.removes.iter().map(|(name, _)| name.as_str()).collect();
        let summary = format!("remove {}, which nothing needs any more", names.join(", "));
        Verdict::drift(summary, simulation.diff(), vec![self.step(self.autoremove_words())])
    }

    /// Fetching the lists is a stage of its own: what is installed afterwards is decided on the new lists.
    fn update_first(&self, seen: &Seen, plan: &Plan, why: &str) -> Verdict {
        let mut update = steps::update(&seen.lists, self.lock_timeout);
        let mut then: Vec<String> = plan.installs.iter().map(|i| i.name.clone()).collect();
        then.extend(plan.unknown.iter().cloned());
        let mut text = String::new();
        let mut summary = format!("fetch the package lists ({why})");
        if !then.is_empty() {
            // A preview goes no further than this stage, so it is told here what the next one will lead to.
            let versions = plan.installs.iter().map(|i| (i.name.clone(), i.then.clone())).collect();
            update[0] = self.expect(update[0].clone(), seen, &versions);
            summary = format!("{summary}, then install {}", then.join(", "));
            let now: Vec<String> =
                plan.installs.iter().filter_map(|i| Some(format!("{} {}", i.name, i.now.as_ref()?))).collect();
            let mut after: Vec<String> = plan.installs.iter().map(|i| format!("{} {}", i.name, i.then)).collect();
            let later = |name: &String| format!("{name} (version known when the lists are fetched)");
            after.extend(plan.unknown.iter().map(later));
            text = diff::lines("packages", &now, &after);
        }
        Verdict::stage(summary, text, update)
    }

    fn summary(&self, plan: &Plan) -> String {
        let words = |install: &Install| match &install.now {
            None => format!("{} {}", install.name, install.then),
            Some(now) => format!("{} {now} -> {}", install.name, install.then),
        };
        format!("install {}", plan.installs.iter().map(words).collect::<Vec<_>>().join(", "))
    }

    fn fine(&self, seen: &Seen) -> String {
        let words = |name: String| match (seen.row(&name).filter(|r| r.installed()), seen.provided_by.get(&name)) {
            (Some(row), _) if row.version.is_empty() => format!("{name} installed"),
            (Some(row), _) => format!("{name} {} installed", row.version),
            (None, Some(provider)) => format!("{name} provided by {provider}"),
            (None, None) => format!("{name} not installed"),
        };
        let all: Vec<String> = self.names().into_iter().map(words).collect();
        match (all.is_empty(), self.upgrade, self.autoremove) {
            (false, ..) => all.join(", "),
            (_, Upgrade::No, false) => "the package lists are fresh".into(),
            (_, Upgrade::No, true) => "nothing is left over".into(),
            _ => "nothing to upgrade".into(),
        }
    }

    pub(super) fn data(&self, seen: &Seen) -> Json {
        let packages: BTreeMap<&str, &str> =
            seen.rows.iter().filter(|r| r.installed()).map(|r| (r.name.as_str(), r.version.as_str())).collect();
        json!({ "packages": packages, "cache_update_time": seen.lists.updated_s })
    }
}

fn spec(want: &Want) -> String {
    match &want.version {
        Some(version) => format!("{}={version}", want.name),
        None => want.name.clone(),
    }
}
