//! `group_vars` and `host_vars` beside an inventory or a playbook, found and merged as Ansible does.

use super::{Vars, yaml};
use crate::diagnostic::{Fault, Sources, Span};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 3] = ["yml", "yaml", "json"];

/// What the files of one folder say of groups and hosts.
#[derive(Debug, Default)]
pub struct Files {
    groups: BTreeMap<String, Vars>,
    hosts: BTreeMap<String, Vars>,
    none: Vars,
    /// Files that are encrypted, by the group or host that they are about.
    sealed_groups: BTreeMap<String, Vec<Span>>,
    sealed_hosts: BTreeMap<String, Vec<Span>>,
}

impl Files {
    pub fn group(&self, name: &str) -> &Vars {
        self.groups.get(name).unwrap_or(&self.none)
    }

    pub fn host(&self, name: &str) -> &Vars {
        self.hosts.get(name).unwrap_or(&self.none)
    }

    pub fn sealed_group(&self, name: &str) -> &[Span] {
        self.sealed_groups.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn sealed_host(&self, name: &str) -> &[Span] {
        self.sealed_hosts.get(name).map_or(&[], Vec::as_slice)
    }

    /// Reads what lies beside an inventory or a playbook. Files of names that no inventory knows are read too: their
    /// faults are faults.
    pub fn beside(folder: &Path, sources: &mut Sources, faults: &mut Vec<Fault>) -> Self {
        let mut read = |kind: &str| {
            let (mut found, mut sealed) = (BTreeMap::new(), BTreeMap::new());
            for (name, files) in entries(&folder.join(kind)) {
                let vars: &mut Vars = found.entry(name.clone()).or_default();
                let mut seals = Vec::new();
                for file in files {
                    vars.extend(read_file(&file, sources, faults, &mut seals));
                }
                if !seals.is_empty() {
                    sealed.insert(name, seals);
                }
            }
            (found, sealed)
        };
        let ((groups, sealed_groups), (hosts, sealed_hosts)) = (read("group_vars"), read("host_vars"));
        Self { groups, hosts, none: Vars::new(), sealed_groups, sealed_hosts }
    }
}

/// Name → its files, in the order in which later ones win. Of `all`, `all.yml` and `all.yaml` the first counts.
fn entries(folder: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, (usize, Vec<PathBuf>)> = BTreeMap::new();
    for path in list(folder) {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = EXTENSIONS.iter().position(|e| file.ends_with(&format!(".{e}")));
        // `node.example.org` is a host, not a name with an extension.
        let (name, rank) = match extension {
            Some(at) => (file[..file.len() - EXTENSIONS[at].len() - 1].to_owned(), at + 1),
            None => (file, 0),
        };
        let files = if path.is_dir() { below(&path) } else { vec![path] };
        let slot = found.entry(name).or_insert((usize::MAX, Vec::new()));
        if rank < slot.0 {
            *slot = (rank, files);
        }
    }
    found.into_iter().map(|(name, (_, files))| (name, files)).collect()
}

/// The files of a folder of variables, by name, folders inside it in their place.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in list(folder) {
        let extension = path.extension().map(|e| e.to_string_lossy().into_owned());
        if path.is_dir() {
            if extension.is_none() {
                files.extend(below(&path));
            }
        } else if extension.is_none_or(|e| EXTENSIONS.contains(&e.as_str())) {
            files.push(path);
        }
    }
    files
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let hidden = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with('.') || name.ends_with('~')
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| !hidden(path)).collect();
    paths.sort();
    paths
}

fn read_file(path: &Path, sources: &mut Sources, faults: &mut Vec<Fault>, sealed: &mut Vec<Span>) -> Vars {
    let file = match crate::yaml::read(path, sources) {
        Ok(file) => file,
        Err(fault) => {
            faults.push(fault);
            return Vars::new();
        }
    };
    let text = sources.text(file).clone();
    if text.starts_with("$ANSIBLE_VAULT") {
        // What it says is missing to the hosts it is about, and to nobody else.
        sealed.push(Span { file, start: 0, end: "$ANSIBLE_VAULT".len() });
        return Vars::new();
    }
    let says_nothing = |line: &str| line.trim().is_empty() || line.starts_with('#') || line.trim_end() == "---";
    if text.lines().all(says_nothing) {
        return Vars::new();
    }
    match crate::yaml::parse(sources, file) {
        Ok(node) => yaml::vars_of(&node, faults),
        Err(found) if found.iter().all(crate::yaml::is_vault) => {
            sealed.extend(found.iter().map(|fault| fault.span));
            Vars::new()
        }
        Err(found) => {
            faults.extend(found);
            Vars::new()
        }
    }
}
