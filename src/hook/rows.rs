//! The table: every situation at pre-start that has a row in `docs/design/hook.md`, with its answer and its sentence.
//!
//! A row says what is wrong, why that is dangerous and what to do. Which rows apply is decided in `judge`.

use super::judge::Answer;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    Module,
    Resource,
    RoleHere,
    RoleThere,
    Disk,
    PeerDisk,
    Connection,
    Replication,
    Quorum,
    Suspended,
}

impl Aspect {
    pub fn title(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Resource => "resource",
            Self::RoleHere => "role here",
            Self::RoleThere => "role there",
            Self::Disk => "disk here",
            Self::PeerDisk => "disk there",
            Self::Connection => "connection",
            Self::Replication => "replication",
            Self::Quorum => "quorum",
            Self::Suspended => "I/O",
        }
    }
}

/// One row. In the texts `{r}` is the resource, `{p}` the peer, `{s}` the state word or detail.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub id: &'static str,
    pub aspect: Aspect,
    /// The state words that can lead here, as DRBD writes them; `*` = a word that is not known.
    pub words: &'static [&'static str],
    pub when: &'static str,
    pub answer: Answer,
    /// It can pass without anybody's doing, so that waiting a while makes sense.
    pub heals: bool,
    pub wrong: &'static str,
    pub danger: &'static str,
    pub todo: &'static str,
}

macro_rules! rows {
    ($($name:ident = $id:literal, $aspect:ident, [$($word:literal),*], $when:literal, $answer:ident $heals:ident,
        $wrong:literal, $danger:literal, $todo:literal;)+) => {
        $(pub static $name: Row = Row {
            id: $id, aspect: Aspect::$aspect, words: &[$($word),*], when: $when, answer: Answer::$answer,
            heals: heals!($heals), wrong: $wrong, danger: $danger, todo: $todo,
        };)+
        /// Every row, in the order of the documentation.
        pub static ALL: &[&Row] = &[$(&$name),+];
    };
}

macro_rules! heals {
    (waits) => {
        true
    };
    (now) => {
        false
    };
}

