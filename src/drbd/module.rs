//! Which DRBD kernel module runs or would run, and why it is not the 9.x one.
//!
//! Only the version decides; `/proc/drbd` of 9.x holds no resource state and is not asked for any.

use super::dkms;
use serde::{Deserialize, Serialize};

/// `9.3.3`, `8.4.11`, `9.0.32-1` (`rest` = `-1`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
    pub rest: String,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}{}", self.major, self.minor, self.patch, self.rest)
    }
}

impl Version {
    /// From `/sys/module/drbd/version` or `modinfo -F version drbd`; `9` and `9.2` are the least of their kind.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(|n| n.parse::<u32>());
        let major = numbers.next()?.ok()?;
        let minor = numbers.next().transpose().ok()?.unwrap_or(0);
        let patch = numbers.next().transpose().ok()?.unwrap_or(0);
        if numbers.next().is_some() {
            return None;
        }
        Some(Self { major, minor, patch, rest: text[end..].to_owned() })
    }

    /// At least `wanted`, and of the same generation: 8.4 is never enough, whatever is wanted.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.major >= 9 && (self.major, self.minor, self.patch) >= (wanted.major, wanted.minor, wanted.patch)
    }
}

/// The first line of `/proc/drbd`, and what else it tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcDrbd {
    pub version: Version,
    /// 1 = 8.4, 2 = 9.
    pub api: u32,
    pub protocol: (u32, u32),
    /// ` (compat 8.4)`: a 9.x module built to show 8.4-style lines.
    pub compat_84: bool,
    pub git_hash: Option<String>,
    /// Transports loaded; empty until a resource has its first peer.
    pub transports: Vec<String>,
    /// 8.4 style: minors that have a line, so that are configured. A 9.x module shows none, which says nothing.
    pub minors: Vec<u32>,
}

/// Reads `/proc/drbd` of 8.4 to 9.3. `None`: the first line is no version line.
pub fn parse_proc_drbd(text: &str) -> Option<ProcDrbd> {
    let mut lines = text.lines();
    let rest = lines.next()?.strip_prefix("version: ")?;
    let (version, rest) = rest.split_once(" (api:")?;
    let (api, rest) = rest.split_once("/proto:")?;
    let (protocol, tail) = rest.split_once(')')?;
    let (low, high) = protocol.split_once('-')?;
    let mut found = ProcDrbd {
        version: Version::parse(version)?,
        api: api.parse().ok()?,
        protocol: (low.parse().ok()?, high.parse().ok()?),
        compat_84: tail.contains("(compat 8.4)"),
        git_hash: None,
        transports: Vec::new(),
        minors: Vec::new(),
    };
    for line in lines {
        if let Some(rest) = line.strip_prefix("GIT-hash: ") {
            found.git_hash = rest.split_whitespace().next().map(str::to_owned);
        } else if let Some(rest) = line.strip_prefix("Transports ") {
            let names = rest.split_once("):").map_or("", |(_, names)| names);
            found.transports = names.split_whitespace().filter(|w| !w.starts_with('(')).map(str::to_owned).collect();
        } else if let Some((minor, rest)) = line.split_once(": ")
            && rest.trim_start().starts_with("cs:")
            && let Ok(minor) = minor.trim().parse()
        {
            // A minor that is known and not configured says `cs:Unconfigured`.
            if !rest.contains("cs:Unconfigured") {
                found.minors.push(minor);
            }
        }
    }
    Some(found)
}

/// What `mokutil --sb-state` or Proxmox's node status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecureBoot {
    Enabled,
    Disabled,
    /// Not asked, or no tool that could tell.
    Unknown,
}

impl SecureBoot {
    pub fn parse(stdout: &str) -> Self {
        match stdout.lines().next().map(str::trim) {
            Some("SecureBoot enabled") => Self::Enabled,
            Some("SecureBoot disabled") => Self::Disabled,
            _ => Self::Unknown,
        }
    }
}

/// Everything that decides which module a kernel gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// `/sys/module/drbd/version`; `None` = not loaded.
    pub loaded: Option<String>,
    /// `modinfo -F version drbd`: what modprobe would load.
    pub found_version: Option<String>,
    /// `modinfo -n drbd`: the file it would load.
    pub found_file: Option<String>,
    /// `modinfo -F intree drbd` said `Y`.
    pub found_intree: bool,
    pub secure_boot: SecureBoot,
    /// `None`: dkms is not installed.
    pub dkms: Option<dkms::Status>,
    /// `/lib/modules/KERNEL/build` exists: headers are there.
    pub headers: Option<bool>,
    /// A DRBD 9 file is under `updates/` of this kernel.
    pub updates_file: Option<bool>,
}

