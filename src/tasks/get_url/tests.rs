use super::*;
use crate::engine::{apply, check};
use crate::host::Preview;
use crate::tasks::fake::{Fake, faults, idle, refuses, task};
use crate::wire::Status;

const SUM: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn args(more: serde_json::Value) -> GetUrl {
    let mut all = json!({"url": "https://example.org/tool", "dest": "/etc/tool"});
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    task(all)
}

fn host() -> Fake {
    let host = Fake::with(&[]);
    host.answer(&["curl", "--version"], Output::ok("curl 8\n"));
    host
}

#[test]
fn a_download_is_verified_before_it_takes_its_place() {
    let host = host();
    host.file("/etc/tool", "old", 0o750);
    host.file("/etc/.tool.converge-download", "", 0o600);
    host.answer(&["sha256sum", "/etc/tool"], Output::ok("00ff  /etc/tool\n"));
    apply(&args(json!({"checksum": format!("sha256:{SUM}")})), &host, &[], &mut |_, _| {});
    let done = host.done.borrow();
    assert_eq!(
        *done,
        [
            "curl -fsSL --proto =https,http --connect-timeout 10 -o /etc/.tool.converge-download \
             https://example.org/tool",
            "sha256sum -c --strict -",
            "set mode and owner of /etc/.tool.converge-download",
            "mv -fT /etc/.tool.converge-download /etc/tool",
        ]
    );
    assert_eq!(host.mode("/etc/.tool.converge-download"), 0o750);
}

#[test]
fn what_is_there_is_compared_by_its_sum_or_left_alone() {
    let host = Fake::with(&[("/etc/tool", "hello\n")]);
    idle(&args(json!({})), &host);
    host.answer(&["sha256sum", "/etc/tool"], Output::ok(format!("{SUM}  /etc/tool\n")));
    idle(&args(json!({"checksum": format!("sha256:{}", SUM.to_uppercase())})), &host);
    let preview = Preview::new(host);
    let mode = check(&args(json!({"mode": "0755"})), &preview);
    assert_eq!((mode.status, mode.summary.as_str()), (Status::Drifted, "set mode of /etc/tool"));
}

#[test]
fn headers_reach_curl_and_nobody_else() {
    let args = args(json!({"headers": {"Authorization": "Bearer s3cret", "X-Build": "7"}}));
    let host = host();
    host.file("/etc/.tool.converge-download", "", 0o600);
    let seen = Task::probe(&args, &host).unwrap();
    let crate::tasks::Decision::Drift(change) = args.decide(&seen).decision else { panic!("no drift") };
    let Action::Run { argv, stdin: Some(stdin), .. } = &change.steps[0].action else { panic!("no stdin") };
    assert_eq!(argv[argv.len() - 5..argv.len() - 2], ["-H", "@-", "-o"]);
    assert_eq!(stdin.0, b"Authorization: Bearer s3cret\nX-Build: 7\n");
    let result = apply(&args, &host, &[], &mut |_, _| {});
    for shown in
        [format!("{args:?}"), format!("{:?}", change.steps), format!("{result:?}"), host.done.borrow().join("\n")]
    {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    // wget would take them on its command line only.
    let host = Fake::with(&[]);
    host.answer(&["wget", "--version"], Output::ok("GNU Wget 1.21\n"));
    host.answer(&["curl", "--version"], Output::default());
    let none = NoCurl(host);
    let seen = Task::probe(&args, &none).unwrap();
    let crate::tasks::Decision::Blocked(why) = args.decide(&seen).decision else { panic!("not blocked") };
    assert!(why.contains("need curl"), "{why}");
}

/// A host without curl.
struct NoCurl(Fake);

impl Probe for NoCurl {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        self.0.read(path)
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        self.0.stat(path)
    }
    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, LookError> {
        self.0.list(path)
    }
    fn query(&self, query: &Query) -> Result<Output, LookError> {
        match query.argv[0].as_str() {
            "curl" => Err(LookError::NoProgram { program: "curl".into() }),
            _ => self.0.query(query),
        }
    }
    fn api(&self, get: &crate::host::ApiGet) -> Result<serde_json::Value, LookError> {
        self.0.api(get)
    }
}

#[test]
fn headers_without_encryption_are_warned_of() {
    let args = args(json!({"url": "http://a/b", "headers": {"X": "y"}, "checksum": format!("sha256:{SUM}")}));
    let result = check(&args, &Preview::new(host()));
    assert!(format!("{result:?}").contains("the headers travel without encryption"), "{result:?}");
}

#[test]
fn a_directory_takes_the_name_from_the_url() {
    let preview = Preview::new(host());
    let result = check(&args(json!({"url": "https://example.org/a/tool.sh?x=1", "dest": "/etc/"})), &preview);
    assert_eq!(result.summary, "fetch /etc/tool.sh");
    refuses(&args(json!({"dest": "/nowhere/x"})), &host(), "the directory of /nowhere/x does not exist");
}

#[test]
fn faults_are_found_without_a_host() {
    for (args, fault) in [
        (json!({"url": "ftp://a/b", "dest": "/x"}), "only http and https"),
        (json!({"url": "https://u:p@a/b", "dest": "/x"}), "credentials"),
        (json!({"url": "https://a/", "dest": "/x/"}), "names no file"),
        (json!({"url": "https://a/b", "dest": "/x", "checksum": "md5:00"}), "neither sha256"),
        (json!({"url": "https://a/b", "dest": "/x", "checksum": "sha256:00"}), "not 64 hexadecimal"),
        (json!({"url": "https://a/b", "dest": "/x", "headers": {"A B": "c"}}), "not the name of a header"),
        (json!({"url": "https://a/b", "dest": "/x", "headers": {"A": "s3cret\nX: y"}}), "line ends in it"),
    ] {
        let found = faults::<GetUrl>(args.clone());
        assert!(found.contains(fault), "{args}: {found}");
        assert!(!found.contains("s3cret"), "{found}");
    }
}
