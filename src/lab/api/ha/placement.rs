//! On which node a resource belongs: the nodes that its rule or group names, by priority, among those alive.
//! Pure; the manager acts on the answer.

use super::{GROUPS, RULES, parse_nodes, read, sid_of};
use crate::lab::api::conf::Section;
use crate::lab::api::formats::split_list;
use crate::lab::api::site::Site;
use crate::lab::world::Flavour;
use std::collections::BTreeMap;

/// What rules or groups say about one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Node and priority; empty = every node.
    pub nodes: BTreeMap<String, u32>,
    /// Never on another node.
    pub strict: bool,
    /// Back to a better node once it is there.
    pub failback: bool,
}

pub fn wish(site: &dyn Site, node: &str, flavour: Flavour, resource: &Section) -> Wish {
    let on = |section: &Section, key: &str| section.keys.get(key).is_some_and(|word| word == "1");
    let nodes_of = |section: &Section| parse_nodes(section.keys.get("nodes").map_or("", String::as_str));
    match flavour {
        Flavour::Pve9 => {
            let failback = resource.keys.get("failback").is_none_or(|word| word == "1");
            let (rules, _) = read(site, node, RULES);
            let sid = sid_of(resource);
            let rule = rules.list.iter().find(|rule| {
                rule.kind == "node-affinity"
                    && !on(rule, "disable")
                    && rule.keys.get("resources").is_some_and(|list| split_list(list).any(|id| id == sid))
            });
            match rule {
                Some(rule) => Wish { nodes: nodes_of(rule), strict: on(rule, "strict"), failback },
                None => Wish { failback, ..Wish::default() },
            }
        }
        Flavour::Pve8 => {
            let (groups, _) = read(site, node, GROUPS);
            match resource.keys.get("group").and_then(|name| groups.get(name)) {
                Some(group) => {
                    Wish { nodes: nodes_of(group), strict: on(group, "restricted"), failback: !on(group, "nofailback") }
                }
                None => Wish { failback: true, ..Wish::default() },
            }
        }
    }
}

impl Wish {
    /// The node to be on, of those in `online`, without the ones in `except`; `current` is kept where it may be.
    /// `None`: no node is left.
    pub fn choose(&self, online: &[String], current: &str, except: &[String]) -> Option<String> {
        let usable = |name: &&String| online.contains(name) && !except.contains(name);
        let named: Vec<&String> = self.nodes.keys().filter(usable).collect();
        let candidates: BTreeMap<String, u32> = if named.is_empty() {
            if self.strict && !self.nodes.is_empty() {
                return None;
            }
            online.iter().filter(|name| !except.contains(name)).map(|name| (name.clone(), 0)).collect()
        } else {
            named.into_iter().map(|name| (name.clone(), self.nodes[name])).collect()
        };
        let best = candidates.values().max().copied()?;
        let may_stay = candidates.get(current).is_some_and(|priority| *priority == best || !self.failback);
        if may_stay {
            return Some(current.to_string());
        }
        candidates.into_iter().find(|(_, priority)| *priority == best).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn priority_failback_and_strictness_decide() {
        let wish = |strict, failback| Wish { nodes: parse_nodes("pve1:2,pve2:1"), strict, failback };
        let all = names(&["pve1", "pve2", "pve3"]);
        assert_eq!(wish(true, true).choose(&all, "pve2", &[]), Some("pve1".into()), "failback");
        assert_eq!(wish(true, false).choose(&all, "pve2", &[]), Some("pve2".into()), "stays without failback");
        assert_eq!(wish(true, false).choose(&all, "pve3", &[]), Some("pve1".into()), "not one of the rule's nodes");
        let rest = names(&["pve3"]);
        assert_eq!(wish(true, true).choose(&rest, "pve1", &[]), None, "strict");
        assert_eq!(wish(false, true).choose(&rest, "pve1", &[]), Some("pve3".into()), "a preference only");
        assert_eq!(wish(true, true).choose(&all, "pve1", &names(&["pve1"])), Some("pve2".into()), "tried already");
        assert_eq!(Wish::default().choose(&all, "pve3", &[]), Some("pve3".into()), "no rule");
    }
}
