//! A terminal's WebSocket as pveproxy and termproxy serve it, with what is hard about them: messages are announced by
//! their length, read in pieces of 4 KiB, and a header that is split over two reads ends everything; frames are whole,
//! masked and at most 128 KiB; a client that does not read is dropped. What is typed is none of its business.

use super::auth::Secrets;
use super::state::Waiting;
use super::terminal;
use crate::lab::Lab;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// pveproxy's limit for the payload of a frame.
const LARGEST: u64 = 128 * 1024;
/// termproxy's read buffer.
const READ: usize = 4096;
/// What waits for a client that does not read: 640 KiB in pieces of one read.
const BACKLOG: usize = 640 * 1024 / READ;
const STALLED: Duration = Duration::from_secs(30);
/// For the first line.
const LOGIN: Duration = Duration::from_secs(10);
/// How often it is looked whether the node still has power.
const LOOK: Duration = Duration::from_millis(500);

/// The `Sec-WebSocket-Accept` to a key.
pub fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// One terminal, from the first line to its end.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Send + 'static, lab: Lab, secrets: Arc<Secrets>, at: Waiting) {
    let upid = at.upid.clone();
    let _ = terminal(stream, &lab, &secrets, at).await;
    let ended = move || {
        lab.with(|world| {
            super::bridge::within(world, lab.files(), |cluster, site, _| {
                terminal::ended(cluster, &upid, site.now_ms());
            });
        })
    };
    let _ = tokio::task::spawn_blocking(ended).await;
}

/// `None`: it came to an end that is told to nobody, as in the real one.
async fn terminal(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    lab: &Lab,
    secrets: &Secrets,
    at: Waiting,
) -> Option<()> {
    let (reads, writes) = tokio::io::split(stream);
    let (say, said) = channel::<Vec<u8>>(BACKLOG);
    let writer = tokio::spawn(write(writes, said));
    let mut frames = Frames { reads: Box::pin(reads), bytes: Vec::new(), say: say.clone() };
    let login = async {
        let mut line = Vec::new();
        loop {
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let rest = line.split_off(end + 1);
                line.pop();
                return Some((line, rest));
            }
            line.extend(frames.next().await?);
        }
    };
    let (line, rest) = tokio::time::timeout(LOGIN, login).await.ok()??;
    let now_s = lab.look(|world| world.now_s()).ok()?;
    let line = String::from_utf8(line).ok()?;
    let ticket = line.strip_prefix(&format!("{}:", at.user))?;
    if !secrets.is_terminal_ticket(ticket, &at.user, &terminal::path(&at.node), at.port, now_s) {
        return None;
    }
    say.send(frame(2, b"OK")).await.ok()?;
    let root = at.user == "root@pam";
    let screen = UnixStream::from_std(crate::lab::terminal::open(lab, &at.node, root).ok()?).ok()?;
    let (mut screen, mut keyboard) = screen.into_split();
    let mut messages = Messages::default();
    keyboard.write_all(&messages.feed(&rest)?).await.ok()?;
    let typing = async {
        while let Some(payload) = frames.next().await {
            let Some(typed) = messages.feed(&payload) else { return };
            if keyboard.write_all(&typed).await.is_err() {
                return;
            }
        }
    };
    let printing = async {
        let mut piece = [0; READ];
        while let Ok(read @ 1..) = screen.read(&mut piece).await {
            let sent = tokio::time::timeout(STALLED, say.send(frame(2, &piece[..read]))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
        // The end of the shell alone does not end the connection.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = typing => {}
        () = printing => {}
        () = until_off(lab, &at.node) => {}
        _ = writer => {}
    }
    Some(())
}

async fn until_off(lab: &Lab, node: &str) {
    loop {
        tokio::time::sleep(LOOK).await;
        let (lab, node) = (lab.clone(), node.to_owned());
        let on = move || lab.look(|world| world.nodes.get(&node).is_some_and(|node| !node.off)).unwrap_or(false);
        if !tokio::task::spawn_blocking(on).await.unwrap_or(false) {
            return;
        }
    }
}

async fn write(mut writes: impl AsyncWrite + Unpin, mut said: Receiver<Vec<u8>>) {
    while let Some(bytes) = said.recv().await {
        match tokio::time::timeout(STALLED, writes.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
    let _ = writes.shutdown().await;
}

/// A frame towards the client: whole, not masked.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        long @ 126..65536 => {
            frame.push(126);
            frame.extend((long as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// What the client sends.
struct Frames<R> {
    reads: std::pin::Pin<Box<R>>,
    bytes: Vec<u8>,
    say: Sender<Vec<u8>>,
}

impl<R: AsyncRead> Frames<R> {
    /// The payload of the next frame with data; `None`: the client closed, or broke a rule.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            while !self.has_head() {
                self.more().await?;
            }
            let (head, length) = self.head()?;
            while self.bytes.len() < head + length {
                self.more().await?;
            }
            let opcode = self.bytes[0] & 0x0f;
            let mask: [u8; 4] = self.bytes[head - 4..head].try_into().ok()?;
            let body = &self.bytes[head..head + length];
            let payload: Vec<u8> = body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            self.bytes.drain(..head + length);
            match opcode {
                1 | 2 => return Some(payload),
                9 => self.say.send(frame(10, &payload)).await.ok()?,
                10 => {}
                _ => return None,
            }
        }
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.reads.as_mut().read_buf(&mut self.bytes).await.ok()?;
        (read > 0).then_some(())
    }

    fn has_head(&self) -> bool {
        let need = match self.bytes.get(1).map(|b| b & 0x7f) {
            Some(126) => 8,
            Some(127) => 14,
            Some(_) => 6,
            None => 2,
        };
        self.bytes.len() >= need
    }

    /// Length of head and payload; `None` for a frame that is cut, not masked, or too large.
    fn head(&self) -> Option<(usize, usize)> {
        let [first, second, ..] = self.bytes[..] else { return None };
        if first & 0xf0 != 0x80 || second & 0x80 == 0 {
            return None;
        }
        let (length, head) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(self.bytes[2..4].try_into().ok()?)), 8),
            127 => (u64::from_be_bytes(self.bytes[2..10].try_into().ok()?), 14),
            short => (u64::from(short), 6),
        };
        (length <= LARGEST).then_some((head, length as usize))
    }
}

/// termproxy's messages: `0:LENGTH:` and so many bytes, `1:COLUMNS:ROWS:`, `2`.
#[derive(Default)]
struct Messages {
    /// Of the message that was announced last.
    left: u64,
}

impl Messages {
    /// What was typed. `None`: a header that is none, or was cut in two.
    fn feed(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut typed = Vec::with_capacity(payload.len());
        for mut read in payload.chunks(READ) {
            while !read.is_empty() {
                if self.left > 0 {
                    let take = read.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    typed.extend(&read[..take]);
                    self.left -= take as u64;
                    read = &read[take..];
                    continue;
                }
                let colons = match read[0] {
                    b'0' => 2,
                    b'1' => 3,
                    b'2' => 0,
                    _ => return None,
                };
                let mut ends = read.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at + 1);
                let end = if colons == 0 { 1 } else { ends.nth(colons - 1)? };
                if colons == 2 {
                    let text = std::str::from_utf8(&read[2..end - 1]).ok()?;
                    self.left = text.parse().ok()?;
                }
                read = &read[end..];
            }
        }
        Some(typed)
    }
}
