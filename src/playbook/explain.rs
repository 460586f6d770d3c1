//! The text of `converge explain`: what kinds do and take, from the same schema that editors get.

use super::keywords::{self, Takes, Word};
use super::schema::{description, first_sentence};
use crate::diagnostic::did_you_mean;
use crate::tasks::registry::{self, Kind};
use crate::tasks::{KINDS, Touches};
use serde_json::Value as Json;
use std::fmt::Write;

const WIDTH: usize = 100;

/// Every kind with one line on what it does.
pub fn list() -> String {
    let mut kinds: Vec<&Kind> = KINDS.iter().collect();
    kinds.sort_by_key(|kind| kind.name);
    let mut out = String::from("Kinds of tasks:\n");
    let width = kinds.iter().map(|kind| kind.name.len()).max().unwrap_or_default();
    for kind in kinds {
        let schema = (kind.schema)().to_value();
        let text = first_sentence(description(&schema));
        paragraph(&mut out, &text, &format!("  {:width$}  ", kind.name), width + 4);
    }
    out.push_str("\n`converge explain KIND` shows its fields and an example. ");
    out.push_str("`play`, `task` and `block` explain the words around them.\n");
    out
}

/// One kind, or `play`, `task`, `block`. The error says what there is instead.
pub fn explain(name: &str) -> Result<String, String> {
    if let Some(kind) = registry::find(name) {
        return Ok(of_kind(kind));
    }
    let lists: &[(&str, &[Word])] = match name {
        "play" => &[("Words of a play:", keywords::PLAY), ("Words it shares with tasks:", keywords::SHARED)],
        "task" => &[
            ("Words of a task beside its kind:", keywords::TASK),
            ("Words it shares with plays and blocks:", keywords::SHARED),
            ("In the place of a kind:", keywords::DIRECTIVES),
            ("Under `loop_control`:", keywords::LOOP_CONTROL),
        ],
        "block" => &[("Words beside `block`:", keywords::BLOCK), ("Words shared with tasks:", keywords::SHARED)],
        _ => {
            let known = KINDS.iter().map(|kind| kind.name).chain(["play", "task", "block"]);
            let help = did_you_mean(name, known).unwrap_or_else(|| "`converge explain` lists them".to_owned());
            return Err(format!("there is no kind `{name}`; {help}"));
        }
    };
    let mut out = String::new();
    for (title, words) in lists {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "{title}");
        for (word, takes, text) in *words {
            let _ = writeln!(out, "  {word}: {}", taken(*takes));
            paragraph(&mut out, text, "      ", 6);
        }
    }
    if name == "task" {
        out.push_str("\nActions of `meta`:\n");
        for (action, text) in keywords::META {
            paragraph(&mut out, text, &format!("  {action:18}"), 20);
        }
    }
    Ok(out)
}

fn taken(takes: Takes) -> &'static str {
    match takes {
        Takes::Text => "text",
        Takes::Bool => "true or false",
        Takes::Number => "number",
        Takes::Words => "word or list of words",
        Takes::Condition => "expression or list of expressions",
        Takes::Vars | Takes::Args | Takes::LoopControl => "mapping",
        Takes::Loop => "list, or template that gives one",
        Takes::Tasks => "list of tasks",
        Takes::TaskFile => "file, or mapping with `file`",
        Takes::Role => "mapping with `name`",
        Takes::Roles => "list of roles",
        Takes::Meta => "action",
        Takes::Serial => "number, percentage, or list of them",
    }
}

fn of_kind(kind: &Kind) -> String {
    let schema = (kind.schema)().to_value();
    let mut out = format!("{}\n\n", kind.name);
    for part in description(&schema).split("\n\n") {
        paragraph(&mut out, &part.replace('\n', " "), "", 0);
        out.push('\n');
    }
    let place = match kind.touches {
        Touches::Nothing => "Changes nothing.",
        Touches::Host => "Looks at each host of the play, and changes it where needed.",
        Touches::AllHosts => "Looks at all hosts of the play before it decides what to change on each.",
        Touches::Cluster => "Concerns the cluster: it needs a play with `hosts: cluster`, or `delegate_to: cluster`.",
    };
    paragraph(&mut out, place, "", 0);
    let defs = schema.get("$defs").cloned().unwrap_or(Json::Null);
    let fields = schema.get("properties").and_then(Json::as_object).filter(|fields| !fields.is_empty());
    if fields.is_some() {
        out.push_str("\nFields:\n");
        fields_of(&mut out, &schema, &defs, 2, 0);
    }
    if let Some(field) = kind.free_form {
        let _ = writeln!(out, "\n`{}: TEXT` is short for `{field}: TEXT` below it.", kind.name);
    }
    out.push_str("\nExample:\n");
    for line in kind.example.trim_end().lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// Nested structs deeper than this are left to the schema.
const MAX_DEPTH: usize = 3;

fn fields_of(out: &mut String, schema: &Json, defs: &Json, indent: usize, depth: usize) {
    let Some(fields) = schema.get("properties").and_then(Json::as_object) else { return };
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    // What must be there first, the rest as written.
    let (must, may): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| required.contains(&name.as_str()));
    for (name, field) in must.into_iter().chain(may) {
        let mut line = format!("{:indent$}{name}: {}", "", shape(field, defs, depth));
        if required.contains(&name.as_str()) {
            line.push_str(", required");
        } else if let Some(default) = field.get("default").and_then(shown_default) {
            let _ = write!(line, ", default {default}");
        }
        paragraph(out, &line, "", indent + 6);
        let text = description(field).replace('\n', " ");
        if !text.is_empty() {
            paragraph(out, &text, &" ".repeat(indent + 4), indent + 4);
        }
        for (word, text) in variants(field, defs) {
            paragraph(out, &text.replace('\n', " "), &format!("{:i$}{word}: ", "", i = indent + 6), indent + 8);
        }
        if depth < MAX_DEPTH
            && let Some(below) = struct_in(field, defs, 0)
        {
            fields_of(out, below, defs, indent + 4, depth + 1);
        }
    }
}

