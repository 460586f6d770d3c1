//! Hosts that are directories, and a reporter that remembers, for tests of whole runs.

#![allow(dead_code)] // Each test binary uses its part.

use converge::diagnostic::Sources;
use converge::event::{Event, Mode, Outcome, Reporter, TaskResult};
use converge::fleet::{Fleet, Options};
use converge::host::{Local, Output};
use converge::inventory::Inventory;
use converge::link::{Connect, Link, LinkError, in_process};
use converge::playbook::{self, Context, Known};
use std::path::{Path, PathBuf};

/// Each host is a directory below `dir`; programs are `true`, `false`, `echo` and `die`.
pub struct Directories {
    pub dir: PathBuf,
    pub down: Vec<String>,
}

impl Connect for Directories {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError> {
        if self.down.iter().any(|h| h == host) {
            return Err(LinkError::Lost { host: host.to_owned(), why: "it is down".to_owned() });
        }
        let root = self.dir.join(host);
        std::fs::create_dir_all(&root).unwrap();
        let name = host.to_owned();
        in_process(host, mode, move || Box::new(Local::rooted(name, root).with_programs(Box::new(programs))))
    }
}

pub fn programs(argv: &[String], _stdin: Option<&[u8]>) -> Option<Output> {
    match argv[0].as_str() {
        "true" => Some(Output::ok("")),
        "false" => Some(Output::failed(1, "no")),
        "echo" => Some(Output::ok(argv[1..].join(" ") + "\n")),
        // Takes the agent with it.
        "die" => std::panic::resume_unwind(Box::new("dead")),
        "uname" => Some(Output::ok("6.17.2-1-pve\n")),
        _ => None,
    }
}

#[derive(Default)]
pub struct Recorder {
    pub events: Vec<Event>,
}

impl Reporter for Recorder {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

/// What a run came to.
pub struct Run {
    pub exit: u8,
    pub results: Vec<TaskResult>,
    pub notes: Vec<String>,
}

impl Run {
    /// `host task outcome`, a line each, in order.
    pub fn lines(&self) -> Vec<String> {
        self.results.iter().map(|r| format!("{} {} {:?}", r.host, r.task, r.outcome).to_lowercase()).collect()
    }

    pub fn of(&self, task: &str) -> &TaskResult {
        self.results.iter().find(|r| r.task == task).unwrap_or_else(|| panic!("no result of `{task}`"))
    }

    /// The (task, host) pairs that would change or were changed.
    pub fn moved(&self) -> Vec<(String, String)> {
        let moved = |r: &&TaskResult| matches!(r.outcome, Outcome::Drifted | Outcome::Changed);
        let mut pairs: Vec<_> = self.results.iter().filter(moved).map(|r| (r.task.clone(), r.host.clone())).collect();
        pairs.sort();
        pairs.dedup();
        pairs
    }
}

/// A temporary cluster of directories `a`, `b`, `c`.
pub struct Bed {
    pub dir: tempfile::TempDir,
    pub options: Options,
    pub down: Vec<String>,
}

impl Bed {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), options: Options::default(), down: Vec::new() }
    }

    pub fn path(&self, host: &str, path: &str) -> PathBuf {
        self.dir.path().join("hosts").join(host).join(path.trim_start_matches('/'))
    }

    pub fn read(&self, host: &str, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(host, path)).ok()
    }

    pub fn run(&self, mode: Mode, playbook: &str) -> Run {
        let file = self.dir.path().join("site.yml");
        std::fs::write(&file, playbook).unwrap();
        self.run_file(mode, &file)
    }

    pub fn check(&self, playbook: &str) -> Run {
        self.run(Mode::Check, playbook)
    }

    pub fn apply(&self, playbook: &str) -> Run {
        self.run(Mode::Apply, playbook)
    }

    pub fn run_file(&self, mode: Mode, file: &Path) -> Run {
        let connect = Directories { dir: self.dir.path().join("hosts"), down: self.down.clone() };
        self.run_over(mode, file, &connect)
    }

    pub fn run_over(&self, mode: Mode, file: &Path, connect: &dyn Connect) -> Run {
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let mut inventory = Inventory { hosts: names.clone(), ..Inventory::default() };
        inventory.groups.insert("nodes".into(), names);
        let known = Known {
            hosts: inventory.hosts.iter().cloned().collect(),
            groups: inventory.groups.keys().cloned().chain(["all".to_owned()]).collect(),
            ..Known::default()
        };
        let context = Context { inventory: Some(known), ..Context::default() };
        let mut sources = Sources::default();
        let loaded = playbook::load(&[file.to_owned()], &mut sources, &context)
            .unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)));
        let mut recorder = Recorder::default();
        let exit = Fleet::new(mode, &self.options, &inventory, &context, connect, sources, &mut recorder).run(&loaded);
        let mut run = Run { exit, results: Vec::new(), notes: Vec::new() };
        for event in recorder.events {
            match event {
                Event::Result(result) => run.results.push(result),
                Event::Note { message } => run.notes.push(message),
                _ => {}
            }
        }
        run
    }
}
