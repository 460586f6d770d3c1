//! `ha_stop_fix`: the HA manager stops containers without killing them, also where it is very old.

use super::apt::version;
use super::{Task, Verdict, diff, owed};
use crate::host::{LookError, Probe, Query, Step, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cmp::Ordering;
use std::path::Path;

const PACKAGE: &str = "pve-ha-manager";
const FILE: &str = "/usr/share/perl5/PVE/HA/Resources/PVECT.pm";
/// The release that stopped passing `forceStop` (bug 1842, March 2019).
const FIXED_IN: &str = "2.0-7";

/// Before pve-ha-manager 2.0-7 the HA manager killed a container that did not stop in time; an NFS server then kept its
/// device busy and the node stayed DRBD Primary. There this changes `forceStop => 1` to `0` in PVECT.pm and restarts
/// pve-ha-lrm, which freezes its resources meanwhile. On every later version there is nothing to do, and it says so.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaStopFix {}

/// The package's version, and the file where the version is an old one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    version: Option<String>,
    file: Option<String>,
    /// The file was cured, and the manager that has the old one loaded was not restarted.
    owed: bool,
}

/// What the cure owes.
const RESTART: &str = "restart-pve-ha-lrm";

fn version_query() -> Query {
    Query::new(Topic::Package(PACKAGE.into()), ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}\n", PACKAGE])
}

fn is_fixed(installed: &str) -> bool {
    version::compare(installed, FIXED_IN) != Ordering::Less
}

/// The text with every `forceStop => 1` made `0`, white space as it was; `None`: there is none.
fn cured(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find("forceStop") {
        let after = &rest[at + "forceStop".len()..];
        let value = after.trim_start().strip_prefix("=>").map(str::trim_start);
        match value {
            Some(value) if value.starts_with('1') && !value[1..].starts_with(|c: char| c.is_ascii_alphanumeric()) => {
                let until = rest.len() - value.len();
                out.push_str(&rest[..until]);
                out.push('0');
                rest = &value[1..];
                found = true;
            }
            _ => {
                out.push_str(&rest[..at + "forceStop".len()]);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    found.then_some(out)
}

impl Task for HaStopFix {
    const KIND: &'static str = "ha_stop_fix";
    const EXAMPLE: &'static str = "\
- name: HA stops the container without killing it
  ha_stop_fix: {}
";
    type Seen = Seen;

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let answer = host.query(&version_query())?;
        let installed = match answer.rc {
            0 => answer.stdout.trim().strip_prefix("installed ").map(str::to_owned),
            1 => None,
            rc => {
                return Err(LookError::cannot_tell(
                    PACKAGE,
                    format!("dpkg-query ended with {rc}: {}", answer.complaint()),
                ));
            }
        };
        let file = match &installed {
            Some(version) if !is_fixed(version) => host.read_text(Path::new(FILE))?,
            _ => None,
        };
        let owed = file.is_some() && owed::look(host, RESTART)?;
        Ok(Seen { version: installed, file, owed })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let Some(version) = &seen.version else {
            return Verdict::blocked(format!("{PACKAGE} is not installed here: this is no node of Proxmox VE"));
        };
        let data = json!({ "version": version });
        if is_fixed(version) {
            return Verdict::ok(format!("fixed since {PACKAGE} {FIXED_IN} (this node has {version})")).data(data);
        }
        let Some(text) = &seen.file else {
            return Verdict::blocked(format!("{PACKAGE} {version} needs the cure, but {FILE} is not there"));
        };
        // The manager has the module loaded; without a restart nothing changes.
        let restart = Step::run(["systemctl", "restart", "pve-ha-lrm.service"]);
        match cured(text) {
            None if seen.owed => {
                let summary = "restart pve-ha-lrm: an earlier run cured the file and did not get to it";
                Verdict::drift(summary, "", owed::pay(RESTART, restart)).data(data)
            }
            None => Verdict::ok(format!("{PACKAGE} {version} has the fault, and it is cured in {FILE}")).data(data),
            Some(after) => {
                let difference = diff::unified(FILE, text, &after);
                let sentence = format!("{FILE} was changed; pve-ha-lrm.service must be restarted");
                let steps = owed::steps(RESTART, &sentence, vec![Step::write(FILE, after)], restart);
                Verdict::drift("stop containers without killing them; restart pve-ha-lrm", difference, steps).data(data)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Host, Output};
    use crate::tasks::fake::{Fake, converges, idle, refuses, task};

    const OLD: &str = "    my $params = {\n\tnode => $nodename,\n\tforceStop => 1,\n\ttimeout => $timeout,\n    };\n    # forceStop => 10\n";

    fn node(version: &str, file: Option<&str>) -> Fake {
        let fake = Fake::with(&[]);
        if let Some(text) = file {
            fake.file(FILE, text, 0o644);
        }
        let argv = version_query().argv;
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        fake.answer(&argv, Output::ok(format!("installed {version}\n")));
        fake
    }

    fn fix() -> HaStopFix {
        task(json!({}))
    }

    #[test]
    fn only_the_versions_that_have_the_fault_are_cured() {
        for version in ["2.0-7", "2.0-9", "3.3-4", "4.0.7", "5.2.0", "2.0-10"] {
            let host = node(version, Some(OLD));
            idle(&fix(), &host);
            assert_eq!(host.text(FILE).unwrap(), OLD, "{version}");
        }
        for version in ["2.0-6", "2.0-5", "1.0-41"] {
            let host = node(version, Some(OLD));
            let difference = converges(&fix(), &host);
            assert!(difference.contains("-\tforceStop => 1,\n+\tforceStop => 0,"), "{difference}");
            assert!(host.done.borrow().iter().any(|line| line.contains("restart pve-ha-lrm")));
            assert!(host.text(FILE).unwrap().contains("# forceStop => 10"), "only the value 1 is changed");
        }
    }

    #[test]
    fn a_run_that_died_before_the_restart_is_found_out() {
        let host = node("2.0-6", Some(OLD));
        let verdict = fix().decide(&fix().probe(&host).unwrap());
        let crate::tasks::Decision::Drift(change) = verdict.decision else { panic!("there is a cure") };
        let restart = change.steps.iter().position(|step| step.describe().starts_with("systemctl")).unwrap();
        for step in &change.steps[..restart] {
            host.perform(step).unwrap();
        }
        assert!(host.text(FILE).unwrap().contains("forceStop => 0"));
        host.done.borrow_mut().clear();
        converges(&fix(), &host);
        assert!(host.done.borrow().iter().any(|line| line.contains("restart pve-ha-lrm")));
        idle(&fix(), &host);
    }

    #[test]
    fn what_is_not_a_node_or_lacks_the_file_is_not_called_fine() {
        let other = node("2.0-6", None);
        refuses(&fix(), &other, "is not there");
        let argv = version_query().argv;
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let debian = Fake::with(&[]);
        debian.answer(&argv, Output::failed(1, "dpkg-query: no packages found matching pve-ha-manager\n"));
        refuses(&fix(), &debian, "not installed here");
        debian.answer(&argv, Output::ok("config-files 5.2.0\n"));
        refuses(&fix(), &debian, "not installed here");
    }
}
