//! The next step of one node: its file, its metadata, its runtime state. Nothing here needs the others' consent,
//! only their word that it does no harm.

use super::decide::{Node, Picture};
use super::interruption::{interrupted, interruption, quorum_for_lonely_primary, refused_activation};
use super::look::{Runtime, Seen, blkid, devices_of};
use super::refuse::{bad_disk, collision, has_metadata, is_attached, wrong_name};
use super::{FirstSync, State, words};
use crate::drbd::compare::differences;
use crate::drbd::gi;
use crate::drbd::plan::{Class, Plan};
use crate::drbd::words::{ConnectionState, DiskState, Role};
use crate::host::{Action, Bytes, Effect, Guard, Query, Step, Topic};
use crate::tasks::{Decision, Verdict, diff, drbd_options};

/// What a node does next.
pub enum Next {
    Stop(String),
    Act(Box<Verdict>),
    /// As described, as far as one node can tell.
    Settled,
}

pub fn next(picture: &Picture<'_>, node: &Node<'_>, seen: &Seen) -> Next {
    // Each answers `None` where it has nothing to say; the first word counts. Refusals come before the first change.
    let found = wrong_name(picture, node, seen)
        .or_else(|| collision(picture, node, seen))
        .or_else(|| bad_disk(picture, node, seen))
        .or_else(|| file(picture, node, seen))
        .or_else(|| module(picture, seen));
    if let Some(next) = found {
        return next;
    }
    let Some(runtime) = &seen.runtime else { return Next::Stop("DRBD 9 is not loaded".into()) };
    if let Err(why) = &runtime.status {
        return Next::Stop(format!("the state of DRBD cannot be told: {why}"));
    }
    if picture.task.state == State::Down {
        return down(picture, seen).unwrap_or(Next::Settled);
    }
    metadata(picture, node, seen)
        .or_else(|| stand_alone(picture, node, seen))
        .or_else(|| adjust(picture, node, seen, runtime))
        .unwrap_or(Next::Settled)
}

fn act(verdict: Verdict) -> Option<Next> {
    Some(Next::Act(Box::new(verdict)))
}

pub fn stop(why: impl Into<String>) -> Option<Next> {
    Some(Next::Stop(why.into()))
}

