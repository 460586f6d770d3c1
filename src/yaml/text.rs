//! Files → text that is worth parsing. Refuses what is too large, binary or not UTF-8, with the place.

use crate::diagnostic::{Fault, Sources, Span};
use std::io::Read;
use std::path::Path;

/// A larger file is refused unread. The largest playbook repositories hold files of some 100 KiB; what is larger
/// is data, or a mistake.
pub const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Reads a file into `sources`. The fault stands at the file's beginning, or where the first bad byte is.
pub fn read(path: &Path, sources: &mut Sources) -> Result<u32, Fault> {
    let refuse = |sources: &mut Sources, message: String| {
        let file = sources.add(path, "");
        Fault::new(Span { file, start: 0, end: 0 }, message)
    };
    let shown = path.display();
    let bytes = match bytes(path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(refuse(sources, format!("cannot read `{shown}`: {}", plain(&error)))),
    };
    if bytes.len() as u64 > MAX_BYTES {
        let limit = MAX_BYTES / 1024 / 1024;
        return Err(refuse(sources, format!("`{shown}` is larger than {limit} MiB")).help("is it the right file?"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(refuse(sources, format!("`{shown}` is UTF-16")).help("save it as UTF-8"));
    }
    if bytes.contains(&0) {
        return Err(refuse(sources, format!("`{shown}` is a binary file, not YAML")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => {
            let text = match text.strip_prefix('\u{feff}') {
                Some(rest) => rest.to_owned(),
                None => text,
            };
            Ok(sources.add(path, text))
        }
        Err(error) => {
            let (bad, from) = (error.utf8_error().valid_up_to(), error.as_bytes());
            // Text so far, then what replaces the bad byte: enough to show the line.
            let end = from[bad..].iter().position(|b| *b == b'\n').map_or(from.len(), |n| bad + n);
            let byte = from[bad];
            let file = sources.add(path, String::from_utf8_lossy(&from[..end]).into_owned());
            let place = Span { file, start: bad, end: bad + '\u{fffd}'.len_utf8() };
            Err(Fault::new(place, format!("`{shown}` is not UTF-8 text"))
                .label(format!("byte 0x{byte:02x}"))
                .help("save it as UTF-8"))
        }
    }
}

/// At most one byte more than allowed, so that an endless file (`/dev/zero`) ends here.
fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.is_dir() {
        return Err(std::io::Error::other("it is a directory"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The system's text without "(os error 2)".
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
