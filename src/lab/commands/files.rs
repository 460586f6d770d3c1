//! Programs for files: `cat`, `cp`, `mv`, `rm`, `mkdir`, `ln`, `touch`, `chmod`, `chown`, `install`, `ls`, `stat`, `test`, `sha256sum`.

use super::options::Options;
use super::{Ctx, not_simulated};
use crate::host::{FileKind, Output};
use crate::lab::files::FileError;
use sha2::{Digest, Sha256, Sha512};

fn fail(argv: &[String], what: &str, error: &FileError) -> Output {
    Output::failed(1, format!("{}: {what} '{}': {}\n", argv[0], error.path, error.text))
}

fn read(ctx: &Ctx, argv: &[String], path: &str) -> Result<Vec<u8>, Output> {
    match ctx.view().read(&ctx.absolute(path)) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Output::failed(1, format!("{}: {path}: No such file or directory\n", argv[0]))),
        Err(e) => Err(Output::failed(1, format!("{}: {path}: {}\n", argv[0], e.text))),
    }
}

pub fn cat(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let mut output = Output::default();
    if argv.len() == 1 {
        output.stdout = String::from_utf8_lossy(stdin.unwrap_or_default()).into_owned();
    }
    for path in &argv[1..] {
        if path.starts_with('-') && path != "-" {
            return not_simulated(argv, &format!("the option {path}"));
        }
        match read(ctx, argv, path) {
            Ok(bytes) => output.stdout.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) => {
                output.stderr.push_str(&error.stderr);
                output.rc = 1;
            }
        }
    }
    output
}

