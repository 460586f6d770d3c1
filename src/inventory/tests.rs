//! What is read from sources, and every fault of them with its place.

use super::cluster::{Container, Discovered, Login, Source, Status};
use super::{Inventory, Loaded, load};
use crate::diagnostic::Sources;
use std::path::Path;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn read(dir: &Path, name: &str) -> Result<Loaded, String> {
    let mut sources = Sources::default();
    let given = [dir.join(name).display().to_string()];
    load(&given, &[], &mut sources)
        .map_err(|faults| sources.show(&faults, false).replace(&format!("{}/", dir.display()), ""))
}

fn inventory(files: &[(&str, &str)]) -> Inventory {
    let dir = folder(files);
    read(dir.path(), files[0].0).unwrap_or_else(|faults| panic!("{faults}")).build(None)
}

fn faults(name: &str, text: &str) -> String {
    let dir = folder(&[(name, text)]);
    read(dir.path(), name).map(drop).expect_err("faults")
}

/// `name=value` of a host, sorted.
fn vars(inventory: &Inventory, host: &str) -> Vec<String> {
    inventory.vars(host).iter().map(|(name, node)| format!("{name}={}", node.to_json())).collect()
}

#[test]
fn the_stronger_value_wins() {
    let inventory = inventory(&[
        (
            "hosts",
            "[far]\na level=host\nb\n[near]\na\nb\n[far:vars]\nlevel=far\nx=far\n[outer:children]\nfar\n[outer:vars]\nx=outer\ny=outer\n[all:vars]\ny=all\nz=all\n",
        ),
        ("group_vars/all.yml", "z: file\n"),
        ("group_vars/far/a.yml", "x: file a\n"),
        ("group_vars/far/b.yml", "x: file b\n"),
        ("host_vars/b.yml", "level: host file\n"),
    ]);
    assert_eq!(vars(&inventory, "a"), [r#"level="host""#, r#"x="file b""#, r#"y="outer""#, r#"z="file""#]);
    assert_eq!(vars(&inventory, "b")[0], r#"level="host file""#);
    assert_eq!(inventory.groups["outer"], ["a", "b"]);
    assert_eq!(inventory.hosts, ["a", "b", "localhost"]);
}

#[test]
fn every_fault_of_an_ini_inventory_has_its_place() {
    let shown =
        faults("hosts", "[web]\nweb[1:x]\nweb2 port 22\n[web:varz]\n[db:children]\nwbe\n[web:vars]\njust words\n");
    for expected in [
        "hosts:2:1",
        "`x` is no number",
        "hosts:3:6",
        "`port` is no variable of a host",
        "hosts:4:6",
        "unknown kind of section `varz`",
        "did you mean `vars`?",
        "hosts:6:1",
        "group `wbe` is not declared",
        "did you mean `web`?",
        "hosts:8:1",
        "a variable is written `name=value`",
    ] {
        assert!(shown.contains(expected), "{expected}:\n{shown}");
    }
}

#[test]
fn every_fault_of_a_yaml_inventory_has_its_place() {
    let shown = faults("hosts.yml", "web:\n  host:\n    a:\n  hosts:\n    - b\ndb:\n  children:\n    db:\n");
    for expected in [
        "hosts.yml:2:3",
        "unknown key `host` in group `web`",
        "did you mean `hosts`?",
        "hosts.yml:5:",
        "`hosts` is a mapping",
        "hosts.yml:8:5",
        "would go in a circle",
    ] {
        assert!(shown.contains(expected), "{expected}:\n{shown}");
    }
}

#[test]
fn faults_show_no_password() {
    let shown = faults("hosts", "a ansible_password=hunter2 oops\n");
    assert!(shown.contains("oops") && !shown.contains("hunter2"), "{shown}");
    let cluster = "endpoints: [pve1]\nlogin: { user: root@pam, password: hunter2 }\n";
    let shown = faults("cluster.yml", cluster);
    assert!(shown.contains("says where the secret comes from") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_is_not_read_says_what_to_do_instead() {
    assert!(faults("x.yml", "plugin: community.proxmox.proxmox\n").contains("cluster.yml"));
    assert!(faults("script", "#!/bin/sh\n").contains("not run"));
    assert!(faults("v.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n").contains("ansible-vault"));
}

const CLUSTER: &str = "
endpoints: [pve1.example.org, 192.0.2.12]
login:
  user: root@pam
  password: { command: [pass, show, pve] }
tls: { ca_file: pve-root-ca.pem }
ssh: { user: root, port: 2222 }
nodes:
  pve1: { address: 10.0.0.1, vars: { disk: /dev/sdb } }
  pve9: { link: pve_shell }
groups:
  storage: { hosts: [pve1, pve2], vars: { role: storage } }
  web: { containers: { tags: [web], state: running }, vars: { port: 80 } }
  everything: { children: [storage, web] }
vars: { ntp: pool.example.org }
";

#[test]
fn a_cluster_has_what_its_file_says_and_what_is_discovered() {
    let dir = folder(&[("cluster.yml", CLUSTER)]);
    let loaded = read(dir.path(), "cluster.yml").unwrap_or_else(|faults| panic!("{faults}"));
    let cluster = loaded.cluster.as_ref().unwrap();
    assert!(matches!(&cluster.login, Login::Password { user, password: Source::Command(_), .. } if user == "root@pam"));
    let container =
        |vmid, tag: &str, status| Container { vmid, tags: vec![tag.into()], status, ..Container::default() };
    let found = Discovered {
        nodes: [("pve1", "192.0.2.11"), ("pve2", "192.0.2.12")].map(|(n, ip)| (n.into(), Some(ip.into()))).into(),
        containers: vec![
            container(101, "web", Status::Running),
            container(102, "WEB", Status::Stopped),
            container(103, "db", Status::Running),
            container(104, "web", Status::Unknown),
        ],
    };
    let strangers = loaded.strangers(&found);
    assert_eq!(strangers.iter().map(|f| f.message.as_str()).collect::<Vec<_>>(), ["the cluster has no node `pve9`"]);
    let inventory = loaded.build(Some(&found));
    assert!(inventory.notes[0].contains("ct:104") && inventory.notes.len() == 1, "{:?}", inventory.notes);
    assert_eq!(inventory.groups["nodes"], ["pve1", "pve2", "pve9"]);
    assert_eq!(inventory.groups["web"], ["ct:101", "ct:104"]);
    assert_eq!(inventory.groups["containers"], ["ct:101", "ct:102", "ct:103", "ct:104"]);
    assert_eq!(inventory.groups["everything"], ["pve1", "pve2", "ct:101", "ct:104"]);
    assert_eq!(inventory.hosts, ["pve1", "pve2", "pve9", "cluster", "localhost"]);
    let value = |host: &str, name: &str| inventory.vars(host).get(name).map(|node| node.to_json().to_string());
    assert_eq!(value("pve1", "ansible_host").unwrap(), r#""10.0.0.1""#);
    assert_eq!((value("pve2", "ansible_host"), &inventory.found["pve2"]["ansible_host"]), (None, &"192.0.2.12".into()));
    assert!(!inventory.found["pve1"].contains_key("ansible_host"), "the file's own address is stronger");
    assert_eq!(value("pve1", "disk").unwrap(), r#""/dev/sdb""#);
    assert_eq!(value("pve9", "ansible_connection").unwrap(), r#""pve_shell""#);
    // What the file leaves open is no variable, which would win over the words of plays.
    assert_eq!(
        (value("pve2", "ansible_user").unwrap(), value("pve2", "ansible_connection")),
        (r#""root""#.into(), None)
    );
    assert_eq!(inventory.logins["pve2"], "root");
    assert_eq!(value("pve2", "role").unwrap(), r#""storage""#);
    assert_eq!(value("ct:101", "port").unwrap(), "80");
    assert_eq!(value("ct:103", "ntp").unwrap(), r#""pool.example.org""#);
    assert_eq!(value("ct:103", "ansible_host"), None);
}

#[test]
fn a_shell_is_not_had_with_a_token() {
    let token = "endpoints: [a]\nlogin: { token: root@pam!x, secret: { env: X } }\n";
    for (more, place) in
        [("link: pve_shell\n", "cluster.yml:3:7"), ("nodes: { p: { link: pve_shell } }\n", "cluster.yml:3:21")]
    {
        let shown = faults("cluster.yml", &format!("{token}{more}"));
        assert!(shown.contains(place) && shown.contains("with a token"), "{shown}");
    }
}

#[test]
fn every_fault_of_a_cluster_file_has_its_place() {
    let shown = faults(
        "cluster.yml",
        "endpoint: [a]\nlogin: { usr: root@pam }\ntls: { ca_fil: x }\ngroups: { a: { host: [b] } }\n",
    );
    for expected in [
        "unknown field `endpoint`",
        "did you mean `endpoints`?",
        "did you mean `user`?",
        "ca_fil",
        "did you mean `hosts`?",
    ] {
        assert!(shown.contains(expected), "{expected}:\n{shown}");
    }
    let shown = faults(
        "cluster.yml",
        "endpoints: []\nlogin: { token: root, secret: { env: X } }\ngroups: { a: { children: [b] } }\n",
    );
    for expected in ["no endpoint is given", "no name of a token", "group `b` is not defined"] {
        assert!(shown.contains(expected), "{expected}:\n{shown}");
    }
}

#[test]
fn secrets_come_from_files_for_their_owner_alone_from_programs_and_from_the_environment() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder(&[("narrow", "s3cret\nrest\n"), ("wide", "s3cret\n")]);
    let mode =
        |name: &str, mode| std::fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
    mode("narrow", 0o600);
    mode("wide", 0o640);
    let get = |source: Source| source.get("password of x", dir.path());
    assert_eq!(get(Source::File("narrow".into())).unwrap().expose(), "s3cret");
    let why = get(Source::File("wide".into())).unwrap_err();
    assert!(why.contains("0640") && why.contains("chmod 0600") && !why.contains("s3cret"), "{why}");
    assert!(get(Source::File("absent".into())).unwrap_err().contains("absent"));
    let command = |argv: &[&str]| get(Source::Command(argv.iter().map(|a| (*a).to_owned()).collect()));
    assert_eq!(command(&["cat", "narrow"]).unwrap().expose(), "s3cret");
    assert!(command(&["false"]).unwrap_err().contains("ended with"));
    assert!(command(&["/nonexistent/program"]).is_err());
    assert!(command(&["true"]).unwrap_err().contains("gave nothing"));
    assert!(get(Source::Env("CONVERGE_TEST_NOT_SET".into())).unwrap_err().contains("CONVERGE_TEST_NOT_SET"));
}

#[test]
fn the_example_of_a_cluster_is_one() {
    let playbooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let loaded = read(&playbooks, "cluster.yml").unwrap_or_else(|faults| panic!("{faults}"));
    let inventory = loaded.build(None);
    assert_eq!(inventory.groups["storage_nodes"], ["pve1", "pve2"]);
    assert!(inventory.vars("pve3").contains_key("drbd_address"));
}
