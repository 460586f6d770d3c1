//! A server for tests that says exactly what a test wants, bytes and closings included.

use super::{Client, Config};
use crate::pve::{Fingerprint, Login, SecondFactor, Secret, Trust};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Status line without `HTTP/1.1 `, and body.
    Say(&'static str, String),
    /// Ends the connection without a word.
    Close,
    Hang,
    /// A good answer of so many bytes, its length not announced.
    Flood(usize),
}

pub fn ok(data: &str) -> Reply {
    Reply::Say("200 OK", format!(r#"{{"data":{data}}}"#))
}

#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// Data records that the request came in.
    pub reads: usize,
    pub connection: usize,
}

pub struct Server {
    pub port: u16,
    pub fingerprint: Fingerprint,
    pub pem: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
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
                            Reply::Flood(bytes) => {
                                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":\"";
                                let mut piece = head.as_bytes().to_vec();
                                for _ in 0..bytes.div_ceil(1 << 16) {
                                    piece.resize(piece.len() + (1 << 16), b'x');
                                    if stream.write_all(&piece).is_err() {
                                        return;
                                    }
                                    piece.clear();
                                }
                                return;
                            }
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

    pub fn entry(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub fn config(&self) -> Config {
        let login = Login::Token { id: "root@pam!test".into(), secret: Secret::new("t0ken-secret") };
        Config::new(vec![self.entry()], login, Trust::Pinned(vec![self.fingerprint]))
    }

    pub fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }

    pub fn with_password(&self, second_factor: SecondFactor) -> Client {
        let login = Login::Password { user: "root@pam".into(), password: Secret::new("pa;ss&word"), second_factor };
        Client::new(Config { login, ..self.config() }).unwrap()
    }

    pub fn asked(&self) -> Vec<Asked> {
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
