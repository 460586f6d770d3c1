//! What lies on a storage: listing, removing, uploads, and the appliance templates one can download.
//! File-based storages only. A downloaded template is a stand-in file: the lab unpacks by its name.

use super::call::{Call, Outcome};
use super::conf::Section;
use super::formats::parse_volume_id;
use super::request::Fault;
use super::site::Site;
use super::storage;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

/// Directory below the storage, by content type.
const DIRECTORIES: [(&str, &str); 4] =
    [("vztmpl", "template/cache"), ("iso", "template/iso"), ("backup", "dump"), ("snippets", "snippets")];

fn format_of(name: &str) -> &'static str {
    let ends = [(".tar.gz", "tgz"), (".tar.xz", "txz"), (".tar.zst", "tzst"), (".tar.bz2", "tbz2"), (".iso", "iso")];
    ends.iter().find(|(end, _)| name.ends_with(end)).map_or("snippet", |(_, format)| format)
}

/// The file behind `STORAGE:TYPE/NAME`, with its content type.
pub fn path_of(site: &dyn Site, node: &str, volume: &str) -> Result<(String, &'static str), String> {
    let (id, name) = parse_volume_id(volume)?;
    let entry = storage::get(site, node, id)?;
    let fault = || format!("unable to parse directory volume name '{name}'");
    let (kind, file) = name.split_once('/').ok_or_else(fault)?;
    let (kind, below) = DIRECTORIES.iter().find(|(word, _)| *word == kind).ok_or_else(fault)?;
    if file.contains('/') || file.starts_with('.') {
        return Err(fault());
    }
    let base = storage::directory(&entry).ok_or_else(|| format!("storage '{id}' is not file based"))?;
    Ok((format!("{}/{below}/{file}", base.trim_end_matches('/')), kind))
}

/// The check of a hookscript at create, update and before each call.
pub fn check_hookscript(site: &dyn Site, node: &str, volume: &str) -> Result<String, String> {
    let (path, kind) = path_of(site, node, volume)?;
    if kind != "snippets" {
        return Err(format!("'{volume}' is not in the snippets directory"));
    }
    match site.stat(node, &path) {
        None => Err(format!("script '{volume}' does not exist")),
        Some(file) if !file.executable => Err(format!("script '{volume}' is not executable")),
        Some(_) => Ok(path),
    }
}

fn entry(call: &Call) -> Result<Section, Fault> {
    storage::get(call.site, &call.node, call.param("storage")).map_err(Fault::die)
}

pub fn list(call: &mut Call) -> Outcome {
    let entry = entry(call)?;
    let node = call.node.clone();
    let Some(base) = storage::directory(&entry) else { return Ok(json!([])) };
    let mut out = Vec::new();
    for (kind, below) in DIRECTORIES {
        if call.get("content").is_some_and(|wanted| wanted != kind) || !storage::holds(&entry, kind) {
            continue;
        }
        let dir = format!("{}/{below}", base.trim_end_matches('/'));
        for name in call.site.list(&node, &dir) {
            let format = format_of(&name);
            let fits = match kind {
                "vztmpl" => format.starts_with('t'),
                "iso" => format == "iso",
                _ => true,
            };
            if let Some(file) = call.site.stat(&node, &format!("{dir}/{name}")).filter(|_| fits) {
                out.push(json!({
                    "volid": format!("{}:{kind}/{name}", entry.id), "content": kind, "format": format,
                    "size": file.size_bytes, "ctime": file.modified_s,
                }));
            }
        }
    }
    Ok(Value::Array(out))
}

pub fn delete(call: &mut Call) -> Outcome {
    let given = call.param("volume").to_string();
    let volume = if given.contains(':') { given } else { format!("{}:{given}", call.param("storage")) };
    call.need(&format!("/storage/{}", call.param("storage")), "Datastore.Allocate")?;
    let node = call.node.clone();
    let (path, _) = path_of(call.site, &node, &volume).map_err(Fault::die)?;
    if call.site.stat(&node, &path).is_none() {
        return Err(Fault::die(format!("volume '{volume}' does not exist")));
    }
    call.site.remove(&node, &path).map_err(Fault::die)?;
    let id = volume.replace(':', "@").replace('/', "-");
    Ok(call.task("imgdel", &id, vec![format!("Removed volume '{volume}'")], Ok(())))
}

