//! A simulated node behind the same seam as a real one.

use super::commands::{self, Ctx};
use super::files::{FileError, View, Writer, reference};
use super::guest;
use super::handle::{Lab, LabError};
use super::world::{Place, World};
use crate::host::{
    Action, ApiGet, Host, LookError, Output, Probe, Query, Stat, Step, StepError, look_through, own_program, pvesh,
};
use serde_json::Value as Json;
use std::path::Path;

/// One node of a lab.
#[derive(Clone)]
pub struct LabNode {
    at: Seat,
}

impl LabNode {
    pub(super) fn new(lab: Lab, name: &str) -> Self {
        Self { at: Seat { lab, name: name.to_owned(), place: Place::node(name) } }
    }
}

/// A place in a lab that can be looked at and changed: what nodes and containers share.
#[derive(Clone)]
pub(super) struct Seat {
    pub lab: Lab,
    pub name: String,
    pub place: Place,
}

impl Seat {
    fn unreachable(&self, why: impl ToString) -> LookError {
        LookError::Unreachable { host: self.name.clone(), why: why.to_string() }
    }

    /// Whether anything answers here.
    fn reach(&self, world: &World) -> Result<(), LookError> {
        let node = match &self.place {
            Place::Node(name) => name.clone(),
            Place::Container(vmid) => guest::running_on(world, *vmid)
                .ok_or_else(|| self.unreachable(format!("container {vmid} is not running")))?
                .to_owned(),
        };
        match world.nodes.get(&node) {
            Some(state) if !state.off => Ok(()),
            Some(_) => Err(self.unreachable(format!("{node} is powered off: no route to host"))),
            None => Err(self.unreachable("no such node")),
        }
    }

    fn look<R>(&self, path: &Path, f: impl FnOnce(&View, &str) -> Result<R, FileError>) -> Result<R, LookError> {
        let path = path.to_string_lossy();
        self.lab
            .look(|world| {
                self.reach(world)?;
                let view = View { world, files: self.lab.files(), place: &self.place };
                f(&view, &path).map_err(|e| LookError::cannot_tell(e.path, e.text))
            })
            .unwrap_or_else(|e| Err(lab_error(&e)))
    }

    fn transaction<R>(&self, f: impl FnOnce(&mut Ctx) -> Result<R, LookError>) -> Result<R, LookError> {
        self.lab
            .with(|world| {
                self.reach(world)?;
                f(&mut Ctx::new(world, self.lab.files(), self.place.clone()))
            })
            .unwrap_or_else(|e| Err(lab_error(&e)))
    }

    pub fn perform(&self, step: &Step) -> Result<Output, StepError> {
        if let Action::Sleep { seconds } = &step.action {
            std::thread::sleep(std::time::Duration::from_secs(*seconds));
            return Ok(Output::default());
        }
        let performed = self.lab.with(|world| {
            self.reach(world)?;
            act(&mut Ctx::new(world, self.lab.files(), self.place.clone()), &step.action)
        });
        performed.unwrap_or_else(|e| Err(lab_error(&e).into()))
    }
}

impl Probe for Seat {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        self.look(path, |view, path| view.read(path))
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        self.look(path, |view, path| view.stat(path))
    }

    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        self.look(dir, |view, path| view.list(path))
    }

    fn query(&self, query: &Query) -> Result<Output, LookError> {
        self.transaction(|ctx| commands::run(ctx, &query.argv, None))
    }

    /// There is no Proxmox API inside a container.
    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        if let Place::Container(_) = self.place {
            return Err(LookError::cannot_tell(&get.path, "a container has no Proxmox API"));
        }
        pvesh::answer(&get.path, &self.query(&pvesh::get_query(get))?)
    }
}

fn lab_error(error: &LabError) -> LookError {
    LookError::cannot_tell("the lab", error)
}

pub(super) fn failed(what: &str, error: &FileError) -> StepError {
    StepError::Failed { what: what.to_owned(), why: error.to_string() }
}

