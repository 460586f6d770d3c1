use super::*;
use crate::engine::{apply, check};
use crate::host::{Output, Preview};
use crate::tasks::fake::{Desk, Fake, converges, faults, idle, refuses, task};
use crate::wire::Status;
use serde_json::json;
use std::collections::BTreeMap;

const SUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn host(debian: u32) -> Fake {
    let host = Fake::with(&[]);
    host.file("/etc/os-release", &format!("ID=debian\nVERSION_ID=\"{debian}\"\n"), 0o644);
    host.directory(PARTS);
    host.directory(KEYRINGS);
    host
}

fn linbit(more: serde_json::Value) -> AptRepository {
    let mut args = json!({
        "name": "linbit", "uris": "http://packages.linbit.com/public/", "suites": "proxmox-9", "components": ["drbd-9"],
    });
    for (key, value) in more.as_object().unwrap() {
        args[key] = value.clone();
    }
    task(args)
}

const ARMORED: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n";

#[test]
fn the_release_decides_the_format() {
    let new = host(13);
    let args = linbit(json!({"key": ARMORED, "architectures": "amd64"}));
    converges(&args, &new);
    assert_eq!(
        new.text("/etc/apt/sources.list.d/linbit.sources").unwrap(),
        "# Managed by converge; changes made here are overwritten.\nTypes: deb\nURIs: http://packages.linbit.com/public/\n\
         Suites: proxmox-9\nComponents: drbd-9\nArchitectures: amd64\nSigned-By: /etc/apt/keyrings/linbit.asc\n"
    );
    assert_eq!(new.text("/etc/apt/keyrings/linbit.asc").unwrap(), ARMORED);
    let old = host(12);
    converges(&linbit(json!({"key": ARMORED, "suites": "proxmox-8", "architectures": ["amd64", "i386"]})), &old);
    assert_eq!(
        old.text("/etc/apt/sources.list.d/linbit.list").unwrap().lines().last().unwrap(),
        "deb [arch=amd64,i386 signed-by=/etc/apt/keyrings/linbit.asc] http://packages.linbit.com/public/ proxmox-8 drbd-9"
    );
}

#[test]
fn the_other_format_goes_when_the_release_changes() {
    let host = host(13);
    host.file(
        "/etc/apt/sources.list.d/linbit.list",
        "deb http://packages.linbit.com/public/ proxmox-9 drbd-9\n",
        0o644,
    );
    let diff = converges(&linbit(json!({"key": ARMORED})), &host);
    assert!(diff.contains("--- /etc/apt/sources.list.d/linbit.list\n+++ /dev/null\n"), "{diff}");
    assert_eq!(host.text("/etc/apt/sources.list.d/linbit.list"), None);
}

#[test]
fn a_change_leaves_a_note_for_apt() {
    let host = host(13);
    converges(&linbit(json!({"key": ARMORED})), &host);
    assert!(host.text("/var/lib/converge/apt-stale-linbit").is_some());
    assert!(host.done.borrow()[1].starts_with("write /var/lib/converge/apt-stale-linbit"), "{:?}", host.done.borrow());
}

#[test]
fn the_lists_are_fetched_at_once_when_asked_for() {
    let host = host(13);
    host.answer(&["date", "+%s"], Output::ok("1700000500\n"));
    let result = apply(&linbit(json!({"key": ARMORED, "update_cache": true})), &host, &[], &mut |_, _| {});
    assert_eq!(result.status, Status::Changed, "{}", result.summary);
    assert!(host.done.borrow().iter().any(|d| d.starts_with("apt-get update")));
    assert_eq!(host.text("/var/lib/converge/apt-stale-linbit"), None);
}

#[test]
fn a_key_from_the_network_is_checked_before_it_is_written() {
    let host = host(13);
    let args = linbit(json!({"key_url": "https://packages.linbit.com/package-signing-pubkey.asc", "key_sha256": SUM}));
    let result = check(&args, &Preview::new(host));
    assert_eq!(result.status, Status::Drifted);
    assert!(result.diff.contains(&format!("-absent\n+sha256 {SUM} (https://packages")), "{}", result.diff);
}

