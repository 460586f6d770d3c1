//! Laws that hold for every kind, run on the kind's own example: check changes nothing, apply converges, a second
//! apply is idle, check predicted what apply did, the wire keeps a task whole.
//!
//! A new kind needs one line in `grounds.rs`; without it `every_kind_has_a_ground` fails.

mod grounds;
mod lab;
mod stand_ins;

use converge::diagnostic::Sources;
use converge::engine;
use converge::host::{Bytes, Host, Local, Preview};
use converge::tasks::{AnyTask, KINDS, ResolveError, Source, SourceEntry, SourceItem, Touches, Workstation, registry};
use converge::wire::{HostResult, Status};
use converge::yaml;
use grounds::{GROUNDS, Ground, Rooted};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files and variables as far as examples need them.
struct Desk(&'static [(&'static str, &'static str)]);

impl Workstation for Desk {
    fn file(&self, _folder: &str, name: &str) -> Result<(String, Vec<u8>), ResolveError> {
        match self.0.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Ok((name.to_owned(), text.as_bytes().to_vec())),
            None => Err(ResolveError::Fault(format!("the ground of this kind has no file `{name}`"))),
        }
    }
    fn source(&self, folder: &str, name: &str, _follow: bool) -> Result<Source, ResolveError> {
        let entry = |path: &str, item| SourceEntry { path: path.to_owned(), item };
        let text = |text: &str| SourceItem::File { mode: 0o644, content: Bytes(text.as_bytes().to_vec()) };
        let below: Vec<_> = self.0.iter().filter_map(|(known, t)| Some((known.strip_prefix(name)?, *t))).collect();
        if !name.ends_with('/') || below.is_empty() {
            let (path, bytes) = self.file(folder, name)?;
            let item = SourceItem::File { mode: 0o644, content: Bytes(bytes) };
            return Ok(Source { path, entries: vec![entry("", item)] });
        }
        let mut entries = vec![entry("", SourceItem::Directory)];
        for (path, content) in below {
            if let Some((dir, _)) = path.rsplit_once('/') {
                entries.push(entry(dir, SourceItem::Directory));
            }
            entries.push(entry(path, text(content)));
        }
        Ok(Source { path: name.to_owned(), entries })
    }
    fn render(&self, _name: &str, text: &str) -> Result<String, ResolveError> {
        Ok(text.to_owned())
    }
    fn eval(&self, expression: &str) -> Result<Json, ResolveError> {
        match expression.trim() {
            "true" => Ok(Json::Bool(true)),
            "3 >= 3" => Ok(Json::Bool(true)),
            _ => Err(ResolveError::Fault(format!("the laws have no variables: {expression}"))),
        }
    }
}

/// The tasks of an example, without what they need from the workstation.
fn tasks(kind: &registry::Kind) -> Vec<Box<dyn AnyTask>> {
    let mut sources = Sources::default();
    let file = sources.add(format!("{}.yml", kind.name), kind.example);
    let list = yaml::parse(&sources, file).unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)));
    let items = list.items().unwrap_or_else(|| panic!("the example of {} is no list of tasks", kind.name));
    items
        .iter()
        .map(|item| {
            let entries = item.entries().expect("a task is a mapping");
            let named = entries.iter().find_map(|(key, args)| Some((registry::find(key.as_str()?)?, args)));
            let (found, args) = named.unwrap_or_else(|| panic!("the example of {} names no kind", kind.name));
            let faults = (found.check)(args);
            assert!(faults.is_empty(), "{}", sources.show(&faults, false));
            (found.decode)(args).unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)))
        })
        .collect()
}

/// A rooted directory, laid out for a kind.
struct Place {
    dir: tempfile::TempDir,
    ground: &'static Rooted,
}

impl Place {
    fn new(ground: &'static Rooted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = grounds::Root(dir.path());
        root.file("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n");
        root.file("etc/group", "root:x:0:\nwww-data:x:33:\n");
        root.dir("var/lib");
        root.dir("tmp");
        (ground.seed)(&root);
        Self { dir, ground }
    }

