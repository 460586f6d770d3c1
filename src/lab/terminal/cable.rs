//! Carries bytes between the near end of a terminal and a socket, both ways at once, until either is closed: a reader
//! that waits for the one must not keep the other from being emptied.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Bytes on their way in one direction, and whether there may be more.
struct Way {
    bytes: Vec<u8>,
    sent: usize,
}

impl Way {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(4096), sent: 0 }
    }

    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// `false`: this end is closed.
    fn fill(&mut self, from: impl AsFd) -> bool {
        self.bytes.resize(4096, 0);
        self.sent = 0;
        match rustix::io::read(from, &mut self.bytes) {
            Ok(read @ 1..) => {
                self.bytes.truncate(read);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                self.bytes.clear();
                true
            }
            // A terminal whose far end was closed says EIO.
            _ => false,
        }
    }

    fn empty(&mut self, into: impl AsFd) -> bool {
        match rustix::io::write(into, &self.bytes[self.sent..]) {
            Ok(written) => {
                self.sent += written;
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}

/// Both ends must not block.
pub fn carry(terminal: &OwnedFd, socket: &UnixStream) {
    let (mut printed, mut typed) = (Way::new(), Way::new());
    let wants = |input: bool, output: bool| {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, input);
        flags.set(PollFlags::OUT, output);
        flags
    };
    let mut far_end = true;
    loop {
        let at_terminal = wants(far_end && printed.is_empty(), !typed.is_empty());
        let at_socket = wants(typed.is_empty(), !printed.is_empty());
        // Where nothing is wanted of a terminal that hung up, it would only wake.
        let mut both = vec![PollFd::new(socket, at_socket)];
        if !at_terminal.is_empty() {
            both.push(PollFd::new(terminal, at_terminal));
        }
        if poll(&mut both, None).is_err_and(|e| e != Errno::INTR) {
            return;
        }
        let ready = |at: usize| both.get(at).map_or(PollFlags::empty(), PollFd::revents);
        let (socket_is, terminal_is) = (ready(0), ready(1));
        let closed = PollFlags::HUP | PollFlags::ERR;
        if socket_is.intersects(PollFlags::IN | closed) && at_socket.contains(PollFlags::IN) && !typed.fill(socket) {
            return;
        }
        // What was typed last may be lost with the client, as on a line that is cut.
        if socket_is.contains(PollFlags::ERR) || (socket_is.contains(PollFlags::HUP) && !typed.is_empty()) {
            return;
        }
        if socket_is.contains(PollFlags::OUT) && !printed.empty(socket) {
            return;
        }
        if terminal_is.intersects(PollFlags::IN | closed) && at_terminal.contains(PollFlags::IN) {
            far_end = printed.fill(terminal);
            if !far_end {
                printed = Way::new();
            }
        }
        if terminal_is.contains(PollFlags::OUT) && !typed.is_empty() && !typed.empty(terminal) {
            return;
        }
    }
}
