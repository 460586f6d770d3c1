//! The two unit files of a schedule, and whose a unit file is that lies there already.
//!
//! A run may do what it needs and no more: what a setting takes away that no run needs is taken away.

use super::quote;
use super::{Place, RunAs, Schedule};

/// Stands in every file that is ours; the key that follows holds the schedule itself.
const SECTION: &str = "[X-Converge]";
const KEY: &str = "Schedule=";

/// Whose unit file this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Written from this schedule, which need not be what the rest of the file says any more.
    Ours(Box<Schedule>),
    /// Ours, but what it was written from cannot be read: a newer version, or somebody's hand.
    Unclear(String),
    Foreign,
}

pub fn owner(text: &str) -> Owner {
    let Some((_, after)) = text.split_once(&format!("\n{SECTION}\n")) else { return Owner::Foreign };
    let Some(json) = after.lines().find_map(|line| line.strip_prefix(KEY)) else {
        return Owner::Unclear("its section [X-Converge] lacks `Schedule=`".into());
    };
    match serde_json::from_str(json) {
        Ok(schedule) => Owner::Ours(Box::new(schedule)),
        Err(e) => Owner::Unclear(format!("its `Schedule=` cannot be read: {e}")),
    }
}

/// Lines of one section.
struct Text(String);

impl Text {
    fn section(&mut self, name: &str) {
        let between = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{between}[{name}]\n"));
    }

    fn set(&mut self, key: &str, value: impl AsRef<str>) {
        self.0.push_str(&format!("{key}={}\n", value.as_ref()));
    }

    fn all(&mut self, pairs: &[(&str, &str)]) {
        for (key, value) in pairs {
            self.set(key, value);
        }
    }

    fn mark(mut self, schedule: &Schedule) -> String {
        let json = serde_json::to_string(schedule).expect("texts and numbers");
        self.0.push_str(&format!("\n{SECTION}\n{KEY}{json}\n"));
        self.0
    }
}

fn head() -> Text {
    Text("# Written by `converge`, which writes it again; drop-ins are yours (`systemctl edit`).\n".to_owned())
}

/// `converge-NAME.timer`.
pub fn timer(schedule: &Schedule) -> String {
    let mut text = head();
    text.section("Unit");
    text.set("Description", format!("When converge looks for drift ({})", schedule.name));
    text.section("Timer");
    for time in &schedule.calendar {
        text.set("OnCalendar", time);
    }
    // A run that was missed while the machine was off is made up for.
    text.set("Persistent", "true");
    if schedule.spread_s > 0 {
        text.set("RandomizedDelaySec", schedule.spread_s.to_string());
        // The same delay every day, so that runs keep their distance.
        text.set("FixedRandomDelay", "true");
    }
    text.section("Install");
    text.set("WantedBy", "timers.target");
    text.mark(schedule)
}

/// `converge-NAME.service`.
pub fn service(schedule: &Schedule) -> String {
    let mut text = head();
    text.section("Unit");
    text.set("Description", format!("converge looks for drift ({})", schedule.name));
    if schedule.run_as != RunAs::Own {
        text.set("Wants", "network-online.target");
        text.set("After", "network-online.target nss-lookup.target");
    }
    if schedule.place == Place::Node {
        // Right after a boot the cluster's file system comes up.
        text.set("After", "pve-cluster.service pve-guests.service");
    }
    text.section("Service");
    text.set("Type", "oneshot");
    text.set("ExecStart", command(schedule));
    // Drift is an answer. What could not be told (1, 4) and a wrong playbook (2) are failures of the unit.
    text.set("SuccessExitStatus", "3");
    text.set("TimeoutStartSec", schedule.timeout_s.to_string());
    text.all(&[("Nice", "10"), ("IOSchedulingClass", "idle"), ("LimitNOFILE", "65536"), ("UMask", "0077")]);
    text.set("LimitCORE", "0");
    who(&mut text, schedule);
    files(&mut text, schedule);
    match (&schedule.run_as, schedule.place) {
        (RunAs::Own, _) => own(&mut text),
        (_, Place::Workstation) => workstation(&mut text, schedule),
        (_, Place::Node) => node(&mut text),
    }
    text.mark(schedule)
}

fn command(schedule: &Schedule) -> String {
    let out = ["--out", schedule.out.as_str()];
    let words = schedule.arguments.iter().map(String::as_str).chain(out).map(quote::argument);
    // Variables are not looked for in the program's own path.
    std::iter::once(quote::path(&schedule.program)).chain(words).collect::<Vec<_>>().join(" ")
}

fn who(text: &mut Text, schedule: &Schedule) {
    match &schedule.run_as {
        RunAs::User(user) => text.set("User", user),
        RunAs::Dynamic => text.set("DynamicUser", "yes"),
        RunAs::Root | RunAs::Own => {}
    }
    for credential in &schedule.credentials {
        text.set("LoadCredential", format!("{}:{}", quote::rest(&credential.id), quote::rest(&credential.path)));
    }
}

fn files(text: &mut Text, schedule: &Schedule) {
    if schedule.run_as == RunAs::Own {
        return;
    }
    if schedule.has_state_directory() {
        text.set("StateDirectory", format!("converge/{}", schedule.name));
        text.set("StateDirectoryMode", "0700");
    } else {
        text.set("ReadWritePaths", quote::path(&schedule.out));
    }
    text.all(&[("ProtectSystem", "strict"), ("PrivateTmp", "yes"), ("PrivateMounts", "yes")]);
    // Where ssh keeps the sockets of shared connections.
    text.set("Environment", "XDG_CACHE_HOME=/tmp");
}

/// What works without the rights of root: what is taken from the process itself.
fn own(text: &mut Text) {
    text.all(&[
        ("NoNewPrivileges", "yes"),
        ("LockPersonality", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("SystemCallArchitectures", "native"),
        ("SystemCallFilter", "@system-service"),
        ("SystemCallErrorNumber", "EPERM"),
    ]);
}

fn workstation(text: &mut Text, schedule: &Schedule) {
    text.set("ProtectHome", if schedule.homes { "read-only" } else { "yes" });
    text.all(&[
        ("ProtectClock", "yes"),
        ("ProtectControlGroups", "yes"),
        ("ProtectHostname", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectProc", "invisible"),
        ("ProcSubset", "pid"),
        ("PrivateDevices", "yes"),
        ("RemoveIPC", "yes"),
    ]);
    if schedule.mail {
        // sendmail lays mail into a spool that only it may write to: by the rights of its file's group or user, which
        // most of what would follow here takes away.
        text.set("ReadWritePaths", "-/var/spool -/var/mail");
        text.set("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK");
        return;
    }
    own(text);
    text.all(&[
        ("SystemCallFilter", "~@privileged @resources"),
        ("CapabilityBoundingSet", ""),
        ("AmbientCapabilities", ""),
        ("PrivateUsers", "yes"),
    ]);
}

/// A node looks at its own devices, kernel and containers, and enters containers: it keeps the rights of root that these
/// need. What is left away is what no look needs.
fn node(text: &mut Text) {
    // Locks and states of LXC and DRBD; who ran when, for the other nodes.
    text.set("ReadWritePaths", "/run /var -/etc/pve/priv");
    text.all(&[
        ("ProtectHome", "read-only"),
        ("ProtectHostname", "yes"),
        ("ProtectClock", "yes"),
        ("LockPersonality", "yes"),
        ("RestrictRealtime", "yes"),
        ("SystemCallArchitectures", "native"),
    ]);
}
