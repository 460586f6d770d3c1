//! The list of findings, worst first: what is open by outcome, what is muted, what has gone.
//!
//! It works without scripts; they only filter it.

use super::diff::Diffs;
use super::escape::{attribute, text};
use super::facts::{self, FACTS, Fact};
use super::groups::{Group, Section};
use super::{Page, words};
use crate::drift::forms::text::short;
use crate::drift::{Finding, Standing};
use crate::event::Outcome;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Characters of a summary; a whole program's output does not help a reader.
const SUMMARY: usize = 4000;
/// Hosts named on an entry's first line.
const HOSTS: usize = 3;

const SECTIONS: [(Section, &str, &str, &str); 7] = [
    (Section::Open(Outcome::Unreachable), "unreachable", "Unreachable", "Nobody can tell how these hosts stand."),
    (Section::Open(Outcome::Failed), "failed", "Failed", "Could not be told: looking failed."),
    (
        Section::Open(Outcome::Blocked),
        "blocked",
        "Blocked",
        "Not as described, and only a person can decide what is to be done.",
    ),
    (
        Section::Open(Outcome::Drifted),
        "drifted",
        "Drifted",
        "Not as described; the command in each entry converges it.",
    ),
    (Section::Open(Outcome::Changed), "drifted", "Changed", ""),
    (Section::Muted, "muted", "Muted", "Neither counted nor told until the mute ends."),
    (Section::Gone, "ok", "Gone since the last run", "As described again."),
];

pub fn write(out: &mut String, page: &Page<'_>) {
    out.push_str("<section id=\"findings\" tabindex=\"-1\" aria-labelledby=\"h-findings\">\n<h2 id=\"h-findings\">Findings</h2>\n");
    if page.groups.is_empty() {
        out.push_str("<p>None: nothing differs, and nothing has gone since the last run.</p>\n</section>\n");
        return;
    }
    filter(out, page);
    let reasons = reasons(page);
    let mut diffs = Diffs::default();
    for (section, class, title, explained) in SECTIONS {
        let groups: Vec<&Group<'_>> = page.groups.iter().filter(|group| group.section == section).collect();
        if groups.is_empty() {
            continue;
        }
        let count: usize = groups.iter().map(|group| group.members.len()).sum();
        let symbol = sign(section, groups[0].first().outcome);
        let _ = write!(
            out,
            "<section class=\"part o-{class}\">\n<h3><span class=\"y\" aria-hidden=\"true\">{symbol}</span> {title} \
             <span class=\"n\">{count}</span></h3> <p class=\"explained\">{explained}</p>\n"
        );
        for group in groups {
            entry(out, page, group, &mut diffs, &reasons);
        }
        out.push_str("</section>\n");
    }
    out.push_str("<p id=\"none\" hidden>No finding matches the filter.</p>\n</section>\n");
}

fn sign(section: Section, outcome: Outcome) -> &'static str {
    match section {
        Section::Gone => words::symbol(Outcome::Ok),
        Section::Muted => "○",
        Section::Open(_) => words::symbol(outcome),
    }
}

/// Why an outcome is provisional, by finding.
fn reasons<'a>(page: &Page<'a>) -> HashMap<*const Finding, &'a str> {
    let results = page.report.results.iter().zip(&page.matched);
    results
        .filter_map(|(result, finding)| Some((finding.map(std::ptr::from_ref)?, result.provisional_reason.as_deref()?)))
        .collect()
}

