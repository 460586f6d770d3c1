//! `dpkg`, `dpkg-query`, `apt-mark`: what is installed, and versions compared.

use super::{Installed, all_offers, compare, installed, installed_version};
use crate::host::Output;
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, not_simulated};
use std::cmp::Ordering;

const DEFAULT_FORMAT: &str = "${binary:Package}\\t${Version}\\n";

pub fn dpkg_query(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(
        argv,
        "Wf:lsLS",
        &["show", "showformat=", "list", "status", "listfiles", "search", "no-pager"],
    ) {
        Ok(options) => options,
        Err(output) => return output,
    };
    if options.has(&["W", "show"]) {
        let format = options.value(&["f", "showformat"]).unwrap_or(DEFAULT_FORMAT);
        return show(ctx, &options.rest, format);
    }
    if options.has(&["s", "status"]) {
        return status(ctx, &options.rest);
    }
    if options.has(&["l", "list"]) {
        return list(ctx, &options.rest);
    }
    if options.has(&["L", "listfiles"]) {
        return list_files(ctx, &options.rest);
    }
    not_simulated(argv, "this use of dpkg-query")
}

fn show(ctx: &Ctx, names: &[String], format: &str) -> Output {
    let all = installed(ctx.system());
    let mut output = Output::default();
    if names.is_empty() {
        for (name, package) in &all {
            output.stdout.push_str(&render(ctx, format, name, package));
        }
        return output;
    }
    for pattern in names {
        let pattern = pattern.split(':').next().unwrap_or(pattern);
        let matcher = globset::Glob::new(pattern).map(|g| g.compile_matcher());
        let found: Vec<_> = all
            .iter()
            .filter(|(n, _)| *n == pattern || matcher.as_ref().is_ok_and(|m| m.is_match(n.as_str())))
            .collect();
        if found.is_empty() {
            output.rc = 1;
            output.stderr.push_str(&format!("dpkg-query: no packages found matching {pattern}\n"));
        }
        for (name, package) in found {
            output.stdout.push_str(&render(ctx, format, name, package));
        }
    }
    output
}

fn architecture(ctx: &Ctx, name: &str) -> &'static str {
    all_offers(ctx.system().debian).iter().find(|o| o.name == name).map_or("amd64", |o| o.architecture)
}

