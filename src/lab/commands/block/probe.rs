//! What a device holds and how large it is: `blkid`, `lsblk`, `wipefs`, `blockdev`.
//!
//! Signatures are named, never wiped; columns and output formats that are not played are refused.

use super::{BLOCK_BYTES, filesystem, look};
use crate::host::Output;
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, not_simulated};
use crate::lab::device::{self, Content, DeviceRef};
use crate::lab::drbd;

/// Tags in blkid's order.
fn tags(ctx: &Ctx, device: &DeviceRef, content: &Content, usage: Option<&str>) -> Vec<(&'static str, String)> {
    if let DeviceRef::Plain(name) = device
        && usage.is_none_or(|u| u.split(',').any(|u| u == "raid"))
        && drbd::has_metadata(ctx.world, &ctx.node_name(), name)
    {
        // Found at the end of the disk, and it wins over what lies before it.
        let uuid =
            format!("{:016x}", name.bytes().fold(0x75f9_64df_8c65_u64, |h, b| h.wrapping_mul(31) + u64::from(b)));
        return vec![("UUID", uuid), ("VERSION", "v09".into()), ("TYPE", "drbd".into()), ("USAGE", "raid".into())];
    }
    if usage.is_some_and(|u| !u.split(',').any(|u| u == "filesystem")) {
        return Vec::new();
    }
    if let Content::Other(kind) = content {
        return vec![("TYPE", kind.clone())];
    }
    let Some(fs) = filesystem(ctx, content) else { return Vec::new() };
    let mut tags = Vec::new();
    if let Some(label) = &fs.label {
        tags.push(("LABEL", label.clone()));
    }
    tags.push(("UUID", fs.uuid.clone()));
    tags.push(("VERSION", "1.0".into()));
    if ctx.system().debian >= 13 {
        tags.push(("FSBLOCKSIZE", BLOCK_BYTES.to_string()));
    }
    tags.push(("BLOCK_SIZE", BLOCK_BYTES.to_string()));
    if ctx.system().debian >= 13 {
        tags.push(("FSLASTBLOCK", (fs.size_kib * 1024 / BLOCK_BYTES).to_string()));
        tags.push(("FSSIZE", (fs.size_kib * 1024).to_string()));
    }
    tags.extend([("TYPE", fs.kind), ("USAGE", "filesystem".to_owned())]);
    tags
}

/// Exit 2: nothing was recognised, or the device did not open; with `-p` the second is told on standard error.
pub fn blkid(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options =
        match Options::parse(argv, "po:s:c:ln:u:w:", &["probe", "output=", "match-tag=", "cache-file=", "usages="]) {
            Ok(options) => options,
            Err(output) => return output,
        };
    let low = options.has(&["p", "probe"]);
    let format = options.value(&["o", "output"]).unwrap_or("full").to_owned();
    let wanted = options.values(&["s", "match-tag"]);
    let mut devices = options.rest.clone();
    if devices.is_empty() {
        devices = ctx.node().devices.keys().map(|n| format!("/dev/{n}")).collect();
    }
    let mut output = Output { rc: 2, ..Output::default() };
    for path in devices {
        let (device, content) = match look(ctx, &path) {
            Ok(found) => found,
            Err(error) => {
                if low {
                    output.stderr.push_str(&format!("blkid: error: {path}: {}\n", error.text()));
                }
                continue;
            }
        };
        let mut list = tags(ctx, &device, &content, options.value(&["u", "usages"]));
        if !wanted.is_empty() {
            list.retain(|(k, _)| wanted.contains(k));
        }
        if list.is_empty() {
            continue;
        }
        output.rc = 0;
        output.stdout.push_str(&match format.as_str() {
            "export" => {
                format!("DEVNAME={path}\n{}", list.iter().map(|(k, v)| format!("{k}={v}\n")).collect::<String>())
            }
            "value" => list.iter().map(|(_, v)| format!("{v}\n")).collect(),
            "udev" => list.iter().map(|(k, v)| format!("ID_FS_{k}={v}\n")).collect(),
            "full" => {
                format!("{path}: {}\n", list.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect::<Vec<_>>().join(" "))
            }
            other => return not_simulated(argv, &format!("the output format {other}")),
        });
    }
    output
}

