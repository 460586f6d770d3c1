//! Ansible's INI inventories. Every faulty line is told, with its place; Ansible stops at the first.

use super::build::Builder;
use super::python::{self, Word};
use super::{Vars, address};
use crate::diagnostic::{Fault, Sources, Span, did_you_mean};
use crate::yaml::Node;
use std::collections::BTreeSet;

enum Section {
    Hosts(String),
    Vars(String),
    Children(String),
    /// Its header was faulty; what stands in it is not judged.
    Unknown,
}

pub fn read(sources: &Sources, file: u32, builder: &mut Builder, faults: &mut Vec<Fault>) {
    let text = sources.text(file).clone();
    let mut reader = Reader { file, builder, faults, declared: BTreeSet::new(), wanted: Vec::new() };
    let mut section = Section::Hosts("ungrouped".to_owned());
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match header(line) {
            Some((name, kind)) => section = reader.section(&name, kind.as_deref(), line, start),
            None if line.starts_with('[') && line.ends_with(']') => {
                reader.fault(start..start + line.len(), "a section is `[name]`, `[name:vars]` or `[name:children]`");
                section = Section::Unknown;
            }
            None => reader.line(&section, line, start),
        }
    }
    reader.end();
}

/// `[name]`, `[name:kind]`, with a comment behind.
fn header(line: &str) -> Option<(String, Option<String>)> {
    let inner = line.strip_prefix('[')?;
    let close = inner.find(']')?;
    let rest = inner[close + 1..].trim_start();
    if !rest.is_empty() && !rest.starts_with('#') {
        return None;
    }
    let (name, kind) = match inner[..close].split_once(':') {
        None => (&inner[..close], None),
        Some((name, kind)) if !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_') => {
            (name, Some(kind.to_owned()))
        }
        Some(_) => return None,
    };
    (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| (name.to_owned(), kind))
}

struct Reader<'a> {
    file: u32,
    builder: &'a mut Builder,
    faults: &'a mut Vec<Fault>,
    declared: BTreeSet<String>,
    /// Groups that were named before they were declared, the place, and as what.
    wanted: Vec<(String, Span, &'static str)>,
}

impl Reader<'_> {
    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span { file: self.file, start: range.start, end: range.end }
    }

    fn fault(&mut self, range: std::ops::Range<usize>, message: impl Into<String>) {
        let fault = Fault::new(self.span(range), message);
        self.faults.push(fault);
    }

    fn section(&mut self, name: &str, kind: Option<&str>, line: &str, start: usize) -> Section {
        let span = self.span(start + 1..start + 1 + name.len());
        match kind {
            None | Some("hosts") => {
                self.declared.insert(name.to_owned());
                self.builder.add_group(name);
                Section::Hosts(name.to_owned())
            }
            Some("children") => {
                self.declared.insert(name.to_owned());
                self.builder.add_group(name);
                Section::Children(name.to_owned())
            }
            Some("vars") => {
                self.wanted.push((name.to_owned(), span, "vars"));
                Section::Vars(name.to_owned())
            }
            Some(other) => {
                let from = start + line.find(other).unwrap_or_default();
                let fault =
                    Fault::new(self.span(from..from + other.len()), format!("unknown kind of section `{other}`"))
                        .label("not `vars` or `children`")
                        .hint(did_you_mean(other, ["vars", "children", "hosts"]));
                self.faults.push(fault);
                Section::Unknown
            }
        }
    }

    fn line(&mut self, section: &Section, line: &str, start: usize) {
        match section {
            Section::Unknown => {}
            Section::Hosts(group) => self.hosts(group, line, start),
            Section::Vars(group) => match line.split_once('=') {
                Some((key, value)) => {
                    let (key, from) = (key.trim(), start + line.len() - value.trim_start().len());
                    let span = self.span(from..from + value.trim().len());
                    let value = Node::from_json(&python::literal(value.trim()), span);
                    self.builder.set_group_vars(group, Vars::from([(key.to_owned(), value)]));
                }
                None => self.fault(start..start + line.len(), "a variable is written `name=value`"),
            },
            Section::Children(group) => {
                let name = line.split('#').next().unwrap_or_default().trim();
                let span = self.span(start..start + name.len());
                if name.contains([':', '[', ']']) || name.contains(char::is_whitespace) {
                    self.fault(start..start + line.len(), format!("`{name}` is no name of a group"));
                    return;
                }
                if !self.builder.add_child(group, name) {
                    let message = format!("group `{name}` holds `{group}` already: they would go in a circle");
                    self.faults.push(Fault::new(span, message));
                }
                self.wanted.push((name.to_owned(), span, "children"));
            }
        }
    }

    fn hosts(&mut self, group: &str, line: &str, start: usize) {
        let words = match python::split(line) {
            Ok(words) => words,
            Err(why) => return self.fault(start..start + line.len(), why),
        };
        let Some((host, rest)) = words.split_first() else { return };
        let place = |word: &Word| start + word.at.start..start + word.at.end;
        let (hosts, port) = match address::expand(&host.text) {
            Ok(expanded) => expanded,
            Err(why) => return self.fault(place(host), format!("`{}` is no host: {why}", host.text)),
        };
        let mut vars = Vars::new();
        if let Some(port) = port {
            vars.insert("ansible_port".to_owned(), Node::scalar(port.to_string(), true, self.span(place(host))));
        }
        for word in rest {
            match word.text.split_once('=') {
                Some((key, value)) => {
                    let value = Node::from_json(&python::literal(value), self.span(place(word)));
                    vars.insert(key.to_owned(), value);
                }
                None => {
                    let message = format!("`{}` is no variable of a host: they are written `name=value`", word.text);
                    let mut fault = Fault::new(self.span(place(word)), message);
                    if address::expand(&word.text).is_ok() && !word.text.is_empty() {
                        fault = fault.help("a second host stands on a line of its own");
                    }
                    self.faults.push(fault);
                }
            }
        }
        for host in hosts {
            self.builder.add_host(group, &host);
            self.builder.set_host_vars(&host, vars.clone());
        }
    }

    /// What was named must have been declared, if only later.
    fn end(&mut self) {
        for (name, span, kind) in std::mem::take(&mut self.wanted) {
            let known = self.declared.contains(&name) || matches!(name.as_str(), "all" | "ungrouped");
            // A group of an earlier source of the same inventory counts.
            if known || (kind == "vars" && self.builder.has_group(&name)) {
                continue;
            }
            let message = format!("group `{name}` is not declared");
            let names = self.declared.iter().map(String::as_str);
            let fault = Fault::new(span, message).label("no section of this name").hint(did_you_mean(&name, names));
            self.faults.push(fault);
        }
    }
}
