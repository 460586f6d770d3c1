//! `converge drift` in the lab over days of its time, as a transcript: what is typed, and what a person then reads.
//!
//! `tests/cases/drift/days.txt` holds commands (`$ …`) and what they print. `converge` is the real program, `mail` shows the
//! subjects of what was mailed since the last time, `lab sleep HOURS` lets the lab's clock go on, and `heal` is an apply whose words do not matter here. Moments, spans of
//! milliseconds and ids are written as `<when>`, `<ms>` and `<id>`: they differ from run to run.

use regex::Regex;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NOTIFY: &str = "timezone: UTC\nchannels:\n  root:\n    mail: { to: [root], command: [SENDMAIL] }\n";

struct Bed {
    dir: tempfile::TempDir,
    mails: std::cell::Cell<usize>,
    id: std::cell::RefCell<String>,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
        std::fs::create_dir(dir.path().join("vars")).unwrap();
        for file in ["drbd-nfs.yml", "vars/drbd-nfs.yml"] {
            std::fs::copy(from.join(file), dir.path().join(file)).unwrap();
        }
        let sendmail = dir.path().join("sendmail");
        let script = format!("#!/bin/sh\ncat > {}/mail.$(date +%s%N)\n", dir.path().display());
        std::fs::write(&sendmail, script).unwrap();
        Command::new("chmod").arg("755").arg(&sendmail).status().unwrap();
        let notify = NOTIFY.replace("SENDMAIL", &sendmail.display().to_string());
        std::fs::write(dir.path().join("notify.yml"), notify).unwrap();
        let bed = Self { dir, mails: 0.into(), id: String::new().into() };
        assert_eq!(bed.converge(&["apply", "drbd-nfs.yml", "--lab"]).status.code(), Some(0));
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn converge(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_converge"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("USER", "ann")
            .env("TZ", "UTC")
            .output()
            .unwrap()
    }

    /// What is printed for one line of the transcript.
    fn answer(&self, line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(|word| word.replace("ID", &self.id.borrow())).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = match words.as_slice() {
            ["mail"] => return self.mail(),
            ["heal"] => {
                let code = self.converge(&["apply", "drbd-nfs.yml", "--lab"]).status.code().unwrap();
                return if code == 0 { String::new() } else { format!("exit {code}\n") };
            }
            ["lab", "sleep", hours] => {
                let seconds = (hours.parse::<u64>().unwrap() * 3600).to_string();
                self.converge(&["lab", "shell", "pve1", "sleep", &seconds])
            }
            ["converge", args @ ..] => self.converge(args),
            other => panic!("what is `{}`?", other.join(" ")),
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let code = output.status.code().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let errors: String = errors.lines().filter(|l| l.starts_with("error")).map(|l| format!("{l}\n")).collect();
        let exit = if code == 0 { String::new() } else { format!("exit {code}\n") };
        let text = format!("{text}{errors}{exit}");
        let id = Regex::new(r"\[([0-9a-f]{12})\]").unwrap();
        if let Some(found) = id.captures(&text) {
            self.id.replace(found[1].to_owned());
        }
        text
    }

    fn mail(&self) -> String {
        let entries = std::fs::read_dir(self.dir.path()).unwrap().flatten();
        let mut mails: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        mails.retain(|name| name.starts_with("mail."));
        mails.sort();
        let fresh = &mails[self.mails.replace(mails.len())..];
        let subject = |name: &String| {
            let text = std::fs::read_to_string(self.path(name)).unwrap();
            let line = text.lines().find(|line| line.starts_with("Subject: ")).unwrap_or_default();
            format!("{line}\n")
        };
        fresh.iter().map(subject).collect()
    }
}

fn steady(text: &str) -> String {
    let mut text = text.to_owned();
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    text = Regex::new(&format!(r"\b{}\b", regex::escape(&here))).unwrap().replace_all(&text, "<here>").into_owned();
    for (pattern, with) in [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? [A-Z]+", "<when>"),
        (r"[0-9a-f]{12}", "<id>"),
        (r"\(\d+ ms\)|\(\d+\.\d s\)", "(<ms>)"),
        (r"ann@\S+:", "ann@<here>:"),
        (r"converge: \S+:", "converge: <here>:"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    }
    text
}

#[test]
fn days_of_drift() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/drift/days.txt");
    let wanted = std::fs::read_to_string(&path).unwrap();
    let bed = Bed::new();
    let mut found = String::new();
    for line in wanted.lines() {
        if line.starts_with('#') || line.is_empty() {
            found.push_str(&format!("{line}\n"));
        } else if let Some(command) = line.strip_prefix("$ ") {
            found.push_str(&format!("{line}\n"));
            // Indented, so that an empty line or one with `#` is not taken for the transcript's own.
            let answer = steady(&bed.answer(command));
            found.extend(
                answer.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").filter(|l| l != "\n"),
            );
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert!(found == wanted, "{}", similar::TextDiff::from_lines(&wanted, &found).unified_diff());
    // The forms of the last run are those of one run.
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(bed.path("reports/report.json")).unwrap()).unwrap();
    assert_eq!(report["mode"], "drift");
    for form in ["report.html", "junit.xml", "drift.prom"] {
        assert!(bed.path("reports").join(form).exists(), "{form}");
    }
}
