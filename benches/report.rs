//! All forms of a drift report of 300 hosts × 100 tasks with 5 % drift. Aim: all written in well under a second.

use converge::drift::forms;
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

#[path = "../tests/support/drift.rs"]
mod drift;

fn all(c: &mut Criterion) {
    let report = drift::large(300, 100);
    let mut group = c.benchmark_group("report of 300 hosts x 100 tasks, 5 % drift");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    group.bench_function("json", |b| b.iter(|| forms::json(&report).len()));
    group.bench_function("page", |b| b.iter(|| forms::html(&report).len()));
    group.bench_function("metrics", |b| b.iter(|| forms::prometheus(&report).len()));
    group.bench_function("junit", |b| b.iter(|| forms::junit(&report).len()));
    let dir = tempfile::tempdir().expect("a temporary directory");
    group.bench_function("all, written to files", |b| {
        b.iter(|| {
            let texts = [forms::json(&report), forms::html(&report), forms::prometheus(&report), forms::junit(&report)];
            for (n, text) in texts.iter().enumerate() {
                std::fs::write(dir.path().join(n.to_string()), text).expect("written");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
