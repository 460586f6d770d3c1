//! What no recording holds: rules of Proxmox VE 8, death of a node, quorum, what waits for a restart.

use super::stage::{Stage, form};
use crate::lab::world::Flavour;
use serde_json::Value;

const TEMPLATE: &str = "debian-13-standard_13.1-2_amd64.tar.zst";

/// Three nodes with a container 101 on a shared device.
fn with_container(flavour: Flavour) -> Stage {
    let stage = Stage::new(3, flavour);
    stage.template(TEMPLATE);
    stage.shared_device("sdz", true);
    let create = form(&[
        ("vmid", "101"),
        ("ostemplate", &format!("local:vztmpl/{TEMPLATE}")),
        ("rootfs", "volume=/dev/sdz,shared=1"),
        ("hostname", "nfs1"),
        ("unprivileged", "0"),
        ("net0", "name=eth0,bridge=vmbr0,ip=192.168.1.11/24,gw=192.168.1.1"),
        ("features", "mount=nfsd;rpc_pipefs"),
    ]);
    assert_eq!(stage.exit_of(&stage.data("POST", "/nodes/pve1/lxc", &create)), "OK");
    stage
}

fn steps(stage: &Stage, count: u32) {
    for _ in 0..count {
        stage.pass_ms(500);
        stage.data("GET", "/version", "");
    }
}

fn service(stage: &Stage) -> Value {
    let all = stage.data("GET", "/cluster/ha/status/current", "");
    all.as_array().into_iter().flatten().find(|entry| entry["sid"] == "ct:101").cloned().unwrap_or_default()
}

fn power(stage: &Stage, node: &str, on: bool) {
    stage.world(|world| match on {
        true => crate::lab::power::on(world, stage.lab.files(), node).expect("the node boots"),
        false => crate::lab::power::off(world, node),
    });
}

#[test]
fn a_container_is_its_file() {
    let stage = with_container(Flavour::Pve9);
    let path = "/etc/pve/nodes/pve1/lxc/101.conf";
    let text = stage.text("pve2", path).expect("the same file on every node");
    assert!(text.contains("rootfs: /dev/sdz,shared=1\n"), "{text}");
    assert!(!text.contains("unprivileged"), "privileged is the absence of the key: {text}");
    stage.put_file("pve1", path, format!("{text}lxc.apparmor.profile: unconfined\n").as_bytes(), 0o640);
    let config = stage.data("GET", "/nodes/pve1/lxc/101/config", "");
    assert_eq!(config["lxc"], serde_json::json!([["lxc.apparmor.profile", "unconfined"]]));
    stage.data("PUT", "/nodes/pve1/lxc/101/config", "tags=b%3Ba");
    let text = stage.text("pve1", path).expect("the file");
    assert!(text.ends_with("tags: a;b\nlxc.apparmor.profile: unconfined\n"), "{text}");
}

#[test]
fn groups_belong_to_eight_and_rules_to_nine() {
    let eight = with_container(Flavour::Pve8);
    assert_eq!(eight.refusal(501, "GET", "/cluster/ha/rules", ""), "Method 'GET /cluster/ha/rules' not implemented");
    let bodies = eight.root("GET", "/storage/nosuch", "").body.expect("a body");
    assert_eq!(bodies, serde_json::json!({"data": null}), "the text is in the reason phrase alone");
    let missing = eight.refusal(500, "POST", "/cluster/ha/resources", "sid=ct%3A101&group=nfs1");
    assert_eq!(missing, "HA group 'nfs1' does not exist");
    let group = "group=nfs1&nodes=pve1,pve2%3A2,pve3&restricted=1&nofailback=1";
    eight.data("POST", "/cluster/ha/groups", group);
    let again = eight.refusal(500, "POST", "/cluster/ha/groups", group);
    assert!(again.ends_with("ha group ID 'nfs1' already defined"), "{again}");
    eight.data("POST", "/cluster/ha/resources", "sid=101&group=nfs1&max_restart=3");
    let used = eight.refusal(500, "DELETE", "/cluster/ha/groups/nfs1", "");
    assert!(used.ends_with("ha group is used by service 'ct:101'"), "{used}");
    assert_eq!(
        eight.text("pve1", "/etc/pve/ha/groups.cfg").as_deref(),
        Some("group: nfs1\n\tnodes pve1,pve2:2,pve3\n\tnofailback 1\n\trestricted 1\n\n")
    );
    steps(&eight, 3);
    assert_eq!(service(&eight)["state"], "started", "{}", service(&eight));

    let nine = with_container(Flavour::Pve9);
    let text = nine.refusal(500, "PUT", "/cluster/ha/groups/nfs1", "nodes=pve1");
    assert_eq!(text, "cannot update group: ha groups have been migrated to rules");
}

