//! Logins that are not root@pam itself, with the real binary against the lab's API: what they may not do is told before
//! the first change, and nothing is written then.

use converge::diagnostic::Sources;
use converge::event::{Event, Mode, Outcome, Reporter, TaskResult};
use converge::fleet::{Fleet, Options, foresee};
use converge::inventory::Inventory;
use converge::lab::{Lab, api};
use converge::link::{ApiHost, Connect, LabHosts, Link, LinkError, in_process};
use converge::playbook::{self, Context};
use converge::pve::{Client, Config, Login, Method, SecondFactor, Secret, Trust};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

struct Bed {
    dir: tempfile::TempDir,
    server: api::Server,
    root: Client,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(dir.path().join("lab")).unwrap();
        Self::serving(dir, lab)
    }

    /// A cluster that the reference playbook has built.
    fn converged() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = format!("--lab={}", dir.path().join("lab").display());
        let built = Command::new(env!("CARGO_BIN_EXE_converge")).args(["apply", REFERENCE, &state]).output().unwrap();
        assert_eq!(built.status.code(), Some(0), "{}", said(&built));
        let lab = Lab::open(dir.path().join("lab")).unwrap();
        Self::serving(dir, lab)
    }

    fn serving(dir: tempfile::TempDir, lab: Lab) -> Self {
        let server = api::serve(lab, "127.0.0.1:0".parse().unwrap()).unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, &server.ca_pem).unwrap();
        let login = Login::Password {
            user: "root@pam".into(),
            password: Secret::new(server.root_password()),
            second_factor: SecondFactor::None,
        };
        let root = Client::new(Config::new(vec![server.base_url().to_owned()], login, Trust::CaFile(ca))).unwrap();
        Self { dir, server, root }
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        name.to_owned()
    }

    fn call(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Json {
        self.root.write(method, path, params.iter().copied()).unwrap()
    }

    /// Makes a token, and the cluster.yml that logs in with it.
    fn token(&self, user: &str, privsep: bool) {
        if user != "root@pam" {
            self.call(Method::Post, "/access/users", &[("userid", user)]);
        }
        let path = format!("/access/users/{user}/token/ci");
        let made = self.call(Method::Post, &path, &[("privsep", if privsep { "1" } else { "0" })]);
        self.write("secret", made["value"].as_str().unwrap());
        let (endpoint, secret) = (self.server.base_url(), self.dir.path().join("secret"));
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        self.write(
            "cluster.yml",
            &format!(
                "endpoints: ['{endpoint}']\nlogin: {{ token: '{user}!ci', secret: {{ file: secret }} }}\n\
                 tls: {{ ca_file: ca.pem }}\n{NOBODY}"
            ),
        );
    }

    fn grant(&self, path: &str, role: &str, who: &[(&str, &str)]) {
        self.call(Method::Put, "/access/acl", &[&[("path", path), ("roles", role)], who].concat());
    }

    /// Runs with the token's cluster.yml; the last output is one JSON object.
    fn run(&self, words: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(words).args(["-i", "cluster.yml", "-o", "json"]).current_dir(self.dir.path());
        command.env_clear().env("HOME", self.dir.path()).env("PATH", std::env::var_os("PATH").unwrap());
        let output = command.output().unwrap();
        let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
        Run { code: output.status.code().unwrap(), told }
    }

    /// Everything that the lab is, but the HA manager's sense of time.
    fn state(&self) -> BTreeMap<String, Vec<u8>> {
        fn walk(dir: &Path, base: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, base, all);
                } else if path.is_file() {
                    let mut text = std::fs::read(&path).unwrap();
                    if let Ok(mut json) = serde_json::from_slice::<Json>(&text)
                        && let Some(ha) = json.pointer_mut("/world/cluster/ha").and_then(Json::as_object_mut)
                    {
                        // The HA manager lives on whenever somebody looks.
                        ha.retain(|key, _| !matches!(key.as_str(), "last_ms" | "busy"));
                        text = json.to_string().into_bytes();
                    }
                    all.insert(path.strip_prefix(base).unwrap().display().to_string(), text);
                }
            }
        }
        let mut all = BTreeMap::new();
        let lab = self.dir.path().join("lab");
        walk(&lab, &lab, &mut all);
        all
    }
}

impl Bed {
    #[track_caller]
    fn is_still(&self, before: &BTreeMap<String, Vec<u8>>) {
        let after = self.state();
        let names = before.keys().chain(after.keys());
        let differing: Vec<&String> = names.filter(|name| before.get(*name) != after.get(*name)).collect();
        assert!(differing.is_empty(), "written: {differing:?}");
    }
}

