//! Filters, tests and functions beyond Jinja's own, named and behaving as Ansible's.

use base64::Engine as _;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};
use sha2::Digest as _;
use std::collections::BTreeMap;

pub fn register(env: &mut Environment<'static>) {
    env.add_filter("bool", to_bool);
    env.add_filter("to_json", |v: Value| json(&v, false));
    env.add_filter("to_nice_json", |v: Value| json(&v, true));
    env.add_filter("from_json", |text: String| parse_json(&text));
    env.add_filter("to_yaml", |v: Value| yaml(&v));
    env.add_filter("to_nice_yaml", |v: Value| yaml(&v));
    env.add_filter("from_yaml", |text: String| {
        serde_yaml::from_str::<serde_json::Value>(&text).map(|v| Value::from(Serde(v))).map_err(bad)
    });
    env.add_filter("b64encode", |text: String| base64::engine::general_purpose::STANDARD.encode(text));
    env.add_filter("b64decode", b64decode);
    env.add_filter("hash", hash);
    env.add_filter("quote", quote);
    env.add_filter("basename", |path: String| path.rsplit('/').next().unwrap_or_default().to_owned());
    env.add_filter("dirname", dirname);
    env.add_filter("regex_replace", regex_replace);
    env.add_filter("regex_search", regex_search);
    env.add_filter("regex_findall", regex_findall);
    env.add_filter("regex_escape", |text: String| regex::escape(&text));
    env.add_filter("ternary", |v: Value, yes: Value, no: Value| if v.is_true() { yes } else { no });
    env.add_filter("combine", combine);
    env.add_filter("dict2items", dict2items);
    env.add_filter("items2dict", items2dict);
    env.add_filter("mandatory", mandatory);
    env.add_filter("comment", |text: String| text.lines().map(|l| format!("# {l}")).collect::<Vec<_>>().join("\n"));
    env.add_filter("union", |a: Vec<Value>, b: Vec<Value>| unique(a.into_iter().chain(b)));
    env.add_filter("difference", |a: Vec<Value>, b: Vec<Value>| unique(a.into_iter().filter(|v| !b.contains(v))));
    env.add_filter("intersect", |a: Vec<Value>, b: Vec<Value>| unique(a.into_iter().filter(|v| b.contains(v))));
    env.add_filter("flatten", flatten);
    env.add_filter("type_debug", |v: Value| v.kind().to_string());

    env.add_test("changed", |v: Value| flag(&v, "changed"));
    env.add_test("change", |v: Value| flag(&v, "changed"));
    env.add_test("failed", |v: Value| flag(&v, "failed"));
    env.add_test("succeeded", |v: Value| Ok::<_, Error>(!flag(&v, "failed")?));
    env.add_test("success", |v: Value| Ok::<_, Error>(!flag(&v, "failed")?));
    env.add_test("skipped", |v: Value| flag(&v, "skipped"));
    env.add_test("match", |v: String, re: String| compile(&format!("^(?:{re})")).map(|r| r.is_match(&v)));
    env.add_test("search", |v: String, re: String| compile(&re).map(|r| r.is_match(&v)));
    env.add_test("regex", |v: String, re: String| compile(&re).map(|r| r.is_match(&v)));
    env.add_test("version", version_test);
    env.add_test("subset", |a: Vec<Value>, b: Vec<Value>| a.iter().all(|v| b.contains(v)));
    env.add_test("superset", |a: Vec<Value>, b: Vec<Value>| b.iter().all(|v| a.contains(v)));
    env.add_test("contains", |a: Value, b: Value| a.try_iter().map(|mut i| i.any(|v| v == b)));

    env.add_function("lookup", lookup);
    env.add_function("q", lookup);
}

fn bad(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.to_string())
}

fn to_bool(v: Value) -> bool {
    match v.as_str() {
        Some(text) => matches!(text.to_ascii_lowercase().as_str(), "yes" | "on" | "1" | "true"),
        None => v.is_true(),
    }
}

fn json(v: &Value, pretty: bool) -> Result<String, Error> {
    let text = if pretty { serde_json::to_string_pretty(v) } else { serde_json::to_string(v) };
    text.map_err(bad)
}

fn parse_json(text: &str) -> Result<Value, Error> {
    serde_json::from_str::<serde_json::Value>(text).map(|v| Value::from(Serde(v))).map_err(bad)
}

fn yaml(v: &Value) -> Result<String, Error> {
    serde_yaml::to_string(v).map_err(bad)
}

fn b64decode(text: String) -> Result<String, Error> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).map_err(bad)?;
    String::from_utf8(bytes).map_err(bad)
}

fn hash(text: String, kind: Option<String>) -> Result<String, Error> {
    match kind.as_deref() {
        Some("sha256") => Ok(hex(&sha2::Sha256::digest(text))),
        Some("sha512") => Ok(hex(&sha2::Sha512::digest(text))),
        other => Err(bad(format!("hash: `{}` is not offered; use sha256 or sha512", other.unwrap_or("sha1")))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn quote(text: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\"'\"'")) }
}

fn dirname(path: String) -> String {
    path.rsplit_once('/').map_or_else(String::new, |(dir, _)| dir.to_owned())
}

fn compile(re: &str) -> Result<regex::Regex, Error> {
    regex::Regex::new(re).map_err(|e| bad(format!("regular expression `{re}`: {e}")))
}

