//! JUnit XML for CI servers: a suite for each play, a case for each task on a host, valid against Jenkins' `junit-10.xsd`.
//!
//! What is muted never fails a case, and nothing that could not be told passes one.

use super::matching;
use super::text::{Cut, Limits, short};
use super::words;
use crate::drift::{Finding, Mark, MarkKind, Report, Standing};
use crate::event::{Outcome, TaskResult};
use crate::visible::visible;
use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};
use std::collections::HashMap;
use std::time::Duration;

/// Characters of a message; the whole summary stands below it.
const MESSAGE: usize = 300;

/// Suites in the order of the playbooks. A case's name is the task's, its class the host.
pub fn junit(report: &Report) -> String {
    let mut document = quick_junit::Report::new(clean("converge drift"));
    document.set_time(Duration::from_millis(report.run.took_ms));
    let mut suites: Vec<(&str, TestSuite)> = Vec::new();
    let mut at: HashMap<&str, usize> = HashMap::new();
    let mut names: HashMap<(&str, &str, String), usize> = HashMap::new();
    let mut add = |play, host, task: &str, place: &str, case: &dyn Fn(String) -> TestCase| {
        let place_in = *at.entry(play).or_insert_with(|| {
            suites.push((play, suite(play, report)));
            suites.len() - 1
        });
        let mut name = task.to_owned();
        // Servers tell cases apart by class and name alone; a run must not hide one behind another.
        let uses = names.entry((play, host, name.clone())).or_default();
        *uses += 1;
        if *uses > 1 {
            name = format!("{name} ({place}) #{uses}");
        }
        suites[place_in].1.add_test_case(case(name));
    };
    for (result, finding) in report.results.iter().zip(matching::findings(report)) {
        let task = name(result);
        add(&result.play, &result.host, &task, &result.place, &|name| case(result, finding, name));
    }
    for finding in report.findings.iter().filter(|finding| finding.standing == Standing::NotLooked) {
        let task = match finding.object.as_str() {
            object if object.is_empty() || object == finding.task => finding.task.clone(),
            object => format!("{} [{object}]", finding.task),
        };
        add(&finding.play, &finding.host, &task, &finding.place, &|name| unseen(finding, name));
    }
    for (_, mut suite) in suites {
        let time = suite.test_cases.iter().filter_map(|case| case.time).sum();
        suite.set_time(time);
        document.add_test_suite(suite);
    }
    let text = document.to_string().expect("XML written to memory");
    fit_schema(text)
}

/// The schema knows no `skipped` on the outermost element, which quick-junit always writes.
fn fit_schema(text: String) -> String {
    let Some(start) = text.find("<testsuites ") else { return text };
    let end = start + text[start..].find('>').unwrap_or_default();
    let Some(from) = text[start..end].find(" skipped=\"").map(|at| start + at) else { return text };
    let value = from + " skipped=\"".len();
    let Some(to) = text[value..end].find('"').map(|at| value + at + 1) else { return text };
    format!("{}{}", &text[..from], &text[to..])
}

/// quick-junit drops what XML cannot hold, escape sequences and tabs; here they are shown instead.
fn clean(text: &str) -> String {
    visible(text).replace('\t', "→   ")
}

fn suite(play: &str, report: &Report) -> TestSuite {
    let mut suite = TestSuite::new(clean(play));
    let started = jiff::Timestamp::from_second(report.run.started).unwrap_or_default();
    suite.extra.insert("timestamp".into(), started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    suite.extra.insert("hostname".into(), clean(&report.run.by).into());
    suite.add_property(Property::new("converge.version", clean(&report.run.version)));
    suite.add_property(Property::new("converge.playbooks", clean(&report.run.playbooks.join(" "))));
    suite
}

fn name(result: &TaskResult) -> String {
    let handler = if result.handler { "handler: " } else { "" };
    match &result.item {
        Some(item) => format!("{handler}{} [{item}]", result.task),
        None => format!("{handler}{}", result.task),
    }
}

fn case(result: &TaskResult, finding: Option<&Finding>, name: String) -> TestCase {
    let mut case = TestCase::new(clean(&name), status(result, finding));
    case.set_classname(clean(&result.host));
    case.set_time(Duration::from_millis(result.took_ms));
    if !result.warnings.is_empty() {
        case.set_system_err(clean(&result.warnings.join("\n")));
    }
    case
}

fn status(result: &TaskResult, finding: Option<&Finding>) -> TestCaseStatus {
    let kind = match result.outcome {
        Outcome::Ok | Outcome::Changed => return TestCaseStatus::success(),
        Outcome::Skipped => return skipped(&result.summary),
        Outcome::Drifted | Outcome::Blocked => NonSuccessKind::Failure,
        Outcome::Failed | Outcome::Unreachable => NonSuccessKind::Error,
    };
    let word = result.outcome.word();
    let mark = finding.and_then(|finding| finding.mark.as_ref());
    if let Some(mark) = mark.filter(|mark| mark.kind == MarkKind::Muted) {
        return skipped(&format!("{word}, but {}: {}", marked(mark), result.summary));
    }
    if result.ignored {
        return skipped(&format!("{word}, but ignored, as the playbook says: {}", result.summary));
    }
    let mut status = TestCaseStatus::non_success(kind);
    let first = result.summary.lines().next().unwrap_or_default();
    let message = if first.is_empty() { word.to_owned() } else { format!("{word}: {first}") };
    status.set_message(clean(&short(&message, MESSAGE)));
    status.set_type(word);
    status.set_description(clean(&description(result, finding)));
    status
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    if !why.is_empty() {
        status.set_message(clean(&short(why.lines().next().unwrap_or_default(), MESSAGE)));
    }
    status
}

fn marked(mark: &Mark) -> String {
    let word = match mark.kind {
        MarkKind::Acknowledged => "acknowledged",
        MarkKind::Muted => "muted",
    };
    format!("{word} by {} ({})", mark.by, mark.reason)
}

fn description(result: &TaskResult, finding: Option<&Finding>) -> String {
    let mut lines: Vec<String> = short(&result.summary, Limits::DIFF.bytes).lines().map(str::to_owned).collect();
    if result.provisional {
        let reason = result.provisional_reason.as_deref().unwrap_or("it rests on changes that are only predicted");
        lines.push(format!("provisional: {reason}"));
    }
    if let Some(finding) = finding {
        lines.push(format!(
            "finding {}: {}, seen in {}",
            finding.id,
            words::standing(finding.standing),
            words::count(usize::try_from(finding.seen).unwrap_or(usize::MAX), "run")
        ));
        lines.extend(finding.mark.as_ref().map(marked));
        if !finding.heal.is_empty() {
            lines.push(format!("to heal: {}", finding.heal));
        }
    }
    lines.push(format!("at {}", result.place));
    let cut = Cut::of(&result.diff, Limits::DIFF);
    for (line, left) in &cut.lines {
        lines.push(if *left == 0 { (*line).to_owned() } else { format!("{line}… ({left} more characters)") });
    }
    lines.extend(cut.note());
    lines.join("\n")
}

/// A finding whose task was not looked at: neither passed nor failed.
fn unseen(finding: &Finding, name: String) -> TestCase {
    let last = format!("not looked at this time; last {}: {}", finding.outcome.word(), finding.summary);
    let mut case = TestCase::new(clean(&name), skipped(&last));
    case.set_classname(clean(&finding.host));
    case
}
