//! Whole runs over hosts that are directories: order, variables, loops, handlers, failures, predictions.

mod support;

use converge::event::{Mode, Outcome};
use support::Bed;

#[test]
fn check_predicts_what_apply_does_and_a_second_apply_is_idle() {
    let bed = Bed::new();
    let playbook = "
- hosts: nodes
  vars: { port: 7000 }
  tasks:
    - name: a directory
      file: { path: /etc/app, state: directory }
    - name: a file in it
      copy: { dest: /etc/app/app.conf, content: 'port={{ port }} on {{ inventory_hostname }}' }
      notify: restart
    - name: a line in another
      lineinfile: { path: /etc/app/lines.conf, line: second, create: true }
  handlers:
    - name: restart
      command: echo restarted
";
    let checked = bed.check(playbook);
    assert_eq!(checked.exit, 3);
    assert!(bed.read("a", "/etc/app/app.conf").is_none(), "check changed something");
    let applied = bed.apply(playbook);
    assert_eq!(applied.exit, 0, "{:?}", applied.lines());
    assert_eq!(checked.moved(), applied.moved());
    assert_eq!(applied.moved().len(), 12);
    assert_eq!(bed.read("b", "/etc/app/app.conf").unwrap(), "port=7000 on b");
    let again = bed.apply(playbook);
    assert_eq!((again.exit, again.moved()), (0, vec![]));
    assert_eq!(bed.check(playbook).exit, 0);
}

#[test]
fn conditions_loops_and_registered_results() {
    let bed = Bed::new();
    let run = bed.apply(
        "
- hosts: a
  tasks:
    - name: ask
      command: echo hello
      register: said
      changed_when: false
    - name: only if
      copy: { dest: '/out-{{ item }}', content: '{{ said.stdout }} {{ index }}' }
      loop: [x, y]
      loop_control: { index_var: index }
      when: said.stdout == 'hello' and item != 'z'
      register: copies
    - name: not at all
      copy: { dest: /no, content: '' }
      when: said.rc != 0
    - name: counted
      copy: { dest: /count, content: '{{ copies.results | length }} {{ copies.results[1].item }}' }
    - name: set
      set_fact: { colour: blue }
    - name: used
      copy: { dest: /colour, content: '{{ colour }}' }
",
    );
    assert_eq!(run.exit, 0, "{:#?}", run.results);
    assert_eq!(run.of("ask").outcome, Outcome::Ok);
    assert_eq!(run.of("not at all").outcome, Outcome::Skipped);
    assert_eq!(bed.read("a", "/out-y").unwrap(), "hello 1");
    assert_eq!(bed.read("a", "/count").unwrap(), "2 y");
    assert_eq!(bed.read("a", "/colour").unwrap(), "blue");
    assert!(bed.read("a", "/no").is_none());
}

#[test]
fn a_failed_run_owes_its_handlers_and_the_next_one_pays() {
    let bed = Bed::new();
    let playbook = |broken: &str| {
        format!(
            "
- hosts: a
  tasks:
    - name: change
      copy: {{ dest: /conf, content: new }}
      notify: restart
    - name: trip
      command: '{broken}'
      changed_when: false
  handlers:
    - name: restart
      copy: {{ dest: /restarted, content: 'yes' }}
"
        )
    };
    let first = bed.apply(&playbook("false"));
    assert_eq!(first.exit, 1);
    assert!(bed.read("a", "/restarted").is_none());
    assert!(first.notes.iter().any(|n| n.contains("still owed handler `restart`")), "{:?}", first.notes);
    let check = bed.check(&playbook("true"));
    assert!(check.moved().contains(&("restart".into(), "a".into())), "{:?}", check.lines());
    let second = bed.apply(&playbook("true"));
    assert_eq!(second.exit, 0);
    assert_eq!(second.of("change").outcome, Outcome::Ok);
    assert_eq!(bed.read("a", "/restarted").unwrap(), "yes");
    assert_eq!(bed.apply(&playbook("true")).moved(), vec![]);
}

