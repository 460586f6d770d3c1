//! Being told: what of a report is news for whom, when it may be said, and that it arrives.
//!
//! Nothing is sent that was not put down before, and nothing is told twice that is known to have arrived. What a channel
//! was told is remembered for each channel, and news is the difference between that and what is so now: hours of silence,
//! a failed channel or a skipped run lose no change and repeat none.
//!
//! A run does, in this order: [`plan`] in the transaction that records the run, commit, [`deliver`]. A run that could not
//! look says so with [`plan_trouble`]. [`undelivered`] is what the next report shows.

mod config;
mod memory;
mod message;
pub mod outbox;
mod plan;
mod schedule;
mod send;
mod text;
mod webhook;

#[cfg(test)]
mod tests;

pub use config::{Channel, Config, Format, Mail, On, Way, Webhook};
pub use message::{Change, Kind, Message, What};
pub use outbox::undelivered;
pub use plan::{Trouble, plan, plan_trouble};
pub use send::{deliver, test};

/// All that is kept in the history's database: [`outbox::SCHEMA`], and what each channel was told.
pub const SCHEMA: &[&str] = &[outbox::SCHEMA, memory::SCHEMA];
