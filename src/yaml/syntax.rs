//! The YAML parser's complaints in words that say what to change.

use crate::diagnostic::{Fault, Span};

/// The fault for a complaint of the parser at a byte of the file.
pub fn fault(text: &str, file: u32, at: usize, complaint: &str) -> Fault {
    let at = text.floor_char_boundary(at.min(text.len()));
    let line_start = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let place = |start: usize, len: usize| Span { file, start, end: start + len };

    // The parser trips over what comes after; the cause is the braces.
    if let Some(braces) = unquoted_braces(line) {
        let whole = line[braces..].find("}}").map_or(2, |end| end + 2);
        return unquoted_template(place(line_start + braces, whole));
    }
    // Where plain text could go on, the parser trips over the line before the one with the tab.
    let next_start =
        (line_start + line.len() + text[line_start + line.len()..].find('\n').map_or(0, |n| n + 1)).min(text.len());
    let next = text[next_start..].lines().next().unwrap_or_default();
    for (start, line) in [(line_start, line), (next_start, next)] {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..indent].find('\t') {
            return Fault::new(place(start + tab, 1), "a tab in the indentation")
                .label("YAML is indented with spaces")
                .help("replace it by spaces");
        }
    }
    let here = place(at, text[at..].chars().next().filter(|c| *c != '\n' && *c != '\r').map_or(0, char::len_utf8));
    let (message, help) = words(complaint);
    let found = Fault::new(here, message);
    match help {
        Some(help) => found.help(help),
        None => found,
    }
}

/// `{{ x }}` where YAML expects a value.
pub fn unquoted_template(span: Span) -> Fault {
    Fault::new(span, "a value that begins with `{{` must be quoted")
        .label("YAML reads this as a mapping")
        .help("write \"{{ … }}\", quotes around the whole value")
}

/// Where a value begins with `{{`, after `key: ` or `- `.
fn unquoted_braces(line: &str) -> Option<usize> {
    let at = line.find("{{")?;
    let before = line[..at].trim_end();
    (before.len() < at && (before.ends_with(':') || before.ends_with('-'))).then_some(at)
}

fn words(complaint: &str) -> (String, Option<&'static str>) {
    let (message, help) = match complaint {
        "mapping values are not allowed in this context" => (
            "a `:` where no key can stand",
            Some("quote text that holds `: `; check that the line is indented like its neighbours"),
        ),
        "while parsing a block mapping, did not find expected key" => (
            "this is neither a key of the mapping above nor its end",
            Some("check the indentation; text after a closing quote belongs inside the quotes"),
        ),
        "while parsing a block collection, did not find expected '-' indicator" => {
            ("this is neither an item of the list above nor its end", Some("check the indentation"))
        }
        "simple key expected" | "simple key expect ':'" => {
            ("a key without a `:`", Some("check the indentation; text over several lines needs `|` or `>`"))
        }
        "block sequence entries are not allowed in this context" => {
            ("a list item cannot begin here", Some("put `-` on a line of its own, indented like its neighbours"))
        }
        "while scanning a quoted scalar, found unexpected end of stream" => {
            ("the quote that begins before is never closed", None)
        }
        "while parsing a quoted scalar, found unknown escape character" => {
            ("this escape is not known in double quotes", Some("write `\\\\` for a backslash, or use single quotes"))
        }
        "while parsing a flow mapping, did not find expected ',' or '}'" => ("`,` or `}` was expected here", None),
        "while parsing a flow sequence, expected ',' or ']'" => ("`,` or `]` was expected here", None),
        "while parsing node, found unknown anchor" => ("there is no anchor of this name before", None),
        "did not find expected <document start>" => {
            ("this line fits nowhere", Some("check the indentation; a file holds one list or one mapping"))
        }
        "invalid trailing content after double-quoted scalar" => (
            "text after the closing quote",
            Some("quote the whole value; inside single quotes a quote is written twice: ''"),
        ),
        "illegal placement of ':' indicator" => {
            ("a `:` where no key can stand", Some("is a `]` or `}` missing before?"))
        }
        "recursion limit exceeded" => ("nested too deep", None),
        "unexpected character: `@'" | "unexpected character: `%'" => {
            ("a value cannot begin with this character", Some("quote the value"))
        }
        "unexpected character: ``'" => ("a value cannot begin with a backquote", Some("quote the value")),
        other => return (format!("not YAML: {other}"), None),
    };
    (message.to_owned(), help)
}
