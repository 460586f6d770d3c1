use super::*;
use crate::tasks::fake::{faults, task};
use crate::tasks::fake_cluster::{Api, FakeNodes, blocked, calls, drifts_and_predicts, lacks, ok};

fn nfs() -> Json {
    json!({"storage": "nfs1", "type": "nfs", "server": "192.168.1.11", "export": "/data",
           "content": ["images", "rootdir"], "options": "vers=3,soft"})
}

fn api(storages: Json) -> Api {
    Api::three_nodes().on("/storage", storages).answer(cluster::storage_states(), json!([]))
}

/// As PVE 9.1.7 answers, with the order of content that changes from call to call.
fn local() -> Json {
    json!({"type": "dir", "priority": 0, "digest": "da39", "path": "/var/lib/vz", "prune-backups": "keep-all=1",
           "content": "rootdir,images,backup,iso,snippets,vztmpl", "storage": "local"})
}

fn nfs_row() -> Json {
    json!({"type": "nfs", "digest": "da39", "path": "/mnt/pve/nfs1", "server": "192.168.1.11", "export": "/data",
           "content": "rootdir,images", "options": "soft,vers=3", "storage": "nfs1"})
}

fn none() -> FakeNodes {
    FakeNodes::new()
}

#[test]
fn an_export_is_defined_once() {
    let task: PveStorage = task(nfs());
    let change = drifts_and_predicts(&task, api(json!([local()])), &none());
    assert_eq!(
        calls(&change),
        [
            "POST /storage content=images,rootdir export=/data options=vers=3,soft server=192.168.1.11 storage=nfs1 type=nfs"
        ]
    );
    ok(&task, &api(json!([local(), nfs_row()])), &none());
}

#[test]
fn sets_differ_by_their_members_alone() {
    let args = json!({"storage": "local", "content": "snippets,vztmpl,iso,backup,images,rootdir"});
    ok(&task::<PveStorage>(args), &api(json!([local()])), &none());
    let args = json!({"storage": "local", "content": ["iso", "vztmpl"], "nodes": ["pve1"]});
    let change = drifts_and_predicts(&task::<PveStorage>(args), api(json!([local()])), &none());
    assert_eq!(calls(&change), ["PUT /storage/local content=iso,vztmpl digest=da39 nodes=pve1"]);
    let mut row = local();
    row["nodes"] = json!("pve1,pve2");
    let everywhere = task::<PveStorage>(json!({"storage": "local", "nodes": []}));
    let change = drifts_and_predicts(&everywhere, api(json!([row])), &none());
    assert_eq!(calls(&change), ["PUT /storage/local delete=nodes digest=da39"]);
}

#[test]
fn what_cannot_be_changed_is_left_to_a_person() {
    let mut other = nfs_row();
    other["server"] = json!("192.168.1.99");
    blocked(&task::<PveStorage>(nfs()), &api(json!([other])), &none(), "server is `192.168.1.99`");
    let dir = json!({"storage": "local", "type": "dir", "path": "/srv"});
    blocked(&task::<PveStorage>(dir), &api(json!([local()])), &none(), "path is `/var/lib/vz`");
}

#[test]
fn an_account_that_sees_less_does_not_make_a_second_one() {
    let gone: PveStorage = task(json!({"storage": "nfs1", "state": "absent"}));
    let made: PveStorage = task(nfs());
    let seen_by = |rights: Json| Api { user: Some("a@pve".into()), ..api(json!([])) }.on("/access/permissions", rights);
    // Datastore.Allocate makes and removes storages and shows none. Held above without being handed down is not held.
    for rights in [
        json!({"/": {"Sys.Audit": 1}}),
        json!({"/": {"Datastore.Allocate": 1}}),
        json!({"/storage": {"Datastore.Audit": 0, "Datastore.Allocate": 1}}),
    ] {
        let why = "exists: the account lacks Datastore.Audit or Datastore.AllocateSpace on /storage/nfs1";
        blocked(&gone, &seen_by(rights.clone()), &none(), why);
        blocked(&made, &seen_by(rights.clone()), &none(), why);
        let told = lacks(&made, &seen_by(rights));
        let expected = "Certainly: a@pve lacks Datastore.Audit or Datastore.AllocateSpace on /storage/nfs1 to see";
        assert!(told.contains(expected), "{told}");
    }
    // Held on the storage itself is enough to see it; who makes one needs more.
    for shown in ["Datastore.Audit", "Datastore.AllocateSpace"] {
        let seen = json!({"/storage/nfs1": {shown: 0}});
        ok(&gone, &seen_by(seen.clone()), &none());
        assert_eq!(lacks(&gone, &seen_by(seen.clone())), "");
        let told = lacks(&made, &seen_by(seen));
        assert!(told.starts_with("Certainly: a@pve lacks Datastore.Allocate on /storage to define"), "{told}");
        let both = json!({"/storage/nfs1": {shown: 0}, "/storage": {"Datastore.Allocate": 0}});
        assert_eq!(lacks(&made, &seen_by(both.clone())), "");
        drifts_and_predicts(&made, seen_by(both), &none());
    }
}

