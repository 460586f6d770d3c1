//! Lists and the present state of containers.
//! Load figures are made up; state, lock, tags, sizes and HA are what the files say.

use super::{Guest, disk_bytes, load};
use crate::lab::api::call::{Call, Outcome};
use crate::lab::api::cluster::may_see_guest;
use crate::lab::api::request::Fault;
use crate::lab::api::{conf::GuestConf, ha};
use serde_json::{Map, Value, json};

const MIB: u64 = 1 << 20;

fn number(conf: &GuestConf, key: &str, default: u64) -> u64 {
    conf.main.get(key).and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn describe(call: &Call, vmid: u32, conf: &GuestConf) -> Map<String, Value> {
    let running = call.site.running(vmid);
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| map.insert(key.into(), value);
    put("vmid", json!(vmid));
    put("type", json!("lxc"));
    put("name", json!(conf.main.get("hostname").map_or_else(|| format!("CT{vmid}"), str::to_string)));
    put("status", json!(if running.is_some() { "running" } else { "stopped" }));
    put("cpus", json!(number(conf, "cores", 8)));
    put("maxmem", json!(number(conf, "memory", 512) * MIB));
    put("maxswap", json!(number(conf, "swap", 512) * MIB));
    put("maxdisk", json!(disk_bytes(conf)));
    for key in ["cpu", "swap", "netin", "netout", "diskread", "diskwrite"] {
        put(key, json!(0));
    }
    let (uptime, mem, disk) = match &running {
        Some(running) => ((call.now_s() - running.since_s).max(1), 20 * MIB, 800 * MIB),
        None => (0, 0, 0),
    };
    put("uptime", json!(uptime));
    put("mem", json!(mem));
    put("disk", json!(disk));
    if let Some(running) = running {
        put("pid", json!(running.pid));
    }
    for key in ["tags", "lock"] {
        if let Some(value) = conf.main.get(key) {
            put(key, json!(value));
        }
    }
    if conf.main.get("template") == Some("1") {
        put("template", json!(1));
    }
    map
}

pub fn list(call: &mut Call) -> Outcome {
    let node = call.node.clone();
    let mut out = Vec::new();
    for guest in super::all(call.site).into_iter().filter(|guest| guest.node == node) {
        if may_see_guest(call, guest.vmid) {
            out.push(Value::Object(describe(call, guest.vmid, &guest.conf)));
        }
    }
    Ok(Value::Array(out))
}

pub fn current(call: &mut Call) -> Outcome {
    let vmid = call.vmid();
    let (conf, _) = load(call.site, &call.node, vmid).map_err(Fault::die)?;
    let mut map = describe(call, vmid, &conf);
    map.insert("ha".into(), ha::of_guest(call, vmid));
    if map["status"] == "running" {
        for area in ["cpu", "io", "memory"] {
            map.insert(format!("pressure{area}some"), json!("0.00"));
            map.insert(format!("pressure{area}full"), json!("0.00"));
        }
    }
    Ok(Value::Object(map))
}

/// As `/cluster/resources` shows a container; of a node that is down nobody knows more than the name.
pub fn as_resource(call: &Call, guest: &Guest) -> Value {
    let mut map = describe(call, guest.vmid, &guest.conf);
    let online = call.site.nodes().iter().any(|node| node.name == guest.node && node.online);
    for key in ["swap", "maxswap", "pid"] {
        map.remove(key);
    }
    if let Some(cpus) = map.remove("cpus") {
        map.insert("maxcpu".into(), cpus);
    }
    map.insert("id".into(), json!(format!("lxc/{}", guest.vmid)));
    map.insert("node".into(), json!(guest.node));
    map.entry("template").or_insert(json!(0));
    map.insert("memhost".into(), json!(0));
    if !online {
        map.insert("status".into(), json!("unknown"));
    }
    if let Some(state) = ha::state_of(call, guest.vmid) {
        map.insert("hastate".into(), json!(state));
    }
    Value::Object(map)
}

pub fn interfaces(call: &mut Call) -> Outcome {
    let vmid = call.vmid();
    let (conf, _) = load(call.site, &call.node, vmid).map_err(Fault::die)?;
    if call.site.running(vmid).is_none() {
        return Ok(Value::Null);
    }
    let address =
        |text: &str, prefix: &str, kind: &str| json!({"ip-address": text, "prefix": prefix, "ip-address-type": kind});
    let mut out = vec![json!({
        "name": "lo", "hwaddr": "00:00:00:00:00:00", "hardware-address": "00:00:00:00:00:00",
        "inet": "127.0.0.1/8", "inet6": "::1/128",
        "ip-addresses": [address("127.0.0.1", "8", "inet"), address("::1", "128", "inet6")],
    })];
    for (_, net) in conf.main.keys.iter().filter(|(key, _)| key.starts_with("net")) {
        let get = |key: &str| super::option_of(net, key).unwrap_or_default();
        let hwaddr = get("hwaddr").to_lowercase();
        let mut entry = json!({"name": get("name"), "hwaddr": hwaddr, "hardware-address": hwaddr, "ip-addresses": []});
        if let Some((ip, prefix)) = get("ip").split_once('/') {
            entry["inet"] = json!(get("ip"));
            entry["ip-addresses"] = json!([address(ip, prefix, "inet")]);
        }
        out.push(entry);
    }
    Ok(Value::Array(out))
}
