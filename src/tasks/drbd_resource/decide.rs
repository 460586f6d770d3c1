//! The picture of all nodes, and who gets which verdict from it.

use super::local::{self, Next};
use super::look::Seen;
use super::{DrbdResource, data, overall, words};
use crate::drbd::compare::{Reach, differences};
use crate::drbd::resource::Resource;
use crate::host::LookError;
use crate::tasks::{Meanwhile, Observation, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// One host of `on`, as far as it is known.
pub struct Node<'a> {
    /// The key of its verdict.
    pub key: &'a str,
    /// Its name in `on`.
    pub name: &'a str,
    pub seen: Result<&'a Seen, &'a LookError>,
    /// The resource in its file as it is.
    pub described: Option<Result<Resource, String>>,
    /// It can still be changed in this run.
    pub acts: bool,
}

impl Node<'_> {
    pub fn ok(&self) -> Option<&Seen> {
        self.seen.ok()
    }

    pub fn status(&self) -> Option<&crate::drbd::status::Resource> {
        self.ok()?.status()
    }
}

/// Everything decisions rest on.
pub struct Picture<'a> {
    pub task: &'a DrbdResource,
    pub wanted: Resource,
    pub text: String,
    pub nodes: Vec<Node<'a>>,
}

impl<'a> Picture<'a> {
    pub fn node(&self, name: &str) -> Option<&Node<'a>> {
        self.nodes.iter().find(|n| n.name == name)
    }

    pub fn unreachable(&self) -> Vec<String> {
        // A node that answers, but not about DRBD, tells as little as one that does not answer.
        let why = |n: &Node<'_>| match n.seen {
            Err(error) => Some(format!("{} ({error})", n.name)),
            Ok(seen) => seen.runtime.as_ref()?.status.as_ref().err().map(|e| format!("{} ({e})", n.name)),
        };
        self.nodes.iter().filter_map(why).collect()
    }
}

pub fn decide(
    task: &DrbdResource,
    all: &BTreeMap<String, Observation<Seen>>,
    acting: &BTreeSet<String>,
) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut nodes: Vec<Node<'_>> = Vec::new();
    for (key, seen) in all {
        let by_uname = seen.as_ref().ok().and_then(|s| task.on.get_key_value(&s.uname));
        let Some((name, _)) = by_uname.or_else(|| task.on.get_key_value(key)) else {
            verdicts.insert(key.clone(), stranger(task, key, seen));
            continue;
        };
        let described = seen.as_ref().ok().and_then(|s| s.described(&task.name));
        nodes.push(Node { key, name, seen: seen.as_ref(), described, acts: acting.contains(key) });
    }
    let missing: Vec<&str> =
        task.on.keys().map(String::as_str).filter(|name| !nodes.iter().any(|n| n.name == *name)).collect();
    let picture = Picture { task, wanted: task.resource(), text: task.text(), nodes };
    let reason = if missing.is_empty() {
        refused_change(&picture)
    } else {
        Some(format!(
            "{} in `on` of {}, but not among the hosts of this play: a decision over all its nodes is not possible",
            words::are(&missing),
            task.name
        ))
    };
    let found = match reason {
        Some(reason) => {
            let block = |n: &Node<'_>| match n.seen {
                Ok(_) => Verdict::blocked(&reason),
                Err(error) => Verdict::blocked(error.to_string()),
            };
            picture.nodes.iter().map(|n| (n.key.to_owned(), block(n))).collect()
        }
        None => step_by_step(&picture),
    };
    verdicts.extend(found);
    add_warnings(&picture, &mut verdicts);
    verdicts
}

/// A host of the play that has no part in the resource.
fn stranger(task: &DrbdResource, key: &str, seen: &Observation<Seen>) -> Verdict {
    match seen {
        Err(error) => Verdict::blocked(error.to_string()),
        Ok(seen) => {
            let verdict = Verdict::ok(format!("not a host of {}", task.name));
            match &seen.file {
                Some(_) => {
                    verdict.warn(format!("{key} has {}, but `on` does not name it (nor {})", task.path(), seen.uname))
                }
                None => verdict,
            }
        }
    }
}

/// Node-ids, disks, minors and names belong to the metadata on the disks. While there is data, or may be, they stay.
pub fn refused_change(picture: &Picture<'_>) -> Option<String> {
    let mut changes: Vec<String> = Vec::new();
    for node in &picture.nodes {
        let found = match (&node.described, node.status()) {
            (Some(Ok(old)), _) => identity(old, &picture.wanted),
            // The file is gone or unreadable, and the kernel knows better.
            (_, Some(running)) => words::against_running(&picture.wanted, node.name, running),
            _ => Vec::new(),
        };
        changes.extend(found.into_iter().filter(|text| !changes.contains(text)).collect::<Vec<_>>());
    }
    if changes.is_empty() {
        return None;
    }
    let mut live: Vec<String> = Vec::new();
    for node in &picture.nodes {
        match node.seen {
            Err(error) => live.push(format!("{} cannot be asked ({error})", node.name)),
            Ok(seen) if seen.status().is_some() => live.push(format!("it is up on {}", node.name)),
            Ok(seen) => live.extend(data::may_hold_data(seen).map(|why| format!("{}: {why}", node.name))),
        }
    }
    if live.is_empty() {
        return None;
    }
    Some(format!(
        "refused: {}. Metadata and data were written for the resource as it is ({}). To change this, move the data \
         elsewhere, or take the resource down and rebuild it by hand",
        changes.join("; "),
        live.join("; ")
    ))
}

