//! Drift with a memory: what of the cluster is not as described, since when, who was told.
//!
//! It reads the events of a check and never looks at a host itself.

pub mod collect;
pub mod folder;
pub mod forms;
pub mod history;
pub mod notice;
pub mod report;
mod sighting;

pub use report::{Finding, Mark, MarkKind, Report, Run, Standing, Time, Trace, TraceSource, Undelivered, shell_word};
