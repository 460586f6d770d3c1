//! What distance costs: a check of 40 tasks with nothing to change on three sshd hosts at 0, 20 and 200 ms round trip and
//! with 1 % loss, and the first installation of the program, over SSH on a gigabit and through a REST shell.
//! `cargo bench --bench links`; it prints tables and asserts no time. `CONVERGE_PROGRAM` names another build than the one
//! that cargo made for it.

#[path = "../tests/support/relay.rs"]
mod relay;
#[path = "../tests/support/sshd.rs"]
mod sshd;
#[path = "../tests/support/termproxy.rs"]
mod termproxy;

use relay::{Line, Relay};
use sshd::{Bed, said};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn line(round_trip_ms: u64, lost_per_mille: u32) -> Line {
    Line { round_trip: Duration::from_millis(round_trip_ms), lost_per_mille, ..Line::default() }
}

fn program() -> PathBuf {
    std::env::var_os("CONVERGE_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_converge").into(), PathBuf::from)
}

/// Runs and times; anything but the expected end is told.
fn timed(mut command: Command, code: i32) -> Duration {
    let since = Instant::now();
    let output: Output = command.output().unwrap();
    let took = since.elapsed();
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    took
}

/// What a check of three hosts took.
struct Took {
    /// With the logins.
    first: Duration,
    /// Over the connections that are open, in order.
    warm: Vec<Duration>,
    /// `ssh HOST true` on all three at once over the same connections: what no tool that uses ssh can be below.
    bare: Vec<Duration>,
}

fn check(round_trip_ms: u64, lost_per_mille: u32) -> Option<Took> {
    let mut bed = Bed::new()?;
    bed.bare_home = bed.can_bare_home();
    let mut inventory = "[nodes]\n".to_owned();
    let mut relays = Vec::new();
    let mut known = String::new();
    for name in ["a", "b", "c"] {
        let port = bed.serve();
        let relay = Relay::to(port, line(round_trip_ms, lost_per_mille));
        let key = std::fs::read_to_string(bed.path(&format!("host_key_{port}.pub"))).unwrap();
        known += &format!("[127.0.0.1]:{} {key}", relay.port);
        inventory += &bed.host(name, relay.port, "");
        relays.push(relay);
    }
    bed.write("known_hosts", &known);
    bed.write("hosts", &inventory);
    let mut text = "- hosts: nodes\n  tasks:\n".to_owned();
    for task in 0..40 {
        let dest = bed.path(&format!("file-{task}-{{{{ inventory_hostname }}}}"));
        text += &format!("    - copy: {{ dest: '{}', content: 'x' }}\n", dest.display());
    }
    bed.write("site.yml", &text);
    let run = |word: &str| timed(at(&bed, &[word, "site.yml", "-i", "hosts"]), 0);
    run("apply");
    // The connections that the apply left are ended, so that the next run has to log in.
    let sockets = std::fs::read_dir(bed.path("converge")).unwrap().flatten().map(|e| e.path());
    for socket in sockets.filter(|p| p.file_name().is_some_and(|n| n.len() == 40)) {
        let control = format!("ControlPath={}", socket.display());
        let _ = Command::new("ssh").args(["-o", &control, "-O", "exit", "x"]).output();
    }
    let first = run("check");
    let ordered = |run: &dyn Fn() -> Duration| {
        let mut all: Vec<Duration> = (0..9).map(|_| run()).collect();
        all.sort();
        all
    };
    let warm = ordered(&|| run("check"));
    let bare = ordered(&|| {
        let since = Instant::now();
        let all: Vec<_> = relays.iter().map(|relay| ssh(&bed, relay.port).spawn().unwrap()).collect();
        for mut one in all {
            assert!(one.wait().unwrap().success());
        }
        since.elapsed()
    });
    Some(Took { first, warm, bare })
}

/// `ssh HOST true` as the program under test calls it.
fn ssh(bed: &Bed, port: u16) -> Command {
    let mut command = Command::new("ssh");
    command.arg("-F").arg(bed.path("converge/config")).args(["-T", "-o", "BatchMode=yes", "-p", &port.to_string()]);
    command.args(["-l", &sshd::user(), "-i"]).arg(bed.path("key")).args(["--", "127.0.0.1", "true"]);
    command
}

