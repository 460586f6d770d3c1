use super::look::{config_of, pending_of, status_of};
use super::*;
use crate::host::{ApiGet, FileKind, Output};
use crate::tasks::Decision;
use crate::tasks::fake::{Fake, faults, stat, task};
use crate::tasks::fake_cluster::{
    Api, FakeNode, FakeNodes, blocked, calls, drifts_and_predicts, lacks, nodes, ok, verdict,
};
use serde_json::{Value as Json, json};

const TEMPLATE: &str = "debian-13-standard_13.1-2_amd64.tar.zst";
const DEV: &str = "/dev/drbd100";
const EMPTY: &str = "/2/040755/0/0/.//\n/2/040755/0/0/..//\n/11/040700/0/0/lost+found//\n\n";

fn wanted() -> Json {
    json!({"vmid": 101, "hostname": "nfs1", "ostemplate": "local:vztmpl/debian-13-standard",
           "rootfs": "volume=/dev/drbd100,shared=1", "net0": "name=eth0,bridge=vmbr0,ip=192.168.1.11/24,gw=192.168.1.1",
           "memory": 2048, "swap": 512, "unprivileged": false, "features": "mount=nfsd;rpc_pipefs", "onboot": false})
}

fn with(extra: Json) -> Pct {
    let mut args = wanted();
    args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    task(args)
}

fn device(fake: &Fake, blkid: Output, listing: Output) {
    fake.files.borrow_mut().insert(DEV.into(), (stat(FileKind::BlockDevice, 0o660), Vec::new()));
    fake.answer(&["blkid", "-p", "-o", "export", DEV], blkid);
    fake.answer(&["dumpe2fs", "-h", DEV], Output::ok("Filesystem features:      has_journal ext_attr mmp extent\n"));
    fake.answer(&["debugfs", "-R", "ls -p /", DEV], listing);
}

fn ext4() -> Output {
    Output::ok(format!("DEVNAME={DEV}\nUUID=0b\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n"))
}

fn held() -> Output {
    Output::failed(2, format!("blkid: error: {DEV}: Wrong medium type\n"))
}

/// Three nodes that see an empty ext4 on the device.
fn empty() -> FakeNodes {
    nodes(|_, fake| {
        fake.directory("/etc/pve/nodes/pve1/lxc");
        device(fake, ext4(), Output::ok(EMPTY));
    })
}

/// The cluster without the container.
const ALL: &[&str] = &[
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "SDN.Use",
    "Sys.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
];

fn without() -> Api {
    let api = Api::three_nodes().answer(cluster::guests(), json!([]));
    ["pve1", "pve2", "pve3"].into_iter().fold(api, |api, node| {
        let rows = json!([{"volid": format!("local:vztmpl/{TEMPLATE}"), "content": "vztmpl"}]);
        api.answer(cluster::templates(node, "local"), rows)
    })
}

/// As PVE 9.1 answers for the container that the description makes.
fn config() -> Json {
    json!({"arch": "amd64", "digest": "aa", "features": "mount=nfsd;rpc_pipefs", "hostname": "nfs1", "memory": "2048",
           "net0": "name=eth0,bridge=vmbr0,gw=192.168.1.1,hwaddr=BC:24:11:50:20:D7,ip=192.168.1.11/24,type=veth",
           "onboot": 0, "ostype": "debian", "rootfs": "/dev/drbd100,shared=1", "swap": 512})
}

fn on_pve2(config: Json, status: Json) -> Api {
    Api::three_nodes()
        .answer(cluster::guests(), json!([{"vmid": 101, "node": "pve2", "type": "lxc", "status": "running"}]))
        .answer(config_of("pve2", 101), config)
        .answer(pending_of("pve2", 101), json!([{"key": "memory", "value": "2048"}]))
        .answer(status_of("pve2", 101), status)
}

fn running() -> Json {
    json!({"status": "running", "vmid": 101, "ha": {"managed": 0}})
}

/// Nodes on which the container's file is `text`.
fn with_file(text: &str) -> FakeNodes {
    nodes(|_, fake| fake.file("/etc/pve/nodes/pve2/lxc/101.conf", text, 0o640))
}

