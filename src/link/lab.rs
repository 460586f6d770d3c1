//! Ways to the embedded cluster's hosts: agents over pipes to nodes and containers, REST over HTTPS to its API.

use super::lock::{Claim, Held, Hold, How, LockError, Loss};
use super::{ApiHost, Connect, Link, LinkError, in_process, lock};
use crate::event::Mode;
use crate::host::Local;
use crate::lab::{Lab, LabError, Turn, api, guest};
use crate::pve::{Client, Config, Fingerprint, Login, SecondFactor, Secret, Trust};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

pub struct LabHosts {
    lab: Lab,
    /// Served for as long as somebody may ask, from the first question on.
    api: OnceLock<Result<Api, String>>,
}

struct Api {
    client: Client,
    _server: api::Server,
}

impl LabHosts {
    pub fn new(lab: Lab) -> Self {
        Self { lab, api: OnceLock::new() }
    }

    fn serve(&self) -> Result<Api, String> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = api::serve(self.lab.clone(), any_port).map_err(|e| e.to_string())?;
        let login = Login::Password {
            user: "root@pam".into(),
            password: Secret::new(server.root_password()),
            second_factor: SecondFactor::None,
        };
        let pins: Result<Vec<Fingerprint>, _> = server.fingerprints.values().map(|f| f.parse()).collect();
        let trust = Trust::Pinned(pins.map_err(|e| format!("the lab's certificate: {e}"))?);
        let entry_points = server.urls.values().cloned().collect();
        let client = Client::new(Config::new(entry_points, login, trust)).map_err(|e| e.to_string())?;
        Ok(Api { client, _server: server })
    }

    fn cluster(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        let api = self.api.get_or_init(|| self.serve());
        let client = match api {
            Ok(api) => api.client.clone(),
            Err(why) => return Err(LinkError::Lost { host: host.to_owned(), why: why.clone() }),
        };
        let state = self.lab.dir().join("workstation");
        in_process(host, mode, move || Box::new(ApiHost::new(client, &state)))
    }

    fn container(&self, host: &str, vmid: u32, mode: Mode) -> Result<Link, LinkError> {
        let running = self.lab.with(|world| {
            // HA may have to start it, or to bring it over from a node that died.
            api::live(world, self.lab.files());
            guest::running_on(world, vmid).is_some()
        });
        let running = running.map_err(|e| lost(host, &e))?;
        if !running {
            let why = format!("container {vmid} runs on no node");
            return Err(LinkError::NotRunning { host: host.to_owned(), why });
        }
        let lab = self.lab.clone();
        in_process(host, mode, move || Box::new(lab.container(vmid)))
    }
}

impl Hold for Turn {
    fn lost(&mut self) -> Option<Loss> {
        self.lost_to().map(|owner| Loss::Taken(lock::shown(&owner)))
    }
}

impl Connect for LabHosts {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if host == "localhost" {
            return in_process(host, mode, || Box::new(Local::this_machine("localhost")));
        }
        if host == "cluster" {
            return self.cluster(host, mode);
        }
        if let Some(vmid) = host.strip_prefix("ct:").and_then(|id| id.parse().ok()) {
            return self.container(host, vmid, mode);
        }
        let off = self.lab.with(|world| world.nodes.get(host).is_some_and(|node| node.off));
        if off.map_err(|e| lost(host, &e))? {
            let why = "no route to host (it is powered off)".to_owned();
            return Err(LinkError::Lost { host: host.to_owned(), why });
        }
        match self.lab.node(host) {
            Some(node) => in_process(host, mode, move || Box::new(node)),
            None => Err(LinkError::Lost { host: host.to_owned(), why: "the lab has no such node".to_owned() }),
        }
    }

    fn lock(&self, claim: &Claim, _tell: &mut dyn FnMut(String)) -> Result<Option<Held>, LockError> {
        match self.lab.take_turn(&claim.owner, matches!(claim.how, How::Break)) {
            Ok(Ok(turn)) => Ok(Some(Box::new(turn))),
            Ok(Err(owner)) => Err(LockError::Busy(lock::busy(&owner))),
            Err(error) => Err(LockError::Unknown(error.to_string())),
        }
    }
}

fn lost(host: &str, error: &LabError) -> LinkError {
    LinkError::Lost { host: host.to_owned(), why: error.to_string() }
}
