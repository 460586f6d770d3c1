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
