//! The program that is sent to hosts: this one, or the one that `CONVERGE_AGENT` names; known by its SHA-256.

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{LazyLock, OnceLock};

/// A program for hosts. Read and hashed once a run, compressed only when a host lacks it.
pub struct Binary {
    pub sha256: String,
    pub bytes: Vec<u8>,
    machine: Option<&'static str>,
    packed: OnceLock<Vec<u8>>,
}

static BINARY: LazyLock<Result<Binary, String>> = LazyLock::new(Binary::read);

impl Binary {
    pub fn get() -> Result<&'static Self, String> {
        BINARY.as_ref().map_err(Clone::clone)
    }

    fn read() -> Result<Self, String> {
        let given = std::env::var_os("CONVERGE_AGENT").map(PathBuf::from);
        let path = match given {
            Some(path) => path,
            // The file may have been replaced since this process began; the link of the kernel leads to what runs.
            None => PathBuf::from("/proc/self/exe"),
        };
        let bytes = std::fs::read(&path).map_err(|e| format!("the agent's program {}: {e}", path.display()))?;
        Ok(Self::of(bytes))
    }

    pub fn of(bytes: Vec<u8>) -> Self {
        let sha256 = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let machine = machine(&bytes);
        Self { sha256, bytes, machine, packed: OnceLock::new() }
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
        assert_eq!(binary.misfit("x86_64", "Linux"), None);
        assert!(binary.misfit("aarch64", "Linux").unwrap().contains("wrong architecture"));
        assert!(binary.misfit("x86_64", "FreeBSD").unwrap().contains("FreeBSD"));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(binary.packed()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, elf);
    }
}
