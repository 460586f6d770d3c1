//! `drbd_module`: DRBD 9 is the module that is loaded, now and after the next boot; says why where it is not.
//!
//! Never asks DRBD's own tools, because asking them loads whatever module there is.

use super::drbd_seen::{Asked, answer};
use super::{ArgFault, Task, Verdict, diff};
use crate::drbd::dkms;
use crate::drbd::module::{self, Facts, SecureBoot, Version};
use crate::host::{Effect, LookError, Probe, Query, Step, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;

/// The public half of the key that DKMS makes and signs with.
const MOK: &str = "/var/lib/dkms/mok.pub";
const LOAD_AT_BOOT: &str = "/etc/modules-load.d/drbd.conf";

/// DRBD 9 is loaded. The kernel itself ships 8.4, so where 9 is not loaded the task says why, out of dkms, the files
/// modprobe would choose from and Secure Boot. A loaded 8.4 is replaced only while no resource is configured. Warns
/// when the kernel that boots next has no DRBD 9.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrbdModule {
    /// The least version, as `9` or `9.2`. 8.4 is never enough.
    #[serde(default = "nine")]
    pub version: String,
    /// Only `loaded` is possible.
    #[serde(default)]
    pub state: State,
    /// Also see to it that a file under modules-load.d loads it at boot (drbd-utils brings one).
    #[serde(default)]
    pub persistent: bool,
}

/// What the module shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The module is in the kernel.
    #[default]
    Loaded,
}

fn nine() -> String {
    "9".into()
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    facts: Facts,
    /// `/proc/drbd`, where 8.4 shows what is configured.
    proc_drbd: Option<String>,
    transport_loaded: bool,
    /// Secure Boot is on, DKMS signs with its own key, and the firmware says that this key is not enrolled.
    #[serde(default)]
    key_missing: bool,
    /// A file of modules-load.d names drbd.
    at_boot: bool,
    /// The kernel that boots next, where it is another one, and whether it has a DRBD 9 file.
    next_kernel: Option<(String, bool)>,
}

impl Task for DrbdModule {
    const KIND: &'static str = "drbd_module";
    const EXAMPLE: &'static str = "\
- name: DRBD 9, not the 8.4 of the kernel
  drbd_module:
    version: \"9\"
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        match Version::parse(&self.version) {
            Some(version) if version.major >= 9 && version.rest.is_empty() => Vec::new(),
            _ => {
                let message = format!("`{}` is not a version of DRBD 9", self.version);
                vec![ArgFault::at("version", message).help("as \"9\" or \"9.2\"")]
            }
        }
    }

    fn object(&self) -> String {
        "drbd".into()
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let module_topic = || Topic::Module("drbd".into());
        let ask = |topic: Topic, argv: &[&str]| answer(host, &Query::new(topic, argv.iter().copied()));
        let line = |asked: Asked| asked.ok().map(|o| o.stdout.trim().to_owned()).filter(|text| !text.is_empty());
        let kernel = line(ask(Topic::Other, &["uname", "-r"])?)
            .ok_or_else(|| LookError::cannot_tell("uname -r", "no answer"))?;
        // Not read for its answer: a package that is only predicted puts all of this in doubt.
        let _ =
            ask(Topic::Package("drbd-dkms".into()), &["dpkg-query", "-W", "-f", "${db:Status-Status}", "drbd-dkms"])?;
        let facts = Facts {
            loaded: host.read_text(Path::new("/sys/module/drbd/version"))?.map(|v| v.trim().to_owned()),
            found_version: line(ask(module_topic(), &["modinfo", "-F", "version", "drbd"])?),
            found_file: line(ask(module_topic(), &["modinfo", "-n", "drbd"])?),
            found_intree: line(ask(module_topic(), &["modinfo", "-F", "intree", "drbd"])?).as_deref() == Some("Y"),
            secure_boot: ask(Topic::Other, &["mokutil", "--sb-state"])?
                .ok()
                .map_or(SecureBoot::Unknown, |o| SecureBoot::parse(&o.stdout)),
            dkms: ask(module_topic(), &["dkms", "status"])?.ok().map(|o| dkms::parse(&o.stdout)),
            headers: Some(host.stat(Path::new(&format!("/lib/modules/{kernel}/build")))?.is_some()),
            updates_file: Some(has_file(host, &kernel)?),
            kernel,
        };
        let key_missing = match facts.secure_boot {
            SecureBoot::Enabled if !has_own_key(host)? => {
                // Exits with 1 where the key is enrolled; a file that cannot be opened tells nothing.
                let told = ask(Topic::Other, &["mokutil", "--test-key", MOK])?.ok();
                told.is_some_and(|o| o.stdout.trim() == format!("{MOK} is not enrolled"))
            }
            _ => false,
        };
        let next = next_kernel(host, &facts.kernel)?;
        Ok(Seen {
            proc_drbd: host.read_text(Path::new("/proc/drbd"))?,
            transport_loaded: host.stat(Path::new("/sys/module/drbd_transport_tcp"))?.is_some(),
            key_missing,
            at_boot: at_boot(host)?,
            next_kernel: match next {
                Some(kernel) => {
                    let has = has_file(host, &kernel)?;
                    Some((kernel, has))
                }
                None => None,
            },
            facts,
        })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let facts = &seen.facts;
        let Some(wanted) = Version::parse(&self.version) else {
            return Verdict::failed(format!("`{}` is no version", self.version));
        };
        let mut verdict = match &facts.loaded {
            None => self.not_loaded(seen, &wanted),
            Some(text) => match Version::parse(text) {
                Some(loaded) if loaded.satisfies(&wanted) => self.boot(seen, text),
                Some(_) => self.wrong_one(seen, text, &wanted),
                None => Verdict::blocked(format!("a drbd module of unknown version is loaded: `{text}`")),
            },
        };
        // A module that came with the kernel itself comes with the next one, too.
        let from_outside = facts.found_file.as_deref().is_none_or(|f| !f.contains("/kernel/")) || !is_9(facts);
        if from_outside && let Some((kernel, has)) = &seen.next_kernel {
            let lacks = module::kernel_lacks_9(kernel, facts.dkms.as_ref(), Some(*has));
            verdict.warnings.extend(lacks);
        }
        verdict.data(json!({
            "loaded": facts.loaded, "kernel": facts.kernel, "would_load": facts.found_version,
        }))
    }
}

