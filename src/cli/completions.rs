//! `converge completions SHELL`.

use clap::Parser;

#[derive(Debug, Parser)]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::definition(), "converge", &mut script);
    put!("{}", String::from_utf8_lossy(&script));
    crate::exit::OK
}
