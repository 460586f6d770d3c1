//! One apply at a time on a cluster: a lock in `/etc/pve/priv/lock`, the place and the kind that Proxmox itself uses.
//!
//! It is held by a shell on a node for as long as its link stands. If the node or the link dies, pmxcfs lets it expire
//! two minutes later. A check takes none.

use super::LinkError;
use super::boot::quote;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A node answers for the lock within this time.
const ANSWER: Duration = Duration::from_secs(45);
/// What pmxcfs gives a lock whose owner is silent.
const EXPIRES_S: u64 = 120;

/// The lock of those who change the cluster.
pub const NAME: &str = "converge";

/// What a node's shell runs for it: `PVE OWNER wait|break [NAME]`.
pub const SCRIPT: &str = include_str!("lock.sh");

/// What is given back at the end of a run by being dropped.
pub trait Hold: Send {
    /// Whether it is this run's no more. Asked before each change, so it waits for nobody.
    fn lost(&mut self) -> Option<Loss>;
}

pub type Held = Box<dyn Hold>;

/// How a lock was lost.
#[derive(Debug, PartialEq, Eq)]
pub enum Loss {
    /// Somebody else took it over: who.
    Taken(String),
    /// The node that held it cannot be heard any more; pmxcfs lets the lock expire.
    Away,
}

/// Who asks for the lock, and what they do about another owner.
#[derive(Debug, Clone)]
pub struct Claim {
    pub owner: String,
    pub how: How,
}

#[derive(Debug, Clone)]
pub enum How {
    /// Gives way.
    Wait,
    /// Takes it over, and lets the other one notice before going on.
    Break,
    /// It was held under this owner's line until its node was lost, and is taken up at another.
    Resume(String),
}

impl Claim {
    /// As the script's words after the cluster's directory.
    pub fn words<'a>(&'a self, name: &'a str) -> [&'a str; 4] {
        let (how, before) = match &self.how {
            How::Wait => ("wait", ""),
            How::Break => ("break", ""),
            How::Resume(before) => ("resume", before.as_str()),
        };
        [&self.owner, how, name, before]
    }
}

/// What asking for the lock came to.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else works on the cluster.
    #[error("{0}")]
    Busy(String),
    /// It cannot be told whether anybody does.
    #[error("{0}")]
    Unknown(String),
}

/// `user@machine pid N, apply site.yml`, with the moment from which on.
pub fn owner(what: &str) -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".into());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{} {user}@{machine} (process {}): {what}", now_s(), std::process::id()).replace(['\n', '\r'], " ")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// An owner's line for people: who, and for how long.
pub fn shown(owner: &str) -> String {
    let (since, who) = owner.trim().split_once(' ').unwrap_or_default();
    match since.parse::<u64>() {
        Ok(since) => {
            let age = now_s().saturating_sub(since);
            let age = if age < 120 { format!("{age} s") } else { format!("{} min", age / 60) };
            format!("{who}, for {age}")
        }
        Err(_) => "somebody who did not say who".to_owned(),
    }
}

/// The command line for a node's shell that takes the lock and holds it until its input ends.
pub fn script(pve: &str, claim: &Claim, prefix: &[String]) -> String {
    let [owner, how, name, before] = claim.words(NAME);
    line(&[pve, owner, how, name, before], prefix)
}

/// Takes a lock of another name on this machine, for those who take turns. [`LockError::Busy`] holds what its owner said
/// of itself, for people.
pub fn take_turn(pve: &str, name: &str, owner: &str) -> Result<Option<Held>, LockError> {
    let line = line(&[pve, owner, "wait", name], &[]);
    super::ssh::lock(None, line, &shown, &mut |_| {})
}

fn line(words: &[&str], prefix: &[String]) -> String {
    let own = ["sh", "-c", SCRIPT, "converge"].into_iter().chain(words.iter().copied());
    let quoted: Vec<String> = prefix.iter().map(String::as_str).chain(own).map(quote).collect();
    format!("exec {}", quoted.join(" "))
}