fn is_9(facts: &Facts) -> bool {
    facts.found_version.as_deref().and_then(Version::parse).is_some_and(|v| v.major >= 9)
}

impl DrbdModule {
    fn found(&self, facts: &Facts, wanted: &Version) -> bool {
        facts.found_version.as_deref().and_then(Version::parse).is_some_and(|v| v.satisfies(wanted))
    }

    fn not_loaded(&self, seen: &Seen, wanted: &Version) -> Verdict {
        let facts = &seen.facts;
        if !self.found(facts, wanted) {
            return Verdict::blocked(self.why_not(facts));
        }
        if refused_by_firmware(seen) {
            return Verdict::blocked(KEY_MISSING);
        }
        let version = facts.found_version.as_deref().unwrap_or_default();
        let verdict =
            Verdict::drift(format!("load DRBD {version}"), "", vec![unsettling(Step::run(["modprobe", "drbd"]))]);
        match facts.secure_boot {
            SecureBoot::Enabled => verdict.warn(
                "Secure Boot is enabled: if modprobe says `Key was rejected by service`, enrol DKMS's key with \
                 mokutil --import /var/lib/dkms/mok.pub and confirm at the next boot",
            ),
            _ => verdict,
        }
    }

    fn wrong_one(&self, seen: &Seen, loaded: &str, wanted: &Version) -> Verdict {
        let facts = &seen.facts;
        if !self.found(facts, wanted) {
            return Verdict::blocked(format!("DRBD {loaded} is loaded, not {}: {}", self.version, self.why_not(facts)));
        }
        if refused_by_firmware(seen) {
            return Verdict::blocked(format!("DRBD {loaded} is loaded, not {}: {KEY_MISSING}", self.version));
        }
        let proc_drbd = seen.proc_drbd.as_deref().and_then(module::parse_proc_drbd);
        let version = facts.found_version.as_deref().unwrap_or_default();
        let by_hand = "stop what uses the devices, drbdadm down all, rmmod drbd_transport_tcp, rmmod drbd, modprobe drbd; or reboot";
        match proc_drbd {
            // 9.x shows no resources in /proc/drbd; whether one is up cannot be told from it.
            Some(now) if now.api == 1 && now.minors.is_empty() => {
                let mut steps = Vec::new();
                if seen.transport_loaded {
                    steps.push(Step::run(["rmmod", "drbd_transport_tcp"]));
                }
                steps.push(Step::run(["rmmod", "drbd"]));
                steps.push(Step::run(["modprobe", "drbd"]));
                let steps = steps.into_iter().map(unsettling).collect();
                Verdict::drift(format!("replace DRBD {loaded}, which nothing uses, by {version}"), "", steps)
            }
            Some(now) if now.api == 1 => Verdict::blocked(format!(
                "DRBD {loaded} is loaded and in use (minors {}), so that {version} cannot replace it: {by_hand}",
                now.minors.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
            )),
            _ => Verdict::blocked(format!(
                "DRBD {loaded} is loaded and {version} is installed; a running 9.x is replaced by a reboot, or by hand: {by_hand}"
            )),
        }
    }

