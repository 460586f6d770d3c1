//! Containers as far as nodes are concerned: configuration files, the root file system, running or not.
//!
//! What the API, HA and locks say about them is `lab::api`'s; that calls this.

use super::device::{self, Content, FsId, OpenMode};
use super::files::{Files, Writer};
use super::world::{Place, Running, System, World};
use std::path::PathBuf;

/// A guest's configuration file: the node that owns it and its text.
pub fn config(world: &World, files: &Files, vmid: u32) -> Option<(String, String)> {
    world.nodes.keys().find_map(|node| {
        let text = std::fs::read_to_string(config_path(files, node, vmid)).ok()?;
        Some((node.clone(), text))
    })
}

/// The real file behind `/etc/pve/nodes/NODE/lxc/VMID.conf`.
pub fn config_path(files: &Files, node: &str, vmid: u32) -> PathBuf {
    files.pve().join("nodes").join(node).join("lxc").join(format!("{vmid}.conf"))
}

/// A key of the current section (before the first `[snapshot]`).
pub fn config_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (k, value) = line.split_once(':')?;
        (k.trim() == key).then_some(value.trim())
    })
}

/// The block device that `rootfs:` names.
pub fn rootfs_device(text: &str) -> Option<&str> {
    let value = config_value(text, "rootfs")?;
    let first = value.split(',').next()?;
    Some(first.strip_prefix("volume=").unwrap_or(first))
}

/// Where it runs now.
pub fn running_on(world: &World, vmid: u32) -> Option<&str> {
    world.guests.get(&vmid)?.running.as_ref().map(|r| r.node.as_str())
}

/// Starts a container as `lxc-start` does: mounts its root device (DRBD auto-promotes), boots its units.
/// The text of an error is what the start task's log says.
pub fn start(world: &mut World, files: &Files, vmid: u32, node: &str) -> Result<(), String> {
    if running_on(world, vmid).is_some() {
        return Err(format!("CT {vmid} already running"));
    }
    let (owner, text) = config(world, files, vmid)
        .ok_or_else(|| format!("Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist"))?;
    if owner != node {
        return Err(format!("Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist"));
    }
    let source = rootfs_device(&text).ok_or("missing rootfs configuration")?.to_owned();
    start_from(world, files, vmid, node, &source)
}

/// As [`start`], from a device that is known: a storage's volume has no path in the configuration.
pub fn start_from(world: &mut World, files: &Files, vmid: u32, node: &str, source: &str) -> Result<(), String> {
    let source = source.to_owned();
    let target = format!("/var/lib/lxc/{vmid}/rootfs");
    let failed = |why: String| {
        format!(
            "lxc_init: 845 Failed to run lxc.hook.pre-start for container \"{vmid}\"\n{why}\nstartup for container '{vmid}' failed"
        )
    };
    let fs = device::mount(world, node, &source, &target, "rw,relatime", Some(vmid)).map_err(|e| {
        let why = match e.errno {
            "ENOENT" => format!("mount: {target}: special device {source} does not exist."),
            "EINVAL" => format!("mount: {target}: wrong fs type, bad option, bad superblock on {source}, missing codepage or helper program, or other error."),
            _ => format!("mount: {target}: fsconfig() failed: {source}: Can't open blockdev."),
        };
        failed(why)
    })?;
    if world.filesystems.get(&fs).is_none_or(|f| f.system.is_none()) {
        device::unmount(world, node, &target, Some(vmid));
        return Err(failed("unable to detect OS distribution".to_owned()));
    }
    let (since_s, pid) = (world.now_s(), 10_000 + world.fresh_id());
    let text = config(world, files, vmid).map(|(_, text)| text).unwrap_or_default();
    let may_mount = allowed_mounts(world, node, &text);
    let running = Running { node: node.to_owned(), rootfs: fs, device: source, since_s, pid, may_mount };
    world.guests.entry(vmid).or_default().running = Some(running);
    super::commands::systemctl::boot(world, files, &Place::Container(vmid));
    Ok(())
}

/// Stops it: its units end, the root device is unmounted (DRBD auto-demotes). Stopping a stopped one is no error.
pub fn stop(world: &mut World, vmid: u32) -> Result<(), String> {
    if running_on(world, vmid).is_none() {
        return Ok(());
    }
    super::commands::systemctl::halt(world, &Place::Container(vmid));
    let Some(running) = world.guests.entry(vmid).or_default().running.take() else { return Ok(()) };
    device::unmount(world, &running.node, &format!("/var/lib/lxc/{vmid}/rootfs"), Some(vmid));
    Ok(())
}

/// Unpacks a template onto the container's root device, as a create does. The configuration file is the caller's.
/// A device without a file system fails as the real task does; files that are there stay.
pub fn create(
    world: &mut World,
    files: &Files,
    node: &str,
    vmid: u32,
    config_text: &str,
    template: &str,
) -> Result<(), String> {
    let source = rootfs_device(config_text).ok_or("missing rootfs configuration")?.to_owned();
    let unable = |why: String| format!("unable to create CT {vmid} - {why}");
    let target = format!("/var/lib/lxc/{vmid}/rootfs");
    let fs = device::mount(world, node, &source, &target, "rw,relatime", Some(vmid))
        .map_err(|e| unable(format!("mount: {target}: {source}: {}", e.text())))?;
    let result = unpack(world, files, &fs, vmid, config_text, template);
    device::unmount(world, node, &target, Some(vmid));
    result.map_err(unable)
}

