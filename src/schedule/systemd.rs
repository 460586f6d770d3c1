//! What systemd says of a schedule's units, in the words of those who ask. An empty answer is "not yet", never "good".

use crate::host::{LookError, Probe, Query, Topic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const TIMER_KEYS: &str = "LoadState,ActiveState,UnitFileState,NextElapseUSecRealtime,LastTriggerUSec,NeedDaemonReload,\
                          FragmentPath,DropInPaths";
const SERVICE_KEYS: &str = "LoadState,ActiveState,Result,ExecMainCode,ExecMainStatus,ExecMainStartTimestamp,\
                            ExecMainExitTimestamp,NeedDaemonReload,FragmentPath,DropInPaths";

/// `systemctl`, of the machine or of a user.
pub fn systemctl(own: bool, words: &[&str]) -> Vec<String> {
    let user = own.then_some("--user");
    ["systemctl"].into_iter().chain(user).chain(words.iter().copied()).map(str::to_owned).collect()
}

/// What `systemctl show` says of a timer and its service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub timer: BTreeMap<String, String>,
    pub service: BTreeMap<String, String>,
}

pub fn queries(name: &str, own: bool) -> [Query; 2] {
    [("timer", TIMER_KEYS), ("service", SERVICE_KEYS)].map(|(kind, keys)| {
        let unit = format!("converge-{name}.{kind}");
        Query::new(Topic::Unit(unit.clone()), systemctl(own, &["show", &unit, "-p", keys]))
    })
}

/// # Errors
/// When systemd did not answer.
pub fn show(host: &dyn Probe, name: &str, own: bool) -> Result<Shown, LookError> {
    let ask = |query: &Query| {
        let output = host.query(query)?;
        if output.rc != 0 {
            return Err(LookError::cannot_tell(format!("`{}`", query.argv.join(" ")), output.complaint()));
        }
        Ok(parse(&output.stdout))
    };
    let [timer, service] = queries(name, own);
    Ok(Shown { timer: ask(&timer)?, service: ask(&service)? })
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

fn value<'a>(map: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    map.get(key).map(String::as_str).filter(|value| !matches!(*value, "" | "n/a" | "0" | "[not set]"))
}

impl Shown {
    pub fn is_enabled(&self) -> bool {
        self.timer.get("UnitFileState").is_some_and(|state| state == "enabled")
    }

    pub fn is_waiting(&self) -> bool {
        self.timer.get("ActiveState").is_some_and(|state| state == "active")
    }

    pub fn needs_reload(&self) -> bool {
        [&self.timer, &self.service].iter().any(|map| map.get("NeedDaemonReload").is_some_and(|v| v == "yes"))
    }

    pub fn is_known(&self) -> bool {
        [&self.timer, &self.service].iter().all(|map| map.get("LoadState").is_some_and(|state| state == "loaded"))
    }

    pub fn next(&self) -> Option<&str> {
        value(&self.timer, "NextElapseUSecRealtime")
    }

    /// When the timer last went off, also before this boot.
    pub fn last(&self) -> Option<&str> {
        value(&self.timer, "LastTriggerUSec").or_else(|| value(&self.service, "ExecMainStartTimestamp"))
    }

    pub fn drop_ins(&self) -> Vec<&str> {
        [&self.timer, &self.service].iter().filter_map(|map| value(map, "DropInPaths")).collect()
    }

    pub fn is_running(&self) -> bool {
        self.service.get("ActiveState").is_some_and(|state| state == "activating")
    }

    /// How the last run ended, and what that means.
    pub fn ended(&self) -> String {
        if self.is_running() {
            return "a run is under way".to_owned();
        }
        let Some(result) = value(&self.service, "Result") else {
            return "cannot tell: systemd does not say".to_owned();
        };
        if value(&self.service, "ExecMainStartTimestamp").is_none() {
            return match result {
                "success" => "no run since this machine booted".to_owned(),
                other => format!("the program could not be started ({other})"),
            };
        }
        let status = self.service.get("ExecMainStatus").and_then(|text| text.parse::<i32>().ok());
        // 1 is CLD_EXITED of waitid(2); others are signals.
        let exited = self.service.get("ExecMainCode").is_some_and(|code| code == "1");
        match (result, status) {
            ("timeout", _) => "it took too long and was ended".to_owned(),
            ("oom-kill", _) => "it was ended for lack of memory".to_owned(),
            (_, Some(status)) if exited => format!("exit {status}: {}", meaning(status)),
            (_, Some(signal)) => format!("ended by signal {signal} ({result})"),
            (other, None) => format!("cannot tell: {other}"),
        }
    }
}

/// An exit code in words.
pub fn meaning(code: i32) -> &'static str {
    match u8::try_from(code) {
        Ok(0) => "nothing to report, or another node's turn",
        Ok(1) => "a task failed or was blocked",
        Ok(2) => "a fault in the playbook, the inventory or the command line",
        Ok(3) => "drift was found",
        Ok(4) => "a host could not be reached",
        // systemd.exec(5): what happens before the program begins.
        Ok(200..=244) => "systemd could not set up what the unit asks for; see the journal",
        _ => "this program knows no such end",
    }
}