#[test]
fn it_is_created_on_an_empty_device_with_a_last_look() {
    let wanted = with(json!({"lxc": ["lxc.apparmor.profile: unconfined"], "state": "started"}));
    let change = drifts_and_predicts(&wanted, without(), &empty());
    let create = format!(
        "POST /nodes/pve1/lxc features=mount=nfsd;rpc_pipefs hostname=nfs1 memory=2048 \
         net0=name=eth0,bridge=vmbr0,ip=192.168.1.11/24,gw=192.168.1.1 onboot=0 ostemplate=local:vztmpl/{TEMPLATE} \
         rootfs=volume=/dev/drbd100,shared=1 swap=512 unprivileged=0 vmid=101"
    );
    assert_eq!(calls(&change), ["on pve1: blkid -p /dev/drbd100".to_owned(), create]);
    assert_eq!(change.steps[0].guards[0].stdout.as_deref(), Some(EMPTY));
}

#[test]
fn it_is_made_where_it_can_be() {
    // The device is held elsewhere on pve1, the template is not on pve2.
    let mut nodes = empty();
    let FakeNode::Up(first) = &nodes["pve1"] else { panic!() };
    device(first, held(), Output::ok(""));
    let api = without().answer(cluster::templates("pve2", "local"), json!([]));
    let change = drifts_and_predicts(&with(json!({})), api, &nodes);
    assert!(calls(&change)[1].starts_with("POST /nodes/pve3/lxc "), "{:?}", calls(&change));
    let pinned = with(json!({"node": "pve2"}));
    let api = without().answer(cluster::templates("pve2", "local"), json!([]));
    blocked(&pinned, &api, &nodes, "pve2: local:vztmpl/debian-13-standard is not there");
    nodes.insert("pve3", FakeNode::Down);
    blocked(&with(json!({})), &without(), &nodes, "pve3 cannot be asked whether it holds container 101 or its data");
}

#[test]
fn never_over_data() {
    let listing = format!("{}\n/12/040755/0/0/etc//\n/13/040755/0/0/usr//\n", EMPTY.trim_end());
    let full = nodes(|name, fake| {
        fake.directory("/etc/pve/nodes/pve1/lxc");
        // Only one node can read it; the others see it held.
        match name {
            "pve3" => device(fake, ext4(), Output::ok(listing.clone())),
            _ => device(fake, held(), Output::ok("")),
        }
    });
    blocked(&with(json!({})), &without(), &full, "is not empty (on pve3: etc, usr)");
    let change = match verdict(&with(json!({"adopt": true, "ostype": "debian"})), &without(), &full).decision {
        Decision::Drift(change) => change,
        other => panic!("{other:?}"),
    };
    assert_eq!(change.steps.len(), 2);
    assert!(change.diff.contains("+rootfs: /dev/drbd100,shared=1"), "{}", change.diff);
    assert!(change.diff.contains("hwaddr=BC:24:11:"), "{}", change.diff);
    let other = nodes(|_, fake| {
        fake.directory("/etc/pve/nodes/pve1/lxc");
        device(fake, Output::ok("TYPE=LVM2_member\n"), Output::ok(""));
    });
    blocked(&with(json!({})), &without(), &other, "carries LVM2_member");
    let data = nodes(|_, fake| {
        fake.directory("/etc/pve/nodes/pve1/lxc");
        device(fake, ext4(), Output::ok(format!("{}\n/12/040755/0/0/photos//\n", EMPTY.trim_end())));
    });
    blocked(&with(json!({"adopt": true})), &without(), &data, "no root file system to adopt");
}

#[test]
fn a_device_that_says_nothing_is_not_empty() {
    let seed = |blkid: Output, listing: Output| {
        nodes(move |_, fake| {
            fake.directory("/etc/pve/nodes/pve1/lxc");
            device(fake, blkid.clone(), listing.clone());
        })
    };
    blocked(&with(json!({})), &without(), &seed(held(), Output::ok(EMPTY)), "Wrong medium type");
    blocked(&with(json!({})), &without(), &seed(Output::failed(2, ""), Output::ok("")), "no file system yet");
    let silent = Output { rc: 0, stdout: String::new(), stderr: "ls: Filesystem not open\n".into() };
    blocked(&with(json!({})), &without(), &seed(ext4(), silent), "Filesystem not open");
    let dirty = nodes(|_, fake| {
        fake.directory("/etc/pve/nodes/pve1/lxc");
        device(fake, ext4(), Output::ok(EMPTY));
        fake.answer(&["dumpe2fs", "-h", DEV], Output::ok("Filesystem features:      has_journal needs_recovery\n"));
    });
    blocked(&with(json!({})), &without(), &dirty, "not unmounted cleanly");
    let unread =
        "dumpe2fs 1.47.2 (1-Jan-2025)\ndumpe2fs: Bad magic number in super-block while trying to open /dev/drbd100\n";
    let foretold = nodes(|_, fake| {
        fake.directory("/etc/pve/nodes/pve1/lxc");
        device(fake, ext4(), Output::ok(""));
        fake.answer(&["dumpe2fs", "-h", DEV], Output::failed(1, unread));
    });
    blocked(&with(json!({})), &without(), &foretold, "pve1: /dev/drbd100 has no file system yet");
    blocked(&with(json!({})), &without(), &nodes(|_, _| {}), "cluster file system is not mounted");
}

