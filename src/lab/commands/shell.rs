//! `sh -c`: the small part of a shell that the lab plays. Words, quotes, pipes, `;`, `&&`, `||`, redirections and
//! plain variables; everything else is refused, because a half-understood script would do something else.

use super::options::Options;
use super::{Ctx, not_simulated};
use crate::host::Output;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Operator(String),
}

/// Splits a command line into words as a shell does, for lines without operators.
///
/// # Errors
/// What is wrong with it.
pub fn words(line: &str) -> Result<Vec<String>, String> {
    tokens(line, &|hole| Err(hole.refused()))?
        .into_iter()
        .map(|t| match t {
            Token::Word(word) => Ok(word),
            Token::Operator(op) => Err(format!("`{op}` outside of a shell")),
        })
        .collect()
}

/// What a word leaves to be filled in.
#[derive(Debug, Clone, Copy)]
pub enum Hole<'a> {
    Variable(&'a str),
    /// The text between `$(` and `)`.
    Command(&'a str),
}

impl Hole<'_> {
    fn refused(self) -> String {
        match self {
            Self::Variable(name) => format!("the variable {name}"),
            Self::Command(_) => "command substitution".into(),
        }
    }
}

type Fill<'a> = &'a dyn Fn(Hole<'_>) -> Result<String, String>;

/// One command of a list, in words and as it would be typed again.
pub struct Piece {
    /// Without redirections.
    pub pipeline: Vec<Vec<String>>,
    pub text: String,
}

/// The commands of a line that are separated by `;`. A line with `&&` or `||` has none that stand alone.
///
/// # Errors
/// What is not understood.
pub fn pieces(line: &str, fill: Fill<'_>) -> Result<Vec<Piece>, String> {
    let list = tokens(line, fill)?;
    let mut found = Vec::new();
    for (segment, next) in segments(&list) {
        if next != ";" {
            return Err(format!("the operator {next}"));
        }
        if segment.is_empty() {
            continue;
        }
        let mut pipeline = vec![Vec::new()];
        let mut text = Vec::new();
        for token in segment {
            match token {
                Token::Word(word) => {
                    pipeline.last_mut().expect("never empty").push(word.clone());
                    text.push(format!("'{}'", word.replace('\'', r"'\''")));
                }
                Token::Operator(op) => {
                    if op == "|" {
                        pipeline.push(Vec::new());
                    }
                    text.push(op.clone());
                }
            }
        }
        found.push(Piece { pipeline, text: text.join(" ") });
    }
    Ok(found)
}

fn tokens(line: &str, variable: Fill<'_>) -> Result<Vec<Token>, String> {
    let mut list = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    let flush = |word: &mut Option<String>, list: &mut Vec<Token>| {
        if let Some(word) = word.take() {
            list.push(Token::Word(word));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => flush(&mut word, &mut list),
            '\n' => {
                flush(&mut word, &mut list);
                list.push(Token::Operator(";".into()));
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => text.push(c),
                        None => return Err("an unterminated quote".into()),
                    }
                }
            }
            '"' => {
                word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => {
                            let next = chars.next().ok_or("an unterminated quote")?;
                            if !['"', '\\', '$', '`'].contains(&next) {
                                word.get_or_insert_default().push('\\');
                            }
                            word.get_or_insert_default().push(next);
                        }
                        Some('`') => return Err("command substitution".into()),
                        Some('$') => {
                            let value = expand(&mut chars, variable)?;
                            word.get_or_insert_default().push_str(&value);
                        }
                        Some(c) => word.get_or_insert_default().push(c),
                        None => return Err("an unterminated quote".into()),
                    }
                }
            }
            '$' => {
                let value = expand(&mut chars, variable)?;
                let mut parts = value.split_whitespace();
                if let Some(first) = parts.next() {
                    word.get_or_insert_default().push_str(first);
                }
                for part in parts {
                    flush(&mut word, &mut list);
                    word = Some(part.to_owned());
                }
            }
            '#' if word.is_none() => {
                while chars.peek().is_some_and(|c| *c != '\n') {
                    chars.next();
                }
            }
            '`' => return Err("command substitution".into()),
            '(' | ')' | '{' if word.is_none() => return Err("groups of commands".into()),
            '*' | '?' if word.is_some() || c == '*' => return Err("file name patterns".into()),
            '|' | '&' | ';' | '>' | '<' => {
                let mut op = c.to_string();
                if let (Some(digits), '>') = (word.as_deref(), c)
                    && (digits == "2" || digits == "1")
                {
                    op = format!("{digits}>");
                    word = None;
                }
                flush(&mut word, &mut list);
                if let Some(next) = chars.peek().copied()
                    && ((next == c && c != ';') || (c == '>' && next == '&'))
                {
                    chars.next();
                    op.push(next);
                    if next == '&' && c == '>' {
                        op.extend(chars.next());
                    }
                }
                list.push(Token::Operator(op));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    flush(&mut word, &mut list);
    Ok(list)
}

