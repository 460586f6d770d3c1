//! The client against a server that says exactly what a test wants.

use super::scripted::{Reply, Server, ok};
use super::*;
use crate::pve::{Fault, Fingerprint, Retry, SecondFactor, Secret, Upid};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

fn get(client: &Client, path: &str) -> Result<Json, Error> {
    client.get::<&str, &str>(path, [])
}

#[test]
fn the_reason_phrase_is_the_message_where_the_body_has_none() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/api2/json/reason" => Reply::Say("500 no such resource 'ct:101'", r#"{"data":null}"#.into()),
        "/api2/json/both" => {
            let body = r#"{"data":null,"message":"create ha rule failed: 400 Rule 'r4' is invalid.\nno node left\n"}"#;
            Reply::Say("500 create ha rule failed: 400 Rule 'r4' is invalid.", body.into())
        }
        "/api2/json/errors" => {
            let body = r#"{"data":null,"errors":{"bogus":"property is not defined in schema\n"},"message":"Parameter verification failed.\n"}"#;
            Reply::Say("400 Parameter verification failed.", body.into())
        }
        "/api2/json/nothing" => Reply::Say("595 No route to host", String::new()),
        "/api2/json/umlaut" => Reply::Say("500 Gerät fehlt", String::new()),
        "/api2/json/text" => Reply::Say("501 Not Implemented", "Method 'GET /text' not implemented".into()),
        _ => Reply::Say("200 OK", "<html>".into()),
    });
    let client = server.client();
    let error = |path: &str| get(&client, path).unwrap_err();
    assert_eq!(error("/reason").told().unwrap(), "no such resource 'ct:101'");
    assert!(error("/both").told().unwrap().ends_with("no node left"), "the cause is only in the second line");
    assert_eq!(
        error("/errors").told().unwrap(),
        "Parameter verification failed.; bogus: property is not defined in schema"
    );
    assert_eq!((error("/errors").fault(), error("/errors").retry()), (Fault::Request, Retry::Never));
    assert_eq!(error("/nothing").to_string(), "GET /nothing: 595 No route to host");
    assert_eq!(error("/nothing").fault(), Fault::Network);
    // The HTTP library drops phrases that are not ASCII; what is left is the code.
    assert_eq!(error("/umlaut").status(), Some(500));
    assert!(error("/text").is_not_implemented());
    assert!(matches!(error("/html"), Error::BadAnswer { .. }));
}

