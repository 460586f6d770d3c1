//! `/cluster/ha/status`: what the manager says about quorum, itself, the nodes and the services.

use super::{RESOURCES, read, show, sid_of};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::conf::Section;
use crate::lab::api::state::Cluster;
use crate::lab::world::Flavour;
use serde_json::{Map, Value, json};

pub fn index(_: &mut Call) -> Outcome {
    Ok(json!([{"name": "current"}, {"name": "manager_status"}]))
}

/// The word that lists show: finer than the CRM's own.
pub fn verbose_state(cluster: &Cluster, resource: &Section) -> String {
    let wanted = resource.keys.get("state").map_or("started", String::as_str);
    if wanted == "ignored" {
        return "ignored".into();
    }
    let Some(service) = cluster.ha.services.get(&sid_of(resource)) else { return "queued".into() };
    match service.state.as_str() {
        "request_stop" if wanted == "started" => "queued".into(),
        "request_stop" => "stopping".into(),
        "started" if service.failed_starts > 0 => "starting".into(),
        "stopped" if wanted == "disabled" => "disabled".into(),
        state => state.into(),
    }
}

pub fn current(call: &mut Call) -> Outcome {
    let nine = call.flavour == Flavour::Pve9;
    let quorate = call.quorate();
    let (status, flag) = if quorate { ("OK", 1) } else { ("No quorum!", 0) };
    let mut out = vec![json!({"id": "quorum", "type": "quorum", "node": call.node, "status": status, "quorate": flag})];
    let master = call.cluster.ha.master.clone();
    let now = call.cluster.ha.last_ms / 1000;
    if !master.is_empty() {
        let text = format!("{master} (active, {})", date(now));
        out.push(json!({"id": "master", "type": "master", "node": master, "status": text, "timestamp": now}));
    }
    if nine {
        let (word, watch) = if master.is_empty() { ("standby", "standby") } else { ("armed", "active") };
        let node = if master.is_empty() { call.node.clone() } else { master.clone() };
        let text = format!("{word} (CRM watchdog {watch})");
        out.push(json!({"id": "fencing", "type": "fencing", "node": node, "armed-state": word, "status": text}));
    }
    if !master.is_empty() {
        for node in call.site.nodes() {
            let busy = call.cluster.ha.lrm_is_active(&node.name, call.site.now_ms());
            let mode = match (node.online, busy, nine) {
                (false, _, _) => "old timestamp - dead?",
                (true, true, true) => "active, watchdog active",
                (true, false, true) => "idle, watchdog standby",
                (true, true, false) => "active",
                (true, false, false) => "idle",
            };
            let text = format!("{} ({mode}, {})", node.name, date(now));
            let id = format!("lrm:{}", node.name);
            out.push(json!({"id": id, "type": "lrm", "node": node.name, "status": text, "timestamp": now}));
        }
    }
    let (resources, _) = read(call.site, &call.node, RESOURCES);
    for resource in &resources.list {
        out.push(Value::Object(service(call, resource, nine)));
    }
    Ok(Value::Array(out))
}

fn service(call: &Call, resource: &Section, nine: bool) -> Map<String, Value> {
    let sid = sid_of(resource);
    let known = call.cluster.ha.services.get(&sid);
    let guest = resource.id.parse().ok().and_then(|vmid| crate::lab::api::lxc::find(call.site, vmid));
    let node = guest.map(|guest| guest.node).or_else(|| known.map(|service| service.node.clone())).unwrap_or_default();
    let state = verbose_state(call.cluster, resource);
    let mut map = show(resource, &["comment", "group"]);
    let wanted = map.remove("state").unwrap_or(json!("started"));
    map.insert("request_state".into(), wanted);
    for key in ["max_restart", "max_relocate"] {
        map.entry(key).or_insert(json!(1));
    }
    if nine {
        map.entry("failback").or_insert(json!(1));
    }
    if let Some(service) = known {
        map.insert("crm_state".into(), json!(service.state));
    }
    map.insert("status".into(), json!(format!("{sid} ({node}, {state})")));
    map.insert("state".into(), json!(state));
    map.insert("node".into(), json!(node));
    map.insert("type".into(), json!("service"));
    map.insert("id".into(), json!(format!("service:{sid}")));
    map.insert("sid".into(), json!(sid));
    map
}

pub fn manager(call: &mut Call) -> Outcome {
    let ha = &call.cluster.ha;
    let now = ha.last_ms / 1000;
    let nodes = call.site.nodes();
    let node_word = |name: &str, online: bool| match (online, ha.away.get(name).copied().unwrap_or(0)) {
        (true, _) => "online",
        (false, 0..=1) => "unknown",
        (false, 2..=3) => "fence",
        (false, _) => "unknown",
    };
    let node_status: Map<String, Value> =
        nodes.iter().map(|node| (node.name.clone(), json!(node_word(&node.name, node.online)))).collect();
    let services: Map<String, Value> = ha
        .services
        .iter()
        .map(|(sid, service)| {
            let running = sid.strip_prefix("ct:").and_then(|id| id.parse().ok()).and_then(|id| call.site.running(id));
            let mut entry = json!({"node": service.node, "state": service.state, "uid": sid});
            if running.is_some() {
                entry["running"] = json!(1);
            }
            (sid.clone(), entry)
        })
        .collect();
    let lrm: Map<String, Value> = nodes
        .iter()
        .map(|node| (node.name.clone(), json!({"mode": "active", "state": "active", "timestamp": now, "results": {}})))
        .collect();
    Ok(json!({
        "manager_status": {
            "master_node": ha.master, "node_status": node_status, "service_status": services, "timestamp": now,
        },
        "lrm_status": lrm,
        "quorum": {"node": call.node, "quorate": if call.quorate() { "1" } else { "0" }},
    }))
}

/// `Sun Nov 22 08:55:30 2026`, UTC.
fn date(epoch_s: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, rest) = (epoch_s.div_euclid(86_400), epoch_s.rem_euclid(86_400));
    // Days to civil date, after Howard Hinnant.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let word = DAYS[days.rem_euclid(7) as usize];
    let name = MONTHS[month as usize - 1];
    format!("{word} {name} {day:2} {:02}:{:02}:{:02} {year}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_printed_as_perl_prints_them() {
        assert_eq!(super::date(1_795_337_730), "Sun Nov 22 08:55:30 2026");
        assert_eq!(super::date(951_782_400), "Tue Feb 29 00:00:00 2000");
    }
}
