//! `lineinfile`: one line of a text file.

use super::args::FileMode;
use super::lines::{self, missing_group, pattern, pattern_fault, replacement};
use super::managed::{self, Found, Wanted};
use super::{ArgFault, Task, Trail, Verdict};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Makes sure that a line is in a text file, or that none is. With `regexp` the last line that matches is replaced;
/// where none matches, the line is added at the end, or where `insertafter` or `insertbefore` says.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineInFile {
    /// Absolute path. A link is followed.
    #[serde(alias = "dest", alias = "name")]
    pub path: String,
    /// The line, without its line end. With `backrefs` it may hold `\1`, `\2`, …
    #[serde(default, alias = "value", skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Pattern of the line to replace, or of those to remove.
    #[serde(default, alias = "regex", skip_serializing_if = "Option::is_none")]
    pub regexp: Option<String>,
    /// Plain text of the line to replace, or of those to remove, instead of a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_string: Option<String>,
    /// `present` puts the line there, `absent` removes every line that matches.
    #[serde(default)]
    pub state: State,
    /// Where to add the line: `EOF`, or behind the last line that matches this pattern (at the end if none does).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insertafter: Option<String>,
    /// Where to add the line: `BOF`, or before the last line that matches this pattern (at the end if none does).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insertbefore: Option<String>,
    /// Fill groups of `regexp` into `line`; where nothing matches, the file stays as it is.
    #[serde(default, alias = "backreferences")]
    pub backrefs: bool,
    /// Take the first match instead of the last.
    #[serde(default)]
    pub firstmatch: bool,
    /// Create the file if it does not exist.
    #[serde(default)]
    pub create: bool,
    /// Keep the old file beside the new one.
    #[serde(default)]
    pub backup: bool,
    /// Command that must succeed on the new file before it replaces the old one; `%s` is its path. No shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
    /// Permission bits: `0644` or `u=rw,g=r,o=r`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Owner, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Present,
    Absent,
}

/// Tells the lines that are meant.
type Finder<'a> = Box<dyn Fn(&str) -> bool + 'a>;

impl LineInFile {
    fn wanted(&self) -> Wanted<'_> {
        managed::wanted!(self)
    }

    /// Whether a line (without its end) is the one that is meant.
    fn finder(&self) -> Result<Finder<'_>, String> {
        Ok(match (&self.regexp, &self.search_string, &self.line) {
            (Some(text), ..) => {
                let regex = pattern(text, false, false)?;
                Box::new(move |line| regex.is_match(line))
            }
            (None, Some(text), _) => Box::new(move |line| line.contains(text.as_str())),
            (None, None, Some(text)) => Box::new(move |line| line == text),
            (None, None, None) => Box::new(|_| false),
        })
    }

    fn edit(&self, found: &Found) -> Result<Option<String>, String> {
        let Some(text) = lines::text(found)? else {
            return match self.state {
                State::Absent => Ok(None),
                State::Present if found.stat.is_some() => Err(format!("{} is not a regular file", found.path)),
                State::Present if !self.create => {
                    Err(format!("{} does not exist; `create: true` would create it", found.path))
                }
                State::Present => Ok(self.line.as_ref().map(|line| format!("{line}\n"))),
            };
        };
        let mut all = lines::split(text);
        let is_it = self.finder()?;
        if self.state == State::Absent {
            all.retain(|line| !is_it(bare(line)));
            return Ok(Some(all.concat()));
        }
        let line = self.line.as_deref().unwrap_or_default();
        let mut hits = all.iter().enumerate().filter(|(_, l)| is_it(bare(l))).map(|(index, _)| index);
        if let Some(at) = if self.firstmatch { hits.next() } else { hits.next_back() } {
            let end = &all[at][bare(&all[at]).len()..];
            let new = match (&self.regexp, self.backrefs) {
                (Some(text), true) => {
                    let regex = pattern(text, false, false)?;
                    let mut new = String::new();
                    if let Some(captures) = regex.captures(bare(&all[at])) {
                        captures.expand(&replacement(line)?, &mut new);
                    }
                    new
                }
                _ => line.to_owned(),
            };
            let end = if end.is_empty() && at + 1 < all.len() { "\n" } else { end };
            all[at] = format!("{new}{end}");
            return Ok(Some(all.concat()));
        }
        if self.backrefs || all.iter().any(|l| bare(l) == line) {
            return Ok(Some(text.to_owned()));
        }
        let at = self.place(&all)?;
        if at == all.len()
            && let Some(last) = all.last_mut()
            && !last.ends_with('\n')
        {
            last.push('\n');
        }
        let end = if all.first().is_some_and(|l| l.ends_with("\r\n")) { "\r\n" } else { "\n" };
        all.insert(at, format!("{line}{end}"));
        Ok(Some(all.concat()))
    }

    /// The index at which a new line goes in.
    fn place(&self, all: &[String]) -> Result<usize, String> {
        let (text, after) = match (&self.insertafter, &self.insertbefore) {
            (_, Some(text)) if text == "BOF" => return Ok(0),
            (_, Some(text)) => (text, 0),
            (Some(text), None) if text == "EOF" => return Ok(all.len()),
            (Some(text), None) => (text, 1),
            (None, None) => return Ok(all.len()),
        };
        let regex = pattern(text, false, false)?;
        let mut hits = all.iter().enumerate().filter(|(_, l)| regex.is_match(bare(l))).map(|(index, _)| index);
        let hit = if self.firstmatch { hits.next() } else { hits.next_back() };
        Ok(hit.map_or(all.len(), |index| index + after))
    }
}

