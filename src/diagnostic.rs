//! Faults in files that people write, each with its place, printed as a caret under the word.

mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A range of bytes in one of the loaded files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    pub file: u32,
    pub start: usize,
    pub end: usize,
}

/// One fault: what is wrong where, and what to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub span: Span,
    /// "unknown field `contnet`"
    pub message: String,
    /// Stands behind the caret: "not a field of `copy`".
    pub label: Option<String>,
    /// "did you mean `content`?"
    pub help: Option<String>,
    /// A second place that matters, with its label ("first written here").
    pub also: Option<(Span, String)>,
    pub severity: Severity,
}

/// Whether a fault stops the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    /// Worth telling; the run goes on.
    Warning,
}

impl Fault {
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), label: None, help: None, also: None, severity: Severity::Error }
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// [`help`](Self::help), if there is any.
    pub fn hint(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Makes it a warning.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also = Some((span, label.into()));
        self
    }
}

/// Every file read in a run, so that a [`Span`] can be shown. Clones share the texts.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    files: Vec<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    text: Arc<str>,
    /// Where each line begins.
    lines: Arc<[usize]>,
}

impl Sources {
    pub fn add(&mut self, path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> u32 {
        let text = text.into();
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        self.files.push(Source { path: path.into(), text, lines });
        (self.files.len() - 1) as u32
    }

    pub fn path(&self, file: u32) -> &Path {
        &self.files[file as usize].path
    }

    pub fn text(&self, file: u32) -> &Arc<str> {
        &self.files[file as usize].text
    }

    /// The files read so far, in the order of reading.
    pub fn files(&self) -> impl Iterator<Item = (u32, &Path)> {
        self.files.iter().enumerate().map(|(at, source)| (at as u32, source.path.as_path()))
    }

    /// What is written at a place.
    pub fn written(&self, span: Span) -> &str {
        self.text(span.file).get(span.start..span.end).unwrap_or_default()
    }

    /// 1-based line and column (in characters) of a span's start.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let source = &self.files[span.file as usize];
        let start = source.text.floor_char_boundary(span.start);
        let line = source.lines.partition_point(|begin| *begin <= start);
        (line, source.text[source.lines[line - 1]..start].chars().count() + 1)
    }

    /// `file:line`, as events carry it.
    pub fn place(&self, span: Span) -> String {
        format!("{}:{}", self.path(span.file).display(), self.line_column(span).0)
    }
}

/// "did you mean `content`?", if one of the words known is close to what was written.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(written, known).map(|word| format!("did you mean `{word}`?"))
}

/// The nearest known word: at most a third of its letters wrong, `-` for `_` and case not counted.
pub fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let wanted = plain(written);
    let allowed = (wanted.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .filter(|word| word.len().abs_diff(wanted.len()) <= allowed)
        .map(|word| (strsim::damerau_levenshtein(&wanted, &plain(word)), word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.chars().count())
        .min_by(|(a, one), (b, other)| {
            // Of two as near, the one with more of the same letters in the same order: `tasks` for `taks`, not `tags`.
            let alike = |word: &str| strsim::jaro_winkler(&wanted, &plain(word));
            a.cmp(b).then_with(|| alike(other).total_cmp(&alike(one)))
        })
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests;
