//! Links over the system's OpenSSH, with its configuration, its agent, jump hosts and known hosts.
//!
//! What a user configured counts; only what is left open gets a value here (deadlines, one connection shared by all
//! links to a host). Host keys are judged by ssh alone, and it asks no questions.

use super::binary::Binary;
use super::boot::Start;
use super::lock::{Held, LockError, await_held};
use super::reach::SshTarget;
use super::{Link, LinkError, boot};
use crate::event::Mode;
use crate::host::without_secrets;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

/// Values for what the user's configuration leaves open. The first value found counts, so theirs stand before.
const DEFAULTS: &str = "\
ConnectTimeout 10
ServerAliveInterval 5
ServerAliveCountMax 3
ControlMaster auto
ControlPersist 60
";

/// Words before the agent's shell: root by sudo, the inside of a container.
pub fn connect(
    host: &str,
    mode: Mode,
    target: &SshTarget,
    folder: Option<&str>,
    prefix: &[String],
) -> Result<Link, LinkError> {
    let lost = |why: String| LinkError::Lost { host: host.to_owned(), why };
    let binary = Binary::get().map_err(lost)?;
    let mut command = command(target).map_err(lost)?;
    command.arg(Start { binary, name: host, mode, folder, prefix }.script());
    begin(host, binary, command, target.clone())
}

fn begin(host: &str, binary: &'static Binary, command: Command, target: SshTarget) -> Result<Link, LinkError> {
    let (process, stdin, stdout) =
        Process::start(command).map_err(|why| LinkError::Lost { host: host.to_owned(), why })?;
    let said = process.said.clone();
    let link = {
        let why = |text: String| LinkError::Lost { host: host.to_owned(), why: ended(&target, &said, text) };
        let output = Pipe { stdin: Some(stdin), process };
        boot::start(host, binary, BufReader::with_capacity(64 * 1024, stdout), output, None, why)?
    };
    Ok(link.explained(move |why| ended(&target, &said, why)))
}

/// An agent on this machine that is started by other words: as root, or inside a container that runs here.
pub fn local(host: &str, mode: Mode, folder: Option<&str>, prefix: &[String]) -> Result<Link, LinkError> {
    let lost = |why: String| LinkError::Lost { host: host.to_owned(), why };
    let binary = Binary::get().map_err(lost)?;
    let mut command = Command::new("sh");
    command.arg("-c").arg(Start { binary, name: host, mode, folder, prefix }.script());
    begin(host, binary, command, SshTarget::default())
}

/// What a program on the host prints. Any end but a good one is an error.
pub fn output(target: &SshTarget, prefix: &[String], argv: &[&str], within: Duration) -> Result<String, String> {
    let line: Vec<String> = prefix.iter().map(String::as_str).chain(argv.iter().copied()).map(boot::quote).collect();
    let mut command = command(target)?;
    command.arg(line.join(" "));
    printed(command, target, &argv.join(" "), within)
}

fn printed(command: Command, target: &SshTarget, what: &str, within: Duration) -> Result<String, String> {
    let (mut process, stdin, mut stdout) = Process::start(command)?;
    drop(stdin);
    let (give, take) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = give.send(stdout.read_to_string(&mut text).map(|_| text));
    });
    let text = take.recv_timeout(within).map_err(|_| format!("no answer within {} s", within.as_secs()))?;
    let status = process.child.wait().map_err(|e| e.to_string())?;
    match text {
        Ok(text) if status.success() => Ok(text),
        Ok(_) => Err(ended(target, &process.said, format!("`{what}` ended with {status}"))),
        Err(error) => Err(error.to_string()),
    }
}

/// A shell on the host (or here, without a target) that takes the cluster's lock and holds it.
/// `taken`: says in words that it is this owner's.
pub fn lock(
    target: Option<&SshTarget>,
    line: String,
    taken: &dyn Fn(&str) -> String,
    tell: &mut dyn FnMut(String),
) -> Result<Option<Held>, LockError> {
    let wrong = LockError::Unknown;
    let mut command = match target {
        Some(target) => command(target).map_err(wrong)?,
        None => {
            let mut shell = Command::new("sh");
            shell.arg("-c");
            shell
        }
    };
    command.arg(line);
    let (process, stdin, stdout) = Process::start(command).map_err(wrong)?;
    let said = process.said.clone();
    let keep = Holder { stdin: Some(stdin), process };
    await_held(stdout, keep, taken, tell).map_err(|error| match error {
        LockError::Unknown(why) => LockError::Unknown(ended(&target.cloned().unwrap_or_default(), &said, why)),
        busy @ LockError::Busy(_) => busy,
    })
}