#[test]
fn what_a_token_can_never_do_is_said_before() {
    let token = || without().asked_by("root@pam!converge", ALL);
    let told = lacks(&with(json!({})), &token());
    assert!(
        told.contains("Certainly: only root@pam itself may set `features` of container 101 like this, set `rootfs`"),
        "{told}"
    );
    assert!(told.contains("no token ever is") && told.contains("--on-node"), "{told}");
    let plain = json!({"vmid": 102, "ostemplate": "local:vztmpl/debian-13-standard", "rootfs": "local-lvm:8",
                       "features": "nesting=1"});
    let plain = task::<Pct>(plain);
    assert_eq!(lacks(&plain, &token()), "");
    let change = drifts_and_predicts(&plain, token(), &empty());
    assert!(calls(&change)[0].contains("unprivileged=1"));
}

/// Key by key, as Proxmox asks; one privilege less than all is what is missing.
#[test]
fn each_key_needs_its_own_right() {
    let plain = json!({"arch": "amd64", "digest": "aa", "hostname": "nfs1", "memory": "2048", "ostype": "debian",
                       "rootfs": "local-lvm:vm-101-disk-0,size=8G", "swap": 512, "unprivileged": 1,
                       "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:50:20:D7,type=veth",
                       "features": "nesting=1", "mp0": "/dev/drbd101,mp=/data,shared=1"});
    let api = || on_pve2(plain.clone(), running());
    for (stated, expected) in [
        (json!({"memory": 4096}), "VM.Config.Memory on /vms/101"),
        (json!({"swap": 1024}), "VM.Config.Memory on /vms/101"),
        (json!({"cores": 2}), "VM.Config.CPU on /vms/101"),
        (json!({"hostname": "other"}), "VM.Config.Network on /vms/101"),
        (json!({"nameserver": "192.168.1.1"}), "VM.Config.Network on /vms/101"),
        (json!({"net0": "name=eth0,bridge=vmbr1"}), "VM.Config.Network on /vms/101"),
        (json!({"net0": "name=eth0,bridge=vmbr1,tag=7"}), "SDN.Use on /sdn/zones/localnetwork/vmbr1/7"),
        (json!({"onboot": true}), "VM.Config.Options on /vms/101"),
        (json!({"tags": "nfs"}), "VM.Config.Options on /vms/101"),
        (json!({"rootfs": "volume=local-lvm:vm-101-disk-0,quota=1"}), "VM.Config.Disk on /vms/101"),
        (json!({"features": "nesting=0"}), "VM.Allocate on /vms/101"),
        (json!({"features": "nesting=1,mount=nfs"}), "only root@pam itself"),
        (json!({"mp0": "/dev/drbd101,mp=/data,shared=1,backup=1"}), "only root@pam itself"),
        (json!({"hookscript": "local:snippets/x"}), "only root@pam itself"),
        (json!({"state": "stopped"}), "VM.PowerMgmt on /vms/101"),
        (json!({"state": "absent"}), "VM.Allocate on /vms/101"),
    ] {
        let mut stated = stated;
        stated["vmid"] = json!(101);
        let wanted: Pct = task(stated.clone());
        let (needs, _) = expected.split_once(" on ").unwrap_or((expected, ""));
        let all_but: Vec<&str> = ALL.iter().filter(|name| **name != needs).copied().collect();
        let told = lacks(&wanted, &api().asked_by("a@pve!t", &all_but));
        assert!(told.contains(expected), "{stated}: {told}");
        assert_eq!(told.lines().count(), 1, "{stated}: {told}");
        if !expected.starts_with("only") {
            assert_eq!(lacks(&wanted, &api().asked_by("a@pve!t", ALL)), "", "{stated}");
        }
    }
    let same: Pct = task(json!({"vmid": 101, "memory": 2048, "state": "started"}));
    assert_eq!(lacks(&same, &api().asked_by("a@pve!t", &["VM.Audit"])), "");
}

