//! `drbdadm dump`: the configuration in drbdadm's own layout.

use super::Run;
use crate::drbd::res::quote;
use crate::drbd::resource::{Backing, MetaDisk, Options, Volume};
use crate::lab::drbd::config::{Config, Wanted};
use std::fmt::Write as _;

pub fn all(run: &mut Run, config: &Config) -> i32 {
    run.say("# /etc/drbd.conf\n");
    for section in ["global", "common"] {
        let bodies = config.sources.iter().flat_map(|s| &s.file.other).filter(|s| s.keyword() == section);
        for statement in bodies.clone() {
            let text = crate::drbd::res::render(std::slice::from_ref(statement));
            run.say(text);
            run.say("\n");
        }
    }
    for wanted in &config.wanted {
        one(run, wanted);
    }
    0
}

fn options(out: &mut String, indent: usize, name: &str, options: &Options) {
    if options.is_empty() {
        return;
    }
    let pad = " ".repeat(indent);
    let _ = writeln!(out, "{pad}{name} {{");
    let mut names: Vec<&String> = options.keys().collect();
    names.sort_by_key(|n| n.as_str() != "protocol");
    for key in names {
        let value = &options[key];
        match value.as_str() {
            "" => drop(writeln!(out, "{pad}    {key};")),
            _ if key == "protocol" => drop(writeln!(out, "{pad}    {key:<18} {value};")),
            _ => drop(writeln!(out, "{pad}    {key:<16} {};", quote(value))),
        }
    }
    let _ = writeln!(out, "{pad}}}");
}

fn volume(out: &mut String, indent: usize, volume: &Volume) {
    let pad = " ".repeat(indent);
    let width = 24 - indent;
    if let Some(device) = &volume.device {
        let path = device.path().unwrap_or_default();
        let minor = device.minor().unwrap_or(0);
        let _ = writeln!(out, "{pad}{:<width$} {path} minor {minor};", "device");
    }
    if let Some(disk) = &volume.disk {
        let disk = match disk {
            Backing::None => "none".to_owned(),
            Backing::Path(path) => quote(path),
        };
        let _ = writeln!(out, "{pad}{:<width$} {disk};", "disk");
    }
    match &volume.meta_disk {
        Some(MetaDisk::Internal) => drop(writeln!(out, "{pad}{:<width$} internal;", "meta-disk")),
        Some(MetaDisk::External { path, .. }) => drop(writeln!(out, "{pad}{:<width$} {};", "meta-disk", quote(path))),
        None => {}
    }
}

pub fn one(run: &mut Run, wanted: &Wanted) -> i32 {
    let r = &wanted.resource;
    let mut out = format!(
        "# resource {} on {}: not ignored, not stacked\n# defined at {}:{}\nresource {} {{\n",
        r.name,
        run.node,
        wanted.file,
        r.place.line,
        quote(&r.name)
    );
    let shared = r.volumes.get(&0).cloned().unwrap_or_default();
    volume(&mut out, 4, &shared);
    for host in &r.hosts {
        let _ = writeln!(out, "    on {} {{", host.names.join(" "));
        if let Some(id) = host.node_id {
            let _ = writeln!(out, "        node-id {id};");
        }
        let mut own = host.volumes.get(&0).cloned().unwrap_or_default();
        own.meta_disk = own.meta_disk.filter(|m| shared.meta_disk.as_ref() != Some(m));
        volume(&mut out, 8, &own);
        if let Some(address) = &host.address {
            let _ = writeln!(out, "        {:<16} {address};", "address");
        }
        out.push_str("    }\n");
    }
    for mesh in &r.meshes {
        let _ = writeln!(out, "    connection-mesh {{\n        hosts {};", mesh.hosts.join(" "));
        options(&mut out, 8, "net", &mesh.net);
        out.push_str("    }\n");
    }
    for connection in &r.connections {
        let _ =
            writeln!(out, "    connection{} {{", connection.name.as_ref().map_or(String::new(), |n| format!(" {n}")));
        for (host, address) in &connection.ends {
            let address = address.as_ref().map_or(String::new(), |a| format!(" address {a}"));
            let _ = writeln!(out, "        host {host}{address};");
        }
        options(&mut out, 8, "net", &connection.net);
        out.push_str("    }\n");
    }
    options(&mut out, 4, "options", &r.options);
    options(&mut out, 4, "net", &r.net);
    options(&mut out, 4, "disk", &r.disk);
    options(&mut out, 4, "startup", &r.startup);
    options(&mut out, 4, "handlers", &r.handlers);
    out.push_str("}\n\n");
    run.say(out);
    0
}
