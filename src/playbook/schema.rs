//! The JSON Schema of playbooks, for editors. It follows from the kinds' own schemas and the table of keywords.
//!
//! It is kinder than `validate` in one way: a field of any type also takes a template.

use super::keywords::{self, Takes, Word};
use crate::tasks::KINDS;
use crate::tasks::registry::Kind;
use serde_json::{Map, Value as Json, json};

/// The schema of a playbook file, draft 2020-12.
pub fn schema() -> Json {
    let mut defs = Map::new();
    defs.insert("template".into(), json!({ "type": "string", "pattern": "\\{\\{|\\{%" }));
    let words = json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    defs.insert("words".into(), words);
    let condition = json!({ "anyOf": [
        { "type": ["string", "boolean"] }, { "type": "array", "items": { "type": ["string", "boolean"] } }
    ]});
    defs.insert("condition".into(), condition);
    let name = "^[A-Za-z_][A-Za-z0-9_]*$";
    let vars = json!({ "type": "object", "propertyNames": { "pattern": name } });
    defs.insert("vars".into(), json!({ "anyOf": [vars, { "type": "null" }] }));
    defs.insert("loop_control".into(), object(&[keywords::LOOP_CONTROL], &[]));
    defs.insert(
        "tasks".into(),
        json!({ "anyOf": [
            { "type": "array", "items": { "$ref": "#/$defs/task" } }, { "type": "null" }
        ]}),
    );
    defs.insert("play".into(), object(&[keywords::SHARED, keywords::PLAY], &["hosts"]));
    defs.insert("import_playbook".into(), import_playbook());
    for kind in KINDS {
        defs.insert(format!("kind_{}", kind.name), of_kind(kind));
    }
    defs.insert("task".into(), task());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "converge playbook",
        "type": "array",
        "items": {
            "if": { "type": "object", "required": ["import_playbook"] },
            "then": { "$ref": "#/$defs/import_playbook" },
            "else": { "$ref": "#/$defs/play" },
        },
        "$defs": defs,
    })
}

fn import_playbook() -> Json {
    json!({
        "type": "object",
        "properties": {
            "import_playbook": { "type": "string", "description": "A file of plays that stand here." },
            "name": { "type": "string" },
            "tags": { "$ref": "#/$defs/words" },
            "vars": { "$ref": "#/$defs/vars" },
        },
        "required": ["import_playbook"],
        "additionalProperties": false,
    })
}

/// A task: keywords, and exactly one kind or directive.
fn task() -> Json {
    let lists = [keywords::SHARED, keywords::TASK, keywords::DIRECTIVES, keywords::BLOCK];
    let mut task = object(&lists, &[]);
    let mut one_of: Vec<Json> = keywords::DIRECTIVES.iter().map(|(name, ..)| json!({ "required": [name] })).collect();
    if let Some(properties) = task.get_mut("properties").and_then(Json::as_object_mut) {
        for kind in KINDS {
            let reference = format!("#/$defs/kind_{}", kind.name);
            let first = first_sentence(description(&(kind.schema)().to_value()));
            properties.insert(kind.name.into(), json!({ "$ref": reference, "description": first }));
            one_of.push(json!({ "required": [kind.name] }));
        }
    }
    // Ansible's long names mean the same kinds; `validate` looks closer.
    task["patternProperties"] = json!({ "^(ansible\\.|community\\.)": true });
    task["if"] = json!({ "propertyNames": { "not": { "pattern": "^(ansible\\.|community\\.)" } } });
    task["then"] = json!({ "oneOf": one_of });
    task["dependentRequired"] = json!({ "rescue": ["block"], "always": ["block"] });
    task
}

fn object(lists: &[&[Word]], required: &[&str]) -> Json {
    let mut properties = Map::new();
    for (name, takes, text) in lists.iter().copied().flatten() {
        let mut schema = of_word(*takes);
        schema["description"] = json!(text);
        properties.insert((*name).to_owned(), schema);
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn of_word(takes: Takes) -> Json {
    let role = json!({ "type": "object", "properties": {
        "name": { "type": "string" }, "tasks_from": { "type": "string" }, "vars_from": { "type": "string" },
        "defaults_from": { "type": "string" }, "handlers_from": { "type": "string" },
        "apply": { "type": "object" }, "public": { "type": "boolean" }
    }});
    match takes {
        Takes::Text => json!({ "type": ["string", "number", "boolean"] }),
        Takes::Bool => json!({ "enum": [true, false, "yes", "no", "on", "off"] }),
        Takes::Number => json!({ "type": "number", "minimum": 0 }),
        Takes::Words => json!({ "$ref": "#/$defs/words" }),
        Takes::Condition => json!({ "$ref": "#/$defs/condition" }),
        Takes::Vars => json!({ "$ref": "#/$defs/vars" }),
        Takes::Loop => json!({ "anyOf": [{ "type": "array" }, { "$ref": "#/$defs/template" }] }),
        Takes::LoopControl => json!({ "$ref": "#/$defs/loop_control" }),
        Takes::Tasks => json!({ "$ref": "#/$defs/tasks" }),
        Takes::TaskFile => json!({ "anyOf": [{ "type": "string" }, {
            "type": "object",
            "properties": {
                "file": { "type": "string" }, "apply": { "type": "object" }, "name": { "type": "string" }
            },
            "required": ["file"],
            "additionalProperties": false,
        }]}),
        Takes::Role => json!({ "anyOf": [{ "type": "string" }, role] }),
        Takes::Roles => json!({ "type": "array", "items": { "anyOf": [{ "type": "string" }, { "type": "object" }] } }),
        Takes::Args => json!({ "type": "object" }),
        Takes::Meta => {
            let names: Vec<&str> = keywords::META.iter().map(|(name, _)| *name).collect();
            json!({ "enum": names })
        }
        Takes::Serial => {
            let one = json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "pattern": "%$" }] });
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
    }
}

