//! Jinja expressions and templates, with the filters and tests that Ansible's users expect. Undefined is an error.
//!
//! Knows no playbook: it is given text and a context. Compiled text is kept for the whole run.

mod filters;

use minijinja::value::Value;
use minijinja::{Environment, Error, Expression, UndefinedBehavior};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

/// Instructions one rendering may take: a template that never ends fails instead (about a second of work).
const FUEL: u64 = 5_000_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(200);
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax.trim_blocks(true).keep_trailing_newline(true);
    env.set_syntax(syntax.build().expect("the standard delimiters do not clash"));
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    // The name of a template is its text, so that the environment's own cache serves every scalar and file.
    env.set_loader(|text: &str| Ok::<_, Error>(Some(text.to_owned())));
    filters::register(&mut env);
    env
});

type Expressions = RwLock<HashMap<String, Arc<Expression<'static, 'static>>>>;
static EXPRESSIONS: LazyLock<Expressions> = LazyLock::new(RwLock::default);

/// The environment itself, for looking at a template without rendering it.
pub fn environment() -> &'static Environment<'static> {
    &ENVIRONMENT
}

/// Whether a text has anything to render.
pub fn has_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// The expression, when the text is exactly one `{{ … }}`: such a text may become a list, a map or a number.
pub fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then(|| inner.trim())
}

/// Renders a template text. The error has the line inside the text (`Error::line`).
pub fn render(text: &str, context: &Value) -> Result<String, Error> {
    ENVIRONMENT.get_template(text)?.render(context.clone())
}

/// Evaluates a bare expression.
pub fn eval(expression: &str, context: &Value) -> Result<Value, Error> {
    compiled(expression)?.eval(context.clone())
}

/// A compiled expression; a syntax error if it is none.
pub fn compiled(expression: &str) -> Result<Arc<Expression<'static, 'static>>, Error> {
    if let Some(found) = EXPRESSIONS.read().expect("no panic while holding").get(expression) {
        return Ok(found.clone());
    }
    let fresh = Arc::new(ENVIRONMENT.compile_expression_owned(expression.to_owned())?);
    EXPRESSIONS.write().expect("no panic while holding").insert(expression.to_owned(), fresh.clone());
    Ok(fresh)
}

/// What went wrong, in one line, without the text of the template (its name is its text).
pub fn explain(error: &Error) -> String {
    let mut words = match error.kind() {
        minijinja::ErrorKind::OutOfFuel => format!("the template does not end: stopped after {FUEL} steps"),
        kind => kind.to_string(),
    };
    if let Some(detail) = error.detail() {
        words.push_str(": ");
        words.push_str(detail);
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = match inner.downcast_ref::<Error>() {
            Some(inner) => inner.detail().map_or_else(|| inner.kind().to_string(), str::to_owned),
            None => inner.to_string(),
        };
        words.push_str(": ");
        words.push_str(&text);
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests;
