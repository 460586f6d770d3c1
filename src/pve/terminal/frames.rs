//! WebSocket frames as pveproxy takes them: masked towards it, whole, at most 128 KiB.

use std::io::{self, Read};

/// The server's own limit is 128 KiB.
const LARGEST: u64 = 1 << 20;

pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// Bytes that nobody can foresee.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("the kernel's random numbers");
    bytes
}

pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        middle @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let mask = random::<4>();
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Bytes in, frames out.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// What is no whole frame yet.
    pub fn rest(self) -> Vec<u8> {
        self.bytes
    }

    /// `None`: more bytes are needed.
    pub fn next(&mut self) -> io::Result<Option<Frame>> {
        let [first, second, ..] = self.bytes[..] else { return Ok(None) };
        let (length, mut at) = match second & 0x7f {
            126 => match self.bytes.get(2..4) {
                Some(long) => (u64::from(u16::from_be_bytes([long[0], long[1]])), 4),
                None => return Ok(None),
            },
            127 => match self.bytes.get(2..10) {
                Some(long) => (u64::from_be_bytes(long.try_into().expect("eight bytes")), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if length > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a WebSocket frame is too large"));
        }
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            let Some(given) = self.bytes.get(at..at + 4) else { return Ok(None) };
            mask.copy_from_slice(given);
            at += 4;
        }
        let end = at + length as usize;
        if self.bytes.len() < end {
            return Ok(None);
        }
        let payload = self.bytes[at..end].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.bytes.drain(..end);
        Ok(Some(Frame { opcode: first & 0x0f, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        for length in [0, 1, 125, 126, 4096, 70_000] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let bytes = masked(2, &payload);
            let mut frames = Frames::default();
            for piece in bytes.chunks(1000) {
                assert!(frames.next().unwrap().is_none());
                frames.feed(piece);
            }
            let frame = frames.next().unwrap().expect("a whole frame");
            assert_eq!((frame.opcode, frame.payload), (2, payload));
            assert!(frames.rest().is_empty());
        }
        let mut hostile = Frames::default();
        hostile.feed(&[0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0]);
        assert!(hostile.next().is_err());
    }

    #[test]
    fn damaged_frames_are_errors_or_frames_and_cost_no_more_than_they_hold() {
        let mut dice = 0x9e37_79b9_7f4a_7c15u64;
        let mut throw = |below: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice % below as u64) as usize
        };
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..1 + throw(3)).flat_map(|_| masked(2, &vec![b'x'; throw(300)])).collect();
            for _ in 0..throw(6) {
                let at = throw(bytes.len());
                bytes[at] = throw(256) as u8;
            }
            let mut frames = Frames::default();
            let mut given = 0;
            for piece in bytes.chunks(1 + throw(64)) {
                frames.feed(piece);
                while let Ok(Some(frame)) = frames.next() {
                    given += frame.payload.len();
                }
            }
            assert!(given <= bytes.len());
        }
    }
}
