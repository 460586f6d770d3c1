//! The cluster's own authority, fetched over a believed connection. Refuses one that did not sign what was met.

use super::write::{Anchor, New, client};
use super::{Args, Ground, Refused, failed, pins, usage};
use crate::inventory::edit::NewTls;
use crate::pve::{Certificate, Doubt, doubts_under, values};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

const FILE: &str = "pve-root-ca.pem";

pub fn gather(args: &Args, ground: &Ground, anchors: &[Anchor]) -> Result<New, Refused> {
    let (path, reference) = place(args, ground)?;
    let client = client(ground, anchors)?;
    let mut nodes = pins::nodes(ground, &client)?;
    nodes.sort_by_key(|node| (!node.online, node.name.clone()));
    let mut notes = Vec::new();
    let mut found: Option<(String, Vec<u8>)> = None;
    let mut infos: Vec<(String, Vec<Json>)> = Vec::new();
    for node in nodes {
        match pins::info(&client, &node.name) {
            Ok(info) => {
                if found.is_none() {
                    found = authority(&info).map_err(|why| failed(format!("{FILE} as {} has it: {why}", node.name)))?;
                }
                infos.push((node.name, info));
            }
            Err(error) => notes.push(format!("which certificate {} shows could not be told: {error}", node.name)),
        }
    }
    let Some((pem, der)) = found else {
        return Err(failed(format!(
            "no node tells of the cluster's authority ({FILE}){}\n  = help: `--write pins` does without",
            notes.iter().map(|note| format!("; {note}")).collect::<String>()
        )));
    };
    signs_what_was_met(ground, &der)?;
    for (node, info) in &infos {
        notes.extend(not_of(node, info, &der));
    }
    let by = anchors.first().map_or_else(String::new, |anchor| {
        format!("fetched over the connection with {}, {}", anchor.met.presented.entry, anchor.why)
    });
    let met: Vec<&str> = ground.met().map(|met| met.presented.entry.as_str()).collect();
    let read = Certificate::read(&der).map_err(failed)?;
    let whose = format!("{}, {}", FILE, read.subject);
    let from = vec![(read.fingerprint, whose, format!("{by}; it signed what was met at {}", met.join(", ")))];
    let file = needed(&path, &der)?.then_some((path, pem));
    Ok(New { tls: NewTls::CaFile(reference), from, file, notes })
}

/// The file, and how the cluster.yml is to name it: below its own folder from there, else in full.
fn place(args: &Args, ground: &Ground) -> Result<(PathBuf, String), Refused> {
    let inventory = &ground.cluster.path;
    let folder = crate::cli::ground::folder(&ground.cluster);
    let path = args.ca_file.clone().unwrap_or_else(|| {
        let stem = inventory.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        folder.join(format!("{stem}-ca.pem"))
    });
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| usage(format!("{}: {e}", path.display())));
    let full = absolute(&path)?;
    let base = absolute(if folder == Path::new("") { Path::new(".") } else { &folder })?;
    let named = full.strip_prefix(&base).unwrap_or(&full);
    let named = named.to_str().ok_or_else(|| usage(format!("{}: not UTF-8", path.display())))?;
    if named.chars().any(char::is_control) {
        return Err(usage(format!("{named:?} is no name for a file in a list of lines")));
    }
    Ok((path, named.to_owned()))
}

/// The authority's certificate out of a node's list: its text and its DER.
fn authority(info: &[Json]) -> Result<Option<(String, Vec<u8>)>, String> {
    let Some(entry) = info.iter().find(|entry| entry["filename"] == FILE) else { return Ok(None) };
    let pem = values::text(&entry["pem"]).ok_or("it comes without its text (`pem`)")?;
    let der = one(&pem)?;
    let read = Certificate::read(&der)?;
    if !read.is_ca {
        return Err(format!("it is no authority's certificate, but that of {}", read.subject));
    }
    let said = values::text(&entry["fingerprint"]).unwrap_or_default();
    if said.parse() != Ok(read.fingerprint) {
        return Err(format!("its fingerprint is {}, and not {said} as is said", read.fingerprint));
    }
    // Written anew, so that nothing else comes along in the text.
    Ok(Some((encoded(&der), der)))
}

fn one(pem: &str) -> Result<Vec<u8>, String> {
    let all =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    match all.as_slice() {
        [one] => Ok(one.to_vec()),
        several => Err(format!("one certificate was expected, not {}", several.len())),
    }
}

fn encoded(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..(at + 64).min(text.len())]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn signs_what_was_met(ground: &Ground, der: &[u8]) -> Result<(), Refused> {
    let mut wrong = String::new();
    let mut name_alone = true;
    for met in ground.met() {
        let doubts = doubts_under(der, &met.presented.chain, Some(&met.presented)).map_err(failed)?;
        for doubt in doubts {
            name_alone &= matches!(doubt, Doubt::WrongName { .. });
            wrong.push_str(&format!("\n    {}: {doubt}", met.presented.entry));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let help = if name_alone {
        "write one of these names into `endpoints`, or use `--write pins`, which does not ask for names"
    } else {
        "`tls: system` where the certificates are of an authority that this machine knows; else `--write pins`"
    };
    Err(failed(format!("with the cluster's authority, what was met would not be believed:{wrong}\n  = help: {help}")))
}

/// A node that is spoken to at its own port shows a certificate of somebody else's.
fn not_of(node: &str, info: &[Json], der: &[u8]) -> Option<String> {
    let of = |file: &str| info.iter().find(|entry| entry["filename"] == file).and_then(|e| values::text(&e["pem"]));
    let unknown = |why: &str| Some(format!("which certificate {node} shows could not be told: {why}"));
    let Some(pem) = of("pveproxy-ssl.pem").or_else(|| of("pve-ssl.pem")) else { return unknown("it names none") };
    let chain = match CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>() {
        Ok(chain) => chain,
        Err(error) => return unknown(&error.to_string()),
    };
    let doubts = doubts_under(der, &chain, None).ok()?;
    let doubt = doubts.first()?;
    Some(format!("with this authority, {node} itself would not be believed where it is spoken to directly: {doubt}"))
}

/// Whether the file is yet to be written. One that holds something else is not touched.
fn needed(path: &Path, der: &[u8]) -> Result<bool, Refused> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(format!("{}: {error}", path.display()))),
        Ok(text) if one(&text).is_ok_and(|there| there == der) => Ok(false),
        Ok(_) => Err(failed(format!(
            "{} is there and holds something else\n  = help: look at it; take it away, or name another file with \
             `--ca-file`",
            path.display()
        ))),
    }
}
