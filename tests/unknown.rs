//! Changes of which nobody can say whether they were made: what stands there afterwards settles it. The cluster is a node
//! of the lab asked by its `pvesh`, in front of it somebody who keeps the answer, or the request, to himself.

mod support;

use converge::diagnostic::Sources;
use converge::event::{Event, Mode, Outcome, TaskResult};
use converge::fleet::{Fleet, Options};
use converge::host::{Action, ApiGet, Host, LookError, Output, Probe, Query, Stat, Step, StepError};
use converge::inventory::Inventory;
use converge::lab::Lab;
use converge::link::{ApiHost, Connect, LabHosts, Link, LinkError, in_process};
use converge::playbook::{Context, parse_str};
use std::path::{Path, PathBuf};
use support::Recorder;

#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    Nothing,
    /// The work is done.
    Answers,
    /// Nothing is done.
    Requests,
}

const SAID: &str = "PUT /x: 500 bridge 'vmbr9' does not exist";

struct Odd {
    inner: ApiHost,
    keeps: Keeps,
}

impl Probe for Odd {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        self.inner.read(path)
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        self.inner.stat(path)
    }
    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        self.inner.list(dir)
    }
    fn query(&self, query: &Query) -> Result<Output, LookError> {
        self.inner.query(query)
    }
    fn api(&self, get: &ApiGet) -> Result<serde_json::Value, LookError> {
        self.inner.api(get)
    }
    fn api_user(&self) -> Option<String> {
        Some("root@pam".into())
    }
}

impl Host for Odd {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        let unknown = || StepError::Unknown { what: "the Proxmox API".into(), why: SAID.into() };
        match (&step.action, self.keeps) {
            (Action::Api { .. }, Keeps::Answers) => self.inner.perform(step).and_then(|_| Err(unknown())),
            (Action::Api { .. }, Keeps::Requests) => Err(unknown()),
            _ => self.inner.perform(step),
        }
    }
}

struct Hosts {
    lab: LabHosts,
    node: Lab,
    keeps: Keeps,
    state: PathBuf,
}

impl Connect for Hosts {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if host != "cluster" {
            return self.lab.connect(host, mode);
        }
        let (node, keeps, state) = (self.node.node("pve2").unwrap(), self.keeps, self.state.clone());
        in_process(host, mode, move || Box::new(Odd { inner: ApiHost::on_node(Box::new(node), &state), keeps }))
    }
}

struct Bed {
    lab: Lab,
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { lab: Lab::open(dir.path().join("lab")).unwrap(), dir }
    }

    fn run(&self, mode: Mode, keeps: Keeps, tasks: &str) -> TaskResult {
        let state = self.dir.path().join("state");
        let connect = Hosts { lab: LabHosts::new(self.lab.clone()), node: self.lab.clone(), keeps, state };
        let inventory = Inventory::cluster(self.lab.host_names().unwrap());
        let (context, options) = (Context::default(), Options::default());
        let (mut sources, mut recorder) = (Sources::default(), Recorder::default());
        let text = format!("- hosts: cluster\n  tasks:\n    - {tasks}\n");
        let playbook = parse_str("site.yml", &text, &mut sources, &context)
            .unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)));
        Fleet::new(mode, &options, &inventory, &context, &connect, sources, &mut recorder).run(&[playbook]);
        let mut results = recorder.events.into_iter().filter_map(|event| match event {
            Event::Result(result) => Some(result),
            _ => None,
        });
        results.next_back().expect("a result")
    }

    fn apply(&self, keeps: Keeps, tasks: &str) -> TaskResult {
        self.run(Mode::Apply, keeps, tasks)
    }
}

const STORAGE: &str = "pve_storage: { storage: share, type: dir, path: /srv/share, content: [iso] }";

#[test]
fn what_is_there_was_done_and_the_answer_is_passed_on() {
    let bed = Bed::new();
    let made = bed.apply(Keeps::Answers, STORAGE);
    assert_eq!(made.outcome, Outcome::Changed, "{made:?}");
    assert!(made.summary.contains("define storage share"), "{made:?}");
    let told = made.warnings.join("\n");
    assert!(told.contains(SAID) && told.contains("looked again: it is done all the same"), "{told}");
    assert_eq!(bed.run(Mode::Check, Keeps::Nothing, STORAGE).outcome, Outcome::Ok);
    let more = STORAGE.replace("[iso]", "[iso, backup]");
    let changed = bed.apply(Keeps::Answers, &more);
    assert_eq!((changed.outcome, changed.warnings.len()), (Outcome::Changed, 1), "{changed:?}");
    assert_eq!(bed.apply(Keeps::Nothing, &more).outcome, Outcome::Ok);
}

#[test]
fn what_is_not_there_has_failed_in_the_words_of_the_answer_and_is_not_called_done() {
    let bed = Bed::new();
    let failed = bed.apply(Keeps::Requests, STORAGE);
    assert_eq!(failed.outcome, Outcome::Failed, "{failed:?}");
    assert!(
        failed.summary.contains(SAID) && failed.summary.contains("looked again: still not as described"),
        "{failed:?}"
    );
    assert!(!failed.summary.contains("done before that"), "{failed:?}");
    assert_eq!(bed.run(Mode::Check, Keeps::Nothing, STORAGE).outcome, Outcome::Drifted);
}

/// Made, configured, then started: each stage goes on from what the look found.
#[test]
fn work_in_stages_goes_on_from_what_stands_there() {
    let bed = Bed::new();
    let template = "pve_template: { template: debian-13-standard, nodes: pve1 }";
    assert_eq!(bed.apply(Keeps::Nothing, template).outcome, Outcome::Changed);
    let container = "pct: { vmid: 150, node: pve1, hostname: x, ostemplate: 'local:vztmpl/debian-13-standard', \
                     rootfs: 'local-lvm:4', unprivileged: true, state: started }";
    let lost = bed.apply(Keeps::Requests, container);
    assert_eq!(lost.outcome, Outcome::Failed, "{lost:?}");
    assert!(lost.summary.contains("looked again: no progress"), "{lost:?}");
    let made = bed.apply(Keeps::Answers, container);
    assert_eq!(made.outcome, Outcome::Changed, "{made:?}");
    assert_eq!(made.warnings.iter().filter(|w| w.contains(SAID)).count(), 2, "created, and started: {made:?}");
    assert_eq!(bed.run(Mode::Check, Keeps::Nothing, container).outcome, Outcome::Ok);
}