/// A line without its end.
fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

impl Task for LineInFile {
    const KIND: &'static str = "lineinfile";
    const EXAMPLE: &'static str = "\
- name: A name for the storage network
  lineinfile:
    path: /etc/hosts
    regexp: '\\sstorage1$'
    line: 192.168.2.11 storage1
    create: true
";
    type Seen = Found;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = self.wanted().faults();
        faults.extend(managed::path_fault("path", &self.path));
        faults.extend(pattern_fault("regexp", self.regexp.as_deref(), false, false));
        let place = |text: &Option<String>, word: &str| text.clone().filter(|text| text != word);
        faults.extend(pattern_fault("insertafter", place(&self.insertafter, "EOF").as_deref(), false, false));
        faults.extend(pattern_fault("insertbefore", place(&self.insertbefore, "BOF").as_deref(), false, false));
        if self.line.as_ref().is_some_and(|line| line.contains('\n')) {
            let fault = ArgFault::at("line", "a line has no line end in it");
            faults.push(fault.help("use `blockinfile` for several lines"));
        }
        if self.regexp.is_some() && self.search_string.is_some() {
            faults.push(ArgFault::at("search_string", "`regexp` and `search_string` exclude each other"));
        }
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            faults.push(ArgFault::at("insertbefore", "`insertafter` and `insertbefore` exclude each other"));
        }
        match self.state {
            State::Present if self.line.is_none() => faults.push(ArgFault::task("`line` is missing")),
            State::Absent if self.line.is_none() && self.regexp.is_none() && self.search_string.is_none() => {
                faults.push(ArgFault::task("nothing says which lines go: `line`, `regexp` or `search_string`"));
            }
            _ => {}
        }
        if self.backrefs {
            let line = self.line.as_deref().unwrap_or_default();
            match (self.regexp.as_ref().map(|text| pattern(text, false, false)), replacement(line)) {
                (None, _) => faults.push(ArgFault::at("backrefs", "`backrefs` needs `regexp`")),
                (_, Err(why)) => faults.push(ArgFault::at("line", why)),
                (Some(Ok(regex)), Ok(text)) => {
                    if let Some(group) = missing_group(&regex, &text) {
                        faults.push(ArgFault::at("line", format!("`regexp` has no group {group}")));
                    }
                }
                (Some(Err(_)), Ok(_)) => {}
            }
        }
        faults
    }

    fn object(&self) -> String {
        match self.regexp.as_ref().or(self.search_string.as_ref()) {
            Some(which) => format!("{} {which}", self.path),
            // A line may hold a secret, and an object is shown where a diff is not.
            None => {
                let line = Sha256::digest(self.line.as_deref().unwrap_or_default());
                format!("{} line {:02x}{:02x}{:02x}{:02x}", self.path, line[0], line[1], line[2], line[3])
            }
        }
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.path.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Found, LookError> {
        self.wanted().look(host, &self.path)
    }

    fn decide(&self, found: &Found) -> Verdict {
        let edited = self.edit(found).and_then(|once| self.settled(found, once));
        let ok = match self.state {
            State::Present => "the line is there",
            State::Absent => "no such line",
        };
        lines::verdict(&self.wanted(), found, edited, ok)
    }
}

