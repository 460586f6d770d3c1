//! What a template can name: layers of variables, the later the stronger, rendered only when they are asked for.

use crate::inventory::Inventory;
use crate::template;
use crate::yaml::{Node, Value as Yaml};
use minijinja::value::{Enumerator, Object, Serde, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

/// `{{ x | default(omit) }}`: a field with this value is left out.
pub const OMIT: &str = "__omit_place_holder__converge";

pub type Vars = BTreeMap<String, Value>;

#[derive(Debug, Clone)]
pub enum Layer {
    Values(Arc<Vars>),
    /// Values that may hold templates; they see the whole scope.
    Nodes(Arc<Vec<(String, Node)>>),
}

/// What a rendering touched that a check cannot know, or that has yet to be gathered.
#[derive(Debug, Default)]
pub struct Doubt {
    pub not_yet: Option<String>,
    pub wants_facts: bool,
}

pub type SharedDoubt = Arc<Mutex<Doubt>>;

/// All variables of one host at one task.
#[derive(Debug)]
pub struct Scope {
    /// Weakest first.
    layers: Vec<Layer>,
    doubt: SharedDoubt,
    rendered: Mutex<HashMap<String, Value>>,
    /// Variables being rendered now, to find circles.
    open: Mutex<Vec<String>>,
}

impl Scope {
    pub fn new(layers: Vec<Layer>, doubt: SharedDoubt) -> Arc<Self> {
        Arc::new(Self { layers, doubt, rendered: Mutex::default(), open: Mutex::default() })
    }

    pub fn value(self: &Arc<Self>) -> Value {
        Value::from_dyn_object(self.clone())
    }

    fn render_variable(self: &Arc<Self>, name: &str, node: &Node) -> Value {
        if let Some(value) = self.rendered.lock().expect("no panic while holding").get(name) {
            return value.clone();
        }
        {
            let mut open = self.open.lock().expect("no panic while holding");
            if open.iter().any(|n| n == name) {
                let circle = format!("variable `{name}` refers to itself: {} -> {name}", open.join(" -> "));
                return Value::from(Error::new(ErrorKind::InvalidOperation, circle));
            }
            open.push(name.to_owned());
        }
        let value = to_value(node, &self.value()).unwrap_or_else(|error| {
            let words = format!("in variable `{name}`: {}", template::explain(&error));
            Value::from(Error::new(ErrorKind::InvalidOperation, words))
        });
        self.open.lock().expect("no panic while holding").pop();
        self.rendered.lock().expect("no panic while holding").insert(name.to_owned(), value.clone());
        value
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        for layer in self.layers.iter().rev() {
            match layer {
                Layer::Values(values) => {
                    if let Some(value) = values.get(name) {
                        return Some(value.clone());
                    }
                }
                Layer::Nodes(nodes) => {
                    if let Some((_, node)) = nodes.iter().rev().find(|(n, _)| n == name) {
                        return Some(self.render_variable(name, node));
                    }
                }
            }
        }
        if name.starts_with("ansible_") || name == "pve_version" {
            self.doubt.lock().expect("no panic while holding").wants_facts = true;
        }
        None
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let mut names = BTreeSet::new();
        for layer in &self.layers {
            match layer {
                Layer::Values(values) => names.extend(values.keys().map(String::as_str)),
                Layer::Nodes(nodes) => names.extend(nodes.iter().map(|(name, _)| name.as_str())),
            }
        }
        Enumerator::Values(names.into_iter().map(Value::from).collect())
    }
}

/// The result of a task that check only predicted: what is known answers, everything else is noted as unknowable.
#[derive(Debug)]
pub struct Predicted {
    pub known: Vars,
    pub task: String,
    pub doubt: SharedDoubt,
}

impl Object for Predicted {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let known = self.known.get(key.as_str()?).cloned();
        if known.is_none() {
            let why = format!("the result of `{}` is only known after an apply", self.task);
            self.doubt.lock().expect("no panic while holding").not_yet.get_or_insert(why);
        }
        known
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.known.keys().map(|k| Value::from(k.as_str())).collect())
    }
}

/// `groups`: all hosts of each group.
pub fn groups(inventory: &Inventory) -> Value {
    let names = |hosts: &[String]| Value::from_iter(hosts.iter().map(String::as_str));
    let mut groups: Vars = inventory.groups.iter().map(|(name, h)| (name.clone(), names(h))).collect();
    groups.insert("all".to_owned(), names(&inventory.hosts));
    Value::from_object(groups)
}

pub fn from_json(json: &Json) -> Value {
    Value::from(Serde(json))
}

/// A piece of YAML as a template value, its own templates rendered.
pub fn to_value(node: &Node, scope: &Value) -> Result<Value, Error> {
    match &node.value {
        Yaml::Scalar { text, .. } if template::has_template(text) => match template::sole_expression(text) {
            Some(expression) => defined(expression, template::eval(expression, scope)?),
            None => template::render(text, scope).map(Value::from),
        },
        Yaml::Scalar { .. } => {
            let json: Json = crate::yaml::decode(node).unwrap_or(Json::Null);
            Ok(from_json(&json))
        }
        Yaml::Sequence(items) => {
            items.iter().map(|item| to_value(item, scope)).collect::<Result<Vec<_>, _>>().map(Value::from_object)
        }
        Yaml::Mapping(entries) => {
            let mut map: Vec<(String, Value)> = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let key = to_value(key, scope)?;
                map.push((key.as_str().map_or_else(|| key.to_string(), str::to_owned), to_value(value, scope)?));
            }
            Ok(Value::from_object(OrderedMap(map)))
        }
    }
}

/// A mapping that keeps the order in which it was written.
#[derive(Debug)]
struct OrderedMap(Vec<(String, Value)>);

impl Object for OrderedMap {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(k, _)| Value::from(k.as_str())).collect())
    }
}

/// An expression that gives nothing is a mistake, not an empty text.
pub fn defined(expression: &str, value: Value) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, format!("`{expression}` is not defined")));
    }
    // An error that a variable carries shows only when the value is used.
    if value.kind() == ValueKind::Invalid {
        return Err(Error::new(ErrorKind::InvalidOperation, value.to_string()));
    }
    Ok(value)
}
