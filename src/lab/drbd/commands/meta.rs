//! drbdmeta: metadata on a disk, and `create-md` with everything it refuses.

use super::Run;
use super::words::Words;
use crate::lab::drbd::machines::{Data, Device};
use crate::lab::drbd::metadata::{self, bitmap_bytes, layout};
use crate::lab::drbd::role::clock;

const NOT_A_TTY: &str = "stdin not a TTY, not waiting for confirmation\n";
const FORCED: &str = "*** confirmation forced via --force option ***\n";

/// `drbdmeta MINOR v09 DISK internal COMMAND …`.
pub fn run(run: &mut Run, args: &[String]) -> i32 {
    let words = Words::read(args, &[]);
    let [minor, version, disk, index, command, rest @ ..] = &words.words[..] else {
        run.complain("USAGE: drbdmeta DEVICE FORMAT [FORMAT ARGS...] COMMAND [CMD ARGS...]\n");
        return 20;
    };
    let Ok(minor) = minor.trim_start_matches("/dev/drbd").parse::<u32>() else {
        run.complain(format!("'{minor}' is not a minor\n"));
        return 20;
    };
    if version != "v09" || index != "internal" {
        run.complain("drbdmeta: the lab simulates internal metadata of format v09 only\n");
        return 125;
    }
    let peer = words.value(&["node-id"]).and_then(|v| v.parse().ok()).unwrap_or(0);
    match command.as_str() {
        "create-md" => {
            let peers = rest.first().and_then(|p| p.parse().ok()).unwrap_or(1);
            create_md(run, minor, disk, peers, words.has(&["force"]))
        }
        "dump-md" => dump_md(run, minor, disk),
        "get-gi" | "show-gi" => generations(run, disk, &[peer], command == "show-gi"),
        "apply-al" => apply_al(run, minor, disk),
        "dstate" => dstate(run, disk),
        "wipe-md" => wipe_md(run, minor, disk, words.has(&["force"])),
        "outdate" => outdate(run, minor, disk),
        other => {
            run.complain(format!("drbdmeta: the lab does not simulate {other}\n"));
            125
        }
    }
}

fn device(run: &mut Run, disk: &str) -> Result<Device, i32> {
    run.machines.device(run.node, disk).ok_or_else(|| {
        run.complain(format!("open({disk}) failed: No such file or directory\n"));
        20
    })
}

fn attached(run: &Run, device: &Device) -> bool {
    let kernel = run.fabric.kernels.get(run.node);
    kernel.into_iter().flatten().any(|(_, r)| r.backing.as_ref().is_some_and(|b| b.device == device.device))
}

/// What drbdadm calls below itself.
pub fn create_command(minor: u32, disk: &str, peers: u32, force: bool) -> String {
    let force = if force { " --force" } else { "" };
    format!("drbdmeta {minor} v09 {disk} internal create-md {peers}{force}")
}

pub fn create_md(run: &mut Run, minor: u32, disk: &str, peers: u32, force: bool) -> i32 {
    let device = match run.machines.device(run.node, disk) {
        Some(device) => device,
        None => {
            run.complain(format!("open({disk}) failed: No such file or directory\n").repeat(2));
            return 20;
        }
    };
    if attached(run, &device) || device.busy {
        let asks = format!("open({disk}) failed: Device or resource busy\n\nExclusive open failed. Do it anyways?\n");
        run.complain(&asks);
        if !force {
            run.complain(NOT_A_TTY);
            run.say("Operation canceled.\n");
            return 20;
        }
        run.complain(FORCED);
        if attached(run, &device) {
            run.complain(format!(
                "# Output might be stale, since minor {minor} is attached\nDevice '{minor}' is configured!\n"
            ));
            return 20;
        }
        run.complain(format!("{asks}{FORCED}"));
    }
    let Some(layout) = layout(device.size_bytes, peers) else {
        run.complain(format!("{} is only {} bytes. That's not enough.\n", disk, device.size_bytes).repeat(2));
        return 10;
    };
    if let Some(old) = run.fabric.metadata_on(run.node, &device.device) {
        let at = metadata::layout(old.device_bytes, old.max_peers).map_or(layout.md, |l| l.md);
        run.complain(format!(
            "You want me to create a v09 style flexible-size internal meta data block.\n\
             There appears to be a v09 flexible-size internal meta data block\n\
             already in place on {disk} at byte offset {at}\n\n\
             Do you really want to overwrite the existing meta-data?\n"
        ));
        if !force {
            run.complain(NOT_A_TTY);
            run.say("Operation cancelled.\n");
            return 1;
        }
        run.complain(FORCED);
    }
    let rc = found_data(run, &device, layout, force);
    if rc != 0 {
        return rc;
    }
    run.complain(format!("initializing bitmap ({} KB) to all zero\n", bitmap_bytes(device.size_bytes, peers) / 1024));
    run.say("initializing activity log\nWriting meta data...\nNew drbd meta data block successfully created.\n");
    let node = run.node.to_owned();
    run.fabric.create_metadata(&node, &device.device, device.size_bytes, peers);
    0
}