/// Reads what the script says. `Ok(None)`: this is no node of Proxmox, and there is nothing to lock.
/// `keep`: what holds the script's input open. `taken`: says in words that the lock is this owner's.
pub fn await_held<K: Send + 'static>(
    output: impl Read + Send + 'static,
    keep: K,
    taken: &dyn Fn(&str) -> String,
    tell: &mut dyn FnMut(String),
) -> Result<Option<Held>, LockError> {
    let (give, words) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if let Some((_, word)) = line.split_once("@lock ")
                && give.send(word.trim_end().to_owned()).is_err()
            {
                return;
            }
        }
    });
    loop {
        let word = match words.recv_timeout(ANSWER) {
            Ok(word) => word,
            Err(RecvTimeoutError::Timeout) => {
                return Err(LockError::Unknown(format!("no answer within {} s", ANSWER.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(LockError::Unknown("the node was lost".into())),
        };
        let (kind, rest) = word.split_once(' ').unwrap_or((&word, ""));
        match kind {
            "held" => return Ok(Some(Box::new(Kept { words, _keep: keep }))),
            "none" => return Ok(None),
            "broke" => tell(format!("took over the lock of {}", shown(rest))),
            "busy" => return Err(LockError::Busy(taken(rest))),
            _ => return Err(LockError::Unknown(format!("the lock cannot be taken: {rest} (no quorum?)"))),
        }
    }
}

/// A lock that a shell holds for as long as its input is open.
struct Kept<K> {
    words: Receiver<String>,
    _keep: K,
}

impl<K: Send> Hold for Kept<K> {
    fn lost(&mut self) -> Option<Loss> {
        loop {
            match self.words.try_recv() {
                Ok(word) => {
                    if let Some(owner) = word.strip_prefix("lost ") {
                        return Some(Loss::Taken(shown(owner)));
                    }
                    // It could not be renewed for a minute, and in another one it would be free.
                    if word == "stale" {
                        return Some(Loss::Away);
                    }
                }
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(Loss::Away),
            }
        }
    }
}

pub fn busy(owner: &str) -> String {
    format!(
        "another apply works on this cluster: {}. If it is no more, its lock is free within {EXPIRES_S} s, \
         or at once with --break-lock",
        shown(owner)
    )
}

impl From<LinkError> for LockError {
    fn from(error: LinkError) -> Self {
        Self::Unknown(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    /// A folder that says of itself that it is pmxcfs.
    fn bed() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("pve/priv/lock")).unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let stat = dir.path().join("bin/stat");
        std::fs::write(&stat, "#!/bin/sh\necho fuseblk\n").unwrap();
        std::fs::set_permissions(stat, PermissionsExt::from_mode(0o755)).unwrap();
        dir
    }

    struct Holder(Child);
    impl Drop for Holder {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }

    fn take(dir: &Path, who: &str, how: How) -> Result<Option<Held>, LockError> {
        let claim = Claim { owner: format!("{} {who}", now_s()), how };
        claimed(dir, &claim)
    }

    fn claimed(dir: &Path, claim: &Claim) -> Result<Option<Held>, LockError> {
        let line = script(dir.join("pve").to_str().unwrap(), claim, &[]);
        let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", &line]).env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        await_held(output, Holder(child), &busy, &mut |_| {})
    }

    #[test]
    fn the_second_one_is_told_who_is_first() {
        let dir = bed();
        let first = take(dir.path(), "anna@desk", How::Wait).unwrap().expect("a lock");
        let Err(LockError::Busy(why)) = take(dir.path(), "bert@desk", How::Wait) else { panic!("two at once") };
        assert!(why.contains("anna@desk") && why.contains("--break-lock"), "{why}");
        drop(first);
        assert!(take(dir.path(), "bert@desk", How::Wait).unwrap().is_some());
        assert!(!dir.path().join("pve/priv/lock/converge").exists());
        assert!(!dir.path().join("pve/priv/converge-owner").exists());
    }

    #[test]
    fn a_lock_can_be_taken_over_and_its_old_owner_does_not_free_it() {
        let dir = bed();
        let mut first = take(dir.path(), "anna@desk", How::Wait).unwrap().expect("a lock");
        let mut second = take(dir.path(), "bert@desk", How::Break).unwrap().expect("taken over");
        // Who takes over waits until the other one has noticed.
        let Some(Loss::Taken(by)) = first.lost() else { panic!("the old owner does not know") };
        assert!(by.contains("bert@desk"), "{by}");
        assert_eq!(second.lost(), None);
        drop(first);
        assert!(dir.path().join("pve/priv/lock/converge").exists(), "the old owner freed the new one's lock");
        drop(second);
        assert!(!dir.path().join("pve/priv/lock/converge").exists());
    }

    #[test]
    fn a_lock_whose_node_was_lost_is_taken_up_by_its_owner_alone() {
        let dir = bed();
        let pve = dir.path().join("pve");
        // What a node that died leaves.
        std::fs::create_dir(pve.join("priv/lock/converge")).unwrap();
        std::fs::write(pve.join("priv/converge-owner"), "1 anna@desk\n").unwrap();
        let resume = |before: &str| Claim { owner: "2 anna@desk".into(), how: How::Resume(before.into()) };
        assert!(matches!(claimed(dir.path(), &resume("1 bert@desk")), Err(LockError::Busy(_))));
        let mut again = claimed(dir.path(), &resume("1 anna@desk")).unwrap().expect("taken up");
        assert_eq!(again.lost(), None);
    }

    #[test]
    fn a_lock_that_cannot_be_renewed_is_lost_before_it_expires() {
        let dir = bed();
        let sleep = dir.path().join("bin/sleep");
        std::fs::write(&sleep, "#!/bin/sh\nexec /bin/sleep 0.01\n").unwrap();
        std::fs::set_permissions(sleep, PermissionsExt::from_mode(0o755)).unwrap();
        let mut held = take(dir.path(), "anna@desk", How::Wait).unwrap().expect("a lock");
        // As a node without quorum: what is there can be read, and nothing made.
        std::fs::remove_dir_all(dir.path().join("pve/priv/lock")).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(30);
        let loss = loop {
            match held.lost() {
                None if std::time::Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                loss => break loss,
            }
        };
        assert_eq!(loss, Some(Loss::Away));
    }

    #[test]
    fn where_there_is_no_pmxcfs_there_is_nothing_to_lock_and_where_it_is_read_only_that_is_told() {
        let dir = bed();
        std::fs::write(dir.path().join("bin/stat"), "#!/bin/sh\necho ext2/ext3\n").unwrap();
        assert!(take(dir.path(), "anna@desk", How::Wait).unwrap().is_none());
        std::fs::write(dir.path().join("bin/stat"), "#!/bin/sh\necho fuseblk\n").unwrap();
        std::fs::remove_dir(dir.path().join("pve/priv/lock")).unwrap();
        assert!(matches!(take(dir.path(), "anna@desk", How::Wait), Err(LockError::Unknown(_))));
    }
}
