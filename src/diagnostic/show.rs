//! Faults as text for a terminal.

use super::{Fault, Severity, Sources, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::borrow::Cow;
use std::ops::Range;

/// Longer lines are cut around the place, so that a file without line breaks costs no more than another.
const MAX_LINE_BYTES: usize = 2000;
/// Two places in one file stand in one picture if they are this near.
const NEAR_LINES: usize = 200;
/// Who has more faults than this will run again before reading them all.
const MAX_SHOWN: usize = 200;

impl Sources {
    /// The faults as text for a terminal, sorted by place, each once; colour only when asked for.
    pub fn show(&self, faults: &[Fault], colour: bool) -> String {
        let mut sorted: Vec<&Fault> = faults.iter().collect();
        sorted.sort_by_key(|f| (f.span.file, f.span.start, f.span.end, f.severity));
        sorted.dedup();
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for fault in sorted.iter().take(MAX_SHOWN) {
            out.push_str(&self.show_one(fault, &renderer));
            out.push_str("\n\n");
        }
        if sorted.len() > MAX_SHOWN {
            out.push_str(&format!("… and {} more\n", sorted.len() - MAX_SHOWN));
        }
        while out.ends_with("\n\n") {
            out.pop();
        }
        out
    }

    fn show_one(&self, fault: &Fault, renderer: &Renderer) -> String {
        let level = match fault.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(one_line(&fault.message)));
        let label = fault.label.as_deref().unwrap_or_default();
        let first = Mark { span: fault.span, label, kind: AnnotationKind::Primary };
        match &fault.also {
            None => group = group.element(self.picture(&[first])),
            Some((span, label)) => {
                let second = Mark { span: *span, label, kind: AnnotationKind::Context };
                if span.file == fault.span.file && self.lines_between(*span, fault.span) <= NEAR_LINES {
                    group = group.element(self.picture(&[first, second]));
                } else {
                    group = group.element(self.picture(&[first])).element(self.picture(&[second]));
                }
            }
        }
        if let Some(help) = &fault.help {
            group = group.element(Level::HELP.message(help.clone()));
        }
        self.true_column(fault.span, renderer.render(&[group]))
    }

    fn lines_between(&self, a: Span, b: Span) -> usize {
        self.line_column(a).0.abs_diff(self.line_column(b).0)
    }

    /// The lines around some places of one file.
    fn picture<'a>(&'a self, marks: &[Mark<'a>]) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let source = &self.files[marks[0].span.file as usize];
        let text = &source.text;
        let path = source.path.display().to_string();
        let ranges: Vec<Range<usize>> = marks.iter().map(|mark| self.shown(mark.span)).collect();
        let start = ranges.iter().map(|r| r.start).min().unwrap_or_default();
        let end = ranges.iter().map(|r| r.end).max().unwrap_or_default();
        let first_line = source.lines.partition_point(|begin| *begin <= start);
        let from = source.lines[first_line - 1];
        let to = text[end..].find('\n').map_or(text.len(), |n| end + n);
        let snippet = |from: usize, to: usize| {
            // A file that ends in a line break has an empty last line, which a picture must have as well.
            let shown = if from == to { " " } else { &text[from..to] };
            // As long in bytes, so that places stay where they are.
            let shown = if shown.contains('\r') { Cow::Owned(shown.replace('\r', " ")) } else { Cow::Borrowed(shown) };
            let annotations = marks.iter().zip(&ranges).map(move |(mark, range)| {
                let label = (!mark.label.is_empty()).then(|| one_line(mark.label));
                mark.kind.span(range.start - from..range.end - from).label(label)
            });
            Snippet::source(shown).line_start(first_line).fold(true).annotations(annotations)
        };
        if to - from <= MAX_LINE_BYTES.max(120 * (NEAR_LINES + 1)) || marks.len() > 1 {
            return snippet(from, to).path(path);
        }
        let (from, to) = self.cut(marks[0].span, from, to);
        snippet(from, to).path(path)
    }

    /// The part of a long line that is shown.
    fn cut(&self, span: Span, from: usize, to: usize) -> (usize, usize) {
        let text = self.text(span.file);
        let shown = self.shown(span);
        let from = text.floor_char_boundary(from.max(shown.start.saturating_sub(60)));
        (from, text.ceil_char_boundary(to.min(shown.end + 60).min(from + MAX_LINE_BYTES)))
    }

    /// The column as it is in the file, where the picture counted it in a line that was cut.
    fn true_column(&self, span: Span, picture: String) -> String {
        let (line, column) = self.line_column(span);
        let path = self.path(span.file).display();
        let start = format!("--> {path}:{line}:");
        match picture.find(&start).map(|at| at + start.len()) {
            Some(at) => {
                let digits = picture[at..].find(|c: char| !c.is_ascii_digit()).unwrap_or(picture.len() - at);
                format!("{}{column}{}", &picture[..at], &picture[at + digits..])
            }
            None => picture,
        }
    }

    /// What of a place gets the carets: its first line, at least one character.
    fn shown(&self, span: Span) -> Range<usize> {
        let text = self.text(span.file);
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let line = text[start..].find(['\n', '\r']).map_or(text.len(), |n| start + n);
        let end = text.ceil_char_boundary(span.end.clamp(start, line)).min(start + MAX_LINE_BYTES);
        start..text.floor_char_boundary(end).max(start)
    }
}

struct Mark<'a> {
    span: Span,
    label: &'a str,
    kind: AnnotationKind,
}

/// Text of playbooks may hold line breaks and control characters, which would tear the picture or the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
