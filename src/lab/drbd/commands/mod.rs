//! `drbdadm`, `drbdsetup`, `drbdmeta`: arguments in, DRBD's own texts and exit codes out.

mod action;
mod adjust;
mod adm;
mod answers;
mod dump;
mod meta;
mod setup;
mod words;

use super::fabric::Fabric;
use super::kernel::Denied;
use super::machines::Machines;
use crate::host::Output;

pub const PROGRAMS: &[&str] = &["drbdadm", "drbdsetup", "drbdmeta"];

/// One program run on one node.
pub(super) struct Run<'a> {
    pub fabric: &'a mut Fabric,
    pub machines: &'a mut dyn Machines,
    pub node: &'a str,
    pub out: Output,
}

/// `args` without the program's name.
pub fn run(fabric: &mut Fabric, machines: &mut dyn Machines, node: &str, program: &str, args: &[String]) -> Output {
    let mut run = Run { fabric, machines, node, out: Output::default() };
    run.fabric.advance(run.machines);
    let rc = match program {
        "drbdadm" => adm::run(&mut run, args),
        "drbdsetup" => setup::run(&mut run, args),
        _ => meta::run(&mut run, args),
    };
    run.fabric.settle(run.machines);
    Output { rc, ..run.out }
}

impl Run<'_> {
    pub fn say(&mut self, text: impl AsRef<str>) {
        self.out.stdout.push_str(text.as_ref());
    }

    pub fn complain(&mut self, text: impl AsRef<str>) {
        self.out.stderr.push_str(text.as_ref());
    }

    /// `Command '…' terminated with exit code N`, as drbdadm adds to what the program below it said.
    pub fn below_failed(&mut self, command: &str, rc: i32) -> i32 {
        // 1 is drbdmeta's "no" to a question, which it has explained itself.
        if rc != 1 {
            self.complain(format!("Command '{command}' terminated with exit code {rc}\n"));
        }
        rc
    }

    /// Prints a kernel's refusal as drbdsetup does; `subject` is the resource or the minor.
    pub fn denied(&mut self, subject: &str, denied: &Denied) -> i32 {
        match denied {
            Denied::Silent => 11,
            Denied::Failure(number, text) => {
                self.complain(format!("{subject}: Failure: ({number}) {text}\n"));
                10
            }
            Denied::State(refusal) => {
                self.complain(format!("{subject}: State change failed: ({}) {}\n", refusal.number, refusal.text));
                if !refusal.info.is_empty() {
                    self.complain(format!("additional info from kernel:\n{}\n", refusal.info.join("\n")));
                }
                refusal.rc()
            }
        }
    }

    /// Makes sure that a DRBD 9 module is loaded, as every program that talks to the kernel does.
    pub fn need_module(&mut self) -> Result<(), i32> {
        if self.machines.module_loaded(self.node).is_some() {
            return Ok(());
        }
        self.machines.load_module(self.node).map_err(|said| {
            self.complain(said);
            self.complain("Failed to modprobe drbd (No such file or directory)\n");
            20
        })
    }

    /// Whether the loaded module is of the 8.4 line, for which drbd-utils run other programs.
    pub fn is_84(&self) -> bool {
        self.machines.module_loaded(self.node).is_some_and(|v| v.starts_with("8."))
    }

    /// Newer tools have no programs for 8.4 with them and say so.
    pub fn refuses_84(&mut self, program: &str) -> Option<i32> {
        if !self.is_84() || !self.has_newer_tools() {
            return None;
        }
        self.complain(format!(
            "DRBD kernel driver version 8.4 detected.\n\
             This {program} was built without support for drbd kernel code 8.4.\n\
             Consider to upgrade your DRBD kernel driver. Or rebuild your user land tools\n\
             and configure --with-84support ...\n"
        ));
        Some(20)
    }

    /// drbd-utils of 2025 and later (seen with 9.34), which tell more in JSON.
    pub fn has_newer_tools(&self) -> bool {
        let version = self.machines.utils_version(self.node);
        let minor = version.split('.').nth(1).and_then(|m| m.parse::<u32>().ok());
        minor.is_some_and(|m| m >= 29)
    }

    pub fn resource_list(&self) -> Vec<String> {
        self.fabric.kernels.get(self.node).map(|k| k.keys().cloned().collect()).unwrap_or_default()
    }
}
