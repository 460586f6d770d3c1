//! Links over SSH against a real sshd on loopback: install, run, reconnect, and every way in which they fail.

#[path = "support/relay.rs"]
mod relay;
#[path = "support/sshd.rs"]
mod sshd;

use relay::{Line, Relay};
use sshd::{Bed, said};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

fn playbook(bed: &Bed, file: &str) -> String {
    let path = bed.path(file);
    format!(
        "- hosts: nodes\n  tasks:\n    - name: a file\n      copy: {{ dest: '{}-{{{{ inventory_hostname }}}}', content: 'x' }}\n",
        path.display()
    )
}

fn installed(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_agent_installs_itself_once_and_runs() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    bed.write("hosts", &format!("[nodes]\n{}", bed.host("a", port, "")));
    bed.write("site.yml", &playbook(&bed, "made"));
    let folder = bed.path("agent-a/converge-agent");
    fs::create_dir_all(&folder).unwrap();
    let (stale, recent) = ("0".repeat(64), "1".repeat(64));
    let beside = "../backup.tar";
    for (name, days) in [(&*stale, 30), (&*recent, 1), ("kept", 30), (beside, 30)] {
        aged(&folder.join(name), days);
    }
    let checked = bed.converge(&["check", "site.yml", "-i", "hosts"]);
    assert_eq!(checked.status.code(), Some(3), "{}", said(&checked));
    assert!(!bed.path("made-a").exists());
    let names = installed(&folder);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&recent) && names.contains(&"kept".to_owned()), "{names:?}");
    assert!(folder.join(beside).exists(), "what is not ours was removed");
    let agent = folder.join(names.iter().find(|n| n.len() == 64 && **n != recent).expect("a program by its SHA-256"));
    let hash = String::from_utf8(sshd::run("sha256sum", &[agent.to_str().unwrap()]).stdout).unwrap();
    assert!(hash.starts_with(agent.file_name().unwrap().to_str().unwrap()));
    assert_eq!(fs::metadata(&agent).unwrap().permissions().mode() & 0o7777, 0o700);
    let inode = fs::metadata(&agent).unwrap().ino();
    aged(&agent, 30);

    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert_eq!(fs::read_to_string(bed.path("made-a")).unwrap(), "x");
    let again = bed.converge(&["check", "site.yml", "-i", "hosts"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    let used = fs::metadata(&agent).unwrap();
    assert_eq!(used.ino(), inode, "it was installed twice");
    assert!(used.modified().unwrap() > SystemTime::now() - Duration::from_secs(86400), "used, and about to be removed");
}

/// A file that was last changed so many days ago.
fn aged(path: &Path, days: u64) {
    let file = fs::File::options().create(true).append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(days * 86400)).unwrap();
}

#[test]
fn a_program_that_another_user_could_have_put_there_is_not_run() {
    let Some(mut bed) = Bed::new() else { return };
    if sshd::user() != "root" {
        eprintln!("skipped: only root can play another user");
        return;
    }
    let port = bed.serve();
    bed.write("hosts", &format!("[nodes]\n{}", bed.host("a", port, "")));
    bed.write("site.yml", &playbook(&bed, "made"));
    let checked = || bed.converge(&["check", "site.yml", "-i", "hosts"]);
    assert_eq!(checked().status.code(), Some(3));
    let folder = bed.path("agent-a/converge-agent");
    let program = folder.join(&installed(&folder)[0]);
    let give = |path: &Path, user: &str| drop(sshd::run("chown", &[user, path.to_str().unwrap()]));
    let refused = |what: &str| {
        let output = checked();
        assert_eq!(output.status.code(), Some(4), "{what}: {}", said(&output));
        assert!(said(&output).contains("belongs to another user"), "{what}: {}", said(&output));
    };
    let trap = format!("#!/bin/sh\ntouch {}\n", bed.path("ran").display());

    // A file of its own: the program that lies there may still be running.
    let plant = || {
        fs::remove_file(&program).unwrap();
        fs::write(&program, &trap).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    };
    plant();
    give(&program, "nobody");
    assert_eq!(checked().status.code(), Some(3), "a foreign program in a folder of ours is replaced");
    plant();
    give(&folder, "nobody");
    refused("a foreign folder");
    give(&folder, "root");
    fs::rename(&folder, bed.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(bed.path("elsewhere"), &folder).unwrap();
    refused("a link");
    assert!(!bed.path("ran").exists());
}

#[test]
fn hosts_are_connected_to_at_the_same_time() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    // Each connection waits until the other has begun; one after the other, the first would never be made.
    let gate = bed.write("gate", "#!/bin/sh\ntouch \"$1\"\nuntil [ -e \"$2\" ]; do sleep 0.05; done\nexec ssh -F none -i \"$4\" -o UserKnownHostsFile=\"$5\" -W \"127.0.0.1:$3\" -p \"$3\" 127.0.0.1\n");
    fs::set_permissions(&gate, PermissionsExt::from_mode(0o755)).unwrap();
    let host = |name: &str, other: &str| {
        let path = |name: &str| bed.path(name).display().to_string();
        let command = [
            path("gate"),
            path(&format!("came-{name}")),
            path(&format!("came-{other}")),
            port.to_string(),
            path("key"),
            path("known_hosts"),
        ];
        bed.host(name, port, &format!("-o ControlPath=none -o \"ProxyCommand={}\"", command.join(" ")))
    };
    bed.write("hosts", &format!("[nodes]\n{}{}", host("a", "b"), host("b", "a")));
    bed.write("site.yml", &playbook(&bed, "both"));
    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert!(bed.path("both-a").exists() && bed.path("both-b").exists());
}

