//! Arguments with their templates rendered, keeping every place for later faults; and what kinds may use of the
//! workstation.

use super::source;
use super::vars::{self, OMIT};
use crate::diagnostic::{Fault, Span};
use crate::playbook::Expr;
use crate::tasks::{ResolveError, Source, Workstation};
use crate::template;
use crate::yaml::{Node, Value as Yaml};
use minijinja::value::{Value, ValueKind};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// Whether a piece of YAML has anything to render.
pub fn is_static(node: &Node) -> bool {
    match &node.value {
        Yaml::Scalar { text, .. } => !template::has_template(text),
        Yaml::Sequence(items) => items.iter().all(is_static),
        Yaml::Mapping(entries) => entries.iter().all(|(k, v)| is_static(k) && is_static(v)),
    }
}

/// The same tree with every template rendered. `None`: the value is `omit`.
pub fn render(node: &Node, scope: &Value) -> Result<Option<Node>, Fault> {
    let span = node.span;
    match &node.value {
        Yaml::Scalar { text, .. } if template::has_template(text) => {
            let fault = |e: minijinja::Error| fault_in(span, &e);
            match template::sole_expression(text) {
                Some(expression) => {
                    let value = template::eval(expression, scope).and_then(|v| vars::defined(expression, v));
                    to_node(&value.map_err(fault)?, span).map_err(fault)
                }
                None => Ok(Some(Node::scalar(template::render(text, scope).map_err(fault)?, false, span))),
            }
        }
        Yaml::Scalar { .. } => Ok(Some(node.clone())),
        Yaml::Sequence(items) => {
            let mut rendered = Vec::with_capacity(items.len());
            for item in items {
                rendered.extend(render(item, scope)?);
            }
            Ok(Some(Node { value: Yaml::Sequence(rendered), span }))
        }
        Yaml::Mapping(entries) => {
            let mut rendered = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                if let (Some(key), Some(value)) = (render(key, scope)?, render(value, scope)?) {
                    rendered.push((key, value));
                }
            }
            Ok(Some(Node { value: Yaml::Mapping(rendered), span }))
        }
    }
}

/// A template's value as YAML at the place of the template. Text stays text: `"no"` is not false.
fn to_node(value: &Value, span: Span) -> Result<Option<Node>, minijinja::Error> {
    let scalar = |text: &str, plain| Ok(Some(Node::scalar(text, plain, span)));
    match value.kind() {
        ValueKind::None => scalar("null", true),
        ValueKind::Bool => scalar(if value.is_true() { "true" } else { "false" }, true),
        ValueKind::Number => scalar(&value.to_string(), true),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                items.extend(to_node(&item, span)?);
            }
            Ok(Some(Node { value: Yaml::Sequence(items), span }))
        }
        ValueKind::Map => {
            let mut entries = Vec::new();
            for key in value.try_iter()? {
                if let (Some(k), Some(v)) = (to_node(&key, span)?, to_node(&value.get_item(&key)?, span)?) {
                    entries.push((k, v));
                }
            }
            Ok(Some(Node { value: Yaml::Mapping(entries), span }))
        }
        _ => match value.to_string() {
            text if text == OMIT => Ok(None),
            text => scalar(&text, false),
        },
    }
}

pub fn fault_in(span: Span, error: &minijinja::Error) -> Fault {
    let mut fault = Fault::new(span, template::explain(error));
    if let Some(line) = error.line().filter(|l| *l > 1) {
        fault = fault.label(format!("line {line} of this template"));
    }
    fault
}

/// Whether all conditions hold; the fault stands at the condition that could not be evaluated.
pub fn holds(conditions: &[Expr], scope: &Value) -> Result<bool, Fault> {
    for condition in conditions {
        // `when: "{{ x }}"` is warned of by Ansible and means the same.
        let text = template::sole_expression(&condition.text).unwrap_or(&condition.text);
        let value = template::eval(text, scope)
            .and_then(|v| vars::defined(text, v))
            .map_err(|e| fault_in(condition.span, &e))?;
        if !value.is_true() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a task on one host may use of this machine.
pub struct Desk<'a> {
    pub folder: &'a Path,
    pub scope: Value,
    /// Set when variables were used: the result then holds for one host only.
    pub used_variables: std::cell::Cell<bool>,
}

impl Desk<'_> {
    /// Where Ansible looks for a file, and in which order.
    fn places(&self, folder: &str, name: &Path) -> Vec<PathBuf> {
        if name.is_absolute() {
            return vec![name.to_owned()];
        }
        let above = self.folder.parent().unwrap_or(self.folder);
        vec![
            self.folder.join(folder).join(name),
            self.folder.join(name),
            above.join(folder).join(name),
            above.join(name),
        ]
    }
}

fn not_found(name: &Path, places: &[PathBuf]) -> ResolveError {
    let searched: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
    ResolveError::Fault(format!("no file `{}`; looked for {}", name.display(), searched.join(", ")))
}

impl Workstation for Desk<'_> {
    fn file(&self, folder: &str, name: &str) -> Result<(String, Vec<u8>), ResolveError> {
        let name = Path::new(name);
        let places = self.places(folder, name);
        for place in &places {
            match std::fs::read(place) {
                Ok(bytes) => return Ok((place.display().to_string(), bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(ResolveError::Fault(format!("{}: {e}", place.display()))),
            }
        }
        Err(not_found(name, &places))
    }

    fn source(&self, folder: &str, name: &str, follow: bool) -> Result<Source, ResolveError> {
        // A trailing `/` would make a file "not a directory" instead of found.
        let plain = Path::new(name.trim_end_matches('/'));
        let name = if plain.as_os_str().is_empty() { Path::new(name) } else { plain };
        let places = self.places(folder, name);
        for place in &places {
            match source::read(place, follow) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(why) => return Err(ResolveError::Fault(why)),
            }
        }
        Err(not_found(name, &places))
    }

    fn render(&self, name: &str, text: &str) -> Result<String, ResolveError> {
        self.used_variables.set(true);
        template::render(text, &self.scope).map_err(|e| {
            let line = e.line().map_or_else(String::new, |l| format!(":{l}"));
            ResolveError::Fault(format!("{name}{line}: {}", template::explain(&e)))
        })
    }

    fn eval(&self, expression: &str) -> Result<Json, ResolveError> {
        self.used_variables.set(true);
        template::eval(expression, &self.scope)
            .and_then(|v| vars::defined(expression, v))
            .and_then(|v| {
                serde_json::to_value(v)
                    .map_err(|e| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, e.to_string()))
            })
            .map_err(|e| ResolveError::Fault(format!("`{expression}`: {}", template::explain(&e))))
    }
}
