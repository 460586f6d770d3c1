//! What a `.res` file means: resources with their hosts, volumes, connections and options.
//!
//! Reads the statements of [`super::res`]; statements it does not know are kept in `other` and written again.

use super::res::{Fault, Place, Statement, Word, is_bare};
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
        sections.flatten().filter_map(|s| option(s).ok()).collect()
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

    pub fn read(statement: &Statement) -> Result<Self, Fault> {
        let [_, name] = &statement.words[..] else {
            return Err(Fault::new(statement.place(), "resource NAME { … } expected"));
        };
        let mut found = Self { name: name.text.clone(), place: statement.place(), ..Self::default() };
        for inner in statement.body.iter().flatten() {
            match (inner.keyword(), &inner.body) {
                ("options", Some(body)) => read_options(body, &mut found.options)?,
                ("net", Some(body)) => read_options(body, &mut found.net)?,
                ("disk", Some(body)) => read_options(body, &mut found.disk)?,
                ("startup", Some(body)) => read_options(body, &mut found.startup)?,
                ("handlers", Some(body)) => read_options(body, &mut found.handlers)?,
                ("protocol", None) => found.net.extend([option(inner)?]),
                ("on" | "floating" | "_this_host", Some(_)) => found.hosts.push(read_host(inner)?),
                ("connection-mesh", Some(body)) => found.meshes.push(read_mesh(body)?),
                ("connection", Some(body)) => found.connections.push(read_connection(inner, body)?),
                ("volume", Some(_)) | ("device" | "disk" | "meta-disk" | "flexible-meta-disk", None) => {
                    read_volume_statement(inner, &mut found.volumes)?;
                }
                ("stacked-on-top-of" | "ignore-on" | "template-file" | "skip" | "proxy", _) => {
                    found.other.push(inner.clone());
                }
                (word, _) => {
                    let message = format!(
                        "'protocol | on | disk | net | options | startup | handlers | connection | connection-mesh | \
                         volume | device | meta-disk' expected, but got '{word}'"
                    );
                    return Err(Fault::new(inner.place(), message));
                }
            }
        }
        Ok(found)
    }

    /// The resource as a statement in a fixed order, ready for [`super::res::render`].
    pub fn to_statement(&self) -> Statement {
        let mut body = Vec::new();
        for (name, options) in [("options", &self.options), ("net", &self.net), ("disk", &self.disk)] {
            body.extend(section(name, options));
        }
        body.extend(section("startup", &self.startup));
        body.extend(section_quoted("handlers", &self.handlers));
        body.extend(volumes_to_statements(&self.volumes));
        body.extend(self.hosts.iter().map(OnHost::to_statement));
        for connection in &self.connections {
            body.push(connection.to_statement());
        }
        for mesh in &self.meshes {
            let mut words = vec!["hosts".to_owned()];
            words.extend(mesh.hosts.iter().cloned());
            let mut inner = vec![Statement::new(words)];
            inner.extend(section("net", &mesh.net));
            inner.extend(mesh.other.iter().cloned());
            body.push(Statement::block(["connection-mesh"], inner));
        }
        body.extend(self.other.iter().cloned());
        Statement::block(["resource", &self.name], body)
    }
}

impl OnHost {
    fn to_statement(&self) -> Statement {
        let mut body = Vec::new();
        if let Some(id) = self.node_id {
            body.push(Statement::new(["node-id".to_owned(), id.to_string()]));
        }
        if let Some(address) = &self.address {
            body.push(address_statement(&["address"], address));
        }
        body.extend(volumes_to_statements(&self.volumes));
        body.extend(section("options", &self.options));
        body.extend(self.other.iter().cloned());
        let mut words = vec!["on".to_owned()];
        words.extend(self.names.iter().cloned());
        Statement::block(words, body)
    }
}

impl Connection {
    fn to_statement(&self) -> Statement {
        let mut body: Vec<Statement> = self
            .ends
            .iter()
            .map(|(host, address)| match address {
                Some(address) => address_statement(&["host", host, "address"], address),
                None => Statement::new(["host", host]),
            })
            .collect();
        body.extend(section("net", &self.net));
        body.extend(self.other.iter().cloned());
        Statement::block(["connection"].into_iter().chain(self.name.as_deref()), body)
    }
}

fn address_statement(words: &[&str], address: &Address) -> Statement {
    let text = address.to_string();
    Statement::new(words.iter().copied().chain(text.split(' ')))
}

/// A section with its options in order of name, if it has any.
pub fn section(name: &str, options: &Options) -> Option<Statement> {
    let lines = options.iter().map(|(key, value)| match value.as_str() {
        "" => Statement::new([key]),
        value => Statement::new([key, value]),
    });
    (!options.is_empty()).then(|| Statement::block([name], lines.collect()))
}

