//! What of the page does not need a browser to be seen.

use super::*;
use crate::drift::Time;
use escape::{attribute, text};

fn report() -> Report {
    let text = include_str!("../../../../tests/cases/drift/report.json");
    serde_json::from_str(text).expect("a report")
}

fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
}

fn written(write: impl Fn(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

#[test]
fn a_moment_has_its_zone_and_a_number_that_is_none_stays() {
    let clock = Clock::new(berlin());
    let say = |time: Time| written(|out| clock.write(out, time));
    assert_eq!(say(1_795_380_245), "<time datetime=\"2026-11-22T21:44:05+01:00\">2026-11-22 21:44 CET</time>");
    assert_eq!(say(1_782_000_000), "<time datetime=\"2026-06-21T02:00:00+02:00\">2026-06-21 02:00 CEST</time>");
    assert_eq!(say(i64::MAX), format!("second {} since 1970 (UTC)", i64::MAX));
}

#[test]
fn text_stays_text() {
    let evil = "</script><a href='x' title=\"y\">&amp;\u{202e}";
    assert_eq!(written(|out| text(out, evil)), "&lt;/script&gt;&lt;a href='x' title=\"y\"&gt;&amp;amp;⟨U+202E⟩");
    assert_eq!(
        written(|out| attribute(out, evil)),
        "&lt;/script&gt;&lt;a href=&#39;x&#39; title=&quot;y&quot;&gt;&amp;amp;⟨U+202E⟩"
    );
}

#[test]
fn a_diff_marks_lines_by_sign_and_element() {
    let diff = "--- a\n+++ a\n@@ -1,3 +1,2 @@\n same\n-old \t\n--- no name\n+new\n--- b\n+++ b\n+mode\n";
    assert_eq!(
        written(|out| diff::Diffs::default().write(out, diff)),
        "<pre class=\"diff\"><b>--- a\n+++ a\n</b><i>@@ -1,3 +1,2 @@\n</i><span> same\n</span>\
         <del>-old<u> \t</u>\n--- no name\n</del><ins>+new\n</ins><b>--- b\n+++ b\n</b><ins>+mode\n</ins></pre>"
    );
    assert_eq!(written(|out| diff::Diffs::default().write(out, "")), "");
}

#[test]
fn hosts_that_differ_alike_are_one_entry_with_one_diff() {
    let page = page(&report(), berlin());
    assert_eq!(page.matches("-pool 2.debian.pool.ntp.org iburst").count(), 1);
    for id in ["5d5e00aa1c00", "5d5e00aa1c01", "5d5e00aa1c02", "8c3b5f70d1e9"] {
        assert_eq!(page.matches(&format!("id=\"f-{id}\"")).count(), 1, "{id}");
    }
}

#[test]
fn the_policy_names_the_style_and_the_script_that_are_there() {
    let page = page(&report(), berlin());
    let between = |from: &str, to: &str| {
        let start = page.find(from).expect("a start") + from.len();
        &page[start..start + page[start..].find(to).expect("an end")]
    };
    assert_eq!(between("style-src 'sha256-", "'"), hash(between("<style>", "</style>")));
    let script = between("<script data-run=\"42\">", "</script>");
    assert_eq!(between("script-src 'sha256-", "'"), hash(script));
    assert!(!page.contains(" style=\"") && !page.contains(" onclick"), "the policy would refuse it");
}

#[test]
fn what_could_not_be_looked_at_is_never_in_sync() {
    let sentence = |report: &Report| words::verdict(report).1;
    let mut report = report();
    assert!(sentence(&report).starts_with("9 differ on 6 hosts"), "{}", sentence(&report));
    // Only the mute is left.
    report.findings.retain(|finding| finding.is_muted());
    report.exit = crate::exit::OK;
    assert_eq!(sentence(&report), "In sync on 6 hosts, except for what is muted: 1.");
    report.exit = crate::exit::UNREACHABLE;
    let (state, said) = words::verdict(&report);
    assert_eq!((state, said.as_str()), (State::Unknown, "1 muted; not everything could be looked at."));
    report.findings.clear();
    assert_eq!(sentence(&report), "Not everything could be looked at.");
    report.exit = crate::exit::OK;
    assert_eq!(sentence(&report), "In sync: everything looked at on 6 hosts is as described.");
    report.results.clear();
    let (state, said) = words::verdict(&report);
    assert_eq!((state, said.as_str()), (State::Unknown, "Nothing was looked at."));
}
