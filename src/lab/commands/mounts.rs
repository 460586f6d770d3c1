//! `mount`, `umount`, `findmnt`, `mountpoint`.

use super::options::Options;
use super::{Ctx, Place, not_simulated};
use crate::host::Output;
use crate::lab::device::{self, Content, DeviceRef, Mount};
use crate::lab::{drbd, guest};

/// The mount table as a program at the place sees it, pseudo file systems included.
fn table(ctx: &Ctx) -> Vec<Mount> {
    let text = ctx.text("/proc/self/mounts").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some(Mount {
                source: words.next()?.to_owned(),
                target: words.next()?.replace("\\040", " "),
                fstype: words.next()?.to_owned(),
                options: words.next()?.to_owned(),
                fs: None,
                guest: None,
            })
        })
        .collect()
}

pub fn findmnt(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let long = [
        "noheadings",
        "output=",
        "mountpoint=",
        "target=",
        "source=",
        "json",
        "raw",
        "types=",
        "first-only",
        "list",
        "notruncate",
        "evaluate",
        "mtab",
        "kernel",
        "fstab",
    ];
    let options = match Options::parse(argv, "no:M:T:S:Jrt:flukms", &long) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let mut rows = table(ctx);
    let target = options
        .value(&["M", "mountpoint"])
        .or_else(|| options.rest.iter().find(|r| r.starts_with('/') && !r.starts_with("/dev/")).map(String::as_str));
    if let Some(target) = target {
        let target = target.trim_end_matches('/');
        rows.retain(|m| m.target == if target.is_empty() { "/" } else { target });
    }
    if let Some(path) = options.value(&["T", "target"]) {
        let best = rows
            .iter()
            .filter(|m| m.target == "/" || path == m.target || path.starts_with(&format!("{}/", m.target)))
            .max_by_key(|m| m.target.len())
            .cloned();
        rows = best.into_iter().collect();
    }
    let source = options
        .value(&["S", "source"])
        .map(str::to_owned)
        .or_else(|| options.rest.iter().find(|r| r.starts_with("/dev/")).cloned());
    if let Some(source) = source {
        rows.retain(|m| m.source == source);
    }
    if let Some(types) = options.value(&["t", "types"]) {
        rows.retain(|m| types.split(',').any(|t| t == m.fstype));
    }
    if options.has(&["f", "first-only"]) {
        rows.truncate(1);
    }
    if rows.is_empty() {
        return Output { rc: 1, ..Output::default() };
    }
    let columns: Vec<String> = options
        .value(&["o", "output"])
        .unwrap_or("TARGET,SOURCE,FSTYPE,OPTIONS")
        .split(',')
        .map(str::to_uppercase)
        .collect();
    let cell = |m: &Mount, column: &str| match column {
        "TARGET" => Some(m.target.clone()),
        "SOURCE" => Some(m.source.clone()),
        "FSTYPE" => Some(m.fstype.clone()),
        "OPTIONS" | "VFS-OPTIONS" => Some(m.options.clone()),
        _ => None,
    };
    if let Some(unknown) = columns.iter().find(|c| cell(&rows[0], c).is_none()) {
        return not_simulated(argv, &format!("the column {unknown}"));
    }
    let line = |m: &Mount| columns.iter().filter_map(|c| cell(m, c)).collect::<Vec<_>>();
    if options.has(&["J", "json"]) {
        let list: Vec<serde_json::Value> = rows
            .iter()
            .map(|m| {
                columns
                    .iter()
                    .filter_map(|c| Some((c.to_lowercase(), cell(m, c)?.into())))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            })
            .collect();
        let text = serde_json::to_string_pretty(&serde_json::json!({ "filesystems": list })).unwrap_or_default();
        return Output::ok(format!("{text}\n"));
    }
    let mut text = if options.has(&["n", "noheadings"]) { String::new() } else { format!("{}\n", columns.join(" ")) };
    for row in &rows {
        text.push_str(&format!("{}\n", line(row).join(" ")));
    }
    Output::ok(text)
}

pub fn mountpoint(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "q", &["quiet"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let Some(path) = options.rest.first() else { return not_simulated(argv, "mountpoint without a path") };
    let yes = table(ctx).iter().any(|m| m.target == *path);
    let text = format!("{path} is {}a mountpoint\n", if yes { "" } else { "not " });
    Output {
        rc: if yes { 0 } else { 32 },
        stdout: if options.has(&["q", "quiet"]) { String::new() } else { text },
        stderr: String::new(),
    }
}

pub fn mount(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "t:o:arT:", &["types=", "options=", "all", "mkdir", "fstab="]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    if options.rest.is_empty() && !options.has(&["a", "all"]) {
        return Output::ok(
            table(ctx)
                .iter()
                .map(|m| format!("{} on {} type {} ({})\n", m.source, m.target, m.fstype, m.options))
                .collect::<String>(),
        );
    }
    let fstab = fstab(ctx, options.value(&["T", "fstab"]).unwrap_or("/etc/fstab"));
    if options.has(&["a", "all"]) {
        let mut output = Output::default();
        for entry in &fstab {
            let skip = entry.target == "none"
                || entry.options.split(',').any(|o| o == "noauto")
                || table(ctx).iter().any(|m| m.target == entry.target);
            if !skip {
                let one = mount_one(ctx, entry);
                output.stderr.push_str(&one.stderr);
                output.rc = output.rc.max(one.rc);
            }
        }
        return output;
    }
    let opts = options.value(&["o", "options"]).unwrap_or_default().to_owned();
    let kind = options.value(&["t", "types"]).unwrap_or_default().to_owned();
    let wanted = match options.rest.as_slice() {
        [one] if opts.split(',').any(|o| o == "remount") => {
            let target = one.clone();
            return if table(ctx).iter().any(|m| m.target == target) {
                Output::default()
            } else {
                Output::failed(32, format!("mount: {target}: mount point not mounted or bad option.\n"))
            };
        }
        [one] => match fstab.iter().find(|e| e.target == *one || e.source == *one) {
            Some(entry) => entry.clone(),
            None => return Output::failed(1, format!("mount: {one}: can't find in /etc/fstab.\n")),
        },
        [source, target] => {
            Mount { source: source.clone(), target: target.clone(), fstype: kind, options: opts, fs: None, guest: None }
        }
        _ => return Output::failed(1, "mount: bad usage\nTry 'mount --help' for more information.\n"),
    };
    mount_one(ctx, &wanted)
}

fn fstab(ctx: &Ctx, path: &str) -> Vec<Mount> {
    let text = ctx.text(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let (source, target, fstype) =
                (words.next()?.to_owned(), words.next()?.to_owned(), words.next()?.to_owned());
            Some(Mount {
                source,
                target,
                fstype,
                options: words.next().unwrap_or("defaults").to_owned(),
                fs: None,
                guest: None,
            })
        })
        .collect()
}