#[test]
fn a_jump_host_of_the_configuration_is_taken() {
    let Some(mut bed) = Bed::new() else { return };
    let (jump, end) = (bed.serve(), bed.serve());
    let user = sshd::user();
    let config = format!(
        "Host *\n  IdentityFile {}\n  UserKnownHostsFile {}\n  User {user}\nHost jump\n  HostName 127.0.0.1\n  Port {jump}\nHost end\n  HostName 127.0.0.1\n  Port {end}\n  ProxyJump jump\n",
        bed.path("key").display(),
        bed.path("known_hosts").display()
    );
    let config = bed.write("ssh_config", &config);
    let line = format!(
        "a ansible_host=end converge_agent_dir={} ansible_ssh_common_args='-F {}'\n",
        bed.path("agent-a").display(),
        config.display()
    );
    bed.write("hosts", &format!("[nodes]\n{line}"));
    bed.write("site.yml", &playbook(&bed, "jumped"));
    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert!(bed.path("jumped-a").exists());
    let log = fs::read_to_string(bed.path(&format!("sshd_{jump}.log"))).unwrap();
    assert!(log.contains("Accepted publickey"), "the jump host was not used: {log}");
}

#[test]
fn failures_have_names_and_the_others_go_on() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    bed.keygen("other_key");
    bed.keygen("changed");
    let changed = fs::read_to_string(bed.path("changed.pub")).unwrap();
    let changed = bed.write("known_changed", &format!("[127.0.0.1]:{port} {changed}"));
    let nobody = bed.write("known_nobody", "");
    bed.write("agent-file", "not a folder");
    let key = bed.path("key").display().to_string();
    let other = bed.path("other_key").display().to_string();
    let fresh = |args: String| format!("-o ControlPath=none {args}");
    let known = |path: &Path| fresh(format!("-o UserKnownHostsFile={}", path.display()));
    // The first value counts for ssh, so these stand before the usual ones.
    let first = |name: &str, args: String| {
        bed.host(name, port, "").replace("ansible_ssh_common_args='", &format!("ansible_ssh_common_args='{args} "))
    };
    let lines = [
        bed.host("good", port, ""),
        bed.host("closed", closed, ""),
        bed.host("hung", hung.local_addr().unwrap().port(), &fresh("-o ConnectTimeout=2".into())),
        bed.host("refused", port, &fresh(String::new())).replace(&key, &other),
        first("changed", known(&changed)),
        first("unknown", known(&nobody)),
        bed.host("folder", port, "").replace("agent-folder", "agent-file/x"),
        bed.host("nowhere", port, "").replace("ansible_host=127.0.0.1", "ansible_host=nowhere.invalid"),
    ];
    bed.write("hosts", &format!("[nodes]\n{}", lines.concat()));
    bed.write("site.yml", &playbook(&bed, "made"));
    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts", "-o", "json"]);
    assert_eq!(applied.status.code(), Some(4), "{}", said(&applied));
    assert!(bed.path("made-good").exists(), "{}", said(&applied));
    let report: serde_json::Value = serde_json::from_slice(&applied.stdout).unwrap();
    let summary = |host: &str| {
        let result = report["results"].as_array().unwrap().iter().find(|r| r["host"] == host);
        let result = result.unwrap_or_else(|| panic!("no result of {host}: {report:#}"));
        assert_eq!(result["outcome"], "unreachable", "{result:#}");
        result["summary"].as_str().unwrap().to_owned()
    };
    for (host, expected) in [
        ("closed", "connection refused"),
        ("hung", "does not answer"),
        ("refused", "refused: "),
        ("changed", "host key has changed"),
        ("unknown", "host key is not known"),
        ("folder", "cannot be made for the agent"),
        ("nowhere", "Could not resolve hostname"),
    ] {
        assert!(summary(host).contains(expected), "{host}: {}", summary(host));
    }
}

