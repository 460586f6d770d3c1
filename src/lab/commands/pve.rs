//! Proxmox's own programs: `pvesh`, `pct`, `pveversion`, `pvecm`, and `apparmor_parser`.

use super::options::Options;
use super::{Ctx, Place, not_simulated};
use crate::host::{Method, Output};
use crate::lab::{api, guest};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `pvesh get|create|set|delete PATH [--key value]… --output-format json`.
pub fn pvesh(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let [_, verb, path, rest @ ..] = argv else { return Output::failed(255, "ERROR: no command specified\n") };
    let mut params = BTreeMap::new();
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let Some(key) = word.trim_start_matches('-').split('=').next().filter(|_| word.starts_with('-')) else {
            return Output::failed(255, "400 too many arguments\n");
        };
        let value = match word.split_once('=') {
            Some((_, value)) => value.to_owned(),
            None => match words.next() {
                Some(value) => value.clone(),
                None => return Output::failed(255, format!("400 Option {key} requires an argument\n")),
            },
        };
        params.insert(key.to_owned(), value);
    }
    let format = params.remove("output-format").unwrap_or_else(|| "text".to_owned());
    for display_only in ["noborder", "noheader", "quiet", "human-readable"] {
        params.remove(display_only);
    }
    let answer = match verb.as_str() {
        "get" | "ls" => api::get(ctx, path, &params).map(|data| api::Written { data, task: None }),
        "create" => api::write(ctx, Method::Post, path, &params),
        "set" => api::write(ctx, Method::Put, path, &params),
        "delete" => api::write(ctx, Method::Delete, path, &params),
        _ => return not_simulated(argv, &format!("`pvesh {verb}`")),
    };
    let elsewhere = api::elsewhere(ctx, path);
    match answer {
        Ok(written) => printed(&written, elsewhere.is_some(), &format),
        // Found by pvesh itself, before anything is asked.
        Err(e) if e.status == 501 => Output::failed(1, format!("No '{verb}' handler defined for '{path}'\n")),
        Err(e) => {
            let mut said = match (e.status, &elsewhere) {
                // Parameter faults keep their number.
                (400, _) => format!("400 {}\n", e.message),
                (595, Some(node)) => format!("ssh: connect to host {node} port 22: {}\n", e.message),
                _ => format!("{}\n", e.message),
            };
            if elsewhere.is_some() {
                said.push_str("proxy handler failed: exit code 255\n");
            }
            Output::failed(255, said)
        }
    }
}

/// What `pvesh` prints of what it did, and that it ends well also where the task died. Of another node's task it has the
/// whole output and takes it for the answer.
fn printed(written: &api::Written, elsewhere: bool, format: &str) -> Output {
    let api::Written { data, task } = written;
    let said = match (data, format) {
        (serde_json::Value::Null, _) => String::new(),
        (serde_json::Value::String(text), "text") => format!("{text}\n"),
        (data, "json-pretty" | "text") => format!("{}\n", serde_json::to_string_pretty(data).unwrap_or_default()),
        (data, _) => format!("{data}\n"),
    };
    let Some(task) = task else { return Output::ok(said) };
    let stdout = if elsewhere {
        format!("{}\n", serde_json::json!(format!("{}{data}", task.log.concat())))
    } else {
        format!("{}{said}", task.log.iter().map(|line| format!("{line}\n")).collect::<String>())
    };
    let stderr = match (task.exit.as_str(), task.exit.strip_prefix("WARNINGS: ")) {
        ("OK", _) => String::new(),
        (_, Some(number)) => format!("Task finished with {number} warning(s)!\n"),
        (died, None) => format!("{died}\n"),
    };
    Output { rc: 0, stdout, stderr }
}

