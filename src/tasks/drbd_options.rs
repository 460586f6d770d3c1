//! Options of DRBD's sections as arguments: names and values as in the file, checked before any host is touched.

use super::ArgFault;
use crate::drbd::compare::is_secret;
use crate::drbd::limits;
use crate::drbd::resource::Options;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// `name: value` pairs of one section. Booleans become yes and no. `Debug` hides secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DrbdOptions(pub Options);

impl DrbdOptions {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for DrbdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(k, v)| (k, if is_secret(k) { "(hidden)" } else { v }));
        f.debug_map().entries(shown).finish()
    }
}

impl Serialize for DrbdOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A scalar as DRBD writes it.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word, a number or a boolean")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(match text {
                    "true" => "yes".into(),
                    "false" => "no".into(),
                    text => text.to_owned(),
                }))
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<Scalar, E> {
                Ok(Scalar(if on { "yes" } else { "no" }.into()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for DrbdOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = DrbdOptions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of option names to values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DrbdOptions, A::Error> {
                let mut all = Options::new();
                while let Some((key, value)) = map.next_entry::<String, Scalar>()? {
                    all.insert(key, value.0);
                }
                Ok(DrbdOptions(all))
            }
            fn visit_unit<E: Error>(self) -> Result<DrbdOptions, E> {
                Ok(DrbdOptions::default())
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl JsonSchema for DrbdOptions {
    fn schema_name() -> Cow<'static, str> {
        "DrbdOptions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        })
    }
}

/// Faults of a section's options: values out of range, an option of another section, a name that is nearly known.
/// A name that resembles nothing is left to `drbdadm`, which may be newer than this program.
pub fn check(field: &'static str, section: &str, options: &Options) -> Vec<ArgFault> {
    let mut faults = Vec::new();
    for (name, value) in options {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || !name.chars().all(plain) {
            faults.push(ArgFault::at(field, format!("`{name}` is not a name of an option")));
            continue;
        }
        if value.chars().any(|c| c.is_control()) || value.chars().count() > crate::drbd::res::MAX_QUOTED_CHARS {
            let longest = crate::drbd::res::MAX_QUOTED_CHARS;
            let words =
                format!("the value of {section} `{name}` has control characters or more than {longest} characters");
            faults.push(ArgFault::at(field, words));
            continue;
        }
        if limits::find(section, name).is_some() {
            if let Err(why) = limits::check(section, name, value) {
                // A secret is free text and never gets here.
                faults.push(ArgFault::at(field, format!("{section} `{name}`: {why}")));
            }
            continue;
        }
        let elsewhere = limits::sections_of(name);
        if let Some(right) = elsewhere.first() {
            let message = format!("`{name}` is no option of {section}");
            faults.push(ArgFault::at(field, message).help(format!("it belongs to {right}")));
            continue;
        }
        let near =
            limits::KNOWN.iter().filter(|k| k.section == section).map(|k| (strsim::jaro_winkler(k.name, name), k));
        if let Some((nearness, known)) = near.max_by(|a, b| a.0.total_cmp(&b.0))
            && nearness > 0.92
        {
            let message = format!("`{name}` is no option of {section}");
            faults.push(ArgFault::at(field, message).help(format!("did you mean `{}`?", known.name)));
        }
    }
    faults
}

/// A configuration text with its secrets hidden, for diffs.
pub fn masked(text: &str) -> String {
    text.lines()
        .map(|line| {
            let indent = &line[..line.len() - line.trim_start().len()];
            match line.split_whitespace().next() {
                Some(word) if is_secret(word) => format!("{indent}{word} \"(hidden)\";\n"),
                // Somebody else's file may have more than one statement on a line.
                _ if line.split(|c: char| c.is_whitespace() || matches!(c, '{' | ';')).any(is_secret) => {
                    format!("{indent}(a line with a secret)\n")
                }
                _ => format!("{line}\n"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_drbds_words() {
        let options: DrbdOptions =
            serde_json::from_value(json!({ "a": true, "b": 50, "c": "10M", "d": false })).unwrap();
        let all: Vec<_> = options.0.iter().map(|(k, v)| format!("{k} {v}")).collect();
        assert_eq!(all, ["a yes", "b 50", "c 10M", "d no"]);
        assert!(serde_json::from_value::<DrbdOptions>(json!({ "a": [1] })).is_err());
    }

    #[test]
    fn faults_of_options() {
        let faults = |section: &'static str, name: &str, value: &str| {
            let all = check("net", section, &Options::from([(name.to_owned(), value.to_owned())]));
            all.into_iter().map(|f| format!("{} {}", f.message, f.help.unwrap_or_default())).collect::<String>()
        };
        assert!(faults("net", "max-buffers", "1").contains("out of range [32..131072]"));
        assert!(faults("net", "quorum", "majority").contains("it belongs to options"));
        assert!(faults("net", "max-bufers", "36k").contains("did you mean `max-buffers`?"));
        assert!(faults("net", "bad name", "x").contains("not a name"));
        assert!(faults("net", "sndbuf-size", "1\n2").contains("control characters"));
        assert_eq!(faults("net", "zero-copy-of-tomorrow", "yes"), "");
    }

    #[test]
    fn secrets_are_hidden() {
        let text = "net {\n    shared-secret \"a b\";\n}\nnet { protocol C; shared-secret x; }\n";
        let shown = masked(text);
        assert!(!shown.contains("a b") && !shown.contains(" x;"), "{shown}");
        let options = DrbdOptions(Options::from([("shared-secret".into(), "s3cret".into())]));
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
