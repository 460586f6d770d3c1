//! Programs for text in pipes: `echo`, `printf`, `grep`, `head`, `tail`, `sort`, `uniq`, `wc`, `tr`, `cut`.

use super::options::Options;
use super::{Ctx, not_simulated};
use crate::host::Output;

/// Standard input, or the files that were named.
fn input(ctx: &Ctx, argv: &[String], paths: &[String], stdin: Option<&[u8]>) -> Result<String, Output> {
    if paths.is_empty() {
        return Ok(String::from_utf8_lossy(stdin.unwrap_or_default()).into_owned());
    }
    let mut text = String::new();
    for path in paths {
        match ctx.view().read(&ctx.absolute(path)) {
            Ok(Some(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Ok(None) => return Err(Output::failed(2, format!("{}: {path}: No such file or directory\n", argv[0]))),
            Err(e) => return Err(Output::failed(2, format!("{}: {path}: {}\n", argv[0], e.text))),
        }
    }
    Ok(text)
}

pub fn echo(_ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    match argv.get(1).map(String::as_str) {
        Some("-n") => Output::ok(argv[2..].join(" ")),
        _ => Output::ok(format!("{}\n", argv[1..].join(" "))),
    }
}

pub fn printf(_ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let [_, format, arguments @ ..] = argv else {
        return Output::failed(2, "printf: usage: printf format [arguments]\n");
    };
    let mut text = String::new();
    let mut left = arguments.iter();
    loop {
        let mut chars = format.chars();
        let mut took = false;
        while let Some(c) = chars.next() {
            match (c, if c == '%' || c == '\\' { chars.next() } else { None }) {
                ('%', Some('s' | 'd')) => {
                    took = true;
                    text.push_str(left.next().map_or("", String::as_str));
                }
                ('%', Some('%')) => text.push('%'),
                ('\\', Some('n')) => text.push('\n'),
                ('\\', Some('t')) => text.push('\t'),
                ('\\', Some('\\')) => text.push('\\'),
                ('%' | '\\', other) => return not_simulated(argv, &format!("the format {c}{}", other.unwrap_or(' '))),
                (c, _) => text.push(c),
            }
        }
        if !took || left.len() == 0 {
            return Output::ok(text);
        }
    }
}

pub fn grep(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(
        argv,
        "qvcixEFoe:wn",
        &["quiet", "invert-match", "count", "ignore-case", "extended-regexp", "fixed-strings", "line-regexp"],
    ) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let mut rest = options.rest.clone();
    let pattern = match options.value(&["e"]) {
        Some(pattern) => pattern.to_owned(),
        None if rest.is_empty() => return Output::failed(2, "Usage: grep [OPTION]... PATTERNS [FILE]...\n"),
        None => rest.remove(0),
    };
    let extended = options.has(&["E", "extended-regexp"]) || argv[0].ends_with("egrep");
    let mut expression = if options.has(&["F", "fixed-strings"]) {
        regex::escape(&pattern)
    } else if extended {
        pattern.clone()
    } else {
        // In basic expressions these are plain without a backslash and special with one.
        let mut text = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some(next @ ('(' | ')' | '{' | '}' | '|' | '+' | '?')) => text.push(next),
                    Some(next) => text.extend(['\\', next]),
                    None => text.push('\\'),
                },
                '(' | ')' | '{' | '}' | '|' | '+' | '?' => text.extend(['\\', c]),
                c => text.push(c),
            }
        }
        text
    };
    if options.has(&["w"]) {
        expression = format!("\\b(?:{expression})\\b");
    }
    if options.has(&["x", "line-regexp"]) {
        expression = format!("^(?:{expression})$");
    }
    let built = regex::RegexBuilder::new(&expression).case_insensitive(options.has(&["i", "ignore-case"])).build();
    let Ok(regex) = built else { return Output::failed(2, "grep: Invalid regular expression\n") };
    let text = match input(ctx, argv, &rest, stdin) {
        Ok(text) => text,
        Err(output) => return output,
    };
    let inverted = options.has(&["v", "invert-match"]);
    let found: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, l)| regex.is_match(l) != inverted).collect();
    let stdout = if options.has(&["q", "quiet"]) {
        String::new()
    } else if options.has(&["c", "count"]) {
        format!("{}\n", found.len())
    } else if options.has(&["o"]) {
        found.iter().flat_map(|(_, l)| regex.find_iter(l)).map(|m| format!("{}\n", m.as_str())).collect()
    } else if options.has(&["n"]) {
        found.iter().map(|(n, l)| format!("{}:{l}\n", n + 1)).collect()
    } else {
        found.iter().map(|(_, l)| format!("{l}\n")).collect()
    };
    Output { rc: i32::from(found.is_empty()), stdout, stderr: String::new() }
}

