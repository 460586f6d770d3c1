//! `cluster.yml`: where a Proxmox cluster is, who asks, whom to believe, and groups of what is discovered there. A secret
//! that is written out in it is refused, and not shown.

mod enter;
mod found;

pub use found::{Container, Discovered, NAMES, Status};

use super::{Vars, yaml};
use crate::diagnostic::{Fault, Span, closest, did_you_mean};
use crate::yaml::Node;
use found::Wanted;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A cluster and the way in.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// `host`, `host:port` or a URL, in the order in which they are tried.
    pub endpoints: Vec<String>,
    pub login: Login,
    pub tls: Tls,
    pub path: PathBuf,
    link: Option<NodeLink>,
    ssh: Ssh,
    nodes: BTreeMap<String, (NodeFields, Vars)>,
    groups: Vec<(String, Group, Vars)>,
    vars: Vars,
    /// What is written as a node's name, each with its place.
    named: Vec<(String, Span)>,
}

/// Who asks. `user` with `password`, or `token` with `secret`.
#[derive(Debug, Clone)]
pub enum Login {
    Password { user: String, password: Source, second_factor: Option<Source> },
    Token { id: String, secret: Source },
}

/// Where a secret comes from. It never stands in the file itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Asked on the terminal.
    Prompt,
    /// A variable of the environment.
    Env(String),
    /// A file that only its owner can read (mode 0600 or narrower).
    File(PathBuf),
    /// The first line that a program prints.
    Command(Vec<String>),
}

