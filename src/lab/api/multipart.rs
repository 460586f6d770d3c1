//! Reads the `multipart/form-data` body of an upload: text fields, then one file.
//! It takes what PVE takes: the file part is named `filename`, every other field stands before it.

use super::request::{Fault, Request};
use std::collections::BTreeMap;

type Parts = (BTreeMap<String, String>, Option<(String, Vec<u8>)>);

pub fn parse(request: &Request) -> Result<Parts, Fault> {
    let fault = |text: &str| Fault::Bare(501, text.into());
    let kind = request.header("content-type").unwrap_or_default();
    let boundary = kind
        .strip_prefix("multipart/form-data")
        .and_then(|rest| rest.split(';').find_map(|part| part.trim().strip_prefix("boundary=")))
        .ok_or_else(|| fault("wrong Content-Type for upload"))?;
    let mark = format!("--{}", boundary.trim_matches('"'));
    let mut fields = BTreeMap::new();
    let mut file = None;
    let mut rest = request.body.as_slice();
    while let Some(start) = find(rest, mark.as_bytes()) {
        rest = &rest[start + mark.len()..];
        if rest.starts_with(b"--") {
            break;
        }
        let head_end = find(rest, b"\r\n\r\n").ok_or_else(|| fault("unable to parse upload headers"))?;
        let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
        let body = &rest[head_end + 4..];
        let next = format!("\r\n{mark}");
        let end = find(body, next.as_bytes()).ok_or_else(|| fault("upload ended before its boundary"))?;
        let name = quoted(&head, "name").ok_or_else(|| fault("upload part without a name"))?;
        match quoted(&head, "filename") {
            Some(file_name) => {
                fields.insert(name, file_name.clone());
                file = Some((file_name, body[..end].to_vec()));
            }
            None => {
                fields.insert(name, String::from_utf8_lossy(&body[..end]).into_owned());
            }
        }
        rest = &body[end + 2..];
    }
    Ok((fields, file))
}

/// The value of ` key="…"` in a Content-Disposition line.
fn quoted(head: &str, key: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    line.split(';').find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        (name == key).then(|| value.trim_matches('"').to_string())
    })
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}
