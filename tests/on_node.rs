//! A run on a node of the cluster itself: the node's own API is asked, nobody logs in. The node is one of the embedded
//! cluster; the ssh to the others is the lab's.

mod support;

use converge::diagnostic::Sources;
use converge::event::{Event, Mode};
use converge::fleet::{Fleet, Options};
use converge::host::Host;
use converge::inventory::{self, Inventory};
use converge::lab::Lab;
use converge::link::{Connect, InventoryHosts, LabHosts, Link, LinkError, discover_on_node};
use converge::playbook::{self, Context, Known};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Recorder, Run};

/// The node that the run takes place on.
const ME: &str = "pve2";

/// The cluster and this node by the ways of a run on a node; what needs ssh or a container's door, by the lab's.
struct FromNode {
    node: InventoryHosts,
    lab: LabHosts,
}

impl Connect for FromNode {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if ["cluster", ME].contains(&host) { self.node.connect(host, mode) } else { self.lab.connect(host, mode) }
    }
}

fn loaded(given: &[String], playbook: &Path) -> inventory::Loaded {
    let mut sources = Sources::default();
    let loaded = inventory::load(given, &[playbook.to_owned()], &mut sources);
    loaded.unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)))
}

/// What `Ground::on_node` does with this machine, done with a node of the lab.
fn ground(lab: &Lab, given: &[String], playbook: &Path) -> (Inventory, InventoryHosts) {
    let (me, found) = discover_on_node(&lab.node(ME).unwrap()).unwrap();
    assert_eq!(me, ME);
    let mut loaded = loaded(given, playbook);
    loaded.on_node(&me);
    let inventory = loaded.build(Some(&found));
    let node = lab.node(ME).unwrap();
    let here = move |name: &str| -> Box<dyn Host> {
        assert!(["cluster", ME].contains(&name), "{name} is not this node");
        Box::new(node.clone())
    };
    let reaches = converge::fleet::reaches(&[], &inventory, &Options::default(), &Sources::default());
    let hosts = InventoryHosts::default().on_node(here, lab.dir().join("pve-priv")).with_inventory(&inventory, reaches);
    (inventory, hosts)
}

fn run(lab: &Lab, mode: Mode, playbook: &Path, given: &[String]) -> Run {
    let (inventory, node) = ground(lab, given, playbook);
    let connect = FromNode { node, lab: LabHosts::new(lab.clone()) };
    let known = Known {
        hosts: inventory.hosts.iter().cloned().collect(),
        groups: inventory.groups.keys().cloned().chain(["all".to_owned()]).collect(),
        vars: inventory.var_names(),
        open: false,
    };
    let context = Context { inventory: Some(known), ..Context::default() };
    let mut sources = Sources::default();
    let playbooks = playbook::load(&[playbook.to_owned()], &mut sources, &context)
        .unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)));
    let (options, mut recorder) = (Options::default(), Recorder::default());
    let exit = Fleet::new(mode, &options, &inventory, &context, &connect, sources, &mut recorder).run(&playbooks);
    let mut run = Run { exit, results: Vec::new(), notes: Vec::new() };
    for event in recorder.events {
        if let Event::Result(result) = event {
            run.results.push(result);
        }
    }
    run
}

#[test]
fn the_reference_system_is_built_and_checked_from_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::open(dir.path().join("lab")).unwrap();
    let playbook = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("playbooks/drbd-nfs.yml");
    let built = run(&lab, Mode::Apply, &playbook, &[]);
    assert_eq!(built.exit, 0, "{:#?}", built.lines());
    for host in ["cluster", "pve1", ME, "pve3", "ct:101"] {
        assert!(built.results.iter().any(|result| result.host == host), "{host} had no part");
    }
    let checked = run(&lab, Mode::Check, &playbook, &[]);
    assert_eq!((checked.exit, checked.moved()), (0, Vec::new()), "{:#?}", checked.lines());
    // Seen from the workstation it is the same.
    lab.run_line("pve3", "systemctl disable drbd@nfs1.target").unwrap();
    let drifted = run(&lab, Mode::Check, &playbook, &[]);
    assert_eq!(drifted.exit, 3);
    assert!(drifted.moved().iter().all(|(_, host)| host == "pve3"), "{:?}", drifted.moved());
}

