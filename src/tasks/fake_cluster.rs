//! A cluster in memory for tests of kinds that describe one: scripted answers of the API, and nodes. A question that
//! nobody scripted is an error, so that a test cannot pass on an answer by chance.

use super::cluster::CLUSTER;
use super::fake::Fake;
use super::{AnyTask, Change, Decision, Observation, Task, Verdict, rights};
use crate::host::{Action, ApiGet, Host, LookError, Output, Preview, Probe, Query, Stat, Step};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Default)]
pub struct Api {
    pub answers: BTreeMap<ApiGet, Result<Json, LookError>>,
    pub user: Option<String>,
    /// Asked through `pvesh`, as by what runs on a node.
    pub on_a_node: bool,
}

impl Api {
    /// Three nodes, all online, and an account that may do everything.
    pub fn three_nodes() -> Self {
        let node = |name: &str| json!({"node": name, "status": "online", "type": "node"});
        let all = [
            "Sys.Audit",
            "Sys.Console",
            "Datastore.Audit",
            "Datastore.Allocate",
            "VM.Allocate",
            "VM.Audit",
            "Sys.Modify",
        ];
        let rights: serde_json::Map<String, Json> = all.iter().map(|r| ((*r).to_owned(), json!(1))).collect();
        Self { user: Some("root@pam".into()), ..Self::default() }
            .on("/nodes", json!([node("pve1"), node("pve2"), node("pve3")]))
            .on("/cluster/status", json!([{"type": "cluster", "name": "c", "nodes": 3, "quorate": 1}]))
            .on("/access/permissions", json!({ "/": rights }))
            .on("/version", json!({ "version": "9.1.7", "release": "9.1" }))
    }

    /// Asked by another user or token, which has these privileges everywhere.
    pub fn asked_by(mut self, user: &str, privileges: &[&str]) -> Self {
        self.user = Some(user.to_owned());
        let held: serde_json::Map<String, Json> = privileges.iter().map(|r| ((*r).to_owned(), json!(1))).collect();
        let paths = ["/", "/access", "/nodes", "/pool", "/storage", "/vms"];
        let all: serde_json::Map<String, Json> = paths.iter().map(|p| ((*p).to_owned(), json!(held))).collect();
        self.on("/access/permissions", Json::Object(all))
    }

    pub fn on(self, path: &str, data: Json) -> Self {
        self.answer(ApiGet::new(path), data)
    }

    pub fn answer(mut self, get: ApiGet, data: Json) -> Self {
        self.answers.insert(get, Ok(data));
        self
    }

    pub fn fails(mut self, path: &str, status: u16, message: &str) -> Self {
        let error = LookError::Api { path: path.into(), status, message: message.into() };
        self.answers.insert(ApiGet::new(path), Err(error));
        self
    }
}

/// As Proxmox answers of one path: the nearest entry decides, and what is not handed down ends where it is held.
fn of_one_path(all: &Json, path: &str) -> Json {
    for dir in Path::new(path).ancestors() {
        let Some(held) = all.get(&*dir.to_string_lossy()).and_then(Json::as_object) else { continue };
        let here = dir == Path::new(path);
        let held: serde_json::Map<String, Json> =
            held.iter().filter(|(_, down)| here || **down == json!(1)).map(|(k, v)| (k.clone(), v.clone())).collect();
        return json!({ path: held });
    }
    json!({ path: {} })
}

impl Probe for Api {
    fn name(&self) -> &str {
        CLUSTER
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        Err(LookError::cannot_tell(path.display().to_string(), "the cluster has no files"))
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        Err(LookError::cannot_tell(path.display().to_string(), "the cluster has no files"))
    }
    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, LookError> {
        Err(LookError::cannot_tell(path.display().to_string(), "the cluster has no files"))
    }
    fn query(&self, query: &Query) -> Result<Output, LookError> {
        Err(LookError::cannot_tell(query.argv.join(" "), "the cluster runs no programs"))
    }
    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        let missing =
            || Err(LookError::cannot_tell(format!("GET {} {:?}", get.path, get.params), "no answer scripted"));
        if let (None, "/access/permissions", Some(path)) = (self.answers.get(get), &*get.path, get.params.get("path")) {
            let all = self.answers.get(&ApiGet::new(get.path.as_str())).cloned().unwrap_or_else(missing)?;
            return Ok(of_one_path(&all, path));
        }
        self.answers.get(get).cloned().unwrap_or_else(missing)
    }
    fn api_user(&self) -> Option<String> {
        self.user.clone()
    }
    fn api_takes_secrets(&self) -> bool {
        !self.on_a_node
    }
}