#[test]
fn a_write_without_an_answer_is_of_unknown_outcome_and_not_repeated() {
    let server = Server::start(|_| Reply::Close);
    let client = server.client();
    let error = client.write(Method::Post, "/nodes/pve1/lxc", [("vmid", "101")]).unwrap_err();
    assert!(matches!(error, Error::UnknownOutcome { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::LookFirst);
    assert_eq!(server.asked().len(), 1, "sent once");
}

#[test]
fn a_read_is_repeated_once_when_the_connection_breaks() {
    let times = AtomicUsize::new(0);
    let server =
        Server::start(move |_| if times.fetch_add(1, Ordering::SeqCst) == 0 { Reply::Close } else { ok("[1]") });
    assert_eq!(get(&server.client(), "/nodes").unwrap(), serde_json::json!([1]));
    let server = Server::start(|_| Reply::Close);
    assert!(matches!(get(&server.client(), "/nodes").unwrap_err(), Error::Broken { .. }));
    assert_eq!(server.asked().len(), 2, "asked twice, not more");
}

#[test]
fn parameters_are_form_encoded_in_one_piece_and_a_delete_has_them_in_the_query() {
    let server = Server::start(|_| ok("null"));
    let client = server.client();
    client.write(Method::Put, "/nodes/pve1/lxc/101/config", [("features", "mount=nfsd;rpc_pipefs")]).unwrap();
    client.write(Method::Delete, "/nodes/pve1/lxc/101", [("purge", "1")]).unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].body, "features=mount%3Dnfsd%3Brpc_pipefs");
    assert_eq!(asked[0].headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(asked[0].headers["authorization"], "PVEAPIToken=root@pam!test=t0ken-secret");
    assert!(!asked[0].headers.contains_key("transfer-encoding"), "chunked bodies are answered 501");
    assert_eq!(asked[0].reads, 1, "head and body in one TLS record");
    assert_eq!((asked[1].path.as_str(), asked[1].body.as_str()), ("/api2/json/nodes/pve1/lxc/101?purge=1", ""));
}

#[test]
fn a_ticket_is_fetched_once_and_again_when_it_is_refused() {
    let logins = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        if asked.path == "/api2/json/access/ticket" {
            let n = logins.fetch_add(1, Ordering::SeqCst);
            return ok(&format!(r#"{{"ticket":"PVE:root@pam:{n}::a+b/c=","CSRFPreventionToken":"csrf:{n}"}}"#));
        }
        let stale = asked.headers["cookie"].contains("%3A0%3A%3A") && asked.path.ends_with("/late");
        if stale && refused.fetch_add(1, Ordering::SeqCst) == 0 {
            return Reply::Say("401 permission denied - invalid PVE ticket", String::new());
        }
        ok("\"fine\"")
    });
    let client = server.with_password(SecondFactor::None);
    assert_eq!(client.user(), "root@pam");
    get(&client, "/version").unwrap();
    client.write(Method::Post, "/x", [("a", "b")]).unwrap();
    client.write(Method::Post, "/late", [("a", "b")]).unwrap();
    let asked = server.asked();
    let paths: Vec<_> = asked.iter().map(|a| a.path.trim_start_matches("/api2/json").to_owned()).collect();
    assert_eq!(paths, ["/access/ticket", "/version", "/x", "/late", "/access/ticket", "/late"]);
    assert!(asked[0].body.contains("password=pa%3Bss%26word"));
    assert_eq!(asked[1].headers["cookie"], "PVEAuthCookie=PVE%3Aroot%40pam%3A0%3A%3Aa%2Bb%2Fc%3D");
    assert!(!asked[1].headers.contains_key("csrfpreventiontoken"), "reads need none");
    assert_eq!(asked[2].headers["csrfpreventiontoken"], "csrf:0");
    assert_eq!(asked[5].headers["csrfpreventiontoken"], "csrf:1");
}

#[test]
fn a_second_factor_is_answered_with_its_challenge() {
    let server = Server::start(|asked| match (asked.path.as_str(), asked.body.contains("tfa-challenge=")) {
        ("/api2/json/access/ticket", false) => {
            let half = "PVE:!tfa!%7B%22totp%22%3Atrue%7D:6B02A6C7::sig";
            ok(&format!(r#"{{"ticket":"{half}","CSRFPreventionToken":"x","NeedTFA":1}}"#))
        }
        ("/api2/json/access/ticket", true) if asked.body.contains("password=totp%3A123456") => {
            ok(r#"{"ticket":"PVE:root@pam:1::whole","CSRFPreventionToken":"y"}"#)
        }
        ("/api2/json/access/ticket", true) => Reply::Say("401 authentication failure", String::new()),
        _ => ok(r#"{"version":"9.1.7"}"#),
    });
    let asking = SecondFactor::Ask(Arc::new(|factors: &[String]| {
        assert_eq!(factors, ["totp"]);
        Some(Secret::new("123456"))
    }));
    assert_eq!(server.with_password(asking).login().unwrap().major, 9);
    let wrong = server.with_password(SecondFactor::Code(Secret::new("000000"))).login().unwrap_err();
    assert!(matches!(wrong, Error::Login { .. }), "{wrong:?}");
    let none = server.with_password(SecondFactor::None).login().unwrap_err();
    assert!(none.to_string().contains("second factor"), "{none}");
    assert!(!format!("{wrong} {none} {wrong:?}").contains("pa;ss"));
}

#[test]
fn only_the_trusted_certificate_gets_the_secret() {
    let server = Server::start(|_| ok("1"));
    let other = Fingerprint::of(b"another certificate");
    let refused = Client::new(Config { trust: Trust::Pinned(vec![other]), ..server.config() }).unwrap();
    let error = get(&refused, "/version").unwrap_err();
    assert!(
        matches!(&error, Error::Untrusted { fingerprint: Some(seen), .. } if *seen == server.fingerprint.to_string())
    );
    assert!(error.what_now().unwrap().contains(&server.fingerprint.to_string()));
    assert!(server.asked().is_empty(), "nothing was sent");

    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &server.pem).unwrap();
    let by_ca = Client::new(Config { trust: Trust::CaFile(ca.clone()), ..server.config() }).unwrap();
    assert_eq!(get(&by_ca, "/version").unwrap(), 1);
    // The same authority does not vouch for another name.
    let by_address = Config {
        trust: Trust::CaFile(ca.clone()),
        entry_points: vec![format!("127.0.0.1:{}", server.port)],
        ..server.config()
    };
    assert!(matches!(get(&Client::new(by_address).unwrap(), "/version").unwrap_err(), Error::Untrusted { .. }));
    std::fs::write(&ca, "no certificate").unwrap();
    assert!(matches!(Client::new(Config { trust: Trust::CaFile(ca), ..server.config() }), Err(Error::Config(_))));
}

#[test]
fn another_entry_point_serves_when_the_first_is_down() {
    let server = Server::start(|_| ok("1"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = Config { entry_points: vec![closed.to_string(), server.entry()], ..server.config() };
    let client = Client::new(config).unwrap();
    // A write, too: nothing was sent to the first.
    assert_eq!(client.write(Method::Post, "/x", [("a", "b")]).unwrap(), 1);
    assert_eq!(get(&client, "/version").unwrap(), 1);
    let nobody = Client::new(Config { entry_points: vec![closed.to_string()], ..server.config() }).unwrap();
    let error = get(&nobody, "/version").unwrap_err();
    assert!(matches!(&error, Error::Unreachable { tried } if tried.len() == 1), "{error:?}");
    assert_eq!((error.retry(), error.fault()), (Retry::Later, Fault::Network));
}

#[test]
fn a_node_that_is_cut_off_or_hangs_is_passed_over() {
    let apart = Server::start(|asked| match asked.method.as_str() {
        "GET" => Reply::Hang,
        _ => Reply::Say("500 cluster not ready - no quorum?", String::new()),
    });
    let whole = Server::start(|_| ok("1"));
    let trust = Trust::Pinned(vec![apart.fingerprint, whole.fingerprint]);
    let deadline = Duration::from_millis(500);
    let both = Config { entry_points: vec![apart.entry(), whole.entry()], trust, deadline, ..apart.config() };
    assert_eq!(Client::new(both.clone()).unwrap().write(Method::Put, "/x", [("a", "b")]).unwrap(), 1);
    assert_eq!(get(&Client::new(both).unwrap(), "/version").unwrap(), 1);
    let alone = Client::new(apart.config()).unwrap().write(Method::Put, "/x", [("a", "b")]).unwrap_err();
    assert!(alone.is_without_quorum() && alone.what_now().unwrap().contains("pvecm status"), "{alone:?}");
}

#[test]
fn a_hung_node_is_asked_once_and_last_from_then_on() {
    for broken in [Reply::Hang, Reply::Close] {
        let is_hung = matches!(broken, Reply::Hang);
        let bad = Server::start(move |_| broken.clone());
        let good = Server::start(|asked| match asked.path.as_str() {
            "/api2/json/access/ticket" => ok(r#"{"ticket":"PVE:root@pam:1::x","CSRFPreventionToken":"y"}"#),
            _ => ok("1"),
        });
        let login = Login::Password {
            user: "root@pam".into(),
            password: Secret::new("word"),
            second_factor: SecondFactor::None,
        };
        let client = Client::new(Config {
            entry_points: vec![bad.entry(), good.entry()],
            trust: Trust::Pinned(vec![bad.fingerprint, good.fingerprint]),
            deadline: Duration::from_millis(500),
            login,
            ..bad.config()
        })
        .unwrap();
        assert_eq!(get(&client, "/version").unwrap(), 1, "the login went to the other one, and the read");
        assert_eq!(client.write(Method::Put, "/x", [("a", "b")]).unwrap(), 1);
        let asked: Vec<String> = bad.asked().iter().map(|a| format!("{} {}", a.method, a.path)).collect();
        assert_eq!(asked, ["POST /api2/json/access/ticket"], "hung: {is_hung}");
    }
    // A write is not repeated, but the look after it goes elsewhere.
    let bad = Server::start(|_| Reply::Hang);
    let good = Server::start(|_| ok("1"));
    let trust = Trust::Pinned(vec![bad.fingerprint, good.fingerprint]);
    let deadline = Duration::from_millis(300);
    let both = Config { entry_points: vec![bad.entry(), good.entry()], trust, deadline, ..bad.config() };
    let client = Client::new(both).unwrap();
    assert!(matches!(client.write(Method::Put, "/x", [("a", "b")]).unwrap_err(), Error::Timeout { .. }));
    assert_eq!(good.asked().len(), 0);
    assert_eq!(get(&client, "/version").unwrap(), 1);
    assert_eq!(bad.asked().len(), 1);
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let server = Server::start(|_| Reply::Flood(64 << 20));
    let client = Client::new(Config { answer_limit: 1 << 20, ..server.config() }).unwrap();
    let error = get(&client, "/version").unwrap_err();
    assert_eq!(error.to_string(), "GET /version: the answer is longer than 1 MiB, and was not read on");
    assert_eq!((error.retry(), server.asked().len()), (Retry::Never, 1), "not asked for again");
    assert_eq!(client.write(Method::Put, "/x", [("a", "b")]).unwrap_err().retry(), Retry::LookFirst);
    let long = Server::start(|_| ok(&format!("\"{}\"", "x".repeat(3 << 20))));
    assert_eq!(get(&long.client(), "/version").unwrap().as_str().map(str::len), Some(3 << 20));
}

#[test]
fn a_node_that_says_nothing_runs_into_the_deadline() {
    let server = Server::start(|_| Reply::Hang);
    let client = Client::new(Config { deadline: Duration::from_millis(300), ..server.config() }).unwrap();
    assert!(matches!(get(&client, "/version").unwrap_err(), Error::Timeout { .. }));
    let write = client.write(Method::Put, "/x", [("a", "b")]).unwrap_err();
    assert_eq!(write.retry(), Retry::LookFirst, "{write:?}");
}

const UPID: &str = "UPID:pve1:0000057E:000249E0:6B02A6C7:vzcreate:101:root@pam:";

/// A server whose task has these states, one for each question, the last for ever.
fn task_server(states: &'static [&'static str], log: &'static [&'static str]) -> Server {
    let next = AtomicUsize::new(0);
    Server::start(move |asked| {
        if asked.path.contains("/log?") {
            let start = if asked.path.contains("start=") { log.len().saturating_sub(12) } else { 0 };
            let lines: Vec<Json> =
                log.iter().enumerate().skip(start).map(|(n, t)| serde_json::json!({"n": n + 1, "t": t})).collect();
            let body = serde_json::json!({"data": lines, "total": log.len()});
            return Reply::Say("200 OK", body.to_string());
        }
        let at = next.fetch_add(1, Ordering::SeqCst).min(states.len() - 1);
        ok(states[at])
    })
}

#[test]
fn a_task_is_followed_to_its_end() {
    let upid: Upid = UPID.parse().unwrap();
    let minute = Duration::from_secs(60);
    let running = r#"{"status":"running"}"#;
    let good = task_server(&[r#"{"status":"running"}"#, r#"{"status":"stopped","exitstatus":"OK"}"#], &[]);
    assert_eq!(good.client().follow(&upid, minute).unwrap(), TaskEnd::Ok);
    let warned = task_server(&[r#"{"status":"stopped","exitstatus":"WARNINGS: 1"}"#], &["odd", "TASK WARNINGS: 1"]);
    let TaskEnd::Warnings(lines) = warned.client().follow(&upid, minute).unwrap() else { panic!("no warnings") };
    assert_eq!(lines, ["odd", "TASK WARNINGS: 1"]);
    let bad = task_server(
        &[r#"{"status":"stopped","exitstatus":"command 'tar' failed: exit code 2"}"#],
        &["tar: ./etc: Cannot mkdir: Permission denied", "TASK ERROR: command 'tar' failed: exit code 2"],
    );
    let error = bad.client().follow(&upid, minute).unwrap_err();
    assert!(error.to_string().contains("Cannot mkdir: Permission denied"), "{error}");
    // At the very end a task that went well may for a moment look as if it had not.
    let race = task_server(
        &[r#"{"status":"stopped","exitstatus":"unexpected status"}"#, r#"{"status":"stopped","exitstatus":"OK"}"#],
        &[],
    );
    assert_eq!(race.client().follow(&upid, minute).unwrap(), TaskEnd::Ok);
    let endless: &'static [&'static str] = Box::leak(Box::new([running]));
    let stuck = task_server(endless, &[]);
    let error = stuck.client().follow(&upid, Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, Error::TaskRuns { .. }), "{error:?}");
}

#[test]
fn a_task_whose_node_cannot_be_asked_has_not_failed() {
    let upid: Upid = UPID.parse().unwrap();
    for line in ["595 No route to host", "596 Connection timed out", "599 Too many redirections", "502 Bad Gateway"] {
        // Twice each: a read is itself repeated once.
        let times = AtomicUsize::new(0);
        let back = Server::start(move |_| match times.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::Say(line, String::new()),
            _ => ok(r#"{"status":"stopped","exitstatus":"OK"}"#),
        });
        assert_eq!(back.client().follow(&upid, Duration::from_secs(60)).unwrap(), TaskEnd::Ok, "{line}");
        let away = Server::start(move |_| Reply::Say(line, String::new()));
        let error = away.client().follow(&upid, Duration::from_millis(200)).unwrap_err();
        assert!(matches!(&error, Error::TaskRuns { silent: Some(why), .. } if why.contains(&line[..3])), "{error:?}");
        assert!(error.to_string().contains("still runs") && !error.to_string().contains("failed"), "{error}");
    }
    let gone = Server::start(|_| Reply::Say("400 no such task", String::new()));
    let error = gone.client().follow(&upid, Duration::from_secs(60)).unwrap_err();
    assert!(matches!(&error, Error::TaskLost { why, .. } if why.contains("no such task")), "{error:?}");
    // What a node says while its pmxcfs starts is not how the task ended.
    let times = AtomicUsize::new(0);
    let starting = Server::start(move |_| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Say("500 ipcc_send_rec[1] failed: Connection refused", String::new()),
        1 => ok(r#"{"odd":1}"#),
        _ => ok(r#"{"status":"stopped","exitstatus":"OK"}"#),
    });
    assert_eq!(starting.client().follow(&upid, Duration::from_secs(60)).unwrap(), TaskEnd::Ok);
}

#[test]
fn the_client_may_be_used_and_dropped_on_a_thread_of_another_runtime() {
    let server = Server::start(|_| ok("1"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let client = server.client();
        assert_eq!(get(&client, "/version").unwrap(), 1);
    });
}

#[test]
fn a_connection_that_was_idle_too_long_is_not_used_again() {
    let server = Server::start(|_| ok("1"));
    let client = server.client();
    get(&client, "/version").unwrap();
    get(&client, "/version").unwrap();
    std::thread::sleep(POOL_IDLE + Duration::from_millis(300));
    get(&client, "/version").unwrap();
    let connections: Vec<usize> = server.asked().iter().map(|a| a.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}
