//! Links through a node's REST shell: a real PTY with a noisy login shell behind termproxy's protocol; no SSH anywhere.

#[path = "support/sshd.rs"]
mod sshd;
#[path = "support/termproxy.rs"]
mod termproxy;

use sshd::said;
use std::fs;
use std::process::{Command, Output};

struct Bed {
    dir: tempfile::TempDir,
    node: termproxy::Node,
}

impl Bed {
    fn new() -> Option<Self> {
        for name in ["script", "bash", "stty"] {
            if sshd::program(name).is_none() {
                eprintln!("skipped: no {name}");
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let noise = "printf '\\033[2J\\033[1;31mWelcome\\033[0m to the machine\\r\\n@boot nonsense\\n@converge:\\n'\n\
                     echo 'Last login: today'\nPS1='\\[\\e]0;title\\a\\]\\[\\e[1;32m\\]\\u@\\h\\[\\e[0m\\]:\\w\\$ '\nset -o vi\n\
                     PROMPT_COMMAND='echo busy prompt'\n";
        fs::write(dir.path().join(".bash_profile"), noise).unwrap();
        let node = termproxy::serve(dir.path().to_owned(), dir.path().join("ended"));
        Some(Self { dir, node })
    }

    fn cluster(&self, login: &str) {
        let text = format!(
            "endpoints: ['127.0.0.1:{0}']\nlogin: {login}\ntls: {{ fingerprints: ['{1}'] }}\nlink: pve_shell\n\
             nodes:\n  one: {{ endpoint: '127.0.0.1:{0}' }}\nvars: {{ converge_agent_dir: {2}/agent }}\n",
            self.node.port,
            self.node.fingerprint,
            self.dir.path().display()
        );
        fs::write(self.dir.path().join("cluster.yml"), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(words).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command.env("PW", "secret").env("PATH", std::env::var_os("PATH").unwrap()).env("CONVERGE_AGENT", sshd::agent());
        command.output().unwrap()
    }

    fn ended(&self) -> String {
        fs::read_to_string(self.dir.path().join("ended")).unwrap_or_default()
    }
}

#[test]
fn a_noisy_login_shell_becomes_a_link() {
    let Some(bed) = Bed::new() else { return };
    bed.cluster("{ user: root@pam, password: { env: PW } }");
    let text = "- hosts: nodes\n  tasks:\n    - name: a file\n      copy: { dest: 'DIR/made', content: \"one\\ttwo ^C\\x03 \\xe4\\n\" }\n    - name: a program\n      command: echo through\n      register: said\n    - assert: { that: \"said.stdout == 'through'\" }\n";
    fs::write(bed.dir.path().join("site.yml"), text.replace("DIR", &bed.dir.path().display().to_string())).unwrap();
    let applied = bed.run(&["apply", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(applied.status.code(), Some(0), "{}\n{}", said(&applied), bed.ended());
    assert_eq!(fs::read_to_string(bed.dir.path().join("made")).unwrap(), "one\ttwo ^C\u{3} \u{e4}\n");
    let agents = || fs::read_dir(bed.dir.path().join("agent")).unwrap().count();
    assert_eq!(agents(), 1);
    let again = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
    assert!(matches!(again.status.code(), Some(0 | 3)), "{}", said(&again));
    assert!(said(&again).contains("one"), "{}", said(&again));
    assert_eq!(agents(), 1);
    for output in [&applied, &again] {
        assert!(!said(output).contains("secret") && !said(output).contains("PVEVNC"), "{}", said(output));
    }
}

#[test]
fn a_token_gets_no_shell_and_is_told_why() {
    let Some(bed) = Bed::new() else { return };
    bed.cluster("{ token: root@pam!x, secret: { env: PW } }");
    fs::write(bed.dir.path().join("site.yml"), "- hosts: nodes\n  tasks: [{ command: id }]\n").unwrap();
    let checked = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(checked.status.code(), Some(4), "{}", said(&checked));
    assert!(said(&checked).contains("needs the password login of root@pam"), "{}", said(&checked));
}