    fn why_not(&self, facts: &Facts) -> String {
        let reasons = module::reasons(facts);
        let what = match (&facts.found_version, &facts.found_file) {
            (Some(version), file) => {
                let whose = if facts.found_intree { ", the kernel's own" } else { "" };
                let file = file.as_deref().map(|f| format!(" ({f}{whose})")).unwrap_or_default();
                format!("modprobe would load {version}{file}")
            }
            (None, _) => format!("kernel {} has no drbd module at all", facts.kernel),
        };
        if reasons.is_empty() { what } else { format!("{what}; {}", reasons.join("; ")) }
    }

    fn boot(&self, seen: &Seen, loaded: &str) -> Verdict {
        if !self.persistent || seen.at_boot {
            return Verdict::ok(format!("DRBD {loaded} is loaded"));
        }
        let text = "drbd\n";
        Verdict::drift("load drbd at boot", diff::created(LOAD_AT_BOOT, text), vec![Step::write(LOAD_AT_BOOT, text)])
    }
}

const KEY_MISSING: &str = "Secure Boot is enabled and refuses DKMS's module, whose key is not enrolled: \
     mokutil --import /var/lib/dkms/mok.pub, then reboot and confirm it at the console";

/// The module that would be loaded is one that DKMS built and signed with a key nobody enrolled.
fn refused_by_firmware(seen: &Seen) -> bool {
    seen.key_missing && seen.facts.found_file.as_deref().is_some_and(|f| f.contains("/updates/dkms/"))
}

/// DKMS is told to sign with another key, about which `mok.pub` says nothing.
fn has_own_key(host: &dyn Probe) -> Result<bool, LookError> {
    let dir = "/etc/dkms/framework.conf.d";
    let more = host.list(Path::new(dir))?.unwrap_or_default().into_iter().map(|name| format!("{dir}/{name}"));
    for path in std::iter::once("/etc/dkms/framework.conf".to_owned()).chain(more) {
        let text = host.read_text(Path::new(&path))?.unwrap_or_default();
        let set = |line: &str| {
            line.split_once('=').is_some_and(|(k, _)| ["mok_certificate", "sign_file"].contains(&k.trim()))
        };
        if text.lines().any(set) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unsettling(step: Step) -> Step {
    step.unsettles(Topic::Module("drbd".into())).effect(Effect::MayBring { what: "the drbd module".into() })
}

/// A drbd file outside of the built-in tree.
fn has_file(host: &dyn Probe, kernel: &str) -> Result<bool, LookError> {
    for dir in ["updates/dkms", "updates", "extra", "extra/drbd"] {
        let dir = format!("/lib/modules/{kernel}/{dir}");
        let names = host.list(Path::new(&dir))?.unwrap_or_default();
        if names.iter().any(|n| n == "drbd.ko" || n.starts_with("drbd.ko.")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn at_boot(host: &dyn Probe) -> Result<bool, LookError> {
    for dir in ["/etc/modules-load.d", "/usr/lib/modules-load.d"] {
        for name in host.list(Path::new(dir))?.unwrap_or_default() {
            if !name.ends_with(".conf") {
                continue;
            }
            let text = host.read_text(&Path::new(dir).join(&name))?.unwrap_or_default();
            if text.lines().any(|l| l.trim() == "drbd") {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The kernel of the next boot if it is not the running one: the pinned one, else the newest installed.
fn next_kernel(host: &dyn Probe, running: &str) -> Result<Option<String>, LookError> {
    for pin in ["/etc/kernel/next-boot-pin", "/etc/kernel/proxmox-boot-pin"] {
        if let Some(text) = host.read_text(Path::new(pin))?
            && !text.trim().is_empty()
        {
            let pinned = text.trim().to_owned();
            return Ok((pinned != running).then_some(pinned));
        }
    }
    let installed = host.list(Path::new("/lib/modules"))?.unwrap_or_default();
    let kernels = installed.into_iter().filter(|k| k.starts_with(|c: char| c.is_ascii_digit()));
    let newest = kernels.max_by_key(|k| module::kernel_order(k));
    Ok(newest.filter(|k| module::kernel_order(k) > module::kernel_order(running)))
}

#[cfg(test)]
#[path = "drbd_module_tests.rs"]
mod tests;