/// Fills a mounted file system from a template; files that are there stay.
pub(super) fn unpack(
    world: &mut World,
    files: &Files,
    fs: &FsId,
    vmid: u32,
    config_text: &str,
    template: &str,
) -> Result<(), String> {
    let debian = if template.contains("debian-12") { 12 } else { 13 };
    let root = files.filesystem(fs);
    let hostname = config_value(config_text, "hostname").map_or_else(|| format!("CT{vmid}"), str::to_owned);
    super::base::unpack_container(&root, debian, &hostname, config_text).map_err(|e| e.to_string())?;
    if let Some(state) = world.filesystems.get_mut(fs)
        && state.system.is_none()
    {
        state.system = Some(System { debian, container: true, ..System::default() });
    }
    Ok(())
}

/// Whether a container could be unpacked onto a device without mixing two systems.
pub fn device_is_empty(world: &mut World, node: &str, source: &str) -> Result<bool, String> {
    let device = device::open(world, node, source, OpenMode::Read, "look").map_err(|e| e.why)?;
    let content = device::content(world, node, &device);
    device::close(world, node, &device, "look");
    Ok(match content {
        Content::Filesystem(fs) => world.filesystems.get(&fs).is_none_or(|f| f.system.is_none()),
        Content::Blank => true,
        Content::Other(_) => false,
    })
}

/// Writes a file inside a running container, for the lab's own needs.
pub fn write_inside(world: &mut World, files: &Files, vmid: u32, path: &str, text: &str) -> Result<(), String> {
    let place = Place::Container(vmid);
    Writer { world, files, place: &place }.ship(path, text.as_bytes(), 0o644).map_err(|e| e.to_string())
}

/// Which file systems AppArmor will let a container mount: by its generated profile (`features`), by a profile that
/// it names, or any when it is unconfined. The node's profile counts as it is loaded, not as it is on disk.
fn allowed_mounts(world: &World, node: &str, config: &str) -> Vec<String> {
    if config_value(config, "unprivileged") == Some("1") {
        // The kernel refuses nfsd in a user name space whatever the profile says.
        return Vec::new();
    }
    let raw = config.lines().take_while(|l| !l.starts_with('[')).find_map(|line| {
        let (key, value) = line.split_once([':', '='])?;
        (key.trim() == "lxc.apparmor.profile").then_some(value.trim())
    });
    match raw {
        Some("unconfined") => return vec!["*".into()],
        Some("lxc-container-default-cgns") => {
            let shipped = super::base::LXC_DEFAULT_CGNS.to_owned();
            let loaded = world.node(node).apparmor_loaded.clone().unwrap_or(shipped);
            let types = loaded.lines().filter_map(|l| l.trim().strip_prefix("mount fstype=")?.split([',', ' ']).next());
            return types.map(str::to_owned).collect();
        }
        Some("generated") | None => {}
        Some(_) => return Vec::new(),
    }
    let features = config_value(config, "features").unwrap_or_default();
    let mut allowed = Vec::new();
    for feature in features.split(',') {
        match feature.split_once('=') {
            Some(("nesting", "1")) => allowed.push("*".to_owned()),
            Some(("mount", types)) => allowed.extend(types.split(';').map(str::to_owned)),
            _ => {}
        }
    }
    allowed
}

/// Whether a running container may mount a file system type.
pub fn may_mount(world: &World, vmid: u32, fstype: &str) -> bool {
    let running = world.guests.get(&vmid).and_then(|g| g.running.as_ref());
    running.is_some_and(|r| r.may_mount.iter().any(|t| t == "*" || t == fstype))
}

/// The running container that has an address.
fn by_address(world: &World, files: &Files, address: &str) -> Option<u32> {
    world.guests.iter().filter(|(_, g)| g.running.is_some()).map(|(vmid, _)| *vmid).find(|vmid| {
        config(world, files, *vmid).is_some_and(|(_, text)| {
            let net = config_value(&text, "net0").unwrap_or_default().to_owned();
            let named = config_value(&text, "hostname") == Some(address);
            named
                || net.split(',').filter_map(|o| o.strip_prefix("ip=")).any(|ip| ip.split('/').next() == Some(address))
        })
    })
}

/// Paths that an address exports over NFS; `None`: nobody answers there. Empty: no NFS server runs.
pub fn nfs_exports(world: &World, files: &Files, address: &str) -> Option<Vec<String>> {
    let vmid = by_address(world, files, address)?;
    let system = world.system(&Place::Container(vmid))?;
    let serves = system.units.get("nfs-server.service").and_then(|u| u.active) == Some(true);
    let paths = system.exports.iter().filter(|_| serves).filter_map(|l| l.split(' ').next());
    Some(paths.map(str::to_owned).collect())
}

/// Ports on which a container listens.
pub fn ports(world: &World, place: &Place) -> Vec<u16> {
    let Some(system) = world.system(place) else { return Vec::new() };
    let runs = |unit: &str| system.units.get(unit).and_then(|u| u.active);
    let mut ports = vec![22];
    if runs("rpcbind.service") == Some(true) {
        ports.push(111);
    }
    if runs("nfs-server.service") == Some(true) {
        ports.push(2049);
    }
    ports
}
