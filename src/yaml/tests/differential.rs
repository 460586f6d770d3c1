//! Against another YAML library, on documents where both give scalars the same meaning.

use super::*;
use crate::yaml::{Value, scalar};
use proptest::prelude::*;
use serde_json::Value as Json;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,6}",
        "[ -~]{0,20}",
        "[a-zü🦀 \\t:#'\"\\\\{}\\[\\],&*!|>%@`-]{0,12}",
        "([a-z ü]{0,8}\n){1,4}",
        "[0-9]{1,4}",
        Just("0644".to_owned()),
        Just("1.10".to_owned()),
        Just("~".to_owned()),
        Just("null".to_owned()),
        Just("{{ x }}".to_owned()),
    ]
    // The other library is of YAML 1.2 here, where these are words and are written without quotes.
    .prop_filter("yes and no", |text| scalar::boolean(text).is_none() || text.eq_ignore_ascii_case("true"))
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        text().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..5)
                .prop_map(|map| Json::Object(map.into_iter().filter(|(k, _)| scalar::boolean(k).is_none()).collect())),
        ]
    })
}

/// A plain scalar without blanks stands at its place letter by letter.
fn places(sources: &Sources, node: &Node) -> Result<(), TestCaseError> {
    match &node.value {
        Value::Scalar { text, plain: true } if !text.contains(char::is_whitespace) => {
            prop_assert_eq!(sources.written(node.span), text);
        }
        Value::Scalar { .. } => {}
        Value::Sequence(items) => items.iter().try_for_each(|item| places(sources, item))?,
        Value::Mapping(entries) => {
            for (key, value) in entries {
                places(sources, key)?;
                places(sources, value)?;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn reads_what_another_library_writes(value in json()) {
        let value = Json::Array(vec![value]);
        let text = serde_yaml::to_string(&value).expect("it can be written");
        let mut sources = Sources::default();
        let file = sources.add("x.yml", text.as_str());
        match parse(&sources, file) {
            Ok(node) => {
                prop_assert_eq!(node.to_json(), value, "{}", text);
                places(&sources, &node)?;
            }
            Err(faults) => prop_assert!(false, "{}\n{}", text, sources.show(&faults, false)),
        }
    }

    #[test]
    fn agrees_on_what_is_written_by_hand(
        text in r#"((  )?(- |[a-z]{1,3}: ?|[a-z]{1,3}|'[a-z ]*'|"[a-z ]*"|\[[a-z], [a-z]\]|\{[a-z]: [a-z]\}|\|)?\n){1,8}"#
    ) {
        let mut sources = Sources::default();
        let file = sources.add("x.yml", text.as_str());
        let ours = parse(&sources, file).ok();
        let theirs = serde_yaml::from_str::<Json>(&text).ok();
        // Where only one of them reads it, the differences are in what is forbidden; duplicate keys, for one.
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            prop_assert_eq!(ours.to_json(), theirs, "{}", text);
        }
    }
}