fn identity(old: &Resource, new: &Resource) -> Vec<String> {
    differences(old, new).into_iter().filter(|d| d.reach == Reach::Identity).map(|d| d.text).collect()
}

/// Each node takes its own next step; when nobody has one left, what concerns all is decided.
fn step_by_step(picture: &Picture<'_>) -> BTreeMap<String, Verdict> {
    let nexts: Vec<(&Node<'_>, Next)> = picture
        .nodes
        .iter()
        .map(|node| match node.seen {
            Ok(seen) => match local::next(picture, node, seen) {
                // Nobody waits for a host that cannot act any more.
                Next::Act(_) if !node.acts => (node, Next::Stop(words::out_of_run(picture, node.name))),
                next => (node, next),
            },
            Err(error) => (node, Next::Stop(error.to_string())),
        })
        .collect();
    let stopped: BTreeMap<String, String> = nexts
        .iter()
        .filter_map(|(node, next)| match next {
            Next::Stop(why) => Some((node.name.to_owned(), why.clone())),
            _ => None,
        })
        .collect();
    if !nexts.iter().any(|(_, next)| matches!(next, Next::Act(_))) {
        return overall::decide(picture, &stopped);
    }
    if let Some(why) = overall::no_beginning(picture, &stopped) {
        let of = |node: &Node<'_>| Verdict::blocked(stopped.get(node.name).unwrap_or(&why));
        return picture.nodes.iter().map(|node| (node.key.to_owned(), of(node))).collect();
    }
    // Those who act in this round. Should one fail, the next look knows it; the wait ends in any case, and says whom for.
    let pending: Vec<&str> =
        nexts.iter().filter(|(_, next)| matches!(next, Next::Act(_))).map(|(node, _)| node.name).collect();
    let mut aside = stopped.clone();
    let connecting = pending.iter().filter(|name| picture.node(name).is_some_and(local::connects));
    aside.extend(connecting.map(|name| ((*name).to_owned(), "its connections are being made".to_owned())));
    let cured = aside.len() > stopped.len();
    let pending = format!("{} not as described yet", words::are(&pending));
    let source = overall::foreseen_source(picture, &nexts);
    nexts
        .into_iter()
        .map(|(node, next)| {
            let trouble = overall::trouble(picture, node, &aside);
            let verdict = match next {
                Next::Act(verdict) => {
                    let verdict = local::announce(picture, node, *verdict, source.as_deref());
                    // Its own plan is there to cure it.
                    match trouble.filter(|_| !aside.contains_key(node.name) && local::is_about_the_file(&verdict)) {
                        Some(what) => verdict.warn(what),
                        None => verdict,
                    }
                }
                Next::Stop(why) => Verdict::blocked(why),
                Next::Settled if source.as_deref() == Some(node.name) => {
                    Verdict::wait(format!("becomes the first source when the others are ready; {pending}"), 30, 1, None)
                        .meanwhile(Meanwhile::Changes)
                }
                Next::Settled => match trouble {
                    None => Verdict::wait(&pending, 30, 1, None),
                    // What the others are about to do may help.
                    Some(what) if cured => Verdict::wait(&pending, 30, 1, None).warn(what),
                    Some(what) => Verdict::wait(what, 30, 1, None).meanwhile(Meanwhile::Trouble),
                },
            };
            (node.key.to_owned(), verdict)
        })
        .collect()
}

/// What is worth telling besides, whatever was decided. What concerns the description stands once, at the host with
/// the lowest node-id that could be asked.
fn add_warnings(picture: &Picture<'_>, verdicts: &mut BTreeMap<String, Verdict>) {
    let mut speakers: Vec<&Node<'_>> = picture.nodes.iter().filter(|n| n.seen.is_ok()).collect();
    speakers.sort_by_key(|n| picture.task.on.get(n.name).map(|h| h.node_id));
    for (index, node) in speakers.into_iter().enumerate() {
        let Some(verdict) = verdicts.get_mut(node.key) else { continue };
        let mut warnings = if index == 0 { picture.task.warnings() } else { Vec::new() };
        if let Some(seen) = node.ok() {
            warnings.extend(words::unstable_disks(seen));
            warnings.extend(seen.others.iter().filter_map(|other| {
                let fault = other.resources.as_ref().err()?;
                Some(format!("{}: {fault}: every drbdadm command fails because of it", other.path))
            }));
        }
        warnings.append(&mut verdict.warnings);
        verdict.warnings = warnings;
    }
}
