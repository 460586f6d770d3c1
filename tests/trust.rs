//! `converge trust` with the real binary: against the lab's API, and against TLS servers and certificates of OpenSSL.

use converge::lab::{Lab, api};
use serde_json::Value as Json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

struct Bed {
    dir: tempfile::TempDir,
    lab: Lab,
    server: Option<api::Server>,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(dir.path().join("lab")).unwrap();
        let mut bed = Self { dir, lab, server: None };
        bed.serve();
        bed
    }

    /// Starts the API, with whatever certificates the nodes have by now.
    fn serve(&mut self) {
        self.server = None;
        self.server = Some(api::serve(self.lab.clone(), "127.0.0.1:0".parse().unwrap()).unwrap());
    }

    fn server(&self) -> &api::Server {
        self.server.as_ref().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Address and port of a node.
    fn at(&self, node: &str) -> &str {
        self.server().urls[node].trim_start_matches("https://")
    }

    fn pin(&self, node: &str) -> &str {
        &self.server().fingerprints[node]
    }

    /// A fresh cluster.yml for these nodes; what else there is stands below.
    fn fresh(&self, nodes: &[&str], more: &str) -> String {
        let endpoints: Vec<String> = nodes.iter().map(|node| format!("'{}'", self.at(node))).collect();
        let text = format!(
            "# Ours.\nendpoints: [{}]  # in this order\n{more}\n# Who asks.\nlogin:   {{ user: root@pam, password: {{ env: \
             CLUSTER_PASSWORD }} }}\n",
            endpoints.join(", ")
        );
        self.write("cluster.yml", &text);
        text
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(words).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command.env("CLUSTER_PASSWORD", self.server().root_password()).env("PATH", std::env::var_os("PATH").unwrap());
        command.stdin(Stdio::null());
        command
    }

    fn trust(&self, words: &[&str]) -> (Option<i32>, String) {
        let words = [&["trust", "-i", "cluster.yml"], words].concat();
        let output = self.command(&words).output().unwrap();
        let said = said(&output);
        assert!(!said.contains(self.server().root_password()), "the password is shown");
        (output.status.code(), said)
    }

    fn json(&self) -> Json {
        let output = self.command(&["trust", "-i", "cluster.yml", "-o", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)))
    }

    /// The node's certificate is made anew.
    fn renew(&mut self, node: &str) {
        let folder = self.path("lab/pve/nodes").join(node);
        std::fs::remove_file(folder.join("pve-ssl.pem")).unwrap();
        self.serve();
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

#[test]
fn first_contact_asks_for_no_secret_and_writes_nothing() {
    let bed = Bed::new();
    let text = bed.fresh(&["pve1", "pve3"], "").replace("{ env: CLUSTER_PASSWORD }", "{ command: [touch, asked] }");
    bed.write("cluster.yml", &text);
    let (code, told) = bed.trust(&[]);
    assert_eq!(code, Some(3), "{told}");
    has(
        &told,
        &[bed.pin("pve1"), bed.pin("pve3"), "CN=pve1", "CN=Proxmox Virtual Environment", "127.0.0.1, ::1, localhost"],
    );
    has(&told, &["UTC to ", "its issuer is not known", "pvenode cert info", "--write ca"]);
    let json = bed.json();
    assert_eq!((&json["exit"], &json["tls"], &json["written"]), (&3.into(), &"system".into(), &Json::Null));
    let first = &json["endpoints"][0];
    assert_eq!((&first["believed"], &first["doubts"][0]["kind"]), (&false.into(), &"unknown_issuer".into()));
    assert!(first["not_after"].as_str().unwrap().ends_with('Z'));
    assert!(!bed.path("asked").exists(), "the login was asked for");
    assert_eq!(bed.read("cluster.yml"), text);
    // An ordinary run names the command.
    bed.fresh(&["pve1"], "");
    bed.write("site.yml", "- hosts: cluster\n  tasks: [{ debug: { msg: x } }]\n");
    let run = bed.command(&["check", "site.yml", "-i", "cluster.yml"]).output().unwrap();
    has(&said(&run), &["is not trusted", "converge trust -i cluster.yml"]);
}

#[test]
fn one_compared_fingerprint_is_enough_for_all_pins() {
    let bed = Bed::new();
    let before = bed.fresh(&["pve2", "pve1"], "vars: { nfs_password: hunter2 }\n");
    std::fs::rename(bed.path("cluster.yml"), bed.path("real.yml")).unwrap();
    std::os::unix::fs::symlink("real.yml", bed.path("cluster.yml")).unwrap();
    std::fs::set_permissions(bed.path("real.yml"), std::fs::Permissions::from_mode(0o640)).unwrap();

    let (code, told) = bed.trust(&["--write", "pins"]);
    assert_eq!(code, Some(2), "{told}");
    has(&told, &["nobody is there to be asked", "--expect", "nothing is written"]);
    let other = "AB:".repeat(31) + "CD";
    let (code, told) = bed.trust(&["--write", "pins", "--expect", &other]);
    assert_eq!(code, Some(1), "{told}");
    has(&told, &["not the certificates that you expect", &other, bed.pin("pve1")]);
    assert_eq!(bed.read("cluster.yml"), before);

    let expected = format!("SHA256:{}", bed.pin("pve2").to_lowercase());
    let (code, told) = bed.trust(&["--write", "pins", "--expect", &expected]);
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains("hunter2"), "a secret of a line beside is shown: {told}");
    has(
        &told,
        &[
            "+tls:",
            "nfs_password: *",
            "expected by --expect; met at",
            "told by the cluster, through",
            "written: cluster.yml",
        ],
    );
    let pins: String = ["pve1", "pve2", "pve3"].map(|node| format!("    - '{}'  # {node}\n", bed.pin(node))).concat();
    let wanted = before.replacen("order\n", &format!("order\ntls:\n  fingerprints:\n{pins}"), 1);
    assert_eq!(bed.read("real.yml"), wanted);
    assert!(bed.path("cluster.yml").is_symlink(), "the link stays");
    assert_eq!(std::fs::metadata(bed.path("real.yml")).unwrap().mode() & 0o7777, 0o640);
    let left: Vec<_> = std::fs::read_dir(bed.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".converge")), "{left:?}");

    let (code, told) = bed.trust(&[]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = bed.trust(&["--write", "pins"]);
    assert_eq!((code, bed.read("real.yml")), (Some(0), wanted), "{told}");
    has(&told, &["says so already"]);
}

