//! What an expression or template mentions, and where: names, filters, guards. Renders nothing.

use crate::template;
use minijinja::Environment;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

/// What was found in one text; offsets are bytes into it.
#[derive(Debug, Default)]
pub struct Analysis {
    /// It does not parse: where, and why.
    pub error: Option<(Range<usize>, String)>,
    /// Names it takes from its context, with the first mention.
    pub names: Vec<(String, usize)>,
    /// Names it asks for with `is defined` or gives a `default`.
    pub guarded: HashSet<String>,
    /// Filters and tests that do not exist.
    pub unknown: Vec<(Unknown, String, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    Filter,
    Test,
}

/// Analyses by text: playbooks repeat themselves.
pub struct Analyser {
    /// Knows where in the text an error is, which the environment that renders need not.
    environment: Environment<'static>,
    expressions: HashMap<String, Rc<Analysis>>,
    templates: HashMap<String, Rc<Analysis>>,
    exists: HashMap<(bool, String), bool>,
}

impl Analyser {
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_debug(true);
        Self { environment, expressions: HashMap::new(), templates: HashMap::new(), exists: HashMap::new() }
    }

    /// A bare expression, as in `when`.
    pub fn expression(&mut self, text: &str) -> Rc<Analysis> {
        if let Some(known) = self.expressions.get(text) {
            return known.clone();
        }
        let found = match self.environment.compile_expression(text) {
            Ok(compiled) => Ok(compiled.undeclared_variables(false)),
            Err(error) => Err(explain(&error, text)),
        };
        let found = Rc::new(self.finish(found, tokens(text, 0..text.len())));
        self.expressions.insert(text.to_owned(), found.clone());
        found
    }

    /// Text with `{{ … }}` and `{% … %}` in it.
    pub fn template(&mut self, text: &str) -> Rc<Analysis> {
        if let Some(known) = self.templates.get(text) {
            return known.clone();
        }
        let found = match self.environment.template_from_str(text) {
            Ok(compiled) => Ok(compiled.undeclared_variables(false)),
            Err(error) => Err(explain(&error, text)),
        };
        let tokens = regions(text).into_iter().flat_map(|region| tokens(text, region)).collect();
        let found = Rc::new(self.finish(found, tokens));
        self.templates.insert(text.to_owned(), found.clone());
        found
    }

    fn finish(
        &mut self,
        undeclared: Result<HashSet<String>, (Range<usize>, String)>,
        tokens: Vec<Token<'_>>,
    ) -> Analysis {
        let undeclared = match undeclared {
            Ok(names) => names,
            Err(error) => return Analysis { error: Some(error), ..Analysis::default() },
        };
        let mut mentions = Mentions::default();
        mentions.walk(&tokens);
        let is_global = |name: &str| template::environment().globals().any(|(global, _)| global == name);
        let mut names: Vec<(String, usize)> = undeclared
            .into_iter()
            .filter(|name| !mentions.guarded.contains(name.as_str()) && !is_global(name))
            .map(|name| {
                let at = mentions.first.get(name.as_str()).copied().unwrap_or_default();
                (name, at)
            })
            .collect();
        names.sort_by_key(|(_, at)| *at);
        let mut unknown = Vec::new();
        for (what, name, at) in mentions.called {
            if !self.exists(what, name) {
                unknown.push((what, name.to_owned(), at));
            }
        }
        Analysis { error: None, names, guarded: mentions.guarded.into_iter().map(str::to_owned).collect(), unknown }
    }

    /// "did you mean", among the filters or tests that people know.
    pub fn suggest(&mut self, what: Unknown, name: &str) -> Option<String> {
        let all = if what == Unknown::Filter { FILTERS } else { TESTS };
        let known: Vec<&str> = all.iter().copied().filter(|known| self.exists(what, known)).collect();
        crate::diagnostic::did_you_mean(name, known)
    }

    fn exists(&mut self, what: Unknown, name: &str) -> bool {
        let key = (what == Unknown::Filter, name.to_owned());
        if let Some(known) = self.exists.get(&key) {
            return *known;
        }
        let mut state = template::environment().empty_state();
        let (error, unknown) = match what {
            Unknown::Filter => (state.apply_filter(name, &[]).err(), minijinja::ErrorKind::UnknownFilter),
            Unknown::Test => (state.perform_test(name, &[]).err(), minijinja::ErrorKind::UnknownTest),
        };
        let exists = error.is_none_or(|error| error.kind() != unknown);
        self.exists.insert(key, exists);
        exists
    }
}

fn explain(error: &minijinja::Error, text: &str) -> (Range<usize>, String) {
    let words = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let words = words.replace("variable block", "`{{ … }}`").replace("end of block", "`%}`");
    let range = error.range().unwrap_or(0..text.len());
    (range.start.min(text.len())..range.end.min(text.len()), words)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Word<'t> {
    Name(&'t str),
    Literal,
    Sign(char),
}

#[derive(Debug, Clone, Copy)]
struct Token<'t> {
    word: Word<'t>,
    at: usize,
}

/// The insides of `{{ }}` and `{% %}`, without comments and raw blocks.
fn regions(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|n| at + n) {
        let close = match text.as_bytes().get(open + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                at = open + 1;
                continue;
            }
        };
        let start = open + 2;
        let end = end_of(text, start, close);
        match close {
            "#}" => {}
            // The first word says what kind of statement it is.
            "%}" => {
                let inside = text[start..end].trim_start_matches(['-', '+']).trim_start();
                let word = inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len());
                found.push(end - inside.len() + word..end);
            }
            _ => found.push(start..end),
        }
        at = (end + 2).min(text.len());
        if close == "%}" && text[start..end].trim_matches(['-', '+', ' ', '\n', '\t']) == "raw" {
            at = text[at..].find("endraw").map_or(text.len(), |n| at + n);
        }
        at = text.ceil_char_boundary(at);
    }
    found
}

