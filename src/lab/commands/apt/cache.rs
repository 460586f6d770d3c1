//! `apt-cache`: what is on offer.

use super::universe::Archive;
use super::{all_offers, candidate, candidates, installed_version};
use crate::host::Output;
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, not_simulated};

pub fn apt_cache(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "qo:", &["quiet", "no-all-versions", "option=", "names-only"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let Some((verb, names)) = options.rest.split_first() else {
        return not_simulated(argv, "apt-cache without a command");
    };
    match verb.as_str() {
        "policy" => policy(ctx, names),
        "show" => show(ctx, names),
        "madison" => madison(ctx, names),
        "pkgnames" => {
            let mut known: Vec<&str> = all_offers(ctx.system().debian)
                .iter()
                .filter(|o| {
                    !candidates(ctx, &o.name).is_empty() && names.iter().all(|p| o.name.starts_with(p.as_str()))
                })
                .map(|o| o.name.as_str())
                .collect();
            known.sort_unstable();
            known.dedup();
            Output::ok(known.iter().map(|n| format!("{n}\n")).collect::<String>())
        }
        _ => not_simulated(argv, &format!("`apt-cache {verb}`")),
    }
}

fn component(archive: Archive) -> &'static str {
    match archive {
        Archive::Debian => "main",
        Archive::Proxmox => "pve-no-subscription",
        Archive::Linbit => "drbd-9",
    }
}

/// A name that nobody knows is passed over in silence, with exit code 0.
fn policy(ctx: &Ctx, names: &[String]) -> Output {
    let mut text = String::new();
    for name in names {
        let offers = candidates(ctx, name);
        let installed = installed_version(ctx, name);
        if offers.is_empty() && installed.is_none() {
            continue;
        }
        let best = candidate(ctx, name).map(|(o, _)| o.version.clone()).or_else(|| installed.clone());
        text.push_str(&format!(
            "{name}:\n  Installed: {}\n  Candidate: {}\n  Version table:\n",
            installed.as_deref().unwrap_or("(none)"),
            best.as_deref().unwrap_or("(none)")
        ));
        let mut own_shown = false;
        for (offer, source) in &offers {
            let here = installed.as_deref() == Some(&offer.version);
            own_shown |= here;
            text.push_str(&format!(" {} {} 500\n", if here { "***" } else { "   " }, offer.version));
            text.push_str(&format!(
                "        500 {} {}/{} amd64 Packages\n",
                source.uri.trim_end_matches('/'),
                source.suite,
                component(offer.archive)
            ));
            if here {
                text.push_str("        100 /var/lib/dpkg/status\n");
            }
        }
        if let (Some(version), false) = (&installed, own_shown) {
            text.push_str(&format!(" *** {version} 100\n        100 /var/lib/dpkg/status\n"));
        }
    }
    Output::ok(text)
}

fn show(ctx: &Ctx, names: &[String]) -> Output {
    let mut output = Output::default();
    for name in names {
        let offers = candidates(ctx, name);
        if offers.is_empty() {
            output.rc = 100;
            output.stderr.push_str(&format!("N: Unable to locate package {name}\n"));
        }
        for (offer, _) in offers {
            let depends = if offer.depends.is_empty() {
                String::new()
            } else {
                format!("Depends: {}\n", offer.depends.join(", "))
            };
            output.stdout.push_str(&format!(
                "Package: {name}\nVersion: {}\nArchitecture: {}\n{depends}Description: {}\n\n",
                offer.version, offer.architecture, offer.summary
            ));
        }
    }
    if output.rc != 0 {
        output.stderr.push_str("E: No packages found\n");
    }
    output
}

fn madison(ctx: &Ctx, names: &[String]) -> Output {
    let mut text = String::new();
    for name in names {
        for (offer, source) in candidates(ctx, name) {
            text.push_str(&format!(
                "{name:>10} | {:>10} | {} {}/{} amd64 Packages\n",
                offer.version,
                source.uri.trim_end_matches('/'),
                source.suite,
                component(offer.archive)
            ));
        }
    }
    Output::ok(text)
}
