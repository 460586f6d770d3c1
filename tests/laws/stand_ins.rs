//! Small programs for rooted directories. Their state lies in the directory, so that the laws see every change.

use converge::host::{Output, Programs};
use std::path::{Path, PathBuf};

/// Where `path` of the host lies. Stand-ins get plain absolute paths only.
fn at(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

pub fn coreutils(root: PathBuf) -> Programs {
    Box::new(move |argv, _stdin| {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["touch", paths @ ..] => {
                for path in paths {
                    std::fs::File::options().append(true).create(true).open(at(&root, path)).ok()?;
                }
                Some(Output::default())
            }
            ["uname", "-n"] => Some(Output::ok("pve1\n")),
            ["uname", "-r"] => Some(Output::ok("6.14.8-2-pve\n")),
            ["uname", "-m"] => Some(Output::ok("x86_64\n")),
            _ => None,
        }
    })
}
