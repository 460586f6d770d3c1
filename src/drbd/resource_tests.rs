use super::super::compare::{Reach, differences};
use super::super::res;
use super::*;

const NFS1: &str = "\
resource nfs1 {
  device /dev/drbd100;
  meta-disk internal;
  protocol C;
  options { quorum majority; on-no-quorum io-error; auto-promote-timeout 50; }
  net { after-sb-0pri discard-zero-changes; after-sb-1pri discard-secondary; after-sb-2pri disconnect; }
  on pve1 { address 192.168.2.11:7000; disk /dev/disk/by-id/virtio-pve1data; node-id 0; }
  on pve2 { address ipv4 192.168.2.12:7000; disk \"/dev/disk/by-id/a:b\"; node-id 1; }
  on pve3 { address 192.168.2.13:7000; disk none; node-id 2; }
  connection-mesh { hosts pve1 pve2 pve3; }
}
";

fn nfs1() -> Resource {
    File::read(NFS1).unwrap().resources.remove(0)
}

#[test]
fn a_resource_reads_into_its_parts() {
    let r = nfs1();
    assert_eq!(r.name, "nfs1");
    assert_eq!(r.net["protocol"], "C");
    assert_eq!(r.options["quorum"], "majority");
    let pve2 = r.host("pve2").unwrap();
    assert_eq!(pve2.node_id, Some(1));
    assert_eq!(pve2.address.as_ref().unwrap().to_string(), "ipv4 192.168.2.12:7000");
    let volume = r.volume_on(pve2, 0);
    assert_eq!(volume.device.as_ref().unwrap().minor(), Some(100));
    assert_eq!(volume.disk, Some(Backing::Path("/dev/disk/by-id/a:b".into())));
    assert_eq!(volume.meta_disk, Some(MetaDisk::Internal));
    assert_eq!(r.volume_on(r.host("pve3").unwrap(), 0).disk, Some(Backing::None));
    assert_eq!(r.pairs().len(), 3);
}

#[test]
fn written_and_read_again_it_means_the_same() {
    let r = nfs1();
    let text = res::render(&[r.to_statement()]);
    let again = File::read(&text).unwrap().resources.remove(0);
    assert_eq!(differences(&r, &again), [], "{text}");
    let volumes = "resource r { volume 0 { device minor 1; disk /dev/a/0; meta-disk /dev/m [3]; disk { al-extents 6007; } } \
        volume 1 { device /dev/drbd2 minor 7; disk /dev/a/1; } \
        on a { node-id 0; address ipv6 [fe80::1]:7000; volume 1 { disk /dev/b/1; } } \
        on b { node-id 1; address ipv6 [fe80::2]:7000; } \
        connection { host a port 1; host b; net { protocol A; } } }";
    let r = File::read(volumes).unwrap().resources.remove(0);
    assert_eq!(r.volume_on(r.host("a").unwrap(), 1).disk, Some(Backing::Path("/dev/b/1".into())));
    let text = res::render(&[r.to_statement()]);
    let again = File::read(&text).unwrap().resources.remove(0);
    assert_eq!(differences(&r, &again), [], "{text}");
    assert_eq!(again.volumes[&0].meta_disk, Some(MetaDisk::External { path: "/dev/m".into(), index: Some(3) }));
}

#[test]
fn faults_are_drbdadms_with_a_place() {
    for (change, says) in [
        (("device /dev/drbd100;", "device /dev/drbd100"), "3:3: ';' expected, but got 'meta-disk'"),
        (("192.168.2.11:7000", "192.168.2.11"), "no port"),
        (("192.168.2.11:7000", "192.168.2.11:99999"), "out of range [1..65535]"),
        (("192.168.2.11:7000", "host:7000"), "is not an ipv4 address"),
        (("  protocol C;", "  protcol C;"), "expected, but got 'protcol'"),
        (("/dev/drbd100", "/dev/sdb"), "device name must start with /dev/drbd"),
        (("/dev/drbd100", "/dev/drbd_nfs"), "no minor given"),
        (("\"/dev/disk/by-id/a:b\"", "/dev/disk/by-id/a:b"), "';' expected, but got ':'"),
        (("node-id 0", "node-id zero"), "a node-id expected, but got 'zero'"),
        (("quorum majority;", "quorum majority"), "';' expected"),
    ] {
        let text = NFS1.replace(change.0, change.1);
        assert_ne!(text, NFS1, "{change:?}");
        let fault = File::read(&text).unwrap_err().to_string();
        assert!(fault.contains(says), "{change:?}: {fault}");
    }
}

#[test]
fn differences_tell_how_far_they_reach() {
    for (from, to, reach, says) in [
        ("io-error", "suspend-io", Reach::Option, "on-no-quorum: io-error becomes suspend-io"),
        ("auto-promote-timeout 50; ", "", Reach::Option, "auto-promote-timeout: 50 becomes (default)"),
        ("192.168.2.13", "192.168.2.23", Reach::Network, "pve3: address"),
        ("node-id 2", "node-id 5", Reach::Identity, "pve3: node-id 2 becomes 5"),
        ("virtio-pve1data", "virtio-other", Reach::Identity, "disk of volume 0"),
        ("/dev/drbd100", "/dev/drbd101", Reach::Identity, "minor of volume 0 100 becomes 101"),
        ("meta-disk internal", "meta-disk /dev/md0", Reach::Identity, "metadata internal moves to /dev/md0"),
        ("hosts pve1 pve2 pve3", "hosts pve1 pve2", Reach::Network, "no longer connected"),
        ("resource nfs1", "resource nfs2", Reach::Identity, "renamed"),
    ] {
        let new = File::read(&NFS1.replace(from, to)).unwrap().resources.remove(0);
        let all = differences(&nfs1(), &new);
        assert!(all.iter().any(|d| d.reach == reach && d.text.contains(says)), "{from} -> {to}: {all:?}");
    }
    // Order, spelling and units are no difference.
    let same = NFS1
        .replace("auto-promote-timeout 50", "auto-promote-timeout 50 ")
        .replace("  protocol C;\n", "")
        .replace("after-sb-2pri disconnect;", "after-sb-2pri disconnect; protocol C;");
    assert_eq!(differences(&nfs1(), &File::read(&same).unwrap().resources[0]), []);
}

#[test]
fn a_secret_is_not_told() {
    let old = File::read(&NFS1.replace("net {", "net { shared-secret one;")).unwrap();
    let new = File::read(&NFS1.replace("net {", "net { shared-secret two;")).unwrap();
    let all = differences(&old.resources[0], &new.resources[0]);
    assert_eq!(all.len(), 1);
    assert!(!all[0].text.contains("one") && !all[0].text.contains("two"), "{all:?}");
}

#[test]
fn global_and_common_are_kept() {
    let file =
        File::read("global { usage-count yes; udev-always-use-vnr; }\ncommon { net { max-buffers 36k; } }\n").unwrap();
    assert_eq!(file.common("net")["max-buffers"], "36k");
    assert_eq!(file.other.len(), 2);
    assert!(File::read("resorce r { }").unwrap_err().to_string().contains("got 'resorce'"));
}

proptest::proptest! {
    #[test]
    fn no_near_miss_makes_the_reader_panic(text in "(resource|on|volume|device|disk|address|node-id|minor|hosts|host|connection-mesh|net|[a-z0-9/.:]{1,8}| |;|\\{|\\}){0,40}") {
        let _ = File::read(&text);
    }
}
