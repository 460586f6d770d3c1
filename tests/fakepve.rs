//! The Proxmox kinds against a fake of the API that others wrote (`fakepve` on PyPI). It checks every request against
//! the real schema, so a wrong parameter is refused as a cluster would refuse it, and it fails when told to.
//!
//! Nodes are the lab's: a node is asked before anything is created, and the fake has only an API. Where the fake and
//! the facts read out of Proxmox's sources differ, the facts win (the cookie's encoding, in `fakepve_serve.py`).

use converge::diagnostic::Sources;
use converge::event::{Event, Mode, Outcome, Reporter, TaskResult};
use converge::fleet::{Fleet, Options};
use converge::inventory::Inventory;
use converge::lab::Lab;
use converge::link::{ApiHost, Connect, LabHosts, Link, LinkError, in_process};
use converge::playbook::{Context, parse_str};
use converge::pve::{Client, Config, Login, SecondFactor, Secret, Trust};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The fake, in a process of its own.
struct Fake {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    port: u64,
    ca: PathBuf,
    _dir: tempfile::TempDir,
}

impl Fake {
    /// `None` where this machine lacks Python or the fake.
    fn start() -> Option<Self> {
        let there = Command::new("python3").args(["-c", "import fakepve, cryptography"]).output();
        if !there.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no fakepve for python3");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut child = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/third_party/fakepve_serve.py"))
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 ran before");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut from = BufReader::new(from);
        let said = read(&mut from);
        let ca = PathBuf::from(said["ca"].as_str().expect("a path"));
        Some(Self { child, to, from, port: said["port"].as_u64().expect("a port"), ca, _dir: dir })
    }

    fn step(&mut self, what: Json) -> Json {
        writeln!(self.to, "{what}").expect("the fake listens");
        let answer = read(&mut self.from);
        assert!(answer.get("error").is_none(), "{what}: {answer}");
        answer["ok"].clone()
    }

    fn call(&mut self, name: &str, args: Json, keywords: Json) {
        self.step(json!(["call", args, keywords, name]));
    }

    fn requests(&mut self) -> String {
        self.step(json!(["requests"])).to_string()
    }

    fn client(&self, login: Login) -> Client {
        let entry = format!("https://127.0.0.1:{}", self.port);
        Client::new(Config::new(vec![entry], login, Trust::CaFile(self.ca.clone()))).expect("a client")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: &mut impl BufRead) -> Json {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("`{line}`: {e}"))
}

fn password(password: &str, second_factor: SecondFactor) -> Login {
    Login::Password { user: "root@pam".into(), password: Secret::new(password), second_factor }
}

/// The lab's nodes, and the fake's API as the cluster.
struct Mixed {
    lab: LabHosts,
    client: Client,
    state: PathBuf,
}

impl Connect for Mixed {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if host != "cluster" {
            return self.lab.connect(host, mode);
        }
        let (client, state) = (self.client.clone(), self.state.clone());
        in_process(host, mode, move || Box::new(ApiHost::new(client, &state)))
    }
}

#[derive(Default)]
struct Results(Vec<TaskResult>);

impl Reporter for Results {
    fn event(&mut self, event: &Event) {
        if let Event::Result(result) = event {
            self.0.push(result.clone());
        }
    }
}

struct Stage {
    fake: Fake,
    connect: Mixed,
    lab: Lab,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Option<Self> {
        Self::with(password("secret", SecondFactor::None))
    }

    fn with(login: Login) -> Option<Self> {
        let mut fake = Fake::start()?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lab = Lab::open(dir.path().join("lab")).expect("a fresh lab");
        let template = "debian-13-standard_13.1-2_amd64.tar.zst";
        fake.call("store_file", json!(["local", template, 1000, "vztmpl"]), json!({}));
        let client = fake.client(login);
        let connect = Mixed { lab: LabHosts::new(lab.clone()), client, state: dir.path().join("state") };
        Some(Self { fake, connect, lab, _dir: dir })
    }

    fn run(&self, mode: Mode, tasks: &str) -> (u8, Vec<TaskResult>) {
        let inventory = Inventory::cluster(self.lab.host_names().expect("names"));
        let (context, options) = (Context::default(), Options::default());
        let mut sources = Sources::default();
        let text = format!("- hosts: cluster\n  tasks:\n{tasks}");
        let playbook = match parse_str("fakepve.yml", &text, &mut sources, &context) {
            Ok(playbook) => playbook,
            Err(faults) => panic!("{}", sources.show(&faults, false)),
        };
        let mut results = Results::default();
        let fleet = Fleet::new(mode, &options, &inventory, &context, &self.connect, sources, &mut results);
        let exit = fleet.run(std::slice::from_ref(&playbook));
        (exit, results.0)
    }

