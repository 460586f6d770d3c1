//! The lab's API driven by clients that others wrote and use against real clusters: what they understand, ours says
//! right.

use converge::lab::{Flavour, Lab, api};
use std::path::PathBuf;
use std::process::Command;

/// Runs the script with the API's address; `None` where this machine lacks Python or the client.
fn drive(script: &str, server: &api::Server) -> Option<std::process::Output> {
    let there = Command::new("python3").args(["-c", "import proxmoxer, requests"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no proxmoxer for python3");
        return None;
    }
    let ca = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(ca.path(), &server.ca_pem).expect("the authority's certificate");
    let output = Command::new("python3")
        .arg(format!("{}/tests/third_party/{script}", env!("CARGO_MANIFEST_DIR")))
        .env("LAB_ADDRESS", server.base_url().trim_start_matches("https://"))
        .env("LAB_PASSWORD", server.root_password())
        .env("LAB_CA", ca.path())
        .output()
        .expect("python3 ran before");
    Some(output)
}

#[test]
fn proxmoxer_finds_what_it_knows_from_proxmox() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let lab = Lab::open(dir.path().join("lab")).expect("a fresh lab");
    let server = api::serve(lab, "127.0.0.1:0".parse().expect("an address")).expect("served");
    let Some(output) = drive("proxmoxer_drive.py", &server) else { return };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).ends_with("all as expected\n"), "{}", text(&output.stdout));
}

/// The collection `community.proxmox`, as `.ci/run` unpacks it beside the environment of `python3`.
fn collection() -> Option<PathBuf> {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.prefix)"]).output().ok()?;
    let prefix = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    let found = prefix.join("collections");
    let there =
        found.join("ansible_collections/community/proxmox").is_dir() && prefix.join("bin/ansible-playbook").exists();
    if !there {
        eprintln!("skipped: no community.proxmox beside python3");
    }
    there.then_some(found)
}

#[test]
fn modules_of_ansible_do_what_they_do_with_proxmox() {
    let Some(collection) = collection() else { return };
    for (flavour, name) in [(Flavour::Pve9, "pve9"), (Flavour::Pve8, "pve8")] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lab = Lab::with_nodes(dir.path().join("lab"), 3, flavour).expect("a fresh lab");
        let server = api::serve(lab, "127.0.0.1:0".parse().expect("an address")).expect("served");
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, &server.ca_pem).expect("the authority's certificate");
        let (host, port) = server.base_url().trim_start_matches("https://").rsplit_once(':').expect("a port");
        let output = Command::new(collection.with_file_name("bin").join("ansible-playbook"))
            .args(["-i", "localhost,", "-e", "ansible_python_interpreter={{ ansible_playbook_python }}", "-e"])
            .arg(format!("flavour={name}"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/third_party/community_proxmox.yml"))
            .env("ANSIBLE_COLLECTIONS_PATH", &collection)
            .env("ANSIBLE_LOCALHOST_WARNING", "false")
            .env("HOME", dir.path())
            .env("REQUESTS_CA_BUNDLE", &ca)
            .envs([("PROXMOX_HOST", host), ("PROXMOX_PORT", port), ("PROXMOX_USER", "root@pam")])
            .envs([("PROXMOX_PASSWORD", server.root_password()), ("PROXMOX_VALIDATE_CERTS", "true")])
            .output()
            .expect("ansible-playbook is there");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{name}:\n{}\n{}", text(&output.stdout), text(&output.stderr));
    }
}
