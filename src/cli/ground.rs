//! Where a run takes place: the embedded cluster, the hosts of an inventory, or this machine.

use super::load;
use crate::diagnostic::{Fault, Sources};
use crate::exit;
use crate::fleet;
use crate::inventory::cluster::{Cluster, Discovered, Login, Source, Tls};
use crate::inventory::{self, Inventory, Loaded};
use crate::link::{self, Connect, InventoryHosts};
use crate::playbook::{Known, Play};
use crate::pve::{self, Client, SecondFactor, Trust};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a node keeps what runs on the cluster still owe: every node sees it.
const NODE_STATE: &str = "/etc/pve/priv/converge";

/// Hosts and the ways to them.
pub struct Ground {
    pub inventory: Inventory,
    pub ways: Ways,
}

pub enum Ways {
    Lab(Box<dyn Connect>),
    /// How hosts are reached is yet to be settled: it depends on the plays, too.
    Open(Box<InventoryHosts>),
}

impl Ways {
    /// What is said of how the plays' hosts are reached must make sense, before one is asked.
    pub fn settle(
        self,
        plays: &[&Play],
        inventory: &Inventory,
        options: &fleet::Options,
        sources: &Sources,
    ) -> Result<Box<dyn Connect>, String> {
        let hosts = match self {
            Self::Lab(lab) => return Ok(lab),
            Self::Open(hosts) => hosts,
        };
        let reaches = fleet::reaches(plays, inventory, options, sources);
        let mut wrong = fleet::troubles(plays, inventory, options, &reaches);
        let hosts = Box::new(hosts.with_inventory(inventory, reaches));
        if wrong.is_empty() {
            wrong = fleet::unfit(plays, inventory, options, hosts.as_ref(), sources);
        }
        if wrong.is_empty() { Ok(hosts) } else { Err(listed(&wrong)) }
    }
}

pub fn listed(wrong: &[String]) -> String {
    let lines: Vec<String> = wrong.iter().map(|why| format!("error: {why}")).collect();
    lines.join("\n")
}

/// Reads the inventories offline. The text holds every fault of every file.
pub fn read(given: &[String], playbooks: &[PathBuf], sources: &mut Sources) -> Result<Loaded, String> {
    inventory::load(given, playbooks, sources).map_err(|faults| show(&faults, sources))
}

fn show(faults: &[Fault], sources: &Sources) -> String {
    let count = faults.len();
    let shown = sources.show(faults, super::colour(&std::io::stderr()));
    format!("{}\n{count} fault{} found; no host was touched", shown.trim_end(), if count == 1 { "" } else { "s" })
}

pub fn tell_left_out(loaded: &Loaded) {
    for what in &loaded.left_out {
        tell!("note: {what}");
    }
}

/// What is known before anybody is asked. A cluster's nodes and containers are found later.
pub fn known_offline(loaded: Loaded) -> (Known, Inventory) {
    let open = loaded.cluster.is_some();
    let inventory = loaded.build(None);
    (Known { open, ..load::known(&inventory) }, inventory)
}

impl Ground {
    pub fn lab(dir: &Path) -> Result<Self, String> {
        let (inventory, connect) = super::lab::ground(dir)?;
        Ok(Self { inventory, ways: Ways::Lab(connect) })
    }

    pub fn this_machine() -> Self {
        Self { inventory: Inventory::localhost(), ways: Ways::Open(Box::default()) }
    }

    /// This machine is a node of the cluster: its own `pvesh` is asked, and nobody logs in anywhere.
    pub fn on_node(mut loaded: Loaded, sources: &Sources) -> Result<Self, (u8, String)> {
        tell_left_out(&loaded);
        let this = crate::host::Local::this_machine("cluster");
        let (me, found) = link::discover_on_node(&this).map_err(|e| {
            let help = "this works on a node of Proxmox VE, as root; elsewhere name a cluster with `-i`";
            (exit::UNREACHABLE, format!("error: {e}\n  = help: {help}"))
        })?;
        loaded.on_node(&me);
        let inventory = built(loaded, &found, sources)?;
        let here = |name: &str| -> Box<dyn crate::host::Host> { Box::new(crate::host::Local::this_machine(name)) };
        let hosts = InventoryHosts::default().on_node(here, NODE_STATE);
        Ok(Self { ways: Ways::Open(Box::new(hosts)), inventory })
    }

