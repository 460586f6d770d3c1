//! How each host of a run is reached: its variables as the play on it sees them (inventory, what was discovered, the
//! play's variables, extra variables), then the words of the play. Settled before a host is asked anything.
//!
//! A host is reached in one way in a whole run, as the plays on it say; plays that only delegate to it settle what those
//! leave open. What would need two ways is refused, and so is what would be ignored.

use super::hostvars::HostVars;
use super::vars::{Layer, Scope, SharedDoubt, Vars, groups};
use super::{Options, hosts_of};
use crate::diagnostic::{Sources, Span};
use crate::inventory::Inventory;
use crate::link::{Connect, Reach, Reaches, Words};
use crate::playbook::{Common, Included, Item, Play};
use crate::yaml::Node;
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
pub fn reaches<'a>(plays: &[&'a Play], inventory: &'a Inventory, options: &Options, sources: &'a Sources) -> Reaches {
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
    let parts: Vec<_> = plays.iter().map(|play| Part::of(play, inventory, options)).collect();
    for part in &parts {
        part.hosts.iter().for_each(|host| ways.settle(host, Some((part.play, None))));
    }
    // What plays say is meant for their own hosts: of another they settle what his own plays leave open.
    let own = own(&parts);
    let away = |worded| {
        let of =
            move |part: &Part<'a>| part.delegated().into_iter().map(|(host, word)| (host, word, part.play)).collect();
        let found: Vec<(&str, Option<bool>, &Play)> = parts.iter().flat_map::<Vec<_>, _>(of).collect();
        found.into_iter().filter(move |(_, word, _)| word.is_some() == worded)
    };
    let strangers = away(true).chain(away(false)).filter(|(host, ..)| !own.contains(host));
    for (host, word, play) in strangers {
        ways.settle(host, Some((play, Some(word))));
    }
    // A name that is yet to be rendered may be anybody's of whom nothing else is said.
    for part in parts.iter().filter(|part| part.is_open()) {
        let others = inventory.hosts.iter().filter(|host| !own.contains(host.as_str()));
        for host in others {
            if !ways.settled.contains_key(host) {
                ways.settle(host, Some((part.play, Some(None))));
            }
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

/// Tasks that become root, or do not, where the one link of the host they run on does otherwise.
pub fn unfit(
    plays: &[&Play],
    inventory: &Inventory,
    options: &Options,
    connect: &dyn Connect,
    sources: &Sources,
) -> Vec<String> {
    let parts: Vec<_> = plays.iter().map(|play| Part::of(play, inventory, options)).collect();
    let delegated = parts.iter().flat_map(Part::delegated);
    let mut led = own(&parts);
    led.extend(delegated.filter(|(_, word)| word.is_some()).map(|(host, _)| host));
    let mut found: BTreeSet<String> =
        parts.iter().flat_map(|part| &part.hosts).filter_map(|host| connect.divided(host)).collect();
    for part in &parts {
        let mut asked = BTreeSet::new();
        for common in &part.commons {
            match &common.delegate_to {
                None => asked.extend(common.becomes.map(|word| key(word, None))),
                // Asked when its turn comes, as what is read later.
                Some(node) if node.is_template() => {}
                Some(node) => {
                    let Some(host) = node.as_str() else { continue };
                    let of_play = part.play.way.becomes.is_some_and(|(becomes, _)| becomes);
                    match common.becomes {
                        Some(word) => drop(asked.insert(key(word, Some(host)))),
                        // Who is led by words of his own does less for this play, and never more.
                        None if of_play && led.contains(host) => {}
                        None => drop(asked.insert(key((of_play, node.span), Some(host)))),
                    }
                }
            }
        }
        for ((file, start, end), wanted, target) in asked {
            let place = sources.place(Span { file, start, end });
            let refused = match target {
                Some(host) => connect.becomes(host, wanted).err(),
                None => part.hosts.iter().find_map(|host| connect.becomes(host, wanted).err()),
            };
            found.extend(refused.map(|why| format!("{place}: {why}")));
        }
    }
    found.into_iter().collect()
}

type Key<'a> = ((u32, usize, usize), bool, Option<&'a str>);

fn key((wanted, span): (bool, Span), host: Option<&str>) -> Key<'_> {
    ((span.file, span.start, span.end), wanted, host)
}

/// A play that has hosts, with what its tasks say.
struct Part<'a> {
    play: &'a Play,
    hosts: Vec<String>,
    commons: Vec<&'a Common>,
    /// Some tasks are read later.
    more: bool,
}