/// Where a block closes, not counting quotes.
fn end_of(text: &str, start: usize, close: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (n, c) in text[start..].char_indices() {
        match (quote, c) {
            (Some(_), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), c) if c == open && !escaped => quote = None,
            (None, '"' | '\'') if close != "#}" => quote = Some(c),
            (None, _) if text[start + n..].starts_with(close) => return start + n,
            _ => {}
        }
        escaped = false;
    }
    text.len()
}

fn tokens(text: &str, region: Range<usize>) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = region.start;
    while at < region.end {
        let rest = &text[at..region.end];
        let Some(first) = rest.chars().next() else { break };
        let (word, len) = if first.is_alphabetic() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Some(Word::Name(&rest[..len])), len)
        } else if first.is_ascii_digit() {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(rest.len());
            (Some(Word::Literal), len)
        } else if first == '"' || first == '\'' {
            let mut escaped = false;
            let close = rest[1..].find(|c: char| {
                let closes = c == first && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            (Some(Word::Literal), close.map_or(rest.len(), |n| n + 2))
        } else if first.is_whitespace() {
            (None, first.len_utf8())
        } else {
            (Some(Word::Sign(first)), first.len_utf8())
        };
        if let Some(word) = word {
            found.push(Token { word, at });
        }
        at += len;
    }
    found
}

/// Names that may exist; the environment cannot list its own.
const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "b64decode",
    "b64encode",
    "basename",
    "batch",
    "bool",
    "chain",
    "combine",
    "comment",
    "count",
    "default",
    "dict2items",
    "dictsort",
    "difference",
    "dirname",
    "escape",
    "first",
    "flatten",
    "float",
    "format",
    "from_json",
    "from_yaml",
    "groupby",
    "hash",
    "indent",
    "int",
    "intersect",
    "items",
    "items2dict",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "mandatory",
    "max",
    "min",
    "pprint",
    "quote",
    "regex_escape",
    "regex_findall",
    "regex_replace",
    "regex_search",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "ternary",
    "title",
    "to_json",
    "to_nice_json",
    "to_nice_yaml",
    "to_yaml",
    "tojson",
    "trim",
    "type_debug",
    "union",
    "unique",
    "upper",
    "urlencode",
    "zip",
];

const TESTS: &[&str] = &[
    "boolean",
    "changed",
    "contains",
    "defined",
    "divisibleby",
    "endingwith",
    "equalto",
    "even",
    "failed",
    "false",
    "float",
    "in",
    "integer",
    "iterable",
    "lower",
    "mapping",
    "match",
    "none",
    "number",
    "odd",
    "regex",
    "search",
    "sequence",
    "skipped",
    "startingwith",
    "string",
    "subset",
    "succeeded",
    "success",
    "superset",
    "true",
    "undefined",
    "upper",
    "version",
];

const KEYWORDS: &[&str] =
    &["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"];

#[derive(Default)]
struct Mentions<'t> {
    first: HashMap<&'t str, usize>,
    guarded: HashSet<&'t str>,
    called: Vec<(Unknown, &'t str, usize)>,
}

impl<'t> Mentions<'t> {
    fn walk(&mut self, tokens: &[Token<'t>]) {
        // The name an expression begins with, as long as nothing was taken of it: `x` in `x is defined`.
        let mut bare: Option<&'t str> = None;
        let mut outer: Vec<Option<&'t str>> = Vec::new();
        let word = |at: usize| tokens.get(at).map(|token| token.word);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let before = at.checked_sub(1).and_then(word);
            match token.word {
                Word::Name("is") => {
                    let negated = usize::from(word(at + 1) == Some(Word::Name("not")));
                    if let Some(Word::Name(test)) = word(at + 1 + negated) {
                        if matches!(test, "defined" | "undefined") {
                            self.guarded.extend(bare);
                        }
                        // `is in(…)`, `is divisibleby`, namespaced tests of Ansible.
                        if !KEYWORDS.contains(&test) {
                            self.called.push((Unknown::Test, test, tokens[at + 1 + negated].at));
                        }
                        at += 1 + negated;
                    }
                    bare = None;
                }
                Word::Name(name) if before == Some(Word::Sign('|')) => {
                    if matches!(name, "default" | "d") {
                        self.guarded.extend(bare);
                    }
                    self.called.push((Unknown::Filter, name, token.at));
                    bare = None;
                }
                Word::Name(_) if before == Some(Word::Sign('.')) => bare = None,
                Word::Name(name) if KEYWORDS.contains(&name) => bare = None,
                Word::Name(name) => {
                    let keyword = word(at + 1) == Some(Word::Sign('=')) && word(at + 2) != Some(Word::Sign('='));
                    let argument = keyword && matches!(before, Some(Word::Sign('(' | ',')));
                    if !argument {
                        self.first.entry(name).or_insert(token.at);
                        bare = Some(name);
                    }
                }
                Word::Sign('(' | '[') => {
                    outer.push(None);
                    bare = None;
                }
                Word::Sign(')' | ']') => bare = outer.pop().flatten(),
                Word::Sign('|') => {}
                _ => bare = None,
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests;
