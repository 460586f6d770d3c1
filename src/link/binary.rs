//! The program that is sent to hosts: this one, or the one that `CONVERGE_AGENT` names; known by its SHA-256.

use crate::host::own_program;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::{LazyLock, OnceLock};

/// A program for hosts.
pub struct Binary {
    /// Lower-case hexadecimal.
    pub sha256: String,
    content: OnceLock<Result<Content, String>>,
}

/// What is sent to a host that lacks it.
pub struct Content {
    pub bytes: Vec<u8>,
    machine: Option<&'static str>,
    packed: OnceLock<Vec<u8>>,
}

static BINARY: LazyLock<Result<Binary, String>> = LazyLock::new(|| {
    let own = own_program().map_err(|why| format!("the agent's program {why}"))?;
    Ok(Binary { sha256: own.sha256.clone(), content: OnceLock::new() })
});

impl Binary {
    pub fn get() -> Result<&'static Self, String> {
        BINARY.as_ref().map_err(Clone::clone)
    }

    /// Read when the first host lacks it.
    pub fn content(&self) -> Result<&Content, String> {
        let read = || own_program()?.read().map(Content::of);
        self.content.get_or_init(read).as_ref().map_err(|why| format!("the agent's program {why}"))
    }

    #[cfg(test)]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { sha256: crate::tasks::diff::sha256(&bytes), content: OnceLock::from(Ok(Content::of(bytes))) }
    }
}

impl Content {
    fn of(bytes: Vec<u8>) -> Self {
        let machine = machine(&bytes);
        Self { bytes, machine, packed: OnceLock::new() }
    }

    /// With gzip at its fastest: on a fast link packing must not take longer than sending.
    pub fn packed(&self) -> &[u8] {
        self.packed.get_or_init(|| {
            let mut packer = GzEncoder::new(Vec::with_capacity(self.bytes.len() / 2), Compression::fast());
            packer.write_all(&self.bytes).and_then(|()| packer.finish()).expect("writing to memory does not fail")
        })
    }

    /// Why it cannot run where `uname` says this, if that is certain.
    pub fn misfit(&self, machine: &str, system: &str) -> Option<String> {
        if system != "Linux" {
            return Some(format!("it runs {system}; the agent is for Linux"));
        }
        let mine = self.machine?;
        // A 32-bit name for the same processors does not run a 64-bit program, so names are compared as they are.
        (mine != machine).then(|| {
            format!(
                "wrong architecture: the host is {machine}, this program is for {mine}; \
                 name one for {machine} with the environment variable CONVERGE_AGENT"
            )
        })
    }
}

/// What `uname -m` says where an ELF file runs; `None` for what is no ELF file or not known here.
fn machine(bytes: &[u8]) -> Option<&'static str> {
    let header = bytes.get(..20).filter(|b| b.starts_with(b"\x7fELF"))?;
    match u16::from_le_bytes([header[18], header[19]]) {
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_program_is_known_by_its_hash_and_its_machine() {
        let mut elf = vec![0; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[18] = 62;
        let binary = Binary::of(elf.clone());
        assert_eq!(binary.sha256.len(), 64);
        let content = binary.content().unwrap();
        assert_eq!(content.misfit("x86_64", "Linux"), None);
        assert!(content.misfit("aarch64", "Linux").unwrap().contains("wrong architecture"));
        assert!(content.misfit("x86_64", "FreeBSD").unwrap().contains("FreeBSD"));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(content.packed()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, elf);
    }
}
