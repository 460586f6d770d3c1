//! Unit files: where they are, what they say, whether they are enabled.

use crate::host::FileKind;
use crate::lab::commands::Ctx;
use crate::lab::files::View;
use sha2::{Digest, Sha256};

/// Directories in systemd's order of precedence.
pub const DIRS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// A unit as its files describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    /// `drbd@nfs1.target`, after following an alias.
    pub name: String,
    /// The file that was found, `/usr/lib/systemd/system/drbd@.target`.
    pub path: String,
    pub masked: bool,
    /// Fragment with its drop-ins, in order.
    pub text: String,
    pub drop_ins: Vec<String>,
}

impl UnitFile {
    /// All values of a key in a section, in order; an empty one resets, as systemd reads lists.
    pub fn values(&self, section: &str, key: &str) -> Vec<String> {
        let mut current = "";
        let mut values = Vec::new();
        for line in self.text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                current = name;
            } else if let Some((k, value)) = line.split_once('=')
                && current == section
                && k.trim() == key
            {
                if value.trim().is_empty() {
                    values.clear();
                } else {
                    values.push(self.expand(value.trim()));
                }
            }
        }
        values
    }

    pub fn value(&self, section: &str, key: &str) -> Option<String> {
        self.values(section, key).pop()
    }

    /// Words of a list key.
    pub fn words(&self, section: &str, key: &str) -> Vec<String> {
        self.values(section, key).iter().flat_map(|v| v.split_whitespace()).map(str::to_owned).collect()
    }

    pub fn instance(&self) -> &str {
        self.name.split_once('@').map_or("", |(_, rest)| rest.rsplit_once('.').map_or(rest, |(i, _)| i))
    }

    fn expand(&self, value: &str) -> String {
        value.replace("%i", self.instance()).replace("%I", self.instance()).replace("%n", &self.name)
    }

    pub fn has_install(&self) -> bool {
        self.text.lines().any(|l| l.trim() == "[Install]")
    }

    /// What systemd would have read; differs after a change on disk.
    pub fn digest(&self) -> String {
        let hash = Sha256::digest(self.text.as_bytes());
        hash.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}

/// Finds a unit's files. `None`: there is no such unit.
pub fn find(view: &View, name: &str) -> Option<UnitFile> {
    let mut name = name.to_owned();
    // A link to a unit of another name is an alias.
    for _ in 0..4 {
        let (path, target) = fragment(view, &name)?;
        if target.as_deref() == Some("/dev/null") {
            return Some(UnitFile { name, path, masked: true, text: String::new(), drop_ins: Vec::new() });
        }
        if let Some(target) = &target {
            let alias = target.rsplit('/').next().unwrap_or(target);
            if alias != template_of(&name) && alias != name {
                name = alias.to_owned();
                continue;
            }
        }
        let mut text = view.text(&path)?;
        let drop_ins = drop_ins(view, &name);
        for drop_in in &drop_ins {
            text.push('\n');
            text.push_str(&view.text(drop_in).unwrap_or_default());
        }
        return Some(UnitFile { name, path, masked: false, text, drop_ins });
    }
    None
}

/// The file for a unit, and where it points when it is a link.
fn fragment(view: &View, name: &str) -> Option<(String, Option<String>)> {
    for candidate in [name.to_owned(), template_of(name)] {
        for dir in DIRS {
            let path = format!("{dir}/{candidate}");
            if let Ok(Some(stat)) = view.stat(&path) {
                let target = (stat.kind == FileKind::Symlink).then_some(stat.link_target).flatten();
                return Some((path, target));
            }
        }
    }
    None
}

/// `drbd@nfs1.target` → `drbd@.target`; others as they are.
pub fn template_of(name: &str) -> String {
    match (name.split_once('@'), name.rsplit_once('.')) {
        (Some((stem, _)), Some((_, suffix))) => format!("{stem}@.{suffix}"),
        _ => name.to_owned(),
    }
}

fn drop_ins(view: &View, name: &str) -> Vec<String> {
    let mut found = std::collections::BTreeMap::new();
    for candidate in [template_of(name), name.to_owned()] {
        for dir in DIRS.iter().rev() {
            let dir = format!("{dir}/{candidate}.d");
            for file in view.list(&dir).ok().flatten().unwrap_or_default() {
                if file.ends_with(".conf") {
                    found.insert(file.clone(), format!("{dir}/{file}"));
                }
            }
        }
    }
    found.into_values().collect()
}

/// Links that pull a unit in: `/etc/systemd/system/multi-user.target.wants/NAME`.
pub fn enabling_links(view: &View, name: &str) -> Vec<String> {
    let mut links = Vec::new();
    for dir in &DIRS[..2] {
        for wants in view.list(dir).ok().flatten().unwrap_or_default() {
            if wants.ends_with(".wants") || wants.ends_with(".requires") {
                let link = format!("{dir}/{wants}/{name}");
                if view.stat(&link).ok().flatten().is_some() {
                    links.push(link);
                }
            }
        }
    }
    links
}

/// `systemctl is-enabled`'s word.
pub fn file_state(view: &View, unit: &UnitFile) -> &'static str {
    if unit.masked {
        "masked"
    } else if !enabling_links(view, &unit.name).is_empty() {
        "enabled"
    } else if !unit.has_install() {
        "static"
    } else if unit.words("Install", "WantedBy").is_empty() && unit.words("Install", "RequiredBy").is_empty() {
        "indirect"
    } else {
        "disabled"
    }
}

/// Every unit file by name.
pub fn all(ctx: &Ctx) -> Vec<String> {
    let view = ctx.view();
    let mut names = std::collections::BTreeSet::new();
    for dir in DIRS {
        for name in view.list(dir).ok().flatten().unwrap_or_default() {
            let is_unit = [".service", ".target", ".timer", ".socket", ".mount"].iter().any(|s| name.ends_with(s));
            if is_unit {
                names.insert(name);
            }
        }
    }
    names.into_iter().collect()
}

/// Units that a boot starts: the names of links below `*.target.wants`.
pub fn enabled(ctx: &Ctx) -> Vec<String> {
    let view = ctx.view();
    let mut names = std::collections::BTreeSet::new();
    for dir in view.list(DIRS[0]).ok().flatten().unwrap_or_default() {
        if dir.ends_with(".target.wants") || dir.ends_with(".target.requires") {
            names.extend(view.list(&format!("{}/{dir}", DIRS[0])).ok().flatten().unwrap_or_default());
        }
    }
    names.into_iter().collect()
}