#[test]
fn the_steps_for_a_key_verify_then_install() {
    let host = host(13);
    let args = linbit(json!({"key_url": "https://packages.linbit.com/package-signing-pubkey.asc", "key_sha256": SUM}));
    apply(&args, &host, &[], &mut |_, _| {});
    let done = host.done.borrow();
    let at = done.iter().position(|d| d.contains("apt-helper download-file")).unwrap();
    assert!(done[at].ends_with(&format!("/etc/apt/keyrings/linbit.asc.new SHA256:{SUM}")), "{}", done[at]);
    assert_eq!(done[at + 1], "install -m 0644 -T /etc/apt/keyrings/linbit.asc.new /etc/apt/keyrings/linbit.asc");
}

#[test]
fn a_key_with_the_right_sum_is_left_alone() {
    let host = host(13);
    host.file("/etc/apt/keyrings/linbit.asc", "", 0o644);
    let args = linbit(json!({"key_url": "https://x/y.asc", "key_sha256": SUM.to_uppercase()}));
    converges(&args, &host);
    idle(&args, &host);
    assert!(!host.done.borrow().iter().any(|d| d.contains("apt-helper")));
}

#[test]
fn a_key_file_of_the_workstation_is_compared_too() {
    let desk = Desk(BTreeMap::from([("files/linbit.gpg", b"\x99\x01".as_slice())]));
    let mut wrong = linbit(json!({"key_file": "linbit.gpg", "key_sha256": SUM}));
    assert!(Task::resolve(&mut wrong, &desk).unwrap_err().to_string().contains("not the one in `key_sha256`"));
    let mut right = linbit(json!({"key_file": "linbit.gpg"}));
    Task::resolve(&mut right, &desk).unwrap();
    let host = host(13);
    converges(&right, &host);
    assert!(host.text("/etc/apt/keyrings/linbit.gpg").is_some());
}

#[test]
fn the_same_source_elsewhere_is_reported_or_refused() {
    let twice = host(13);
    let other = "Types: deb\nURIs: http://packages.linbit.com/public\nSuites: proxmox-9\nComponents: drbd-9\n";
    let signed = format!("{other}Signed-By: /etc/apt/keyrings/linbit.asc\n");
    twice.file("/etc/apt/sources.list.d/old.sources", &signed, 0o644);
    let args = linbit(json!({"key": ARMORED}));
    let result = apply(&args, &twice, &[], &mut |_, _| {});
    assert_eq!(result.status, Status::Changed);
    assert_eq!(result.warnings, ["the same source stands in /etc/apt/sources.list.d/old.sources:1"]);
    let conflict = host(13);
    conflict.file("/etc/apt/sources.list.d/old.sources", other, 0o644);
    refuses(&args, &conflict, "has the same source signed by no key of its own");
}

#[test]
fn the_suite_of_an_old_release_is_a_warning() {
    let host = host(13);
    host.file("/etc/apt/sources.list", "deb http://packages.linbit.com/proxmox/ proxmox-5 drbd-9.0\n", 0o644);
    let result = apply(&linbit(json!({"key": ARMORED})), &host, &[], &mut |_, _| {});
    assert_eq!(result.warnings.len(), 1, "{:?}", result.warnings);
    assert!(
        result.warnings[0].starts_with("/etc/apt/sources.list:1: LINBIT's suite proxmox-5"),
        "{:?}",
        result.warnings
    );
    assert!(result.warnings[0].ends_with("use proxmox-9 with component drbd-9"));
}

