//! Ansible's inventories are read as Ansible reads them: groups, hosts and every variable of every host, held against
//! `ansible-inventory --list`. `ANSIBLE_INVENTORY_PROGRAM` names another one than the one in `PATH`.

use converge::diagnostic::Sources;
use converge::inventory::{Inventory, load};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn program() -> PathBuf {
    std::env::var_os("ANSIBLE_INVENTORY_PROGRAM").map_or_else(|| "ansible-inventory".into(), PathBuf::from)
}

/// What `ansible-inventory --list` says; `None` when there is none.
fn ansible(dir: &Path, name: &str) -> Option<Json> {
    let mut command = Command::new(program());
    command.arg("-i").arg(dir.join(name)).arg("--list").current_dir("/");
    command
        .env("ANSIBLE_INVENTORY_UNPARSED_FAILED", "true")
        .env("ANSIBLE_LOCAL_TEMP", dir.join(".tmp"))
        .env("HOME", dir);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: no ansible-inventory ({error})");
            return None;
        }
    };
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON of ansible-inventory"))
}

/// Every group's hosts, children's included; empty groups do not count.
fn groups(list: &Json) -> BTreeMap<String, BTreeSet<String>> {
    fn collect(list: &Json, group: &str, into: &mut BTreeSet<String>) {
        let words = |key: &str| list[group][key].as_array().cloned().unwrap_or_default();
        into.extend(words("hosts").iter().filter_map(|h| h.as_str().map(str::to_owned)));
        for child in words("children") {
            collect(list, child.as_str().unwrap(), into);
        }
    }
    let mut found = BTreeMap::new();
    for group in list.as_object().unwrap().keys().filter(|k| *k != "_meta" && *k != "all") {
        let mut hosts = BTreeSet::new();
        collect(list, group, &mut hosts);
        if !hosts.is_empty() {
            found.insert(group.clone(), hosts);
        }
    }
    found
}

fn ours(dir: &Path, name: &str) -> Inventory {
    let mut sources = Sources::default();
    let given = [dir.join(name).display().to_string()];
    let loaded = load(&given, &[], &mut sources).unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)));
    loaded.build(None)
}

#[test]
fn inventories_mean_what_they_mean_in_ansible() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/inventory");
    let mut seen = 0;
    let mut cases: Vec<PathBuf> = std::fs::read_dir(cases).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    for case in cases {
        let Some(list) = ansible(&case, "hosts") else { return };
        let inventory = ours(&case, "hosts");
        let shown = case.display();
        let mine: BTreeMap<String, BTreeSet<String>> = inventory
            .groups
            .iter()
            .filter(|(_, hosts)| !hosts.is_empty())
            .map(|(name, hosts)| (name.clone(), hosts.iter().cloned().collect()))
            .collect();
        assert_eq!(mine, groups(&list), "{shown}: groups");
        let none = Json::Object(Map::new());
        for host in inventory.hosts.iter().filter(|h| *h != "localhost") {
            let mine: Map<String, Json> =
                inventory.vars(host).iter().map(|(name, node)| (name.clone(), node.to_json())).collect();
            let theirs = list["_meta"]["hostvars"].get(host).unwrap_or(&none);
            let sorted = |json: Json| serde_json::to_string_pretty(&sort(json)).unwrap();
            assert_eq!(sorted(Json::Object(mine)), sorted(theirs.clone()), "{shown}: {host}");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} hosts were compared");
}

fn sort(json: Json) -> Json {
    match json {
        Json::Object(map) => {
            let sorted: BTreeMap<String, Json> = map.into_iter().map(|(k, v)| (k, sort(v))).collect();
            Json::Object(sorted.into_iter().collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(sort).collect()),
        other => other,
    }
}

/// The real binary: what it says and how it ends.
fn converge(dir: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_converge")).args(words).current_dir(dir).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_run_over_no_host_is_never_in_sync() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hosts"), "[here]\nlocalhost ansible_connection=local\n[empty]\n").unwrap();
    let play = |hosts: &str| format!("- hosts: {hosts}\n  tasks: [{{ stat: {{ path: / }} }}]\n");
    std::fs::write(dir.path().join("empty.yml"), play("empty")).unwrap();
    std::fs::write(dir.path().join("both.yml"), play("empty") + &play("here")).unwrap();
    for command in [&["check"][..], &["apply"], &["drift", "--out", "out"]] {
        let (code, said) = converge(dir.path(), &[command, &["empty.yml", "-i", "hosts"]].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("no host matches `empty`; nothing was looked at"), "{said}");
    }
    let (code, said) = converge(dir.path(), &["check", "both.yml", "-i", "hosts"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no host matches `empty`"), "{said}");
    let (code, said) = converge(dir.path(), &["check", "both.yml", "-i", "hosts", "--limit", "empty"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--limit `empty` leaves no host of `empty`, `here`"), "{said}");
}