    fn host(&self) -> Box<dyn Host> {
        let host = Local::rooted("pve1", self.dir.path());
        match self.ground.programs {
            Some(programs) => Box::new(host.with_programs(programs(self.dir.path().to_owned()))),
            None => Box::new(host),
        }
    }

    fn tasks(&self, kind: &registry::Kind) -> Vec<Box<dyn AnyTask>> {
        let mut tasks = tasks(kind);
        for task in &mut tasks {
            task.resolve(&Desk(self.ground.desk)).unwrap_or_else(|e| panic!("{}: {e}", kind.name));
        }
        tasks
    }

    fn check(&self, kind: &registry::Kind) -> Vec<HostResult> {
        let preview = Preview::new(self.host());
        self.tasks(kind).iter().map(|task| engine::check(task.as_ref(), &preview)).collect()
    }

    fn apply(&self, kind: &registry::Kind) -> Vec<HostResult> {
        let host = self.host();
        self.tasks(kind).iter().map(|task| engine::apply(task.as_ref(), host.as_ref(), &[], &mut |_, _| {})).collect()
    }
}

/// Everything that can be seen of a tree: type and mode, time of change in nanoseconds, content or link target.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
    let mut all = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(path) = open.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let content = match () {
            () if meta.is_symlink() => std::fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            () if meta.is_dir() => {
                open.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
                Vec::new()
            }
            () => std::fs::read(&path).unwrap(),
        };
        all.insert(path, (meta.mode(), meta.mtime(), meta.mtime_nsec(), content));
    }
    all
}

