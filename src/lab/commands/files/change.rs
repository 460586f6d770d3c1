//! Programs that change files: `cp`, `mv`, `rm`, `mkdir`, `ln`, `touch`, `chmod`, `chown`, `install`.
//!
//! They refuse hard links, several sources at once, and modes that are not octal.

use super::read;
use crate::host::{FileKind, Output};
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, not_simulated};
use crate::lab::files::FileError;

fn fail(argv: &[String], what: &str, error: &FileError) -> Output {
    Output::failed(1, format!("{}: {what} '{}': {}\n", argv[0], error.path, error.text))
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
