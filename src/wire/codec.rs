//! One frame a line: a mark, base64 of the JSON, a line end. Everything without the mark is noise (a motd, a
//! prompt, an escape sequence) and is handed back for the error message instead of being lost.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, BufRead, Write};

/// What a line of ours begins with.
pub const MARK: &str = "@converge:";
/// A frame longer than this is refused: nobody sends 64 MiB of playbook task.
const MAX_LINE: u64 = 64 << 20;

pub fn write_frame(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message).map_err(io::Error::other)?;
    let mut line = String::with_capacity(MARK.len() + json.len() * 4 / 3 + 8);
    line.push_str(MARK);
    STANDARD.encode_string(&json, &mut line);
    line.push('\n');
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// The next frame, or `None` at a clean end. Lines that are no frame go to `noise`.
pub fn read_frame<T: DeserializeOwned>(input: &mut impl BufRead, noise: &mut dyn FnMut(&str)) -> io::Result<Option<T>> {
    loop {
        let mut line = Vec::new();
        let read = io::Read::take(&mut *input, MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than 64 MiB"));
        }
        let text = String::from_utf8_lossy(&line);
        // A prompt or an escape sequence may stand before the mark on the same line.
        let Some(at) = text.find(MARK) else {
            noise(text.trim_end());
            continue;
        };
        if at > 0 {
            noise(&text[..at]);
        }
        if !text.ends_with('\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the link was cut in the middle of a frame"));
        }
        let json = STANDARD
            .decode(text[at + MARK.len()..].trim_end())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("a damaged frame: {e}")))?;
        return serde_json::from_slice(&json)
            .map(Some)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("a frame of another version: {e}")));
    }
}