#[test]
fn ansibles_line_is_understood_and_taken_out_of_other_files() {
    let line = "deb [arch=amd64] https://enterprise.proxmox.com/debian/pve trixie pve-enterprise";
    let args: AptRepository = task(json!({"repo": line, "state": "absent"}));
    let host = host(13);
    let text = format!("# keep\n{line}\ndeb http://x y z\n");
    host.file("/etc/apt/sources.list.d/pve-enterprise.list", &text, 0o644);
    converges(&args, &host);
    assert_eq!(host.text("/etc/apt/sources.list.d/pve-enterprise.list").unwrap(), "# keep\ndeb http://x y z\n");
    let present: AptRepository = task(json!({"repo": line, "format": "list"}));
    converges(&present, &host);
    let path = "/etc/apt/sources.list.d/enterprise_proxmox_com_debian_pve.list";
    assert_eq!(host.text(path).unwrap().lines().last().unwrap(), line);
}

#[test]
fn absent_takes_source_and_key_but_not_a_key_that_others_use() {
    let host = host(13);
    converges(&linbit(json!({"key": ARMORED})), &host);
    let user = "deb [signed-by=/etc/apt/keyrings/linbit.asc] http://a b c\n";
    host.file("/etc/apt/sources.list.d/user.list", user, 0o644);
    converges(&linbit(json!({"key": ARMORED, "state": "absent"})), &host);
    assert!(host.text("/etc/apt/keyrings/linbit.asc").is_some());
    host.file("/etc/apt/sources.list.d/user.list", "", 0o644);
    converges(&linbit(json!({"key": ARMORED, "state": "absent"})), &host);
    assert_eq!(host.text("/etc/apt/keyrings/linbit.asc"), None);
}

#[test]
fn a_disabled_source_stays_written_down() {
    let host = host(13);
    let key = json!({"signed_by": "/usr/share/keyrings/linbit.gpg", "enabled": false});
    refuses(&linbit(key.clone()), &host, "the key ring /usr/share/keyrings/linbit.gpg does not exist");
    host.file("/usr/share/keyrings/linbit.gpg", "x", 0o644);
    converges(&linbit(key), &host);
    assert!(host.text("/etc/apt/sources.list.d/linbit.sources").unwrap().ends_with("Enabled: no\n"));
    assert_eq!(host.text("/var/lib/converge/apt-stale-linbit"), None);
}

#[test]
fn faults_are_found_without_a_host() {
    for (args, fault) in [
        (json!({"name": "x"}), "says where it is"),
        (json!({"uris": "http://a", "suites": "b", "components": "c"}), "`name` is missing"),
        (json!({"name": "x", "uris": "http://a", "suites": "b"}), "needs components"),
        (json!({"name": "x", "uris": "http://a", "suites": "b/", "components": "c"}), "has no components"),
        (json!({"name": "a/b", "uris": "http://a", "suites": "b/"}), "apt ignores files named"),
        (json!({"repo": "http://a b c"}), "this is not `deb"),
        (json!({"repo": "ppa:a/b"}), "PPAs"),
        (json!({"repo": "deb [weird=1] http://a b c"}), "`weird=1` is not known"),
        (json!({"name": "x", "uris": "u", "suites": "b/", "key_url": "https://a"}), "needs `key_sha256`"),
        (
            json!({"name": "x", "uris": "u", "suites": "b/", "key_url": "https://a:b@c/d", "key_sha256": SUM}),
            "credentials",
        ),
        (json!({"name": "x", "uris": "u", "suites": "b/", "key_sha256": "12", "key": "k"}), "64 hexadecimal"),
        (json!({"name": "x", "uris": "u", "suites": "b/", "key_sha256": SUM, "key": "k"}), "the SHA-256 of the key is"),
        (json!({"name": "x", "uris": "u", "suites": "b/", "key": "k", "key_file": "f"}), "exclude"),
        (json!({"name": "x", "uris": "u", "suites": "b/", "signed_by": "ring.gpg"}), "not an absolute path"),
        (json!({"name": "x", "uris": "u", "suites": "b/", "types": "rpm"}), "neither `deb` nor"),
    ] {
        let found = faults::<AptRepository>(args.clone());
        assert!(found.contains(fault), "{args}: {found}");
    }
    assert_eq!(faults::<AptRepository>(json!({"name": "x", "state": "absent"})), "");
}
