//! Ways to a host.

mod api;

pub use api::ApiHost;
