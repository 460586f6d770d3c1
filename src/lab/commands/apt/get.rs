//! `apt-get`: indexes, and installing and removing with dependencies.

use super::transaction::{Plan, Wish, carry_out, plan};
use super::universe::release_of;
use super::{all_offers, installed, sources};
use crate::host::Output;
use crate::lab::commands::options::Options;
use crate::lab::commands::{Ctx, not_simulated};
use std::collections::BTreeSet;

pub fn apt_get(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let long = [
        "yes",
        "assume-yes",
        "quiet",
        "option=",
        "no-install-recommends",
        "install-recommends",
        "allow-downgrades",
        "only-upgrade",
        "purge",
        "auto-remove",
        "autoremove",
        "simulate",
        "dry-run",
        "just-print",
        "no-remove",
        "reinstall",
        "fix-broken",
        "default-release=",
        "allow-change-held-packages",
        "no-upgrade",
        "force-yes",
        "allow-unauthenticated",
        "allow-releaseinfo-change",
        "trivial-only",
        "quiet=?",
    ];
    let options = match Options::parse(argv, "yqso:ft:", &long) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let Some((verb, names)) = options.rest.split_first() else {
        return not_simulated(argv, "apt-get without a command");
    };
    if let Some(holder) = ctx.text("/var/lib/dpkg/lock-frontend").filter(|t| !t.is_empty()) {
        return Output::failed(
            100,
            format!(
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process {}\nN: Be aware that removing the lock file is not a solution and may break your system.\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n",
                holder.trim()
            ),
        );
    }
    let wish = match verb.as_str() {
        "update" => return update(ctx),
        "install" => Wish::Install(names),
        "remove" => Wish::Remove { names, purge: options.has(&["purge"]) },
        "purge" => Wish::Remove { names, purge: true },
        "upgrade" | "dist-upgrade" | "full-upgrade" => Wish::Upgrade { may_add: verb != "upgrade" },
        "autoremove" | "auto-remove" => Wish::AutoRemove { purge: options.has(&["purge"]) },
        "clean" | "autoclean" | "check" => return Output::default(),
        _ => return not_simulated(argv, &format!("`apt-get {verb}`")),
    };
    if let Err(text) = sources::configured(ctx) {
        return Output::failed(100, text);
    }
    let mut plan = match plan(ctx, &wish, &options) {
        Ok(plan) => plan,
        Err(why) => {
            let head = "Reading package lists...\nBuilding dependency tree...\nReading state information...\n";
            return Output { rc: 100, stdout: head.into(), stderr: why };
        }
    };
    let wants_autoremove = options.has(&["auto-remove", "autoremove"]);
    if wants_autoremove || matches!(wish, Wish::AutoRemove { .. }) {
        plan.add_unneeded(ctx);
    }
    let text = describe(ctx, &plan);
    if options.has(&["s", "simulate", "dry-run", "just-print"]) {
        return Output::ok(format!("{text}{}", simulated(ctx, &plan)));
    }
    if !plan.install.is_empty() || !plan.remove.is_empty() {
        if !plan.held_touched.is_empty() && !options.has(&["allow-change-held-packages"]) {
            return Output {
                rc: 100,
                stdout: text,
                stderr: "E: Held packages were changed and -y was used without --allow-change-held-packages.\n".into(),
            };
        }
        if !plan.downgrades.is_empty() && !options.has(&["allow-downgrades"]) {
            return Output {
                rc: 100,
                stdout: text,
                stderr: "E: Packages were downgraded and -y was used without --allow-downgrades.\n".into(),
            };
        }
        let extra = plan.install.len() > names.len() || !plan.remove.is_empty() || matches!(wish, Wish::Upgrade { .. });
        if extra && !options.has(&["y", "yes", "assume-yes", "force-yes"]) {
            return Output {
                rc: 1,
                stdout: format!("{text}Do you want to continue? [Y/n] Abort.\n"),
                stderr: String::new(),
            };
        }
    }
    let mut done = carry_out(ctx, &plan);
    done.stdout = format!("{text}{}", done.stdout);
    done
}

fn describe(ctx: &Ctx, plan: &Plan) -> String {
    let mut text = "Reading package lists...\nBuilding dependency tree...\nReading state information...\n".to_owned();
    let now = installed(ctx.system());
    let there = |n: &String| now.get(n).is_some_and(|p| !p.config_only);
    let join = |names: Vec<String>| names.join(" ");
    let new: Vec<String> = plan.install.iter().filter(|(o, _)| !there(&o.name)).map(|(o, _)| o.name.clone()).collect();
    let upgraded: Vec<String> =
        plan.install.iter().filter(|(o, _)| there(&o.name)).map(|(o, _)| o.name.clone()).collect();
    for note in &plan.notes {
        text.push_str(note);
    }
    for (head, list) in [
        ("The following packages will be REMOVED:", plan.remove.iter().cloned().collect()),
        ("The following NEW packages will be installed:", new.clone()),
        ("The following packages have been kept back:", plan.kept_back.clone()),
        ("The following packages will be upgraded:", upgraded.clone()),
    ] {
        if !list.is_empty() {
            text.push_str(&format!("{head}\n  {}\n", join(list)));
        }
    }
    text.push_str(&format!(
        "{} upgraded, {} newly installed, {} to remove and {} not upgraded.\n",
        upgraded.len(),
        new.len(),
        plan.remove.len(),
        plan.kept_back.len()
    ));
    text
}