#[test]
fn what_cannot_be_told_is_said() {
    let more: Pct = task(json!({"vmid": 101, "memory": 4096}));
    let refused = on_pve2(config(), running()).fails("/access/permissions", 403, "no");
    let told = lacks(&more, &Api { user: Some("a@pve".into()), ..refused });
    assert!(told.starts_with("CannotTell: cannot tell whether a@pve has the rights"), "{told}");
    assert!(told.contains("VM.Config.Memory on /vms/101"), "{told}");
    let strange = on_pve2(config(), running()).on("/access/permissions", json!(["/"]));
    let told = lacks(&more, &Api { user: Some("a@pve".into()), ..strange });
    assert!(told.starts_with("CannotTell"), "{told}");
    // root@pam itself is not asked about: nothing of it is scripted.
    assert_eq!(lacks(&more, &on_pve2(config(), running())), "");
}

#[test]
fn what_the_api_shows_of_a_converged_container_is_no_drift() {
    let verdict = ok(&with(json!({"lxc": []})), &on_pve2(config(), running()), &with_file("arch: amd64\n"));
    assert_eq!(verdict.data["node"], "pve2");
    // Moved by HA, and a node away: nothing to do with the description.
    let mut nodes = with_file("arch: amd64\n");
    nodes.insert("pve1", FakeNode::Down);
    ok(&with(json!({"node": "pve1"})), &on_pve2(config(), running()), &nodes);
}

#[test]
fn changes_keep_what_proxmox_filled_in() {
    let wanted = with(json!({"memory": 4096, "tags": ["nfs", "DRBD"], "description": "one\ntwo",
                             "net0": {"name": "eth0", "bridge": "vmbr1", "ip": "192.168.1.11/24", "gw": "192.168.1.1"}}));
    let change = drifts_and_predicts(&wanted, on_pve2(config(), running()), &with_file(""));
    assert_eq!(
        calls(&change),
        ["PUT /nodes/pve2/lxc/101/config description=one\ntwo digest=aa memory=4096 \
          net0=bridge=vmbr1,gw=192.168.1.1,hwaddr=BC:24:11:50:20:D7,ip=192.168.1.11/24,name=eth0,type=veth tags=nfs;DRBD"]
    );
    let mut tagged = config();
    tagged["tags"] = json!("a");
    let change = drifts_and_predicts(&with(json!({"tags": []})), on_pve2(tagged, running()), &with_file(""));
    assert_eq!(calls(&change), ["PUT /nodes/pve2/lxc/101/config delete=tags digest=aa"]);
}

#[test]
fn what_stands_on_another_device_or_owner_is_for_a_person() {
    let mut other = config();
    other["rootfs"] = json!("/dev/drbd7,shared=1");
    blocked(&with(json!({})), &on_pve2(other, running()), &with_file(""), "rootfs of container 101 is `/dev/drbd7`");
    let shifted = with(json!({"unprivileged": true}));
    blocked(&shifted, &on_pve2(config(), running()), &with_file(""), "is privileged, described as unprivileged");
    let vm = Api::three_nodes().answer(cluster::guests(), json!([{"vmid": 101, "node": "pve2", "type": "qemu"}]));
    blocked(&with(json!({})), &vm, &with_file(""), "is a virtual machine");
}