struct Run {
    code: i32,
    told: Json,
}

impl Run {
    /// Outcome, summary and warnings of a kind's one result.
    fn of(&self, kind: &str) -> (&str, String) {
        let results = self.told["results"].as_array().unwrap();
        let result = results.iter().find(|r| r["kind"] == kind).unwrap_or_else(|| panic!("no {kind}: {:#}", self.told));
        let warnings = result["warnings"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let words = [result["summary"].as_str().unwrap()].into_iter().chain(warnings).collect::<Vec<_>>().join("\n");
        (result["outcome"].as_str().unwrap(), words)
    }

    fn notes(&self) -> String {
        let notes = self.told["notes"].as_array().into_iter().flatten().filter_map(Json::as_str);
        notes.collect::<Vec<_>>().join("\n")
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The nodes themselves are not reached, and say so at once.
const NOBODY: &str = "ssh: { port: 1 }\nnodes:\n  pve1: { address: 127.0.0.1 }\n  pve2: { address: 127.0.0.1 }\n  \
                      pve3: { address: 127.0.0.1 }\n";

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/drbd-nfs.yml");

/// What of the reference playbook is the API's alone.
const CLUSTER: &str = "
- hosts: cluster
  vars_files: [vars.yml]
  tasks:
    - name: The container's template
      pve_template: { template: '{{ ct_template }}' }
    - name: The container
      pct:
        vmid: '{{ ct_id }}'
        hostname: '{{ ct_hostname }}'
        rootfs: 'volume={{ drbd_device }},shared=1'
        net0: '{{ ct_net0 }}'
        features: mount=nfsd;rpc_pipefs
    - name: HA looks after it
      ha_resource: { sid: 'ct:{{ ct_id }}', state: started, max_restart: 3, max_relocate: 3 }
    - name: On these nodes
      ha_group:
        { name: '{{ drbd_name }}', nodes: '{{ ha_nodes }}', resources: ['ct:{{ ct_id }}'], restricted: true, nofailback: true }
    - name: A storage
      pve_storage: { storage: '{{ nfs_storage }}', type: nfs, server: '{{ ct_address }}', export: '{{ nfs_export }}' }
";

fn cluster_plays(bed: &Bed) {
    let vars = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/vars/drbd-nfs.yml");
    std::fs::copy(vars, bed.dir.path().join("vars.yml")).unwrap();
    bed.write("cluster-plays.yml", CLUSTER);
}

fn contains(text: &str, expected: &[&str]) {
    for words in expected {
        assert!(text.contains(words), "no `{words}` in: {text}");
    }
}

#[test]
fn a_token_of_root_is_told_everything_before_the_first_change() {
    let bed = Bed::new();
    bed.token("root@pam", false);
    let before = bed.state();
    let applied = bed.run(&["apply", REFERENCE]);
    assert_eq!(applied.code, 1, "{:#}", applied.told);
    let (outcome, words) = applied.of("pct");
    assert_eq!(outcome, "blocked");
    contains(&words, &["only root@pam itself may set `features`", "set `rootfs`", "asked as root@pam!ci", "--on-node"]);
    contains(&applied.told.to_string(), &["drbd-nfs.yml:107", "stopped before the first change"]);
    let hook = ["drbd-nfs.yml:123: ", "may set the hookscript of container 101", "password of root@pam"];
    contains(&applied.notes(), &hook);
    assert_eq!(applied.told["totals"]["blocked"], 1);
    bed.is_still(&before);
}

#[test]
fn what_a_token_lacks_is_granted_by_the_line_that_is_shown() {
    let bed = Bed::new();
    bed.token("alice@pve", true);
    bed.grant("/", "PVEAdmin", &[("users", "alice@pve")]);
    bed.grant("/", "PVEAuditor", &[("tokens", "alice@pve!ci")]);
    bed.write(
        "site.yml",
        "- hosts: cluster\n  tasks:\n    - name: A template\n      pve_template: { template: debian-13-standard }\n    \
         - name: A storage\n      pve_storage: { storage: share, type: dir, path: /srv/share, content: [iso] }\n",
    );
    let before = bed.state();
    let checked = bed.run(&["check", "site.yml"]);
    assert_eq!(checked.code, 3, "{:#}", checked.told);
    let (outcome, words) = checked.of("pve_storage");
    assert_eq!(outcome, "drifted");
    contains(&words, &["refused before its first change", "alice@pve!ci lacks Datastore.Allocate on /storage"]);
    let applied = bed.run(&["apply", "site.yml"]);
    assert_eq!(applied.code, 1, "{:#}", applied.told);
    assert_eq!((applied.of("pve_template").0, applied.of("pve_storage").0), ("blocked", "blocked"));
    bed.is_still(&before);
    // One of the two, as it is shown; the user of the token has it.
    let grant = |run: &Run, kind: &str| {
        let (_, words) = run.of(kind);
        contains(&words, &["--users 'alice@pve'", "no token can do more than its user"]);
        let line = words.split('`').find(|part| part.starts_with("pveum acl modify ")).unwrap().to_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let ["pveum", "acl", "modify", path, "--tokens", who, "--roles", role] = words[..] else { panic!("{line}") };
        bed.grant(path, role, &[("tokens", who.trim_matches('\''))]);
        path.to_owned()
    };
    assert_eq!(grant(&applied, "pve_template"), "/storage/local");
    let applied = bed.run(&["apply", "site.yml"]);
    assert_eq!(applied.code, 1, "{:#}", applied.told);
    assert_eq!(applied.told["results"].as_array().unwrap().len(), 1, "{:#}", applied.told);
    assert_eq!(grant(&applied, "pve_storage"), "/storage");
    let applied = bed.run(&["apply", "site.yml"]);
    assert_eq!(applied.code, 0, "{:#}", applied.told);
    assert_eq!(applied.notes(), "");
    assert_eq!((applied.of("pve_template").0, applied.of("pve_storage").0), ("changed", "changed"));
}

#[test]
fn a_token_that_sees_little_is_told_all_at_once() {
    let bed = Bed::converged();
    bed.token("alice@pve", false);
    // As little as is needed to learn which nodes there are.
    bed.call(Method::Post, "/access/roles", &[("roleid", "Looks"), ("privs", "Sys.Audit")]);
    bed.grant("/", "Looks", &[("users", "alice@pve"), ("propagate", "0")]);
    cluster_plays(&bed);
    let before = bed.state();
    let applied = bed.run(&["apply", "cluster-plays.yml"]);
    assert_eq!(applied.code, 1, "{:#}", applied.told);
    let told = applied.told.to_string();
    contains(
        &told,
        &[
            "Datastore.Audit or Datastore.AllocateSpace on /storage/local",
            "lacks VM.Audit on /vms/101 to see container 101",
            "Datastore.Audit or Datastore.AllocateSpace on /storage/nfs1",
        ],
    );
    bed.is_still(&before);
}

#[test]
fn a_converged_cluster_is_applied_by_an_auditor() {
    let bed = Bed::converged();
    bed.token("auditor@pve", true);
    bed.grant("/", "PVEAuditor", &[("users", "auditor@pve")]);
    bed.grant("/", "PVEAuditor", &[("tokens", "auditor@pve!ci")]);
    cluster_plays(&bed);
    for command in ["check", "apply"] {
        let run = bed.run(&[command, "cluster-plays.yml"]);
        assert_eq!(run.code, 0, "{:#}", run.told);
        assert_eq!(run.notes(), "");
        let results = run.told["results"].as_array().unwrap();
        assert!(results.len() == 5 && results.iter().all(|r| r["outcome"] == "ok"), "{:#}", run.told);
        assert!(!run.told.to_string().contains("lacks"), "{:#}", run.told);
    }
}

/// What only looks needs no right to change; what only a check does, an apply does not; what only an apply does, it needs.
#[test]
fn only_what_an_apply_would_change_is_refused() {
    let bed = Bed::new();
    bed.token("auditor@pve", false);
    bed.grant("/", "PVEAuditor", &[("users", "auditor@pve")]);
    let storage = "      pve_storage: { storage: share, type: dir, path: /srv/share, content: [iso] }\n";
    let looks = format!("- hosts: cluster\n  tasks:\n    - name: Looks\n{storage}      check_mode: true\n");
    let in_checks = "    - name: In checks\n      when: ansible_check_mode\n      pve_storage: { storage: other, type: dir, \
                     path: /srv/other }\n";
    bed.write("looks.yml", &format!("{looks}{in_checks}"));
    let applied = bed.run(&["apply", "looks.yml"]);
    assert_eq!(applied.code, 0, "{:#}", applied.told);
    let outcomes: Vec<&Json> = applied.told["results"].as_array().unwrap().iter().map(|r| &r["outcome"]).collect();
    assert_eq!(outcomes, ["drifted", "skipped"]);
    assert!(!applied.told.to_string().contains("lacks"), "{:#}", applied.told);
    let checked = bed.run(&["check", "looks.yml"]);
    assert_eq!((checked.code, checked.of("pve_storage")), (3, ("drifted", applied.of("pve_storage").1)));
    // What was only looked at is not there for the next task.
    bed.write("changes.yml", &format!("{looks}    - name: Changes\n      when: not ansible_check_mode\n{storage}"));
    let before = bed.state();
    let applied = bed.run(&["apply", "changes.yml"]);
    assert_eq!(applied.code, 1, "{:#}", applied.told);
    assert_eq!(applied.told["results"].as_array().unwrap().len(), 1, "{:#}", applied.told);
    assert_eq!(applied.told["results"][0]["task"], "Changes");
    contains(&applied.of("pve_storage").1, &["lacks Datastore.Allocate on /storage"]);
    contains(&applied.notes(), &["stopped before the first change"]);
    bed.is_still(&before);
}

/// Where the arguments depend on what an earlier task finds out, nobody knows before; that is said, and the run goes on.
#[test]
fn what_cannot_be_known_before_is_said_and_tried() {
    let bed = Bed::new();
    bed.token("alice@pve", false);
    bed.grant("/", "PVEAuditor", &[("users", "alice@pve")]);
    bed.write(
        "site.yml",
        "- hosts: localhost\n  tasks:\n    - name: which\n      command: echo share\n      register: which\n\
         - hosts: cluster\n  tasks:\n    - name: A storage\n      pve_storage:\n        \
         { storage: \"{{ hostvars.localhost.which.stdout }}\", type: dir, path: /srv/share }\n",
    );
    let applied = bed.run(&["apply", "site.yml"]);
    assert_eq!(applied.code, 1, "{:#}", applied.told);
    contains(&applied.notes(), &["`A storage` may or may not be refused", "cannot be told before it runs"]);
    assert_eq!(applied.of("command").0, "changed");
    let (outcome, words) = applied.of("pve_storage");
    assert_eq!(outcome, "blocked");
    contains(&words, &["lacks Datastore.Allocate on /storage"]);
}

/// An earlier task may grant what is lacking, and what was answered before it is not believed: neither to the check
/// before the apply, nor to an earlier task.
#[test]
fn a_right_that_an_earlier_task_grants_is_there() {
    let bed = Bed::new();
    bed.token("alice@pve", false);
    bed.grant("/", "PVEAuditor", &[("users", "alice@pve")]);
    let privileges = "Datastore.Audit,Datastore.AllocateTemplate";
    bed.call(Method::Post, "/access/roles", &[("roleid", "Templates"), ("privs", privileges)]);
    bed.grant("/storage", "Templates", &[("users", "alice@pve")]);
    let (wanted, granted) = (bed.dir.path().join("wanted"), bed.dir.path().join("granted"));
    let waits = format!("touch {}; until [ -e {} ]; do sleep 0.05; done", wanted.display(), granted.display());
    bed.write(
        "site.yml",
        &format!(
            "- hosts: cluster\n  tasks:\n    - name: A template\n      pve_template: {{ template: debian-13-standard }}\n\
             - hosts: localhost\n  tasks:\n    - name: Grants\n      command: {{ argv: [sh, -c, '{waits}'] }}\n      \
             timeout: 60\n\
             - hosts: cluster\n  tasks:\n    - name: A storage\n      \
             pve_storage: {{ storage: share, type: dir, path: /srv/share, content: [iso] }}\n"
        ),
    );
    let applied = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3000 {
                if wanted.exists() {
                    bed.grant("/storage", "PVEDatastoreAdmin", &[("users", "alice@pve")]);
                    return std::fs::write(&granted, "").unwrap();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        bed.run(&["apply", "site.yml"])
    });
    assert_eq!(applied.code, 0, "{:#}", applied.told);
    contains(&applied.notes(), &["`A storage` may be refused when its turn comes", "lacks Datastore.Allocate"]);
    for kind in ["pve_template", "command", "pve_storage"] {
        assert_eq!(applied.of(kind).0, "changed", "{:#}", applied.told);
    }
    assert!(!applied.told["results"].to_string().contains("lacks"), "{:#}", applied.told);
}

/// The lab's nodes, and its API as a token is answered.
struct Mixed {
    lab: LabHosts,
    client: Client,
    state: std::path::PathBuf,
}

impl Connect for Mixed {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if host != "cluster" {
            return self.lab.connect(host, mode);
        }
        let (client, state) = (self.client.clone(), self.state.clone());
        in_process(host, mode, move || Box::new(ApiHost::new(client, &state)))
    }

    fn api_user(&self) -> Option<String> {
        Some(self.client.user().to_owned())
    }
}

#[derive(Default)]
struct Told(Vec<TaskResult>, Vec<String>);

impl Reporter for Told {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Result(result) => self.0.push(result.clone()),
            Event::Note { message } => self.1.push(message.clone()),
            _ => {}
        }
    }
}

