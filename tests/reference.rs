//! The reference system on the embedded cluster, through the real binary: what check predicts is what apply does, and
//! a second apply changes nothing, from the fresh cluster and from any state in between.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::Value as Json;

const BINARY: &str = env!("CARGO_BIN_EXE_converge");

struct Ran {
    exit: i32,
    json: Json,
    stderr: String,
}

impl Ran {
    fn results(&self) -> &[Json] {
        self.json["results"].as_array().map_or(&[], Vec::as_slice)
    }

    /// (task, host) that would change or were changed.
    fn moved(&self) -> BTreeSet<(String, String)> {
        self.results()
            .iter()
            .filter(|r| matches!(r["outcome"].as_str(), Some("drifted" | "changed")))
            .map(|r| (text(&r["task"]), text(&r["host"])))
            .collect()
    }

    fn with(&self, outcomes: &[&str]) -> Vec<String> {
        let wanted = |r: &&Json| r["outcome"].as_str().is_some_and(|o| outcomes.contains(&o));
        self.results()
            .iter()
            .filter(wanted)
            .map(|r| {
                format!("{} on {} {}: {}", text(&r["task"]), text(&r["host"]), text(&r["outcome"]), text(&r["summary"]))
            })
            .collect()
    }
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn playbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks")
}

fn converge(lab: &Path, command: &str, more: &[&str]) -> Ran {
    converge_with(&playbooks().join("drbd-nfs.yml"), lab, command, more)
}

