use super::*;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Copy {
    dest: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    size: u32,
    #[serde(default)]
    state: State,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    net: Option<Net>,
    #[serde(default)]
    extra: BTreeMap<String, i64>,
    #[serde(default)]
    free: serde_json::Value,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
    Sized(u32),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Net {
    bridge: String,
    ratio: f64,
}

fn shown(text: &str, lenient: bool) -> Result<Option<Copy>, String> {
    let (sources, node) = tree(text);
    let result = if lenient { check_as(&node, Some("copy")) } else { decode_as(&node, Some("copy")).map(Some) };
    result.map_err(|faults| sources.show(&faults, false))
}

#[test]
fn reads_what_fits() {
    let text = "dest: 0644\ncontent: no\nforce: yes\nsize: 7\nstate: absent\ntags: [1.10, b]\nnet: {bridge: vmbr0, ratio: 1}\nextra: {a: -1}\nfree: [no, 1.10, {x: ~}]\n";
    let copy = shown(text, false).expect("no fault").expect("known");
    assert_eq!((copy.dest.as_str(), copy.content.as_deref()), ("0644", Some("no")));
    assert!(copy.force);
    assert_eq!((copy.size, copy.state), (7, State::Absent));
    assert_eq!(copy.tags, ["1.10", "b"]);
    assert_eq!(copy.net, Some(Net { bridge: "vmbr0".to_owned(), ratio: 1.0 }));
    assert_eq!(copy.free, serde_json::json!([false, "1.10", {"x": null}]));
    assert_eq!(shown("dest: a\nstate: {sized: 3}\n", false).unwrap().unwrap().state, State::Sized(3));
}

#[test]
fn tells_every_fault_at_once() {
    let text = "contnet: a\nforce: maybe\nsize: 1.5\nstate: abset\ntags: x\nnet:\n  brdge: x\n  ratio: fast\nextra: {a: b, c: d}\n";
    let told = shown(text, false).expect_err("faults");
    for message in [
        "unknown field `contnet`",
        "did you mean `content`?",
        "missing field `dest`",
        "expected true or false, found text",
        "expected a whole number from 0, found a number with a fraction",
        "unknown value `abset`",
        "did you mean `absent`?",
        "expected a list, found text",
        "unknown field `brdge`",
        "not a field of `net`",
        "missing field `bridge`",
        "expected a number, found text",
    ] {
        assert!(told.contains(message), "{message} is not in\n{told}");
    }
    assert_eq!(told.matches("expected a whole number, found text").count(), 2, "{told}");
    assert_eq!(told.matches("error: ").count(), 11, "{told}");
}

#[test]
fn templates_fit_anything_until_they_are_rendered() {
    let text = "dest: \"{{ a }}\"\nforce: \"{{ b }}\"\nsize: \"{{ c }}\"\nstate: \"{{ d }}\"\ntags: \"{{ e }}\"\nnet: \"{{ f }}\"\nextra: \"{{ g }}\"\n";
    assert_eq!(shown(text, true), Ok(None));
    let told = shown(text, false).expect_err("not yet rendered");
    assert_eq!(told.matches("error: ").count(), 6, "{told}");
    let told = shown(&format!("{text}free: x\nsizes: 3\n"), true).expect_err("an unknown field");
    assert_eq!(told.matches("error: ").count(), 1, "{told}");
}

#[test]
fn numbers_that_could_be_read_two_ways_are_faults() {
    let told = shown("dest: a\nsize: 010\n", false).expect_err("octal?");
    assert!(told.contains("could be decimal or octal"), "{told}");
    let told = shown("dest: a\nsize: 4294967296\n", false).expect_err("too large");
    assert!(told.contains("4294967296 is out of range"), "{told}");
    assert!(shown("dest: a\nsize: -1\n", false).is_err());
}

#[test]
fn nothing_is_no_text() {
    let told = shown("dest:\n", false).expect_err("null");
    assert!(told.contains("expected text, found nothing"), "{told}");
    assert_eq!(shown("dest: ''\ncontent: ~\n", false).unwrap().unwrap().content, None);
}
