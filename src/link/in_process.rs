//! An agent in a thread of this process, behind the same byte pipe and frames as any other.

use super::{Link, LinkError};
use crate::event::Mode;
use crate::host::{ApiGet, Host, LookError, Output, Probe, Query, Stat, Step, StepError};
use serde_json::Value as Json;
use std::io::{BufReader, BufWriter};
use std::path::Path;

/// Starts an agent for a host that is made inside its thread.
pub fn in_process(
    name: &str,
    mode: Mode,
    make: impl FnOnce() -> Box<dyn Host> + Send + 'static,
) -> Result<Link, LinkError> {
    let lost = |e: std::io::Error| LinkError::Lost { host: name.to_owned(), why: e.to_string() };
    // A pipe each way: when either end is dropped the other sees it, and its thread ends.
    let (far_input, near_output) = std::io::pipe().map_err(lost)?;
    let (near_input, far_output) = std::io::pipe().map_err(lost)?;
    std::thread::Builder::new()
        .name(format!("agent {name}"))
        .spawn(move || {
            let mut output = BufWriter::new(far_output);
            // The link's end sees a closed pipe; there is nobody else to tell.
            let _ = crate::agent::serve(&mut BufReader::new(far_input), &mut output, make(), mode);
        })
        .map_err(lost)?;
    Link::open(name, BufReader::new(near_input), near_output)
}

/// A host that will only exist after changes that are predicted: every look says so.
pub struct FutureHost {
    pub name: String,
    pub why: String,
}

impl FutureHost {
    fn not_yet<T>(&self) -> Result<T, LookError> {
        Err(LookError::NotYet { why: self.why.clone() })
    }
}

impl Probe for FutureHost {
    fn name(&self) -> &str {
        &self.name
    }
    fn read(&self, _path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        self.not_yet()
    }
    fn stat(&self, _path: &Path) -> Result<Option<Stat>, LookError> {
        self.not_yet()
    }
    fn list(&self, _dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        self.not_yet()
    }
    fn query(&self, _query: &Query) -> Result<Output, LookError> {
        self.not_yet()
    }
    fn api(&self, _get: &ApiGet) -> Result<Json, LookError> {
        self.not_yet()
    }
}

impl Host for FutureHost {
    fn perform(&self, _step: &Step) -> Result<Output, StepError> {
        Err(StepError::Look(LookError::NotYet { why: self.why.clone() }))
    }
}
