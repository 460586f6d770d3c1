//! The programs of a simulated node: real arguments in, real formats, exit codes and texts out.
//!
//! An option that the lab does not know is refused with a text that says so, never passed over: a pretended
//! success would hide a fault that a real node shows.

pub mod sysctl;
pub mod systemctl;

use super::drbd;
use super::files::{FileError, Files, View, Writer};
use super::world::{NodeState, Place, System, World};
use crate::host::{LookError, Output};
use std::collections::BTreeMap;

/// One program run at one place.
pub struct Ctx<'a> {
    pub world: &'a mut World,
    pub files: &'a Files,
    pub place: Place,
    pub env: BTreeMap<String, String>,
    pub cwd: String,
}

/// A program: arguments with its own name first, standard input, what it left.
pub type Program = fn(&mut Ctx, &[String], Option<&[u8]>) -> Output;

impl<'a> Ctx<'a> {
    pub fn new(world: &'a mut World, files: &'a Files, place: Place) -> Self {
        Self { world, files, place, env: BTreeMap::new(), cwd: "/".into() }
    }

    pub fn on_node(world: &'a mut World, files: &'a Files, node: &str) -> Self {
        Self::new(world, files, Place::node(node))
    }

    /// The machine whose kernel runs this: the node itself, or the one that the container runs on.
    pub fn node_name(&self) -> String {
        match &self.place {
            Place::Node(name) => name.clone(),
            Place::Container(vmid) => super::guest::running_on(self.world, *vmid).unwrap_or_default().to_owned(),
        }
    }

    pub fn node(&self) -> &NodeState {
        self.world.node(&self.node_name())
    }

    pub fn node_mut(&mut self) -> &mut NodeState {
        let name = self.node_name();
        self.world.node_mut(&name)
    }

    pub fn in_container(&self) -> bool {
        matches!(self.place, Place::Container(_))
    }

    /// # Panics
    /// When the container is not running; commands are only dispatched to running ones.
    pub fn system(&self) -> &System {
        self.world.system(&self.place).expect("commands run in systems that run")
    }

    pub fn system_mut(&mut self) -> &mut System {
        self.world.system_mut(&self.place).expect("commands run in systems that run")
    }

    pub fn view(&self) -> View<'_> {
        View { world: self.world, files: self.files, place: &self.place }
    }

    pub fn writer(&mut self) -> Writer<'_> {
        Writer { world: self.world, files: self.files, place: &self.place }
    }

    /// A file as text; `None` when it is not there.
    pub fn text(&self, path: &str) -> Option<String> {
        self.view().text(&self.absolute(path))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.view().exists(&self.absolute(path))
    }

    pub fn write(&mut self, path: &str, content: &[u8]) -> Result<(), FileError> {
        let path = self.absolute(path);
        self.writer().write(&path, content)
    }

    pub fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.cwd.trim_end_matches('/')) }
    }

    /// Runs another program, as a program that calls one does.
    pub fn run(&mut self, argv: &[&str]) -> Output {
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        run(self, &argv, None).unwrap_or_else(|e| Output::failed(127, format!("{e}\n")))
    }
}

/// Runs `argv` as a program of the node or container.
///
/// # Errors
/// `LookError::NoProgram` when it is not installed there.
pub fn run(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Result<Output, LookError> {
    let Some(full) = argv.first() else {
        return Err(LookError::cannot_tell("an empty command", "there is no program to run"));
    };
    let name = full.rsplit('/').next().unwrap_or(full);
    let missing = || LookError::NoProgram { program: full.clone() };
    if !ctx.in_container()
        && let Some(output) = drbd::run(ctx, argv, stdin)
    {
        return Ok(output);
    }
    let program = PROGRAMS.iter().find(|(n, _)| *n == name).ok_or_else(missing)?;
    Ok(program.1(ctx, argv, stdin))
}

/// Every program that is always there, by name.
const PROGRAMS: &[(&str, Program)] = &[];

/// What the lab says about an option that it does not play.
pub fn not_simulated(argv: &[String], what: &str) -> Output {
    let program = argv.first().map_or("?", String::as_str);
    Output::failed(125, format!("{program}: the lab does not simulate {what}\n"))
}