#[test]
fn a_dead_node_is_fenced_and_its_service_recovered_where_the_rule_allows() {
    let stage = with_container(Flavour::Pve9);
    stage.data("POST", "/cluster/ha/resources", "sid=ct%3A101&failback=0");
    stage.data(
        "POST",
        "/cluster/ha/rules",
        "rule=nfs1&type=node-affinity&resources=ct%3A101&nodes=pve1%3A2,pve3&strict=1",
    );
    assert_eq!(service(&stage)["state"], "queued");
    steps(&stage, 3);
    assert_eq!((&service(&stage)["state"], &service(&stage)["node"]), (&"started".into(), &"pve1".into()));

    let mut stage = stage;
    power(&stage, "pve1", false);
    stage.entry = "pve2".into();
    assert_eq!(stage.refusal(595, "GET", "/nodes/pve1/lxc/101/config", ""), "No route to host");
    steps(&stage, 2);
    assert_eq!(service(&stage)["state"], "fence");
    steps(&stage, 4);
    let now = service(&stage);
    assert_eq!((&now["state"], &now["node"]), (&"started".into(), &"pve3".into()), "pve2 is not in the strict rule");
    assert!(stage.text("pve2", "/etc/pve/nodes/pve3/lxc/101.conf").is_some());

    power(&stage, "pve1", true);
    steps(&stage, 4);
    assert_eq!(service(&stage)["node"], "pve3", "failback=0 stays");
    stage.data("PUT", "/cluster/ha/resources/ct:101", "failback=1");
    steps(&stage, 4);
    assert_eq!(service(&stage)["node"], "pve1", "failback=1 returns to the higher priority");
}

#[test]
fn a_node_that_is_cut_off_is_reset_before_its_service_starts_elsewhere() {
    let mut stage = with_container(Flavour::Pve9);
    stage.data("POST", "/cluster/ha/resources", "sid=ct%3A101");
    steps(&stage, 3);
    stage.world(|world| world.node_mut("pve1").cut_from_cluster = true);
    stage.entry = "pve2".into();
    steps(&stage, 1);
    assert!(stage.world(|world| world.guests[&101].running.as_ref().is_some_and(|running| running.node == "pve1")));
    steps(&stage, 5);
    assert!(stage.world(|world| world.node("pve1").off), "the watchdog has reset it");
    assert_eq!((&service(&stage)["state"], &service(&stage)["node"]), (&"started".into(), &"pve2".into()));
}

#[test]
fn failed_starts_end_in_error_and_only_disabling_clears_it() {
    let stage = with_container(Flavour::Pve9);
    stage.put_file("pve1", "/var/lib/vz/snippets/hook", b"#!/bin/sh\n", 0o755);
    stage.data("PUT", "/nodes/pve1/lxc/101/config", "hookscript=local%3Asnippets%2Fhook");
    stage.world(|world| {
        let place = crate::lab::Place::node("pve1");
        let mut writer = crate::lab::files::Writer { world, files: stage.lab.files(), place: &place };
        writer.remove("/var/lib/vz/snippets/hook", false).expect("removed");
    });
    stage.data("POST", "/cluster/ha/resources", "sid=ct%3A101&max_restart=1&max_relocate=1");
    steps(&stage, 12);
    assert_eq!(service(&stage)["state"], "error");
    let log: Vec<String> = stage.world(|world| world.cluster.tasks.iter().map(|task| task.exit.clone()).collect());
    let starts = log.iter().filter(|exit| exit.contains("hookscript error for 101 on pre-start: script")).count();
    assert_eq!(starts, 4, "two tries on each of two nodes: {log:?}");
    let text = stage.refusal(500, "PUT", "/cluster/ha/resources/ct:101", "state=started");
    assert_eq!(text, "service 'ct:101' in error state, must be disabled and fixed first");
    stage.data("PUT", "/cluster/ha/resources/ct:101", "state=disabled");
    steps(&stage, 1);
    assert_eq!(service(&stage)["state"], "disabled");
    for node in ["pve1", "pve2", "pve3"] {
        stage.put_file(node, "/var/lib/vz/snippets/hook", b"#!/bin/sh\n", 0o755);
    }
    stage.data("PUT", "/cluster/ha/resources/ct:101", "state=started");
    steps(&stage, 2);
    assert_eq!(service(&stage)["state"], "started");
    let phases: Vec<String> =
        stage.world(|world| world.cluster.hook_calls.iter().map(|call| call.phase.clone()).collect());
    assert_eq!(phases, ["pre-start", "post-start"]);
}

#[test]
fn without_quorum_everything_is_read_only() {
    let mut stage = with_container(Flavour::Pve9);
    stage.entry = "pve1".into();
    power(&stage, "pve2", false);
    power(&stage, "pve3", false);
    let status = stage.data("GET", "/cluster/status", "");
    assert_eq!(status[0]["quorate"], 0);
    let create = format!("vmid=102&ostemplate=local%3Avztmpl%2F{TEMPLATE}&rootfs=%2Fdev%2Fsdz");
    assert_eq!(stage.refusal(500, "POST", "/nodes/pve1/lxc", &create), "cluster not ready - no quorum?");
    let text = stage.refusal(500, "POST", "/storage", "storage=x1&type=dir&path=%2Fsrv");
    assert_eq!(text, "create storage failed: cfs-lock 'file-storage_cfg' error: no quorum!");
    let text = stage.refusal(500, "PUT", "/nodes/pve1/lxc/101/config", "memory=1024");
    assert!(text.starts_with("unable to open file '/etc/pve/nodes/pve1/lxc/101.conf.tmp."), "{text}");
    let exit = stage.exit_of(&stage.data("POST", "/nodes/pve1/lxc/101/status/start", ""));
    assert_eq!(exit, "cluster not ready - no quorum?");
}

