//! Tasks × hosts at a glance: a sign for each cell, its word for who cannot see it, a link to the finding.
//!
//! A cell of a task that did not run on a host says so; it is never drawn as in order.

use super::escape::{attribute, text};
use super::{Page, words};
use crate::event::{Outcome, TaskResult};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Hosts that fit on paper.
const ON_PAPER: usize = 30;

/// The worst of a task's results on a host, and its finding.
type Cell<'a> = Option<(Outcome, Option<&'a str>)>;

struct Row<'a> {
    play: &'a str,
    task: &'a str,
    handler: bool,
    cells: Vec<Cell<'a>>,
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "",
        Outcome::Drifted => "d",
        Outcome::Changed => "c",
        Outcome::Skipped => "s",
        Outcome::Blocked => "b",
        Outcome::Failed => "x",
        Outcome::Unreachable => "u",
    }
}

fn severity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Skipped => 0,
        Outcome::Ok => 1,
        Outcome::Changed => 2,
        Outcome::Drifted => 3,
        Outcome::Blocked => 4,
        Outcome::Failed => 5,
        Outcome::Unreachable => 6,
    }
}

fn rows<'a>(page: &Page<'a>) -> (Vec<&'a str>, Vec<Row<'a>>) {
    let mut hosts: Vec<&str> = page.report.run.hosts.iter().map(String::as_str).collect();
    let mut column: HashMap<&str, usize> = hosts.iter().enumerate().map(|(n, host)| (*host, n)).collect();
    for result in &page.report.results {
        column.entry(&result.host).or_insert_with(|| {
            hosts.push(&result.host);
            hosts.len() - 1
        });
    }
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut at: HashMap<(&str, &str, &str, bool), usize> = HashMap::new();
    for (result, finding) in page.report.results.iter().zip(&page.matched) {
        let TaskResult { play, task, place, handler, .. } = result;
        let row = *at.entry((play, task, place, *handler)).or_insert_with(|| {
            rows.push(Row { play, task, handler: *handler, cells: vec![None; hosts.len()] });
            rows.len() - 1
        });
        let cell = &mut rows[row].cells[column[result.host.as_str()]];
        if cell.is_none_or(|(outcome, _)| severity(outcome) < severity(result.outcome)) {
            *cell = Some((result.outcome, finding.map(|finding| finding.id.as_str())));
        }
    }
    (hosts, rows)
}

pub fn write(out: &mut String, page: &Page<'_>) {
    let (hosts, rows) = rows(page);
    out.push_str(
        "<section id=\"grid\" aria-labelledby=\"h-grid\">\n<h2 id=\"h-grid\">Tasks and hosts at a glance</h2>\n",
    );
    if rows.is_empty() {
        out.push_str("<p>No task ran.</p>\n</section>\n");
        return;
    }
    legend(out, page);
    let paper = if hosts.len() > ON_PAPER { " wide" } else { "" };
    if hosts.len() > ON_PAPER {
        let _ = writeln!(
            out,
            "<p class=\"paper\">{} hosts do not fit on paper; the page shows them on a screen.</p>",
            hosts.len()
        );
    }
    let _ = write!(
        out,
        "<div class=\"grid{paper}\" tabindex=\"0\" role=\"region\" aria-label=\"Tasks and hosts, scrolls\">\n<table>\n<thead><tr>\
         <td class=\"corner\">Task</td>"
    );
    for host in &hosts {
        out.push_str("<th scope=\"col\"><span>");
        text(out, host);
        out.push_str("</span></th>");
    }
    out.push_str("</tr></thead>\n");
    let mut play = None;
    for row in &rows {
        if play != Some(row.play) {
            out.push_str(if play.is_some() { "</tbody>\n" } else { "" });
            out.push_str("<tbody>\n<tr class=\"play\"><th scope=\"rowgroup\">");
            text(out, row.play);
            out.push_str("</th></tr>\n");
            play = Some(row.play);
        }
        cells(out, row);
    }
    out.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

/// One row. End tags that HTML does not need are left away: there may be 30,000 cells.
fn cells(out: &mut String, row: &Row<'_>) {
    let quiet = row.cells.iter().flatten().all(|(outcome, _)| matches!(outcome, Outcome::Ok | Outcome::Skipped));
    let _ = write!(out, "<tr{}><th scope=\"row\" title=\"", if quiet { " class=\"q\"" } else { "" });
    attribute(out, row.task);
    out.push_str("\">");
    out.push_str(if row.handler { "handler: " } else { "" });
    text(out, row.task);
    out.push_str("</th>");
    for cell in &row.cells {
        match cell {
            None => out.push_str("<td class=\"n\">not run"),
            Some((Outcome::Ok, _)) => out.push_str("<td>ok"),
            Some((outcome, finding)) => {
                let (class, word) = (class(*outcome), outcome.word());
                match finding {
                    Some(id) => {
                        let _ = write!(out, "<td class=\"l\"><a class=\"{class}\" href=\"#f-");
                        attribute(out, id);
                        let _ = write!(out, "\">{word}</a>");
                    }
                    None => {
                        let _ = write!(out, "<td class=\"{class}\">{word}");
                    }
                }
            }
        }
    }
    out.push_str("</tr>\n");
}

fn legend(out: &mut String, page: &Page<'_>) {
    let totals = &page.report.totals;
    out.push_str("<ul class=\"legend\">");
    for (outcome, count) in [
        (Outcome::Ok, totals.ok),
        (Outcome::Drifted, totals.drifted),
        (Outcome::Blocked, totals.blocked),
        (Outcome::Failed, totals.failed),
        (Outcome::Unreachable, totals.unreachable),
        (Outcome::Skipped, totals.skipped),
        (Outcome::Changed, totals.changed),
    ] {
        if count > 0 || outcome == Outcome::Ok {
            let (symbol, word) = (words::symbol(outcome), outcome.word());
            let _ = write!(
                out,
                "<li class=\"o-{word}\"><span class=\"y\" aria-hidden=\"true\">{symbol}</span> {count} {word}</li>"
            );
        }
    }
    out.push_str(
        "<li>blank: not run</li></ul>\n<p class=\"controls\"><label><input type=\"checkbox\" id=\"only\"> Only tasks that \
         are not in order everywhere</label></p>\n",
    );
}
