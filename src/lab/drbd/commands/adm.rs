//! drbdadm: reads the configuration and calls drbdsetup and drbdmeta for each resource named.

use super::action::Action;
use super::words::Words;
use super::{Run, adjust, answers, dump, meta, setup};
use crate::lab::drbd::config::{self, Config, Wanted, Which};

const WITH_VALUE: &[&str] = &["c", "config-file", "t", "config-to-test", "E", "config-to-exclude", "max-peers", "W"];

const OPTIONS: &[&str] = &[
    "d",
    "dry-run",
    "v",
    "verbose",
    "c",
    "config-file",
    "t",
    "config-to-test",
    "E",
    "config-to-exclude",
    "force",
    "max-peers",
    "discard-my-data",
    "clear-bitmap",
    "force-resync",
    "V",
    "version",
    "wfc-timeout",
    "json",
    "assume-clean",
    "T",
    "config-to-test",
    "diskless",
];

pub fn run(run: &mut Run, args: &[String]) -> i32 {
    let words = Words::read(args, WITH_VALUE);
    if words.has(&["V", "version"]) {
        return answers::version(run);
    }
    if let Some(rc) = run.refuses_84("drbdadm") {
        return rc;
    }
    if let Some(option) = words.unknown(OPTIONS) {
        run.complain(format!("drbdadm: the lab does not simulate --{option}\n"));
        return 125;
    }
    let Some((command, names)) = words.words.split_first() else {
        run.say(
            "USAGE: drbdadm COMMAND [OPTION...] {all|RESOURCE...}\n\nVersion: 9.22.0 (api:2)\nNo command specified\n",
        );
        return 1;
    };
    let which = Which {
        config_file: words.value(&["c", "config-file"]).map(str::to_owned),
        to_test: words.value(&["t", "config-to-test"]).map(str::to_owned),
        exclude: words
            .options
            .iter()
            .filter(|(n, _)| n == "E" || n == "config-to-exclude")
            .filter_map(|(_, v)| v.clone())
            .collect(),
    };
    let config = match config::load(run.machines, run.node, &which) {
        Ok(config) => config,
        Err(said) => {
            run.complain(said);
            return if run.out.stderr.starts_with("Can not open") { 20 } else { 10 };
        }
    };
    run.complain(&config.warnings);
    if run.is_84() {
        return answers::under_84(run, &config);
    }
    if let Some(rc) = without_resources(run, &config, command, names, &words) {
        return rc;
    }
    if !COMMANDS.contains(&command.as_str()) {
        run.complain(format!("drbdadm: Unknown command '{command}'\n"));
        return 1;
    }
    if config.wanted.is_empty() && (names.is_empty() || names.iter().any(|n| n == "all")) {
        run.complain("no resources defined!\n");
        return 1;
    }
    if names.is_empty() {
        run.complain("drbdadm: You need to specify a resource (or 'all')\n");
        return 1;
    }
    let mut rc = 0;
    for name in expand(&config, names) {
        // `new-current-uuid` and the like take NAME/VOLUME.
        let plain = name.split_once('/').map_or(name.as_str(), |(n, _)| n);
        let Some(wanted) = config.wanted.iter().find(|w| w.name == plain).cloned() else {
            run.complain(format!("'{plain}' not defined in your config (for this host).\n"));
            return 1;
        };
        let one = one(run, command, &wanted, &words);
        rc = if rc == 0 { one } else { rc };
    }
    rc
}

fn expand(config: &Config, names: &[String]) -> Vec<String> {
    if names.iter().any(|n| n == "all") {
        config.wanted.iter().map(|w| w.name.clone()).collect()
    } else {
        names.to_vec()
    }
}

const COMMANDS: &[&str] = &[
    "adjust",
    "adjust-with-progress",
    "apply-al",
    "attach",
    "connect",
    "create-md",
    "cstate",
    "detach",
    "disconnect",
    "disk-options",
    "down",
    "dstate",
    "dump",
    "dump-md",
    "get-gi",
    "invalidate",
    "net-options",
    "new-current-uuid",
    "outdate",
    "pause-sync",
    "peer-device-options",
    "primary",
    "resize",
    "resource-options",
    "resume-sync",
    "role",
    "secondary",
    "sh-dev",
    "sh-ll-dev",
    "sh-md-dev",
    "sh-md-idx",
    "sh-minor",
    "sh-ip",
    "show-gi",
    "up",
    "verify",
    "wait-con-int",
    "wait-connect",
    "wait-sync",
    "wipe-md",
    "status",
];