fn render(ctx: &Ctx, format: &str, name: &str, package: &Installed) -> String {
    let held = ctx.system().held.contains(name);
    let want = match (package.config_only, held) {
        (true, _) => "deinstall",
        (false, true) => "hold",
        (false, false) => "install",
    };
    let state = if package.config_only { "config-files" } else { "installed" };
    let abbrev = match want {
        "hold" => "hi ",
        "deinstall" => "rc ",
        _ => "ii ",
    };
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['$', '\\']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\\n") {
            text.push('\n');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\t") {
            text.push('\t');
            rest = after;
        } else if let (true, Some(end)) = (rest.starts_with("${"), rest.find('}')) {
            let field = rest[2..end].split(';').next().unwrap_or_default();
            text.push_str(&match field {
                "Package" | "binary:Package" => name.to_owned(),
                "Version" | "source:Version" => package.version.clone(),
                "Architecture" => architecture(ctx, name).to_owned(),
                "Status" => format!("{want} ok {state}"),
                "db:Status-Abbrev" => abbrev.to_owned(),
                "db:Status-Want" => want.to_owned(),
                "db:Status-Status" => state.to_owned(),
                "db:Status-Eflag" => "ok".to_owned(),
                // dpkg prints nothing for fields that a package does not have.
                _ => String::new(),
            });
            rest = &rest[end + 1..];
        } else {
            text.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

fn status(ctx: &Ctx, names: &[String]) -> Output {
    let all = installed(ctx.system());
    let mut output = Output::default();
    for name in names {
        let Some(package) = all.get(name) else {
            output.rc = 1;
            output.stderr.push_str(&format!("dpkg-query: package '{name}' is not installed and no information is available\nUse dpkg --info (= dpkg-deb --info) to examine archive files.\n"));
            continue;
        };
        let format =
            "Package: ${Package}\\nStatus: ${Status}\\nArchitecture: ${Architecture}\\nVersion: ${Version}\\n\\n";
        output.stdout.push_str(&render(ctx, format, name, package));
    }
    output
}

fn list(ctx: &Ctx, names: &[String]) -> Output {
    let shown = show(ctx, names, "${db:Status-Abbrev} ${Package} ${Version} ${Architecture} in the lab\\n");
    let head = "Desired=Unknown/Install/Remove/Purge/Hold\n| Status=Not/Inst/Conf-files/Unpacked/halF-conf/Half-inst/trig-aWait/Trig-pend\n|/ Err?=(none)/Reinst-required (Status,Err: uppercase=bad)\n||/ Name Version Architecture Description\n+++-====-=======-============-===========\n";
    Output { stdout: if shown.stdout.is_empty() { String::new() } else { format!("{head}{}", shown.stdout) }, ..shown }
}

fn list_files(ctx: &Ctx, names: &[String]) -> Output {
    let mut output = Output::default();
    for name in names {
        let Some(version) = installed_version(ctx, name) else {
            output.rc = 1;
            output.stderr.push_str(&format!("dpkg-query: package '{name}' is not installed\nUse dpkg --contents (= dpkg-deb --contents) to list archive files contents.\n"));
            continue;
        };
        let offer = all_offers(ctx.system().debian).iter().find(|o| o.name == *name && o.version == version);
        for path in offer.iter().flat_map(|o| o.programs.iter().chain(o.files.iter().map(|(p, _, _)| p))) {
            output.stdout.push_str(&format!("{path}\n"));
        }
    }
    output
}

pub fn dpkg(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    match argv.get(1).map(String::as_str) {
        Some("--compare-versions") => {
            let [_, _, a, op, b] = argv else {
                return Output::failed(2, "dpkg: error: --compare-versions takes three arguments\n");
            };
            let order = compare(a, b);
            let holds = match op.as_str() {
                "lt" | "<<" => order == Ordering::Less,
                "le" | "<=" => order != Ordering::Greater,
                "eq" | "=" => order == Ordering::Equal,
                "ne" => order != Ordering::Equal,
                "ge" | ">=" => order != Ordering::Less,
                "gt" | ">>" => order == Ordering::Greater,
                _ => return Output::failed(2, "dpkg: error: --compare-versions bad relation\n"),
            };
            Output { rc: i32::from(!holds), ..Output::default() }
        }
        Some("--print-architecture") => Output::ok("amd64\n"),
        // Packages are set up whole in the lab; nothing is ever left half configured.
        Some("--audit" | "-C") => Output::default(),
        Some("--configure") if argv.get(2).is_some_and(|a| a == "-a" || a == "--pending") => Output::default(),
        Some("-s" | "-l" | "-L" | "--status" | "--list" | "--listfiles") => dpkg_query(ctx, argv, stdin),
        Some("--get-selections") => {
            let all = installed(ctx.system());
            let line = |(n, p): (&String, &Installed)| {
                let want = if p.config_only {
                    "deinstall"
                } else if ctx.system().held.contains(n) {
                    "hold"
                } else {
                    "install"
                };
                format!("{n}\t\t\t\t{want}\n")
            };
            Output::ok(
                all.iter().filter(|(n, _)| argv.len() == 2 || argv[2..].contains(n)).map(line).collect::<String>(),
            )
        }
        _ => not_simulated(argv, "this use of dpkg"),
    }
}

pub fn apt_mark(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "qy", &["quiet"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let Some((verb, names)) = options.rest.split_first() else {
        return not_simulated(argv, "apt-mark without a command");
    };
    let mut output = Output::default();
    match verb.as_str() {
        "showhold" => {
            let held = ctx.system().held.iter().filter(|n| names.is_empty() || names.contains(n));
            return Output::ok(held.map(|n| format!("{n}\n")).collect::<String>());
        }
        "showmanual" | "showauto" => {
            let all = installed(ctx.system());
            let wanted = verb == "showauto";
            let list = all.iter().filter(|(n, p)| p.auto == wanted && (names.is_empty() || names.contains(n)));
            return Output::ok(list.map(|(n, _)| format!("{n}\n")).collect::<String>());
        }
        "hold" | "unhold" | "manual" | "auto" => {}
        _ => return not_simulated(argv, &format!("`apt-mark {verb}`")),
    }
    for name in names {
        if all_offers(ctx.system().debian).iter().all(|o| o.name != *name) && installed_version(ctx, name).is_none() {
            output.rc = 100;
            output.stderr.push_str(&format!("E: Unable to locate package {name}\nE: No packages found\n"));
            continue;
        }
        let held = ctx.system().held.contains(name);
        let text = match (verb.as_str(), held) {
            ("hold", true) => format!("{name} was already set on hold.\n"),
            ("hold", false) => {
                ctx.system_mut().held.insert(name.clone());
                format!("{name} set on hold.\n")
            }
            ("unhold", true) => {
                ctx.system_mut().held.remove(name);
                format!("Canceled hold on {name}.\n")
            }
            ("unhold", false) => format!("{name} was already not on hold.\n"),
            (mark, _) => {
                if let Some(Some(package)) = ctx.system_mut().packages.get_mut(name) {
                    package.auto = mark == "auto";
                }
                format!("{name} set to {mark}ally installed.\n")
                    .replace("manualally", "manually")
                    .replace("autoally", "automatically")
            }
        };
        output.stdout.push_str(&text);
    }
    output
}