fn expand(chars: &mut std::iter::Peekable<std::str::Chars>, fill: Fill<'_>) -> Result<String, String> {
    let variable = |name: &str| fill(Hole::Variable(name));
    match chars.peek() {
        Some('(') => {
            chars.next();
            let text: String = chars.by_ref().take_while(|c| *c != ')').collect();
            fill(Hole::Command(&text))
        }
        Some('{') => {
            chars.next();
            let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
            variable(&name)
        }
        Some(c) if c.is_ascii_alphabetic() || *c == '_' || *c == '?' => {
            let mut name = String::new();
            while let Some(c) = chars
                .peek()
                .copied()
                .filter(|c| c.is_ascii_alphanumeric() || *c == '_' || (*c == '?' && name.is_empty()))
            {
                name.push(c);
                chars.next();
                if c == '?' {
                    break;
                }
            }
            variable(&name)
        }
        _ => Ok("$".into()),
    }
}

pub fn sh(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse_until(argv, "ceux", &["login"], true) {
        Ok(options) if options.has(&["c"]) => options,
        Ok(_) => return not_simulated(argv, "a shell without -c"),
        Err(output) => return output,
    };
    let Some(script) = options.rest.first() else { return Output::failed(2, "sh: 0: -c requires an argument\n") };
    run_script(ctx, script, stdin, options.has(&["e"]))
}

/// Runs a script; its exit code is that of the last command.
pub fn run_script(ctx: &mut Ctx, script: &str, stdin: Option<&[u8]>, stop_at_failure: bool) -> Output {
    let refused = |what: String| Output::failed(125, format!("sh: the lab's shell does not simulate {what}\n"));
    let env = ctx.env.clone();
    let place_name = ctx.view().text("/etc/hostname").unwrap_or_default().trim().to_owned();
    let variable = move |hole: Hole<'_>| match hole {
        Hole::Variable("HOSTNAME") => Ok(place_name.clone()),
        Hole::Variable("HOME") => Ok("/root".into()),
        Hole::Variable("?") => Err("$?".into()),
        Hole::Variable(name) => env.get(name).cloned().map_or_else(|| Ok(String::new()), Ok),
        Hole::Command(_) => Err(hole.refused()),
    };
    let list = match tokens(script, &variable) {
        Ok(list) => list,
        Err(what) => return refused(what),
    };
    let mut output = Output::default();
    let mut connector = ";".to_owned();
    for (segment, next) in segments(&list) {
        let skip = match connector.as_str() {
            "&&" => output.rc != 0,
            "||" => output.rc == 0,
            _ => false,
        };
        if !skip && !segment.is_empty() {
            let one = match pipeline(ctx, segment, stdin) {
                Ok(one) => one,
                Err(what) => return refused(what),
            };
            output.rc = one.rc;
            output.stdout.push_str(&one.stdout);
            output.stderr.push_str(&one.stderr);
            if stop_at_failure && output.rc != 0 && next == ";" {
                break;
            }
        }
        connector = next;
    }
    output
}

/// Commands between `;`, `&&` and `||`, each with the operator after it.
fn segments(list: &[Token]) -> Vec<(&[Token], String)> {
    let mut result = Vec::new();
    let mut start = 0;
    for (at, token) in list.iter().enumerate() {
        if let Token::Operator(op) = token
            && [";", "&&", "||"].contains(&op.as_str())
        {
            result.push((&list[start..at], op.clone()));
            start = at + 1;
        }
    }
    result.push((&list[start..], ";".into()));
    result
}

fn pipeline(ctx: &mut Ctx, tokens: &[Token], stdin: Option<&[u8]>) -> Result<Output, String> {
    let mut input: Option<Vec<u8>> = stdin.map(<[u8]>::to_vec);
    let mut output = Output::default();
    let parts: Vec<&[Token]> = tokens.split(|t| *t == Token::Operator("|".into())).collect();
    for (n, part) in parts.iter().enumerate() {
        let one = command(ctx, part, input.as_deref())?;
        output.stderr.push_str(&one.stderr);
        output.rc = one.rc;
        if n + 1 == parts.len() {
            output.stdout = one.stdout;
        } else {
            input = Some(one.stdout.into_bytes());
        }
    }
    Ok(output)
}

