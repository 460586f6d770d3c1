//! The words around tasks do what Ansible's do, and none is read and then forgotten.

mod support;

use converge::event::Outcome;
use support::Bed;

const TRIP_ON_B: &str = "command: 'false'\n      changed_when: false\n      when: inventory_hostname == 'b'";

fn hosts_with(bed: &Bed, path: &str) -> Vec<&'static str> {
    ["a", "b", "c"].into_iter().filter(|host| bed.read(host, path).is_some()).collect()
}

#[test]
fn force_handlers_runs_them_where_a_task_failed_and_the_failure_stays() {
    for (forced, restarted) in [(true, vec!["a", "b", "c"]), (false, vec!["a", "c"])] {
        let bed = Bed::new();
        let run = bed.apply(&format!(
            "
- hosts: nodes
  force_handlers: {forced}
  tasks:
    - {{ name: change, copy: {{ dest: /conf, content: x }}, notify: restart }}
    - name: trip
      {TRIP_ON_B}
  handlers:
    - {{ name: restart, copy: {{ dest: /restarted, content: x }} }}
- hosts: nodes
  tasks:
    - {{ name: next, copy: {{ dest: /next, content: x }} }}
"
        ));
        assert_eq!(run.exit, 1, "{:?}", run.lines());
        assert_eq!(hosts_with(&bed, "/restarted"), restarted);
        assert_eq!(hosts_with(&bed, "/next"), ["a", "c"]);
        assert_eq!(run.notes.iter().any(|n| n.contains("still owed")), !forced, "{:?}", run.notes);
    }
}

#[test]
fn any_errors_fatal_of_a_task_or_block_stops_everybody() {
    for fatal in ["task", "block"] {
        let (of_task, of_block) = (fatal == "task", fatal == "block");
        let bed = Bed::new();
        let run = bed.apply(&format!(
            "
- hosts: nodes
  tasks:
    - any_errors_fatal: {of_block}
      block:
        - name: trip
          any_errors_fatal: {}
          command: 'false'
          when: inventory_hostname == 'b'
          changed_when: false
        - {{ name: inside, copy: {{ dest: /inside, content: x }} }}
      always:
        - {{ name: always, copy: {{ dest: /always, content: x }} }}
    - {{ name: after, copy: {{ dest: /after, content: x }} }}
- hosts: nodes
  tasks:
    - {{ name: next, copy: {{ dest: /next, content: x }} }}
",
            of_task || of_block
        ));
        assert_eq!(run.exit, 1, "{:?}", run.lines());
        assert_eq!(hosts_with(&bed, "/always"), ["a", "b", "c"], "{fatal}");
        for path in ["/inside", "/after", "/next"] {
            assert!(hosts_with(&bed, path).is_empty(), "{fatal} {path}: {:?}", run.lines());
        }
    }
}

#[test]
fn a_rescue_of_what_was_fatal_sees_everybody_and_the_play_goes_on() {
    let bed = Bed::new();
    let run = bed.apply(&format!(
        "
- hosts: nodes
  any_errors_fatal: true
  tasks:
    - block:
        - name: trip
          {}
        - {{ name: inside, copy: {{ dest: /inside, content: x }} }}
      rescue:
        - {{ name: rescue, copy: {{ dest: /rescued, content: x }} }}
    - {{ name: after, copy: {{ dest: /after, content: x }} }}
",
        TRIP_ON_B.replace("\n      ", "\n          ")
    ));
    assert_eq!(run.exit, 0, "{:?}", run.lines());
    assert!(hosts_with(&bed, "/inside").is_empty());
    assert_eq!(hosts_with(&bed, "/rescued"), ["a", "b", "c"]);
    assert_eq!(hosts_with(&bed, "/after"), ["a", "b", "c"]);
}

