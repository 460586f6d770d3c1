//! drbdsetup: talks to the kernel. Names a resource, or a minor where a device is meant.

use super::Run;
use super::action::Action;
use super::words::Words;
use crate::lab::drbd::state::{Disk, Link, Options, Path, Replication};
use serde_json::{Map, Value, json};

/// Longest simulated wait without a timeout; the real program would hang.
const PATIENCE_MS: u64 = 600_000;

pub fn run(run: &mut Run, args: &[String]) -> i32 {
    let words = Words::read(args, &["on-no-quorum", "quorum", "auto-promote", "auto-promote-timeout", "wfc-timeout"]);
    if let Some(rc) = run.refuses_84("drbdsetup") {
        return rc;
    }
    if words.has(&["version", "V"]) && words.words.is_empty() && !run.is_84() {
        let version = run.machines.utils_version(run.node);
        run.say(format!("DRBDSETUP_VERSION={version}\n"));
        return 0;
    }
    let Some((command, rest)) = words.words.split_first() else {
        run.complain("USAGE: drbdsetup command {arguments} [options]\n");
        return 20;
    };
    if run.is_84() {
        return under_84(run, command, &words);
    }
    if let Err(rc) = run.need_module() {
        return rc;
    }
    let first = rest.first().map_or("", String::as_str);
    match command.as_str() {
        "status" => status(run, rest.first(), words.has(&["json"])),
        "events2" if words.has(&["now"]) => {
            let newer = run.has_newer_tools();
            for name in chosen(run, rest.first()) {
                let text = run.fabric.events(run.node, &name, newer);
                run.say(text);
            }
            run.say("exists -\n");
            0
        }
        "events2" => {
            run.complain("drbdsetup: the lab simulates events2 with --now only\n");
            125
        }
        "show" => show(run, rest.first(), words.has(&["json"])),
        "role" => match run.fabric.resource(run.node, first).map(|r| r.role.as_str()) {
            Some(role) => {
                run.say(format!("{role}\n"));
                0
            }
            None => unknown(run, first),
        },
        "cstate" => cstate(run, first, rest.get(1)),
        "primary" | "secondary" => role(run, command, first, words.has(&["force"])),
        "down" => {
            let node = run.node.to_owned();
            match run.fabric.down(run.machines, &node, first) {
                Ok(()) => 0,
                Err(denied) => run.denied(first, &denied),
            }
        }
        "resource-options" => {
            let name = rest.iter().find(|w| run.fabric.resource(run.node, w).is_some()).cloned();
            resource_options(run, name.as_deref().unwrap_or(first), &words)
        }
        "connect" | "disconnect" | "del-peer" | "new-path" | "del-path" | "pause-sync" | "resume-sync" => {
            connection(run, command, rest, &words)
        }
        "wait-connect-resource" | "wait-sync-resource" => wait(run, command, first, &words),
        "dstate" | "detach" | "invalidate" | "verify" | "resize" | "check-resize" | "new-current-uuid" => {
            device(run, command, first, &words)
        }
        other => {
            run.complain(format!("drbdsetup: the lab does not simulate {other}\n"));
            125
        }
    }
}

fn under_84(run: &mut Run, command: &str, words: &Words) -> i32 {
    match command {
        "status" if words.has(&["json"]) => {
            run.say(
                "\nUSAGE: drbdsetup command device arguments options\n\nDevice is usually /dev/drbdX or /dev/drbd/X.\n",
            );
            run.complain("status: unrecognized option '--json'\n");
            20
        }
        "status" => 0,
        "events2" => {
            run.say("exists -\n");
            0
        }
        _ => {
            run.complain("invalid command\n");
            20
        }
    }
}

fn chosen(run: &Run, only: Option<&String>) -> Vec<String> {
    run.resource_list().into_iter().filter(|n| only.is_none_or(|o| o == n)).collect()
}

fn unknown(run: &mut Run, name: &str) -> i32 {
    run.complain(format!("{name}: Unknown resource\n"));
    10
}

fn status(run: &mut Run, only: Option<&String>, as_json: bool) -> i32 {
    let names = chosen(run, only);
    if as_json {
        if let (Some(name), true) = (only, names.is_empty()) {
            run.say("[\n]\n\n");
            run.complain(format!("{name}: No such resource\n"));
            return 10;
        }
        let text = run.fabric.status_json_document(run.node, only.map(String::as_str), run.has_newer_tools());
        run.say(text);
        return 0;
    }
    if run.resource_list().is_empty() {
        run.say("# No currently configured DRBD found.\n");
    }
    if let (Some(name), true) = (only, names.is_empty()) {
        run.complain(format!("{name}: No such resource\n"));
        return 10;
    }
    for name in names {
        let text = run.fabric.status_text(run.node, &name);
        run.say(text);
    }
    0
}

