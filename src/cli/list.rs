//! What of the playbooks would run: `--list-tasks`, `--list-hosts`, and whether the tags given choose anything.

use super::run::Args;
use crate::diagnostic::did_you_mean;
use crate::fleet;
use crate::inventory::{Inventory, select};
use crate::playbook::{Item, Play, Playbook};
use std::collections::BTreeSet;

/// A run in which no task is chosen looks at nothing, and must not be taken for a cluster in sync.
pub fn some_task_is_chosen(playbooks: &[Playbook], options: &fleet::Options) -> Result<(), String> {
    let mut all = Found::default();
    for play in playbooks.iter().flat_map(|p| &p.plays) {
        let around: Vec<&str> = play.tags.iter().map(String::as_str).collect();
        all.look(&play.tasks, &around, options);
    }
    if all.chosen || all.hidden || (options.tags.is_empty() && options.skip_tags.is_empty()) {
        return Ok(());
    }
    let given: Vec<&str> = options.tags.iter().map(String::as_str).collect();
    let unknown = given.iter().find(|tag| !all.tags.contains(*tag));
    let help = match unknown.and_then(|tag| did_you_mean(tag, all.tags.iter().copied())) {
        Some(help) => help,
        None if all.tags.is_empty() => "no task has a tag".to_owned(),
        None => format!("there are: {}", all.tags.iter().copied().collect::<Vec<_>>().join(", ")),
    };
    Err(format!("--tags and --skip-tags leave no task to run; nothing was looked at\n  = help: {help}"))
}

/// A run over no hosts looks at nothing, either. That some of several plays have none is the run's to say.
pub fn some_host_is_chosen(playbooks: &[Playbook], inventory: &Inventory, limit: Option<&str>) -> Result<(), String> {
    let plays: Vec<&Play> = playbooks.iter().flat_map(|p| &p.plays).collect();
    let within = limit.and_then(|limit| select(inventory, &[limit]).ok());
    let mut before_limit = false;
    for play in &plays {
        let hosts = hosts_of(inventory, play);
        before_limit |= !hosts.is_empty();
        if hosts.iter().any(|host| within.as_ref().is_none_or(|within| within.contains(host))) {
            return Ok(());
        }
    }
    let patterns: BTreeSet<&str> = plays.iter().flat_map(|p| &p.hosts).map(|(pattern, _)| pattern.as_str()).collect();
    let patterns: Vec<String> = patterns.iter().map(|pattern| format!("`{pattern}`")).collect();
    let (why, help) = match limit.filter(|_| before_limit) {
        Some(limit) => (format!("--limit `{limit}` leaves no host of {}", patterns.join(", ")), ""),
        None => (
            format!("no host matches {}", patterns.join(", ")),
            "\n  = help: `--list-hosts` shows what is there; a login sees only the containers for which it has VM.Audit",
        ),
    };
    Err(format!("{why}; nothing was looked at{help}"))
}

fn hosts_of(inventory: &Inventory, play: &Play) -> Vec<String> {
    let patterns: Vec<&str> = play.hosts.iter().map(|(pattern, _)| pattern.as_str()).collect();
    select(inventory, &patterns).unwrap_or_default()
}

#[derive(Default)]
struct Found<'p> {
    tags: BTreeSet<&'p str>,
    chosen: bool,
    /// Files are included whose names are only known while running.
    hidden: bool,
}

impl<'p> Found<'p> {
    fn look(&mut self, items: &'p [Item], around: &[&'p str], options: &fleet::Options) {
        let within = |own: &'p [String]| [around, &own.iter().map(String::as_str).collect::<Vec<_>>()].concat();
        for item in items {
            match item {
                Item::Task(def) => {
                    let tags = within(&def.common.tags);
                    self.chosen |= fleet::selected_by_tags(&tags, options);
                    self.tags.extend(tags);
                }
                Item::Block(block) => {
                    let tags = within(&block.common.tags);
                    for part in [&block.body, &block.rescue, &block.always] {
                        self.look(part, &tags, options);
                    }
                }
                Item::Include(include) => match &include.what {
                    crate::playbook::Included::Loaded(block) => {
                        let tags = within(&block.common.tags);
                        self.look(&block.body, &tags, options);
                    }
                    _ => self.hidden = true,
                },
                Item::Meta(..) => {}
            }
        }
    }
}

pub fn list(args: &Args, playbooks: &[Playbook], inventory: &Inventory, options: &fleet::Options) -> u8 {
    for play in playbooks.iter().flat_map(|p| &p.plays) {
        out!("{}", play.name);
        if args.list_hosts {
            for host in hosts_of(inventory, play) {
                out!("  {host}");
            }
        }
        if args.list_tasks {
            list_items(play, &play.tasks, options, 1);
        }
    }
    crate::exit::OK
}

fn list_items(play: &Play, items: &[Item], options: &fleet::Options, depth: usize) {
    for item in items {
        match item {
            Item::Task(def) => {
                let tags: Vec<&str> = def.common.tags.iter().chain(&play.tags).map(String::as_str).collect();
                if fleet::selected_by_tags(&tags, options) {
                    let tags = if tags.is_empty() { String::new() } else { format!("  [{}]", tags.join(", ")) };
                    out!("{:indent$}{} ({}){tags}", "", def.name, def.kind.name, indent = depth * 2);
                }
            }
            Item::Block(block) => {
                for part in [&block.body, &block.rescue, &block.always] {
                    list_items(play, part, options, depth);
                }
            }
            Item::Include(include) => {
                out!("{:indent$}{} (include)", "", include.name, indent = depth * 2);
                if let crate::playbook::Included::Loaded(block) = &include.what {
                    list_items(play, &block.body, options, depth + 1);
                }
            }
            Item::Meta(..) => {}
        }
    }
}

pub fn names(items: &[Item]) -> Vec<&str> {
    items
        .iter()
        .flat_map(|item| match item {
            Item::Task(def) => vec![def.name.as_str()],
            Item::Block(block) => {
                [&block.body, &block.rescue, &block.always].into_iter().flat_map(|p| names(p)).collect()
            }
            Item::Include(include) => match &include.what {
                crate::playbook::Included::Loaded(block) => names(&block.body),
                _ => Vec::new(),
            },
            Item::Meta(..) => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Sources;
    use crate::playbook::{Context, parse_str};

    #[test]
    fn tags_that_choose_nothing_are_refused() {
        let text =
            "- hosts: all\n  tasks:\n    - { command: a, tags: [drbd] }\n    - { command: b, tags: [nfs, never] }\n";
        let playbook = parse_str("p.yml", text, &mut Sources::default(), &Context::default()).expect("a playbook");
        let chosen = |tags: &[&str], skip: &[&str]| {
            let set = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
            let options = fleet::Options { tags: set(tags), skip_tags: set(skip), ..Default::default() };
            some_task_is_chosen(std::slice::from_ref(&playbook), &options)
        };
        for (tags, skip) in [(&[][..], &[][..]), (&["drbd"], &[]), (&["nfs"], &[]), (&["all"], &["nfs"])] {
            assert_eq!(chosen(tags, skip), Ok(()), "{tags:?} {skip:?}");
        }
        assert!(chosen(&["drdb"], &[]).unwrap_err().contains("did you mean `drbd`?"));
        assert!(chosen(&[], &["drbd"]).unwrap_err().contains("nothing was looked at"));
    }
}
