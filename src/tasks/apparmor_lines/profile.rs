//! Where a profile begins and ends in its file, and rules in it. Everything else of the file stays as it is.

use std::ops::Range;

pub struct Block {
    pub name: String,
    /// Lines between the opening and the closing one.
    body: Range<usize>,
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}

/// The name in `profile NAME flags=(…) {`, `profile NAME /path {` or `/path {`.
fn header(line: &str) -> Option<String> {
    let opened = line.strip_suffix('{')?.trim_end();
    if is_comment(line) {
        return None;
    }
    let mut words = opened.split_whitespace();
    let name = match words.next()? {
        "profile" => words.next()?,
        path if path.starts_with(['/', '@', '"']) => path,
        _ => return None,
    };
    Some(name.trim_matches('"').to_owned())
}

/// The profile of that name, or the only one of the file.
pub fn find(text: &str, wanted: Option<&str>) -> Result<Block, String> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize)> = None;
    let mut depth = 0;
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if is_comment(line) {
            continue;
        }
        if depth == 0 {
            if let Some(name) = header(line) {
                open = Some((name, number + 1));
                depth = 1;
            }
        } else if line.ends_with('{') {
            depth += 1;
        } else if line == "}" {
            depth -= 1;
            if depth == 0
                && let Some((name, from)) = open.take()
            {
                found.push(Block { name, body: from..number });
            }
        }
    }
    if depth != 0 {
        return Err("a profile is not closed by a line with `}`".into());
    }
    let names: Vec<String> = found.iter().map(|block| block.name.clone()).collect();
    match wanted {
        Some(wanted) => found
            .into_iter()
            .find(|block| block.name == wanted)
            .ok_or_else(|| format!("there is no profile {wanted}, but: {}", names.join(", "))),
        None if found.len() == 1 => Ok(found.remove(0)),
        None if found.is_empty() => Err("there is no profile in it".into()),
        None => Err(format!("it has several profiles, name one by `profile`: {}", names.join(", "))),
    }
}

/// White space makes no difference between rules.
fn normal(rule: &str) -> String {
    rule.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// With the rules that are missing, right before the closing brace.
pub fn with(text: &str, block: &Block, rules: &[String]) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut present: Vec<String> = lines[block.body.clone()].iter().map(|line| normal(line)).collect();
    let mut result: String = lines[..block.body.end].concat();
    for rule in rules {
        let rule = normal(rule);
        if !present.contains(&rule) {
            result.push_str(&format!("  {rule}\n"));
            present.push(rule);
        }
    }
    result.push_str(&lines[block.body.end..].concat());
    result
}

pub fn without(text: &str, block: &Block, rules: &[String]) -> String {
    let gone: Vec<String> = rules.iter().map(|rule| normal(rule)).collect();
    let lines = text.split_inclusive('\n').enumerate();
    lines.filter(|(n, line)| !(block.body.contains(n) && gone.contains(&normal(line)))).map(|(_, line)| line).collect()
}
