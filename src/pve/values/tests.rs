//! Tables of values that mean the same, and of values that do not.

use super::*;
use serde_json::{Value as Json, json};

/// key, wanted, what GET answers, same?
fn table() -> Vec<(&'static str, &'static str, Json, bool)> {
    vec![
        ("rootfs", "volume=/dev/drbd100,shared=1", json!("/dev/drbd100,shared=1"), true),
        ("rootfs", "/dev/drbd100,shared=1", json!("/dev/drbd100,shared=yes,size=0T"), true),
        ("rootfs", "/dev/drbd100,shared=1,replicate=1", json!("/dev/drbd100,shared=1"), true),
        ("rootfs", "/dev/drbd100,shared=1", json!("/dev/drbd100"), false),
        ("rootfs", "/dev/drbd100,shared=1", json!("/dev/drbd101,shared=1"), false),
        ("rootfs", "/dev/drbd100,shared=1", json!("/dev/drbd100,shared=1,ro=1"), false),
        (
            "rootfs",
            "/dev/drbd100,mountoptions=noatime;discard",
            json!("/dev/drbd100,mountoptions=discard;noatime"),
            true,
        ),
        ("rootfs", "local-lvm:8", json!("local-lvm:vm-101-disk-0,size=8G"), true),
        ("rootfs", "local-lvm:8", json!("local-lvm:vm-101-disk-0,size=8192M"), true),
        ("rootfs", "local-lvm:8", json!("local-lvm:vm-101-disk-0,size=4G"), false),
        ("rootfs", "local-lvm:8", json!("other:vm-101-disk-0,size=8G"), false),
        ("mp0", "/dev/drbd101,mp=/data,backup=0", json!("/dev/drbd101,mp=/data"), true),
        ("mp0", "/dev/drbd101,mp=/data", json!("/dev/drbd101,mp=/srv"), false),
        (
            "net0",
            "name=eth0,bridge=vmbr0,ip=192.168.1.11/24,gw=192.168.1.1",
            json!("name=eth0,bridge=vmbr0,gw=192.168.1.1,hwaddr=BC:24:11:50:20:D7,ip=192.168.1.11/24,type=veth"),
            true,
        ),
        (
            "net0",
            "name=eth0,bridge=vmbr0,hwaddr=bc:24:11:50:20:d7",
            json!("bridge=vmbr0,hwaddr=BC:24:11:50:20:D7,name=eth0"),
            true,
        ),
        ("net0", "name=eth0,bridge=vmbr0,firewall=0", json!("name=eth0,bridge=vmbr0,type=veth"), true),
        ("net0", "name=eth0,bridge=vmbr0", json!("name=eth0,bridge=vmbr0,tag=5"), false),
        ("net0", "name=eth0,bridge=vmbr0", json!("name=eth0,bridge=vmbr1"), false),
        // A key that only newer versions know is theirs.
        ("net0", "name=eth0,bridge=vmbr0", json!("name=eth0,bridge=vmbr0,host-managed=1,novel=x"), true),
        ("features", "mount=nfsd;rpc_pipefs,nesting=1", json!("nesting=1,mount=rpc_pipefs;nfsd"), true),
        ("features", "nesting=0", Json::Null, true),
        ("features", "nesting=1", Json::Null, false),
        ("net0", "name=eth0,bridge=vmbr0", Json::Null, false),
        ("features", "nesting=1", json!("nesting=1,keyctl=1"), false),
        ("features", "nesting=1,keyctl=0", json!("nesting=1"), true),
        ("startup", "order=1,up=30", json!("up=30,order=1"), true),
        ("startup", "1,up=30", json!("order=1,up=30"), true),
        ("startup", "order=1", json!("order=2"), false),
        ("tags", "NFS, drbd drbd", json!("drbd;nfs"), true),
        ("tags", "nfs", json!("drbd;nfs"), false),
        ("tags", "", Json::Null, true),
        ("description", "two\r\nlines", json!("two\nlines\n"), true),
        ("description", "one\n", json!("one\n"), true),
        ("description", "", Json::Null, true),
        ("description", "one", json!("other\n"), false),
        ("nameserver", "192.168.1.1,192.168.1.2", json!("192.168.1.1 192.168.1.2"), true),
        ("nameserver", "192.168.1.2 192.168.1.1", json!("192.168.1.1 192.168.1.2"), false),
        ("searchdomain", "a.example b.example", json!("a.example b.example"), true),
        ("onboot", "0", Json::Null, true),
        ("onboot", "1", json!(1), true),
        ("onboot", "yes", json!("1"), true),
        ("onboot", "1", Json::Null, false),
        ("console", "1", Json::Null, true),
        ("unprivileged", "0", Json::Null, true),
        ("unprivileged", "1", json!(1), true),
        ("memory", "512", json!("512"), true),
        ("memory", "1024", json!(1024), true),
        ("memory", "1024", json!(512), false),
        ("swap", "512", Json::Null, true),
        ("cores", "2", json!(2), true),
        ("cores", "2", Json::Null, false),
        ("cpulimit", "0", Json::Null, true),
        ("cpulimit", "1.50", json!("1.5"), true),
        ("hookscript", "local:snippets/converge-hook", json!("local:snippets/converge-hook"), true),
        ("hostname", "nfs1", json!("nfs1"), true),
        ("hostname", "nfs1", json!("nfs2"), false),
    ]
}

