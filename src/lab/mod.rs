//! The embedded cluster: three simulated nodes and their Proxmox API, so that everything can be tried without
//! hardware. It replaces the node, never the engine, the wire or the reporters.
//!
//! State lives in a directory: file trees as real files, the rest in `state.json`, which is replaced
//! atomically with every change, so that a killed process leaves the last whole state.

pub mod api;
pub mod base;
pub mod breaks;
pub mod commands;
mod container;
pub mod device;
pub mod drbd;
pub mod files;
pub mod guest;
mod handle;
pub mod hook;
mod lines;
mod node;
pub mod power;
mod report;
pub mod terminal;
mod turn;
mod virtual_files;
pub mod world;

#[cfg(test)]
mod tests;

pub use container::LabContainer;
pub use handle::{Lab, LabError};
pub use node::LabNode;
pub use report::{ContainerStatus, LabStatus, NodeStatus};
pub use turn::Turn;
pub use world::{Flavour, Place, World};
