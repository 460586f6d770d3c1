//! The guard at a container's door: whether it may start over DRBD on this node, and whether it let go after a stop.
//!
//! `judge` is pure: what was observed → allow, allow with warning, deny, each with a sentence. It refuses to call
//! anything safe that it could not see.

pub mod judge;
pub mod observation;
pub mod rows;

pub use judge::{Answer, Finding, OwnDisk, Verdict, judge};
pub use observation::{Held, Module, Observation, Quorum, Seen, State};

#[cfg(test)]
mod tests;
