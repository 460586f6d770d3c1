//! Small programs for rooted directories. Their state lies in the directory, so that the laws see every change.

use converge::host::{Output, Programs};
use std::path::{Path, PathBuf};

/// Where `path` of the host lies. Stand-ins get plain absolute paths only.
fn at(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

pub fn coreutils(root: PathBuf) -> Programs {
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["touch", paths @ ..] => {
                for path in paths {
                    std::fs::File::options().append(true).create(true).open(at(&root, path)).ok()?;
                }
                Some(Output::default())
            }
            ["uname", "-n"] => Some(Output::ok("pve1\n")),
            ["uname", "-r"] => Some(Output::ok("6.14.8-2-pve\n")),
            ["uname", "-m"] => Some(Output::ok("x86_64\n")),
            _ => None,
        }
    })
}

/// Units are files in `units/`: what `systemctl show` says of them.
pub fn systemctl(root: PathBuf) -> Programs {
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let unit = |name: &str| root.join("units").join(name);
        Some(match words.as_slice() {
            ["systemctl", "show", name, "-p", _keys] => match std::fs::read_to_string(unit(name)) {
                Ok(text) => Output::ok(text),
                Err(_) => Output::ok("LoadState=not-found\nActiveState=inactive\nSubState=dead\n"),
            },
            ["systemctl", verb, name] => {
                let text = std::fs::read_to_string(unit(name)).ok()?;
                let (from, to) = match *verb {
                    "start" => ("ActiveState=inactive", "ActiveState=active"),
                    "stop" => ("ActiveState=active", "ActiveState=inactive"),
                    "enable" => ("UnitFileState=disabled", "UnitFileState=enabled"),
                    "disable" => ("UnitFileState=enabled", "UnitFileState=disabled"),
                    _ => return None,
                };
                std::fs::write(unit(name), text.replace(from, to)).ok()?;
                Output::default()
            }
            _ => return None,
        })
    })
}

/// A kernel that has every module.
pub fn modprobe(root: PathBuf) -> Programs {
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["modprobe", "--dry-run", ..] => {}
            ["modprobe", name] => {
                let dir = at(&root, "/sys/module").join(name);
                std::fs::create_dir_all(&dir).ok()?;
                std::fs::write(dir.join("initstate"), "live\n").ok()?;
            }
            _ => return None,
        }
        Some(Output::default())
    })
}

pub fn sysctl(root: PathBuf) -> Programs {
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let ["sysctl", "-w", setting] = words.as_slice() else { return None };
        let (name, value) = setting.split_once('=')?;
        std::fs::write(at(&root, "/proc/sys").join(name.replace('.', "/")), format!("{value}\n")).ok()?;
        Some(Output::default())
    })
}

/// Compiles whatever it gets and loads nothing.
pub fn apparmor(_root: PathBuf) -> Programs {
    Box::new(move |argv, stdin| match (argv[0].as_str(), argv[1].as_str()) {
        ("apparmor_parser", "-Q") => Some(match stdin.is_some_and(|text| text.contains(&b'{')) {
            true => Output::default(),
            false => Output::failed(1, "AppArmor parser error"),
        }),
        ("apparmor_parser", "-r") => Some(Output::default()),
        _ => None,
    })
}

/// A DRBD device whose replicas are all UpToDate; the device is a file that holds what blkid says.
pub fn drbd_device(root: PathBuf) -> Programs {
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        Some(match words.as_slice() {
            ["drbdsetup", "status", "--json"] => Output::ok(
                r#"[{ "name": "nfs1", "node-id": 0, "role": "Secondary", "devices": [{ "volume": 0, "minor": 100, "disk-state": "UpToDate", "quorum": true }], "connections": [] }]"#,
            ),
            ["blkid", "-p", "-o", "export", dev] => match std::fs::read_to_string(at(&root, dev)).ok()? {
                empty if empty.is_empty() => Output::failed(2, ""),
                text => Output::ok(text),
            },
            ["mkfs", "-t", fstype, .., dev] => {
                std::fs::write(at(&root, dev), format!("DEVNAME={dev}\nTYPE={fstype}\n")).ok()?;
                Output::default()
            }
            _ => return None,
        })
    })
}

/// Takes what to mount from fstab.
pub fn mount(root: PathBuf) -> Programs {
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let ["mount", target] = words.as_slice() else { return None };
        let fstab = std::fs::read_to_string(at(&root, "/etc/fstab")).ok()?;
        let line = fstab.lines().map(|l| l.split(' ').collect::<Vec<_>>()).find(|f| f.get(1) == Some(target))?;
        let table = at(&root, "/proc/self/mountinfo");
        let now = std::fs::read_to_string(&table).ok()?;
        std::fs::write(table, format!("{now}50 1 0:50 / {target} rw - {} {} rw\n", line[2], line[0])).ok()?;
        Some(Output::default())
    })
}

