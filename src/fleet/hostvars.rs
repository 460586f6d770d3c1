//! The variables of every host, also as `hostvars` in templates, which renders them only when asked. What was discovered
//! is handed on as it is; a host whose variables cannot be read says so, in place of the few that could.

use super::vars::{self, Layer, Scope, SharedDoubt, Vars};
use crate::inventory::Inventory;
use crate::yaml::Node;
use minijinja::value::{Enumerator, Object, Value};
use minijinja::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

#[derive(Debug, Default)]
pub struct HostVars {
    all: RwLock<BTreeMap<String, Known>>,
    doubt: SharedDoubt,
}

#[derive(Debug, Default, Clone)]
struct Known {
    /// The inventory's; its values may hold templates.
    said: Arc<Vec<(String, Node)>>,
    /// What names the host itself, and what was discovered of it.
    given: Arc<Vars>,
    /// Registered results, `set_fact`, gathered facts.
    found: Arc<Vars>,
    /// Some of its variables cannot be read.
    sealed: bool,
}

impl Known {
    fn of(host: &str, inventory: &Inventory) -> Self {
        let said = inventory.vars(host).iter().map(|(name, node)| (name.clone(), node.clone())).collect();
        let found = inventory.found.get(host).into_iter().flatten();
        let mut given: Vars = found.map(|(name, value)| (name.clone(), vars::from_json(value))).collect();
        let groups: Vec<&str> = inventory.groups_of(host).collect();
        given.insert("group_names".into(), Value::from_iter(groups));
        given.insert("inventory_hostname".into(), host.into());
        given.insert("inventory_hostname_short".into(), host.split('.').next().unwrap_or(host).into());
        let sealed = !inventory.sealed(host).is_empty();
        Self { said: Arc::new(said), given: Arc::new(given), found: Arc::default(), sealed }
    }
}

impl HostVars {
    pub fn of(inventory: &Inventory, doubt: SharedDoubt) -> Arc<Self> {
        let everybody = inventory.everybody().into_iter();
        let all = everybody.map(|host| (host.clone(), Known::of(host, inventory))).collect();
        Arc::new(Self { all: RwLock::new(all), doubt })
    }

    pub fn value(self: &Arc<Self>) -> Value {
        Value::from_dyn_object(self.clone())
    }

    /// The layers of a host's given variables, and the found ones.
    pub fn layers(&self, host: &str, inventory: &Inventory) -> ([Layer; 2], Arc<Vars>) {
        let layers = |known: &Known| {
            ([Layer::Nodes(known.said.clone()), Layer::Values(known.given.clone())], known.found.clone())
        };
        if let Some(known) = self.all.read().expect("no panic while holding").get(host) {
            return layers(known);
        }
        let known = Known::of(host, inventory);
        let layers = layers(&known);
        self.all.write().expect("no panic while holding").insert(host.to_owned(), known);
        layers
    }

    /// A registered result, a fact.
    pub fn set(&self, host: &str, name: &str, value: Value) {
        let mut all = self.all.write().expect("no panic while holding");
        if let Some(known) = all.get_mut(host) {
            Arc::make_mut(&mut known.found).insert(name.to_owned(), value);
        }
    }

    pub fn forget_facts(&self, host: &str) {
        let mut all = self.all.write().expect("no panic while holding");
        if let Some(known) = all.get_mut(host) {
            let gathered = |name: &str| name.starts_with("ansible_") || name == "pve_version";
            Arc::make_mut(&mut known.found).retain(|name, _| !gathered(name));
        }
    }
}

impl Object for HostVars {
    /// What another host is seen as: its inventory, facts and results, rendered in its own terms.
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let all = self.all.read().expect("no panic while holding");
        let host = key.as_str()?;
        let known = all.get(host)?;
        if known.sealed {
            let words =
                format!("the variables of {host} cannot be read: a file of them is encrypted with ansible-vault");
            return Some(Value::from(Error::new(ErrorKind::InvalidOperation, words)));
        }
        let values = |vars: &Arc<Vars>| Layer::Values(vars.clone());
        let layers = vec![Layer::Nodes(known.said.clone()), values(&known.given), values(&known.found)];
        Some(Scope::new(layers, self.doubt.clone()).value())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let all = self.all.read().expect("no panic while holding");
        Enumerator::Values(all.keys().map(|k| Value::from(k.as_str())).collect())
    }
}
