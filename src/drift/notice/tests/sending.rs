//! On the way: what arrives, what does not, and what is said of it. No server and no program here is polite.

use super::server::{Answer, Server};
use super::*;

fn hook(folder: &Path, server: &Server, more: &str) -> Config {
    config(
        folder,
        &format!("channels:\n  chat:\n    webhook:\n      url: {}\n      deadline_s: 1\n{more}", server.url()),
    )
}

fn planned(config: &Config, db: &Connection) {
    let new = finding("exports", "pve3", Outcome::Drifted, Standing::New, NOON);
    assert_eq!(plan(config, db, &report(1, NOON, vec![new]), "pve1:/var/lib/drift/index.html", NOON).unwrap(), 1);
}

fn why(late: &[crate::drift::Undelivered]) -> String {
    late.iter().map(|late| format!("{} {} {}\n", late.channel, late.tries, late.error)).collect()
}

#[test]
fn a_webhook_gets_the_documented_object_once() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(204)));
    let secret = folder.path().join("token");
    std::fs::write(&secret, "Bearer abc\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = hook(folder.path(), &server, "      headers: { Authorization: { file: token } }\n");
    planned(&config, &db);
    assert_eq!(deliver(&config, &db, NOON).unwrap(), []);
    assert_eq!(deliver(&config, &db, NOON + 900).unwrap(), []);
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    let (asked, body) = (&asked[0], &asked[0].body);
    assert_eq!((asked.method.as_str(), asked.header("authorization")), ("POST", "Bearer abc"));
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(asked.header("idempotency-key"), body["id"].as_str().unwrap());
    assert_eq!(body["subject"], "converge: pve3: 1 new, 1 differs");
    assert_eq!(
        (&body["kind"], &body["version"], &body["at"]),
        (&"change".into(), &1.into(), &"2026-03-23T11:00:00Z".into())
    );
    assert_eq!(
        (&body["counts"]["new"], &body["counts"]["open"], &body["run"]["id"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(body["changes"][0]["change"], "new");
    assert_eq!(body["changes"][0]["finding"]["host"], "pve3");
    assert_eq!(body["report"], "pve1:/var/lib/drift/index.html");
}

#[test]
fn chat_systems_get_text_that_calls_nobody() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(200)));
    let more = "      format: text\n      field: content\n      max_chars: 300\n";
    let config = hook(folder.path(), &server, more);
    let all = (0..9).map(|n| {
        let name = format!("@everyone <!channel> {n}");
        finding(&name, "pve3", Outcome::Drifted, Standing::New, NOON)
    });
    plan(&config, &db, &report(1, NOON, all.collect()), "pve1:/drift/index.html", NOON).unwrap();
    deliver(&config, &db, NOON).unwrap();
    let body = server.asked()[0].body.clone();
    let text = body["content"].as_str().unwrap();
    assert!(text.starts_with("converge: pve3: 9 new, 9 differ\n"), "{text}");
    assert!(text.ends_with("[cut]\nReport: pve1:/drift/index.html") && text.chars().count() < 340, "{text}");
    assert!(text.contains("everyone") && !text.contains("@everyone") && !text.contains("<!"), "{text}");
    assert_eq!(body["allowed_mentions"]["parse"], serde_json::json!([]));
}

/// What the server does → how often it is asked in two runs, and what the report says.
#[test]
fn whatever_the_server_does_is_told_without_the_secret() {
    let other = Server::start(Answer::Status(200));
    let away = format!("http://localhost:{}/hooks/elsewhere", other.port);
    let cases = [
        (Answer::Status(200), 1, ""),
        (Answer::Flood, 1, ""),
        (Answer::Status(500), 2, "500 Internal Server Error (it may have arrived"),
        (Answer::Status(503), 2, "the server answered 503 Service Unavailable"),
        (Answer::Status(403), 2, "the server refuses us (403 Forbidden): is the secret right?"),
        (Answer::Status(404), 2, "the server knows no such webhook (404 Not Found)"),
        (Answer::Status(400), 2, "the server answered 400"),
        (Answer::Hang, 2, "no answer within 1 s (it may have arrived all the same)"),
        (Answer::Close, 2, "the server gave no answer: "),
        (Answer::Header(302, "location", "/moved".into()), 2, "the server redirects (302 Found) to where"),
        (Answer::Header(307, "location", away.clone()), 2, "the server redirects (307 Temporary Redirect) to where"),
        (Answer::Header(308, "location", "/moved".into()), 2, ""),
        (Answer::Header(308, "location", "/hooks/again".into()), 8, "308 Permanent Redirect"),
    ];
    for (answer, times, said) in cases {
        let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(answer.clone()));
        let config = hook(folder.path(), &server, "");
        planned(&config, &db);
        let first = why(&deliver(&config, &db, NOON).unwrap());
        let second = why(&deliver(&config, &db, NOON + 3600).unwrap());
        assert_eq!(server.asked().len(), times, "{answer:?} {first}");
        let arrived = said.is_empty();
        assert!(arrived == second.is_empty() && second.contains(said), "{answer:?} {second}");
        assert!(arrived || first.starts_with("chat 1 ") && second.starts_with("chat 2 "), "{first}{second}");
        assert!(!second.contains("s3cret") && !second.contains("127.0.0.1:"), "{second}");
        // Every try carries the same id.
        let ids: Vec<String> = server.asked().iter().map(|asked| asked.header("idempotency-key").to_owned()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    }
    assert_eq!(other.asked().len(), 0, "a redirect led to another host");
}

