//! What a `.res` file means: resources with their hosts, volumes, connections and options.
//!
//! Reads the statements of [`super::res`]; statements it does not know are kept in `other` and written again.

mod read;
mod write;

pub use write::{section, section_quoted};

use super::res::{Fault, Place, Statement};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Options of one section by name; a flag without a value has an empty one.
pub type Options = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub name: String,
    pub place: Place,
    pub options: Options,
    /// With `protocol`, also where the file has it outside of `net`.
    pub net: Options,
    pub disk: Options,
    pub startup: Options,
    pub handlers: Options,
    /// What volumes have on every host, unless the host says otherwise. Volume 0 is implied by a bare `device`.
    pub volumes: BTreeMap<u32, Volume>,
    pub hosts: Vec<OnHost>,
    pub meshes: Vec<Mesh>,
    pub connections: Vec<Connection>,
    pub other: Vec<Statement>,
}

/// A volume as far as one level of the file describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub device: Option<Device>,
    pub disk: Option<Backing>,
    pub meta_disk: Option<MetaDisk>,
    pub disk_options: Options,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub path: Option<String>,
    pub minor: Option<u32>,
}

impl Device {
    /// The minor, also where only `/dev/drbd100` says it.
    pub fn minor(&self) -> Option<u32> {
        self.minor.or_else(|| self.path.as_deref().and_then(minor_of_path))
    }

    pub fn path(&self) -> Option<String> {
        self.path.clone().or_else(|| self.minor.map(|minor| format!("/dev/drbd{minor}")))
    }
}

/// `/dev/drbd100` or `drbd100` → 100.
pub fn minor_of_path(path: &str) -> Option<u32> {
    path.strip_prefix("/dev/").unwrap_or(path).strip_prefix("drbd")?.parse().ok()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    Path(String),
    /// `disk none`: the host takes part without a disk.
    None,
}

impl Backing {
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Path(path) => Some(path),
            Self::None => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetaDisk {
    Internal,
    External { path: String, index: Option<u32> },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// `ipv4`, `ipv6`, `ssocks`, `sdp`.
    pub family: String,
    pub ip: String,
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.ip.contains(':') {
            write!(f, "{} [{}]:{}", self.family, self.ip, self.port)
        } else {
            write!(f, "{} {}:{}", self.family, self.ip, self.port)
        }
    }
}

impl Address {
    /// `192.168.2.11:7000` or `[fe80::1]:7000`, with the family where it is not to be guessed.
    pub fn parse(family: Option<&str>, text: &str) -> Result<Self, String> {
        let (ip, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(|| format!("`{text}` is not [IPv6]:PORT"))?,
            None => text.rsplit_once(':').ok_or_else(|| format!("`{text}` has no port: IP:PORT expected"))?,
        };
        let port: u16 = match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("port {port} is out of range [1..65535]")),
        };
        let bare = ip.split('%').next().unwrap_or(ip);
        let family = match family {
            Some(family) => family,
            None if bare.parse::<std::net::Ipv6Addr>().is_ok() => "ipv6",
            None => "ipv4",
        };
        let right = if family == "ipv6" {
            bare.parse::<std::net::Ipv6Addr>().is_ok() && text.starts_with('[')
        } else {
            bare.parse::<std::net::Ipv4Addr>().is_ok()
        };
        if !right {
            return Err(format!("`{ip}` is not an {family} address"));
        }
        Ok(Self { family: family.to_owned(), ip: ip.to_owned(), port })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnHost {
    /// Must equal `uname -n` there. Several names share one section where a floating address moves.
    pub names: Vec<String>,
    pub place: Place,
    pub node_id: Option<u32>,
    pub address: Option<Address>,
    pub volumes: BTreeMap<u32, Volume>,
    pub options: Options,
    pub other: Vec<Statement>,
}

impl OnHost {
    pub fn is(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mesh {
    pub hosts: Vec<String>,
    pub net: Options,
    pub other: Vec<Statement>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub name: Option<String>,
    pub ends: Vec<(String, Option<Address>)>,
    pub net: Options,
    pub other: Vec<Statement>,
}

/// A whole file: its resources and what else it holds (`global`, `common`, `include`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub resources: Vec<Resource>,
    pub other: Vec<Statement>,
}

impl File {
    pub fn read(text: &str) -> Result<Self, Fault> {
        let mut file = Self::default();
        for statement in super::res::parse(text)? {
            match (statement.keyword(), &statement.body) {
                ("resource", Some(_)) => file.resources.push(Resource::read(&statement)?),
                ("global" | "common" | "skip", Some(_)) | ("include", None) => file.other.push(statement),
                (word, None) if word.starts_with("require-drbd-module-version") => file.other.push(statement),
                (word, _) => {
                    let message = format!("'global | common | resource | skip | include' expected, but got '{word}'");
                    return Err(Fault::new(statement.place(), message));
                }
            }
        }
        Ok(file)
    }

    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|r| r.name == name)
    }

    /// The options of a section in `common`.
    pub fn common(&self, section: &str) -> Options {
        let bodies = self.other.iter().filter(|s| s.keyword() == "common").filter_map(|s| s.body.as_ref());
        let sections = bodies.flatten().filter(|s| s.keyword() == section).filter_map(|s| s.body.as_ref());
        sections.flatten().filter_map(|s| read::option(s).ok()).collect()
    }
}

impl Resource {
    pub fn host(&self, name: &str) -> Option<&OnHost> {
        self.hosts.iter().find(|h| h.is(name))
    }

    /// The volume numbers of the resource, on whatever level they stand.
    pub fn volume_numbers(&self) -> Vec<u32> {
        let mut all: Vec<u32> =
            self.volumes.keys().chain(self.hosts.iter().flat_map(|h| h.volumes.keys())).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// A volume as it is on one host: the host's words before those of the resource.
    pub fn volume_on(&self, host: &OnHost, number: u32) -> Volume {
        let mut volume = self.volumes.get(&number).cloned().unwrap_or_default();
        if let Some(own) = host.volumes.get(&number) {
            volume.device = own.device.clone().or(volume.device);
            volume.disk = own.disk.clone().or(volume.disk);
            volume.meta_disk = own.meta_disk.clone().or(volume.meta_disk);
            volume.disk_options.extend(own.disk_options.clone());
        }
        volume.meta_disk = volume.meta_disk.or(Some(MetaDisk::Internal));
        volume
    }

    /// Every pair of hosts that shall be connected, each once, smaller name first.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut add = |a: &str, b: &str| {
            let pair = if a < b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) };
            if a != b && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        };
        for mesh in &self.meshes {
            for (i, a) in mesh.hosts.iter().enumerate() {
                for b in &mesh.hosts[i + 1..] {
                    add(a, b);
                }
            }
        }
        for connection in &self.connections {
            if let [(a, _), (b, _)] = &connection.ends[..] {
                add(a, b);
            }
        }
        // Two hosts need no word about their connection.
        if self.meshes.is_empty()
            && self.connections.is_empty()
            && let [a, b] = &self.hosts[..]
        {
            add(a.name(), b.name());
        }
        pairs.sort();
        pairs
    }
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
