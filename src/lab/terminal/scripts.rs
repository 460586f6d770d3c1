//! The scripts that `converge` sends through a terminal, played: the start of an agent and the cluster's lock. They
//! are known by their whole text; another script is refused, because a lab has no shell that could run it.

use super::Session;
use crate::event::Mode;
use crate::lab::commands::Ctx;
use crate::lab::files::reference;
use crate::lab::{Place, guest};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

const BOOT: &str = include_str!("../../link/boot.sh");
const LOCK: &str = include_str!("../../link/lock.sh");
/// Larger programs are not taken.
const LARGEST: u64 = 1 << 30;
/// How often the owner of the lock looks whether it still is.
const LOOK: Duration = Duration::from_secs(1);

impl Session {
    pub(super) fn play(&mut self, place: &Place, script: &str, words: &[String]) -> io::Result<()> {
        if let Some(why) = self.no_way_into(place)? {
            return write!(self.tty, "{why}\r\n");
        }
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        match script {
            BOOT => {
                let mode = if word(2) == "apply" { Mode::Apply } else { Mode::Check };
                self.boot(place, word(0), mode, word(3))
            }
            LOCK => self.lock(word(1), word(2) == "break"),
            _ => write!(self.tty, "sh: the lab's shell does not simulate this script\r\n"),
        }
    }

    /// `pct exec`'s words where it does not get into a container.
    fn no_way_into(&self, place: &Place) -> io::Result<Option<String>> {
        let Place::Container(vmid) = place else { return Ok(None) };
        let found = self.lab.with(|world| {
            let owner = guest::config(world, self.lab.files(), *vmid).map(|(node, _)| node);
            if owner.as_deref() != Some(&self.node) {
                return Some(format!("Configuration file 'nodes/{}/lxc/{vmid}.conf' does not exist", self.node));
            }
            let here = guest::running_on(world, *vmid) == Some(&self.node);
            (!here).then(|| format!("container '{vmid}' not running!"))
        });
        found.map_err(io::Error::other)
    }

    /// What boot.sh does: run the program if it is there, else have it sent, verified and installed.
    fn boot(&mut self, place: &Place, hash: &str, mode: Mode, folder: &str) -> io::Result<()> {
        let folder = match folder {
            "" => "/var/lib/converge/agent".to_owned(),
            named => match named.strip_prefix("~/") {
                Some(rest) => format!("/root/{rest}/converge-agent"),
                None => format!("{named}/converge-agent"),
            },
        };
        let path = format!("{folder}/{hash}");
        let mut input = BufReader::with_capacity(64 * 1024, self.tty.try_clone()?);
        if !self.at(place, |ctx| ctx.exists(&path))? {
            if let Err(why) = self.at(place, |ctx| ctx.writer().create_dir_all(&folder))? {
                return self.say(&format!("fail folder {folder}: mkdir: {why}"));
            }
            self.say(&format!("need {} Linux gzip {folder}", std::env::consts::ARCH))?;
            let mut sizes = String::new();
            input.read_line(&mut sizes)?;
            let Some(size) = sizes.trim().strip_prefix("gzip ").and_then(|size| size.parse::<u64>().ok()) else {
                return Ok(());
            };
            let mut program = Vec::new();
            let unpacked = GzDecoder::new((&mut input).take(size)).take(LARGEST).read_to_end(&mut program);
            let found: String = Sha256::digest(&program).iter().map(|byte| format!("{byte:02x}")).collect();
            if unpacked.is_err() || found != hash {
                return self.say(&format!("fail write {folder}: "));
            }
            if !program.starts_with(b"\x7fELF") {
                return self.say(&format!("fail run {folder}: sh: 1: {path}: Exec format error"));
            }
            // Kept by its identity where it is this very program: it has many megabytes, and a lab many nodes.
            let own = crate::host::own_program().ok().filter(|own| own.sha256 == hash);
            let content = own.map_or(program, |own| reference::write(own).into_bytes());
            if let Err(why) = self.at(place, |ctx| ctx.writer().ship(&path, &content, 0o700))? {
                return self.say(&format!("fail write {folder}: {why}"));
            }
        }
        let host: Box<dyn crate::host::Host> = match place {
            Place::Container(vmid) => Box::new(self.lab.container(*vmid)),
            Place::Node(name) => match self.lab.node(name) {
                Some(node) => Box::new(node),
                None => return Ok(()),
            },
        };
        crate::agent::serve(&mut input, &mut io::BufWriter::new(self.tty.try_clone()?), host, mode)
    }

    fn at<R>(&self, place: &Place, f: impl FnOnce(&mut Ctx) -> R) -> io::Result<R> {
        let done = self.lab.with(|world| f(&mut Ctx::new(world, self.lab.files(), place.clone())));
        done.map_err(io::Error::other)
    }

    fn say(&mut self, word: &str) -> io::Result<()> {
        writeln!(self.tty, "@boot {word}")
    }

    /// What lock.sh does, with the lab's own lock: a run over the API and a run over pipes must not go on together.
    fn lock(&mut self, owner: &str, take_over: bool) -> io::Result<()> {
        let quorate = self.lab.look(|world| world.quorate(&self.node)).map_err(io::Error::other)?;
        if !quorate {
            let why = "mkdir: cannot create directory '/etc/pve/priv/lock/converge': Permission denied";
            return writeln!(self.tty, "@lock fail {why}");
        }
        let turn = match self.lab.take_turn(owner, take_over)? {
            Ok(turn) => turn,
            Err(owner) => return writeln!(self.tty, "@lock busy {owner}"),
        };
        if take_over {
            // Another owner must have noticed before this one goes on.
            std::thread::sleep(2 * LOOK);
        }
        writeln!(self.tty, "@lock held")?;
        let mut held = self.tty.try_clone()?;
        let (end, ended) = std::sync::mpsc::channel::<()>();
        std::thread::Builder::new().name("lock".into()).spawn(move || {
            let _end = end;
            let mut byte = [0];
            while let Ok(1..) = held.read(&mut byte) {}
        })?;
        while ended.recv_timeout(LOOK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            if let Some(by) = turn.lost_to() {
                return writeln!(self.tty, "@lock lost {by}");
            }
        }
        Ok(())
    }
}
