//! Runs a program to its end or its deadline. Never through a shell, never without a deadline.

use crate::host::{LookError, Output, without_secrets};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// root's search path on Debian; that of an SSH or cron session lacks the sbin directories.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Kept of each output stream (bytes).
pub const OUTPUT_LIMIT: usize = 16 << 20;
/// How long the pipes may stay open after the program ended: a daemon it started may hold them for ever.
const DRAIN: Duration = Duration::from_secs(2);

pub struct Call<'a> {
    pub argv: &'a [String],
    pub stdin: Option<&'a [u8]>,
    pub env: &'a BTreeMap<String, String>,
    pub cwd: Option<&'a str>,
    pub timeout: Duration,
    /// Output beyond the limit is an error, not cut: half an answer is none.
    pub whole_output: bool,
}

pub fn run(call: &Call<'_>, limit: usize) -> Result<Output, LookError> {
    let line = call.argv.join(" ");
    let cannot = |why: String| LookError::cannot_tell(format!("`{line}`"), why);
    let Some((program, args)) = call.argv.split_first() else { return Err(cannot("there is no program".into())) };
    let mut command = Command::new(program);
    command.args(args).env("PATH", PATH).env("LC_ALL", "C").env_remove("LANGUAGE").process_group(0);
    without_secrets(&mut command).envs(call.env);
    if let Some(dir) = call.cwd {
        std::fs::metadata(dir).map_err(|e| cannot(format!("working directory {dir}: {e}")))?;
        command.current_dir(dir);
    }
    command.stdin(if call.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| match e.kind() {
        ErrorKind::NotFound => LookError::NoProgram { program: program.clone() },
        _ => cannot(e.to_string()),
    })?;
    feed(&mut child, call.stdin);
    let stdout = child.stdout.take().map(|pipe| Collected::of(pipe, limit)).expect("piped above");
    let stderr = child.stderr.take().map(|pipe| Collected::of(pipe, limit)).expect("piped above");

    let Some(status) = wait(&mut child, call.timeout).map_err(|e| cannot(e.to_string()))? else {
        kill(&mut child);
        return Err(LookError::Timeout { what: format!("`{line}`"), after_s: call.timeout.as_secs() });
    };
    let drained_at = Instant::now() + DRAIN;
    let (stdout, cut_out) = stdout.take_until(drained_at);
    let (mut stderr, cut_err) = stderr.take_until(drained_at);
    if cut_out || cut_err {
        if call.whole_output {
            return Err(cannot(format!("it wrote more than {} MiB", limit >> 20)));
        }
        stderr.push_str(&format!("\n[output beyond {} MiB was dropped]", limit >> 20));
    }
    Ok(Output { rc: code(status), stdout, stderr })
}

/// As a shell has it: 128 + signal.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// In a thread of its own: a program that writes before it has read all must not stop us from reading.
fn feed(child: &mut Child, input: Option<&[u8]>) {
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        let input = input.to_vec();
        // A program that does not read its input is no error.
        std::thread::spawn(move || drop(pipe.write_all(&input)));
    }
}

/// `None`: not ended within the deadline.
fn wait(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    let handle: Option<OwnedFd> =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match &handle {
            Some(handle) => {
                let span = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) as _ };
                // An interrupted poll only means one more round.
                let _ = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&span));
            }
            // Before Linux 5.3.
            None => std::thread::sleep(left.min(Duration::from_millis(10))),
        }
    }
}

/// The whole process group: the program's children would go on changing things.
fn kill(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    // One in uninterruptible sleep (suspended DRBD I/O) does not die; it must not hold us.
    let _ = wait(child, Duration::from_secs(2));
}

/// What a thread has read from one pipe so far.
struct Collected {
    bytes: Arc<Mutex<(Vec<u8>, bool)>>,
    ended: Receiver<()>,
}

impl Collected {
    fn of(mut pipe: impl Read + Send + 'static, limit: usize) -> Self {
        let bytes = Arc::new(Mutex::new((Vec::new(), false)));
        let (end, ended) = channel::<()>();
        let shared = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let _end = end;
            let mut chunk = vec![0; 64 << 10];
            loop {
                match pipe.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(n) => {
                        let Ok(mut kept) = shared.lock() else { break };
                        let room = limit.saturating_sub(kept.0.len()).min(n);
                        kept.0.extend_from_slice(&chunk[..room]);
                        kept.1 |= room < n;
                    }
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        });
        Self { bytes, ended }
    }
}

impl Collected {
    /// The text, and whether some of it was dropped.
    fn take_until(self, deadline: Instant) -> (String, bool) {
        let _ = self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let mut kept = self.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes = std::mem::take(&mut kept.0);
        (String::from_utf8_lossy(&bytes).into_owned(), kept.1)
    }
}
