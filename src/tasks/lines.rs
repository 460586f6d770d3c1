//! Editing text files: what `lineinfile`, `blockinfile` and `replace` have in common.
//!
//! Patterns are Ansible's (Python's `re`) as far as Rust's `regex` has them; look-around and back-references in a
//! pattern are refused with a text that says so instead of meaning something else.

use super::managed::{Found, Plan, Wanted};
use super::{ArgFault, Verdict};
use regex::{Regex, RegexBuilder};

/// A pattern with Python's multi-line mode as Ansible's modules use it; `dot_all` as `replace` does in its
/// `before` and `after`.
pub(super) fn pattern(text: &str, multi_line: bool, dot_all: bool) -> Result<Regex, String> {
    for (mark, what) in [
        ("(?=", "look-ahead"),
        ("(?!", "look-ahead"),
        ("(?<=", "look-behind"),
        ("(?<!", "look-behind"),
        ("(?P=", "a back-reference"),
        ("(?(", "a conditional"),
        ("(?#", "a comment"),
    ] {
        if unescaped(text, mark) {
            return Err(format!("{what} (`{mark}`) is not supported in patterns"));
        }
    }
    if let Some(digit) = ('1'..='9').find(|digit| unescaped(text, &format!("\\{digit}"))) {
        return Err(format!("a back-reference (`\\{digit}`) is not supported in patterns"));
    }
    // Python's `\Z` is the very end, which Rust calls `\z`.
    let text = if unescaped(text, "\\Z") { text.replace("\\Z", "\\z") } else { text.to_owned() };
    RegexBuilder::new(&text).multi_line(multi_line).dot_matches_new_line(dot_all).size_limit(4 << 20).build().map_err(
        |error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("not a pattern: {last}")
        },
    )
}

/// Whether `mark` stands in the pattern without a backslash before it.
fn unescaped(text: &str, mark: &str) -> bool {
    text.match_indices(mark).any(|(at, _)| text[..at].bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0)
}

/// Python's replacement text (`\1`, `\g<name>`, `\n`) as Rust's (`${1}`, `${name}`).
pub(super) fn replacement(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(digit @ '0'..='9') => {
                    let mut number = digit.to_string();
                    if let Some(second) = chars.next_if(char::is_ascii_digit) {
                        number.push(second);
                    }
                    out.push_str(&format!("${{{number}}}"));
                }
                Some('g') if chars.peek() == Some(&'<') => {
                    chars.next();
                    let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                        return Err(format!("`\\g<{name}>` names no group"));
                    }
                    out.push_str(&format!("${{{name}}}"));
                }
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('\\') => out.push('\\'),
                Some(c) if c.is_ascii_alphabetic() => return Err(format!("`\\{c}` means nothing in a replacement")),
                Some(c) => out.extend(['\\', c]),
                None => return Err("a backslash stands at the end of the replacement".into()),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Groups that a replacement (in Rust's words) names and the pattern does not have.
pub(super) fn missing_group(regex: &Regex, replacement: &str) -> Option<String> {
    let names: Vec<&str> = regex.capture_names().flatten().collect();
    let text = replacement.replace("$$", "");
    let mut groups = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    groups
        .find(|name| match name.parse::<usize>() {
            Ok(number) => number >= regex.captures_len(),
            Err(_) => !names.contains(name),
        })
        .map(str::to_owned)
}

pub(super) fn pattern_fault(
    field: &'static str,
    text: Option<&str>,
    multi_line: bool,
    dot_all: bool,
) -> Option<ArgFault> {
    // A playbook of a thousand tasks has some few patterns, and compiling one costs more than reading its task.
    thread_local! {
        static RIGHT: std::cell::RefCell<std::collections::HashSet<String>> = Default::default();
    }
    let key = format!("{multi_line}{dot_all}{}", text?);
    if RIGHT.with_borrow(|right| right.contains(&key)) {
        return None;
    }
    match pattern(text?, multi_line, dot_all) {
        Err(error) => Some(ArgFault::at(field, error)),
        Ok(_) => {
            RIGHT.with_borrow_mut(|right| {
                if right.len() < 1000 {
                    right.insert(key);
                }
            });
            None
        }
    }
}

/// The text of a file to edit; `None`: there is none. `Err`: it cannot be edited as text.
pub(super) fn text(found: &Found) -> Result<Option<&str>, String> {
    match &found.content {
        None => Ok(None),
        Some(bytes) => match std::str::from_utf8(&bytes.0) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("{} is not UTF-8 text", found.path)),
        },
    }
}

/// Whole lines with their line ends; the last may lack one.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// The verdict on an edited file: content and attributes.
pub(super) fn verdict(wanted: &Wanted, found: &Found, edited: Result<Option<String>, String>, ok: &str) -> Verdict {
    let plan = edited.and_then(|edited| match edited {
        Some(text) => wanted.plan(found, text.as_bytes(), None),
        // Nothing to edit and nothing to create.
        None => Ok(Plan::default()),
    });
    match plan {
        Err(why) => Verdict::blocked(why),
        Ok(plan) => plan.verdict(ok),
    }
}
