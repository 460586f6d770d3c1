//! What the rest of the lab calls: the programs, `/dev/drbdN` as a block device, kernel files, power.

use super::fabric::Fabric;
use super::machines::{Data, Device, Machines};
use super::role::OpenError as Refused;
use super::state::Disk;
use super::{commands, status};
use crate::host::Output;
use crate::lab::commands::Ctx;
use crate::lab::device::{self, Content, DeviceRef, OpenError, OpenMode};
use crate::lab::files::{Files, View};
use crate::lab::world::{Place, World};

/// The lab's nodes as DRBD sees them. Without `files` no program runs, so nothing is read.
struct Nodes<'a> {
    world: &'a mut World,
    files: Option<&'a Files>,
}

impl Nodes<'_> {
    fn view<R>(&self, node: &str, f: impl FnOnce(View) -> Option<R>) -> Option<R> {
        let place = Place::node(node);
        f(View { world: self.world, files: self.files?, place: &place })
    }
}

impl Machines for Nodes<'_> {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.world.now_ms()).unwrap_or(0)
    }

    fn skip(&mut self, ms: u64) {
        *self.world.clock_ahead_ms += i64::try_from(ms).unwrap_or(0);
    }

    fn is_up(&self, node: &str) -> bool {
        self.world.nodes.get(node).is_some_and(|n| !n.off)
    }

    fn module_loaded(&self, node: &str) -> Option<String> {
        self.world.nodes.get(node)?.modules.get("drbd")?.version.clone()
    }

    fn load_module(&mut self, node: &str) -> Result<(), String> {
        let Some(files) = self.files else { return Err(String::new()) };
        let said = Ctx::on_node(self.world, files, node).run(&["modprobe", "drbd"]);
        if said.rc == 0 { Ok(()) } else { Err(said.stderr) }
    }

    fn utils_version(&self, node: &str) -> String {
        let package = self.world.nodes.get(node).and_then(|n| n.system.packages.get("drbd-utils").cloned().flatten());
        let version = package.map(|p| p.version).unwrap_or_default();
        let upstream = version.split_once(':').map_or(version.as_str(), |(_, v)| v);
        upstream.split('-').next().unwrap_or_default().to_owned()
    }

    fn read(&self, node: &str, path: &str) -> Option<String> {
        self.view(node, |view| view.text(path))
    }

    fn list(&self, node: &str, dir: &str) -> Vec<String> {
        self.view(node, |view| view.list(dir).ok().flatten()).unwrap_or_default()
    }

    fn device(&self, node: &str, path: &str) -> Option<Device> {
        let DeviceRef::Plain(name) = device::find(self.world, node, path)? else { return None };
        let state = self.world.nodes.get(node)?.devices.get(&name)?;
        let data = match &state.content {
            Content::Blank => Data::Blank,
            Content::Other(_) => Data::Other,
            Content::Filesystem(fs) => match self.world.filesystems.get(fs) {
                Some(fs) if fs.kind.starts_with("ext") => Data::Ext4 { size_kib: fs.size_kib },
                _ => Data::Other,
            },
        };
        let busy =
            self.world.node(node).mounts.iter().any(|m| {
                device::find(self.world, node, &m.source).is_some_and(|d| d == DeviceRef::Plain(name.clone()))
            });
        Some(Device { device: format!("/dev/{name}"), size_bytes: state.size_kib * 1024, data, busy })
    }

    fn copy_data(&mut self, from: (&str, &str), to: (&str, &str)) {
        let content = plain_content(self.world, from.0, from.1);
        if let Some(device) =
            self.world.nodes.get_mut(to.0).and_then(|n| n.devices.get_mut(to.1.trim_start_matches("/dev/")))
        {
            device.content = content;
        }
    }
}

fn plain_content(world: &World, node: &str, device: &str) -> Content {
    let name = device.trim_start_matches("/dev/");
    world.nodes.get(node).and_then(|n| n.devices.get(name)).map(|d| d.content.clone()).unwrap_or_default()
}

/// Gives the fabric, brought to the present, to `f`, and keeps it when anything but the clock moved.
fn with<R>(world: &mut World, files: Option<&Files>, f: impl FnOnce(&mut Fabric, &mut Nodes) -> R) -> R {
    let mut fabric = Fabric::clone(&world.drbd);
    let mut nodes = Nodes { world, files };
    fabric.advance(&mut nodes);
    let result = f(&mut fabric, &mut nodes);
    let diverged = std::mem::take(&mut fabric.diverged);
    let moved = fabric.is_syncing() || !fabric.same_but_time(&world.drbd);
    if moved {
        *world.drbd = fabric;
    }
    for replicas in diverged {
        separate(world, &replicas);
    }
    result
}