#[test]
fn rescue_and_always() {
    let bed = Bed::new();
    let run = bed.apply(
        "
- hosts: a
  tasks:
    - block:
        - name: trip
          command: 'false'
        - name: never
          copy: { dest: /never, content: '' }
      rescue:
        - name: rescue
          copy: { dest: /rescued, content: '' }
      always:
        - name: always
          copy: { dest: /always, content: '' }
    - name: after
      copy: { dest: /after, content: '' }
",
    );
    assert_eq!(run.exit, 0, "{:?}", run.lines());
    for (path, there) in [("/never", false), ("/rescued", true), ("/always", true), ("/after", true)] {
        assert_eq!(bed.read("a", path).is_some(), there, "{path}");
    }
}

#[test]
fn a_host_that_is_down_is_unreachable_and_the_others_go_on() {
    let mut bed = Bed::new();
    bed.down.push("b".into());
    let run = bed.apply("- hosts: nodes\n  tasks:\n    - name: f\n      copy: { dest: /f, content: x }\n");
    assert_eq!(run.exit, 4);
    assert_eq!(run.lines(), ["a f changed", "b f unreachable", "c f changed"]);
}

#[test]
fn an_agent_that_dies_in_the_middle_of_a_run_takes_only_its_host_out() {
    let bed = Bed::new();
    let run = bed.apply(
        "
- hosts: nodes
  tasks:
    - { name: before, copy: { dest: /before, content: x }, notify: restart }
    - { name: trip, command: \"{{ 'die' if inventory_hostname == 'b' else 'true' }}\", changed_when: false }
    - { name: after, copy: { dest: /after, content: x } }
  handlers:
    - { name: restart, copy: { dest: /restarted, content: x } }
",
    );
    assert_eq!(run.exit, 4, "{:?}", run.lines());
    let of_b: Vec<_> = run.lines().into_iter().filter(|line| line.starts_with('b')).collect();
    assert_eq!(of_b, ["b before changed", "b trip unreachable"]);
    assert!(bed.read("a", "/restarted").is_some() && bed.read("c", "/after").is_some());
    // What it is owed is noted on it, and the next run pays.
    let next = bed.apply(
        "- hosts: nodes\n  tasks: []\n  handlers:\n    - { name: restart, copy: { dest: /restarted, content: x } }\n",
    );
    assert_eq!((next.exit, next.lines()), (0, vec!["b restart changed".to_owned()]));
}

#[test]
fn what_a_command_would_say_is_provisional_in_a_check() {
    let bed = Bed::new();
    let playbook = "
- hosts: a
  tasks:
    - name: ask
      command: echo hello
      register: said
    - name: depends
      copy: { dest: /out, content: '{{ said.stdout }}' }
    - name: look
      stat: { path: /made-by-command }
";
    let run = bed.check(playbook);
    assert_eq!(run.exit, 3, "{:#?}", run.results);
    let depends = run.of("depends");
    assert_eq!((depends.outcome, depends.provisional), (Outcome::Drifted, true), "{depends:?}");
    assert!(depends.provisional_reason.as_deref().unwrap().contains("ask"), "{depends:?}");
    assert!(run.of("look").provisional);
    assert_eq!(bed.apply(playbook).exit, 0);
}

#[test]
fn until_retries_and_run_once_and_limit() {
    let mut bed = Bed::new();
    let playbook = "
- hosts: nodes
  tasks:
    - name: once
      command: echo one
      run_once: true
      register: said
    - name: all
      copy: { dest: /said, content: '{{ said.stdout }}' }
    - name: until
      command: echo again
      register: r
      until: r.stdout == 'never'
      retries: 2
      delay: 0
      ignore_errors: true
";
    bed.options.limit = Some("b:c".into());
    let run = bed.run(Mode::Apply, playbook);
    assert_eq!(run.exit, 0, "{:?}", run.lines());
    assert_eq!(run.lines().iter().filter(|l| l.contains("once")).count(), 1);
    assert_eq!(bed.read("c", "/said").unwrap(), "one");
    assert!(bed.read("a", "/said").is_none());
    assert_eq!(run.of("until").outcome, Outcome::Failed);
    assert!(run.of("until").ignored);
}

#[test]
fn tags_choose() {
    let mut bed = Bed::new();
    bed.options.tags.insert("yes".into());
    let run = bed.apply(
        "
- hosts: a
  tasks:
    - { name: tagged, copy: { dest: /t, content: '' }, tags: [yes] }
    - { name: other, copy: { dest: /o, content: '' } }
    - { name: always, copy: { dest: /a, content: '' }, tags: [always] }
",
    );
    assert_eq!(run.lines(), ["a tagged changed", "a always changed"]);
}

#[test]
fn facts_are_gathered_when_something_asks() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.path("a", "/etc")).unwrap();
    std::fs::write(bed.path("a", "/etc/os-release"), "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n")
        .unwrap();
    let run = bed.apply(
        "- hosts: a\n  tasks:\n    - copy: { dest: /r, content: '{{ ansible_distribution_release }} {{ ansible_kernel }}' }\n",
    );
    assert_eq!(run.exit, 0, "{:#?}", run.results);
    assert_eq!(bed.read("a", "/r").unwrap(), "trixie 6.17.2-1-pve");
}

