//! What the simulated DRBD needs from the simulated nodes: files, disks, modules, whether they run.
//! Everything about replication stays out of it.

/// What lies on a backing device besides DRBD metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Blank,
    /// An ext file system of this size.
    Ext4 {
        size_kib: u64,
    },
    /// Anything else that is not zeros.
    Other,
}

/// A backing device behind a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What the path leads to after links (`/dev/sdb`); metadata is kept under this name.
    pub device: String,
    pub size_bytes: u64,
    pub data: Data,
    /// Mounted or otherwise held by somebody who is not DRBD.
    pub busy: bool,
}

/// The nodes, as far as DRBD looks at them.
pub trait Machines {
    /// Milliseconds since the epoch, by the lab's clock.
    fn now_ms(&self) -> u64;
    /// Moves the lab's clock on: somebody waits for it.
    fn skip(&mut self, ms: u64);
    fn is_up(&self, node: &str) -> bool;
    /// The loaded module's version (`9.3.3`, `8.4.11`).
    fn module_loaded(&self, node: &str) -> Option<String>;
    /// `modprobe drbd`; the error is what modprobe said.
    fn load_module(&mut self, node: &str) -> Result<(), String>;
    /// Version of drbd-utils there, `9.22.0`.
    fn utils_version(&self, node: &str) -> String;
    fn read(&self, node: &str, path: &str) -> Option<String>;
    /// File names in a directory, sorted; empty when it is not there.
    fn list(&self, node: &str, dir: &str) -> Vec<String>;
    fn device(&self, node: &str, path: &str) -> Option<Device>;
    /// A resync ended: the data area of `from` now also lies on `to` (node, device).
    fn copy_data(&mut self, from: (&str, &str), to: (&str, &str));
}
