//! A lab in a temporary directory, asked without a socket between.

use crate::lab::api::{Reply, Request, Secrets, bridge, dispatch, terminal};
use crate::lab::world::{Flavour, World};
use crate::lab::{Lab, device};
use serde_json::Value;
use std::collections::BTreeMap;

pub struct Stage {
    pub lab: Lab,
    pub secrets: Secrets,
    pub entry: String,
    pub ticket: String,
    pub csrf: String,
    _dir: tempfile::TempDir,
}

impl Stage {
    pub fn new(nodes: u32, flavour: Flavour) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lab = Lab::with_nodes(dir.path().join("lab"), nodes, flavour).expect("a fresh lab");
        let secrets = Secrets { root_password: "secret-root".into(), key: "00".into() };
        let mut stage =
            Self { lab, secrets, entry: "pve1".into(), ticket: String::new(), csrf: String::new(), _dir: dir };
        stage.log_in();
        stage
    }

    /// Tickets end after two hours of lab time too.
    pub fn log_in(&mut self) {
        let form = "username=root%40pam&password=secret-root";
        let reply = self.ask(&self.raw("POST", "/access/ticket", form, &[]));
        let text =
            |key: &str| reply.body.as_ref().and_then(|b| b["data"][key].as_str()).expect("logged in").to_string();
        (self.ticket, self.csrf) = (text("ticket"), text("CSRFPreventionToken"));
    }

    pub fn world<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        self.lab.with(f).expect("the lab is usable")
    }

    pub fn pass_ms(&self, ms: i64) {
        self.world(|world| *world.clock_ahead_ms += ms);
    }

    /// Somebody took the terminal that waits there, and closed it.
    pub fn leave_terminal(&self, node: &str, port: u16) {
        self.world(|world| {
            bridge::within(world, self.lab.files(), |cluster, site, _| {
                let taken = terminal::take(cluster, node, port, site.now_ms()).expect("a terminal waits");
                terminal::ended(cluster, &taken.upid, site.now_ms());
            });
        });
    }

    pub fn raw(&self, method: &str, target: &str, body: &str, headers: &[(&str, &str)]) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request {
            method: method.into(),
            path: crate::lab::api::request::percent_decode(path, false),
            query: query.into(),
            headers: headers.iter().map(|(name, value)| (name.to_lowercase(), value.to_string())).collect(),
            body: body.as_bytes().to_vec(),
            entry: self.entry.clone(),
        }
    }

    pub fn ask(&self, request: &Request) -> Reply {
        self.world(|world| {
            bridge::within(world, self.lab.files(), |cluster, site, flavour| {
                dispatch::handle(cluster, site, &self.secrets, flavour, request)
            })
        })
    }

    /// As root@pam with a ticket.
    pub fn root(&self, method: &str, target: &str, form: &str) -> Reply {
        let cookie =
            format!("PVEAuthCookie={}", self.ticket.replace(':', "%3A").replace('=', "%3D").replace('+', "%2B"));
        let headers = [("Cookie", cookie.as_str()), ("CSRFPreventionToken", self.csrf.as_str())];
        self.ask(&self.raw(method, target, form, &headers))
    }

    /// The value under `data` of a request that must succeed.
    pub fn data(&self, method: &str, target: &str, form: &str) -> Value {
        let reply = self.root(method, target, form);
        assert_eq!(reply.status, 200, "{method} {target}: {} {:?}", reply.reason, reply.body);
        reply.body.map(|body| body["data"].clone()).unwrap_or_default()
    }

    /// The text of a request that must fail with this status.
    pub fn refusal(&self, status: u16, method: &str, target: &str, form: &str) -> String {
        let reply = self.root(method, target, form);
        assert_eq!(reply.status, status, "{method} {target}: {} {:?}", reply.reason, reply.body);
        reply.reason
    }

    /// How a task ended, whatever its clock says.
    pub fn exit_of(&self, upid: &Value) -> String {
        let upid = upid.as_str().expect("a UPID").to_string();
        self.world(|world| world.cluster.tasks.iter().find(|task| task.upid == upid).map(|task| task.exit.clone()))
            .expect("the task is known")
    }

    pub fn put_file(&self, node: &str, path: &str, content: &[u8], mode: u32) {
        self.world(|world| {
            let place = crate::lab::Place::node(node);
            let mut writer = crate::lab::files::Writer { world, files: self.lab.files(), place: &place };
            writer.ship(path, content, mode).expect("a file of the lab");
        });
    }

    pub fn text(&self, node: &str, path: &str) -> Option<String> {
        self.world(|world| {
            let place = crate::lab::Place::node(node);
            crate::lab::files::View { world, files: self.lab.files(), place: &place }.text(path)
        })
    }

    /// A device of this kernel name on every node, all with the same (or no) file system, as shared storage has it.
    pub fn shared_device(&self, name: &str, filesystem: bool) {
        self.world(|world| {
            let content = if filesystem {
                let fs = format!("fs{}", world.fresh_id());
                let state = device::Filesystem { kind: "ext4".into(), clean: true, ..device::Filesystem::default() };
                world.filesystems.insert(fs.clone(), state);
                device::Content::Filesystem(fs)
            } else {
                device::Content::Blank
            };
            let nodes: Vec<String> = world.nodes.keys().cloned().collect();
            for node in nodes {
                let device = device::BlockDevice { content: content.clone(), ..device::BlockDevice::default() };
                world.node_mut(&node).devices.insert(name.to_string(), device);
            }
        });
    }

    pub fn template(&self, name: &str) {
        let nodes: Vec<String> = self.world(|world| world.nodes.keys().cloned().collect());
        for node in nodes {
            self.put_file(&node, &format!("/var/lib/vz/template/cache/{name}"), b"template\n", 0o644);
        }
    }
}

/// `a=b` pairs as a form.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let pairs: BTreeMap<&str, &str> = pairs.iter().copied().collect();
    pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect::<Vec<_>>().join("&")
}