#[test]
fn pins_of_endpoints_alone_need_no_login() {
    let bed = Bed::new();
    let text = bed.fresh(&["pve1", "pve2"], "").replace("CLUSTER_PASSWORD", "NOT_SET");
    bed.write("cluster.yml", &text);
    let one = ["--write", "pins", "--endpoints-only", "--expect", bed.pin("pve1")];
    let (code, told) = bed.trust(&one);
    assert_eq!(code, Some(1), "one is not all: {told}");
    let (code, told) = bed.trust(&[&one[..], &["--expect", bed.pin("pve2")]].concat());
    assert_eq!(code, Some(0), "{told}");
    let now = bed.read("cluster.yml");
    assert!(now.contains(bed.pin("pve1")) && now.contains(bed.pin("pve2")) && !now.contains(bed.pin("pve3")), "{now}");
}

#[test]
fn a_changed_pin_is_loud_and_goes_only_by_its_name() {
    let mut bed = Bed::new();
    let old = bed.pin("pve1").to_owned();
    bed.renew("pve1");
    let (new, two) = (bed.pin("pve1").to_owned(), bed.pin("pve2").to_owned());
    assert_ne!(old, new);
    let pins =
        format!("tls:\n    fingerprints:\n    - {old}   # first, compared by Jane\n    # and\n    - \"{two}\"\n");
    let before = bed.fresh(&["pve1", "pve2"], &pins);
    let (code, told) = bed.trust(&[]);
    assert_eq!(code, Some(1), "{told}");
    has(
        &told,
        &["HAS CHANGED", &format!("pinned  {old}"), &format!("met     {new}"), "NO: THE CERTIFICATE CHANGED", "@@@@"],
    );
    assert_eq!(bed.json()["endpoints"][0]["changed"], true);

    for more in [&["--yes"][..], &["--expect", &new], &["--replace", &two, "--yes"], &["--replace", &new, "--yes"]] {
        for what in ["pins", "ca"] {
            let (code, told) = bed.trust(&[&["--write", what], more].concat());
            assert!(matches!(code, Some(1 | 2)), "{what} {more:?}: {told}");
            assert_eq!(bed.read("cluster.yml"), before, "{what} {more:?}");
        }
    }
    // pve2 is believed, and tells the new one of pve1.
    let (code, told) = bed.trust(&["--write", "pins", "--replace", &old]);
    assert_eq!(code, Some(0), "{told}");
    let three = bed.pin("pve3");
    let wanted = before.replacen(
        &format!("    - {old}   # first, compared by Jane\n    # and\n    - \"{two}\"\n"),
        &format!("    # and\n    - \"{two}\"\n    - '{new}'  # pve1\n    - '{three}'  # pve3\n"),
        1,
    );
    assert_eq!(bed.read("cluster.yml"), wanted);
    assert_eq!(bed.trust(&[]).0, Some(0));
}

