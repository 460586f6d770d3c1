//! A check over a distant link: what it asks leaves together, and what depends on an answer waits for it.

mod support;

use converge::agent;
use converge::event::{Mode, Outcome};
use converge::host::Local;
use converge::link::{Connect, Link, LinkError};
use std::io::{BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::Bed;

/// How long nothing is asked until the far end's answers are let through. Longer than the controller thinks.
const QUIET: Duration = Duration::from_millis(60);

/// One host, `a`, whose answers are held back until nothing more is asked: each release is a round trip.
struct Distant {
    root: PathBuf,
    trips: Arc<AtomicUsize>,
}

impl Connect for Distant {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        let (mut asked, near_out) = std::io::pipe().unwrap();
        let (agent_in, mut to_agent) = std::io::pipe().unwrap();
        let (mut answered, mut agent_out) = std::io::pipe().unwrap();
        let (near_in, mut to_near) = std::io::pipe().unwrap();
        let (name, root) = (host.to_owned(), self.root.join(host));
        std::fs::create_dir_all(&root).unwrap();
        std::thread::spawn(move || {
            let local = Local::rooted(name, root).with_programs(Box::new(support::programs));
            agent::serve(&mut BufReader::new(agent_in), &mut agent_out, Box::new(local), mode)
        });
        let last_asked = Arc::new(Mutex::new(Instant::now()));
        let held = Arc::new(Mutex::new(Some(Vec::new())));
        let noted = last_asked.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 65536];
            while let Ok(n @ 1..) = asked.read(&mut bytes) {
                *noted.lock().unwrap() = Instant::now();
                to_agent.write_all(&bytes[..n]).unwrap();
            }
        });
        let collected = held.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 65536];
            while let Ok(n @ 1..) = answered.read(&mut bytes) {
                collected.lock().unwrap().as_mut().unwrap().extend_from_slice(&bytes[..n]);
            }
            collected.lock().unwrap().take();
        });
        let trips = self.trips.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(5));
                let mut held = held.lock().unwrap();
                let Some(bytes) = held.as_mut() else { return };
                if !bytes.is_empty() && last_asked.lock().unwrap().elapsed() > QUIET {
                    trips.fetch_add(1, Ordering::Relaxed);
                    if to_near.write_all(&std::mem::take(bytes)).is_err() {
                        return;
                    }
                }
            }
        });
        Link::open(host, BufReader::new(near_in), near_out)
    }
}

fn check(bed: &Bed, playbook: &str) -> (support::Run, usize) {
    let trips = Arc::new(AtomicUsize::new(0));
    let connect = Distant { root: bed.dir.path().join("hosts"), trips: trips.clone() };
    let file = bed.dir.path().join("site.yml");
    std::fs::write(&file, playbook).unwrap();
    let run = bed.run_over(Mode::Check, &file, &connect);
    (run, trips.load(Ordering::Relaxed))
}

fn files(from: usize, to: usize) -> String {
    (from..to).map(|n| format!("    - copy: {{ dest: /f{n}, content: '{{{{ x }}}} {n}' }}\n")).collect()
}

#[test]
fn forty_tasks_take_as_many_round_trips_as_one() {
    let bed = Bed::new();
    let head = "- hosts: a\n  vars: { x: 1 }\n  tasks:\n";
    let (one, trips_of_one) = check(&bed, &format!("{head}{}", files(0, 1)));
    let (forty, trips_of_forty) = check(&bed, &format!("{head}{}", files(0, 40)));
    assert_eq!((one.results.len(), forty.results.len()), (1, 40));
    assert!(forty.results.iter().all(|r| r.outcome == Outcome::Drifted), "{:?}", forty.lines());
    // The greeting, what earlier runs owe, the tasks; one more where this machine was busy elsewhere.
    assert!(trips_of_one <= 4 && trips_of_forty <= 6, "{trips_of_one} {trips_of_forty}");
}

#[test]
fn what_depends_on_an_answer_waits_for_it() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.path("a", "/etc")).unwrap();
    std::fs::write(bed.path("a", "/etc/there"), "x").unwrap();
    let playbook = "
- hosts: a
  tasks:
    - name: before
      copy: { dest: /before, content: '1' }
    - name: look
      stat: { path: /etc/there }
      register: there
    - name: if it is there
      copy: { dest: /yes, content: '{{ there.stat.exists }}' }
      when: there.stat.exists
    - name: if it is not
      copy: { dest: /no, content: x }
      when: not there.stat.exists
    - name: a fact
      set_fact: { word: '{{ there.stat.exists }}' }
    - name: the fact
      copy: { dest: '/word-{{ word }}', content: x }
    - name: gathered
      copy: { dest: '/on-{{ ansible_kernel }}', content: x }
    - name: after
      copy: { dest: /after, content: x }
";
    let near = bed.check(playbook);
    let (far, _) = check(&bed, playbook);
    assert_eq!(near.lines(), far.lines());
    assert_eq!(far.of("if it is there").outcome, Outcome::Drifted);
    assert_eq!(far.of("if it is not").outcome, Outcome::Skipped);
    assert_eq!(
        near.results.iter().map(|r| &r.summary).collect::<Vec<_>>(),
        far.results.iter().map(|r| &r.summary).collect::<Vec<_>>()
    );
}

#[test]
fn answers_that_nobody_waits_for_any_more_are_not_taken_for_others() {
    let bed = Bed::new();
    let playbook = "
- hosts: a
  tasks:
    - name: one
      copy: { dest: /one, content: x }
    - name: stop here
      fail: { msg: not today }
    - name: never
      copy: { dest: /never, content: x }
    - name: nor this
      copy: { dest: /nor, content: x }
- hosts: a
  tasks:
    - block:
        - name: asked
          fail: { msg: again }
        - name: not reached
          copy: { dest: /not-reached, content: x }
      rescue:
        - name: rescued
          copy: { dest: /rescued, content: x }
";
    let cleared = playbook.replace(
        "- hosts: a\n  tasks:\n    - block",
        "    - meta: clear_host_errors\n- hosts: a\n  tasks:\n    - block",
    );
    for text in [playbook, &cleared] {
        let near = bed.check(text);
        let (far, _) = check(&bed, text);
        assert_eq!(near.lines(), far.lines());
        assert!(far.results.iter().all(|r| r.task != "never" && r.task != "not reached"), "{:?}", far.lines());
    }
}
