//! What a change on the Proxmox API demands of the login, and what of that the login lacks.
//!
//! It changes no verdict: whether a run ends for it is for those who run it to say.

use super::cluster::CLUSTER;
use super::{AnyTask, Observation};
use crate::host::{LookError, Probe};
use crate::pve::permissions::{Held, Permissions, ROOT};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

/// One right that a change needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    pub need: Need,
    /// What it is needed for, after "to": `set memory`.
    pub to: String,
    /// Whether this version of Proxmox VE is known to ask for it.
    pub certain: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Any one of these privileges on the path.
    Privilege { path: String, any: Vec<String> },
    /// root@pam itself, logged in by password; no role gives it.
    Root,
}

impl Right {
    pub fn to(to: impl Into<String>, path: impl Into<String>, privilege: &str) -> Self {
        Self::any(to, path, &[privilege])
    }

    pub fn any(to: impl Into<String>, path: impl Into<String>, any: &[&str]) -> Self {
        let any = any.iter().map(|name| (*name).to_owned()).collect();
        Self { need: Need::Privilege { path: path.into(), any }, to: to.into(), certain: true }
    }

    pub fn root(to: impl Into<String>) -> Self {
        Self { need: Need::Root, to: to.into(), certain: true }
    }

    /// It may come to that, and need not.
    pub fn perhaps(self) -> Self {
        Self { certain: false, ..self }
    }

    /// `None`: nobody can tell whether this version asks for it.
    pub fn if_asked(self, asked: Option<bool>) -> Option<Self> {
        (asked != Some(false)).then(|| Self { certain: asked.is_some(), ..self })
    }
}

/// How sure it is that the login may not make a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sure {
    /// The change is certainly wanted, and the right is certainly not there.
    Certainly,
    /// What earlier tasks do, or what a version asks for, may make it otherwise.
    Perhaps,
    CannotTell,
}

/// Something that a task needs and the login lacks, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    pub sure: Sure,
    /// Right, path, what for.
    pub what: String,
    /// What to use instead.
    pub instead: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instead.as_str() {
            "" => f.write_str(&self.what),
            instead => write!(f, "{}; {instead}", self.what),
        }
    }
}

impl Lack {
    pub fn cannot_tell(what: impl Into<String>) -> Self {
        Self { sure: Sure::CannotTell, what: what.into(), instead: String::new() }
    }

    /// As a warning beside a change that a check foresees.
    pub fn as_warning(&self) -> String {
        match self.sure {
            Sure::Certainly => format!("an apply with this login is refused before its first change: {self}"),
            Sure::Perhaps => format!("an apply with this login may be refused here: {self}"),
            Sure::CannotTell => self.to_string(),
        }
    }
}

const ROOT_INSTEAD: &str = "log in with the password of root@pam, or run on a node with --on-node";

/// What the login behind the host `cluster` lacks for the change that a task wants by this look. Nobody is asked where
/// the login is root@pam itself, or where nothing is wanted. In a check any answer about the login's rights will do. An
/// apply, which began at `acting_since`, uses none from before, and asks anew where one would stop it: any task may have
/// granted what was lacking.
pub fn lacking(
    task: &dyn AnyTask,
    seen: &Observation<Json>,
    host: &dyn Probe,
    acting_since: Option<Instant>,
) -> Vec<Lack> {
    let Some(user) = host.api_user().filter(|user| user != ROOT && host.name() == CLUSTER) else { return Vec::new() };
    let rights = match seen {
        Ok(seen) => match task.rights_json(seen) {
            Ok(rights) => rights,
            Err(error) => {
                return vec![Lack::cannot_tell(format!("what {} needs cannot be told: {error}", task.kind()))];
            }
        },
        Err(LookError::Api { path, status: 403, message }) => {
            return vec![refused(&user, path, message, host, acting_since)];
        }
        Err(_) => Vec::new(),
    };
    let (reserved, others): (Vec<Right>, Vec<Right>) = rights.into_iter().partition(|r| r.need == Need::Root);
    let mut lacks = Vec::new();
    for (sure, to) in together(reserved.iter()) {
        let token = if user.contains('!') { " (no token ever is)" } else { "" };
        let what = format!("only {ROOT} itself may {to}, and the API is asked as {user}, which it is not{token}");
        lacks.push(Lack { sure, what, instead: ROOT_INSTEAD.into() });
    }
    if others.is_empty() {
        return lacks;
    }
    let now = Instant::now();
    let mut missed = permissions(host, acting_since).map(|held| missing(&user, &others, &held));
    let stops = |lacks: &Vec<Lack>| lacks.iter().any(|lack| lack.sure == Sure::Certainly);
    if acting_since.is_some() && missed.as_ref().is_ok_and(stops) {
        missed = permissions(host, Some(now)).map(|held| missing(&user, &others, &held));
    }
    match missed {
        Ok(missed) => lacks.extend(missed),
        Err(why) => {
            let needed: BTreeSet<String> = others.iter().filter_map(named).collect();
            lacks.push(Lack::cannot_tell(format!(
                "cannot tell whether {user} has the rights that are needed here ({}): {why}",
                needed.into_iter().collect::<Vec<_>>().join(", ")
            )));
        }
    }
    lacks
}

