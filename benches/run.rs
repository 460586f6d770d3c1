//! A run of 40 tasks that changes nothing, on 3, 30 and 300 lab hosts, beside the work of the hosts alone. Aim: the
//! engine costs under 50 µs a task and host beyond the host's own work, and grows linearly.

use converge::diagnostic::Sources;
use converge::event::{Event, Mode, Outcome, Reporter};
use converge::fleet::{Fleet, Options};
use converge::inventory::Inventory;
use converge::lab::{Flavour, Lab};
use converge::link::LabHosts;
use converge::playbook::{Context, Item, parse_str};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

const TASKS: usize = 40;

fn playbook() -> String {
    let mut text = String::from("- hosts: nodes\n  vars: { port: 7000 }\n  tasks:\n");
    for n in 0..TASKS {
        text.push_str(&format!(
            "    - name: file {n}\n      copy: {{ dest: /srv/f{n}, content: \"port={{{{ port }}}} {n}\\n\", mode: '0644' }}\n"
        ));
    }
    text
}

/// Says only what must not happen.
struct Silent;

impl Reporter for Silent {
    fn event(&mut self, event: &Event) {
        if let Event::Result(result) = event
            && result.outcome > Outcome::Skipped
        {
            eprintln!("{result:?}");
        }
    }
}

fn no_change(c: &mut Criterion) {
    let mut group = c.benchmark_group("40 tasks, nothing changes");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    for hosts in [3_u32, 30, 300] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lab = Lab::with_nodes(dir.path(), hosts, Flavour::default()).expect("a fresh lab");
        let inventory = Inventory::cluster(lab.host_names().expect("host names"));
        let connect = LabHosts::new(lab.clone());
        let context = Context::default();
        let mut sources = Sources::default();
        let loaded = parse_str("bench.yml", &playbook(), &mut sources, &context).expect("a right playbook");
        let options = Options::default();
        let run = |mode: Mode| {
            let mut silent = Silent;
            Fleet::new(mode, &options, &inventory, &context, &connect, sources.clone(), &mut silent)
                .run(std::slice::from_ref(&loaded))
        };
        assert_eq!(run(Mode::Apply), 0);
        group.throughput(Throughput::Elements(u64::from(hosts) * TASKS as u64));
        group.bench_with_input(BenchmarkId::new("run", hosts), &hosts, |b, _| {
            b.iter(|| assert_eq!(run(Mode::Check), 0))
        });
        // The same looks and decisions, straight on the hosts: what any engine would have to pay.
        let tasks: Vec<_> = loaded.plays[0]
            .tasks
            .iter()
            .filter_map(|item| match item {
                Item::Task(def) => Some(
                    (def.kind.from_json)(serde_json::json!({
                        "dest": format!("/srv/f{}", def.name.rsplit(' ').next()?),
                        "content": format!("port=7000 {}\n", def.name.rsplit(' ').next()?),
                        "mode": "0644",
                    }))
                    .expect("copy's arguments"),
                ),
                _ => None,
            })
            .collect();
        let nodes: Vec<_> = inventory.groups["nodes"].iter().filter_map(|n| lab.node(n)).collect();
        group.bench_with_input(BenchmarkId::new("hosts alone", hosts), &hosts, |b, _| {
            b.iter(|| {
                for node in &nodes {
                    for task in &tasks {
                        task.look_and_decide(node).expect("a look");
                    }
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, no_change);
criterion_main!(benches);
