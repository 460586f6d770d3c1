//! A line that was typed into a terminal, where it holds what only a terminal has: its modes, and a script for
//! `sh -c` that comes in base64. Any other line is the lab's shell's, and a line that is half understood is not run.

use crate::lab::commands::shell::{self, Hole, Piece};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const PIPES: &str = include_str!("../../link/pipes.sh");

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Stty(Vec<String>),
    /// For the lab's shell.
    Line(String),
    /// `sh -c SCRIPT NAME WORDS…`, on the node or inside a container. `last`: it takes the shell's place.
    Script {
        inside: Option<u32>,
        script: String,
        words: Vec<String>,
        last: bool,
    },
    Exit,
}

/// The commands of a line; `None`: there is nothing in it that a terminal is needed for.
pub fn commands(line: &str) -> Option<Vec<Command>> {
    let pieces = shell::pieces(line, &|hole| match hole {
        Hole::Variable(name) => Err(format!("the variable {name}")),
        Hole::Command(text) => decoded(text).ok_or_else(|| "command substitution".to_owned()),
    });
    let commands: Vec<Command> = pieces.ok()?.into_iter().map(command).collect::<Option<_>>()?;
    commands.iter().any(|c| !matches!(c, Command::Line(_) | Command::Exit)).then_some(commands)
}

/// `echo TEXT | base64 -d`, which is how a script of many lines is typed in one.
fn decoded(text: &str) -> Option<String> {
    let text = text.trim().strip_prefix("echo ")?.strip_suffix("| base64 -d")?.trim();
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

fn command(piece: Piece) -> Option<Command> {
    let [words] = piece.pipeline.as_slice() else { return Some(Command::Line(piece.text)) };
    let (last, words) = match words.split_first() {
        Some((exec, after)) if exec == "exec" => (true, after),
        _ => (false, words.as_slice()),
    };
    match words {
        [stty, words @ ..] if stty == "stty" => Some(Command::Stty(words.to_vec())),
        [exit] if exit == "exit" => Some(Command::Exit),
        words => Some(script(words, last).unwrap_or(Command::Line(piece.text))),
    }
}

fn script(words: &[String], last: bool) -> Option<Command> {
    // Pipes only keep a program from the terminal.
    let mut rest = match words {
        [sh, c, script, _name, words @ ..] if (sh.as_str(), c.as_str(), script.as_str()) == ("sh", "-c", PIPES) => {
            words
        }
        words => words,
    };
    if let [sudo, n, dashes, after @ ..] = rest
        && (sudo.as_str(), n.as_str(), dashes.as_str()) == ("sudo", "-n", "--")
    {
        rest = after;
    }
    let mut inside = None;
    if let [pct, exec, vmid, dashes, after @ ..] = rest
        && (pct.as_str(), exec.as_str(), dashes.as_str()) == ("pct", "exec", "--")
    {
        (inside, rest) = (Some(vmid.parse().ok()?), after);
    }
    match rest {
        [sh, c, script, _name, words @ ..] if sh == "sh" && c == "-c" && script.contains('\n') => {
            Some(Command::Script { inside, script: script.clone(), words: words.to_vec(), last })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_converge_types_is_understood_and_other_lines_are_the_shells() {
        let packed = STANDARD.encode("a\nb");
        let line = format!(
            " stty raw -echo; printf \"%s%s\\n\" @boo \"t shell\"; exec sh -c \"$(echo {packed} | base64 -d)\" converge 'x' ''"
        );
        let found = commands(&line).expect("a terminal's line");
        assert_eq!(found[0], Command::Stty(vec!["raw".into(), "-echo".into()]));
        assert!(matches!(&found[1], Command::Line(text) if text.contains("printf")), "{found:?}");
        let words = vec!["x".to_owned(), String::new()];
        assert_eq!(found[2], Command::Script { inside: None, script: "a\nb".into(), words, last: true });
        let pipes = STANDARD.encode(PIPES);
        let line = format!(
            "stty raw; exec sh -c \"$(echo {pipes} | base64 -d)\" converge 'pct' 'exec' '101' '--' \
             sh -c \"$(echo {packed} | base64 -d)\" converge 'x'"
        );
        let found = commands(&line).expect("a terminal's line");
        assert!(matches!(&found[1], Command::Script { inside: Some(101), last: true, .. }), "{found:?}");
        for other in ["ls /etc", "echo a; echo b", "stty $(rm -rf /)", "x=$(echo YQ== | base64 -d)"] {
            assert_eq!(commands(other), None, "{other}");
        }
    }
}
