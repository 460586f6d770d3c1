//! Which names, filters and tests the words of an expression mention, and which of the names it guards.

use super::Unknown;
use super::tokens::{Token, Word};
use std::collections::{HashMap, HashSet};

const KEYWORDS: &[&str] =
    &["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"];

/// What the words of an expression mention, by the first place.
#[derive(Default)]
pub struct Mentions<'t> {
    pub first: HashMap<&'t str, usize>,
    pub guarded: HashSet<&'t str>,
    pub called: Vec<(Unknown, &'t str, usize)>,
}

impl<'t> Mentions<'t> {
    pub fn walk(&mut self, tokens: &[Token<'t>]) {
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
