//! Ansible's YAML inventories: groups with `hosts`, `vars` and `children`. An unknown key is a fault, because what stands
//! under it would be lost without a word.

use super::build::Builder;
use super::{Vars, address};
use crate::diagnostic::{Fault, did_you_mean};
use crate::yaml::Node;

const KEYS: [&str; 3] = ["hosts", "vars", "children"];

pub fn read(root: &Node, builder: &mut Builder, faults: &mut Vec<Fault>) {
    let Some(groups) = root.entries() else {
        let message = format!("an inventory is a mapping of groups, this is {}", root.what());
        return faults.push(Fault::new(root.span, message));
    };
    for (name, group) in groups {
        read_group(name, group, builder, faults, 0);
    }
}

fn read_group(name: &Node, group: &Node, builder: &mut Builder, faults: &mut Vec<Fault>, depth: usize) {
    let group_name = name.as_str().unwrap_or_default();
    if depth > 50 {
        return faults.push(Fault::new(name.span, "groups stand more than 50 deep"));
    }
    builder.add_group(group_name);
    if group.is_null() {
        return;
    }
    let Some(entries) = group.entries() else {
        let fault = Fault::new(group.span, format!("group `{group_name}` is {}", group.what()));
        return faults.push(fault.label("not a mapping with `hosts`, `vars` or `children`"));
    };
    for (key, value) in entries {
        match key.as_str().unwrap_or_default() {
            "hosts" => {
                for (host, vars) in members(value, "hosts", faults) {
                    read_host(group_name, host, vars, builder, faults);
                }
            }
            "children" => {
                for (child, of_child) in members(value, "children", faults) {
                    let child_name = child.as_str().unwrap_or_default();
                    if !builder.add_child(group_name, child_name) {
                        let message =
                            format!("group `{child_name}` holds `{group_name}` already: they would go in a circle");
                        faults.push(Fault::new(child.span, message));
                        continue;
                    }
                    if let Some(of_child) = of_child {
                        read_group(child, of_child, builder, faults, depth + 1);
                    }
                }
            }
            "vars" => builder.set_group_vars(group_name, vars_of(value, faults)),
            other => {
                let fault = Fault::new(key.span, format!("unknown key `{other}` in group `{group_name}`"))
                    .label("not `hosts`, `vars` or `children`")
                    .hint(did_you_mean(other, KEYS))
                    .hint(
                        did_you_mean(other, KEYS)
                            .is_none()
                            .then(|| "a group inside a group stands under `children:`".into()),
                    );
                faults.push(fault);
            }
        }
    }
}

/// The entries of `hosts` or `children`; a single name may stand for a mapping of one.
fn members<'n>(value: &'n Node, what: &str, faults: &mut Vec<Fault>) -> Vec<(&'n Node, Option<&'n Node>)> {
    if value.is_null() {
        return Vec::new();
    }
    if let Some(entries) = value.entries() {
        return entries.iter().map(|(key, value)| (key, Some(value))).collect();
    }
    if value.items().is_none() {
        return vec![(value, None)];
    }
    let fault = Fault::new(value.span, format!("`{what}` is a mapping, one key a name, this is {}", value.what()));
    faults.push(fault.help("write `name:` with a colon behind, without the dash"));
    Vec::new()
}

fn read_host(group: &str, host: &Node, vars: Option<&Node>, builder: &mut Builder, faults: &mut Vec<Fault>) {
    let word = host.as_str().unwrap_or_default();
    let (hosts, port) = match address::expand(word) {
        Ok(expanded) => expanded,
        Err(why) => return faults.push(Fault::new(host.span, format!("`{word}` is no host: {why}"))),
    };
    let mut all = Vars::new();
    if let Some(port) = port {
        all.insert("ansible_port".to_owned(), Node::scalar(port.to_string(), true, host.span));
    }
    if let Some(vars) = vars {
        all.extend(vars_of(vars, faults));
    }
    for host in hosts {
        builder.add_host(group, &host);
        builder.set_host_vars(&host, all.clone());
    }
}

/// A mapping of variables.
pub fn vars_of(node: &Node, faults: &mut Vec<Fault>) -> Vars {
    if node.is_null() {
        return Vars::new();
    }
    match node.entries() {
        Some(entries) => entries.iter().map(|(k, v)| (k.as_str().unwrap_or_default().to_owned(), v.clone())).collect(),
        None => {
            let message = format!("variables are a mapping of name to value, this is {}", node.what());
            faults.push(Fault::new(node.span, message));
            Vars::new()
        }
    }
}
