//! Proxmox VE's words as types: the REST client, tasks, versions and their quirks, and values compared by meaning.
//!
//! Knows no playbook and no host: nothing here looks at a node or decides what should be.

mod certificate;
pub mod client;
mod contact;
mod doubt;
mod encode;
mod error;
mod login;
pub mod lxc_conf;
pub mod permissions;
mod secret;
pub mod task;
mod terminal;
mod tls;
mod upid;
pub mod values;
mod version;

pub use certificate::{Certificate, Name};
pub use client::{Client, Config, Method};
pub use contact::{Presented, meet};
pub use doubt::{Doubt, doubts_under};
pub use encode::{form, segment};
pub use error::{Error, Fault, Retry};
pub use login::{Login, SecondFactor};
pub use secret::Secret;
pub use task::TaskEnd;
pub use terminal::{Input as TerminalInput, Output as TerminalOutput};
pub use tls::{Fingerprint, Trust, config as tls_config};
pub use upid::Upid;
pub use version::Version;
