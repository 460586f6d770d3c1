//! `cluster.yml`: where a Proxmox cluster is, who asks, whom to believe, and groups of what is discovered there.

use super::build::Builder;
use super::{Vars, yaml};
use crate::diagnostic::{Fault, closest, did_you_mean};
use crate::yaml::Node;
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
    link: NodeLink,
    ssh: Ssh,
    nodes: BTreeMap<String, (NodeFields, Vars)>,
    groups: Vec<(String, Group, Vars)>,
    vars: Vars,
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
    state: Option<ContainerState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ContainerState {
    Running,
    Stopped,
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
    link: NodeLink,
    #[serde(default)]
    ssh: Ssh,
    #[serde(default)]
    nodes: BTreeMap<String, Option<NodeFields>>,
    #[serde(default)]
    groups: BTreeMap<String, Option<Group>>,
    #[serde(default, rename = "vars")]
    _vars: Option<IgnoredAny>,
}

/// What discovery found.
#[derive(Debug, Clone, Default)]
pub struct Discovered {
    /// Node → its address in the cluster.
    pub nodes: BTreeMap<String, Option<String>>,
    pub containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    pub vmid: u32,
    pub node: String,
    pub name: String,
    pub tags: Vec<String>,
    pub pool: Option<String>,
    pub running: bool,
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
        }),
        _ => Err(faults),
    }
}

fn place(root: &Node, key: &str) -> crate::diagnostic::Span {
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

impl Cluster {
    /// The cluster that the machine belongs to on which the run takes place.
    pub(super) fn around() -> Self {
        Self {
            endpoints: Vec::new(),
            login: Login::Password { user: "root@pam".into(), password: Source::Prompt, second_factor: None },
            tls: Tls::System,
            path: PathBuf::new(),
            link: NodeLink::Ssh,
            ssh: Ssh::default(),
            nodes: BTreeMap::new(),
            groups: Vec::new(),
            vars: Vars::new(),
        }
    }

    /// Seen from one of its nodes: that one is asked itself, the others by the ssh that nodes have among them.
    pub(super) fn seen_from(&mut self, me: &str) {
        self.link = NodeLink::Ssh;
        for (fields, _) in self.nodes.values_mut() {
            fields.link = None;
        }
        self.nodes.entry(me.to_owned()).or_default().0.link = Some(NodeLink::Here);
    }

    /// Whether some node is, or could be, reached by ssh.
    pub fn may_use_ssh(&self) -> bool {
        let of_node = |(fields, _): &(NodeFields, Vars)| fields.link.unwrap_or(self.link) == NodeLink::Ssh;
        self.link == NodeLink::Ssh || self.nodes.values().any(of_node)
    }

    pub(super) fn enter(&self, builder: &mut Builder, found: Option<&Discovered>) {
        builder.set_group_vars("all", self.vars.clone());
        builder.add_group("nodes");
        builder.add_group("containers");
        let discovered = found.into_iter().flat_map(|f| &f.nodes).map(|(name, address)| (name, address.clone()));
        let mut nodes: BTreeMap<&String, Option<String>> = discovered.collect();
        for (name, (fields, _)) in &self.nodes {
            let address = nodes.entry(name).or_default();
            *address = fields.address.clone().or(address.take());
        }
        let none = (NodeFields::default(), Vars::new());
        for (name, address) in nodes {
            let (fields, vars) = self.nodes.get(name).unwrap_or(&none);
            builder.add_host("nodes", name);
            builder.set_host_vars(name, self.reach(fields, address));
            builder.set_host_vars(name, vars.clone());
        }
        for container in found.into_iter().flat_map(|f| &f.containers) {
            let name = format!("ct:{}", container.vmid);
            builder.add_member("containers", &name);
            let text = |value: &str| Node::scalar(value, false, Default::default());
            let vars = [
                ("pve_name", text(&container.name)),
                ("pve_vmid", Node::scalar(container.vmid.to_string(), true, Default::default())),
                ("pve_tags", Node::from_json(&container.tags.clone().into(), Default::default())),
            ];
            builder.set_host_vars(&name, vars.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
        }
        for (name, group, vars) in &self.groups {
            builder.set_group_vars(name, vars.clone());
            for host in &group.hosts {
                if super::Inventory::is_container(host) {
                    builder.add_member(name, host);
                } else {
                    builder.add_host(name, host);
                }
            }
            for child in &group.children {
                builder.add_child(name, child);
            }
            let Some(wanted) = &group.containers else { continue };
            for container in found.into_iter().flat_map(|f| &f.containers).filter(|c| wanted.has(c)) {
                builder.add_member(name, &format!("ct:{}", container.vmid));
            }
        }
    }

    /// How a node is reached, in the names that Ansible's inventories use for it.
    fn reach(&self, node: &NodeFields, address: Option<String>) -> Vars {
        let own = node.ssh.clone().unwrap_or_default();
        let link = match node.link.unwrap_or(self.link) {
            NodeLink::Ssh => "ssh",
            NodeLink::PveShell => "pve_shell",
            NodeLink::Here => "local",
        };
        let user = own.user.or_else(|| self.ssh.user.clone()).unwrap_or_else(|| "root".to_owned());
        let said = [
            ("ansible_connection", Some(link.to_owned())),
            ("ansible_host", address),
            ("pve_endpoint", node.endpoint.clone()),
            ("ansible_user", Some(user)),
            ("ansible_port", own.port.or(self.ssh.port).map(|p| p.to_string())),
            ("ansible_ssh_private_key_file", own.private_key_file.or_else(|| self.ssh.private_key_file.clone())),
            ("ansible_ssh_common_args", own.common_args.or_else(|| self.ssh.common_args.clone())),
        ];
        let scalar = |text| Node::scalar(text, false, Default::default());
        said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), scalar(value?)))).collect()
    }
}

impl Containers {
    fn has(&self, container: &Container) -> bool {
        let one = |wanted: &[String], has: &dyn Fn(&String) -> bool| wanted.is_empty() || wanted.iter().any(has);
        one(&self.tags, &|tag| container.tags.iter().any(|t| t.eq_ignore_ascii_case(tag)))
            && one(&self.pools, &|pool| container.pool.as_ref() == Some(pool))
            && one(&self.nodes, &|node| container.node == *node)
            && self.state.is_none_or(|state| (state == ContainerState::Running) == container.running)
    }
}