/// Hidden until the script is there that makes it work.
fn filter(out: &mut String, page: &Page<'_>) {
    out.push_str(
        "<form id=\"filter\" role=\"search\" aria-label=\"Filter the findings\" hidden>\n\
         <label class=\"wide\">Text <input id=\"q\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\" \
         placeholder=\"task, object, diff, who, id …\"></label>\n<label>Host <select id=\"host\"><option value=\"\">all</option>",
    );
    let mut hosts: Vec<&str> = page.report.findings.iter().map(|finding| finding.host.as_str()).collect();
    let order: HashMap<&str, usize> =
        page.report.run.hosts.iter().enumerate().map(|(n, host)| (host.as_str(), n)).collect();
    hosts.sort_by_key(|host| (order.get(host).copied().unwrap_or(usize::MAX), *host));
    hosts.dedup();
    for host in hosts {
        out.push_str("<option value=\"");
        attribute(out, host);
        out.push_str("\">");
        text(out, host);
        out.push_str("</option>");
    }
    out.push_str("</select></label>\n");
    let outcomes = [Outcome::Unreachable, Outcome::Failed, Outcome::Blocked, Outcome::Drifted];
    choice(out, "Outcome", "outcome", outcomes.map(|o| (o.word(), o.word())));
    let standings = [Standing::New, Standing::Back, Standing::Still, Standing::NotLooked, Standing::Gone];
    choice(out, "Standing", "standing", standings.map(|s| (words::standing_key(s), words::standing(s))));
    choice(out, "Mark", "mark", [("none", "unmarked"), ("acknowledged", "acknowledged"), ("muted", "muted")]);
    out.push_str(
        "<span class=\"buttons\"><button type=\"reset\">Clear</button> <button type=\"button\" id=\"openall\">Open all shown\
         </button></span>\n<output id=\"shown\" aria-live=\"polite\"></output>\n</form>\n",
    );
}

fn choice<const N: usize>(out: &mut String, label: &str, id: &str, options: [(&str, &str); N]) {
    let _ = write!(out, "<label>{label} <select id=\"{id}\"><option value=\"\">all</option>");
    for (value, shown) in options {
        let _ = write!(out, "<option value=\"{value}\">{shown}</option>");
    }
    out.push_str("</select></label>\n");
}

fn entry(
    out: &mut String,
    page: &Page<'_>,
    group: &Group<'_>,
    diffs: &mut Diffs,
    reasons: &HashMap<*const Finding, &str>,
) {
    let first = group.first();
    let class = match group.section {
        Section::Gone => "ok",
        Section::Muted => "muted",
        Section::Open(outcome) => outcome.word(),
    };
    let _ = writeln!(out, "<details class=\"f o-{class}\" data-o=\"{}\">", first.outcome.word());
    line(out, page, group);
    out.push_str("<div class=\"body\">\n<div class=\"about\">");
    if !first.summary.is_empty() {
        out.push_str("<p class=\"summary\">");
        text(out, &short(&first.summary, SUMMARY));
        out.push_str("</p>");
    }
    if first.provisional {
        out.push_str("<p class=\"summary\"><span class=\"tag\">provisional</span> ");
        let why = reasons.get(&std::ptr::from_ref(first)).copied();
        text(out, why.unwrap_or("It rests on changes that are only predicted, and may turn out otherwise."));
        out.push_str("</p>");
    }
    diffs.write(out, &first.diff);
    let heal = group.common(|finding| finding.heal.as_str());
    if let Some(heal) = heal.filter(|heal| !heal.is_empty()) {
        out.push_str("<p class=\"heal\"><span class=\"k\">To heal</span> ");
        facts::command(out, heal);
        out.push_str("</p>");
    }
    out.push_str("</div>\n");
    match group.members.as_slice() {
        [only] => alone(out, page, only),
        _ => table(out, page, group, heal.is_none()),
    }
    place(out, first);
    out.push_str("</div>\n</details>\n");
}

