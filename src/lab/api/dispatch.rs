//! The way of a request: who asks, is there such a route, may they, is the node alive, are the parameters well
//! formed; then the handler. The order is PVE's, because it decides which of several faults a caller sees.

use super::acl::{self, Identity};
use super::auth::{self, Secrets};
use super::call::{Call, Outcome};
use super::request::{Fault, Reply, Request};
use super::site::Site;
use super::state::Cluster;
use super::{ha, multipart, routes, schema, storage, verify};
use crate::lab::world::Flavour;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Answers one request and lets the HA manager live up to now.
pub fn handle(
    cluster: &mut Cluster,
    site: &mut dyn Site,
    secrets: &Secrets,
    flavour: Flavour,
    request: &Request,
) -> Reply {
    ha::advance(cluster, site, flavour);
    let mut total = None;
    match answer(cluster, site, secrets, flavour, request, &mut total) {
        Ok(data) => {
            let mut body = Map::new();
            body.insert("data".into(), data);
            if let Some(total) = total {
                body.insert("total".into(), Value::from(total));
            }
            Reply { status: 200, reason: "OK".into(), body: Some(Value::Object(body)) }
        }
        Err(fault) => fault.reply(flavour == Flavour::Pve9),
    }
}

fn answer(
    cluster: &mut Cluster,
    site: &mut dyn Site,
    secrets: &Secrets,
    flavour: Flavour,
    request: &Request,
    total: &mut Option<usize>,
) -> Outcome {
    let (method, path) = (request.method.as_str(), request.path.as_str());
    if !matches!(method, "GET" | "POST" | "PUT" | "DELETE") {
        return Err(Fault::Bare(501, format!("method '{method}' not available")));
    }
    if matches!(method, "GET" | "DELETE") && !request.body.is_empty() {
        return Err(Fault::Bare(501, format!("Unexpected content for method '{method}'")));
    }
    let now_s = site.now_ms() / 1000;
    let upload = method == "POST" && path.starts_with("/nodes/") && path.ends_with("/upload");
    let who = if path == LOGIN {
        Identity { user: "nobody".into(), token: None }
    } else {
        auth::identify(cluster, secrets, request, now_s, upload)?
    };
    let (params, file) = if upload { multipart::parse(request)? } else { (request.params()?, None) };
    let ask = Ask { who, entry: &request.entry, method, path, params, file };
    run(cluster, site, secrets, flavour, ask, total)
}

/// What pveproxy answers in place of one that takes too long.
pub const HANGS: u16 = 596;

/// The path that needs no ticket.
const LOGIN: &str = "/access/ticket";

/// A call by a known caller that came by another way than HTTP; the HA manager lives up to now first.
#[allow(clippy::too_many_arguments)]
pub fn perform(
    cluster: &mut Cluster,
    site: &mut dyn Site,
    secrets: &Secrets,
    flavour: Flavour,
    who: Identity,
    entry: &str,
    method: &str,
    path: &str,
    params: BTreeMap<String, String>,
) -> Outcome {
    ha::advance(cluster, site, flavour);
    run(cluster, site, secrets, flavour, Ask { who, entry, method, path, params, file: None }, &mut None)
}

struct Ask<'a> {
    who: Identity,
    entry: &'a str,
    method: &'a str,
    path: &'a str,
    params: BTreeMap<String, String>,
    file: Option<(String, Vec<u8>)>,
}

fn run(
    cluster: &mut Cluster,
    site: &mut dyn Site,
    secrets: &Secrets,
    flavour: Flavour,
    ask: Ask,
    total: &mut Option<usize>,
) -> Outcome {
    let Ask { who, entry, method, path, mut params, file } = ask;
    let not_implemented = || Fault::Text(501, format!("Method '{method} {path}' not implemented"));
    let (route, holes) = schema::find(flavour, method, path).ok_or_else(not_implemented)?;
    let handler = routes::handler(&route.route).ok_or_else(not_implemented)?;
    if who.token.is_some() && !route.token {
        return Err(Fault::forbidden(format!("URI '{path}' not available with API token, need proper ticket.\n")));
    }
    for (name, value) in &holes {
        if params.get(name).is_some_and(|given| given != value) {
            let text = "duplicate parameter (already defined in URI) with conflicting values!";
            return Err(Fault::param(name, text));
        }
    }
    params.extend(holes.clone());
    if path != LOGIN {
        acl::check(cluster, &who, route.permissions.as_ref(), &holes)?;
    }
    let node = executing_node(site, entry, holes.get("node"))?;
    if holes.contains_key("node") {
        params.insert("node".into(), node.clone());
    }
    verify::verify(route, &params)?;
    if storage::hangs(cluster, site, &node, &route.route, &params) {
        return Err(Fault::Text(HANGS, "Connection timed out".into()));
    }
    let mut call = Call { cluster, site, secrets, flavour, who, params, node, total: None, upload: file };
    let outcome = handler(&mut call);
    *total = call.total;
    outcome
}

/// The node a request is handled on; asking for one that is down or unknown fails as PVE's proxy fails.
fn executing_node(site: &dyn Site, entry: &str, asked: Option<&String>) -> Result<String, Fault> {
    let Some(asked) = asked.filter(|name| *name != "localhost") else { return Ok(entry.to_string()) };
    match site.nodes().into_iter().find(|node| node.name == *asked) {
        Some(node) if node.online => Ok(node.name),
        Some(_) => Err(Fault::Text(595, "No route to host".into())),
        None => Err(Fault::die(format!(
            "hostname lookup '{asked}' failed - failed to get address info for: {asked}: Name or service not known"
        ))),
    }
}