    /// The only result of an apply.
    fn apply(&self, tasks: &str) -> TaskResult {
        let (_, results) = self.run(Mode::Apply, tasks);
        results.into_iter().next().expect("a result")
    }
}

const CONTAINER: &str = r#"
    - pct:
        vmid: 101
        hostname: nfs1
        ostemplate: local:vztmpl/debian-13-standard
        rootfs: local-lvm:8
        net0: name=eth0,bridge=vmbr0,ip=192.168.1.11/24,gw=192.168.1.1
        memory: 2048
        unprivileged: true
        features: nesting=1
        onboot: true
"#;

fn is(result: &TaskResult, outcome: Outcome, words: &str) {
    assert_eq!(result.outcome, outcome, "{result:?}");
    assert!(result.summary.contains(words), "expected `{words}` in: {}", result.summary);
}

#[test]
fn a_container_is_created_changed_and_left_alone() {
    let Some(mut stage) = Stage::new() else { return };
    let (exit, check) = stage.run(Mode::Check, CONTAINER);
    assert_eq!((exit, check[0].outcome), (3, Outcome::Drifted), "{check:?}");
    assert!(!stage.fake.requests().contains("'PUT'"), "a check writes nothing");
    is(&stage.apply(CONTAINER), Outcome::Changed, "");
    is(&stage.apply(CONTAINER), Outcome::Ok, "");
    stage.fake.requests();
    let more = CONTAINER.replace("2048", "4096").replace("hostname: nfs1", "hostname: nfs2\n        tags: nfs");
    is(&stage.apply(&more), Outcome::Changed, "");
    let asked = stage.fake.requests();
    assert!(asked.contains("memory=4096") && asked.contains("digest="), "one write, with the digest: {asked}");
    assert_eq!(stage.run(Mode::Check, &more).0, 0, "in sync");
    let started = format!("{more}        state: started\n");
    is(&stage.apply(&started), Outcome::Changed, "");
    is(&stage.apply(&started), Outcome::Ok, "");
    is(&stage.apply(&more.replace("hostname", "state: stopped\n        hostname")), Outcome::Changed, "");
    is(&stage.apply("    - pct: { vmid: 101, state: absent }\n"), Outcome::Blocked, "destroy_volumes");
    let gone = "    - pct: { vmid: 101, state: absent, destroy_volumes: true }\n";
    is(&stage.apply(gone), Outcome::Changed, "");
    is(&stage.apply(gone), Outcome::Ok, "");
}

#[test]
fn a_storage_is_defined_and_changed() {
    let Some(mut stage) = Stage::new() else { return };
    let storage = "    - pve_storage: { storage: nfs1, type: nfs, server: 192.168.1.11, export: /data, content: [images, rootdir] }\n";
    let result = stage.apply(storage);
    let asked = stage.fake.requests();
    assert!(asked.contains("storage=nfs1") && asked.contains("export=%2Fdata"), "{asked}");
    // What the fake keeps is its own affair; what must not be is an "ok" that nothing bears out.
    let (exit, again) = stage.run(Mode::Check, storage);
    match result.outcome {
        Outcome::Changed => assert_eq!(exit, 0, "{again:?}"),
        other => assert!(other == Outcome::Failed && exit == 3, "{result:?} {again:?}"),
    }
}

/// The fake takes writes about HA and forgets them: the schema accepts what we send, and we do not believe it.
#[test]
fn a_write_that_changes_nothing_is_no_success() {
    let Some(mut stage) = Stage::new() else { return };
    is(&stage.apply(CONTAINER), Outcome::Changed, "");
    stage.fake.requests();
    let resource = stage.apply("    - ha_resource: { sid: ct:101, state: started, max_relocate: 2 }\n");
    let asked = stage.fake.requests();
    assert!(asked.contains("/cluster/ha/resources") && asked.contains("sid=ct"), "{asked}");
    assert!(matches!(resource.outcome, Outcome::Failed | Outcome::Blocked), "{resource:?}");
}