pub fn upload(call: &mut Call) -> Outcome {
    let entry = entry(call)?;
    let kind = call.param("content").to_string();
    if !storage::holds(&entry, &kind) {
        return Err(Fault::param("content", format!("storage '{}' does not support '{kind}' content", entry.id)));
    }
    let Some((name, bytes)) = call.upload.take() else {
        return Err(Fault::param("filename", "property is missing and it is not optional"));
    };
    let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = name.rsplit('/').next().unwrap_or_default().chars().map(clean).collect();
    let fits = match kind.as_str() {
        "vztmpl" => format_of(&name).starts_with('t'),
        "iso" => name.ends_with(".iso") || name.ends_with(".img"),
        _ => false,
    };
    if !fits {
        return Err(Fault::param("filename", "wrong file extension"));
    }
    if let Some(wanted) = call.get("checksum") {
        let found = match call.get("checksum-algorithm") {
            Some("sha512") => super::state::hex(&Sha512::digest(&bytes)),
            _ => super::state::hex(&Sha256::digest(&bytes)),
        };
        if found != wanted {
            let text = format!("checksum mismatch: got '{found}' != expect '{wanted}'");
            return Ok(call.task("imgcopy", "", vec!["calculating checksum...".into()], Err(text)));
        }
    }
    let (path, _) = path_of(call.site, &call.node, &format!("{}:{kind}/{name}", entry.id)).map_err(Fault::die)?;
    let node = call.node.clone();
    call.site.write(&node, &path, &bytes).map_err(Fault::die)?;
    let log = vec![
        format!("target file: {path}"),
        format!("file size is: {} B", bytes.len()),
        "finished file import successfully".into(),
    ];
    Ok(call.task("imgcopy", "", log, Ok(())))
}

struct Appliance {
    name: &'static str,
    os: &'static str,
    version: &'static str,
    headline: &'static str,
}

const APPLIANCES: [Appliance; 5] = [
    Appliance {
        name: "debian-12-standard_12.12-1_amd64.tar.zst",
        os: "debian-12",
        version: "12.12-1",
        headline: "Debian 12 Bookworm (standard)",
    },
    Appliance {
        name: "debian-13-standard_13.1-2_amd64.tar.zst",
        os: "debian-13",
        version: "13.1-2",
        headline: "Debian 13 Trixie (standard)",
    },
    Appliance {
        name: "ubuntu-22.04-standard_22.04-1_amd64.tar.zst",
        os: "ubuntu-22.04",
        version: "22.04-1",
        headline: "Ubuntu 22.04 Jammy (standard)",
    },
    Appliance {
        name: "ubuntu-24.04-standard_24.04-2_amd64.tar.zst",
        os: "ubuntu-24.04",
        version: "24.04-2",
        headline: "Ubuntu 24.04 Noble (standard)",
    },
    Appliance {
        name: "alpine-3.22-default_20250617_amd64.tar.xz",
        os: "alpine",
        version: "20250617",
        headline: "LXC default image for alpine 3.22",
    },
];

/// What stands in a downloaded file.
pub fn stand_in(name: &str) -> Vec<u8> {
    format!("container template {name} of the lab\n").into_bytes()
}

pub fn appliances(_: &mut Call) -> Outcome {
    let show = |a: &Appliance| {
        json!({
            "template": a.name, "package": a.name.split('_').next(), "os": a.os, "version": a.version,
            "headline": a.headline, "type": "lxc", "section": "system", "architecture": "amd64",
            "source": "http://download.proxmox.com/images", "location": format!("system/{}", a.name),
            "sha512sum": super::state::hex(&Sha512::digest(stand_in(a.name))),
            "infopage": "https://pve.proxmox.com/wiki/Linux_Container", "maintainer": "Proxmox Support Team",
            "description": a.headline, "manageurl": "",
        })
    };
    Ok(APPLIANCES.iter().map(show).collect())
}

pub fn download(call: &mut Call) -> Outcome {
    let name = call.param("template").to_string();
    let entry = entry(call)?;
    if !APPLIANCES.iter().any(|a| a.name == name) {
        return Err(Fault::param("template", "no such template"));
    }
    call.need(&format!("/storage/{}", entry.id), "Datastore.AllocateTemplate")?;
    if !storage::holds(&entry, "vztmpl") {
        return Err(Fault::die(format!(
            "cannot download to storage '{}', not configured for content type 'vztmpl'",
            entry.id
        )));
    }
    let node = call.node.clone();
    let (path, _) = path_of(call.site, &node, &format!("{}:vztmpl/{name}", entry.id)).map_err(Fault::die)?;
    let url = format!("http://download.proxmox.com/images/system/{name}");
    let mut log = vec![format!("downloading {url} to {path}")];
    let content = stand_in(&name);
    let result = match call.site.read(&node, &path) {
        Some(old) if old == content => {
            log.push("OK, got correct file already, no need to download".into());
            Ok(())
        }
        Some(old) => {
            let (got, expect) = (Sha512::digest(old), Sha512::digest(&content));
            let (got, expect) = (super::state::hex(&got), super::state::hex(&expect));
            Err(format!("mismatch (got '{got}' != expect '{expect}'), aborting"))
        }
        None => {
            log.push("download of template finished".into());
            call.site.write(&node, &path, &content)
        }
    };
    Ok(call.task("download", "", log, result))
}