pub fn pct(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let (Some(verb), Some(vmid)) = (argv.get(1), argv.get(2).and_then(|v| v.parse::<u32>().ok())) else {
        return match argv.get(1).map(String::as_str) {
            Some("list") => list(ctx),
            _ => not_simulated(argv, "this use of pct"),
        };
    };
    let node = ctx.node_name();
    let Some((owner, text)) = guest::config(ctx.world, ctx.files, vmid) else {
        return Output::failed(2, format!("Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist\n"));
    };
    if owner != node {
        return Output::failed(2, format!("Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist\n"));
    }
    let running = guest::running_on(ctx.world, vmid).is_some();
    match verb.as_str() {
        "status" => Output::ok(format!("status: {}\n", if running { "running" } else { "stopped" })),
        "config" => Output::ok(text),
        "exec" => {
            if !running {
                return Output::failed(255, format!("container '{vmid}' not running!\n"));
            }
            let command: Vec<String> = argv[3..].iter().skip_while(|a| *a == "--").cloned().collect();
            let outer = std::mem::replace(&mut ctx.place, Place::Container(vmid));
            let output = super::run(ctx, &command, stdin);
            ctx.place = outer;
            output.unwrap_or_else(|_| {
                let program = command.first().cloned().unwrap_or_default();
                Output::failed(255, format!("lxc-attach: {vmid}: ../src/lxc/attach.c: lxc_attach_run_command: 1841 No such file or directory - Failed to exec \"{program}\"\n"))
            })
        }
        "unlock" => {
            let kept: String = text.lines().filter(|l| !l.starts_with("lock:")).map(|l| format!("{l}\n")).collect();
            match ctx.writer().write(&format!("/etc/pve/lxc/{vmid}.conf"), kept.as_bytes()) {
                Ok(()) => Output::default(),
                Err(e) => Output::failed(2, format!("unable to open file '{e}'\n")),
            }
        }
        "start" | "stop" | "shutdown" | "reboot" => {
            let path = format!("/nodes/{node}/lxc/{vmid}/status/{verb}");
            match api::write(ctx, Method::Post, &path, &BTreeMap::new()) {
                // Unlike pvesh, pct ends as the task did.
                Ok(api::Written { task: Some(task), .. })
                    if task.exit != "OK" && !task.exit.starts_with("WARNINGS") =>
                {
                    Output::failed(255, format!("{}\n", task.exit))
                }
                Ok(_) => Output::default(),
                Err(e) => Output::failed(255, format!("{}\n", e.message)),
            }
        }
        _ => not_simulated(argv, &format!("`pct {verb}`")),
    }
}

fn list(ctx: &mut Ctx) -> Output {
    let node = ctx.node_name();
    let mut text = String::new();
    for name in ctx.view().list(&format!("/etc/pve/nodes/{node}/lxc")).ok().flatten().unwrap_or_default() {
        let Some(vmid) = name.strip_suffix(".conf").and_then(|v| v.parse::<u32>().ok()) else { continue };
        let config = guest::config(ctx.world, ctx.files, vmid).map(|(_, t)| t).unwrap_or_default();
        let state = if guest::running_on(ctx.world, vmid).is_some() { "running" } else { "stopped" };
        let lock = guest::config_value(&config, "lock").unwrap_or_default();
        text.push_str(&format!(
            "{vmid:<10} {state:<10} {lock:<12} {:<20}\n",
            guest::config_value(&config, "hostname").unwrap_or_default()
        ));
    }
    if text.is_empty() {
        Output::default()
    } else {
        Output::ok(format!("{:<10} {:<10} {:<12} {:<20}\n{text}", "VMID", "Status", "Lock", "Name"))
    }
}

pub fn pveversion(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    if argv.len() > 1 {
        return not_simulated(argv, "options of pveversion");
    }
    let version = super::apt::installed_version(ctx, "pve-manager").unwrap_or_default();
    Output::ok(format!("pve-manager/{version}/1234567890abcdef (running kernel: {})\n", ctx.node().kernel))
}

pub fn pvecm(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    if argv.get(1).is_none_or(|a| a != "status") {
        return not_simulated(argv, "pvecm beyond `status`");
    }
    let node = ctx.node_name();
    let quorate = ctx.world.quorate(&node);
    let all = ctx.world.nodes.len();
    let up = if quorate { ctx.world.nodes_on().count() } else { 1 };
    Output::ok(format!(
        "Cluster information\n-------------------\nName:             lab\nConfig Version:   {all}\nTransport:        knet\nSecure auth:      on\n\nQuorum information\n------------------\nNodes:            {up}\nQuorate:          {}\n\nVotequorum information\n----------------------\nExpected votes:   {all}\nTotal votes:      {up}\nQuorum:           {}{}\n",
        if quorate { "Yes" } else { "No" },
        all / 2 + 1,
        if quorate { "" } else { " Activity blocked" }
    ))
}

