//! From groups, hosts and variables as they were said to an [`Inventory`], by Ansible's rules of which value wins.

use super::vars_files::Files;
use super::{Inventory, Vars};
use crate::diagnostic::Span;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What the sources of an inventory say, in the order in which they say it.
#[derive(Debug, Default)]
pub struct Builder {
    groups: Vec<Group>,
    hosts: Vec<String>,
    host_vars: BTreeMap<String, Vars>,
    /// What was discovered of hosts.
    found: BTreeMap<String, BTreeMap<String, Json>>,
    logins: BTreeMap<String, String>,
    notes: Vec<String>,
}

#[derive(Debug, Default)]
struct Group {
    name: String,
    hosts: Vec<String>,
    children: Vec<String>,
    vars: Vars,
    /// Of groups as far from `all` as each other, the one with the larger wins.
    priority: i64,
}

impl Builder {
    pub fn has_group(&self, name: &str) -> bool {
        self.groups.iter().any(|g| g.name == name)
    }

    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|g| g.name.as_str())
    }

    fn group(&mut self, name: &str) -> &mut Group {
        let at = match self.groups.iter().position(|g| g.name == name) {
            Some(at) => at,
            None => {
                self.groups.push(Group { name: name.to_owned(), priority: 1, ..Group::default() });
                self.groups.len() - 1
            }
        };
        &mut self.groups[at]
    }

    pub fn add_group(&mut self, name: &str) {
        self.group(name);
    }

    pub fn add_host(&mut self, group: &str, host: &str) {
        if !self.hosts.iter().any(|h| h == host) {
            self.hosts.push(host.to_owned());
        }
        self.add_member(group, host);
    }

    /// A member of a group that is no host by itself: a container, found or named.
    pub fn add_member(&mut self, group: &str, member: &str) {
        let group = self.group(group);
        if !group.hosts.iter().any(|h| h == member) {
            group.hosts.push(member.to_owned());
        }
    }

    /// `false`: the child stands above the parent, and the groups would go in a circle.
    pub fn add_child(&mut self, parent: &str, child: &str) -> bool {
        self.group(child);
        if parent == child || self.below(child).iter().any(|name| name == parent) {
            return false;
        }
        let parent = self.group(parent);
        if !parent.children.iter().any(|c| c == child) {
            parent.children.push(child.to_owned());
        }
        true
    }

    /// `ansible_group_priority` is no variable of the hosts; it counts only here, not in `group_vars`, as in Ansible.
    pub fn set_group_vars(&mut self, group: &str, mut vars: Vars) {
        let group = self.group(group);
        let given = vars.remove("ansible_group_priority");
        if let Some(priority) = given.and_then(|node| node.as_str().and_then(|text| text.parse().ok())) {
            group.priority = priority;
        }
        group.vars.extend(vars);
    }

    pub fn set_host_vars(&mut self, host: &str, vars: Vars) {
        self.host_vars.entry(host.to_owned()).or_default().extend(vars);
    }

    /// A discovered value: data, which holds no template. What sources say of the host itself is stronger.
    pub fn set_found(&mut self, host: &str, name: &str, value: Json) {
        self.found.entry(host.to_owned()).or_default().insert(name.to_owned(), value);
    }

    /// Who logs in where nobody says so.
    pub fn set_login(&mut self, host: &str, user: &str) {
        self.logins.insert(host.to_owned(), user.to_owned());
    }

    pub fn has_host(&self, name: &str) -> bool {
        self.hosts.iter().any(|h| h == name)
    }

    /// What a person should know before the run.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The groups below one, it included, each before its children.
    fn below(&self, name: &str) -> Vec<String> {
        let mut found = vec![name.to_owned()];
        let mut at = 0;
        while at < found.len() {
            if let Some(group) = self.groups.iter().find(|g| g.name == found[at]) {
                for child in &group.children {
                    if !found.contains(child) {
                        found.push(child.clone());
                    }
                }
            }
            at += 1;
        }
        found
    }

    /// How far each group is from `all`, by the longest way.
    fn depths(&self) -> BTreeMap<&str, usize> {
        let mut depths: BTreeMap<&str, usize> = self.groups.iter().map(|g| (g.name.as_str(), 1)).collect();
        depths.insert("all", 0);
        // Without circles a depth settles after at most as many rounds as there are groups.
        for _ in 0..self.groups.len() {
            let mut moved = false;
            for group in &self.groups {
                let depth = depths[group.name.as_str()];
                for child in &group.children {
                    if let Some(of_child) = depths.get_mut(child.as_str())
                        && *of_child <= depth
                    {
                        *of_child = depth + 1;
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
        depths
    }

    /// `files`: `group_vars` and `host_vars`, those beside the inventory before those beside the playbooks.
    pub fn build(mut self, files: &[Files]) -> Inventory {
        let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for group in &self.groups {
            let mut hosts: Vec<String> = Vec::new();
            for name in self.below(&group.name) {
                for host in self.groups.iter().filter(|g| g.name == name).flat_map(|g| &g.hosts) {
                    if !hosts.contains(host) {
                        hosts.push(host.clone());
                    }
                }
            }
            members.insert(group.name.clone(), hosts);
        }
        let grouped = |host: &String| {
            members.iter().any(|(name, hosts)| !matches!(name.as_str(), "all" | "ungrouped") && hosts.contains(host))
        };
        let ungrouped: Vec<String> = self.hosts.iter().filter(|h| !grouped(h)).cloned().collect();
        members.remove("all");
        if ungrouped.is_empty() {
            members.remove("ungrouped");
        } else {
            members.insert("ungrouped".to_owned(), ungrouped);
        }

        let empty = Vars::new();
        let said = |name: &str| self.groups.iter().find(|g| g.name == name).map_or(&empty, |g| &g.vars);
        let mut all_vars = said("all").clone();
        for file in files {
            all_vars.extend(file.group("all").clone());
        }
        // Groups in the order in which they are overruled: from far to near, then by priority, then by name.
        let depths = self.depths();
        let priority = |name: &str| self.groups.iter().find(|g| g.name == name).map_or(1, |g| g.priority);
        let mut order: Vec<(usize, i64, &str)> = members
            .keys()
            .map(|name| (depths.get(name.as_str()).copied().unwrap_or(1), priority(name), name.as_str()))
            .collect();
        order.sort_unstable();

        let everybody = members.values().flatten().chain(&self.hosts).chain(self.host_vars.keys());
        let mut host_vars: BTreeMap<String, Vars> = BTreeMap::new();
        let mut seals: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        let seal = |seals: &mut BTreeMap<String, Vec<Span>>, host: &str, spans: &mut dyn Iterator<Item = &Span>| {
            let spans: Vec<Span> = spans.copied().collect();
            if !spans.is_empty() {
                seals.entry(host.to_owned()).or_default().extend(spans);
            }
        };
        let mut found: BTreeMap<String, BTreeMap<String, Json>> = std::mem::take(&mut self.found);
        for host in everybody {
            if host_vars.contains_key(host) {
                continue;
            }
            let mine = || order.iter().map(|(.., name)| *name).filter(|name| members[*name].contains(host));
            let mut vars = all_vars.clone();
            mine().for_each(|group| vars.extend(said(group).clone()));
            for file in files {
                mine().for_each(|group| vars.extend(file.group(group).clone()));
            }
            let mut own = self.host_vars.get(host).cloned().unwrap_or_default();
            for file in files {
                own.extend(file.host(host).clone());
            }
            if let Some(found) = found.get_mut(host) {
                found.retain(|name, _| !own.contains_key(name));
                vars.retain(|name, _| !found.contains_key(name));
            }
            vars.extend(own);
            host_vars.insert(host.clone(), vars);
            for file in files {
                let sealed = mine().chain(["all"]).flat_map(|group| file.sealed_group(group));
                seal(&mut seals, host, &mut sealed.chain(file.sealed_host(host)));
            }
        }
        for file in files {
            seal(&mut seals, "", &mut file.sealed_group("all").iter());
        }
        let (hosts, logins, notes) = (self.hosts, self.logins, self.notes);
        Inventory { hosts, groups: members, all_vars, host_vars, found, logins, notes, sealed: seals }
    }
}
