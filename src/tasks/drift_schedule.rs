//! `drift_schedule`: drift reports that the nodes make themselves, at set times.
//!
//! Refuses a unit name that somebody else uses, and times that systemd does not know.

mod folder;
pub mod units;

use super::args::OneOrMany;
use super::copy::Copy;
use super::own_program::{self, Installed, LINK};
use super::{ArgFault, ResolveError, Task, Trail, Verdict, Workstation};
use crate::host::{LookError, Probe, own_program};
use crate::schedule::{Place, REPORTS, RunAs, Schedule, calendar, name_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use units::Target;

/// Makes the nodes look for drift by themselves, at set times, with what Proxmox VE gives them: the API through the node's
/// own `pvesh`, the other nodes by the ssh that nodes have among them. No password is stored anywhere, and no workstation is
/// needed. Of all nodes one looks at a time, and when it dies another takes over (`docs/design/schedule.md`).
///
/// Run it on every node (`hosts: nodes`). Puts on each: the folder with the playbooks, below `/etc/converge/schedules` and
/// for root alone; this converge, below `/usr/local/lib/converge` under its SHA-256; a systemd service and timer. A run
/// that was missed while a node was off is made up for. `systemctl status converge-NAME` on a node tells how the last one
/// ended, and drift is no failure there. Everything in the folder is copied and what is no more in it is removed from the
/// nodes: keep it to what the playbooks need, and prove it first by `converge validate`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DriftSchedule {
    /// Names the units (`converge-NAME`) and the folders: a-z, 0-9, `-` and `_`.
    #[serde(default = "drift")]
    pub name: String,
    /// `present` or `absent`. Absent takes the units and the playbooks away; reports and program stay.
    #[serde(default)]
    pub state: Presence,
    /// Folder of the workstation with the playbooks and all that they need: roles, variables, templates. Searched like
    /// that of `copy`; at most 2000 entries and 16 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// The playbooks, by their paths in that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbooks: Option<OneOrMany>,
    /// An inventory in that folder: its groups and variables count; a login in it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<String>,
    /// When: calendar expressions of systemd.
    #[serde(default = "daily")]
    pub every: OneOrMany,
    /// Starts are spread over this time, each node at its own moment: `15m`, `1h`, `90`.
    #[serde(default = "quarter")]
    pub spread: String,
    /// A run that takes longer is ended.
    #[serde(default = "hour")]
    pub timeout: String,
    /// Who is told (`converge drift --notify`): a file in that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
    /// `any` or `new`: which drift makes the run end with 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_on: Option<FailOn>,
    /// Only these hosts, a pattern as in `hosts:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Where the reports go; without it `/var/lib/converge/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// The folder as it was found on the workstation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    copy: Option<Copy>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    #[default]
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailOn {
    Any,
    New,
}

fn drift() -> String {
    "drift".into()
}
fn daily() -> OneOrMany {
    ["daily"].into_iter().collect()
}
fn quarter() -> String {
    "15m".into()
}
fn hour() -> String {
    "1h".into()
}

/// What a node says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    units: units::Seen,
    program: Option<Installed>,
    folder: folder::Seen,
    /// The shortest time between two runs (seconds), or what systemd has against the times.
    pause_s: Result<u64, String>,
}

impl DriftSchedule {
    fn target(&self) -> Target {
        Target { name: self.name.clone(), folder: units::FOLDER.into(), own: false, runs: true }
    }

    fn folder(&self) -> String {
        format!("/etc/converge/schedules/{}", self.name)
    }

    fn playbooks(&self) -> impl Iterator<Item = &str> {
        self.playbooks.iter().flat_map(OneOrMany::iter)
    }

