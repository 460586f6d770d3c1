use super::*;

fn span(text: &str, word: &str) -> Span {
    let start = text.find(word).expect("the word is in the text");
    Span { file: 0, start, end: start + word.len() }
}

#[test]
fn looks_as_the_contract_says() {
    let text = "- hosts: nodes\n  tasks:\n    - copy:\n        contnet: \"pool\\n\"\n        dest: /etc/x\n";
    let mut sources = Sources::default();
    sources.add("playbooks/site.yml", text);
    let fault = Fault::new(span(text, "contnet"), "unknown field `contnet`")
        .label("not a field of `copy`")
        .help("did you mean `content`?");
    let expected = "\
error: unknown field `contnet`
 --> playbooks/site.yml:4:9
  |
4 |         contnet: \"pool\\n\"
  |         ^^^^^^^ not a field of `copy`
  |
  = help: did you mean `content`?
";
    assert_eq!(sources.show(&[fault], false), expected);
}

#[test]
fn shows_both_places() {
    let text = "a: 1\nb: 2\na: 3\n";
    let mut sources = Sources::default();
    sources.add("x.yml", text);
    let again = Span { file: 0, start: 10, end: 11 };
    let fault = Fault::new(again, "`a` is written twice").label("again here").also(span(text, "a"), "first here");
    let shown = sources.show(&[fault], false);
    assert!(shown.contains("3 | a: 3\n  | ^ again here"), "{shown}");
    assert!(shown.contains("1 | a: 1\n  | - first here"), "{shown}");
}

#[test]
fn sorts_and_tells_each_once() {
    let text = "one two three\n";
    let mut sources = Sources::default();
    sources.add("x.yml", text);
    let (one, two) = (Fault::new(span(text, "one"), "first"), Fault::new(span(text, "two"), "second"));
    let shown = sources.show(&[two.clone(), one, two], false);
    assert_eq!(shown.matches("error: second").count(), 1);
    assert!(shown.find("first") < shown.find("second"));
}

#[test]
fn cuts_long_lines_and_keeps_the_column() {
    let text = format!("{}needle{}\n", "ü".repeat(100_000), "y".repeat(100_000));
    let mut sources = Sources::default();
    sources.add("x.yml", text.as_str());
    let shown = sources.show(&[Fault::new(span(&text, "needle"), "found")], false);
    assert!(shown.len() < 2000, "{}", shown.len());
    assert!(shown.contains(" --> x.yml:1:100001\n"), "{shown}");
    assert!(shown.contains("^^^^^^"));
}

#[test]
fn any_place_can_be_shown() {
    let text = "a: ü\r\n\tb: 2\n\nend\n";
    let mut sources = Sources::default();
    sources.add("x.yml", text);
    sources.add("empty.yml", "");
    for start in 0..=text.len() + 1 {
        for end in start..=text.len() + 2 {
            let fault =
                Fault::new(Span { file: 0, start, end }, "here").also(Span { file: 0, start: 0, end: 1 }, "and");
            assert!(sources.show(&[fault], false).contains("error: here"));
        }
    }
}

#[test]
fn suggests_what_is_near_and_nothing_else() {
    let known = ["content", "dest", "mode", "owner"];
    assert_eq!(closest("contnet", known), Some("content"));
    assert_eq!(closest("Content", known), Some("content"));
    assert_eq!(closest("dst", known), Some("dest"));
    assert_eq!(closest("group", known), None);
    assert_eq!(closest("x", known), None);
    assert_eq!(closest("taks", ["tags", "tasks"]), Some("tasks"));
}
