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

/// Writes a file, and then finds that it cannot go on.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct HalfWay {}

impl crate::tasks::Task for HalfWay {
    const KIND: &'static str = "half_way";
    const EXAMPLE: &'static str = "- half_way: {}\n";
    type Seen = bool;

    fn probe(&self, host: &dyn Probe) -> Result<bool, LookError> {
        Ok(host.read_text(std::path::Path::new("/etc/motd"))?.is_some())
    }

    fn decide(&self, written: &bool) -> Verdict {
        let write = Action::WriteFile {
            path: "/etc/motd".into(),
            content: crate::host::Bytes(b"x".to_vec()),
            mode: None,
            owner: None,
            group: None,
            validate: None,
            backup: false,
        };
        if *written {
            return Verdict::blocked("the disk is not blank");
        }
        Verdict::stage("write /etc/motd", "", vec![write.into()])
    }
}

#[test]
fn a_bad_end_says_what_was_done_before() {
    let result = apply(&HalfWay {}, &Fake::with(&[]), &[], &mut |_, _| {});
    assert_eq!(
        (result.status, &*result.summary),
        (Status::Blocked, "the disk is not blank; done before that: write /etc/motd")
    );
    let result = apply(&HalfWay {}, &Fake::with(&[("/etc/motd", "x")]), &[], &mut |_, _| {});
    assert_eq!((result.status, &*result.summary), (Status::Blocked, "the disk is not blank"));
    // A step that fails is not done.
    let result = apply(&HalfWay {}, &Dying(Fake::with(&[])), &[], &mut |_, _| {});
    assert!(!result.summary.contains("done before"), "{result:?}");
}
