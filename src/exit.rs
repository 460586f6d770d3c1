//! Every exit code, an interface that others script against.

/// In sync, or converged.
pub const OK: u8 = 0;
/// A task failed or was blocked.
pub const FAILED: u8 = 1;
/// Wrong usage, or faults in the playbook or inventory.
pub const USAGE: u8 = 2;
/// Drift was found (check, drift).
pub const DRIFT: u8 = 3;
/// A host could not be reached.
pub const UNREACHABLE: u8 = 4;
