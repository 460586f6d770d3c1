use super::*;
use crate::engine;
use crate::host::{Host, Local};
use crate::tasks::Decision;
use crate::wire::Status;
use serde_json::Value as Json;

/// As lxc-pve ships it.
const SHIPPED: &str = "\
# Do not load this file.  Rather, load /etc/apparmor.d/lxc-containers, which
# will source all profiles under /etc/apparmor.d/lxc

profile lxc-container-default-cgns flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/lxc/container-base>

  # the container may never be allowed to mount devpts.
  deny mount fstype=devpts,
  mount fstype=cgroup -> /sys/fs/cgroup/**,
}
";

fn task(json: Json) -> ApparmorLines {
    let task: ApparmorLines = serde_json::from_value(json).unwrap();
    assert_eq!(Task::check_args(&task), []);
    task
}

fn seen(text: &str) -> Seen {
    Seen {
        text: Some(text.into()),
        enabled: true,
        owed: false,
        loader: Some(LXC_LOADER.into()),
        container_profiles: Some(vec![]),
    }
}

fn nfs() -> ApparmorLines {
    task(json!({"lines": ["mount fstype=nfsd,", "mount  fstype=rpc_pipefs,"]}))
}

#[test]
fn missing_rules_go_right_before_the_closing_brace() {
    let Decision::Drift(change) = nfs().decide(&seen(SHIPPED)).decision else { panic!("rules are missing") };
    let after = SHIPPED.replace("/**,\n}", "/**,\n  mount fstype=nfsd,\n  mount fstype=rpc_pipefs,\n}");
    let write = Step::write("/etc/apparmor.d/lxc/lxc-default-cgns", after.clone());
    let written = change.steps.iter().position(|step| *step == write);
    let words: Vec<String> = change.steps.iter().map(Step::describe).collect();
    assert_eq!(words[0], "apparmor_parser -Q -K", "validated first");
    let load = words.iter().position(|word| word == "apparmor_parser -r /etc/apparmor.d/lxc-containers");
    assert!(written.is_some() && load > written, "then loaded by the file that includes it: {words:?}");
    assert!(matches!(nfs().decide(&seen(&after)).decision, Decision::Ok(_)));

    let absent = task(json!({"lines": ["mount fstype=nfsd,", "mount fstype=rpc_pipefs,"], "state": "absent"}));
    let Decision::Drift(change) = absent.decide(&seen(&after)).decision else { panic!("rules are there") };
    assert!(change.steps.contains(&Step::write("/etc/apparmor.d/lxc/lxc-default-cgns", SHIPPED)));
}

#[test]
fn comments_nested_blocks_and_several_profiles() {
    let text = "profile a {\n  # mount fstype=nfsd,\n  ^hat {\n    mount fstype=nfsd,\n  }\n  owner /x/{a,b} r,\n}\n/usr/bin/b {\n}\n";
    assert!(profile::find(text, None).is_err_and(|why| why.contains("a, /usr/bin/b")));
    assert!(profile::find(text, Some("c")).is_err());
    let a = profile::find(text, Some("a")).unwrap();
    let b = profile::find(text, Some("/usr/bin/b")).unwrap();
    let rule = ["mount fstype=nfs,".to_owned()];
    assert!(profile::with(text, &a, &rule).contains("r,\n  mount fstype=nfs,\n}\n/usr/bin/b"));
    assert!(profile::with(text, &b, &rule).ends_with("/usr/bin/b {\n  mount fstype=nfs,\n}\n"));
    assert!(profile::find("profile a {\n", None).is_err());
    assert!(profile::find("# nothing\n", None).is_err());
}

#[test]
fn it_says_when_the_rules_act_on_no_container() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(path), text).unwrap();
    };
    put("etc/apparmor.d/lxc/lxc-default-cgns", SHIPPED);
    put("sys/module/apparmor/parameters/enabled", "Y\n");
    let conf = "etc/pve/nodes/pve1/lxc/101.conf";
    let host = Local::rooted("pve1", dir.path());
    let warnings = |host: &Local| nfs().decide(&nfs().probe(host).unwrap()).warnings;
    assert_eq!(warnings(&host), Vec::<String>::new(), "no Proxmox VE here");
    put(conf, "hostname: nfs1\n");
    assert!(warnings(&host)[0].contains("no container uses"));
    put(conf, "hostname: nfs1\n[snap]\nlxc.apparmor.profile: lxc-container-default-cgns\n");
    assert!(warnings(&host)[0].contains("no container uses"), "a snapshot does not count");
    put(conf, "hostname: nfs1\nlxc.apparmor.profile: lxc-container-default-cgns\n");
    assert_eq!(warnings(&host), Vec::<String>::new());
}

#[test]
fn rules_are_checked_before_any_host_is_touched() {
    for (lines, faults) in [
        (json!([]), 1),
        (json!(["mount fstype=nfs"]), 1),
        (json!(["profile x {"]), 1),
        (json!(["/x/{a,b} r,"]), 0),
        (json!(["a,\nb,"]), 1),
    ] {
        let task: ApparmorLines = serde_json::from_value(json!({"lines": lines})).unwrap();
        assert_eq!(Task::check_args(&task).len(), faults, "{lines}");
    }
}

#[test]
fn the_real_parser_judges_the_new_text() {
    if !["/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join("apparmor_parser").exists()) {
        eprintln!("skipped: no apparmor_parser");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("profile");
    let text = "#include <tunables/global>\nprofile converge-test {\n  mount fstype=cgroup,\n}\n";
    std::fs::write(&path, text).unwrap();
    let host = Local::this_machine("here");
    let step = |rule: &str| {
        let task = task(json!({"lines": [rule], "path": path}));
        let seen = Seen { enabled: false, ..task.probe(&host).unwrap() };
        let Decision::Drift(change) = task.decide(&seen).decision else { panic!("a rule is missing") };
        change.steps
    };
    host.perform(&step("mount fstype=nfsd,")[0]).unwrap();
    assert!(host.perform(&step("mount fstype nfsd,")[0]).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "validation writes nothing");
    let bad = task(json!({"lines": ["nonsense here,"], "path": path}));
    let result = engine::apply(&bad, &host, &[], &mut |_, _| {});
    assert_eq!(result.status, Status::Failed, "{}", result.summary);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_load_that_failed_is_found_out_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path.trim_start_matches('/'));
    std::fs::create_dir_all(at(LXC_DIR)).unwrap();
    std::fs::create_dir_all(at(ENABLED).parent().unwrap()).unwrap();
    std::fs::write(at(ENABLED), "Y\n").unwrap();
    std::fs::write(at(LXC_LOADER), "").unwrap();
    std::fs::write(at("/etc/apparmor.d/lxc/lxc-default-cgns"), SHIPPED).unwrap();
    let works = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let loads = works.clone();
    let host = Local::rooted("pve1", dir.path()).with_programs(Box::new(move |argv, _| {
        Some(match argv[1].as_str() {
            "-r" if !loads.load(std::sync::atomic::Ordering::SeqCst) => {
                crate::host::Output::failed(1, "the kernel does not take it")
            }
            _ => crate::host::Output::ok(""),
        })
    }));
    let apply = || engine::apply(&nfs(), &host, &[], &mut |_, _| {});
    assert_eq!(apply().status, Status::Failed);
    let again = apply();
    assert_eq!(again.status, Status::Failed, "the file is as described, what the kernel has is not: {again:?}");
    works.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(apply().status, Status::Changed);
    assert_eq!(apply().status, Status::Ok);
}
