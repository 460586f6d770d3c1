//! Real outputs stand in `tests/captured/apt`; the commands that made them are those that the kind asks.

use super::*;
use crate::engine::apply;
use crate::host::{Host, Output, Preview};
use crate::tasks::fake::{Fake, faults, idle, refuses, task};
use crate::wire::Status;
use serde_json::json;
use std::cmp::Ordering;

macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("../../../tests/captured/apt/", $name, ".debian12-apt2.6.1-2026-11-22.txt"))
    };
}

const NFS: &str = captured!("simulate-install");

fn dpkg(host: &Fake, names: &[&str], rows: &str, rc: i32) {
    let argv: Vec<&str> = ["dpkg-query", "-W", "-f", look::FORMAT].iter().chain(names).copied().collect();
    host.answer(&argv, Output { rc, stdout: rows.to_owned(), stderr: String::new() });
}

fn policy(host: &Fake, names: &[&str], text: &str) {
    let argv: Vec<&str> = ["apt-cache", "policy"].iter().chain(names).copied().collect();
    host.answer(&argv, Output::ok(text));
}

/// A host whose package lists were fetched after its sources were written.
fn fresh() -> Fake {
    let host = Fake::with(&[("/etc/apt/sources.list", "deb http://x y z\n")]);
    host.file("/var/lib/apt/lists/deb.debian.org_debian_dists_bookworm_InRelease", "", 0o644);
    host
}

#[test]
fn real_dpkg_rows_are_read() {
    let rows = look::parse_rows(captured!("dpkg-query")).unwrap();
    let row = rows.iter().find(|r| r.name == "drbd-utils").unwrap();
    assert_eq!((row.version.as_str(), row.installed(), row.held()), ("9.22.0-1", true, false));
    let awk = rows.iter().find(|r| r.name == "awk").unwrap();
    assert!(!awk.installed() && awk.broken().is_none());
    assert_eq!(look::parse_rows("a\tb\n").unwrap_err(), "a\tb");
}

#[test]
fn real_policies_are_read() {
    let all = look::parse_policy(captured!("policy"));
    assert_eq!(all["bash"].candidate.as_deref(), Some("5.2.15-2+b13"));
    assert_eq!(all["bash"].versions, ["5.2.15-2+b13", "5.2.15-2+b8"]);
    assert_eq!(all["awk"], Policy::default());
    assert!(!all.contains_key("nosuch"));
    let providers = look::parse_providers(captured!("showpkg"));
    assert!(providers.contains(&"postfix".to_owned()) && providers.contains(&"dma".to_owned()), "{providers:?}");
    assert!(!providers.contains(&"Reverse".to_owned()));
}

#[test]
fn real_simulations_are_read() {
    let install = Simulation::of(&Output::ok(NFS));
    assert_eq!(install.installs.len(), 6);
    assert_eq!(install.installs[5], ("nfs-kernel-server".into(), None, "1:2.6.2-4+deb12u1".into()));
    assert!(install.diff().contains("+rpcbind 1.2.6-6+b1\n"));
    let remove = Simulation::of(&Output::ok(captured!("simulate-remove")));
    assert_eq!(remove.removes, [("drbd-utils".to_owned(), "9.22.0-1".to_owned())]);
    let unknown = Simulation::of(&Output::failed(100, captured!("simulate-unknown.stderr")));
    assert_eq!(unknown.refused.unwrap(), "Unable to locate package nosuchpkg");
    let upgrade = Simulation::of(&Output::ok("Inst bash [5.2.15-2+b8] (5.2.15-2+b13 Debian:12 [amd64]) []\n"));
    assert_eq!(upgrade.installs, [("bash".into(), Some("5.2.15-2+b8".into()), "5.2.15-2+b13".into())]);
}

