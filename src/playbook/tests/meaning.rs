use super::*;

#[test]
fn sections_run_in_ansibles_order() {
    let text = "
- hosts: nodes
  post_tasks: [{command: d}]
  tasks: [{command: c}]
  pre_tasks: [{command: a}]
  handlers: [{name: h, command: h}]
";
    let play = &playbook(text).plays[0];
    let order: Vec<String> = play
        .tasks
        .iter()
        .map(|item| match item {
            Item::Task(task) => task.args.as_str().unwrap_or_default().to_owned(),
            Item::Meta(action, _) => format!("{action:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, ["a", "FlushHandlers", "c", "FlushHandlers", "d"]);
    assert_eq!(play.handlers[0].name, "h");
    assert_eq!(play.name, "nodes");
}

#[test]
fn words_of_a_task() {
    let text = "
- hosts: [pve1, 'pve2,pve3']
  serial: [1, 50%]
  vars: {list: [1]}
  tasks:
    - name: Try
      ansible.builtin.command: \"true\"
      args: {creates: /x}
      when: [a is defined, true]
      loop: \"{{ list }}\"
      loop_control: {loop_var: one, label: \"{{ one }}\", index_var: n, pause: 1}
      register: out
      notify: [h, w]
      until: out is succeeded
      retries: 7
      delay: 1
      changed_when: false
      failed_when: out.rc > 1
      tags: x, y
      no_log: yes
      environment: {A: 1}
      delegate_to: pve1
  handlers:
    - name: h
      listen: w
      command: \"true\"
";
    let playbook = playbook(text);
    let play = &playbook.plays[0];
    let hosts: Vec<&str> = play.hosts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(hosts, ["pve1", "pve2", "pve3"]);
    assert_eq!(play.serial, Some(Serial(vec![Batch::Hosts(1), Batch::Percent(50)])));
    let task = tasks(&play.tasks)[0];
    assert_eq!((task.name.as_str(), task.kind.name), ("Try", "command"));
    let expected = serde_json::json!({"cmd": true, "creates": "/x"});
    assert_ne!(task.args.to_json(), expected, "quoted text stays text");
    assert_eq!(task.args.to_json(), serde_json::json!({"cmd": "true", "creates": "/x"}));
    let common = &task.common;
    let when: Vec<&str> = common.when.iter().map(|expr| expr.text.as_str()).collect();
    assert_eq!(when, ["a is defined", "true"]);
    assert_eq!(common.loop_control.loop_var, "one");
    assert_eq!(common.loop_control.index_var.as_deref(), Some("n"));
    assert_eq!(common.loop_control.pause_s, 1);
    assert_eq!(common.register.as_deref(), Some("out"));
    assert_eq!((common.retries, common.delay_s), (Some(7), 1));
    assert_eq!(common.changed_when.as_ref().map(|exprs| exprs[0].text.as_str()), Some("false"));
    assert_eq!(common.tags, ["x", "y"]);
    assert!(common.no_log);
    assert_eq!(common.environment[0].0, "A");
    assert_eq!(common.delegate_to.as_ref().and_then(|host| host.as_str()), Some("pve1"));
    assert_eq!(play.handlers[0].common.listen, ["w"]);
}

#[test]
fn what_a_block_says_holds_inside() {
    let text = "
- hosts: nodes
  tags: play
  no_log: true
  tasks:
    - block:
        - command: a
          tags: own
          no_log: false
        - block: [{command: b}]
          ignore_errors: true
      rescue: [{command: c}]
      always: [{command: d}]
      when: x is defined
      tags: [block]
      run_once: true
      vars: {y: 1}
    - command: e
";
    let play = &playbook(text).plays[0];
    let found = tasks(&play.tasks);
    assert_eq!(found[0].common.tags, ["play", "block", "own"]);
    assert!(!found[0].common.no_log);
    assert!(found[1].common.no_log && found[1].common.ignore_errors && !found[0].common.ignore_errors);
    assert!(found[..4].iter().all(|task| task.common.run_once) && !found[4].common.run_once);
    let Item::Block(block) = &play.tasks[0] else { panic!("a block") };
    assert_eq!(block.common.when[0].text, "x is defined");
    assert_eq!(block.common.vars[0].0, "y");
    assert!(found.iter().all(|task| task.common.when.is_empty()), "conditions are the runner's");
}

#[test]
fn imports_includes_and_roles() {
    let found = files(&[
        (
            "site.yml",
            "
- hosts: nodes
  vars_files: [vars/main.yml, vars/empty.yml]
  roles:
    - {role: web, port: 81, tags: web}
    - common
  tasks:
    - import_tasks: tasks/one.yml
      when: from_file == 'x'
      tags: imported
      vars: {from_import: 1}
    - include_tasks: tasks/two.yml
      loop: [1, 2]
    - include_role: {name: web, tasks_from: extra}
    - template: {src: own.j2, dest: /x}
- import_playbook: more/other.yml
  tags: other
  vars: {passed: 1}
",
        ),
        ("templates/own.j2", "{{ from_file }}{{ role_var }}\n"),
        ("vars/main.yml", "from_file: x\n"),
        ("vars/empty.yml", "---\n# nothing yet\n"),
        ("tasks/one.yml", "- command: echo {{ from_import }} {{ from_file }}\n- import_tasks: deeper/three.yml\n"),
        ("tasks/deeper/three.yml", "- {name: three, command: a}\n"),
        ("tasks/two.yml", "- {name: two, command: \"echo {{ item }}\"}\n"),
        (
            "roles/web/tasks/main.yml",
            "- {name: web, template: {src: a.j2, dest: /a}, notify: reload}\n- import_tasks: extra.yml\n",
        ),
        ("roles/web/tasks/extra.yml", "- {name: extra, copy: {src: b, dest: /b}}\n"),
        ("roles/web/templates/a.j2", "{{ port }} {{ role_default }} {{ role_var }} {{ inventory_hostname }}\n"),
        ("roles/web/files/b", "b\n"),
        ("roles/web/defaults/main.yml", "role_default: 1\nport: 80\n"),
        ("roles/web/vars/main.yml", "role_var: 2\n"),
        ("roles/web/handlers/main.yml", "- {name: reload, command: \"echo {{ role_default }}\"}\n"),
        ("roles/web/meta/main.yml", "dependencies: [common]\n"),
        ("roles/common/tasks/main.yml", "- {name: common, command: a}\n"),
        ("more/other.yml", "- {name: other, hosts: nodes, tasks: [{import_tasks: four.yml}]}\n"),
        ("more/four.yml", "- {name: four, command: \"echo {{ passed }}\"}\n"),
    ])
    .unwrap_or_else(|told| panic!("{told}"));
    let play = &found.plays[0];
    // `common` ran as a dependency already.
    assert_eq!(names(&play.tasks), ["common", "web", "extra", "command", "three", "two", "extra", "template"]);
    assert_eq!(play.handlers.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["reload", "reload"]);
    let all = tasks(&play.tasks);
    assert_eq!(all[1].common.tags, ["web"]);
    assert!(all[1].folder.ends_with("roles/web"));
    assert_eq!(all[4].common.tags, ["imported"]);
    assert!(all[4].folder.ends_with("tasks/deeper"));
    assert!(play.vars.iter().any(|(name, _)| name == "from_file"));
    assert!(play.defaults.iter().any(|(name, _)| name == "role_default"));
    let Item::Block(role) = &play.tasks[0] else { panic!("a role is a block") };
    let params: Vec<&str> = role.common.vars.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(params, ["role_var", "port"], "parameters win over the role's own variables");
    assert_eq!(found.plays[1].tags, ["other"]);
    assert_eq!(tasks(&found.plays[1].tasks)[0].common.tags, ["other"]);
}

#[test]
fn dynamic_includes_are_read_when_their_name_is_known() {
    let dir = tempfile::tempdir().expect("a directory");
    let site = dir.path().join("site.yml");
    let text = "- hosts: nodes\n  tasks:\n    - include_tasks: \"{{ inventory_hostname }}.yml\"\n      no_log: true\n    - command: echo {{ set_in_there }}\n";
    std::fs::write(&site, text).expect("a file");
    std::fs::write(dir.path().join("pve1.yml"), "- {name: in, command: \"echo {{ anything }}\"}\n").expect("a file");
    std::fs::write(dir.path().join("pve2.yml"), "- {name: in, comand: a}\n").expect("a file");
    let (mut sources, context) = (Sources::default(), Context::default());
    let found = load(&[site], &mut sources, &context).unwrap_or_else(|f| panic!("{}", sources.show(&f, false)));
    let Item::Include(include) = &found[0].plays[0].tasks[0] else { panic!("an include") };
    let block = load_tasks(include, "pve1.yml", &mut sources, &context).expect("it is right");
    assert_eq!(names(&block.body), ["in"]);
    assert!(tasks(&block.body)[0].common.no_log);
    let faults = load_tasks(include, "pve2.yml", &mut sources, &context).expect_err("it is wrong");
    assert!(sources.show(&faults, false).contains("did you mean `command`?"));
    let faults = load_tasks(include, "pve3.yml", &mut sources, &context).expect_err("it is not there");
    assert!(sources.show(&faults, false).contains("there is no file `pve3.yml`"));
}

#[test]
fn names_are_known_where_ansible_knows_them() {
    // Each line uses what the lines before it, or the world, define.
    let text = "
- hosts: nodes
  vars:
    base: 1
    later: \"{{ facts.stdout }} {{ derived }}\"
    derived: \"{{ base }}\"
  tasks:
    - command: echo {{ hostvars[inventory_hostname].ansible_kernel }} {{ groups['nodes'] }} {{ omit }}
    - command: hostname
      register: facts
    - set_fact: {own: \"{{ facts.stdout }}\", other: 1}
    - command: echo {{ own }} {{ other }} {{ later }}
    - command: echo {{ item.a }} {{ ansible_loop.index }}
      loop: [{a: 1}]
    - command: echo {{ unknown }}
      when:
        - unknown is defined
        - unknown != ''
    - block: [{command: \"echo {{ unknown }}\"}]
      when: unknown is defined
    - debug: {var: facts.stdout}
    - assert: {that: [facts.rc == 0, other == 1]}
    - command: \"{% for x in own %}{{ x }}{{ loop.index }}{% endfor %}{% set y = 1 %}{{ y }}\"
- hosts: nodes
  tasks:
    - command: echo {{ own }} {{ facts.stdout }}
";
    assert_eq!(playbook(text).plays.len(), 2);
}

#[test]
fn expressions_in_fields_are_looked_at() {
    let told = faults("- hosts: nodes\n  tasks:\n    - assert: {that: [a == 1, 'b ==']}\n    - debug: {var: c.d}\n");
    for message in ["undefined variable `a`", "this is no Jinja", "undefined variable `c`"] {
        assert!(told.contains(message), "{message} is not in\n{told}");
    }
}

#[test]
fn needless_words_are_told_without_stopping() {
    let found = playbook("- hosts: nodes\n  collections: [x]\n  diff: true\n  tasks: []\n");
    let messages: Vec<&str> = found.warnings.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(messages, ["`collections` has no effect", "`diff` has no effect"]);
}

#[test]
fn how_hosts_are_reached_is_a_matter_of_plays() {
    let found = playbook(
        "- hosts: nodes\n  become: yes\n  remote_user: admin\n  port: 22\n  connection: ssh\n  become_method: sudo\n  tasks: []\n",
    );
    let way = &found.plays[0].way;
    assert!(found.warnings.is_empty() && way.becomes.is_some_and(|(becomes, _)| becomes));
    let text = |word: &Option<(String, _)>| word.as_ref().map(|(text, _)| text.clone()).unwrap_or_default();
    assert_eq!([text(&way.remote_user), text(&way.port), text(&way.connection)], ["admin", "22", "ssh"]);
    let inherited = playbook("- hosts: nodes\n  tasks:\n    - become: true\n      block: [{debug: {msg: x}}]\n");
    let Item::Block(block) = &inherited.plays[0].tasks[0] else { panic!() };
    let Item::Task(task) = &block.body[0] else { panic!() };
    assert!(task.common.becomes.is_some_and(|(becomes, _)| becomes));
    for (task, message) in [
        ("debug: {msg: x}, remote_user: a", "`remote_user` cannot be said of a single task"),
        ("debug: {msg: x}, connection: local", "delegate_to: localhost"),
        ("debug: {msg: x}, become_flags: -H", "`become_flags` is not supported"),
        ("debug: {msg: x}, become_user: www", "cannot become another user"),
        ("debug: {msg: x}, become_method: su", "by sudo, in no other way"),
        ("debug: {msg: x}, vars: {ansible_user: a}", "`ansible_user` cannot be said here"),
        ("set_fact: {ansible_host: a}", "`ansible_host` cannot be said here"),
    ] {
        let told = faults(&format!("- hosts: nodes\n  tasks:\n    - {{{task}}}\n"));
        assert!(told.contains(message), "{message} is not in\n{told}");
    }
}

#[test]
fn a_password_comes_from_outside_and_its_task_says_nothing() {
    let told = faults(
        "- hosts: cluster\n  tasks:\n    - name: a\n      pct:\n        vmid: 101\n        password: s3cret-word\n",
    );
    assert!(told.contains("the `password` of this `pct` stands in the playbook"), "{told}");
    assert!(told.contains("a task with `password` needs `no_log: true`"), "{told}");
    assert!(!told.contains("s3cret-word"), "{told}");
    let text = "- hosts: cluster\n  tasks:\n    - pct: {vmid: 101, password: \"{{ lookup('env', 'CT') }}\"}\n";
    assert!(!faults(text).contains("stands in the playbook"));
    assert_eq!(playbook(&format!("{text}      no_log: true\n")).plays.len(), 1);
}

#[test]
fn directories_are_for_copy_and_a_last_slash_says_directory() {
    let site = |task: &str| format!("- hosts: nodes\n  tasks:\n    - {task}\n");
    for (task, fault) in [
        ("copy: {src: conf/, dest: /etc/app}", None),
        ("copy: {src: conf, dest: /etc/app}", None),
        ("copy: {src: a.txt, dest: /etc/app/}", None),
        ("copy: {src: a.txt/, dest: /etc/app}", Some("a.txt` is a file, not a directory")),
        ("copy: {src: gone/, dest: /etc/app}", Some("there is no file `gone/`")),
        ("template: {src: tree, dest: /etc/app}", Some("tree` is a directory, not a template")),
    ] {
        let site = site(task);
        let told =
            files(&[("site.yml", &site), ("files/conf/a", "a"), ("files/a.txt", "a"), ("templates/tree/x.j2", "x")]);
        match (told, fault) {
            (Ok(_), None) => {}
            (Err(told), Some(fault)) => assert!(told.contains(fault), "{task}: {told}"),
            (told, _) => panic!("{task}: {:?}", told.map(|_| ())),
        }
    }
}
