//! `/etc/drbd.conf` of a node as drbdadm reads it: includes, checks over all resources, what this host wants.
//! Refuses what drbdadm refuses, in its words; what only drbdadm's grammar knows is left to the parser.

mod checks;

use super::machines::Machines;
use super::state::Path;
use crate::drbd::limits;
use crate::drbd::res::{self, Statement};
use crate::drbd::resource::{Backing, File, Options, Resource};

/// A resource as one host shall have it.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: String,
    pub file: String,
    pub resource: Resource,
    pub node_id: u32,
    pub minor: u32,
    pub device: String,
    /// `None`: `disk none`.
    pub disk: Option<String>,
    pub options: Options,
    pub disk_options: Options,
    pub peers: Vec<WantedPeer>,
}

#[derive(Debug, Clone)]
pub struct WantedPeer {
    pub id: u32,
    pub name: String,
    pub net: Options,
    pub device_options: Options,
    pub path: Path,
}

/// Everything a run of drbdadm read.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Those with an `on` section for this host.
    pub wanted: Vec<Wanted>,
    /// Printed on stderr, no reason to stop.
    pub warnings: String,
    pub sources: Vec<Source>,
}

/// One file: as drbdadm names it in parse errors, and in full.
#[derive(Debug, Clone)]
pub struct Source {
    pub short: String,
    pub path: String,
    pub statements: Vec<Statement>,
    pub file: File,
}

/// Which files to read.
#[derive(Debug, Clone, Default)]
pub struct Which {
    pub config_file: Option<String>,
    pub to_test: Option<String>,
    pub exclude: Vec<String>,
}

/// Options of a peer device that stand in `disk` sections.
pub fn is_peer_device_option(name: &str) -> bool {
    name.starts_with("c-") || matches!(name, "resync-rate" | "bitmap")
}

/// Reads and checks everything; the error is what goes to stderr, with exit code 10.
pub fn load(machines: &dyn Machines, node: &str, which: &Which) -> Result<Config, String> {
    let mut sources = Vec::new();
    match &which.config_file {
        Some(file) => read_source(machines, node, file, file, &mut sources)?,
        None => read_source(machines, node, "/etc/drbd.conf", "/etc/drbd.conf", &mut sources)?,
    }
    let mut all = Vec::new();
    for source in sources {
        if which.exclude.iter().any(|e| e == &source.path) {
            continue;
        }
        all.push(source);
    }
    if let Some(file) = &which.to_test {
        read_source(machines, node, file, file, &mut all)?;
    }
    for source in &all {
        checks::options(source)?;
    }
    let warnings = checks::whole(&all)?;
    let mut config = Config { warnings, sources: all, ..Config::default() };
    config.wanted = wanted(&config.sources, node)?;
    Ok(config)
}

fn read_source(
    machines: &dyn Machines,
    node: &str,
    path: &str,
    short: &str,
    into: &mut Vec<Source>,
) -> Result<(), String> {
    let Some(text) = machines.read(node, path) else {
        return Err(format!("Can not open '{path}': No such file or directory\n"));
    };
    // drbdadm takes a file whose last braces are missing.
    let mut text = text;
    let mut statements = res::parse(&text);
    for _ in 0..4 {
        match &statements {
            Err(fault) if fault.message.contains("but the file ends") => text.push_str("\n}"),
            _ => break,
        }
        statements = res::parse(&text);
    }
    let fault = |fault: res::Fault| {
        let words = fault.message.replace(", but got", ",\n\tbut got");
        format!("{short}:{}: Parse error: {words}\n", fault.place.line)
    };
    let statements = statements.map_err(fault)?;
    for statement in &statements {
        if statement.keyword() == "include" {
            let pattern = statement.word(1).unwrap_or_default();
            let line = statement.place().line;
            include(machines, node, (path, line), pattern, into)?;
        }
    }
    let file = File::read(&text).map_err(fault)?;
    into.push(Source { short: short.to_owned(), path: path.to_owned(), statements, file });
    Ok(())
}

fn include(
    machines: &dyn Machines,
    node: &str,
    from: (&str, usize),
    pattern: &str,
    into: &mut Vec<Source>,
) -> Result<(), String> {
    let dir = from.0.rsplit_once('/').map_or("", |(d, _)| d);
    let full = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{dir}/{pattern}") };
    let Some((start, end)) = full.split_once('*') else {
        return match machines.read(node, &full) {
            Some(_) => read_source(machines, node, &full, pattern, into),
            None => Err(format!("{}:{}: Failed to open include file '{pattern}'.\n", from.0, from.1)),
        };
    };
    let (folder, prefix) = start.rsplit_once('/').unwrap_or(("", start));
    let short = pattern.rsplit_once('/').map_or(String::new(), |(d, _)| format!("{d}/"));
    let mut names = machines.list(node, folder);
    names.retain(|n| n.starts_with(prefix) && n.ends_with(end) && !n.starts_with('.'));
    names.sort();
    for name in names {
        read_source(machines, node, &format!("{folder}/{name}"), &format!("{short}{name}"), into)?;
    }
    Ok(())
}

