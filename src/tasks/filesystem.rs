//! `filesystem`: makes a file system where there is none.
//!
//! Refuses whenever it cannot tell what is on the device. There is no way to force it: data that is in the way is
//! removed by a person.

mod drbd;

use super::{ArgFault, Task, Verdict, args, managed};
use crate::host::{Effect, FileKind, Guard, LookError, Output, Probe, Query, Step, Topic};
use drbd::Replica;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;

/// Makes a file system on a device that holds nothing. Anything else on it is kept: the same type is fine, another
/// one blocks the task. On DRBD it is made only on a node that can open the device and whose data is good, so this
/// task runs once for all nodes: `run_once: true`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filesystem {
    /// Block device (or a file that serves as one).
    #[serde(alias = "device")]
    pub dev: String,
    /// `ext4`, `xfs`, `btrfs`, …: there must be a `mkfs.TYPE`.
    #[serde(alias = "type")]
    pub fstype: String,
    /// Options for mkfs, as on a command line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub opts: String,
    /// Not supported: `true` would overwrite data.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// What the path is in the end; `None`: there is nothing.
    kind: Option<FileKind>,
    /// The device behind the links of the path.
    resolved: String,
    content: Content,
    replica: Option<Replica>,
}

/// What is on the device, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    /// blkid read it and recognised nothing.
    Nothing,
    /// A file system, or something else that has a type (`LVM2_member`, `crypto_LUKS`, `drbd`).
    Type(String),
    /// A partition table.
    Partitions(String),
    Unknown(String),
}

fn blkid(dev: &str) -> Query {
    Query::new(Topic::Device(dev.into()), ["blkid", "-p", "-o", "export", dev])
}

/// Opens the device for reading. `blkid` answers 2 both for "nothing" and for "cannot open", and a DRBD Secondary
/// whose peer is Primary cannot be opened.
fn size(dev: &str) -> Query {
    Query::new(Topic::Device(dev.into()), ["blockdev", "--getsize64", dev])
}

/// Reads `KEY=value` lines.
fn understand(answer: &Output) -> Content {
    let value = |key: &str| {
        let found = answer.stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.map(str::to_owned)
    };
    match answer.rc {
        0 => match (value("TYPE"), value("PTTYPE")) {
            (Some(found), _) => Content::Type(found),
            (None, Some(table)) => Content::Partitions(table),
            (None, None) => Content::Unknown(format!("blkid says `{}`", answer.stdout.trim())),
        },
        2 if answer.complaint().is_empty() => Content::Nothing,
        2 => Content::Unknown(answer.complaint().to_owned()),
        8 => Content::Unknown("blkid finds signs of more than one file system".into()),
        rc => Content::Unknown(format!("blkid ended with {rc}: {}", answer.complaint())),
    }
}

impl Filesystem {
    fn content(&self, host: &dyn Probe, dev: &str, kind: FileKind) -> Result<Content, LookError> {
        if kind == FileKind::BlockDevice {
            let opened = host.query(&size(dev))?;
            if opened.rc != 0 {
                return Ok(Content::Unknown(opened.complaint().to_owned()));
            }
        }
        Ok(understand(&host.query(&blkid(dev))?))
    }

    fn mkfs(&self, seen: &Seen) -> Verdict {
        let mut argv = vec!["mkfs".to_owned(), "-t".into(), self.fstype.clone()];
        argv.extend(args::split_words(&self.opts).unwrap_or_default());
        argv.push(self.dev.clone());
        let made = Output::ok(format!("DEVNAME={}\nTYPE={}\nUSAGE=filesystem\n", self.dev, self.fstype));
        let mut step = Step::run(argv)
            .guard(blkid(&self.dev), 2, format!("{} does not look empty any more", self.dev))
            .answers(blkid(&self.dev), made);
        // How its super block reads and what is in its root directory is for mkfs to say, on every replica.
        let names = BTreeSet::from([self.dev.as_str(), seen.resolved.as_str()]);
        for topic in names.into_iter().map(|name| Topic::Device(name.to_owned())) {
            for host in seen.replica.iter().flat_map(|replica| &replica.peers) {
                step = step.effect(Effect::UnsettlesOn { host: host.clone(), topic: topic.clone() });
            }
            step = step.unsettles(topic);
        }
        if seen.kind == Some(FileKind::BlockDevice) {
            let guard = Guard {
                query: size(&self.dev),
                rc: 0,
                stdout: None,
                reason: format!("{} cannot be opened any more", self.dev),
            };
            step.guards.insert(0, guard);
        }
        let diff = super::diff::lines(&self.dev, &["no file system"], &[format!("{} file system", self.fstype)]);
        Verdict::drift(format!("make an {} file system on {}", self.fstype, self.dev), diff, vec![step])
    }
}