#[test]
fn any_errors_fatal_and_serial() {
    let bed = Bed::new();
    let run = bed.apply(
        "
- hosts: nodes
  serial: 1
  any_errors_fatal: true
  tasks:
    - { name: trip, command: 'false', when: inventory_hostname == 'b', changed_when: false }
    - { name: after, copy: { dest: /after, content: '' } }
",
    );
    assert_eq!(run.exit, 1);
    assert!(bed.read("a", "/after").is_some());
    assert!(bed.read("c", "/after").is_none(), "{:?}", run.lines());
}

/// A resource that cannot come up on directories: what surrounds the decision over all hosts is the same.
const RESOURCE: &str = "drbd_resource: { name: '{{ name }}', device: /dev/drbd100, on: {
          a: { address: '10.0.0.1:7000', disk: /dev/disk/by-id/a, node_id: 0 },
          b: { address: '10.0.0.2:7000', disk: /dev/disk/by-id/b, node_id: 1 } } }
      ignore_errors: true";

#[test]
fn a_loop_over_a_decision_for_all_hosts_registers_every_item() {
    let bed = Bed::new();
    let run = bed.apply(&format!(
        "
- hosts: a:b
  tasks:
    - name: resources
      {RESOURCE}
      vars: {{ name: '{{{{ item }}}}' }}
      loop: [nfs1, nfs2]
      register: made
    - name: counted
      copy: {{ dest: /count, content: '{{{{ made.results | length }}}} {{{{ made.results[0].item }}}}' }}
"
    ));
    assert_eq!(run.exit, 0, "{:#?}", run.results);
    assert_eq!(bed.read("a", "/count").unwrap(), "2 nfs1");
    let items: Vec<_> =
        run.results.iter().filter(|r| r.task == "resources").map(|r| (r.host.as_str(), r.item.as_deref())).collect();
    assert_eq!(items, [("a", Some("nfs1")), ("b", Some("nfs1")), ("a", Some("nfs2")), ("b", Some("nfs2"))]);
}

#[test]
fn hosts_that_describe_different_things_are_not_decided_by_the_first_of_them() {
    let bed = Bed::new();
    let run = bed.apply(&format!(
        "- hosts: a:b\n  vars: {{ name: 'nfs-{{{{ inventory_hostname }}}}' }}\n  tasks:\n    - name: f\n      {RESOURCE}\n"
    ));
    for result in &run.results {
        assert_eq!(result.outcome, Outcome::Failed);
        for words in ["`name` differs", "a: \"nfs-a\"", "b: \"nfs-b\""] {
            assert!(result.summary.contains(words), "{}", result.summary);
        }
    }
    assert_eq!(run.results.len(), 2);
}

