use super::*;
use crate::host::Output;
use crate::tasks::Decision;
use crate::tasks::fake::{Fake, faults, idle, refuses, task};
use serde_json::json;

const KERNEL: &str = "6.12.1";

/// A node as Proxmox installs it: 8.4 in the tree, nothing loaded, no dkms.
fn node() -> Fake {
    let fake = Fake::with(&[]);
    fake.directory("/lib/modules/6.12.1/kernel");
    fake.directory("/lib/modules/6.12.1/build");
    fake.answer(&["uname", "-r"], Output::ok(format!("{KERNEL}\n")));
    fake.answer(&["dpkg-query", "-W", "-f", "${db:Status-Status}", "drbd-dkms"], Output::ok("installed"));
    found(&fake, "8.4.11", "kernel/drivers/block/drbd/drbd.ko.xz", true);
    fake.answer(&["mokutil", "--sb-state"], Output::ok("SecureBoot disabled\n"));
    fake.answer(&["dkms", "status"], Output::ok(""));
    fake
}

fn found(fake: &Fake, version: &str, file: &str, intree: bool) {
    fake.answer(&["modinfo", "-F", "version", "drbd"], Output::ok(format!("{version}\n")));
    fake.answer(&["modinfo", "-n", "drbd"], Output::ok(format!("/lib/modules/{KERNEL}/{file}\n")));
    fake.answer(&["modinfo", "-F", "intree", "drbd"], Output::ok(if intree { "Y\n" } else { "" }));
}

fn with_9(fake: &Fake) {
    found(fake, "9.3.3", "updates/dkms/drbd.ko.xz", false);
    fake.file("/lib/modules/6.12.1/updates/dkms/drbd.ko.xz", "", 0o644);
    fake.answer(&["dkms", "status"], Output::ok("drbd/9.3.3, 6.12.1, x86_64: installed (Original modules exist)\n"));
}

fn loaded(fake: &Fake, version: &str, proc_drbd: &str) {
    fake.file("/sys/module/drbd/version", &format!("{version}\n"), 0o444);
    fake.file("/proc/drbd", proc_drbd, 0o444);
}

fn module() -> DrbdModule {
    task(json!({}))
}

fn look(fake: &Fake) -> Verdict {
    let task = module();
    task.decide(&task.probe(fake).unwrap())
}

#[test]
fn arguments() {
    assert_eq!(faults::<DrbdModule>(json!({ "version": "9.2" })), "");
    for version in ["8.4", "nine", "", "9.x"] {
        assert!(faults::<DrbdModule>(json!({ "version": version })).contains("not a version of DRBD 9"), "{version}");
    }
}

#[test]
fn nine_is_loaded_where_it_is_found() {
    let fake = node();
    with_9(&fake);
    let verdict = look(&fake);
    let Decision::Drift(change) = verdict.decision else { panic!("{verdict:?}") };
    assert_eq!(change.summary, "load DRBD 9.3.3");
    assert_eq!(change.steps[0].describe(), "modprobe drbd");
    loaded(&fake, "9.3.3", "version: 9.3.3 (api:2/proto:118-124)\n");
    idle(&module(), &fake);
    let at_least: DrbdModule = task(json!({ "version": "9.4" }));
    refuses(&at_least, &fake, "not 9.4");
}

#[test]
fn an_idle_8_4_is_replaced_and_a_used_one_is_not() {
    let fake = node();
    with_9(&fake);
    loaded(&fake, "8.4.11", "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n");
    let verdict = look(&fake);
    let Decision::Drift(change) = verdict.decision else { panic!("{verdict:?}") };
    let steps: Vec<String> = change.steps.iter().map(crate::host::Step::describe).collect();
    assert_eq!(steps, ["rmmod drbd", "modprobe drbd"]);
    let used =
        "version: 8.4.11 (api:1/proto:86-101)\n 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n";
    loaded(&fake, "8.4.11", used);
    refuses(&module(), &fake, "in use (minors 0)");
}

