//! `setup`: facts about a host, named as Ansible names them.

use super::{Task, Touches, Verdict};
use crate::host::{LookError, Probe, Query, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;

/// Gathers facts: distribution, kernel, architecture, memory, Proxmox VE version. They are gathered by themselves the
/// first time a template names one (`ansible_…`, `pve_version`), so this task is rarely written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {}

/// What was read, raw.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    os_release: Option<String>,
    uname: Vec<String>,
    meminfo: Option<String>,
    pve_manager: Option<String>,
}

impl Task for Setup {
    const KIND: &'static str = "setup";
    const EXAMPLE: &'static str = "\
- name: Gather facts
  setup: {}
";
    const TOUCHES: Touches = Touches::Nothing;
    const GIVES_FACTS: bool = true;
    type Seen = Seen;

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let ask = |argv: &[&str]| match host.query(&Query::new(Topic::Other, argv.iter().copied())) {
            Ok(output) if output.rc == 0 => Ok(Some(output.stdout.trim().to_owned())),
            Ok(_) | Err(LookError::NoProgram { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let uname = ["-n", "-r", "-m"]
            .into_iter()
            .map(|flag| Ok(ask(&["uname", flag])?.unwrap_or_default()))
            .collect::<Result<_, LookError>>()?;
        let manager = ask(&["dpkg-query", "-W", "-f", "${Version}", "pve-manager"])?.filter(|v| !v.is_empty());
        Ok(Seen {
            os_release: host.read_text(Path::new("/etc/os-release"))?,
            uname,
            meminfo: host.read_text(Path::new("/proc/meminfo"))?,
            pve_manager: manager,
        })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let os = |key: &str| {
            let text = seen.os_release.as_deref().unwrap_or_default();
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.map(|v| v.trim_matches('"').to_owned()).unwrap_or_default()
        };
        let title = |id: &str| id[..id.len().min(1)].to_uppercase() + id.get(1..).unwrap_or_default();
        let memory_kib = seen.meminfo.as_deref().and_then(|text| {
            let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        });
        let version = os("VERSION_ID");
        let major = version.split('.').next().unwrap_or_default().to_owned();
        let (node, kernel, machine) = (&seen.uname[0], &seen.uname[1], &seen.uname[2]);
        let mut facts = json!({
            "ansible_hostname": node.split('.').next().unwrap_or_default(),
            "ansible_nodename": node,
            "ansible_kernel": kernel,
            "ansible_architecture": machine,
            "ansible_system": "Linux",
            "ansible_distribution": title(&os("ID")),
            "ansible_distribution_release": os("VERSION_CODENAME"),
            "ansible_distribution_version": version,
            "ansible_distribution_major_version": major,
            "ansible_os_family": if matches!(os("ID").as_str(), "debian" | "ubuntu") { "Debian".into() } else { title(&os("ID")) },
        });
        // What is not known is not there: an empty kernel name in a package's name would be worse than a fault.
        if let Some(known) = facts.as_object_mut() {
            known.retain(|_, value| value.as_str() != Some(""));
        }
        if let Some(kib) = memory_kib {
            facts["ansible_memtotal_mb"] = json!(kib / 1024);
        }
        if let Some(version) = &seen.pve_manager {
            facts["pve_version"] = json!(version);
        }
        Verdict::ok("facts gathered").data(json!({ "ansible_facts": facts }))
    }
}
