//! `template`: a file rendered from a Jinja2 template of the workstation.

use super::args::FileMode;
use super::copy::{decide_content, missing_directories, yes};
use super::managed::{self, Found, Wanted};
use super::{ArgFault, ResolveError, Task, TemplateStyle, Trail, Verdict, Workstation};
use crate::host::{FileKind, LookError, Probe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Renders a template with the variables of the host and puts the result on the host. An undefined variable is a
/// fault that names the line of the template.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The template, searched in `templates/` first.
    pub src: String,
    /// Absolute path of the file; a directory if it ends with `/` or is one.
    pub dest: String,
    /// Permission bits: `0644` or `u=rw,g=r,o=r`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// User that owns the file, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group of the file, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Keep the old file beside the new one.
    #[serde(default)]
    pub backup: bool,
    /// Command that must succeed on the new file before it replaces the old one; `%s` is its path. No shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
    /// `false`: only write the file if it does not exist.
    #[serde(default = "yes")]
    pub force: bool,
    /// Write through a symbolic link at `dest` instead of replacing it.
    #[serde(default)]
    pub follow: bool,
    /// Take the first line end after a block (`{% … %}`) out.
    #[serde(default = "yes")]
    pub trim_blocks: bool,
    /// Take white space before a block out.
    #[serde(default)]
    pub lstrip_blocks: bool,
    /// Line end of the written file.
    #[serde(default)]
    pub newline_sequence: Newline,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    resolved: Option<String>,
}

/// A line end, as YAML text: `"\n"`, `"\r\n"` or `"\r"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Newline {
    #[default]
    #[serde(rename = "\n", alias = "\\n")]
    Unix,
    #[serde(rename = "\r\n", alias = "\\r\\n")]
    Windows,
    #[serde(rename = "\r", alias = "\\r")]
    Return,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    path: String,
    found: Found,
    missing: Vec<String>,
}

impl Template {
    fn wanted(&self) -> Wanted<'_> {
        managed::wanted!(self)
    }
}

impl Task for Template {
    const KIND: &'static str = "template";
    const EXAMPLE: &'static str = "\
- name: Exports
  template:
    src: exports.j2
    dest: /etc/exports
    mode: '0644'
";
    type Seen = Seen;

    fn check_args(&self) -> Vec<ArgFault> {
        let mut faults = self.wanted().faults();
        faults.extend(managed::path_fault("dest", &self.dest));
        if self.src.is_empty() {
            faults.push(ArgFault::at("src", "no template is named"));
        }
        if self.mode.as_ref().is_some_and(FileMode::is_preserve) {
            faults.push(ArgFault::at("mode", "a template's file has no mode to preserve"));
        }
        if self.resolved.is_some() {
            faults.push(ArgFault::at("resolved", "unknown field `resolved`"));
        }
        faults
    }

    fn resolve(&mut self, from: &dyn Workstation) -> Result<(), ResolveError> {
        let (path, bytes) = from.file("templates", &self.src)?;
        let text = String::from_utf8(bytes).map_err(|_| ResolveError::Fault(format!("{path} is not UTF-8 text")))?;
        let style = TemplateStyle { trim_blocks: self.trim_blocks, lstrip_blocks: self.lstrip_blocks };
        let rendered = from.render_styled(&path, &text, style)?;
        self.resolved = Some(match self.newline_sequence {
            Newline::Unix => rendered,
            Newline::Windows => rendered.replace("\r\n", "\n").replace('\n', "\r\n"),
            Newline::Return => rendered.replace("\r\n", "\n").replace('\n', "\r"),
        });
        Ok(())
    }

    fn object(&self) -> String {
        self.dest.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        vec![Trail::File(self.dest.clone())]
    }

    fn probe(&self, host: &dyn Probe) -> Result<Seen, LookError> {
        let into_directory = self.dest.ends_with('/')
            || managed::follow(host, &self.dest)?.1.is_some_and(|s| s.kind == FileKind::Directory);
        let path = if into_directory {
            let name = Path::new(&self.src).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            format!("{}/{name}", self.dest.trim_end_matches('/'))
        } else {
            self.dest.clone()
        };
        let missing = if self.dest.ends_with('/') { missing_directories(host, &self.dest)? } else { Vec::new() };
        Ok(Seen { found: self.wanted().look(host, &path)?, path, missing })
    }

    fn decide(&self, seen: &Seen) -> Verdict {
        let Some(text) = &self.resolved else {
            return Verdict::blocked("the template was not rendered on the workstation");
        };
        if !self.force && seen.found.stat.is_some() {
            let plan = self.wanted().attributes(&seen.found);
            return plan.verdict(format!("{} exists and `force` is off", seen.path));
        }
        let data = managed::data(&seen.path, &seen.found, Some(text.as_bytes()));
        let place = (seen.path.as_str(), &seen.found, seen.missing.as_slice());
        decide_content(&self.wanted(), place, text.as_bytes(), self.follow, None).data(data)
    }
}
