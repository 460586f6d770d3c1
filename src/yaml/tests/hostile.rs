use super::*;

fn tells(text: &str, message: &str) {
    let told = faults(text);
    assert!(told.contains(message), "{message:?} is not in\n{told}");
    assert!(told.len() < 20_000, "the answer is {} bytes long", told.len());
}

#[test]
fn nothing_in_the_file() {
    for text in ["", "\n", "# only a comment\n", "---\n", "---\n...\n", "~\n", "\u{feff}"] {
        tells(text, "the file is empty");
    }
}

#[test]
fn alias_bombs_end_early() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let before = level - 1;
        let list = vec![format!("*a{before}"); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    tells(&bomb, "aliases repeat more than");
    // Few values, much text.
    let mut heavy = format!("a: &a {}\nb:\n", "x".repeat(1_000_000));
    heavy.push_str(&"- *a\n".repeat(1000));
    tells(&heavy, "aliases repeat more than");
    // Merge keys multiply as well.
    let mut merges = String::from("a0: &a0 {k0: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n");
    for level in 1..30 {
        let before = level - 1;
        merges.push_str(&format!("a{level}: &a{level} {{<<: *a{before}, k{level}: [*a{before}, *a{before}]}}\n"));
    }
    tells(&merges, "aliases repeat more than");
}

#[test]
fn an_alias_cannot_hold_itself() {
    tells("a: &a [*a]\n", "an alias inside of what it stands for");
    tells("a: *b\n", "there is no anchor of this name before");
}

#[test]
fn deep_nesting_ends_early() {
    for (open, what) in [("[", "nested"), ("{a: ", "nested"), ("- ", "nested"), ("? ", "nested")] {
        tells(&open.repeat(100_000), what);
    }
    let stairs: String = (0..1000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    tells(&stairs, "nested");
    // Anchors around anchors do not multiply memory.
    let anchors: String = (0..60).map(|n| format!("{}a: &a{n}\n", " ".repeat(n))).collect();
    tells(&format!("{anchors}{}- [{}]\n", " ".repeat(60), "x, ".repeat(100_000)), "values in one file");
}

#[test]
fn too_many_values_end_early() {
    tells(&format!("[{}]", "x,".repeat(1_100_000)), "more than 1000000 values");
}

#[test]
fn files_that_are_not_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let long = vec![b'#'; MAX_BYTES as usize + 1];
    let cases: [(&[u8], &str); 5] = [
        (b"a: \xff\xfe\n", "is not UTF-8 text"),
        (b"\xff\xfea\0:\0", "is UTF-16"),
        (b"\x7fELF\0\0\x01", "is a binary file, not YAML"),
        (&long, "is larger than 8 MiB"),
        (b"\xef\xbb\xbfa: 1\n", ""),
    ];
    for (bytes, message) in cases {
        let path = dir.path().join("x.yml");
        std::fs::write(&path, bytes).expect("it can be written");
        let mut sources = Sources::default();
        match read(&path, &mut sources) {
            Ok(file) => assert!(message.is_empty() && parse(&sources, file).is_ok()),
            Err(fault) => {
                let told = sources.show(&[fault], false);
                assert!(!message.is_empty() && told.contains(message), "{message} is not in\n{told}");
            }
        }
    }
    let mut sources = Sources::default();
    let fault = read(&dir.path().join("none.yml"), &mut sources).expect_err("it is not there");
    assert!(fault.message.ends_with("no such file or directory"), "{}", fault.message);
    let fault = read(dir.path(), &mut sources).expect_err("a directory");
    assert!(fault.message.ends_with("it is a directory"), "{}", fault.message);
}

#[test]
fn endless_files_end() {
    let fault = read(std::path::Path::new("/dev/zero"), &mut Sources::default()).expect_err("endless");
    assert!(fault.message.contains("larger than"), "{}", fault.message);
}

#[test]
fn many_duplicates_are_told_once_each() {
    let text: String = (0..50).map(|n| format!("k{n}: 1\nk{n}: 2\n")).collect();
    assert_eq!(faults(&text).matches("is written twice").count(), 50);
}

/// The parser counts characters; places in files with any characters must still be places.
mod arbitrary {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn text_never_panics(text in r#"([a-c:\-\[\]{},&*!|>'"%@#?~<ü🦀 \t\r\n]|: |- |\n  |\{\{ a \}\}){0,60}"#) {
            let mut sources = Sources::default();
            let file = sources.add("x.yml", text.as_str());
            if let (_, faults) = parse_all(&sources, file) && !faults.is_empty() {
                prop_assert!(sources.show(&faults, false).contains("error: "));
            }
        }
    }
}
