//! The lab's Proxmox API: what the cluster answers over HTTPS and to `pvesh`.
//!
//! [`dispatch::handle`] is a function of the cluster's state, the nodes ([`site::Site`]) and a request; the server
//! in front of it only carries bytes. Behaviour is held to recorded exchanges with Proxmox VE 9.1.7.

mod access;
mod acl;
mod auth;
mod bridge;
mod call;
mod cluster;
mod conf;
mod content;
mod dispatch;
pub mod faults;
mod formats;
mod ha;
mod lxc;
mod multipart;
mod nodes;
mod request;
mod routes;
mod schema;
mod server;
pub mod site;
mod state;
mod storage;
mod tasks;
mod terminal;
mod tls;
mod verify;
mod websocket;

#[cfg(test)]
mod tests;

pub use auth::Secrets;
pub use bridge::{ApiError, Work, Written, elsewhere, get, hook_after_end, live, write};
pub use dispatch::handle;
pub use request::{Reply, Request};
pub use server::{ServeError, Server, serve};
pub use state::{Cluster, HookCall, Task};