    /// Files of the folder that the command line names.
    fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let playbooks = self.playbooks().map(|path| ("playbooks", path));
        let others = [("inventory", &self.inventory), ("notify", &self.notify)];
        playbooks.chain(others.into_iter().filter_map(|(field, path)| Some((field, path.as_deref()?))))
    }

    /// `pause_s`: a look of another node within half of it counts for this one.
    fn schedule(&self, pause_s: u64) -> Schedule {
        let folder = self.folder();
        let mut words: Vec<String> = ["schedule", "turn", &self.name, "--not-within"].map(str::to_owned).into();
        words.extend([(pause_s / 2).to_string(), "--".into(), LINK.into(), "drift".into(), "--on-node".into()]);
        words.extend(self.playbooks().map(|path| format!("{folder}/{path}")));
        let file = |path: &String| format!("{folder}/{path}");
        let options = [
            ("--inventory", self.inventory.as_ref().map(file)),
            ("--notify", self.notify.as_ref().map(file)),
            ("--limit", self.limit.clone()),
            ("--fail-on", self.fail_on.map(|fail_on| if fail_on == FailOn::New { "new" } else { "any" }.to_owned())),
        ];
        for (option, value) in options {
            words.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
        }
        Schedule {
            name: self.name.clone(),
            program: LINK.into(),
            arguments: words,
            calendar: self.every.iter().map(str::to_owned).collect(),
            spread_s: calendar::seconds(&self.spread).unwrap_or_default(),
            timeout_s: calendar::seconds(&self.timeout).unwrap_or_default(),
            out: self.out.clone().unwrap_or_else(|| format!("{REPORTS}/{}", self.name)),
            place: Place::Node,
            run_as: RunAs::Root,
            homes: true,
            credentials: Vec::new(),
            mail: true,
        }
    }

    fn present(&self, seen: &Seen, copy: &Copy, installed: &Installed) -> Result<Verdict, String> {
        let pause_s = seen.pause_s.clone().map_err(|why| format!("`every`: {why}"))?;
        let own = own_program().map_err(|why| format!("this program cannot be copied: {why}"))?;
        let mut program = own_program::Work::new(None);
        own_program::install(&mut program, installed, own)?;
        let (mut words, mut diff) = (Vec::new(), String::new());
        if !program.steps.is_empty() {
            words.push(format!("install converge ({})", program.why.first().unwrap_or(&"not linked")));
        }
        diff.push_str(&program.diff);
        let mut steps = program.steps;

        let folder = folder::bring(copy, &seen.folder)?;
        words.extend(folder.words);
        diff.push_str(&folder.diff);
        steps.extend(folder.steps);

        let units = units::install(&self.schedule(pause_s), &self.target(), &seen.units)?;
        words.extend(units.words);
        diff.push_str(&units.diff);
        steps.extend(units.steps);

        let mut clear = own_program::Work::new(None);
        own_program::clear(&mut clear, installed, own);
        words.extend((!clear.steps.is_empty()).then(|| "remove an old version of converge".to_owned()));
        diff.push_str(&clear.diff);
        steps.extend(clear.steps);

        let mut verdict = match steps.is_empty() {
            true => {
                let next = seen.units.shown.as_ref().and_then(|shown| shown.next());
                let next = next.map_or_else(String::new, |at| format!("; next {at}"));
                Verdict::ok(format!("converge-{} looks {}{next}", self.name, self.every.0.join(", ")))
            }
            false => Verdict::drift(words.join(", "), diff, steps),
        };
        for warning in units.warnings {
            verdict = verdict.warn(warning);
        }
        Ok(verdict)
    }

    fn absent(&self, seen: &Seen) -> Result<Verdict, String> {
        let units = units::remove(&self.target(), &seen.units)?;
        let folder = folder::take_away(&seen.folder);
        let (mut words, mut steps) = (units.words, units.steps);
        let diff = units.diff + &folder.diff;
        words.extend(folder.words);
        steps.extend(folder.steps);
        let mut verdict = match steps.is_empty() {
            true => Verdict::ok(format!("there is no schedule {}", self.name)),
            false => Verdict::drift(words.join(", "), diff, steps),
        };
        for warning in units.warnings {
            verdict = verdict.warn(warning);
        }
        Ok(verdict)
    }
}

impl Task for DriftSchedule {
    const KIND: &'static str = "drift_schedule";
    const EXAMPLE: &'static str = "\
- name: The cluster says by itself what is no longer as described
  drift_schedule:
    src: playbooks/
    playbooks: drbd-nfs.yml
    every: daily
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        faults.extend(name_of(&self.name).err().map(|why| ArgFault::at("name", why)));
        for (field, span) in [("spread", &self.spread), ("timeout", &self.timeout)] {
            faults.extend(calendar::seconds(span).err().map(|why| ArgFault::at(field, why)));
        }
        if self.state == Presence::Present {
            if self.src.is_none() {
                let help = "`src: site/`, the folder of the workstation that holds them";
                faults.push(ArgFault::task("`src` is missing: where the playbooks are").help(help));
            }
            if self.playbooks().next().is_none() {
                let help = "`playbooks: site.yml`, by their paths in `src`";
                faults.push(ArgFault::task("`playbooks` is missing: what is to be looked at").help(help));
            }
        }
        for (field, path) in self.named() {
            if path.is_empty() || path.starts_with(['/', '-', '~']) || path.split('/').any(|part| part == "..") {
                faults.push(ArgFault::at(field, format!("`{path}` is no path in the folder `src`")));
            }
        }
        // What cannot stand in a unit file.
        if faults.is_empty() {
            faults.extend(self.schedule(0).faults().into_iter().map(ArgFault::task));
        }
        if self.copy.is_some() {
            faults.push(ArgFault::at("copy", "unknown field `copy`"));
        }
        faults
    }

    fn resolve(&mut self, from: &dyn Workstation) -> Result<(), ResolveError> {
        let (Presence::Present, Some(src)) = (self.state, &self.src) else { return Ok(()) };
        let mut copy = folder::copy(&format!("{}/", src.trim_end_matches('/')), &self.folder());
        copy.resolve(from)?;
        if let Some((field, path)) = self.named().find(|(_, path)| !folder::has(&copy, path)) {
            return Err(ResolveError::Fault(format!("`{field}`: there is no `{path}` in {src}")));
        }
        self.copy = Some(copy);
        Ok(())
    }

    fn object(&self) -> String {
        format!("converge-{}.timer", self.name)
    }

    fn trails(&self) -> Vec<Trail> {
        ["service", "timer"].map(|kind| Trail::File(self.target().path(kind))).into()
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let out = self.out.as_deref();
        let units = units::look(host, &self.target(), out)?;
        let folder = folder::look(host, &self.folder(), self.copy.as_ref())?;
        if self.state == Presence::Absent {
            return Ok(Seen { units, program: None, folder, pause_s: Ok(0) });
        }
        let times: Vec<&str> = self.every.iter().collect();
        Ok(Seen { units, program: Some(own_program::look(host)?), folder, pause_s: calendar::pause(host, &times) })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let decided = match (&self.copy, &seen.program, self.state) {
            (Some(copy), Some(program), Presence::Present) => self.present(seen, copy, program),
            (_, _, Presence::Absent) => self.absent(seen),
            _ => Err("the playbooks were not read on the workstation".to_owned()),
        };
        decided.unwrap_or_else(Verdict::blocked)
    }
}

#[cfg(test)]
mod tests;
