//! `converge lab serve` in a process of its own, and what it said of its nodes.

#![allow(dead_code)] // Each test binary uses its part.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `converge lab serve`: another process, as it would be another machine.
pub struct Served {
    process: Child,
    /// Address and fingerprint by node.
    pub nodes: BTreeMap<String, (String, String)>,
    pub password: String,
}

impl Served {
    pub fn new(dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(["lab", "serve", "--port", "0", "--dir"]).arg(dir).env("CONVERGE_AGENT", crate::sshd::agent());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut nodes = BTreeMap::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [node, url, "SHA-256", print] => {
                    let address = url.trim_start_matches("https://").trim_end_matches("/api2/json");
                    nodes.insert(node.to_owned(), (address.to_owned(), print.to_owned()));
                }
                ["CA", _] => break,
                _ => {}
            }
        }
        let secrets = fs::read_to_string(dir.join("api-secrets.json")).unwrap();
        let secrets: serde_json::Value = serde_json::from_str(&secrets).unwrap();
        Self { process, nodes, password: secrets["root_password"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