#[test]
fn failures_have_names() {
    let Some(mut stage) = Stage::new() else { return };
    is(&stage.apply(CONTAINER), Outcome::Changed, "");
    let more = CONTAINER.replace("2048", "4096");

    stage.fake.call("snapshot_lock", json!([101, "backup"]), json!({}));
    is(&stage.apply(&more), Outcome::Blocked, "lock");
    stage.fake.call("unlock", json!([101]), json!({}));

    stage.fake.call("lose_quorum", json!([]), json!({}));
    let result = stage.apply(&more);
    assert!(matches!(result.outcome, Outcome::Failed | Outcome::Blocked), "{result:?}");
    assert!(result.summary.contains("quorum"), "{}", result.summary);
    stage.fake.call("regain_quorum", json!([]), json!({}));

    // Forgotten tickets in the middle of a run: it logs in again.
    stage.fake.call("revoke_tickets", json!([]), json!({}));
    is(&stage.apply(&more), Outcome::Changed, "");

    stage.fake.step(json!(["guest", 101, "start_error", "lxc-start failed: the device is busy"]));
    is(&stage.apply(&format!("{more}        state: started\n")), Outcome::Failed, "the device is busy");
    stage.fake.step(json!(["guest", 101, "start_error", null]));

    let config = "/nodes/pve1/lxc/101/config";
    let yet_more = CONTAINER.replace("2048", "8192");
    stage.fake.call(
        "fail",
        json!(["PUT", config, 403, "Permission check failed (/vms/101, VM.Config.Memory)"]),
        json!({}),
    );
    is(&stage.apply(&yet_more), Outcome::Failed, "VM.Config.Memory");
    stage.fake.step(json!(["set", ["failures"], {}]));

    // Somebody else wrote in between, once: looked at again, and done.
    stage.fake.call(
        "fail",
        json!(["PUT", config, 500, "detected modified configuration - file changed by other user? Try again."]),
        json!({ "times": 1 }),
    );
    is(&stage.apply(&yet_more), Outcome::Changed, "");
}

/// How often something was to be changed.
fn writes(stage: &mut Stage) -> usize {
    stage.fake.requests().matches("'PUT'").count()
}

#[test]
fn somebody_who_writes_all_the_time_is_given_way_after_some_tries() {
    let Some(mut stage) = Stage::new() else { return };
    is(&stage.apply(CONTAINER), Outcome::Changed, "");
    let more = CONTAINER.replace("2048", "4096");
    let conflict = "detected modified configuration - file changed by other user? Try again.";
    let fail = |stage: &mut Stage, times: Json| {
        let options = if times.is_null() { json!({}) } else { json!({ "times": times }) };
        stage.fake.step(json!(["set", ["failures"], {}]));
        stage.fake.requests();
        stage.fake.call("fail", json!(["PUT", "/nodes/pve1/lxc/101/config", 500, conflict]), options);
    };
    fail(&mut stage, Json::Null);
    is(&stage.apply(&more), Outcome::Failed, "somebody else changed the same thing 5 times");
    assert_eq!(writes(&mut stage), 5);
    // Three in a row pass, and nothing is lost.
    fail(&mut stage, json!(3));
    is(&stage.apply(&more), Outcome::Changed, "");
    assert_eq!(writes(&mut stage), 4);
    is(&stage.apply(&more), Outcome::Ok, "");
}

#[test]
fn reads_are_tried_again_and_a_page_of_a_proxy_is_no_answer() {
    let Some(mut stage) = Stage::new() else { return };
    is(&stage.apply(CONTAINER), Outcome::Changed, "");
    stage.fake.call("fail", json!(["GET", "/cluster/resources", 596, "Connection timed out"]), json!({ "times": 1 }));
    is(&stage.apply(CONTAINER), Outcome::Ok, "");
    stage.fake.call("fail", json!(["GET", "/cluster/resources", 502, "Bad Gateway"]), json!({ "html": true }));
    let (exit, results) = stage.run(Mode::Check, CONTAINER);
    assert!(exit == 1 || exit == 4, "{results:?}");
    assert_ne!(results[0].outcome, Outcome::Ok);
    assert!(results[0].summary.contains("502"), "{}", results[0].summary);
}

