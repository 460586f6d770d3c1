//! Percent-encoding for bodies, queries and path segments.
//!
//! Stricter than a browser's: everything but letters, digits and `-_.~` is encoded. Proxmox splits pairs at `;` as
//! well as at `&` (pve-http-server, `decode_urlencoded`), so a bare `;` in `tags` or `features` would be cut there.

use std::fmt::Write as _;

fn push(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// `key=value&…`, for a body of `application/x-www-form-urlencoded` or a query.
pub fn form<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> String {
    let mut out = String::new();
    for (key, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        push(&mut out, key.as_ref());
        out.push('=');
        push(&mut out, value.as_ref());
    }
    out
}

/// One segment of a path (`ct:101`, a UPID, a volume id).
pub fn segment(text: &str) -> String {
    let mut out = String::new();
    push(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_blanks_and_umlauts_are_encoded() {
        assert_eq!(
            form([("tags", "a;b"), ("description", "für alle+1")]),
            "tags=a%3Bb&description=f%C3%BCr%20alle%2B1"
        );
        assert_eq!(segment("UPID:pve1:0000057E:"), "UPID%3Apve1%3A0000057E%3A");
        assert_eq!(segment("a/b"), "a%2Fb");
    }
}
