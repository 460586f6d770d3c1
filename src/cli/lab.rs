//! `converge lab …`, and the lab as ground of a run.

use crate::inventory::Inventory;
use crate::lab::{Flavour, Lab, LabError, api, breaks};
use crate::link::Connect;
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A wrong figure shall not fill the disk.
const MOST_NODES: i64 = 1000;

#[derive(Debug, Parser)]
pub struct Args {
    /// Where the lab's state lives
    #[arg(long, value_name = "DIR", default_value = ".lab", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start over with a fresh cluster; what is not said stays as it was
    Reset {
        /// How many nodes
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=MOST_NODES))]
        nodes: Option<u32>,
        /// Which Proxmox VE
        #[arg(long)]
        flavour: Option<Flavour>,
    },
    /// What the cluster's nodes, resources and containers do now
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Cause a fault; without a name, list the faults and what a check says about each
    Break {
        /// Name of the fault
        name: Option<String>,
    },
    /// Bring back what no apply can: power and cables
    Mend,
    /// Run a command on a node (or `ct:101`); without one, read commands from standard input
    Shell {
        /// pve1, pve2, pve3 or ct:ID
        node: String,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Serve the cluster's Proxmox API on loopback until interrupted
    Serve {
        /// Port of the first node; the others follow. 0: any
        #[arg(long, default_value_t = 8006)]
        port: u16,
    },
}

/// The embedded cluster as inventory and ways to its hosts.
pub fn ground(dir: &Path) -> Result<(Inventory, Box<dyn Connect>), String> {
    let lab = Lab::open(dir).map_err(|e| e.to_string())?;
    let names = lab.host_names().map_err(|e| e.to_string())?;
    Ok((Inventory::cluster(names), Box::new(crate::link::LabHosts::new(lab))))
}

pub fn run(args: &Args) -> u8 {
    let lab = match Lab::open(&args.dir) {
        Ok(lab) => lab,
        Err(why) => return super::complain(crate::exit::FAILED, why),
    };
    match &args.command {
        Command::Reset { nodes, flavour } => match lab.reset(*nodes, *flavour) {
            Ok(()) => {
                out!("a fresh cluster in {}", args.dir.display());
                crate::exit::OK
            }
            Err(why) => super::complain(crate::exit::FAILED, why),
        },
        Command::Status { json } => status(&lab, *json),
        Command::Break { name: None } => {
            for (name, what, check_says) in breaks::list() {
                out!("{name}\n    {what}\n    check: {check_says}\n");
            }
            crate::exit::OK
        }
        Command::Break { name: Some(name) } => done(lab.with(|world| breaks::cause(world, lab.files(), name))),
        Command::Mend => done(lab.with(|world| {
            let done = breaks::mend(world, lab.files())?;
            Ok(if done.is_empty() {
                "nothing is broken that an apply could not repair".into()
            } else {
                done.join("\n")
            })
        })),
        Command::Serve { port } => serve(&lab, *port),
        Command::Shell { node, command } => shell(&lab, node, command),
    }
}

fn done(result: Result<Result<String, String>, LabError>) -> u8 {
    match result {
        Ok(Ok(text)) => {
            out!("{text}");
            crate::exit::OK
        }
        Ok(Err(why)) => super::complain(crate::exit::FAILED, why),
        Err(why) => super::complain(crate::exit::FAILED, why),
    }
}

fn status(lab: &Lab, json: bool) -> u8 {
    match lab.status() {
        Ok(status) if json => match serde_json::to_string_pretty(&status) {
            Ok(text) => {
                out!("{text}");
                crate::exit::OK
            }
            Err(why) => super::complain(crate::exit::FAILED, why),
        },
        Ok(status) => {
            put!("{}", status.text());
            crate::exit::OK
        }
        Err(why) => super::complain(crate::exit::FAILED, why),
    }
}

fn serve(lab: &Lab, port: u16) -> u8 {
    let server = match api::serve(lab.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
        Ok(server) => server,
        Err(why) => return super::complain(crate::exit::FAILED, why),
    };
    for (node, url) in &server.urls {
        out!("{node}  {url}/api2/json  SHA-256 {}", server.fingerprints[node]);
    }
    out!("user root@pam, password in {}", server.secrets_file.display());
    out!("CA {}", lab.files().pve().join("pve-root-ca.pem").display());
    server.wait();
    crate::exit::OK
}

fn shell(lab: &Lab, node: &str, command: &[String]) -> u8 {
    if !command.is_empty() {
        return say(lab, node, &command.join(" "));
    }
    let prompt = std::io::stdin().is_terminal();
    let mut last = crate::exit::OK;
    loop {
        if prompt {
            eprint!("root@{node}:~# ");
        }
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(0) => return last,
            Ok(_) if line.trim() == "exit" => return last,
            Ok(_) if line.trim().is_empty() => {}
            Ok(_) => last = say(lab, node, line.trim()),
            Err(why) => return super::complain(crate::exit::FAILED, why),
        }
    }
}

fn say(lab: &Lab, node: &str, line: &str) -> u8 {
    match lab.run_line(node, line) {
        Ok(output) => {
            put!("{}", output.stdout);
            eprint!("{}", output.stderr);
            u8::try_from(output.rc).unwrap_or(crate::exit::FAILED)
        }
        Err(why) => super::complain(crate::exit::FAILED, why),
    }
}
