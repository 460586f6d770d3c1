//! Parameter verification against the schema, with the texts of PVE's JSONSchema module.
//! It judges form only: whether a named thing exists is the handlers' business.

use super::formats;
use super::request::Fault;
use super::schema::{Format, Property, Route};
use std::collections::BTreeMap;

type Errors = BTreeMap<String, String>;

/// Every fault of every parameter at once, as PVE reports them.
pub fn verify(route: &Route, params: &BTreeMap<String, String>) -> Result<(), Fault> {
    let errors = check(&route.properties, route.extra, params);
    if errors.is_empty() { Ok(()) } else { Err(Fault::Params(errors)) }
}

fn check(properties: &BTreeMap<String, Property>, extra: bool, params: &BTreeMap<String, String>) -> Errors {
    let mut errors = Errors::new();
    for (name, value) in params {
        match lookup(properties, name) {
            Some(property) => {
                if let Some(text) = check_value(property, value) {
                    errors.insert(name.clone(), text.replace("{}.", &format!("{name}.")));
                }
                if let Some(needed) = &property.requires
                    && !params.contains_key(needed)
                {
                    errors.insert(needed.clone(), format!("missing property - '{name}' requires this property"));
                }
            }
            None if extra => {}
            None => {
                let text = "property is not defined in schema and the schema does not allow additional properties";
                errors.insert(name.clone(), text.into());
            }
        }
    }
    for (name, property) in properties {
        if property.optional == 0 && !name.ends_with("[n]") && !params.contains_key(name) {
            errors.insert(name.clone(), "property is missing and it is not optional".into());
        }
    }
    errors
}

/// `net3` is declared as `net[n]`.
pub fn lookup<'a>(properties: &'a BTreeMap<String, Property>, name: &str) -> Option<&'a Property> {
    properties.get(name).or_else(|| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = &name[stem.len()..];
        let limit = if stem == "net" { 31 } else { 255 };
        let index: u32 = digits.parse().ok()?;
        if index > limit || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        properties.get(&format!("{stem}[n]"))
    })
}

fn check_value(property: &Property, value: &str) -> Option<String> {
    match property.kind.as_str() {
        "integer" if value.parse::<i64>().is_err() => return Some(wrong_type("integer", value)),
        "number" if value.parse::<f64>().is_err() => return Some(wrong_type("number", value)),
        "boolean" if !matches!(value, "0" | "1") => return Some(wrong_type("boolean", value)),
        _ => {}
    }
    if let Some(allowed) = &property.allowed
        && !allowed.iter().any(|word| word == value)
    {
        let words = allowed.join(", ");
        return Some(format!("value '{value}' does not have a value in the enumeration '{words}'"));
    }
    if let Ok(number) = value.parse::<f64>()
        && matches!(property.kind.as_str(), "integer" | "number")
    {
        if let Some(least) = property.minimum.filter(|least| number < *least) {
            // The vmid format speaks before the range does.
            return Some(match &property.format {
                Some(Format::Named(name)) if name == "pve-vmid" => {
                    "invalid format - value does not look like a valid VM ID\n".into()
                }
                _ => format!("value must have a minimum value of {least}"),
            });
        }
        if let Some(most) = property.maximum.filter(|most| number > *most) {
            return Some(format!("value must have a maximum value of {most}"));
        }
    }
    match &property.format {
        Some(Format::Named(name)) => {
            if let Err(text) = formats::check(name, value) {
                return Some(format!("invalid format - {text}\n"));
            }
        }
        Some(Format::Keys(keys)) => {
            if let Err(text) = check_property_string(keys, value) {
                return Some(text);
            }
        }
        None => {}
    }
    if let Some(least) = property.min_length.filter(|least| value.chars().count() < *least) {
        return Some(format!("value must be at least {least} characters long"));
    }
    if let Some(most) = property.max_length.filter(|most| value.chars().count() > *most) {
        return Some(format!("value may only be {most} characters long"));
    }
    if let Some(pattern) = &property.pattern
        && !matches_perl(pattern, value)
    {
        return Some("value does not match the regex pattern".into());
    }
    None
}

fn wrong_type(kind: &str, value: &str) -> String {
    format!("type check ('{kind}') failed - got '{value}'")
}

/// A pattern as Perl prints it. One that this engine cannot read lets the value through.
fn matches_perl(pattern: &str, value: &str) -> bool {
    let pattern = pattern.replace("(?^:", "(?:").replace("(?^i:", "(?i:").replace(r"\0", r"\x00");
    regex::Regex::new(&format!("^(?:{pattern})$")).map_or(true, |regex| regex.is_match(value))
}

/// `k=v,k=v` with one optional bare value for the default key.
pub fn parse_property_string(
    keys: &BTreeMap<String, Property>,
    value: &str,
) -> Result<BTreeMap<String, String>, String> {
    let mut parsed = BTreeMap::new();
    for part in value.split(',').filter(|part| !part.trim().is_empty()) {
        let part = part.trim();
        let (key, text) = match part.split_once('=') {
            Some((key, text)) => (key.to_string(), text.to_string()),
            None => match keys.iter().find(|(_, property)| property.default_key == 1) {
                Some((key, _)) => (key.clone(), part.to_string()),
                None => return Err("value without key, but schema does not define a default key".into()),
            },
        };
        let text = match keys.get(&key).map(|property| property.kind.as_str()) {
            Some("boolean") => formats::boolean(&text).map_or(text, |flag| u8::from(flag).to_string()),
            _ => text,
        };
        if parsed.insert(key.clone(), text).is_some() {
            return Err(format!("duplicate key in comma-separated list property: {key}"));
        }
    }
    Ok(parsed)
}

fn check_property_string(keys: &BTreeMap<String, Property>, value: &str) -> Result<(), String> {
    let parsed = parse_property_string(keys, value).map_err(|text| format!("invalid format - {text}\n"))?;
    let errors = check(keys, false, &parsed);
    if errors.is_empty() {
        return Ok(());
    }
    // The whole text is prefixed with the parameter's name by the caller's caller in PVE; `{}` stands for it.
    let lines: Vec<String> = errors.iter().map(|(key, text)| format!("{{}}.{key}: {text}\n")).collect();
    Err(format!("invalid format - format error\n{}", lines.concat()))
}
