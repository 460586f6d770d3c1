//! `apparmor_lines`: rules in an AppArmor profile.
//!
//! Refuses to write a profile that apparmor_parser does not take.

mod profile;

use super::{ArgFault, Task, Trail, Verdict, diff, owed};
use crate::host::{Action, Bytes, LookError, Probe, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Puts rules into an AppArmor profile and loads it. The default file is the profile that lets LXC containers
/// mount: since Proxmox VE 5.3 it acts only on containers that name it (`lxc.apparmor.profile:
/// lxc-container-default-cgns`), because each other container gets a generated profile; the task warns when no
/// container does. Today's way for an NFS server is `features: mount=nfsd;rpc_pipefs` of the container.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApparmorLines {
    /// The rules, one a line, each with its comma.
    pub lines: Vec<String>,
    /// File with the profile.
    #[serde(default = "lxc_default")]
    pub path: String,
    /// Name of the profile; needed only if the file has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// `absent`: the rules are taken out.
    #[serde(default)]
    pub state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

fn lxc_default() -> String {
    "/etc/apparmor.d/lxc/lxc-default-cgns".into()
}

/// The files here are no profiles to load by themselves; this one includes them all.
const LXC_DIR: &str = "/etc/apparmor.d/lxc";
const LXC_LOADER: &str = "/etc/apparmor.d/lxc-containers";
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    text: Option<String>,
    /// The kernel enforces AppArmor.
    enabled: bool,
    /// The file to load instead of `path`.
    loader: Option<String>,
    /// The file was written, and the kernel did not take it.
    owed: bool,
    /// Profiles that containers' configurations name; `None` on a host that is no Proxmox VE node.
    container_profiles: Option<Vec<String>>,
}

/// What the configurations of all containers of the cluster name as their profile.
fn container_profiles(host: &dyn Probe) -> Result<Option<Vec<String>>, LookError> {
    let Some(nodes) = host.list(Path::new("/etc/pve/nodes"))? else { return Ok(None) };
    let mut found = Vec::new();
    for node in nodes {
        let dir = format!("/etc/pve/nodes/{node}/lxc");
        for name in host.list(Path::new(&dir))?.unwrap_or_default() {
            // One that was moved away meanwhile names nothing.
            let text = host.read_text(&Path::new(&dir).join(name))?.unwrap_or_default();
            found.extend(text.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| {
                let (key, value) = line.split_once([':', '='])?;
                matches!(key.trim(), "lxc.apparmor.profile" | "lxc.aa_profile").then(|| value.trim().to_owned())
            }));
        }
    }
    Ok(Some(found))
}

impl ApparmorLines {
    fn steps(&self, after: &str, seen: &Seen) -> Vec<Step> {
        let mut steps = vec![self.validation(after)];
        let write = Step::write(&self.path, after);
        if seen.enabled {
            let sentence = format!("{} was changed; apparmor_parser -r must load it", self.path);
            steps.extend(owed::steps(&self.load_word(), &sentence, vec![write], self.load(seen)));
        } else {
            steps.push(write);
        }
        steps
    }

    fn load(&self, seen: &Seen) -> Step {
        Step::run(["apparmor_parser", "-r", seen.loader.as_deref().unwrap_or(&self.path)])
    }

    /// What a change of this file owes.
    fn load_word(&self) -> String {
        format!("apparmor-load{}", self.path.replace('/', "-"))
    }

    /// Compiles the new text before anything is written: no load (-Q), no cache (-K). By standard input, because a
    /// file of `lxc/` needs the variables that only its loader includes.
    fn validation(&self, text: &str) -> Step {
        let has_tunables = text.lines().any(|line| {
            let line = line.trim().trim_start_matches('#');
            line.starts_with("include") && line.contains("<tunables/global>")
        });
        let prelude = if has_tunables { "" } else { "#include <tunables/global>\n" };
        Action::Run {
            argv: ["apparmor_parser", "-Q", "-K"].map(str::to_owned).to_vec(),
            stdin: Some(Bytes(format!("{prelude}{text}").into_bytes())),
            env: BTreeMap::new(),
            cwd: None,
            timeout_s: 120,
            ok_codes: vec![0],
        }
        .into()
    }