fn shown_default(default: &Json) -> Option<String> {
    match default {
        Json::Null => None,
        Json::String(text) if text.is_empty() => None,
        Json::Array(items) if items.is_empty() => None,
        Json::Object(map) if map.is_empty() => None,
        Json::String(text) => Some(format!("`{text}`")),
        other => Some(format!("`{other}`")),
    }
}

fn resolve<'a>(schema: &'a Json, defs: &'a Json) -> &'a Json {
    let name = schema.get("$ref").and_then(Json::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
    name.and_then(|name| defs.get(name)).unwrap_or(schema)
}

fn choices(schema: &Json) -> Option<&Vec<Json>> {
    schema.get("anyOf").or(schema.get("oneOf")).and_then(Json::as_array)
}

/// The words a field takes, those that have a documentation of their own.
fn variants<'a>(schema: &'a Json, defs: &'a Json) -> Vec<(&'a str, &'a str)> {
    let schema = resolve(schema, defs);
    let mut found = Vec::new();
    for choice in choices(schema).into_iter().flatten() {
        match choice.get("const").and_then(Json::as_str) {
            Some(word) if !description(choice).is_empty() => found.push((word, description(choice))),
            Some(_) => {}
            // An option: the choices are those of what it holds.
            None if choice.get("$ref").is_some() => found.extend(variants(choice, defs)),
            None => {}
        }
    }
    found
}

/// The struct a field holds: itself, in a list, or in an option.
fn struct_in<'a>(schema: &'a Json, defs: &'a Json, depth: usize) -> Option<&'a Json> {
    let schema = resolve(schema, defs);
    if depth > MAX_DEPTH {
        return None;
    }
    if schema.get("properties").is_some() {
        return Some(schema);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(found) = schema.get(key).and_then(|inner| struct_in(inner, defs, depth + 1)) {
            return Some(found);
        }
    }
    choices(schema)?.iter().find_map(|choice| struct_in(choice, defs, depth + 1))
}

/// A type in words.
fn shape(schema: &Json, defs: &Json, depth: usize) -> String {
    let schema = resolve(schema, defs);
    if depth > 6 {
        return "anything".to_owned();
    }
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        let words: Vec<String> =
            values.iter().filter(|v| !v.is_null()).map(|v| v.as_str().map_or(v.to_string(), str::to_owned)).collect();
        return words.join(" | ");
    }
    if let Some(value) = schema.get("const") {
        return value.as_str().map_or(value.to_string(), str::to_owned);
    }
    if let Some(all) = choices(schema) {
        let constants = all.iter().all(|choice| choice.get("const").is_some() || choice.get("enum").is_some());
        let mut words: Vec<String> = Vec::new();
        for choice in all.iter().filter(|choice| choice.get("type").and_then(Json::as_str) != Some("null")) {
            let word = shape(choice, defs, depth + 1);
            if !words.contains(&word) {
                words.push(word);
            }
        }
        return words.join(if constants { " | " } else { " or " });
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => return "anything".to_owned(),
    };
    let words: Vec<String> = types
        .iter()
        .filter(|name| **name != "null")
        .map(|name| match *name {
            "string" => "text".to_owned(),
            "boolean" => "true or false".to_owned(),
            "integer" => "whole number".to_owned(),
            "array" => match schema.get("items") {
                Some(items) => format!("list of {}", shape(items, defs, depth + 1)),
                None => "list".to_owned(),
            },
            "object" => match schema.get("additionalProperties").filter(|inner| inner.is_object()) {
                Some(inner) => format!("mapping of {}", shape(inner, defs, depth + 1)),
                None => "mapping".to_owned(),
            },
            other => other.to_owned(),
        })
        .collect();
    words.join(" or ")
}

/// Text wrapped at [`WIDTH`]; the first line begins with `first`, the others are indented.
fn paragraph(out: &mut String, text: &str, first: &str, indent: usize) {
    let mut line = first.to_owned();
    let mut empty = true;
    let lead = text.len() - text.trim_start().len();
    line.push_str(&text[..lead]);
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}
