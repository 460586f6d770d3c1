//! What ten thousand runs of history cost: every question to it, and one more run.
//!
//! Aim: under 50 ms each.

use converge::drift::history::{Facts, History};
use converge::event::{Outcome, TaskResult, Totals};
use criterion::{Criterion, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::hint::black_box;

const RUNS: i64 = 10_000;
const FINDINGS: usize = 100;
const T0: i64 = 1_800_000_000;

fn result(at: usize, outcome: Outcome) -> TaskResult {
    TaskResult {
        play: "Nodes".into(),
        task: format!("Keep {at}"),
        kind: "copy".into(),
        host: format!("pve{}", at % 10),
        item: None,
        outcome,
        summary: "write /etc/file".into(),
        diff: "--- /etc/file\n+++ /etc/file\n@@ -1 +1 @@\n-old\n+new\n".into(),
        provisional: false,
        provisional_reason: None,
        warnings: Vec::new(),
        took_ms: 1,
        place: "site.yml:10".into(),
        delegated_to: None,
        object: format!("/etc/file{at}"),
        handler: false,
        ignored: false,
    }
}

/// Some findings come and go, most stay.
fn facts(run: i64) -> Facts {
    let results = (0..FINDINGS)
        .map(|at| {
            let comes_and_goes = at % 20 == usize::try_from(run).unwrap_or(0) % 20;
            result(at, if comes_and_goes { Outcome::Ok } else { Outcome::Drifted })
        })
        .collect();
    Facts {
        started: T0 + run * 3600,
        ended: T0 + run * 3600 + 5,
        took_ms: 5000,
        playbooks: vec!["site.yml".into()],
        hosts: (0..10).map(|n| format!("pve{n}")).collect(),
        totals: Totals::default(),
        exit: 3,
        untold: 0,
        results,
        notes: Vec::new(),
        traces: BTreeMap::new(),
        by: "ws".into(),
        heal: String::new(),
    }
}

fn history(criterion: &mut Criterion) {
    // In memory, or filling it would be a test of the disk.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let mut history = History::open(dir.path()).expect("a new history");
    for run in 0..RUNS {
        history.record(facts(run), |_, _| Ok(())).expect("recorded");
    }
    let disk = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(dir.path()).expect("readable").flatten() {
        std::fs::copy(entry.path(), disk.path().join(entry.file_name())).expect("copied");
    }
    let mut history = History::open(disk.path()).expect("the same history");
    let now = T0 + RUNS * 3600;
    let id = history.list(false, now).expect("listed")[0].id.clone();
    let mut group = criterion.benchmark_group(format!("history of {RUNS} runs"));
    group.bench_function("open", |b| b.iter(|| History::open(black_box(disk.path())).expect("opened")));
    group.bench_function("list", |b| b.iter(|| history.list(black_box(true), now).expect("listed")));
    group.bench_function("show one finding", |b| b.iter(|| history.entry(black_box(&id), now).expect("found")));
    let mut run = RUNS;
    group.bench_function(format!("record a run with {FINDINGS} findings"), |b| {
        b.iter(|| {
            run += 1;
            history.record(facts(run), |_, _| Ok(())).expect("recorded")
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = history
}
criterion_main!(benches);
