//! Reading and proving a playbook of 1,000 tasks. Aim: 10 ms.

use converge::diagnostic::Sources;
use converge::playbook::{Context, parse_str};
use criterion::{Criterion, criterion_group, criterion_main};
use std::fmt::Write as _;
use std::hint::black_box;

fn playbook(tasks: usize) -> String {
    let mut text = String::from("- hosts: all\n  vars: { port: 7000, name: nfs1 }\n  tasks:\n");
    for n in 0..tasks {
        let _ = match n % 4 {
            0 => write!(
                text,
                "    - name: file {n}\n      copy:\n        dest: /etc/app/{n}.conf\n        content: \"port={{{{ port }}}}\"\n        mode: \"0644\"\n"
            ),
            1 => write!(
                text,
                "    - name: line {n}\n      lineinfile: {{ path: /etc/app/{n}.conf, line: 'x', regexp: '^x' }}\n      when: port > {n}\n"
            ),
            2 => write!(
                text,
                "    - name: unit {n}\n      command: echo {n}\n      register: said_{n}\n      changed_when: said_{n}.rc != 0\n"
            ),
            _ => write!(
                text,
                "    - name: dir {n}\n      file: {{ path: '/srv/{{{{ name }}}}/{n}', state: directory }}\n      tags: [a, b]\n"
            ),
        };
    }
    text
}

fn validate(c: &mut Criterion) {
    let text = playbook(1000);
    c.bench_function("parse and validate 1,000 tasks", |b| {
        b.iter(|| {
            let mut sources = Sources::default();
            let loaded = parse_str("bench.yml", black_box(&text), &mut sources, &Context::default());
            match loaded {
                Ok(playbook) => playbook,
                Err(faults) => panic!("{}", sources.show(&faults, false)),
            }
        });
    });
}

criterion_group!(benches, validate);
criterion_main!(benches);
