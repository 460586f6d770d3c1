//! Who keeps a DRBD device open on this node: mounts in any mount namespace, exports of the NFS server, processes,
//! loop devices, devices built upon it, and what the kernel's own list of openers says.
//!
//! Reads `/proc`, `/sys` and debugfs; a process that vanishes while it is looked at is no error.

use super::observation::Held;
use crate::drbd::status::Resource;
use crate::host::Probe;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One holder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Mounted in a mount namespace, with some of the processes that live in it.
    Mount { at: String, processes: Vec<Process>, host: bool },
    /// A process has it open.
    Open(Process),
    /// A device built upon it: `dm-3 (vg-lv)`.
    Device(String),
    /// A loop device whose file it is.
    Loop(String),
    /// The NFS server exports what is mounted there.
    Export(String),
    /// As the kernel noted it when it was opened; the process may be gone.
    Opener(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: u32,
    pub name: String,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mount { at, host: true, .. } => write!(f, "a mount at {at} on the node"),
            Self::Mount { at, processes, .. } => {
                let names: Vec<String> = processes.iter().take(3).map(ToString::to_string).collect();
                write!(f, "a mount at {at} in the namespace of {}", names.join(", "))
            }
            Self::Open(process) => write!(f, "{process}"),
            Self::Device(name) => write!(f, "the device {name} built upon it"),
            Self::Loop(name) => write!(f, "the loop device {name}"),
            Self::Export(path) => write!(f, "the NFS server, which exports {path}"),
            Self::Opener(text) => write!(f, "{text}"),
        }
    }
}

/// Whether anybody but the container's own devices (`above`) has a volume of the resource open.
pub fn held(host: &dyn Probe, status: &Resource, above: &[String]) -> Held {
    if above.is_empty() && !status.devices.is_empty() && status.devices.iter().all(|d| d.open == Some(false)) {
        return Held::No;
    }
    let (openers, listed) = openers(host, status);
    // Devices that the container itself lies on keep it open rightly; only what uses those counts.
    if above.is_empty() && listed && openers.is_empty() && status.devices.iter().all(|d| d.open != Some(true)) {
        return Held::No;
    }
    let found = find(host, status, above);
    let is_open = status.devices.iter().any(|d| d.open == Some(true));
    match found {
        Err(why) => Held::Untold(why),
        Ok(found) if !found.is_empty() => Held::By(found.iter().map(ToString::to_string).collect()),
        Ok(_) if !above.is_empty() => Held::No,
        Ok(_) if is_open => Held::By(vec!["somebody whom neither /proc nor the kernel names".into()]),
        Ok(_) if listed => Held::No,
        Ok(_) => Held::Untold("the kernel's list of openers is not there; is debugfs mounted?".into()),
    }
}

/// Everybody who holds a volume of the resource, or one of the container's own devices upon it.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn find(host: &dyn Probe, status: &Resource, above: &[String]) -> Result<Vec<Holder>, String> {
    let mut devices: Vec<String> = status.devices.iter().map(|d| format!("drbd{}", d.minor)).collect();
    let mut found = BTreeSet::new();
    for device in &devices {
        for name in
            host.list(Path::new(&format!("/sys/class/block/{device}/holders"))).ok().flatten().unwrap_or_default()
        {
            if !above.contains(&name) {
                found.insert(Holder::Device(with_dm_name(host, &name)));
            }
        }
    }
    devices.extend(above.iter().cloned());
    let numbers: Vec<String> =
        devices.iter().filter_map(|d| text(host, &format!("/sys/class/block/{d}/dev"))).collect();
    let paths: Vec<String> = devices.iter().map(|d| format!("/dev/{d}")).collect();
    loops(host, &paths, &mut found);
    processes(host, &numbers, &paths, &mut found)?;
    if found.is_empty() && above.is_empty() {
        found.extend(openers(host, status).0.into_iter().map(Holder::Opener));
    }
    Ok(found.into_iter().collect())
}

fn text(host: &dyn Probe, path: &str) -> Option<String> {
    host.read_text(Path::new(path)).ok().flatten().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
}

fn link(host: &dyn Probe, path: &str) -> Option<String> {
    host.stat(Path::new(path)).ok().flatten()?.link_target
}

fn with_dm_name(host: &dyn Probe, name: &str) -> String {
    match text(host, &format!("/sys/class/block/{name}/dm/name")) {
        Some(dm) => format!("{name} ({dm})"),
        None => name.to_owned(),
    }
}

