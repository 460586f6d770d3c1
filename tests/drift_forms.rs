//! The forms of a drift report, held to the tools that read them: promtool, the JUnit schema, a browser.

#[path = "support/drift.rs"]
mod drift;

use converge::drift::{MarkKind, Report, Standing, forms};
use converge::event::Outcome;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/drift")
}

/// A report as a cluster might have it: each outcome and standing, marks, traces, history.
fn fixture() -> Report {
    let text = std::fs::read_to_string(cases().join("report.json")).expect("the report");
    serde_json::from_str(&text).expect("a report")
}

fn reports() -> Vec<(&'static str, Report)> {
    vec![
        ("fixture", fixture()),
        ("hostile", drift::hostile()),
        ("large", drift::large(60, 40)),
        ("empty", drift::empty()),
    ]
}

/// `UPDATE=1 cargo test` writes the kept file anew; look at the difference before you commit it.
fn is_as_kept(name: &str, text: &str) {
    let path = cases().join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("written");
    }
    assert_eq!(text, std::fs::read_to_string(&path).expect("the kept file"), "{name}");
}

/// Runs a tool with the text on standard input; `None` where this machine lacks it.
fn ask(program: &str, args: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: no {program}");
        return None;
    };
    let mut stdin = child.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        // A tool may answer before it has read everything.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().expect("it ran")
    });
    Some(output)
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn json_holds_everything() {
    for (name, report) in reports() {
        let text = forms::json(&report);
        assert!(text.ends_with("}\n"), "{name}");
        let read: Report = serde_json::from_str(&text).expect("a report");
        assert!(read == report, "{name} came back otherwise");
    }
}

#[test]
fn promtool_accepts_the_metrics() {
    for (name, report) in reports() {
        let metrics = forms::prometheus(&report);
        let Some(output) = ask("promtool", &["check", "metrics"], &metrics) else { return };
        assert!(output.status.success() && both(&output).is_empty(), "{name}: {}", both(&output));
    }
}

#[test]
fn metrics_say_what_an_alert_needs_and_no_more() {
    let report = fixture();
    let metrics = forms::prometheus(&report);
    is_as_kept("converge_drift.prom", &metrics);
    for finding in &report.findings {
        for words in finding.diff.lines().filter(|line| line.len() > 12).chain([finding.summary.as_str()]) {
            assert!(words.is_empty() || !metrics.contains(words), "`{words}` stands in the metrics");
        }
    }
    assert!(!metrics.contains("503"), "an error's text may hold an address");
    let many = forms::prometheus(&drift::large(300, 100));
    assert_eq!(many.matches("\nconverge_drift_finding_info{").count(), 200);
    assert!(many.contains("\nconverge_drift_findings_unlisted 1300\n"));
}

/// Jenkins' schema, which .ci/run fetches.
fn schema() -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/junit/junit-10.xsd");
    if !path.exists() {
        eprintln!("skipped: no target/junit/junit-10.xsd");
        return None;
    }
    Some(path.to_str().expect("a readable path").to_owned())
}

#[test]
fn junit_is_valid_against_its_schema() {
    let Some(schema) = schema() else { return };
    for (name, report) in reports() {
        let text = forms::junit(&report);
        let Some(output) = ask("xmllint", &["--noout", "--huge", "--schema", &schema, "-"], &text) else { return };
        assert!(output.status.success(), "{name}: {}", both(&output));
    }
    // The validator does refuse.
    let wrong = forms::junit(&fixture()).replacen("<testcase name=", "<testcase title=", 1);
    let output = ask("xmllint", &["--noout", "--schema", &schema, "-"], &wrong).expect("it ran before");
    assert!(!output.status.success(), "{}", both(&output));
}

#[test]
fn junit_fails_what_differs_and_nothing_that_is_muted() {
    let report = fixture();
    let text = forms::junit(&report);
    is_as_kept("junit.xml", &text);
    let count = |path: &str| {
        let output = ask("xmllint", &["--xpath", &format!("count({path})"), "-"], &text)?;
        assert!(output.status.success(), "{}", both(&output));
        Some(String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().expect("a number"))
    };
    let Some(cases) = count("//testcase") else { return };
    let unseen = report.findings.iter().filter(|f| f.standing == Standing::NotLooked).count();
    assert_eq!(cases, report.results.len() + unseen);
    let totals = &report.totals;
    let muted = report.findings.iter().filter(|f| f.is_open() && f.is_muted()).count();
    assert_eq!(muted, 1);
    assert_eq!(count("//failure[@type='drifted']"), Some(totals.drifted - muted));
    assert_eq!(count("//failure[@type='blocked']"), Some(totals.blocked));
    assert_eq!(count("//error"), Some(totals.failed + totals.unreachable));
    assert_eq!(count("//skipped"), Some(totals.skipped + muted + unseen));
    assert_eq!(count("//testcase[@name='Little swapping'][@classname='pve2']/skipped"), Some(1));
    assert_eq!(count("//failure[contains(., '-pool 2.debian.pool.ntp.org iburst')]"), Some(3));
}

#[test]
fn a_mute_of_one_loop_item_leaves_the_others_failing() {
    let mut report = drift::empty();
    for item in ["a", "b"] {
        let mut result = drift::result("pve1", 0);
        result.outcome = Outcome::Drifted;
        result.item = Some(item.to_owned());
        result.object = format!("/srv/{item}");
        let mut finding = drift::finding(&result, item);
        if item == "a" {
            finding.mark = Some(drift::mark(MarkKind::Muted));
        }
        report.findings.push(finding);
        report.results.push(result);
    }
    let text = forms::junit(&report);
    assert_eq!((text.matches("<skipped").count(), text.matches("<failure").count()), (1, 1), "{text}");
    // Who cannot be told apart is not taken for the muted one.
    for (result, finding) in report.results.iter_mut().zip(&mut report.findings) {
        result.object = String::new();
        result.item = None;
        finding.object = result.task.clone();
    }
    assert_eq!(forms::junit(&report).matches("<failure").count(), 2);
}

/// The page in a real browser: `tests/third_party/page_drive.py` says what it looks at.
#[test]
fn a_browser_shows_the_page() {
    let there = Command::new("python3").args(["-c", "import selenium, axe_playwright_python"]).output();
    let tools = ["chromium", "chromedriver"].map(|tool| Command::new(tool).arg("--version").output().is_ok());
    if !there.is_ok_and(|output| output.status.success()) || tools.contains(&false) {
        eprintln!("skipped: no chromium, chromedriver, selenium or axe for python3");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, report) in [
        ("fixture", fixture()),
        ("hostile", drift::hostile()),
        ("large", drift::large(300, 100)),
        ("empty", drift::empty()),
    ] {
        std::fs::write(dir.path().join(format!("{name}.html")), forms::html(&report)).expect("written");
    }
    // `PAGES=dir` keeps the pages and pictures of them, to be looked at.
    let kept = std::env::var_os("PAGES");
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/third_party/page_drive.py"))
        .arg(dir.path())
        .args(kept)
        .env("TZ", "Europe/Berlin")
        .output()
        .expect("python3 ran before");
    assert!(output.status.success(), "{}", both(&output));
    assert!(both(&output).ends_with("all as expected\n"), "{}", both(&output));
    eprint!("{}", both(&output));
}