#[test]
fn a_locked_container_is_left_alone() {
    let mut locked = config();
    locked["lock"] = json!("backup");
    let changed = with(json!({"memory": 1}));
    let active = ApiGet::new("/nodes/pve2/tasks").param("source", "active").param("limit", "500");
    let other = json!({"type": "vzstart", "id": "102"});
    let left = |tasks: Json| on_pve2(locked.clone(), running()).answer(active.clone(), tasks);
    for task in [&changed, &with(json!({}))] {
        blocked(task, &left(json!([other])), &with_file(""), "`pct unlock 101` on pve2");
    }
    // A backup that goes on ends by itself; one of several guests names none of them.
    for id in ["101", ""] {
        let at_work = || left(json!([other, {"type": "vzdump", "id": id}]));
        let verdict = ok(&with(json!({})), &at_work(), &with_file(""));
        assert_eq!(verdict.warnings, ["it is locked (backup): vzdump works on it"]);
        blocked(&changed, &at_work(), &with_file(""), "vzdump works on it");
    }
    // Others' tasks are not listed to everybody, so that nothing at work may be something not shown.
    let blind = || left(json!([other])).on("/access/permissions", json!({"/": {"VM.Audit": 1}}));
    blocked(&with(json!({})), &blind(), &with_file(""), "cannot be told: the account lacks Sys.Audit on /nodes/pve2");
    let active_now = active.clone();
    locked["lock"] = json!("create");
    let half = on_pve2(locked, running()).answer(active_now, json!([]));
    blocked(&with(json!({})), &half, &with_file(""), "half made");
}

#[test]
fn what_an_account_may_not_see_is_not_absent() {
    let gone: Pct = task(json!({"vmid": 101, "state": "absent"}));
    let seen_by = |rights: Json| without().on("/access/permissions", rights);
    // Who may make and remove containers is shown them by VM.Audit alone.
    for rights in [
        json!({"/": {"VM.Allocate": 1, "VM.Config.Options": 1, "VM.PowerMgmt": 1}}),
        json!({"/vms/101": {"VM.Allocate": 1}}),
        json!({"/": {"VM.Audit": 1, "VM.Allocate": 1}, "/vms/101": {}}),
        json!({"/vms": {"VM.Audit": 0, "VM.Allocate": 1}}),
        json!({}),
    ] {
        let why = "cannot tell whether container 101 exists: the account lacks VM.Audit on /vms/101";
        blocked(&gone, &seen_by(rights.clone()), &with_file(""), why);
        blocked(&with(json!({})), &seen_by(rights), &empty(), why);
    }
    let audit = json!({"/vms": {"VM.Audit": 1}});
    ok(&gone, &seen_by(audit.clone()), &with_file(""));
    let told = lacks(&with(json!({})), &Api { user: Some("a@pve".into()), ..seen_by(audit) });
    assert!(told.contains("Certainly: a@pve lacks VM.Allocate, "), "{told}");
}

#[test]
fn raw_lines_are_written_on_the_node_that_has_it() {
    let file = "#NFS\narch: amd64\nhostname: nfs1\nlxc.apparmor.profile: generated\n\n[pve:pending]\nmemory: 1\n";
    let nodes = with_file(file);
    let wanted = with(json!({"lxc": ["lxc.apparmor.profile: unconfined"]}));
    let mut seen = config();
    seen["lxc"] = json!([["lxc.apparmor.profile", "generated"]]);
    let Decision::Drift(change) = verdict(&wanted, &on_pve2(seen.clone(), running()), &nodes).decision else {
        panic!()
    };
    assert_eq!(calls(&change), ["on pve2: write /etc/pve/nodes/pve2/lxc/101.conf (90 bytes)"]);
    assert_eq!(change.steps[0].guards[0].stdout.as_deref(), Some(file));
    assert!(change.diff.contains("-lxc.apparmor.profile: generated\n+lxc.apparmor.profile: unconfined"));
    seen["lxc"] = json!([["lxc.apparmor.profile", "unconfined"], ["lxc.cap.drop", "sys_rawio"]]);
    ok(&wanted, &on_pve2(seen, running()), &nodes);
    let mut away = with_file(file);
    away.insert("pve2", FakeNode::Down);
    blocked(&wanted, &on_pve2(config(), running()), &away, "pve2, which cannot be reached");
}

#[test]
fn pending_changes_are_a_warning() {
    let api = on_pve2(config(), running()).answer(
        pending_of("pve2", 101),
        json!([{"key": "rootfs", "value": "a", "pending": "b"}, {"key": "swap", "value": 1}]),
    );
    let verdict = ok(&with(json!({})), &api, &with_file(""));
    assert_eq!(verdict.warnings, ["rootfs of container 101 take effect only when it is restarted"]);
}

