//! One apply at a time on a lab: a file of its folder, locked for as long as somebody holds it. It waits for nobody.

use super::Lab;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The right to change the lab, until it is dropped. The kernel takes it from a process that dies.
#[derive(Debug)]
pub struct Turn {
    file: File,
    path: PathBuf,
}

impl Lab {
    /// `Ok(Err(owner))`: somebody else has it. `take_over`: also from them.
    pub fn take_turn(&self, owner: &str, take_over: bool) -> io::Result<Result<Turn, String>> {
        let path = self.dir().join("apply-owner");
        if take_over {
            // Whoever has the old file goes on holding what nobody looks at any more.
            let _ = std::fs::remove_file(&path);
        }
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut owner = String::new();
            file.read_to_string(&mut owner)?;
            return Ok(Err(owner));
        }
        file.set_len(0)?;
        file.write_all(owner.as_bytes())?;
        Ok(Ok(Turn { file, path }))
    }
}

impl Turn {
    /// Who took it over, if somebody did.
    pub fn lost_to(&self) -> Option<String> {
        let same = |there: std::fs::Metadata| self.file.metadata().is_ok_and(|mine| mine.ino() == there.ino());
        if std::fs::metadata(&self.path).is_ok_and(same) {
            return None;
        }
        Some(std::fs::read_to_string(&self.path).unwrap_or_default())
    }
}
