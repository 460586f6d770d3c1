//! From a `cluster.yml` and what was discovered to hosts, groups and variables.
//!
//! What was discovered is data: it is handed on as it is, and never rendered. A name that the cluster does not have is a
//! fault, because it would become a host of its own.

use super::{Cluster, Container, Containers, Discovered, Login, NodeFields, NodeLink, Source, Ssh, Status, Tls};
use crate::diagnostic::{Fault, did_you_mean};
use crate::inventory::build::Builder;
use crate::inventory::{Inventory, Vars};
use crate::yaml::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

impl Cluster {
    /// The cluster that the machine belongs to on which the run takes place.
    pub(in crate::inventory) fn around() -> Self {
        Self {
            endpoints: Vec::new(),
            login: Login::Password { user: "root@pam".into(), password: Source::Prompt, second_factor: None },
            tls: Tls::System,
            path: PathBuf::new(),
            link: None,
            ssh: Ssh::default(),
            nodes: BTreeMap::new(),
            groups: Vec::new(),
            vars: Vars::new(),
            named: Vec::new(),
        }
    }

    /// Seen from one of its nodes: that one is asked itself, the others by the ssh that nodes have among them.
    pub(in crate::inventory) fn seen_from(&mut self, me: &str) {
        self.link = Some(NodeLink::Ssh);
        for (fields, _) in self.nodes.values_mut() {
            fields.link = None;
        }
        self.nodes.entry(me.to_owned()).or_default().0.link = Some(NodeLink::Here);
    }

    /// Whether some node is, or could be, reached by ssh.
    pub fn may_use_ssh(&self) -> bool {
        let of_node = |(fields, _): &(NodeFields, Vars)| fields.link.or(self.link).unwrap_or_default() == NodeLink::Ssh;
        self.link.unwrap_or_default() == NodeLink::Ssh || self.nodes.values().any(of_node)
    }

    pub(in crate::inventory) fn enter(&self, builder: &mut Builder, found: Option<&Discovered>) {
        builder.set_group_vars("all", self.vars.clone());
        builder.add_group("nodes");
        builder.add_group("containers");
        let nothing = Discovered::default();
        let found = found.unwrap_or(&nothing);
        let none = (NodeFields::default(), Vars::new());
        let names: BTreeSet<&String> = found.nodes.keys().chain(self.nodes.keys()).collect();
        for name in names {
            let (fields, vars) = self.nodes.get(name).unwrap_or(&none);
            builder.add_host("nodes", name);
            builder.set_login(name, "root");
            builder.set_host_vars(name, self.reach(fields));
            builder.set_host_vars(name, vars.clone());
            if let Some(address) = found.nodes.get(name).and_then(Option::as_deref) {
                builder.set_found(name, "ansible_host", address.into());
            }
        }
        for container in &found.containers {
            let name = container.host();
            builder.add_member("containers", &name);
            for (variable, value) in container.variables() {
                builder.set_found(&name, variable, value);
            }
        }
        for (name, group, vars) in &self.groups {
            builder.set_group_vars(name, vars.clone());
            for host in &group.hosts {
                if Inventory::is_container(host) {
                    builder.add_member(name, host);
                } else {
                    builder.add_host(name, host);
                }
            }
            for child in &group.children {
                builder.add_child(name, child);
            }
            let Some(wanted) = &group.containers else { continue };
            for container in found.containers.iter().filter(|c| wanted.has(c)) {
                builder.add_member(name, &container.host());
                if wanted.doubts(container) {
                    builder.note(format!(
                        "whether {} runs cannot be told, because {} does not say; it stays in the group `{name}`, \
                         and what is done in it fails while it cannot be reached",
                        container.host(),
                        container.node
                    ));
                }
            }
        }
    }

    /// What is written as a node's name, and is none: neither of the cluster nor of another source (`known`).
    pub(in crate::inventory) fn strangers(&self, found: &Discovered, known: &dyn Fn(&str) -> bool) -> Vec<Fault> {
        let strange = self.named.iter().filter(|(name, _)| !found.nodes.contains_key(name) && !known(name));
        strange
            .map(|(name, span)| {
                let names: Vec<&str> = found.nodes.keys().map(String::as_str).collect();
                let help =
                    format!("its nodes are {}; other hosts belong in an inventory of their own", names.join(", "));
                let fault = Fault::new(*span, format!("the cluster has no node `{name}`"));
                fault.help(help).hint(did_you_mean(name, names))
            })
            .collect()
    }

    /// How a node is reached, in the names that Ansible's inventories use for it; of what the file does not say, nothing:
    /// a default must not win over what others say.
    fn reach(&self, node: &NodeFields) -> Vars {
        let own = node.ssh.clone().unwrap_or_default();
        let link = node.link.or(self.link).map(|link| match link {
            NodeLink::Ssh => "ssh",
            NodeLink::PveShell => "pve_shell",
            NodeLink::Here => "local",
        });
        let said = [
            ("ansible_connection", link.map(str::to_owned)),
            ("ansible_host", node.address.clone()),
            ("pve_endpoint", node.endpoint.clone()),
            ("ansible_user", own.user.or_else(|| self.ssh.user.clone())),
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
            && self.state.is_none_or(|state| state.may_be(container.status))
    }

    /// It is a member only because nobody knows better.
    fn doubts(&self, container: &Container) -> bool {
        self.state.is_some() && container.status == Status::Unknown
    }
}
