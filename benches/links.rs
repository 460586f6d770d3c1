//! A no-change check of 40 tasks on three sshd hosts at 0, 20 and 200 ms round trip, by a relay that delays both ways.
//! `cargo bench --bench links`; it prints a table and asserts no time.

#[path = "../tests/support/sshd.rs"]
mod sshd;

use sshd::{Bed, said};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Every byte arrives `delay` after it was sent; bytes on their way do not wait for each other.
fn relay(to: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (from, into) in [(&near, &far), (&far, &near)] {
                let (mut from, mut into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                let _ = into.set_nodelay(true);
                let (give, take) = channel::<(Instant, Vec<u8>)>();
                std::thread::spawn(move || {
                    let mut piece = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = from.read(&mut piece) {
                        if give.send((Instant::now() + delay, piece[..read].to_vec())).is_err() {
                            return;
                        }
                    }
                });
                std::thread::spawn(move || {
                    for (due, bytes) in take {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        if into.write_all(&bytes).is_err() {
                            break;
                        }
                    }
                    let _ = into.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

fn main() {
    println!("round trip   first connection   warm connection   (40 tasks, three hosts, nothing to change)");
    for round_trip_ms in [0, 20, 200] {
        let Some(mut bed) = Bed::new() else { return };
        let mut inventory = "[nodes]\n".to_owned();
        let mut relays = Vec::new();
        for name in ["a", "b", "c"] {
            let port = bed.serve();
            let relayed = relay(port, Duration::from_micros(round_trip_ms * 500));
            let key = std::fs::read_to_string(bed.path(&format!("host_key_{port}.pub"))).unwrap();
            relays.push(format!("[127.0.0.1]:{relayed} {key}"));
            inventory += &bed.host(name, relayed, "");
        }
        let known = std::fs::read_to_string(bed.path("known_hosts")).unwrap();
        bed.write("known_hosts", &(known + &relays.concat()));
        bed.write("hosts", &inventory);
        let mut text = "- hosts: nodes\n  tasks:\n".to_owned();
        for task in 0..40 {
            let dest = bed.path(&format!("file-{task}-{{{{ inventory_hostname }}}}"));
            text += &format!("    - copy: {{ dest: '{}', content: 'x' }}\n", dest.display());
        }
        bed.write("site.yml", &text);
        let run = |command: &str, code: i32| {
            let since = Instant::now();
            let output = bed.converge(&[command, "site.yml", "-i", "hosts"]);
            let took = since.elapsed();
            assert_eq!(output.status.code(), Some(code), "{}", said(&output));
            took
        };
        run("apply", 0);
        // The connections that the apply left are ended, so that the next run has to log in.
        let sockets = std::fs::read_dir(bed.path("converge")).unwrap().flatten().map(|e| e.path());
        for socket in sockets.filter(|p| p.file_name().is_some_and(|n| n.len() == 40)) {
            let control = format!("ControlPath={}", socket.display());
            let _ = std::process::Command::new("ssh").args(["-o", &control, "-O", "exit", "x"]).output();
        }
        let first = run("check", 0);
        let warm = (0..3).map(|_| run("check", 0)).min().unwrap_or_default();
        println!("{round_trip_ms:>7} ms   {:>13} ms   {:>12} ms", first.as_millis(), warm.as_millis());
    }
}
