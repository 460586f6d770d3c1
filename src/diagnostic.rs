//! Faults in files that people write, each with its place, printed as a caret under the word.

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
}

impl Fault {
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), label: None, help: None, also: None }
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also = Some((span, label.into()));
        self
    }
}

/// Every file read in a run, so that a [`Span`] can be shown.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    files: Vec<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    text: Arc<str>,
}

impl Sources {
    pub fn add(&mut self, path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> u32 {
        self.files.push(Source { path: path.into(), text: text.into() });
        (self.files.len() - 1) as u32
    }

    pub fn path(&self, file: u32) -> &Path {
        &self.files[file as usize].path
    }

    pub fn text(&self, file: u32) -> &Arc<str> {
        &self.files[file as usize].text
    }

    /// 1-based line and column (in characters) of a span's start.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let text = self.text(span.file);
        let before = &text[..span.start.min(text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        (line, column)
    }

    /// `file:line`, as events carry it.
    pub fn place(&self, span: Span) -> String {
        format!("{}:{}", self.path(span.file).display(), self.line_column(span).0)
    }

    /// The faults as text for a terminal, sorted by place; colour only when asked for.
    pub fn show(&self, faults: &[Fault], colour: bool) -> String {
        let _ = colour;
        faults
            .iter()
            .map(|f| {
                let (line, column) = self.line_column(f.span);
                format!("error: {}\n --> {}:{line}:{column}\n", f.message, self.path(f.span.file).display())
            })
            .collect()
    }
}
