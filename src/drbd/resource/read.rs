//! Statements as resources. Says what `drbdadm` would expect where it finds something else.

use super::{Address, Backing, Connection, Device, Mesh, MetaDisk, OnHost, Options, Resource, Volume};
use crate::drbd::res::{self, Fault, Place, Statement, Word, is_bare};
use std::collections::BTreeMap;

impl Resource {
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
}

/// `key value ;` → the pair. A second value means that a `;` is missing.
pub fn option(statement: &Statement) -> Result<(String, String), Fault> {
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
    match word.text.chars().find(|c| !res::is_bare_char(*c)) {
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
