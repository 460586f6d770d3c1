//! The programs of a simulated node: real arguments in, real formats, exit codes and texts out.
//!
//! An option that the lab does not know is refused with a text that says so, never passed over: a pretended
//! success would hide a fault that a real node shows.

pub mod apt;
mod block;
pub mod clock;
pub mod dkms;
mod files;
mod misc;
pub mod modules;
mod mounts;
pub mod nfs;
pub mod options;
mod pve;
mod services;
pub mod shell;
pub mod sysctl;
pub mod systemctl;
mod text;
pub mod web;

pub use block::put_foreign_filesystem;

use super::drbd;
use super::files::{FileError, Files, View, Writer};
use super::world::{NodeState, Place, System, World};
use crate::host::{LookError, Output, OwnProgram};
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
    if let Some((_, needs, program)) = PROGRAMS.iter().find(|(n, _, _)| *n == name) {
        let there = needs.is_there(ctx);
        return if there { Ok(program(ctx, argv, stdin)) } else { Err(missing()) };
    }
    if own_program(ctx, full).is_some() {
        return Ok(super::hook::program(ctx, argv));
    }
    own_script(ctx, full, argv).unwrap_or_else(|| Err(missing()))
}

/// The build of converge that a path, or a name to be found, leads to on a node; `None`: it does not, or cannot be run.
pub fn own_program(ctx: &Ctx, full: &str) -> Option<OwnProgram> {
    let path = if full.contains('/') { ctx.absolute(full) } else { which(ctx, full)? };
    let view = ctx.view();
    let path = view.canonical(&path).ok()?;
    let runs = view.stat(&path).ok().flatten().is_some_and(|s| s.mode & 0o111 != 0);
    if runs && !ctx.in_container() { view.reference(&path) } else { None }
}

/// Whether the lab does what a program does, rather than only having its file.
fn plays(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    PROGRAMS.iter().any(|(n, _, _)| *n == name) || ["drbdadm", "drbdsetup", "drbdmeta"].contains(&name)
}

/// A file that a playbook put on the node and runs: the lab plays shell scripts of one line, nothing else.
fn own_script(ctx: &mut Ctx, full: &str, argv: &[String]) -> Option<Result<Output, LookError>> {
    let path = if full.contains('/') { ctx.absolute(full) } else { which(ctx, full)? };
    let stat = ctx.view().stat(&path).ok().flatten()?;
    if stat.mode & 0o111 == 0 {
        return Some(Ok(Output::failed(126, format!("{full}: Permission denied\n"))));
    }
    let text = ctx.text(&path)?;
    let (first, body) = text.split_once('\n')?;
    match first.trim() {
        "#!/bin/true" => Some(Ok(not_simulated(argv, "this program"))),
        "#!/bin/sh" | "#!/bin/bash" | "#!/bin/sh -e" | "#!/bin/dash" => {
            Some(Ok(shell::run_script(ctx, body, None, first.ends_with("-e"))))
        }
        _ => Some(Ok(not_simulated(argv, "programs of your own that are no shell scripts"))),
    }
}

/// Where a program is, as `which` finds it.
pub fn which(ctx: &Ctx, name: &str) -> Option<String> {
    for dir in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"] {
        let path = format!("{dir}/{name}");
        if ctx.view().stat(&path).ok().flatten().is_some_and(|s| s.mode & 0o111 != 0) {
            return Some(path);
        }
    }
    let (_, needs, _) = PROGRAMS.iter().find(|(n, _, _)| *n == name)?;
    needs.is_there(ctx).then(|| format!("/usr/bin/{name}"))
}

pub fn drbd_present(ctx: &Ctx) -> bool {
    !ctx.in_container() && apt::installed_version(ctx, "drbd-utils").is_some()
}

/// What must be there for a program to exist.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    /// On nodes only: programs of Proxmox, of the kernel, of disks.
    ANode,
    Package(&'static str),
}

impl Needs {
    fn is_there(self, ctx: &Ctx) -> bool {
        match self {
            Self::Nothing => true,
            Self::ANode => !ctx.in_container(),
            Self::Package(name) => apt::installed_version(ctx, name).is_some(),
        }
    }
}