pub fn touch(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "c", &["no-create"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    for path in &options.rest {
        let path = ctx.absolute(path);
        let content = match ctx.view().read(&path) {
            Ok(Some(content)) => content,
            Ok(None) if options.has(&["c", "no-create"]) => continue,
            Ok(None) => Vec::new(),
            // A directory: its time is not kept by the lab.
            Err(e) if e.text == "Is a directory" => continue,
            Err(e) => return fail(argv, "cannot touch", &e),
        };
        if let Err(e) = ctx.writer().write(&path, &content) {
            return fail(argv, "cannot touch", &e);
        }
    }
    Output::default()
}

pub fn mkdir(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "pm:v", &["parents", "mode="]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    for path in &options.rest {
        let path = ctx.absolute(path);
        let parents = options.has(&["p", "parents"]);
        if !parents && ctx.exists(&path) {
            return Output::failed(1, format!("mkdir: cannot create directory '{path}': File exists\n"));
        }
        let made = if parents { ctx.writer().create_dir_all(&path) } else { ctx.writer().create_dir(&path) };
        let mode = options.value(&["m", "mode"]).and_then(|m| u32::from_str_radix(m, 8).ok());
        if let Err(e) = made.and_then(|()| ctx.writer().set_attrs(&path, mode, None, None)) {
            return fail(argv, "cannot create directory", &e);
        }
    }
    Output::default()
}

pub fn rm(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "rRfd", &["recursive", "force"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let recursive = options.has(&["r", "R", "recursive"]);
    for path in &options.rest {
        let path = ctx.absolute(path);
        match ctx.view().stat(&path) {
            Ok(None) if options.has(&["f", "force"]) => continue,
            Ok(None) => return Output::failed(1, format!("rm: cannot remove '{path}': No such file or directory\n")),
            Ok(Some(stat)) if stat.kind == FileKind::Directory && !recursive => {
                return Output::failed(1, format!("rm: cannot remove '{path}': Is a directory\n"));
            }
            _ => {}
        }
        if let Err(e) = ctx.writer().remove(&path, recursive) {
            return fail(argv, "cannot remove", &e);
        }
    }
    Output::default()
}

/// `DIR` as a target means `DIR/NAME`.
fn into(ctx: &Ctx, source: &str, target: &str) -> String {
    let target = ctx.absolute(target);
    let is_dir = ctx.view().list(&target).ok().flatten().is_some();
    if is_dir {
        format!("{}/{}", target.trim_end_matches('/'), source.rsplit('/').next().unwrap_or(source))
    } else {
        target
    }
}

pub fn mv(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "fvTn", &["force", "no-target-directory"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let [source, target] = options.rest.as_slice() else { return not_simulated(argv, "moving several files at once") };
    let target =
        if options.has(&["T", "no-target-directory"]) { ctx.absolute(target) } else { into(ctx, source, target) };
    let source = ctx.absolute(source);
    match ctx.writer().rename(&source, &target) {
        Ok(()) => Output::default(),
        Err(e) => Output::failed(1, format!("mv: cannot move '{source}' to '{target}': {}\n", e.text)),
    }
}

pub fn cp(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "afpvT", &["archive", "preserve=?", "force"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let [source, target] = options.rest.as_slice() else { return not_simulated(argv, "copying several files at once") };
    let bytes = match read(ctx, argv, source) {
        Ok(bytes) => bytes,
        Err(output) => return output,
    };
    let target = into(ctx, source, target);
    if let Err(e) = ctx.writer().write(&target, &bytes) {
        return fail(argv, "cannot create regular file", &e);
    }
    if options.has(&["a", "p", "archive", "preserve"])
        && let Ok(Some(stat)) = ctx.view().stat(&ctx.absolute(source))
        && let Err(e) = ctx.writer().set_attrs(&target, Some(stat.mode), Some(&stat.owner), Some(&stat.group))
    {
        return fail(argv, "preserving attributes of", &e);
    }
    Output::default()
}

pub fn install(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options =
        match Options::parse(argv, "m:o:g:dDTv", &["mode=", "owner=", "group=", "directory", "no-target-directory"]) {
            Ok(options) => options,
            Err(output) => return output,
        };
    let mode = options.value(&["m", "mode"]).map_or(Some(0o755), |m| u32::from_str_radix(m, 8).ok());
    let (owner, group) = (options.value(&["o", "owner"]), options.value(&["g", "group"]));
    if options.has(&["d", "directory"]) {
        for path in &options.rest {
            let path = ctx.absolute(path);
            let mut writer = ctx.writer();
            if let Err(e) = writer.create_dir_all(&path).and_then(|()| writer.set_attrs(&path, mode, owner, group)) {
                return fail(argv, "cannot create directory", &e);
            }
        }
        return Output::default();
    }
    let [source, target] = options.rest.as_slice() else {
        return not_simulated(argv, "installing several files at once");
    };
    let bytes = match read(ctx, argv, source) {
        Ok(bytes) => bytes,
        Err(output) => return output,
    };
    let exact = options.has(&["T", "no-target-directory"]);
    let target = if exact { ctx.absolute(target) } else { into(ctx, source, target) };
    let mut writer = ctx.writer();
    let parent = target.rsplit_once('/').map_or("/", |(p, _)| p).to_owned();
    let made = if options.has(&["D"]) { writer.create_dir_all(&parent) } else { Ok(()) };
    match made.and_then(|()| writer.write(&target, &bytes)).and_then(|()| writer.set_attrs(&target, mode, owner, group))
    {
        Ok(()) => Output::default(),
        Err(e) => fail(argv, "cannot create regular file", &e),
    }
}

pub fn ln(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "sfnT", &["symbolic", "force", "no-dereference"]) {
        Ok(options) if options.has(&["s", "symbolic"]) => options,
        Ok(_) => return not_simulated(argv, "hard links"),
        Err(output) => return output,
    };
    let [target, link] = options.rest.as_slice() else { return not_simulated(argv, "linking several files at once") };
    let link = ctx.absolute(link);
    if !options.has(&["f", "force"]) && ctx.view().stat(&link).ok().flatten().is_some() {
        return Output::failed(1, format!("ln: failed to create symbolic link '{link}': File exists\n"));
    }
    match ctx.writer().symlink(&link, target) {
        Ok(()) => Output::default(),
        Err(e) => fail(argv, "failed to create symbolic link", &e),
    }
}

pub fn chmod(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let [_, mode, paths @ ..] = argv else { return Output::failed(1, "chmod: missing operand\n") };
    let Ok(mode) = u32::from_str_radix(mode, 8) else { return not_simulated(argv, "symbolic modes and options") };
    for path in paths {
        let path = ctx.absolute(path);
        if let Err(e) = ctx.writer().set_attrs(&path, Some(mode), None, None) {
            return fail(argv, "changing permissions of", &e);
        }
    }
    Output::default()
}

pub fn chown(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let [_, who, paths @ ..] = argv else { return Output::failed(1, "chown: missing operand\n") };
    if who.starts_with('-') {
        return not_simulated(argv, &format!("the option {who}"));
    }
    let (owner, group) = who.split_once(':').map_or((who.as_str(), None), |(o, g)| (o, Some(g)));
    for path in paths {
        let path = ctx.absolute(path);
        if let Err(e) = ctx.writer().set_attrs(&path, None, Some(owner).filter(|o| !o.is_empty()), group) {
            return fail(argv, "changing ownership of", &e);
        }
    }
    Output::default()
}

pub fn ls(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "1aAl", &[]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let paths = if options.rest.is_empty() { vec![ctx.cwd.clone()] } else { options.rest.clone() };
    let mut output = Output::default();
    for path in paths {
        let full = ctx.absolute(&path);
        let names = match ctx.view().list(&full) {
            Ok(Some(names)) => names
                .into_iter()
                .filter(|n| options.has(&["a", "A"]) || !n.starts_with('.'))
                .map(|n| (format!("{}/{n}", full.trim_end_matches('/')), n))
                .collect(),
            _ if ctx.view().stat(&full).ok().flatten().is_some() => vec![(full, path)],
            _ => {
                output.stderr.push_str(&format!("ls: cannot access '{path}': No such file or directory\n"));
                output.rc = 2;
                continue;
            }
        };
        for (full, name) in names {
            if options.has(&["l"])
                && let Ok(Some(s)) = ctx.view().stat(&full)
            {
                let kind = match s.kind {
                    FileKind::Directory => 'd',
                    FileKind::Symlink => 'l',
                    FileKind::BlockDevice => 'b',
                    _ => '-',
                };
                let arrow = s.link_target.map(|t| format!(" -> {t}")).unwrap_or_default();
                output.stdout.push_str(&format!(
                    "{kind}{} 1 {} {} {:>8} {name}{arrow}\n",
                    mode_text(s.mode),
                    s.owner,
                    s.group,
                    s.size_bytes
                ));
            } else {
                output.stdout.push_str(&format!("{name}\n"));
            }
        }
    }
    output
}

fn mode_text(mode: u32) -> String {
    (0..9).map(|bit| if mode & (0o400 >> bit) == 0 { '-' } else { ['r', 'w', 'x'][bit % 3] }).collect()
}

pub fn stat(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "c:L", &["format=", "dereference"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let Some(format) = options.value(&["c", "format"]) else { return not_simulated(argv, "stat without -c") };
    let mut output = Output::default();
    for path in &options.rest {
        match ctx.view().stat(&ctx.absolute(path)) {
            Ok(Some(s)) => {
                let line = format
                    .replace("%a", &format!("{:o}", s.mode))
                    .replace("%U", &s.owner)
                    .replace("%G", &s.group)
                    .replace("%s", &s.size_bytes.to_string())
                    .replace("%Y", &s.modified_s.to_string())
                    .replace("%n", path);
                output.stdout.push_str(&format!("{line}\n"));
            }
            _ => return Output::failed(1, format!("stat: cannot statx '{path}': No such file or directory\n")),
        }
    }
    output
}

/// `test` and `[`.
pub fn test(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let mut words: Vec<&str> = argv[1..].iter().map(String::as_str).collect();
    if argv[0].ends_with('[') && words.pop() != Some("]") {
        return Output::failed(2, "[: missing ]\n");
    }
    let negated = words.first() == Some(&"!");
    if negated {
        words.remove(0);
    }
    let kind = |ctx: &Ctx, path: &str| {
        let path = ctx.absolute(path);
        if ctx.view().list(&path).ok().flatten().is_some() {
            Some(FileKind::Directory)
        } else if ctx.exists(&path) {
            ctx.view()
                .stat(&path)
                .ok()
                .flatten()
                .map(|s| if s.kind == FileKind::Symlink { FileKind::File } else { s.kind })
        } else {
            None
        }
    };
    let holds = match words.as_slice() {
        [] => false,
        [text] => !text.is_empty(),
        ["-e", path] => ctx.exists(path),
        ["-f", path] => kind(ctx, path) == Some(FileKind::File),
        ["-d", path] => kind(ctx, path) == Some(FileKind::Directory),
        ["-b", path] => {
            let real = crate::lab::device::find(ctx.world, &ctx.node_name(), &ctx.absolute(path));
            real.is_some() && !ctx.in_container()
        }
        ["-L" | "-h", path] => {
            ctx.view().stat(&ctx.absolute(path)).ok().flatten().is_some_and(|s| s.kind == FileKind::Symlink)
        }
        ["-s", path] => ctx.view().read(&ctx.absolute(path)).ok().flatten().is_some_and(|b| !b.is_empty()),
        ["-r" | "-w", path] => ctx.exists(path),
        ["-x", path] => ctx.view().stat(&ctx.absolute(path)).ok().flatten().is_some_and(|s| s.mode & 0o111 != 0),
        ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, op @ ("-eq" | "-ne" | "-lt" | "-gt" | "-le" | "-ge"), b] => {
            let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>()) else {
                return Output::failed(2, format!("test: Illegal number: {a}\n"));
            };
            match *op {
                "-eq" => a == b,
                "-ne" => a != b,
                "-lt" => a < b,
                "-gt" => a > b,
                "-le" => a <= b,
                _ => a >= b,
            }
        }
        _ => return not_simulated(argv, "this condition"),
    };
    Output { rc: i32::from(holds == negated), ..Output::default() }
}

/// `sha256sum` and `sha512sum`: sums of files, and lists of them checked with `-c`.
pub fn hash_sum(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let program = argv[0].rsplit('/').next().unwrap_or_default();
    let hex = |bytes: &[u8]| -> String {
        let digest =
            if program == "sha512sum" { Sha512::digest(bytes).to_vec() } else { Sha256::digest(bytes).to_vec() };
        digest.iter().map(|b| format!("{b:02x}")).collect()
    };
    let options = match Options::parse(argv, "bcz", &["check", "status", "quiet", "strict"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let mut output = Output::default();
    if options.has(&["c", "check"]) {
        let list = match options.rest.first().map(String::as_str) {
            None | Some("-") => String::from_utf8_lossy(stdin.unwrap_or_default()).into_owned(),
            Some(path) => match read(ctx, argv, path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(output) => return output,
            },
        };
        for line in list.lines() {
            let Some((sum, path)) = line.split_once(' ') else {
                return Output::failed(
                    1,
                    format!(
                        "{program}: -: no properly formatted checksum lines found
"
                    ),
                );
            };
            let path = path.trim_start().trim_start_matches('*');
            let (word, bad) = match read(ctx, argv, path) {
                Ok(bytes) if hex(&bytes).eq_ignore_ascii_case(sum) => ("OK", false),
                Ok(_) => ("FAILED", true),
                Err(_) => ("FAILED open or read", true),
            };
            output.stdout.push_str(&format!(
                "{path}: {word}
"
            ));
            if bad {
                output.rc = 1;
                output.stderr = format!(
                    "{program}: WARNING: 1 computed checksum did NOT match
"
                );
            }
        }
        return output;
    }
    if options.rest.is_empty() {
        return Output::ok(format!(
            "{}  -
",
            hex(stdin.unwrap_or_default())
        ));
    }
    for path in &options.rest {
        match read(ctx, argv, path) {
            Ok(bytes) => output.stdout.push_str(&format!(
                "{}  {path}
",
                hex(&bytes)
            )),
            Err(error) => {
                output.stderr.push_str(&error.stderr);
                output.rc = 1;
            }
        }
    }
    output
}

pub fn readlink(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "fen", &["canonicalize"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let Some(path) = options.rest.first() else { return not_simulated(argv, "readlink without a path") };
    let full = ctx.absolute(path);
    if options.has(&["f", "e", "canonicalize"]) {
        return match ctx.view().canonical(&full) {
            Ok(real) if !options.has(&["e"]) || ctx.exists(&real) => Output::ok(format!("{real}\n")),
            _ => Output { rc: 1, ..Output::default() },
        };
    }
    match ctx.view().stat(&full).ok().flatten().and_then(|s| s.link_target) {
        Some(target) => Output::ok(format!("{target}\n")),
        None => Output { rc: 1, ..Output::default() },
    }
}
