//! The units of a schedule, held to systemd's own judgement: its parser, `systemd-analyze verify` and `security`; and the
//! commands that write, compare and remove them.

use converge::schedule::{Credential, Place, RunAs, Schedule, service, timer};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_converge");
/// Characters that mean something in a unit file, in a shell, or to whoever takes a line apart.
const STRANGE: &str = "a b%n$HOME${x}\\n\\x41\"'`;#é=[x]{y}|&*? ~";

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no {program}");
    }
    found
}

/// Not below /tmp, which a service does not see.
fn folder() -> TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

fn program_at(path: &Path) -> String {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn schedule(dir: &Path) -> Schedule {
    Schedule {
        name: "site".into(),
        program: program_at(&dir.join("plain/converge")),
        arguments: vec!["drift".into(), "/srv/site.yml".into()],
        calendar: vec!["daily".into(), "Mon..Fri 07:00".into()],
        spread_s: 900,
        timeout_s: 3600,
        out: "/var/lib/converge/site".into(),
        place: Place::Workstation,
        run_as: RunAs::Root,
        homes: false,
        credentials: Vec::new(),
        mail: false,
    }
}

/// Each with the exposure that systemd may give it at most (of 10, `systemd-analyze security`).
fn schedules(dir: &Path) -> Vec<(&'static str, Schedule, f32)> {
    let plain = schedule(dir);
    let strange = Schedule {
        // Quotes and backslashes systemd refuses there, and so do we.
        program: program_at(&dir.join(STRANGE.replace(['"', '\'', '\\'], "")).join("converge")),
        arguments: vec!["drift".into(), format!("/srv/{STRANGE}"), STRANGE.into(), String::new()],
        out: format!("/srv/{STRANGE}"),
        credentials: vec![Credential { id: "converge-1".into(), path: format!("/srv/{STRANGE}/x") }],
        ..plain.clone()
    };
    let ssh = Schedule { homes: true, run_as: RunAs::User("root".into()), ..plain.clone() };
    let node = Schedule { place: Place::Node, ..plain.clone() };
    vec![
        ("plain", plain.clone(), 1.4),
        ("strange", strange, 1.4),
        ("ssh", ssh, 1.5),
        ("dynamic", Schedule { run_as: RunAs::Dynamic, ..plain.clone() }, 1.1),
        ("mail", Schedule { mail: true, ..plain.clone() }, 6.4),
        ("own", Schedule { run_as: RunAs::Own, out: "/srv/out".into(), ..plain }, 6.4),
        ("node", node, 8.3),
    ]
}

fn write(dir: &Path, schedule: &Schedule) -> [PathBuf; 2] {
    [("service", service(schedule)), ("timer", timer(schedule))].map(|(kind, text)| {
        let path = dir.join(schedule.unit(kind));
        std::fs::write(&path, text).unwrap();
        path
    })
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_has_nothing_to_say_against_any_unit() {
    if !has("systemd-analyze") {
        return;
    }
    for (what, schedule, _) in schedules(folder().path()) {
        let dir = folder();
        // The program has to be there.
        program_at(Path::new(&schedule.program));
        let units = write(dir.path(), &schedule);
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--recursive-errors=no"]).args(&units);
        let path = format!("{}:", dir.path().display());
        let output = command.env("SYSTEMD_UNIT_PATH", path).output().unwrap();
        let own: Vec<String> =
            said(&output).lines().filter(|line| line.contains("converge")).map(str::to_owned).collect();
        assert!(output.status.success() && own.is_empty(), "{what}: {own:#?}\n{}", service(&schedule));
        let _ = std::fs::remove_dir_all(Path::new(&schedule.program).parent().unwrap());
    }
}

#[test]
fn a_service_is_exposed_no_more_than_it_needs() {
    if !has("systemd-analyze") {
        return;
    }
    let dir = folder();
    for (what, schedule, most) in schedules(dir.path()) {
        let [unit, _] = write(dir.path(), &schedule);
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(&unit)
            .output()
            .unwrap();
        let text = said(&output);
        let level = text.lines().find_map(|line| line.split_once("Overall exposure level for")?.1.split_once(": "));
        let level: f32 =
            level.and_then(|(_, rest)| rest.split(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(10.0);
        eprintln!("{what}: {level}");
        assert!(level <= most, "{what}: {level} is more than {most}\n{text}");
    }
}

/// What systemd itself read from a unit: `systemd --test` loads it and prints it.
fn dump(dir: &Path, unit: &str) -> Option<String> {
    let systemd = ["/lib/systemd/systemd", "/usr/lib/systemd/systemd"].into_iter().find(|p| Path::new(p).exists());
    let Some(systemd) = systemd else {
        eprintln!("skipped: no systemd");
        return None;
    };
    // As root it refuses.
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.args([systemd, "--test", "--system", &format!("--unit={unit}")]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent");
    let output = match command.env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display())).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: no setpriv ({error})");
            return None;
        }
    };
    let text = said(&output);
    let own = text.split("-> Unit ").find(|part| part.starts_with(&format!("{unit}:")));
    match own {
        Some(own) => Some(own.to_owned()),
        None => {
            eprintln!("skipped: no systemd that can be tried out here: {}", text.lines().next().unwrap_or_default());
            None
        }
    }
}

#[test]
fn systemd_reads_the_words_that_were_meant() {
    let dir = folder();
    let Some((_, schedule, _)) = schedules(dir.path()).into_iter().find(|(what, ..)| *what == "strange") else {
        panic!()
    };
    write(dir.path(), &schedule);
    let Some(dump) = dump(dir.path(), "converge-site.service") else { return };
    let value = |key: &str| {
        let line =
            dump.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_else(|| panic!("{key}: {dump}"));
        line.trim().to_owned()
    };
    // Printed as words for a shell; `$$` becomes `$` only when the program is started.
    let words = converge::inventory::shell_words(&value("Command Line:")).unwrap();
    let words: Vec<String> =
        words.iter().map(|word| word.replace("\\$", "$").replace("\\`", "`").replace("$$", "$")).collect();
    let meant: Vec<String> = std::iter::once(schedule.program.clone())
        .chain(schedule.arguments.clone())
        .chain(["--out".to_owned(), schedule.out.clone()])
        .collect();
    assert_eq!(words, meant);
    assert_eq!(value("ReadWritePaths:"), schedule.out);
}

fn converge(args: &[&str]) -> (i32, String) {
    let output = Command::new(BINARY).args(args).env_remove("SUDO_USER").env("NO_COLOR", "1").output().unwrap();
    (output.status.code().unwrap(), said(&output))
}

/// A playbook, an inventory and a root folder.
fn bed() -> TempDir {
    let dir = folder();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("site.yml", "- hosts: nodes\n  tasks:\n    - file: { path: /x, state: absent }\n");
    write("cluster.yml", "endpoints: [pve1]\nlogin: { user: root@pam, password: { file: pw } }\nlink: pve_shell\n");
    write("prompt.yml", "endpoints: [pve1]\nlogin: { user: root@pam }\n");
    write("env.yml", "endpoints: [pve1]\nlogin: { user: root@pam, password: { env: PW } }\n");
    write("faulty.yml", "- hosts: nodes\n  tasks:\n    - file: { pth: /x }\n");
    write(
        "notify.yml",
        "channels:\n  chat: { webhook: { url_from: { file: hook }, format: text } }\n  root: { mail: {} }\n",
    );
    write("hook", "https://chat.example.org/hunter2\n");
    std::fs::set_permissions(dir.path().join("hook"), PermissionsExt::from_mode(0o600)).unwrap();
    write("pw", "hunter2\n");
    std::fs::set_permissions(dir.path().join("pw"), PermissionsExt::from_mode(0o600)).unwrap();
    dir
}

fn install(dir: &Path, playbook: &str, inventory: &str, more: &[&str]) -> (i32, String) {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (playbook, inventory, root) = (at(playbook), at(inventory), at("root"));
    let mut args = vec!["schedule", "install", &playbook, "-i", &inventory, "--root", &root, "--program", "/bin/true"];
    args.extend(more);
    converge(&args)
}

#[test]
fn a_schedule_is_installed_compared_and_removed() {
    let dir = bed();
    let root = dir.path().join("root");
    let root = root.to_str().unwrap();
    let units = dir.path().join("root/etc/systemd/system");
    let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &["--dry-run"]);
    assert_eq!((code, units.exists()), (0, false), "{said}");
    assert!(said.contains("+OnCalendar=daily"), "{said}");

    let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &[]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("hunter2"));
    let text = std::fs::read_to_string(units.join("converge-site.service")).unwrap();
    let pw = dir.path().join("pw").display().to_string();
    assert!(text.lines().any(|line| line.starts_with("LoadCredential=converge-") && line.ends_with(&pw)), "{text}");
    let link = std::fs::read_link(units.join("timers.target.wants/converge-site.timer")).unwrap();
    assert_eq!(link.to_str(), Some("../converge-site.timer"));

    let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &[]);
    assert!(code == 0 && said.contains("as described already"), "{said}");
    let (code, said) = converge(&["schedule", "status", "--root", root]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("/var/lib/converge/site"), "{said}");

    // Somebody's hand.
    std::fs::write(units.join("converge-site.timer"), timer_by_hand(&units)).unwrap();
    let (code, said) = converge(&["schedule", "status", "--root", root]);
    assert!(code == 3 && said.contains("converge-site.timer"), "{code} {said}");
    let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &["--every", "hourly"]);
    assert!(code == 0 && said.contains("-OnCalendar=weekly") && said.contains("+OnCalendar=hourly"), "{said}");

    let (code, said) = converge(&["schedule", "remove", "site", "--root", root]);
    assert!(code == 0 && said.contains("/var/lib/converge/site"), "{said}");
    let left: Vec<_> = walk(&units);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(converge(&["schedule", "remove", "site", "--root", root]).0, 0);
}

