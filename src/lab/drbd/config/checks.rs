//! What drbdadm refuses before it does anything: values of options, and contradictions between sections.

use super::{Source, endpoint};
use crate::drbd::limits::{self, Kind};
use crate::drbd::res::Statement;
use crate::drbd::resource::Resource;
use std::collections::BTreeMap;

/// Values of all options of a file.
pub fn options(source: &Source) -> Result<(), String> {
    source.statements.iter().try_for_each(|s| walk(source, s))
}

fn walk(source: &Source, statement: &Statement) -> Result<(), String> {
    let Some(body) = &statement.body else { return Ok(()) };
    let section = match statement.keyword() {
        word @ ("options" | "net" | "disk" | "startup") => Some(word),
        _ => None,
    };
    for inner in body {
        match section {
            Some(section) => value(source, section, inner)?,
            None => walk(source, inner)?,
        }
    }
    Ok(())
}

fn value(source: &Source, section: &str, statement: &Statement) -> Result<(), String> {
    let at = format!("{}:{}: Parse error:", source.short, statement.place().line);
    let name = statement.keyword();
    let Some(known) = limits::find(section, name) else {
        let words: Vec<&str> = limits::KNOWN.iter().filter(|k| k.section == section).map(|k| k.name).collect();
        return Err(format!("{at} '{}' expected,\n\tbut got '{name}'\n", words.join(" | ")));
    };
    let value = statement.word(1).unwrap_or_default();
    if limits::check(section, name, value).is_ok() {
        return Ok(());
    }
    let why = match &known.kind {
        Kind::OneOf(words) => format!("not valid.\nAllowed values are: {}", words.join(" | ")),
        Kind::Number { max, unit, .. } => {
            let digits: u128 = limits::normal(section, name, value).parse().unwrap_or(0);
            match digits {
                0 if value != "0" => "not a number.".to_owned(),
                n if n * u128::from(*unit) > u128::from(*max) * u128::from(*unit) => "too big.".to_owned(),
                _ => "too small.".to_owned(),
            }
        }
        Kind::Bool => "not valid.\nAllowed values are: yes | no".to_owned(),
        Kind::Text => return Ok(()),
    };
    Err(format!("{at} while parsing value ('{value}')\nfor {name}. Value is {why}\n"))
}

/// What holds over all files; warnings when nothing is refused.
pub fn whole(sources: &[Source]) -> Result<String, String> {
    let mut warnings = String::new();
    let mut names: BTreeMap<&str, (&Source, usize)> = BTreeMap::new();
    let mut addresses: BTreeMap<String, (&Source, &str)> = BTreeMap::new();
    let mut minors: BTreeMap<(String, u32), (&Source, usize)> = BTreeMap::new();
    for source in sources {
        for resource in &source.file.resources {
            let line = resource.place.line;
            if let Some((first, at)) = names.insert(&resource.name, (source, line)) {
                return Err(format!(
                    "{}:{line}: conflicting use of resource section '{name}' ...\n{}:{at}: resource section '{name}' first used here.\n",
                    source.short,
                    first.short,
                    name = resource.name
                ));
            }
            one(source, resource)?;
            let mut taken = String::new();
            for host in &resource.hosts {
                let Some(address) = host.address.as_ref().map(endpoint) else { continue };
                match addresses.get(&address) {
                    Some((_, other)) if *other == resource.name => {
                        return Err(format!(
                            "{}:0: in resource {} {address} is used for both endpoints\n",
                            source.path, resource.name
                        ));
                    }
                    Some((first, other)) => taken.push_str(&format!(
                        "{}:0: in resource {}\n    {address} is also used {}:0 (resource {other})\n",
                        source.path, resource.name, first.path
                    )),
                    None => drop(addresses.insert(address, (source, &resource.name))),
                }
            }
            if !taken.is_empty() {
                return Err(taken);
            }
            for host in &resource.hosts {
                let volume = resource.volume_on(host, 0);
                let Some(minor) = volume.device.and_then(|d| d.minor()) else { continue };
                let key = (host.name().to_owned(), minor);
                if let Some((first, at)) = minors.insert(key, (source, host.place.line)) {
                    let what = format!("device-minor 'device-minor:{}:{minor}'", host.name());
                    return Err(format!(
                        "{}:{}: conflicting use of {what} ...\n{}:{at}: {what} first used here.\n",
                        source.short, host.place.line, first.short
                    ));
                }
            }
            if resource.hosts.len() > 2 && resource.meshes.is_empty() && resource.connections.is_empty() {
                warnings.push_str(&format!(
                    "Resource {}:\n\tUse explicit 'connection' sections (or a 'connection-mesh' section) with more than two 'on' sections.\n",
                    resource.name
                ));
            }
        }
    }
    Ok(warnings)
}

/// Contradictions within one resource.
fn one(source: &Source, resource: &Resource) -> Result<(), String> {
    let at = |line: usize| format!("{}:{line}: in resource {}", source.path, resource.name);
    let mut ids: BTreeMap<u32, usize> = BTreeMap::new();
    let mut missing = String::new();
    for host in &resource.hosts {
        let place = host.place.line;
        if let Some(id) = host.node_id {
            let line = node_id_line(source, resource, host.name()).unwrap_or(place);
            if let Some(first) = ids.insert(id, line) {
                let what = format!("node-id '{}:{id}'", resource.name);
                return Err(format!(
                    "{short}:{line}: conflicting use of {what} ...\n{short}:{first}: {what} first used here.\n",
                    short = source.short
                ));
            }
        }
        let volume = resource.volume_on(host, 0);
        for (absent, keyword) in [
            (host.node_id.is_none() && resource.hosts.len() > 2, "node-id"),
            (volume.device.is_none(), "device"),
            (volume.disk.is_none(), "disk"),
        ] {
            if absent {
                missing.push_str(&format!(
                    "{}, on {} {{ ... }}: '{keyword}' keyword missing.\n",
                    at(place),
                    host.name()
                ));
            }
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    for mesh in &resource.meshes {
        if let Some(stranger) = mesh.hosts.iter().find(|h| resource.host(h).is_none()) {
            return Err(format!(
                "{}:\n\tThere is no 'on' section for hostname '{stranger}' named in the connection-mesh\n",
                at(resource.place.line)
            ));
        }
    }
    Ok(())
}

fn node_id_line(source: &Source, resource: &Resource, host: &str) -> Option<usize> {
    let statement =
        source.statements.iter().find(|s| s.keyword() == "resource" && s.word(1) == Some(&resource.name))?;
    let on = statement.body.as_ref()?.iter().find(|s| s.keyword() == "on" && s.word(1) == Some(host))?;
    Some(on.body.as_ref()?.iter().find(|s| s.keyword() == "node-id")?.place().line)
}