#[test]
fn what_a_running_container_cannot_take_waits_for_its_next_start() {
    let stage = with_container(Flavour::Pve9);
    stage.data("POST", "/nodes/pve1/lxc/101/status/start", "");
    stage.data("PUT", "/nodes/pve1/lxc/101/config", "features=nesting%3D1&memory=2048");
    assert_eq!(stage.data("GET", "/nodes/pve1/lxc/101/config", "")["features"], "nesting=1");
    assert_eq!(stage.data("GET", "/nodes/pve1/lxc/101/config?current=1", "")["features"], "mount=nfsd;rpc_pipefs");
    stage.data("PUT", "/nodes/pve1/lxc/101/config", "delete=features");
    assert!(stage.data("GET", "/nodes/pve1/lxc/101/config", "").get("features").is_none());
    let pending = stage.data("GET", "/nodes/pve1/lxc/101/pending", "");
    let entry = pending.as_array().into_iter().flatten().find(|entry| entry["key"] == "features").cloned();
    assert_eq!(entry.map(|entry| entry["delete"].clone()), Some(1.into()));
    stage.data("POST", "/nodes/pve1/lxc/101/status/reboot", "");
    assert!(stage.data("GET", "/nodes/pve1/lxc/101/config?current=1", "").get("features").is_none());
}

#[test]
fn only_shared_devices_move() {
    let stage = with_container(Flavour::Pve9);
    stage.data("PUT", "/nodes/pve1/lxc/101/config", "rootfs=%2Fdev%2Fsdz");
    let upid = stage.data("POST", "/nodes/pve1/lxc/101/migrate", "target=pve2");
    assert_eq!(stage.exit_of(&upid), "cannot migrate local device mount point 'rootfs'");
    stage.data("PUT", "/nodes/pve1/lxc/101/config", "rootfs=%2Fdev%2Fsdz%2Cshared%3D1");
    stage.data("POST", "/nodes/pve1/lxc/101/status/start", "");
    let upid = stage.data("POST", "/nodes/pve1/lxc/101/migrate", "target=pve2&restart=1");
    assert_eq!(stage.exit_of(&upid), "OK");
    assert_eq!(stage.data("GET", "/nodes/pve2/lxc/101/status/current", "")["status"], "running");
}

#[test]
fn templates_are_downloaded_once_and_never_replaced() {
    let stage = Stage::new(1, Flavour::Pve9);
    let name = "debian-12-standard_12.12-1_amd64.tar.zst";
    let ask = format!("storage=local&template={name}");
    for _ in 0..2 {
        assert_eq!(stage.exit_of(&stage.data("POST", "/nodes/pve1/aplinfo", &ask)), "OK");
    }
    let found = stage.data("GET", "/nodes/pve1/storage/local/content?content=vztmpl", "");
    assert!(found.to_string().contains(&format!("local:vztmpl/{name}")), "{found}");
    stage.put_file("pve1", &format!("/var/lib/vz/template/cache/{name}"), b"something else", 0o644);
    let exit = stage.exit_of(&stage.data("POST", "/nodes/pve1/aplinfo", &ask));
    assert!(exit.starts_with("mismatch (got "), "{exit}");
    let reply = stage.root("POST", "/nodes/pve1/aplinfo", "storage=local&template=nope.tar.gz");
    assert_eq!(reply.body.map(|body| body["errors"]["template"].clone()), Some("no such template".into()));
}

#[test]
fn faults_change_what_a_check_looks_at() {
    let stage = with_container(Flavour::Pve9);
    let cause = |name: &str| {
        stage.world(|world| crate::lab::api::faults::cause(world, stage.lab.files(), name).expect("a known fault"))
    };
    assert!(cause("ha-group-edited").is_err(), "nothing there to be edited");
    stage.data("POST", "/cluster/ha/resources", "sid=ct%3A101&state=ignored");
    stage.data(
        "POST",
        "/cluster/ha/rules",
        "rule=nfs1&type=node-affinity&resources=ct%3A101&nodes=pve1,pve2,pve3&strict=1",
    );
    assert!(cause("ha-group-edited").is_ok());
    let rule = stage.data("GET", "/cluster/ha/rules/nfs1", "");
    assert_eq!((&rule["nodes"], rule.get("strict")), (&"pve1,pve2".into(), None));
    assert!(cause("no-quorum").is_ok());
    let text = stage.refusal(500, "PUT", "/cluster/ha/rules/nfs1", "type=node-affinity&strict=1");
    assert_eq!(text, "update HA rules failed: cfs-lock 'domain-ha' error: no quorum!");
    assert_eq!(stage.data("GET", "/cluster/ha/rules/nfs1", "")["nodes"], "pve1,pve2", "reading goes on");
}
