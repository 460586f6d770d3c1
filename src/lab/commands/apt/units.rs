//! Files that the lab's packages ship: units and configuration, shortened from the real ones.

pub const DRBD_PROGRAMS: &[&str] =
    &["/usr/sbin/drbdadm", "/usr/sbin/drbdsetup", "/usr/sbin/drbdmeta", "/usr/sbin/drbdmon"];

pub const DRBD_CONFIG: &[(&str, &str)] = &[
    (
        "/etc/drbd.conf",
        "# You can find an example in  /usr/share/doc/drbd.../drbd.conf.example\n\ninclude \"drbd.d/global_common.conf\";\ninclude \"drbd.d/*.res\";\n",
    ),
    (
        "/etc/drbd.d/global_common.conf",
        "# DRBD is the result of over a decade of development by LINBIT.\n# In case you need professional services for DRBD or have\n# feature requests visit http://www.linbit.com\n\nglobal {\n\tusage-count yes;\n\n\t# Decide what kind of udev symlinks you want for \"implicit\" volumes\n\t# (those without explicit volume <vnr> {} block, implied vnr=0):\n\t# /dev/drbd/by-resource/<resource>/<vnr>   (explicit volumes)\n\t# /dev/drbd/by-resource/<resource>         (default for implict)\n\tudev-always-use-vnr; # treat implicit the same as explicit volumes\n\n\t# minor-count dialog-refresh disable-ip-verification\n\t# cmd-timeout-short 5; cmd-timeout-medium 121; cmd-timeout-long 600;\n}\n\ncommon {\n\thandlers {\n\t}\n\n\tstartup {\n\t}\n\n\toptions {\n\t}\n\n\tdisk {\n\t}\n\n\tnet {\n\t}\n}\n",
    ),
];

pub const DRBD_UTILS: &[(&str, &str)] = &[
    ("/usr/lib/modules-load.d/drbd.conf", "drbd\n"),
    (
        "/usr/lib/systemd/system/drbd.service",
        "[Unit]\nDescription=DRBD -- please disable. Unless you are NOT using a cluster manager.\nWants=network-online.target sshd.service\nAfter=network-online.target sshd.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/drbd/scripts/drbd-service-shim.sh start\nExecReload=/usr/lib/drbd/scripts/drbd-service-shim.sh reload\nExecStop=/usr/lib/drbd/scripts/drbd-service-shim.sh stop\n\n[Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "/usr/lib/systemd/system/drbd@.service",
        "[Unit]\nDescription=DRBD resource: %i\nDocumentation=man:drbd.conf man:drbdadm\nAfter=network-online.target\nWants=network-online.target\nPartOf=drbd@%i.target\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironment=DRBD_RESOURCE=%i\nExecStart=/usr/sbin/drbdadm adjust %i\nExecStopPost=-/usr/sbin/drbdsetup down %i\n",
    ),
    (
        "/usr/lib/systemd/system/drbd@.target",
        "[Unit]\nDescription=DRBD resource %i\nRequires=drbd@%i.service\nAfter=drbd@%i.service\n\n[Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "/usr/lib/systemd/system/drbd-promote@.service",
        "[Unit]\nDescription=Promotion of DRBD resource %i\nRequires=drbd@%i.service\nAfter=drbd@%i.service\nPartOf=drbd-services@%i.target\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/drbdadm primary %i\nExecStop=/usr/sbin/drbdadm secondary %i\n",
    ),
    ("/usr/lib/systemd/system/drbd-services@.target", "[Unit]\nDescription=DRBD resource %i services\n"),
    (
        "/usr/lib/systemd/system/drbd-wait-promotable@.service",
        "[Unit]\nDescription=Wait for DRBD resource %i to become promotable\nRequires=drbd@%i.service\nAfter=drbd@%i.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/drbd/scripts/drbd-wait-promotable.sh %i\n\n[Install]\nWantedBy=multi-user.target\n",
    ),
];

/// What LINBIT's newer package has beyond Debian's.
pub const DRBD_UTILS_LINBIT: &[(&str, &str)] = &[
    (
        "/usr/lib/systemd/system/drbd-configured.target",
        "[Unit]\nDescription=All DRBD resources configured\n\n[Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "/usr/lib/systemd/system/drbd@.target",
        "[Unit]\nDescription=DRBD resource %i\nRequires=drbd@%i.service\nAfter=drbd@%i.service\n\n[Install]\nWantedBy=drbd-configured.target\n",
    ),
];

