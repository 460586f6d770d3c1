//! Programs for files: those that look at them and those that change them.
//!
//! What goes wrong is said in the words of coreutils; several files at once and symbolic modes are refused.

mod change;
mod inspect;

pub use change::{chmod, chown, cp, install, ln, mkdir, mv, rm, touch};
pub use inspect::{cat, hash_sum, ls, readlink, stat, test};

use super::Ctx;
use crate::host::Output;

fn read(ctx: &Ctx, argv: &[String], path: &str) -> Result<Vec<u8>, Output> {
    match ctx.view().read(&ctx.absolute(path)) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Output::failed(1, format!("{}: {path}: No such file or directory\n", argv[0]))),
        Err(e) => Err(Output::failed(1, format!("{}: {path}: {}\n", argv[0], e.text))),
    }
}
