//! The lab's nodes as the API's [`Site`], and the API as `pvesh` reaches it on a node.
//! Files, devices and containers stay the lab's own; this only translates.

use super::acl::Identity;
use super::auth::Secrets;
use super::dispatch;
use super::request::Fault;
use super::site::{Rootfs, RunningGuest, Site, SiteFile, SiteNode, Unpack, Unpacked, Worked};
use super::state::Cluster;
use super::tls;
use crate::host::{FileKind, Method};
use crate::lab::commands::Ctx;
use crate::lab::device::{self, BlockDevice, Content, Filesystem, OpenError};
use crate::lab::files::{Files, View, Writer};
use crate::lab::world::{Flavour, Place, World};
use crate::lab::{guest, hook, power};
use serde_json::Value;
use std::collections::BTreeMap;

/// An answer that is an error: HTTP status and Proxmox's own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    pub message: String,
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let status = match &fault {
            Fault::Params(_) => 400,
            Fault::Text(status, _) | Fault::Bare(status, _) => *status,
        };
        Self { status, message: fault.text().trim_end().into() }
    }
}

/// A GET as `pvesh get PATH` on `ctx`'s node does it: root, no proxy in between. Answers what stands under `data`.
pub fn get(ctx: &mut Ctx, path: &str, params: &BTreeMap<String, String>) -> Result<Value, ApiError> {
    as_root(ctx, "GET", path, params)
}

/// What a write answered, with the task that it was.
pub struct Written {
    /// What stands under `data`: a task's name, where one was run.
    pub data: Value,
    pub task: Option<Work>,
}

/// A task that is over.
pub struct Work {
    /// Without the closing `TASK …` line.
    pub log: Vec<String>,
    /// `OK`, `WARNINGS: n`, or what it died with.
    pub exit: String,
}

/// A write as `pvesh create|set|delete PATH` does it: a task is run to its end, and that it died is no error of the write.
pub fn write(
    ctx: &mut Ctx,
    method: Method,
    path: &str,
    params: &BTreeMap<String, String>,
) -> Result<Written, ApiError> {
    let method = match method {
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    };
    let data = as_root(ctx, method, path, params)?;
    let now_ms = ctx.world.now_ms();
    let name = data.as_str().unwrap_or_default();
    let task = ctx.world.cluster.tasks.iter().position(|task| task.upid == name).map(|at| {
        let task = &mut ctx.world.cluster.tasks[at];
        task.ends_ms = task.ends_ms.min(now_ms);
        Work { log: task.log.clone(), exit: task.exit.clone() }
    });
    Ok(Written { data, task })
}

/// The other node that a path is about, if it is: `pvesh` asks it over ssh.
pub fn elsewhere(ctx: &Ctx, path: &str) -> Option<String> {
    let node = path.trim_start_matches('/').strip_prefix("nodes/")?.split('/').next()?;
    (node != "localhost" && node != ctx.node_name()).then(|| node.to_owned())
}

fn as_root(ctx: &mut Ctx, method: &str, path: &str, params: &BTreeMap<String, String>) -> Result<Value, ApiError> {
    let entry = ctx.node_name();
    let who = Identity { user: "root@pam".into(), token: None };
    // No ticket is made or checked on this way.
    let secrets = Secrets { root_password: String::new(), key: String::new() };
    within(ctx.world, ctx.files, |cluster, site, flavour| {
        dispatch::perform(cluster, site, &secrets, flavour, who, &entry, method, path, params.clone())
    })
    .map_err(ApiError::from)
}

/// Lends the cluster's state and its nodes to `f`; the state is written back only where it changed.
pub fn within<R>(world: &mut World, files: &Files, f: impl FnOnce(&mut Cluster, &mut dyn Site, Flavour) -> R) -> R {
    let flavour = world.flavour;
    let before: &Cluster = &world.cluster;
    let mut cluster = before.clone();
    let result = f(&mut cluster, &mut LabSite { world, files }, flavour);
    let before: &Cluster = &world.cluster;
    if *before != cluster {
        *world.cluster = cluster;
    }
    result
}

/// Lets the cluster live up to now: what HA would have done since somebody last asked.
pub fn live(world: &mut World, files: &Files) {
    within(world, files, super::ha::advance);
}

/// What Proxmox VE does when a container has ended without being told to.
pub fn hook_after_end(world: &mut World, files: &Files, node: &str, vmid: u32) {
    within(world, files, |cluster, site, _| super::lxc::power::ended(cluster, site, node, vmid));
}

struct LabSite<'a> {
    world: &'a mut World,
    files: &'a Files,
}

