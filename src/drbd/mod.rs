//! DRBD's words as types: what `/proc/drbd`, `dkms`, `drbdsetup`, `drbdmeta` and `.res` files say, and what follows.
//!
//! Pure: runs nothing and reads no file. A word that is not known is kept and reported, never taken for a good one.

pub mod compare;
pub mod dkms;
pub mod gi;
pub mod health;
pub mod limits;
pub mod module;
pub mod plan;
pub mod res;
pub mod resource;
pub mod status;
pub mod words;

#[cfg(test)]
mod recordings_tests;
