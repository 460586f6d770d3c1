//! Files that a kernel makes up: `/proc`, `/sys`, `/dev`, and module trees, computed from the node's state.

use super::device;
use super::drbd;
use super::world::World;
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    File(Vec<u8>),
    /// Names in it; real files may stand beside them.
    Dir(Vec<String>),
    Link(String),
    Block {
        major: u32,
        minor: u32,
    },
}

/// The made-up entry at an absolute path without links, as a node sees it.
pub fn lookup(world: &World, node: &str, path: &str) -> Option<Entry> {
    let top = path.split('/').nth(1)?;
    let entries = match top {
        "proc" => proc(world, node),
        "sys" => sys(world, node, path),
        "dev" => dev(world, node),
        "lib" => module_tree(world, node, "/lib/modules"),
        "usr" if path.starts_with("/usr/lib/modules") => module_tree(world, node, "/usr/lib/modules"),
        _ => return None,
    };
    find(&entries, path)
}

/// Inside a container.
pub fn lookup_container(world: &World, vmid: u32, path: &str) -> Option<Entry> {
    let top = path.split('/').nth(1)?;
    if top != "proc" {
        return None;
    }
    let running = world.guests.get(&vmid)?.running.as_ref()?;
    let node = world.nodes.get(&running.node)?;
    let mounts =
        format!("{} / ext4 rw,relatime 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n", running.device);
    let uptime = (world.now_s() - running.since_s).max(0);
    let mut entries = BTreeMap::new();
    put(&mut entries, "/proc/mounts", mounts.clone());
    put(&mut entries, "/proc/self/mounts", mounts);
    put(&mut entries, "/proc/sys/kernel/osrelease", format!("{}\n", node.kernel));
    put(&mut entries, "/proc/uptime", format!("{uptime}.00 {uptime}.00\n"));
    put(&mut entries, "/proc/modules", modules_text(node));
    put(&mut entries, "/proc/meminfo", "MemTotal:        2097152 kB\nMemFree:         1048576 kB\n");
    put(&mut entries, "/proc/net/tcp", tcp_table(&super::guest::ports(world, &super::world::Place::Container(vmid))));
    put(&mut entries, "/proc/net/tcp6", tcp_table(&[]));
    find(&entries, path)
}

fn put(entries: &mut BTreeMap<String, Entry>, path: &str, text: impl Into<String>) {
    entries.insert(path.to_owned(), Entry::File(text.into().into_bytes()));
}

/// A path itself, or a directory that lies above some.
fn find(entries: &BTreeMap<String, Entry>, path: &str) -> Option<Entry> {
    if let Some(entry) = entries.get(path) {
        return Some(entry.clone());
    }
    let prefix = format!("{path}/");
    let mut names: Vec<String> = entries
        .range(prefix.clone()..)
        .take_while(|(p, _)| p.starts_with(&prefix))
        .filter_map(|(p, _)| p[prefix.len()..].split('/').next().map(str::to_owned))
        .collect();
    names.dedup();
    (!names.is_empty()).then_some(Entry::Dir(names))
}

/// Sockets that listen on every address, as `/proc/net/tcp` has them.
fn tcp_table(ports: &[u16]) -> String {
    let mut text =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n".to_owned();
    for (n, port) in ports.iter().enumerate() {
        let _ = writeln!(
            text,
            "{n:>4}: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 {} 1 0000000000000000 100 0 0 10 0",
            20_000 + n
        );
    }
    text
}

fn modules_text(node: &super::world::NodeState) -> String {
    let mut text = String::new();
    for name in node.modules.keys() {
        let _ = writeln!(text, "{name} 16384 0 - Live 0x0000000000000000");
    }
    text
}

