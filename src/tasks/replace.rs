//! `replace`: every match of a pattern in a text file.

use super::args::FileMode;
use super::lines::{self, missing_group, pattern, pattern_fault, replacement};
use super::managed::{self, Found, Wanted};
use super::{ArgFault, Task, Trail, Verdict};
use crate::host::{LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Replaces every match of a pattern in a text file. `^` and `$` match at lines. The replaced text must not match
/// again, or the task would never be done.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// Absolute path. A link is followed.
    #[serde(alias = "dest", alias = "name")]
    pub path: String,
    /// What to replace.
    pub regexp: String,
    /// What to put there; `\1` and `\g<name>` are groups. Empty: the matches are removed.
    #[serde(default)]
    pub replace: String,
    /// Only behind the first match of this pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only before the first match of this pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
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

impl Replace {
    fn wanted(&self) -> Wanted<'_> {
        managed::wanted!(self)
    }

    fn edit(&self, text: &str) -> Result<String, String> {
        let mut start = 0;
        if let Some(after) = &self.after {
            match pattern(after, false, true)?.find(text) {
                Some(hit) => start = hit.end(),
                None => return Ok(text.to_owned()),
            }
        }
        let mut end = text.len();
        if let Some(before) = &self.before {
            match pattern(before, false, true)?.find(&text[start..]) {
                Some(hit) => end = start + hit.start(),
                None => return Ok(text.to_owned()),
            }
        }
        let regex = pattern(&self.regexp, true, false)?;
        let new = regex.replace_all(&text[start..end], replacement(&self.replace)?);
        Ok(format!("{}{new}{}", &text[..start], &text[end..]))
    }
}

impl Task for Replace {
    const KIND: &'static str = "replace";
    const EXAMPLE: &'static str = "\
- name: A file to edit
  copy:
    dest: /etc/threads.conf
    content: \"[nfsd]\\nthreads=8\\n\"
    force: false
- name: More threads
  replace:
    path: /etc/threads.conf
    regexp: '^threads=8$'
    replace: threads=64
";
    type Seen = Found;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = self.wanted().faults();
        faults.extend(managed::path_fault("path", &self.path));
        faults.extend(pattern_fault("regexp", Some(&self.regexp), true, false));
        faults.extend(pattern_fault("after", self.after.as_deref(), false, true));
        faults.extend(pattern_fault("before", self.before.as_deref(), false, true));
        match (pattern(&self.regexp, true, false), replacement(&self.replace)) {
            (_, Err(why)) => faults.push(ArgFault::at("replace", why)),
            (Ok(regex), Ok(text)) => {
                if let Some(group) = missing_group(&regex, &text) {
                    faults.push(ArgFault::at("replace", format!("`regexp` has no group {group}")));
                }
            }
            (Err(_), Ok(_)) => {}
        }
        faults
    }

    fn object(&self) -> String {
        format!("{} {}", self.path, self.regexp)
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.path.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Found, LookError> {
        self.wanted().look(host, &self.path)
    }

    fn decide(&self, found: &Found) -> Verdict {
        let edited = match lines::text(found) {
            Err(why) => Err(why),
            Ok(None) => Err(format!("{} does not exist or is not a regular file", found.path)),
            Ok(Some(text)) => self.edit(text).and_then(|once| match self.edit(&once)? {
                twice if twice == once => Ok(Some(once)),
                _ => Err("what is replaced would match again: the task would never be done".to_owned()),
            }),
        };
        lines::verdict(&self.wanted(), found, edited, "nothing to replace")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fake::{Fake, converges, faults, idle, refuses, task};
    use serde_json::json;

    #[test]
    fn matches_are_replaced_as_ansible_replaces_them() {
        for (text, args, wanted) in [
            ("a 1\nb 1\n", json!({"regexp": "^(\\w) 1$", "replace": "\\1 = $2"}), "a = $2\nb = $2\n"),
            ("x x y x\n", json!({"regexp": "x", "replace": "z", "after": "y"}), "x x y z\n"),
            ("x x y x\n", json!({"regexp": "x", "replace": "z", "before": "y"}), "z z y x\n"),
            (
                "[a]\nk=1\n[b]\nk=1\n",
                json!({"regexp": "k=1", "replace": "k=2", "after": "\\[a\\]", "before": "\\[b"}),
                "[a]\nk=2\n[b]\nk=1\n",
            ),
            ("# old\nnew\n", json!({"regexp": "^#.*\\n"}), "new\n"),
        ] {
            let host = Fake::with(&[("/etc/x", text)]);
            let mut all = args.clone();
            all["path"] = "/etc/x".into();
            converges(&task::<Replace>(all), &host);
            assert_eq!(host.text("/etc/x").unwrap(), wanted, "{args}");
        }
    }

    #[test]
    fn without_a_match_nothing_happens_and_without_a_file_it_is_refused() {
        let host = Fake::with(&[("/etc/x", "a\n")]);
        idle(&task::<Replace>(json!({"path": "/etc/x", "regexp": "b", "replace": "c"})), &host);
        idle(&task::<Replace>(json!({"path": "/etc/x", "regexp": "a", "replace": "c", "after": "z"})), &host);
        refuses(&task::<Replace>(json!({"path": "/etc/n", "regexp": "b"})), &host, "does not exist");
        refuses(&task::<Replace>(json!({"path": "/etc/x", "regexp": "a", "replace": "aa"})), &host, "match again");
    }

    #[test]
    fn faults_are_found_without_a_host() {
        let bad = faults::<Replace>(json!({"path": "/x", "regexp": "(a)", "replace": "\\g<name>"}));
        assert!(bad.contains("no group name"), "{bad}");
        assert!(faults::<Replace>(json!({"path": "/x", "regexp": "(?<=a)b"})).contains("look-behind"));
        assert_eq!(faults::<Replace>(json!({"path": "/x", "regexp": "\\(\\?=a"})), "");
    }
}
