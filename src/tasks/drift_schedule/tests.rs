use super::*;
use crate::tasks::fake::{faults, task};
use serde_json::json;

#[test]
fn what_could_never_work_is_a_fault() {
    let args = |more: serde_json::Value| {
        let mut args = json!({"src": "site/", "playbooks": "site.yml"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    };
    assert_eq!(faults::<DriftSchedule>(args(json!({}))), "");
    assert_eq!(faults::<DriftSchedule>(json!({"state": "absent"})), "");
    assert_eq!(faults::<DriftSchedule>(json!({})).lines().count(), 2);
    for faulty in [
        json!({"name": "My Drift"}),
        json!({"playbooks": "../site.yml"}),
        json!({"playbooks": ["/etc/site.yml"]}),
        json!({"inventory": "-x"}),
        json!({"spread": "soon"}),
        json!({"timeout": ""}),
        json!({"out": "reports"}),
        json!({"every": []}),
        json!({"limit": "a\nb"}),
    ] {
        assert_eq!(faults::<DriftSchedule>(args(faulty.clone())).lines().count(), 1, "{faulty}");
    }
}

#[test]
fn a_node_runs_it_by_turns_and_without_a_login() {
    let wanted: DriftSchedule =
        task(json!({"name": "n", "src": "s", "playbooks": ["a.yml", "b/c.yml"], "notify": "n.yml", "fail_on": "new"}));
    let schedule = wanted.schedule(3600);
    let line = schedule.arguments.join(" ");
    assert_eq!(
        line,
        format!(
            "schedule turn n --not-within 1800 -- {LINK} drift --on-node /etc/converge/schedules/n/a.yml \
             /etc/converge/schedules/n/b/c.yml --notify /etc/converge/schedules/n/n.yml --fail-on new"
        )
    );
    assert_eq!(schedule.out, "/var/lib/converge/n");
}
