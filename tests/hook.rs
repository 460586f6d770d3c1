//! The whole life of the reference container in the lab, with the hookscript calls that Proxmox VE makes in each part:
//! what the hook refuses, what it says, and that it never stands in the way of a healthy fail-over.

use converge::host::{Host, Method, Output, Probe, Query, Step, Topic};
use converge::lab::{Lab, api, breaks, files, hook, power};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const NODES: [&str; 3] = ["pve1", "pve2", "pve3"];

/// The reference system, built once by the real binary.
fn reference() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let temp = tempfile::tempdir().unwrap();
        let lab = temp.path().join("lab");
        let playbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/drbd-nfs.yml");
        let output = Command::new(env!("CARGO_BIN_EXE_converge"))
            .arg("apply")
            .arg(playbook)
            .arg(format!("--lab={}", lab.display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        (temp, lab)
    });
    path
}

struct Cluster {
    lab: Lab,
    _temp: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("lab");
        files::copy_tree(reference(), &dir).unwrap();
        let cluster = Self { lab: Lab::open(&dir).unwrap(), _temp: temp };
        cluster.calls();
        cluster
    }

    /// Without HA: what is asked of the container is done at once.
    fn by_hand() -> Self {
        let cluster = Self::new();
        cluster.api(Method::Delete, "/cluster/ha/resources/ct:101", &[]).unwrap();
        cluster
    }

    fn api(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Result<Output, String> {
        let node = self.first();
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let step = Step::api(method, path, params);
        self.lab.node(&node).unwrap().perform(&step).map_err(|e| e.to_string())
    }

    /// A node that answers.
    fn first(&self) -> String {
        self.lab.look(|world| world.nodes_on().next().unwrap().to_owned()).unwrap()
    }

    fn run(&self, node: &str, argv: &[&str]) -> Output {
        self.lab.node(node).unwrap().query(&Query::new(Topic::Other, argv.iter().copied())).unwrap()
    }

    fn pct(&self, verb: &str) -> Output {
        let node = self.owner();
        self.run(&node, &["pct", verb, "101"])
    }

    fn inside(&self, argv: &[&str]) -> Output {
        let words: Vec<&str> = ["pct", "exec", "101", "--"].iter().chain(argv).copied().collect();
        self.run(&self.owner(), &words)
    }

    /// The node whose file the container is.
    fn owner(&self) -> String {
        self.lab.with(|world| converge::lab::guest::config(world, self.lab.files(), 101).unwrap().0).unwrap()
    }

    fn running_on(&self) -> Option<String> {
        self.lab.look(|world| converge::lab::guest::running_on(world, 101).map(str::to_owned)).unwrap()
    }

    /// Lets lab time pass, as if somebody asked the API every half second.
    fn pass(&self, seconds: u32) {
        for _ in 0..seconds * 2 {
            self.lab
                .with(|world| {
                    *world.clock_ahead_ms += 500;
                    api::live(world, self.lab.files());
                })
                .unwrap();
        }
    }

    fn power(&self, node: &str, on: bool) {
        self.lab
            .with(|world| match on {
                true => power::on(world, self.lab.files(), node).unwrap(),
                false => power::off(world, node),
            })
            .unwrap();
    }

    fn cause(&self, fault: &str) -> String {
        self.lab.with(|world| breaks::cause(world, self.lab.files(), fault)).unwrap().unwrap()
    }

    /// `phase@node`, with `!` where it was refused, since the last call.
    fn calls(&self) -> Vec<String> {
        let taken = self.lab.with(|world| std::mem::take(&mut world.cluster.hook_calls)).unwrap();
        taken.iter().map(|c| format!("{}{}@{}", if c.rc == 0 { "" } else { "!" }, c.phase, c.node)).collect()
    }

    fn text(&self, node: &str, path: &str) -> String {
        self.lab.node(node).unwrap().read_text(Path::new(path)).unwrap().unwrap_or_default()
    }

    /// How the last task that may have called the hook ended, with its log.
    fn last_task(&self) -> String {
        let shown = |task: &api::Task| format!("{}\n{}", task.log.join("\n"), task.exit);
        self.lab.look(|world| world.cluster.tasks.last().map(shown).unwrap_or_default()).unwrap()
    }
}

