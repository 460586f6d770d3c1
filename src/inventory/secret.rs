//! Getting a secret from where an inventory says it lies. It is never read from argv, nor from a file that others read.

use super::cluster::Source;
use crate::host::{keep_from_programs, without_secrets};
use crate::pve::Secret;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A password manager may have to ask a person.
const COMMAND: Duration = Duration::from_secs(120);

/// The name under which systemd hands a run the file that an inventory names thus: below `$CREDENTIALS_DIRECTORY`, whose
/// files only the run can read.
pub fn credential(path: &Path) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("converge-{digits}")
}

impl Source {
    /// `what` it is for ("password of root@pam"); relative paths begin at `folder`.
    pub fn get(&self, what: &str, folder: &Path) -> Result<Secret, String> {
        let text = match self {
            Self::Prompt => prompt(what)?,
            Self::Env(name) => {
                keep_from_programs(name);
                let text = std::env::var(name)
                    .map_err(|_| format!("{what}: the environment variable {name} is not set (or not text)"))?;
                // Of a file read into it, whose last line ends.
                text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned()
            }
            Self::File(path) => match handed_over(path) {
                Some(handed) => read(what, &handed)?,
                None => file(what, &at(path, folder))?,
            },
            Self::Command(argv) => command(what, argv, folder)?,
        };
        if text.is_empty() {
            return Err(format!("{what}: {} gave nothing", self.describe()));
        }
        Ok(Secret::new(text))
    }

    fn describe(&self) -> String {
        match self {
            Self::Prompt => "the prompt".into(),
            Self::Env(name) => format!("the environment variable {name}"),
            Self::File(path) => path.display().to_string(),
            Self::Command(argv) => format!("`{}`", argv.first().map_or("", String::as_str)),
        }
    }
}

/// `~/…` begins at the home directory, everything else that is relative at `folder`.
pub fn at(path: &Path, folder: &Path) -> std::path::PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => folder.join(path),
    }
}

/// Where systemd has put a copy of this file for this run.
fn handed_over(path: &Path) -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(Path::new(&folder).join(credential(path))).filter(|path| path.is_file())
}

/// A file in a folder that systemd keeps for this run alone; the bits of its mode say nothing of who may read it.
fn read(what: &str, path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{what}: {}: {e}", path.display()))?;
    Ok(first_line(&text))
}

fn file(what: &str, path: &Path) -> Result<String, String> {
    let wrong = |why: String| format!("{what}: {}: {why}", path.display());
    let mut file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
    // Of the open file, so that what is judged is what is read.
    let meta = file.metadata().map_err(|e| wrong(e.to_string()))?;
    if !meta.is_file() {
        return Err(wrong("it is no regular file".into()));
    }
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(wrong(format!("others may read it (mode {mode:04o}); `chmod 0600` it")));
    }
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        return Err(wrong("it belongs to somebody else".into()));
    }
    let mut text = String::new();
    (&mut file).take(64 * 1024).read_to_string(&mut text).map_err(|e| wrong(e.to_string()))?;
    Ok(first_line(&text))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Its own words (a wrong passphrase) go to standard error as they come.
fn command(what: &str, argv: &[String], folder: &Path) -> Result<String, String> {
    let (program, arguments) = argv.split_first().ok_or_else(|| format!("{what}: `command` is empty"))?;
    let wrong = |why: String| format!("{what}: `{program}`: {why}");
    let mut command = Command::new(program);
    if folder != Path::new("") {
        command.current_dir(folder);
    }
    let started = without_secrets(&mut command).args(arguments).stdout(Stdio::piped()).spawn();
    let mut child = started.map_err(|e| wrong(e.to_string()))?;
    let mut output = child.stdout.take().expect("piped above");
    let (give, take) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = give.send((&mut output).take(64 * 1024).read_to_string(&mut text).map(|_| text));
    });
    let until = Instant::now() + COMMAND;
    let text = take.recv_timeout(COMMAND);
    let status = loop {
        match child.try_wait().map_err(|e| wrong(e.to_string()))? {
            Some(status) => break status,
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(wrong(format!("no answer within {} s", COMMAND.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if !status.success() {
        return Err(wrong(format!("it ended with {status}")));
    }
    let text = text.map_err(|_| wrong("it closed its output late".into()))?.map_err(|e| wrong(e.to_string()))?;
    Ok(first_line(&text))
}

/// Asks on the terminal itself, so that it works with output and input redirected.
pub fn prompt(what: &str) -> Result<String, String> {
    let wrong = |why: String| format!("{what}: {why}");
    let terminal = std::fs::File::options().read(true).write(true).open("/dev/tty");
    let mut terminal = terminal.map_err(|_| {
        wrong(
            "there is no terminal to ask on; give `password: { env: NAME }`, `{ file: PATH }` or `{ command: [...] }`"
                .into(),
        )
    })?;
    if !terminal.is_terminal() {
        return Err(wrong("there is no terminal to ask on".into()));
    }
    let before = tcgetattr(&terminal).map_err(|e| wrong(e.to_string()))?;
    let mut silent = before.clone();
    // Keys come as they are pressed, also the one that interrupts: the terminal must get its echo back first.
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    silent.special_codes[SpecialCodeIndex::VMIN] = 1;
    silent.special_codes[SpecialCodeIndex::VTIME] = 0;
    let when = OptionalActions::Flush;
    tcsetattr(&terminal, when, &silent).map_err(|e| wrong(e.to_string()))?;
    let asked = write!(terminal, "{what}: ").and_then(|()| terminal.flush());
    let typed = typed(&terminal);
    let _ = tcsetattr(&terminal, when, &before);
    let _ = writeln!(terminal);
    asked.map_err(|e| wrong(e.to_string()))?;
    typed.map_err(|e| wrong(e.to_string()))?.ok_or_else(|| wrong("interrupted".into()))
}

/// A line, key by key; `None`: interrupted.
fn typed(mut keys: impl Read) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut key = [0];
    loop {
        if keys.read(&mut key)? == 0 {
            break;
        }
        match key[0] {
            b'\n' | b'\r' => break,
            // Ctrl-C, Ctrl-\.
            0x03 | 0x1c => return Ok(None),
            // Ctrl-D ends an empty line.
            0x04 if line.is_empty() => return Ok(None),
            0x04 => {}
            // Backspace takes a letter, which may be of several bytes; Ctrl-U all.
            0x08 | 0x7f => while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {},
            0x15 => line.clear(),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map(Some).map_err(std::io::Error::other)
}
