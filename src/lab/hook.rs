//! Hookscripts on the lab's nodes: converge's own runs as it does on a real node, the same code over a simulated one.
//!
//! Time that the hook waits is the lab's. Other scripts are played as far as the lab's shell goes.

use super::commands::{self, Ctx};
use super::files::Files;
use super::guest;
use super::node::{act, failed};
use super::world::World;
use crate::hook::machine::Entry;
use crate::hook::{self, Machine};
use crate::host::{Action, ApiGet, Host, LookError, Output, Probe, Query, Stat, Step, StepError};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

/// What the `hookscript` kind installs.
const SCRIPT: &str = include_str!("../../hooks/converge-hook");
const PROGRAM: &str = "/usr/local/lib/converge/converge";
const ONCE: &str = "/run/converge/hook/start-once";
/// What `journalctl -o export` would show.
const JOURNAL: &str = "/var/log/journal.export";

/// What one call left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    pub rc: i32,
    pub said: Vec<String>,
}

/// Calls a hookscript as Proxmox VE does: the script, the container's number, the phase.
pub fn call(world: &mut World, files: &Files, node: &str, vmid: u32, phase: &str, script: &str) -> Called {
    let mut ctx = Ctx::on_node(world, files, node);
    if ctx.text(script).as_deref() == Some(SCRIPT) {
        return own(ctx, vmid, phase);
    }
    let argv = [script.to_owned(), vmid.to_string(), phase.to_owned()];
    let output = commands::run(&mut ctx, &argv, None).unwrap_or_else(|e| Output::failed(127, e.to_string()));
    let lines = output.stdout.lines().chain(output.stderr.lines()).map(str::to_owned).collect();
    // What the lab cannot play is not the script's failure.
    Called { rc: if output.rc == 125 { 0 } else { output.rc }, said: lines }
}

/// The steps of `hooks/converge-hook`, which the lab's shell does not go far enough for; a test holds the script to them.
fn own(mut ctx: Ctx, vmid: u32, phase: &str) -> Called {
    let quiet = Called { rc: 0, said: Vec::new() };
    if !["pre-start", "post-start", "pre-stop", "post-stop"].contains(&phase) {
        return quiet;
    }
    if commands::own_program(&ctx, PROGRAM).is_some() {
        return run(ctx, vmid, phase);
    }
    let why = format!("{PROGRAM} is missing on this node or not executable");
    ctx.run(&["logger", "-t", "converge-hook", "-p", "daemon.err", &format!("container {vmid}, {phase}: {why}")]);
    if phase != "pre-start" {
        return quiet;
    }
    let once = format!("{ONCE}/{vmid}");
    if ctx.exists(&once) && ctx.writer().remove(&once, false).is_ok() {
        let line =
            format!("container {vmid} starts although {why}: this was asked for, and holds for this start alone");
        return Called { rc: 0, said: vec![line] };
    }
    let line = format!(
        "start of container {vmid} refused: {why}, so nobody looked whether DRBD may be used here. To start it once all the \
         same, on this node: mkdir -p {ONCE} && touch {once}"
    );
    Called { rc: 1, said: vec![line] }
}

/// `converge hook VMID PHASE` on a node.
fn run(ctx: Ctx, vmid: u32, phase: &str) -> Called {
    let node = LabMachine::new(ctx);
    let rc = i32::from(hook::run(&node, vmid, phase));
    Called { rc, said: node.said.into_inner() }
}

/// `converge` as a program of a node: its hook, and that it can be asked for help.
pub fn program(ctx: &mut Ctx, argv: &[String]) -> Output {
    let words: Vec<&str> = argv.iter().skip(1).map(String::as_str).collect();
    let number = |text: &str| text.parse::<u32>().ok();
    let shown = |node: LabMachine, rc: u8| {
        let mut text = node.said.into_inner().join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        Output { rc: i32::from(rc), stdout: text, stderr: String::new() }
    };
    let lent = Ctx::new(ctx.world, ctx.files, ctx.place.clone());
    match words[..] {
        ["hook", "--help"] => Output::ok("Usage: converge hook [OPTIONS] [VMID] [PHASE]\n"),
        ["hook", "--explain", vmid] if number(vmid).is_some() => {
            let node = LabMachine::new(lent);
            let (text, allowed) = hook::explain(&node, number(vmid).unwrap_or(0));
            Output { rc: i32::from(!allowed), stdout: text, stderr: String::new() }
        }
        ["hook", "--start-once", vmid] if number(vmid).is_some() => {
            match hook::allow_once(&LabMachine::new(lent), number(vmid).unwrap_or(0)) {
                Ok(()) => Output::default(),
                Err(why) => Output::failed(1, format!("error: {why}\n")),
            }
        }
        ["hook", vmid, phase] if number(vmid).is_some() => {
            let node = LabMachine::new(lent);
            let rc = hook::run(&node, number(vmid).unwrap_or(0), phase);
            shown(node, rc)
        }
        _ => commands::not_simulated(argv, "this use of converge on a node"),
    }
}

