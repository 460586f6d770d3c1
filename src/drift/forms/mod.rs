//! The forms of a drift report, each a pure function from [`Report`] to text: JSON, a page, metrics, JUnit.
//!
//! They decide nothing and look nothing up: what they show stands in the report. Diffs are in the page, in JUnit and in
//! the JSON, as `check` shows them; the metrics, which whole teams scrape, hold none.

mod brief;
mod html;
mod junit;
mod matching;
mod prometheus;
mod text;
mod words;

pub use brief::{Look, brief, findings};
pub use html::html;
pub use junit::junit;
pub use prometheus::prometheus;

use super::Report;

/// The whole report, as `converge drift -o json` prints it; nothing is cut.
pub fn json(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has only text for keys");
    text.push('\n');
    text
}