/// A node of the tests: a fake host under another name, or one that does not answer.
pub enum FakeNode {
    Up(Box<Fake>),
    Down,
}

struct Named<'a>(&'a str, &'a Fake);

impl Probe for Named<'_> {
    fn name(&self) -> &str {
        self.0
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        self.1.read(path)
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        self.1.stat(path)
    }
    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, LookError> {
        self.1.list(path)
    }
    fn query(&self, query: &Query) -> Result<Output, LookError> {
        self.1.query(query)
    }
    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        self.1.api(get)
    }
}

pub type FakeNodes = BTreeMap<&'static str, FakeNode>;

/// Three nodes laid out by `seed`.
pub fn nodes(seed: impl Fn(&str, &Fake)) -> FakeNodes {
    ["pve1", "pve2", "pve3"]
        .into_iter()
        .map(|name| {
            let fake = Fake::default();
            seed(name, &fake);
            (name, FakeNode::Up(Box::new(fake)))
        })
        .collect()
}

fn observe<T: Task>(task: &T, api: &dyn Probe, nodes: &FakeNodes) -> BTreeMap<String, Observation<T::Seen>> {
    // Through JSON, as an observation travels.
    let travel = |seen: T::Seen| serde_json::from_value(serde_json::to_value(seen).unwrap()).unwrap();
    let mut all = BTreeMap::from([(CLUSTER.to_owned(), task.probe(api).map(travel))]);
    for (name, node) in nodes {
        let seen = match node {
            FakeNode::Up(fake) => task.probe(&Named(name, fake)).map(travel),
            FakeNode::Down => Err(LookError::Unreachable { host: (*name).into(), why: "no route".into() }),
        };
        all.insert((*name).to_owned(), seen);
    }
    all
}

#[track_caller]
pub fn verdict<T: Task>(task: &T, api: &dyn Probe, nodes: &FakeNodes) -> Verdict {
    let mut all = task.decide_all(&observe(task, api, nodes));
    assert_eq!(all.keys().collect::<Vec<_>>(), [CLUSTER]);
    all.remove(CLUSTER).unwrap()
}

/// Expects a change; plays its file steps on the nodes, predicts its API steps, looks again and expects that nothing is
/// left to do. Returns the change.
#[track_caller]
pub fn drifts_and_predicts<T: Task>(task: &T, api: Api, nodes: &FakeNodes) -> Change {
    let preview = Preview::new(api);
    let change = match verdict(task, &preview, nodes).decision {
        Decision::Drift(change) => change,
        other => panic!("no drift: {other:?}"),
    };
    for step in &change.steps {
        match &step.on {
            None => drop(preview.perform(step).unwrap()),
            Some(node) => match &nodes[node.as_str()] {
                FakeNode::Up(fake) => drop(fake.perform(step).unwrap()),
                FakeNode::Down => panic!("a step on a node that is down"),
            },
        }
    }
    match verdict(task, &preview, nodes).decision {
        Decision::Ok(_) => change,
        other => panic!("after the predicted change: {other:?}\nthe change was {change:#?}"),
    }
}

#[track_caller]
pub fn blocked<T: Task>(task: &T, api: &dyn Probe, nodes: &FakeNodes, reason: &str) {
    match verdict(task, api, nodes).decision {
        Decision::Blocked(why) => assert!(why.contains(reason), "{why}"),
        other => panic!("not blocked: {other:?}"),
    }
}

#[track_caller]
pub fn ok<T: Task>(task: &T, api: &dyn Probe, nodes: &FakeNodes) -> Verdict {
    let verdict = verdict(task, api, nodes);
    assert!(matches!(verdict.decision, Decision::Ok(_)), "{verdict:#?}");
    verdict
}

/// What this account lacks for what the task wants, a line each.
pub fn lacks<T: Task>(task: &T, api: &dyn Probe) -> String {
    let lines: Vec<String> =
        rights::lacking(task, &task.probe_json(api), api, None).iter().map(|l| format!("{:?}: {l}", l.sure)).collect();
    lines.join("\n")
}

/// `METHOD path key=value …` of the API steps, `NODE: words` of the others.
pub fn calls(change: &Change) -> Vec<String> {
    let call = |step: &Step| match (&step.on, &step.action) {
        (None, Action::Api { method, path, params, .. }) => {
            let params: String = params.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            format!("{} {path}{params}", format!("{method:?}").to_uppercase())
        }
        _ => step.describe(),
    };
    change.steps.iter().map(call).collect()
}