pub(super) fn act(ctx: &mut Ctx, action: &Action) -> Result<Output, StepError> {
    match action {
        Action::WriteFile { path, content, mode, owner, group, validate, backup } => {
            let wanted = Wanted { mode: *mode, owner: owner.as_deref(), group: group.as_deref() };
            write_file(ctx, path, &content.0, wanted, validate.as_deref(), *backup)?;
        }
        Action::CreateDirectory { path, mode, owner, group } => {
            let mut writer = ctx.writer();
            writer.create_dir_all(path).map_err(|e| failed("create directory", &e))?;
            set(&mut writer, path, Wanted { mode: *mode, owner: owner.as_deref(), group: group.as_deref() })?;
        }
        Action::SetAttributes { path, mode, owner, group } => {
            set(&mut ctx.writer(), path, Wanted { mode: *mode, owner: owner.as_deref(), group: group.as_deref() })?;
        }
        Action::Symlink { path, target } => {
            ctx.writer().symlink(path, target).map_err(|e| failed("link", &e))?;
        }
        Action::InstallSelf { path, sha256, .. } => {
            let own = own_program().map_err(|why| StepError::Failed { what: "install".into(), why })?;
            if own.sha256 != *sha256 {
                let reason = format!("this program is another build ({}) than the controller's", own.sha256);
                return Err(StepError::Refused { reason });
            }
            let text = reference::write(own);
            ctx.writer().ship(path, text.as_bytes(), 0o755).map_err(|e| failed("install", &e))?;
        }
        Action::Remove { path, recursive } => {
            ctx.writer().remove(path, *recursive).map_err(|e| failed("remove", &e))?;
        }
        Action::Run { argv, stdin, env, cwd, ok_codes, .. } => {
            ctx.env.clone_from(env);
            if let Some(cwd) = cwd {
                ctx.cwd.clone_from(cwd);
            }
            let output = commands::run(ctx, argv, stdin.as_ref().map(|b| b.0.as_slice()))?;
            if !ok_codes.is_empty() && !ok_codes.contains(&output.rc) {
                let Output { rc, stdout, stderr } = output;
                return Err(StepError::Command { command: argv.join(" "), rc, stdout, stderr });
            }
            return Ok(output);
        }
        Action::Api { method, path, params, wait_s } => {
            let (argv, _) = pvesh::write_argv(*method, path, params, *wait_s)?;
            let output = commands::run(ctx, &argv, None)?;
            return if output.rc == 0 { Ok(output) } else { Err(pvesh::refusal(path, &output).into()) };
        }
        // Done by the caller, outside of the world's lock.
        Action::Sleep { .. } => {}
    }
    Ok(Output::default())
}

#[derive(Clone, Copy)]
struct Wanted<'a> {
    mode: Option<u32>,
    owner: Option<&'a str>,
    group: Option<&'a str>,
}

fn set(writer: &mut Writer, path: &str, wanted: Wanted) -> Result<(), StepError> {
    if wanted.mode.is_none() && wanted.owner.is_none() && wanted.group.is_none() {
        return Ok(());
    }
    let view = writer.view();
    for (database, name) in [("/etc/passwd", wanted.owner), ("/etc/group", wanted.group)] {
        let known = |name: &str| {
            name.parse::<u32>().is_ok()
                || view.text(database).is_some_and(|text| text.lines().any(|l| l.split(':').next() == Some(name)))
        };
        if let Some(name) = name.filter(|n| !known(n)) {
            let what = if database == "/etc/passwd" { "user" } else { "group" };
            return Err(StepError::Failed { what: path.to_owned(), why: format!("invalid {what}: '{name}'") });
        }
    }
    writer.set_attrs(path, wanted.mode, wanted.owner, wanted.group).map_err(|e| failed("set attributes", &e))
}

fn write_file(
    ctx: &mut Ctx,
    path: &str,
    content: &[u8],
    wanted: Wanted,
    validate: Option<&[String]>,
    backup: bool,
) -> Result<(), StepError> {
    if let Some(validate) = validate {
        let beside = format!("{path}.converge-new");
        ctx.write(&beside, content).map_err(|e| failed("write", &e))?;
        let argv: Vec<String> = validate.iter().map(|a| a.replace("%s", &beside)).collect();
        let output = commands::run(ctx, &argv, None);
        ctx.writer().remove(&beside, false).map_err(|e| failed("write", &e))?;
        let output = output?;
        if output.rc != 0 {
            let Output { rc, stdout, stderr } = output;
            return Err(StepError::Command { command: argv.join(" "), rc, stdout, stderr });
        }
    }
    if backup && let Some(old) = ctx.view().read(path).map_err(|e| failed("write", &e))? {
        let name = format!("{path}.{}~", ctx.world.now_s());
        ctx.write(&name, &old).map_err(|e| failed("backup", &e))?;
    }
    let mut writer = ctx.writer();
    writer.write(path, content).map_err(|e| failed("write", &e))?;
    set(&mut writer, path, wanted)
}

impl Probe for LabNode {
    look_through!(self => self.at);
}

impl Host for LabNode {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        self.at.perform(step)
    }
}