#[test]
fn it_is_started_and_stopped_as_asked() {
    let stopped = json!({"status": "stopped", "vmid": 101, "ha": {"managed": 0}});
    let change = drifts_and_predicts(&with(json!({"state": "started"})), on_pve2(config(), stopped), &with_file(""));
    assert_eq!(calls(&change), ["POST /nodes/pve2/lxc/101/status/start"]);
    let change = drifts_and_predicts(&with(json!({"state": "stopped"})), on_pve2(config(), running()), &with_file(""));
    assert_eq!(calls(&change), ["POST /nodes/pve2/lxc/101/status/shutdown"]);
    let coming = json!({"status": "stopped", "vmid": 101, "ha": {"managed": 1, "state": "started"}});
    let waits = verdict(&with(json!({"state": "started"})), &on_pve2(config(), coming), &with_file("")).decision;
    assert!(matches!(waits, Decision::Wait { .. }), "{waits:?}");
}

#[test]
fn removing_is_careful() {
    let gone = with(json!({"state": "absent"}));
    let stopped = |ha: u8| json!({"status": "stopped", "ha": {"managed": ha, "state": "stopped"}});
    blocked(&gone, &on_pve2(config(), running()), &with_file(""), "it runs");
    blocked(&gone, &on_pve2(config(), stopped(1)), &with_file(""), "HA resource");
    let mut kept = config();
    kept["protection"] = json!(1);
    blocked(&gone, &on_pve2(kept, stopped(0)), &with_file(""), "protected");
    let mut volume = config();
    volume["rootfs"] = json!("local-lvm:vm-101-disk-0,size=8G");
    blocked(&gone, &on_pve2(volume.clone(), stopped(0)), &with_file(""), "destroys local-lvm:vm-101-disk-0");
    let change = drifts_and_predicts(&gone, on_pve2(config(), stopped(0)), &with_file(""));
    assert_eq!(calls(&change), ["DELETE /nodes/pve2/lxc/101 purge=1"]);
    assert!(change.summary.contains("stays"));
    let meant = with(json!({"state": "absent", "destroy_volumes": true}));
    drifts_and_predicts(&meant, on_pve2(volume, stopped(0)), &with_file(""));
}

#[test]
fn faults_are_found_before() {
    for (extra, word) in [
        (json!({"vmid": 99}), "between 100"),
        (json!({"net0": "eth0,bridge=vmbr0"}), "key=value"),
        (json!({"net0": "bridge=vmbr0"}), "lacks `name=`"),
        (json!({"mp0": "/dev/drbd101"}), "lacks `mp=`"),
        (json!({"netif": {"nett": "name=a"}}), "no such key"),
        (json!({"lxc": ["lxc.rootfs.path: /x"]}), "does not pass"),
        (json!({"lxc": ["apparmor: x"]}), "not `lxc.KEY"),
    ] {
        let mut args = wanted();
        args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert!(faults::<Pct>(args.clone()).contains(word), "{extra}: {}", faults::<Pct>(args));
    }
    assert!(faults::<Pct>(wanted()).is_empty());
    let bad = serde_json::from_value::<Properties>(json!({"name": "a,b"}));
    assert!(bad.is_err());
    let map: Properties = serde_json::from_value(json!({"mount": ["nfsd", "rpc_pipefs"], "nesting": true})).unwrap();
    assert_eq!(map.0, "mount=nfsd;rpc_pipefs,nesting=1");
}

#[test]
fn keys_and_a_password_are_sent_once_and_the_password_is_shown_nowhere() {
    let secret = "hunter2-s3cret";
    let args = with(json!({"ssh_public_keys": "ssh-ed25519 AAAA me@here\n", "password": secret}));
    let change = drifts_and_predicts(&args, without(), &empty());
    let create = change.steps.last().unwrap();
    let crate::host::Action::Api { params, .. } = &create.action else { panic!("no call") };
    assert_eq!(params["password"], secret);
    assert_eq!(params["ssh-public-keys"], "ssh-ed25519 AAAA me@here\n");
    for shown in [format!("{args:?}"), change.diff.clone(), change.summary.clone(), create.describe()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    // On a node it would be an argument of pvesh.
    let mut api = without();
    api.on_a_node = true;
    blocked(&args, &api, &empty(), "the command line of pvesh");
    let short = faults::<Pct>(json!({"vmid": 101, "password": "abcd"}));
    assert!(short.contains("at least five characters") && !short.contains("abcd"), "{short}");
}
