//! `/etc/converge/hook.yml`: what a person may set. Without the file everything is as stated here.
//!
//! A file that does not read is never half obeyed: the fault is given back with its line.

use super::judge::OwnDisk;
use crate::diagnostic::{Fault, Sources};
use crate::yaml;
use serde::Deserialize;
use std::collections::BTreeMap;

pub const PATH: &str = "/etc/converge/hook.yml";
/// Where Debian's node exporter collects text files.
const METRICS: &str = "/var/lib/prometheus/node-exporter";

/// What holds for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub mode: Mode,
    pub own_disk: OwnDisk,
    /// How long a start waits for what passes by itself (seconds).
    pub wait_s: u64,
    /// The same within the first five minutes after boot.
    pub boot_wait_s: u64,
    /// How long a stop waits for the device to be let go (seconds).
    pub release_wait_s: u64,
    /// How long one external program may take (seconds).
    pub command_timeout_s: u64,
    /// End the processes that keep the device open after a stop.
    pub kill: bool,
    /// Resources beyond those found among the container's mounts.
    pub resources: Vec<String>,
    /// To whom mail goes; `None`: to nobody.
    pub mail: Option<String>,
    /// The same mail at most this often (seconds).
    pub mail_every_s: u64,
    /// Directory for metric files; used where it exists.
    pub metrics: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// What must not be started is not started.
    #[default]
    Strict,
    /// It is started all the same, and everybody is told.
    Advisory,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Strict,
            own_disk: OwnDisk::default(),
            wait_s: 10,
            boot_wait_s: 60,
            release_wait_s: 10,
            command_timeout_s: 5,
            kill: false,
            resources: Vec::new(),
            mail: Some("root".into()),
            mail_every_s: 3600,
            metrics: METRICS.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Written,
    #[serde(default)]
    containers: BTreeMap<String, Written>,
}

/// As [`Settings`], each where it was written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    mode: Option<Mode>,
    own_disk: Option<OwnDisk>,
    wait_s: Option<u64>,
    boot_wait_s: Option<u64>,
    release_wait_s: Option<u64>,
    command_timeout_s: Option<u64>,
    kill: Option<bool>,
    resources: Option<Vec<String>>,
    mail: Option<String>,
    mail_every_s: Option<u64>,
    metrics: Option<String>,
}

impl Settings {
    fn with(self, written: Written) -> Self {
        let Written { mode, own_disk, wait_s, boot_wait_s, release_wait_s, command_timeout_s, .. } = written;
        let Written { kill, resources, mail, mail_every_s, metrics, .. } = written;
        let nobody = |to: &String| ["no", "none", "false", ""].contains(&to.as_str());
        Self {
            mode: mode.unwrap_or(self.mode),
            own_disk: own_disk.unwrap_or(self.own_disk),
            wait_s: wait_s.unwrap_or(self.wait_s).min(600),
            boot_wait_s: boot_wait_s.unwrap_or(self.boot_wait_s).min(600),
            release_wait_s: release_wait_s.unwrap_or(self.release_wait_s).min(600),
            command_timeout_s: command_timeout_s.unwrap_or(self.command_timeout_s).clamp(1, 60),
            kill: kill.unwrap_or(self.kill),
            resources: resources.unwrap_or(self.resources),
            mail: mail.map_or(self.mail, |to| Some(to).filter(|to| !nobody(to))),
            mail_every_s: mail_every_s.unwrap_or(self.mail_every_s),
            metrics: metrics.unwrap_or(self.metrics),
        }
    }
}

/// Reads the file for one container.
///
/// # Errors
/// Every fault with its place, for a terminal; `one_line` makes a task log's line of them.
pub fn read(text: &str, vmid: u32) -> Result<Settings, (Sources, Vec<Fault>)> {
    let says_something = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !text.lines().any(says_something) {
        return Ok(Settings::default());
    }
    let mut sources = Sources::default();
    let file = sources.add(PATH, text);
    let node = match yaml::parse(&sources, file) {
        Ok(node) => node,
        Err(faults) => return Err((sources, faults)),
    };
    if node.is_null() {
        return Ok(Settings::default());
    }
    let mut faults = not_numbers(&node);
    match yaml::decode::<File>(&node) {
        Ok(mut read) if faults.is_empty() => {
            let own = read.containers.remove(&vmid.to_string()).unwrap_or_default();
            return Ok(Settings::default().with(read.defaults).with(own));
        }
        Ok(_) => {}
        Err(more) => faults.extend(more),
    }
    Err((sources, faults))
}

/// Keys below `containers` that are no container's number.
fn not_numbers(node: &yaml::Node) -> Vec<Fault> {
    let entries = node.get("containers").and_then(yaml::Node::entries).unwrap_or_default();
    let wrong = entries.iter().filter(|(key, _)| key.as_str().is_none_or(|k| k.parse::<u32>().is_err()));
    wrong.map(|(key, _)| Fault::new(key.span, "not the number of a container").help("write it as `101:`")).collect()
}

/// The first fault, as a line of a task log has room for.
pub fn one_line((sources, faults): &(Sources, Vec<Fault>)) -> String {
    let Some(fault) = faults.first() else { return format!("{PATH} does not read") };
    let help = fault.help.as_ref().map(|help| format!(", {help}")).unwrap_or_default();
    format!("{}: {}{help}", sources.place(fault.span), fault.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_overrides_the_defaults() {
        let text = "defaults:\n  wait_s: 20\n  mail: admin@example.org\n  metrics: /srv/metrics\n\
            containers:\n  101:\n    mode: advisory\n    own_disk: any\n    resources: [data]\n    mail: no\n";
        let one = read(text, 101).unwrap();
        let plain = Settings { wait_s: 20, metrics: "/srv/metrics".into(), ..Settings::default() };
        let expected = Settings {
            mode: Mode::Advisory,
            own_disk: OwnDisk::Any,
            resources: vec!["data".into()],
            mail: None,
            ..plain.clone()
        };
        assert_eq!(one, expected);
        let mail = Some("admin@example.org".to_owned());
        assert_eq!(read(text, 102).unwrap(), Settings { mail, ..plain });
        assert_eq!(read("", 1).unwrap(), Settings::default());
        assert_eq!(read("# nothing\n", 1).unwrap(), Settings::default());
        assert_eq!(read("defaults: {wait_s: 99999, command_timeout_s: 0}", 1).unwrap().command_timeout_s, 1);
    }

    #[test]
    fn faults_have_a_line_and_a_suggestion() {
        let fault = |text: &str| one_line(&read(text, 101).unwrap_err());
        let said = fault("defaults:\n  wiat_s: 3\n");
        assert!(
            said.contains("hook.yml:2: unknown field `wiat_s`") && said.contains("did you mean `wait_s`"),
            "{said}"
        );
        assert!(fault("containers:\n  nfs1: {}\n").contains("hook.yml:2: not the number of a container"));
        assert!(fault("defaults: {mode: lax}").contains("hook.yml:1"));
        assert!(fault("defaults: {wait_s: soon}").contains("hook.yml:1"));
        assert!(fault("a: [").contains("hook.yml:1"));
        assert!(fault("- a").contains("hook.yml:1"));
        assert!(fault("defaults: {}\ndefaults: {}").contains("hook.yml:2"));
    }
}