#[test]
fn a_program_that_cannot_run_there_is_not_left_there() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    bed.write("hosts", &format!("[nodes]\n{}", bed.host("a", port, "")));
    bed.write("site.yml", &playbook(&bed, "made"));
    let mut elf = fs::read(sshd::agent()).unwrap();
    elf[18] = 183;
    fs::write(bed.path("foreign"), &elf).unwrap();
    bed.write("broken", "#!/bin/sh\necho \"version GLIBC_9.99 not found\" >&2\nexit 1\n");
    for (program, expected) in [("foreign", "wrong architecture"), ("broken", "static build")] {
        let output =
            bed.command(&["apply", "site.yml", "-i", "hosts"]).env("CONVERGE_AGENT", bed.path(program)).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(4), "{program}: {}", said(&output));
        assert!(said(&output).contains(expected), "{program}: {}", said(&output));
        assert_eq!(installed(&bed.path("agent-a/converge-agent")), Vec::<String>::new(), "{program}");
    }
}

/// A file system of this size and with these options, unmounted at the end.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).stderr(Stdio::null()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: file systems cannot be mounted here");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_and_a_noexec_mount_are_told() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    bed.write("hosts", &format!("[nodes]\n{}", bed.host("a", port, "")));
    bed.write("site.yml", &playbook(&bed, "made"));
    for (options, expected) in [("size=1m", "disk full"), ("size=1g,noexec", "noexec")] {
        let Some(_mount) = Mount::new(&bed.path("agent-a"), options) else { return };
        let output = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert!(said(&output).contains(expected), "{options}: {}", said(&output));
        assert_eq!(installed(&bed.path("agent-a/converge-agent")), Vec::<String>::new(), "{options}");
    }
}

