//! A recorded run, shown again: what a person sees is kept in a file beside the recording.

use super::{Style, Terminal};
use crate::event::{Event, Reporter};
use std::path::Path;

/// `UPDATE=1 cargo test` writes the pictures anew; look at the difference before you commit it.
#[test]
fn a_recorded_run_looks_as_kept() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/report");
    let recording = std::fs::read_to_string(cases.join("check.jsonl")).expect("the recording");
    for (kept, style) in [
        ("check.txt", Style { diff: true, width: Some(100), ..Style::default() }),
        ("check-verbose.txt", Style { verbose: true, ..Style::default() }),
    ] {
        let mut shown = Vec::new();
        let mut terminal = Terminal::new(&mut shown, style);
        for line in recording.lines() {
            let event: Event = serde_json::from_str(line).expect("an event a line");
            terminal.event(&event);
        }
        drop(terminal);
        let shown = String::from_utf8(shown).expect("text");
        let path = cases.join(kept);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &shown).expect("written");
        }
        let expected = std::fs::read_to_string(&path).expect("the kept picture");
        assert_eq!(shown, expected, "{kept}");
    }
}

#[test]
fn what_a_host_says_cannot_paint_or_move_the_cursor() {
    let result = serde_json::json!({
        "play": "p", "task": "t\u{1b}[2K", "kind": "command", "host": "h\u{1b}[1A", "item": "\r1", "outcome": "failed",
        "summary": "it said: \u{1b}]0;title\u{7}", "diff": "+\u{9b}31m", "provisional": true,
        "provisional_reason": "\u{8}", "warnings": ["\u{202e}"], "took_ms": 1, "place": "p.yml:1"
    });
    let mut shown = Vec::new();
    let mut terminal = Terminal::new(&mut shown, Style { diff: true, verbose: true, ..Style::default() });
    terminal.event(&Event::Result(serde_json::from_value(result).expect("a result")));
    terminal.event(&Event::Note { message: "\u{1b}c".into() });
    drop(terminal);
    let shown = String::from_utf8(shown).expect("text");
    let raw: Vec<char> = shown.chars().filter(|c| c.is_control() && *c != '\n').collect();
    assert!(raw.is_empty() && !shown.contains('\u{202e}'), "{raw:?} in {shown}");
    assert!(shown.contains("t␛[2K [␍1]") && shown.contains("it said: ␛]0;title␇"), "{shown}");
}
