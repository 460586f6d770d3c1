//! The sources of an inventory, as `-i` names them: files, folders, lists of hosts; several together are one inventory.

use super::build::Builder;
use super::cluster::Cluster;
use super::vars_files::Files;
use super::{Inventory, address, cluster, folder, ini, mask::mask, yaml};
use crate::diagnostic::{Fault, Sources, Span};
use crate::yaml::Node;
use std::path::{Path, PathBuf};

/// An inventory as its files say it. What only the cluster knows is added by [`Loaded::build`].
#[derive(Debug, Default)]
pub struct Loaded {
    builder: Builder,
    files: Vec<Files>,
    /// Files of a folder that were not read, and why.
    pub left_out: Vec<String>,
    /// The Proxmox cluster, if one of the sources is a `cluster.yml`.
    pub cluster: Option<Cluster>,
}

impl Loaded {
    /// The run takes place on the node `me` of the cluster, and needs no login. What is said of the cluster's hosts,
    /// groups and variables holds all the same.
    pub fn on_node(&mut self, me: &str) {
        self.cluster.get_or_insert_with(Cluster::around).seen_from(me);
    }

    /// Names in the cluster.yml that the cluster does not have.
    pub fn strangers(&self, found: &cluster::Discovered) -> Vec<Fault> {
        let known = |name: &str| self.builder.has_host(name) || name == "localhost";
        self.cluster.as_ref().map(|cluster| cluster.strangers(found, &known)).unwrap_or_default()
    }

    /// `found`: what discovery saw; `None` offline, and then nodes and containers that no file names are not known.
    pub fn build(mut self, found: Option<&cluster::Discovered>) -> Inventory {
        if let Some(cluster) = &self.cluster {
            cluster.enter(&mut self.builder, found);
        }
        let mut inventory = self.builder.build(&self.files);
        if self.cluster.is_some() {
            inventory.hosts.push("cluster".to_owned());
        }
        if !inventory.hosts.iter().any(|h| h == "localhost") {
            inventory.hosts.push("localhost".to_owned());
        }
        inventory
    }
}

/// Reads every source; every fault of every file, or the whole. `playbooks`: `group_vars` beside them count too.
pub fn load(given: &[String], playbooks: &[PathBuf], sources: &mut Sources) -> Result<Loaded, Vec<Fault>> {
    let (mut loaded, mut faults) = (Loaded::default(), Vec::new());
    let mut folders: Vec<PathBuf> = Vec::new();
    for source in given {
        let path = Path::new(source);
        if source.contains(',') && !path.exists() {
            list_of_hosts(source, &mut loaded.builder, sources, &mut faults);
            continue;
        }
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        remember(&mut folders, folder);
        let found = folder::files(path);
        loaded.left_out.extend(found.left_out);
        for file in found.files {
            read(&file, &mut loaded, sources, &mut faults);
        }
    }
    for playbook in playbooks {
        remember(&mut folders, playbook.parent().unwrap_or(Path::new("")));
    }
    loaded.files = folders.iter().map(|folder| Files::beside(folder, sources, &mut faults)).collect();
    if faults.is_empty() { Ok(loaded) } else { Err(covered(faults, sources)) }
}

fn remember(folders: &mut Vec<PathBuf>, folder: &Path) {
    if !folders.iter().any(|f| f == folder) {
        folders.push(folder.to_owned());
    }
}

/// `a,b,` on the command line.
fn list_of_hosts(given: &str, builder: &mut Builder, sources: &mut Sources, faults: &mut Vec<Fault>) {
    let file = sources.add("--inventory", given);
    let mut at = 0;
    for word in given.split(',') {
        let span = Span { file, start: at, end: at + word.len() };
        at += word.len() + 1;
        if word.trim().is_empty() {
            continue;
        }
        match address::expand(word.trim()) {
            Ok((hosts, port)) => {
                for host in hosts {
                    builder.add_host("ungrouped", &host);
                    if let Some(port) = port {
                        let port = Node::scalar(port.to_string(), true, span);
                        builder.set_host_vars(&host, [("ansible_port".to_owned(), port)].into());
                    }
                }
            }
            Err(why) => faults.push(Fault::new(span, format!("`{word}` is no host: {why}"))),
        }
    }
}

fn read(path: &Path, loaded: &mut Loaded, sources: &mut Sources, faults: &mut Vec<Fault>) {
    let file = match crate::yaml::read(path, sources) {
        Ok(file) => file,
        Err(fault) => return faults.push(fault),
    };
    let text = sources.text(file).clone();
    let start = Span { file, start: 0, end: text.lines().next().map_or(0, str::len) };
    if text.starts_with("$ANSIBLE_VAULT") {
        return faults.push(vault(start));
    }
    if text.starts_with("#!") {
        let fault = Fault::new(start, "inventory scripts are not run");
        return faults
            .push(fault.help("save what it prints for `--list` as YAML, or use a cluster.yml, which discovers hosts"));
    }
    if !is_yaml(path, &text) {
        return ini::read(sources, file, &mut loaded.builder, faults);
    }
    let root = match crate::yaml::parse(sources, file) {
        Ok(root) => root,
        Err(found) => return faults.extend(found),
    };
    if let Some(plugin) = root.get("plugin") {
        let name = plugin.as_str().unwrap_or_default();
        let fault =
            Fault::new(plugin.span, format!("inventory plugin `{name}` is not run")).label("a plugin of Ansible");
        let help = if name.contains("proxmox") {
            "a cluster.yml with `endpoints` and `login` discovers the same nodes and containers"
        } else {
            "save the output of `ansible-inventory --list --yaml` and use that"
        };
        return faults.push(fault.help(help));
    }
    if !cluster::is_one(path, &root) {
        return yaml::read(&root, &mut loaded.builder, faults);
    }
    match cluster::read(&root, path) {
        Ok(_) if loaded.cluster.is_some() => {
            faults.push(Fault::new(root.span, "a second cluster: one run works on one cluster"));
        }
        Ok(found) => loaded.cluster = Some(found),
        Err(found) => faults.extend(found),
    }
}

/// By its extension; without one, by what its first line of content looks like.
fn is_yaml(path: &Path, text: &str) -> bool {
    match path.extension().and_then(|e| e.to_str()) {
        Some("yml" | "yaml" | "json") => true,
        Some("ini" | "cfg") => false,
        _ => {
            let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
            first.is_some_and(|line| {
                let key = line.split('#').next().unwrap_or_default().trim_end();
                line == "---" || line.starts_with('{') || (key.ends_with(':') && !key.contains(['[', '=', ' ']))
            })
        }
    }
}

fn vault(span: Span) -> Fault {
    Fault::new(span, "this file is encrypted with ansible-vault, which is not read yet").help(
        "`ansible-vault decrypt` it; secrets in it can be had by `lookup('file', …)` or `lookup('env', …)` instead",
    )
}

/// The faults over texts in which passwords are covered.
fn covered(faults: Vec<Fault>, sources: &mut Sources) -> Vec<Fault> {
    let mut copies = std::collections::BTreeMap::new();
    let mut copy = |span: &mut Span, sources: &mut Sources| {
        span.file = *copies.entry(span.file).or_insert_with(|| {
            let (path, text) = (sources.path(span.file).to_owned(), mask(sources.text(span.file)));
            sources.add(path, text)
        });
    };
    faults
        .into_iter()
        .map(|mut fault| {
            copy(&mut fault.span, sources);
            if let Some((also, _)) = &mut fault.also {
                copy(also, sources);
            }
            fault
        })
        .collect()
}
