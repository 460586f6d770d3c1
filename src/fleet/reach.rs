//! How each host of a run is reached: its variables as the play on it sees them (inventory, what was discovered, the
//! play's variables, extra variables), then the words of the play. Settled before a host is asked anything.
//!
//! A host is reached in one way in a whole run. What would need two is refused, and so is what would be ignored.

use super::hostvars::HostVars;
use super::vars::{Layer, Scope, SharedDoubt, Vars, groups};
use super::{Options, hosts_of};
use crate::diagnostic::{Sources, Span};
use crate::inventory::Inventory;
use crate::link::{Connect, Reach, Reaches, Words};
use crate::playbook::{Common, Included, Item, Play};
use minijinja::value::{Value, ValueKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Variables that say where a task takes place. A container and the API are reached by the cluster alone.
const WHERE: [&str; 3] = ["ansible_connection", "ansible_host", "ansible_ssh_host"];

/// What is said of how hosts are reached, by the plays in which they have a part.
pub struct Ways<'a> {
    inventory: &'a Inventory,
    sources: &'a Sources,
    extra: Arc<Vars>,
    known: Arc<HostVars>,
    doubt: SharedDoubt,
    reaches: Reaches,
    /// The play by which a host's way is settled.
    settled: BTreeMap<String, &'a Play>,
}

/// How the hosts of an inventory are reached in these plays. A host of which nonsense is said is only its own trouble.
pub fn reaches(plays: &[&Play], inventory: &Inventory, options: &Options, sources: &Sources) -> Reaches {
    let doubt = SharedDoubt::default();
    let mut ways = Ways {
        inventory,
        sources,
        extra: Arc::new(options.extra_vars.clone()),
        known: HostVars::of(inventory, doubt.clone()),
        doubt,
        reaches: Reaches::default(),
        settled: BTreeMap::new(),
    };
    for play in plays {
        let (_, hosts) = hosts_of(play, inventory, options);
        let mut delegates = BTreeSet::new();
        let open =
            delegated(&play.tasks, &mut delegates) | play.handlers.iter().any(|h| names(&h.common, &mut delegates));
        // A name that is yet to be rendered may be anybody's who has no part of his own.
        let others = inventory.hosts.iter().filter(|_| open).cloned();
        for host in hosts.into_iter().chain(delegates).chain(others) {
            ways.settle(&host, Some(play));
        }
    }
    for host in inventory.everybody() {
        ways.settle(host, None);
    }
    ways.reaches.everywhere = inventory.all_vars.get("converge_agent_dir").and_then(|n| n.as_str()).map(str::to_owned);
    ways.reaches
}

/// What the hosts of plays are in trouble with, each sentence once.
pub fn troubles(plays: &[&Play], inventory: &Inventory, options: &Options, reaches: &Reaches) -> Vec<String> {
    let hosts: BTreeSet<String> = plays.iter().flat_map(|play| hosts_of(play, inventory, options).1).collect();
    let said: BTreeSet<&String> = hosts.iter().filter_map(|host| reaches.wrong.get(host)).collect();
    said.into_iter().cloned().collect()
}

/// Tasks that become root, or do not, where their host's one link does otherwise.
pub fn unfit(
    plays: &[&Play],
    inventory: &Inventory,
    options: &Options,
    connect: &dyn Connect,
    sources: &Sources,
) -> Vec<String> {
    let mut found = BTreeSet::new();
    for play in plays {
        let mut asked = BTreeSet::new();
        becomes(&play.tasks, &mut asked);
        asked.extend(play.handlers.iter().filter_map(|handler| handler.common.becomes).map(key));
        let (_, hosts) = hosts_of(play, inventory, options);
        for (file, start, end, wanted) in asked {
            let place = sources.place(Span { file, start, end });
            let refused = hosts.iter().find_map(|host| connect.becomes(host, wanted).err());
            found.extend(refused.map(|why| format!("{place}: {why}")));
        }
    }
    found.into_iter().collect()
}

