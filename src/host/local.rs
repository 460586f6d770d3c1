//! This machine, or a directory that stands for one.

use super::{ApiGet, Host, LookError, Output, Probe, Query, Stat, Step, StepError};
use serde_json::Value as Json;
use std::path::Path;

/// Being written.
pub struct Local {
    name: String,
}

impl Probe for Local {
    fn name(&self) -> &str {
        &self.name
    }
    fn read(&self, _path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        unreachable!("being written")
    }
    fn stat(&self, _path: &Path) -> Result<Option<Stat>, LookError> {
        unreachable!("being written")
    }
    fn list(&self, _dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        unreachable!("being written")
    }
    fn query(&self, _query: &Query) -> Result<Output, LookError> {
        unreachable!("being written")
    }
    fn api(&self, _get: &ApiGet) -> Result<Json, LookError> {
        unreachable!("being written")
    }
}

impl Host for Local {
    fn perform(&self, _step: &Step) -> Result<Output, StepError> {
        unreachable!("being written")
    }
}
