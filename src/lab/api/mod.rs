//! The lab's Proxmox API: cluster state, tasks, HA, and the HTTPS server in front of it.
//!
//! Being written.

use super::commands::Ctx;
use crate::host::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What the cluster knows beside the files in `/etc/pve`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cluster {}

/// An answer that is an error: HTTP status and Proxmox's own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    pub message: String,
}

/// A GET as `pvesh get PATH` on `ctx`'s node does it: root, no proxy in between. Answers what stands under `data`.
pub fn get(_ctx: &mut Ctx, path: &str, _params: &BTreeMap<String, String>) -> Result<Json, ApiError> {
    Err(ApiError { status: 501, message: format!("Method 'GET {path}' not implemented") })
}

/// A write as `pvesh create|set|delete PATH` does it. Answers what stands under `data` (often a UPID).
pub fn write(_ctx: &mut Ctx, method: Method, path: &str, _params: &BTreeMap<String, String>) -> Result<Json, ApiError> {
    Err(ApiError { status: 501, message: format!("Method '{method:?} {path}' not implemented") })
}