impl LabSite<'_> {
    fn with_view<R>(&self, node: &str, f: impl FnOnce(&View) -> R) -> R {
        let place = Place::node(node);
        f(&View { world: self.world, files: self.files, place: &place })
    }

    fn with_writer<R>(&mut self, node: &str, f: impl FnOnce(&mut Writer) -> R) -> R {
        let place = Place::node(node);
        f(&mut Writer { world: self.world, files: self.files, place: &place })
    }

    /// The device that holds a root file system. A storage's volume is a device of the node by its path.
    fn device_of(&self, node: &str, rootfs: &Rootfs) -> String {
        match rootfs {
            Rootfs::Device(path) => path.clone(),
            Rootfs::Volume(path) => {
                let name = volume_device(path);
                debug_assert!(self.world.nodes.contains_key(node));
                format!("/dev/{name}")
            }
        }
    }

    /// Makes the volume with an empty file system, as the storage does before unpacking.
    fn make_volume(&mut self, node: &str, path: &str, unprivileged: bool) {
        let name = volume_device(path);
        if self.world.node(node).devices.contains_key(&name) {
            return;
        }
        let fs = format!("fs{}", self.world.fresh_id());
        let uuid = self.world.fresh_uuid();
        let root_uid = if unprivileged { UNPRIVILEGED_ROOT } else { 0 };
        let state = Filesystem { kind: "ext4".into(), uuid, clean: true, root_uid, ..Filesystem::default() };
        self.world.filesystems.insert(fs.clone(), state);
        let device = BlockDevice { content: Content::Filesystem(fs), ..BlockDevice::default() };
        self.world.node_mut(node).devices.insert(name, device);
    }
}

/// Who root of an unprivileged container is on the node.
const UNPRIVILEGED_ROOT: u32 = 100_000;

/// The unpacking command as the task names it when it failed.
fn unpack_failure(target: &str, template: &str) -> String {
    let unpacker = match template.rsplit('.').next() {
        Some("zst") => "--zstd",
        Some("xz") => "-J",
        Some("bz2") => "-j",
        _ => "-z",
    };
    format!(
        "command 'lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar xpf - {unpacker} --totals \
         --one-file-system -p --sparse --numeric-owner --acls --xattrs '--xattrs-include=user.*' \
         '--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write' -C {target} \
         --skip-old-files --anchored --exclude './dev/*'' failed: exit code 2"
    )
}

/// The kernel name under which the lab keeps a storage's volume.
fn volume_device(path: &str) -> String {
    format!("mapper/{}", path.trim_start_matches("/dev/").trim_matches('/').replace('/', "-"))
}

/// What mount(8) says; the command's failure itself is the task's last line.
fn mount_log(vmid: u32, source: &str, error: &OpenError, log: &mut Vec<String>) -> String {
    let target = format!("/var/lib/lxc/{vmid}/rootfs");
    let text = match error.errno {
        "ENOENT" => format!("mount: {target}: special device {source} does not exist."),
        "EINVAL" => format!(
            "mount: {target}: wrong fs type, bad option, bad superblock on {source}, missing codepage or helper \
             program, or other error."
        ),
        _ => format!("mount: {target}: fsconfig() failed: {source}: Can't open blockdev: {}.", error.text()),
    };
    log.push(text);
    log.push("       dmesg(1) may have more information after failed mount system call.".into());
    log.push("mounting container failed".into());
    format!("command 'mount {source} {target}//' failed: exit code 32")
}

