//! What check and apply of the reference playbook say to each fault.

/// A result that a run must contain: task (by a part of its name), host, outcome, words of its summary or warnings.
pub type Says = (&'static str, &'static str, &'static str, &'static str);

pub enum After {
    /// Apply ends with 0 and changes what check said; check is clean then.
    Healed,
    /// Apply ends with this code, saying this, and so does every check after it.
    Stays(u8, &'static [Says]),
    /// As above, and `lab mend` followed by an apply brings everything back.
    Mended(u8, &'static [Says]),
}

pub struct Case {
    pub fault: &'static str,
    pub exit: u8,
    pub check: &'static [Says],
    pub after: After,
}

pub const RESOURCE: &str = "The resource nfs1";
pub const PCT: &str = "Container 101";
pub const LOCKED: Says = (PCT, "cluster", "blocked", "is locked (backup)");
const CUT_OFF: &[Says] = &[
    (PCT, "cluster", "ok", "pve3: offline to the cluster"),
    ("HA looks after", "cluster", "blocked", "pve3: running, and cut off from the cluster"),
];
const MODULE: &str = "module that is loaded";
const NOT_BUILT: &[Says] = &[(MODULE, "pve3", "blocked", "not built for")];
const NOT_ENROLLED: &[Says] = &[(MODULE, "pve3", "blocked", "mokutil --import")];
pub const DOWN: Says = ("package source", "pve3", "unreachable", "powered off");
pub const CUT: &[Says] = &[
    (RESOURCE, "pve1", "blocked", "look at the replication network"),
    (RESOURCE, "pve3", "blocked", "look at the replication network"),
];
pub const CUT_APPLIED: &[Says] = &[
    (RESOURCE, "pve1", "failed", "look at the replication network"),
    (RESOURCE, "pve3", "failed", "look at the replication network"),
];
pub const ISOLATED: &[Says] = &[
    (RESOURCE, "pve1", "blocked", "no quorum here"),
    (RESOURCE, "pve2", "blocked", "pve2 is not connected to pve1"),
    (RESOURCE, "pve3", "blocked", "pve3 is not connected to pve1"),
];
pub const SPLIT: &[Says] = &[
    (RESOURCE, "pve1", "blocked", "Only you can decide whose changes to keep"),
    (RESOURCE, "pve2", "blocked", "split brain"),
    (RESOURCE, "pve3", "blocked", "--discard-my-data"),
];
pub const NO_QUORUM: &[Says] = &[("HA looks after", "cluster", "blocked", "the cluster has no quorum")];

pub const HA_ERROR: &[Says] =
    &[("HA looks after", "cluster", "blocked", "set it to `disabled`, wait until it is stopped")];
pub const HUNG: &[Says] = &[("NFS storage", "cluster", "blocked", "cannot use storage nfs1 on pve1, pve2, pve3")];
/// An apply gives it half a minute, so this one is played beside the others.
pub const STORAGE_HUNG: Case = Case {
    fault: "storage-hung",
    exit: 1,
    check: HUNG,
    after: After::Mended(
        1,
        &[("NFS storage", "cluster", "failed", "its server 192.168.1.11 does not answer, or hangs")],
    ),
};

pub const REFERENCE: &[Case] = &[
    Case {
        fault: "in-tree-module",
        exit: 3,
        check: &[("module that is loaded", "pve3", "drifted", "8.4.11"), (RESOURCE, "pve3", "drifted", "")],
        after: After::Healed,
    },
    Case {
        fault: "edited-res",
        exit: 3,
        check: &[(RESOURCE, "pve3", "drifted", "disconnect becomes discard-zero-changes")],
        after: After::Healed,
    },
    Case {
        fault: "service-disabled",
        exit: 3,
        check: &[("comes up at boot", "pve3", "drifted", "enable drbd@nfs1.target")],
        after: After::Healed,
    },
    Case {
        fault: "disk-failed",
        exit: 3,
        check: &[(RESOURCE, "pve3", "drifted", "it is Diskless here")],
        after: After::Healed,
    },
    Case {
        fault: "ha-group-edited",
        exit: 3,
        check: &[("It runs on these nodes", "cluster", "drifted", "change HA rule nfs1")],
        after: After::Healed,
    },
    Case {
        fault: "repository-gone",
        exit: 3,
        check: &[("package source", "pve3", "drifted", "linbit.sources")],
        after: After::Healed,
    },
    Case {
        fault: "export-removed",
        exit: 3,
        check: &[
            ("It is exported", "ct:101", "drifted", "/etc/exports"),
            ("export again", "ct:101", "drifted", "exportfs"),
        ],
        after: After::Healed,
    },
    Case {
        fault: "nfs-stopped",
        exit: 3,
        check: &[("It runs, also", "ct:101", "drifted", "start nfs-server")],
        after: After::Healed,
    },
    Case { fault: "node-down", exit: 4, check: &[DOWN], after: After::Mended(4, &[DOWN]) },
    Case { fault: "link-cut", exit: 1, check: CUT, after: After::Mended(1, CUT_APPLIED) },
    Case { fault: "peer-outdated", exit: 1, check: CUT, after: After::Mended(1, CUT_APPLIED) },
    Case { fault: "node-isolated", exit: 1, check: ISOLATED, after: After::Mended(1, &[]) },
    Case { fault: "split-brain", exit: 1, check: SPLIT, after: After::Stays(1, SPLIT) },
    Case { fault: "no-quorum", exit: 1, check: NO_QUORUM, after: After::Mended(1, NO_QUORUM) },
    Case { fault: "container-locked", exit: 1, check: &[LOCKED], after: After::Stays(1, &[LOCKED]) },
    Case { fault: "node-cut-off", exit: 1, check: CUT_OFF, after: After::Mended(1, CUT_OFF) },
    Case { fault: "dkms-failed", exit: 1, check: NOT_BUILT, after: After::Stays(1, NOT_BUILT) },
    Case { fault: "secure-boot", exit: 1, check: NOT_ENROLLED, after: After::Stays(1, NOT_ENROLLED) },
    Case {
        fault: "new-kernel",
        exit: 3,
        check: &[("headers it is built with", "pve3", "drifted", "install proxmox-default-headers")],
        after: After::Healed,
    },
    Case {
        fault: "hookscript-missing",
        exit: 3,
        check: &[("DRBD is asked before", "cluster", "drifted", "on pve3 (missing)")],
        after: After::Healed,
    },
    // Nothing asks for another version: the hold is in nobody's way.
    Case { fault: "package-held", exit: 0, check: &[], after: After::Stays(0, &[]) },
];
