//! The NFS server's `exportfs`, and who answers on the lab's network.

use super::options::Options;
use super::{Ctx, Place, not_simulated};
use crate::host::Output;
use crate::lab::{base, guest};

/// `/data *(rw,…)` lines as `(path, client, options)`.
fn configured(ctx: &Ctx) -> Result<Vec<(String, String, String)>, String> {
    let mut list = Vec::new();
    let mut texts = vec![("/etc/exports".to_owned(), ctx.text("/etc/exports").unwrap_or_default())];
    for name in ctx.view().list("/etc/exports.d").ok().flatten().unwrap_or_default() {
        if name.ends_with(".exports") {
            let path = format!("/etc/exports.d/{name}");
            texts.push((path.clone(), ctx.text(&path).unwrap_or_default()));
        }
    }
    for (file, text) in texts {
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let mut words = line.split_whitespace();
            let Some(path) = words.next().map(|p| p.trim_matches('"')) else { continue };
            let mut any = false;
            for client in words {
                any = true;
                let (name, options) = match client.split_once('(') {
                    Some((name, rest)) => {
                        let Some(options) = rest.strip_suffix(')') else {
                            return Err(format!("exportfs: {file}:{}: syntax error: bad option list\n", n + 1));
                        };
                        (name, options)
                    }
                    None => (client, ""),
                };
                if let Some(bad) = options.split(',').find(|o| !o.is_empty() && !known_option(o)) {
                    return Err(format!("exportfs: {file}:{}: unknown keyword \"{bad}\"\n", n + 1));
                }
                list.push((path.to_owned(), if name.is_empty() { "*" } else { name }.to_owned(), options.to_owned()));
            }
            if !any {
                return Err(format!(
                    "exportfs: No host name given with {path} (ro,subtree_check), suggest *(ro,subtree_check) to avoid warning\n"
                ));
            }
        }
    }
    Ok(list)
}

fn known_option(option: &str) -> bool {
    const PLAIN: &[&str] = &[
        "rw",
        "ro",
        "sync",
        "async",
        "no_root_squash",
        "root_squash",
        "all_squash",
        "no_all_squash",
        "no_subtree_check",
        "subtree_check",
        "secure",
        "insecure",
        "wdelay",
        "no_wdelay",
        "hide",
        "nohide",
        "crossmnt",
        "no_acl",
        "acl",
        "mp",
        "insecure_locks",
        "secure_locks",
        "auth_nlm",
        "no_auth_nlm",
        "pnfs",
        "no_pnfs",
        "security_label",
    ];
    const VALUED: &[&str] = &["fsid", "anonuid", "anongid", "sec", "refer", "replicas", "mountpoint", "xprtsec"];
    PLAIN.contains(&option) || option.split_once('=').is_some_and(|(k, _)| VALUED.contains(&k))
}

pub fn exportfs(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "araufvso:", &[]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let exporting = options.has(&["a", "r"]) && !options.has(&["u"]);
    if options.has(&["u"]) {
        if options.has(&["a"]) {
            if !ctx.system().exports.is_empty() {
                ctx.system_mut().exports.clear();
            }
        } else {
            return not_simulated(argv, "taking back single exports");
        }
        return Output::default();
    }
    if options.has(&["f"]) && !exporting {
        return Output::default();
    }
    if !exporting {
        if !options.rest.is_empty() {
            return not_simulated(argv, "exporting without /etc/exports");
        }
        let lines = ctx.system().exports.clone();
        return Output::ok(
            lines.iter().map(|l| listed(l, options.has(&["v"]), options.has(&["s"]))).collect::<String>(),
        );
    }
    let list = match configured(ctx) {
        Ok(list) => list,
        Err(text) => return Output::failed(1, text),
    };
    let mut output = Output::default();
    let mut exports = if options.has(&["r"]) { Vec::new() } else { ctx.system().exports.clone() };
    for (path, client, opts) in list {
        if ctx.view().list(&path).ok().flatten().is_none() {
            output.rc = 1;
            output.stderr.push_str(&format!("exportfs: Failed to stat {path}: No such file or directory\n"));
            continue;
        }
        let line = format!("{path} {client}({opts})");
        if options.has(&["v"]) {
            output.stdout.push_str(&format!("exporting {client}:{path}\n"));
        }
        if !exports.contains(&line) {
            exports.push(line);
        }
    }
    if exports != ctx.system().exports {
        ctx.system_mut().exports = exports;
    }
    output
}

/// `exportfs` prints the client below a long path, `-v` the options in effect, `-s` in the form of /etc/exports.
fn listed(line: &str, verbose: bool, as_file: bool) -> String {
    let Some((path, rest)) = line.split_once(' ') else { return String::new() };
    let (client, options) = rest.split_once('(').unwrap_or((rest, ""));
    let options = options.trim_end_matches(')');
    let has = |o: &str| options.split(',').any(|x| x == o);
    let effective = format!(
        "{},{},hide,{},sec=sys,{},{},no_all_squash",
        if has("async") { "async" } else { "sync" },
        if has("no_wdelay") { "no_wdelay" } else { "wdelay" },
        if has("subtree_check") { "subtree_check" } else { "no_subtree_check" },
        if has("rw") { "rw,secure" } else { "ro,secure" },
        if has("no_root_squash") { "no_root_squash" } else { "root_squash" },
    );
    let shown = if client == "*" { "<world>" } else { client };
    if as_file {
        format!("{path}  {client}({effective})\n")
    } else if verbose {
        format!("{path:<15}\t{shown}({effective})\n")
    } else {
        format!("{path:<15}\t{shown}\n")
    }
}

/// Ports that are open on an address of the lab, seen from anywhere on its network; `None`: nobody has it.
pub fn open_ports(ctx: &Ctx, host: &str) -> Option<Vec<u16>> {
    if ["localhost", "127.0.0.1", "::1"].contains(&host) {
        return Some(own_ports(ctx));
    }
    for (name, node) in ctx.world.nodes.iter() {
        if host == name || host == base::cluster_address(node.index) || host == base::drbd_address(node.index) {
            return (!node.off).then(|| vec![22, 8006]);
        }
    }
    let exports = guest::nfs_exports(ctx.world, ctx.files, host)?;
    Some(if exports.is_empty() { vec![22] } else { vec![22, 111, 2049] })
}

/// Ports that are open at the place itself.
pub fn own_ports(ctx: &Ctx) -> Vec<u16> {
    match &ctx.place {
        Place::Node(_) => vec![22, 111, 8006],
        Place::Container(_) => guest::ports(ctx.world, &ctx.place),
    }
}

/// The one network idiom that the lab's `bash` plays: `exec 3<>/dev/tcp/HOST/PORT`.
pub fn dev_tcp(ctx: &mut Ctx, host: &str, port: &str) -> Output {
    let fail =
        |why: &str| Output::failed(1, format!("bash: connect: {why}\nbash: line 1: /dev/tcp/{host}/{port}: {why}\n"));
    let Ok(number) = port.parse::<u16>() else { return fail("Servname not supported for ai_socktype") };
    match open_ports(ctx, host) {
        Some(ports) if ports.contains(&number) => Output::default(),
        Some(_) => fail("Connection refused"),
        None => fail("No route to host"),
    }
}