/// Commands that work on no resource in particular.
fn without_resources(run: &mut Run, config: &Config, command: &str, names: &[String], words: &Words) -> Option<i32> {
    match command {
        "sh-nop" => Some(0),
        "sh-resources" => {
            let names: Vec<&str> = config.wanted.iter().map(|w| w.name.as_str()).collect();
            run.say(names.join(" ") + "\n");
            Some(0)
        }
        "dump" if names.is_empty() || names.iter().any(|n| n == "all") => Some(dump::all(run, config)),
        "status" => {
            if let Some(stranger) = names.iter().find(|n| *n != "all" && !config.wanted.iter().any(|w| w.name == **n)) {
                run.complain(format!("'{stranger}' not defined in your config (for this host).\n"));
                return Some(1);
            }
            let mut command = vec!["status".to_owned()];
            command.extend(names.iter().filter(|n| *n != "all").take(1).cloned());
            if words.has(&["json"]) {
                command.push("--json".into());
            }
            let rc = setup::run(run, &command);
            if rc != 0 {
                run.below_failed(&format!("drbdsetup {}", command.join(" ")), rc);
            }
            if rc == 20 {
                run.complain("command status exited with code 20\n");
            }
            Some(rc)
        }
        _ => None,
    }
}

fn one(run: &mut Run, command: &str, wanted: &Wanted, words: &Words) -> i32 {
    let dry = words.has(&["d", "dry-run"]);
    let name = &wanted.name;
    let minor = wanted.minor;
    let force = if words.has(&["force"]) { " --force" } else { "" };
    match command {
        "adjust" | "adjust-with-progress" => {
            let kernel = run.fabric.resource(run.node, name).cloned();
            perform(run, &adjust::plan(wanted, kernel.as_ref()), dry)
        }
        "up" => perform(run, &adjust::bring_up(wanted), dry),
        "attach" => perform(run, &adjust::attach(wanted), dry),
        "connect" | "disconnect" => {
            let discard_my_data = words.has(&["discard-my-data"]);
            let actions: Vec<Action> = wanted
                .peers
                .iter()
                .map(|p| match command {
                    "connect" => Action::Connect { name: name.clone(), id: p.id, discard_my_data },
                    _ => Action::Disconnect { name: name.clone(), id: p.id },
                })
                .collect();
            connections(run, &actions, dry)
        }
        "resource-options" => {
            perform(run, &[Action::ResourceOptions { name: name.clone(), options: wanted.options.clone() }], dry)
        }
        "disk-options" => {
            let options = wanted.disk_options.clone();
            perform(run, &[Action::DiskOptions { name: name.clone(), minor, options }], dry)
        }
        "net-options" | "peer-device-options" => {
            let actions: Vec<Action> = wanted
                .peers
                .iter()
                .map(|p| match command {
                    "net-options" => Action::NetOptions {
                        name: name.clone(),
                        id: p.id,
                        peer: p.name.clone(),
                        options: p.net.clone(),
                    },
                    _ => Action::PeerDeviceOptions { name: name.clone(), id: p.id, options: p.device_options.clone() },
                })
                .collect();
            perform(run, &actions, dry)
        }
        "down" | "secondary" | "primary" => below(run, &format!("drbdsetup {command} {name}{force}"), dry),
        "role" => below(run, &format!("drbdsetup role {name}"), dry),
        "cstate" => wanted
            .peers
            .iter()
            .fold(0, |rc, p| if rc == 0 { below(run, &format!("drbdsetup cstate {name} {}", p.id), dry) } else { rc }),
        "pause-sync" | "resume-sync" => wanted.peers.iter().fold(0, |rc, p| {
            if rc == 0 { below(run, &format!("drbdsetup {command} {name} {} 0", p.id), dry) } else { rc }
        }),
        "detach" | "invalidate" | "verify" => below(run, &format!("drbdsetup {command} {minor}"), dry),
        "resize" => {
            if dry {
                run.say(format!("drbdsetup resize {minor}\ndrbdsetup check-resize {minor}\n"));
                return 0;
            }
            below(run, &format!("drbdsetup resize {minor}"), dry)
        }
        "new-current-uuid" => {
            let mut text = format!("drbdsetup new-current-uuid {minor}");
            for option in ["clear-bitmap", "force-resync"] {
                if words.has(&[option]) {
                    text += &format!(" --{option}");
                }
            }
            below(run, &text, dry)
        }
        "wait-connect" | "wait-con-int" | "wait-sync" => {
            let what = if command == "wait-sync" { "sync" } else { "connect" };
            let timeout = words.value(&["wfc-timeout"]).map_or(String::new(), |v| format!(" --wfc-timeout={v}"));
            below(run, &format!("drbdsetup wait-{what}-resource {name}{timeout}"), dry)
        }
        "create-md" | "dump-md" | "apply-al" | "wipe-md" | "outdate" | "dstate" | "get-gi" | "show-gi" => {
            on_disk(run, command, wanted, words)
        }
        "dump" => dump::one(run, wanted),
        _ => answers::sh(run, command, wanted),
    }
}

