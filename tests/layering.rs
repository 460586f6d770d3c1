//! Modules look down only. The table is the one in `docs/design/architecture.md`; a crate has no walls inside, so
//! this test is one. A second test keeps files small enough to be read in one go.

use std::path::{Path, PathBuf};

/// Room → the rooms it may use. A room that is not here may use everything.
const MAY_USE: &[(&str, &[&str])] = &[
    ("diagnostic", &[]),
    ("yaml", &["diagnostic"]),
    ("template", &[]),
    ("event", &[]),
    ("visible", &[]),
    ("exit", &["event"]),
    ("host", &[]),
    ("drbd", &[]),
    ("mail", &[]),
    ("hook", &["host", "drbd", "mail", "yaml", "diagnostic"]),
    ("pve", &[]),
    ("schedule", &["host"]),
    ("tasks", &["host", "drbd", "pve", "schedule"]),
    ("wire", &["event", "host", "tasks"]),
    ("engine", &["event", "host", "tasks", "wire"]),
    ("agent", &["engine", "event", "host", "tasks", "wire"]),
    ("playbook", &["yaml", "diagnostic", "tasks", "template"]),
    ("inventory", &["yaml", "diagnostic", "template", "pve", "host"]),
    ("report", &["event", "exit", "diagnostic", "visible"]),
    ("drift", &["event", "exit", "host", "inventory", "mail", "pve", "visible", "yaml", "diagnostic"]),
    ("lab", &["hook", "host", "drbd", "pve", "agent", "event", "wire", "yaml", "diagnostic"]),
    ("link", &["wire", "event", "host", "agent", "lab", "pve", "inventory", "tasks", "diagnostic", "template", "yaml"]),
];

/// The registry is where kinds meet YAML.
const ALSO: &[(&str, &[&str])] = &[("tasks/registry.rs", &["yaml", "diagnostic"])];

const MAX_LINES: usize = 420;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every source file, by its path below `src`.
fn all() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), text)
        })
        .collect()
}

/// The rooms named by `crate::room`, also in `use crate::{a, b::c}`. Comments and tests do not count.
fn rooms_used(text: &str) -> Vec<(usize, String)> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        // What follows in the file is the tests, by the house's order; unless they lie in a file of their own.
        if line.trim() == "#[cfg(test)]" && lines.peek().is_none_or(|(_, next)| !next.ends_with(';')) {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for (_, rest) in code.match_indices("crate::").map(|(at, found)| (at, &code[at + found.len()..])) {
            let names: Vec<String> = match rest.strip_prefix('{') {
                Some(list) => list.split(',').map(|item| word(item.trim())).collect(),
                None => vec![word(rest)],
            };
            used.extend(names.into_iter().filter(|n| !n.is_empty()).map(|name| (number + 1, name)));
        }
    }
    used
}

/// The files that are compiled for tests only: `#[cfg(test)] mod name;` and what lies below.
fn test_files(files: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in files {
        let above = match file.strip_suffix("/mod.rs").or_else(|| file.strip_suffix(".rs")) {
            Some("lib" | "main") | None => String::new(),
            Some(module) => format!("{module}/"),
        };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with(';')) {
            let name = pair[1].trim_end_matches(';').rsplit(' ').next().unwrap_or_default();
            found.extend([format!("{above}{name}.rs"), format!("{above}{name}/")]);
        }
    }
    found
}

fn is_tests(file: &str, tests: &[String]) -> bool {
    tests.iter().any(|test| file == test || (test.ends_with('/') && file.starts_with(test.as_str())))
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let files = all();
    let tests = test_files(&files);
    let rooms: Vec<String> = files.iter().map(|(file, _)| room(file)).collect();
    let mut wrong = Vec::new();
    for (file, text) in files.iter().filter(|(file, _)| !is_tests(file, &tests)) {
        let own = room(file);
        let Some((_, allowed)) = MAY_USE.iter().find(|(room, _)| *room == own) else { continue };
        let also = ALSO.iter().find(|(path, _)| path == file).map_or(&[][..], |(_, rooms)| rooms);
        for (line, used) in rooms_used(text) {
            let is_room = rooms.contains(&used);
            if is_room && used != own && !allowed.contains(&used.as_str()) && !also.contains(&used.as_str()) {
                wrong.push(format!("src/{file}:{line}: `{own}` may not use `{used}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn room(file: &str) -> String {
    file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

#[test]
fn every_room_of_the_table_exists() {
    let rooms: Vec<String> = all().iter().map(|(file, _)| room(file)).collect();
    for (name, allowed) in MAY_USE {
        for name in std::iter::once(name).chain(*allowed) {
            assert!(rooms.iter().any(|r| r == name), "there is no room `{name}` in src");
        }
    }
}

#[test]
fn the_scanner_sees_every_form() {
    let text = "use crate::host::Step;\nuse crate::{drbd, pve::Client};\nlet x = crate::yaml::parse();\n// crate::fleet\n#[cfg(test)]\nmod tests {\nuse crate::cli;";
    let names: Vec<String> = rooms_used(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["host", "drbd", "pve", "yaml"]);
}

#[test]
fn no_file_is_too_long() {
    let files = all();
    let tests = test_files(&files);
    let long: Vec<String> = files
        .iter()
        .filter(|(file, text)| !is_tests(file, &tests) && text.lines().count() > MAX_LINES)
        .map(|(file, text)| format!("src/{file}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines:\n{}\n", long.join("\n"));
}