fn merged(parts: &[&Options]) -> Options {
    parts.iter().flat_map(|p| (*p).clone()).collect()
}

fn wanted(sources: &[Source], node: &str) -> Result<Vec<Wanted>, String> {
    let common = |section: &str| -> Options { sources.iter().flat_map(|s| s.file.common(section)).collect() };
    let mut all = Vec::new();
    for source in sources {
        for resource in &source.file.resources {
            let Some(host) = resource.host(node) else { continue };
            if resource.volume_numbers() != [0] {
                return Err(format!("drbdadm: the lab does not simulate volumes other than 0 ({})\n", resource.name));
            }
            let volume = resource.volume_on(host, 0);
            let ids = node_ids(resource);
            let id_of = |name: &str| ids.iter().find(|(n, _)| n == name).map_or(0, |(_, id)| *id);
            let disk = merged(&[&common("disk"), &resource.disk, &volume.disk_options]);
            let (device_options, disk_options): (Options, Options) =
                disk.into_iter().partition(|(name, _)| is_peer_device_option(name));
            let mut peers = Vec::new();
            for (a, b) in resource.pairs() {
                let other = if a == node {
                    &b
                } else if b == node {
                    &a
                } else {
                    continue;
                };
                let Some(peer) = resource.host(other) else { continue };
                let mut net = merged(&[&common("net"), &resource.net]);
                for mesh in resource.meshes.iter().filter(|m| m.hosts.contains(&a) && m.hosts.contains(&b)) {
                    net.extend(mesh.net.clone());
                }
                let mut ends = (host.address.clone(), peer.address.clone());
                for connection in &resource.connections {
                    let end = |name: &str| connection.ends.iter().find(|(n, _)| n == name);
                    if let (Some(mine), Some(theirs)) = (end(node), end(other)) {
                        net.extend(connection.net.clone());
                        ends = (mine.1.clone().or(ends.0), theirs.1.clone().or(ends.1));
                    }
                }
                let (Some(local), Some(remote)) = ends else { continue };
                peers.push(WantedPeer {
                    id: id_of(other),
                    name: other.clone(),
                    net,
                    device_options: device_options.clone(),
                    path: Path { local: endpoint(&local), remote: endpoint(&remote) },
                });
            }
            peers.sort_by_key(|p| p.id);
            let device = volume.device.clone();
            all.push(Wanted {
                name: resource.name.clone(),
                file: source.path.clone(),
                node_id: id_of(host.name()),
                minor: device.as_ref().and_then(|d| d.minor()).unwrap_or(0),
                device: device.and_then(|d| d.path()).unwrap_or_default(),
                disk: volume.disk.as_ref().and_then(Backing::path).map(str::to_owned),
                options: merged(&[&common("options"), &resource.options, &host.options]),
                disk_options,
                peers,
                resource: resource.clone(),
            });
        }
    }
    Ok(all)
}

/// Node-ids by host; two hosts without any get 0 and 1.
fn node_ids(resource: &Resource) -> Vec<(String, u32)> {
    (0..).zip(&resource.hosts).map(|(n, h)| (h.name().to_owned(), h.node_id.unwrap_or(n))).collect()
}

/// `ipv4:192.168.2.11:7000`.
pub fn endpoint(address: &crate::drbd::resource::Address) -> String {
    address.to_string().replacen(' ', ":", 1)
}

/// An option value in the form in which equal meanings are equal; `None` when it is what the kernel does anyway.
pub fn effective(section: &str, options: &Options) -> Options {
    options
        .iter()
        .map(|(name, value)| (name.clone(), limits::normal(section, name, value)))
        .filter(|(name, value)| !is_default(section, name, value))
        .collect()
}

fn is_default(section: &str, name: &str, value: &str) -> bool {
    match (name, value) {
        ("protocol", "C") | ("on-no-quorum", "suspend-io") | ("on-io-error", "detach") | ("fencing", "dont-care") => {
            true
        }
        ("after-sb-0pri" | "after-sb-1pri" | "after-sb-2pri" | "rr-conflict", "disconnect") => true,
        ("on-no-data-accessible", "io-error") | ("on-suspended-primary-outdated", "disconnect") => true,
        _ => limits::find(section, name)
            .is_some_and(|k| !k.default.is_empty() && limits::normal(section, name, k.default) == value),
    }
}