#[test]
fn equal_meanings_are_equal_and_others_are_not() {
    for (key, wanted, actual, expected) in table() {
        let found = (!actual.is_null()).then_some(&actual);
        assert_eq!(same(key, wanted, found), expected, "{key}: {wanted} / {actual}");
    }
}

#[test]
fn what_is_sent_back_keeps_what_proxmox_filled_in() {
    let wanted = Property::parse(Shape::Net, "name=eth0,bridge=vmbr1,ip=dhcp").unwrap();
    let actual = "name=eth0,bridge=vmbr0,gw=192.168.1.1,hwaddr=BC:24:11:50:20:D7,ip=192.168.1.11/24,type=veth,novel=x";
    let actual = Property::parse(Shape::Net, actual).unwrap();
    assert_eq!(wanted.differing(&actual), ["bridge", "gw", "ip"]);
    let sent = wanted.over(&actual);
    assert_eq!(sent.to_string(), "bridge=vmbr1,hwaddr=BC:24:11:50:20:D7,ip=dhcp,name=eth0,novel=x,type=veth");
    assert!(wanted.differing(&sent).is_empty(), "what is sent is what was wanted");
    // A volume that was made is never asked for a second time: that would allocate another.
    let wanted = Property::parse(Shape::Volume, "local-lvm:8,acl=1").unwrap();
    let actual = Property::parse(Shape::Volume, "local-lvm:vm-101-disk-0,size=8G").unwrap();
    assert_eq!(wanted.over(&actual).to_string(), "local-lvm:vm-101-disk-0,acl=1,size=8G");
}

#[test]
fn property_strings_that_are_none_are_refused() {
    assert!(Property::parse(Shape::Net, "eth0,bridge=vmbr0").is_err());
    assert!(Property::parse(Shape::Net, "name=a,name=b").is_err());
    assert_eq!(Property::parse(Shape::Volume, "/dev/drbd100").unwrap().device(), Some("/dev/drbd100"));
    assert!(Property::parse(Shape::Volume, "local:8").unwrap().is_storage_volume());
    assert!(!Property::parse(Shape::Volume, "/srv/data,mp=/data").unwrap().is_storage_volume());
}

#[test]
fn sizes() {
    for (text, bytes) in [("8G", 8 << 30), ("8192M", 8 << 30), ("0T", 0), ("1.5K", 1536), ("10", 10), ("4t", 4 << 40)] {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
    }
    for bad in ["", "G", "8X", "-1G", "1.2.3M", "99999999999T"] {
        assert_eq!(parse_size(bad), None, "{bad}");
    }
    for text in ["8G", "0T", "1536", "3M", "4T"] {
        assert_eq!(print_size(parse_size(text).unwrap()), text);
    }
}

#[test]
fn nodes_with_priorities() {
    let nodes = node_priorities("pve2, pve1:2;pve3:0").unwrap();
    assert_eq!(print_node_priorities(&nodes), "pve1:2,pve2,pve3");
    assert!(node_priorities("pve1:high").is_err());
}

proptest::proptest! {
    /// Reading what was printed gives the same, whatever stands in it.
    #[test]
    fn a_property_string_survives_printing(values in proptest::collection::btree_map("[a-z]{1,6}", "[a-zA-Z0-9/.;:_-]{1,12}", 1..6)) {
        for shape in [Shape::Volume, Shape::Net, Shape::Features, Shape::Other] {
            let property = Property { shape, values: values.clone() };
            proptest::prop_assert_eq!(Property::parse(shape, &property.to_string()).unwrap().values.len(), values.len());
            proptest::prop_assert!(Property::parse(shape, &property.to_string()).unwrap().differing(&property).is_empty());
        }
    }
}