/// Programs by name, with what brings them.
const PROGRAMS: &[(&str, Needs, Program)] = {
    use Needs::{ANode, Nothing, Package};
    &[
        ("[", Nothing, files::test),
        ("apparmor_parser", ANode, pve::apparmor_parser),
        ("apt-cache", Nothing, apt::apt_cache),
        ("apt-get", Nothing, apt::apt_get),
        ("apt-helper", Nothing, web::apt_helper),
        ("apt-mark", Nothing, apt::apt_mark),
        ("bash", Nothing, bash),
        ("blkid", Nothing, block::blkid),
        ("blockdev", ANode, block::blockdev),
        ("cat", Nothing, files::cat),
        ("chmod", Nothing, files::chmod),
        ("chown", Nothing, files::chown),
        ("cp", Nothing, files::cp),
        ("curl", Package("curl"), web::curl),
        ("cut", Nothing, text::cut),
        ("date", Nothing, misc::date),
        ("debugfs", Nothing, block::debugfs),
        ("depmod", ANode, modules::depmod),
        ("dkms", Package("dkms"), dkms::run),
        ("dpkg", Nothing, apt::dpkg),
        ("dpkg-query", Nothing, apt::dpkg_query),
        ("drbd-service-shim.sh", Package("drbd-utils"), services::drbd_service),
        ("dumpe2fs", Nothing, block::dumpe2fs),
        ("echo", Nothing, text::echo),
        ("egrep", Nothing, text::grep),
        ("env", Nothing, misc::prefix),
        ("exportfs", Package("nfs-kernel-server"), nfs::exportfs),
        ("false", Nothing, misc::fail),
        ("findmnt", Nothing, mounts::findmnt),
        ("getent", Nothing, misc::getent),
        ("grep", Nothing, text::grep),
        ("head", Nothing, text::head_or_tail),
        ("hostname", Nothing, misc::hostname),
        ("id", Nothing, misc::id),
        ("install", Nothing, files::install),
        ("ln", Nothing, files::ln),
        ("logger", Nothing, misc::logger),
        ("ls", Nothing, files::ls),
        ("lsblk", ANode, block::lsblk),
        ("lsmod", ANode, modules::lsmod),
        ("mkdir", Nothing, files::mkdir),
        ("mke2fs", Nothing, block::mkfs),
        ("mkfs", Nothing, block::mkfs),
        ("mkfs.ext4", Nothing, block::mkfs),
        ("modinfo", ANode, modules::modinfo),
        ("modprobe", ANode, modules::modprobe),
        ("mokutil", Package("mokutil"), modules::mokutil),
        ("mount", Nothing, mounts::mount),
        ("mountpoint", Nothing, mounts::mountpoint),
        ("mv", Nothing, files::mv),
        ("nice", Nothing, misc::prefix),
        ("pct", ANode, pve::pct),
        ("poweroff", Nothing, misc::poweroff),
        ("printf", Nothing, text::printf),
        ("pvecm", ANode, pve::pvecm),
        ("pvesh", ANode, pve::pvesh),
        ("pveversion", ANode, pve::pveversion),
        ("readlink", Nothing, files::readlink),
        ("reboot", Nothing, misc::reboot),
        ("rm", Nothing, files::rm),
        ("rmmod", ANode, modules::rmmod),
        ("rpc.nfsd", Package("nfs-kernel-server"), services::rpc_nfsd),
        ("sh", Nothing, shell::sh),
        ("sendmail", ANode, misc::sendmail),
        ("sha256sum", Nothing, files::hash_sum),
        ("sha512sum", Nothing, files::hash_sum),
        ("sleep", Nothing, misc::sleep),
        ("sort", Nothing, text::sort),
        ("stat", Nothing, files::stat),
        ("sync", Nothing, misc::succeed),
        ("sysctl", Nothing, misc::sysctl),
        ("systemctl", Nothing, systemctl::run),
        ("tail", Nothing, text::head_or_tail),
        ("test", Nothing, files::test),
        ("timeout", Nothing, misc::prefix),
        ("touch", Nothing, files::touch),
        ("tr", Nothing, text::tr),
        ("true", Nothing, misc::succeed),
        ("tune2fs", Nothing, block::dumpe2fs),
        ("udevadm", ANode, misc::udevadm),
        ("umount", Nothing, mounts::umount),
        ("uname", Nothing, misc::uname),
        ("uniq", Nothing, text::sort),
        ("wc", Nothing, text::wc),
        ("wget", Package("wget"), web::wget),
        ("which", Nothing, misc::which_program),
        ("wipefs", ANode, block::wipefs),
    ]
};

/// `bash -c`: as `sh`, and the one idiom with which a port is asked.
fn bash(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    match argv {
        [_, c, script, _, host, port] if c == "-c" && script == "exec 3<>\"/dev/tcp/$1/$2\"" => {
            nfs::dev_tcp(ctx, host, port)
        }
        _ => shell::sh(ctx, argv, stdin),
    }
}

/// What the lab says about an option that it does not play.
pub fn not_simulated(argv: &[String], what: &str) -> Output {
    let program = argv.first().map_or("?", String::as_str);
    Output::failed(125, format!("{program}: the lab does not simulate {what}\n"))
}
