//! The lab's DRBD driven through the states of the recordings, and compared with them.

mod bed;
mod commands;
mod failures;
mod states;
mod whole;