/// Runs a law for every kind that has a rooted ground, and names all that break it.
fn for_every_kind(law: impl Fn(&registry::Kind, &'static Rooted) -> Result<(), String>) {
    let mut broken = Vec::new();
    for kind in KINDS {
        let Some((_, Ground::Rooted(ground))) = GROUNDS.iter().find(|(name, _)| *name == kind.name) else { continue };
        if let Err(why) = law(kind, ground) {
            broken.push(format!("{}: {why}", kind.name));
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn lines(results: &[HostResult]) -> String {
    results.iter().map(|r| format!("\n    {:?}: {}", r.status, r.summary)).collect()
}

#[test]
fn every_kind_has_a_ground() {
    for kind in KINDS {
        let lines = GROUNDS.iter().filter(|(name, _)| *name == kind.name).count();
        assert_eq!(lines, 1, "`{}` needs exactly one line in tests/laws/grounds.rs", kind.name);
    }
    for (name, _) in GROUNDS {
        assert!(KINDS.iter().any(|kind| kind.name == *name), "there is no kind `{name}`");
    }
}

#[test]
fn every_example_is_free_of_faults_and_uses_its_kind() {
    for kind in KINDS {
        let tasks = tasks(kind);
        assert!(tasks.iter().any(|task| task.kind() == kind.name), "the example of {} does not use it", kind.name);
    }
}

#[test]
fn check_changes_nothing() {
    for_every_kind(|kind, ground| {
        let place = Place::new(ground);
        let before = tree(place.dir.path());
        place.check(kind);
        let after = tree(place.dir.path());
        let changed = |path: &&PathBuf| before.get(*path) != after.get(*path);
        match before.keys().chain(after.keys()).find(changed) {
            Some(path) => Err(format!("check changed {}", path.display())),
            None => Ok(()),
        }
    });
}

#[test]
fn apply_converges_and_a_second_apply_is_idle() {
    for_every_kind(|kind, ground| {
        let place = Place::new(ground);
        let first = place.apply(kind);
        if ground.fails {
            let failed = first.iter().all(|r| r.status == Status::Failed);
            return if failed { Ok(()) } else { Err(format!("it did not fail:{}", lines(&first))) };
        }
        if !first.iter().all(|r| matches!(r.status, Status::Ok | Status::Changed)) {
            return Err(format!("the first apply ended with:{}", lines(&first)));
        }
        // A ground on which nothing is to be done would prove nothing.
        let changed = first.iter().any(|r| r.status == Status::Changed);
        if changed == (kind.touches == Touches::Nothing) {
            return Err(format!("touches {:?}, but the first apply ended with:{}", kind.touches, lines(&first)));
        }
        let before = tree(place.dir.path());
        let second = place.apply(kind);
        if !second.iter().all(|r| r.status == Status::Ok) {
            return Err(format!("the second apply was not idle:{}", lines(&second)));
        }
        if tree(place.dir.path()) != before {
            return Err("the second apply called itself idle and changed files".into());
        }
        let check = place.check(kind);
        // What only waits cannot be known in check.
        let idle = |r: &HostResult| {
            r.status == Status::Ok || (kind.touches == Touches::Nothing && r.status == Status::Skipped)
        };
        if !check.iter().all(|r| idle(r) && r.provisional.is_empty()) {
            return Err(format!("check finds drift after an apply:{}", lines(&check)));
        }
        Ok(())
    });
}

#[test]
fn check_predicts_what_apply_does() {
    for_every_kind(|kind, ground| {
        let place = Place::new(ground);
        let predicted = place.check(kind);
        let made = place.apply(kind);
        for (predicted, made) in predicted.iter().zip(&made) {
            let would = predicted.status == Status::Drifted;
            if would != (made.status == Status::Changed) {
                let pair = lines(&[predicted.clone(), made.clone()]);
                return Err(format!("check and apply differ:{pair}"));
            }
            // A change in stages shows its first stage only.
            if predicted.provisional.is_empty() && !made.diff.starts_with(&predicted.diff) {
                return Err(format!("the diffs differ:\n{}\n{}", predicted.diff, made.diff));
            }
        }
        Ok(())
    });
}

#[test]
fn the_wire_keeps_a_task_whole() {
    for kind in KINDS {
        let desk = GROUNDS.iter().find_map(|(name, ground)| match ground {
            Ground::Rooted(ground) if *name == kind.name => Some(ground.desk),
            _ => None,
        });
        for mut task in tasks(kind) {
            if let Some(desk) = desk {
                task.resolve(&Desk(desk)).unwrap_or_else(|e| panic!("{}: {e}", kind.name));
            }
            let json = task.to_json();
            let text = serde_json::to_string(&json).unwrap();
            let found = registry::find(task.kind()).unwrap();
            let again = (found.from_json)(serde_json::from_str(&text).unwrap())
                .unwrap_or_else(|e| panic!("{}: {e}: {text}", kind.name));
            assert_eq!(again.to_json(), json, "{}", kind.name);
        }
    }
}

#[test]
fn an_unreachable_host_is_never_reported_as_in_order() {
    // Every look fails: nothing may be called ok but what needs no look.
    struct Mute;
    impl converge::host::Probe for Mute {
        fn name(&self) -> &str {
            "mute"
        }
        fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, converge::host::LookError> {
            Err(converge::host::LookError::cannot_tell(path.display().to_string(), "I/O error"))
        }
        fn stat(&self, path: &Path) -> Result<Option<converge::host::Stat>, converge::host::LookError> {
            Err(converge::host::LookError::cannot_tell(path.display().to_string(), "I/O error"))
        }
        fn list(&self, path: &Path) -> Result<Option<Vec<String>>, converge::host::LookError> {
            Err(converge::host::LookError::cannot_tell(path.display().to_string(), "I/O error"))
        }
        fn query(&self, query: &converge::host::Query) -> Result<converge::host::Output, converge::host::LookError> {
            Err(converge::host::LookError::cannot_tell(query.argv.join(" "), "I/O error"))
        }
        fn api(&self, get: &converge::host::ApiGet) -> Result<Json, converge::host::LookError> {
            Err(converge::host::LookError::cannot_tell(&*get.path, "I/O error"))
        }
    }
    for_every_kind(|kind, ground| {
        let preview = Preview::new(Mute);
        for task in Place::new(ground).tasks(kind) {
            let result = engine::check(task.as_ref(), &preview);
            if task.touches() != Touches::Nothing && result.status == Status::Ok {
                return Err(format!("nothing could be seen, yet:{}", lines(&[result])));
            }
        }
        Ok(())
    });
}
