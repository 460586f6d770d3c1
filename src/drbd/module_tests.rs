use super::*;

#[test]
fn every_proc_drbd_from_8_4_to_9_3() {
    for (text, version, api, protocol) in [
        ("version: 8.4.11 (api:1/proto:86-101)\nsrcversion: 637677C4EAFCF5D1D5446B0 \n", "8.4.11", 1, (86, 101)),
        ("version: 8.4.7 (api:1/proto:86-101)\nGIT-hash: 3a6a build by x\n", "8.4.7", 1, (86, 101)),
        (
            "version: 9.0.14-1 (api:2/proto:86-113)\nGIT-hash: 62f906c build by root@pve1, 2018-05-09 12:42:14\nTransports (api:16): tcp (9.0.14-1)\n",
            "9.0.14-1",
            2,
            (86, 113),
        ),
        ("version: 9.0.32-1 (api:2/proto:86-121)\n", "9.0.32-1", 2, (86, 121)),
        ("version: 9.1.23 (api:2/proto:118-121)\n", "9.1.23", 2, (118, 121)),
        ("version: 9.2.10 (api:2/proto:86-122)\n", "9.2.10", 2, (86, 122)),
        ("version: 9.2.17 (api:2/proto:118-124) (compat 8.4)\n", "9.2.17", 2, (118, 124)),
        (
            "version: 9.3.3 (api:2/proto:118-124)\nGIT-hash: 97da build by @vm, 2026\nTransports (api:22):\n",
            "9.3.3",
            2,
            (118, 124),
        ),
    ] {
        let found = parse_proc_drbd(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((found.version.to_string().as_str(), found.api, found.protocol), (version, api, protocol));
        assert_eq!(found.compat_84, text.contains("compat"));
    }
    let with_transport =
        parse_proc_drbd("version: 9.3.3 (api:2/proto:118-124)\nTransports (api:22): tcp (9.3.3) lb-tcp (9.3.3)\n");
    assert_eq!(with_transport.unwrap().transports, ["tcp", "lb-tcp"]);
    let old = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:0 nr:0\n 1: cs:Unconfigured\n100: cs:WFConnection ro:Secondary/Unknown ds:Inconsistent/DUnknown C r-----\n";
    assert_eq!(parse_proc_drbd(old).unwrap().minors, [0, 100]);
    // The form that only LINBIT's ChangeLog shows, and nonsense.
    for text in ["", "version: x", "version: 9.3.3 (api:genl2/proto:86-101,118-124/transport:21)", "Version: 9"] {
        assert_eq!(parse_proc_drbd(text), None, "{text}");
    }
}

#[test]
fn eight_never_satisfies() {
    let v = |t: &str| Version::parse(t).unwrap();
    assert!(
        v("9.3.3").satisfies(&v("9")) && v("9.2.1").satisfies(&v("9.2")) && v("9.0.14-1\n").satisfies(&v("9.0.14"))
    );
    assert!(!v("9.1.23").satisfies(&v("9.2")) && !v("8.4.11").satisfies(&v("8")) && !v("8.4.11").satisfies(&v("9")));
    assert!(Version::parse("nine").is_none() && Version::parse("9.1.2.3").is_none() && Version::parse("").is_none());
}

fn facts() -> Facts {
    Facts {
        kernel: "6.12.1".into(),
        loaded: Some("8.4.11".into()),
        found_version: Some("8.4.11".into()),
        found_file: Some("/lib/modules/6.12.1/kernel/drivers/block/drbd/drbd.ko.xz".into()),
        found_intree: true,
        secure_boot: SecureBoot::Disabled,
        dkms: Some(dkms::parse("drbd/9.3.3: added\n")),
        headers: Some(true),
        updates_file: Some(false),
    }
}

#[test]
fn every_cause_is_told_apart() {
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut f = facts();
        change(&mut f);
        reasons(&f).join(" | ")
    };
    let dkms = |text: &str| Some(dkms::parse(text));
    type Case<'a> = (&'a dyn Fn(&mut Facts), &'a str);
    let cases: [Case; 10] = [
        (&|_| {}, "not built for 6.12.1; its build failed"),
        (&|f| f.headers = Some(false), "headers are missing"),
        (&|f| f.dkms = dkms("drbd/9.3.3, 6.12.1, x86_64: built\n"), "did not install"),
        (&|f| f.dkms = dkms("drbd/9.3.3, 6.12.1, x86_64: installed (Original modules exist)\n"), "modprobe prefers"),
        (
            &|f| {
                f.dkms =
                    dkms("drbd/9.3.3, 6.12.1, x86_64: installed (Differences between built and installed modules)\n")
            },
            "missing or not the one built",
        ),
        (&|f| f.dkms = dkms("drbd/9.3.3, 6.11.0, x86_64: installed\n"), "not built for 6.12.1"),
        (&|f| f.dkms = dkms("drbd/9.3.3: broken\n"), "sources of drbd are gone"),
        (&|f| f.dkms = dkms(""), "DKMS knows no drbd"),
        (&|f| f.dkms = None, "DKMS is not installed"),
        (&|f| f.found_version = Some("9.3.3".into()), "loaded before DRBD 9"),
    ];
    for (change, says) in cases {
        assert!(with(change).contains(says), "{says}: {}", with(change));
    }
    let refused = with(&|f| {
        f.found_version = Some("9.3.3".into());
        f.loaded = None;
        f.secure_boot = SecureBoot::Enabled;
    });
    assert!(refused.starts_with("Secure Boot is enabled"), "{refused}");
    assert_eq!(SecureBoot::parse("SecureBoot enabled\n"), SecureBoot::Enabled);
    assert_eq!(SecureBoot::parse("EFI variables are not supported on this system"), SecureBoot::Unknown);
}

#[test]
fn the_next_kernel() {
    let status = dkms::parse("drbd/9.3.3, 6.12.1, x86_64: installed\n");
    assert_eq!(kernel_lacks_9("6.12.1", Some(&status), Some(false)), None);
    assert_eq!(kernel_lacks_9("6.13.0", Some(&status), Some(true)), None);
    assert!(kernel_lacks_9("6.13.0", Some(&status), Some(false)).unwrap().contains("6.13.0"));
    assert_eq!(kernel_lacks_9("6.13.0", None, None), None);
    assert!(kernel_order("6.14.8-2-pve") > kernel_order("6.8.12-10-pve"));
}
