//! Names of units, and where their files lie.

use crate::host::{LookError, Probe};
use std::path::Path;

/// Where unit files lie, in the order systemd searches them.
const UNIT_PATHS: &[&str] =
    &["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];

/// As systemctl completes names.
pub fn full_name(unit: &str) -> String {
    const TYPES: &[&str] = &[
        ".service",
        ".target",
        ".socket",
        ".timer",
        ".mount",
        ".automount",
        ".path",
        ".slice",
        ".scope",
        ".device",
        ".swap",
    ];
    if TYPES.iter().any(|suffix| unit.ends_with(suffix)) { unit.to_owned() } else { format!("{unit}.service") }
}

/// `drbd@nfs1.target` → `drbd@.target`.
pub fn template_of(unit: &str) -> Option<String> {
    let (prefix, rest) = unit.split_once('@')?;
    let suffix = rest.rsplit_once('.')?.1;
    Some(format!("{prefix}@.{suffix}"))
}

pub fn unit_file_exists(host: &dyn Probe, unit: &str) -> Result<bool, LookError> {
    let names = [Some(unit.to_owned()), template_of(unit)];
    for dir in UNIT_PATHS {
        for name in names.iter().flatten() {
            if host.stat(&Path::new(dir).join(name))?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
