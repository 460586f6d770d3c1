use super::*;
use crate::tasks::fake::{faults, task};
use crate::tasks::fake_cluster::{Api, FakeNodes, blocked, calls, drifts_and_predicts, lacks, ok};
use serde_json::{Value as Json, json};

fn wanted() -> HaGroup {
    task(json!({"name": "nfs1", "resources": ["ct:101"], "nodes": ["pve1", "pve2", "pve3"],
                "restricted": true, "nofailback": true}))
}

fn resource(extra: Json) -> Json {
    let mut row = json!({"sid": "ct:101", "type": "ct", "digest": "aa", "state": "started"});
    row.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    row
}

fn pve8(groups: Json, resource: Json) -> Api {
    Api::three_nodes()
        .fails("/cluster/ha/rules", 501, "Method 'GET /cluster/ha/rules' not implemented")
        .on("/cluster/ha/groups", groups)
        .on("/cluster/ha/resources", json!([resource, {"sid": "vm:200", "type": "vm", "group": "other"}]))
}

fn pve9(rules: Json, resource: Json) -> Api {
    Api::three_nodes()
        .fails("/cluster/ha/groups", 500, "cannot index groups: ha groups have been migrated to rules")
        .on("/cluster/ha/rules", rules)
        .on("/cluster/ha/resources", json!([resource, {"sid": "vm:200", "type": "vm"}]))
}

fn none() -> FakeNodes {
    FakeNodes::new()
}

#[test]
fn one_description_is_a_group_on_8_and_a_rule_on_9() {
    let change = drifts_and_predicts(&wanted(), pve8(json!([]), resource(json!({}))), &none());
    assert_eq!(
        calls(&change),
        [
            "POST /cluster/ha/groups group=nfs1 nodes=pve1,pve2,pve3 nofailback=1 restricted=1",
            "PUT /cluster/ha/resources/ct:101 group=nfs1"
        ]
    );
    let change = drifts_and_predicts(&wanted(), pve9(json!([]), resource(json!({}))), &none());
    assert_eq!(
        calls(&change),
        [
            "PUT /cluster/ha/resources/ct:101 failback=0",
            "POST /cluster/ha/rules nodes=pve1,pve2,pve3 resources=ct:101 rule=nfs1 strict=1 type=node-affinity"
        ]
    );
}

#[test]
fn the_order_of_nodes_and_a_priority_of_zero_mean_nothing() {
    let group = json!({"group": "nfs1", "type": "group", "nodes": "pve3,pve1:0,pve2", "restricted": 1,
                       "nofailback": "1", "digest": "bb"});
    ok(&wanted(), &pve8(json!([group]), resource(json!({"group": "nfs1"}))), &none());
    let rule = json!({"rule": "nfs1", "type": "node-affinity", "nodes": "pve2,pve1,pve3", "strict": 1, "order": 1,
                      "resources": "ct:101", "digest": "bb"});
    ok(&wanted(), &pve9(json!([rule]), resource(json!({"failback": 0}))), &none());
}

#[test]
fn an_edited_group_is_put_right() {
    let group = json!({"group": "nfs1", "nodes": "pve1:2,pve2", "digest": "bb", "comment": "by hand"});
    let change = drifts_and_predicts(&wanted(), pve8(json!([group]), resource(json!({"group": "nfs1"}))), &none());
    assert_eq!(
        calls(&change),
        ["PUT /cluster/ha/groups/nfs1 digest=bb nodes=pve1,pve2,pve3 nofailback=1 restricted=1"]
    );
    for line in ["-nodes: pve1:2,pve2\n", "+nodes: pve1,pve2,pve3\n", "-nofailback: 0\n", "+nofailback: 1\n"] {
        assert!(change.diff.contains(line), "{}", change.diff);
    }
    let open: HaGroup = task(json!({"name": "nfs1", "resources": "ct:101", "nodes": "pve1", "comment": ""}));
    let group = json!({"group": "nfs1", "nodes": "pve1", "restricted": 1, "comment": "by hand", "digest": "bb"});
    let change = drifts_and_predicts(&open, pve8(json!([group]), resource(json!({"group": "nfs1"}))), &none());
    assert_eq!(calls(&change), ["PUT /cluster/ha/groups/nfs1 delete=restricted,comment digest=bb"]);
}

#[test]
fn a_rule_of_another_name_that_holds_the_resource_is_taken_over() {
    // What Proxmox made of a group when the cluster came to 9.
    let rule = json!({"rule": "ha-group-nfs1", "type": "node-affinity", "nodes": "pve1,pve2", "resources": "ct:101,vm:200",
                      "comment": "Generated from HA group 'nfs1'.", "digest": "bb", "order": 1, "disable": 1});
    let change = drifts_and_predicts(&wanted(), pve9(json!([rule]), resource(json!({"failback": 0}))), &none());
    assert_eq!(
        calls(&change),
        [
            "PUT /cluster/ha/rules/ha-group-nfs1 delete=disable digest=bb nodes=pve1,pve2,pve3 strict=1 type=node-affinity"
        ]
    );
    assert!(!change.diff.contains("-resources"), "others stay: {}", change.diff);
    // One of our name that holds nothing of ours yet gets it beside what it has.
    let rule = json!({"rule": "nfs1", "type": "node-affinity", "nodes": "pve1,pve2,pve3", "strict": 1,
                      "resources": "vm:200", "digest": "bb"});
    let change = drifts_and_predicts(&wanted(), pve9(json!([rule]), resource(json!({"failback": 0}))), &none());
    assert_eq!(calls(&change), ["PUT /cluster/ha/rules/nfs1 digest=bb resources=ct:101,vm:200 type=node-affinity"]);
}

