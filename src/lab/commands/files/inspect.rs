//! Programs that look at files: `cat`, `ls`, `stat`, `test`, `readlink`, `sha256sum`, `sha512sum`.
//!
//! They change nothing; conditions and formats that are not played are refused.

use super::read;
use crate::host::{FileKind, Output};
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, not_simulated};
use sha2::{Digest, Sha256, Sha512};

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
                return Output::failed(1, format!("{program}: -: no properly formatted checksum lines found\n"));
            };
            let path = path.trim_start().trim_start_matches('*');
            let (word, bad) = match read(ctx, argv, path) {
                Ok(bytes) if hex(&bytes).eq_ignore_ascii_case(sum) => ("OK", false),
                Ok(_) => ("FAILED", true),
                Err(_) => ("FAILED open or read", true),
            };
            output.stdout.push_str(&format!("{path}: {word}\n"));
            if bad {
                output.rc = 1;
                output.stderr = format!("{program}: WARNING: 1 computed checksum did NOT match\n");
            }
        }
        return output;
    }
    if options.rest.is_empty() {
        return Output::ok(format!("{}  -\n", hex(stdin.unwrap_or_default())));
    }
    for path in &options.rest {
        match read(ctx, argv, path) {
            Ok(bytes) => output.stdout.push_str(&format!("{}  {path}\n", hex(&bytes))),
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