/// As `converge check` and `converge apply` run it, with nodes that answer.
fn drive(bed: &Bed, user: &str, mode: Mode) -> (u8, Told) {
    let secret = std::fs::read_to_string(bed.dir.path().join("secret")).unwrap();
    let login = Login::Token { id: format!("{user}!ci"), secret: Secret::new(secret) };
    let trust = Trust::CaFile(bed.dir.path().join("ca.pem"));
    let client = Client::new(Config::new(vec![bed.server.base_url().to_owned()], login, trust)).unwrap();
    let lab = Lab::open(bed.dir.path().join("lab")).unwrap();
    through(&Mixed { lab: LabHosts::new(lab), client, state: bed.dir.path().join("state") }, bed, mode)
}

fn through(connect: &dyn Connect, bed: &Bed, mode: Mode) -> (u8, Told) {
    let inventory = Inventory::cluster(Lab::open(bed.dir.path().join("lab")).unwrap().host_names().unwrap());
    let (options, context, mut sources) = (Options::default(), Context::default(), Sources::default());
    let books = playbook::load(&[REFERENCE.into()], &mut sources, &context).expect("the reference playbook");
    let mut told = Told::default();
    let foreseen = match mode {
        Mode::Check => Default::default(),
        Mode::Apply => foresee(&options, &inventory, &context, connect, sources.clone(), &books),
    };
    let fleet = Fleet::new(mode, &options, &inventory, &context, connect, sources, &mut told);
    let exit = if foreseen.forbids() { fleet.refuse(&books, foreseen) } else { fleet.foreseen(&foreseen).run(&books) };
    (exit, told)
}

