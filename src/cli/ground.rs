//! Where a run takes place: the embedded cluster, the hosts of an inventory, or this machine.

use super::load;
use crate::diagnostic::{Fault, Sources};
use crate::exit;
use crate::inventory::cluster::{Cluster, Login, Source, Tls};
use crate::inventory::{self, Inventory, Loaded};
use crate::link::{self, Connect, InventoryHosts, ThisMachine};
use crate::playbook::Known;
use crate::pve::{self, Client, SecondFactor, Trust};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a node keeps what runs on the cluster still owe: every node sees it.
const NODE_STATE: &str = "/etc/pve/priv/converge";

/// Hosts and the ways to them.
pub struct Ground {
    pub inventory: Inventory,
    pub connect: Box<dyn Connect>,
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

/// What is known before anybody is asked. A cluster's nodes and containers are found later.
pub fn known_offline(loaded: Loaded) -> Known {
    let open = loaded.cluster.is_some();
    Known { open, ..load::known(&loaded.build(None)) }
}

impl Ground {
    pub fn lab(dir: &Path) -> Result<Self, String> {
        let (inventory, connect) = super::lab::ground(dir)?;
        Ok(Self { inventory, connect })
    }

    pub fn this_machine() -> Self {
        Self { inventory: Inventory::localhost(), connect: Box::new(ThisMachine) }
    }

    /// This machine is a node of the cluster: its own `pvesh` is asked, and nobody logs in anywhere.
    pub fn on_node(mut loaded: Loaded) -> Result<Self, (u8, String)> {
        let this = crate::host::Local::this_machine("cluster");
        let (me, found) = link::discover_on_node(&this).map_err(|e| {
            let help = "this works on a node of Proxmox VE, as root; elsewhere name a cluster with `-i`";
            (exit::UNREACHABLE, format!("error: {e}\n  = help: {help}"))
        })?;
        loaded.on_node(&me);
        let inventory = loaded.build(Some(&found));
        let here = |name: &str| -> Box<dyn crate::host::Host> { Box::new(crate::host::Local::this_machine(name)) };
        let hosts = InventoryHosts::default().on_node(here, NODE_STATE).with_inventory(&inventory);
        Ok(Self { connect: Box::new(hosts.map_err(|why| (exit::USAGE, format!("error: {why}")))?), inventory })
    }

    /// Logs in to the cluster, if there is one, and asks it for its nodes and containers.
    pub fn of(loaded: Loaded) -> Result<Self, (u8, String)> {
        let usage = |why: String| (exit::USAGE, format!("error: {why}"));
        let mut hosts = InventoryHosts::default();
        let mut found = None;
        if let Some(cluster) = &loaded.cluster {
            let client = client(cluster).map_err(usage)?;
            let discovered = link::discover(&client).map_err(|e| told(&e, cluster))?;
            found = Some(discovered);
            hosts = hosts.with_cluster(client, &state_folder(cluster));
        }
        let inventory = loaded.build(found.as_ref());
        let connect = Box::new(hosts.with_inventory(&inventory).map_err(usage)?);
        Ok(Self { inventory, connect })
    }
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
