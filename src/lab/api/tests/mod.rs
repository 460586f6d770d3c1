//! The API against recordings of a real Proxmox VE, and against what the facts say beyond them.

mod behaviour;
mod compare;
mod over_https;
mod replay;
mod stage;
