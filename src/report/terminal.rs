//! A run for a person: one line a task and outcome, hosts that agree on one line, diffs once, a summary to act on.

use super::progress::Progress;
use crate::event::{Event, Mode, Outcome, Reporter, TaskResult, Totals};
use crate::visible::visible;
use anstyle::{AnsiColor, Style as Paint};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    pub colour: bool,
    /// A moving line on standard error.
    pub progress: bool,
    pub diff: bool,
    pub verbose: bool,
    /// Columns of the terminal; words are wrapped to it. `None`: nothing is wrapped.
    pub width: Option<usize>,
}

pub struct Terminal<W> {
    out: W,
    style: Style,
    mode: Mode,
    progress: Option<Progress>,
    /// Results of the task being shown; hosts that agree are shown together.
    open: Vec<TaskResult>,
    hosts: BTreeMap<String, Totals>,
    host_order: Vec<String>,
    needs_a_person: Vec<TaskResult>,
}

/// Where the columns stand.
const NAME_COLUMN: usize = 10;
const HOSTS_COLUMN: usize = 64;
/// Lines of a prediction's reasons that are shown unless `-v` asks for all.
const REASON_LINES: usize = 2;
const MORE: &str = " … (-v)";

impl<W: Write> Terminal<W> {
    pub fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            mode: Mode::Check,
            progress: None,
            open: Vec::new(),
            hosts: BTreeMap::new(),
            host_order: Vec::new(),
            needs_a_person: Vec::new(),
        }
    }

    fn print(&mut self, text: &str) {
        let out = &mut self.out;
        // A reader that went away is no reason to stop converging.
        let mut write = || drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        match &self.progress {
            Some(progress) => progress.above(write),
            None => write(),
        }
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        if self.style.colour { format!("{paint}{text}{paint:#}") } else { text.to_owned() }
    }

    fn outcome(&self, outcome: Outcome, provisional: bool) -> String {
        let (word, paint) = match outcome {
            Outcome::Ok => ("ok", AnsiColor::Green.on_default()),
            Outcome::Drifted => ("drifted", AnsiColor::Yellow.on_default()),
            Outcome::Changed => ("changed", AnsiColor::Yellow.on_default().bold()),
            Outcome::Skipped => ("skipped", Paint::new().dimmed()),
            Outcome::Blocked => ("blocked", AnsiColor::Red.on_default().bold()),
            Outcome::Failed => ("failed", AnsiColor::Red.on_default().bold()),
            Outcome::Unreachable => ("unreach.", AnsiColor::Magenta.on_default().bold()),
        };
        let mark = if provisional { "?" } else { "" };
        self.paint(paint, &format!("{:<width$}", format!("{word}{mark}"), width = NAME_COLUMN))
    }

    /// Shows the results of the task that just ended.
    fn flush(&mut self) {
        let results = std::mem::take(&mut self.open);
        let mut groups: Vec<(TaskResult, Vec<String>)> = Vec::new();
        for result in results {
            let quiet = self.quiet(&result);
            let same = |other: &TaskResult| {
                other.outcome == result.outcome
                    && (quiet || other.summary == result.summary)
                    && other.diff == result.diff
                    && other.item == result.item
                    && other.warnings == result.warnings
                    && other.provisional == result.provisional
            };
            match groups.iter_mut().find(|(first, _)| same(first)) {
                Some((_, hosts)) => hosts.push(result.host.clone()),
                None => groups.push((result.clone(), vec![result.host])),
            }
        }
        let mut text = String::new();
        for (result, hosts) in &groups {
            self.group(&mut text, result, hosts);
        }
        if !text.is_empty() {
            self.print(&text);
        }
    }

    /// Whether only the fact is shown, not the words. The words of `debug` are what it is written for.
    fn quiet(&self, result: &TaskResult) -> bool {
        let said_on_purpose = result.kind == "debug" && result.outcome == Outcome::Ok;
        matches!(result.outcome, Outcome::Ok | Outcome::Skipped) && !self.style.verbose && !said_on_purpose
    }

    fn group(&self, text: &mut String, result: &TaskResult, hosts: &[String]) {
        let mut name = result.task.clone();
        if result.handler {
            name = format!("handler: {name}");
        }
        if let Some(item) = &result.item {
            name = format!("{name} [{item}]");
        }
        let hosts = self.paint(Paint::new().dimmed(), &hosts.join(" "));
        let width = HOSTS_COLUMN - NAME_COLUMN - 2;
        let _ = writeln!(text, "  {}{name:<width$} {hosts}", self.outcome(result.outcome, result.provisional));
        let quiet = self.quiet(result);
        if !quiet && !result.summary.is_empty() {
            self.indented(text, Paint::new(), &result.summary);
        }
        if let (Some(reason), false) = (&result.provisional_reason, quiet) {
            let mut lines = self.wrapped(&format!("provisional: {reason}"));
            if !self.style.verbose && lines.len() > REASON_LINES {
                lines.truncate(REASON_LINES);
                lines.last_mut().expect("just cut to a few").push_str(MORE);
            }
            self.lines(text, Paint::new().dimmed(), &lines);
        }
        for warning in &result.warnings {
            self.indented(text, AnsiColor::Yellow.on_default(), &format!("warning: {warning}"));
        }
        if self.style.diff {
            for line in result.diff.lines() {
                let paint = match line.as_bytes().first() {
                    Some(b'+') => AnsiColor::Green.on_default(),
                    Some(b'-') => AnsiColor::Red.on_default(),
                    Some(b'@') => AnsiColor::Cyan.on_default(),
                    _ => Paint::new(),
                };
                self.lines(text, paint, &[line]);
            }
        }
        if result.ignored && matches!(result.outcome, Outcome::Failed | Outcome::Blocked) {
            self.indented(text, Paint::new().dimmed(), "ignored, as the playbook says");
        }
    }

    fn indented(&self, text: &mut String, paint: Paint, words: &str) {
        self.lines(text, paint, &self.wrapped(words));
    }

    fn lines(&self, text: &mut String, paint: Paint, lines: &[impl AsRef<str>]) {
        for line in lines {
            let _ = writeln!(text, "  {:NAME_COLUMN$}{}", "", self.paint(paint, line.as_ref()));
        }
    }

    /// Broken between words so that they fit beside the outcome; a long path or command stays whole, to be copied.
    fn wrapped(&self, words: &str) -> Vec<String> {
        let Some(width) = self.style.width else { return words.lines().map(str::to_owned).collect() };
        let room = textwrap::Options::new(width.saturating_sub(NAME_COLUMN + 4 + MORE.len()).max(40))
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .word_separator(textwrap::WordSeparator::AsciiSpace);
        words.lines().flat_map(|line| textwrap::wrap(line, &room)).map(|line| line.into_owned()).collect()
    }

    fn summary(&mut self, totals: &Totals, exit: u8, took_ms: u64) {
        let mut text = String::new();
        let bold = Paint::new().bold();
        let _ = writeln!(text, "\n{}", self.paint(bold, "Summary"));
        type Column = (&'static str, fn(&Totals) -> usize);
        let columns: [Column; 7] = [
            ("ok", |t| t.ok),
            ("drifted", |t| t.drifted),
            ("changed", |t| t.changed),
            ("skipped", |t| t.skipped),
            ("blocked", |t| t.blocked),
            ("failed", |t| t.failed),
            ("unreachable", |t| t.unreachable),
        ];
        let shown: Vec<&Column> = columns.iter().filter(|(name, get)| get(totals) > 0 || *name == "ok").collect();
        let wide = self.host_order.iter().map(String::len).max().unwrap_or(0).max(8);
        for host in &self.host_order {
            let Some(counts) = self.hosts.get(host) else { continue };
            let _ = write!(text, "  {host:<wide$}");
            for (name, get) in &shown {
                let _ = write!(text, "  {:>4} {name}", get(counts));
            }
            text.push('\n');
        }
        if !self.needs_a_person.is_empty() {
            let _ = writeln!(text, "\n{}", self.paint(bold, "Needs you"));
            for (task, place, hosts, words) in self.needs() {
                let _ = writeln!(text, "  {task} on {}  ({place})", hosts.join(" "));
                self.indented(&mut text, Paint::new(), words);
            }
        }
        let _ = writeln!(text, "\n{}", self.verdict(totals, exit, took_ms));
        self.print(&text);
    }

    /// What went wrong, once: task, place, hosts, and the first sentence. The rest stands at the task.
    fn needs(&self) -> Vec<(&str, &str, Vec<&str>, &str)> {
        let mut all: Vec<(&str, &str, Vec<&str>, &str)> = Vec::new();
        for result in &self.needs_a_person {
            let line = result.summary.lines().next().unwrap_or_default();
            let sentence = line.find(". ").map_or(line, |end| &line[..=end]);
            let same = all.iter_mut().find(|(task, place, _, words)| {
                (*task, *place, *words) == (result.task.as_str(), result.place.as_str(), sentence)
            });
            match same {
                Some((_, _, hosts, _)) => hosts.push(&result.host),
                None => all.push((&result.task, &result.place, vec![&result.host], sentence)),
            }
        }
        all
    }

    /// The last line: what it all means, and what to do now.
    fn verdict(&self, totals: &Totals, exit: u8, took_ms: u64) -> String {
        let took = if took_ms < 1000 { format!("{took_ms} ms") } else { format!("{:.1} s", took_ms as f64 / 1000.0) };
        let hosts = self.hosts.len();
        let bad = totals.failed + totals.blocked;
        let words = match (self.mode, exit) {
            (_, crate::exit::UNREACHABLE) => {
                format!("Not everything could be judged: {} unreachable.", totals.unreachable)
            }
            (_, crate::exit::FAILED) => format!("Not converged: {bad} failed or blocked; what is above says why."),
            (Mode::Check, crate::exit::DRIFT) => {
                format!(
                    "Drift: {} would change. `converge apply` with the same arguments converges it.",
                    totals.drifted
                )
            }
            (Mode::Check, _) => format!("In sync: nothing would change on {hosts} hosts."),
            (Mode::Apply, _) if totals.changed == 0 => format!("Converged already: nothing changed on {hosts} hosts."),
            (Mode::Apply, _) => format!("Converged: {} changed on {hosts} hosts.", totals.changed),
        };
        let paint = match exit {
            crate::exit::OK => AnsiColor::Green.on_default().bold(),
            crate::exit::DRIFT => AnsiColor::Yellow.on_default().bold(),
            _ => AnsiColor::Red.on_default().bold(),
        };
        format!("{} ({took})", self.paint(paint, &words))
    }
}