pub const NFS_KERNEL_SERVER: &[(&str, &str)] = &[
    (
        "/etc/exports",
        "# /etc/exports: the access control list for filesystems which may be exported\n#\t\tto NFS clients.  See exports(5).\n#\n# Example for NFSv2 and NFSv3:\n# /srv/homes       hostname1(rw,sync,no_subtree_check) hostname2(ro,sync,no_subtree_check)\n#\n",
    ),
    (
        "/etc/default/nfs-kernel-server",
        "# Runtime priority of server (see nice(1))\nRPCNFSDPRIORITY=0\n\n# Do you want to start the svcgssd daemon? It is only required for Kerberos\n# exports. Valid alternatives are \"yes\" and \"no\"; the default is \"no\".\nNEED_SVCGSSD=\"\"\n",
    ),
    (
        "/usr/lib/systemd/system/nfs-server.service",
        "[Unit]\nDescription=NFS server and services\nRequires=network.target proc-fs-nfsd.mount\nRequires=nfs-mountd.service\nWants=rpcbind.socket network-online.target\nAfter=network-online.target proc-fs-nfsd.mount rpcbind.socket nfs-mountd.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStartPre=-/usr/sbin/exportfs -r\nExecStart=/usr/sbin/rpc.nfsd\nExecStop=/usr/sbin/rpc.nfsd 0\nExecStopPost=/usr/sbin/exportfs -au\nExecStopPost=/usr/sbin/exportfs -f\nExecReload=-/usr/sbin/exportfs -r\n\n[Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "/usr/lib/systemd/system/nfs-mountd.service",
        "[Unit]\nDescription=NFS Mount Daemon\nRequires=proc-fs-nfsd.mount\nPartOf=nfs-server.service\n\n[Service]\nType=forking\nExecStart=/usr/sbin/rpc.mountd\n",
    ),
    (
        "/usr/lib/systemd/system/proc-fs-nfsd.mount",
        "[Unit]\nDescription=NFSD configuration filesystem\nDefaultDependencies=no\n\n[Mount]\nWhat=nfsd\nWhere=/proc/fs/nfsd\nType=nfsd\n",
    ),
    ("/usr/lib/systemd/system/network.target", "[Unit]\nDescription=Network\n"),
];

pub const NFS_COMMON: &[(&str, &str)] = &[
    // A directory, as the package ships it.
    ("/etc/nfs.conf.d/", ""),
    (
        "/etc/nfs.conf",
        "#\n# This is a general configuration for the\n# NFS daemons and tools\n#\n[general]\npipefs-directory=/run/rpc_pipefs\n#\n[nfsd]\n# debug=0\n# threads=8\n# host=\n# port=0\n# vers3=y\n# vers4=y\n",
    ),
    (
        "/usr/lib/systemd/system/run-rpc_pipefs.mount",
        "[Unit]\nDescription=RPC Pipe File System\nDefaultDependencies=no\n\n[Mount]\nWhat=sunrpc\nWhere=/run/rpc_pipefs\nType=rpc_pipefs\n",
    ),
];

pub const RPCBIND: &[(&str, &str)] = &[
    (
        "/usr/lib/systemd/system/rpcbind.service",
        "[Unit]\nDescription=RPC bind portmap service\nRequires=rpcbind.socket\n\n[Service]\nType=notify\nExecStart=/usr/sbin/rpcbind\n\n[Install]\nWantedBy=multi-user.target\nAlso=rpcbind.socket\n",
    ),
    (
        "/usr/lib/systemd/system/rpcbind.socket",
        "[Unit]\nDescription=RPCbind Server Activation Socket\n\n[Socket]\nListenStream=/run/rpcbind.sock\n\n[Install]\nWantedBy=sockets.target\n",
    ),
];

