//! The files of a folder that is given as an inventory. What may be a secret is never read as one: its words would become
//! host names, be shown, and be asked of a name server.

use super::cluster;
use crate::diagnostic::Sources;
use crate::yaml::Node;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What in a folder of inventories is none, as in Ansible; and certificates and keys.
const NO_INVENTORY: [&str; 18] = [
    ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry", ".pem", ".key",
    ".crt", ".cer", ".pub", ".gpg",
];
/// What is one for sure.
const INVENTORY: [&str; 4] = [".yml", ".yaml", ".json", ".ini"];

#[derive(Debug, Default)]
pub struct Found {
    /// In the order in which they are read.
    pub files: Vec<PathBuf>,
    /// What could have been an inventory, in words.
    pub left_out: Vec<String>,
}

/// A file itself, or those of a folder and of the folders in it.
pub fn files(path: &Path) -> Found {
    if !path.is_dir() {
        return Found { files: vec![path.to_owned()], left_out: Vec::new() };
    }
    let mut all = Vec::new();
    list(path, &mut all);
    let secret: Vec<PathBuf> = all.iter().filter_map(|file| named_by(file)).flatten().collect();
    let has_cluster = all.iter().any(|file| is_cluster(file));
    let mut found = Found::default();
    for file in all {
        let certain = name(&file) == "hosts" || INVENTORY.iter().any(|end| name(&file).ends_with(end));
        let why = match () {
            () if std::fs::canonicalize(&file).is_ok_and(|real| secret.contains(&real)) => continue,
            () if certain => None,
            () if has_cluster => {
                Some("beside a cluster.yml only *.yml, *.yaml, *.json, *.ini and `hosts` are inventories")
            }
            () if may_be_secret(&file) => Some("a single line that only its owner can read looks like a secret"),
            () => None,
        };
        match why {
            Some(why) => {
                let shown = file.display();
                found
                    .left_out
                    .push(format!("{shown} was not read: {why}; if it is an inventory, give it by `-i {shown}`"));
            }
            None => found.files.push(file),
        }
    }
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn list(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        // Reading it again says why.
        return into.push(folder.to_owned());
    };
    let counts = |path: &PathBuf| {
        let name = name(path);
        let vars = matches!(name.as_str(), "group_vars" | "host_vars" | "vars_plugins");
        !vars && !name.starts_with('.') && !NO_INVENTORY.iter().any(|end| name.ends_with(end))
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(counts).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() { list(&path, into) } else { into.push(path) }
    }
}

fn is_cluster(file: &Path) -> bool {
    tree(file).map_or_else(
        || matches!(name(file).as_str(), "cluster.yml" | "cluster.yaml"),
        |root| cluster::is_one(file, &root),
    )
}

fn tree(file: &Path) -> Option<Node> {
    if ![".yml", ".yaml"].iter().any(|end| name(file).ends_with(end)) {
        return None;
    }
    let mut sources = Sources::default();
    let id = crate::yaml::read(file, &mut sources).ok()?;
    crate::yaml::parse(&sources, id).ok()
}

/// The files that a cluster's file names: secrets and certificates.
fn named_by(file: &Path) -> Option<Vec<PathBuf>> {
    let root = tree(file).filter(|root| cluster::is_one(file, root))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let login = root.get("login").and_then(Node::entries).unwrap_or_default();
    let secrets = login.iter().filter_map(|(_, source)| source.get("file")?.as_str());
    let authority = root.get("tls").and_then(|tls| tls.get("ca_file")?.as_str());
    let real = |named: &str| std::fs::canonicalize(super::secret::at(Path::new(named), folder)).ok();
    Some(secrets.chain(authority).filter_map(real).collect())
}

fn may_be_secret(file: &Path) -> bool {
    let private = std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o077 == 0 && meta.len() < 4096);
    private && std::fs::read_to_string(file).is_ok_and(|text| text.trim_end().lines().count() == 1)
}