#[test]
fn a_new_endpoint_has_not_changed_and_a_stale_pin_is_kept_until_it_is_named() {
    let bed = Bed::new();
    let stale = "0A:".repeat(31) + "0A";
    bed.fresh(&["pve1", "pve2"], &format!("tls: {{ fingerprints: ['{}'] }}\n", bed.pin("pve1")));
    let (code, told) = bed.trust(&[]);
    assert_eq!(code, Some(3), "{told}");
    assert!(!told.contains("CHANGED"), "{told}");
    bed.fresh(&["pve1"], &format!("tls: {{ fingerprints: ['{}', '{stale}'] }}\n", bed.pin("pve1")));
    let (code, told) = bed.trust(&["--write", "pins"]);
    assert_eq!(code, Some(0), "{told}");
    has(&told, &["pinned before; no node shows it"]);
    assert!(bed.read("cluster.yml").contains(&stale));
    let (code, told) = bed.trust(&["--write", "pins", "--replace", &stale]);
    assert_eq!(code, Some(0), "{told}");
    assert!(!bed.read("cluster.yml").contains(&stale));
}

#[test]
fn the_clusters_authority_is_fetched_and_outlives_a_renewal() {
    let mut bed = Bed::new();
    let before = bed.fresh(&["pve1", "pve2"], "tls: system  # for now\n");
    let (code, told) = bed.trust(&["--write", "ca", "--expect", bed.pin("pve2")]);
    assert_eq!(code, Some(0), "{told}");
    has(&told, &["pve-root-ca.pem", "it signed what was met at", "written: cluster-ca.pem"]);
    assert_eq!(bed.read("cluster.yml"), before.replace("tls: system  #", "tls: { ca_file: cluster-ca.pem }  #"));
    let der = |pem: &str| pem.split_whitespace().collect::<String>();
    assert_eq!(der(&bed.read("cluster-ca.pem")), der(&bed.server().ca_pem));
    assert_eq!(bed.trust(&[]).0, Some(0));
    bed.renew("pve1");
    bed.fresh(&["pve1", "pve2"], "tls: { ca_file: cluster-ca.pem }\n");
    assert_eq!(bed.trust(&[]).0, Some(0), "renewed, and signed by the same");

    // What lies there is not overwritten, and a file elsewhere is named in full.
    bed.write("cluster-ca.pem", "mine\n");
    let before = bed.fresh(&["pve1"], "");
    let (code, told) = bed.trust(&["--write", "ca", "--expect", bed.pin("pve1")]);
    assert_eq!((code, bed.read("cluster.yml")), (Some(1), before), "{told}");
    assert_eq!(bed.read("cluster-ca.pem"), "mine\n");
    let elsewhere = tempfile::tempdir().unwrap();
    let ca = elsewhere.path().join("it's ours.pem");
    let (code, told) = bed.trust(&["--write", "ca", "--ca-file", ca.to_str().unwrap(), "--expect", bed.pin("pve1")]);
    assert_eq!(code, Some(0), "{told}");
    assert!(ca.exists() && bed.trust(&[]).0 == Some(0), "{}", bed.read("cluster.yml"));
}