impl Site for LabSite<'_> {
    fn now_ms(&self) -> i64 {
        self.world.now_ms()
    }

    fn nodes(&self) -> Vec<SiteNode> {
        let node = |(name, state): (&String, &crate::lab::world::NodeState)| SiteNode {
            name: name.clone(),
            ip: crate::lab::base::cluster_address(state.index),
            online: !state.off,
        };
        self.world.nodes.iter().map(node).collect()
    }

    fn read(&self, node: &str, path: &str) -> Option<Vec<u8>> {
        self.with_view(node, |view| view.read(path).ok().flatten())
    }

    fn write(&mut self, node: &str, path: &str, content: &[u8]) -> Result<(), String> {
        self.with_writer(node, |writer| {
            if let Some((dir, _)) = path.rsplit_once('/') {
                writer.create_dir_all(dir)?;
            }
            writer.write(path, content)
        })
        .map_err(|error| format!("unable to write '{path}' - {}", error.text))
    }

    fn remove(&mut self, node: &str, path: &str) -> Result<(), String> {
        self.world.node_mut(node).devices.remove(&volume_device(path));
        self.with_writer(node, |writer| writer.remove(path, false))
            .map_err(|error| format!("unable to remove '{path}' - {}", error.text))
    }

    fn rename(&mut self, node: &str, from: &str, to: &str) -> Result<(), String> {
        self.with_writer(node, |writer| {
            if let Some((dir, _)) = to.rsplit_once('/') {
                writer.create_dir_all(dir)?;
            }
            writer.rename(from, to)
        })
        .map_err(|error| format!("unable to move '{from}' to '{to}' - {}", error.text))
    }

    fn list(&self, node: &str, dir: &str) -> Vec<String> {
        self.with_view(node, |view| view.list(dir).ok().flatten().unwrap_or_default())
    }

    fn stat(&self, node: &str, path: &str) -> Option<SiteFile> {
        let stat = self.with_view(node, |view| view.stat(path).ok().flatten())?;
        (stat.kind == FileKind::File || stat.kind == FileKind::Symlink).then_some(SiteFile {
            size_bytes: stat.size_bytes,
            modified_s: stat.modified_s,
            executable: stat.mode & 0o111 != 0,
        })
    }

    fn unpack(&mut self, node: &str, what: &Unpack, log: &mut Vec<String>) -> Worked<Unpacked> {
        if let Rootfs::Volume(path) = &what.rootfs {
            self.make_volume(node, path, what.unprivileged);
        }
        let source = self.device_of(node, &what.rootfs);
        let target = format!("/var/lib/lxc/{}/rootfs", what.vmid);
        let fs = device::mount(self.world, node, &source, &target, "rw,relatime", Some(what.vmid))
            .map_err(|error| mount_log(what.vmid, &source, &error, log))?;
        log.push(format!("extracting archive '{}'", what.template));
        let owner = self.world.filesystems.get(&fs).map_or(0, |state| state.root_uid);
        if what.unprivileged && owner != UNPRIVILEGED_ROOT {
            device::unmount(self.world, node, &target, Some(what.vmid));
            log.push("tar: ./etc: Cannot mkdir: Permission denied".into());
            log.push("tar: Exiting with failure status due to previous errors".into());
            return Err(unpack_failure(&target, &what.template));
        }
        let result = guest::unpack(self.world, self.files, &fs, what.vmid, &what.conf, &what.template);
        device::unmount(self.world, node, &target, Some(what.vmid));
        result?;
        log.push("Total bytes read: 2201600 (2.1MiB, 24MiB/s)".into());
        let release = std::fs::read_to_string(self.files.filesystem(&fs).join("etc/os-release")).unwrap_or_default();
        let id = release.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or("unmanaged");
        Ok(Unpacked { ostype: id.trim_matches('"').into(), arch: "amd64".into() })
    }

    fn running(&self, vmid: u32) -> Option<RunningGuest> {
        let running = self.world.guests.get(&vmid)?.running.as_ref()?;
        Some(RunningGuest { node: running.node.clone(), since_s: running.since_s, pid: running.pid })
    }

    fn quorate(&self, node: &str) -> bool {
        self.world.quorate(node)
    }

    fn fence(&mut self, node: &str) {
        power::off(self.world, node);
    }

    fn start_guest(&mut self, node: &str, vmid: u32, rootfs: &Rootfs, log: &mut Vec<String>) -> Worked<()> {
        let source = self.device_of(node, rootfs);
        let result = guest::start_from(self.world, self.files, vmid, node, &source);
        result.map_err(|text| {
            let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
            let last = lines.pop().unwrap_or_else(|| format!("startup for container '{vmid}' failed"));
            log.append(&mut lines);
            last
        })
    }

    fn stop_guest(&mut self, _node: &str, vmid: u32, _rootfs: &Rootfs, _log: &mut Vec<String>) -> Worked<()> {
        guest::stop(self.world, vmid)
    }

    fn run_hook(&mut self, node: &str, vmid: u32, phase: &str, script: &str) -> (i32, Vec<String>) {
        let called = hook::call(self.world, self.files, node, vmid, phase, script);
        (called.rc, called.said)
    }

    fn has_bridge(&self, node: &str, name: &str) -> bool {
        let interfaces = self.with_view(node, |view| view.text("/etc/network/interfaces")).unwrap_or_default();
        let mut words = interfaces.lines().map(|line| line.split_whitespace());
        words.any(|mut line| line.next() == Some("iface") && line.next() == Some(name))
    }

    fn packages(&self, node: &str) -> BTreeMap<String, String> {
        let installed = self.world.node(node).system.packages.iter();
        let mut found: BTreeMap<String, String> = installed
            .filter_map(|(name, package)| Some((name.clone(), package.as_ref()?.version.clone())))
            .filter(|(name, _)| name.starts_with("pve-") || name.starts_with("proxmox-"))
            .collect();
        let (_, version) = super::cluster::release(self.world.flavour);
        found.insert("pve-manager".into(), version.into());
        found
    }

    fn fingerprint(&self, node: &str) -> String {
        tls::presented(|file| self.read(node, &format!("/etc/pve/nodes/{node}/{file}")))
    }
}