#[test]
fn start_stop_and_reboot_from_outside() {
    let cluster = Cluster::by_hand();
    assert_eq!(cluster.pct("stop").rc, 0);
    assert_eq!(cluster.calls(), ["pre-stop@pve1", "post-stop@pve1"]);
    assert!(cluster.text("pve1", "/var/log/journal.export").contains("CONVERGE_RESULT=released"));
    assert_eq!(cluster.pct("start").rc, 0);
    assert_eq!(cluster.calls(), ["pre-start@pve1", "post-start@pve1"]);
    assert!(cluster.last_task().contains("converge: container 101 may start: nfs1 is UpToDate here, 2 of 2 peers"));
    assert_eq!(cluster.pct("reboot").rc, 0);
    assert_eq!(cluster.calls(), ["pre-stop@pve1", "post-stop@pve1", "pre-start@pve1", "post-start@pve1"]);
    assert_eq!(cluster.running_on().as_deref(), Some("pve1"));
}

#[test]
fn what_the_container_does_to_itself() {
    let cluster = Cluster::by_hand();
    assert_eq!(cluster.inside(&["reboot"]).rc, 0);
    assert_eq!((cluster.calls(), cluster.running_on().as_deref()), (vec![], Some("pve1")), "nothing is called");
    assert_eq!(cluster.inside(&["poweroff"]).rc, 0);
    assert_eq!((cluster.calls(), cluster.running_on()), (vec!["post-stop@pve1".to_owned()], None));
    // With HA a crash is a start again, on the same node.
    let cluster = Cluster::new();
    cluster.lab.with(|world| hook::ended_by_itself(world, cluster.lab.files(), 101)).unwrap();
    cluster.pass(5);
    assert_eq!(cluster.calls(), ["post-stop@pve1", "pre-start@pve1", "post-start@pve1"]);
    assert_eq!(cluster.running_on().as_deref(), Some("pve1"));
}

#[test]
fn moves_to_another_node() {
    let moved = ["pre-stop@pve1", "post-stop@pve1", "pre-start@pve2", "post-start@pve2"];
    let cluster = Cluster::by_hand();
    cluster.api(Method::Post, "/nodes/pve1/lxc/101/migrate", &[("target", "pve2"), ("restart", "1")]).unwrap();
    assert_eq!(cluster.calls(), moved);
    let cluster = Cluster::new();
    cluster.api(Method::Post, "/nodes/pve1/lxc/101/migrate", &[("target", "pve2"), ("restart", "1")]).unwrap();
    cluster.pass(5);
    assert_eq!(cluster.calls(), moved);
    assert_eq!(cluster.running_on().as_deref(), Some("pve2"));
    // A stopped one that moves calls nothing.
    let cluster = Cluster::by_hand();
    cluster.pct("stop");
    cluster.calls();
    cluster.api(Method::Post, "/nodes/pve1/lxc/101/migrate", &[("target", "pve3")]).unwrap();
    assert_eq!((cluster.calls(), cluster.owner().as_str()), (vec![], "pve3"));
}

/// Each node dies in turn under the container, and comes back; the next one dies while the last is still being synced.
#[test]
fn node_death_is_survived_again_and_again() {
    let cluster = Cluster::new();
    for round in 0..6 {
        let victim = cluster.running_on().unwrap();
        cluster.power(&victim, false);
        cluster.pass(30);
        let now = cluster
            .running_on()
            .unwrap_or_else(|| panic!("round {round}: {:?} {}", cluster.calls(), cluster.last_task()));
        assert_ne!(now, victim);
        assert_eq!(cluster.calls(), [format!("pre-start@{now}"), format!("post-start@{now}")], "round {round}");
        assert!(cluster.text(&now, "/var/log/journal.export").contains("CONVERGE_RESULT=allowed-with-warning"));
        cluster.power(&victim, true);
        // Odd rounds leave it no time to be synced.
        cluster.pass(if round % 2 == 0 { 10 } else { 1 });
    }
}