#[test]
fn versions_are_ordered_as_dpkg_orders_them() {
    let cases = [
        ("1.0", "1.0"),
        ("1.0", "1.0-0"),
        ("1.0~rc1", "1.0"),
        ("1.0~rc1-1", "1.0~rc2-1"),
        ("1:0.1", "9.9"),
        ("2.10", "2.9"),
        ("1.0-1", "1.0-1+b1"),
        ("1.0a", "1.0"),
        ("1.0a", "1.0+"),
        ("9.22.0-1", "9.22.0-1~bpo12+1"),
        ("1.001", "1.1"),
        ("0~~a", "0~"),
        ("6.17.2-1-pve", "6.17.10-1-pve"),
    ];
    let has_dpkg = std::process::Command::new("dpkg").arg("--version").output().is_ok();
    if !has_dpkg {
        eprintln!("skipped: no dpkg");
        return;
    }
    for (a, b) in cases {
        for (a, b) in [(a, b), (b, a)] {
            let says = |op: &str| {
                let status = std::process::Command::new("dpkg").args(["--compare-versions", a, op, b]).status();
                status.unwrap().success()
            };
            let real = match (says("lt"), says("eq")) {
                (true, _) => Ordering::Less,
                (_, true) => Ordering::Equal,
                _ => Ordering::Greater,
            };
            assert_eq!(version::compare(a, b), real, "{a} {b}");
        }
    }
}

#[test]
fn what_is_installed_is_left_alone_without_asking_for_candidates() {
    let host = Fake::default();
    dpkg(&host, &["drbd-utils"], "drbd-utils\tamd64\t9.22.0-1\tinstall\tok\tinstalled\n", 0);
    idle(&task::<Apt>(json!({"name": "drbd-utils", "update_cache": true})), &host);
    idle(&task::<Apt>(json!({"name": "drbd-utils=9.22.*"})), &host);
}

/// A host where `nfs-kernel-server` can be installed.
fn with_nfs() -> Fake {
    let host = fresh();
    dpkg(&host, &["nfs-kernel-server"], "", 1);
    policy(&host, &["nfs-kernel-server"], captured!("policy"));
    host.answer(&["apt-cache", "showpkg", "awk"], Output::ok("Reverse Provides: \n"));
    host.answer(&["apt-get", "-s", "install", "--no-remove", "--", "nfs-kernel-server"], Output::ok(NFS));
    host
}

#[test]
fn an_installation_shows_what_comes_along_and_removes_nothing() {
    let host = with_nfs();
    let verdict = {
        let task: Apt = task(json!({"name": "nfs-kernel-server"}));
        let seen = Task::probe(&task, &host).unwrap();
        task.decide(&seen)
    };
    let crate::tasks::Decision::Drift(change) = verdict.decision else { panic!("{verdict:?}") };
    assert_eq!(change.summary, "install nfs-kernel-server 1:2.6.2-4+deb12u1");
    assert!(change.diff.contains("+libwrap0 7.6.q-32\n"));
    assert_eq!(change.steps.len(), 1);
    let line = change.steps[0].describe();
    assert!(line.starts_with("apt-get -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef"), "{line}");
    assert!(line.ends_with("install --no-remove -- nfs-kernel-server"), "{line}");
}

#[test]
fn a_preview_finds_a_predicted_package_installed() {
    let host = Preview::new(with_nfs());
    let first: Apt = task(json!({"name": "nfs-kernel-server"}));
    assert_eq!(crate::engine::check(&first, &host).status, Status::Drifted);
    let again = crate::engine::check(&first, &host);
    assert_eq!(again.status, Status::Ok, "{}", again.summary);
    assert!(again.provisional.is_empty(), "{:?}", again.provisional);
}

#[test]
fn a_changed_source_means_fetching_the_lists_first() {
    let host = with_nfs();
    host.file("/var/lib/converge/apt-stale-linbit", "", 0o600);
    host.answer(&["date", "+%s"], Output::ok("1700000500\n"));
    let args: Apt = task(json!({"name": "nfs-kernel-server", "update_cache": true}));
    let result = crate::engine::check(&args, &Preview::new(host));
    assert_eq!(result.status, Status::Drifted);
    assert!(result.summary.contains("the source linbit changed"), "{}", result.summary);
    assert!(result.diff.contains("+nfs-kernel-server 1:2.6.2-4+deb12u1\n"), "{}", result.diff);
}

