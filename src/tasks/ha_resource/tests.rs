use super::*;
use crate::tasks::Decision;
use crate::tasks::fake::{faults, task};
use crate::tasks::fake_cluster::{Api, FakeNodes, blocked, calls, drifts_and_predicts, ok, verdict};

fn wanted() -> HaResource {
    task(json!({"sid": "ct:101", "state": "started", "max_restart": 3, "max_relocate": 3}))
}

/// PVE 9 with these HA resources and this state of the service.
fn pve9(resources: Json, state: Option<&str>) -> Api {
    let mut status = vec![json!({"id": "quorum", "type": "quorum", "quorate": 1, "status": "OK", "node": "pve1"})];
    status.extend(state.map(
        |state| json!({"id": "service:ct:101", "type": "service", "sid": "ct:101", "state": state, "node": "pve2"}),
    ));
    Api::three_nodes()
        .on("/cluster/ha/resources", resources)
        .on("/cluster/ha/status/current", json!(status))
        .on("/cluster/ha/rules", json!([]))
        .fails("/cluster/ha/groups", 500, "cannot index groups: ha groups have been migrated to rules")
        .answer(cluster::guests(), json!([{"vmid": 101, "node": "pve1", "type": "lxc", "status": "stopped"}]))
}

fn row(extra: Json) -> Json {
    let mut row = json!({"sid": "ct:101", "type": "ct", "digest": "aa", "max_restart": 3, "max_relocate": 3});
    row.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    row
}

fn none() -> FakeNodes {
    FakeNodes::new()
}

#[test]
fn a_guest_becomes_a_resource_and_is_followed() {
    let change = drifts_and_predicts(&wanted(), pve9(json!([]), None), &none());
    assert_eq!(calls(&change), ["POST /cluster/ha/resources max_relocate=3 max_restart=3 sid=ct:101 state=started"]);
    for busy in ["queued", "starting", "stopped", "recovery", "fence", "freeze"] {
        let seen = pve9(json!([row(json!({"state": "started"}))]), Some(busy));
        let decision = verdict(&wanted(), &seen, &none()).decision;
        assert!(matches!(decision, Decision::Wait { .. }), "{busy}: {decision:?}");
    }
    let untaken = pve9(json!([row(json!({}))]), None);
    assert!(matches!(verdict(&wanted(), &untaken, &none()).decision, Decision::Wait { .. }));
}

#[test]
fn absent_keys_are_defaults_and_old_words_count() {
    ok(&wanted(), &pve9(json!([row(json!({}))]), Some("started")), &none());
    ok(&wanted(), &pve9(json!([row(json!({"state": "enabled"}))]), Some("started")), &none());
    let ones: HaResource = task(json!({"sid": "ct:101", "max_restart": 1, "max_relocate": 1, "failback": true}));
    let bare = json!([{"sid": "ct:101", "type": "ct", "digest": "aa"}]);
    ok(&ones, &pve9(bare.clone(), Some("started")), &none());
    let change = drifts_and_predicts(&wanted(), pve9(bare, Some("started")), &none());
    assert_eq!(calls(&change), ["PUT /cluster/ha/resources/ct:101 digest=aa max_relocate=3 max_restart=3"]);
}

#[test]
fn an_operators_stop_is_fought_only_where_a_state_is_stated() {
    let stopped = || pve9(json!([row(json!({"state": "stopped"}))]), Some("stopped"));
    let change = drifts_and_predicts(&wanted(), stopped(), &none());
    assert_eq!(calls(&change), ["PUT /cluster/ha/resources/ct:101 digest=aa state=started"]);
    ok(&task::<HaResource>(json!({"sid": "ct:101", "max_restart": 3})), &stopped(), &none());
}

#[test]
fn a_service_in_error_is_for_a_person() {
    // Who was told to disable it is not told so again before the manager's next turn.
    let disabled: HaResource = task(json!({"sid": "ct:101", "state": "disabled"}));
    let set = pve9(json!([row(json!({"state": "disabled"}))]), Some("error"));
    let verdict = crate::tasks::fake_cluster::verdict(&disabled, &set, &none());
    assert!(matches!(verdict.decision, Decision::Wait { meanwhile: Meanwhile::Trouble, .. }), "{verdict:?}");
    let seen = || pve9(json!([row(json!({"state": "started"}))]), Some("error"));
    blocked(&wanted(), &seen(), &none(), "in state error on pve2");
    blocked(&task::<HaResource>(json!({"sid": "ct:101", "max_restart": 3})), &seen(), &none(), "set it to `disabled`");
    // The way out itself is open.
    let out: HaResource = task(json!({"sid": "ct:101", "state": "disabled"}));
    let change = drifts_and_predicts(&out, seen(), &none());
    assert_eq!(calls(&change), ["PUT /cluster/ha/resources/ct:101 digest=aa state=disabled"]);
}

#[test]
fn unknown_words_and_missing_quorum_are_not_fine() {
    blocked(&wanted(), &pve9(json!([row(json!({}))]), Some("levitating")), &none(), "`levitating`");
    let lost = pve9(json!([row(json!({}))]), Some("started"))
        .on("/cluster/ha/status/current", json!([{"id": "quorum", "type": "quorum", "quorate": 0}]));
    blocked(&wanted(), &lost, &none(), "no quorum");
    let missing = pve9(json!([]), None).answer(cluster::guests(), json!([]));
    blocked(&wanted(), &missing, &none(), "no guest 101");
    let hidden = pve9(json!([]), None)
        .answer(cluster::guests(), json!([]))
        .on("/access/permissions", json!({"/": {"Sys.Audit": 1, "Sys.Console": 1}}));
    blocked(&wanted(), &hidden, &none(), "cannot tell whether there is a guest 101: the account lacks VM.Audit");
}

#[test]
fn leaving_ha() {
    let gone: HaResource = task(json!({"sid": "ct:101", "state": "absent"}));
    let change = drifts_and_predicts(&gone, pve9(json!([row(json!({}))]), Some("started")), &none());
    assert_eq!(calls(&change), ["DELETE /cluster/ha/resources/ct:101"]);
    // The list is whole or refused: who may only read can tell.
    ok(&gone, &pve9(json!([]), None).on("/access/permissions", json!({"/": {"Sys.Audit": 1}})), &none());
}

#[test]
fn failback_belongs_to_the_group_before_nine() {
    let pve8 = |nofailback: u8| {
        pve9(json!([row(json!({"group": "nfs1"}))]), Some("started"))
            .fails("/cluster/ha/rules", 501, "Method 'GET /cluster/ha/rules' not implemented")
            .on("/cluster/ha/groups", json!([{"group": "nfs1", "nodes": "pve1", "nofailback": nofailback}]))
    };
    let stays: HaResource = task(json!({"sid": "ct:101", "failback": false}));
    ok(&stays, &pve8(1), &none());
    blocked(&stays, &pve8(0), &none(), "group nfs1");
    let change = drifts_and_predicts(&stays, pve9(json!([row(json!({}))]), Some("started")), &none());
    assert_eq!(calls(&change), ["PUT /cluster/ha/resources/ct:101 digest=aa failback=0"]);
}

#[test]
fn names_of_resources_are_checked() {
    for bad in ["101", "ct:", "ct:99", "lxc:101", "ct:x"] {
        assert!(!faults::<HaResource>(json!({"sid": bad})).is_empty(), "{bad}");
    }
}