#[test]
fn it_says_why_not() {
    for (dkms, says) in [
        (Output::ok(""), "DKMS knows no drbd"),
        (Output::ok("drbd/9.3.3: added\n"), "not built for 6.12.1; its build failed or never ran"),
        (Output::ok("drbd/9.3.3, 6.12.1, x86_64: built\n"), "did not install it"),
        (Output::ok("drbd/9.3.3, 6.12.1, x86_64: installed\n"), "modprobe prefers /lib/modules/6.12.1/kernel"),
        (Output::failed(127, "not found"), "DKMS is not installed"),
    ] {
        let fake = node();
        fake.answer(&["dkms", "status"], dkms);
        refuses(&module(), &fake, says);
        loaded(&fake, "8.4.11", "version: 8.4.11 (api:1/proto:86-101)\n");
        refuses(&module(), &fake, "DRBD 8.4.11 is loaded, not 9: modprobe would load 8.4.11");
        refuses(&module(), &fake, says);
    }
    let fake = node();
    fake.answer(&["dkms", "status"], Output::ok("drbd/9.3.3: added\n"));
    fake.files.borrow_mut().remove(Path::new("/lib/modules/6.12.1/build"));
    refuses(&module(), &fake, "headers are missing");
}

#[test]
fn secure_boot_is_named() {
    let fake = node();
    with_9(&fake);
    fake.answer(&["mokutil", "--sb-state"], Output::ok("SecureBoot enabled\n"));
    let test = ["mokutil", "--test-key", MOK];
    // Enrolled, or not to be told: modprobe is tried.
    for (rc, says) in [(1, "/var/lib/dkms/mok.pub is already enrolled\n"), (255, "")] {
        fake.answer(&test, Output { rc, stdout: says.into(), ..Output::default() });
        assert!(look(&fake).warnings[0].contains("Secure Boot is enabled"), "{says}");
    }
    fake.answer(&test, Output::ok("/var/lib/dkms/mok.pub is not enrolled\n"));
    refuses(&module(), &fake, "mokutil --import /var/lib/dkms/mok.pub");
    loaded(&fake, "8.4.11", "version: 8.4.11 (api:1/proto:86-101)\n");
    refuses(&module(), &fake, "DRBD 8.4.11 is loaded, not 9: Secure Boot");
    // Signed with another key: what is enrolled is not known.
    fake.file("/etc/dkms/framework.conf", "mok_certificate=/root/own.pub\n", 0o644);
    assert!(matches!(look(&fake).decision, Decision::Drift(_)));
}

#[test]
fn the_next_kernel_is_looked_at() {
    let fake = node();
    with_9(&fake);
    loaded(&fake, "9.3.3", "version: 9.3.3 (api:2/proto:118-124)\n");
    assert_eq!(look(&fake).warnings, Vec::<String>::new());
    fake.directory("/lib/modules/6.14.0/kernel");
    assert!(look(&fake).warnings[0].contains("kernel 6.14.0 is installed and has no DRBD 9"));
    fake.file("/etc/kernel/proxmox-boot-pin", "6.12.1\n", 0o644);
    assert_eq!(look(&fake).warnings, Vec::<String>::new());
    fake.file("/etc/kernel/next-boot-pin", "6.11.0\n", 0o644);
    assert!(look(&fake).warnings[0].contains("kernel 6.11.0"));
    fake.file("/lib/modules/6.11.0/updates/dkms/drbd.ko.zst", "", 0o644);
    assert_eq!(look(&fake).warnings, Vec::<String>::new());
}

#[test]
fn at_boot_only_where_asked() {
    let fake = node();
    with_9(&fake);
    loaded(&fake, "9.3.3", "version: 9.3.3 (api:2/proto:118-124)\n");
    fake.directory("/etc/modules-load.d");
    let persistent: DrbdModule = task(json!({ "persistent": true }));
    crate::tasks::fake::converges(&persistent, &fake);
    assert_eq!(fake.text("/etc/modules-load.d/drbd.conf").unwrap(), "drbd\n");
    let fake = node();
    with_9(&fake);
    loaded(&fake, "9.3.3", "version: 9.3.3 (api:2/proto:118-124)\n");
    fake.file("/usr/lib/modules-load.d/drbd.conf", "# by drbd-utils\ndrbd\n", 0o644);
    idle(&persistent, &fake);
}
