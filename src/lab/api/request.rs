//! What comes in and what goes out: a request with its decoded parameters, a reply with its reason phrase.
//! It knows HTTP's parts, and nothing of sockets or of what the paths mean.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One request as the server read it. `path` is decoded and without `/api2/json`; header names are lower case.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// The node whose port was asked.
    pub entry: String,
}

/// The answer: status, reason phrase (one line) and the body, which PVE leaves empty before a handler is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub reason: String,
    pub body: Option<Value>,
}

/// Why a request was refused, as PVE's handlers raise it.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Parameter verification: name → text.
    Params(BTreeMap<String, String>),
    /// A status with its text; the body carries the text where the release does so.
    Text(u16, String),
    /// Refused before a handler was found: no body at all.
    Bare(u16, String),
}

impl Fault {
    pub fn param(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Params(BTreeMap::from([(name.into(), text.into())]))
    }

    /// What a handler's plain `die` becomes.
    pub fn die(text: impl Into<String>) -> Self {
        Self::Text(500, text.into())
    }

    pub fn forbidden(what: impl std::fmt::Display) -> Self {
        Self::Text(403, format!("Permission check failed ({what})"))
    }

    /// The same fault with `prefix` before its text, as nested `die`s build it.
    pub fn within(self, prefix: &str) -> Self {
        match self {
            Self::Text(500, text) => Self::Text(500, format!("{prefix}: {text}")),
            other => other,
        }
    }

    /// The text alone, where a task ends with it.
    pub fn text(&self) -> String {
        match self {
            Self::Params(errors) => {
                let lines: Vec<String> = errors.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                format!("400 Parameter verification failed.\n{}", lines.join("\n"))
            }
            Self::Text(_, text) | Self::Bare(_, text) => text.clone(),
        }
    }

    /// `message_in_body`: since http-server 5.2.0 (PVE 8.4) the text is in the body too.
    pub fn reply(self, message_in_body: bool) -> Reply {
        let (status, text, errors) = match self {
            Self::Bare(status, text) => return Reply { status, reason: text, body: None },
            Self::Params(errors) => {
                let errors: Map<String, Value> = errors.into_iter().map(|(k, v)| (k, Value::String(v))).collect();
                (400, "Parameter verification failed.".to_string(), Some(errors))
            }
            Self::Text(status, text) => (status, text, None),
        };
        let mut body = Map::new();
        body.insert("data".into(), Value::Null);
        if message_in_body {
            let end = if status == 501 { "" } else { "\n" };
            body.insert("message".into(), Value::String(format!("{text}{end}")));
        }
        if let Some(errors) = errors {
            body.insert("errors".into(), Value::Object(errors));
        }
        let reason = text.lines().next().unwrap_or_default().to_string();
        Reply { status, reason, body: Some(Value::Object(body)) }
    }
}

impl Reply {
    pub fn data(data: Value) -> Self {
        Self { status: 200, reason: "OK".into(), body: Some(json!({ "data": data })) }
    }
}

/// Undoes percent encoding; `+` is a blank only in forms and queries. Bytes that are no UTF-8 are replaced.
pub fn percent_decode(text: &str, plus_is_blank: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        match pair {
            Some(byte) => {
                out.push(byte);
                at += 2;
            }
            None if plus_is_blank && bytes[at] == b'+' => out.push(b' '),
            None => out.push(bytes[at]),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Splits a form or query on `&` and on `;`, as PVE does. A repeated key keeps its values joined by commas, as
/// PVE 8 and 9 do where a list is wanted.
pub fn decode_form(text: &str) -> BTreeMap<String, String> {
    let mut params: BTreeMap<String, String> = BTreeMap::new();
    for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode(value, true);
        params
            .entry(percent_decode(key, true))
            .and_modify(|old| {
                old.push(',');
                old.push_str(&value);
            })
            .or_insert(value);
    }
    params
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Body parameters with the query's merged over them.
    pub fn params(&self) -> Result<BTreeMap<String, String>, Fault> {
        let kind = self.header("content-type").unwrap_or("application/x-www-form-urlencoded");
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let mut params = if self.body.is_empty() {
            BTreeMap::new()
        } else if kind == "application/json" {
            json_params(&self.body)?
        } else if kind == "application/x-www-form-urlencoded" {
            decode_form(&String::from_utf8_lossy(&self.body))
        } else {
            return Err(Fault::Bare(501, format!("upload {kind} not allowed")));
        };
        params.extend(decode_form(&self.query));
        Ok(params)
    }
}

fn json_params(body: &[u8]) -> Result<BTreeMap<String, String>, Fault> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Fault::Bare(400, format!("malformed JSON string: {error}")))?;
    let Value::Object(map) = value else {
        return Err(Fault::Bare(400, "JSON body is not an object".into()));
    };
    Ok(map
        .into_iter()
        .filter_map(|(key, value)| {
            let text = match value {
                Value::Null => return None,
                Value::Bool(flag) => u8::from(flag).to_string(),
                Value::String(text) => text,
                Value::Array(items) => {
                    let items: Vec<String> = items.iter().map(plain).collect();
                    items.join(",")
                }
                other => other.to_string(),
            };
            Some((key, text))
        })
        .collect())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
