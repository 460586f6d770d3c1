//! What an expression or template mentions, and where: names, filters, guards. Renders nothing.

mod known;
mod mentions;
mod tokens;

use crate::template;
use known::{FILTERS, TESTS};
use mentions::Mentions;
use minijinja::Environment;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;
use tokens::{Token, regions, tokens};

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

#[cfg(test)]
mod tests;