#[test]
fn removing_says_that_data_stay() {
    let gone: PveStorage = task(json!({"storage": "nfs1", "state": "absent"}));
    let change = drifts_and_predicts(&gone, api(json!([local(), nfs_row()])), &none());
    assert_eq!(calls(&change), ["DELETE /storage/nfs1"]);
    assert!(change.summary.contains("data stay"));
    ok(&gone, &api(json!([local()])), &none());
}

#[test]
fn an_api_that_does_not_answer_blocks() {
    let broken = Api::three_nodes().fails("/storage", 596, "Connection timed out");
    blocked(&task::<PveStorage>(nfs()), &broken, &none(), "596");
    let unknown = task::<PveStorage>(json!({"storage": "nfs1", "type": "dir", "path": "/srv", "nodes": "pve9"}));
    blocked(&unknown, &api(json!([])), &none(), "pve9");
}

#[test]
fn faults_are_found_before() {
    assert!(faults::<PveStorage>(json!({"storage": "1x"})).contains("name"));
    assert!(faults::<PveStorage>(json!({"storage": "nfs1", "type": "nfs", "server": "a"})).contains("export"));
    assert!(faults::<PveStorage>(nfs()).is_empty());
}

#[test]
fn a_node_that_is_down_is_not_asked_for_a_definition() {
    let mut nodes = crate::tasks::fake_cluster::nodes(|_, _| {});
    nodes.insert("pve3", crate::tasks::fake_cluster::FakeNode::Down);
    ok(&task::<PveStorage>(nfs()), &api(json!([local(), nfs_row()])), &nodes);
}

/// The definition is right; what each node makes of it is told by these words.
fn seen(task: Json, row: Json, states: &[(&str, &str)]) -> Verdict {
    let storage = &row["storage"];
    let rows: Vec<Json> = states
        .iter()
        .map(|(node, status)| json!({"type": "storage", "storage": storage, "node": node, "status": status}))
        .collect();
    let api = api(json!([local(), row])).answer(cluster::storage_states(), rows.into());
    let task: PveStorage = self::task(task);
    let found = task.probe(&api).unwrap();
    task.decide(&found)
}

#[test]
fn a_storage_that_no_node_can_use_is_not_ok() {
    use crate::tasks::Decision;
    let all = |status| [("pve1", status), ("pve2", status), ("pve3", status)];
    assert!(matches!(seen(nfs(), nfs_row(), &all("available")).decision, Decision::Ok(_)));
    let hung = seen(nfs(), nfs_row(), &[("pve1", "unknown"), ("pve2", "available"), ("gone", "unknown")]);
    let Decision::Wait { what, meanwhile: Meanwhile::Trouble, .. } = hung.decision else { panic!("{hung:?}") };
    assert!(what.contains("nfs1 on pve1 (") && what.contains("server 192.168.1.11"), "{what}");
    // Beside the cluster's words this one is kept, not taken for good.
    assert!(matches!(seen(nfs(), nfs_row(), &all("dizzy")).decision, Decision::Wait { .. }));
    let mut off = nfs_row();
    off["disable"] = json!(1);
    assert!(matches!(seen(nfs(), off, &all("unknown")).decision, Decision::Ok(_)));
    // Each node's own disk: one that lacks it is worth a warning, all of them are not.
    let own = json!({"storage": "local", "type": "dir"});
    let some = seen(own.clone(), local(), &[("pve1", "available"), ("pve2", "unknown")]);
    assert!(matches!(some.decision, Decision::Ok(_)) && some.warnings[0].contains("on pve2"), "{some:?}");
    assert!(matches!(seen(own, local(), &all("unknown")).decision, Decision::Wait { .. }));
}

#[test]
fn without_quorum_a_change_is_not_tried() {
    let apart = json!([{"type": "cluster", "name": "c", "nodes": 3, "quorate": 0}]);
    let without = || api(json!([local()])).on("/cluster/status", apart.clone());
    blocked(&task::<PveStorage>(nfs()), &without(), &none(), "no quorum");
    ok(&task::<PveStorage>(json!({"storage": "local", "type": "dir"})), &without(), &none());
}
