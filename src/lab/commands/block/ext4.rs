//! ext4 on a device: `mkfs`, `dumpe2fs`, `tune2fs -l`, `debugfs`.
//!
//! A mounted or open device is not formatted, a feature that e2fsprogs does not know is refused, and `debugfs` lists
//! directories only.

use super::{BLOCK_BYTES, filesystem, look};
use crate::host::Output;
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, clock, not_simulated};
use crate::lab::device::{self, Content, Filesystem, OpenMode};
use crate::lab::files::copy_tree;

const DEFAULT_FEATURES: &[&str] = &[
    "has_journal",
    "ext_attr",
    "resize_inode",
    "dir_index",
    "orphan_file",
    "filetype",
    "extent",
    "64bit",
    "flex_bg",
    "metadata_csum_seed",
    "sparse_super",
    "large_file",
    "huge_file",
    "dir_nlink",
    "extra_isize",
    "metadata_csum",
];

const OTHER_FEATURES: &[&str] = &[
    "mmp",
    "quota",
    "project",
    "casefold",
    "encrypt",
    "verity",
    "bigalloc",
    "inline_data",
    "sparse_super2",
    "uninit_bg",
];

/// `mkfs -t ext4`, `mkfs.ext4`, `mke2fs`.
pub fn mkfs(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let program = argv[0].rsplit('/').next().unwrap_or_default().to_owned();
    let options = match Options::parse(argv, "t:O:E:L:qFU:m:b:N:i:I:nvj", &["type="]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let kind = match program.strip_prefix("mkfs.") {
        Some(kind) => kind,
        None => options.value(&["t", "type"]).unwrap_or("ext2"),
    };
    if kind != "ext4" {
        return not_simulated(argv, &format!("the file system {kind}"));
    }
    let banner =
        if ctx.system().debian == 12 { "mke2fs 1.47.0 (5-Feb-2023)\n" } else { "mke2fs 1.47.2 (1-Jan-2025)\n" };
    let quiet = options.has(&["q"]);
    let head = if quiet { String::new() } else { banner.to_owned() };
    let Some(path) = options.rest.first().cloned() else {
        return Output::failed(1, format!("{head}Usage: {program} [options] device\n"));
    };
    let mut features: Vec<String> = DEFAULT_FEATURES.iter().map(|f| (*f).to_owned()).collect();
    if ctx.system().debian == 12 {
        features.retain(|f| f != "orphan_file" && f != "metadata_csum_seed");
    }
    for word in options.values(&["O"]).iter().flat_map(|v| v.split(',')) {
        let (name, on) = word.strip_prefix('^').map_or((word, true), |n| (n, false));
        if !DEFAULT_FEATURES.contains(&name) && !OTHER_FEATURES.contains(&name) {
            return Output::failed(
                1,
                format!("{head}Invalid filesystem option set: {}\n", options.values(&["O"]).join(",")),
            );
        }
        features.retain(|f| f != name);
        if on {
            features.push(name.to_owned());
        }
    }
    let mut mmp_interval_s = 5;
    for word in options.values(&["E"]).iter().flat_map(|v| v.split(',')) {
        match word.split_once('=') {
            Some(("mmp_update_interval", seconds)) => mmp_interval_s = seconds.parse().unwrap_or(5),
            Some(("root_owner" | "lazy_itable_init" | "lazy_journal_init" | "stride" | "stripe_width", _)) => {}
            None if ["root_owner", "discard", "nodiscard"].contains(&word) => {}
            _ => return Output::failed(1, format!("{head}\nBad option(s) specified: {word}\n")),
        }
    }
    let node = ctx.node_name();
    let mounted = ctx.node().mounts.iter().any(|m| m.source == path);
    if mounted {
        return Output::failed(1, format!("{head}{path} is mounted; will not make a filesystem here!\n"));
    }
    let device = match device::open(ctx.world, &node, &path, OpenMode::Write, &program) {
        Ok(device) => device,
        Err(e) if e.errno == "ENOENT" => {
            return Output::failed(1, format!("{head}The file {path} does not exist and no size was specified.\n"));
        }
        Err(e) if e.errno == "EBUSY" => {
            return Output::failed(
                1,
                format!("{head}{path} is apparently in use by the system; will not make a filesystem here!\n"),
            );
        }
        Err(e) => {
            return Output::failed(
                1,
                format!("{head}{program}: {} while trying to determine filesystem size\n", e.text()),
            );
        }
    };
    let size_kib = device::size_kib(ctx.world, &node, &device);
    let fs = format!("fs{}", ctx.world.fresh_id());
    let uuid = options.value(&["U"]).map_or_else(|| ctx.world.fresh_uuid(), str::to_owned);
    let state = Filesystem {
        kind: kind.to_owned(),
        uuid: uuid.clone(),
        label: options.value(&["L"]).map(str::to_owned),
        size_kib,
        mmp_interval_s: if features.iter().any(|f| f == "mmp") { mmp_interval_s } else { 0 },
        features,
        clean: true,
        made_at_s: ctx.world.now_s(),
        ..Filesystem::default()
    };
    let mmp = state.mmp_interval_s;
    let made = std::fs::create_dir_all(ctx.files.filesystem(&fs).join("lost+found"));
    if let Err(e) = made {
        device::close(ctx.world, &node, &device, &program);
        return Output::failed(1, format!("{head}{program}: {e}\n"));
    }
    ctx.world.filesystems.insert(fs.clone(), state);
    device::set_content(ctx.world, &node, &device, Content::Filesystem(fs));
    device::close(ctx.world, &node, &device, &program);
    if quiet {
        return Output::default();
    }
    let blocks = size_kib * 1024 / BLOCK_BYTES;
    let mmp_line = if mmp > 0 {
        format!("Multiple mount protection is enabled with update interval {mmp} seconds.\n")
    } else {
        String::new()
    };
    Output {
        rc: 0,
        stdout: format!(
            "Creating filesystem with {blocks} 4k blocks and {} inodes\nFilesystem UUID: {uuid}\nSuperblock backups stored on blocks: \n\t32768, 98304, 163840, 229376, 294912\n\nAllocating group tables: done                            \nWriting inode tables: done                            \nCreating journal (16384 blocks): done\n{mmp_line}Writing superblocks and filesystem accounting information: done\n\n",
            blocks / 4
        ),
        stderr: head,
    }
}

/// `dumpe2fs -h` and `tune2fs -l`.
pub fn dumpe2fs(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let program = argv[0].rsplit('/').next().unwrap_or_default().to_owned();
    let head = if ctx.system().debian == 12 {
        format!("{program} 1.47.0 (5-Feb-2023)\n")
    } else {
        format!("{program} 1.47.2 (1-Jan-2025)\n")
    };
    let options = match Options::parse(argv, "hl", &[]) {
        Ok(options) if options.has(&["h", "l"]) => options,
        Ok(_) => return not_simulated(argv, &format!("{program} beyond the super block")),
        Err(output) => return output,
    };
    let Some(path) = options.rest.first().cloned() else { return Output::failed(1, head) };
    let content = match look(ctx, &path) {
        Ok((_, content)) => content,
        Err(e) => {
            return Output::failed(
                1,
                format!(
                    "{head}{program}: {} while trying to open {path}\nCouldn't find valid filesystem superblock.\n",
                    e.text()
                ),
            );
        }
    };
    let Some(fs) = filesystem(ctx, &content) else {
        return Output::failed(
            1,
            format!(
                "{head}{program}: Bad magic number in super-block while trying to open {path}\nCouldn't find valid filesystem superblock.\n"
            ),
        );
    };
    let made = clock::ctime(fs.made_at_s);
    let blocks = fs.size_kib * 1024 / BLOCK_BYTES;
    let mut text = format!(
        "Filesystem volume name:   {}\nLast mounted on:          <not available>\nFilesystem UUID:          {}\nFilesystem magic number:  0xEF53\nFilesystem revision #:    1 (dynamic)\nFilesystem features:      {}\nFilesystem flags:         signed_directory_hash \nDefault mount options:    user_xattr acl\nFilesystem state:         {}\nErrors behavior:          Continue\nFilesystem OS type:       Linux\nInode count:              {}\nBlock count:              {blocks}\nReserved block count:     {}\nFirst block:              0\nBlock size:               {BLOCK_BYTES}\nFragment size:            {BLOCK_BYTES}\nFilesystem created:       {made}\nLast checked:             {made}\n",
        fs.label.as_deref().unwrap_or("<none>"),
        fs.uuid,
        fs.features.join(" "),
        if fs.clean { "clean" } else { "not clean" },
        blocks / 4,
        blocks / 20
    );
    if fs.mmp_interval_s > 0 {
        text.push_str(&format!("MMP block number:         7985\nMMP update interval:      {}\n", fs.mmp_interval_s));
    }
    if program == "dumpe2fs" {
        text.push_str("Journal features:         (none)\n");
        if fs.mmp_interval_s > 0 {
            text.push_str(&format!(
                "MMP_block:\n    mmp_magic: 0x4d4d50\n    mmp_check_interval: {}\n    mmp_sequence: 0xff4d4d50\n    mmp_update_date: {made}\n    mmp_update_time: {}\n    mmp_node_name: {}\n    mmp_device_name: {path}\n",
                fs.mmp_interval_s, fs.made_at_s, fs.mmp_node.as_deref().unwrap_or_default()
            ));
        }
        text.push('\n');
    }
    Output {
        rc: 0,
        stdout: if program == "tune2fs" { format!("{head}{text}") } else { text },
        stderr: if program == "tune2fs" { String::new() } else { head },
    }
}

/// `debugfs -R 'ls -p DIR' DEVICE`: names on a file system that need not be mounted.
pub fn debugfs(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let head =
        if ctx.system().debian == 12 { "debugfs 1.47.0 (5-Feb-2023)\n" } else { "debugfs 1.47.2 (1-Jan-2025)\n" };
    let options = match Options::parse(argv, "R:c", &[]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let (Some(request), Some(path)) = (options.value(&["R"]).map(str::to_owned), options.rest.first().cloned()) else {
        return not_simulated(argv, "debugfs without -R and a device");
    };
    let words: Vec<&str> = request.split_whitespace().collect();
    let (["ls", "-p", dir], true) = (words.as_slice(), words.len() == 3) else {
        return not_simulated(argv, &format!("the request `{request}`"));
    };
    // debugfs ends with 0 whatever the request came to.
    let unable = |why: String| Output { rc: 0, stdout: String::new(), stderr: format!("{head}{why}") };
    let content = match look(ctx, &path) {
        Ok((_, content)) => content,
        Err(e) => {
            return unable(format!("debugfs: {} while trying to open {path}\nls: Filesystem not open\n", e.text()));
        }
    };
    let Content::Filesystem(fs) = content else {
        return unable(format!(
            "debugfs: Bad magic number in super-block while trying to open {path}\nls: Filesystem not open\n"
        ));
    };
    let real = ctx.files.filesystem(&fs).join(dir.trim_start_matches('/'));
    let Ok(entries) = std::fs::read_dir(&real) else {
        return unable(format!("{dir}: File not found by ext2_lookup \n"));
    };
    let mut names: Vec<_> = entries.flatten().map(|e| (e.file_name().to_string_lossy().into_owned(), e)).collect();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = "/2/040755/0/0/.//\n/2/040755/0/0/..//\n".to_owned();
    for (inode, (name, entry)) in (11..).zip(names) {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            let mode = if name == "lost+found" { "040700" } else { "040755" };
            text.push_str(&format!("/{inode}/{mode}/0/0/{name}//\n"));
        } else {
            text.push_str(&format!("/{inode}/100644/0/0/{name}/{}/\n", meta.len()));
        }
    }
    text.push('\n');
    Output { rc: 0, stdout: text, stderr: head.to_owned() }
}

/// Puts foreign data on a device, for scenarios.
pub fn put_foreign_filesystem(ctx: &mut Ctx, kernel_name: &str) -> std::io::Result<()> {
    let fs = format!("fs{}", ctx.world.fresh_id());
    let uuid = ctx.world.fresh_uuid();
    let tree = ctx.files.filesystem(&fs);
    copy_tree(std::path::Path::new("/nonexistent"), &tree)?;
    std::fs::write(tree.join("holiday.jpg"), "somebody's pictures")?;
    let now = ctx.world.now_s();
    let features = DEFAULT_FEATURES.iter().map(|f| (*f).to_owned()).collect();
    let state = Filesystem {
        kind: "ext4".into(),
        uuid,
        size_kib: 8 * 1024 * 1024,
        features,
        clean: true,
        made_at_s: now,
        ..Filesystem::default()
    };
    ctx.world.filesystems.insert(fs.clone(), state);
    if let Some(device) = ctx.node_mut().devices.get_mut(kernel_name) {
        device.content = Content::Filesystem(fs);
    }
    Ok(())
}