#[test]
fn after_the_lists_were_fetched_the_note_is_gone_and_the_installation_follows() {
    let host = with_nfs();
    host.file("/var/lib/converge/apt-stale-linbit", "", 0o600);
    host.answer(&["date", "+%s"], Output::ok("1700000500\n"));
    let args: Apt = task(json!({"name": "nfs-kernel-server", "update_cache": true}));
    // The scripted dpkg never finds it installed, so the engine ends with a failure after both stages.
    let result = apply(&args, &host, &[], &mut |_, _| {});
    assert_eq!(result.status, Status::Failed);
    let done = host.done.borrow();
    assert!(done[0].starts_with("apt-get update"), "{done:?}");
    assert!(done.contains(&"remove /var/lib/converge/apt-stale-linbit".to_owned()), "{done:?}");
    assert!(done.last().unwrap().ends_with("-- nfs-kernel-server"), "{done:?}");
    assert_eq!(host.text("/var/lib/converge/apt-updated").unwrap(), "1700000500\n");
}

#[test]
fn an_unknown_package_is_blocked_only_on_fresh_lists() {
    let host = fresh();
    dpkg(&host, &["drbd-dkms"], "", 1);
    policy(&host, &["drbd-dkms"], "");
    refuses(&task::<Apt>(json!({"name": "drbd-dkms"})), &host, "no package `drbd-dkms`");
    // After a predicted source its lists may have it.
    let preview = Preview::new(host);
    preview.perform(&crate::host::Step::write("/var/lib/converge/apt-stale-linbit", "")).unwrap();
    let args: Apt = task(json!({"name": "drbd-dkms"}));
    let result = crate::engine::check(&args, &preview);
    assert_eq!(result.status, Status::Drifted, "{}", result.summary);
    assert!(result.summary.ends_with("then install drbd-dkms"), "{}", result.summary);
    // That preview fetched the lists; whatever else is unknown is not refused either.
    let next: Apt = task(json!({"name": "drbd-dkms"}));
    assert_eq!(crate::engine::check(&next, &preview).status, Status::Ok);
}

#[test]
fn holds_and_downgrades_are_respected() {
    let held = "bash\tamd64\t5.2.15-2+b8\thold\tok\tinstalled\n";
    let host = fresh();
    dpkg(&host, &["bash"], held, 0);
    let lists = captured!("policy").replace("awk:", "bash-doc:");
    policy(&host, &["bash"], &lists);
    host.answer(&["apt-cache", "showpkg", "bash-doc"], Output::ok(""));
    let latest: Apt = task(json!({"name": "bash", "state": "latest"}));
    let result = apply(&latest, &host, &[], &mut |_, _| {});
    assert_eq!((result.status, result.warnings.len()), (Status::Ok, 1), "{}", result.summary);
    refuses(&task::<Apt>(json!({"name": "bash=5.2.15-2+b13"})), &host, "is held at");
    dpkg(&host, &["bash"], "bash\tamd64\t5.2.15-2+b13\tinstall\tok\tinstalled\n", 0);
    refuses(&task::<Apt>(json!({"name": "bash=5.2.15-2+b8"})), &host, "needs `allow_downgrade: true`");
}

#[test]
fn half_configured_packages_are_drift() {
    let host = Fake::default();
    dpkg(&host, &["drbd-dkms"], "drbd-dkms\tall\t9.3.3-1\tinstall\tok\thalf-configured\n", 0);
    let result = crate::engine::check(&task::<Apt>(json!({"name": "drbd-dkms"})), &Preview::new(host));
    assert_eq!(result.summary, "finish the installation of drbd-dkms");
    assert!(result.diff.contains("-drbd-dkms 9.3.3-1 half-configured\n"), "{}", result.diff);
}

