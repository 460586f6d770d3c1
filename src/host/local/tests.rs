use super::*;
use crate::host::Bytes;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

fn ground() -> (TempDir, Local) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("etc")).unwrap();
    let host = Local::rooted("pve1", dir.path());
    (dir, host)
}

fn machine() -> (TempDir, Local) {
    (tempfile::tempdir().unwrap(), Local::this_machine("here"))
}

fn write(path: impl Into<String>, content: &str, mode: Option<u32>) -> Action {
    Action::WriteFile {
        path: path.into(),
        content: Bytes(content.into()),
        mode,
        owner: None,
        group: None,
        validate: None,
        backup: false,
    }
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn run(words: &[&str], stdin: Option<&str>, timeout_s: u64, ok_codes: Vec<i32>) -> Step {
    Action::Run {
        argv: argv(words),
        stdin: stdin.map(|s| Bytes(s.into())),
        env: BTreeMap::new(),
        cwd: None,
        timeout_s,
        ok_codes,
    }
    .into()
}

#[test]
fn absent_is_an_answer_and_everything_else_is_not() {
    let (dir, host) = ground();
    std::fs::write(dir.path().join("etc/file"), "text").unwrap();
    assert_eq!(host.read(Path::new("/etc/none")), Ok(None));
    assert_eq!(host.read(Path::new("/none/none")), Ok(None));
    assert_eq!(host.read(Path::new("/etc/file/below")), Ok(None), "nothing is below a file");
    assert_eq!(host.stat(Path::new("/etc/file/below")), Ok(None));
    assert_eq!(host.list(Path::new("/none")), Ok(None));
    assert!(matches!(host.read(Path::new("/etc")), Err(LookError::CannotTell { .. })), "a directory is not absent");
    assert!(matches!(host.list(Path::new("/etc/file")), Err(LookError::CannotTell { .. })));
    assert!(matches!(host.read(Path::new("etc/file")), Err(LookError::CannotTell { .. })), "relative");
    symlink("/etc/loop", dir.path().join("etc/loop")).unwrap();
    assert!(matches!(host.read(Path::new("/etc/loop")), Err(LookError::CannotTell { .. })));
}

#[test]
fn a_fifo_does_not_hold_the_reader() {
    let (dir, host) = machine();
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(host.read(&fifo), Err(LookError::CannotTell { .. })));
}

#[test]
fn no_path_leads_out_of_a_rooted_directory() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "outside").unwrap();
    let (dir, host) = ground();
    std::fs::write(dir.path().join("secret"), "inside").unwrap();
    symlink(outside.path(), dir.path().join("etc/absolute")).unwrap();
    symlink("../../../../../../../../secret", dir.path().join("etc/relative")).unwrap();
    symlink("/secret", dir.path().join("etc/own")).unwrap();

    assert_eq!(host.read(&Path::new("/etc/absolute").join("secret")), Ok(None));
    for path in ["/etc/relative", "/etc/own", "/../../secret", "/etc/../../secret"] {
        assert_eq!(host.read(Path::new(path)), Ok(Some(b"inside".to_vec())), "{path}");
    }
    let escape = outside.path().join("new");
    let through = format!("/etc/absolute/{}", "new");
    assert!(host.perform(&write(through, "x", None).into()).is_err());
    assert!(!escape.exists());
    host.perform(&Action::Remove { path: "/etc/absolute".into(), recursive: true }.into()).unwrap();
    assert!(outside.path().join("secret").exists(), "the link is removed, not what it points at");
}

