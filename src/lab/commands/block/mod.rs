//! Block devices and file systems as programs see them.
//!
//! Nothing is looked at but through an open: what is busy, absent or in a container is refused as the kernel would.

mod ext4;
mod probe;

pub use ext4::{debugfs, dumpe2fs, mkfs, put_foreign_filesystem};
pub use probe::{blkid, blockdev, lsblk, wipefs};

use super::Ctx;
use crate::lab::device::{self, Content, DeviceRef, Filesystem, OpenError, OpenMode};

const BLOCK_BYTES: u64 = 4096;

/// Looks at what a device holds, through an open as a program would do it.
fn look(ctx: &mut Ctx, path: &str) -> Result<(DeviceRef, Content), OpenError> {
    let node = ctx.node_name();
    if ctx.in_container() {
        return Err(OpenError::new("ENOENT", format!("{path} does not exist")));
    }
    let device = device::open(ctx.world, &node, path, OpenMode::Read, "look")?;
    let content = device::content(ctx.world, &node, &device);
    device::close(ctx.world, &node, &device, "look");
    Ok((device, content))
}

fn filesystem(ctx: &Ctx, content: &Content) -> Option<Filesystem> {
    match content {
        Content::Filesystem(fs) => ctx.world.filesystems.get(fs).cloned(),
        _ => None,
    }
}
