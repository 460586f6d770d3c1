use super::*;

fn names(text: &str) -> Vec<(String, usize)> {
    Analyser::new().expression(text).names.clone()
}

#[test]
fn finds_names_and_their_places() {
    assert_eq!(
        names("a.b == c[d] and 'e' in f(g=h)"),
        [("a".into(), 0), ("c".into(), 7), ("d".into(), 9), ("f".into(), 23), ("h".into(), 27)]
    );
    assert_eq!(names("x | default(y)"), [("y".into(), 12)]);
    assert_eq!(names("x is defined and x.y"), []);
    assert_eq!(names("x is not defined or x == 1"), []);
    assert_eq!(names("x.y | default(1)"), [("x".into(), 0)]);
    assert_eq!(names("range(3) | list"), []);
}

#[test]
fn sees_through_templates() {
    let text = "{# a #}{% for i in list %}{{ i.b }} {{ c }}{% endfor %}{% raw %}{{ d }}{% endraw %}{{ '}}' ~ e }}";
    let found = Analyser::new().template(text);
    assert_eq!(found.error, None);
    let at = |word: &str| text.find(word).unwrap();
    let expected = [("list", at("list")), ("c", at("c }}{% endfor")), ("e", at("~ e") + 2)];
    assert_eq!(found.names, expected.map(|(name, at)| (name.to_owned(), at)));
}

#[test]
fn knows_which_filters_exist() {
    let found = Analyser::new().expression("a | to_nice_json | nosuch is defined and b is nosuchtest");
    assert_eq!(found.unknown.iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>(), ["nosuch", "nosuchtest"]);
}

#[test]
fn tells_where_it_does_not_parse() {
    let found = Analyser::new().template("one\n{{ two three }}");
    assert_eq!(found.error.as_ref().map(|(range, _)| range.clone()), Some(11..16));
}

mod arbitrary {
    use super::super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn text_never_panics(text in r#"(\{\{|\}\}|\{%|%\}|\{#|#\}|[a-c.|()\[\]'"\\=ü ]| is | not | defined |raw|endraw){0,30}"#) {
            let mut analyser = Analyser::new();
            analyser.template(&text);
            analyser.expression(&text);
        }
    }
}