#[test]
fn a_written_file_keeps_mode_and_owner_unless_told() {
    let (dir, host) = ground();
    std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n").unwrap();
    std::fs::write(dir.path().join("etc/group"), "root:x:0:\nbackup:x:34:\n").unwrap();
    host.perform(&write("/etc/new", "one", None).into()).unwrap();
    let stat = host.stat(Path::new("/etc/new")).unwrap().unwrap();
    assert_eq!((stat.mode, stat.owner.as_str(), stat.group.as_str()), (0o644, "root", "root"));

    let attributes = Action::SetAttributes {
        path: "/etc/new".into(),
        mode: Some(0o640),
        owner: Some("www-data".into()),
        group: Some("34".into()),
    };
    host.perform(&attributes.into()).unwrap();
    host.perform(&write("/etc/new", "two", None).into()).unwrap();
    let stat = Local::rooted("again", dir.path()).stat(Path::new("/etc/new")).unwrap().unwrap();
    assert_eq!((stat.mode, stat.owner.as_str(), stat.group.as_str()), (0o640, "www-data", "backup"));
    assert_eq!(host.read(Path::new("/etc/new")), Ok(Some(b"two".to_vec())));

    let unknown =
        Action::SetAttributes { path: "/etc/new".into(), mode: None, owner: Some("nobody-here".into()), group: None };
    assert!(matches!(host.perform(&unknown.into()), Err(StepError::Failed { .. })));
    host.perform(&Action::Remove { path: "/etc/new".into(), recursive: false }.into()).unwrap();
    host.perform(&write("/etc/new", "three", None).into()).unwrap();
    assert_eq!(host.stat(Path::new("/etc/new")).unwrap().unwrap().owner, "root", "a new file, not the old one's owner");
    assert_eq!(host.list(Path::new("/")), Ok(Some(vec!["etc".into()])), "the record of owners is not part of the host");
}

