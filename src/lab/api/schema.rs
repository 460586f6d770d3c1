//! The parts of PVE's own API schema that the lab answers: which routes there are, who may ask, what they take.
//! The text comes from `pve-docs` (9.1 and 8.4), shortened to what decides about a request; it holds no behaviour.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::lab::world::Flavour;

#[derive(Debug, Deserialize)]
pub struct Route {
    /// `METHOD /path/{with}/{holes}`.
    pub route: String,
    /// As in PVE: `{"check": […]}`, `{"user": "all"|"world"}`, or nothing (root@pam only).
    pub permissions: Option<Value>,
    /// Whether an API token may ask.
    pub token: bool,
    /// Whether undeclared parameters are let through.
    pub extra: bool,
    pub properties: BTreeMap<String, Property>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Property {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub optional: u8,
    #[serde(rename = "enum")]
    pub allowed: Option<Vec<String>>,
    pub pattern: Option<String>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    #[serde(rename = "minLength")]
    pub min_length: Option<usize>,
    #[serde(rename = "maxLength")]
    pub max_length: Option<usize>,
    pub requires: Option<String>,
    #[serde(default)]
    pub default_key: u8,
    pub format: Option<Format>,
}

#[derive(Debug)]
pub enum Format {
    /// A format known by name, `-list` at its end making it a list.
    Named(String),
    /// A property string and its keys.
    Keys(BTreeMap<String, Property>),
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::String(name) => Ok(Self::Named(name)),
            other => serde_json::from_value(other).map(Self::Keys).map_err(serde::de::Error::custom),
        }
    }
}

/// The values of a path's holes: `{node}` → `pve1`.
pub type Holes = BTreeMap<String, String>;

/// The route that answers `method path` in this flavour, with the values of its holes. A fixed word wins over a hole.
pub fn find(flavour: Flavour, method: &str, path: &str) -> Option<(&'static Route, Holes)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut found: Option<(&'static Route, Holes)> = None;
    for route in routes(flavour) {
        let Some((its_method, its_path)) = route.route.split_once(' ') else { continue };
        if its_method != method {
            continue;
        }
        if let Some(holes) = fit(its_path, &parts)
            && found.as_ref().is_none_or(|(_, before)| holes.len() < before.len())
        {
            found = Some((route, holes));
        }
    }
    found
}

/// A volume name holds `/`, so its hole takes the rest of the path.
fn fit(pattern: &str, parts: &[&str]) -> Option<Holes> {
    let wanted: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let rest = wanted.last() == Some(&"{volume}") && parts.len() >= wanted.len();
    if wanted.len() != parts.len() && !rest {
        return None;
    }
    let mut holes = Holes::new();
    for (at, want) in wanted.iter().enumerate() {
        match want.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some("volume") => {
                holes.insert("volume".into(), parts[at..].join("/"));
            }
            Some(name) => {
                holes.insert(name.into(), parts[at].into());
            }
            None if want == &parts[at] => {}
            None => return None,
        }
    }
    Some(holes)
}

pub fn routes(flavour: Flavour) -> &'static [Route] {
    static NINE: OnceLock<Vec<Route>> = OnceLock::new();
    static EIGHT: OnceLock<Vec<Route>> = OnceLock::new();
    match flavour {
        Flavour::Pve9 => NINE.get_or_init(|| load(include_str!("schema/pve-9.1.jsonl"))),
        Flavour::Pve8 => EIGHT.get_or_init(|| load(include_str!("schema/pve-8.4.jsonl"))),
    }
}

/// The files are part of this program; a line that does not parse is a fault of the build.
fn load(text: &str) -> Vec<Route> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("schema line {line}: {e}"))).collect()
}
