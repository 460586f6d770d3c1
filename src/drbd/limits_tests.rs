use super::*;

#[test]
fn values_are_judged_in_their_own_units() {
    for (section, name, value) in [
        ("disk", "c-fill-target", "10M"),
        ("disk", "c-max-rate", "720M"),
        ("disk", "c-plan-ahead", "10"),
        ("disk", "c-min-rate", "20M"),
        ("net", "max-buffers", "36k"),
        ("net", "sndbuf-size", "1024k"),
        ("net", "rcvbuf-size", "2048k"),
        ("options", "quorum", "majority"),
        ("options", "quorum", "2"),
        ("options", "auto-promote-timeout", "50"),
        ("global", "udev-always-use-vnr", ""),
        ("net", "an-option-of-tomorrow", "x"),
    ] {
        assert_eq!(check(section, name, value), Ok(()), "{section} {name} {value}");
    }
    for (section, name, value, says) in [
        ("net", "max-buffers", "999999999", "out of range"),
        ("net", "sndbuf-size", "2MB", "not a number"),
        ("disk", "c-max-rate", "5G", "out of range"),
        ("net", "after-sb-0pri", "discard-everything", "not one of"),
        ("options", "quorum", "most", "not a number or one of"),
        ("options", "auto-promote", "maybe", "yes or no"),
        ("net", "timeout", "-1", "not a number"),
        ("net", "timeout", "340282366920938463463374607431768211455k", "not a number"),
    ] {
        let why = check(section, name, value).unwrap_err();
        assert!(why.contains(says), "{name} {value}: {why}");
    }
}

#[test]
fn equal_meanings_are_equal() {
    assert_eq!(normal("disk", "c-fill-target", "10M"), normal("disk", "c-fill-target", "20480"));
    assert_eq!(normal("net", "sndbuf-size", "1M"), normal("net", "sndbuf-size", "1048576"));
    assert_eq!(normal("disk", "c-max-rate", "700M"), "716800");
    assert_eq!(normal("net", "tcp-cork", ""), "yes");
    assert_eq!(normal("options", "quorum", "majority"), "majority");
}

/// Every option the installed tools know is in the table, with their lower bound, unit, and no narrower upper bound.
#[test]
fn the_table_agrees_with_the_installed_tools() {
    for (command, section) in [
        ("resource-options", "options"),
        ("new-peer", "net"),
        ("disk-options", "disk"),
        ("peer-device-options", "disk"),
    ] {
        let Ok(out) = std::process::Command::new("drbdsetup").args(["xml-help", command]).output() else {
            eprintln!("skipped: no drbdsetup");
            return;
        };
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let mut seen = 0;
        for option in text.split("<option name=\"").skip(1) {
            let name = option.split('"').next().unwrap();
            if matches!(name, "set-defaults" | "_name" | "resync-after") {
                continue;
            }
            let known = find(section, name).unwrap_or_else(|| panic!("{section} {name} is missing"));
            seen += 1;
            let field = |tag: &str| option.split(&format!("<{tag}>")).nth(1).and_then(|t| t.split('<').next());
            if let (Kind::Number { min, max, unit, .. }, Some(their_min), Some(their_max)) =
                (&known.kind, field("min"), field("max"))
            {
                assert_eq!(min.to_string(), their_min, "{name}");
                assert!(*max >= their_max.parse().unwrap(), "{name}: {max} < {their_max}");
                let theirs = match field("unit_prefix") {
                    Some("k") => 1024,
                    Some("s") => 512,
                    _ => 1,
                };
                assert_eq!(*unit, theirs, "{name}");
            }
        }
        assert!(seen > 3, "{command} told {seen} options");
    }
}
