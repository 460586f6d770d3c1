//! The guard at a container's door: whether it may start over DRBD on this node, and whether it let go after a stop.
//!
//! `judge` is pure: what was observed → allow, allow with warning, deny, each with a sentence. It refuses to call
//! anything safe that it could not see.

pub mod config;
pub mod container;
mod explain;
pub mod holders;
pub mod judge;
pub mod look;
pub mod machine;
pub mod observation;
mod phases;
pub mod rows;
pub mod stack;
mod start;
mod stop;
pub mod tell;
pub mod this_node;

pub use explain::explain;
pub use judge::{Answer, Finding, OwnDisk, Verdict, judge};
pub use machine::Machine;
pub use observation::{Held, Module, Observation, Quorum, Seen, State};
pub use phases::{allow_once, run};
pub use this_node::ThisNode;

#[cfg(test)]
mod tests;
