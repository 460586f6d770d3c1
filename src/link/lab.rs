//! Ways to the embedded cluster's hosts: agents over pipes to nodes and containers, REST over HTTPS to its API.

use super::{Connect, Link, LinkError, in_process};
use crate::event::Mode;
use crate::host::Local;
use crate::lab::{Lab, LabError, guest};

pub struct LabHosts {
    lab: Lab,
}

impl LabHosts {
    pub fn new(lab: Lab) -> Self {
        Self { lab }
    }

    fn container(&self, host: &str, vmid: u32, mode: Mode) -> Result<Link, LinkError> {
        let running = self.lab.look(|world| guest::running_on(world, vmid).is_some()).map_err(|e| lost(host, &e))?;
        if !running {
            let why = format!("container {vmid} runs on no node");
            return Err(LinkError::NotRunning { host: host.to_owned(), why });
        }
        let lab = self.lab.clone();
        in_process(host, mode, move || Box::new(lab.container(vmid)))
    }
}

impl Connect for LabHosts {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if host == "localhost" {
            return in_process(host, mode, || Box::new(Local::this_machine("localhost")));
        }
        if let Some(vmid) = host.strip_prefix("ct:").and_then(|id| id.parse().ok()) {
            return self.container(host, vmid, mode);
        }
        match self.lab.node(host) {
            Some(node) => in_process(host, mode, move || Box::new(node)),
            None => Err(LinkError::Lost { host: host.to_owned(), why: "the lab has no such node".to_owned() }),
        }
    }
}

fn lost(host: &str, error: &LabError) -> LinkError {
    LinkError::Lost { host: host.to_owned(), why: error.to_string() }
}
