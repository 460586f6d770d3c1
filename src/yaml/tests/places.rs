use super::*;
use crate::yaml::Value;

/// Every scalar stands where its span says, whatever the line ends and characters before it.
fn assert_places(sources: &Sources, node: &Node) {
    match &node.value {
        Value::Scalar { text, plain: true } => {
            if !text.contains('\n') && !text.contains(' ') {
                assert_eq!(sources.written(node.span), text);
            }
        }
        Value::Scalar { text, .. } => {
            let written = sources.written(node.span);
            // A block's place is its content, not the `|`.
            let quoted = written.starts_with(['"', '\'']) && written.ends_with(['"', '\'']);
            assert!(quoted || written.starts_with("first"), "{text:?} is said to be written as {written:?}");
        }
        Value::Sequence(items) => items.iter().for_each(|item| assert_places(sources, item)),
        Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            assert_places(sources, key);
            assert_places(sources, value);
        }),
    }
}

#[test]
fn scalars_stand_where_their_span_says() {
    let text = "# größer 🦀\nü: \"ä\"\nlist:\n  - one\n  - 'zwei'\n  - {a: b, ç: [d, \"é\"]}\nblock: |\n  first\n  zweite Zeile ü\nempty:\nlast: 🦀\n";
    for text in [text.to_owned(), text.replace('\n', "\r\n"), format!("\u{feff}{text}"), format!("---\n{text}...\n")] {
        let (sources, node) = tree(&text);
        assert_places(&sources, &node);
        assert_eq!(node.get("last").and_then(Node::as_str), Some("🦀"));
        assert_eq!(node.get("block").and_then(Node::as_str), Some("first\nzweite Zeile ü\n"));
        let list = node.get("list").and_then(Node::items).expect("a list");
        assert_eq!(list[2].get("ç").and_then(|n| n.items()).map(<[Node]>::len), Some(2));
    }
}

#[test]
fn scalars_are_kept_as_written() {
    let (_, node) = tree("a: 1.10\nb: 0644\nc: no\nd: 1e3\ne: 12:30:45\nf: 0x1f\n");
    for (key, text) in [("a", "1.10"), ("b", "0644"), ("c", "no"), ("d", "1e3"), ("e", "12:30:45"), ("f", "0x1f")] {
        assert_eq!(node.get(key).and_then(Node::as_str), Some(text));
    }
    let json = node.to_json();
    assert_eq!(
        json,
        serde_json::json!({"a": "1.10", "b": "0644", "c": false, "d": "1e3", "e": "12:30:45", "f": "0x1f"})
    );
}

#[test]
fn plain_words_get_their_meaning_and_quoted_ones_stay_text() {
    let (_, node) = tree("[yes, 'yes', ~, '', null, 7, -3, \"7\", 0.5, 1.50, !!str 7, .5, 18446744073709551615]");
    let expected = serde_json::json!([
        true,
        "yes",
        null,
        "",
        null,
        7,
        -3,
        "7",
        0.5,
        "1.50",
        "7",
        ".5",
        18_446_744_073_709_551_615_u64
    ]);
    assert_eq!(node.to_json(), expected);
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let (_, node) =
        tree("base: &b {a: 1, b: 2}\nextra: &e {b: 3, c: 4}\nall: {<<: [*b, *e], a: 9}\none:\n  <<: *b\n  d: *e\n");
    assert_eq!(node.get("all").unwrap().to_json(), serde_json::json!({"a": 9, "b": 2, "c": 4}));
    assert_eq!(node.get("one").unwrap().to_json(), serde_json::json!({"a": 1, "b": 2, "d": {"b": 3, "c": 4}}));
}

#[test]
fn json_and_back() {
    let json = serde_json::json!({"a": [1, "1", true, "yes", null, 0.5], "b": {"c": ""}});
    assert_eq!(Node::from_json(&json, crate::diagnostic::Span::default()).to_json(), json);
}
