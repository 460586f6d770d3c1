//! The pins to be written: what was met and is believed, and what the cluster says over that connection of the nodes
//! that were not met. A certificate that nobody vouches for is never among them.

use super::write::{Anchor, New, api, client};
use super::{Args, Ground, Refused, failed};
use crate::inventory::edit::{NewTls, Pin};
use crate::pve::{self, Client, Fingerprint, values};
use serde_json::Value as Json;

/// A node of the cluster and the certificate that the cluster has of it.
pub struct Told {
    pub node: String,
    pub fingerprint: Fingerprint,
}

pub fn gather(args: &Args, ground: &Ground, anchors: &[Anchor]) -> Result<New, Refused> {
    let told = if args.endpoints_only { Vec::new() } else { told(ground, &client(ground, anchors)?)? };
    let by = &anchors[0].met.presented.entry;
    let mut from: Vec<(Fingerprint, String, String)> = Vec::new();
    for Told { node, fingerprint } in &told {
        if let Some((_, whose, _)) = from.iter_mut().find(|(known, _, _)| known == fingerprint) {
            whose.push_str(&format!(", {node}"));
            continue;
        }
        let at: Vec<String> = ground
            .met()
            .filter(|met| met.fingerprint == *fingerprint)
            .map(|met| format!("; met at {}", met.presented.entry))
            .collect();
        let why = match anchors.iter().find(|anchor| anchor.met.fingerprint == *fingerprint) {
            Some(anchor) => anchor.why.clone(),
            None => format!("told by the cluster, through {by}"),
        };
        from.push((*fingerprint, node.clone(), format!("{why}{}", at.concat())));
    }
    let mut notes = Vec::new();
    for met in ground.met() {
        if from.iter().any(|(known, _, _)| *known == met.fingerprint) {
            continue;
        }
        let entry = &met.presented.entry;
        let Some(anchor) = anchors.iter().find(|anchor| anchor.met.fingerprint == met.fingerprint) else {
            return Err(failed(format!(
                "{entry} shows a certificate that the cluster names for none of its nodes: {}\n  = help: compare it on \
                 the node; if it is right (a proxy in front, pveproxy not restarted), add `--expect` with it",
                met.fingerprint
            )));
        };
        if !args.endpoints_only {
            notes.push(format!(
                "the cluster names the certificate of {entry} for none of its nodes: a proxy stands in front, or pveproxy \
                 has not taken up a new certificate"
            ));
        }
        from.push((met.fingerprint, met.presented.asked(), format!("{}; met at {entry}", anchor.why)));
    }
    for expected in &args.expect {
        if !from.iter().any(|(known, _, _)| known == expected) {
            let who = if args.endpoints_only { "no endpoint shows it" } else { "no endpoint shows it, no node has it" };
            return Err(failed(format!("--expect {expected}: {who}")));
        }
    }
    for gone in &args.replace {
        if let Some((_, whose, _)) = from.iter().find(|(known, _, _)| known == gone) {
            return Err(failed(format!("--replace {gone}: {whose} still has it")));
        }
    }
    for pin in ground.pinned().iter().filter(|pin| !args.replace.contains(pin)) {
        if !from.iter().any(|(known, _, _)| known == pin) {
            let whose = if args.endpoints_only { "no endpoint" } else { "no node" };
            from.push((*pin, String::new(), format!("pinned before; {whose} shows it (`--replace` takes it out)")));
        }
    }
    // As they are written in the file, where they stand there already.
    let written = |fingerprint: &Fingerprint| match &ground.cluster.tls {
        crate::inventory::cluster::Tls::Fingerprints(pins) => {
            pins.iter().find(|pin| pin.parse() == Ok(*fingerprint)).cloned().unwrap_or_else(|| fingerprint.to_string())
        }
        _ => fingerprint.to_string(),
    };
    let pin = |(fingerprint, whose, _): &(Fingerprint, String, String)| Pin {
        fingerprint: written(fingerprint),
        note: whose.clone(),
    };
    Ok(New { tls: NewTls::Fingerprints(from.iter().map(pin).collect()), from, file: None, notes })
}

/// Every node's fingerprint, as the cluster has it.
fn told(ground: &Ground, client: &Client) -> Result<Vec<Told>, Refused> {
    let mut told = Vec::new();
    for node in nodes(ground, client)? {
        let fingerprint = match values::text(&node.entry["ssl_fingerprint"]).filter(|text| !text.is_empty()) {
            Some(text) => text,
            None => by_its_files(client, &node.name).map_err(|why| {
                failed(format!("the certificate of {} cannot be told ({why}), and half of the pins is none", node.name))
            })?,
        };
        let fingerprint = fingerprint.parse().map_err(|why| failed(format!("{}: {why}", node.name)))?;
        told.push(Told { node: node.name, fingerprint });
    }
    told.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(told)
}

pub struct Node {
    pub name: String,
    pub online: bool,
    entry: Json,
}

pub fn nodes(ground: &Ground, client: &Client) -> Result<Vec<Node>, Refused> {
    let answer = client.get::<&str, &str>("/nodes", []).map_err(|e| api(&e, ground))?;
    let mut nodes = Vec::new();
    for entry in answer.as_array().into_iter().flatten() {
        let name = values::text(&entry["node"]).unwrap_or_default();
        // It goes into a file of lines.
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')) {
            return Err(failed(format!("the cluster names a node that can be none: {name:?}")));
        }
        nodes.push(Node { name, online: entry["status"] == "online", entry: entry.clone() });
    }
    if nodes.is_empty() {
        return Err(failed("the cluster names no node"));
    }
    Ok(nodes)
}

/// A `pveproxy-ssl.pem` goes before `pve-ssl.pem`, as on the node.
fn by_its_files(client: &Client, node: &str) -> Result<String, String> {
    let info = info(client, node).map_err(|e| e.to_string())?;
    let of =
        |file: &str| info.iter().find(|entry| entry["filename"] == file).and_then(|e| values::text(&e["fingerprint"]));
    of("pveproxy-ssl.pem").or_else(|| of("pve-ssl.pem")).ok_or_else(|| "it names no certificate".into())
}

/// The certificates that a node has.
pub fn info(client: &Client, node: &str) -> Result<Vec<Json>, pve::Error> {
    let path = format!("/nodes/{}/certificates/info", pve::segment(node));
    match client.get::<&str, &str>(&path, [])? {
        Json::Array(entries) => Ok(entries),
        other => Err(pve::Error::BadAnswer { path, why: format!("a list was expected, not {other}") }),
    }
}
