//! `drift_schedule`.

pub mod units;