rows! {
    MODULE_9 = "module-9", Module, ["9"], "DRBD 9 is loaded", Allow now, "", "", "";
    MODULE_8 = "module-8", Module, ["8"], "an 8.x module is loaded", Deny now,
        "the DRBD module that is loaded is {s}, not 9",
        "it cannot read this configuration, and nothing of the data's state can be told",
        "See `dkms status` and `modinfo drbd`; with no resource up: `rmmod drbd && modprobe drbd`";
    MODULE_NEW = "module-new", Module, ["*"], "a module of another generation is loaded", Deny now,
        "the DRBD module that is loaded is {s}, which this program does not know",
        "its states may mean something else",
        "Install a newer converge on this node";
    MODULE_ABSENT = "module-absent", Module, [], "no module is loaded", Deny waits,
        "the DRBD module is not loaded",
        "the device does not exist, and nothing of the data's state can be told",
        "`modprobe drbd && drbdadm adjust {r}`; if that fails, see `dkms status`";
    MODULE_UNTOLD = "module-untold", Module, [], "the module's version cannot be read", Deny waits,
        "cannot tell which DRBD module is loaded ({s})",
        "data that is not current, or in use elsewhere, would not be noticed",
        "Look at /sys/module/drbd/version";

    CONTAINER_UNTOLD = "container-untold", Resource, [], "the container's configuration or its devices cannot be read", Deny waits,
        "cannot tell which devices {r} stands on ({s})",
        "data that is not current, or in use elsewhere, would not be noticed",
        "See `pct config` of it, and `systemctl status pve-cluster`";
    NOT_UP = "not-up", Resource, [], "no resource is up that has the device", Deny waits,
        "{r} is not up on this node",
        "there is no replicated device to start from",
        "`drbdadm adjust all`, and `systemctl enable --now drbd@RESOURCE.target` for the next boot";
    UNTOLD = "untold", Resource, [], "no answer in time, no such program, or an answer that does not read", Deny waits,
        "cannot tell the state of {r} ({s})",
        "data that is not current, or in use elsewhere, would not be noticed",
        "Run `drbdsetup status --verbose` on this node";
    UNKNOWN_WORD = "unknown-word", Resource, ["*"], "a state word that this program does not know", Deny waits,
        "{r} is in a state that this program does not know: {s}",
        "it may mean that the data is not current, or in use elsewhere",
        "Run `drbdsetup status --verbose {r}`; install a newer converge on this node";
    NO_PEERS = "no-peers", Connection, [], "the resource has no connections", Deny waits,
        "{r} has no connections at all: it is half configured",
        "it would be written to here alone, and its copies elsewhere would fall behind unnoticed",
        "`drbdadm adjust {r}` completes it";

    SECONDARY = "secondary", RoleHere, ["Secondary"], "Secondary: the usual role before a start", Allow now, "", "", "";
    PRIMARY_FREE = "primary-free", RoleHere, ["Primary"], "Primary, and nobody has the device open", Warn now,
        "{r} is Primary here already though nobody uses it",
        "a role taken by hand is not given back when the container stops, and no other node can take over",
        "After the container's next stop: `drbdadm secondary {r}`";
    HELD_HERE = "held-here", RoleHere, ["Primary"], "Primary, and somebody has the device open", Deny waits,
        "{r} is in use on this node already, by {s}",
        "two users of one file system destroy it",
        "End that first; `converge hook --explain` shows all of them";
    HELD_UNTOLD = "held-untold", RoleHere, ["Primary"], "Primary, and whether it is open cannot be told", Deny waits,
        "{r} is Primary here, and whether it is in use cannot be told ({s})",
        "two users of one file system destroy it",
        "Look at /sys/kernel/debug/drbd/resources/{r}/volumes/*/openers; if it is free: `drbdadm secondary {r}`";
    ROLE_UNTOLD = "role-untold", RoleHere, ["Unknown"], "the own role is Unknown", Deny waits,
        "the role of {r} here is Unknown",
        "it may be in use",
        "Run `drbdsetup status --verbose {r}`";

    PEER_SECONDARY = "peer-secondary", RoleThere, ["Secondary", "Unknown"],
        "Secondary; or Unknown of one that is not connected", Allow now, "", "", "";
    PEER_PRIMARY = "peer-primary", RoleThere, ["Primary"], "a peer is Primary", Deny waits,
        "{r} is in use on {p}, which is Primary",
        "a second user would destroy the file system; DRBD refuses it as well",
        "Stop what uses it on {p}, or start the container there; if {p} just lost power, its peers notice within \
         seconds: try again";
    PEER_ROLE_UNTOLD = "peer-role-untold", RoleThere, ["Unknown"], "a connected peer's role is Unknown", Deny waits,
        "{p} is connected and its role in {r} cannot be told",
        "it may be in use there",
        "Run `drbdsetup status --verbose {r}` here and on {p}";

    UP_TO_DATE = "up-to-date", Disk, ["UpToDate"], "UpToDate", Allow now, "", "", "";
    SYNC_TARGET = "sync-target", Disk, ["Inconsistent"],
        "Inconsistent, being synced from a connected peer that is UpToDate (`own_disk: syncing`)", Warn now,
        "{r} is still being synced here ({s})",
        "until that is done it reads over the network, and losing that peer stops the container with I/O errors",
        "Nothing, or wait for the sync: `drbdsetup status {r}`";
    SYNC_TARGET_STRICT = "sync-target-strict", Disk, ["Inconsistent"], "the same, with `own_disk: up_to_date`", Deny waits,
        "{r} is still being synced here ({s})",
        "losing the node that it is synced from would stop the container with I/O errors",
        "Wait for the sync: `drbdsetup status {r}`";
    INCONSISTENT = "inconsistent", Disk, ["Inconsistent"], "Inconsistent, and not being synced from a good copy", Deny waits,
        "the copy of {r} here is Inconsistent and no sync from a good one is running",
        "it is a mixture of old and new blocks",
        "Connect it to an UpToDate node (`drbdadm adjust {r}`) or start the container there";
    OUTDATED = "outdated", Disk, ["Outdated"], "Outdated", Deny waits,
        "the copy of {r} here is Outdated",
        "others went on writing without it, and the container would start on old data",
        "Once it is connected to an UpToDate node it catches up by itself: `drbdsetup status {r}`";
    CONSISTENT = "consistent", Disk, ["Consistent"], "Consistent: whether it is current is not known yet", Deny waits,
        "whether the copy of {r} here is current is not known yet (Consistent)",
        "others may have gone on writing without it",
        "It is known as soon as a peer is connected: `drbdsetup status {r}`";
    TRANSIENT = "transient", Disk, ["Attaching", "Negotiating"], "Attaching, Negotiating", Deny waits,
        "the disk of {r} is {s}",
        "whether its data is current is not known yet",
        "Try again in a few seconds; if it stays, see `drbdsetup status --verbose {r}`";
    CLIENT = "client", Disk, ["Diskless"], "Diskless on purpose, over a connected peer that is UpToDate", Allow now,
        "", "", "";
    DISKLESS = "diskless", Disk, ["Diskless", "Failed", "Detaching"],
        "without its disk, over a connected peer that is UpToDate", Deny waits,
        "{r} has lost its disk on this node ({s})",
        "the container would live on another node's disk over the network alone",
        "Start it on a node with a good disk, or replace this one and run `drbdadm adjust {r}`; `own_disk: any` in \
         /etc/converge/hook.yml allows it";
    DISKLESS_ANY = "diskless-any", Disk, ["Diskless", "Failed", "Detaching"], "the same, with `own_disk: any`", Warn now,
        "{r} has lost its disk on this node ({s})",
        "the container lives on another node's disk over the network; losing that stops it with I/O errors",
        "Replace the disk and run `drbdadm adjust {r}`";
    NO_DATA = "no-data", Disk, ["Diskless", "Failed", "Detaching"], "without its disk, and no connected peer is UpToDate",
        Deny waits,
        "{r} has no disk here ({s}) and no connected peer that is UpToDate",
        "there is no current data within reach",
        "Connect it (`drbdadm adjust {r}`) or start the container where the data is";
    DISK_UNTOLD = "disk-untold", Disk, ["DUnknown"], "the own disk's state is DUnknown", Deny waits,
        "the state of the disk of {r} here cannot be told (DUnknown)",
        "its data may be old",
        "Run `drbdsetup status --verbose {r}`";

    PEER_DISK_GOOD = "peer-disk-good", PeerDisk, ["UpToDate", "DUnknown"],
        "UpToDate; DUnknown of one that is not connected", Allow now, "", "", "";
    PEER_DISK = "peer-disk", PeerDisk,
        ["Diskless", "Attaching", "Detaching", "Failed", "Negotiating", "Inconsistent", "Outdated", "Consistent", "DUnknown"],
        "a connected peer has no current copy", Warn now,
        "the copy of {r} on {p} is {s}",
        "fewer nodes than described could take over",
        "See `drbdsetup status --verbose {r}`";

    CONNECTED = "connected", Connection, ["Connected"], "Connected", Allow now, "", "", "";
    STANDALONE = "standalone", Connection, ["StandAlone"],
        "StandAlone, and no quorum vouches for this side", Deny now,
        "{r} is StandAlone towards {p}, so both sides may have been written to apart (split brain)",
        "this side may lack what was written there, and each start makes the two differ more",
        "See both sides: `drbdsetup status --verbose {r}`, `drbdadm get-gi {r}` and `journalctl -k | grep -i \
         split-brain` here and on {p}. Decide whose changes to drop, there: `drbdadm disconnect {r}; drbdadm secondary \
         {r}; drbdadm connect --discard-my-data {r}`, here: `drbdadm connect {r}`";
    STANDALONE_QUORUM = "standalone-quorum", Connection, ["StandAlone"],
        "StandAlone towards one, while others are connected and the configured quorum holds", Warn now,
        "{r} is StandAlone towards {p}",
        "that node falls behind and will not come back by itself",
        "Find out why (`journalctl -k | grep drbd` here and on {p}: split brain or a lost handshake) before `drbdadm \
         adjust {r}`";
    PEER_MISSING = "peer-missing", Connection,
        ["Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown",
         "Connecting"],
        "a peer is not connected, most nodes are, and the configured quorum holds", Warn now,
        "{r} is not connected to {p} ({s})",
        "that node falls behind and cannot take over",
        "Look at {p} and at the replication network";
    PEER_MISSING_NO_QUORUM = "peer-missing-no-quorum", Connection,
        ["Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown",
         "Connecting"],
        "a peer is not connected, most nodes are, and no quorum is configured", Warn now,
        "{r} is not connected to {p} ({s}), and no quorum is configured",
        "should it still be in use there, the two sides split",
        "Look at {p} and at the replication network, and configure `quorum majority`";
    ALONE_QUORUM = "alone-quorum", Connection,
        ["Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown",
         "Connecting"],
        "fewer than most nodes are connected, and the configured quorum holds all the same", Warn now,
        "{r} is not connected to {p} ({s}), and has quorum because those that are missing are known to be outdated",
        "this is the only current copy",
        "Bring {p} back";
    ALONE = "alone", Connection,
        ["Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown",
         "Connecting"],
        "fewer than most nodes are connected, and no quorum is configured", Deny waits,
        "{r} is not connected to {p} ({s}), and no quorum is configured",
        "the others may be writing, or have written later, so the container would start on old data or split it, \
         which DRBD would allow",
        "Bring {p} or the replication network back, and configure `quorum majority`";
    ALONE_UNTOLD = "alone-untold", Connection,
        ["Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown",
         "Connecting"],
        "fewer than most nodes are connected, and whether a quorum is configured cannot be told", Deny waits,
        "{r} is not connected to {p} ({s}), and whether a quorum protects it cannot be told",
        "the others may be writing, or have written later",
        "Bring {p} or the replication network back; see `drbdsetup show --json {r}`";

    ESTABLISHED = "established", Replication, ["Established", "VerifyS", "VerifyT", "Off"],
        "Established, verifying; Off of one that is not connected", Allow now, "", "", "";
    PEER_SYNCS = "peer-syncs", Replication,
        ["StartingSyncS", "WFBitMapS", "SyncSource", "PausedSyncS", "Ahead"],
        "a peer is being synced from here", Warn now,
        "the sync of {r} from here to {p} is not done ({s})",
        "a node cannot take over before that",
        "Nothing, or wait for the sync: `drbdsetup status {r}`";
    IS_SYNCED = "is-synced", Replication,
        ["StartingSyncT", "WFBitMapT", "WFSyncUUID", "SyncTarget", "PausedSyncT", "Behind"],
        "this node is being synced: decided by the disk here", Allow now, "", "", "";
    NO_REPLICATION = "no-replication", Replication, ["Off"], "Off of a connected peer: the handshake is not done",
        Warn now,
        "{r} does not replicate to {p} yet",
        "that node cannot take over",
        "See `drbdsetup status --verbose {r}`";

    QUORUM_HOLDS = "quorum-holds", Quorum, ["true"], "quorum holds, or is not configured", Allow now, "", "", "";
    QUORUM_LOST = "quorum-lost", Quorum, ["false"], "no quorum", Deny waits,
        "{r} has no quorum on this node",
        "the nodes that are missing may be using it, and DRBD refuses the start as well",
        "Bring the missing nodes or the replication network back: `drbdsetup status --verbose {r}`";

    SUSPENDED = "suspended", Suspended, ["quorum", "no-data", "fencing"], "I/O is suspended", Deny waits,
        "I/O of {r} is suspended ({s})",
        "everything that reads or writes it hangs and cannot be killed",
        "Bring the missing nodes back, or give up waiting: `drbdsetup resource-options --on-no-quorum=io-error {r}`";
    SUSPENDED_USER = "suspended-user", Suspended, ["user"], "I/O is suspended by an administrator", Deny now,
        "I/O of {r} was suspended by hand",
        "everything that reads or writes it hangs and cannot be killed",
        "`drbdadm resume-io {r}`";
    IO_FAILS = "io-fails", Suspended, ["force-io-failures"], "all I/O is made to fail (`secondary --force`)", Deny waits,
        "all I/O of {r} fails since a `secondary --force`, until its last user closes it",
        "the container could not read a block",
        "End what still holds it (`converge hook --explain`); a reboot of this node does that as well";
}
