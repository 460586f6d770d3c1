//! `/proc/self/mountinfo`: what is mounted where.

use super::fstab::{escape, unescape};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    pub source: String,
    pub fstype: String,
}

/// `36 35 98:0 /root /target rw,noatime shared:1 - ext3 /dev/sda1 rw`; proc_pid_mountinfo(5).
fn parse(line: &str) -> Option<(String, Mounted)> {
    let (left, right) = line.split_once(" - ")?;
    let target = unescape(left.split(' ').nth(4)?);
    let mut after = right.split(' ');
    let (fstype, source) = (after.next()?, after.next()?);
    Some((target, Mounted { source: unescape(source), fstype: fstype.to_owned() }))
}

/// The uppermost mount on `target`. A line that cannot be read is an error: it might be the one.
pub fn find(table: &str, target: &str) -> Result<Option<Mounted>, String> {
    let mut found = None;
    for line in table.lines() {
        let (at, mounted) = parse(line).ok_or_else(|| format!("cannot read the line `{line}`"))?;
        // An automount point waits there; it is not the file system itself.
        if at == target && mounted.fstype != "autofs" {
            found = Some(mounted);
        }
    }
    Ok(found)
}

/// The table as a mount would leave it, as far as this task reads it.
pub fn with(table: &str, target: &str, source: &str, fstype: &str) -> String {
    format!("{table}0 0 0:0 / {} rw - {fstype} {} rw\n", escape(target), escape(source))
}

/// Without the uppermost mount on `target`.
pub fn without(table: &str, target: &str) -> String {
    let lines: Vec<&str> = table.split_inclusive('\n').collect();
    let last = lines.iter().rposition(|line| {
        parse(line.trim_end()).is_some_and(|(at, mounted)| at == target && mounted.fstype != "autofs")
    });
    lines.iter().enumerate().filter(|(n, _)| Some(*n) != last).map(|(_, line)| *line).collect()
}
