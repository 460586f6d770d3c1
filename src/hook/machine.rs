//! What the hook needs of a node beyond looking and acting: a clock, the journal, and files for others to read.
//!
//! It is a seam, so that the same hook runs on a real node and on one of the lab.

use crate::host::Host;
use std::time::Duration;

/// One journal entry: field names in capitals, `MESSAGE` among them.
pub type Entry = Vec<(&'static str, String)>;

pub trait Machine: Host {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// Seconds since the epoch.
    fn epoch_s(&self) -> i64;
    fn pause(&self, time: Duration);
    /// A line for whoever started the container: Proxmox's task log, or a terminal.
    fn say(&self, line: &str);
    /// Best effort: a full or missing journal must not keep a container from starting.
    fn journal(&self, entry: &Entry);
    /// Replaces a file, old or new and never torn, readable for all; directories above are made. Not synced to disk.
    fn publish(&self, path: &str, text: &str) -> Result<(), String>;
}
