//! A command line on a simulated node: what `converge lab shell NODE` runs.

use super::commands::{self, Ctx, shell};
use super::guest;
use super::handle::{Lab, LabError};
use super::world::Place;
use crate::host::Output;

impl Lab {
    /// Runs a line in the lab's shell on a node, or inside a container when the name is `ct:VMID`.
    ///
    /// # Errors
    /// When the lab cannot be used. A node that is off answers with exit code 255, as ssh does.
    pub fn run_line(&self, host: &str, line: &str) -> Result<Output, LabError> {
        self.with(|world| {
            let place = match host.strip_prefix("ct:").map(str::parse::<u32>) {
                Some(Ok(vmid)) => Place::Container(vmid),
                _ => Place::node(host),
            };
            let node = match &place {
                Place::Node(name) => Some(name.clone()),
                Place::Container(vmid) => guest::running_on(world, *vmid).map(str::to_owned),
            };
            match node.and_then(|n| world.nodes.get(&n)) {
                Some(node) if !node.off => {}
                Some(_) => return Output::failed(255, format!("{host}: no route to host (it is powered off)\n")),
                None => {
                    return Output::failed(
                        255,
                        format!("{host}: there is no such node, or the container is not running\n"),
                    );
                }
            }
            let mut ctx = Ctx::new(world, self.files(), place);
            ctx.cwd = "/root".into();
            // A line without shell words goes straight to its program, so that its own faults are seen.
            match shell::words(line) {
                Ok(argv) if argv.is_empty() => Output::default(),
                Ok(argv)
                    if !["cd", "command", "exit", "set", ":"].contains(&argv[0].as_str()) && !argv[0].contains('=') =>
                {
                    commands::run(&mut ctx, &argv, None)
                        .unwrap_or_else(|_| Output::failed(127, format!("bash: {}: command not found\n", argv[0])))
                }
                _ => shell::run_script(&mut ctx, line, None, false),
            }
        })
    }
}
