//! `systemctl`: units of a node or container.
//!
//! Unit files and enablement are real files and links in the tree, as systemd keeps them; only what runs is state.

mod act;
mod show;
mod unit;

pub use act::{boot, halt, start, stop};
pub use unit::{UnitFile, find};

use super::options::Options;
use super::{Ctx, not_simulated};
use crate::host::Output;

pub fn run(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let long = [
        "property=",
        "value",
        "no-pager",
        "quiet",
        "now",
        "no-block",
        "no-reload",
        "system",
        "all",
        "full",
        "plain",
        "no-legend",
        "type=",
        "state=",
        "timestamp=",
        "no-ask-password",
        "force",
        "job-mode=",
        "version",
        "no-warn",
        "wait",
    ];
    let options = match Options::parse(argv, "p:qaflt:", &long) {
        Ok(options) => options,
        Err(output) => return output,
    };
    if options.has(&["version"]) {
        return Output::ok(if ctx.system().debian == 12 {
            "systemd 252 (252.39-1~deb12u1)\n"
        } else {
            "systemd 257 (257.9-1~deb13u1)\n"
        });
    }
    let Some((verb, names)) = options.rest.split_first() else {
        return not_simulated(argv, "listing all units");
    };
    let units: Vec<String> = names.iter().map(|n| full_name(n)).collect();
    match verb.as_str() {
        "show" => show::show(ctx, &units, &options),
        "is-active" | "is-failed" => show::is_state(ctx, &units, verb, options.has(&["q", "quiet"])),
        "is-enabled" => show::is_enabled(ctx, &units, options.has(&["q", "quiet"])),
        "cat" => show::cat(ctx, &units),
        "status" => show::status(ctx, &units),
        "list-unit-files" => show::list_unit_files(ctx, names, &options),
        "list-units" => show::list_units(ctx, names, &options),
        "is-system-running" => show::is_system_running(ctx),
        "start" | "restart" | "reload" | "stop" | "try-restart" | "reload-or-restart" | "try-reload-or-restart" => {
            act::act_on(ctx, verb, &units)
        }
        "enable" | "disable" | "mask" | "unmask" | "reenable" => {
            let mut output = act::change_files(ctx, verb, &units);
            if output.rc == 0 && options.has(&["now"]) {
                let then = match verb.as_str() {
                    "enable" | "reenable" => "start",
                    "disable" | "mask" => "stop",
                    _ => return output,
                };
                let acted = act::act_on(ctx, then, &units);
                output.stderr.push_str(&acted.stderr);
                output.rc = acted.rc;
            }
            output
        }
        "daemon-reload" | "daemon-reexec" => {
            act::daemon_reload(ctx);
            Output::default()
        }
        "reset-failed" => act::reset_failed(ctx, &units),
        other => not_simulated(argv, &format!("`systemctl {other}`")),
    }
}

/// A name without a suffix is a service.
fn full_name(name: &str) -> String {
    let known = [".service", ".target", ".timer", ".socket", ".mount", ".path", ".slice", ".scope", ".automount"];
    if known.iter().any(|s| name.ends_with(s)) || name.contains('*') {
        return name.to_owned();
    }
    if name.starts_with('/') {
        return format!("{}.mount", name.trim_start_matches('/').replace('/', "-"));
    }
    format!("{name}.service")
}
