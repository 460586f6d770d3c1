//! A line between two ends on loopback that delays, loses, and can be cut.
//!
//! The kernels this runs on have no netem, so that loss is played as what it costs a TCP connection: what was lost comes
//! later by one round trip where enough came after it (fast retransmit), else by the retransmission timeout, which on
//! Linux is the round trip and at least 200 ms; and everything behind it waits.

#![allow(dead_code)] // Each test binary uses its part.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What fits into one packet of Ethernet.
const SEGMENT: usize = 1448;
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Default)]
pub struct Line {
    pub round_trip: Duration,
    /// Of 1000 packets.
    pub lost_per_mille: u32,
    /// Bits in a second, each way; 0: no limit.
    pub rate: u64,
}

pub struct Relay {
    pub port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    pub fn to(port: u16, line: Line) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(Vec::new()));
        let kept = open.clone();
        std::thread::spawn(move || {
            for (at, near) in listener.incoming().flatten().enumerate() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (way, from, into) in [(0, &near, &far), (1, &far, &near)] {
                    kept.lock().unwrap().push(from.try_clone().unwrap());
                    carry(from.try_clone().unwrap(), into.try_clone().unwrap(), line, (at * 2 + way) as u64);
                }
            }
        });
        Self { port: own, open }
    }

    /// Ends every connection that there is; new ones are made as before.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut into: TcpStream, line: Line, seed: u64) {
    let _ = into.set_nodelay(true);
    let (give, take) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        let mut dice = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed + 1);
        // When the line is free again, and when the last byte comes: nothing overtakes.
        let (mut free, mut last) = (Instant::now(), Instant::now());
        while let Ok(read @ 1..) = from.read(&mut piece) {
            let segments: Vec<&[u8]> = piece[..read].chunks(SEGMENT).collect();
            for (at, segment) in segments.iter().enumerate() {
                free = free.max(Instant::now());
                if let Some(nanos) = (segment.len() as u64 * 8_000_000_000).checked_div(line.rate) {
                    free += Duration::from_nanos(nanos);
                }
                let mut due = free + line.round_trip / 2;
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                if dice % 1000 < u64::from(line.lost_per_mille) {
                    let seen_by_those_behind = segments.len() - at > 3;
                    due += line.round_trip + if seen_by_those_behind { Duration::ZERO } else { LEAST_TIMEOUT };
                }
                last = last.max(due);
                if give.send((last, segment.to_vec())).is_err() {
                    return;
                }
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in take {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if into.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = into.shutdown(Shutdown::Write);
    });
}