fn key((wanted, span): (bool, Span)) -> (u32, usize, usize, bool) {
    (span.file, span.start, span.end, wanted)
}

impl<'a> Ways<'a> {
    fn settle(&mut self, host: &str, play: Option<&'a Play>) {
        let before = self.settled.get(host).copied();
        if self.reaches.wrong.contains_key(host) || (before.is_some() && play.is_none()) {
            return;
        }
        let found = self.found(host, play);
        match (found, play) {
            (Err(why), _) => {
                self.reaches.hosts.remove(host);
                self.reaches.wrong.insert(host.to_owned(), why);
            }
            (Ok(Some(reach)), Some(play)) => {
                match (before, self.reaches.hosts.get(host)) {
                    (Some(before), Some(known)) if *known != reach => {
                        let (this, that) = (self.sources.place(play.span), self.sources.place(before.span));
                        let why = format!(
                            "{this}: {host} is reached in another way here than at {that}; a run reaches a host in \
                             one way: say the same of both plays, or run them one after the other"
                        );
                        self.reaches.hosts.remove(host);
                        self.reaches.wrong.insert(host.to_owned(), why);
                    }
                    _ => drop(self.reaches.hosts.insert(host.to_owned(), reach)),
                }
                self.settled.insert(host.to_owned(), play);
            }
            (Ok(Some(reach)), None) => drop(self.reaches.hosts.insert(host.to_owned(), reach)),
            (Ok(None), _) => {}
        }
    }

    /// `None`: it is no host of its own, and reached as the cluster says.
    fn found(&mut self, host: &str, play: Option<&Play>) -> Result<Option<Reach>, String> {
        if let Some(place) = self.inventory.sealed(host).first() {
            let place = self.sources.place(*place);
            return Err(format!(
                "{place}: variables of {host} are encrypted with ansible-vault, which is not read\n  = help: {UNSEAL}"
            ));
        }
        let scope = self.scope(host, play);
        if host == "cluster" || Inventory::is_container(host) {
            self.not_its_own(host, play)?;
            let folder = scope.get_attr("converge_agent_dir").unwrap_or_default();
            if folder.kind() == ValueKind::String {
                self.reaches.inside.insert(host.to_owned(), folder.to_string());
            }
            return Ok(None);
        }
        let way = play.map(|play| &play.way);
        let words = way.map_or_else(Words::default, |way| Words {
            connection: way.connection.as_ref().map(|(text, _)| text.clone()),
            remote_user: way.remote_user.as_ref().map(|(text, _)| text.clone()),
            port: way.port.as_ref().map(|(text, _)| text.clone()),
            becomes: way.becomes.is_some_and(|(becomes, _)| becomes),
        });
        Reach::of(host, &scope, &words)
            .map(Some)
            .map_err(|wrong| format!("{}: {host}: {}", self.place(host, play, &wrong.name), wrong.why))
    }

    fn not_its_own(&self, host: &str, play: Option<&Play>) -> Result<(), String> {
        let Some(play) = play else { return Ok(()) };
        let what =
            if host == "cluster" { "the cluster's API is asked" } else { "a container is entered through its node" };
        let refuse = |place: String, name: &str| {
            Err(format!("{place}: `{name}` cannot be said of {host}: {what}, wherever the inventory says that is"))
        };
        let fits = |name: &str| match host {
            "cluster" => name.rsplit('.').next() == Some("local"),
            _ => name.ends_with("proxmox_pct_remote"),
        };
        for name in WHERE {
            let value = self.extra.get(name).map(ToString::to_string);
            let said = play.vars.iter().rev().find(|(of, _)| of == name);
            let value = value.or_else(|| said.map(|(_, node)| node.as_str().unwrap_or_default().to_owned()));
            if value.is_some_and(|value| name != "ansible_connection" || !fits(&value)) {
                return refuse(self.place(host, Some(play), name), name);
            }
        }
        let way = &play.way;
        if let Some((name, span)) = way.connection.as_ref().filter(|(name, _)| !fits(name)) {
            return refuse(self.sources.place(*span), &format!("connection: {name}"));
        }
        if let Some((_, span)) = &way.port {
            return refuse(self.sources.place(*span), "port");
        }
        if let Some((name, span)) = way.remote_user.as_ref().filter(|(name, _)| name != "root") {
            return refuse(self.sources.place(*span), &format!("remote_user: {name}"));
        }
        Ok(())
    }