/// Replicas that go on without the others get a copy of the file system that they shared with them.
fn separate(world: &mut World, replicas: &[(String, String)]) {
    let Some((node, device)) = replicas.first() else { return };
    let Content::Filesystem(fs) = plain_content(world, node, device) else { return };
    let shared = world.nodes.iter().any(|(node, state)| {
        state.devices.iter().any(|(name, d)| {
            d.content == Content::Filesystem(fs.clone())
                && !replicas.iter().any(|(n, path)| n == node && path.trim_start_matches("/dev/") == name)
        })
    });
    // A mounted one is in use under its name; then it is the others who get a copy when they begin to write.
    let in_use = world.nodes.iter().any(|(node, state)| {
        replicas.iter().any(|(n, _)| n == node) && state.mounts.iter().any(|m| m.fs.as_ref() == Some(&fs))
    });
    let Some(files) = world.files.clone() else { return };
    if !shared || in_use {
        return;
    }
    // Without its files a copy would be an empty file system: rather one that is shared too long.
    let Ok(copy) = device::fork(world, &files, &fs) else { return };
    for (node, path) in replicas {
        if let Some(device) =
            world.nodes.get_mut(node).and_then(|n| n.devices.get_mut(path.trim_start_matches("/dev/")))
        {
            device.content = Content::Filesystem(copy.clone());
        }
    }
}