/// Checks with the real parser where this machine has one, else by what every profile must keep: braces and commas.
pub fn apparmor_parser(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let long = [
        "replace",
        "add",
        "remove",
        "skip-kernel-load",
        "skip-cache",
        "names",
        "quiet",
        "write-cache",
        "base=",
        "preprocess",
        "Include=",
        "verbose",
    ];
    let options = match Options::parse(argv, "raRQKNqWTI:b:pv", &long) {
        Ok(options) => options,
        Err(output) => return output,
    };
    for path in &options.rest {
        let Some(text) = ctx.text(path) else {
            return Output::failed(2, format!("File {path} not found, skipping...\n"));
        };
        if options.has(&["N", "names"]) {
            let names = text
                .lines()
                .filter_map(|l| l.trim().strip_prefix("profile ")?.split_whitespace().next().map(|n| format!("{n}\n")));
            return Output::ok(names.collect::<String>());
        }
        if let Err(why) = parse_profile(ctx, path, &text) {
            return Output::failed(1, why);
        }
        let kernel_load = !options.has(&["Q", "skip-kernel-load", "p", "preprocess"]);
        if kernel_load && path.starts_with("/etc/apparmor.d/lxc") && !ctx.in_container() {
            let cgns = ctx.text("/etc/apparmor.d/lxc/lxc-default-cgns");
            if ctx.node().apparmor_loaded != cgns {
                ctx.node_mut().apparmor_loaded = cgns;
            }
        }
    }
    Output::default()
}

fn parse_profile(ctx: &Ctx, path: &str, text: &str) -> Result<(), String> {
    let root = ctx.files.node_root(&ctx.node_name());
    let real = root.join(ctx.absolute(path).trim_start_matches('/'));
    let mut command = Command::new("apparmor_parser");
    command.args(["-QK", "--base"]).arg(root.join("etc/apparmor.d")).arg(&real);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(mut child) => {
            let since = Instant::now();
            loop {
                match child.try_wait() {
                    Ok(Some(status)) => {
                        let mut stderr = String::new();
                        if let Some(mut pipe) = child.stderr.take() {
                            let _ = std::io::Read::read_to_string(&mut pipe, &mut stderr);
                        }
                        let shown = stderr.replace(&root.display().to_string(), "");
                        return if status.success() { Ok(()) } else { Err(shown) };
                    }
                    Ok(None) if since.elapsed() < Duration::from_secs(20) => {
                        std::thread::sleep(Duration::from_millis(2))
                    }
                    _ => {
                        let _ = child.kill();
                        let _ = child.wait();
                        return Err("apparmor_parser: no answer within 20 s\n".into());
                    }
                }
            }
        }
        Err(_) => plain_check(path, text),
    }
}

fn plain_check(path: &str, text: &str) -> Result<(), String> {
    let mut depth = 0_i32;
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("include ") || line.starts_with("abi ") {
            continue;
        }
        let fault = |what: &str| {
            Err(format!("AppArmor parser error for {path} in {path} at line {}: syntax error, {what}\n", n + 1))
        };
        if line.ends_with('{') {
            depth += 1;
        } else if line == "}" {
            depth -= 1;
            if depth < 0 {
                return fault("unexpected TOK_CLOSE");
            }
        } else if depth > 0 && !line.split(" #").next().unwrap_or(line).trim_end().ends_with(',') {
            return fault("unexpected TOK_ID, expecting TOK_END_OF_RULE");
        }
    }
    if depth == 0 { Ok(()) } else { Err(format!("AppArmor parser error for {path}: syntax error, unexpected $end\n")) }
}

#[cfg(test)]
mod tests {
    use super::plain_check;

    #[test]
    fn profiles_without_a_parser() {
        assert!(plain_check("p", "profile a {\n  #include <x>\n  mount fstype=nfsd,\n}\n").is_ok());
        assert!(plain_check("p", "profile a {\n  mount fstype=nfsd\n}\n").is_err());
        assert!(plain_check("p", "profile a {\n  mount fstype=nfsd,\n").is_err());
    }
}