#[test]
fn writing_follows_a_link_to_a_file_and_no_other() {
    let (dir, host) = ground();
    std::fs::write(dir.path().join("target"), "old").unwrap();
    symlink("/target", dir.path().join("etc/link")).unwrap();
    symlink("/nowhere", dir.path().join("etc/dangling")).unwrap();
    host.perform(&write("/etc/link", "new", None).into()).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("target")).unwrap(), "new");
    assert_eq!(host.stat(Path::new("/etc/link")).unwrap().unwrap().kind, FileKind::Symlink);
    for path in ["/etc/dangling", "/etc"] {
        assert!(matches!(host.perform(&write(path, "x", None).into()), Err(StepError::Refused { .. })), "{path}");
    }
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn this_machine_writes_with_mode_backup_and_validation() {
    let (dir, host) = machine();
    let path = dir.path().join("conf");
    let text = path.to_str().unwrap().to_owned();
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let with = |content: &str, validate: &[&str], backup| {
        Step::from(Action::WriteFile {
            path: text.clone(),
            content: Bytes(content.into()),
            mode: None,
            owner: None,
            group: None,
            validate: Some(argv(validate)),
            backup,
        })
    };
    let refused = host.perform(&with("bad", &["grep", "-q", "good", "%s"], true));
    assert!(matches!(refused, Err(StepError::Failed { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(host.list(dir.path()), Ok(Some(vec!["conf".into()])), "nothing is left behind");

    host.perform(&with("good", &["grep", "-q", "good", "%s"], true)).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "good");
    let names = host.list(dir.path()).unwrap().unwrap();
    let backup = names.iter().find(|n| n.starts_with("conf.") && n.ends_with('~')).expect("a backup");
    let kept = host.stat(&dir.path().join(backup)).unwrap().unwrap();
    assert_eq!(host.read(&dir.path().join(backup)), Ok(Some(b"old".to_vec())));
    assert_eq!((kept.mode, host.stat(&path).unwrap().unwrap().mode), (0o600, 0o600));
}

#[test]
fn directories_links_and_removal() {
    let (dir, host) = ground();
    let create = Action::CreateDirectory { path: "/var/lib/x".into(), mode: Some(0o700), owner: None, group: None };
    host.perform(&create.clone().into()).unwrap();
    host.perform(&create.into()).unwrap();
    assert_eq!(host.stat(Path::new("/var/lib/x")).unwrap().unwrap().mode, 0o700);
    assert_eq!(host.stat(Path::new("/var/lib")).unwrap().unwrap().mode, 0o755);
    let link = |target: &str| Step::from(Action::Symlink { path: "/var/lib/l".into(), target: target.into() });
    host.perform(&link("x")).unwrap();
    host.perform(&link("y")).unwrap();
    assert_eq!(host.stat(Path::new("/var/lib/l")).unwrap().unwrap().link_target.as_deref(), Some("y"));
    host.perform(&write("/var/lib/x/f", "", None).into()).unwrap();
    let over = Action::Symlink { path: "/var/lib/x/f".into(), target: "y".into() };
    assert!(matches!(host.perform(&over.into()), Err(StepError::Refused { .. })), "a file is not replaced by a link");
    let remove = |path: &str, recursive| Step::from(Action::Remove { path: path.into(), recursive });
    assert!(host.perform(&remove("/var/lib/x", false)).is_err(), "not empty");
    assert!(matches!(host.perform(&remove("/var", true)), Err(StepError::Refused { .. })));
    host.perform(&remove("/var/lib/x", true)).unwrap();
    host.perform(&remove("/var/lib/x", true)).unwrap();
    assert!(!dir.path().join("var/lib/x").exists());
}

#[test]
fn files_under_pmxcfs_get_no_attributes() {
    let (dir, host) = ground();
    std::fs::create_dir_all(dir.path().join("etc/pve")).unwrap();
    host.perform(&write("/etc/pve/f.cfg", "a", Some(0o600)).into()).unwrap();
    host.perform(&write("/etc/pve/f.cfg", "b", Some(0o600)).into()).unwrap();
    assert_eq!(host.read(Path::new("/etc/pve/f.cfg")), Ok(Some(b"b".to_vec())));
    assert_ne!(host.stat(Path::new("/etc/pve/f.cfg")).unwrap().unwrap().mode, 0o600);
    assert_eq!(host.list(Path::new("/etc/pve")), Ok(Some(vec!["f.cfg".into()])));
    let link = Action::Symlink { path: "/etc/pve/l".into(), target: "f.cfg".into() };
    assert!(matches!(host.perform(&link.into()), Err(StepError::Refused { .. })));
}

#[test]
fn programs_run_with_a_deadline_input_and_both_outputs() {
    let host = Local::this_machine("here");
    let query = |words: &[&str], timeout_s| {
        host.query(&Query::new(crate::host::Topic::Other, argv(words)).timeout_s(timeout_s))
    };
    let answer = query(&["sh", "-c", "echo out; echo err >&2; exit 3"], 10).unwrap();
    assert_eq!(answer, Output { rc: 3, stdout: "out\n".into(), stderr: "err\n".into() });
    assert_eq!(query(&["sh", "-c", "echo $LC_ALL"], 10).unwrap().stdout, "C\n");
    assert_eq!(query(&["sh", "-c", "kill -9 $$"], 10).unwrap().rc, 137);
    assert_eq!(
        query(&["no-such-program-here"], 10),
        Err(LookError::NoProgram { program: "no-such-program-here".into() })
    );
    assert!(matches!(query(&["sh", "-c", "sleep 60 & wait"], 1), Err(LookError::Timeout { after_s: 1, .. })));

    let big = "x".repeat(1 << 20);
    let output = host.perform(&run(&["cat"], Some(&big), 60, vec![0])).unwrap();
    assert_eq!(output.stdout.len(), big.len(), "more than a pipe holds, both ways");
    let failed = host.perform(&run(&["sh", "-c", "exit 4"], None, 10, vec![0, 2]));
    assert!(matches!(failed, Err(StepError::Command { rc: 4, .. })));
    assert_eq!(host.perform(&run(&["sh", "-c", "exit 4"], None, 10, vec![])).unwrap().rc, 4);
}

#[test]
fn a_deadline_ends_the_programs_children_too() {
    let (dir, host) = machine();
    let mark = dir.path().join("mark");
    let script = format!("(sleep 2; touch {}) & wait", mark.display());
    let answer = host.perform(&run(&["sh", "-c", &script], None, 1, vec![0]));
    assert!(matches!(answer, Err(StepError::Look(LookError::Timeout { .. }))));
    std::thread::sleep(Duration::from_secs(2));
    assert!(!mark.exists());
}

#[test]
fn an_answer_that_is_too_long_is_no_answer() {
    let host = Local::this_machine("here");
    let words = ["head", "-c", "17000000", "/dev/zero"];
    let query = Query::new(crate::host::Topic::Other, words);
    assert!(matches!(host.query(&query), Err(LookError::CannotTell { .. })));
    let output = host.perform(&run(&words, None, 60, vec![0])).unwrap();
    assert_eq!(output.stdout.len(), 16 << 20);
}

#[test]
fn a_rooted_directory_runs_stand_ins_only() {
    let (_dir, host) = ground();
    assert_eq!(
        host.query(&Query::new(crate::host::Topic::Other, ["true"])),
        Err(LookError::NoProgram { program: "true".into() })
    );
    let host = host.with_programs(Box::new(|argv, stdin| {
        (argv[0] == "greet").then(|| Output::ok(String::from_utf8_lossy(stdin.unwrap_or_default()).into_owned()))
    }));
    assert_eq!(host.perform(&run(&["greet"], Some("hello"), 1, vec![0])).unwrap().stdout, "hello");
    assert!(host.perform(&run(&["true"], None, 1, vec![0])).is_err());
}

#[test]
fn the_api_speaks_through_pvesh() {
    let (_dir, host) = ground();
    let get = ApiGet::new("/cluster/ha/resources").param("type", "ct");
    assert_eq!(host.api(&get), Err(LookError::NoProgram { program: "pvesh".into() }));
    let host = host.with_programs(Box::new(|argv, _| {
        let line = argv.join(" ");
        Some(match line.as_str() {
            "pvesh get /cluster/ha/resources --type ct --output-format json" => Output::ok("[{\"sid\":\"ct:101\"}]"),
            "pvesh create /nodes/pve1/lxc --vmid 101 --output-format json" => {
                Output::ok("creating…\n\"UPID:pve1:1\"\n")
            }
            _ => Output::failed(255, "400 Parameter verification failed.\n"),
        })
    }));
    assert_eq!(host.api(&get).unwrap()[0]["sid"], "ct:101");
    assert!(matches!(host.api(&ApiGet::new("/x")), Err(LookError::Api { status: 400, .. })));
    host.perform(&Step::api(crate::host::Method::Post, "/nodes/pve1/lxc", [("vmid", "101")])).unwrap();
    assert!(host.perform(&Step::api(crate::host::Method::Put, "/x", [("a", "b")])).is_err());
    let secret = host.perform(&Step::api(crate::host::Method::Post, "/nodes/pve1/lxc", [("password", "p")]));
    assert!(matches!(secret, Err(StepError::Refused { .. })));
}

#[test]
fn this_program_is_installed_whole_or_not_at_all() {
    let (dir, host) = ground();
    let own = crate::host::own_program().unwrap();
    let step = |sha256: &str| {
        let path = "/etc/converge".to_owned();
        Step::from(Action::InstallSelf { path, sha256: sha256.to_owned(), size_bytes: own.size_bytes })
    };
    assert!(matches!(host.perform(&step("00")), Err(StepError::Refused { .. })), "another build");
    let left = |dir: &TempDir| std::fs::read_dir(dir.path().join("etc")).unwrap().count();
    let before = left(&dir);
    assert_eq!(host.stat(Path::new("/etc/converge")), Ok(None));
    host.perform(&step(&own.sha256)).unwrap();
    let stat = host.stat(Path::new("/etc/converge")).unwrap().unwrap();
    assert_eq!((stat.kind, stat.mode, stat.size_bytes), (FileKind::File, 0o755, own.size_bytes));
    assert_eq!(left(&dir), before + 1, "nothing is left beside it");
}