#[test]
fn what_an_inventory_says_of_the_cluster_holds_without_its_login() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::open(dir.path().join("lab")).unwrap();
    let cluster = "endpoints: [nowhere.invalid]\nlogin: { user: root@pam, password: { file: none } }\nlink: pve_shell\n\
                   nodes: { pve2: { link: pve_shell, vars: { colour: blue } } }\n\
                   groups: { mine: { hosts: [pve2], vars: { net: 7 } } }\n";
    let (inventory_file, playbook) = (dir.path().join("cluster.yml"), dir.path().join("site.yml"));
    std::fs::write(&inventory_file, cluster).unwrap();
    std::fs::write(&playbook, "- hosts: mine\n  tasks:\n    - assert: { that: \"colour == 'blue' and net == 7\" }\n")
        .unwrap();
    let given = [inventory_file.display().to_string()];
    let run = run(&lab, Mode::Check, &playbook, &given);
    assert_eq!((run.exit, run.results.len(), run.results[0].host.as_str()), (0, 1, ME), "{:#?}", run.results);
    // The others by ssh, whatever link the file names for workstations.
    let (inventory, hosts) = ground(&lab, &given, &playbook);
    assert!(hosts.is_here(ME) && ["pve1", "pve3"].iter().all(|node| hosts.is_by_ssh(node)));
    assert_eq!(inventory.groups["nodes"].len(), 3);
}

#[test]
fn a_machine_that_is_no_node_says_so() {
    if Path::new("/usr/bin/pvesh").exists() {
        eprintln!("skipped: this is a node");
        return;
    }
    let playbook = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/drbd-nfs.yml");
    let output = Command::new(env!("CARGO_BIN_EXE_converge")).args(["check", "--on-node", playbook]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("pvesh is not installed") && said.contains("-i"), "{said}");
}

#[test]
fn a_schedule_comes_to_every_node_follows_its_folder_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::open(dir.path().join("lab")).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("site/site.yml", "- hosts: nodes\n  tasks: []\n");
    write("site/vars/old.yml", "a: 1\n");
    let playbook = dir.path().join("schedule.yml");
    let play = |args: &str| {
        std::fs::write(&playbook, format!("- hosts: nodes\n  tasks:\n    - drift_schedule: {{ {args} }}\n")).unwrap();
        run(&lab, Mode::Apply, &playbook, &[])
    };
    let said = |node: &str, line: &str| lab.run_line(node, line).unwrap().stdout;
    let present = "name: n, src: site/, playbooks: site.yml, every: hourly";

    // Somebody else's unit of that name is left alone, and the others get theirs.
    lab.run_line(
        "pve3",
        "sh -c \"printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/converge-n.service\"",
    )
    .unwrap();
    let first = play(present);
    let outcomes: Vec<String> = first.results.iter().map(|r| format!("{} {:?}", r.host, r.outcome)).collect();
    assert_eq!(
        (first.exit, outcomes.join(", ").as_str()),
        (1, "pve1 Changed, pve2 Changed, pve3 Blocked"),
        "{:#?}",
        first.results
    );
    assert!(first.results[2].summary.contains("was not written by converge"), "{}", first.results[2].summary);
    assert_eq!(said("pve1", "systemctl is-active converge-n.timer").trim(), "active");
    assert_eq!(said("pve1", "systemctl is-enabled converge-n.timer").trim(), "enabled");
    lab.run_line("pve3", "rm /etc/systemd/system/converge-n.service").unwrap();
    assert_eq!(play(present).moved().len(), 1);

    std::fs::remove_file(dir.path().join("site/vars/old.yml")).unwrap();
    std::fs::remove_dir(dir.path().join("site/vars")).unwrap();
    write("site/site.yml", "- hosts: cluster\n  tasks: []\n");
    let changed = play(present);
    assert_eq!((changed.exit, changed.moved().len()), (0, 3), "{:#?}", changed.results);
    assert!(said("pve2", "cat /etc/converge/schedules/n/site.yml").contains("hosts: cluster"));
    assert!(!said("pve2", "ls /etc/converge/schedules/n").contains("vars"));
    assert!(play(present).moved().is_empty());

    let gone = play("name: n, state: absent");
    assert_eq!((gone.exit, gone.moved().len()), (0, 3), "{:#?}", gone.results);
    assert_ne!(lab.run_line("pve1", "test -e /etc/systemd/system/converge-n.timer").unwrap().rc, 0);
    assert_ne!(lab.run_line("pve1", "test -e /etc/converge/schedules/n").unwrap().rc, 0);
    assert!(play("name: n, state: absent").moved().is_empty());
}
