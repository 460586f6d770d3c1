//! Real apt and dpkg, confined to a directory: the sources that `apt_repository` writes are read by apt against a
//! signed local archive, the right key and the wrong one, and `apt` installs from it.

use converge::engine;
use converge::host::{Host, Local, Output, Preview};
use converge::tasks::registry;
use converge::wire::{HostResult, Status};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `None`: this machine lacks a program; said on stderr.
fn tools() -> Option<()> {
    for program in ["apt-get", "apt-cache", "dpkg", "dpkg-deb", "dpkg-scanpackages", "gpg", "gpgv", "sha256sum"] {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            eprintln!("skipped: no {program}");
            return None;
        }
    }
    Some(())
}

#[track_caller]
fn run(dir: &Path, argv: &[&str]) -> String {
    let output = Command::new(argv[0]).args(&argv[1..]).current_dir(dir).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An archive `proxmox-9 drbd-9` with one package, signed by a key made for it.
struct Archive {
    dir: tempfile::TempDir,
}

impl Archive {
    fn new() -> Self {
        let archive = Self { dir: tempfile::tempdir().unwrap() };
        let dir = archive.dir.path();
        archive.key("right");
        archive.key("wrong");
        let arch = run(dir, &["dpkg", "--print-architecture"]).trim().to_owned();
        let package = dir.join("build/DEBIAN");
        std::fs::create_dir_all(&package).unwrap();
        let control = "Package: converge-sample\nVersion: 9.22.0-1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n\
                       Description: a sample\n";
        std::fs::write(package.join("control"), control).unwrap();
        std::fs::create_dir_all(dir.join("build/usr/share/converge-sample")).unwrap();
        std::fs::write(dir.join("build/usr/share/converge-sample/file"), "sample\n").unwrap();
        std::fs::create_dir_all(dir.join("repo/pool")).unwrap();
        run(dir, &["dpkg-deb", "--root-owner-group", "-b", "build", "repo/pool/converge-sample.deb"]);
        let lists = format!("dists/proxmox-9/drbd-9/binary-{arch}");
        std::fs::create_dir_all(dir.join("repo").join(&lists)).unwrap();
        let packages = run(&dir.join("repo"), &["dpkg-scanpackages", "-m", "pool"]);
        std::fs::write(dir.join("repo").join(&lists).join("Packages"), &packages).unwrap();
        let sum = run(&dir.join("repo"), &["sha256sum", &format!("{lists}/Packages")]);
        let sum = sum.split(' ').next().unwrap();
        let release = format!(
            "Origin: Sample\nSuite: proxmox-9\nCodename: proxmox-9\nDate: {}\nArchitectures: {arch} all\n\
             Components: drbd-9\nSHA256:\n {sum} {} drbd-9/binary-{arch}/Packages\n",
            run(dir, &["date", "-Ru", "-d", "yesterday"]).trim().replace("+0000", "UTC"),
            packages.len(),
        );
        std::fs::write(dir.join("release"), release).unwrap();
        let signed = dir.join("repo/dists/proxmox-9/InRelease").to_string_lossy().into_owned();
        archive.gpg("right", &["--clearsign", "-o", &signed, "release"]);
        archive
    }

    fn gpg(&self, home: &str, args: &[&str]) -> String {
        let home = self.dir.path().join(home).to_string_lossy().into_owned();
        let mut argv =
            vec!["gpg", "--homedir", &home, "--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"];
        argv.extend(args);
        run(self.dir.path(), &argv)
    }

    fn key(&self, home: &str) {
        use std::os::unix::fs::PermissionsExt;
        let dir = self.dir.path().join(home);
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        self.gpg(home, &["--quick-gen-key", &format!("{home} <{home}@example.org>"), "ed25519", "sign", "never"]);
    }

    fn public(&self, home: &str) -> String {
        self.gpg(home, &["--armor", "--export"])
    }

    fn uri(&self) -> String {
        format!("file:{}/repo", self.dir.path().display())
    }
}

/// A Debian with nothing installed, in a directory.
struct Root {
    dir: tempfile::TempDir,
}

impl Root {
    fn new(debian: u32) -> Self {
        let root = Self { dir: tempfile::tempdir().unwrap() };
        for dir in [
            "etc/apt/sources.list.d",
            "etc/apt/keyrings",
            "etc/apt/trusted.gpg.d",
            "etc/apt/preferences.d",
            "etc/apt/apt.conf.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/dpkg/triggers",
            "var/log/apt",
        ] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        std::fs::write(root.path().join("var/lib/dpkg/status"), "").unwrap();
        std::fs::write(root.path().join("apt.conf"), "").unwrap();
        let release = format!("ID=debian\nVERSION_ID=\"{debian}\"\n");
        std::fs::write(root.path().join("etc/os-release"), release).unwrap();
        root
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn host(&self) -> Local {
        let root = self.path().to_owned();
        Local::rooted("pve1", self.path())
            .with_programs(Box::new(move |argv, stdin| Some(confined(&root, argv, stdin))))
    }

    fn apply(&self, kind: &str, args: Json) -> HostResult {
        let task = (registry::find(kind).unwrap().from_json)(args).unwrap();
        engine::apply(task.as_ref(), &self.host() as &dyn Host, &[], &mut |_, _| {})
    }

    fn check(&self, kind: &str, args: Json) -> HostResult {
        let task = (registry::find(kind).unwrap().from_json)(args).unwrap();
        engine::check(task.as_ref(), &Preview::new(self.host()))
    }
}

/// The real program, with every path of apt and dpkg below `root`.
fn confined(root: &Path, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let root_text = root.to_string_lossy();
    let mut words: Vec<String> = vec![argv[0].clone()];
    let mut options = |list: &[String]| words.extend(list.iter().flat_map(|o| ["-o".to_owned(), o.clone()]));
    match argv[0].as_str() {
        "apt-get" | "apt-cache" => options(&[
            format!("Dir={root_text}"),
            format!("Dir::State::status={root_text}/var/lib/dpkg/status"),
            "Dir::Bin::methods=/usr/lib/apt/methods".into(),
            "APT::Sandbox::User=root".into(),
            "Dpkg::Use-Pty=false".into(),
            format!("Dpkg::Options::=--root={root_text}"),
            "Dpkg::Options::=--force-not-root".into(),
            "Dpkg::Options::=--log=/dev/null".into(),
        ]),
        "dpkg-query" => words.push(format!("--admindir={root_text}/var/lib/dpkg")),
        _ => {}
    }
    let inside = |word: &String| match word.strip_prefix("/var/lib/converge") {
        Some(rest) => format!("{root_text}/var/lib/converge{rest}"),
        None => word.clone(),
    };
    words.extend(argv[1..].iter().map(inside));
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("LC_ALL", "C")
        .env("APT_CONFIG", root.join("apt.conf"))
        .env("DEBIAN_FRONTEND", "noninteractive");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("checked before");
    let _ = child.stdin.take().unwrap().write_all(stdin.unwrap_or_default());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { rc: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn source(archive: &Archive, key: &str, format: &str) -> Json {
    json!({
        "name": "linbit", "uris": [archive.uri()], "suites": ["proxmox-9"], "components": ["drbd-9"],
        "key": archive.public(key), "format": format,
    })
}

/// `Signed-By` is a path of the real root for gpgv, whatever apt's `Dir` is.
fn point_into(root: &Root, file: &str) -> PathBuf {
    let path = root.path().join("etc/apt/sources.list.d").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("/etc/apt/keyrings/linbit.asc"), "{text}");
    let key = format!("{}/etc/apt/keyrings/linbit.asc", root.path().display());
    std::fs::write(&path, text.replace("/etc/apt/keyrings/linbit.asc", &key)).unwrap();
    path
}

#[test]
fn apt_reads_both_formats_and_trusts_only_the_named_key() {
    if tools().is_none() {
        return;
    }
    let archive = Archive::new();
    for (debian, format, file) in
        [(13, "auto", "linbit.sources"), (12, "auto", "linbit.list"), (13, "list", "linbit.list")]
    {
        for (key, accepted) in [("right", true), ("wrong", false)] {
            let root = Root::new(debian);
            let args = source(&archive, key, format);
            let made = root.apply("apt_repository", args.clone());
            assert_eq!(made.status, Status::Changed, "{}", made.summary);
            assert_eq!(root.apply("apt_repository", args).status, Status::Ok);
            point_into(&root, file);
            let update = confined(root.path(), &["apt-get".into(), "update".into()], None);
            let policy = ["apt-cache", "policy", "converge-sample"].map(str::to_owned);
            let policy = confined(root.path(), &policy, None);
            if accepted {
                assert_eq!(update.rc, 0, "{file}: {}", update.stderr);
                assert!(!update.stderr.contains("W:"), "{file}: {}", update.stderr);
                assert!(policy.stdout.contains("Candidate: 9.22.0-1"), "{file}: {}", policy.stdout);
            } else {
                assert_ne!(update.rc, 0, "{file}: a wrong key was accepted");
                assert!(!policy.stdout.contains("Candidate: 9.22.0-1"), "{file}");
            }
        }
    }
}

#[test]
fn a_package_goes_from_unknown_to_installed_to_absent() {
    if tools().is_none() {
        return;
    }
    let archive = Archive::new();
    let root = Root::new(13);
    assert_eq!(root.apply("apt_repository", source(&archive, "right", "auto")).status, Status::Changed);
    point_into(&root, "linbit.sources");

    let args = json!({"name": "converge-sample", "update_cache": true});
    let predicted = root.check("apt", args.clone());
    assert_eq!(predicted.status, Status::Drifted, "{}", predicted.summary);
    assert!(predicted.summary.contains("the source linbit changed"), "{}", predicted.summary);
    let made = root.apply("apt", args.clone());
    assert_eq!(made.status, Status::Changed, "{}", made.summary);
    assert!(made.diff.ends_with("+converge-sample 9.22.0-1\n"), "{}", made.diff);
    assert_eq!(std::fs::read_to_string(root.path().join("usr/share/converge-sample/file")).unwrap(), "sample\n");
    let again = root.apply("apt", args);
    assert_eq!((again.status, again.summary.as_str()), (Status::Ok, "converge-sample 9.22.0-1 installed"));
    assert_eq!(root.apply("apt", json!({"name": "converge-sample", "state": "latest"})).status, Status::Ok);

    let unknown = root.apply("apt", json!({"name": "no-such-package"}));
    assert_eq!(unknown.status, Status::Blocked, "{}", unknown.summary);

    let purge = json!({"name": "converge-sample", "state": "absent", "purge": true});
    let gone = root.apply("apt", purge.clone());
    assert_eq!(gone.status, Status::Changed, "{}", gone.summary);
    assert_eq!(root.apply("apt", purge).status, Status::Ok);
}