fn proc(world: &World, node_name: &str) -> BTreeMap<String, Entry> {
    let node = world.node(node_name);
    let mut entries = BTreeMap::new();
    let mut filesystems = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\n\text4\n".to_owned();
    if node.modules.contains_key("nfsd") {
        filesystems.push_str("nodev\tnfsd\n");
        put(&mut entries, "/proc/fs/nfsd/versions", "+3 +4 +4.1 +4.2\n");
    }
    put(&mut entries, "/proc/filesystems", filesystems);
    put(&mut entries, "/proc/meminfo", "MemTotal:       65536000 kB\nMemFree:        40960000 kB\n");
    put(&mut entries, "/proc/net/tcp", tcp_table(&[22, 111, 8006]));
    put(&mut entries, "/proc/net/tcp6", tcp_table(&[]));
    put(
        &mut entries,
        "/proc/cmdline",
        format!("BOOT_IMAGE=/boot/vmlinuz-{} root=/dev/mapper/pve-root ro quiet\n", node.kernel),
    );
    put(
        &mut entries,
        "/proc/version",
        format!("Linux version {} (build@proxmox) #1 SMP PREEMPT_DYNAMIC\n", node.kernel),
    );
    put(&mut entries, "/proc/modules", modules_text(node));
    let up = (world.now_s() - node.booted_at_s).max(0);
    put(&mut entries, "/proc/uptime", format!("{up}.00 {up}.00\n"));
    put(&mut entries, "/proc/sys/kernel/hostname", format!("{node_name}\n"));
    put(&mut entries, "/proc/sys/kernel/osrelease", format!("{}\n", node.kernel));
    for (key, value) in super::commands::sysctl::values(node) {
        put(&mut entries, &format!("/proc/sys/{}", key.replace('.', "/")), format!("{value}\n"));
    }
    let mut mounts = "/dev/mapper/pve-root / ext4 rw,relatime,errors=remount-ro 0 0\nproc /proc proc rw,relatime 0 0\nsysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\nudev /dev devtmpfs rw,nosuid,relatime 0 0\n/dev/fuse /etc/pve fuse rw,nosuid,nodev,relatime,user_id=0,group_id=0,default_permissions,allow_other 0 0\n".to_owned();
    let mut info = "29 1 252:1 / / rw,relatime shared:1 - ext4 /dev/mapper/pve-root rw,errors=remount-ro\n24 29 0:22 / /proc rw,relatime shared:12 - proc proc rw\n23 29 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw\n25 29 0:5 / /dev rw,nosuid,relatime shared:2 - devtmpfs udev rw\n90 29 0:45 / /etc/pve rw,nosuid,nodev,relatime shared:40 - fuse /dev/fuse rw,user_id=0,group_id=0,default_permissions,allow_other\n".to_owned();
    for (n, mount) in node.mounts.iter().filter(|m| m.guest.is_none()).enumerate() {
        let _ = writeln!(mounts, "{} {} {} {} 0 0", mount.source, mount.target, mount.fstype, mount.options);
        let _ = writeln!(
            info,
            "{} 29 147:{n} / {} {} shared:{} - {} {} {}",
            100 + n,
            mount.target,
            mount.options,
            50 + n,
            mount.fstype,
            mount.source,
            mount.options
        );
    }
    for of in ["/proc", "/proc/self", "/proc/1"] {
        put(&mut entries, &format!("{of}/mounts"), mounts.clone());
    }
    put(&mut entries, "/proc/self/mountinfo", info.clone());
    put(&mut entries, "/proc/1/mountinfo", info);
    entries.insert("/proc/1/ns/mnt".into(), Entry::Link("mnt:[4026531841]".into()));
    put(&mut entries, "/proc/1/comm", "systemd\n");
    for (vmid, running) in world.guests.iter().filter_map(|(vmid, g)| Some((vmid, g.running.as_ref()?))) {
        if running.node == node_name {
            init_of_container(&mut entries, *vmid, running);
        }
    }
    if let Some(text) = drbd::proc_drbd(world, node_name) {
        put(&mut entries, "/proc/drbd", text);
    }
    entries
}