fn timer_by_hand(units: &Path) -> String {
    std::fs::read_to_string(units.join("converge-site.timer")).unwrap().replace("=daily", "=weekly")
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn who_is_told_needs_secrets_and_rights_of_its_own() {
    let dir = bed();
    let notify = dir.path().join("notify.yml");
    let (code, said) =
        install(dir.path(), "site.yml", "cluster.yml", &["--notify", notify.to_str().unwrap(), "--print"]);
    assert_eq!(code, 0, "{said}");
    let handed: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("LoadCredential=")).collect();
    assert!(handed.len() == 2 && handed[1].ends_with("/hook") && !said.contains("hunter2"), "{said}");
    // sendmail is a program of its group's rights.
    assert!(!said.contains("NoNewPrivileges=") && said.contains("ProtectSystem=strict"), "{said}");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let dir = bed();
    let units = dir.path().join("root/etc/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    let theirs = "[Service]\nExecStart=/bin/true\n# [X-Converge] is spoken of here\n";
    std::fs::write(units.join("converge-site.service"), theirs).unwrap();
    let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &[]);
    assert!(code == 1 && said.contains("was not written by converge"), "{said}");
    let root = dir.path().join("root");
    let (code, said) = converge(&["schedule", "remove", "site", "--root", root.to_str().unwrap()]);
    assert!(code == 1 && said.contains("left alone"), "{said}");
    assert_eq!(std::fs::read_to_string(units.join("converge-site.service")).unwrap(), theirs);
    assert_eq!(walk(&units).len(), 1);
    // A mask is a person's word, too.
    std::os::unix::fs::symlink("/dev/null", units.join("converge-other.service")).unwrap();
    let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &["--name", "other"]);
    assert!(code == 1 && said.contains("a link to /dev/null"), "{said}");
}

