//! A node's API with a shell behind it, as termproxy speaks: a real PTY, and the traps of the real one. Messages are
//! read in pieces of 4 KiB, and a header that is split over two of them ends everything.

#![allow(dead_code)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;

pub struct Node {
    pub port: u16,
    pub fingerprint: String,
    _runtime: tokio::runtime::Runtime,
}

/// `home`: of the login shell. Every word that ends a session early goes to `log`.
pub fn serve(home: PathBuf, log: PathBuf) -> Node {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let fingerprint = sha2::Sha256::digest(&der).iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![der], key).unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (tls, home, log) = (tls.clone(), home.clone(), log.clone());
            tokio::spawn(async move {
                if let Ok(stream) = tls.accept(tcp).await
                    && let Err(why) = connection(stream, home).await
                {
                    let _ = std::fs::write(log, why);
                }
            });
        }
    });
    Node { port, fingerprint, _runtime: runtime }
}

async fn connection(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    home: PathBuf,
) -> Result<(), String> {
    let mut bytes = Vec::new();
    let (head, end) = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break (String::from_utf8_lossy(&bytes[..at]).into_owned(), at + 4);
        }
        if stream.read_buf(&mut bytes).await.map_err(|e| e.to_string())? == 0 {
            return Ok(());
        }
    };
    let header = |name: &str| {
        head.lines()
            .filter_map(|l| l.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.to_owned())
    };
    let length: usize = header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        stream.read_buf(&mut bytes).await.map_err(|e| e.to_string())?;
    }
    let first = head.lines().next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default();
    let data = match path.split('?').next().unwrap_or_default().trim_start_matches("/api2/json") {
        "/access/ticket" => r#"{"username":"root@pam","ticket":"PVE:root@pam:X","CSRFPreventionToken":"C"}"#,
        "/cluster/status" => r#"[{"type":"node","name":"one","ip":"127.0.0.1","online":1}]"#,
        "/cluster/resources" => r#"[{"type":"lxc","vmid":101,"node":"one","status":"running","name":"inside"}]"#,
        "/nodes/one/termproxy" => r#"{"user":"root@pam","ticket":"PVEVNC:T+/=","port":"5900","upid":"UPID:one:1:"}"#,
        "/nodes/one/vncwebsocket" => {
            let right = path.contains("port=5900") && path.contains("vncticket=PVEVNC%3AT%2B%2F%3D");
            let cookie = header("cookie").unwrap_or_default();
            if !right || !cookie.starts_with("PVEAuthCookie=PVE%3A") {
                let refused = b"HTTP/1.1 401 invalid PVEVNC ticket\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(refused).await.map_err(|e| e.to_string())?;
                return Err(format!("refused {path}"));
            }
            let mut hash = sha1::Sha1::new();
            hash.update(header("sec-websocket-key").unwrap_or_default().as_bytes());
            hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
            let accept = STANDARD.encode(hash.finalize());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: binary\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.map_err(|e| e.to_string())?;
            return terminal(stream, bytes[end..].to_vec(), home).await;
        }
        other => {
            let answer = format!(
                "HTTP/1.1 501 Method '{other}' not implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            return stream.write_all(answer.as_bytes()).await.map_err(|e| e.to_string());
        }
    };
    let body = format!("{{\"data\":{data}}}");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.map_err(|e| e.to_string())
}

/// The payload of the next frame; `None` at the end.
async fn frame(reads: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, String> {
    loop {
        if bytes.len() >= 2 {
            let (long, at) = match bytes[1] & 0x7f {
                126 if bytes.len() >= 4 => (u16::from_be_bytes([bytes[2], bytes[3]]) as usize, 4),
                126 => (usize::MAX, 0),
                127 => return Err("a frame of more than 64 KiB".into()),
                short => (short as usize, 2),
            };
            if bytes[0] & 0xf0 != 0x80 || bytes[1] & 0x80 == 0 {
                return Err("a frame that is fragmented or not masked".into());
            }
            if long != usize::MAX && bytes.len() >= at + 4 + long {
                let mask = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
                let payload =
                    bytes[at + 4..at + 4 + long].iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
                let opcode = bytes[0] & 0x0f;
                bytes.drain(..at + 4 + long);
                return Ok(Some((opcode, payload)));
            }
        }
        if reads.read_buf(bytes).await.map_err(|e| e.to_string())? == 0 {
            return Ok(None);
        }
    }
}

fn unmasked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        long => {
            frame.push(126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

async fn terminal(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut bytes: Vec<u8>,
    home: PathBuf,
) -> Result<(), String> {
    let (mut reads, mut writes) = tokio::io::split(stream);
    let login = frame(&mut reads, &mut bytes).await?.map(|(_, payload)| payload).unwrap_or_default();
    if login != b"root@pam:PVEVNC:T+/=\n" {
        return Err(format!("a wrong first line: {}", String::from_utf8_lossy(&login)));
    }
    writes.write_all(&unmasked(b"OK")).await.map_err(|e| e.to_string())?;
    // A terminal for the shell; `script` copies between it and pipes.
    let mut shell = Command::new("script")
        .args(["-q", "-f", "-c", "exec bash --login -i", "/dev/null"])
        .env_clear()
        .env("HOME", &home)
        .env("PATH", format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap()))
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/bash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())?;
    let (mut typed, mut printed) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
    let print = tokio::spawn(async move {
        let mut piece = [0; 8192];
        while let Ok(read @ 1..) = printed.read(&mut piece).await {
            if writes.write_all(&unmasked(&piece[..read])).await.is_err() {
                return;
            }
        }
    });
    // What is left of the message that was announced last.
    let mut left = 0u64;
    while let Some((opcode, payload)) = frame(&mut reads, &mut bytes).await? {
        if opcode > 2 {
            break;
        }
        for read in payload.chunks(4096) {
            let mut read = read;
            while !read.is_empty() {
                if left == 0 {
                    let text = String::from_utf8_lossy(read).into_owned();
                    let length =
                        text.strip_prefix("0:").and_then(|rest| rest.split_once(':')).map(|(l, _)| l.to_owned());
                    let Some((length, number)) = length.and_then(|l| Some((l.len(), l.parse().ok()?))) else {
                        return Err(format!("a header that is none: {text:.20}"));
                    };
                    left = number;
                    read = &read[length + 3..];
                    continue;
                }
                let take = read.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                typed.write_all(&read[..take]).await.map_err(|e| e.to_string())?;
                left -= take as u64;
                read = &read[take..];
            }
        }
    }
    drop(typed);
    print.abort();
    Ok(())
}