/// Holds a lock by holding a shell's input open. Its end is waited for: the next run must find the lock free.
struct Holder {
    stdin: Option<ChildStdin>,
    process: Process,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.stdin = None;
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until && matches!(self.process.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Who would log in: what ssh's own configuration says where the inventory says nothing. Nobody is asked.
pub fn login(target: &SshTarget) -> Result<String, String> {
    if let Some(user) = &target.user {
        return Ok(user.clone());
    }
    let mut command = options(target)?;
    command.args(["-G", "--"]).arg(&target.destination);
    let text = printed(command, target, "ssh -G", Duration::from_secs(10))?;
    let user = text.lines().find_map(|line| line.strip_prefix("user "));
    user.map(str::to_owned).ok_or_else(|| "`ssh -G` names no user".to_owned())
}

/// `ssh` up to the remote command.
fn command(target: &SshTarget) -> Result<Command, String> {
    let mut command = options(target)?;
    command.arg("--").arg(&target.destination);
    Ok(command)
}

fn options(target: &SshTarget) -> Result<Command, String> {
    let mut command = Command::new(target.program.as_deref().unwrap_or("ssh"));
    command.arg("-F").arg(CONFIG.clone()?).args(["-T", "-o", "BatchMode=yes"]);
    if let Some(port) = target.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &target.user {
        command.args(["-l", user]);
    }
    if let Some(key) = &target.key_file {
        command.args(["-i", key]);
    }
    command.args(&target.args);
    Ok(command)
}

/// A configuration that is the user's, then the machine's, then our defaults. It lies in a folder of this user alone,
/// together with the sockets of shared connections, which outlive a run by a minute so that the next one is quick.
static CONFIG: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let folder = private_folder()?;
    let wrong = |e: std::io::Error| format!("{}: {e}", folder.display());
    let text = format!(
        "Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\nHost *\n{DEFAULTS}ControlPath \"{}/%C\"\n",
        folder.display()
    );
    let path = folder.join("config");
    if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(path);
    }
    let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)?;
    file.persist(&path).map_err(|e| wrong(e.error))?;
    Ok(path)
});

/// A folder that no other user can enter, with a name short enough for sockets (ssh appends 58 letters to it, and 108
/// is the most that a socket's path may have).
fn private_folder() -> Result<PathBuf, String> {
    let me = rustix::process::geteuid().as_raw();
    let places = [
        std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("converge")),
        std::env::var_os("XDG_CACHE_HOME").map(|dir| PathBuf::from(dir).join("converge/ssh")),
        std::env::var_os("HOME").map(|dir| PathBuf::from(dir).join(".cache/converge/ssh")),
        Some(PathBuf::from(format!("/tmp/converge-{me}"))),
    ];
    let mut why = String::new();
    for folder in places.into_iter().flatten().filter(|f| f.is_absolute() && f.as_os_str().len() <= 48) {
        match private(&folder, me) {
            Ok(()) => return Ok(folder),
            Err(e) => why = format!("{}: {e}", folder.display()),
        }
    }
    Err(format!("no private folder for ssh's sockets: {why}"))
}

fn private(folder: &Path, me: u32) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let meta = std::fs::symlink_metadata(folder)?;
    if !meta.is_dir() || meta.uid() != me {
        return Err(std::io::Error::other("it is not a directory of this user"));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// A running `ssh`, ended with its link.
struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    fn start(mut command: Command) -> Result<(Self, ChildStdin, std::process::ChildStdout), String> {
        let program = command.get_program().to_string_lossy().into_owned();
        without_secrets(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("`{program}` cannot be started: {e}"))?;
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let said = Arc::new(Mutex::new(String::new()));
        let heard = said.clone();
        // A connection that stays behind for the next run may keep this pipe open, so nobody waits for this thread.
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..read]);
                super::keep_last(&mut heard.lock().expect("no panic while holding"), text.trim_end_matches('\n'));
            }
        });
        Ok((Self { child, said }, stdin, stdout))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // All answers that were waited for have come. The far end sees its input end, whatever becomes of this process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Pipe {
    stdin: Option<ChildStdin>,
    process: Process,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stdin.as_mut().map_or(Ok(0), |stdin| stdin.write(bytes))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.process.child.try_wait();
    }
}