fn found_data(run: &mut Run, device: &Device, layout: metadata::Layout, force: bool) -> i32 {
    let offsets = format!("md_offset {}\nal_offset {}\nbm_offset {}\n\n", layout.md, layout.al, layout.bm);
    let usable = layout.bm / 1024;
    let (found, is_guess) = match &device.data {
        Data::Blank => return 0,
        Data::Other => ("Found some data\n\n ==> This might destroy existing data! <==\n".to_owned(), true),
        Data::Ext4 { size_kib } => (
            format!(
                "Found ext3 filesystem\n{size_kib:>12} kB data area apparently used\n{usable:>12} kB left usable by current configuration\n\n"
            ),
            *size_kib <= usable,
        ),
    };
    run.say(offsets + &found);
    if !is_guess {
        run.say(
            "Device size would be truncated, which\nwould corrupt data and result in\n'access beyond end of device' errors.\n\
             You need to either\n   * use external meta data (recommended)\n   * shrink that filesystem first\n   \
             * zero out the device (destroy the filesystem)\nOperation refused.\n\n",
        );
        return 40;
    }
    if matches!(device.data, Data::Ext4 { .. }) {
        run.say(
            "Even though it looks like this would place the new meta data into\nunused space, you still need to confirm, as this is only a guess.\n",
        );
    }
    run.complain("\nDo you want to proceed?\n");
    if force {
        run.complain(FORCED);
        0
    } else {
        run.complain(NOT_A_TTY);
        run.say("Operation canceled.\n");
        1
    }
}

fn no_metadata(run: &mut Run) -> i32 {
    run.complain("No valid meta data found\n");
    1
}

/// Makes metadata attachable after a crash.
pub fn apply_al(run: &mut Run, _minor: u32, disk: &str) -> i32 {
    let device = match device(run, disk) {
        Ok(device) => device,
        Err(rc) => return rc,
    };
    let Some(md) = run.fabric.metadata.get_mut(run.node).and_then(|d| d.get_mut(&device.device)) else {
        return no_metadata(run);
    };
    if !md.al_clean && md.primary_known {
        // One extent of 4 MiB that was hot when the power went.
        let usable = metadata::usable_kib(md.device_bytes, md.max_peers);
        for slot in md.peers.values_mut() {
            slot.out_of_sync_kib = (slot.out_of_sync_kib + 4096).min(usable);
        }
        run.complain("Marked additional 4096 KB as out-of-sync based on AL.\n");
    }
    if let Some(md) = run.fabric.metadata.get_mut(run.node).and_then(|d| d.get_mut(&device.device)) {
        md.al_clean = true;
    }
    0
}

/// `get-gi` and `show-gi` from the disk. Without metadata nothing is said, only the exit code tells.
pub fn generations(run: &mut Run, disk: &str, peers: &[u32], explained: bool) -> i32 {
    let device = match device(run, disk) {
        Ok(device) => device,
        Err(rc) => return rc,
    };
    let Some(md) = run.fabric.metadata_on(run.node, &device.device).cloned() else { return 1 };
    for peer in peers {
        if explained {
            run.say(metadata::gi_explained(&md, *peer));
        } else {
            run.say(metadata::gi_line(&md, *peer) + "\n");
        }
    }
    0
}

pub fn dump_md(run: &mut Run, minor: u32, disk: &str) -> i32 {
    let device = match device(run, disk) {
        Ok(device) => device,
        Err(rc) => return rc,
    };
    if attached(run, &device) {
        run.complain(format!(
            "open({disk}) failed: Device or resource busy\n\nExclusive open failed. Do it anyways?\n{NOT_A_TTY}"
        ));
        run.say("Operation canceled.\n");
        return 20;
    }
    let Some(md) = run.fabric.metadata_on(run.node, &device.device).cloned() else { return no_metadata(run) };
    if !md.al_clean {
        run.complain("Found meta data is \"unclean\", please apply-al first\n");
        return 255;
    }
    let now = run.fabric.now_ms;
    let when = format!("{} +0000 [{}]", &clock(now)[..19], now / 1000);
    let text = metadata::dump(&md, run.node, minor, disk, &when);
    run.say(text);
    0
}

/// The disk state that a detached disk would have.
pub fn dstate(run: &mut Run, disk: &str) -> i32 {
    let device = match device(run, disk) {
        Ok(device) => device,
        Err(rc) => return rc,
    };
    let Some(md) = run.fabric.metadata_on(run.node, &device.device) else { return no_metadata(run) };
    let word = match (md.consistent, md.up_to_date) {
        (false, _) => "Inconsistent",
        (true, false) => "Outdated",
        (true, true) => "Consistent",
    };
    run.say(format!("{word}\n"));
    0
}

pub fn wipe_md(run: &mut Run, minor: u32, disk: &str, force: bool) -> i32 {
    let device = match device(run, disk) {
        Ok(device) => device,
        Err(rc) => return rc,
    };
    if attached(run, &device) {
        run.complain(format!("Device '{minor}' is configured!\n"));
        return 20;
    }
    if run.fabric.metadata_on(run.node, &device.device).is_none() {
        run.complain("There appears to be no drbd meta data to wipe out?\n");
        return 0;
    }
    run.complain("\nDo you really want to wipe out the DRBD meta data?\n");
    if !force {
        run.complain(NOT_A_TTY);
        run.say("Operation cancelled.\n");
        return 1;
    }
    run.complain(FORCED);
    run.say("Wiping meta data...\nDRBD meta data block successfully wiped out.\n");
    if let Some(disks) = run.fabric.metadata.get_mut(run.node) {
        disks.remove(&device.device);
    }
    0
}

pub fn outdate(run: &mut Run, minor: u32, disk: &str) -> i32 {
    let device = match device(run, disk) {
        Ok(device) => device,
        Err(rc) => return rc,
    };
    if attached(run, &device) {
        run.complain(format!("Device '{minor}' is configured!\n"));
        return 20;
    }
    match run.fabric.metadata.get_mut(run.node).and_then(|d| d.get_mut(&device.device)) {
        Some(md) => md.up_to_date = false,
        None => return no_metadata(run),
    }
    0
}
