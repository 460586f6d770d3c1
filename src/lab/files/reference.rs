//! A copy of this program on a node of the lab, kept by its identity instead of by its hundred megabytes.
//!
//! Whoever reads the file gets the program's bytes, whoever looks at it sees its size; the bytes of another build are
//! gone, and reading them is an error.

use crate::host::{OwnProgram, copy_own_program, own_program};
use std::path::Path;

const MAGIC: &str = "lab reference to a build of converge";
/// Of every reference (bytes), so that looking at other files costs nothing.
pub const LENGTH: u64 = 160;

pub fn write(program: &OwnProgram) -> String {
    let text = format!("{MAGIC}\nsha256 {}\nsize {}\n", program.sha256, program.size_bytes);
    format!("{text}{}", " ".repeat(LENGTH as usize - text.len()))
}

fn parse(bytes: &[u8]) -> Option<OwnProgram> {
    if bytes.len() as u64 != LENGTH {
        return None;
    }
    let mut lines = std::str::from_utf8(bytes).ok()?.strip_prefix(MAGIC)?.lines().skip(1);
    let sha256 = lines.next()?.strip_prefix("sha256 ")?.to_owned();
    let size_bytes = lines.next()?.strip_prefix("size ")?.parse().ok()?;
    Some(OwnProgram { sha256, size_bytes })
}

/// The program that a real file of the lab refers to.
pub fn read(real: &Path) -> Option<OwnProgram> {
    parse(&std::fs::read(real).ok()?)
}

/// What a reader gets: the file's own bytes, or the program's.
pub fn resolve(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let Some(program) = parse(&bytes) else { return Ok(bytes) };
    let own = own_program()?;
    if own.sha256 != program.sha256 {
        return Err(format!("build {} of converge, which the lab refers to, is not the one that runs", program.sha256));
    }
    let mut all = Vec::with_capacity(usize::try_from(program.size_bytes).unwrap_or(0));
    copy_own_program(&mut all)?;
    Ok(all)
}
