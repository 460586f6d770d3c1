//! The report on a terminal: what is there and what has gone, without what is in order.
//!
//! Diffs stay with `check` and the page: whoever reads this first wants to know what and where.

use super::words;
use crate::drift::{Finding, MarkKind, Report, Standing, Time, TraceSource};
use crate::event::Outcome;
use crate::visible::visible;
use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};
use std::fmt::Write as _;

/// How text is laid out.
#[derive(Debug, Clone)]
pub struct Look {
    pub colour: bool,
    /// Columns to wrap to; `None`: nothing is wrapped.
    pub width: Option<usize>,
    pub zone: TimeZone,
    /// Also what is muted, whole.
    pub all: bool,
}

const INDENT: &str = "               ";

/// Findings and the sentence that sums them up.
pub fn brief(report: &Report, look: &Look) -> String {
    let mut text = findings(&report.findings, look);
    let muted = report.findings.iter().filter(|f| hidden(f, look)).count();
    if muted > 0 {
        let _ = writeln!(
            text,
            "  {} muted: `converge drift list` shows what and until when",
            words::count(muted, "finding")
        );
    }
    for note in &report.notes {
        let _ = writeln!(text, "  {}      {}", look.paint(Style::new().dimmed(), "note"), visible(note));
    }
    for message in &report.undelivered {
        let tries = words::count(message.tries as usize, "try");
        let since = look.time(message.since);
        let word = look.paint(AnsiColor::Yellow.on_default().bold(), "not told");
        let why = visible(&message.error);
        let _ = writeln!(text, "  {word}  {}: a message waits since {since}, {tries}: {why}", message.channel);
    }
    let (state, sentence) = words::verdict(report);
    let paint = match state {
        words::State::InSync => AnsiColor::Green.on_default().bold(),
        words::State::Differs => AnsiColor::Yellow.on_default().bold(),
        words::State::Unknown => AnsiColor::Red.on_default().bold(),
    };
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{} ({})", look.paint(paint, &sentence), words::took(report.run.took_ms));
    text
}

/// Findings alone, as `drift list` shows them.
pub fn findings(all: &[Finding], look: &Look) -> String {
    let mut text = String::new();
    for finding in all.iter().filter(|f| !hidden(f, look)) {
        look.finding(&mut text, finding);
    }
    text
}

fn hidden(finding: &Finding, look: &Look) -> bool {
    finding.is_open() && finding.is_muted() && !look.all
}

impl Look {
    fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A moment in this machine's zone.
    pub fn time(&self, time: Time) -> String {
        match Timestamp::from_second(time) {
            Ok(moment) => moment.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string(),
            Err(_) => format!("second {time} since 1970 (UTC)"),
        }
    }

    fn finding(&self, text: &mut String, finding: &Finding) {
        let (word, paint) = match (finding.standing, finding.outcome) {
            (Standing::Gone, _) => ("gone", AnsiColor::Green.on_default()),
            (_, Outcome::Drifted) => ("drifted", AnsiColor::Yellow.on_default()),
            (_, outcome) => (outcome.word(), AnsiColor::Red.on_default()),
        };
        let doubt = if finding.provisional { "?" } else { "" };
        let pad = " ".repeat(13_usize.saturating_sub(word.len() + doubt.len()).max(1));
        let title = match finding.task.as_str() {
            task if task == finding.object || finding.object.is_empty() => task.to_owned(),
            task => format!("{task}: {}", finding.object),
        };
        let host = self.paint(Style::new().bold(), &visible(&finding.host));
        let title = visible(&title);
        let _ = writeln!(text, "  {}{doubt}{pad}{host}  {title}", self.paint(paint.bold(), word));
        if finding.is_open() {
            self.wrapped(text, Style::new(), &finding.summary);
        }
        self.wrapped(text, Style::new().dimmed(), &self.story(finding));
        if let Some(mark) = &finding.mark {
            let kind = if mark.kind == MarkKind::Muted { "muted" } else { "acknowledged" };
            let until =
                mark.until.map_or_else(|| "until it is gone".to_owned(), |until| format!("until {}", self.time(until)));
            self.wrapped(text, Style::new().dimmed(), &format!("{kind} {until} by {}: {}", mark.by, mark.reason));
        }
        for trace in finding.traces.iter().take(2) {
            let by = match trace.source {
                _ if trace.by.is_empty() => String::new(),
                TraceSource::File => format!(", owner {}", trace.by),
                TraceSource::TaskLog => format!(" by {}", trace.by),
            };
            let verb = if trace.source == TraceSource::File { "last written" } else { "ran" };
            self.wrapped(text, Style::new().dimmed(), &format!("{} {verb} {}{by}", trace.what, self.time(trace.at)));
        }
    }

    /// `new, 3f2a9c0d11e2` · `since 2026-11-20 04:00 CET, seen 3 times, 3f2a9c0d11e2`
    fn story(&self, finding: &Finding) -> String {
        let times = words::count(usize::try_from(finding.seen).unwrap_or(usize::MAX), "time");
        let since = self.time(finding.since);
        let story = match finding.standing {
            Standing::New => "new".to_owned(),
            Standing::Back => format!("back again, first seen {}", self.time(finding.first_seen)),
            Standing::Still => format!("since {since}, seen {times}"),
            Standing::NotLooked => {
                format!("since {since}, not looked at since {}", self.time(finding.last_seen))
            }
            Standing::Gone => format!("was there since {since}, seen {times}"),
        };
        format!("{story}  [{}]", finding.id)
    }

    fn wrapped(&self, text: &mut String, style: Style, words: &str) {
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(INDENT.len()).max(40));
        for line in visible(words).lines() {
            let lines = match self.width {
                None => vec![line.into()],
                Some(_) => {
                    let options = textwrap::Options::new(room)
                        .break_words(false)
                        .word_splitter(textwrap::WordSplitter::NoHyphenation)
                        .word_separator(textwrap::WordSeparator::AsciiSpace);
                    textwrap::wrap(line, options)
                }
            };
            for line in lines {
                let _ = writeln!(text, "{INDENT}{}", self.paint(style, &line));
            }
        }
    }
}