#[test]
fn an_unreachable_host_is_let_go_where_the_task_says_so_and_tried_again() {
    let mut bed = Bed::new();
    bed.down.push("b".into());
    let playbook = |second: bool| {
        format!(
            "
- hosts: nodes
  tasks:
    - {{ name: first, copy: {{ dest: /first, content: x }}, ignore_unreachable: true, register: r }}
    - {{ name: known, debug: {{ msg: '{{{{ r.unreachable | default(false) }}}}' }}, delegate_to: localhost }}
    - {{ name: second, copy: {{ dest: /second, content: x }}, ignore_unreachable: {second} }}
"
        )
    };
    let run = bed.apply(&playbook(true));
    assert_eq!(run.exit, 0, "{:?}", run.lines());
    let of_b: Vec<_> = run.results.iter().filter(|r| r.host == "b").collect();
    let outcomes: Vec<_> = of_b.iter().map(|r| (r.outcome, r.ignored)).collect();
    let (lost, fine) = ((Outcome::Unreachable, true), (Outcome::Ok, false));
    assert_eq!(outcomes, [lost, fine, lost], "{of_b:?}");
    assert!(of_b[1].summary.to_lowercase().contains("true"), "{:?}", of_b[1]);
    let run = bed.apply(&playbook(false));
    assert_eq!(run.exit, 4, "{:?}", run.lines());
}

#[test]
fn extended_loops_retries_without_until_and_tags_of_meta() {
    let mut bed = Bed::new();
    bed.options.tags.insert("wanted".into());
    let run = bed.apply(
        "
- hosts: a
  tags: [wanted]
  tasks:
    - name: count
      copy: { dest: '/{{ item }}', content: '{{ ansible_loop.index }}/{{ ansible_loop.length }} {{ ansible_loop.last }} {{ ansible_loop.previtem | default(0) }}' }
      loop: [x, y]
      loop_control: { extended: true, label: '{{ ansible_loop.index0 }}' }
    - { name: trip, command: 'false', retries: 2, delay: 0, ignore_errors: true, changed_when: false }
- hosts: b
  tasks:
    - { meta: end_play, tags: [other] }
    - { name: after, copy: { dest: /after, content: x }, tags: [wanted] }
",
    );
    assert_eq!(run.exit, 0, "{:?}", run.lines());
    assert_eq!(bed.read("a", "/y").unwrap(), "2/2 True x");
    let labels: Vec<_> = run.results.iter().filter_map(|r| r.item.as_deref()).collect();
    assert_eq!(labels, ["0", "1"]);
    assert!(run.of("trip").summary.contains("after 3 tries"), "{:?}", run.of("trip"));
    assert_eq!(hosts_with(&bed, "/after"), ["b"]);
}

#[test]
fn cleared_facts_are_gathered_again() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.path("a", "/etc")).unwrap();
    std::fs::write(bed.path("a", "/etc/os-release"), "ID=debian\nVERSION_CODENAME=bookworm\n").unwrap();
    let run = bed.apply(
        "
- hosts: a
  gather_facts: true
  tasks:
    - copy: { dest: /etc/os-release, content: \"ID=debian\\nVERSION_CODENAME=trixie\\n\" }
    - copy: { dest: /before, content: '{{ ansible_distribution_release }}' }
    - meta: clear_facts
    - copy: { dest: /after, content: '{{ ansible_distribution_release }}' }
",
    );
    assert_eq!(run.exit, 0, "{:#?}", run.results);
    let read = |path: &str| bed.read("a", path).unwrap();
    assert_eq!((read("/before"), read("/after")), ("bookworm".into(), "trixie".into()));
}

/// A word that the parser keeps in the model must be asked for by what runs plays; one that is not was forgotten.
#[test]
fn every_word_that_is_read_is_used() {
    let model = std::fs::read_to_string("src/playbook/model.rs").unwrap();
    let mut runner = String::new();
    for entry in std::fs::read_dir("src/fleet").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "rs") {
            runner.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let used = |owner: &str, field: &str| {
        runner.match_indices(&format!("{owner}.{field}")).any(|(at, found)| {
            let next = runner[at + found.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    let mut forgotten = Vec::new();
    for (name, owners) in
        [("Common", &["common"][..]), ("LoopControl", &["loop_control", "control"]), ("Play", &["play"])]
    {
        let (_, rest) = model.split_once(&format!("pub struct {name} {{")).unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
        for field in fields {
            let only_for_messages = name == "Play" && field == "span";
            if !only_for_messages && !owners.iter().any(|owner| used(owner, field)) {
                forgotten.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(forgotten.is_empty(), "read by the parser, and nobody asks for it: {forgotten:?}");
}
