//! The lab's API driven by a client that others wrote and use against real clusters: what it understands, ours says
//! right.

use converge::lab::{Lab, api};
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
