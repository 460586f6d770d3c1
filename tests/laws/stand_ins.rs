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