/// Runs one of DRBD's programs; `None`: `argv[0]` is not one of them, or its package is not installed.
pub fn run(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Option<Output> {
    let program = argv.first()?.rsplit('/').next()?.to_owned();
    if !commands::PROGRAMS.contains(&program.as_str())
        || !ctx.system().packages.get("drbd-utils").is_some_and(installed)
    {
        return None;
    }
    let node = ctx.node_name();
    let files = ctx.files;
    Some(with(ctx.world, Some(files), |fabric, nodes| commands::run(fabric, nodes, &node, &program, &argv[1..])))
}

fn installed(package: &Option<crate::lab::world::Package>) -> bool {
    package.as_ref().is_some_and(|p| !p.config_only)
}

/// Minors that exist on a node (`/dev/drbdN`), sorted.
pub fn minors(world: &World, node: &str) -> Vec<u32> {
    let mut minors: Vec<u32> =
        world.drbd.kernels.get(node).into_iter().flatten().filter(|(_, r)| r.made).map(|(_, r)| r.minor).collect();
    minors.sort_unstable();
    minors
}

/// A program opens `/dev/drbdN`; a write open promotes. Paired with [`close`] by the same holder.
pub fn open(world: &mut World, node: &str, minor: u32, mode: OpenMode, holder: &str) -> Result<(), OpenError> {
    let opened = with(world, None, |fabric, nodes| match mode {
        OpenMode::Read => fabric.open_ro(nodes, node, minor, holder),
        // Who opens for writing writes: mount its super block, mkfs everything.
        OpenMode::Write => fabric.open_rw(nodes, node, minor, holder).inspect(|()| {
            let _ = fabric.write(nodes, node, minor, 4);
        }),
    });
    opened.map_err(|refused| {
        let (errno, why) = match refused {
            Refused::NoDevice => ("ENXIO", "is not configured".to_owned()),
            Refused::NoData => ("ENODATA", "has no current data within reach, or no quorum".to_owned()),
            Refused::WrongMedium => ("EMEDIUMTYPE", "is in use on another node".to_owned()),
            Refused::ReadOnly => ("EROFS", "is Secondary, and opening does not promote".to_owned()),
            Refused::NotRecoverable => ("ENOTRECOVERABLE", "was demoted by force while open".to_owned()),
        };
        OpenError::new(errno, format!("/dev/drbd{minor} {why}"))
    })
}

/// The holder lets go of `/dev/drbdN`; the last write close demotes.
pub fn close(world: &mut World, node: &str, minor: u32, holder: &str) {
    with(world, None, |fabric, nodes| fabric.close(nodes, node, minor, holder));
}

/// What the volume holds as seen through this node.
pub fn content(world: &World, node: &str, minor: u32) -> Content {
    let fabric = &world.drbd;
    let Some(name) = fabric.by_minor(node, minor) else { return Content::Blank };
    let near = fabric.neighbours(node, name).into_iter().map(|(n, _)| n);
    std::iter::once(node.to_owned())
        .chain(near)
        .filter_map(|n| {
            let resource = fabric.resource(&n, name)?;
            let backing = resource.backing.as_ref()?;
            (resource.disk == Disk::UpToDate).then(|| plain_content(world, &n, &backing.device))
        })
        .next()
        .unwrap_or_default()
}

/// Overwrites what the volume holds, on every replica that is connected.
pub fn set_content(world: &mut World, node: &str, minor: u32, content: Content) {
    let written = with(world, None, |fabric, nodes| {
        fabric.write(nodes, node, minor, 4096).map(|()| fabric.replicas(node, minor))
    });
    for (replica, device) in written.unwrap_or_default() {
        if let Some(device) =
            world.nodes.get_mut(&replica).and_then(|n| n.devices.get_mut(device.trim_start_matches("/dev/")))
        {
            device.content = content.clone();
        }
    }
}

/// So many KiB were written through the device; absent replicas fall behind. An error is what the writer sees.
pub fn wrote(world: &mut World, node: &str, minor: u32, kib: u64) -> Result<(), super::WriteError> {
    with(world, None, |fabric, nodes| fabric.write(nodes, node, minor, kib))
}

pub fn size_kib(world: &World, node: &str, minor: u32) -> u64 {
    let fabric = &world.drbd;
    fabric.by_minor(node, minor).and_then(|name| fabric.resource(node, name)).map_or(0, |r| r.size_kib)
}

/// Whether a plain block device is the attached backing device of a volume.
pub fn holds_backing(world: &World, node: &str, path: &str) -> bool {
    let Some(DeviceRef::Plain(name)) = device::find(world, node, path) else { return false };
    let device = format!("/dev/{name}");
    world
        .drbd
        .kernels
        .get(node)
        .into_iter()
        .flatten()
        .any(|(_, r)| r.backing.as_ref().is_some_and(|b| b.device == device))
}

/// `blkid -p` of a backing device that carries DRBD metadata at its end answers TYPE="drbd".
pub fn has_metadata(world: &World, node: &str, kernel_name: &str) -> bool {
    world.drbd.metadata_on(node, &format!("/dev/{kernel_name}")).is_some()
}

/// `/proc/drbd`, when the module is loaded.
pub fn proc_drbd(world: &World, node: &str) -> Option<String> {
    let version = world.nodes.get(node)?.modules.get("drbd")?.version.clone()?;
    let any_peer = world.drbd.kernels.get(node).into_iter().flatten().any(|(_, r)| !r.peers.is_empty());
    Some(status::proc_drbd(&version, any_peer))
}

/// A file below `/sys/kernel/debug/drbd/`; `None`: there is none.
pub fn debugfs(world: &World, node: &str, path: &str) -> Option<String> {
    let rest = path.strip_prefix("/sys/kernel/debug/drbd/resources/")?;
    let name = rest.strip_suffix("/volumes/0/openers")?;
    world.drbd.openers_text(node, name, u64::try_from(world.now_ms()).unwrap_or(0))
}

/// The node lost power: its resources vanish from the peers' view.
pub fn node_off(world: &mut World, node: &str) {
    with(world, None, |fabric, nodes| {
        fabric.crash(node);
        fabric.settle(nodes);
    });
}

/// The node booted again; resources come up when their units say so (`drbdadm adjust` is run by systemd).
pub fn node_on(world: &mut World, _node: &str) {
    with(world, None, |_, _| ());
}

/// Cuts or mends the cable between two nodes.
pub fn cut_link(world: &mut World, a: &str, b: &str, cut: bool) {
    with(world, None, |fabric, nodes| fabric.set_cuts(nodes, &[(a, b)], cut));
}

/// Cuts or mends all cables of a node at the same moment.
pub fn isolate(world: &mut World, node: &str, cut: bool) {
    let others: Vec<String> = world.nodes.keys().filter(|n| *n != node).cloned().collect();
    let cables: Vec<(&str, &str)> = others.iter().map(|other| (node, other.as_str())).collect();
    with(world, None, |fabric, nodes| fabric.set_cuts(nodes, &cables, cut));
}

pub fn mend_links(world: &mut World) {
    with(world, None, |fabric, nodes| {
        fabric.cuts.clear();
        fabric.settle(nodes);
    });
}

/// A disk gives I/O errors from now on: DRBD detaches from it.
pub fn disk_failed(world: &mut World, node: &str, kernel_name: &str) {
    with(world, None, |fabric, nodes| fabric.fail_disk(nodes, node, &format!("/dev/{kernel_name}")));
}

/// The kernels' words about DRBD on one node, oldest first: lab clock in milliseconds, text.
pub fn kernel_log(world: &World, node: &str) -> Vec<(u64, String)> {
    world.drbd.log.iter().filter(|l| l.node == node).map(|l| (l.at_ms, l.text.clone())).collect()
}