/// Nothing in it can move the cursor or paint: what a host says must not look like what this program says.
fn legible(result: &TaskResult) -> TaskResult {
    let shown = |text: &String| visible(text).into_owned();
    TaskResult {
        task: shown(&result.task),
        host: shown(&result.host),
        item: result.item.as_ref().map(shown),
        summary: shown(&result.summary),
        diff: shown(&result.diff),
        provisional_reason: result.provisional_reason.as_ref().map(shown),
        warnings: result.warnings.iter().map(shown).collect(),
        ..result.clone()
    }
}

impl<W: Write> Reporter for Terminal<W> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { mode, tasks, .. } => {
                self.mode = *mode;
                self.progress = self.style.progress.then(|| Progress::new(true, *tasks));
            }
            Event::PlayStarted { play, hosts } => {
                self.flush();
                let title = self.paint(Paint::new().bold(), &visible(play));
                let hosts = self.paint(Paint::new().dimmed(), &visible(&hosts.join(" ")));
                self.print(&format!("\n{title}  {hosts}\n"));
            }
            Event::TaskStarted { task, handler, .. } => {
                self.flush();
                if let Some(progress) = &mut self.progress {
                    progress.task(task, !handler);
                }
            }
            Event::Progress { host, message, fraction, .. } => {
                if let Some(progress) = &mut self.progress {
                    progress.host(host, message, *fraction);
                }
            }
            Event::Result(result) => {
                let result = &legible(result);
                if let Some(progress) = &mut self.progress {
                    progress.done(&result.host);
                }
                if !self.hosts.contains_key(&result.host) {
                    self.host_order.push(result.host.clone());
                }
                self.hosts.entry(result.host.clone()).or_default().count(result.outcome);
                let bad = matches!(result.outcome, Outcome::Blocked | Outcome::Failed | Outcome::Unreachable);
                if bad && !result.ignored {
                    self.needs_a_person.push(result.clone());
                }
                self.open.push(result.clone());
            }
            // Reports with a memory show it with the finding.
            Event::Traced { .. } => {}
            Event::Note { message } => {
                self.flush();
                let note = self.paint(Paint::new().dimmed(), "note");
                self.print(&format!("  {note}      {}\n", visible(message)));
            }
            Event::RunEnded { totals, exit, took_ms, .. } => {
                self.flush();
                if let Some(progress) = self.progress.take() {
                    progress.finish();
                }
                self.summary(totals, *exit, *took_ms);
            }
        }
    }
}
