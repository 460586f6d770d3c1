//! `blockinfile`: several lines of a text file between two marker lines.
//!
//! Refuses a file where the markers do not pair up: which lines are ours cannot be told then.

use super::args::FileMode;
use super::lines::{self, pattern, pattern_fault};
use super::managed::{self, Found, Wanted};
use super::{ArgFault, Task, Trail, Verdict};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps a block of lines in a text file, between marker lines that tell it from the rest of the file. Two blocks in one
/// file need different markers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockInFile {
    /// Absolute path. A link is followed.
    #[serde(alias = "dest", alias = "name")]
    pub path: String,
    /// The lines. Empty: the block and its markers are removed.
    #[serde(default, alias = "content")]
    pub block: String,
    /// `present` puts the block there, `absent` removes it with its markers.
    #[serde(default)]
    pub state: State,
    /// The marker lines; `{mark}` becomes `marker_begin` and `marker_end`.
    #[serde(default = "marker")]
    pub marker: String,
    /// What stands for `{mark}` before the block.
    #[serde(default = "begin")]
    pub marker_begin: String,
    /// What stands for `{mark}` behind the block.
    #[serde(default = "end")]
    pub marker_end: String,
    /// Where a new block goes: `EOF`, or behind the last line that matches this pattern (at the end if none does).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insertafter: Option<String>,
    /// Where a new block goes: `BOF`, or before the last line that matches this pattern (at the end if none does).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insertbefore: Option<String>,
    /// An empty line behind the block, if something follows it.
    #[serde(default)]
    pub append_newline: bool,
    /// An empty line before the block, if something precedes it.
    #[serde(default)]
    pub prepend_newline: bool,
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

fn marker() -> String {
    "# {mark} ANSIBLE MANAGED BLOCK".into()
}
fn begin() -> String {
    "BEGIN".into()
}
fn end() -> String {
    "END".into()
}

impl BlockInFile {
    fn wanted(&self) -> Wanted<'_> {
        managed::wanted!(self)
    }

    fn markers(&self) -> (String, String) {
        let with = |mark: &str| self.marker.replace("{mark}", mark);
        (with(&self.marker_begin), with(&self.marker_end))
    }

    fn edit(&self, found: &Found) -> Result<Option<String>, String> {
        let keep = self.state == State::Present && !self.block.is_empty();
        let text = match lines::text(found)? {
            Some(text) => text,
            None if !keep => return Ok(None),
            None if found.stat.is_some() => return Err(format!("{} is not a regular file", found.path)),
            None if !self.create => {
                return Err(format!("{} does not exist; `create: true` would create it", found.path));
            }
            None => "",
        };
        let mut all = lines::split(text);
        let (begin, end) = self.markers();
        let at = |marker: &str| -> Vec<usize> {
            let same = |line: &String| line.trim_end_matches(['\r', '\n']) == marker;
            all.iter().enumerate().filter(|(_, line)| same(line)).map(|(index, _)| index).collect()
        };
        let (begins, ends) = (at(&begin), at(&end));
        let place = match (begins.as_slice(), ends.as_slice()) {
            ([], []) => None,
            ([first], [last]) if first < last => Some((*first, *last)),
            _ => {
                return Err(format!(
                    "{}: the markers do not pair up ({} of `{begin}`, {} of `{end}`); repair the file by hand",
                    found.path,
                    begins.len(),
                    ends.len()
                ));
            }
        };
        let at = match place {
            Some((first, last)) => {
                all.drain(first..=last);
                first
            }
            None if !keep => return Ok(Some(text.to_owned())),
            None => self.place(&all)?,
        };
        if keep {
            let mut new = vec![format!("{begin}\n")];
            new.extend(self.block.lines().map(|line| format!("{line}\n")));
            new.push(format!("{end}\n"));
            if self.prepend_newline && at > 0 && !all[at - 1].trim_end_matches(['\r', '\n']).is_empty() {
                new.insert(0, "\n".into());
            }
            if self.append_newline && all.get(at).is_some_and(|next| !next.trim_end_matches(['\r', '\n']).is_empty()) {
                new.push("\n".into());
            }
            if at > 0 && !all[at - 1].ends_with('\n') {
                all[at - 1].push('\n');
            }
            all.splice(at..at, new);
        }
        Ok(Some(all.concat()))
    }

    /// The index at which a new block goes in.
    fn place(&self, all: &[String]) -> Result<usize, String> {
        let (text, after) = match (&self.insertafter, &self.insertbefore) {
            (_, Some(text)) if text == "BOF" => return Ok(0),
            (_, Some(text)) => (text, 0),
            (Some(text), None) if text == "EOF" => return Ok(all.len()),
            (Some(text), None) => (text, 1),
            (None, None) => return Ok(all.len()),
        };
        let regex = pattern(text, false, false)?;
        let hit = all.iter().rposition(|line| regex.is_match(line.trim_end_matches(['\r', '\n'])));
        Ok(hit.map_or(all.len(), |index| index + after))
    }
}

