//! Links through a node's own API: a root shell behind a WebSocket, where there is no SSH at all.
//!
//! The shell is a person's: it greets, prompts and echoes. What it prints before the agent speaks is noise.

use super::binary::Binary;
use super::boot::Start;
use super::lock::{Claim, Held, LockError, await_held};
use super::{Link, LinkError, boot};
use crate::event::Mode;
use crate::pve::{Client, Error, TerminalInput, TerminalOutput};
use std::io::{self, BufRead, BufReader, Read, Write};

/// Longer than any frame (bytes).
const LONGEST: u64 = 128 << 20;

pub fn connect(
    host: &str,
    node: &str,
    mode: Mode,
    client: &Client,
    endpoint: &str,
    folder: Option<&str>,
    prefix: &[String],
) -> Result<Link, LinkError> {
    let lost = |why: String| LinkError::Lost { host: host.to_owned(), why };
    let binary = Binary::get().map_err(lost)?;
    let (output, input) = open(client, endpoint, node).map_err(lost)?;
    let line = Start { binary, name: host, mode, folder, prefix }.typed();
    boot::start(host, binary, UntilEnd::new(output), input, Some(line), |why| lost(plain(&why)))
}

/// The cluster's lock, held by a shell of its own.
pub fn lock(
    node: &str,
    client: &Client,
    endpoint: &str,
    claim: &Claim,
    tell: &mut dyn FnMut(String),
) -> Result<Option<Held>, LockError> {
    let (output, mut input) = open(client, endpoint, node).map_err(LockError::Unknown)?;
    let [owner, how, name, before] = claim.words(super::lock::NAME);
    let line = boot::typed(super::lock::SCRIPT, &["/etc/pve", owner, how, name, before], &[]);
    input.write_all(line.as_bytes()).map_err(|e| LockError::Unknown(e.to_string()))?;
    await_held(UntilEnd::new(output), input, &super::lock::busy, tell)
}

fn open(client: &Client, endpoint: &str, node: &str) -> Result<(TerminalOutput, TerminalInput), String> {
    let shown = |e: Error| match e.what_now() {
        Some(advice) => format!("{e} ({advice})"),
        None => e.to_string(),
    };
    client.at(endpoint).and_then(|own| own.terminal(node)).map_err(shown)
}

/// What a terminal prints, up to the word that says that the program in it has ended.
struct UntilEnd<R> {
    inner: BufReader<R>,
    line: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> UntilEnd<R> {
    fn new(inner: R) -> Self {
        Self { inner: BufReader::with_capacity(64 * 1024, inner), line: Vec::new(), at: 0, ended: false }
    }
}

impl<R: Read> BufRead for UntilEnd<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.line.len() && !self.ended {
            (self.at, self.ended) = (0, true);
            self.line.clear();
            (&mut self.inner).take(LONGEST).read_until(b'\n', &mut self.line)?;
            let end = self.line.windows(boot::END.len()).position(|piece| piece == boot::END.as_bytes());
            match end.filter(|_| self.line.len() < 4096) {
                Some(end) => self.line.truncate(end),
                None => self.ended = self.line.is_empty(),
            }
        }
        Ok(&self.line[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl<R: Read> Read for UntilEnd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let take = there.len().min(into.len());
        into[..take].copy_from_slice(&there[..take]);
        self.consume(take);
        Ok(take)
    }
}

/// What a terminal said, without its colours and cursor movements.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            // `ESC [ … letter` and `ESC ] … BEL`.
            match letters.next() {
                Some('[') => while letters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
                Some(']') => while letters.next().is_some_and(|c| c != '\x07') {},
                _ => {}
            }
        } else if !letter.is_control() || letter == '\n' {
            plain.push(letter);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_fits_a_cooked_line() {
        let binary = Binary::of(b"x".to_vec());
        let prefix = ["pct", "exec", "999999999", "--"].map(str::to_owned);
        let (name, folder) = ("n".repeat(63), "/d".repeat(100));
        let start = Start { binary: &binary, name: &name, mode: Mode::Apply, folder: Some(&folder), prefix: &prefix };
        let line = start.typed();
        assert!(line.len() < 4096, "{} bytes", line.len());
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains("@boot"), "its echo would be taken for the answer");
        let lock = boot::typed(
            super::super::lock::SCRIPT,
            &["/etc/pve", &"o".repeat(300), "resume", "converge", &"o".repeat(300)],
            &[],
        );
        assert!(lock.len() < 4096, "{} bytes", lock.len());
    }

    #[test]
    fn a_terminal_ends_with_the_program_in_it() {
        let text = |bytes: &'static [u8]| io::read_to_string(UntilEnd::new(bytes)).unwrap();
        assert_eq!(text(b"one\ntwo@boot end\nprompt# "), "one\ntwo");
        assert_eq!(text(b"one\ntwo"), "one\ntwo");
        assert_eq!(text(b"printf @boo \"t end\"\n\nx\n"), "printf @boo \"t end\"\n\nx\n");
    }

    #[test]
    fn escapes_are_left_out() {
        assert_eq!(plain("\x1b[1;32mroot\x1b[0m@pve1\x1b]0;title\x07:~# \x1b[?2004h\nx"), "root@pve1:~# \nx");
    }
}
