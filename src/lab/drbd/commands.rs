//! DRBD's programs.
use super::fabric::Fabric;
use super::machines::Machines;
use crate::host::Output;

pub const PROGRAMS: &[&str] = &["drbdadm", "drbdsetup", "drbdmeta"];

pub fn run(_: &mut Fabric, _: &mut dyn Machines, _: &str, program: &str, _: &[String]) -> Output {
    Output::failed(125, format!("{program}: not yet\n"))
}