/// A run of the program under test, which is also what is sent.
fn at(bed: &Bed, words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(words).current_dir(bed.dir.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", bed.dir.path());
    command.env("XDG_RUNTIME_DIR", bed.dir.path());
    command
}

/// The first link of a host that lacks the program, less a link of one that has it.
fn install_over_ssh() -> Option<Duration> {
    let mut bed = Bed::new()?;
    let port = bed.serve();
    let relay = Relay::to(port, Line { rate: 1_000_000_000, ..Line::default() });
    let key = std::fs::read_to_string(bed.path(&format!("host_key_{port}.pub"))).unwrap();
    bed.write("known_hosts", &format!("[127.0.0.1]:{} {key}", relay.port));
    bed.write("hosts", &format!("[nodes]\n{}", bed.host("a", relay.port, "-o ControlPath=none")));
    bed.write("site.yml", "- hosts: nodes\n  tasks: [{ command: id }]\n");
    let run = || timed(at(&bed, &["check", "site.yml", "-i", "hosts"]), 3);
    let first = run();
    Some(first.saturating_sub(run()))
}

fn install_over_rest(line: Line) -> Option<Duration> {
    for name in ["script", "bash", "stty"] {
        sshd::program(name)?;
    }
    let bed = Bed::new()?;
    let node = termproxy::serve(bed.dir.path().to_owned(), bed.path("ended"));
    let relay = Relay::to(node.port, line);
    let text = format!(
        "endpoints: ['127.0.0.1:{0}']\nlogin: {{ user: root@pam, password: {{ env: PW }} }}\n\
         tls: {{ fingerprints: ['{1}'] }}\nlink: pve_shell\nnodes:\n  one: {{ endpoint: '127.0.0.1:{0}' }}\n\
         vars: {{ converge_agent_dir: {2}/agent }}\n",
        relay.port,
        node.fingerprint,
        bed.dir.path().display()
    );
    bed.write("cluster.yml", &text);
    bed.write("site.yml", "- hosts: one\n  tasks: [{ command: id }]\n");
    let run = || {
        let mut command = at(&bed, &["check", "site.yml", "-i", "cluster.yml"]);
        command.env("PW", "secret");
        timed(command, 3)
    };
    let first = run();
    Some(first.saturating_sub(run()))
}

fn main() {
    println!("A check of 40 tasks with nothing to change, three hosts:");
    println!(
        "round trip   loss   with the logins   warm: least   median   most (of 9)   `ssh HOST true`: least   median"
    );
    let mut near = None;
    for (round_trip_ms, lost) in [(0, 0), (20, 0), (200, 0), (20, 10), (200, 10)] {
        let Some(Took { first, warm, bare }) = check(round_trip_ms, lost) else { return };
        let (least, median, most) = (warm[0], warm[warm.len() / 2], warm[warm.len() - 1]);
        let near = *near.get_or_insert(least);
        let trips = match round_trip_ms {
            0 => String::new(),
            ms => format!("   {:.1} round trips", (least.saturating_sub(near)).as_secs_f64() * 1000.0 / ms as f64),
        };
        println!(
            "{round_trip_ms:>7} ms  {:>3} %   {:>12} ms   {:>8} ms  {:>4} ms  {:>4} ms   {:>20} ms  {:>4} ms{trips}",
            lost / 10,
            first.as_millis(),
            least.as_millis(),
            median.as_millis(),
            most.as_millis(),
            bare[0].as_millis(),
            bare[bare.len() / 2].as_millis(),
        );
    }
    let size = std::fs::metadata(program()).map_or(0, |m| m.len());
    println!("First installation of the program ({:.1} MB):", size as f64 / 1e6);
    let shown = |took: Option<Duration>| took.map_or("-".to_owned(), |t| format!("{:.2} s", t.as_secs_f64()));
    println!("SSH, 1 Gbit/s                      {}", shown(install_over_ssh()));
    println!(
        "REST shell, 1 Gbit/s               {}",
        shown(install_over_rest(Line { rate: 1_000_000_000, ..line(0, 0) }))
    );
    println!(
        "REST shell, 100 Mbit/s, 20 ms      {}",
        shown(install_over_rest(Line { rate: 100_000_000, ..line(20, 0) }))
    );
    println!(
        "REST shell, 100 Mbit/s, 20 ms, 1 % {}",
        shown(install_over_rest(Line { rate: 100_000_000, ..line(20, 10) }))
    );
}
