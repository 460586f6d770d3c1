//! The command line: one file a command, wiring only.

pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(crate::exit::USAGE)
}