fn permissions(host: &dyn Probe, since: Option<Instant>) -> Result<Permissions, String> {
    let answer = host.api_permissions(since).map_err(|error| error.to_string())?;
    Permissions::from_answer(&answer).map_err(|why| format!("GET /access/permissions: {why}"))
}

/// `VM.Audit on /vms/101`.
fn named(right: &Right) -> Option<String> {
    match &right.need {
        Need::Privilege { path, any } => Some(format!("{} on {path}", any.join(" or "))),
        Need::Root => None,
    }
}

/// What several rights are needed for, by how sure that is.
fn together<'a>(rights: impl Iterator<Item = &'a Right>) -> BTreeMap<Sure, String> {
    let mut words: BTreeMap<Sure, Vec<&str>> = BTreeMap::new();
    for right in rights {
        let sure = if right.certain { Sure::Certainly } else { Sure::Perhaps };
        let list = words.entry(sure).or_default();
        if !list.contains(&right.to.as_str()) {
            list.push(&right.to);
        }
    }
    words.into_iter().map(|(sure, list)| (sure, list.join(", "))).collect()
}

/// One lack for each path, with the command that grants all that is missing there.
fn missing(user: &str, rights: &[Right], held: &Permissions) -> Vec<Lack> {
    let mut paths: BTreeMap<&str, Vec<(&Right, &Vec<String>)>> = BTreeMap::new();
    let (mut lacks, mut unknown) = (Vec::new(), Vec::new());
    for right in rights {
        let Need::Privilege { path, any } = &right.need else { continue };
        let answers: Vec<Held> = any.iter().map(|privilege| held.held(path, privilege)).collect();
        if answers.contains(&Held::Yes) {
            continue;
        }
        if answers.contains(&Held::Unknown) {
            unknown.extend(named(right));
            continue;
        }
        paths.entry(path).or_default().push((right, any));
    }
    if !unknown.is_empty() {
        let why = "the answer to GET /access/permissions does not say";
        lacks.push(Lack::cannot_tell(format!("cannot tell whether {user} has {}: {why}", unknown.join(", "))));
    }
    for (path, wanted) in paths {
        for sure in [Sure::Certainly, Sure::Perhaps] {
            let these: Vec<_> = wanted.iter().filter(|(right, _)| right.certain == (sure == Sure::Certainly)).collect();
            let Some(to) = together(these.iter().map(|(right, _)| *right)).remove(&sure) else { continue };
            let mut names: Vec<String> = these.iter().map(|(_, any)| any.join(" or ")).collect();
            names.sort();
            names.dedup();
            let what = format!("{user} lacks {} on {path} to {to}", names.join(", "));
            let privileges = these.iter().filter_map(|(_, any)| any.first()).map(String::as_str).collect();
            lacks.push(Lack { sure, what, instead: instead(user, path, &privileges, held) });
        }
    }
    lacks
}

fn instead(user: &str, path: &str, missing: &BTreeSet<&str>, held: &Permissions) -> String {
    let grant = held.grant(user, path, missing);
    // A token can do no more than its user, and with privilege separation also no more than was granted to itself.
    let of_user = match user.split_once('!') {
        Some((owner, _)) if owner != ROOT => {
            format!(
                " (and the same with --users '{owner}', unless that user has it: no token can do more than its user)"
            )
        }
        _ => String::new(),
    };
    format!("`{grant}` on a node grants it{of_user}")
}

/// The look itself was refused: `Permission check failed (PATH, PRIVILEGE|PRIVILEGE)`.
fn refused(user: &str, path: &str, message: &str, host: &dyn Probe, since: Option<Instant>) -> Lack {
    let inner = message.trim().strip_prefix("Permission check failed (").and_then(|rest| rest.split_once(')'));
    let named = inner.and_then(|(inner, _)| inner.split_once(", ")).filter(|(at, _)| at.starts_with('/'));
    let what = format!("{user} may not look (GET {path}: {})", message.trim());
    let held = named.and_then(|_| permissions(host, since).ok());
    let instead = match (named, held) {
        (Some((at, names)), Some(held)) => {
            let names: BTreeSet<&str> = names.split('|').take(1).flat_map(|all| all.split(", ")).collect();
            instead(user, at, &names, &held)
        }
        _ => ROOT_INSTEAD.to_owned(),
    };
    Lack { sure: Sure::Certainly, what, instead }
}