/// The schema of a kind's arguments. Its own definitions are written out in place: they are few and small, and
/// kinds may use the same names for different things.
fn of_kind(kind: &Kind) -> Json {
    let mut schema = (kind.schema)().to_value();
    let defs = schema.as_object_mut().and_then(|map| map.remove("$defs")).unwrap_or(json!({}));
    if let Some(map) = schema.as_object_mut() {
        map.remove("$schema");
        map.remove("title");
    }
    let needs_nothing = schema.get("required").and_then(Json::as_array).is_none_or(Vec::is_empty);
    let mut schema = with_templates(&schema, &defs, true, 0);
    let mut others = Vec::new();
    if kind.free_form.is_some() {
        others.push(json!({ "type": ["string", "number"] }));
    }
    if needs_nothing {
        others.push(json!({ "type": "null" }));
    }
    others.push(json!({ "$ref": "#/$defs/template" }));
    let description = schema.as_object_mut().and_then(|map| map.remove("description"));
    others.insert(0, schema);
    json!({ "description": description, "anyOf": others })
}

/// Levels of references written out; a type that holds itself ends as "anything".
const MAX_DEPTH: usize = 8;

fn with_templates(schema: &Json, defs: &Json, outermost: bool, depth: usize) -> Json {
    let Some(map) = schema.as_object() else { return schema.clone() };
    if depth > MAX_DEPTH {
        return json!({});
    }
    if let Some(name) = map.get("$ref").and_then(Json::as_str).and_then(|name| name.strip_prefix("#/$defs/")) {
        let mut target = with_templates(defs.get(name).unwrap_or(&Json::Null), defs, outermost, depth + 1);
        if let (Some(target), Some(description)) = (target.as_object_mut(), map.get("description")) {
            target.insert("description".into(), description.clone());
        }
        return target;
    }
    let inner = |schema: &Json| with_templates(schema, defs, false, depth + 1);
    let mut out = Map::new();
    for (key, value) in map {
        let value = match (key.as_str(), value) {
            ("properties", Json::Object(fields)) => {
                Json::Object(fields.iter().map(|(name, field)| (name.clone(), inner(field))).collect())
            }
            ("items" | "additionalProperties", value) => inner(value),
            ("anyOf" | "oneOf" | "allOf", Json::Array(all)) => Json::Array(all.iter().map(inner).collect()),
            ("format", _) => continue,
            (_, value) => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    if outermost {
        return Json::Object(out);
    }
    loosened(out)
}

/// YAML's readings of a value that `validate` takes as well: text that looks like a number, `yes`, a template.
fn loosened(mut schema: Map<String, Json>) -> Json {
    let types: Vec<String> = match schema.get("type") {
        Some(Json::String(one)) => vec![one.clone()],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let is = |name: &str| types.iter().any(|t| t == name);
    if is("string") && !schema.contains_key("enum") {
        let mut all: Vec<&str> = types.iter().map(String::as_str).collect();
        all.extend(["number", "boolean"].iter().filter(|name| !is(name)));
        schema.insert("type".into(), json!(all));
        return Json::Object(schema);
    }
    if types.is_empty() && !schema.contains_key("enum") && !schema.contains_key("const") {
        return Json::Object(schema);
    }
    let mut out = Map::new();
    for key in ["description", "default"] {
        if let Some(value) = schema.remove(key) {
            out.insert(key.into(), value);
        }
    }
    let mut any = vec![Json::Object(schema)];
    if is("boolean") {
        any.push(json!({ "enum": ["yes", "no", "on", "off"] }));
    }
    any.push(json!({ "$ref": "#/$defs/template" }));
    out.insert("anyOf".into(), Json::Array(any));
    Json::Object(out)
}

pub fn description(schema: &Json) -> &str {
    schema.get("description").and_then(Json::as_str).unwrap_or_default()
}

/// Up to the first `.`, `:` or `;` that ends a part of the sentence, on one line.
pub fn first_sentence(text: &str) -> String {
    let text = text.replace('\n', " ");
    match [". ", ": ", "; "].iter().filter_map(|end| text.find(end)).min() {
        Some(end) => text[..end].to_owned(),
        None => text.trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests;
