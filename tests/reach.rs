//! How hosts are reached by what inventories, plays and the command line say, with the real binary against a real sshd:
//! what wins, what is refused with its place, and that one host's trouble is only its own.

#[path = "support/sshd.rs"]
mod sshd;

use converge::link::Way;
use sshd::{Bed, said};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const STAT: &str = "  tasks: [{ stat: { path: / } }]\n";

fn script(bed: &Bed, name: &str, text: &str) {
    let path = bed.write(name, &format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Exit code and words of a check of these plays.
fn check(bed: &Bed, plays: &str, more: &[&str]) -> (Option<i32>, String) {
    bed.write("site.yml", plays);
    let output = bed.converge(&[&["check", "site.yml", "-i", "hosts"], more].concat());
    (output.status.code(), said(&output))
}

#[test]
fn extra_variables_and_plays_say_where_a_host_is() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    bed.write("hosts", &bed.host("a", port, "-o ControlPath=none"));
    let on_a = format!("- hosts: a\n{STAT}");
    assert_eq!(check(&bed, &on_a, &[]).0, Some(0));
    let (closed, open) = (format!("ansible_port={closed}"), format!("ansible_port={port}"));
    // Whoever says `-e ansible_port` must not get the inventory's host.
    let (code, told) = check(&bed, &on_a, &["-e", &closed]);
    assert!(code == Some(4) && told.contains("connection refused"), "{told}");
    let (code, told) = check(&bed, &on_a, &["-e", "ansible_host=nowhere.invalid"]);
    assert!(code == Some(4) && told.contains("nowhere.invalid"), "{told}");
    let of_play = format!("- hosts: a\n  vars: {{ {} }}\n{STAT}", closed.replace('=', ": "));
    let (code, told) = check(&bed, &of_play, &[]);
    assert!(code == Some(4) && told.contains("connection refused"), "{told}");
    // Extra variables win over those of a play, and a variable of the inventory over a play's word.
    assert_eq!(check(&bed, &of_play, &["-e", &open]).0, Some(0));
    assert_eq!(check(&bed, &format!("- hosts: a\n  port: 1\n  remote_user: nobody\n{STAT}"), &[]).0, Some(0));
    bed.write("hosts", &bed.host("a", port, "-o ControlPath=none").replace(&open, ""));
    assert_eq!(check(&bed, &format!("- hosts: a\n  port: {port}\n{STAT}"), &[]).0, Some(0));
    let (code, told) =
        check(&bed, &format!("- hosts: a\n  connection: local\n{STAT}"), &["-e", "ansible_host=nowhere.invalid"]);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn what_cannot_be_obeyed_is_refused_with_its_place() {
    let Some(bed) = Bed::new() else { return };
    bed.write("hosts", "a ansible_user=admin\nb ansible_user=admin\n");
    for (plays, more, expected) in [
        (format!("- hosts: a\n  port: x\n{STAT}"), [].as_slice(), "site.yml:2: a: `port: x` is no port"),
        (format!("- hosts: a\n  connection: winrm\n{STAT}"), &[], "site.yml:2: a: `connection: winrm` is not known"),
        (
            format!("- hosts: a\n{STAT}"),
            &["-e", "ansible_connection=docker"],
            "--extra-vars: a: `ansible_connection: docker`",
        ),
        (
            format!("- hosts: a\n  vars:\n    ansible_password: hunter2\n{STAT}"),
            &[],
            "site.yml:3: a: `ansible_password`",
        ),
        (
            format!("- hosts: a\n{STAT}- hosts: all\n  become: true\n{STAT}"),
            &[],
            "site.yml:3: a is reached in another way here than at site.yml:1",
        ),
        (
            "- hosts: a\n  tasks:\n    - stat: { path: / }\n      become: true\n".into(),
            &[],
            "site.yml:4: `become: true`: the tasks of a run are all run by one user, on a by admin",
        ),
        (
            "- hosts: a\n  become: true\n  tasks:\n    - stat: { path: / }\n      become: false\n".into(),
            &[],
            "site.yml:5: `become: false`",
        ),
        (
            format!("- hosts: ct:101\n{STAT}"),
            &["-e", "ansible_host=staging"],
            "--extra-vars: `ansible_host` cannot be said of ct:101",
        ),
        (
            format!("- hosts: ct:101\n  remote_user: www\n{STAT}"),
            &[],
            "site.yml:2: `remote_user: www` cannot be said of ct:101",
        ),
    ] {
        let (code, told) = check(&bed, &plays, more);
        assert!(code == Some(2) && told.contains(expected), "{expected}:\n{plays}\n{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn root_is_become_only_where_the_login_is_not_root() {
    let Some(mut bed) = Bed::new() else { return };
    if sshd::user() != "root" {
        return eprintln!("skipped: not root");
    }
    // A Proxmox node as it comes has no sudo; here it says that it was asked.
    script(&bed, "bin/sudo", "echo 'sudo: a password is required' >&2; exit 1");
    let port = bed.serve();
    let plays = format!("- hosts: all\n  become: true\n{STAT}");
    for line in [bed.host("a", port, ""), bed.host("a", port, "").replace("ansible_user=root", "")] {
        bed.write("hosts", &line);
        let (code, told) = check(&bed, &plays, &[]);
        assert_eq!(code, Some(0), "{told}");
        // Said of a task, it is the same; ssh's own configuration tells who logs in where nothing else does.
        let task = "- hosts: a\n  tasks:\n    - stat: { path: / }\n      become: true\n";
        let (code, told) = check(&bed, task, &[]);
        assert_eq!(code, Some(0), "{told}");
    }
    // As somebody else sudo is asked.
    script(&bed, "bin/id", "echo 1000");
    bed.write("hosts", &bed.host("a", port, "").replace("ansible_user=root", ""));
    let (code, told) = check(&bed, &plays, &[]);
    assert!(code == Some(4) && told.contains("sudo"), "{told}");
}

#[test]
fn one_hosts_trouble_is_only_its_own() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    let windows = "w ansible_connection=winrm ansible_password=hunter2";
    bed.write("hosts", &format!("[unix]\n{}[odd]\n{windows}\n[sealed]\ns\n", bed.host("a", port, "")));
    bed.write("group_vars/sealed/vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n");
    bed.write("host_vars/s.yml", "password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n");
    let play = |hosts: &str| format!("- hosts: {hosts}\n{STAT}");
    for (hosts, more) in [("unix", [].as_slice()), ("all", &["--limit", "a"])] {
        let (code, told) = check(&bed, &play(hosts), more);
        assert_eq!(code, Some(0), "{told}");
    }
    let (code, told) = check(&bed, &play("all"), &[]);
    assert_eq!(code, Some(2), "{told}");
    for expected in [
        "hosts:4: w: `ansible_connection: winrm` is not known",
        "group_vars/sealed/vault.yml:1: variables of s are encrypted with ansible-vault",
        "ansible-vault decrypt",
    ] {
        assert!(told.contains(expected), "{expected}:\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    // What cannot be read of another host is no empty text.
    let other = "- hosts: unix\n  tasks: [{ debug: { msg: \"{{ hostvars['s'].x | default('none') }}\" } }]\n";
    let (code, told) = check(&bed, other, &[]);
    assert!(code == Some(1) && told.contains("the variables of s cannot be read"), "{told}");
    // `validate` tells both, as a fault where a play wants the host, else as a warning.
    for (hosts, code) in [("unix", 0), ("odd", 2), ("sealed", 2)] {
        bed.write("site.yml", &play(hosts));
        let output = bed.converge(&["validate", "site.yml", "-i", "hosts"]);
        assert_eq!(output.status.code(), Some(code), "{hosts}: {}", said(&output));
        assert!(said(&output).contains("winrm") && said(&output).contains("vault.yml:1"), "{}", said(&output));
    }
}

/// Two hosts whose login is called `admin`, which is no root's name; underneath it is whoever runs the tests.
fn admins(bed: &mut Bed) {
    let port = bed.serve();
    let words =
        "for word do shift; case $word in admin) word=$(id -un);; admin@*) word=$(id -un)@${word#admin@};; esac";
    script(bed, "as-admin", &format!("{words}; set -- \"$@\" \"$word\"; done; exec ssh \"$@\""));
    script(bed, "bin/sudo", "shift; [ \"$1\" = -- ] && shift; exec \"$@\"");
    let user = format!("ansible_user={}", sshd::user());
    let admin = format!("ansible_user=admin ansible_ssh_executable={}", bed.path("as-admin").display());
    let hosts = [bed.host("a", port, ""), bed.host("b", port, "")].concat();
    bed.write("hosts", &hosts.replace(&user, &admin));
}

#[test]
fn what_a_cluster_yml_leaves_open_is_weaker_than_variables_and_plays() {
    let dir = tempfile::tempdir().unwrap();
    let login = "login: { user: root@pam, password: prompt }";
    let file = |ssh: &str| format!("endpoints: [192.0.2.1]\n{login}\nnodes: {{ pve1: {{}} }}\n{ssh}");
    let reached = |cluster: &str, play: &str, group: &str| {
        fs::write(dir.path().join("cluster.yml"), cluster).unwrap();
        fs::create_dir_all(dir.path().join("group_vars")).unwrap();
        fs::write(dir.path().join("group_vars/nodes.yml"), group).unwrap();
        let site = dir.path().join("site.yml");
        fs::write(&site, play).unwrap();
        let mut sources = converge::diagnostic::Sources::default();
        let given = [dir.path().join("cluster.yml").display().to_string()];
        let inventory = converge::inventory::load(&given, &[], &mut sources).unwrap().build(None);
        let context = converge::playbook::Context::default();
        let books = converge::playbook::load(&[site], &mut sources, &context).unwrap();
        let plays: Vec<_> = books.iter().flat_map(|book| &book.plays).collect();
        let mut found = converge::fleet::reaches(&plays, &inventory, &Default::default(), &sources);
        found.hosts.remove("pve1").expect("reached").way
    };
    let user = |way| match way {
        Way::Ssh(target) => target.user.unwrap(),
        other => format!("{other:?}"),
    };
    let plain = format!("- hosts: nodes\n{STAT}");
    let worded = format!("- hosts: nodes\n  remote_user: ops\n{STAT}");
    let local = format!("- hosts: nodes\n  connection: local\n{STAT}");
    assert_eq!(user(reached(&file(""), &plain, "x: 1\n")), "root");
    assert_eq!(user(reached(&file(""), &worded, "x: 1\n")), "ops");
    assert_eq!(user(reached(&file(""), &plain, "ansible_user: group\n")), "group");
    assert_eq!(user(reached(&file(""), &worded, "ansible_user: group\n")), "group");
    assert_eq!(reached(&file(""), &local, "x: 1\n"), Way::Local);
    assert_eq!(user(reached(&file("ssh: { user: said }\n"), &worded, "x: 1\n")), "said");
    assert_eq!(user(reached(&file("link: ssh\n"), &local, "x: 1\n")), "root");
}

#[test]
fn a_play_that_delegates_settles_only_what_the_hosts_own_plays_leave_open() {
    let Some(mut bed) = Bed::new() else { return };
    admins(&mut bed);
    let task = |more: &str| format!("    - stat: {{ path: / }}\n{}", more.replace("; ", "\n      "));
    let play = |head: &str, more: &str| format!("- hosts: {head}\n  tasks:\n{}", task(&format!("      {more}\n")));
    let (on_b, root_on_b) = (format!("- hosts: b\n{STAT}"), format!("- hosts: b\n  become: true\n{STAT}"));
    let root = "a\n  become: true\n  vars: { other: b }";
    let plain = "a\n  vars: { other: b }";
    for (plays, expected, says) in [
        // A templated name may be anybody's, and yet is nobody's word on hosts that have plays of their own.
        (play(root, "delegate_to: \"{{ inventory_hostname }}\"") + &on_b, 0, ""),
        (play(root, "delegate_to: \"{{ other }}\"") + &on_b, 0, ""),
        (play(root, "delegate_to: b") + &on_b, 0, ""),
        (on_b.clone() + &play(root, "delegate_to: b"), 0, ""),
        // `become` of a task is its delegate's matter.
        (play(root, "delegate_to: b; become: false"), 0, ""),
        (play(root, "delegate_to: b; become: false") + &on_b, 0, ""),
        (play(root, "delegate_to: \"{{ other }}\"; become: false") + &on_b, 0, ""),
        (play(plain, "delegate_to: b; become: true"), 0, ""),
        (play(plain, "delegate_to: b; become: true") + &root_on_b, 0, ""),
        (play(plain, "delegate_to: \"{{ other }}\"; become: true") + &root_on_b, 0, ""),
        // What would be done by another user than it says stays refused, and nothing is done as root unasked.
        (play(root, "delegate_to: b; become: false") + &root_on_b, 2, "site.yml:7: `become: false`"),
        (play(plain, "delegate_to: b; become: true") + &on_b, 2, "site.yml:6: `become: true`"),
        (root_on_b.clone() + &play(plain, "delegate_to: b"), 2, "site.yml:8: `become: false`"),
        (root_on_b.clone() + &play(plain, "delegate_to: \"{{ other }}\""), 1, "on b by root"),
    ] {
        let (code, told) = check(&bed, &plays, &[]);
        assert!(code == Some(expected) && told.contains(says), "{expected} {says}:\n{plays}\n{told}");
    }
}

#[test]
fn plays_with_and_without_become_on_one_host_are_the_same_where_root_logs_in() {
    let Some(mut bed) = Bed::new() else { return };
    if sshd::user() != "root" {
        return eprintln!("skipped: not root");
    }
    let port = bed.serve();
    let plays = format!("- hosts: a\n{STAT}- hosts: a\n  become: true\n{STAT}");
    let line = bed.host("a", port, "");
    for line in [line.clone(), line.replace("ansible_user=root", "")] {
        bed.write("hosts", &line);
        let (code, told) = check(&bed, &plays, &[]);
        assert_eq!(code, Some(0), "{told}");
    }
    // Who logs in is known to ssh alone.
    bed.write("hosts", &bed.host("a", port, "-o User=admin").replace("ansible_user=root", ""));
    let (code, told) = check(&bed, &plays, &[]);
    let expected = "site.yml:3: a is reached in another way here than at site.yml:1";
    assert!(code == Some(2) && told.contains(expected), "{told}");
}