fn converge_with(playbook: &Path, lab: &Path, command: &str, more: &[&str]) -> Ran {
    let output = Command::new(BINARY)
        .arg(command)
        .arg(playbook)
        .arg(format!("--lab={}", lab.display()))
        .args(["-o", "json"])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        exit: output.status.code().unwrap_or(-1),
        json: serde_json::from_slice(&output.stdout).unwrap_or(Json::Null),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

const MADE: &str = "A file system that only one node can mount";

/// Applies the playbook without the task that makes the file system: DRBD is up, and the container cannot be made.
fn apply_without_the_file_system(lab: &Path) {
    let temp = tempfile::tempdir().unwrap();
    let vars = temp.path().join("vars");
    std::fs::create_dir(&vars).unwrap();
    std::fs::copy(playbooks().join("vars/drbd-nfs.yml"), vars.join("drbd-nfs.yml")).unwrap();
    let whole = std::fs::read_to_string(playbooks().join("drbd-nfs.yml")).unwrap();
    let (before, task) = whole.split_once(&format!("    - name: {MADE}\n")).unwrap();
    let (_, after) = task.split_once("\n\n").unwrap();
    let playbook = temp.path().join("drbd-nfs.yml");
    std::fs::write(&playbook, format!("{before}\n{after}")).unwrap();
    converge_with(&playbook, lab, "apply", &[]);
}

fn break_it(lab: &Path, scenario: &str) {
    let output = Command::new(BINARY).args(["lab", "break", scenario, "--dir"]).arg(lab).output().unwrap();
    assert!(output.status.success(), "lab break {scenario}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_reference_system_converges_as_predicted_and_stays() {
    let temp = tempfile::tempdir().unwrap();
    let lab = temp.path().join("lab");
    let check = converge(&lab, "check", &[]);
    assert_eq!(check.exit, 3, "{}\n{:#}", check.stderr, check.json);
    let apply = converge(&lab, "apply", &[]);
    assert_eq!(apply.exit, 0, "{}\n{:#?}", apply.stderr, apply.with(&["failed", "blocked", "unreachable"]));
    assert_eq!(check.moved(), apply.moved());
    let again = converge(&lab, "apply", &[]);
    assert_eq!((again.exit, again.moved().len()), (0, 0), "{:#?}", again.with(&["changed", "failed", "blocked"]));
    let clean = converge(&lab, "check", &[]);
    assert_eq!((clean.exit, clean.moved().len()), (0, 0), "{:#?}", clean.with(&["drifted", "failed", "blocked"]));
}

#[test]
fn a_file_system_yet_to_be_made_does_not_hide_what_needs_it() {
    let temp = tempfile::tempdir().unwrap();
    let lab = temp.path().join("lab");
    apply_without_the_file_system(&lab);
    let check = converge(&lab, "check", &[]);
    assert_eq!(check.exit, 3, "{}\n{:#?}", check.stderr, check.with(&["failed", "blocked"]));
    let container = check.results().iter().find(|r| r["task"] == "Container 101").unwrap();
    assert_eq!((&container["outcome"], &container["provisional"]), (&"drifted".into(), &true.into()), "{container:#}");
    let words = text(&container["summary"]);
    assert!(words.contains("has no file system yet") && !words.contains("dumpe2fs"), "{words}");
    let apply = converge(&lab, "apply", &[]);
    assert_eq!(apply.exit, 0, "{:#?}", apply.with(&["failed", "blocked", "unreachable"]));
    assert!(apply.moved().contains(&(MADE.to_owned(), "pve1".to_owned())));
    assert_eq!(check.moved(), apply.moved());
}

#[test]
fn a_file_system_on_one_replica_puts_the_others_in_doubt() {
    let temp = tempfile::tempdir().unwrap();
    let lab = temp.path().join("lab");
    apply_without_the_file_system(&lab);
    let playbook = temp.path().join("here-and-there.yml");
    let task = |name: &str, hosts: &str| {
        let args = "{ dev: /dev/drbd100, fstype: ext4 }";
        format!("- hosts: {hosts}\n  tasks:\n    - name: {name}\n      filesystem: {args}\n")
    };
    let whole = task("here", "pve1") + &task("there", "pve2");
    std::fs::write(&playbook, whole).unwrap();
    let check = converge_with(&playbook, &lab, "check", &[]);
    let provisional = |name: &str| check.results().iter().find(|r| r["task"] == name).unwrap()["provisional"].clone();
    assert_eq!((provisional("here"), provisional("there")), (false.into(), true.into()), "{:#}", check.json);
    let apply = converge_with(&playbook, &lab, "apply", &[]);
    assert_eq!(apply.moved(), BTreeSet::from([("here".to_owned(), "pve1".to_owned())]), "{:#}", apply.json);
}

/// What may have happened before: parts of the playbook on some nodes, and faults that an apply heals.
#[derive(Debug, Clone)]
enum Before {
    Apply { tags: &'static str },
    ApplyWithoutFileSystem,
    Break(&'static str),
}

const HEALED: &[&str] = &[
    "edited-res",
    "service-disabled",
    "ha-group-edited",
    "export-removed",
    "nfs-stopped",
    "repository-gone",
    "disk-failed",
];

fn before() -> impl Strategy<Value = Vec<Before>> {
    let applied = prop::sample::select(vec!["packages", "packages,drbd", "packages,drbd,container", "all"])
        .prop_map(|tags| Before::Apply { tags });
    let applied = prop_oneof![4 => applied, 1 => Just(Before::ApplyWithoutFileSystem)];
    let broken = prop::sample::subsequence(HEALED.to_vec(), 0..=3).prop_shuffle();
    (prop::collection::vec(applied, 0..3), broken).prop_map(|(mut all, broken)| {
        if !broken.is_empty() {
            // Only what is there can be broken.
            all.push(Before::Apply { tags: "all" });
            all.extend(broken.into_iter().map(Before::Break));
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn from_any_state_check_predicts_apply(history in before()) {
        let temp = tempfile::tempdir().unwrap();
        let lab = temp.path().join("lab");
        for step in &history {
            match step {
                Before::Apply { tags } => drop(converge(&lab, "apply", &["--tags", tags])),
                Before::ApplyWithoutFileSystem => apply_without_the_file_system(&lab),
                Before::Break(scenario) => break_it(&lab, scenario),
            }
        }
        let check = converge(&lab, "check", &[]);
        prop_assert!(matches!(check.exit, 0 | 3), "check: {} {:#?}", check.stderr, check.with(&["failed", "blocked"]));
        let apply = converge(&lab, "apply", &[]);
        prop_assert_eq!(apply.exit, 0, "apply: {:#?}", apply.with(&["failed", "blocked", "unreachable"]));
        prop_assert_eq!(check.moved(), apply.moved());
        let clean = converge(&lab, "check", &[]);
        prop_assert_eq!(clean.exit, 0, "{:#?}", clean.with(&["drifted", "failed", "blocked"]));
    }
}