#[test]
fn what_could_not_run_is_refused_before_anything_is_written() {
    let dir = bed();
    for (playbook, inventory, more, expected) in [
        ("faulty.yml", "cluster.yml", &[][..], "unknown field `pth`"),
        ("site.yml", "prompt.yml", &[], "nobody to ask"),
        ("site.yml", "env.yml", &[], "$PW"),
        ("site.yml", "none.yml", &[], "none.yml"),
        ("site.yml", "cluster.yml", &["--name", "../x"], "no name of a schedule"),
        ("site.yml", "cluster.yml", &["--spread", "soon"], "no span of time"),
        ("site.yml", "cluster.yml", &["-e", "password=hunter2"], "everybody can read a unit"),
        ("site.yml", "cluster.yml", &["--out", "/etc"], "no folder for reports"),
        ("site.yml", "cluster.yml", &["--notify", "/nowhere"], "/nowhere"),
    ] {
        let (code, said) = install(dir.path(), playbook, inventory, more);
        assert!(code == 2 && said.contains(expected) && !said.contains("hunter2"), "{expected}: {code} {said}");
    }
    std::fs::set_permissions(dir.path().join("pw"), PermissionsExt::from_mode(0o644)).unwrap();
    let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &[]);
    assert!(code == 2 && said.contains("chmod 0600"), "{said}");
    if has("systemd-analyze") {
        std::fs::set_permissions(dir.path().join("pw"), PermissionsExt::from_mode(0o600)).unwrap();
        let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &["--every", "sometimes"]);
        assert!(code == 2 && said.contains("sometimes"), "{said}");
        let (code, said) = install(dir.path(), "site.yml", "cluster.yml", &["--every", "2001-01-01"]);
        assert!(code == 2 && said.contains("never comes"), "{said}");
    }
    assert!(!dir.path().join("root").exists());
}
