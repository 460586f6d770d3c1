use super::*;
use crate::host::look_through;
use crate::tasks::copy::Copy;
use crate::tasks::fake::{Fake, task};
use serde_json::json;

/// A host that loses power when it is told to do something.
struct Dying(Fake);

impl Probe for Dying {
    look_through!(self => self.0);
}

impl Host for Dying {
    fn perform(&self, _step: &Step) -> Result<Output, StepError> {
        Err(LookError::Unreachable { host: "pve1".into(), why: "no route to host".into() }.into())
    }
}

#[test]
fn a_host_that_goes_away_in_the_middle_of_a_step_is_lost_not_failed() {
    let host = Dying(Fake::with(&[]));
    let copy: Copy = task(json!({ "dest": "/etc/motd", "content": "x" }));
    for notify in [&[][..], &["restart".to_owned()]] {
        let result = apply(&copy, &host, notify, &mut |_, _| {});
        assert_eq!(result.unreachable.as_deref(), Some("no route to host"), "{result:?}");
    }
}
