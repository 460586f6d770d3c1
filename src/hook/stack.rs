//! From a device that a container mounts down to the DRBD volumes that carry it: links, partitions, LVM, crypt, md.
//! Reads sysfs only; a path that leads nowhere carries nothing.

use crate::host::{LookError, Probe};
use std::path::Path;

/// As the kernel: more links than this in one path are a loop.
const MAX_LINKS: usize = 40;
const MAX_DEPTH: usize = 16;

/// What carries a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stack {
    /// DRBD minors, lowest layer.
    pub minors: Vec<u32>,
    /// The resource, where the path names it.
    pub resource: Option<String>,
    /// Kernel names of the devices between the container and DRBD: `dm-3`, `drbd100p1`. Empty: it mounts DRBD itself.
    pub above: Vec<String>,
}

impl Stack {
    pub fn is_empty(&self) -> bool {
        self.minors.is_empty() && self.resource.is_none()
    }
}

/// # Errors
/// When sysfs cannot be read.
pub fn of_path(host: &dyn Probe, path: &str) -> Result<Stack, LookError> {
    let mut stack = Stack::default();
    if let Some(rest) = path.strip_prefix("/dev/drbd/by-res/") {
        stack.resource = rest.split('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
    }
    let real = follow(host, path)?;
    // udev's link may be missing; the name still says which resource is meant.
    let name = real.trim_start_matches("/dev/").replace('/', "!");
    if stack.resource.is_none() || drbd_name(&name).is_some() {
        down(host, &name, &mut stack, 0)?;
    }
    Ok(stack)
}

/// The path after links, as far as they lead.
fn follow(host: &dyn Probe, path: &str) -> Result<String, LookError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Some(target) = host.stat(Path::new(&path))?.and_then(|stat| stat.link_target) else { return Ok(path) };
        path = if target.starts_with('/') {
            normal(&target)
        } else {
            normal(&format!("{}/{target}", path.rsplit_once('/').map_or("", |(dir, _)| dir)))
        };
    }
    Err(LookError::cannot_tell(path, "too many levels of symbolic links"))
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `drbd100` → 100.
fn drbd_name(name: &str) -> Option<u32> {
    name.strip_prefix("drbd")?.parse().ok()
}

fn down(host: &dyn Probe, name: &str, stack: &mut Stack, depth: usize) -> Result<(), LookError> {
    if let Some(minor) = drbd_name(name) {
        if !stack.minors.contains(&minor) {
            stack.minors.push(minor);
        }
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Err(LookError::cannot_tell(name, "devices upon devices without end"));
    }
    let dir = format!("/sys/class/block/{name}");
    let Some(entry) = host.stat(Path::new(&dir))? else { return Ok(()) };
    let before = stack.minors.len();
    let is_part = host.stat(Path::new(&format!("{dir}/partition")))?.is_some();
    if is_part {
        // …/block/drbd100/drbd100p1
        let target = entry.link_target.unwrap_or_default();
        if let Some(parent) = target.rsplit('/').nth(1) {
            down(host, parent, stack, depth + 1)?;
        }
    }
    for slave in host.list(Path::new(&format!("{dir}/slaves")))?.unwrap_or_default() {
        down(host, &slave, stack, depth + 1)?;
    }
    if stack.minors.len() > before && !stack.above.iter().any(|a| a == name) {
        stack.above.push(name.to_owned());
    }
    Ok(())
}