pub fn wipefs(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "anfqpO:", &["all", "no-act", "force", "quiet", "parsable", "noheadings"])
    {
        Ok(options) => options,
        Err(output) => return output,
    };
    let mut text = String::new();
    for path in &options.rest {
        let (device, content) = match look(ctx, path) {
            Ok(found) => found,
            Err(e) => {
                return Output::failed(
                    1,
                    format!("wipefs: error: {path}: probing initialization failed: {}\n", e.text()),
                );
            }
        };
        let list = tags(ctx, &device, &content, None);
        let Some((_, kind)) = list.iter().find(|(k, _)| *k == "TYPE") else { continue };
        if options.has(&["a", "all"]) && !options.has(&["n", "no-act"]) {
            return not_simulated(argv, "wiping signatures");
        }
        let uuid = list.iter().find(|(k, _)| *k == "UUID").map_or("", |(_, v)| v.as_str());
        let name = path.rsplit('/').next().unwrap_or(path);
        let offset = if kind == "drbd" { "0x3fff03c" } else { "0x438" };
        if text.is_empty() {
            text.push_str("DEVICE OFFSET    TYPE UUID             LABEL\n");
        }
        text.push_str(&format!("{name:<6} {offset:<9} {kind:<4} {uuid} \n"));
    }
    Output::ok(text)
}

pub fn lsblk(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(
        argv,
        "no:dbJplrP",
        &["noheadings", "output=", "nodeps", "bytes", "json", "paths", "list", "raw"],
    ) {
        Ok(options) => options,
        Err(output) => return output,
    };
    if options.has(&["J", "json", "P"]) {
        return not_simulated(argv, "this output format of lsblk");
    }
    let columns: Vec<String> = options
        .value(&["o", "output"])
        .unwrap_or("NAME,SIZE,TYPE,MOUNTPOINTS")
        .split(',')
        .map(str::to_uppercase)
        .collect();
    let mut paths = options.rest.clone();
    if paths.is_empty() {
        paths = ctx.node().devices.keys().map(|n| format!("/dev/{n}")).collect();
        paths.extend(drbd::minors(ctx.world, &ctx.node_name()).iter().map(|m| format!("/dev/drbd{m}")));
    }
    let mut text = if options.has(&["n", "noheadings"]) { String::new() } else { format!("{}\n", columns.join(" ")) };
    for path in paths {
        let Some(device) = device::find(ctx.world, &ctx.node_name(), &path) else {
            return Output::failed(32, format!("lsblk: {path}: not a block device\n"));
        };
        let content = look(ctx, &path).map(|(_, c)| c).unwrap_or_default();
        let list = tags(ctx, &device, &content, None);
        let tag = |key: &str| list.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone()).unwrap_or_default();
        let size = device::size_kib(ctx.world, &ctx.node_name(), &device);
        let mut cells = Vec::new();
        for column in &columns {
            cells.push(match column.as_str() {
                "NAME" | "KNAME" => path.trim_start_matches("/dev/").to_owned(),
                "PATH" => path.clone(),
                "SIZE" if options.has(&["b", "bytes"]) => (size * 1024).to_string(),
                "SIZE" => format!("{}G", size / 1024 / 1024),
                "TYPE" => if path.contains('p') || path.contains("drbd") { "part" } else { "disk" }.to_owned(),
                "FSTYPE" => tag("TYPE"),
                "UUID" => tag("UUID"),
                "MOUNTPOINT" | "MOUNTPOINTS" => ctx
                    .node()
                    .mounts
                    .iter()
                    .find(|m| m.source == path && m.guest.is_none())
                    .map(|m| m.target.clone())
                    .unwrap_or_default(),
                other => return not_simulated(argv, &format!("the column {other}")),
            });
        }
        text.push_str(cells.join(" ").trim_end());
        text.push('\n');
    }
    Output::ok(text)
}

pub fn blockdev(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let [_, what, path] = argv else { return not_simulated(argv, "this use of blockdev") };
    let device = match look(ctx, path) {
        Ok((device, _)) => device,
        Err(e) => return Output::failed(1, format!("blockdev: cannot open {path}: {}\n", e.text())),
    };
    let bytes = device::size_kib(ctx.world, &ctx.node_name(), &device) * 1024;
    match what.as_str() {
        "--getsize64" => Output::ok(format!("{bytes}\n")),
        "--getsz" => Output::ok(format!("{}\n", bytes / 512)),
        "--getro" => Output::ok("0\n"),
        _ => not_simulated(argv, what),
    }
}