fn command(ctx: &mut Ctx, tokens: &[Token], stdin: Option<&[u8]>) -> Result<Output, String> {
    let mut argv = Vec::new();
    let mut redirects: Vec<(String, String)> = Vec::new();
    let mut rest = tokens.iter();
    while let Some(token) = rest.next() {
        match token {
            Token::Word(word) => argv.push(word.clone()),
            Token::Operator(op) if op.contains(">&") => redirects.push((op.clone(), String::new())),
            Token::Operator(op) if [">", ">>", "1>", "1>>", "2>", "2>>", "<"].contains(&op.as_str()) => {
                match rest.next() {
                    Some(Token::Word(path)) => redirects.push((op.clone(), path.clone())),
                    _ => return Err("a redirection without a file".into()),
                }
            }
            Token::Operator(op) => return Err(format!("the operator {op}")),
        }
    }
    // Leading assignments hold for this command only; alone they are lost with it.
    let mut env = Vec::new();
    while let Some((name, value)) = argv.first().and_then(|w| w.split_once('=')).filter(|(n, _)| is_name(n)) {
        env.push((name.to_owned(), value.to_owned()));
        argv.remove(0);
    }
    if argv.is_empty() && !env.is_empty() {
        return Err("shell variables".into());
    }
    let input = match redirects.iter().find(|(op, _)| op == "<") {
        Some((_, path)) => match ctx.view().read(&ctx.absolute(path)) {
            Ok(Some(bytes)) => Some(bytes),
            _ => return Ok(Output::failed(2, format!("sh: 1: cannot open {path}: No such file\n"))),
        },
        None => stdin.map(<[u8]>::to_vec),
    };
    let saved = ctx.env.clone();
    ctx.env.extend(env);
    let mut output = builtin(ctx, &argv).unwrap_or_else(|| match super::run(ctx, &argv, input.as_deref()) {
        Ok(output) => output,
        Err(_) => Output::failed(127, format!("sh: 1: {}: not found\n", argv.first().map_or("", String::as_str))),
    });
    ctx.env = saved;
    for (op, path) in &redirects {
        match op.as_str() {
            "2>&1" => output.stdout.push_str(&std::mem::take(&mut output.stderr)),
            ">&2" | "1>&2" => output.stderr.push_str(&std::mem::take(&mut output.stdout)),
            "<" => {}
            _ => {
                let text = if op.starts_with('2') {
                    std::mem::take(&mut output.stderr)
                } else {
                    std::mem::take(&mut output.stdout)
                };
                if path != "/dev/null" {
                    let before = if op.ends_with(">>") { ctx.text(path).unwrap_or_default() } else { String::new() };
                    if let Err(e) = ctx.write(path, format!("{before}{text}").as_bytes()) {
                        return Ok(Output::failed(2, format!("sh: 1: cannot create {path}: {}\n", e.text)));
                    }
                }
            }
        }
    }
    Ok(output)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn builtin(ctx: &mut Ctx, argv: &[String]) -> Option<Output> {
    match argv.first().map(String::as_str) {
        None | Some(":") => Some(Output::default()),
        Some("cd") => {
            let target = ctx.absolute(argv.get(1).map_or("/root", String::as_str));
            if !ctx.exists(&target) {
                return Some(Output::failed(2, format!("sh: 1: cd: can't cd to {target}\n")));
            }
            ctx.cwd = target;
            Some(Output::default())
        }
        Some("set") => Some(Output::default()),
        Some("exit") => Some(Output { rc: argv.get(1).and_then(|n| n.parse().ok()).unwrap_or(0), ..Output::default() }),
        Some("command") if argv.get(1).is_some_and(|a| a == "-v") => {
            let name = argv.get(2)?;
            Some(match super::which(ctx, name) {
                Some(path) => Output::ok(format!("{path}\n")),
                None => Output { rc: 127, ..Output::default() },
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("a 'b c' \"d e\" f\\ g ''").unwrap(), ["a", "b c", "d e", "f g", ""]);
        assert_eq!(words("tr -d '\\n'").unwrap(), ["tr", "-d", "\\n"]);
        assert!(words("a | b").is_err());
        assert!(words("'open").is_err());
        assert!(words("$(reboot)").is_err());
    }
}