fn cstate(run: &mut Run, name: &str, id: Option<&String>) -> i32 {
    let id = id.and_then(|id| id.parse().ok()).unwrap_or(u32::MAX);
    match run.fabric.peer(run.node, name, id).map(|p| p.link.as_str()) {
        Some(word) => {
            run.say(format!("{word}\n"));
            0
        }
        None => {
            run.complain(format!("{name}: Failure: (158) Unknown resource\n{name}: No such connection\n"));
            10
        }
    }
}

fn role(run: &mut Run, command: &str, name: &str, force: bool) -> i32 {
    let node = run.node.to_owned();
    if run.fabric.resource(&node, name).is_none() {
        run.complain(format!("{name}: Failure: (158) Unknown resource\n"));
        return 10;
    }
    let done = match command {
        "primary" => run.fabric.promote(run.machines, &node, name, force, true),
        _ => run.fabric.demote(run.machines, &node, name, force),
    };
    match done {
        Ok(()) => 0,
        Err(refusal) => run.denied(name, &refusal.into()),
    }
}

fn resource_options(run: &mut Run, name: &str, words: &Words) -> i32 {
    let Some(resource) = run.fabric.resource_mut(run.node, name) else {
        run.complain(format!("{name}: Failure: (158) Unknown resource\n"));
        return 10;
    };
    if words.has(&["set-defaults"]) {
        resource.options.clear();
    }
    for (option, value) in &words.options {
        if option != "set-defaults" {
            resource.options.insert(option.clone(), value.clone().unwrap_or_else(|| "yes".into()));
        }
    }
    0
}

fn connection(run: &mut Run, command: &str, rest: &[String], words: &Words) -> i32 {
    let [name, id, more @ ..] = rest else {
        run.complain(format!("USAGE: drbdsetup {command} {{resource}} {{peer-node-id}}\n"));
        return 20;
    };
    let Ok(id) = id.parse::<u32>() else {
        run.complain(format!("'{id}' is not a node-id\n"));
        return 20;
    };
    let name = name.clone();
    let action = match (command, more) {
        ("connect", _) => Action::Connect { name, id, discard_my_data: words.has(&["discard-my-data"]) },
        ("disconnect", _) => Action::Disconnect { name, id },
        ("del-peer", _) => Action::DelPeer { name, id },
        ("new-path" | "del-path", [local, remote, ..]) => {
            let path = Path { local: local.clone(), remote: remote.clone() };
            if command == "new-path" { Action::NewPath { name, id, path } } else { Action::DelPath { name, id, path } }
        }
        ("pause-sync" | "resume-sync", _) => {
            match run.fabric.peer_mut(run.node, &name, id) {
                Some(peer) => peer.paused = command == "pause-sync",
                None => return unknown(run, &name),
            }
            run.fabric.settle(run.machines);
            return 0;
        }
        _ => {
            run.complain(format!("USAGE: drbdsetup {command} {{resource}} {{peer-node-id}} {{local}} {{remote}}\n"));
            return 20;
        }
    };
    action.perform(run)
}