fn regex_replace(text: String, re: String, with: String) -> Result<String, Error> {
    // Python writes groups as \1 and \g<name>, the regex crate as ${1}.
    let groups = compile(r"\\g<(\w+)>|\\(\d)")?;
    let with = with.replace('$', "$$");
    let with = groups.replace_all(&with, |c: &regex::Captures<'_>| {
        format!("${{{}}}", c.get(1).or(c.get(2)).map_or("0", |m| m.as_str()))
    });
    Ok(compile(&re)?.replace_all(&text, with.as_ref()).into_owned())
}

fn regex_search(text: String, re: String) -> Result<Value, Error> {
    Ok(compile(&re)?.find(&text).map_or_else(|| Value::from(()), |m| Value::from(m.as_str())))
}

fn regex_findall(text: String, re: String) -> Result<Vec<String>, Error> {
    Ok(compile(&re)?
        .captures_iter(&text)
        .filter_map(|c| c.get(1).or(c.get(0)).map(|m| m.as_str().to_owned()))
        .collect())
}

fn entries(v: &Value) -> Result<Vec<(Value, Value)>, Error> {
    if v.kind() != ValueKind::Map {
        return Err(bad(format!("expected a mapping, got {}", v.kind())));
    }
    v.try_iter()?.map(|key| Ok((key.clone(), v.get_item(&key)?))).collect()
}

fn combine(first: Value, others: minijinja::value::Rest<Value>, options: Kwargs) -> Result<Value, Error> {
    let recursive = options.get::<Option<bool>>("recursive")?.unwrap_or(false);
    options.assert_all_used()?;
    others.iter().try_fold(first, |left, right| merge(&left, right, recursive))
}

fn merge(left: &Value, right: &Value, recursive: bool) -> Result<Value, Error> {
    let mut all: BTreeMap<Value, Value> = entries(left)?.into_iter().collect();
    for (key, value) in entries(right)? {
        let value = match all.get(&key) {
            Some(old) if recursive && old.kind() == ValueKind::Map && value.kind() == ValueKind::Map => {
                merge(old, &value, true)?
            }
            _ => value,
        };
        all.insert(key, value);
    }
    Ok(Value::from_object(all))
}

fn dict2items(v: Value) -> Result<Vec<Value>, Error> {
    Ok(entries(&v)?.into_iter().map(|(key, value)| minijinja::context! { key, value }).collect())
}

fn items2dict(v: Vec<Value>) -> Result<Value, Error> {
    let pairs: Result<Vec<(Value, Value)>, Error> =
        v.iter().map(|i| Ok((i.get_attr("key")?, i.get_attr("value")?))).collect();
    Ok(Value::from_object(pairs?.into_iter().collect::<BTreeMap<Value, Value>>()))
}

fn mandatory(v: Value) -> Result<Value, Error> {
    if v.is_undefined() { Err(bad("a mandatory variable is not defined")) } else { Ok(v) }
}

fn unique(values: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut kept = Vec::new();
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

fn flatten(v: Vec<Value>) -> Result<Vec<Value>, Error> {
    let mut flat = Vec::new();
    for item in v {
        if item.kind() == ValueKind::Seq {
            flat.extend(flatten(item.try_iter()?.collect())?);
        } else {
            flat.push(item);
        }
    }
    Ok(flat)
}

/// `result is changed`: only what a task registered can be asked.
fn flag(v: &Value, name: &str) -> Result<bool, Error> {
    if v.kind() != ValueKind::Map {
        return Err(bad(format!("`is {name}` wants the result of a task, got {}", v.kind())));
    }
    Ok(v.get_attr(name)?.is_true())
}

fn version_test(v: String, other: String, operator: Option<String>) -> Result<bool, Error> {
    let order = compare_versions(&v, &other);
    match operator.as_deref().unwrap_or("==") {
        "==" | "=" | "eq" => Ok(order.is_eq()),
        "!=" | "<>" | "ne" => Ok(order.is_ne()),
        "<" | "lt" => Ok(order.is_lt()),
        "<=" | "le" => Ok(order.is_le()),
        ">" | "gt" => Ok(order.is_gt()),
        ">=" | "ge" => Ok(order.is_ge()),
        other => Err(bad(format!("version: unknown operator `{other}`"))),
    }
}

/// Numbers by value, words by letters: 9.10 > 9.9, as Ansible's loose comparison.
fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Part {
        Word(String),
        Number(u64),
    }
    let split = |text: &str| -> Vec<Part> {
        let mut parts: Vec<String> = Vec::new();
        let mut last_digit = None;
        for c in text.chars() {
            if !c.is_alphanumeric() {
                last_digit = None;
                continue;
            }
            let digit = c.is_ascii_digit();
            match parts.last_mut() {
                Some(part) if last_digit == Some(digit) => part.push(c),
                _ => parts.push(c.to_string()),
            }
            last_digit = Some(digit);
        }
        parts.into_iter().map(|p| p.parse().map_or(Part::Word(p), Part::Number)).collect()
    };
    split(a).cmp(&split(b))
}

/// `lookup('env', NAME)` and `lookup('file', PATH)`, read on the workstation.
fn lookup(kind: String, what: String) -> Result<String, Error> {
    match kind.as_str() {
        "env" | "ansible.builtin.env" => Ok(std::env::var(&what).unwrap_or_default()),
        "file" | "ansible.builtin.file" => std::fs::read_to_string(&what)
            .map(|text| text.trim_end().to_owned())
            .map_err(|e| bad(format!("lookup file {what}: {e}"))),
        other => Err(bad(format!("lookup `{other}` is not offered; `env` and `file` are"))),
    }
}