/// The copy there is Inconsistent, and what it lacks is read from the others meanwhile.
#[test]
fn a_node_that_is_still_being_synced_may_take_over() {
    let cluster = Cluster::by_hand();
    assert_eq!(cluster.run("pve2", &["drbdadm", "invalidate", "nfs1"]).rc, 0);
    cluster.api(Method::Post, "/nodes/pve1/lxc/101/migrate", &[("target", "pve2"), ("restart", "1")]).unwrap();
    assert_eq!(cluster.calls(), ["pre-stop@pve1", "post-stop@pve1", "pre-start@pve2", "post-start@pve2"]);
    let journal = cluster.text("pve2", "/var/log/journal.export");
    assert!(journal.contains("CONVERGE_CAUSE=sync-target"), "{journal}");
    assert_eq!(cluster.running_on().as_deref(), Some("pve2"));
}

/// The hook lets both through, because both nodes are good; DRBD lets one of them promote.
#[test]
fn two_starts_at_once_on_two_nodes() {
    let cluster = Cluster::by_hand();
    cluster.pct("stop");
    let script = "/var/lib/vz/snippets/converge-hook";
    for node in ["pve1", "pve2"] {
        let called = cluster.lab.with(|w| hook::call(w, cluster.lab.files(), node, 101, "pre-start", script)).unwrap();
        assert_eq!(called.rc, 0, "{:?}", called.said);
    }
    let mounted = ["pve1", "pve2"].map(|node| {
        cluster.run(node, &["mkdir", "-p", "/mnt/x"]);
        cluster.run(node, &["mount", "/dev/drbd100", "/mnt/x"]).rc
    });
    assert_eq!(mounted, [0, 32]);
}

#[test]
fn backup_in_stop_mode() {
    let cluster = Cluster::by_hand();
    // vzdump: stop, mount beside the container, unmount, start.
    cluster.pct("stop");
    assert_eq!(cluster.run("pve1", &["mkdir", "-p", "/mnt/vzsnap0"]).rc, 0);
    assert_eq!(cluster.run("pve1", &["mount", "/dev/drbd100", "/mnt/vzsnap0"]).rc, 0);
    cluster.calls();
    // Whoever starts it meanwhile is told why not.
    assert_ne!(cluster.pct("start").rc, 0);
    assert_eq!(cluster.calls(), ["!pre-start@pve1"]);
    assert!(
        cluster.last_task().contains("in use on this node already, by a mount at /mnt/vzsnap0"),
        "{}",
        cluster.last_task()
    );
    assert_eq!(cluster.run("pve1", &["umount", "/mnt/vzsnap0"]).rc, 0);
    assert_eq!(cluster.pct("start").rc, 0);
    assert_eq!(cluster.calls(), ["pre-start@pve1", "post-start@pve1"]);
}

/// A restored container names a hookscript that may not be there, or not its program.
#[test]
fn restored_where_something_is_missing() {
    let cluster = Cluster::by_hand();
    cluster.pct("stop");
    cluster.calls();
    cluster.run("pve1", &["rm", "-r", "/usr/local/lib/converge"]);
    assert_ne!(cluster.pct("start").rc, 0);
    assert_eq!(cluster.calls(), ["!pre-start@pve1"]);
    let said = cluster.last_task();
    assert!(said.contains("nobody looked whether DRBD may be used here"), "{said}");
    assert!(said.contains(
        "hookscript error for 101 on pre-start: command '/var/lib/vz/snippets/converge-hook 101 pre-start' failed"
    ));
    assert!(cluster.text("pve1", "/var/log/syslog").contains("converge-hook: container 101, pre-start: "));
    // As the sentence says, once.
    cluster.run("pve1", &["mkdir", "-p", "/run/converge/hook/start-once"]);
    cluster.run("pve1", &["touch", "/run/converge/hook/start-once/101"]);
    assert_eq!(cluster.pct("start").rc, 0);
    assert_eq!(cluster.pct("stop").rc, 0, "it keeps nobody from stopping");
    assert_ne!(cluster.pct("start").rc, 0);
    cluster.run("pve1", &["rm", "/var/lib/vz/snippets/converge-hook"]);
    assert_ne!(cluster.pct("start").rc, 0);
    assert!(cluster.last_task().contains("script 'local:snippets/converge-hook' does not exist"));
}

