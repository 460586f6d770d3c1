use super::*;
use minijinja::context;

fn text(expression: &str) -> String {
    eval(expression, &context! { r => context! { changed => true, failed => false }, list => vec![1, 2, 2] })
        .map_or_else(|e| explain(&e), |v| v.to_string())
}

#[test]
fn filters_answer_as_ansible_does() {
    let cases = [
        ("'yes' | bool", "True"),
        ("'no' | bool", "False"),
        ("'a.b' | regex_replace('(a)\\\\.(b)', '\\\\2-\\\\1')", "b-a"),
        ("'/etc/drbd.d/nfs1.res' | basename", "nfs1.res"),
        ("'/etc/drbd.d/nfs1.res' | dirname", "/etc/drbd.d"),
        ("'9.10' is version('9.9', '>')", "True"),
        ("r is changed", "True"),
        ("r is failed", "False"),
        ("('a b') | quote", "'a b'"),
        ("({'a': 1} | combine({'b': 2})) | to_json", "{\"a\":1,\"b\":2}"),
        ("list | union([3]) | join(',')", "1,2,3"),
        ("'x' | hash('sha256') | length", "64"),
        ("missing | default('d')", "d"),
    ];
    for (expression, expected) in cases {
        assert_eq!(text(expression), expected, "{expression}");
    }
}

#[test]
fn undefined_is_an_error_and_says_so() {
    assert!(text("missing + 1").contains("undefined"), "{}", text("missing + 1"));
    assert!(render("{{ missing }}", &context! {}).is_err());
}

#[test]
fn a_template_that_never_ends_ends() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
    assert!(render(endless, &context! {}).is_err());
}

#[test]
fn sole_expressions_are_told_from_text() {
    assert_eq!(sole_expression(" {{ a }} "), Some("a"));
    assert_eq!(sole_expression("{{ a }} {{ b }}"), None);
    assert_eq!(sole_expression("x{{ a }}"), None);
}
