//! A login shell on a node of the lab, behind a real terminal of the kernel: echo, line editing and the limit of a
//! line are its own. What is typed goes to the lab's small shell; the scripts that `converge` sends through terminals
//! are known by their text and played ([`scripts`]), because a lab has no programs that could run them.

mod cable;
mod scripts;
mod typed;

use super::{Lab, Place};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// What the far side of a terminal is.
pub(super) struct Session {
    lab: Lab,
    node: String,
    tty: File,
}

/// Opens a terminal with a login on `node`; `root`: a shell at once, else the prompt for a name.
/// What comes back carries what is typed and what is printed, and does not block. Closing it ends the shell; the end of
/// the shell alone does not close it.
pub fn open(lab: &Lab, node: &str, root: bool) -> io::Result<UnixStream> {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&near)?;
    unlockpt(&near)?;
    let name = ptsname(&near, Vec::new())?;
    let far = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::io::ioctl_fionbio(&near, true)?;
    let (mine, theirs) = UnixStream::pair()?;
    mine.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let session = Session { lab: lab.clone(), node: node.to_owned(), tty: far.into() };
    std::thread::Builder::new().name(format!("terminal {node}")).spawn(move || {
        // Its end is that of the near end: nobody is left to be told.
        let _ = if root { session.shell() } else { session.login() };
    })?;
    std::thread::Builder::new().name(format!("cable {node}")).spawn(move || cable::carry(&near, &theirs))?;
    Ok(mine)
}

impl Session {
    /// The next line, as the kernel hands it over; `None` at the end.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = vec![0; 4096];
        let read = self.tty.read(&mut line)?;
        line.truncate(read);
        Ok((read > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
    }

    /// Accounts of the nodes have no passwords, so that nobody is let in here.
    fn login(mut self) -> io::Result<()> {
        loop {
            write!(self.tty, "{} login: ", self.node)?;
            let Some(_name) = self.line()? else { return Ok(()) };
            write!(self.tty, "Password: ")?;
            self.echo(false)?;
            let given = self.line();
            self.echo(true)?;
            if given?.is_none() {
                return Ok(());
            }
            write!(self.tty, "\nLogin incorrect\n")?;
        }
    }

    fn shell(mut self) -> io::Result<()> {
        let node = self.node.clone();
        write!(
            self.tty,
            "Linux {node} 6.17.2-1-pve #1 SMP PREEMPT_DYNAMIC x86_64\n\n\
             This is a node of a lab: nothing here is real.\nLast login: today on pts/0\n"
        )?;
        loop {
            write!(self.tty, "\x1b[?2004hroot@{node}:~# ")?;
            let Some(line) = self.line()? else { return Ok(()) };
            write!(self.tty, "\x1b[?2004l\r")?;
            if !self.run(line.trim())? {
                return Ok(());
            }
        }
    }

    /// `false`: the shell ends.
    fn run(&mut self, line: &str) -> io::Result<bool> {
        let commands = match typed::commands(line) {
            Some(commands) => commands,
            // Nothing that only a terminal has.
            None => {
                let output = self.lab.run_line(&self.node, line).map_err(io::Error::other)?;
                write!(self.tty, "{}{}", output.stdout, output.stderr)?;
                return Ok(true);
            }
        };
        for command in commands {
            match command {
                typed::Command::Stty(words) => self.stty(&words)?,
                typed::Command::Exit => return Ok(false),
                typed::Command::Line(line) => {
                    let output = self.lab.run_line(&self.node, &line).map_err(io::Error::other)?;
                    write!(self.tty, "{}{}", output.stdout, output.stderr)?;
                }
                typed::Command::Script { inside, script, words, last } => {
                    let place = inside.map_or_else(|| Place::node(&self.node), Place::Container);
                    self.play(&place, &script, &words)?;
                    if last {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn stty(&mut self, words: &[String]) -> io::Result<()> {
        let mut modes = tcgetattr(&self.tty)?;
        for word in words {
            match word.as_str() {
                "raw" => modes.make_raw(),
                "-echo" => modes.local_modes.remove(LocalModes::ECHO),
                "echo" => modes.local_modes.insert(LocalModes::ECHO),
                "sane" => {
                    modes.local_modes.insert(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
                    modes.output_modes.insert(OutputModes::OPOST | OutputModes::ONLCR);
                }
                other => return writeln!(self.tty, "stty: invalid argument '{other}'"),
            }
        }
        Ok(tcsetattr(&self.tty, OptionalActions::Drain, &modes)?)
    }

    fn echo(&mut self, on: bool) -> io::Result<()> {
        let word = if on { "echo" } else { "-echo" };
        self.stty(&[word.to_owned()])
    }
}