#[test]
fn what_is_ambiguous_is_for_a_person() {
    let two: HaGroup =
        task(json!({"name": "nfs1", "resources": ["ct:101", "vm:200"], "nodes": "pve1,pve2", "restricted": true}));
    let rules = json!([
        {"rule": "a1", "type": "node-affinity", "nodes": "pve1", "resources": "ct:101"},
        {"rule": "b1", "type": "node-affinity", "nodes": "pve2", "resources": "vm:200"}
    ]);
    blocked(&two, &pve9(rules, resource(json!({}))), &none(), "several rules (a1, b1)");
    let taken =
        json!([{"rule": "nfs1", "type": "resource-affinity", "affinity": "negative", "resources": "vm:1,vm:2"}]);
    blocked(&wanted(), &pve9(taken, resource(json!({}))), &none(), "taken by a rule of type resource-affinity");
}

#[test]
fn a_cluster_that_is_being_upgraded_still_has_groups() {
    // Rules answer already, with what the groups will become; groups are what holds.
    let between = pve8(json!([]), resource(json!({})))
        .on("/cluster/ha/rules", json!([{"rule": "ha-group-x", "type": "node-affinity", "resources": "vm:200"}]));
    let change = drifts_and_predicts(&wanted(), between, &none());
    assert!(calls(&change)[0].starts_with("POST /cluster/ha/groups"));
}

#[test]
fn it_comes_after_its_resources_and_names_real_nodes() {
    let empty = pve9(json!([]), json!({"sid": "vm:300", "type": "vm"}));
    blocked(&wanted(), &empty, &none(), "place the `ha_resource` task before this one");
    let elsewhere: HaGroup = task(json!({"name": "nfs1", "resources": "ct:101", "nodes": "pve1,pve9"}));
    blocked(&elsewhere, &pve9(json!([]), resource(json!({}))), &none(), "named pve9");
    let told = lacks(&wanted(), &pve9(json!([]), resource(json!({}))).asked_by("a@pve", &["Sys.Audit"]));
    assert!(told.starts_with("Certainly: a@pve lacks Sys.Console on / to set nfs1 in HA; `pveum"), "{told}");
    let refused = "Permission check failed (/, Sys.Audit)\n";
    let blind = Api::three_nodes().asked_by("a@pve!t", &[]).fails("/cluster/ha/rules", 403, refused);
    let told = lacks(&wanted(), &blind);
    assert!(told.starts_with("Certainly: a@pve!t may not look (GET /cluster/ha/rules: Permission check"), "{told}");
    assert!(told.contains("pveum acl modify / --tokens 'a@pve!t' --roles PVEAuditor --propagate 0"), "{told}");
    let there = json!([{"rule": "nfs1", "type": "node-affinity", "nodes": "pve1,pve2,pve3", "strict": 1,
                        "resources": "ct:101"}]);
    let there = pve9(there, resource(json!({"failback": 0}))).asked_by("a@pve", &["Sys.Audit"]);
    ok(&wanted(), &there, &none());
    assert_eq!(lacks(&wanted(), &there), "");
    let broken = pve9(json!([]), resource(json!({}))).fails("/cluster/ha/groups", 500, "got timeout");
    blocked(&wanted(), &broken, &none(), "got timeout");
}

#[test]
fn removing_leaves_the_resources_in_ha() {
    let gone: HaGroup = task(json!({"name": "nfs1", "resources": "ct:101", "state": "absent"}));
    let group = json!({"group": "nfs1", "nodes": "pve1", "digest": "bb"});
    let change = drifts_and_predicts(&gone, pve8(json!([group.clone()]), resource(json!({"group": "nfs1"}))), &none());
    assert_eq!(calls(&change), ["PUT /cluster/ha/resources/ct:101 delete=group", "DELETE /cluster/ha/groups/nfs1"]);
    let shared = pve8(json!([{"group": "other", "nodes": "pve1"}]), resource(json!({})));
    let other: HaGroup = task(json!({"name": "other", "resources": "ct:101", "state": "absent"}));
    blocked(&other, &shared, &none(), "still holds vm:200");
    let rule = json!({"rule": "any1", "type": "node-affinity", "nodes": "pve1", "resources": "ct:101"});
    let change = drifts_and_predicts(&gone, pve9(json!([rule]), resource(json!({}))), &none());
    assert_eq!(calls(&change), ["DELETE /cluster/ha/rules/any1"]);
    ok(&gone, &pve9(json!([]), resource(json!({}))), &none());
}

#[test]
fn faults_are_found_before() {
    assert!(faults::<HaGroup>(json!({"name": "nfs1", "resources": [], "nodes": "pve1"})).contains("no HA resource"));
    assert!(faults::<HaGroup>(json!({"name": "nfs1", "resources": "101", "nodes": "pve1"})).contains("ct:101"));
    assert!(faults::<HaGroup>(json!({"name": "nfs1", "resources": "ct:101"})).contains("no node"));
    assert!(faults::<HaGroup>(json!({"name": "nfs1", "resources": "ct:101", "nodes": "pve1:x"})).contains("priority"));
    assert!(faults::<HaGroup>(json!({"name": "1", "resources": "ct:101", "nodes": "pve1"})).contains("a letter"));
}
