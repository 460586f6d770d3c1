//! What the kinds say they need, held against the `permissions` that Proxmox's own schema has for the endpoints they
//! call.

use super::fake::{Fake, task};
use super::fake_cluster::{Api, FakeNodes, nodes, verdict};
use super::ha_group::HaGroup;
use super::ha_resource::HaResource;
use super::hookscript::Hookscript;
use super::pct::Pct;
use super::pve_storage::PveStorage;
use super::pve_template::PveTemplate;
use super::rights::Need;
use super::{Decision, Right, Task, cluster};
use crate::host::{Action, Method};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

const SCHEMAS: [&str; 2] =
    [include_str!("../lab/api/schema/pve-9.1.jsonl"), include_str!("../lab/api/schema/pve-8.4.jsonl")];

type Holes = BTreeMap<String, String>;

/// What a schema asks for a call: its `permissions`, and what its path's holes are filled with.
fn asked(schema: &str, method: &str, path: &str) -> Option<(Json, Holes)> {
    schema.lines().find_map(|line| {
        let entry: Json = serde_json::from_str(line).unwrap();
        let (verb, template) = entry["route"].as_str().unwrap().split_once(' ').unwrap();
        let (parts, words): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        let mut holes = Holes::new();
        let fits = verb == method
            && parts.len() == words.len()
            && parts.iter().zip(&words).all(|(part, word)| {
                let hole = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                hole.map_or(part == word, |name| holes.insert(name.to_owned(), (*word).to_owned()).is_none())
            });
        fits.then(|| (entry["permissions"].clone(), holes))
    })
}

