//! The reference system on the embedded cluster, through the real binary: what check predicts is what apply does, and
//! a second apply changes nothing, from the fresh cluster and from any state in between.

use std::collections::BTreeSet;
use std::path::Path;
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

fn converge(lab: &Path, command: &str, more: &[&str]) -> Ran {
    let playbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/drbd-nfs.yml");
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

/// What may have happened before: parts of the playbook on some nodes, and faults that an apply heals.
#[derive(Debug, Clone)]
enum Before {
    Apply { tags: &'static str },
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
