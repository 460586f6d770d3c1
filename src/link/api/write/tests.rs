//! Writes against a server, and a `pvesh`, that answer as Proxmox does.

use super::*;
use crate::host::Local;
use crate::pve::client::scripted::{Reply, Server, ok};

const CONFIG: &str = "/nodes/pve1/lxc/101/config";
const UPID: &str = "UPID:pve1:0000057E:000249E0:6B02A6C7:vzcreate:101:root@pam!test:";

fn params(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn words(error: &StepError) -> String {
    format!("{}: {error}", format!("{error:?}").split([' ', '(']).next().unwrap_or_default())
}

#[test]
fn an_answer_that_settles_nothing_is_neither_failed_nor_done() {
    let memory = params(&[("memory", "1")]);
    let write = Write { method: Method::Put, path: CONFIG, params: &memory, wait_s: Some(600) };
    for (reply, said) in [
        (Some("403 Permission check failed (/vms/101, VM.Config.Memory)"), "Failed"),
        (Some("500 cluster not ready - no quorum?"), "Failed"),
        (Some("500 detected modified configuration - file changed by other user? Try again."), "Overtaken"),
        (Some("500 bridge 'vmbr9' does not exist"), "Unknown"),
        (Some("596 Connection timed out"), "Unknown"),
        (None, "Unknown"),
    ] {
        let server = Server::start(move |_| reply.map_or(Reply::Close, |line| Reply::Say(line, String::new())));
        let error = by_rest(&server.client(), &write).unwrap_err();
        let told = words(&error);
        assert!(told.starts_with(said), "{told}");
        assert!(reply.is_none_or(|line| told.contains(line)) && !told.contains("http"), "{told}");
        let is_silent = reply.is_none_or(|line| line.starts_with("596"));
        assert_eq!(told.contains(MAY_BE_DONE), is_silent, "{told}");
        assert_eq!(server.asked().len(), 1, "a write is sent once");
    }
}

#[test]
fn work_that_nobody_told_us_of_is_waited_for() {
    let server = Server::start(|asked| match asked.path.as_str().trim_start_matches("/api2/json") {
        "/nodes/pve1/lxc" => Reply::Close,
        "/nodes/pve1/tasks?source=active&limit=500" => {
            let other = UPID.replace(":101:", ":102:");
            ok(&format!(r#"[{{"upid":"{other}"}},{{"upid":"{UPID}","endtime":5}},{{"upid":"{UPID}"}}]"#))
        }
        path if path.ends_with("/status") => ok(r#"{"status":"stopped","exitstatus":"no space left on device"}"#),
        _ => ok("[]"),
    });
    let vmid = params(&[("vmid", "101")]);
    let create = Write { method: Method::Post, path: "/nodes/pve1/lxc", params: &vmid, wait_s: Some(600) };
    let told = words(&by_rest(&server.client(), &create).unwrap_err());
    assert!(told.starts_with("Unknown") && told.contains("101 on pve1 failed: no space left on device"), "{told}");
    assert_eq!(server.asked().iter().filter(|asked| asked.method == "POST").count(), 1);
}

/// A node whose `pvesh create` leaves this behind, and whose task ended so.
fn by_pvesh(create: Output, exitstatus: &'static str) -> Result<Output, StepError> {
    let dir = tempfile::tempdir().unwrap();
    let node = Local::rooted("pve1", dir.path()).with_programs(Box::new(move |argv, _| {
        Some(match (argv[1].as_str(), argv[2].rsplit('/').next()) {
            ("create", _) => create.clone(),
            ("get", Some("status")) => {
                assert!(argv[2].starts_with("/nodes/pve1/tasks/UPID:pve1:"), "{argv:?}");
                Output::ok(format!("{{\"status\":\"stopped\",\"exitstatus\":\"{exitstatus}\"}}\n"))
            }
            ("get", Some("log")) => Output::ok("[{\"n\":1,\"t\":\"what it wrote\"}]\n"),
            _ => panic!("{argv:?}"),
        })
    }));
    let params = params(&[("vmid", "101")]);
    let step = Step::api(Method::Post, "/nodes/pve1/lxc", params.clone());
    by_node(&node, &step, &Write { method: Method::Post, path: "/nodes/pve1/lxc", params: &params, wait_s: Some(600) })
}

#[test]
fn pvesh_ends_well_whatever_became_of_the_task_it_ran() {
    // Here, with the log before the name; and as another node's text, which pvesh prints as one.
    for stdout in [
        format!("\"{UPID}\"\n"),
        format!("extracting archive\nTotal bytes read: 7\n\"{UPID}\"\n"),
        format!("a log that ends without a line\"{UPID}\"\n"),
        format!("\"extracting archiveTotal bytes read: 7\\\"{UPID}\\\"\"\n"),
    ] {
        let done = by_pvesh(Output::ok(stdout.clone()), "OK").unwrap();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), (UPID, ""), "{stdout}");
        let warned = by_pvesh(Output::ok(stdout.clone()), "WARNINGS: 1").unwrap();
        assert_eq!(warned.stderr, "what it wrote");
        let failed = Output { rc: 0, stdout, stderr: "no space left on device\n".into() };
        let told = words(&by_pvesh(failed, "no space left on device").unwrap_err());
        assert!(told.starts_with("Failed") && told.contains("vzcreate 101 on pve1 failed: no space left"), "{told}");
        assert!(told.contains("what it wrote"), "{told}");
    }
    assert_eq!(by_pvesh(Output::default(), "").unwrap(), Output::default(), "no task at all");
}

#[test]
fn what_pvesh_refuses_has_the_names_that_rest_gives_it() {
    for (stderr, said) in [
        ("400 Parameter verification failed.\nvmid: invalid format\n", "Failed"),
        ("detected modified configuration - file changed by other user? Try again.\n", "Overtaken"),
        ("CT 101 already exists on node 'pve2'\nproxy handler failed: exit code 255\n", "Unknown"),
        ("ssh: connect to host 192.0.2.12 port 22: No route to host\nproxy handler failed: exit code 255\n", "Unknown"),
    ] {
        let told = words(&by_pvesh(Output::failed(255, stderr), "").unwrap_err());
        assert!(told.starts_with(said) && told.contains(stderr.lines().next().unwrap()), "{told}");
        assert!(!told.contains("400 400"), "{told}");
    }
}

#[test]
fn only_the_end_of_a_task_is_its_failure() {
    let answer = pve::Error::BadAnswer { path: "/x".into(), why: "status `odd`".into() };
    assert!(matches!(ended(&answer), StepError::Unknown { .. }), "{:?}", ended(&answer));
    let upid: Upid = UPID.parse().unwrap();
    let failed = upid.end("command 'tar' failed", Vec::new()).unwrap_err();
    assert!(matches!(ended(&failed), StepError::Failed { .. }), "{:?}", ended(&failed));
}