/// The file, written where it differs in meaning; a file that only looks different is left alone.
fn file(picture: &Picture<'_>, node: &Node<'_>, seen: &Seen) -> Option<Next> {
    let task = picture.task;
    let path = task.path();
    let before = seen.file.as_ref();
    let mode = if task.has_secret() { 0o600 } else { 0o644 };
    let changes = match &node.described {
        Some(Ok(old)) => differences(old, &picture.wanted),
        _ => Vec::new(),
    };
    let same = matches!(&node.described, Some(Ok(_)) if changes.is_empty());
    if same {
        // 0640 or 0600 is fine for a file without secrets; one with a secret must not be readable to others.
        let open = before.filter(|f| task.has_secret() && f.mode & 0o077 != 0)?;
        let step = Action::SetAttributes { path: path.clone(), mode: Some(mode), owner: None, group: None };
        let text = format!("--- {path}\n+++ {path}\n-mode {:04o}\n+mode {mode:04o}\n", open.mode);
        return act(Verdict::stage(format!("hide {path}, which holds a secret"), text, vec![step.into()]));
    }
    let summary = match &node.described {
        None => format!("write {path}"),
        Some(Err(fault)) => format!("replace {path}, which cannot be read: {fault}"),
        Some(Ok(_)) => {
            let shown: Vec<&str> = changes.iter().take(4).map(|c| c.text.as_str()).collect();
            let more = changes.len().saturating_sub(shown.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("change {path}: {}{more}", shown.join("; "))
        }
    };
    // A file that must not take effect is not written: the next `drbdadm adjust`, by whomever, would be the harm.
    if let Some(why) = refused_activation(picture) {
        return stop(why);
    }
    let shown = drbd_options::masked(&picture.text);
    let diff = match before {
        Some(old) => diff::unified(&path, &drbd_options::masked(&old.text), &shown),
        None => diff::created(&path, &shown),
    };
    let write = Action::WriteFile {
        path: path.clone(),
        content: Bytes(picture.text.clone().into_bytes()),
        mode: Some(mode),
        owner: Some("root".into()),
        group: Some("root".into()),
        // Tests the new file together with all others: one broken file breaks every drbdadm command.
        validate: Some(
            ["drbdadm", "--config-to-test", "%s", "--config-to-exclude", &path, "sh-nop"].map(str::to_owned).into(),
        ),
        backup: false,
    };
    act(Verdict::stage(summary, diff, vec![unsettling(picture, seen, write.into())]))
}

fn module(picture: &Picture<'_>, seen: &Seen) -> Option<Next> {
    if seen.module_is_9() {
        return None;
    }
    let found = seen.module_found.as_deref().map(|v| format!("; modprobe would load {v}")).unwrap_or_default();
    Some(match &seen.module {
        // Nothing is up without a module.
        None if picture.task.state == State::Down => Next::Settled,
        None => Next::Stop(format!("the DRBD module is not loaded{found}: let a drbd_module task come first")),
        Some(version) => {
            Next::Stop(format!("DRBD {version} is loaded, and 9 is needed{found}: let a drbd_module task come first"))
        }
    })
}

fn down(picture: &Picture<'_>, seen: &Seen) -> Option<Next> {
    seen.status()?;
    let name = &picture.task.name;
    if let Some(primary) = picture.nodes.iter().find(|n| n.status().is_some_and(|s| s.role == Role::Primary)) {
        return stop(format!("{} is Primary: {name} is in use; stop what uses it first", primary.name));
    }
    let silent = picture.unreachable();
    if !silent.is_empty() {
        return stop(format!("{name} may be in use on {}, which cannot be asked", silent.join(", ")));
    }
    let step = unsettling(picture, seen, Step::run(["drbdadm", "down", name]));
    act(Verdict::stage(format!("take {name} down"), "", vec![step]))
}

/// create-md on disks that are blank, asked again right before.
fn metadata(picture: &Picture<'_>, node: &Node<'_>, seen: &Seen) -> Option<Next> {
    let here = picture.wanted.host(node.name)?;
    let mut steps = Vec::new();
    let mut names = Vec::new();
    for number in picture.wanted.volume_numbers() {
        let devices = devices_of(&picture.wanted, here, number);
        if devices.is_empty() || is_attached(seen, number) || has_metadata(seen, &devices) {
            continue;
        }
        let peers = format!("--max-peers={}", picture.task.max_peers);
        let mut step = Step::run(["drbdadm", "create-md", &peers, &picture.task.volume_name(number)]);
        for path in &devices {
            step.guards.push(Guard {
                query: blkid(path),
                rc: 2,
                stdout: Some(String::new()),
                reason: format!("{path} is not blank any more"),
            });
            // blkid's 2 also means "could not open": the device must answer for itself as well.
            let size = Query::new(Topic::Device(path.clone()), ["blockdev", "--getsize64", path]);
            step = step.guard(size, 0, format!("{path} cannot be opened"));
            step.effects.push(Effect::Unsettles { topic: Topic::Device(path.clone()) });
        }
        names.extend(devices);
        steps.push(unsettling(picture, seen, step));
    }
    if steps.is_empty() {
        return None;
    }
    act(Verdict::stage(format!("create metadata on {}, which is blank", names.join(", ")), "", steps))
}

/// A StandAlone peer is reconnected only when both generations prove that nothing is lost by it.
fn stand_alone(picture: &Picture<'_>, node: &Node<'_>, seen: &Seen) -> Option<Next> {
    let status = seen.status()?;
    for connection in status.connections.iter().filter(|c| c.connection_state == ConnectionState::StandAlone) {
        let peer = picture.node(&connection.name);
        let theirs = match peer.map(|p| p.seen) {
            Some(Ok(theirs)) => theirs,
            Some(Err(error)) => {
                return stop(format!(
                    "StandAlone towards {}, which cannot be asked ({error}): it may be a split brain, so nothing is reconnected",
                    connection.name
                ));
            }
            None => return stop(format!("StandAlone towards {}, which is no host of this resource", connection.name)),
        };
        for number in picture.wanted.volume_numbers() {
            let lines = |s: &Seen| -> Result<Vec<gi::Generation>, String> {
                match s.runtime.as_ref().and_then(|r| r.generations.get(&number)) {
                    Some(Ok(gi)) => Ok(gi.lines.clone()),
                    Some(Err(why)) => Err(why.clone()),
                    None => Err("no metadata".into()),
                }
            };
            let relation = match (lines(seen), lines(theirs)) {
                (Ok(a), Ok(b)) => gi::relation(&a, &b),
                // A host without a disk has no data that could differ.
                _ if is_diskless(picture, node.name, number) || is_diskless(picture, &connection.name, number) => {
                    Some(gi::Relation::Fresh)
                }
                (Err(why), _) | (_, Err(why)) => {
                    return stop(format!(
                        "StandAlone towards {}, and the generations of the data cannot be compared ({why}): it may be a \
                         split brain, so nothing is reconnected",
                        connection.name
                    ));
                }
            };
            if let Some(words) = words::split_brain(picture, node.name, &connection.name, relation) {
                return stop(words);
            }
        }
    }
    None
}

fn is_diskless(picture: &Picture<'_>, name: &str, number: u32) -> bool {
    picture.wanted.host(name).is_some_and(|h| devices_of(&picture.wanted, h, number).is_empty())
}

/// What `drbdadm -d adjust` would do, as far as it may be done.
fn adjust(picture: &Picture<'_>, node: &Node<'_>, seen: &Seen, runtime: &Runtime) -> Option<Next> {
    let name = &picture.task.name;
    let plan = match &runtime.plan {
        None => return stop(format!("drbdadm was not asked about {name}: its file does not name this host")),
        Some(Err(why)) => return stop(why.clone()),
        Some(Ok(plan)) => plan,
    };
    let class = match (plan.class(), seen.status()) {
        (Some(class), _) => class,
        (None, Some(_)) => return None,
        // An empty list while the resource is not up: drbdadm and the kernel disagree.
        (None, None) => return stop(format!("{name} is not up, and drbdadm has nothing to adjust")),
    };
    match class {
        Class::Dangerous => {
            let lines: Vec<&str> = plan.of(Class::Dangerous).map(|l| l.text.as_str()).collect();
            return stop(format!(
                "the running resource differs from its file in a way that adjusting would take away a disk or a peer: {}. \
                 Look why, and do it by hand if it is meant",
                lines.join("; ")
            ));
        }
        Class::Network => {
            if let Some(why) = interruption(picture, &interrupted(picture)) {
                return stop(why);
            }
        }
        Class::Benign | Class::BringUp => {
            let sets_quorum = plan.lines.iter().any(|l| l.verb == "resource-options");
            if let Some(why) = quorum_for_lonely_primary(picture, node).filter(|_| sets_quorum) {
                return stop(why);
            }
        }
    }
    let summary = match (seen.status(), class) {
        (None, _) => format!("bring {name} up"),
        (Some(_), Class::Benign) => format!("adjust options of the running {name}"),
        (Some(status), Class::BringUp) if plan.lines.iter().any(|l| l.verb == "attach") && is_detached(status) => {
            format!("attach the disk of {name} again: it is Diskless here, as after an I/O error")
        }
        (Some(_), Class::BringUp) => format!("complete {name}: {}", verbs(plan)),
        (Some(_), _) => format!("adjust {name}, interrupting connections: {}", verbs(plan)),
    };
    let diff = plan.lines.iter().map(|l| format!("+{}\n", l.text)).collect::<String>();
    let diff = format!("--- running {name} on {}\n+++ {}\n{diff}", node.name, picture.task.path());
    let step = unsettling(picture, seen, Step::run(["drbdadm", "adjust", name]));
    act(Verdict::stage(summary, diff, vec![step]))
}

fn is_detached(status: &crate::drbd::status::Resource) -> bool {
    status.devices.iter().any(|d| d.disk_state == DiskState::Diskless)
}

fn verbs(plan: &Plan) -> String {
    let mut verbs: Vec<&str> = plan.lines.iter().map(|l| l.verb.as_str()).collect();
    verbs.dedup();
    verbs.join(", ")
}

/// The next step is the file; it cures nothing that is wrong with what runs.
pub fn is_about_the_file(verdict: &Verdict) -> bool {
    let about = |step: &Step| matches!(step.action, Action::WriteFile { .. } | Action::SetAttributes { .. });
    matches!(&verdict.decision, Decision::Drift(change) if change.steps.iter().all(about))
}

/// What this node is about to do makes connections, once its file is right.
pub fn connects(node: &Node<'_>) -> bool {
    let Some(runtime) = node.ok().and_then(|seen| seen.runtime.as_ref()) else { return true };
    let makes = |plan: &Plan| {
        let verbs = ["new-resource", "new-peer", "new-path", "connect", "disconnect", "del-path"];
        plan.lines.iter().any(|line| verbs.contains(&line.verb.as_str()))
    };
    node.status().is_none() || matches!(&runtime.plan, Some(Ok(plan)) if makes(plan))
}

/// Names what follows upon this stage and cannot be taken back, so that a check shows it before the first change.
pub fn announce(picture: &Picture<'_>, node: &Node<'_>, verdict: Verdict, source: Option<&str>) -> Verdict {
    let task = picture.task;
    let (Some(here), Some(seen)) = (picture.wanted.host(node.name), node.ok()) else { return verdict };
    if task.state == State::Down {
        return verdict;
    }
    let mut then = Vec::new();
    let blank: Vec<String> = picture
        .wanted
        .volume_numbers()
        .into_iter()
        .map(|number| (number, devices_of(&picture.wanted, here, number)))
        .filter(|(number, devices)| !is_attached(seen, *number) && !has_metadata(seen, devices))
        .flat_map(|(_, devices)| devices)
        .collect();
    let runs = |verb: &str| {
        let is =
            |step: &Step| matches!(&step.action, Action::Run { argv, .. } if argv.get(1).is_some_and(|w| w == verb));
        matches!(&verdict.decision, Decision::Drift(change) if change.steps.iter().any(is))
    };
    if !blank.is_empty() && !runs("create-md") {
        then.push(format!("metadata is created on {}, which is blank", blank.join(", ")));
    }
    if !runs("adjust") {
        match seen.status() {
            None => then.push(format!("{} is brought up", task.name)),
            Some(_) if !blank.is_empty() => then.push(format!("the disk of {} is attached", task.name)),
            Some(_) => {}
        }
    }
    if source == Some(node.name) {
        then.push(match task.first_sync {
            FirstSync::Skip => {
                format!("{} becomes the first source: the disks are declared equal, without a first sync", node.name)
            }
            _ => format!("{} becomes the first source, to be copied to the others", node.name),
        });
    }
    if then.is_empty() { verdict } else { verdict.warn(format!("then: {}", then.join("; "))) }
}

/// After this step the resource answers otherwise, and its device may be there.
fn unsettling(picture: &Picture<'_>, seen: &Seen, mut step: Step) -> Step {
    let name = picture.task.name.clone();
    let mut topics = vec![Topic::Drbd(name.clone())];
    topics.extend(picture.task.devices().into_values().map(Topic::Device));
    step.effects.extend(topics.into_iter().map(|topic| Effect::Unsettles { topic }));
    if seen.status().is_none() {
        step.effects.push(Effect::MayBring { what: format!("the DRBD resource {name}") });
    }
    step
}
