//! What drbdadm answers without touching a resource: its version, single facts, and refusals under DRBD 8.4.

use super::Run;
use crate::lab::drbd::config::{Config, Wanted};

/// The programs for 8.4, which do not know the words of 9.
pub fn under_84(run: &mut Run, config: &Config) -> i32 {
    for source in &config.sources {
        for statement in source.statements.iter().filter(|s| s.keyword() == "resource") {
            for on in statement.body.iter().flatten().filter(|s| s.keyword() == "on") {
                if let Some(id) = on.body.iter().flatten().find(|s| s.keyword() == "node-id") {
                    run.complain(format!(
                        "{}:{}: Parse error: 'disk | device | address | meta-disk | flexible-meta-disk' expected,\n\tbut got 'node-id'\n",
                        source.short,
                        id.place().line
                    ));
                    return 10;
                }
            }
        }
    }
    if config.wanted.is_empty() {
        run.complain("no resources defined!\n");
        return 1;
    }
    run.complain("drbdadm: the lab simulates no resources under DRBD 8.4\n");
    125
}

pub fn version(run: &mut Run) -> i32 {
    let loaded = run.machines.module_loaded(run.node).unwrap_or_default();
    let mut numbers = loaded.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    let code = (0..3).fold(0, |code, _| code << 8 | numbers.next().unwrap_or(0));
    let utils = run.machines.utils_version(run.node);
    let mut parts = utils.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let utils_code = (0..3).fold(0, |code, _| code << 8 | parts.next().unwrap_or(0));
    let api = if loaded.starts_with("8.") { 1 } else { 2 };
    run.say(format!(
        "DRBDADM_BUILDTAG=GIT-hash:\\ 409097fe02187f83790b88ac3e0d94f3c167adab\\ reproducible\\ build\\,\\ 2024-07-17\\ 17:22:06\n\
         DRBDADM_API_VERSION={api}\nDRBD_KERNEL_VERSION_CODE=0x{code:06x}\n"
    ));
    match loaded.as_str() {
        "" => run.say("DRBD_KERNEL_VERSION=0\n"),
        v if v.starts_with("8.") => {}
        v => run.say(format!("DRBD_KERNEL_VERSION={v}\n")),
    }
    run.say(format!("DRBDADM_VERSION_CODE=0x{utils_code:06x}\nDRBDADM_VERSION={utils}\n"));
    0
}

/// `sh-*`: single facts for shell scripts.
pub fn sh(run: &mut Run, command: &str, wanted: &Wanted) -> i32 {
    let disk = wanted.disk.clone().unwrap_or_else(|| "none".into());
    let text = match command {
        "sh-dev" => wanted.device.clone(),
        "sh-ll-dev" | "sh-md-dev" => disk,
        "sh-md-idx" => "internal".into(),
        "sh-minor" => wanted.minor.to_string(),
        "sh-ip" => {
            let local = wanted.peers.first().map(|p| p.path.local.clone()).unwrap_or_default();
            local.split(':').nth(1).unwrap_or_default().to_owned()
        }
        other => {
            run.complain(format!("drbdadm: the lab does not simulate {other}\n"));
            return 125;
        }
    };
    run.say(text + "\n");
    0
}
