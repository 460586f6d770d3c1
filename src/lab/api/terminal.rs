//! `/nodes/{node}/termproxy` and `/nodes/{node}/vncwebsocket`: who may have a terminal, and until when it waits.
//! It opens none; the bytes are `websocket`'s business, and the shell behind them is `lab::terminal`'s.

use super::call::{Call, Outcome, record};
use super::request::Fault;
use super::state::{Cluster, Waiting};
use crate::lab::world::Flavour;
use serde_json::json;

/// For how long termproxy waits for its client.
const PATIENCE_MS: i64 = 10_000;
const PORTS: std::ops::RangeInclusive<u16> = 5900..=5999;

pub fn termproxy(call: &mut Call) -> Outcome {
    if call.flavour == Flavour::Pve8 && call.who.token.is_some() {
        return Err(Fault::forbidden("API tokens get no terminal"));
    }
    if call.get("cmd").is_some_and(|cmd| cmd != "login") {
        if !call.who.is_root() {
            return Err(Fault::forbidden("user != root@pam"));
        }
        return Err(Fault::Text(501, "the lab's terminals have a login shell only".into()));
    }
    let now_ms = call.site.now_ms();
    call.cluster.terminals.retain(|waiting| waiting.since_ms + PATIENCE_MS > now_ms);
    let taken = |port: &u16| call.cluster.terminals.iter().any(|w| w.port == *port && w.node == call.node);
    let port = PORTS.into_iter().find(|port| !taken(port));
    let port = port.ok_or_else(|| Fault::die("unable to find free port (5900-6000)"))?;
    let (node, who) = (call.node.clone(), call.who.clone());
    let user = who.full();
    let ticket = call.secrets.terminal_ticket(&user, &path(&node), port, call.now_s());
    let log = vec![format!("starting termproxy UPID:{node} port {port}")];
    let upid = record(call.cluster, now_ms, &node, &who, "vncshell", "", log, Ok(()));
    if let Some(task) = call.cluster.tasks.last_mut() {
        task.ends_ms = now_ms + PATIENCE_MS;
    }
    call.cluster.terminals.push(Waiting { port, node, user: user.clone(), upid: upid.clone(), since_ms: now_ms });
    Ok(json!({ "user": user, "ticket": ticket, "port": port.to_string(), "upid": upid }))
}

/// What tickets are bound to.
pub fn path(node: &str) -> String {
    format!("/nodes/{node}")
}

/// Before the connection becomes a WebSocket: is the ticket good?
pub fn vncwebsocket(call: &mut Call) -> Outcome {
    let port = call.number("port").unwrap_or_default() as u16;
    let (user, node, now_s) = (call.who.full(), call.node.clone(), call.now_s());
    if !call.secrets.is_terminal_ticket(call.param("vncticket"), &user, &path(&node), port, now_s) {
        return Err(Fault::Text(401, "permission denied - invalid PVEVNC ticket".into()));
    }
    Ok(json!({ "port": port.to_string() }))
}

/// The terminal at this port, for its one client; `None`: nobody listens there (any more).
pub fn take(cluster: &mut Cluster, node: &str, port: u16, now_ms: i64) -> Option<Waiting> {
    let at = cluster.terminals.iter().position(|w| w.node == node && w.port == port)?;
    let waiting = cluster.terminals.remove(at);
    if waiting.since_ms + PATIENCE_MS <= now_ms {
        return None;
    }
    set_end(cluster, &waiting.upid, i64::MAX);
    Some(waiting)
}

/// The terminal's task is over.
pub fn ended(cluster: &mut Cluster, upid: &str, now_ms: i64) {
    set_end(cluster, upid, now_ms);
}

fn set_end(cluster: &mut Cluster, upid: &str, ends_ms: i64) {
    for task in cluster.tasks.iter_mut().filter(|task| task.upid == upid) {
        task.ends_ms = ends_ms;
    }
}
