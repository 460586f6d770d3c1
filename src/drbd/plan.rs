//! What `drbdadm -d adjust NAME` would run, and how far each command reaches.
//!
//! A verb that is not known counts as dangerous. The list means something only while the 9.x module is loaded:
//! without one it is always the whole bring-up.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Options; nothing stops.
    Benign,
    /// Makes what is missing: a resource that is down, a peer, a path, a connection, a disk that is not attached.
    BringUp,
    /// Takes a connection down and makes it anew.
    Network,
    /// Takes a peer, a minor or a disk away.
    Dangerous,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub text: String,
    pub verb: String,
    pub class: Class,
}

/// The commands in order; secrets among their options are hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub lines: Vec<Line>,
}

pub fn parse(stdout: &str) -> Plan {
    let lines: Vec<(String, Vec<&str>)> = stdout
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|l| (l.to_owned(), l.split_whitespace().collect()))
        .collect();
    let verb = |words: &[&str]| match words {
        ["drbdsetup", verb, ..] => (*verb).to_owned(),
        // `drbdmeta 100 v09 DISK internal apply-al`
        ["drbdmeta", .., verb] => format!("drbdmeta {verb}"),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    };
    // `connect` alone makes a missing connection; after a `disconnect` it is half of an interruption.
    let takes_down = lines.iter().any(|(_, w)| matches!(verb(w).as_str(), "disconnect" | "del-path"));
    let lines = lines
        .iter()
        .map(|(text, words)| {
            let verb = verb(words);
            let class = match verb.as_str() {
                "net-options" | "peer-device-options" | "resource-options" | "disk-options" => Class::Benign,
                "disconnect" | "del-path" => Class::Network,
                "new-path" | "connect" if takes_down => Class::Network,
                "new-resource" | "new-minor" | "new-peer" | "new-path" | "connect" | "attach" | "drbdmeta apply-al" => {
                    Class::BringUp
                }
                _ => Class::Dangerous,
            };
            Line { text: hide_secrets(text), verb, class }
        })
        .collect();
    Plan { lines }
}

/// A secret may hold spaces, so that everything up to the next option is hidden.
fn hide_secrets(text: &str) -> String {
    let mut parts = text.split(" --");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(" --");
        match part.split_once('=') {
            Some((name, _)) if super::compare::is_secret(name) => {
                out.push_str(name);
                out.push_str("=(hidden)");
            }
            _ => out.push_str(part),
        }
    }
    out
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The gravest of its lines.
    pub fn class(&self) -> Option<Class> {
        self.lines.iter().map(|l| l.class).max()
    }

    pub fn of(&self, class: Class) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |l| l.class == class)
    }

    /// The resource does not exist in the kernel yet: everything is made new.
    pub fn is_whole_bring_up(&self) -> bool {
        self.lines.iter().any(|l| l.verb == "new-resource")
    }

    pub fn text(&self) -> String {
        self.lines.iter().map(|l| format!("{}\n", l.text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_its_reach() {
        for (text, class) in [
            ("", None),
            ("drbdsetup resource-options nfs1 --set-defaults --quorum=majority\n", Some(Class::Benign)),
            ("drbdsetup connect nfs1 1\n", Some(Class::BringUp)),
            (
                "drbdmeta 100 v09 /dev/x internal apply-al\ndrbdsetup attach 100 /dev/x /dev/x internal\n",
                Some(Class::BringUp),
            ),
            ("drbdsetup disconnect nfs1 2\ndrbdsetup connect nfs1 2\n", Some(Class::Network)),
            ("drbdsetup del-peer nfs1 2\n", Some(Class::Dangerous)),
            ("drbdsetup detach --diskless 100\ndrbdsetup attach 100 /dev/x /dev/x internal\n", Some(Class::Dangerous)),
            ("drbdsetup verb-of-tomorrow nfs1\n", Some(Class::Dangerous)),
            ("rm -rf /\n", Some(Class::Dangerous)),
        ] {
            assert_eq!(parse(text).class(), class, "{text}");
        }
        // A reconnect is one interruption, not one plus a bring-up.
        let plan = parse("drbdsetup disconnect nfs1 2\ndrbdsetup connect nfs1 2\n");
        assert!(plan.lines.iter().all(|l| l.class == Class::Network));
    }

    #[test]
    fn a_secret_stays_hidden() {
        let plan = parse("drbdsetup net-options nfs1 0 --set-defaults --shared-secret=s3 cret --protocol=C\n");
        assert_eq!(plan.text(), "drbdsetup net-options nfs1 0 --set-defaults --shared-secret=(hidden) --protocol=C\n");
    }
}