#[test]
fn a_removal_takes_nothing_along_that_nobody_named() {
    let host = Fake::default();
    dpkg(&host, &["drbd-utils"], "drbd-utils\tamd64\t9.22.0-1\tinstall\tok\tinstalled\n", 0);
    let argv = ["apt-get", "-s", "remove", "--", "drbd-utils"];
    host.answer(&argv, Output::ok("Remv linstor-satellite [1.30]\nRemv drbd-utils [9.22.0-1]\n"));
    let args: Apt = task(json!({"name": "drbd-utils", "state": "absent"}));
    refuses(&args, &host, "would also remove linstor-satellite");
    host.answer(&argv, Output::ok(captured!("simulate-remove")));
    let result = crate::engine::check(&args, &Preview::new(host));
    assert_eq!(result.diff, "--- packages\n+++ packages\n-drbd-utils 9.22.0-1\n");
}

#[test]
fn a_virtual_package_is_satisfied_by_any_provider_and_chosen_by_a_person() {
    let host = fresh();
    dpkg(&host, &["mail-transport-agent"], "", 1);
    policy(&host, &["mail-transport-agent"], "mail-transport-agent:\n  Installed: (none)\n  Candidate: (none)\n");
    host.answer(
        &["apt-cache", "showpkg", "mail-transport-agent"],
        Output::ok("Reverse Provides: \na1 1 (= )\nb1 1 (= )\n"),
    );
    dpkg(&host, &["a1", "b1"], "", 1);
    let args: Apt = task(json!({"name": "mail-transport-agent"}));
    refuses(&args, &host, "is a virtual package; name one of a1, b1");
    dpkg(&host, &["a1", "b1"], "b1\tall\t1\tinstall\tok\tinstalled\n", 1);
    idle(&args, &host);
}

#[test]
fn the_age_of_the_lists_counts_only_where_it_matters() {
    let host = fresh();
    host.answer(&["date", "+%s"], Output::ok("1700007300\n"));
    idle(&task::<Apt>(json!({"update_cache": true, "cache_valid_time": 7300})), &host);
    let result = crate::engine::check(&task::<Apt>(json!({"update_cache": true})), &Preview::new(host));
    assert_eq!(result.summary, "fetch the package lists (the package lists are 2 h old)");
}

#[test]
fn an_update_predicted_is_not_predicted_again() {
    let host = fresh();
    host.answer(&["date", "+%s"], Output::ok("1700090000\n"));
    let preview = Preview::new(host);
    let args: Apt = task(json!({"update_cache": true}));
    assert_eq!(crate::engine::check(&args, &preview).status, Status::Drifted);
    assert_eq!(crate::engine::check(&args, &preview).status, Status::Ok);
}

#[test]
fn faults_are_found_without_a_host() {
    for (args, fault) in [
        (json!({}), "nothing to do"),
        (json!({"name": "foo-"}), "not a name of a Debian package"),
        (json!({"name": "Foo"}), "not a name of a Debian package"),
        (json!({"name": "foo*"}), "patterns"),
        (json!({"name": "foo>=1"}), "only `=` may follow"),
        (json!({"name": "foo=1", "state": "latest"}), "asks for one version"),
        (json!({"name": "foo=1", "state": "absent"}), "says nothing"),
        (json!({"name": "foo", "upgrade": "dist"}), "exclude each other"),
        (json!({"name": "foo", "autoremove": true}), "task of its own"),
        (json!({"update_cache": true, "cache_valid_time": 0}), "for ever"),
        (json!({"name": "-o=Debug"}), "not a name of a Debian package"),
        (json!({"deb": "/root/x.deb"}), "package files are not installed by `apt`"),
        (json!({"deb": "https://example.org/x.deb", "state": "present"}), "package files are not installed by `apt`"),
        (json!({"name": "drbd-utils", "state": "build-dep"}), "`build-dep` is not supported"),
        (json!({"state": "fixed"}), "`fixed` is not supported"),
    ] {
        let found = faults::<Apt>(args.clone());
        assert!(found.contains(fault), "{args}: {found}");
    }
    assert_eq!(faults::<Apt>(json!({"name": ["g++", "libc6:i386", "a1=1:2.3-4"]})), "");
}