#[test]
fn dropped_connections_lose_nothing() {
    let Some(mut stage) = Stage::new() else { return };
    stage.fake.call("flaky_network", json!([]), json!({ "drop_rate": 0.05, "seed": 7 }));
    let mut outcomes = Vec::new();
    for memory in [1024, 1536, 2048, 2560, 3072] {
        let wanted = CONTAINER.replace("2048", &memory.to_string());
        // A write whose answer was lost is looked at again, so a run may end failed, but never wrong.
        let (_, results) = stage.run(Mode::Apply, &wanted);
        outcomes.push(results[0].outcome);
        stage.fake.step(json!(["set", ["network", "drop_rate"], 0.0]));
        if results[0].outcome != Outcome::Failed && results[0].outcome != Outcome::Unreachable {
            assert_eq!(stage.run(Mode::Check, &wanted).0, 0, "said {:?}", results[0]);
        }
        stage.fake.step(json!(["set", ["network", "drop_rate"], 0.05]));
    }
    assert!(outcomes.contains(&Outcome::Changed), "{outcomes:?}");
}

#[test]
fn a_login_that_is_refused_is_said_and_nothing_is_touched() {
    for (login, words) in [
        (password("wrong", SecondFactor::None), "authentication failure"),
        (Login::Token { id: "root@pam!gone".into(), secret: Secret::new("0000") }, "authentication failure"),
    ] {
        let Some(mut stage) = Stage::with(login) else { return };
        let (exit, results) = stage.run(Mode::Apply, CONTAINER);
        assert_ne!(exit, 0);
        assert!(results.iter().all(|r| r.outcome != Outcome::Ok && r.outcome != Outcome::Changed), "{results:?}");
        assert!(results[0].summary.contains(words), "{}", results[0].summary);
        assert!(!stage.fake.requests().contains("lxc"));
    }
}

#[test]
fn what_a_token_may_not_do_is_said_before_it_is_tried() {
    let token = Login::Token { id: "root@pam!converge".into(), secret: Secret::new("0123") };
    let Some(mut stage) = Stage::with(token) else { return };
    stage.fake.step(json!(["set", ["apitokens", "root@pam!converge"], "0123"]));
    is(&stage.apply(CONTAINER), Outcome::Changed, "");
    stage.fake.requests();
    let reserved = CONTAINER.replace("nesting=1", "nesting=1,mount=nfs");
    is(&stage.apply(&reserved), Outcome::Blocked, "root@pam");
    let asked = stage.fake.requests();
    assert!(!asked.contains("'PUT'"));
    // No privilege gives what is reserved for root@pam.
    assert!(!asked.contains("access/permissions"), "{asked}");
}

#[test]
fn a_second_factor_is_asked_for() {
    let Some(mut stage) = Stage::with(password("secret", SecondFactor::None)) else { return };
    stage.fake.step(json!(["set", ["tfa"], true]));
    let (exit, results) = stage.run(Mode::Check, CONTAINER);
    assert_ne!(exit, 0);
    assert!(results[0].summary.contains("second factor"), "{}", results[0].summary);
}

/// The fake names the same made-up fingerprint for every node, which none of them shows, and has no authority: a cluster
/// behind a proxy looks like that.
#[test]
fn its_certificate_is_pinned_when_it_is_expected_and_not_on_its_own_word() {
    let Some(mut fake) = Fake::start() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("cluster.yml");
    let text = format!("endpoints: ['127.0.0.1:{}']\nlogin: {{ password: {{ env: SECRET }} }}\n", fake.port);
    std::fs::write(&file, &text).expect("written");
    let trust = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.arg("trust").arg("-i").arg(&file).args(words).env("SECRET", "secret").stdin(Stdio::null());
        let output = command.output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), told)
    };
    let (code, json, told) = trust(&["-o", "json"]);
    assert_eq!(code, Some(3), "{told}");
    assert_eq!(fake.requests(), "[]", "a handshake is no request");
    let json: Json = serde_json::from_str(&json).expect("JSON");
    let met = json["endpoints"][0]["fingerprint"].as_str().expect("a fingerprint");

    let (code, _, told) = trust(&["--write", "ca", "--expect", met]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("pve-root-ca.pem") && told.contains("nothing is written"), "{told}");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), text);

    let (code, _, told) = trust(&["--write", "pins", "--expect", met]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("for none of its nodes"), "{told}");
    assert!(std::fs::read_to_string(&file).expect("there").contains(met));
    assert_eq!(trust(&[]).0, Some(0));
}
