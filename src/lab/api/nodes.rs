//! `/nodes` and what a node says about itself: status, services, packages, certificate.
//! The figures of load and memory are made up and constant: nothing may decide upon them.

use super::call::{Call, Outcome};
use super::cluster::{REPOID, release};
use super::request::Fault;
use crate::lab::world::Flavour;
use crate::pve::{Certificate, Name};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;
/// The services that the API shows; a fixed list in PVE too.
const SERVICES: [&str; 22] = [
    "chrony",
    "corosync",
    "cron",
    "ksmtuned",
    "lxcfs",
    "postfix",
    "proxmox-firewall",
    "pve-cluster",
    "pve-firewall",
    "pve-ha-crm",
    "pve-ha-lrm",
    "pve-lxc-syscalld",
    "pvedaemon",
    "pvefw-logger",
    "pveproxy",
    "pvescheduler",
    "pvestatd",
    "qmeventd",
    "spiceproxy",
    "sshd",
    "systemd-journald",
    "systemd-timesyncd",
];

/// Load and sizes of an online node.
pub fn figures() -> Vec<(&'static str, Value)> {
    vec![
        ("cpu", json!(0.02)),
        ("maxcpu", json!(8)),
        ("mem", json!(4 * GIB)),
        ("maxmem", json!(32 * GIB)),
        ("disk", json!(8 * GIB)),
        ("maxdisk", json!(100 * GIB)),
        ("uptime", json!(86_400)),
    ]
}

pub fn list(call: &mut Call) -> Outcome {
    let audit = |call: &Call, name: &str| call.may(&format!("/nodes/{name}"), "Sys.Audit");
    let mut out = Vec::new();
    for node in call.site.nodes() {
        let mut entry = json!({
            "node": node.name, "id": format!("node/{}", node.name), "type": "node",
            "status": if call.sees(&node) { "online" } else { "offline" },
            "ssl_fingerprint": call.site.fingerprint(&node.name),
        });
        if audit(call, &node.name) && node.online {
            entry["level"] = json!("");
            for (key, value) in figures() {
                entry[key] = value;
            }
        }
        out.push(entry);
    }
    Ok(Value::Array(out))
}

pub fn index(call: &mut Call) -> Outcome {
    let oci = if call.flavour == Flavour::Pve9 { "query-oci-repo-tags " } else { "" };
    let words = format!(
        "aplinfo apt capabilities ceph certificates config disks dns firewall hardware hosts journal lxc migrateall \
         netstat network qemu {oci}query-url-metadata replication report rrd rrddata scan sdn services spiceshell \
         startall status stopall storage subscription suspendall syslog tasks termproxy time version vncshell vzdump \
         wakeonlan"
    );
    Ok(words.split(' ').map(|word| json!({ "name": word })).collect())
}

pub fn version(call: &mut Call) -> Outcome {
    super::cluster::version(call)
}

pub fn status(call: &mut Call) -> Outcome {
    let (_, version) = release(call.flavour);
    let kernel = call.flavour.kernel();
    Ok(json!({
        "pveversion": format!("pve-manager/{version}/{REPOID}"),
        "kversion": format!("Linux {kernel} #1 SMP PREEMPT_DYNAMIC"),
        "current-kernel": {
            "sysname": "Linux", "release": kernel, "version": "#1 SMP PREEMPT_DYNAMIC", "machine": "x86_64",
        },
        "boot-info": {"mode": "efi", "secureboot": 0},
        "cpuinfo": {
            "cores": 8, "cpus": 8, "sockets": 1, "model": "lab", "vendor": "lab", "family": "0", "mhz": "2000.000",
            "flags": "", "hvm": "1", "user_hz": 100,
        },
        "memory": {"total": 32 * GIB, "used": 4 * GIB, "free": 28 * GIB, "available": 28 * GIB},
        "swap": {"total": 0, "used": 0, "free": 0},
        "rootfs": {"total": 100 * GIB, "used": 8 * GIB, "avail": 92 * GIB, "free": 92 * GIB},
        "loadavg": ["0.02", "0.02", "0.02"], "cpu": 0.02, "wait": 0, "idle": 0, "ksm": {"shared": 0}, "uptime": 86_400,
    }))
}

fn service(name: &str) -> Value {
    let absent = matches!(name, "ksmtuned" | "systemd-timesyncd");
    json!({
        "name": name, "service": name, "desc": name,
        "state": if absent { "dead" } else { "running" },
        "active-state": if absent { "inactive" } else { "active" },
        "unit-state": if absent { "not-found" } else { "enabled" },
    })
}

pub fn services(_: &mut Call) -> Outcome {
    Ok(SERVICES.iter().map(|name| service(name)).collect())
}

pub fn service_state(call: &mut Call) -> Outcome {
    let name = call.param("service");
    if !SERVICES.contains(&name) {
        let words = SERVICES.join(", ");
        return Err(Fault::param(
            "service",
            format!("value '{name}' does not have a value in the enumeration '{words}'"),
        ));
    }
    Ok(service(name))
}

pub fn packages(call: &mut Call) -> Outcome {
    let node = call.node.clone();
    let show = |(name, version): (String, String)| {
        json!({
            "Package": name, "Title": name, "Version": version, "OldVersion": version, "CurrentState": "Installed",
            "Arch": "amd64", "Origin": "Proxmox", "Section": "admin", "Priority": "optional",
        })
    };
    Ok(call.site.packages(&node).into_iter().map(show).collect())
}

/// The cluster's authority and what the node has: a `pveproxy-ssl.pem` only where somebody put one.
pub fn certificates(call: &mut Call) -> Outcome {
    let mut out = Vec::new();
    for path in ["pve-root-ca.pem", "local/pve-ssl.pem", "local/pveproxy-ssl.pem"] {
        let path = path.replace("local", &format!("nodes/{}", call.node));
        out.extend(certificate(&path, &call.etc(&path)));
    }
    Ok(Value::Array(out))
}

/// PVE leaves out a file that it cannot read.
fn certificate(path: &str, pem: &str) -> Option<Value> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let read = Certificate::read(&der).ok()?;
    let oneline = |name: &Name| name.0.iter().map(|(kind, value)| format!("/{kind}={value}")).collect::<String>();
    Some(json!({
        "filename": path.rsplit('/').next(), "fingerprint": read.fingerprint.to_string(), "pem": pem.trim_end(),
        "subject": oneline(&read.subject), "issuer": oneline(&read.issuer),
        "notbefore": read.not_before_s, "notafter": read.not_after_s,
        "san": read.names, "public-key-type": read.key.0, "public-key-bits": read.key.1,
    }))
}

pub fn no_virtual_machines(_: &mut Call) -> Outcome {
    Ok(json!([]))
}
