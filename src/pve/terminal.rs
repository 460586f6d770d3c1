//! A node's shell through its API: termproxy and a WebSocket, as two byte streams. Only the password login of root@pam
//! gets a root shell there; what a token or another user would get is a login prompt, so they are refused here.
//!
//! termproxy wants each message announced by its length and cannot bear a header that is split over two reads. So one
//! message without end is announced, and everything after it is bytes.

mod frames;

use super::client::{Client, Core, no_answer};
use super::{Error, Login, Secret, segment, values};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frames::{Frame, Frames, masked};
use rustls::pki_types::ServerName;
use sha1::{Digest, Sha1};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// termproxy gives up on a client that has not come within ten.
const OPENING: Duration = Duration::from_secs(9);
/// Frames of more than 128 KiB are refused.
const PIECE: usize = 32 * 1024;
/// Longer than anything that is ever sent over one terminal (bytes).
const WITHOUT_END: u64 = 1 << 40;
/// How often a ping keeps what stands in between from forgetting the connection.
const PING: Duration = Duration::from_secs(30);

/// What the terminal prints. Ends when the connection does.
pub struct Output {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

/// What is typed. Dropping it closes the terminal.
pub struct Input {
    give: tokio::sync::mpsc::Sender<Frame>,
    /// Keeps the client's threads, which carry the bytes.
    _client: Client,
}

impl Client {
    /// Opens a root shell on the node that this client's entry point is.
    pub fn terminal(&self, node: &str) -> Result<(Output, Input), Error> {
        let node = node.to_owned();
        let (print, pieces) = channel();
        let give = self.wait_for(move |core| async move {
            let opened = tokio::time::timeout(OPENING + Duration::from_secs(35), open(&core, &node)).await;
            let (stream, rest) = opened.map_err(|_| Error::Timeout {
                method: "GET",
                path: format!("/nodes/{node}/vncwebsocket"),
                after_s: OPENING.as_secs(),
            })??;
            Ok(carry(stream, rest, print))
        })?;
        Ok((Output { pieces, piece: Vec::new(), at: 0 }, Input { give, _client: self.clone() }))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn open(core: &Arc<Core>, node: &str) -> Result<(Box<dyn Stream>, Vec<u8>), Error> {
    match core.login() {
        Login::Password { user, .. } if user == "root@pam" => {}
        Login::Password { user, .. } | Login::Token { id: user, .. } => {
            let why = format!(
                "a shell through the API needs the password login of root@pam; {user} would get a login prompt"
            );
            return Err(Error::Config(why));
        }
    }
    let path = format!("/nodes/{}/termproxy", segment(node));
    let answer = core.write(super::Method::Post, &path, "").await?.data;
    let text = |key: &str| {
        let missing = || Error::BadAnswer { path: path.clone(), why: format!("no `{key}`") };
        values::text(&answer[key]).ok_or_else(missing)
    };
    let (port, ticket, user) = (text("port")?, text("ticket")?, text("user")?);
    let path = format!("/nodes/{}/vncwebsocket", segment(node));
    let query = super::form([("port", port.as_str()), ("vncticket", ticket.as_str())]);
    let cookie = core.cookie().await?;
    let opened = upgrade(core, &path, &query, &cookie);
    let late = || Error::Timeout { method: "GET", path: path.clone(), after_s: OPENING.as_secs() };
    let (mut stream, mut rest) = tokio::time::timeout(OPENING, opened).await.map_err(|_| late())??;
    let broken = |e: io::Error| Error::Broken { method: "GET", path: path.clone(), why: no_answer(&e) };
    stream.write_all(&masked(2, format!("{user}:{ticket}\n").as_bytes())).await.map_err(broken)?;
    // "OK", and then already what the shell prints.
    let mut frames = Frames::default();
    frames.feed(&rest);
    let mut said = Vec::new();
    while said.len() < 2 {
        if let Some(frame) = frames.next().map_err(broken)? {
            if frame.opcode <= 2 {
                said.extend(frame.payload);
            } else if frame.opcode == 8 {
                return Err(broken(io::Error::other("the terminal did not accept its ticket")));
            }
            continue;
        }
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(OPENING, stream.read(&mut piece)).await.map_err(|_| late())?.map_err(broken)?;
        if read == 0 {
            return Err(broken(io::Error::other("the terminal was closed before it began")));
        }
        frames.feed(&piece[..read]);
    }
    if !said.starts_with(b"OK") {
        return Err(broken(io::Error::other(format!("the terminal said {:?}", String::from_utf8_lossy(&said)))));
    }
    stream.write_all(&masked(2, format!("0:{WITHOUT_END}:").as_bytes())).await.map_err(broken)?;
    rest = masked_back(&said[2..]);
    rest.extend(frames.rest());
    Ok((stream, rest))
}

/// What was printed already, as a frame again, so that one reader sees everything.
fn masked_back(payload: &[u8]) -> Vec<u8> {
    if payload.is_empty() { Vec::new() } else { masked(2, payload) }
}

async fn upgrade(core: &Core, path: &str, query: &str, cookie: &Secret) -> Result<(Box<dyn Stream>, Vec<u8>), Error> {
    let entry = core.entry().trim_start_matches("https://").to_owned();
    let (host, port) = entry.rsplit_once(':').unwrap_or((&entry, "8006"));
    let host = host.trim_matches(['[', ']']).to_owned();
    let away = |e: io::Error| Error::Unreachable { tried: vec![(entry.clone(), no_answer(&e))] };
    let port: u16 = port.parse().map_err(|_| Error::Config(format!("`{port}` is no port")))?;
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(away)?;
    let _ = tcp.set_nodelay(true);
    let name = ServerName::try_from(host).map_err(|e| Error::Config(e.to_string()))?;
    let mut stream = tokio_rustls::TlsConnector::from(core.tls()).connect(name, tcp).await.map_err(away)?;
    let key = STANDARD.encode(frames::random::<16>());
    let broken = |e: io::Error| Error::Broken { method: "GET", path: path.to_owned(), why: no_answer(&e) };
    let head = format!(
        "GET /api2/json{path}?{query} HTTP/1.1\r\nHost: {entry}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\nSec-WebSocket-Key: {key}\r\nCookie: {}\r\n\r\n",
        cookie.expose()
    );
    stream.write_all(head.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    let end = loop {
        if let Some(at) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 2048];
        let read = stream.read(&mut piece).await.map_err(broken)?;
        if read == 0 || answer.len() > 16 * 1024 {
            return Err(broken(io::Error::other("the connection ended before the WebSocket began")));
        }
        answer.extend(&piece[..read]);
    };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status_line = head.lines().next().unwrap_or_default();
    let mut words = status_line.splitn(3, ' ').skip(1);
    let status: u16 = words.next().and_then(|w| w.parse().ok()).unwrap_or_default();
    if status != 101 {
        let message = words.next().unwrap_or_default().to_owned();
        return Err(Error::Api { method: "GET", path: path.to_owned(), status, message, errors: Default::default() });
    }
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let expected = STANDARD.encode(hash.finalize());
    let accepted = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == expected);
    if !accepted {
        return Err(broken(io::Error::other("the answer is not that of a WebSocket")));
    }
    Ok((Box::new(stream), answer.split_off(end)))
}

/// Carries bytes between the WebSocket and the two ends until one of them is closed.
fn carry(stream: Box<dyn Stream>, rest: Vec<u8>, print: Sender<Vec<u8>>) -> tokio::sync::mpsc::Sender<Frame> {
    let (mut reads, mut writes) = tokio::io::split(stream);
    let (give, mut take) = tokio::sync::mpsc::channel::<Frame>(16);
    let pongs = give.downgrade();
    tokio::spawn(async move {
        let mut frames = Frames::default();
        frames.feed(&rest);
        let mut piece = vec![0; 64 * 1024];
        loop {
            match frames.next() {
                Ok(Some(Frame { opcode: 0..=2, payload })) => {
                    if print.send(payload).is_err() {
                        return;
                    }
                }
                Ok(Some(Frame { opcode: 9, payload })) => {
                    if let Some(give) = pongs.upgrade() {
                        let _ = give.send(Frame { opcode: 10, payload }).await;
                    }
                }
                Ok(Some(Frame { opcode: 8, .. })) | Err(_) => return,
                Ok(Some(_)) => {}
                // Read on and on: what is not read is what the far end gives up over.
                Ok(None) => match reads.read(&mut piece).await {
                    Ok(read @ 1..) => frames.feed(&piece[..read]),
                    _ => return,
                },
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let frame = match tokio::time::timeout(PING, take.recv()).await {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => Frame { opcode: 9, payload: Vec::new() },
            };
            if writes.write_all(&masked(frame.opcode, &frame.payload)).await.is_err() {
                return;
            }
            let _ = writes.flush().await;
        }
        // The shell's end may not close the terminal by itself, so it is closed from here.
        let _ = writes.write_all(&masked(8, &1000u16.to_be_bytes())).await;
        let _ = writes.shutdown().await;
    });
    give
}

impl Read for Output {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.piece, self.at) = (piece, 0),
                Err(_) => return Ok(0),
            }
        }
        let take = into.len().min(self.piece.len() - self.at);
        into[..take].copy_from_slice(&self.piece[self.at..self.at + take]);
        self.at += take;
        Ok(take)
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(PIECE);
        let frame = Frame { opcode: 2, payload: bytes[..take].to_vec() };
        let closed = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the terminal was closed");
        self.give.blocking_send(frame).map_err(closed)?;
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
