//! Values as Proxmox writes them, compared by what they mean: order, case, defaults and units do not matter.
//!
//! Refuses nothing it does not know: an unknown key or word is kept as text.

mod json;

pub use json::{number, text, truthy};
