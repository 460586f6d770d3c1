//! Texts before and after, in `tests/cases/tls/`; and that whatever is made of a file says what was meant.

use super::*;

const PINS: [&str; 3] = ["A", "B", "C"];

fn pin(letter: &str) -> String {
    vec![letter.repeat(2); 32].join(":")
}

/// A case: `ca` or `pins A B` on the first line, then the text, a line `=====`, and the text wanted, where `<A>` stands
/// for a fingerprint of As. `refused: WORDS` in its place: what the error says.
fn wanted(line: &str) -> NewTls {
    let mut words = line.split_whitespace();
    match words.next() {
        Some("ca") => NewTls::CaFile(words.next().unwrap().to_owned()),
        Some("pins") => NewTls::Fingerprints(
            words.map(|letter| Pin { fingerprint: pin(letter), note: format!("node {letter}") }).collect(),
        ),
        other => panic!("{other:?}"),
    }
}

fn long(text: &str) -> String {
    PINS.iter().fold(text.to_owned(), |text, letter| text.replace(&format!("<{letter}>"), &pin(letter)))
}

#[test]
fn the_text_keeps_everything_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tls");
    let mut seen = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let case = std::fs::read_to_string(&path).unwrap();
        let (head, case) = case.split_once('\n').unwrap();
        let (before, after) = case.split_once("=====\n").unwrap();
        for end in ["\n", "\r\n"] {
            let text = |text: &str| long(text).replace('\n', end);
            let edited = with_tls(&text(before), Path::new("cluster.yml"), &wanted(head));
            match (edited, after.strip_prefix("refused: ")) {
                (Ok(edited), None) => assert_eq!(edited, text(after), "{}", path.display()),
                (Err(why), Some(words)) => assert!(why.contains(words.trim()), "{}: {why}", path.display()),
                (other, _) => panic!("{}: {other:?}", path.display()),
            }
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen} cases");
}

#[test]
fn a_file_without_a_last_line_end_and_edits_of_edits() {
    let start = "login: { user: root@pam }\nendpoints: [pve1]";
    let ca = NewTls::CaFile("it's ours.pem".into());
    let with_ca = with_tls(start, Path::new("c.yml"), &ca).unwrap();
    assert_eq!(with_ca, format!("{start}\ntls: {{ ca_file: 'it''s ours.pem' }}"));
    let pinned = with_tls(&with_ca, Path::new("c.yml"), &wanted("pins A B")).unwrap();
    assert_eq!(pinned, long(&format!("{start}\ntls:\n  fingerprints:\n    - '<A>'  # node A\n    - '<B>'  # node B")));
    let other = with_tls(&pinned, Path::new("c.yml"), &wanted("pins C")).unwrap();
    assert_eq!(other, long(&format!("{start}\ntls:\n  fingerprints:\n    - '<C>'  # node C")));
    assert_eq!(with_tls(&other, Path::new("c.yml"), &ca).unwrap(), with_ca);
}