/// Prints or runs a list; it ends at the first that fails, and drbdadm's own exit code is 1.
fn perform(run: &mut Run, actions: &[Action], dry: bool) -> i32 {
    if dry {
        for action in actions {
            run.say(action.text() + "\n");
        }
        return 0;
    }
    for action in actions {
        let rc = action.perform(run);
        if rc != 0 {
            run.below_failed(&action.text(), rc);
            return 1;
        }
    }
    0
}

/// As [`perform`], but the exit code is that of the command that failed.
fn connections(run: &mut Run, actions: &[Action], dry: bool) -> i32 {
    if dry {
        return perform(run, actions, dry);
    }
    for action in actions {
        let rc = action.perform(run);
        if rc != 0 {
            return run.below_failed(&action.text(), rc);
        }
    }
    0
}

/// One command of drbdsetup, with its exit code.
fn below(run: &mut Run, command: &str, dry: bool) -> i32 {
    if dry {
        run.say(format!("{command}\n"));
        return 0;
    }
    let args: Vec<String> = command.split(' ').skip(1).map(str::to_owned).collect();
    match setup::run(run, &args) {
        0 => 0,
        rc => run.below_failed(command, rc),
    }
}

fn on_disk(run: &mut Run, command: &str, wanted: &Wanted, words: &Words) -> i32 {
    let (name, minor) = (&wanted.name, wanted.minor);
    let Some(disk) = wanted.disk.clone() else { return 0 };
    let peers: Vec<u32> = wanted.peers.iter().map(|p| p.id).collect();
    let force = words.has(&["force"]);
    match command {
        "create-md" => {
            let default = u32::try_from(peers.len().max(1)).unwrap_or(1);
            let max = words.value(&["max-peers"]).and_then(|v| v.parse().ok()).unwrap_or(default);
            match meta::create_md(run, minor, &disk, max, force) {
                0 => 0,
                rc => run.below_failed(&meta::create_command(minor, &disk, max, force), rc),
            }
        }
        "dstate" if run.fabric.resource(run.node, name).is_some() => {
            below(run, &format!("drbdsetup dstate {minor}"), false)
        }
        "dstate" => meta::dstate(run, &disk),
        "get-gi" | "show-gi" => {
            if let Some(md) = run.fabric.attached(run.node, name).cloned() {
                if run.fabric.resource(run.node, name).is_some_and(|r| r.peers.is_empty()) {
                    run.complain(format!(
                        "open({disk}) failed: Device or resource busy\n\nExclusive open failed. Do it anyways?\nstdin not a TTY, not waiting for confirmation\n"
                    ));
                    run.say("Operation canceled.\n");
                    let id = peers.first().copied().unwrap_or(0);
                    return run
                        .below_failed(&format!("drbdmeta {minor} v09 {disk} internal --node-id={id} {command}"), 20);
                }
                for peer in peers {
                    let text = match command {
                        "get-gi" => super::super::metadata::gi_line(&md, peer) + "\n",
                        _ => super::super::metadata::gi_explained(&md, peer),
                    };
                    run.say(text);
                }
                return 0;
            }
            match meta::generations(run, &disk, &peers, command == "show-gi") {
                0 => 0,
                rc => {
                    let id = peers.first().copied().unwrap_or(0);
                    run.below_failed(&format!("drbdmeta {minor} v09 {disk} internal --node-id={id} {command}"), rc)
                }
            }
        }
        _ => {
            let rc = match command {
                "dump-md" => meta::dump_md(run, minor, &disk),
                "apply-al" => meta::apply_al(run, minor, &disk),
                "wipe-md" => meta::wipe_md(run, minor, &disk, force),
                _ => meta::outdate(run, minor, &disk),
            };
            match rc {
                0 => 0,
                rc => run.below_failed(&format!("drbdmeta {minor} v09 {disk} internal {command}"), rc),
            }
        }
    }
}
