//! What is to be done about a package source, from what was seen. Pure.

use super::sources::{self, Entry};
use super::{AptRepository, Format, KEYRINGS, Key, PARTS, Seen, State};
use crate::host::{Action, Bytes, FileKind, Step};
use crate::tasks::args::FileMode;
use crate::tasks::managed::{self, Found, Plan};
use crate::tasks::{ArgFault, Verdict, apt, diff};

const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

impl AptRepository {
    pub(super) fn source_faults(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        let described = !(self.uris.is_empty() && self.suites.is_empty() && self.components.is_empty());
        match &self.repo {
            Some(repo) if repo.starts_with("ppa:") => {
                faults.push(ArgFault::at("repo", "PPAs are not resolved").help("write the `deb` line of the PPA"));
            }
            Some(_) if self.line().is_none() => {
                faults.push(ArgFault::at("repo", "this is not `deb [options] uri suite components`"));
            }
            Some(_) if described => {
                faults.push(ArgFault::at("repo", "`repo` and `uris`/`suites`/`components` exclude each other"));
            }
            Some(repo) => {
                for option in sources::options(repo).2 {
                    faults.push(ArgFault::at("repo", format!("option `{option}` is not known")));
                }
            }
            None if self.state == State::Absent && self.name.is_some() => {}
            None if self.uris.is_empty() => faults.push(ArgFault::task("neither `uris` nor `repo` says where it is")),
            None if self.suites.is_empty() => faults.push(ArgFault::task("`suites` is missing")),
            None => {}
        }
        if self.repo.is_none() && self.name.is_none() {
            faults.push(ArgFault::task("`name` is missing"));
        }
        let wanted = self.wanted();
        for suite in &wanted.suites {
            let path = suite.ends_with('/');
            if path && !wanted.components.is_empty() {
                faults.push(ArgFault::at("components", format!("the suite `{suite}` is a path and has no components")));
            }
            if !path && wanted.components.is_empty() {
                let field = if self.repo.is_some() { "repo" } else { "suites" };
                faults.push(ArgFault::at(field, format!("the suite `{suite}` needs components")));
            }
        }
        for kind in wanted.types.iter().filter(|kind| *kind != "deb" && *kind != "deb-src") {
            faults.push(ArgFault::at("types", format!("`{kind}` is neither `deb` nor `deb-src`")));
        }
        // run-parts' rule, which apt follows: a file with another name is ignored without a word.
        let name = self.name();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            faults.push(
                ArgFault::at("name", format!("apt ignores files named `{name}`")).help("use letters, digits, _ and -"),
            );
        }
        let words = [&wanted.types, &wanted.uris, &wanted.suites, &wanted.components, &wanted.architectures];
        if words.into_iter().flatten().any(|word| word.contains(|c: char| c.is_whitespace() || c == '[' || c == ']')) {
            faults.push(ArgFault::task("a word with white space or brackets in it cannot stand in a source"));
        }
        if self.resolved.is_some() {
            faults.push(ArgFault::at("resolved", "unknown field `resolved`"));
        }
        faults
    }

    pub(super) fn key_faults(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        let given = [&self.signed_by, &self.key_url, &self.key_file, &self.key];
        if given.into_iter().flatten().count() > 1 {
            faults.push(ArgFault::task("`signed_by`, `key_url`, `key_file` and `key` exclude each other"));
        }
        if let Some(url) = self.url() {
            let field = if self.key_url.is_some() { "key_url" } else { "signed_by" };
            if !(url.starts_with("https://") || url.starts_with("http://")) {
                faults.push(ArgFault::at(field, "a key is fetched by http or https"));
            }
            if managed::url_has_credentials(url) {
                faults.push(ArgFault::at(field, "credentials in a URL would show in the process list"));
            }
            if self.key_sha256.is_none() && self.state == State::Present {
                let fault = ArgFault::at(field, "a key from the network needs `key_sha256`");
                faults.push(fault.help("fetch it, verify its fingerprint, then: sha256sum FILE"));
            }
        }
        if let Some(sum) = &self.key_sha256
            && (sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            faults.push(ArgFault::at("key_sha256", "this is not a SHA-256: 64 hexadecimal digits"));
        }
        if let Key::Ring(path) = self.key_source() {
            faults.extend(managed::path_fault("signed_by", &path).map(|f| f.help("or an armored key, or a URL")));
        }
        if let (Some(sum), Key::Bytes { bytes, .. }, None) = (&self.key_sha256, self.key_source(), &self.key_file) {
            let found = diff::sha256(&bytes);
            // YAML's block scalars differ in the line end at the end only.
            let bare = diff::sha256(self.key.as_deref().or(self.signed_by.as_deref()).unwrap_or_default().as_bytes());
            if !sum.eq_ignore_ascii_case(&found) && !sum.eq_ignore_ascii_case(&bare) {
                faults.push(ArgFault::at("key_sha256", format!("the SHA-256 of the key is {found}")));
            }
        }
        faults
    }

    /// Whether an entry of another file is this source.
    pub(super) fn is_wanted(&self, entry: &Entry) -> bool {
        let wanted = self.wanted();
        wanted.types.contains(&entry.kind)
            && wanted.uris.iter().any(|uri| wanted.suites.iter().any(|suite| entry.same_place(uri, suite)))
            && (entry.components.is_empty() || entry.components.iter().any(|c| wanted.components.contains(c)))
    }

    fn deb822(&self, seen: &Seen) -> bool {
        match self.format {
            Format::Deb822 => true,
            Format::List => false,
            Format::Auto => {
                seen.sources.stat.is_some()
                    || match &seen.os {
                        Some((id, major)) if id == "ubuntu" => *major >= 24,
                        Some((_, major)) => *major >= 13,
                        // Debian's testing and unstable have no number.
                        None => true,
                    }
            }
        }
    }

    fn note(&self) -> String {
        format!("{}/{}{}", apt::NOTES, apt::STALE_PREFIX, self.name())
    }

    pub(super) fn present(&self, seen: &Seen) -> Verdict {
        let wanted = self.wanted();
        let conflict = seen.others.iter().find(|entry| {
            let same = wanted.uris.iter().any(|uri| wanted.suites.iter().any(|suite| entry.same_place(uri, suite)));
            self.enabled && entry.enabled && same && entry.signed_by != wanted.signed_by
        });
        if let Some(entry) = conflict {
            let other = entry.signed_by.as_deref().unwrap_or("no key of its own");
            return Verdict::blocked(format!(
                "{}:{} has the same source signed by {other}; with both, apt refuses to read any list. Remove one \
                 of them (`state: absent`)",
                entry.file, entry.line
            ));
        }
        let mut plan = match self.key_plan(seen) {
            Ok(plan) => plan,
            Err(why) => return Verdict::blocked(why),
        };
        let (file, stale_format, text) = if self.deb822(seen) {
            (&seen.sources, &seen.list, wanted.deb822())
        } else {
            (&seen.list, &seen.sources, wanted.one_line())
        };
        let attributes = managed::Wanted { mode: Some(&self.mode), ..managed::Wanted::default() };
        match attributes.plan(file, text.as_bytes(), None) {
            Ok(source) => add(&mut plan, source),
            Err(why) => return Verdict::blocked(why),
        }
        if stale_format.stat.is_some() {
            add(&mut plan, removal(stale_format));
        }
        let changed = !plan.is_empty();
        let owed = self.update_cache && seen.lists.stale_notes.contains(&self.note());
        if changed && self.enabled {
            self.note_stale(&mut plan, seen);
        }
        if (changed || owed) && self.update_cache {
            let mut lists = seen.lists.clone();
            if !lists.stale_notes.contains(&self.note()) {
                lists.stale_notes.push(self.note());
            }
            lists.notes_exist = true;
            plan.summary.push("fetch the package lists".into());
            plan.steps.extend(apt::update(&lists, 120));
        }
        let verdict = plan.verdict(format!("{} describes {}", file.path, wanted.suites.join(", ")));
        self.warnings(seen).into_iter().fold(verdict, Verdict::warn)
    }

    /// Before the change, so that a run that dies in between still leaves the note.
    fn note_stale(&self, plan: &mut Plan, seen: &Seen) {
        let mut first: Vec<Step> = Vec::new();
        if !seen.lists.notes_exist {
            let (path, mode) = (apt::NOTES.to_owned(), Some(0o700));
            first.push(Action::CreateDirectory { path, mode, owner: None, group: None }.into());
        }
        let (path, content) = (self.note(), Bytes::default());
        let write = Action::WriteFile {
            path,
            content,
            mode: Some(0o600),
            owner: None,
            group: None,
            validate: None,
            backup: false,
        };
        first.push(write.into());
        first.append(&mut plan.steps);
        plan.steps = first;
    }

    fn key_plan(&self, seen: &Seen) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let Some(found) = &seen.key else { return Ok(plan) };
        let directory = || -> Step {
            let (path, mode) = (KEYRINGS.to_owned(), Some(0o755));
            Action::CreateDirectory { path, mode, owner: None, group: None }.into()
        };
        let mode = FileMode::octal(0o644);
        let attributes = managed::Wanted { mode: Some(&mode), ..managed::Wanted::default() };
        match self.key_source() {
            Key::None => {}
            Key::Ring(path) => {
                if found.content.is_none() {
                    return Err(format!("the key ring {path} does not exist on this host"));
                }
            }
            Key::Bytes { bytes, .. } => {
                let mut found = found.clone();
                found.above = found.above.or(Some(FileKind::Directory));
                let key = attributes.plan(&found, &bytes, None)?;
                if !key.is_empty() && !seen.keyrings_exist {
                    plan.steps.push(directory());
                }
                add(&mut plan, key);
            }
            Key::Url { url, sha256, path } => {
                let now = found.content.as_ref().map(|bytes| diff::sha256(&bytes.0));
                if now.as_ref() == Some(&sha256) {
                    add(&mut plan, attributes.attributes(found));
                    return Ok(plan);
                }
                if !seen.keyrings_exist {
                    plan.steps.push(directory());
                }
                let was = now.map_or("absent".to_owned(), |sum| format!("sha256 {sum}"));
                plan.summary.push(format!("fetch the key {path}"));
                plan.diff = format!("--- {path}\n+++ {path}\n-{was}\n+sha256 {sha256} ({url})\n");
                let new = format!("{path}.new");
                // apt's own downloader: on every host that has apt, and it compares the sum before it hands out.
                plan.steps.push(Step::run([APT_HELPER, "download-file", &url, &new, &format!("SHA256:{sha256}")]));
                plan.steps.push(Step::run(["install", "-m", "0644", "-T", &new, &path]));
                plan.steps.push(Step::run(["rm", "-f", &new]));
            }
        }
        Ok(plan)
    }

    pub(super) fn absent(&self, seen: &Seen) -> Verdict {
        let mut plan = Plan::default();
        for file in [&seen.sources, &seen.list] {
            if file.stat.is_some() {
                add(&mut plan, removal(file));
            }
        }
        // Ansible's `state: absent` takes the line out of whatever file has it.
        for (file, text) in seen.foreign_lists.iter().filter(|_| self.repo.is_some()) {
            let kept: String = text
                .split_inclusive('\n')
                .filter(|line| sources::one_line(line).is_none_or(|entry| !self.is_wanted(&entry)))
                .collect();
            plan.summary.push(format!("take the source out of {file}"));
            plan.diff.push_str(&diff::unified(file, text, &kept));
            plan.steps.push(Step::write(file.clone(), kept));
        }
        let own = |path: &str| path.starts_with(KEYRINGS);
        if let (Some(key), false) = (&seen.key, matches!(self.key_source(), Key::Ring(_)))
            && key.stat.is_some()
            && own(&key.path)
            && seen.key_users.is_empty()
        {
            add(&mut plan, removal(key));
        }
        let left = seen.others.iter().find(|e| e.enabled && e.file.ends_with(".sources") && self.is_wanted(e));
        let verdict = plan.verdict(format!("{PARTS} has no source {}", self.name()));
        match left {
            Some(entry) => verdict.warn(format!("the source also stands in {}:{}", entry.file, entry.line)),
            None => verdict,
        }
    }

    fn warnings(&self, seen: &Seen) -> Vec<String> {
        let wanted = self.wanted();
        let mut warnings = Vec::new();
        for entry in seen.others.iter().filter(|e| e.enabled && self.is_wanted(e)) {
            warnings.push(format!("the same source stands in {}:{}", entry.file, entry.line));
        }
        let Some((id, major)) = &seen.os else { return warnings };
        if id != "debian" {
            return warnings;
        }
        let own = wanted.uris.iter().flat_map(|uri| wanted.suites.iter().map(move |suite| (uri, suite, None)));
        let others = seen.others.iter().filter(|e| e.enabled).map(|e| (&e.uri, &e.suite, Some(e)));
        for (uri, suite, entry) in own.chain(others) {
            // Proxmox VE n stands on Debian n + 4.
            let Some(release) = suite.strip_prefix("proxmox-").and_then(|n| n.parse::<u32>().ok()) else { continue };
            if uri.contains("packages.linbit.com/") && release + 4 != *major {
                let place = entry.map(|e| format!("{}:{}: ", e.file, e.line)).unwrap_or_default();
                let here = major.saturating_sub(4);
                warnings.push(format!(
                    "{place}LINBIT's suite {suite} is for Proxmox VE {release}; this host has Debian {major}, \
                     which is Proxmox VE {here}: use proxmox-{here} with component drbd-9"
                ));
            }
        }
        warnings
    }
}

fn add(plan: &mut Plan, more: Plan) {
    plan.summary.extend(more.summary);
    plan.diff.push_str(&more.diff);
    plan.steps.extend(more.steps);
}

fn removal(file: &Found) -> Plan {
    let text = file.content.as_ref().map(|b| String::from_utf8_lossy(&b.0).into_owned()).unwrap_or_default();
    Plan {
        summary: vec![format!("remove {}", file.path)],
        diff: diff::removed(&file.path, &text),
        steps: vec![Action::Remove { path: file.path.clone(), recursive: false }.into()],
    }
}