fn simulated(ctx: &Ctx, plan: &Plan) -> String {
    let debian = ctx.system().debian;
    let now = installed(ctx.system());
    let mut text = String::new();
    for name in &plan.remove {
        let version = now.get(name).map(|p| p.version.clone()).unwrap_or_default();
        text.push_str(&format!("{} {name} [{version}]\n", if plan.purge { "Purg" } else { "Remv" }));
    }
    for word in ["Inst", "Conf"] {
        for (offer, _) in &plan.install {
            let from = now
                .get(&offer.name)
                .filter(|p| !p.config_only && word == "Inst")
                .map(|p| format!("[{}] ", p.version))
                .unwrap_or_default();
            text.push_str(&format!(
                "{word} {} {from}({} {} [{}])\n",
                offer.name,
                offer.version,
                release_of(offer.archive, debian),
                offer.architecture
            ));
        }
    }
    text
}

/// Fetches the indexes of all sources. A source that cannot be used leaves its old index and makes apt fail.
fn update(ctx: &mut Ctx) -> Output {
    let sources = match sources::configured(ctx) {
        Ok(sources) => sources,
        Err(text) => return Output::failed(100, text),
    };
    let mut output = Output::default();
    let mut indexes = BTreeSet::new();
    let debian = ctx.system().debian;
    for (n, source) in sources.iter().enumerate() {
        let n = n + 1;
        let place = format!("{} {}", source.uri.trim_end_matches('/'), source.suite);
        let Some(archive) = source.archive() else {
            output.stdout.push_str(&format!("Err:{n} {place} InRelease\n  Could not resolve '{}'\n", source.host()));
            output.stderr.push_str(&format!("W: Failed to fetch {}/dists/{}/InRelease  Could not resolve '{}'\nW: Some index files failed to download. They have been ignored, or old ones used instead.\n", source.uri.trim_end_matches('/'), source.suite, source.host()));
            continue;
        };
        if !suite_exists(source, debian) {
            output.stdout.push_str(&format!("Ign:{n} {place} InRelease\nErr:{n} {place} Release\n  404  Not Found\n"));
            output.stderr.push_str(&format!("E: The repository '{place} Release' does not have a Release file.\n"));
            output.rc = 100;
            continue;
        }
        if source.host() == "enterprise.proxmox.com" {
            output.stdout.push_str(&format!("Err:{n} {place} InRelease\n  401  Unauthorized\n"));
            output.stderr.push_str(&format!("E: Failed to fetch {}/dists/{}/InRelease  401  Unauthorized\nE: The repository '{place} InRelease' is not signed.\n", source.uri.trim_end_matches('/'), source.suite));
            output.rc = 100;
            continue;
        }
        if let Some(fault) = sources::key_fault(ctx, source) {
            output.stdout.push_str(&format!("Err:{n} {place} InRelease\n  The following signatures couldn't be verified because the public key is not available: {fault}\n"));
            output.stderr.push_str(&format!("W: GPG error: {place} InRelease: The following signatures couldn't be verified because the public key is not available: {fault}\nE: The repository '{place} InRelease' is not signed.\n"));
            output.rc = 100;
            continue;
        }
        let _ = archive;
        let name = source.index_name();
        let word = if ctx.system().apt_indexes.contains(&name) { "Hit" } else { "Get" };
        output.stdout.push_str(&format!("{word}:{n} {place} InRelease\n"));
        indexes.insert(name);
    }
    output.stdout.push_str("Reading package lists...\n");
    if let Err(e) = keep_indexes(ctx, &indexes) {
        return Output::failed(100, format!("E: {e}\n"));
    }
    // Indexes of sources that failed stay as they were.
    let configured: BTreeSet<String> = sources.iter().map(sources::Source::index_name).collect();
    let now = ctx.world.now_s();
    let system = ctx.system_mut();
    system.apt_indexes.retain(|i| configured.contains(i));
    system.apt_indexes.extend(indexes);
    system.apt_updated_at_s = Some(now);
    output
}

fn suite_exists(source: &sources::Source, debian: u32) -> bool {
    use super::universe::Archive;
    let code = crate::lab::base::codename(debian);
    match source.archive() {
        Some(Archive::Debian) => {
            ["", "-updates", "-security", "-backports"].iter().any(|s| source.suite == format!("{code}{s}"))
                || source.suite == "stable"
        }
        Some(Archive::Proxmox) => source.suite == code,
        Some(Archive::Linbit) => ["proxmox-7", "proxmox-8", "proxmox-9"].contains(&source.suite.as_str()),
        None => false,
    }
}

/// The files whose times tell when the indexes were fetched.
fn keep_indexes(ctx: &mut Ctx, indexes: &BTreeSet<String>) -> Result<(), crate::lab::files::FileError> {
    let mut writer = ctx.writer();
    writer.create_dir_all("/var/lib/apt/lists/partial")?;
    for name in indexes {
        writer.write(&format!("/var/lib/apt/lists/{name}"), b"Origin: lab\n")?;
    }
    writer.ship("/var/cache/apt/pkgcache.bin", b"lab\n", 0o644)?;
    writer.ship("/var/lib/apt/periodic/update-success-stamp", b"", 0o644)
}

/// Whether a name is one that some archive has, fetched or not.
pub(super) fn known(ctx: &Ctx, name: &str) -> bool {
    all_offers(ctx.system().debian).iter().any(|o| o.name == name)
}
