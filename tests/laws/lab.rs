//! The same laws for kinds that look at several hosts, at the API, or need more of a node than stand-ins play: the
//! example as a play on the embedded cluster, through loader, fleet, wire and agents.

#[path = "../support/mod.rs"]
mod support;

use crate::grounds::{GROUNDS, Ground, Lab as OnLab};
use crate::tree;
use converge::diagnostic::Sources;
use converge::event::{Event, Mode};
use converge::fleet::{Fleet, Options};
use converge::inventory::Inventory;
use converge::lab::Lab;
use converge::link::LabHosts;
use converge::playbook::{self, Context, Known};
use converge::tasks::registry;
use support::{Recorder, Run};

fn run(lab: &Lab, mode: Mode, text: &str) -> Run {
    let inventory = Inventory::cluster(lab.host_names().unwrap());
    let known = Known {
        hosts: inventory.hosts.iter().cloned().collect(),
        groups: inventory.groups.keys().cloned().chain(["all".to_owned()]).collect(),
        ..Known::default()
    };
    let context = Context { inventory: Some(known), ..Context::default() };
    let mut sources = Sources::default();
    let loaded = playbook::parse_str("law.yml", text, &mut sources, &context)
        .unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)));
    let (connect, options, mut recorder) = (LabHosts::new(lab.clone()), Options::default(), Recorder::default());
    let exit = Fleet::new(mode, &options, &inventory, &context, &connect, sources, &mut recorder).run(&[loaded]);
    let mut run = Run { exit, results: Vec::new(), notes: Vec::new() };
    for event in recorder.events {
        match event {
            Event::Result(result) => run.results.push(result),
            Event::Note { message } => run.notes.push(message),
            _ => {}
        }
    }
    run
}

fn told(run: &Run) -> String {
    run.results.iter().map(|r| format!("\n    {} {}: {:?}: {}", r.host, r.task, r.outcome, r.summary)).collect()
}

/// Everything of the lab but the certificates, tickets and secrets that serving its API leaves.
fn state(lab: &Lab) -> impl PartialEq + use<> {
    let world = lab.look(|world| serde_json::to_value(world).unwrap()).unwrap();
    let files = tree(&lab.dir().join("nodes"));
    (world["nodes"].clone(), world["drbd"].clone(), world["filesystems"].clone(), world["guests"].clone(), files)
}

fn hold(kind: &registry::Kind, ground: &OnLab) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::open(dir.path().join("lab")).unwrap();
    for play in ground.before {
        let laid = run(&lab, Mode::Apply, play);
        if laid.exit != 0 {
            return Err(format!("its ground cannot be laid:{}", told(&laid)));
        }
    }
    let indented: String = kind.example.lines().map(|line| format!("    {line}\n")).collect();
    let play = format!("- hosts: {}\n  tasks:\n{indented}", ground.hosts);

    let before = state(&lab);
    let check = run(&lab, Mode::Check, &play);
    if state(&lab) != before {
        return Err("check changed something".into());
    }
    let first = run(&lab, Mode::Apply, &play);
    if first.exit != 0 || first.moved().is_empty() {
        return Err(format!("apply ended with {}:{}", first.exit, told(&first)));
    }
    if check.moved() != first.moved() {
        return Err(format!("check and apply differ:{}{}", told(&check), told(&first)));
    }
    let second = run(&lab, Mode::Apply, &play);
    if second.exit != 0 || !second.moved().is_empty() {
        return Err(format!("the second apply was not idle:{}", told(&second)));
    }
    let last = run(&lab, Mode::Check, &play);
    if last.exit != 0 {
        return Err(format!("check finds drift after an apply:{}", told(&last)));
    }
    Ok(())
}

#[test]
fn the_laws_hold_on_the_embedded_cluster() {
    let mut broken = Vec::new();
    for (name, ground) in GROUNDS {
        let (Ground::Lab(ground), Some(kind)) = (ground, registry::find(name)) else { continue };
        if let Err(why) = hold(kind, ground) {
            broken.push(format!("{name}: {why}"));
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}