fn mount_one(ctx: &mut Ctx, wanted: &Mount) -> Output {
    let Mount { source, target, fstype, options, .. } = wanted;
    let hint = "       dmesg(1) may have more information after failed mount system call.\n";
    if !ctx.exists(target) {
        return Output::failed(
            32,
            format!(
                "mount: {target}: mount point does not exist.\n       dmesg(1) may have more information after failed mount system call.\n"
            ),
        );
    }
    if matches!(ctx.place, Place::Container(_)) {
        return Output::failed(32, format!("mount: {target}: permission denied.\n{hint}"));
    }
    let node = ctx.node_name();
    let kept: Vec<&str> = options
        .split(',')
        .filter(|o| !["", "defaults", "noauto", "nofail", "_netdev", "rw"].contains(o) && !o.starts_with("x-"))
        .collect();
    let shown = if kept.contains(&"ro") { kept.join(",") } else { [vec!["rw"], kept].concat().join(",") };
    if fstype.starts_with("nfs") || (fstype.is_empty() && source.contains(":/")) {
        let Some((server, path)) = source.split_once(':') else {
            return Output::failed(32, "mount.nfs: remote share not in 'host:dir' format\n");
        };
        return match guest::nfs_exports(ctx.world, ctx.files, server) {
            None => Output::failed(32, format!("mount.nfs: No route to host for {source} on {target}\n")),
            Some(exports) if !exports.iter().any(|e| e == path) => Output::failed(
                32,
                format!("mount.nfs: mounting {source} failed, reason given by server: No such file or directory\n"),
            ),
            Some(_) => {
                ctx.node_mut().mounts.push(Mount { fstype: "nfs".into(), options: shown, ..wanted.clone() });
                Output::default()
            }
        };
    }
    if ["tmpfs", "nfsd", "rpc_pipefs", "proc", "sysfs"].contains(&fstype.as_str()) {
        ctx.node_mut().mounts.push(Mount { options: shown, ..wanted.clone() });
        return Output::default();
    }
    let Some(found) = device::find(ctx.world, &node, source) else {
        return Output::failed(32, format!("mount: {target}: special device {source} does not exist.\n{hint}"));
    };
    if let DeviceRef::Plain(name) = &found {
        if drbd::holds_backing(ctx.world, &node, source) {
            return Output::failed(
                32,
                format!("mount: {target}: fsconfig() failed: {source}: Can't open blockdev.\n{hint}"),
            );
        }
        if drbd::has_metadata(ctx.world, &node, name) && fstype.is_empty() {
            return Output::failed(32, format!("mount: {target}: unknown filesystem type 'drbd'.\n{hint}"));
        }
        if !matches!(device::content(ctx.world, &node, &found), Content::Filesystem(_)) {
            return Output::failed(
                32,
                format!(
                    "mount: {target}: wrong fs type, bad option, bad superblock on {source}, missing codepage or helper program, or other error.\n{hint}"
                ),
            );
        }
    }
    match device::mount(ctx.world, &node, source, target, &shown, None) {
        Ok(_) => Output::default(),
        Err(e) if e.errno == "EINVAL" => Output::failed(
            32,
            format!(
                "mount: {target}: wrong fs type, bad option, bad superblock on {source}, missing codepage or helper program, or other error.\n{hint}"
            ),
        ),
        Err(_) => {
            Output::failed(32, format!("mount: {target}: fsconfig() failed: {source}: Can't open blockdev.\n{hint}"))
        }
    }
}

pub fn umount(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "lfR", &["lazy", "force", "recursive"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    if ctx.in_container() {
        return not_simulated(argv, "umount inside a container");
    }
    let node = ctx.node_name();
    for what in &options.rest {
        let target = ctx
            .node()
            .mounts
            .iter()
            .rev()
            .find(|m| m.guest.is_none() && (m.target == *what || m.source == *what))
            .map(|m| m.target.clone());
        let Some(target) = target else { return Output::failed(32, format!("umount: {what}: not mounted.\n")) };
        let busy = ctx.system().exports.iter().any(|e| e.starts_with(&target));
        if busy && !options.has(&["l", "lazy"]) {
            return Output::failed(32, format!("umount: {target}: target is busy.\n"));
        }
        device::unmount(ctx.world, &node, &target, None);
    }
    Output::default()
}