/// Why a link ended, from what ssh said and what the pipe saw.
fn ended(target: &SshTarget, said: &Mutex<String>, why: String) -> String {
    // What ssh says of an end may come a moment after the end itself.
    let until = Instant::now() + Duration::from_millis(300);
    loop {
        let text = said.lock().expect("no panic while holding").clone();
        if let Some(named) = name(target, &text) {
            return named;
        }
        if Instant::now() > until {
            return super::with_noise(&why, &text);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// ssh's words for what went wrong, as an answer to "what now".
fn name(target: &SshTarget, said: &str) -> Option<String> {
    let has = |words: &str| said.contains(words);
    let destination = &target.destination;
    let line = |words: &str| said.lines().find(|l| l.contains(words)).unwrap_or_default().trim().to_owned();
    let port = target.port.map_or(String::new(), |p| format!(" port {p}"));
    Some(if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        format!(
            "its SSH host key has changed: the host was set up anew, or it is another one; compare the key on the host, \
             then remove the old one (ssh-keygen -R {destination})"
        )
    } else if has("Host key verification failed") {
        format!("its SSH host key is not known: connect once by `ssh {destination}` and compare the key")
    } else if has("Permission denied (") {
        let user = target.user.as_deref().map_or(String::new(), |user| format!(" as {user}"));
        format!("login{user} refused: {}", line("Permission denied ("))
    } else if has("Connection refused") {
        format!("connection refused: nobody listens at {destination}{port}")
    } else if has("Could not resolve hostname") {
        line("Could not resolve hostname")
    } else if has("No route to host") || has("Network is unreachable") {
        format!("no way to {destination}: {}", line(if has("No route") { "No route" } else { "Network is" }))
    } else if has("Connection timed out") || has("Operation timed out") || has("during banner exchange") {
        format!("{destination}{port} does not answer (a host that is off or hung, or a firewall)")
    } else if has("not responding") {
        "it stopped answering".to_owned()
    } else if let Some(refusal) = said.lines().find(|line| refuses_root(line)) {
        format!("root is refused: {}", refusal.trim())
    } else {
        return None;
    })
}

/// sudo also says what does not keep it from working (`sudo: unable to resolve host …`).
fn refuses_root(line: &str) -> bool {
    let refusals =
        ["a password is required", "a terminal is required", "not found", "must have a tty", "no tty present"];
    (line.contains("sudo: ") && refusals.iter().any(|refusal| line.contains(refusal)))
        || ["is not in the sudoers file", "is not allowed to execute", "may not run sudo"]
            .iter()
            .any(|r| line.contains(r))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_have_names() {
        let target = SshTarget { destination: "pve1".into(), port: Some(22), ..SshTarget::default() };
        for (said, expected) in [
            ("@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\nHost key verification failed.", "has changed"),
            ("No ED25519 host key is known for x.\nHost key verification failed.", "not known"),
            ("root@pve1: Permission denied (publickey,password).", "login refused"),
            ("ssh: connect to host pve1 port 22: Connection refused", "nobody listens at pve1 port 22"),
            ("ssh: connect to host pve1 port 22: Connection timed out", "does not answer"),
            ("Connection timed out during banner exchange", "does not answer"),
            ("ssh: connect to host pve1 port 22: No route to host", "no way to pve1"),
            ("ssh: Could not resolve hostname pve1: Name or service not known", "Could not resolve"),
            ("Timeout, server pve1 not responding.", "stopped answering"),
            ("sudo: a password is required", "root is refused"),
            ("sudo: unable to resolve host a\nbert is not in the sudoers file.", "refused: bert is not in"),
            ("sh: 1: exec: sudo: not found", "root is refused"),
        ] {
            assert!(name(&target, said).unwrap().contains(expected), "{said}");
        }
        for harmless in ["Welcome to Debian", "sudo: unable to resolve host a: Name or service not known"] {
            assert_eq!(name(&target, harmless), None);
        }
    }
}
