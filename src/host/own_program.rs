//! This very program as a thing that can be installed: its identity, and a copy of it at another place.
//!
//! Agents are of the build that the controller sends to hosts, so that a node copies its own agent and nothing crosses
//! the wire a second time.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::OnceLock;

/// The program that runs, also when its file was replaced meanwhile.
const SELF: &str = "/proc/self/exe";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnProgram {
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub size_bytes: u64,
}

/// The program for hosts: this one, or the one that `CONVERGE_AGENT` names, where hosts are other machines than this.
/// Hashed once in the life of a process.
///
/// # Errors
/// When it cannot be read.
pub fn own_program() -> Result<&'static OwnProgram, String> {
    static OWN: OnceLock<Result<OwnProgram, String>> = OnceLock::new();
    OWN.get_or_init(|| copy_from(&path(), &mut std::io::sink())).as_ref().map_err(Clone::clone)
}

impl OwnProgram {
    /// What [`own_program`] has hashed.
    ///
    /// # Errors
    /// When it cannot be read, or is no longer the same.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size_bytes).unwrap_or_default());
        if copy_from(&path(), &mut bytes)? != *self {
            return Err(format!("{} was replaced during the run", path()));
        }
        Ok(bytes)
    }
}

fn path() -> String {
    std::env::var("CONVERGE_AGENT").unwrap_or_else(|_| SELF.to_owned())
}

/// Writes the program that runs to `to` and says what was written.
///
/// # Errors
/// When it cannot be read, or `to` not written.
pub fn copy(to: &mut dyn Write) -> Result<OwnProgram, String> {
    copy_from(SELF, to)
}

fn copy_from(path: &str, to: &mut dyn Write) -> Result<OwnProgram, String> {
    let fail = |e: std::io::Error| format!("{path}: {e}");
    let mut file = File::open(path).map_err(fail)?;
    let (mut hash, mut size_bytes, mut chunk) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut chunk).map_err(fail)?;
        if n == 0 {
            let sha256 = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
            return Ok(OwnProgram { sha256, size_bytes });
        }
        hash.update(&chunk[..n]);
        to.write_all(&chunk[..n]).map_err(|e| e.to_string())?;
        size_bytes += n as u64;
    }
}