/// Whom to believe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// The authorities that this machine trusts.
    #[default]
    System,
    /// A PEM file, usually a copy of `/etc/pve/pve-root-ca.pem`.
    CaFile(PathBuf),
    /// SHA-256 fingerprints of the nodes' certificates.
    Fingerprints(Vec<String>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NodeLink {
    #[default]
    Ssh,
    PveShell,
    /// The node that the run takes place on.
    #[serde(skip)]
    Here,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ssh {
    user: Option<String>,
    port: Option<u16>,
    private_key_file: Option<String>,
    common_args: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFields {
    address: Option<String>,
    /// The node's own API, where it is not at its address and port 8006.
    endpoint: Option<String>,
    link: Option<NodeLink>,
    ssh: Option<Ssh>,
    #[serde(default, rename = "vars")]
    _vars: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    children: Vec<String>,
    containers: Option<Containers>,
    #[serde(default, rename = "vars")]
    _vars: Option<IgnoredAny>,
}

/// Which of the discovered containers: all that is said must hold; of several tags or pools, one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Containers {
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    pools: Vec<String>,
    #[serde(default)]
    nodes: Vec<String>,
    state: Option<Wanted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginFields {
    user: Option<String>,
    password: Option<Source>,
    second_factor: Option<Source>,
    token: Option<String>,
    secret: Option<Source>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    endpoints: Vec<String>,
    login: LoginFields,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    link: Option<NodeLink>,
    #[serde(default)]
    ssh: Ssh,
    #[serde(default)]
    nodes: BTreeMap<String, Option<NodeFields>>,
    #[serde(default)]
    groups: BTreeMap<String, Option<Group>>,
    #[serde(default, rename = "vars")]
    _vars: Option<IgnoredAny>,
}

/// Told from Ansible's YAML inventories by its name or its keys.
pub fn is_one(path: &Path, root: &Node) -> bool {
    let named = matches!(path.file_name().and_then(|n| n.to_str()), Some("cluster.yml" | "cluster.yaml"));
    let keyed = |(key, value): &(Node, Node)| {
        let group =
            value.entries().is_some_and(|e| e.iter().any(|(k, _)| matches!(k.as_str(), Some("hosts" | "children"))));
        closest(key.as_str().unwrap_or_default(), ["endpoints", "login"]).is_some() && !group
    };
    named || root.entries().is_some_and(|entries| entries.iter().any(keyed))
}

pub fn read(root: &Node, path: &Path) -> Result<Cluster, Vec<Fault>> {
    let mut faults = plain_secrets(root);
    if !faults.is_empty() {
        // Decoding would tell the same faults in words that quote the secret.
        return Err(faults);
    }
    let fields: Fields = crate::yaml::decode_as(root, Some("cluster.yml"))?;
    if fields.endpoints.is_empty() {
        faults.push(Fault::new(place(root, "endpoints"), "no endpoint is given"));
    }
    let login = login(root, fields.login, &mut faults);
    if let Tls::Fingerprints(pins) = &fields.tls {
        for pin in pins {
            if let Err(why) = pin.parse::<crate::pve::Fingerprint>() {
                faults.push(Fault::new(place(root, "tls"), why));
            }
        }
    }
    let vars = |node: Option<&Node>, faults: &mut Vec<Fault>| {
        node.and_then(|n| n.get("vars")).map(|vars| yaml::vars_of(vars, faults)).unwrap_or_default()
    };
    let below = |key: &str, name: &str| root.get(key).and_then(|all| all.get(name));
    let mut nodes = BTreeMap::new();
    for (name, node) in fields.nodes {
        let of_node = vars(below("nodes", &name), &mut faults);
        nodes.insert(name, (node.unwrap_or_default(), of_node));
    }
    let names: Vec<&String> = fields.groups.keys().collect();
    for (name, group) in &fields.groups {
        for child in group.iter().flat_map(|g| &g.children) {
            if !names.contains(&child) && !matches!(child.as_str(), "nodes" | "containers") {
                let span = below("groups", name).and_then(|g| g.get("children")).map_or(root.span, |n| n.span);
                let help = did_you_mean(child, names.iter().map(|n| n.as_str()));
                faults.push(Fault::new(span, format!("group `{child}` is not defined")).hint(help));
            }
        }
    }
    let mut groups = Vec::new();
    for (name, group) in fields.groups {
        let of_group = vars(below("groups", &name), &mut faults);
        groups.push((name, group.unwrap_or_default(), of_group));
    }
    let vars = vars(Some(root), &mut faults);
    let named = named(root);
    if let Some(Login::Token { .. }) = &login {
        shells_of_a_token(root, &mut faults);
    }
    match login {
        Some(login) if faults.is_empty() => Ok(Cluster {
            endpoints: fields.endpoints,
            login,
            tls: fields.tls,
            path: path.to_owned(),
            link: fields.link,
            ssh: fields.ssh,
            nodes,
            groups,
            vars,
            named,
        }),
        _ => Err(faults),
    }
}

/// The names under `nodes`, and those under `hosts` of groups that are no containers.
fn named(root: &Node) -> Vec<(String, Span)> {
    let nodes = root.get("nodes").and_then(Node::entries).unwrap_or_default().iter().map(|(name, _)| name);
    let groups = root.get("groups").and_then(Node::entries).unwrap_or_default();
    let hosts = groups.iter().filter_map(|(_, group)| group.get("hosts")?.items()).flatten();
    let names = nodes.chain(hosts).filter_map(|node| Some((node.as_str()?.to_owned(), node.span)));
    names.filter(|(name, _)| !super::Inventory::is_container(name)).collect()
}

/// Proxmox opens a node's shell to people only: a token is refused there, whatever rights it has.
fn shells_of_a_token(root: &Node, faults: &mut Vec<Fault>) {
    let nodes = root.get("nodes").and_then(Node::entries).unwrap_or_default().iter().map(|(_, node)| node);
    for link in std::iter::once(root).chain(nodes).filter_map(|node| node.get("link")) {
        if link.as_str() == Some("pve_shell") {
            let fault =
                Fault::new(link.span, "`pve_shell` cannot be had with a token").label("a shell needs a password");
            faults.push(fault.help("log in as root@pam with its password, or reach the nodes by `link: ssh`"));
        }
    }
}

fn place(root: &Node, key: &str) -> Span {
    root.get(key).map_or(root.span, |node| node.span)
}

/// A secret written out: the fault stands at its key, and the value is never shown.
fn plain_secrets(root: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, value) in root.get("login").and_then(Node::entries).unwrap_or_default() {
        let name = key.as_str().unwrap_or_default();
        let secret = matches!(name, "password" | "secret" | "second_factor");
        let Some(text) = value.as_str().filter(|_| secret) else { continue };
        if matches!(text, "prompt") {
            continue;
        }
        let what = if value.is_null() { "nothing" } else { "text" };
        let fault = Fault::new(key.span, format!("`{name}` says where the secret comes from; here stands {what}"));
        faults.push(fault.help(format!(
            "write `{name}: prompt`, or {{ env: NAME }}, {{ file: PATH }} (mode 0600) or {{ command: [program, argument] }}"
        )));
    }
    faults
}

fn login(root: &Node, fields: LoginFields, faults: &mut Vec<Fault>) -> Option<Login> {
    let span = place(root, "login");
    let mut wrong = |message: &str, help: &str| {
        faults.push(Fault::new(span, message).help(help));
        None
    };
    match fields {
        LoginFields { token: Some(id), user: None, password: None, second_factor: None, secret } => {
            if !(id.contains('@') && id.contains('!')) {
                return wrong("this is no name of a token", "it is written user@realm!name, as in root@pam!converge");
            }
            match secret {
                Some(secret) => Some(Login::Token { id, secret }),
                None => wrong(
                    "the token's `secret` is missing",
                    "secret: { file: PATH }, { env: NAME } or { command: [...] }",
                ),
            }
        }
        LoginFields { user, password, second_factor, token: None, secret: None } => {
            let user = user.unwrap_or_else(|| "root@pam".to_owned());
            if !user.contains('@') {
                return wrong("the user lacks its realm", "as in root@pam");
            }
            Some(Login::Password { user, password: password.unwrap_or(Source::Prompt), second_factor })
        }
        _ => wrong("a login is `user` with `password`, or `token` with `secret`", "leave one of the two out"),
    }
}