impl LineInFile {
    /// A line that its own pattern does not find would be added again and again: said before, not after.
    fn settled(&self, found: &Found, once: Option<String>) -> Result<Option<String>, String> {
        let Some(text) = &once else { return Ok(once) };
        let mut after = found.clone();
        after.content = Some(crate::host::Bytes(text.clone().into_bytes()));
        if self.edit(&after)?.as_ref() == Some(text) {
            return Ok(once);
        }
        Err("the edited file would be edited again by the same task; `line` must match `regexp`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fake::{Fake, converges, faults, idle, refuses, task};
    use serde_json::json;

    const TEXT: &str = "a=1\nb=2\n# end\nb=3\n";

    #[track_caller]
    fn edited(text: &str, args: serde_json::Value) -> String {
        let host = Fake::with(&[("/etc/x", text)]);
        let mut all = json!({"path": "/etc/x"});
        for (key, value) in args.as_object().unwrap() {
            all[key] = value.clone();
        }
        converges(&task::<LineInFile>(all), &host);
        host.text("/etc/x").unwrap()
    }

    #[test]
    fn lines_are_edited_as_ansible_edits_them() {
        for (args, wanted) in [
            (json!({"line": "c=4"}), "a=1\nb=2\n# end\nb=3\nc=4\n"),
            (json!({"regexp": "^b=", "line": "b=9"}), "a=1\nb=2\n# end\nb=9\n"),
            (json!({"regexp": "^b=", "line": "b=9", "firstmatch": true}), "a=1\nb=9\n# end\nb=3\n"),
            (json!({"search_string": "nd", "line": "# bend nd"}), "a=1\nb=2\n# bend nd\nb=3\n"),
            (json!({"regexp": "^b=", "state": "absent"}), "a=1\n# end\n"),
            (json!({"line": "a=1", "state": "absent"}), "b=2\n# end\nb=3\n"),
            (json!({"regexp": "^c=", "line": "c=1", "insertafter": "^a"}), "a=1\nc=1\nb=2\n# end\nb=3\n"),
            (json!({"line": "c=1", "insertbefore": "^b"}), "a=1\nb=2\n# end\nc=1\nb=3\n"),
            (json!({"line": "c=1", "insertbefore": "^b", "firstmatch": true}), "a=1\nc=1\nb=2\n# end\nb=3\n"),
            (json!({"line": "c=1", "insertbefore": "BOF"}), "c=1\na=1\nb=2\n# end\nb=3\n"),
            (json!({"line": "c=1", "insertafter": "nowhere"}), "a=1\nb=2\n# end\nb=3\nc=1\n"),
            (json!({"regexp": "^(a)=(.).*", "line": "\\1=\\g<2>$x", "backrefs": true}), "a=1$x\nb=2\n# end\nb=3\n"),
        ] {
            assert_eq!(edited(TEXT, args.clone()), wanted, "{args}");
        }
    }

    #[test]
    fn line_ends_are_respected() {
        assert_eq!(edited("a", json!({"line": "b"})), "a\nb\n");
        assert_eq!(edited("a\nx", json!({"regexp": "x", "line": "xy"})), "a\nxy");
        assert_eq!(edited("a\r\n", json!({"line": "b"})), "a\r\nb\r\n");
        assert_eq!(edited("a\r\nb\r\n", json!({"regexp": "^a", "line": "a2"})), "a2\r\nb\r\n");
    }

    #[test]
    fn a_file_is_created_only_when_asked() {
        let host = Fake::with(&[]);
        refuses(&task::<LineInFile>(json!({"path": "/etc/n", "line": "a"})), &host, "`create: true`");
        idle(&task::<LineInFile>(json!({"path": "/etc/n", "line": "a", "state": "absent"})), &host);
        converges(&task::<LineInFile>(json!({"path": "/etc/n", "line": "a", "create": true, "mode": "0600"})), &host);
        assert_eq!(host.text("/etc/n").unwrap(), "a\n");
    }

    #[test]
    fn a_task_that_would_never_settle_is_refused() {
        let host = Fake::with(&[("/etc/x", "a=1\n")]);
        let args = json!({"path": "/etc/x", "regexp": "^(a=.*)$", "line": "\\1x", "backrefs": true});
        refuses(&task::<LineInFile>(args), &host, "would be edited again");
    }

    #[test]
    fn faults_are_found_without_a_host() {
        for (args, fault) in [
            (json!({"path": "/x"}), "`line` is missing"),
            (json!({"path": "/x", "line": "a\nb"}), "no line end"),
            (json!({"path": "/x", "line": "a", "regexp": "^(?!x)"}), "look-ahead"),
            (json!({"path": "/x", "line": "a", "regexp": "(a)\\1"}), "a back-reference"),
            (json!({"path": "/x", "line": "a", "regexp": "("}), "not a pattern: unclosed group"),
            (json!({"path": "/x", "line": "\\2", "regexp": "(a)", "backrefs": true}), "no group 2"),
            (json!({"path": "/x", "line": "a", "backrefs": true}), "needs `regexp`"),
            (json!({"path": "/x", "state": "absent"}), "nothing says which"),
        ] {
            let found = faults::<LineInFile>(args.clone());
            assert!(found.contains(fault), "{args}: {found}");
        }
    }
}