#[test]
fn a_node_that_is_off_is_pinned_by_what_the_cluster_knows_of_it() {
    let bed = Bed::new();
    let off = bed.command(&["lab", "--dir", "lab", "break", "node-down"]).output().unwrap();
    has(&said(&off), &["pve3"]);
    bed.fresh(&["pve1"], "tls: { ca_file: not-there.pem }\n");
    has(&bed.trust(&[]).1, &["CA file not-there.pem: "]);
    let (code, told) = bed.trust(&["--write", "ca", "--ca-file", "not-there.pem", "--expect", bed.pin("pve1")]);
    assert_eq!(code, Some(0), "{told}");
    has(&told, &["which certificate pve3 shows could not be told", "written: not-there.pem", "says so already"]);
    let (code, told) = bed.trust(&["--write", "pins"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(bed.read("cluster.yml").contains(&format!("'{}'  # pve3", bed.pin("pve3"))));
    bed.fresh(&["pve1", "pve3"], "");
    let (code, told) = bed.trust(&["--write", "ca", "--expect", bed.pin("pve1")]);
    assert_eq!(code, Some(4), "{told}");
    has(&told, &["was not reached", "nothing is written"]);
}

#[test]
fn an_account_without_any_right_is_enough() {
    use converge::pve::{Client, Config, Login, Method, SecondFactor, Secret, Trust};
    let bed = Bed::new();
    let password = Login::Password {
        user: "root@pam".into(),
        password: Secret::new(bed.server().root_password()),
        second_factor: SecondFactor::None,
    };
    let trust = Trust::Pinned(vec![bed.pin("pve1").parse().unwrap()]);
    let root = Client::new(Config::new(vec![bed.at("pve1").to_owned()], password, trust)).unwrap();
    root.write(Method::Post, "/access/users", [("userid", "looker@pve")]).unwrap();
    let token = root.write(Method::Post, "/access/users/looker@pve/token/look", [("privsep", "1")]).unwrap();
    bed.write("secret", token["value"].as_str().unwrap());
    std::fs::set_permissions(bed.path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    for what in ["pins", "ca"] {
        let at = bed.at("pve1");
        bed.write(
            "cluster.yml",
            &format!("{{endpoints: ['{at}'], login: {{token: looker@pve!look, secret: {{file: secret}}}}}}"),
        );
        let (code, told) = bed.trust(&["--write", what, "--expect", bed.pin("pve1")]);
        assert_eq!(code, Some(0), "{what}: {told}");
        assert_eq!(bed.trust(&[]).0, Some(0), "{}", bed.read("cluster.yml"));
    }
}

#[test]
fn what_cannot_be_written_is_said_before_a_secret_is_asked_for() {
    let bed = Bed::new();
    bed.write("hosts", "[web]\na\n");
    let output = bed.command(&["trust", "-i", "hosts"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    has(&said(&output), &["inventory without a cluster", "cluster.yml"]);
    let text = bed.fresh(&["pve1"], "").replace("{ env: CLUSTER_PASSWORD }", "{ command: [touch, asked] }");
    let write = ["--write", "pins", "--expect", bed.pin("pve1")];
    bed.write("cluster.yml", &text);
    std::fs::hard_link(bed.path("cluster.yml"), bed.path("twin.yml")).unwrap();
    let (code, told) = bed.trust(&write);
    assert_eq!(code, Some(1), "{told}");
    has(&told, &["2 names (hard links)"]);
    std::fs::remove_file(bed.path("twin.yml")).unwrap();

    bed.write(
        "cluster.yml",
        &format!("{text}tls: &whom system\nvars: {{ x: *whom }}\n").replace("touch, asked", "echo, no"),
    );
    let (code, told) = bed.trust(&["--write", "pins", "--endpoints-only", "--expect", bed.pin("pve1")]);
    assert_eq!(code, Some(1), "{told}");
    has(&told, &["cannot be edited safely", "put this in it yourself: tls: { fingerprints: ["]);

    // Root may write everything, so somebody else tries.
    bed.write("cluster.yml", &text);
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = match root {
        false => bed.command(&["trust"]),
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_converge"), "trust"]);
            command.current_dir(bed.dir.path()).stdin(Stdio::null());
            command
        }
    };
    std::fs::set_permissions(bed.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(bed.path("cluster.yml"), std::fs::Permissions::from_mode(0o444)).unwrap();
    match command.args(["-i", "cluster.yml"]).args(write).output() {
        Ok(output) if said(&output).contains("setpriv:") => eprintln!("skipped: no program that another user may run"),
        Ok(output) => {
            assert_eq!(output.status.code(), Some(1), "{}", said(&output));
            has(&said(&output), &["cluster.yml cannot be written: Permission denied"]);
        }
        Err(error) => eprintln!("skipped: no setpriv ({error})"),
    }
    assert!(!bed.path("asked").exists(), "the login was asked for");
    assert_eq!(bed.read("cluster.yml"), text);
}

/// Answers `answer` to the question, on a terminal.
fn on_a_terminal(mut command: Command, answer: &str) -> (Option<i32>, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap();
    let far = || std::fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    command.stdin(far()).stdout(far()).stderr(far());
    let mut child = command.spawn().unwrap();
    // The copies in here would keep the terminal open.
    drop(command);
    let mut near = std::fs::File::from(near);
    let mut shown = Vec::new();
    let mut piece = [0; 4096];
    let mut answered = false;
    while let Ok(bytes @ 1..) = near.read(&mut piece) {
        shown.extend_from_slice(&piece[..bytes]);
        if !answered && String::from_utf8_lossy(&shown).contains("[y/N] ") {
            near.write_all(answer.as_bytes()).unwrap();
            answered = true;
        }
    }
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(answered, "no question:\n{shown}");
    (child.wait().unwrap().code(), shown)
}

#[test]
fn a_person_is_asked_on_the_terminal() {
    let bed = Bed::new();
    let before = bed.fresh(&["pve1", "pve2"], "");
    let write = ["trust", "-i", "cluster.yml", "--write", "pins"];
    for no in ["n\r", "\r", "yess\r", "\u{4}"] {
        let (code, shown) = on_a_terminal(bed.command(&write), no);
        assert_eq!((code, bed.read("cluster.yml")), (Some(3), before.clone()), "{no:?}:\n{shown}");
        has(&shown, &["not compared", "nothing is written"]);
    }
    let (code, shown) = on_a_terminal(bed.command(&write), "y\r");
    assert_eq!(code, Some(0), "{shown}");
    // Of the two one is asked about, and it is the first.
    let question = shown.rsplit_once("yourself").map_or(shown.as_str(), |(_, rest)| rest);
    has(
        question,
        &["Have you compared this fingerprint with the node's own, and are they the same?", "compared by you"],
    );
    assert_eq!(bed.trust(&[]).0, Some(0));
}

/// Certificates and servers that OpenSSL makes. `None` where there is no `openssl`.
struct Openssl {
    dir: PathBuf,
}

struct Serving {
    child: Child,
    address: String,
    /// What it prints, what clients send included.
    printed: Arc<Mutex<String>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Openssl {
    fn new(dir: &Path) -> Option<Self> {
        if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no openssl");
            return None;
        }
        let here = Self { dir: dir.join("openssl") };
        std::fs::create_dir_all(&here.dir).unwrap();
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n";
        std::fs::write(here.dir.join("ca.cnf"), config).unwrap();
        std::fs::write(here.dir.join("serial"), "1000\n").unwrap();
        for name in ["ca", "other-ca"] {
            here.self_signed(name, &format!("/CN=The {name}"));
        }
        Some(here)
    }

    fn run(&self, words: &[&str]) -> String {
        let output = Command::new("openssl").args(words).current_dir(&self.dir).output().unwrap();
        assert!(output.status.success(), "openssl {words:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn self_signed(&self, name: &str, subject: &str) {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        let words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", subject, "-keyout", &key];
        self.run(&[&words[..], &["-out", &pem]].concat());
    }

    fn signed(&self, name: &str, by: &str, san: &str, dates: [&str; 2]) {
        let file = |end: &str| format!("{name}.{end}");
        std::fs::write(self.dir.join("index"), "").unwrap();
        std::fs::write(self.dir.join(file("ext")), format!("subjectAltName={san}\nbasicConstraints=CA:FALSE\n"))
            .unwrap();
        let subject = format!("/CN={name}");
        self.run(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            &subject,
            "-keyout",
            &file("key"),
            "-out",
            &file("csr"),
        ]);
        let (ca, key) = (format!("{by}.pem"), format!("{by}.key"));
        let ca = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", &ca, "-keyfile", &key];
        let leaf = ["-in", &file("csr"), "-out", &file("pem"), "-extfile", &file("ext")];
        self.run(&[&ca[..], &leaf, &["-startdate", dates[0], "-enddate", dates[1]]].concat());
    }

    fn serve(&self, name: &str) -> Serving {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", &pem, "-key", &key])
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ACCEPT ") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "{name}: the server ended");
        }
        let address = line.trim_start_matches("ACCEPT ").trim().to_owned();
        let printed = Arc::new(Mutex::new(String::new()));
        let keep = printed.clone();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                keep.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Serving { child, address, printed }
    }
}

const NOW: [&str; 2] = ["20200101000000Z", "21000101000000Z"];
const PAST: [&str; 2] = ["20200101000000Z", "20210101000000Z"];
const FUTURE: [&str; 2] = ["20900101000000Z", "21000101000000Z"];

#[test]
fn every_reason_not_to_believe_a_server_of_openssl() {
    let bed = Bed::new();
    let Some(openssl) = Openssl::new(bed.dir.path()) else { return };
    let here = "IP:127.0.0.1,DNS:pve1.example.org";
    openssl.signed("good", "ca", here, NOW);
    openssl.signed("expired", "ca", here, PAST);
    openssl.signed("early", "ca", here, FUTURE);
    openssl.signed("elsewhere", "ca", "DNS:other.example.org", NOW);
    openssl.signed("everything", "other-ca", "DNS:other.example.org", PAST);
    openssl.self_signed("itself", "/CN=itself");
    // For programs, and for people.
    let cases: [(&str, &[&str], &str); 6] = [
        ("good", &[], "yes, by the authority in openssl/ca.pem"),
        ("expired", &["expired"], "it has expired"),
        ("early", &["not_yet_valid"], "it is not valid yet"),
        ("elsewhere", &["wrong_name"], "it is not for `127.0.0.1`, but for other.example.org"),
        ("everything", &["expired", "unknown_issuer", "wrong_name"], "its issuer is not known: CN=The other-ca"),
        ("itself", &["unknown_issuer", "wrong_name"], "it is signed by itself, by no authority"),
    ];
    let servers: Vec<Serving> = cases.iter().map(|(name, ..)| openssl.serve(name)).collect();
    let endpoints: Vec<String> = servers.iter().map(|server| format!("'{}'", server.address)).collect();
    let file = |tls: &str| {
        let endpoints = endpoints.join(", ");
        bed.write("cluster.yml", &format!("endpoints: [{endpoints}]\nlogin: {{ user: root@pam }}\ntls: {tls}\n"));
    };
    file("{ ca_file: openssl/ca.pem }");
    let json = bed.json();
    assert_eq!(json["exit"], 3);
    for ((name, kinds, _), seen) in cases.iter().zip(json["endpoints"].as_array().unwrap()) {
        let found: Vec<&str> =
            seen["doubts"].as_array().unwrap().iter().map(|doubt| doubt["kind"].as_str().unwrap()).collect();
        assert_eq!(found, *kinds, "{name}: {seen}");
        let pem = format!("{name}.pem");
        let theirs =
            openssl.run(&["x509", "-in", &pem, "-noout", "-fingerprint", "-sha256", "-dates", "-dateopt", "iso_8601"]);
        let date = |key: &str| seen[key].as_str().unwrap().replace('T', " ");
        has(&theirs, &[seen["fingerprint"].as_str().unwrap(), &date("not_before"), &date("not_after")]);
    }
    let (code, told) = bed.trust(&[]);
    assert_eq!(code, Some(3), "{told}");
    has(&told, &cases.map(|(_, _, text)| text));
    has(&told, &["2020-01-01 00:00:00 UTC to 2021-01-01 00:00:00 UTC (EXPIRED "]);
    // None of them is a cluster with this authority, and nothing is written half.
    let (code, told) = bed.trust(&["--write", "pins", "--yes"]);
    assert_ne!(code, Some(0), "{told}");

    // The same authority, as one of this machine.
    file("system");
    let mut command = bed.command(&["trust", "-i", "cluster.yml", "-o", "jsonl"]);
    let output = command.env("SSL_CERT_FILE", openssl.dir.join("ca.pem")).output().unwrap();
    let lines: Vec<Json> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let believed: Vec<bool> = lines[..6].iter().map(|seen| seen["believed"] == true).collect();
    assert_eq!(believed, [true, false, false, false, false, false], "{}", said(&output));
    assert_eq!(lines[6]["exit"], 3);

    // Pins ask neither for a name nor for dates.
    let pins: Vec<String> =
        json["endpoints"].as_array().unwrap().iter().map(|seen| seen["fingerprint"].to_string()).collect();
    file(&format!("{{ fingerprints: [{}] }}", pins.join(", ")));
    let (code, told) = bed.trust(&[]);
    assert_eq!(code, Some(0), "{told}");
    for server in &servers {
        let printed = server.printed.lock().unwrap();
        assert!(!printed.contains("GET ") && !printed.contains("POST "), "something was sent: {printed}");
    }
}

/// Between us and the second node stands somebody with a certificate of his own.
#[test]
fn who_is_named_by_no_node_is_not_pinned_and_gets_no_password() {
    let bed = Bed::new();
    let Some(openssl) = Openssl::new(bed.dir.path()) else { return };
    openssl.self_signed("between", "/CN=pve2");
    let between = openssl.serve("between");
    let text = bed.fresh(&["pve1", "pve2"], "").replace(bed.at("pve2"), &between.address);
    bed.write("cluster.yml", &text);
    for what in ["pins", "ca"] {
        let (code, told) = bed.trust(&["--write", what, "--expect", bed.pin("pve1")]);
        assert_eq!(code, Some(1), "{told}");
        has(&told, &[&between.address, "nothing is written"]);
        assert_eq!(bed.read("cluster.yml"), text);
    }
    assert!(!bed.path("cluster-ca.pem").exists());
    let printed = between.printed.lock().unwrap().clone();
    assert!(!printed.contains("POST "), "{printed}");
}

#[test]
fn who_does_not_answer_is_told_and_nothing_is_written() {
    let bed = Bed::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plain_at = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let endpoints = [silent.local_addr().unwrap(), closed, plain_at].map(|at| format!("'{at}'")).join(", ");
    let text =
        bed.fresh(&["pve1"], "").replacen("endpoints: [", &format!("endpoints: [nowhere.invalid, {endpoints}, "), 1);
    bed.write("cluster.yml", &text);
    let (code, told) = bed.trust(&["--write", "pins", "--expect", bed.pin("pve1")]);
    assert_eq!(code, Some(4), "{told}");
    has(
        &told,
        &["`nowhere.invalid` is not found", "no answer within 10 s", "refused", "does not speak TLS", bed.pin("pve1")],
    );
    has(&told, &["nothing is written"]);
    assert_eq!(bed.read("cluster.yml"), text);
}