/// Whether somebody who has these rights and no others passes a `check`.
fn passes(check: &Json, holes: &Holes, rights: &[Right]) -> bool {
    let rest = || check.as_array().unwrap().iter().skip(1);
    match check[0].as_str().unwrap() {
        "and" => rest().all(|part| passes(part, holes, rights)),
        "or" => rest().any(|part| passes(part, holes, rights)),
        "perm" => {
            let template = check[1].as_str().unwrap().to_owned();
            let at = holes.iter().fold(template, |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
            let held = |privilege: &Json| {
                rights.iter().any(|right| match &right.need {
                    Need::Root => true,
                    Need::Privilege { path, any } => *path == at && any.iter().any(|name| *name == *privilege),
                })
            };
            let wanted = check[2].as_array().unwrap();
            if check[3] == "any" { wanted.iter().any(held) } else { wanted.iter().all(held) }
        }
        other => panic!("a test `{other}` in the schema"),
    }
}

/// `exactly`: the schema asks for each of the rights. Where it does not, Proxmox asks inside the call.
#[track_caller]
fn hold<T: Task>(task: &T, api: &Api, nodes: &FakeNodes, exactly: bool) {
    let rights = task.rights(&task.probe(api).unwrap());
    let Decision::Drift(change) = verdict(task, api, nodes).decision else { panic!("nothing is wanted") };
    assert!(!rights.is_empty(), "a change, and no right is needed");
    let mut found = 0;
    for step in change.steps.iter().filter(|step| step.on.is_none()) {
        let Action::Api { method, path, params, .. } = &step.action else { continue };
        let verb = match method {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        for schema in SCHEMAS {
            let Some((permissions, mut holes)) = asked(schema, verb, path) else { continue };
            found += 1;
            holes.extend(params.clone());
            let Some(check) = permissions.get("check") else {
                assert_eq!(permissions["user"], "all", "{verb} {path}");
                continue;
            };
            assert!(passes(check, &holes, &rights), "{verb} {path} asks for {check}, the kind for {rights:?}");
            for left_out in 0..rights.len() {
                let mut fewer = rights.clone();
                let without = fewer.remove(left_out);
                let enough = passes(check, &holes, &fewer);
                assert!(!exactly || !enough, "{verb} {path} does not ask for {without:?}");
            }
        }
    }
    assert!(found > 0, "no schema has these calls: {:?}", change.steps);
}

fn as_token(api: Api) -> Api {
    api.asked_by("a@pve!t", &["Sys.Audit", "VM.Audit", "Datastore.Audit"])
}

fn ha(api: Api, resources: Json) -> Api {
    let guests = json!([{"vmid": 101, "node": "pve1", "type": "lxc", "status": "running"}]);
    let api = api.answer(cluster::guests(), guests).on("/cluster/ha/resources", resources);
    as_token(api.on("/cluster/ha/status/current", json!([{"type": "quorum", "quorate": 1}])))
}

fn rules(api: Api) -> Api {
    let gone = "cannot index groups: ha groups have been migrated to rules";
    api.on("/cluster/ha/rules", json!([])).fails("/cluster/ha/groups", 500, gone)
}

fn groups(api: Api, all: Json) -> Api {
    api.fails("/cluster/ha/rules", 501, "not implemented").on("/cluster/ha/groups", all)
}

#[test]
fn high_availability() {
    let row = json!([{"sid": "ct:101", "type": "ct", "state": "stopped", "group": "nfs1"}]);
    let all = [
        ha(rules(Api::three_nodes()), json!([])),
        ha(groups(Api::three_nodes(), json!([])), json!([])),
        ha(rules(Api::three_nodes()), row.clone()),
    ];
    for api in &all {
        hold(&task::<HaResource>(json!({"sid": "ct:101", "state": "started"})), api, &FakeNodes::new(), true);
    }
    hold(&task::<HaResource>(json!({"sid": "ct:101", "state": "absent"})), &all[2], &FakeNodes::new(), true);
    let group: HaGroup = task(json!({"name": "nfs1", "resources": "ct:101", "nodes": "pve1", "nofailback": true}));
    let old = json!([{"group": "nfs1", "nodes": "pve2"}]);
    for api in [rules(Api::three_nodes()), groups(Api::three_nodes(), json!([])), groups(Api::three_nodes(), old)] {
        hold(&group, &ha(api, row.clone()), &FakeNodes::new(), true);
    }
}

#[test]
fn storages_and_templates() {
    let row = json!({"storage": "share", "type": "dir", "path": "/srv/share", "content": "iso"});
    let api = |rows: Json| {
        let states = Api::three_nodes().answer(cluster::storage_states(), json!([]));
        as_token(states.on("/storage", rows))
    };
    let share: PveStorage = task(json!({"storage": "share", "type": "dir", "path": "/srv/share", "content": "backup"}));
    hold(&share, &api(json!([])), &FakeNodes::new(), true);
    hold(&share, &api(json!([row.clone()])), &FakeNodes::new(), true);
    let gone: PveStorage = task(json!({"storage": "share", "state": "absent"}));
    hold(&gone, &api(json!([row])), &FakeNodes::new(), true);
    let mut api = as_token(Api::three_nodes());
    for node in ["pve1", "pve2", "pve3"] {
        api = api.answer(cluster::templates(node, "local"), json!([]));
        api =
            api.on(&format!("/nodes/{node}/aplinfo"), json!([{"template": "debian-13-standard_13.1-2_amd64.tar.zst"}]));
    }
    hold(&task::<PveTemplate>(json!({"template": "debian-13-standard"})), &api, &FakeNodes::new(), false);
}

#[test]
fn containers() {
    let template = json!([{"volid": "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"}]);
    let mut none = Api::three_nodes().answer(cluster::guests(), json!([]));
    for node in ["pve1", "pve2", "pve3"] {
        none = none.answer(cluster::templates(node, "local"), template.clone());
    }
    let made: Pct =
        task(json!({"vmid": 101, "ostemplate": "local:vztmpl/debian-13-standard", "rootfs": "local-lvm:8"}));
    let there = nodes(|_, fake: &Fake| fake.directory("/etc/pve/nodes/pve1/lxc"));
    hold(&made, &as_token(none), &there, false);
    let api = || {
        let row = json!([{"vmid": 101, "node": "pve1", "type": "lxc", "status": "stopped"}]);
        let at = "/nodes/pve1/lxc/101";
        as_token(
            Api::three_nodes()
                .answer(cluster::guests(), row)
                .on(&format!("{at}/config"), json!({"memory": 512, "digest": "aa", "rootfs": "/dev/drbd100,shared=1"}))
                .on(&format!("{at}/pending"), json!([]))
                .on(&format!("{at}/status/current"), json!({"status": "stopped"})),
        )
        .on("/storage", json!([{"storage": "local", "path": "/var/lib/vz"}]))
    };
    for stated in [
        json!({"memory": 1024}),
        json!({"cores": 2}),
        json!({"hostname": "nfs1"}),
        json!({"onboot": true}),
        json!({"state": "started"}),
        json!({"state": "absent"}),
    ] {
        let mut stated = stated;
        stated["vmid"] = json!(101);
        hold(&task::<Pct>(stated), &api(), &FakeNodes::new(), true);
    }
    // What no privilege gives is not in the schema at all.
    let hook: Hookscript = task(json!({"vmid": 101}));
    let rights = hook.rights(&hook.probe(&api()).unwrap());
    assert!(rights.iter().all(|right| right.need == Need::Root) && rights.len() == 1, "{rights:?}");
}