fn device(run: &mut Run, command: &str, minor: &str, words: &Words) -> i32 {
    let node = run.node.to_owned();
    let number = minor.trim_start_matches("/dev/drbd").parse().ok();
    let Some(name) = number.and_then(|n: u32| run.fabric.by_minor(&node, n)).map(str::to_owned) else {
        run.complain(format!("{minor}: Failure: (127) Device minor not allocated\n"));
        return 10;
    };
    let done = match command {
        "dstate" => {
            let local = run.fabric.resource(&node, &name).map_or(Disk::Diskless, |r| r.disk).as_str();
            let ids: Vec<u32> =
                run.fabric.resource(&node, &name).map(|r| r.peers.keys().copied().collect()).unwrap_or_default();
            let mut all = vec![local];
            all.extend(ids.iter().map(|id| run.fabric.peer_disk(&node, &name, *id).map_or("DUnknown", Disk::as_str)));
            run.say(all.join("/") + "\n");
            return 0;
        }
        "detach" => run.fabric.detach(run.machines, &node, &name),
        "invalidate" => run.fabric.invalidate(run.machines, &node, &name),
        "resize" | "check-resize" => run.fabric.resize(run.machines, &node, &name),
        "verify" => {
            let able = run
                .fabric
                .resource(&node, &name)
                .is_some_and(|r| r.peers.values().all(|p| p.net.contains_key("verify-alg")));
            if !able {
                run.complain(format!(
                    "{minor}: State change failed: (-14) Need a verify algorithm to start online verify\n"
                ));
                return 11;
            }
            run.complain("drbdsetup: the lab does not simulate a running verify\n");
            return 125;
        }
        _ => {
            let (clear, resync) = (words.has(&["clear-bitmap"]), words.has(&["force-resync"]));
            run.fabric.new_current_uuid(run.machines, &node, &name, clear, resync)
        }
    };
    match done {
        Ok(()) => 0,
        Err(denied) => run.denied(minor, &denied),
    }
}

/// Lets the lab's clock run until all peers are connected, or in sync. 5 = not within the timeout.
fn wait(run: &mut Run, command: &str, name: &str, words: &Words) -> i32 {
    let timeout_ms = words.value(&["wfc-timeout"]).and_then(|v| v.parse::<u64>().ok()).filter(|s| *s > 0);
    let limit = timeout_ms.map_or(PATIENCE_MS, |s| s * 1000);
    let mut waited = 0;
    loop {
        let Some(resource) = run.fabric.resource(run.node, name) else { return unknown(run, name) };
        let done = resource.peers.iter().all(|(id, peer)| {
            let state = run.fabric.replication(run.node, name, *id);
            peer.link == Link::Connected && (command != "wait-sync-resource" || state == Replication::Established)
        });
        if done {
            return 0;
        }
        if waited >= limit {
            return 5;
        }
        waited += 250;
        run.fabric.wait(run.machines, 250);
    }
}

fn object(options: &Options, section: &str) -> Map<String, Value> {
    crate::lab::drbd::config::effective(section, options).into_iter().map(|(k, v)| (k, Value::String(v))).collect()
}

fn spaced(end: &str) -> String {
    end.replacen(':', " ", 1)
}

fn show(run: &mut Run, only: Option<&String>, as_json: bool) -> i32 {
    if !as_json {
        run.complain("drbdsetup: the lab simulates show with --json only\n");
        return 125;
    }
    let mut all = Vec::new();
    for name in chosen(run, only) {
        let Some(r) = run.fabric.resource(run.node, &name) else { continue };
        let mut volume =
            Map::from_iter([("volume_nr".to_owned(), json!(0)), ("device_minor".to_owned(), json!(r.minor))]);
        if let Some(backing) = &r.backing {
            volume.insert("backing-disk".into(), json!(backing.path));
            volume.insert("meta-disk".into(), json!("internal"));
        }
        let disk = object(&r.disk_options, "disk");
        if !disk.is_empty() {
            volume.insert("disk".into(), Value::Object(disk));
        }
        let connections: Vec<Value> = r
            .peers
            .iter()
            .map(|(id, peer)| {
                let mut one = Map::new();
                if let Some(path) = &peer.path {
                    one.insert(
                        "path".into(),
                        json!({"_this_host": spaced(&path.local), "_remote_host": spaced(&path.remote)}),
                    );
                }
                if peer.link == Link::StandAlone {
                    one.insert("_is_standalone".into(), json!(true));
                }
                let mut net = object(&peer.net, "net");
                net.insert("_name".into(), json!(peer.name));
                one.insert("net".into(), Value::Object(net));
                one.insert("_peer_node_id".into(), json!(id));
                Value::Object(one)
            })
            .collect();
        let mut document = Map::from_iter([("resource".to_owned(), json!(name))]);
        let options = object(&r.options, "options");
        if !options.is_empty() {
            document.insert("options".into(), Value::Object(options));
        }
        document.insert("_this_host".into(), json!({"node-id": r.node_id, "volumes": [Value::Object(volume)]}));
        document.insert("connections".into(), Value::Array(connections));
        all.push(Value::Object(document));
    }
    if all.is_empty() {
        run.say("[\n]\n");
        return 0;
    }
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    if serde::Serialize::serialize(&all, &mut serializer).is_ok() {
        run.say(String::from_utf8_lossy(&text));
    }
    run.say("\n");
    0
}