impl<'a> Part<'a> {
    fn of(play: &'a Play, inventory: &Inventory, options: &Options) -> Self {
        let (_, hosts) = hosts_of(play, inventory, options);
        let mut part = Self { play, hosts, commons: Vec::new(), more: false };
        // Without hosts nothing of it is run.
        if !part.hosts.is_empty() {
            part.read(&play.tasks);
            part.commons.extend(play.handlers.iter().map(|handler| &handler.common));
        }
        part
    }

    fn read(&mut self, items: &'a [Item]) {
        for item in items {
            match item {
                Item::Task(task) => self.commons.push(&task.common),
                Item::Block(block) => {
                    [&block.body, &block.rescue, &block.always].into_iter().for_each(|b| self.read(b))
                }
                Item::Include(include) => match &include.what {
                    Included::Loaded(block) => self.read(&block.body),
                    _ => self.more = true,
                },
                Item::Meta(..) => {}
            }
        }
    }

    /// The hosts that tasks are delegated to by name, and what the tasks themselves say of `become`.
    fn delegated(&self) -> Vec<(&'a str, Option<bool>)> {
        let named = |common: &&'a Common| {
            let node = common.delegate_to.as_ref().filter(|node| !node.is_template())?;
            Some((node.as_str()?, common.becomes.map(|(becomes, _)| becomes)))
        };
        self.commons.iter().filter_map(named).collect()
    }

    /// Some of the hosts that tasks are delegated to are not known yet.
    fn is_open(&self) -> bool {
        let templated = |common: &&Common| common.delegate_to.as_ref().is_some_and(Node::is_template);
        self.more || self.commons.iter().any(templated)
    }
}

fn own<'p>(parts: &'p [Part<'_>]) -> BTreeSet<&'p str> {
    parts.iter().flat_map(|part| part.hosts.iter().map(String::as_str)).collect()
}

/// A play, and of one that only delegates, what the task says of `become`.
type By<'a> = (&'a Play, Option<Option<bool>>);

impl<'a> Ways<'a> {
    fn settle(&mut self, host: &str, by: Option<By<'a>>) {
        let before = self.settled.get(host).copied();
        if self.reaches.wrong.contains_key(host) || (before.is_some() && by.is_none()) {
            return;
        }
        match (self.found(host, by), by) {
            (Err(why), _) => {
                self.reaches.hosts.remove(host);
                self.reaches.wrong.insert(host.to_owned(), why);
            }
            (Ok(Some(reach)), Some((play, delegated))) => {
                let Some((before, known)) = before.zip(self.reaches.hosts.get_mut(host)) else {
                    self.reaches.hosts.insert(host.to_owned(), reach);
                    self.settled.insert(host.to_owned(), play);
                    return;
                };
                let (this, that) = (self.sources.place(play.span), self.sources.place(before.span));
                let why = format!(
                    "{this}: {host} is reached in another way here than at {that}; a run reaches a host in one way: \
                     say the same of both plays, or run them one after the other"
                );
                known.by_variable &= reach.by_variable;
                let elsewhere = known.way != reach.way || known.agent_dir != reach.agent_dir;
                // Who becomes root in tasks that were delegated is judged by task.
                let divided = known.sudo != reach.sudo && delegated.is_none();
                if elsewhere || (divided && known.is_root().is_some()) {
                    self.reaches.hosts.remove(host);
                    self.reaches.wrong.insert(host.to_owned(), why);
                } else if divided {
                    self.reaches.divided.entry(host.to_owned()).or_insert(why);
                }
            }
            (Ok(Some(reach)), None) => drop(self.reaches.hosts.insert(host.to_owned(), reach)),
            (Ok(None), _) => {}
        }
    }

    /// `None`: it is no host of its own, and reached as the cluster says.
    fn found(&mut self, host: &str, by: Option<By<'_>>) -> Result<Option<Reach>, String> {
        let play = by.map(|(play, _)| play);
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
        let text = |word: &Option<(String, Span)>| word.as_ref().map(|(text, _)| text.clone());
        let of_task = by.and_then(|(_, delegated)| delegated.flatten());
        let words = Words {
            connection: way.and_then(|way| text(&way.connection)),
            remote_user: way
                .and_then(|way| text(&way.remote_user))
                .or_else(|| self.inventory.logins.get(host).cloned()),
            port: way.and_then(|way| text(&way.port)),
            becomes: of_task.unwrap_or_else(|| way.and_then(|way| way.becomes).is_some_and(|(becomes, _)| becomes)),
        };
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