    /// Logs in to the cluster, if there is one, and asks it for its nodes and containers.
    pub fn of(loaded: Loaded, sources: &Sources) -> Result<Self, (u8, String)> {
        let usage = |why: String| (exit::USAGE, format!("error: {why}"));
        tell_left_out(&loaded);
        let mut hosts = InventoryHosts::default();
        let mut found = None;
        if let Some(cluster) = &loaded.cluster {
            let client = client(cluster).map_err(usage)?;
            let discovered = link::discover(&client).map_err(|e| told(&e, cluster))?;
            found = Some(discovered);
            hosts = hosts.with_cluster(client, &state_folder(cluster));
        }
        let inventory = match &found {
            Some(found) => built(loaded, found, sources)?,
            None => loaded.build(None),
        };
        Ok(Self { inventory, ways: Ways::Open(Box::new(hosts)) })
    }
}

/// The inventory with what was discovered, and what there is to say of that.
fn built(loaded: Loaded, found: &Discovered, sources: &Sources) -> Result<Inventory, (u8, String)> {
    let strangers = loaded.strangers(found);
    if !strangers.is_empty() {
        return Err((exit::USAGE, show(&strangers, sources)));
    }
    let inventory = loaded.build(Some(found));
    for note in &inventory.notes {
        tell!("warning: {note}");
    }
    Ok(inventory)
}

/// Faults of what is written are told before a secret is asked for.
fn client(cluster: &Cluster) -> Result<Client, String> {
    let trust = trust(cluster)?;
    Client::new(pve::Config::new(cluster.endpoints.clone(), login(cluster)?, trust)).map_err(|e| e.to_string())
}

/// Relative paths of a `cluster.yml` begin here.
pub fn folder(cluster: &Cluster) -> PathBuf {
    cluster.path.parent().unwrap_or(Path::new("")).to_owned()
}

pub fn trust(cluster: &Cluster) -> Result<Trust, String> {
    Ok(match &cluster.tls {
        Tls::System => Trust::System,
        Tls::CaFile(path) => Trust::CaFile(inventory::path_from(path, &folder(cluster))),
        Tls::Fingerprints(pins) => Trust::Pinned(pins.iter().map(|p| p.parse()).collect::<Result<_, _>>()?),
    })
}

/// May ask a person for the secret.
pub fn login(cluster: &Cluster) -> Result<pve::Login, String> {
    let folder = folder(cluster);
    Ok(match &cluster.login {
        Login::Password { user, password, second_factor } => pve::Login::Password {
            user: user.clone(),
            password: password.get(&format!("password of {user}"), &folder)?,
            second_factor: match second_factor.clone() {
                // Asked for only when the account wants one.
                None => code(user, Source::Prompt, folder),
                Some(source) => code(user, source, folder),
            },
        },
        Login::Token { id, secret } => {
            pve::Login::Token { id: id.clone(), secret: secret.get(&format!("secret of {id}"), &folder)? }
        }
    })
}

/// An error of the cluster's API with what to do now.
pub fn told(error: &pve::Error, cluster: &Cluster) -> (u8, String) {
    let code = if error.fault() == pve::Fault::Request { exit::USAGE } else { exit::UNREACHABLE };
    let advice = match error {
        pve::Error::Untrusted { fingerprint, .. } => {
            let met = fingerprint.as_ref().map_or_else(String::new, |met| format!(" (met: {met})"));
            Some(format!(
                "`converge trust -i {}` shows the certificates, how to compare them, and what makes them believed{met}",
                cluster.path.display()
            ))
        }
        other => other.what_now(),
    };
    let advice = advice.map_or_else(String::new, |advice| format!("\n  = help: {advice}"));
    (code, format!("error: {error}{advice}"))
}

fn code(user: &str, source: Source, folder: PathBuf) -> SecondFactor {
    let user = user.to_owned();
    SecondFactor::Ask(Arc::new(move |factors| {
        let what = format!("second factor of {user} ({})", factors.join(", "));
        match source.get(&what, &folder) {
            Ok(code) => Some(code),
            Err(why) => {
                tell!("{why}");
                None
            }
        }
    }))
}

/// What this machine keeps of a cluster's runs: `$XDG_STATE_HOME/converge/ENDPOINT`.
fn state_folder(cluster: &Cluster) -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    let endpoint = cluster.endpoints.first().map(String::as_str).unwrap_or_default();
    let name: String =
        endpoint.trim_start_matches("https://").chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    base.unwrap_or_else(|| PathBuf::from("/var/lib")).join("converge").join(name)
}