#[test]
fn a_link_that_is_cut_loses_the_host_and_the_next_run_goes_on() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    bed.write("hosts", &format!("[nodes]\n{}", bed.host("a", port, "-o ControlPath=none")));
    let marker = bed.path("begun");
    let text = format!(
        "- hosts: nodes\n  tasks:\n    - name: work\n      shell: |\n        echo $PPID > {0}; until [ -e {0}-go ]; do sleep 0.05; done; echo done > {0}-done\n      args: {{ creates: {0}-done }}\n    - name: after\n      copy: {{ dest: {0}-after, content: x }}\n",
        marker.display()
    );
    bed.write("site.yml", &text);
    let mut command = bed.command(&["apply", "site.yml", "-i", "hosts"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(40);
    while fs::read_to_string(&marker).unwrap_or_default().trim().is_empty() {
        assert!(Instant::now() < until, "the task never began");
        std::thread::sleep(Duration::from_millis(50));
    }
    let agent = fs::read_to_string(&marker).unwrap().trim().to_owned();
    sshd::run("kill", &["-KILL", &session_of(&agent)]);
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(!bed.path("begun-after").exists());
    // The task that was begun is brought to its end, and then the agent is gone.
    fs::write(bed.path("begun-go"), "").unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while Path::new(&format!("/proc/{agent}")).exists() {
        assert!(Instant::now() < until, "the agent outlives its link");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(fs::read_to_string(bed.path("begun-done")).unwrap(), "done\n");
    assert!(!bed.path("begun-after").exists());
    let again = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(bed.path("begun-after").exists());
}

/// The session of sshd that the agent hangs on: the parent of the agent's first shell is gone, so by the agent.
fn session_of(agent: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{agent}/status")).unwrap();
    status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap().trim().to_owned()
}

#[test]
fn a_host_that_hangs_is_told_before_and_in_the_middle_and_the_others_go_on() {
    let Some(mut bed) = Bed::new() else { return };
    let (fine, ill) = (bed.serve(), bed.serve());
    let args = "-o ControlPath=none -o ServerAliveInterval=1 -o ServerAliveCountMax=2";
    let hung = bed.host("ill", ill, args).replace("ansible_host=", "ansible_timeout=2 ansible_host=");
    bed.write("hosts", &format!("[nodes]\n{}{hung}", bed.host("fine", fine, args)));
    bed.write("site.yml", &playbook(&bed, "made"));
    let server = bed.pid(1);
    sshd::run("kill", &["-STOP", &server]);
    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    sshd::run("kill", &["-CONT", &server]);
    assert_eq!(applied.status.code(), Some(4), "{}", said(&applied));
    assert!(said(&applied).contains("does not answer (a host that is off or hung"), "{}", said(&applied));
    assert!(bed.path("made-fine").exists() && !bed.path("made-ill").exists());

    let marker = bed.path("begun");
    let text = format!(
        "- hosts: nodes\n  tasks:\n    - name: work\n      shell: |\n        echo $PPID > {0}-{{{{ inventory_hostname }}}}; \
         [ {{{{ inventory_hostname }}}} = fine ] || until [ -e {0}-go ]; do sleep 0.05; done\n    \
         - name: after\n      copy: {{ dest: '{0}-after-{{{{ inventory_hostname }}}}', content: x }}\n",
        marker.display()
    );
    bed.write("site.yml", &text);
    let mut command = bed.command(&["apply", "site.yml", "-i", "hosts"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(40);
    let begun = || fs::read_to_string(bed.path("begun-ill")).unwrap_or_default().trim().to_owned();
    while begun().is_empty() {
        assert!(Instant::now() < until, "the task never began");
        std::thread::sleep(Duration::from_millis(50));
    }
    let session = session_of(&begun());
    sshd::run("kill", &["-STOP", &session]);
    let output = running.wait_with_output().unwrap();
    sshd::run("kill", &["-CONT", &session]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("it stopped answering"), "{}", said(&output));
    assert!(bed.path("begun-after-fine").exists() && !bed.path("begun-after-ill").exists());
    fs::write(bed.path("begun-go"), "").unwrap();
    let again = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(bed.path("begun-after-ill").exists());
}

#[test]
fn a_full_disk_in_a_task_is_told_and_loses_nothing() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    bed.write("hosts", &format!("[nodes]\n{}{}", bed.host("a", port, ""), bed.host("b", port, "")));
    let Some(_mount) = Mount::new(&bed.path("full-a"), "size=64k") else { return };
    fs::create_dir(bed.path("full-b")).unwrap();
    let folder = bed.path("full").display().to_string();
    fs::write(bed.path("full-a/file"), "old").unwrap();
    let text = format!(
        "- hosts: nodes\n  tasks:\n    - name: large\n      copy: {{ dest: '{folder}-{{{{ inventory_hostname }}}}/file', content: '{}' }}\n",
        "x".repeat(200_000)
    );
    bed.write("site.yml", &text);
    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts", "--no-diff"]);
    assert_eq!(applied.status.code(), Some(1), "{}", said(&applied));
    assert!(said(&applied).contains("disk full: its file system has no space left"), "{}", said(&applied));
    // The old file is whole, nothing lies beside it, and the other host went on.
    assert_eq!(fs::read_to_string(bed.path("full-a/file")).unwrap(), "old");
    assert_eq!(installed(&bed.path("full-a")), ["file"]);
    assert_eq!(fs::metadata(bed.path("full-b/file")).unwrap().len(), 200_000);
    sshd::run("mount", &["-o", "remount,size=1m", bed.path("full-a").to_str().unwrap()]);
    let again = bed.converge(&["apply", "site.yml", "-i", "hosts", "--no-diff"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
}

#[test]
fn a_slow_line_that_loses_packets_only_takes_longer() {
    let Some(mut bed) = Bed::new() else { return };
    let port = bed.serve();
    let relay = Relay::to(port, Line { round_trip: Duration::from_millis(200), lost_per_mille: 10, rate: 0 });
    // It is another port, with the same key.
    let known = fs::read_to_string(bed.path("known_hosts")).unwrap();
    bed.write("known_hosts", &known.replace(&port.to_string(), &relay.port.to_string()));
    bed.write("hosts", &format!("[nodes]\n{}", bed.host("a", relay.port, "-o ControlPath=none")));
    bed.write("site.yml", &playbook(&bed, "made"));
    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert_eq!(fs::read_to_string(bed.path("made-a")).unwrap(), "x");
}
