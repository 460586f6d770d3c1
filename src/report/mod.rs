//! Reporters: they know events and nothing else. Data goes to standard output, talk and progress to standard error.

mod json;
mod progress;
mod terminal;
mod waiting;

pub use json::{Json, JsonLines};
pub use terminal::{Style, Terminal};
pub use waiting::Waiting;

#[cfg(test)]
mod tests;