/// A container that ended by itself (its own poweroff, a crash of its init): only post-stop is called, and nobody sees
/// what it says. A reboot from inside calls nothing.
pub fn ended_by_itself(world: &mut World, files: &Files, vmid: u32) {
    let Some(node) = guest::running_on(world, vmid).map(str::to_owned) else { return };
    // A file system that cannot be let go stays mounted, and Proxmox VE then calls nothing either.
    if guest::stop(world, vmid).is_err() {
        return;
    }
    super::api::hook_after_end(world, files, &node, vmid);
}

/// The shutdown with which a container starts anew: same place, no hook.
pub fn restarted_by_itself(world: &mut World, files: &Files, vmid: u32) -> Result<(), String> {
    let running = world.guests.get(&vmid).and_then(|g| g.running.clone());
    let Some(running) = running else { return Ok(()) };
    guest::stop(world, vmid)?;
    guest::start_from(world, files, vmid, &running.node, &running.device)
}

/// A node of the lab as the hook needs it.
struct LabMachine<'a> {
    name: String,
    ctx: RefCell<Ctx<'a>>,
    said: RefCell<Vec<String>>,
}

impl<'a> LabMachine<'a> {
    fn new(ctx: Ctx<'a>) -> Self {
        Self { name: ctx.node_name(), ctx: RefCell::new(ctx), said: RefCell::default() }
    }

    fn look<R>(
        &self,
        path: &Path,
        f: impl FnOnce(&super::files::View, &str) -> Result<R, super::files::FileError>,
    ) -> Result<R, LookError> {
        let ctx = self.ctx.borrow();
        f(&ctx.view(), &path.to_string_lossy()).map_err(|e| LookError::cannot_tell(e.path, e.text))
    }
}

impl Probe for LabMachine<'_> {
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
        commands::run(&mut self.ctx.borrow_mut(), &query.argv, None)
    }
    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        Err(LookError::cannot_tell(&get.path, "the hook asks no API: its caller holds the container's lock"))
    }
}

impl Host for LabMachine<'_> {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        if let Action::Sleep { seconds } = &step.action {
            self.pause(Duration::from_secs(*seconds));
            return Ok(Output::default());
        }
        act(&mut self.ctx.borrow_mut(), &step.action)
    }
}

impl Machine for LabMachine<'_> {
    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.ctx.borrow().world.now_ms()).unwrap_or(0))
    }

    fn epoch_s(&self) -> i64 {
        self.ctx.borrow().world.now_s()
    }

    fn pause(&self, time: Duration) {
        *self.ctx.borrow_mut().world.clock_ahead_ms += i64::try_from(time.as_millis()).unwrap_or(0);
    }

    fn say(&self, line: &str) {
        self.said.borrow_mut().push(line.to_owned());
    }

    fn journal(&self, entry: &Entry) {
        let before = self.ctx.borrow().text(JOURNAL).unwrap_or_default();
        let fields: String = entry.iter().map(|(name, text)| format!("{name}={}\n", text.replace('\n', " "))).collect();
        let text = format!("{before}__REALTIME_TIMESTAMP={}000000\n{fields}\n", self.epoch_s());
        // As on a real node: a journal that takes nothing keeps nobody from starting.
        let _ = self.ctx.borrow_mut().writer().ship(JOURNAL, text.as_bytes(), 0o640);
    }

    fn publish(&self, path: &str, text: &str) -> Result<(), String> {
        let mut ctx = self.ctx.borrow_mut();
        ctx.writer().ship(path, text.as_bytes(), 0o644).map_err(|e| failed("write", &e).to_string())
    }
}