fn loops(host: &dyn Probe, paths: &[String], found: &mut BTreeSet<Holder>) {
    for name in host.list(Path::new("/sys/class/block")).ok().flatten().unwrap_or_default() {
        if name.starts_with("loop")
            && text(host, &format!("/sys/class/block/{name}/loop/backing_file")).is_some_and(|f| paths.contains(&f))
        {
            found.insert(Holder::Loop(format!("/dev/{name}")));
        }
    }
}

/// The kernel's list: `comm pid age_ms` a line, `+` before the one that promoted. Whether there is such a list at all.
fn openers(host: &dyn Probe, status: &Resource) -> (Vec<String>, bool) {
    let (mut all, mut listed) = (BTreeSet::new(), !status.devices.is_empty());
    for device in &status.devices {
        let path = format!("/sys/kernel/debug/drbd/resources/{}/volumes/{}/openers", status.name, device.volume);
        match host.read_text(Path::new(&path)) {
            Ok(Some(text)) => {
                for line in text.lines().filter(|l| !l.trim().is_empty()) {
                    let mut words = line.trim_start_matches('+').split_whitespace();
                    let (name, pid) = (words.next().unwrap_or("?"), words.next().unwrap_or("?"));
                    all.insert(format!("whoever {name} (pid {pid}, perhaps gone by now) opened it for"));
                }
            }
            Ok(None) | Err(_) => listed = false,
        }
    }
    (all.into_iter().collect(), listed)
}

/// What is mounted where in one namespace, and who lives there.
#[derive(Default)]
struct Space {
    at: BTreeSet<String>,
    processes: Vec<Process>,
}

fn processes(
    host: &dyn Probe,
    numbers: &[String],
    paths: &[String],
    found: &mut BTreeSet<Holder>,
) -> Result<(), String> {
    let names = host.list(Path::new("/proc")).map_err(|e| e.to_string())?.unwrap_or_default();
    let own = link(host, "/proc/1/ns/mnt").unwrap_or_else(|| "the node's".into());
    let mut spaces: BTreeMap<String, Space> = BTreeMap::new();
    let mut nets: BTreeSet<String> = BTreeSet::new();
    let mut exports: Vec<String> = Vec::new();
    for pid in names.iter().filter_map(|name| name.parse::<u32>().ok()) {
        let process = || Process { pid, name: text(host, &format!("/proc/{pid}/comm")).unwrap_or_else(|| "?".into()) };
        let space = link(host, &format!("/proc/{pid}/ns/mnt")).unwrap_or_else(|| format!("of {pid}"));
        match spaces.get_mut(&space) {
            Some(known) if !known.at.is_empty() => known.processes.push(process()),
            Some(_) => {}
            None => {
                let info = text(host, &format!("/proc/{pid}/mountinfo")).unwrap_or_default();
                let at: BTreeSet<String> = mounts(&info, numbers, paths).collect();
                let processes = if at.is_empty() { Vec::new() } else { vec![process()] };
                spaces.insert(space, Space { at, processes });
            }
        }
        let dir = format!("/proc/{pid}/fd");
        for fd in host.list(Path::new(&dir)).ok().flatten().unwrap_or_default() {
            if link(host, &format!("{dir}/{fd}")).is_some_and(|target| paths.contains(&target)) {
                found.insert(Holder::Open(process()));
                break;
            }
        }
        let net = link(host, &format!("/proc/{pid}/ns/net"));
        if net.is_some_and(|net| nets.insert(net)) {
            let table = text(host, &format!("/proc/{pid}/net/rpc/nfsd.export/content")).unwrap_or_default();
            exports.extend(
                table
                    .lines()
                    .filter(|l| l.starts_with('/'))
                    .filter_map(|l| l.split(['\t', ' ', '(']).next())
                    .map(str::to_owned),
            );
        }
    }
    for (name, space) in spaces {
        for at in space.at {
            let below =
                |path: &&String| path.as_str() == at || path.starts_with(&format!("{}/", at.trim_end_matches('/')));
            found.extend(exports.iter().filter(below).cloned().map(Holder::Export));
            found.insert(Holder::Mount { at, processes: space.processes.clone(), host: name == own });
        }
    }
    Ok(())
}

/// Mount points of the devices in a mountinfo; by number, and by path where sysfs has none.
fn mounts<'a>(info: &'a str, numbers: &'a [String], paths: &'a [String]) -> impl Iterator<Item = String> + 'a {
    info.lines().filter_map(move |line| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        let (number, at) = (front.next()?, front.nth(1)?);
        let source = back.split(' ').nth(1)?;
        let is_it = numbers.iter().any(|n| n == number) || paths.iter().any(|p| p == source);
        is_it.then(|| at.replace("\\040", " "))
    })
}