#[test]
fn a_decision_for_all_hosts_is_tried_again_until_it_holds() {
    let bed = Bed::new();
    let run = bed.apply(&format!(
        "
- hosts: a:b
  vars: {{ name: nfs1 }}
  tasks:
    - name: f
      {RESOURCE}
      register: r
      until: r.changed == 'never' or inventory_hostname == 'b'
      retries: 2
      delay: 0
"
    ));
    let on = |host: &str| run.results.iter().find(|r| r.host == host).unwrap().summary.as_str();
    assert!(on("a").contains("after 3 tries"), "{:?}", run.results);
    assert!(!on("b").contains("tries"), "{:?}", run.results);
}

#[test]
fn a_directory_of_the_workstation_is_predicted_brought_and_then_left_alone() {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    let bed = Bed::new();
    let conf = bed.dir.path().join("files/conf");
    fs::create_dir_all(conf.join("sub")).unwrap();
    fs::write(conf.join("a.conf"), "a\n").unwrap();
    fs::write(conf.join("sub/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(conf.join("sub/run"), PermissionsExt::from_mode(0o750)).unwrap();
    symlink("a.conf", conf.join("b.conf")).unwrap();
    let playbook = "
- hosts: nodes
  tasks:
    - name: made before
      copy: { dest: /etc/app/a.conf, content: mine }
    - name: what it holds
      copy: { src: conf/, dest: /etc/app, mode: preserve }
    - name: the directory itself
      copy: { src: conf, dest: /etc/deep/er, local_follow: false, directory_mode: '0700' }
";
    let lay = |host: &str| fs::create_dir_all(bed.path(host, "/etc/app")).unwrap();
    ["a", "b", "c"].into_iter().for_each(lay);
    let checked = bed.check(playbook);
    assert!(bed.read("a", "/etc/app/b.conf").is_none(), "check changed something");
    let applied = bed.apply(playbook);
    assert_eq!(applied.exit, 0, "{:?}", applied.lines());
    assert_eq!(checked.moved(), applied.moved());
    assert_eq!(applied.moved().len(), 9);
    for task in ["what it holds", "the directory itself"] {
        assert_eq!(checked.of(task).diff, applied.of(task).diff);
        assert!(!checked.of(task).provisional);
    }
    // The content that an earlier task would have written is what the diff starts from.
    assert!(checked.of("what it holds").diff.contains("-mine\n"), "{}", checked.of("what it holds").diff);
    assert_eq!(bed.read("b", "/etc/app/b.conf").unwrap(), "a\n");
    let mode = |path: &str| fs::metadata(bed.path("c", path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("/etc/app/sub/run"), mode("/etc/deep"), mode("/etc/deep/er/conf/sub")), (0o750, 0o700, 0o700));
    assert_eq!(fs::read_link(bed.path("c", "/etc/deep/er/conf/b.conf")).unwrap().to_str(), Some("a.conf"));
    // Only what is really different is touched.
    let only = playbook.replace("- name: made before\n      copy: { dest: /etc/app/a.conf, content: mine }\n    ", "");
    bed.apply(&only);
    let again = bed.apply(&only);
    assert_eq!((again.exit, again.moved()), (0, vec![]));
    assert_eq!(bed.check(&only).exit, 0);
    fs::write(bed.path("a", "/etc/app/sub/run"), "changed\n").unwrap();
    let mended = bed.apply(&only);
    assert_eq!(mended.moved(), [("what it holds".to_owned(), "a".to_owned())]);
    assert_eq!(mended.of("what it holds").summary, "change /etc/app/sub/run");
}