    /// Where the value of a variable that counts is written.
    fn place(&self, host: &str, play: Option<&Play>, name: &str) -> String {
        if self.extra.contains_key(name) {
            return "--extra-vars".to_owned();
        }
        if self.inventory.found.get(host).is_some_and(|found| found.contains_key(name)) {
            return "what the cluster tells".to_owned();
        }
        let of_play = play.and_then(|play| play.vars.iter().rev().find(|(of, _)| of == name));
        let said = of_play.map(|(_, node)| node.span).or_else(|| Some(self.inventory.vars(host).get(name)?.span));
        let way = play.map(|play| &play.way);
        let word = || match name {
            "connection" => way?.connection.as_ref().map(|(_, span)| *span),
            "port" => way?.port.as_ref().map(|(_, span)| *span),
            "ansible_user" => way?.remote_user.as_ref().map(|(_, span)| *span),
            _ => way?.becomes.map(|(_, span)| span),
        };
        said.or_else(word)
            .or(play.map(|play| play.span))
            .map_or_else(|| "inventory".to_owned(), |s| self.sources.place(s))
    }

    fn scope(&self, host: &str, play: Option<&Play>) -> Value {
        let (given, _) = self.known.layers(host, self.inventory);
        let nodes = |vars: &[(String, crate::yaml::Node)]| Layer::Nodes(Arc::new(vars.to_vec()));
        let mut layers = Vec::new();
        layers.extend(play.map(|play| nodes(&play.defaults)));
        layers.extend(given);
        layers.extend(play.map(|play| nodes(&play.vars)));
        let magic =
            Vars::from([("groups".to_owned(), groups(self.inventory)), ("hostvars".to_owned(), self.known.value())]);
        layers.push(Layer::Values(Arc::new(magic)));
        layers.push(Layer::Values(self.extra.clone()));
        Scope::new(layers, self.doubt.clone()).value()
    }
}

const UNSEAL: &str = "`ansible-vault decrypt` it; a secret need not stand there: `lookup('file', …)` or `lookup('env', …)` \
                      in the variable gets it from where only you can read it";

/// The hosts that tasks are delegated to; `true`: some of them are not known yet.
fn delegated(items: &[Item], found: &mut BTreeSet<String>) -> bool {
    let mut open = false;
    for item in items {
        open |= match item {
            Item::Task(task) => names(&task.common, found),
            Item::Block(block) => {
                let mut parts = false;
                for part in [&block.body, &block.rescue, &block.always] {
                    parts |= delegated(part, found);
                }
                parts
            }
            Item::Include(include) => match &include.what {
                Included::Loaded(block) => delegated(&block.body, found),
                _ => true,
            },
            Item::Meta(..) => false,
        };
    }
    open
}

fn names(common: &Common, found: &mut BTreeSet<String>) -> bool {
    match &common.delegate_to {
        Some(node) if node.is_template() => true,
        Some(node) => {
            found.extend(node.as_str().map(str::to_owned));
            false
        }
        None => false,
    }
}

fn becomes(items: &[Item], found: &mut BTreeSet<(u32, usize, usize, bool)>) {
    for item in items {
        match item {
            Item::Task(task) => found.extend(task.common.becomes.map(key)),
            Item::Block(block) => {
                for part in [&block.body, &block.rescue, &block.always] {
                    becomes(part, found);
                }
            }
            Item::Include(include) => {
                // What is read later is asked when its turn comes.
                if let Included::Loaded(block) = &include.what {
                    becomes(&block.body, found);
                }
            }
            Item::Meta(..) => {}
        }
    }
}
