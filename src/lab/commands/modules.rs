//! Kernel modules: `modprobe`, `rmmod`, `modinfo`, `lsmod`, `depmod`, and which DRBD a node would load.

use super::options::Options;
use super::{Ctx, not_simulated};
use crate::host::Output;
use crate::lab::drbd;
use crate::lab::world::{DkmsState, LoadedModule, NodeState};

/// Modules of the kernel package: name, version (most have none), what they need.
const IN_TREE: &[(&str, &str, &[&str])] = &[
    ("8021q", "1.8", &[]),
    ("auth_rpcgss", "", &["sunrpc"]),
    ("bonding", "", &[]),
    ("br_netfilter", "", &["bridge"]),
    ("bridge", "2.3", &[]),
    ("crc32c_generic", "", &[]),
    ("dm_thin_pool", "", &[]),
    ("drbd", "8.4.11", &["lru_cache", "libcrc32c"]),
    ("ext4", "", &[]),
    ("grace", "", &[]),
    ("handshake", "", &[]),
    ("ip_tables", "", &[]),
    ("libcrc32c", "", &[]),
    ("lockd", "", &["grace", "sunrpc"]),
    ("loop", "", &[]),
    ("lru_cache", "", &[]),
    ("nfs", "", &["lockd", "sunrpc"]),
    ("nfs_acl", "", &["sunrpc"]),
    ("nfsd", "", &["auth_rpcgss", "nfs_acl", "lockd", "grace", "sunrpc"]),
    ("nfsv4", "", &["nfs"]),
    ("overlay", "", &[]),
    ("rpcsec_gss_krb5", "", &["auth_rpcgss", "sunrpc"]),
    ("softdog", "", &[]),
    ("sunrpc", "", &[]),
    ("target_core_mod", "", &[]),
    ("tcp_bbr", "", &[]),
    ("veth", "1.0", &[]),
    ("vhost_net", "", &[]),
    ("xfs", "", &["libcrc32c"]),
    ("zfs", "2.3.4-pve1", &[]),
];

/// A module as it lies on disk for one kernel.
pub struct OnDisk {
    pub name: String,
    pub version: Option<String>,
    pub in_tree: bool,
    pub path: String,
    pub needs: Vec<String>,
}

/// What `modprobe NAME` would load for a kernel. `updates/` wins over the kernel's own tree.
pub fn on_disk(node: &NodeState, kernel: &str, name: &str) -> Option<OnDisk> {
    let name = name.replace('-', "_");
    let built = node.dkms.iter().find(|b| b.kernel == kernel && b.state == DkmsState::Installed && b.module == "drbd");
    let ours = ["drbd", "drbd_transport_tcp", "drbd_transport_lb_tcp"].contains(&name.as_str());
    if let (true, Some(build)) = (ours, built) {
        let needs: &[&str] = if name == "drbd" { &["lru_cache", "libcrc32c", "handshake"] } else { &["drbd"] };
        return Some(OnDisk {
            path: format!("/lib/modules/{kernel}/updates/dkms/{name}.ko"),
            version: Some(module_version(&build.version)),
            in_tree: false,
            needs: needs.iter().map(|n| (*n).to_owned()).collect(),
            name,
        });
    }
    if !node.kernels.iter().any(|k| k == kernel) {
        return None;
    }
    let (_, version, needs) = IN_TREE.iter().find(|(n, _, _)| *n == name)?;
    let dir = match name.as_str() {
        "drbd" => "drivers/block/drbd",
        "lru_cache" | "libcrc32c" => "lib",
        "nfsd" | "nfs" | "lockd" | "nfs_acl" | "grace" | "ext4" | "xfs" | "overlay" => "fs",
        _ => "net",
    };
    Some(OnDisk {
        path: format!("/lib/modules/{kernel}/kernel/{dir}/{name}.ko"),
        version: (!version.is_empty()).then(|| (*version).to_owned()),
        in_tree: name != "zfs",
        needs: needs.iter().map(|n| (*n).to_owned()).collect(),
        name,
    })
}

/// LINBIT's package version `9.3.3-1` → the module's own `9.3.3`.
fn module_version(package: &str) -> String {
    package.split('-').next().unwrap_or(package).to_owned()
}

