//! The inside of a simulated container, wherever it runs now.

use super::handle::Lab;
use super::node::Seat;
use super::world::Place;
use crate::host::{Host, Output, Probe, Step, StepError, look_through};

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
    look_through!(self => self.at);
}

impl Host for LabContainer {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        self.at.perform(step)
    }
}
