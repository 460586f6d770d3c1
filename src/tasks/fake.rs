//! A host in memory for tests of kinds: files and scripted answers. A question nobody scripted is an error, so that a
//! test cannot pass on an answer by chance.

use super::{ResolveError, Source, SourceEntry, SourceItem, Workstation};
use crate::host::{Action, ApiGet, Bytes, FileKind, Host, LookError, Output, Probe, Query, Stat, Step, StepError};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Default)]
pub struct Fake {
    pub files: RefCell<BTreeMap<PathBuf, (Stat, Vec<u8>)>>,
    pub answers: RefCell<BTreeMap<Vec<String>, Output>>,
    /// What was performed, in words.
    pub done: RefCell<Vec<String>>,
}

pub fn stat(kind: FileKind, mode: u32) -> Stat {
    Stat {
        kind,
        mode,
        owner: "root".into(),
        group: "root".into(),
        size_bytes: 0,
        link_target: None,
        modified_s: 1_700_000_000,
    }
}

impl Fake {
    /// A host with `/etc` and these files, all 0644.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let fake = Self::default();
        fake.directory("/etc");
        for (path, text) in files {
            fake.file(path, text, 0o644);
        }
        fake
    }

    pub fn directory(&self, path: &str) {
        for dir in Path::new(path).ancestors() {
            self.files.borrow_mut().entry(dir.into()).or_insert((stat(FileKind::Directory, 0o755), Vec::new()));
        }
    }

    pub fn file(&self, path: &str, text: &str, mode: u32) {
        self.directory(&Path::new(path).parent().unwrap().to_string_lossy());
        let stat = Stat { size_bytes: text.len() as u64, ..stat(FileKind::File, mode) };
        self.files.borrow_mut().insert(path.into(), (stat, text.as_bytes().to_vec()));
    }

    pub fn link(&self, path: &str, target: &str) {
        let stat = Stat { link_target: Some(target.into()), ..stat(FileKind::Symlink, 0o777) };
        self.files.borrow_mut().insert(path.into(), (stat, Vec::new()));
    }

    pub fn answer(&self, argv: &[&str], output: Output) {
        self.answers.borrow_mut().insert(argv.iter().map(|s| (*s).to_owned()).collect(), output);
    }

    pub fn text(&self, path: &str) -> Option<String> {
        self.files.borrow().get(Path::new(path)).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn mode(&self, path: &str) -> u32 {
        self.files.borrow()[Path::new(path)].0.mode
    }

    fn real(&self, path: &Path) -> PathBuf {
        match self.files.borrow().get(path) {
            Some((Stat { link_target: Some(target), .. }, _)) => path.parent().unwrap().join(target),
            _ => path.to_owned(),
        }
    }
}

impl Probe for Fake {
    fn name(&self) -> &str {
        "fake"
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        Ok(self.files.borrow().get(&self.real(path)).map(|(_, bytes)| bytes.clone()))
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        Ok(self.files.borrow().get(path).map(|(stat, _)| stat.clone()))
    }
    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        let files = self.files.borrow();
        if !files.contains_key(dir) {
            return Ok(None);
        }
        let inside = files.keys().filter(|p| p.parent() == Some(dir));
        Ok(Some(inside.map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()))
    }
    fn query(&self, query: &Query) -> Result<Output, LookError> {
        let answers = self.answers.borrow();
        let scripted = answers.get(&query.argv).cloned();
        scripted.ok_or_else(|| LookError::cannot_tell(query.argv.join(" "), "no answer scripted"))
    }
    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        Err(LookError::cannot_tell(&get.path, "no API here"))
    }
}

impl Host for Fake {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        self.done.borrow_mut().push(step.describe());
        let now = |path: &str, kind, fresh| match self.files.borrow().get(Path::new(path)) {
            Some((stat, _)) if stat.kind == kind => stat.clone(),
            _ => stat(kind, fresh),
        };
        let attrs = |mut stat: Stat, mode: &Option<u32>, owner: &Option<String>, group: &Option<String>| {
            stat.mode = mode.unwrap_or(stat.mode);
            stat.owner = owner.clone().unwrap_or(stat.owner);
            stat.group = group.clone().unwrap_or(stat.group);
            stat
        };
        match &step.action {
            Action::WriteFile { path, content, mode, owner, group, .. } => {
                let mut stat = attrs(now(path, FileKind::File, 0o644), mode, owner, group);
                stat.size_bytes = content.0.len() as u64;
                self.files.borrow_mut().insert(path.into(), (stat, content.0.clone()));
            }
            Action::CreateDirectory { path, mode, owner, group } => {
                let stat = attrs(now(path, FileKind::Directory, 0o755), mode, owner, group);
                self.files.borrow_mut().insert(path.into(), (stat, Vec::new()));
            }
            Action::SetAttributes { path, mode, owner, group } => {
                let mut files = self.files.borrow_mut();
                let entry = files.get_mut(Path::new(path)).expect("attributes of nothing");
                entry.0 = attrs(entry.0.clone(), mode, owner, group);
            }
            Action::Symlink { path, target } => self.link(path, target),
            Action::InstallSelf { path, size_bytes, .. } => {
                self.file(path, "", 0o755);
                self.files.borrow_mut().get_mut(Path::new(path)).unwrap().0.size_bytes = *size_bytes;
            }
            Action::Remove { path, .. } => self.files.borrow_mut().retain(|p, _| !p.starts_with(path)),
            Action::Run { .. } | Action::Api { .. } | Action::Sleep { .. } => {}
        }
        Ok(Output::default())
    }
}