/// Every file of [`on_disk`] for the made-up `/lib/modules`.
pub fn files(node: &NodeState, kernel: &str) -> Vec<String> {
    let own = ["drbd_transport_tcp", "drbd_transport_lb_tcp"];
    IN_TREE.iter().map(|(n, _, _)| *n).chain(own).filter_map(|n| on_disk(node, kernel, n)).map(|m| m.path).collect()
}

/// Loads a module with what it needs.
pub fn load(ctx: &mut Ctx, name: &str) -> Output {
    let name = name.replace('-', "_");
    if ctx.node().modules.contains_key(&name) {
        return Output::default();
    }
    let kernel = ctx.node().kernel.clone();
    let Some(found) = on_disk(ctx.node(), &kernel, &name) else {
        return Output::failed(
            1,
            format!("modprobe: FATAL: Module {name} not found in directory /lib/modules/{kernel}\n"),
        );
    };
    if ctx.node().secure_boot && !found.in_tree && name != "zfs" && !ctx.node().mok_enrolled {
        return Output::failed(1, format!("modprobe: ERROR: could not insert '{name}': Key was rejected by service\n"));
    }
    for needed in &found.needs {
        let output = load(ctx, needed);
        if output.rc != 0 {
            return output;
        }
    }
    let module = LoadedModule { version: found.version, in_tree: found.in_tree };
    ctx.node_mut().modules.insert(name, module);
    Output::default()
}

/// Loaded modules that need `name`.
fn users(node: &NodeState, name: &str) -> Vec<String> {
    let needs = |m: &str| on_disk(node, &node.kernel, m).map(|d| d.needs).unwrap_or_default();
    node.modules.keys().filter(|m| needs(m).iter().any(|n| n == name)).cloned().collect()
}

fn unload(ctx: &mut Ctx, name: &str, tool: &str) -> Output {
    let name = name.replace('-', "_");
    if !ctx.node().modules.contains_key(&name) {
        let text = match tool {
            "rmmod" => format!("rmmod: ERROR: Module {name} is not currently loaded\n"),
            _ => return Output::default(),
        };
        return Output::failed(1, text);
    }
    let mut users = users(ctx.node(), &name);
    let node = ctx.node_name();
    if name == "drbd" && users.is_empty() && !drbd::minors(ctx.world, &node).is_empty() {
        users.push(String::new());
    }
    if name == "drbd_transport_tcp" && !drbd::minors(ctx.world, &node).is_empty() {
        return Output::failed(1, format!("{tool}: ERROR: Module {name} is in use\n"));
    }
    if !users.is_empty() {
        let text = match (tool, users[0].is_empty()) {
            ("rmmod", false) => format!("rmmod: ERROR: Module {name} is in use by: {}\n", users.join(" ")),
            ("rmmod", true) => format!("rmmod: ERROR: Module {name} is in use\n"),
            _ => format!("modprobe: FATAL: Module {name} is in use.\n"),
        };
        return Output::failed(1, text);
    }
    ctx.node_mut().modules.remove(&name);
    Output::default()
}

pub fn modprobe(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let long =
        ["remove", "show-depends", "quiet", "all", "verbose", "first-time", "dry-run", "set-version=", "use-blacklist"];
    let options = match Options::parse(argv, "rDqavnbS:", &long) {
        Ok(options) => options,
        Err(output) => return output,
    };
    if ctx.in_container() {
        let kernel = ctx.node().kernel.clone();
        return Output::failed(
            1,
            format!(
                "modprobe: FATAL: Module {} not found in directory /lib/modules/{kernel}\n",
                options.rest.join(" ")
            ),
        );
    }
    let Some(name) = options.rest.first() else {
        return Output::failed(1, "modprobe: ERROR: missing parameters. See -h.\n");
    };
    if options.has(&["D", "show-depends"]) {
        return show_depends(ctx, name, options.value(&["S", "set-version"]));
    }
    if options.has(&["n", "dry-run"]) {
        let kernel = ctx.node().kernel.clone();
        return match on_disk(ctx.node(), &kernel, name) {
            Some(_) => Output::default(),
            None => Output::failed(
                1,
                format!("modprobe: FATAL: Module {name} not found in directory /lib/modules/{kernel}\n"),
            ),
        };
    }
    let names: &[String] = if options.has(&["a", "all", "r", "remove"]) { &options.rest } else { &options.rest[..1] };
    for name in names {
        let mut output = if options.has(&["r", "remove"]) { unload(ctx, name, "modprobe") } else { load(ctx, name) };
        if output.rc != 0 {
            if options.has(&["q", "quiet"]) {
                output.stderr.clear();
            }
            return output;
        }
    }
    Output::default()
}

