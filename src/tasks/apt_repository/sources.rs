//! Both formats of apt sources (sources.list(5)): read as entries, written from one description.
//!
//! What cannot be read is passed over: a foreign file is apt's to complain about, and we only look for doubles in it.

/// One source: a type, a URI, a suite.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    pub kind: String,
    pub uri: String,
    pub suite: String,
    pub components: Vec<String>,
    pub signed_by: Option<String>,
    pub enabled: bool,
    pub file: String,
    /// 1-based; of the stanza's first line in a deb822 file.
    pub line: usize,
}

impl Entry {
    /// Same place in the archive, whatever the components.
    pub fn same_place(&self, uri: &str, suite: &str) -> bool {
        let plain = |text: &str| text.trim_end_matches('/').to_owned();
        plain(&self.uri) == plain(uri) && plain(&self.suite) == plain(suite)
    }
}

/// What a source shall be, whatever the format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub types: Vec<String>,
    pub uris: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    pub signed_by: Option<String>,
    pub trusted: Option<bool>,
    pub enabled: bool,
}

const NOTE: &str = "# Managed by converge; changes made here are overwritten.\n";

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

impl Wanted {
    pub fn deb822(&self) -> String {
        let mut text = NOTE.to_owned();
        let mut field = |name: &str, values: &[String]| {
            if !values.is_empty() {
                text.push_str(&format!("{name}: {}\n", values.join(" ")));
            }
        };
        field("Types", &self.types);
        field("URIs", &self.uris);
        field("Suites", &self.suites);
        field("Components", &self.components);
        field("Architectures", &self.architectures);
        field("Signed-By", self.signed_by.as_slice());
        if let Some(trusted) = self.trusted {
            field("Trusted", &[yes_no(trusted).to_owned()]);
        }
        if !self.enabled {
            field("Enabled", &["no".to_owned()]);
        }
        text
    }

    pub fn one_line(&self) -> String {
        let mut options = Vec::new();
        if !self.architectures.is_empty() {
            options.push(format!("arch={}", self.architectures.join(",")));
        }
        if let Some(path) = &self.signed_by {
            options.push(format!("signed-by={path}"));
        }
        if let Some(trusted) = self.trusted {
            options.push(format!("trusted={}", yes_no(trusted)));
        }
        let options = if options.is_empty() { String::new() } else { format!("[{}] ", options.join(" ")) };
        let off = if self.enabled { "" } else { "# " };
        let mut text = NOTE.to_owned();
        for kind in &self.types {
            for uri in &self.uris {
                for suite in &self.suites {
                    let line = format!("{off}{kind} {options}{uri} {suite} {}", self.components.join(" "));
                    text.push_str(line.trim_end());
                    text.push('\n');
                }
            }
        }
        text
    }
}

/// Entries of a file, by the format its name tells.
pub fn entries(file: &str, text: &str) -> Vec<Entry> {
    if file.ends_with(".sources") { stanzas(file, text) } else { lines(file, text) }
}

fn lines(file: &str, text: &str) -> Vec<Entry> {
    let numbered = text.lines().enumerate();
    numbered
        .filter_map(|(index, line)| one_line(line).map(|e| Entry { file: file.into(), line: index + 1, ..e }))
        .collect()
}

/// `deb [options] uri suite components`, as in a `.list` file or Ansible's `repo`. A comment is none.
pub fn one_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let (kind, mut rest) = line.split_once(char::is_whitespace)?;
    if kind != "deb" && kind != "deb-src" {
        return None;
    }
    rest = rest.trim_start();
    let mut signed_by = None;
    if let Some(inside) = rest.strip_prefix('[') {
        let (options, after) = inside.split_once(']')?;
        signed_by = options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned);
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    let components = words.collect();
    Some(Entry { kind: kind.into(), uri, suite, components, signed_by, enabled: true, file: String::new(), line: 0 })
}

/// The options of a one-line source: `arch` and `trusted`, and the names of those we do not know.
pub fn options(line: &str) -> (Vec<String>, Option<bool>, Vec<String>) {
    let inside = line.split_once('[').and_then(|(_, r)| r.split_once(']')).map_or("", |(options, _)| options);
    let (mut arch, mut trusted, mut unknown) = (Vec::new(), None, Vec::new());
    for option in inside.split_whitespace() {
        match option.split_once('=') {
            Some(("arch", value)) => arch = value.split(',').map(str::to_owned).collect(),
            Some(("trusted", value)) => trusted = Some(value == "yes"),
            Some(("signed-by", _)) => {}
            _ => unknown.push(option.to_owned()),
        }
    }
    (arch, trusted, unknown)
}

fn stanzas(file: &str, text: &str) -> Vec<Entry> {
    let mut all = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut first = 0;
    // One empty line more closes the last stanza.
    for (index, line) in text.lines().chain([""]).enumerate() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            all.extend(stanza(file, first, &fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            if fields.is_empty() {
                first = index + 1;
            }
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    all
}

fn stanza(file: &str, line: usize, fields: &[(String, String)]) -> Vec<Entry> {
    let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let words =
        |name: &str| -> Vec<String> { get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect() };
    let enabled = !matches!(get("enabled"), Some("no" | "false" | "0" | "off" | "without" | "disable"));
    let mut all = Vec::new();
    for kind in words("types") {
        for uri in words("uris") {
            for suite in words("suites") {
                all.push(Entry {
                    kind: kind.clone(),
                    uri: uri.clone(),
                    suite,
                    components: words("components"),
                    signed_by: get("signed-by").map(str::to_owned),
                    enabled,
                    file: file.to_owned(),
                    line,
                });
            }
        }
    }
    all
}