impl Task for BlockInFile {
    const KIND: &'static str = "blockinfile";
    const EXAMPLE: &'static str = "\
- name: Names of the storage network
  blockinfile:
    path: /etc/hosts
    create: true
    marker: '# {mark} storage network'
    block: |
      192.168.2.11 storage1
      192.168.2.12 storage2
";
    type Seen = Found;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = self.wanted().faults();
        faults.extend(managed::path_fault("path", &self.path));
        let place = |text: &Option<String>, word: &str| text.clone().filter(|text| text != word);
        faults.extend(pattern_fault("insertafter", place(&self.insertafter, "EOF").as_deref(), false, false));
        faults.extend(pattern_fault("insertbefore", place(&self.insertbefore, "BOF").as_deref(), false, false));
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            faults.push(ArgFault::at("insertbefore", "`insertafter` and `insertbefore` exclude each other"));
        }
        let (begin, end) = self.markers();
        if !self.marker.contains("{mark}") {
            faults.push(ArgFault::at("marker", "the marker does not contain `{mark}`"));
        } else if begin == end {
            faults.push(ArgFault::at("marker_end", "both markers are the same line"));
        }
        if begin.contains('\n') || end.contains('\n') {
            faults.push(ArgFault::at("marker", "a marker is one line"));
        }
        if self.block.lines().any(|line| line == begin || line == end) {
            faults.push(ArgFault::at("block", "a line of the block is a marker"));
        }
        faults
    }

    fn object(&self) -> String {
        format!("{} {}", self.path, self.marker)
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.path.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Found, LookError> {
        self.wanted().look(host, &self.path)
    }

    fn decide(&self, found: &Found) -> Verdict {
        let ok =
            if self.state == State::Present && !self.block.is_empty() { "the block is there" } else { "no such block" };
        lines::verdict(&self.wanted(), found, self.edit(found), ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fake::{Fake, converges, faults, idle, refuses, task};
    use serde_json::json;

    const BLOCK: &str = "# BEGIN ANSIBLE MANAGED BLOCK\nx\ny\n# END ANSIBLE MANAGED BLOCK\n";

    fn block(host: &Fake, args: serde_json::Value) -> String {
        let mut all = json!({"path": "/etc/x", "block": "x\ny\n"});
        for (key, value) in args.as_object().unwrap() {
            all[key] = value.clone();
        }
        converges(&task::<BlockInFile>(all), host);
        host.text("/etc/x").unwrap()
    }

    #[test]
    fn a_block_goes_where_it_is_told_and_stays_there() {
        for (text, args, wanted) in [
            ("a\nb\n", json!({}), format!("a\nb\n{BLOCK}")),
            ("a", json!({}), format!("a\n{BLOCK}")),
            ("", json!({}), BLOCK.to_owned()),
            ("a\nb\n", json!({"insertafter": "^a"}), format!("a\n{BLOCK}b\n")),
            ("a\nb\n", json!({"insertbefore": "BOF"}), format!("{BLOCK}a\nb\n")),
            (
                "a\nb\n",
                json!({"insertafter": "^a", "append_newline": true, "prepend_newline": true}),
                format!("a\n\n{BLOCK}\nb\n"),
            ),
            (&format!("a\n{}b\n", BLOCK.replace('y', "old\nolder")), json!({}), format!("a\n{BLOCK}b\n")),
            (&format!("a\n{BLOCK}b\n"), json!({"state": "absent"}), "a\nb\n".to_owned()),
            (&format!("a\n{BLOCK}b\n"), json!({"block": ""}), "a\nb\n".to_owned()),
        ] {
            assert_eq!(block(&Fake::with(&[("/etc/x", text)]), args.clone()), wanted, "{args}");
        }
    }

    #[test]
    fn a_file_is_created_only_when_asked() {
        let host = Fake::with(&[]);
        refuses(&task::<BlockInFile>(json!({"path": "/etc/x", "block": "x"})), &host, "`create: true`");
        idle(&task::<BlockInFile>(json!({"path": "/etc/x", "state": "absent"})), &host);
        assert_eq!(block(&host, json!({"create": true})), BLOCK);
    }

    #[test]
    fn markers_that_do_not_pair_up_are_not_guessed_about() {
        let twice = format!("{BLOCK}{BLOCK}");
        for text in ["# BEGIN ANSIBLE MANAGED BLOCK\nx\n", "# END ANSIBLE MANAGED BLOCK\n", twice.as_str()] {
            let host = Fake::with(&[("/etc/x", text)]);
            refuses(&task::<BlockInFile>(json!({"path": "/etc/x", "block": "x"})), &host, "do not pair up");
        }
    }

    #[test]
    fn faults_are_found_without_a_host() {
        for (args, fault) in [
            (json!({"path": "/x", "marker": "# x"}), "does not contain"),
            (json!({"path": "/x", "marker_end": "BEGIN"}), "the same line"),
            (json!({"path": "/x", "block": "# END ANSIBLE MANAGED BLOCK"}), "is a marker"),
            (json!({"path": "/x", "insertafter": "a", "insertbefore": "b"}), "exclude"),
        ] {
            let found = faults::<BlockInFile>(args.clone());
            assert!(found.contains(fault), "{args}: {found}");
        }
    }
}