#[test]
fn a_check_of_the_reference_playbook_foretells_what_an_apply_says() {
    let bed = Bed::new();
    bed.token("root@pam", false);
    let before = bed.state();
    let (exit, checked) = drive(&bed, "root@pam", Mode::Check);
    assert_eq!(exit, 3);
    let (exit, applied) = drive(&bed, "root@pam", Mode::Apply);
    assert_eq!(exit, 1);
    bed.is_still(&before);
    let of = |told: &Told, kind: &str| told.0.iter().find(|r| r.kind == kind).cloned();
    let (foretold, blocked) = (of(&checked, "pct").unwrap(), of(&applied, "pct").unwrap());
    assert_eq!((foretold.outcome, blocked.outcome), (Outcome::Drifted, Outcome::Blocked));
    contains(&foretold.warnings.join(" "), &["refused before its first change", &blocked.summary]);
    let hook = of(&checked, "hookscript").unwrap();
    contains(&hook.warnings.join(" "), &["may be refused here: only root@pam itself may set the hookscript"]);
    contains(
        &applied.1.join(" "),
        &["may be refused when its turn comes: only root@pam itself may set the hookscript"],
    );
    assert_eq!(applied.0.len(), 1, "{:?}", applied.0);
}

#[test]
fn the_reference_cluster_is_in_sync_for_an_auditor() {
    // Built by this very program, which the hookscript compares.
    let bed = Bed::new();
    let lab = Lab::open(bed.dir.path().join("lab")).unwrap();
    assert_eq!(through(&LabHosts::new(lab), &bed, Mode::Apply).0, 0);
    bed.token("auditor@pve", false);
    bed.grant("/", "PVEAuditor", &[("users", "auditor@pve")]);
    for mode in [Mode::Check, Mode::Apply] {
        let (exit, told) = drive(&bed, "auditor@pve", mode);
        assert_eq!(exit, 0, "{:?}", told.0.iter().filter(|r| r.outcome != Outcome::Ok).collect::<Vec<_>>());
        assert!(told.1.is_empty(), "{:?}", told.1);
    }
}