/// What stands on the first line: what, of which object, where, how it stands.
fn line(out: &mut String, page: &Page<'_>, group: &Group<'_>) {
    let first = group.first();
    let word = first.outcome.word();
    let was = if group.section == Section::Gone { "was " } else { "" };
    let _ = write!(
        out,
        "<summary><span class=\"o\"><span class=\"y\" aria-hidden=\"true\">{}</span> {was}{word}</span> <h4>",
        words::symbol(if group.section == Section::Gone { Outcome::Ok } else { first.outcome })
    );
    text(out, &first.task);
    if first.object != first.task && !first.object.is_empty() {
        out.push_str(" <bdi class=\"object\">");
        text(out, &short(&first.object, 200));
        out.push_str("</bdi>");
    }
    out.push_str("</h4> <span class=\"hosts\">");
    for (n, finding) in group.members.iter().take(HOSTS).enumerate() {
        out.push_str(if n > 0 { ", " } else { "" });
        out.push_str("<bdi>");
        text(out, &finding.host);
        out.push_str("</bdi>");
    }
    if group.members.len() > HOSTS {
        let _ = write!(out, " and {} more", group.members.len() - HOSTS);
    }
    out.push_str("</span> <span class=\"tags\">");
    for standing in [Standing::New, Standing::Back, Standing::Still, Standing::NotLooked] {
        let of = group.members.iter().filter(|finding| finding.standing == standing);
        let (count, oldest) = of.fold((0, i64::MAX), |(n, t), finding| (n + 1, t.min(finding.since)));
        if count == 0 {
            continue;
        }
        let number = if group.members.len() == 1 { String::new() } else { format!("{count} ") };
        let class = words::standing_key(standing);
        let _ = write!(out, "<span class=\"tag s-{class}\">{number}{}</span>", words::standing(standing));
        if standing == Standing::Still {
            let _ = write!(
                out,
                " <span class=\"age\">{}</span>",
                words::span(page.report.run.ended.saturating_sub(oldest))
            );
        }
        out.push(' ');
    }
    let marked = group.members.iter().filter(|finding| finding.mark.is_some()).count();
    if marked > 0 && group.section != Section::Gone {
        let number = if marked == group.members.len() { String::new() } else { format!("{marked} ") };
        let word = if group.section == Section::Muted { "muted" } else { "acknowledged" };
        let _ = write!(out, "<span class=\"tag\">{number}{word}</span> ");
    }
    if first.provisional {
        out.push_str("<span class=\"tag\">provisional</span>");
    }
    out.push_str("</span></summary>\n");
}

/// What the filter goes by.
fn member(out: &mut String, tag: &str, finding: &Finding) {
    let _ = write!(out, "<{tag} class=\"m\" id=\"f-");
    attribute(out, &finding.id);
    out.push_str("\" data-h=\"");
    attribute(out, &finding.host);
    let mark = match &finding.mark {
        None => "none",
        Some(_) if finding.is_muted() => "muted",
        Some(_) => "acknowledged",
    };
    let _ = write!(out, "\" data-s=\"{}\" data-k=\"{mark}\">", words::standing_key(finding.standing));
}

fn alone(out: &mut String, page: &Page<'_>, finding: &Finding) {
    member(out, "dl", finding);
    out.push_str("<dt>Host</dt><dd><bdi>");
    text(out, &finding.host);
    out.push_str("</bdi></dd>");
    for fact in FACTS.iter().filter(|fact| (fact.has)(finding)) {
        let _ = write!(out, "<dt>{}</dt><dd>", fact.name);
        (fact.write)(out, page, finding);
        out.push_str("</dd>");
    }
    out.push_str("<dt>Id</dt><dd><code>");
    text(out, &finding.id);
    out.push_str("</code></dd></dl>\n");
}

fn table(out: &mut String, page: &Page<'_>, group: &Group<'_>, heal: bool) {
    let used: Vec<&Fact> =
        FACTS.iter().filter(|fact| group.members.iter().any(|finding| (fact.has)(finding))).collect();
    out.push_str("<table class=\"members\">\n<thead><tr><th scope=\"col\">Host and id</th>");
    for fact in &used {
        let _ = write!(out, "<th scope=\"col\">{}</th>", fact.name);
    }
    out.push_str(if heal { "<th scope=\"col\">To heal</th>" } else { "" });
    out.push_str("</tr></thead>\n<tbody>\n");
    for finding in &group.members {
        member(out, "tr", finding);
        out.push_str("<th scope=\"row\"><bdi>");
        text(out, &finding.host);
        out.push_str("</bdi> <code>");
        text(out, &finding.id);
        out.push_str("</code></th>");
        for fact in &used {
            let _ = write!(out, "<td data-n=\"{}\">", fact.name);
            if (fact.has)(finding) {
                (fact.write)(out, page, finding);
            }
            out.push_str("</td>");
        }
        if heal {
            out.push_str("<td data-n=\"To heal\">");
            if !finding.heal.is_empty() {
                facts::command(out, &finding.heal);
            }
            out.push_str("</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

fn place(out: &mut String, finding: &Finding) {
    out.push_str("<p class=\"place\">Task kind <code>");
    text(out, &finding.kind);
    out.push_str("</code> at <code>");
    text(out, &finding.place);
    out.push_str("</code> in the play <bdi>");
    text(out, &finding.play);
    out.push_str("</bdi></p>\n");
}