/// `-F`, `-f`, also among joined short options (`-qF`), and `--force`.
fn forces(word: &str) -> bool {
    match word.strip_prefix('-') {
        Some(long) if long.starts_with('-') => long.starts_with("-force"),
        Some(short) => short.chars().take_while(char::is_ascii_alphabetic).any(|c| c == 'f' || c == 'F'),
        None => false,
    }
}

impl Task for Filesystem {
    const KIND: &'static str = "filesystem";
    const EXAMPLE: &'static str = "\
- name: File system with multiple mount protection
  filesystem:
    dev: /dev/drbd100
    fstype: ext4
    opts: -O mmp -E mmp_update_interval=5
  run_once: true
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        if !self.dev.starts_with('/') {
            faults.push(ArgFault::at("dev", "the path is not absolute"));
        }
        if self.fstype == "swap" {
            faults.push(ArgFault::at("fstype", "swap is not made by this task"));
        } else if self.fstype.is_empty() || !self.fstype.chars().all(|c| c.is_ascii_alphanumeric()) {
            faults.push(ArgFault::at("fstype", format!("`{}` is no type of file system", self.fstype)));
        }
        if self.force {
            faults.push(
                ArgFault::at("force", "an existing file system is never overwritten")
                    .help("what is on the device is removed by a person, who knows that it may go"),
            );
        }
        match args::split_words(&self.opts) {
            Err(why) => faults.push(ArgFault::at("opts", why)),
            // mke2fs and mkfs.xfs take these as "overwrite whatever is there".
            Ok(words) if words.iter().any(|w| forces(w)) => {
                faults.push(ArgFault::at("opts", "`-f` and `-F` overwrite what is on the device"));
            }
            Ok(_) => {}
        }
        faults
    }

    fn object(&self) -> String {
        self.dev.clone()
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let (dev, stat, _) = managed::follow(host, &self.dev)?;
        let kind = stat.map(|s| s.kind);
        let mut seen =
            Seen { kind, resolved: dev.clone(), content: Content::Unknown("it was not read".into()), replica: None };
        let Some(kind) = kind.filter(|kind| matches!(kind, FileKind::BlockDevice | FileKind::File)) else {
            return Ok(seen);
        };
        seen.content = self.content(host, &self.dev, kind)?;
        // A predicted file system needs no second opinion, and a device in use elsewhere needs one.
        if let Some(minor) = drbd::minor(&dev)
            && !matches!(seen.content, Content::Type(_))
        {
            seen.replica = Some(drbd::look(host, minor)?);
        }
        Ok(seen)
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let dev = &self.dev;
        match seen.kind {
            None => return Verdict::blocked(format!("{dev} does not exist")),
            Some(FileKind::BlockDevice | FileKind::File) => {}
            Some(_) => return Verdict::blocked(format!("{dev} is no block device")),
        }
        let content = match (&seen.content, &seen.replica) {
            // In use by another node: what this node's own replica holds is the same data.
            (Content::Unknown(_), Some(Replica { below: Some(below), .. })) => below,
            (content, _) => content,
        };
        let verdict = match (content, &seen.replica) {
            (Content::Type(found), _) if *found == self.fstype => Verdict::ok(format!("{dev} holds {found}")),
            (Content::Type(found), _) if found == "drbd" => Verdict::blocked(format!(
                "{dev} is a backing disk of DRBD: a file system on it would destroy this replica. Name the /dev/drbd… \
                 device of its resource"
            )),
            (Content::Type(found), _) => Verdict::blocked(format!(
                "{dev} holds `{found}`, not {}; it is kept. Only a person can know whether it may go",
                self.fstype
            )),
            (Content::Partitions(table), _) => Verdict::blocked(format!(
                "{dev} holds a partition table ({table}); it is kept. Name a partition, or remove it by hand"
            )),
            (Content::Unknown(why), replica) => {
                let more = replica.as_ref().and_then(|r| r.obstacle.as_deref()).map(|o| format!(" ({o})"));
                Verdict::blocked(format!("cannot tell what is on {dev}: {why}{}", more.unwrap_or_default()))
            }
            (Content::Nothing, Some(Replica { obstacle: Some(obstacle), .. })) => {
                Verdict::blocked(format!("no file system is made on {dev} here: {obstacle}"))
            }
            (Content::Nothing, _) => self.mkfs(seen),
        };
        let found = match content {
            Content::Type(found) => json!(found),
            _ => json!(null),
        };
        verdict.data(json!({ "dev": dev, "fstype": self.fstype, "found": found }))
    }
}

#[cfg(test)]
mod tests;
