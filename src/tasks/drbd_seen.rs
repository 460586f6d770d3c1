//! Asking programs that may be missing: their absence and their complaints are answers, a lost host is an error.

use crate::host::{LookError, Output, Probe, Query, Topic};

/// What the program printed when it ended with 0, else why there is no such answer.
pub type Asked = Result<Output, String>;

pub fn answer(host: &dyn Probe, query: &Query) -> Result<Asked, LookError> {
    match host.query(query) {
        Ok(output) if output.rc == 0 => Ok(Ok(output)),
        Ok(output) => Ok(Err(format!("`{}` ended with {}: {}", query.argv.join(" "), output.rc, output.complaint()))),
        Err(error @ LookError::NoProgram { .. }) => Ok(Err(error.to_string())),
        Err(LookError::Timeout { what, after_s }) => Ok(Err(format!("no answer within {after_s} s: {what}"))),
        Err(error) => Err(error),
    }
}

/// What `drbdadm adjust` would do to a resource. Asked only while a 9.x module is loaded.
pub fn dry_run(resource: &str) -> Query {
    Query::new(Topic::Drbd(resource.to_owned()), ["drbdadm", "-d", "adjust", resource])
}
