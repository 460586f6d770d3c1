//! Reading what pveproxy answered: the envelope, or the error with Proxmox's own words.

use crate::pve::Error;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// A good answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    pub data: Json,
    /// Beside `data`: `total` of paged lists, `changes` of the network.
    pub beside: Map<String, Json>,
}

/// What came over the wire, before it is judged.
pub struct Raw<'a> {
    pub method: &'static str,
    pub path: &'a str,
    pub status: u16,
    /// The words after the status code. Before PVE 8.4 the cause of an error stands nowhere else.
    pub reason: &'a str,
    pub body: &'a [u8],
}

impl Raw<'_> {
    pub fn judge(&self) -> Result<Envelope, Error> {
        let body: Option<Map<String, Json>> = serde_json::from_slice(self.body).ok();
        if self.status != 200 {
            return Err(self.error(body));
        }
        let bad = |why: &str| Error::BadAnswer { path: self.path.to_owned(), why: why.to_owned() };
        let mut beside = body.ok_or_else(|| bad("not a JSON object"))?;
        let data = beside.remove("data").ok_or_else(|| bad("no `data`"))?;
        Ok(Envelope { data, beside })
    }

    fn error(&self, body: Option<Map<String, Json>>) -> Error {
        let text_body = || {
            let text = String::from_utf8_lossy(self.body);
            (body.is_none() && !text.trim_start().starts_with('<')).then(|| text.trim().to_owned())
        };
        // The body's text is whole; the reason phrase has only its first line, and nothing where it is not ASCII.
        let message = body
            .as_ref()
            .and_then(|b| b.get("message"))
            .and_then(Json::as_str)
            .map(|m| m.trim().to_owned())
            .filter(|m| !m.is_empty())
            .or_else(|| Some(self.reason.trim().to_owned()).filter(|r| !r.is_empty()))
            .or_else(text_body)
            .filter(|m| !m.is_empty())
            .unwrap_or_else(|| "no reason given".into());
        let errors: BTreeMap<String, String> = body
            .as_ref()
            .and_then(|b| b.get("errors"))
            .and_then(Json::as_object)
            .map(|errors| errors.iter().map(|(k, v)| (k.clone(), text(v))).collect())
            .unwrap_or_default();
        Error::Api { method: self.method, path: self.path.to_owned(), status: self.status, message, errors }
    }
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), |s| s.trim().to_owned())
}
