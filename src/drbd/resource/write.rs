//! Resources as statements, in a fixed order, ready for [`super::super::res::render`].

use super::{Address, Backing, Connection, MetaDisk, OnHost, Options, Resource, Volume, minor_of_path};
use crate::drbd::res::{Statement, Word};
use std::collections::BTreeMap;

impl Resource {
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