pub fn head_or_tail(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "n:", &["lines="]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let Ok(count) = options.value(&["n", "lines"]).unwrap_or("10").parse::<usize>() else {
        return not_simulated(argv, "this count of lines");
    };
    let text = match input(ctx, argv, &options.rest, stdin) {
        Ok(text) => text,
        Err(output) => return output,
    };
    let lines: Vec<&str> = text.lines().collect();
    let from = if argv[0].ends_with("tail") { lines.len().saturating_sub(count) } else { 0 };
    Output::ok(lines[from..].iter().take(count).map(|l| format!("{l}\n")).collect::<String>())
}

pub fn sort(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let unique_only = argv[0].ends_with("uniq");
    let options = match Options::parse(argv, if unique_only { "" } else { "unr" }, &[]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let text = match input(ctx, argv, &options.rest, stdin) {
        Ok(text) => text,
        Err(output) => return output,
    };
    let mut lines: Vec<&str> = text.lines().collect();
    if !unique_only {
        if options.has(&["n"]) {
            lines.sort_by_key(|l| l.trim().parse::<i64>().unwrap_or(0));
        } else {
            lines.sort_unstable();
        }
        if options.has(&["r"]) {
            lines.reverse();
        }
    }
    if unique_only || options.has(&["u"]) {
        lines.dedup();
    }
    Output::ok(lines.iter().map(|l| format!("{l}\n")).collect::<String>())
}

pub fn wc(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "lcw", &[]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let text = match input(ctx, argv, &options.rest, stdin) {
        Ok(text) => text,
        Err(output) => return output,
    };
    let count = if options.has(&["l"]) {
        text.matches('\n').count()
    } else if options.has(&["c"]) {
        text.len()
    } else if options.has(&["w"]) {
        text.split_whitespace().count()
    } else {
        return not_simulated(argv, "wc without -l, -c or -w");
    };
    let name = options.rest.first().map(|p| format!(" {p}")).unwrap_or_default();
    Output::ok(format!("{count}{name}\n"))
}

pub fn tr(_ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let set = |text: &str| -> Option<Vec<char>> {
        let mut list = Vec::new();
        let mut chars =
            text.replace("\\n", "\n").replace("\\t", "\t").chars().collect::<Vec<_>>().into_iter().peekable();
        while let Some(c) = chars.next() {
            if c == '[' || c == '\\' {
                return None;
            }
            if chars.peek() == Some(&'-') {
                chars.next();
                list.extend(c..=chars.next()?);
            } else {
                list.push(c);
            }
        }
        Some(list)
    };
    let text = String::from_utf8_lossy(stdin.unwrap_or_default()).into_owned();
    match argv {
        [_, flag, from] if flag == "-d" => match set(from) {
            Some(from) => Output::ok(text.chars().filter(|c| !from.contains(c)).collect::<String>()),
            None => not_simulated(argv, "this set"),
        },
        [_, from, to] if !from.starts_with('-') => match (set(from), set(to)) {
            (Some(from), Some(to)) if !to.is_empty() => {
                let map = |c: char| from.iter().position(|f| *f == c).map_or(c, |at| to[at.min(to.len() - 1)]);
                Output::ok(text.chars().map(map).collect::<String>())
            }
            _ => not_simulated(argv, "this set"),
        },
        _ => not_simulated(argv, "this use of tr"),
    }
}

pub fn cut(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "d:f:", &[]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let (delimiter, field) =
        (options.value(&["d"]).unwrap_or("\t"), options.value(&["f"]).and_then(|f| f.parse::<usize>().ok()));
    let Some(field) = field.filter(|f| *f > 0) else { return not_simulated(argv, "this use of cut") };
    let text = match input(ctx, argv, &options.rest, stdin) {
        Ok(text) => text,
        Err(output) => return output,
    };
    let pick = |line: &str| {
        line.split(delimiter).nth(field - 1).unwrap_or(if line.contains(delimiter) { "" } else { line }).to_owned()
    };
    Output::ok(text.lines().map(|l| format!("{}\n", pick(l))).collect::<String>())
}
