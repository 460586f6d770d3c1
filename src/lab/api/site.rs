//! What the API needs of the simulated nodes: their files, their power, their containers.
//! It is a seam, so that the API's behaviour can be tested without a lab directory; the lab implements it.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteNode {
    pub name: String,
    pub ip: String,
    pub online: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFile {
    pub size_bytes: u64,
    pub modified_s: i64,
    pub executable: bool,
}

/// Where a container's root file system lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    Device(String),
    /// The path of a directory or image that the storage made.
    Volume(String),
}

/// A container to be filled from a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpack {
    pub vmid: u32,
    pub rootfs: Rootfs,
    /// The configuration as it will be stored, without what unpacking finds out.
    pub conf: String,
    /// Path of the template on the node.
    pub template: String,
    pub unprivileged: bool,
}

/// What unpacking found, with what it wrote to the task log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    pub ostype: String,
    pub arch: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningGuest {
    pub node: String,
    pub since_s: i64,
    pub pid: u64,
}

/// A piece of work that writes a task log and may die with a text.
pub type Worked<T> = Result<T, String>;

/// The nodes as the API sees them. Paths are the node's own; `/etc/pve` is the same on every node.
pub trait Site {
    fn now_ms(&self) -> i64;
    /// Sorted by name.
    fn nodes(&self) -> Vec<SiteNode>;
    fn read(&self, node: &str, path: &str) -> Option<Vec<u8>>;
    fn write(&mut self, node: &str, path: &str, content: &[u8]) -> Result<(), String>;
    fn remove(&mut self, node: &str, path: &str) -> Result<(), String>;
    /// Moves a file; within `/etc/pve` in one step for the whole cluster.
    fn rename(&mut self, node: &str, from: &str, to: &str) -> Result<(), String>;
    /// Names in a directory, sorted; nothing when there is none.
    fn list(&self, node: &str, dir: &str) -> Vec<String>;
    fn stat(&self, node: &str, path: &str) -> Option<SiteFile>;
    fn unpack(&mut self, node: &str, what: &Unpack, log: &mut Vec<String>) -> Worked<Unpacked>;
    /// Where and since when a container runs.
    fn running(&self, vmid: u32) -> Option<RunningGuest>;
    /// Whether the node sees a majority of the cluster.
    fn quorate(&self, node: &str) -> bool;
    /// The watchdog resets a node that lost the cluster: nothing on it runs any more.
    fn fence(&mut self, node: &str);
    /// Mounts the root file system and lets the container run.
    fn start_guest(&mut self, node: &str, vmid: u32, rootfs: &Rootfs, log: &mut Vec<String>) -> Worked<()>;
    /// Ends the container and unmounts.
    fn stop_guest(&mut self, node: &str, vmid: u32, rootfs: &Rootfs, log: &mut Vec<String>) -> Worked<()>;
    /// Runs a hookscript; its exit code and what it printed.
    fn run_hook(&mut self, node: &str, vmid: u32, phase: &str, script: &str) -> (i32, Vec<String>);
    /// The network interfaces that a bridge of this name may be.
    fn has_bridge(&self, node: &str, name: &str) -> bool;
    /// Installed Proxmox packages with their versions.
    fn packages(&self, node: &str) -> BTreeMap<String, String>;
    /// SHA-256 fingerprint of the certificate that the node presents, upper case with colons.
    fn fingerprint(&self, node: &str) -> String;
}
