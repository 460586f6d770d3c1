//! A real sshd on loopback with a key and a port of its own, and the real binary that runs against it.

#![allow(dead_code)] // Each test binary uses its part.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs = path.split(':').chain(["/usr/sbin", "/usr/local/sbin", "/sbin"]);
    dirs.map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

pub fn run(program: &str, words: &[&str]) -> Output {
    let output =
        Command::new(program).args(words).stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub fn user() -> String {
    String::from_utf8(run("id", &["-un"]).stdout).unwrap().trim().to_owned()
}

/// The binary as it is sent: without what only a debugger reads, which is most of a debug build.
pub fn agent() -> &'static Path {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT.get_or_init(|| {
        let whole = PathBuf::from(env!("CARGO_BIN_EXE_converge"));
        let built = fs::metadata(&whole).and_then(|m| m.modified()).unwrap();
        let built = built.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Shared by the test binaries of one build; what earlier builds left goes.
        let stripped = folder.join(format!("agent-{built}"));
        if stripped.exists() {
            return stripped;
        }
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("agent-") {
                let _ = fs::remove_file(entry.path());
            }
        }
        let fresh = folder.join(format!("agent-{built}-{}", std::process::id()));
        let made = Command::new("strip").arg("-o").arg(&fresh).arg(&whole).status();
        if made.is_ok_and(|status| status.success()) && fs::rename(&fresh, &stripped).is_ok() {
            stripped
        } else {
            whole
        }
    })
}

/// A folder with keys, and the servers that were started in it.
pub struct Bed {
    pub dir: tempfile::TempDir,
    servers: Vec<Child>,
    /// Servers started from now on see no start files of this machine's user: their shells start as a fresh Debian's.
    pub bare_home: bool,
}

impl Drop for Bed {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Bed {
    /// `None`, with a word, where this machine has no OpenSSH server.
    pub fn new() -> Option<Self> {
        for name in ["sshd", "ssh", "ssh-keygen"] {
            if program(name).is_none() {
                eprintln!("skipped: no {name}");
                return None;
            }
        }
        let bed = Self { dir: tempfile::tempdir().unwrap(), servers: Vec::new(), bare_home: false };
        bed.keygen("key");
        fs::copy(bed.path("key.pub"), bed.path("authorized_keys")).unwrap();
        if user() == "root" {
            let _ = fs::create_dir_all("/run/sshd");
        }
        Some(bed)
    }

    /// Whether [`Self::bare_home`] can be had: it needs root and a mount namespace.
    pub fn can_bare_home(&self) -> bool {
        let mut apart = Command::new("unshare");
        apart.args(["--mount", "sh", "-c", "mount --bind \"$0\" ~"]).arg(self.dir.path());
        apart.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn keygen(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", self.path(name).to_str().unwrap()]);
    }

    /// Starts a server and notes its key as known. The port is free, and taken again if a race for it was lost.
    pub fn serve(&mut self) -> u16 {
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if self.serve_at(port) {
                let key = fs::read_to_string(self.path(&format!("host_key_{port}.pub"))).unwrap();
                let known = format!("[127.0.0.1]:{port} {key}");
                let before = fs::read_to_string(self.path("known_hosts")).unwrap_or_default();
                self.write("known_hosts", &(before + &known));
                return port;
            }
        }
        panic!("sshd did not start");
    }

    /// On the far end programs in `bin` come first, and `NODE` is the port.
    pub fn serve_at(&mut self, port: u16) -> bool {
        let host_key = format!("host_key_{port}");
        self.keygen(&host_key);
        let path = [self.path("bin").display().to_string(), std::env::var("PATH").unwrap()].join(":");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nSetEnv PATH={path} NODE={port}\n",
            self.path(&host_key).display(),
            self.path("authorized_keys").display(),
        );
        let config = self.write(&format!("sshd_config_{port}"), &text);
        let log = fs::File::create(self.path(&format!("sshd_{port}.log"))).unwrap();
        let sshd = program("sshd").unwrap();
        let mut server = if self.bare_home {
            let home = self.path("home");
            fs::create_dir_all(&home).unwrap();
            let mut apart = Command::new("unshare");
            apart.args(["--mount", "sh", "-c", "mount --bind \"$0\" ~ && exec \"$@\""]).arg(home).arg(sshd);
            apart
        } else {
            Command::new(sshd)
        };
        let mut server = server.args(["-D", "-e", "-f"]).arg(config).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until && server.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                self.servers.push(server);
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = server.kill();
        let _ = server.wait();
        false
    }

    /// The process of the server that was started as the `at`th.
    pub fn pid(&self, at: usize) -> String {
        self.servers[at].id().to_string()
    }

    pub fn stop_servers(&mut self) {
        for mut server in self.servers.drain(..) {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// A line of an inventory: the host is reached at this port, with more `ssh` arguments.
    pub fn host(&self, name: &str, port: u16, args: &str) -> String {
        format!(
            "{name} ansible_host=127.0.0.1 ansible_port={port} ansible_user={} ansible_ssh_private_key_file={} \
             converge_agent_dir={} ansible_ssh_common_args='-o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null \
             -o IdentitiesOnly=yes {args}'\n",
            user(),
            self.path("key").display(),
            self.path(&format!("agent-{name}")).display(),
            self.path("known_hosts").display(),
        )
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(words).current_dir(self.dir.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.dir.path());
        // Short, for the sockets in it.
        command.env("XDG_RUNTIME_DIR", self.dir.path()).env("CONVERGE_AGENT", agent());
        command
    }

    pub fn converge(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
