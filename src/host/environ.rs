//! Which variables of our environment are kept from the programs that we start: our own settings, and secrets that an
//! inventory takes from there. Nobody is handed a password by inheritance.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::RwLock;

static SECRET: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// From now on no program gets this variable.
pub fn keep_from_programs(name: &str) {
    SECRET.write().expect("no panic while holding").insert(name.to_owned());
}

/// Takes out of a command's environment what it must not inherit.
pub fn without_secrets(command: &mut Command) -> &mut Command {
    let secret = SECRET.read().expect("no panic while holding");
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CONVERGE_") || secret.contains(name.as_ref()) {
            command.env_remove(&key);
        }
    }
    command
}