pub const CHRONY: &[(&str, &str)] = &[
    (
        "/etc/chrony/chrony.conf",
        "pool 2.debian.pool.ntp.org iburst\nkeyfile /etc/chrony/chrony.keys\ndriftfile /var/lib/chrony/chrony.drift\nntsdumpdir /var/lib/chrony\nlogdir /var/log/chrony\nmaxupdateskew 100.0\nrtcsync\nmakestep 1 3\nleapsectz right/UTC\n",
    ),
    (
        "/usr/lib/systemd/system/chrony.service",
        "[Unit]\nDescription=chrony, an NTP client/server\nX-Lab-Base=yes\n\n[Service]\nType=notify\nExecStart=/usr/sbin/chronyd\n\n[Install]\nWantedBy=multi-user.target\n",
    ),
];

pub const TGT: &[(&str, &str)] = &[(
    "/usr/lib/systemd/system/tgt.service",
    "[Unit]\nDescription=(i)SCSI target daemon\n\n[Service]\nType=notify\nExecStart=/usr/sbin/tgtd -f\n\n[Install]\nWantedBy=multi-user.target\n",
)];

/// Units of a fresh system: name, description, service type, whether a boot starts it.
pub const NODE_UNITS: &[(&str, &str, &str, bool)] = &[
    ("apparmor.service", "Load AppArmor profiles", "oneshot", true),
    ("chrony.service", "chrony, an NTP client/server", "notify", true),
    ("corosync.service", "Corosync Cluster Engine", "notify", true),
    ("cron.service", "Regular background program processing daemon", "simple", true),
    ("network.target", "Network", "", false),
    ("network-online.target", "Network is Online", "", false),
    ("postfix.service", "Postfix Mail Transport Agent", "oneshot", true),
    ("pve-cluster.service", "The Proxmox VE cluster filesystem", "forking", true),
    ("pve-guests.service", "PVE guests", "oneshot", true),
    ("pve-ha-crm.service", "PVE Cluster HA Resource Manager Daemon", "forking", true),
    ("pve-ha-lrm.service", "PVE Local HA Resource Manager Daemon", "forking", true),
    ("pvedaemon.service", "PVE API Daemon", "forking", true),
    ("pveproxy.service", "PVE API Proxy Server", "forking", true),
    ("pvescheduler.service", "Proxmox VE scheduler", "forking", true),
    ("pvestatd.service", "PVE Status Daemon", "forking", true),
    ("rpcbind.service", "RPC bind portmap service", "notify", true),
    ("rpcbind.socket", "RPCbind Server Activation Socket", "", true),
    ("ssh.service", "OpenBSD Secure Shell server", "notify", true),
    ("systemd-journald.service", "Journal Service", "notify", true),
    ("watchdog-mux.service", "Proxmox VE watchdog multiplexer", "simple", true),
];

pub const CONTAINER_UNITS: &[(&str, &str, &str, bool)] = &[
    ("cron.service", "Regular background program processing daemon", "simple", true),
    ("network.target", "Network", "", false),
    ("network-online.target", "Network is Online", "", false),
    ("networking.service", "Raise network interfaces", "oneshot", true),
    ("postfix.service", "Postfix Mail Transport Agent", "oneshot", true),
    ("ssh.service", "OpenBSD Secure Shell server", "notify", true),
    ("systemd-journald.service", "Journal Service", "notify", true),
];

/// The text of one of the units above.
pub fn base_unit(name: &str, description: &str, kind: &str, boots: bool) -> String {
    let mut text = format!("[Unit]\nDescription={description}\nX-Lab-Base=yes\n");
    if name.ends_with(".service") {
        let program = name.trim_end_matches(".service");
        text.push_str(&format!("\n[Service]\nType={kind}\n"));
        if kind == "oneshot" {
            text.push_str("RemainAfterExit=yes\n");
        }
        text.push_str(&format!("ExecStart=/usr/sbin/{program}\n"));
        match name {
            "apparmor.service" => {
                text.push_str("ExecReload=/usr/sbin/apparmor_parser -r /etc/apparmor.d/lxc-containers\n")
            }
            "pveproxy.service" | "pvedaemon.service" | "ssh.service" | "postfix.service" | "pve-guests.service" => {
                text.push_str("ExecReload=/bin/kill -HUP $MAINPID\n");
            }
            _ => {}
        }
    }
    if boots {
        let target = if name.ends_with(".socket") { "sockets.target" } else { "multi-user.target" };
        text.push_str(&format!("\n[Install]\nWantedBy={target}\n"));
    }
    text
}