/// Like [`section`] with every value in quotes, as handlers are always written.
pub fn section_quoted(name: &str, options: &Options) -> Option<Statement> {
    let lines =
        options.iter().map(|(key, value)| Statement { words: vec![Word::new(key), Word::quoted(value)], body: None });
    (!options.is_empty()).then(|| Statement::block([name], lines.collect()))
}

fn volumes_to_statements(volumes: &BTreeMap<u32, Volume>) -> Vec<Statement> {
    let alone = volumes.len() == 1 && volumes.get(&0).is_some_and(|v| v.disk_options.is_empty());
    let mut all = Vec::new();
    for (number, volume) in volumes {
        let mut body = Vec::new();
        if let Some(device) = &volume.device {
            let mut words = vec!["device".to_owned()];
            words.extend(device.path.clone());
            if let Some(minor) = device.minor
                && device.path.as_deref().and_then(minor_of_path) != Some(minor)
            {
                words.extend(["minor".to_owned(), minor.to_string()]);
            }
            body.push(Statement::new(words));
        }
        match &volume.disk {
            Some(Backing::Path(path)) => body.push(Statement::new(["disk", path])),
            Some(Backing::None) => body.push(Statement::new(["disk", "none"])),
            None => {}
        }
        match &volume.meta_disk {
            Some(MetaDisk::Internal) => body.push(Statement::new(["meta-disk", "internal"])),
            Some(MetaDisk::External { path, index: None }) => body.push(Statement::new(["meta-disk", path])),
            Some(MetaDisk::External { path, index: Some(index) }) => {
                body.push(Statement::new(["meta-disk".to_owned(), path.clone(), format!("[{index}]")]));
            }
            None => {}
        }
        if alone {
            return body;
        }
        body.extend(section("disk", &volume.disk_options));
        all.push(Statement::block(["volume".to_owned(), number.to_string()], body));
    }
    all
}

/// `key value ;` → the pair. A second value means that a `;` is missing.
fn option(statement: &Statement) -> Result<(String, String), Fault> {
    if let Some(body) = &statement.body {
        let place = body.first().map_or(statement.place(), Statement::place);
        return Err(Fault::new(place, "';' expected, but got '{'"));
    }
    match &statement.words[..] {
        [key] => Ok((key.text.clone(), String::new())),
        [key, value] => {
            bare_or_quoted(value)?;
            Ok((key.text.clone(), value.text.clone()))
        }
        [_, _, third, ..] => Err(missing_semicolon(third)),
        [] => Err(Fault::new(statement.place(), "a keyword expected")),
    }
}

fn missing_semicolon(word: &Word) -> Fault {
    Fault::new(word.place, format!("';' expected, but got '{}'", word.text))
}

/// drbdadm's lexer ends a bare string at `:` and then misses its `;`.
fn bare_or_quoted(word: &Word) -> Result<(), Fault> {
    match word.text.chars().find(|c| !super::res::is_bare_char(*c)) {
        Some(c) if !word.quoted && !is_bare(&word.text) => {
            Err(Fault::new(word.place, format!("';' expected, but got '{c}' (a string with {c:?} needs quotes)")))
        }
        _ => Ok(()),
    }
}

fn read_options(body: &[Statement], into: &mut Options) -> Result<(), Fault> {
    for statement in body {
        let (key, value) = option(statement)?;
        into.insert(key, value);
    }
    Ok(())
}

fn number<T: std::str::FromStr>(word: &Word, what: &str) -> Result<T, Fault> {
    word.text.parse().map_err(|_| Fault::new(word.place, format!("{what} expected, but got '{}'", word.text)))
}

fn read_volume_statement(statement: &Statement, volumes: &mut BTreeMap<u32, Volume>) -> Result<(), Fault> {
    if let Some(body) = &statement.body {
        let [_, nr] = &statement.words[..] else {
            return Err(Fault::new(statement.place(), "volume NUMBER { … } expected"));
        };
        let volume = volumes.entry(number(nr, "a volume number")?).or_default();
        for inner in body {
            match (inner.keyword(), &inner.body) {
                ("disk", Some(options)) => read_options(options, &mut volume.disk_options)?,
                ("device" | "disk" | "meta-disk" | "flexible-meta-disk", None) => read_volume_word(inner, volume)?,
                (word, _) => {
                    let message =
                        format!("'device | disk | meta-disk | flexible-meta-disk' expected, but got '{word}'");
                    return Err(Fault::new(inner.place(), message));
                }
            }
        }
        return Ok(());
    }
    read_volume_word(statement, volumes.entry(0).or_default())
}