/// Why DRBD 9 is not what runs, the surest first; each sentence names its evidence and the way out.
pub fn reasons(facts: &Facts) -> Vec<String> {
    let mut all = Vec::new();
    let kernel = &facts.kernel;
    let found_9 = facts.found_version.as_deref().and_then(Version::parse).is_some_and(|v| v.major >= 9);
    if found_9 {
        if facts.secure_boot == SecureBoot::Enabled {
            all.push(format!(
                "Secure Boot is enabled and refuses modules whose key is not enrolled: enrol DKMS's key \
                 (mokutil --import /var/lib/dkms/mok.pub, then reboot and confirm) and try modprobe again; \
                 modprobe would load {}",
                facts.found_file.as_deref().unwrap_or("the DRBD 9 file")
            ));
        }
        if facts.loaded.as_deref().and_then(Version::parse).is_some_and(|v| v.major < 9) {
            all.push(format!(
                "the in-tree module was loaded before DRBD 9 was installed (drbd-utils loads whatever is there at \
                 boot), and a loaded module is not replaced: modprobe would find {} now",
                facts.found_file.as_deref().unwrap_or("DRBD 9")
            ));
        }
        return all;
    }
    let Some(dkms) = &facts.dkms else {
        all.push(
            "DKMS is not installed and no DRBD 9 module is there: install drbd-dkms and the kernel headers".into(),
        );
        return all;
    };
    let drbd: Vec<_> = dkms.of("drbd").collect();
    let here = drbd.iter().rfind(|e| e.kernel.as_deref() == Some(kernel));
    match here.map(|e| &e.state) {
        Some(dkms::State::Installed) if here.is_some_and(|e| e.differs) => all.push(format!(
            "DKMS installed drbd {} for {kernel}, but the file under /lib/modules/{kernel}/updates/dkms is missing or \
             not the one built: dkms install --force drbd/{0} -k {kernel}",
            here.map_or("", |e| &e.version)
        )),
        Some(dkms::State::Installed) => all.push(format!(
            "DKMS installed drbd {} for {kernel}, but modprobe prefers {}: run depmod -a, and look for a `search` or \
             `override` line in /etc/depmod.d that puts the built-in tree first",
            here.map_or("", |e| &e.version),
            facts.found_file.as_deref().unwrap_or("another file")
        )),
        Some(dkms::State::Built) => all.push(format!(
            "DKMS built drbd {} for {kernel} but did not install it: dkms install drbd/{0} -k {kernel}",
            here.map_or("", |e| &e.version)
        )),
        Some(dkms::State::Broken) => all.push("the DKMS sources of drbd are gone: reinstall drbd-dkms".into()),
        Some(dkms::State::Other(word)) => all.push(format!("dkms status says `{word}` for drbd on {kernel}")),
        Some(dkms::State::Added) | None => match drbd.first() {
            None => all.push("DKMS knows no drbd: install drbd-dkms".into()),
            Some(first) if first.state == dkms::State::Broken => {
                all.push("the DKMS sources of drbd are gone: reinstall drbd-dkms".into());
            }
            Some(first) => {
                let missing_headers = facts.headers == Some(false);
                let how = if missing_headers {
                    format!(
                        "the kernel headers are missing (/lib/modules/{kernel}/build): install \
                         proxmox-headers-{kernel} (Proxmox VE 7 and older: pve-headers-{kernel}), then \
                         dkms autoinstall -k {kernel}"
                    )
                } else {
                    format!(
                        "its build failed or never ran: see /var/lib/dkms/drbd/{}/build/make.log, then \
                         dkms autoinstall -k {kernel}",
                        first.version
                    )
                };
                all.push(format!("DKMS has drbd {} but not built for {kernel}; {how}", first.version));
            }
        },
    }
    all
}

/// What another installed kernel would get, from `dkms status` and the files under its `updates/` and `kernel/`.
pub fn kernel_lacks_9(kernel: &str, dkms: Option<&dkms::Status>, updates_file: Option<bool>) -> Option<String> {
    if updates_file == Some(true) {
        return None;
    }
    let installed = dkms.is_some_and(|d| {
        d.of("drbd").any(|e| {
            e.kernel.as_deref() == Some(kernel)
                && e.state == dkms::State::Installed
                && Version::parse(&e.version).is_some_and(|v| v.major >= 9)
        })
    });
    // Without either witness nothing can be said; with a missing file and no dkms line the answer is no.
    if installed || (updates_file.is_none() && dkms.is_none()) {
        return None;
    }
    Some(format!(
        "kernel {kernel} is installed and has no DRBD 9 module: after a reboot into it the in-tree 8.4 would load. \
         Install its headers and run dkms autoinstall -k {kernel}"
    ))
}

/// Orders kernel releases as a boot menu does, by their numbers.
pub fn kernel_order(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

#[cfg(test)]
#[path = "module_tests.rs"]
mod tests;