/// A container's first process: its own mount namespace, with its root device in it.
fn init_of_container(entries: &mut BTreeMap<String, Entry>, vmid: u32, running: &super::world::Running) {
    let of = format!("/proc/{}", running.pid);
    let minor = running.device.strip_prefix("/dev/drbd").and_then(|n| n.parse::<u32>().ok());
    let number = minor.map_or_else(|| "252:9".to_owned(), |minor| format!("147:{minor}"));
    put(entries, &format!("{of}/comm"), "systemd\n");
    put(
        entries,
        &format!("{of}/mountinfo"),
        format!("700 699 {number} / / rw,relatime - ext4 {} rw\n", running.device),
    );
    entries.insert(format!("{of}/ns/mnt"), Entry::Link(format!("mnt:[{}]", 4_026_532_000_u64 + u64::from(vmid))));
    entries.insert(format!("{of}/ns/net"), Entry::Link(format!("net:[{}]", 4_026_533_000_u64 + u64::from(vmid))));
}

/// Module files of each kernel; `build` only where headers are installed.
fn module_tree(world: &World, node_name: &str, top: &str) -> BTreeMap<String, Entry> {
    let node = world.node(node_name);
    let mut entries = BTreeMap::new();
    for kernel in &node.kernels {
        for path in super::commands::modules::files(node, kernel) {
            put(&mut entries, &path.replacen("/lib/modules", top, 1), "");
        }
        put(&mut entries, &format!("{top}/{kernel}/modules.dep"), "");
        let headers = ["proxmox-headers", "pve-headers"]
            .iter()
            .any(|p| super::commands::apt::version_in(&node.system, &format!("{p}-{kernel}")).is_some());
        if headers {
            let target = format!("/usr/src/linux-headers-{kernel}");
            entries.insert(format!("{top}/{kernel}/build"), Entry::Link(target));
        }
    }
    entries
}

fn sys(world: &World, node_name: &str, path: &str) -> BTreeMap<String, Entry> {
    let node = world.node(node_name);
    let mut entries = BTreeMap::new();
    for (name, module) in &node.modules {
        let dir = format!("/sys/module/{name}");
        if let Some(version) = &module.version {
            put(&mut entries, &format!("{dir}/version"), format!("{version}\n"));
        }
        put(&mut entries, &format!("{dir}/taint"), if module.in_tree { "\n" } else { "OE\n" });
        put(&mut entries, &format!("{dir}/initstate"), "live\n");
        put(&mut entries, &format!("{dir}/refcnt"), "0\n");
    }
    put(&mut entries, "/sys/module/apparmor/parameters/enabled", "Y\n");
    for (name, device) in &node.devices {
        put(&mut entries, &format!("/sys/class/block/{name}/size"), format!("{}\n", device.size_kib * 2));
    }
    for minor in drbd::minors(world, node_name) {
        let sectors = drbd::size_kib(world, node_name, minor) * 2;
        put(&mut entries, &format!("/sys/class/block/drbd{minor}/size"), format!("{sectors}\n"));
        put(&mut entries, &format!("/sys/class/block/drbd{minor}/dev"), format!("147:{minor}\n"));
    }
    if path.starts_with("/sys/kernel/debug/drbd/")
        && let Some(text) = drbd::debugfs(world, node_name, path)
    {
        put(&mut entries, path, text);
    }
    entries
}

fn dev(world: &World, node_name: &str) -> BTreeMap<String, Entry> {
    let node = world.node(node_name);
    let mut entries = BTreeMap::new();
    for (n, name) in (0_u32..).zip(node.devices.keys()) {
        let (major, minor) = if name.starts_with("nvme") { (259, n) } else { (8, n * 16) };
        entries.insert(format!("/dev/{name}"), Entry::Block { major, minor });
    }
    for (link, target) in device::links(world, node_name) {
        // As udev makes them: relative to /dev/disk/by-…/.
        entries.insert(link, Entry::Link(target.replacen("/dev/", "../../", 1)));
    }
    for minor in drbd::minors(world, node_name) {
        entries.insert(format!("/dev/drbd{minor}"), Entry::Block { major: 147, minor });
    }
    for (name, minor) in [("null", 3), ("zero", 5), ("urandom", 9)] {
        // Character devices; nothing in the lab reads them.
        entries.insert(format!("/dev/{name}"), Entry::Block { major: 1, minor });
    }
    entries
}
