//! A DRBD 9 that behaves, over the lab's nodes: kernel state, metadata, connections, resyncs, quorum,
//! and the commands that read and change them, with DRBD's own words and exit codes.
//! It stores no file contents and knows nothing of mounts or packages; the nodes do (`Machines`).
//!
//! Held to recordings of DRBD 9.3.3 with drbd-utils 9.22.0 on three real nodes (`tests/captured/drbd`).
//! What it does not play: more than one volume a resource, verify, fencing, protocol A's Ahead/Behind.

mod breaks;
mod commands;
mod config;
mod doors;
mod fabric;
mod handshake;
mod kernel;
mod machines;
mod metadata;
mod resync;
mod role;
mod settle;
mod state;
mod status;

pub use breaks::{BREAKS, Break, mend_links};
pub use doors::{
    close, content, cut_link, debugfs, disk_failed, has_metadata, holds_backing, isolate, kernel_log, minors, node_off,
    node_on, open, proc_drbd, run, set_content, size_kib, wrote,
};
pub use fabric::{Fabric, Held, LogLine};
pub use machines::{Data, Device, Machines};
pub use resync::FULL_RESYNC_MS;
pub use role::{OpenError, Refusal, WriteError};
pub use state::{Disk, Link, MetaData, Role};

#[cfg(test)]
mod tests;