/// The files below a directory as [`Workstation::source`] gives them, all of them 0644.
pub fn source_tree<'a>(path: &str, files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Source {
    let mut entries = vec![SourceEntry { path: String::new(), item: SourceItem::Directory }];
    for (name, bytes) in files {
        let above: Vec<&str> = Path::new(name).ancestors().skip(1).filter_map(Path::to_str).collect();
        for dir in above.into_iter().rev() {
            if entries.iter().all(|e| e.path != dir) {
                entries.push(SourceEntry { path: dir.to_owned(), item: SourceItem::Directory });
            }
        }
        let item = SourceItem::File { mode: 0o644, content: Bytes(bytes.to_vec()) };
        entries.push(SourceEntry { path: name.to_owned(), item });
    }
    Source { path: path.to_owned(), entries }
}

/// A workstation with these files; rendering replaces `{{ x }}` by `X`.
pub struct Desk(pub BTreeMap<&'static str, &'static [u8]>);

impl Workstation for Desk {
    fn file(&self, folder: &str, name: &str) -> Result<(String, Vec<u8>), ResolveError> {
        let path = format!("{folder}/{name}");
        match self.0.get(path.as_str()) {
            Some(bytes) => Ok((path, bytes.to_vec())),
            None => Err(ResolveError::Fault(format!("{path} is not there"))),
        }
    }
    fn source(&self, folder: &str, name: &str, _: bool) -> Result<Source, ResolveError> {
        let path = format!("{folder}/{}", name.trim_end_matches('/'));
        let inside = format!("{path}/");
        let below = self.0.iter().filter_map(|(key, bytes)| Some((key.strip_prefix(&inside)?, *bytes)));
        let tree = source_tree(&path, below);
        if tree.entries.len() > 1 {
            return Ok(tree);
        }
        let (path, content) = self.file(folder, name.trim_end_matches('/'))?;
        let item = SourceItem::File { mode: 0o644, content: Bytes(content) };
        Ok(Source { path, entries: vec![SourceEntry { path: String::new(), item }] })
    }
    fn render(&self, _: &str, text: &str) -> Result<String, ResolveError> {
        Ok(text.replace("{{ x }}", "X"))
    }
    fn eval(&self, _: &str) -> Result<Json, ResolveError> {
        Ok(Json::Null)
    }
}

/// Reads a task from its wire form.
pub fn task<T: super::Task>(args: Json) -> T {
    serde_json::from_value(args).expect("arguments of a test")
}

/// Applies with the engine, expects a change, and expects that nothing is left to do. Returns the diff.
#[track_caller]
pub fn converges<T: super::Task>(task: &T, host: &Fake) -> String {
    use crate::wire::Status;
    let first = crate::engine::apply(task, host, &[], &mut |_, _| {});
    assert_eq!(first.status, Status::Changed, "{}", first.summary);
    let second = crate::engine::apply(task, host, &[], &mut |_, _| {});
    assert_eq!(second.status, Status::Ok, "second: {}", second.summary);
    first.diff
}

/// Applies with the engine and expects that it is refused with a reason that contains `reason`.
#[track_caller]
pub fn refuses<T: super::Task>(task: &T, host: &Fake, reason: &str) {
    use crate::wire::Status;
    let result = crate::engine::apply(task, host, &[], &mut |_, _| {});
    assert!(matches!(result.status, Status::Blocked | Status::Failed), "{:?} {}", result.status, result.summary);
    assert!(result.summary.contains(reason), "{}", result.summary);
    assert!(host.done.borrow().is_empty(), "{:?}", host.done.borrow());
}

/// Applies with the engine and expects that there is nothing to do.
#[track_caller]
pub fn idle<T: super::Task>(task: &T, host: &Fake) {
    let result = crate::engine::apply(task, host, &[], &mut |_, _| {});
    assert_eq!(result.status, crate::wire::Status::Ok, "{}\n{}", result.summary, result.diff);
}

/// The faults that the kind itself finds, one line each.
pub fn faults<T: super::Task>(args: Json) -> String {
    super::Task::check_args(&task::<T>(args)).into_iter().map(|f| f.message + "\n").collect()
}
