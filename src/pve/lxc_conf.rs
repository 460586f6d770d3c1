//! The file `/etc/pve/nodes/NODE/lxc/VMID.conf`, for the raw `lxc.*` lines that no API call can write.
//!
//! Everything that is not such a line stays byte for byte as it was: comments (the description), unknown keys, the
//! sections of pending changes and of snapshots.

/// A raw line: `lxc.apparmor.profile: unconfined`.
pub type RawLine = (String, String);

/// Reads a raw line as people write it; the parser of Proxmox takes `:` and `=`.
pub fn parse_raw(line: &str) -> Result<RawLine, String> {
    let bad = || format!("`{line}` is not `lxc.KEY: VALUE`");
    let at = line.find([':', '=']).ok_or_else(bad)?;
    let (key, value) = (line[..at].trim(), line[at + 1..].trim());
    let plain = key
        .strip_prefix("lxc.")
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
    if !plain || value.is_empty() || line.contains('\n') {
        return Err(bad());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The keys that a container's configuration may hold raw (pve-container, `LXC/Config.pm`, `$valid_lxc_conf_keys`).
pub fn is_allowed(key: &str) -> bool {
    const EXACT: &[&str] = &[
        "lxc.apparmor.profile",
        "lxc.apparmor.allow_incomplete",
        "lxc.apparmor.allow_nesting",
        "lxc.apparmor.raw",
        "lxc.selinux.context",
        "lxc.include",
        "lxc.pty.max",
        "lxc.tty.max",
        "lxc.autodev",
        "lxc.kmsg",
        "lxc.mount.fstab",
        "lxc.mount.entry",
        "lxc.mount.auto",
        "lxc.cap.drop",
        "lxc.cap.keep",
        "lxc.idmap",
    ];
    const PREFIX: &[&str] = &[
        "lxc.init.",
        "lxc.signal.",
        "lxc.console.",
        "lxc.seccomp.",
        "lxc.hook.",
        "lxc.environment",
        "lxc.log.",
        "lxc.sysctl.fs.mqueue.",
        "lxc.sysctl.kernel.",
        "lxc.cgroup.",
        "lxc.cgroup2.",
        "lxc.prlimit.",
        "lxc.net.",
    ];
    EXACT.contains(&key) || PREFIX.iter().any(|p| key.starts_with(p))
}

/// The raw lines of the main section, in their order.
pub fn raw_lines(text: &str) -> Vec<RawLine> {
    main_section(text).0.lines().filter_map(raw_of).collect()
}

fn raw_of(line: &str) -> Option<RawLine> {
    if !line.starts_with("lxc.") {
        return None;
    }
    let at = line.find([':', '='])?;
    Some((line[..at].trim().to_owned(), line[at + 1..].trim().to_owned()))
}

/// The value of a plain key of the main section.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let lines = main_section(text).0.lines();
    let mut found = lines.filter_map(|line| line.split_once(':')).filter(|(k, _)| k.trim() == key);
    found.next().map(|(_, v)| v.trim())
}

/// Everything before the first `[section]`, and the rest.
fn main_section(text: &str) -> (&str, &str) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_end();
        if trimmed.starts_with('[') && trimmed.ends_with(']') {
            return text.split_at(at);
        }
        at += line.len();
    }
    (text, "")
}

/// Per key, the values that must stand there and no others; keys that are not named stay as they are. Order among the
/// values of a key is not compared, because their effect does not depend on it for any allowed key but mounts, whose
/// order is kept as it is.
pub fn differs(wanted: &[RawLine], actual: &[RawLine]) -> bool {
    let values = |lines: &[RawLine], key: &str| {
        let mut values: Vec<String> = lines.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect();
        values.sort();
        values
    };
    wanted.iter().any(|(key, _)| values(wanted, key) != values(actual, key))
}

/// The file with `wanted` in place of the raw lines that have one of its keys.
pub fn with_raw(text: &str, wanted: &[RawLine]) -> String {
    let (main, rest) = main_section(text);
    let ours = |line: &str| raw_of(line).is_some_and(|(key, _)| wanted.iter().any(|(k, _)| *k == key));
    let mut out: String = main.split_inclusive('\n').filter(|line| !ours(line.trim_end())).collect();
    // A section is set off by an empty line, which belongs behind what is added.
    let kept = out.trim_end_matches('\n').len();
    let gap = if rest.is_empty() { String::new() } else { "\n".repeat(out[kept..].len().saturating_sub(1)) };
    out.truncate(kept);
    if !out.is_empty() {
        out.push('\n');
    }
    for (key, value) in wanted {
        out.push_str(&format!("{key}: {value}\n"));
    }
    out.push_str(&gap);
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "#NFS%3A the description\n#second line\narch: amd64\nhostname: nfs1\nlxc.apparmor.profile: generated\nnovel: x,y=1\n\
        rootfs: /dev/drbd100,shared=1\nlxc.mount.entry: a b none bind 0 0\n\n[pve:pending]\nmemory: 1024\nlxc.apparmor.profile: other\n\n\
        [snap1]\n#its comment\nsnaptime: 1700000000\n";

    #[test]
    fn everything_else_stays_byte_for_byte() {
        let wanted = vec![parse_raw("lxc.apparmor.profile: unconfined").unwrap()];
        let changed = with_raw(FILE, &wanted);
        let expected = FILE.replacen("lxc.apparmor.profile: generated\n", "", 1).replacen(
            "bind 0 0\n\n[",
            "bind 0 0\nlxc.apparmor.profile: unconfined\n\n[",
            1,
        );
        assert_eq!(changed, expected);
        assert_eq!(with_raw(&changed, &wanted), changed, "a second time changes nothing");
        assert!(differs(&wanted, &raw_lines(FILE)) && !differs(&wanted, &raw_lines(&changed)));
        assert_eq!(value(FILE, "hostname"), Some("nfs1"));
        assert_eq!(value(FILE, "snaptime"), None, "not of the main section");
        assert_eq!(value(FILE, "memory"), None);
    }

    #[test]
    fn a_file_without_sections_and_several_lines_of_a_key() {
        let wanted: Vec<RawLine> =
            ["lxc.mount.entry: x", "lxc.mount.entry = y"].iter().map(|l| parse_raw(l).unwrap()).collect();
        let changed = with_raw("arch: amd64\nlxc.mount.entry: x", &wanted);
        assert_eq!(changed, "arch: amd64\nlxc.mount.entry: x\nlxc.mount.entry: y\n");
        assert!(!differs(&wanted, &[("lxc.mount.entry".into(), "y".into()), ("lxc.mount.entry".into(), "x".into())]));
        assert!(differs(&wanted, &[("lxc.mount.entry".into(), "x".into())]));
        assert_eq!(with_raw("", &wanted), "lxc.mount.entry: x\nlxc.mount.entry: y\n");
    }

    #[test]
    fn raw_lines_are_checked() {
        for bad in ["", "apparmor: x", "lxc.: x", "lxc.a", "lxc.a:", "lxc.a b: c", "lxc.a: b\nlxc.c: d"] {
            assert!(parse_raw(bad).is_err(), "{bad:?}");
        }
        assert!(is_allowed("lxc.apparmor.profile") && is_allowed("lxc.cgroup2.devices.allow"));
        assert!(!is_allowed("lxc.rootfs.path") && !is_allowed("lxc.sysctl.net.ipv4.ip_forward"));
    }
}