    /// The chosen way cannot work where no container uses the profile.
    fn warning(&self, profile: &str, seen: &Seen) -> Option<String> {
        let used = seen.container_profiles.as_ref()?;
        if !self.path.starts_with(LXC_DIR) || self.state == State::Absent || used.iter().any(|name| name == profile) {
            return None;
        }
        Some(format!(
            "no container uses the profile {profile}: since Proxmox VE 5.3 each gets a generated one, so these rules act \
             on none. Either add `lxc.apparmor.profile: {profile}` to the container's configuration, or give the \
             container `features: mount=nfsd;rpc_pipefs` instead of this task"
        ))
    }
}

impl Task for ApparmorLines {
    const KIND: &'static str = "apparmor_lines";
    const EXAMPLE: &'static str = "\
- name: Containers with LXC's default profile may serve NFS
  apparmor_lines:
    lines:
      - mount fstype=nfsd,
      - mount fstype=rpc_pipefs,
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = Vec::new();
        if self.lines.is_empty() {
            faults.push(ArgFault::at("lines", "there is no rule"));
        }
        for line in &self.lines {
            let rule = line.trim();
            if rule.contains('\n') || rule.contains(['{', '}']) && !rule.ends_with(',') {
                faults.push(ArgFault::at("lines", format!("`{rule}` is not one rule")));
            } else if !rule.ends_with(',') {
                faults.push(
                    ArgFault::at("lines", format!("`{rule}` does not end as a rule")).help("rules end with a comma"),
                );
            }
        }
        if !self.path.starts_with('/') {
            faults.push(ArgFault::at("path", "the path is not absolute"));
        }
        faults
    }

    fn object(&self) -> String {
        self.path.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.path.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let path = Path::new(&self.path);
        let in_lxc = path.parent() == Some(Path::new(LXC_DIR));
        let loader = in_lxc && host.stat(Path::new(LXC_LOADER))?.is_some();
        Ok(Seen {
            text: host.read_text(path)?,
            enabled: host.read_text(Path::new(ENABLED))?.is_some_and(|text| text.trim() == "Y"),
            owed: owed::look(host, &self.load_word())?,
            loader: loader.then(|| LXC_LOADER.to_owned()),
            container_profiles: if in_lxc { container_profiles(host)? } else { None },
        })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let Some(text) = &seen.text else {
            return Verdict::blocked(format!("{} does not exist", self.path));
        };
        let block = match profile::find(text, self.profile.as_deref()) {
            Ok(block) => block,
            Err(why) => return Verdict::blocked(format!("{}: {why}", self.path)),
        };
        let after = match self.state {
            State::Present => profile::with(text, &block, &self.lines),
            State::Absent => profile::without(text, &block, &self.lines),
        };
        let mut verdict = if after == *text && seen.owed && seen.enabled {
            let summary = format!("load profile {}: an earlier run wrote it and did not get to that", block.name);
            Verdict::drift(summary, "", owed::pay(&self.load_word(), self.load(seen)))
        } else if after == *text {
            Verdict::ok(match self.state {
                State::Present => format!("profile {} has the rules", block.name),
                State::Absent => format!("profile {} does not have the rules", block.name),
            })
        } else {
            let verb = if self.state == State::Present { "add rules to" } else { "take rules out of" };
            let change = diff::unified(&self.path, text, &after);
            Verdict::drift(format!("{verb} profile {}", block.name), change, self.steps(&after, seen))
        };
        if !seen.enabled {
            verdict = verdict.warn("AppArmor is not enabled in the running kernel; the profile was not loaded");
        }
        if let Some(warning) = self.warning(&block.name, seen) {
            verdict = verdict.warn(warning);
        }
        verdict.data(json!({ "path": self.path, "profile": block.name }))
    }
}

#[cfg(test)]
mod tests;
