//! Looks at the cluster on a schedule: what systemd is told about it, as text, and what systemd tells about it.
//!
//! It changes nothing itself, and takes no unit for its own that does not carry its mark.

pub mod calendar;
mod describe;
mod quote;
pub mod systemd;
pub mod turn;
mod units;

pub use describe::{Credential, Place, REPORTS, RunAs, Schedule, name_of};
pub use units::{Owner, owner, service, timer};

#[cfg(test)]
mod tests;