fn read_volume_word(statement: &Statement, volume: &mut Volume) -> Result<(), Fault> {
    let mut words = statement.words[1..].iter();
    let first = words.next().ok_or_else(|| Fault::new(statement.place(), "a value expected"))?;
    match statement.keyword() {
        "device" => {
            let mut device = Device { path: None, minor: None };
            let mut word = Some(first);
            if first.text != "minor" {
                if !first.text.trim_start_matches("/dev/").starts_with("drbd") {
                    return Err(Fault::new(first.place, "device name must start with /dev/drbd"));
                }
                let path = &first.text;
                device.path = Some(if path.starts_with('/') { path.clone() } else { format!("/dev/{path}") });
                word = words.next();
            }
            if let Some(word) = word {
                if word.text != "minor" {
                    return Err(missing_semicolon(word));
                }
                let minor = words.next().ok_or_else(|| Fault::new(word.place, "a minor number expected"))?;
                device.minor = Some(number(minor, "a minor number")?);
            }
            if device.minor().is_none() {
                return Err(Fault::new(first.place, "no minor given nor device name contains a minor number"));
            }
            volume.device = Some(device);
        }
        "disk" => {
            bare_or_quoted(first)?;
            volume.disk = Some(match first.text.as_str() {
                "none" => Backing::None,
                path => Backing::Path(path.to_owned()),
            });
        }
        _ => {
            bare_or_quoted(first)?;
            let mut index = None;
            if first.text != "internal"
                && let Some(word) = words.next()
            {
                let inner = word.text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
                let inner = inner.ok_or_else(|| missing_semicolon(word))?;
                index = Some(inner.parse().map_err(|_| Fault::new(word.place, "an index expected"))?);
            }
            volume.meta_disk = Some(match first.text.as_str() {
                "internal" => MetaDisk::Internal,
                path => MetaDisk::External { path: path.to_owned(), index },
            });
        }
    }
    match words.next() {
        Some(extra) => Err(missing_semicolon(extra)),
        None => Ok(()),
    }
}

fn read_address(words: &[Word], place: Place) -> Result<Address, Fault> {
    let (family, text) = match words {
        [text] => (None, text),
        [family, text] => (Some(family.text.as_str()), text),
        [_, _, extra, ..] => return Err(missing_semicolon(extra)),
        [] => return Err(Fault::new(place, "an address expected")),
    };
    Address::parse(family, &text.text).map_err(|why| Fault::new(text.place, why))
}

fn read_host(statement: &Statement) -> Result<OnHost, Fault> {
    let mut host = OnHost { place: statement.place(), ..OnHost::default() };
    match statement.keyword() {
        "floating" => host.address = Some(read_address(&statement.words[1..], statement.place())?),
        _ => host.names = statement.words[1..].iter().map(|w| w.text.clone()).collect(),
    }
    for inner in statement.body.iter().flatten() {
        match (inner.keyword(), &inner.body) {
            ("node-id", None) => {
                let [_, id] = &inner.words[..] else {
                    return Err(inner
                        .words
                        .get(2)
                        .map_or_else(|| Fault::new(inner.place(), "a node-id expected"), missing_semicolon));
                };
                host.node_id = Some(number(id, "a node-id")?);
            }
            ("address", None) => host.address = Some(read_address(&inner.words[1..], inner.place())?),
            ("options", Some(body)) => read_options(body, &mut host.options)?,
            ("volume", Some(_)) | ("device" | "disk" | "meta-disk" | "flexible-meta-disk", None) => {
                read_volume_statement(inner, &mut host.volumes)?;
            }
            ("proxy" | "disk", Some(_)) => host.other.push(inner.clone()),
            (word, _) => {
                let message = format!(
                    "'disk | device | address | meta-disk | flexible-meta-disk | node-id | volume' expected, but got '{word}'"
                );
                return Err(Fault::new(inner.place(), message));
            }
        }
    }
    Ok(host)
}

fn read_mesh(body: &[Statement]) -> Result<Mesh, Fault> {
    let mut mesh = Mesh::default();
    for inner in body {
        match (inner.keyword(), &inner.body) {
            ("hosts", None) => mesh.hosts = inner.words[1..].iter().map(|w| w.text.clone()).collect(),
            ("net", Some(body)) => read_options(body, &mut mesh.net)?,
            _ => mesh.other.push(inner.clone()),
        }
    }
    Ok(mesh)
}

fn read_connection(statement: &Statement, body: &[Statement]) -> Result<Connection, Fault> {
    let mut connection = Connection { name: statement.word(1).map(str::to_owned), ..Connection::default() };
    for inner in body {
        match (inner.keyword(), &inner.body) {
            ("host", None) => {
                let name = inner.word(1).ok_or_else(|| Fault::new(inner.place(), "a host name expected"))?;
                let address = match inner.word(2) {
                    Some("address") => Some(read_address(&inner.words[3..], inner.place())?),
                    _ => None,
                };
                connection.ends.push((name.to_owned(), address));
            }
            ("net", Some(body)) => read_options(body, &mut connection.net)?,
            _ => connection.other.push(inner.clone()),
        }
    }
    Ok(connection)
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
