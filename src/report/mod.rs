//! Reporters: they know events and nothing else. Data goes to standard output, talk and progress to standard error.

mod json;
mod progress;
mod terminal;

pub use json::{Json, JsonLines};
pub use terminal::{Style, Terminal};

#[cfg(test)]
mod tests;