fn show_depends(ctx: &Ctx, name: &str, kernel: Option<&str>) -> Output {
    let kernel = kernel.unwrap_or(&ctx.node().kernel);
    let mut lines = Vec::new();
    let mut todo = vec![name.to_owned()];
    while let Some(next) = todo.pop() {
        let Some(found) = on_disk(ctx.node(), kernel, &next) else {
            return Output::failed(
                1,
                format!("modprobe: FATAL: Module {next} not found in directory /lib/modules/{kernel}\n"),
            );
        };
        lines.push(format!("insmod {} \n", found.path));
        todo.extend(found.needs);
    }
    lines.reverse();
    lines.dedup();
    Output::ok(lines.concat())
}

pub fn rmmod(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "v", &["verbose"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    for name in &options.rest {
        let output = unload(ctx, name, "rmmod");
        if output.rc != 0 {
            return output;
        }
    }
    Output::default()
}

pub fn modinfo(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "F:nk:adlp0", &["field=", "filename", "set-version="]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let kernel = options.value(&["k", "set-version"]).unwrap_or(&ctx.node().kernel).to_owned();
    let Some(name) = options.rest.first() else {
        return Output::failed(1, "modinfo: ERROR: missing module or filename.\n");
    };
    let bare = name.rsplit('/').next().unwrap_or(name).split('.').next().unwrap_or(name);
    let Some(found) = on_disk(ctx.node(), &kernel, bare) else {
        return Output::failed(1, format!("modinfo: ERROR: Module {name} not found.\n"));
    };
    let mut fields = vec![("filename", found.path.clone()), ("license", "GPL".to_owned())];
    if let Some(version) = &found.version {
        fields.push(("version", version.clone()));
        if bare == "drbd" {
            fields.push(("description", format!("drbd - Distributed Replicated Block Device v{version}")));
        }
    }
    fields.push(("depends", found.needs.join(",")));
    if found.in_tree {
        fields.push(("intree", "Y".to_owned()));
    }
    fields.push(("name", found.name.clone()));
    fields.push(("vermagic", format!("{kernel} SMP preempt mod_unload modversions ")));
    let wanted = if options.has(&["n", "filename"]) { Some("filename") } else { options.value(&["F", "field"]) };
    Output::ok(match wanted {
        Some(wanted) => fields.iter().filter(|(k, _)| *k == wanted).map(|(_, v)| format!("{v}\n")).collect::<String>(),
        None => fields.iter().map(|(k, v)| format!("{:<16}{v}\n", format!("{k}:"))).collect(),
    })
}

pub fn lsmod(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    if argv.len() > 1 {
        return not_simulated(argv, "options of lsmod");
    }
    let mut text = format!("{:<19} {:>8}  {}\n", "Module", "Size", "Used by");
    for name in ctx.node().modules.keys() {
        let users = users(ctx.node(), name);
        let size = 16384 + name.len() * 4096;
        text.push_str(format!("{name:<19} {size:>8}  {} {}", users.len(), users.join(",")).trim_end());
        text.push('\n');
    }
    Output::ok(text)
}

pub fn depmod(_ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    match Options::parse(argv, "aA", &["all", "quick"]) {
        Ok(_) => Output::default(),
        Err(output) => output,
    }
}

pub fn mokutil(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    match argv.get(1).map(String::as_str) {
        Some("--sb-state") => {
            Output::ok(if ctx.node().secure_boot { "SecureBoot enabled\n" } else { "SecureBoot disabled\n" })
        }
        Some("--test-key") => match ctx.node().mok_enrolled {
            true => Output {
                rc: 1,
                stdout: format!("{} is already enrolled\n", argv.get(2).map_or("", String::as_str)),
                stderr: String::new(),
            },
            false => Output::ok(format!("{} is not enrolled\n", argv.get(2).map_or("", String::as_str))),
        },
        _ => not_simulated(argv, "this use of mokutil"),
    }
}
