//! The client against a server that says exactly what a test wants, bytes and closings included.

use super::*;
use crate::pve::{Fault, Fingerprint, Retry, SecondFactor, Secret, Upid};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the server does with a request.
#[derive(Clone)]
enum Reply {
    /// Status line without `HTTP/1.1 `, and body.
    Say(&'static str, String),
    /// Ends the connection without a word.
    Close,
    Hang,
}

fn ok(data: &str) -> Reply {
    Reply::Say("200 OK", format!(r#"{{"data":{data}}}"#))
}

#[derive(Debug, Clone, PartialEq)]
struct Asked {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
    /// Data records that the request came in.
    reads: usize,
    connection: usize,
}

struct Server {
    port: u16,
    fingerprint: Fingerprint,
    pem: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let (tls, answer) = (Arc::new(tls), Arc::new(answer));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, connections) = (asked.clone(), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, answer, log) = (tls.clone(), answer.clone(), log.clone());
                let connection = connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let session = rustls::ServerConnection::new(tls).unwrap();
                    let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
                    while let Some(request) = read_request(&mut stream, connection) {
                        log.lock().unwrap().push(request.clone());
                        match answer(&request) {
                            Reply::Close => return,
                            Reply::Hang => std::thread::sleep(Duration::from_secs(30)),
                            Reply::Say(line, body) => {
                                let text = format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                                if stream.write_all(text.as_bytes()).is_err() {
                                    return;
                                }
                            }
                        }
                    }
                });
            }
        });
        Self { port, fingerprint: Fingerprint::of(made.cert.der()), pem: made.cert.pem(), asked }
    }

    fn entry(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn config(&self) -> Config {
        let login = Login::Token { id: "root@pam!test".into(), secret: Secret::new("t0ken-secret") };
        Config::new(vec![self.entry()], login, Trust::Pinned(vec![self.fingerprint]))
    }

    fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }

    fn with_password(&self, second_factor: SecondFactor) -> Client {
        let login = Login::Password { user: "root@pam".into(), password: Secret::new("pa;ss&word"), second_factor };
        Client::new(Config { login, ..self.config() }).unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

type Stream = rustls::StreamOwned<rustls::ServerConnection, TcpStream>;

fn read_request(stream: &mut Stream, connection: usize) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut reads = 0;
    loop {
        let mut piece = [0; 16384];
        let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
        reads += 1;
        bytes.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ').map(str::to_owned);
        let headers: BTreeMap<String, String> =
            lines.filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned())).collect();
        let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            let (method, path) = (words.next()?, words.next()?);
            return Some(Asked { method, path, headers, body: body.to_owned(), reads, connection });
        }
    }
}

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