/// `shell`: a line that writes one known file.
pub fn sh(root: PathBuf) -> Programs {
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["/bin/sh", "-c", line] => {
                let (_, path) = line.split_once("> ")?;
                std::fs::write(at(&root, path.trim()), "6.14.8-2-pve").ok()?;
                Some(Output::default())
            }
            _ => None,
        }
    })
}

/// A server that has one file, and the programs that fetch and compare it.
pub fn downloads(root: PathBuf) -> Programs {
    const HELLO: &str = "hello\n";
    const SUM: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let sum = |path: &Path| match std::fs::read_to_string(path) {
        Ok(text) if text == HELLO => SUM,
        _ => "another",
    };
    Box::new(move |argv, stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["curl", "--version"] => Some(Output::ok("curl 8.14.1\n")),
            ["curl", .., "-o", path, _] => {
                std::fs::write(at(&root, path), HELLO).ok()?;
                Some(Output::default())
            }
            ["sha256sum", "-c", ..] => {
                let line = String::from_utf8(stdin?.to_vec()).ok()?;
                let (wanted, path) = line.trim_end().split_once("  ")?;
                let same = sum(&at(&root, path)) == wanted;
                Some(if same { Output::ok(format!("{path}: OK\n")) } else { Output::failed(1, "FAILED\n") })
            }
            ["sha256sum", path] => Some(Output::ok(format!("{}  {path}\n", sum(&at(&root, path))))),
            ["mv", "-fT", from, to] => {
                std::fs::rename(at(&root, from), at(&root, to)).ok()?;
                Some(Output::default())
            }
            _ => None,
        }
    })
}

/// dpkg and apt with two packages that can be had; what is installed lies in `var/lib/dpkg/names`.
pub fn apt(root: PathBuf) -> Programs {
    const ARCHIVE: [(&str, &str); 2] = [("drbd-utils", "9.22.0-1"), ("nfs-common", "1:2.8.3-1")];
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let names = root.join("var/lib/dpkg/names");
        let installed = std::fs::read_to_string(&names).unwrap_or_default();
        let is_installed = |name: &str| installed.lines().any(|line| line == name);
        match words.as_slice() {
            ["dpkg-query", "-W", "-f", _, wanted @ ..] => {
                let known = ARCHIVE.iter().filter(|(name, _)| wanted.contains(name) && is_installed(name));
                let stdout: String = known
                    .map(|(name, version)| format!("{name}\tamd64\t{version}\tinstall\tok\tinstalled\n"))
                    .collect();
                let rc = i32::from(stdout.lines().count() < wanted.len());
                Some(Output { rc, stdout, stderr: String::new() })
            }
            ["apt-cache", "policy", wanted @ ..] => {
                let line = |(name, version): &(&str, &str)| {
                    format!(
                        "{name}:\n  Installed: (none)\n  Candidate: {version}\n  Version table:\n     {version} 500\n"
                    )
                };
                Some(Output::ok(ARCHIVE.iter().filter(|(n, _)| wanted.contains(n)).map(line).collect::<String>()))
            }
            ["date", "+%s"] => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
                Some(Output::ok(format!("{}\n", now.as_secs())))
            }
            ["apt-get", "-s", "install", "--no-remove", "--", wanted @ ..] => {
                let line =
                    |(name, version): &(&str, &str)| format!("Inst {name} ({version} Debian:13/stable [amd64])\n");
                Some(Output::ok(ARCHIVE.iter().filter(|(n, _)| wanted.contains(n)).map(line).collect::<String>()))
            }
            ["apt-get", "-y", .., "install", "--no-remove", "--", first, second] => {
                std::fs::write(&names, format!("{first}\n{second}\n")).ok()?;
                Some(Output::default())
            }
            _ => None,
        }
    })
}

/// A node of Proxmox VE 5 as far as the HA manager goes.
pub fn old_pve(_root: PathBuf) -> Programs {
    Box::new(|argv, _stdin| match argv.first().map(String::as_str) {
        Some("dpkg-query") => Some(Output::ok("installed 2.0-6\n")),
        Some("systemctl") if argv.get(1).is_some_and(|verb| verb == "restart") => Some(Output::default()),
        _ => None,
    })
}
