use super::*;
use crate::host::{Local, Output};
use crate::tasks::Decision;
use serde_json::{Value as Json, json};
use std::net::TcpListener;

fn task(json: Json) -> WaitFor {
    serde_json::from_value(json).unwrap()
}

/// `ok`, or what is waited for.
fn now(task: &WaitFor, host: &Local) -> Result<String, String> {
    match task.decide(&task.probe(host).unwrap()).decision {
        Decision::Ok(why) => Ok(why),
        Decision::Wait { what, .. } => Err(what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_kernels_table_is_read() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n   \
        1: 0B01A8C0:0801 0C01A8C0:D431 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0\n";
    let sockets = port::parse(table).unwrap();
    assert_eq!((sockets[0].address.to_string(), sockets[0].port), ("127.0.0.1".into(), 8080));
    assert!(sockets[0].listens_on("127.0.0.1") && !sockets[0].is_connection());
    assert_eq!(sockets[1].address.to_string(), "192.168.1.11");
    assert!(sockets[1].is_connection() && !sockets[1].listens_on("127.0.0.1"));
    let six = "h\n 0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 1\n";
    assert_eq!(port::parse(six).unwrap()[0].address.to_string(), "::1");
    assert!(port::parse("h\nnonsense\n").is_err());
}

#[test]
fn a_real_port_of_this_machine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = Local::this_machine("here");
    let open = task(json!({ "port": port }));
    let closed = task(json!({ "port": port, "state": "stopped" }));
    assert!(now(&open, &host).is_ok());
    assert!(now(&closed, &host).is_err());
    // tcpmux; a port that was just given back may be taken by another test.
    assert!(now(&task(json!({ "port": 1 })), &host).unwrap_err().contains("nobody listens"));
    assert!(now(&task(json!({ "port": 1, "state": "stopped" })), &host).is_ok());
}

#[test]
fn a_connection_is_tried_where_the_tables_cannot_tell() {
    // A name that is not this host's to the kind, so that bash must connect.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let what = task(json!({ "port": port, "host": "127.0.0.1" })).connect(&Local::this_machine("here"), port);
    assert!(matches!(what, Ok(What::Port { open: true, .. })));
    let what = task(json!({ "port": 1, "host": "127.0.0.1" })).connect(&Local::this_machine("here"), 1);
    assert!(matches!(what, Ok(What::Port { open: false, why, .. }) if why.contains("refused")));
    let dir = tempfile::tempdir().unwrap();
    let host = Local::rooted("pve1", dir.path()).with_programs(Box::new(|argv, _| {
        assert_eq!(argv[4..], ["nfs1", "2049"]);
        Some(Output::default())
    }));
    assert!(now(&task(json!({ "port": 2049, "host": "nfs1" })), &host).is_ok());
}

#[test]
fn paths_and_their_content() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log"), "one\nready to serve\n").unwrap();
    let host = Local::rooted("pve1", dir.path());
    let cases = [
        (json!({ "path": "/log" }), true),
        (json!({ "path": "/none" }), false),
        (json!({ "path": "/none", "state": "absent" }), true),
        (json!({ "path": "/log", "state": "absent" }), false),
        (json!({ "path": "/log", "search_regex": "^ready" }), true),
        (json!({ "path": "/log", "search_regex": "^serve" }), false),
    ];
    for (args, reached) in cases {
        assert_eq!(now(&task(args.clone()), &host).is_ok(), reached, "{args}");
    }
}

#[test]
fn nothing_is_looked_at_before_the_delay() {
    let dir = tempfile::tempdir().unwrap();
    let host = Local::rooted("pve1", dir.path());
    assert!(now(&task(json!({ "path": "/", "delay": 60 })), &host).unwrap_err().contains("looking in"));
}

#[test]
fn arguments_that_cannot_be_meant() {
    for (args, faults) in [
        (json!({}), 1),
        (json!({ "path": "/a", "port": 1 }), 1),
        (json!({ "path": "a" }), 1),
        (json!({ "port": 1, "search_regex": "(" }), 2),
        (json!({ "port": 1, "host": "other", "state": "drained" }), 1),
        (json!({ "port": 1, "state": "drained" }), 0),
    ] {
        assert_eq!(Task::check_args(&task(args.clone())).len(), faults, "{args}");
    }
}