/// The lab plays the few lines of the installed script itself; they say what the real shell says.
#[test]
fn the_lab_plays_the_script_as_a_shell_runs_it() {
    if Path::new("/usr/local/lib/converge/converge").exists() || Path::new("/run/converge").exists() {
        eprintln!("skipped: converge is installed here");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks/converge-hook");
    let cluster = Cluster::by_hand();
    cluster.run("pve1", &["rm", "-r", "/usr/local/lib/converge"]);
    for phase in ["pre-start", "post-start", "pre-stop", "post-stop", "pre-hibernate"] {
        let real = Command::new("sh").arg(&script).args(["101", phase]).output().unwrap();
        let said: Vec<String> = String::from_utf8_lossy(&real.stderr)
            .lines()
            .filter(|line| line.starts_with("start of "))
            .map(str::to_owned)
            .collect();
        let path = "/var/lib/vz/snippets/converge-hook";
        let played = cluster.lab.with(|w| hook::call(w, cluster.lab.files(), "pve1", 101, phase, path)).unwrap();
        assert_eq!((played.rc, played.said), (real.status.code().unwrap(), said), "{phase}");
    }
}

#[test]
fn a_split_brain_is_not_started_into() {
    let cluster = Cluster::by_hand();
    cluster.cause("split-brain");
    cluster.pct("stop");
    cluster.calls();
    assert_ne!(cluster.pct("start").rc, 0);
    assert_eq!(cluster.calls(), ["!pre-start@pve1"]);
    let said = cluster.last_task();
    assert!(said.contains("split brain") && said.contains("drbdadm connect --discard-my-data nfs1"), "{said}");
    let mail = cluster.text("pve1", "/var/mail/root");
    assert!(mail.contains("Subject: converge: start of container 101 refused on pve1"), "{mail}");
    // It is for a person to say otherwise, once.
    assert_eq!(cluster.run("pve1", &["converge", "hook", "--start-once", "101"]).rc, 0);
    assert_eq!(cluster.pct("start").rc, 0);
    assert_eq!(cluster.calls(), ["pre-start@pve1", "post-start@pve1"]);
}

#[test]
fn old_data_and_a_wrong_module_are_not_started_from() {
    for (fault, cause) in
        [("peer-outdated", "is Outdated"), ("in-tree-module", "is 8.4.11, not 9"), ("disk-failed", "has lost its disk")]
    {
        let cluster = Cluster::by_hand();
        cluster.cause(fault);
        // What comes of it, its task says: pvesh ends well where a worker did not.
        cluster.api(Method::Post, "/nodes/pve1/lxc/101/migrate", &[("target", "pve3"), ("restart", "1")]).unwrap();
        assert_eq!(cluster.calls(), ["pre-stop@pve1", "post-stop@pve1", "!pre-start@pve3"], "{fault}");
        assert!(cluster.last_task().contains(cause), "{fault}: {}", cluster.last_task());
        let explained = cluster.run("pve3", &["converge", "hook", "--explain", "101"]);
        assert!(explained.rc == 1 && explained.stdout.contains(cause), "{fault}: {}", explained.stdout);
    }
}

/// HA goes on to a node that may start it.
#[test]
fn what_one_node_refuses_another_takes() {
    let cluster = Cluster::new();
    cluster.cause("disk-failed");
    cluster.api(Method::Post, "/nodes/pve1/lxc/101/migrate", &[("target", "pve3"), ("restart", "1")]).unwrap();
    cluster.pass(30);
    let calls = cluster.calls();
    assert!(calls.contains(&"!pre-start@pve3".to_owned()), "{calls:?}");
    assert!(matches!(cluster.running_on().as_deref(), Some("pve1" | "pve2")), "{calls:?}");
}

#[test]
fn a_stuck_primary_is_named_and_keeps_others_from_starting() {
    let cluster = Cluster::by_hand();
    cluster.cause("held-primary");
    cluster.api(Method::Post, "/nodes/pve1/lxc/101/migrate", &[("target", "pve2"), ("restart", "1")]).unwrap();
    assert_eq!(cluster.calls(), ["pre-stop@pve1", "post-stop@pve1", "!pre-start@pve2"]);
    assert!(cluster.last_task().contains("nfs1 is in use on pve1, which is Primary"), "{}", cluster.last_task());
    let journal = cluster.text("pve1", "/var/log/journal.export");
    assert!(journal.contains("CONVERGE_RESULT=stuck") && journal.contains("held by whoever mount (pid"), "{journal}");
    assert!(cluster.text("pve1", "/var/mail/root").contains("DRBD stays Primary on pve1 after container 101 stopped"));
}

#[test]
fn a_role_taken_by_hand_is_given_back() {
    let cluster = Cluster::by_hand();
    assert_eq!(cluster.run("pve1", &["drbdadm", "primary", "nfs1"]).rc, 0);
    cluster.api(Method::Post, "/nodes/pve1/lxc/101/migrate", &[("target", "pve2"), ("restart", "1")]).unwrap();
    assert_eq!(cluster.calls(), ["pre-stop@pve1", "post-stop@pve1", "pre-start@pve2", "post-start@pve2"]);
    assert!(cluster.text("pve1", "/var/log/journal.export").contains("CONVERGE_RESULT=demoted"));
}

#[derive(Debug, Clone)]
enum Event {
    /// The node under the container loses power.
    Death,
    /// Whoever is down comes back.
    Return,
    Move(usize),
    Crash,
    Reboot,
    Wait(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Death),
        3 => Just(Event::Return),
        2 => (0..3_usize).prop_map(Event::Move),
        1 => Just(Event::Crash),
        1 => Just(Event::Reboot),
        2 => (1..20_u32).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 30, ..ProptestConfig::default() })]

    /// At most one node is down at a time, so there is always quorum and current data: nothing may be refused.
    #[test]
    fn a_healthy_fail_over_is_never_refused(events in prop::collection::vec(event(), 1..10)) {
        let cluster = Cluster::new();
        let mut down: Option<String> = None;
        for event in &events {
            match event {
                Event::Death if down.is_none() => {
                    let Some(victim) = cluster.running_on() else { continue };
                    cluster.power(&victim, false);
                    down = Some(victim);
                }
                Event::Return => {
                    if let Some(node) = down.take() {
                        cluster.power(&node, true);
                        // Two are never missing at once: it is given the time to be synced.
                        cluster.pass(10);
                    }
                }
                Event::Move(n) => {
                    let target = NODES[*n];
                    if cluster.running_on().is_some_and(|now| now != target) && down.as_deref() != Some(target) {
                        let path = format!("/nodes/{}/lxc/101/migrate", cluster.owner());
                        cluster.api(Method::Post, &path, &[("target", target), ("restart", "1")]).unwrap();
                    }
                }
                Event::Crash => cluster.lab.with(|world| hook::ended_by_itself(world, cluster.lab.files(), 101)).unwrap(),
                Event::Reboot if cluster.running_on().is_some() => drop(cluster.inside(&["reboot"])),
                Event::Wait(seconds) => cluster.pass(*seconds),
                _ => {}
            }
            cluster.pass(2);
        }
        cluster.pass(40);
        let calls = cluster.calls();
        prop_assert!(cluster.running_on().is_some(), "{:?} {}", calls, cluster.last_task());
        prop_assert!(!calls.iter().any(|c| c.starts_with('!')), "{:?} {}", calls, cluster.last_task());
    }
}
