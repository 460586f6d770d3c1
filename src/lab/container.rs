//! The inside of a simulated container, wherever it runs now.

use super::handle::Lab;
use super::node::Seat;
use super::world::Place;
use crate::host::{ApiGet, Host, LookError, Output, Probe, Query, Stat, Step, StepError};
use serde_json::Value as Json;
use std::path::Path;

/// A container of a lab. It answers only while it runs on a node that is powered on.
#[derive(Clone)]
pub struct LabContainer {
    at: Seat,
}

impl LabContainer {
    pub(super) fn new(lab: Lab, vmid: u32) -> Self {
        Self { at: Seat { lab, name: format!("ct:{vmid}"), place: Place::Container(vmid) } }
    }
}

impl Probe for LabContainer {
    fn name(&self) -> &str {
        &self.at.name
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        self.at.read(path)
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        self.at.stat(path)
    }
    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        self.at.list(dir)
    }
    fn query(&self, query: &Query) -> Result<Output, LookError> {
        self.at.query(query)
    }
    /// There is no Proxmox API inside a container.
    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        Err(LookError::cannot_tell(&get.path, "a container has no Proxmox API"))
    }
}

impl Host for LabContainer {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        self.at.perform(step)
    }
}
