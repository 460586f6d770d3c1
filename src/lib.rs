//! `converge`: describe storage on Proxmox VE in playbooks; check the drift, converge it, guard it.
//!
//! The way through the code is in `docs/design/architecture.md`.

pub mod agent;
pub mod cli;
pub mod diagnostic;
pub mod drbd;
pub mod drift;
pub mod engine;
pub mod event;
pub mod exit;
pub mod fleet;
pub mod hook;
pub mod host;
pub mod inventory;
pub mod lab;
pub mod link;
pub mod mail;
pub mod playbook;
pub mod pve;
pub mod report;
pub mod schedule;
pub mod tasks;
pub mod template;
pub mod visible;
pub mod wire;
pub mod yaml;