#[test]
fn nobody_listens_and_later_somebody_does() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("channels: {{ chat: {{ webhook: {{ url: \"http://127.0.0.1:{free}/s3cret\" }} }} }}");
    let config_dead = config(folder.path(), &url);
    planned(&config_dead, &db);
    let late = why(&deliver(&config_dead, &db, NOON).unwrap());
    assert!(late.contains("the server cannot be reached") && !late.contains("may have arrived"), "{late}");
    assert!(!late.contains("s3cret"), "{late}");
    let server = Server::start(Answer::Status(200));
    let config = hook(folder.path(), &server, "");
    // Not before its time, and then once.
    assert_eq!(deliver(&config, &db, NOON + 299).unwrap().len(), 1);
    assert_eq!(server.asked().len(), 0);
    assert_eq!(deliver(&config, &db, NOON + 300).unwrap(), []);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(tls.clone().into()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut request = [0; 65536];
            // A client that does not believe us goes away here.
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.flush();
            }
        }
    });
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("stranger.pem"), stranger.cert.pem()).unwrap();
    std::fs::write(folder.path().join("own.pem"), made.cert.pem()).unwrap();
    let with = |ca: &str| {
        let text = "channels: { chat: { webhook: { url: \"https://localhost:PORT/x\", ca_file: CA, deadline_s: 5 } } }";
        config(folder.path(), &text.replace("PORT", &port.to_string()).replace("CA", ca))
    };
    planned(&with("stranger.pem"), &db);
    let late = why(&deliver(&with("stranger.pem"), &db, NOON).unwrap());
    assert!(late.contains("certificate") && !late.contains("may have arrived"), "{late}");
    assert_eq!(deliver(&with("own.pem"), &db, NOON + 3600).unwrap(), []);
}

#[test]
fn a_mail_is_read_back_by_another_program() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let program = sendmail(folder.path(), "echo \"$@\" > arguments\ncat > mail");
    let text = format!(
        "channels: {{ root: {{ mail: {{ to: [root@pve1, ops@example.org], from: converge@pve1, subject_prefix: \"[Größe]\",\
         \n command: [{}, -i, -t] }} }} }}",
        program.display()
    );
    let config = config(folder.path(), &text);
    let evil = "pve3\r\nBcc: all@example.org\r\n\r\nüber";
    let new = finding("exports", evil, Outcome::Drifted, Standing::New, NOON);
    plan(&config, &db, &report(1, NOON, vec![new]), "here", NOON).unwrap();
    assert_eq!(deliver(&config, &db, NOON).unwrap(), []);
    assert_eq!(std::fs::read_to_string(folder.path().join("arguments")).unwrap(), "-i -t\n");
    let script = "import sys, email, email.policy\n\
        m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)\n\
        print(m['Subject'], m['From'], m['To'], m['Bcc'], m['Date'].datetime.timestamp(), m['Auto-Submitted'], sep='|')\n\
        print(m.defects, len(m.get_all('Message-ID')), m['Message-ID'].endswith('@converge.pve1>'))\nprint(m.get_content())";
    let mail = std::fs::File::open(folder.path().join("mail")).unwrap();
    let Ok(read) = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(mail)
        .env("PYTHONIOENCODING", "utf-8")
        .output()
    else {
        eprintln!("skipped: no python3");
        return;
    };
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read = String::from_utf8(read.stdout).unwrap();
    let head = "[Größe] converge: pve3  Bcc: all@example.org    über: 1 new, 1 differs|converge@pve1|root@pve1, ops@example.org|\
        None|1774263600.0|auto-generated\n[] 1 True\n";
    assert!(read.starts_with(head), "{read}");
    assert!(read.contains("- pve3 Bcc: all@example.org über: The state of exports: exports.service\n"), "{read}");
}

#[test]
fn whatever_sendmail_does_is_told() {
    for (script, said) in [
        ("cat > /dev/null; echo 'no room left' >&2; exit 75", "ended with 75: no room left"),
        ("exit 1", "ended with 1: without a word"),
        ("sleep 30", "did not end within 1 s (it may have arrived all the same)"),
        ("exit 0", ""),
        ("yes | head -c 3000000; cat > mail", ""),
    ] {
        let (folder, db) = (tempfile::tempdir().unwrap(), database());
        let program = sendmail(folder.path(), script);
        let text = format!("channels: {{ root: {{ mail: {{ command: [{}], deadline_s: 1 }} }} }}", program.display());
        let config = config(folder.path(), &text);
        planned(&config, &db);
        let late = why(&deliver(&config, &db, NOON).unwrap());
        assert!(late.contains(said) && late.is_empty() == said.is_empty(), "{script}: {late}");
    }
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let config = config(folder.path(), "channels: { root: { mail: { command: [no-such-sendmail] } } }");
    planned(&config, &db);
    let late = why(&deliver(&config, &db, NOON).unwrap());
    assert!(late.contains("no-such-sendmail is not installed on this host"), "{late}");
}

#[test]
fn a_configuration_can_be_tried() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start(Answer::Status(200)));
    let config = hook(folder.path(), &server, "");
    test(&config, "chat", "pve1", NOON).unwrap();
    assert_eq!(server.asked()[0].body["kind"], "test");
    server.answers(Answer::Status(401));
    assert!(test(&config, "chat", "pve1", NOON).unwrap_err().contains("chat: the server refuses us (401"));
    assert_eq!(test(&config, "chta", "pve1", NOON).unwrap_err(), "there is no channel `chta`; did you mean `chat`?");
}
