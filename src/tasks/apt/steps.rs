//! The commands that change packages, with what a preview shall expect of them.

use super::look::{self, Lists, NOTES, Row, UPDATE_PREDICTED, UPDATED};
use super::{Apt, Seen, State, Upgrade};
use crate::host::{Action, Bytes, Effect, Output, Step, Topic};
use std::collections::BTreeMap;

/// Questions are answered by nobody; services are not restarted behind our back.
fn environment() -> BTreeMap<String, String> {
    [("DEBIAN_FRONTEND", "noninteractive"), ("APT_LISTCHANGES_FRONTEND", "none"), ("NEEDRESTART_MODE", "l")]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn run(argv: Vec<String>, timeout_s: u64) -> Step {
    Action::Run { argv, stdin: None, env: environment(), cwd: None, timeout_s, ok_codes: vec![0] }.into()
}

fn strings<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

/// Fetches the package lists and notes that they are fresh. `lock_timeout`: seconds.
pub fn update(lists: &Lists, lock_timeout: u64) -> Vec<Step> {
    let lock = format!("DPkg::Lock::Timeout={lock_timeout}");
    let mut steps = vec![run(strings(["apt-get", "update", "-o", &lock]), 900)];
    if !lists.notes_exist {
        let (path, mode) = (NOTES.to_owned(), Some(0o700));
        steps.push(Action::CreateDirectory { path, mode, owner: None, group: None }.into());
    }
    let now = lists.now_s.unwrap_or_default();
    for note in &lists.stale_notes {
        steps.push(Action::Remove { path: note.clone(), recursive: false }.into());
    }
    if now > 0 {
        steps.push(note_file(UPDATED, &format!("{now}\n")));
    }
    // A preview sees this file and not its removal: it cannot know which names the new lists will have.
    steps.push(note_file(UPDATE_PREDICTED, ""));
    steps.push(run(strings(["rm", "-f", UPDATE_PREDICTED]), 30));
    steps
}

fn note_file(path: &str, text: &str) -> Step {
    Action::WriteFile {
        path: path.to_owned(),
        content: Bytes(text.as_bytes().to_vec()),
        mode: Some(0o600),
        owner: None,
        group: None,
        validate: None,
        backup: false,
    }
    .into()
}

impl Apt {
    fn options(&self) -> Vec<String> {
        let mut options = vec!["-o".to_owned(), format!("DPkg::Lock::Timeout={}", self.lock_timeout)];
        for option in self.dpkg_options.split(',').filter(|o| !o.is_empty()) {
            options.extend(["-o".to_owned(), format!("Dpkg::Options::=--{option}")]);
        }
        options
    }

    /// `apt-get` arguments after the options: what to do with which packages.
    pub(super) fn install_words(&self, specs: &[String]) -> Vec<String> {
        let mut words = strings(["install", "--no-remove"]);
        match self.install_recommends {
            Some(true) => words.extend(strings(["-o", "APT::Install-Recommends=true"])),
            Some(false) => words.push("--no-install-recommends".into()),
            None => {}
        }
        if let Some(release) = &self.default_release {
            words.extend(["-t".to_owned(), release.clone()]);
        }
        for (wanted, option) in [
            (self.only_upgrade, "--only-upgrade"),
            (self.allow_downgrade, "--allow-downgrades"),
            (self.allow_change_held_packages, "--allow-change-held-packages"),
        ] {
            if wanted {
                words.push(option.into());
            }
        }
        words.push("--".into());
        words.extend(specs.iter().cloned());
        words
    }

    pub(super) fn remove_words(&self, names: &[String]) -> Vec<String> {
        let mut words = strings([if self.purge { "purge" } else { "remove" }]);
        if self.autoremove {
            words.push("--auto-remove".into());
        }
        if self.allow_change_held_packages {
            words.push("--allow-change-held-packages".into());
        }
        words.push("--".into());
        words.extend(names.iter().cloned());
        words
    }

    pub(super) fn upgrade_words(&self) -> Vec<String> {
        match self.upgrade {
            Upgrade::Full => strings(["dist-upgrade", "--no-remove"]),
            _ => strings(["upgrade", "--with-new-pkgs", "--no-remove"]),
        }
    }

    pub(super) fn autoremove_words(&self) -> Vec<String> {
        if self.purge { strings(["autoremove", "--purge"]) } else { strings(["autoremove"]) }
    }

    /// `apt-get -s …`: takes no lock and changes nothing.
    pub(super) fn simulation(words: Vec<String>) -> Vec<String> {
        let mut argv = strings(["apt-get", "-s"]);
        argv.extend(words);
        argv
    }

    pub(super) fn step(&self, words: Vec<String>) -> Step {
        let mut argv = strings(["apt-get", "-y"]);
        argv.extend(self.options());
        argv.extend(words);
        run(argv, self.timeout_s)
    }

    /// Answers that dpkg will give when the packages of this task are as described, and doubt on everything that
    /// packages bring. `versions`: what is known of them.
    pub(super) fn expect(&self, mut step: Step, seen: &Seen, versions: &BTreeMap<String, String>) -> Step {
        let mut rows: Vec<Row> = Vec::new();
        for name in self.names() {
            let (plain, arch) = name.split_once(':').map_or((name.as_str(), "all"), |(n, a)| (n, a));
            let mut row = seen.row(&name).cloned().unwrap_or_else(|| Row {
                name: plain.to_owned(),
                arch: arch.to_owned(),
                version: String::new(),
                want: "install".into(),
                flag: "ok".into(),
                status: "not-installed".into(),
            });
            if self.state == State::Absent {
                row.status = if self.purge { "not-installed" } else { "config-files" }.into();
                row.want = if self.purge { "purge" } else { "deinstall" }.into();
            } else if seen.provided_by.contains_key(&name) {
                continue;
            } else {
                row.status = "installed".into();
                if let Some(version) = versions.get(&name) {
                    row.version.clone_from(version);
                }
            }
            rows.push(row);
        }
        let text = |rows: &[Row]| rows.iter().map(Row::line).collect::<String>();
        if rows.len() > 1 {
            step = step.answers(look::rows_query(&self.names()), Output::ok(text(&rows)));
        }
        for row in rows {
            step = step.unsettles(Topic::Package(row.name.clone()));
            step = step.answers(look::rows_query(std::slice::from_ref(&row.name)), Output::ok(row.line()));
        }
        if self.state != State::Absent {
            let what = format!("package {}", self.names().join(", "));
            step = step.effect(Effect::MayBring { what });
        }
        step
    }
}
