use super::*;
use crate::diagnostic::{Sources, Span};
use crate::yaml;

/// As much of draft 2020-12 as the schema uses; a keyword it does not know is a failure of the test.
fn fits(schema: &Json, value: &Json, root: &Json) -> Result<(), String> {
    let Some(map) = schema.as_object() else {
        return if schema == &json!(false) { Err(format!("{value} is not allowed")) } else { Ok(()) };
    };
    for (key, rule) in map {
        let all = || rule.as_array().into_iter().flatten();
        let fields = value.as_object();
        match key.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "then" | "else" => {}
            "$ref" => {
                let name = rule.as_str().and_then(|r| r.strip_prefix("#/$defs/")).expect("a local reference");
                fits(root["$defs"].get(name).expect("a definition"), value, root)?;
            }
            "type" => {
                let is = |name: &str| match name {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("type {other}"),
                };
                let fits = match rule {
                    Json::String(name) => is(name),
                    _ => all().filter_map(Json::as_str).any(is),
                };
                if !fits {
                    return Err(format!("{value} is not of type {rule}"));
                }
            }
            "enum" if !all().any(|allowed| allowed == value) => return Err(format!("{value} is none of {rule}")),
            "const" if rule != value => return Err(format!("{value} is not {rule}")),
            "enum" | "const" => {}
            "anyOf" if !all().any(|s| fits(s, value, root).is_ok()) => {
                let why: Vec<String> = all().filter_map(|s| fits(s, value, root).err()).collect();
                return Err(format!("{value} fits none: {}", why.join("; ")));
            }
            "oneOf" if all().filter(|s| fits(s, value, root).is_ok()).count() != 1 => {
                return Err(format!("{value} does not fit exactly one of {rule}"));
            }
            "anyOf" | "oneOf" => {}
            "allOf" => all().try_for_each(|s| fits(s, value, root))?,
            "not" if fits(rule, value, root).is_ok() => return Err(format!("{value} fits {rule}")),
            "not" => {}
            "if" => {
                let next = if fits(rule, value, root).is_ok() { "then" } else { "else" };
                fits(map.get(next).unwrap_or(&json!(true)), value, root)?;
            }
            "required" => {
                for name in all().filter_map(Json::as_str) {
                    if fields.is_some_and(|f| !f.contains_key(name)) {
                        return Err(format!("`{name}` is missing"));
                    }
                }
            }
            "dependentRequired" => {}
            "properties" | "patternProperties" | "additionalProperties" => {
                for (name, field) in fields.into_iter().flatten() {
                    let known = map.get("properties").and_then(|p| p.get(name));
                    let long = map.contains_key("patternProperties") && name.contains('.');
                    match known {
                        Some(schema) => fits(schema, field, root).map_err(|why| format!("{name}: {why}"))?,
                        None if long => {}
                        None => {
                            let other = map.get("additionalProperties").unwrap_or(&json!(true));
                            fits(other, field, root).map_err(|why| format!("{name}: {why}"))?;
                        }
                    }
                }
            }
            "propertyNames" => {
                for name in fields.into_iter().flatten().map(|(name, _)| name) {
                    fits(rule, &json!(name), root)?;
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| fits(rule, item, root))?,
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                if value.is_string() && !regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text) {
                    return Err(format!("{value} does not match {rule}"));
                }
            }
            "minimum" if value.as_f64().is_some_and(|n| n < rule.as_f64().unwrap()) => {
                return Err(format!("{value} is less than {rule}"));
            }
            "maximum" if value.as_f64().is_some_and(|n| n > rule.as_f64().unwrap()) => {
                return Err(format!("{value} is more than {rule}"));
            }
            "minItems" | "maxItems" | "minLength" | "maxLength" | "uniqueItems" => {}
            "minimum" | "maximum" => {}
            other => panic!("the test does not know `{other}`"),
        }
    }
    Ok(())
}

fn json_of(text: &str) -> Json {
    let mut sources = Sources::default();
    let file = sources.add("x.yml", text);
    yaml::parse(&sources, file).unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false))).to_json()
}

#[test]
fn every_example_fits() {
    let schema = schema();
    for kind in KINDS {
        let tasks = json_of(kind.example);
        let playbook = json!([{ "hosts": "nodes", "tasks": tasks }]);
        fits(&schema, &playbook, &schema).unwrap_or_else(|why| panic!("the example of {}: {why}", kind.name));
    }
}

#[test]
fn every_example_is_valid() {
    for kind in KINDS {
        let mut sources = Sources::default();
        let file = sources.add("x.yml", kind.example);
        let node = yaml::parse(&sources, file).expect("the example is YAML");
        for task in node.items().expect("a list of tasks") {
            let args = task.entries().into_iter().flatten().find(|(key, _)| key.as_str() == Some(kind.name));
            if let Some((_, args)) = args {
                let faults = (kind.check)(args);
                assert!(faults.is_empty(), "{}: {}", kind.name, sources.show(&faults, false));
            }
        }
    }
}

#[test]
fn misspelt_words_do_not_fit() {
    let schema = schema();
    let bad = [
        "- hots: nodes\n",
        "- hosts: nodes\n  tasks:\n    - comand: a\n",
        "- hosts: nodes\n  tasks:\n    - copy: {contnet: a, dest: /a}\n",
        "- hosts: nodes\n  tasks:\n    - copy: {content: a}\n",
        "- hosts: nodes\n  tasks:\n    - command: a\n      wen: true\n",
        "- hosts: nodes\n  tasks:\n    - command: a\n      fail: {msg: a}\n",
        "- hosts: nodes\n  tasks:\n    - meta: flush\n",
        "hosts: nodes\n",
    ];
    for text in bad {
        assert!(fits(&schema, &json_of(text), &schema).is_err(), "{text}");
    }
}

#[test]
fn everything_the_loader_knows_is_in_the_tables() {
    let names = |lists: &[&[Word]]| -> Vec<&str> {
        let mut names: Vec<&str> = lists.iter().copied().flatten().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&[keywords::SHARED, keywords::PLAY]), crate::playbook::play::KEYS);
    let task = [keywords::SHARED, keywords::TASK, keywords::DIRECTIVES, keywords::BLOCK];
    assert_eq!(names(&task), crate::playbook::tasks::KEYWORDS);
}

#[test]
fn every_kind_is_explained() {
    let list = crate::playbook::explain::list();
    let mut missing = Vec::new();
    for kind in KINDS {
        assert!(list.contains(kind.name));
        let text = crate::playbook::explain::explain(kind.name).expect("it is a kind");
        let schema = (kind.schema)().to_value();
        assert!(!description(&schema).is_empty(), "{} has no documentation", kind.name);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            assert!(text.contains(&format!("  {name}: ")), "{}: {name} is not in\n{text}", kind.name);
            if description(field).is_empty() {
                missing.push(format!("{}.{name}", kind.name));
            }
        }
        assert!(text.contains("Example:\n  - "), "{}", kind.name);
        assert!(text.lines().all(|line| line.chars().count() <= 200), "{text}");
    }
    assert!(missing.is_empty(), "without documentation: {missing:?}");
    for word in ["play", "task", "block"] {
        assert!(crate::playbook::explain::explain(word).is_ok());
    }
    let told = crate::playbook::explain::explain("comand").expect_err("no kind");
    assert_eq!(told, "there is no kind `comand`; did you mean `command`?");
}

#[test]
fn json_from_a_place_is_json_again() {
    let value = json_of("a: [1, yes, {b: ~}]\n");
    assert_eq!(yaml::Node::from_json(&value, Span::default()).to_json(), value);
}
