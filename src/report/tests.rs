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
