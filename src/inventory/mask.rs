//! Texts of inventories with the values of passwords covered, for the lines that faults show.
//!
//! Rather too much is covered than too little: under `login:` of a cluster.yml everything but the words that say where a
//! secret lies, elsewhere what a name tells to be a secret, also a name with a letter wrong.

use crate::diagnostic::closest;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// A name, what stands between, and the value up to where it must end at the latest.
static PAIR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([\w-]+)["']?([ \t]*[=:][ \t]*)("[^"\n]*"|'[^'\n]*'|[^\s{\[][^\n]*)"#)
        .expect("a pattern written here")
});

/// What says where a secret lies, or is none.
const OPEN: [&str; 5] = ["user", "env", "file", "command", "prompt"];

/// The same text, every place where it was.
pub fn mask(text: &str) -> String {
    let mut masked = text.to_owned();
    // The column of a key that holds secrets, while lines below stand further in.
    let (mut login, mut block): (Option<usize>, Option<usize>) = (None, None);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        let line = line.trim_end_matches(['\n', '\r']);
        if line.trim().is_empty() {
            continue;
        }
        let column = line.len() - line.trim_start().len();
        login = login.filter(|of| column > *of);
        block = block.filter(|of| column > *of);
        if block.is_some() {
            cover(&mut masked, begin + column..begin + line.len());
            continue;
        }
        let key = line.trim_start().split(':').next().unwrap_or_default().trim_matches(['"', '\'']);
        if key == "login" && line.contains(':') {
            login = Some(column);
        }
        let mut from = 0;
        while let Some(found) = PAIR.captures_at(line, from) {
            let (name, between, value) = (&found[1], &found[2], found.get(3).expect("the pattern has three groups"));
            from = found.get(2).expect("the pattern has three groups").end();
            let secret = tells(name) || name == "login" || (login.is_some() && !OPEN.contains(&name));
            if !secret || harmless(value.as_str()) {
                continue;
            }
            let colon = between.contains(':');
            if colon && value.as_str().starts_with(['|', '>', '!']) {
                block = Some(column);
            }
            let end = match value.as_str().starts_with(['"', '\'']) {
                true => value.end(),
                // After a colon a value goes on to the end of the line; after `=` a blank ends it.
                false if colon => line.len(),
                false => value.start() + value.as_str().find([' ', '\t']).unwrap_or(value.len()),
            };
            cover(&mut masked, begin + value.start()..begin + end);
            from = end;
        }
    }
    masked
}

fn cover(text: &mut String, range: Range<usize>) {
    let stars = "*".repeat(range.len());
    text.replace_range(range, &stars);
}

fn harmless(value: &str) -> bool {
    let word = value.split([' ', ',', '}', '#']).next().unwrap_or_default();
    matches!(word, "prompt" | "null" | "~") || value.starts_with("{{")
}

/// Whether a name tells of a secret. What names where a secret lies (`…_key_file`) is none.
fn tells(name: &str) -> bool {
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split(['-', '_']).filter(|word| !word.is_empty()).collect();
    let last = words.last().copied().unwrap_or_default();
    if matches!(last, "file" | "path" | "dir" | "from") {
        return false;
    }
    let near = ["password", "passphrase", "passwd", "secret", "token", "credential"];
    matches!(last, "pw" | "pwd" | "key" | "pin")
        || words.iter().any(|word| word.starts_with("pass") || (word.len() >= 5 && closest(word, near).is_some()))
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn secrets_are_covered_and_everything_else_stays_where_it_was() {
        for (text, shown) in [
            ("ansible_password=hunter2 x=1", "ansible_password=******* x=1"),
            ("a vault_pw='a b' x=1", "a vault_pw=***** x=1"),
            ("password: 'two words'", "password: ***********"),
            ("password: two words, and more", "password: *******************"),
            ("password: { env: NAME }", "password: { env: NAME }"),
            ("secret: prompt", "secret: prompt"),
            ("pasword: hunter2", "pasword: *******"),
            ("db_passphrase=hunter2", "db_passphrase=*******"),
            ("  api_key: hunter2 # x", "  api_key: ***********"),
            ("db_token: {{ lookup }}", "db_token: {{ lookup }}"),
            ("ansible_ssh_private_key_file=/k/x", "ansible_ssh_private_key_file=/k/x"),
            ("hosts: { a: 1 }", "hosts: { a: 1 }"),
            ("password: |\n  hunter2\n  two\nx: y", "password: *\n  *******\n  ***\nx: y"),
            (
                "login: { user: root@pam, whatever: hunter2 }\nx: y",
                "login: { user: root@pam, whatever: *********\nx: y",
            ),
            (
                "login:\n  usr: a\n  token: b\n  secret: { file: f }\nx: y",
                "login:\n  usr: *\n  token: *\n  secret: { file: f }\nx: y",
            ),
            ("login: hunter2", "login: *******"),
        ] {
            let masked = mask(text);
            assert_eq!(masked.len(), text.len(), "{text}");
            assert_eq!(masked, shown, "{text}");
        }
    }
}
