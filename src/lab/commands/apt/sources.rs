//! Package sources as apt reads them: deb822 `.sources` and one-line `.list` files, keys included.

use super::universe::Archive;
use crate::lab::commands::{Ctx, web};
use crate::lab::world::Place;

/// One suite of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub uri: String,
    pub suite: String,
    pub components: Vec<String>,
    /// Key file, or key text for an embedded one.
    pub signed_by: Option<String>,
    pub trusted: bool,
}

impl Source {
    pub fn host(&self) -> &str {
        self.uri.split("://").nth(1).unwrap_or(&self.uri).split('/').next().unwrap_or_default()
    }

    /// `deb.debian.org/debian_dists_trixie_InRelease`: the name of its index below `/var/lib/apt/lists`.
    pub fn index_name(&self) -> String {
        let path = self.uri.split("://").nth(1).unwrap_or(&self.uri).trim_end_matches('/');
        format!("{}_dists_{}_InRelease", path.replace('/', "_"), self.suite.replace('/', "_"))
    }

    pub fn archive(&self) -> Option<Archive> {
        match self.host() {
            "deb.debian.org" | "security.debian.org" | "ftp.debian.org" => Some(Archive::Debian),
            "download.proxmox.com" | "enterprise.proxmox.com" => Some(Archive::Proxmox),
            "packages.linbit.com" => Some(Archive::Linbit),
            host if host.starts_with("ftp.") && host.ends_with(".debian.org") => Some(Archive::Debian),
            _ => None,
        }
    }

    /// Whether this source's components hold what the archive offers.
    pub fn offers(&self, debian: u32) -> bool {
        let has = |names: &[&str]| self.components.iter().any(|c| names.contains(&c.as_str()));
        match self.archive() {
            Some(Archive::Debian) => {
                has(&["main"]) && !self.suite.ends_with("-security") && !self.suite.ends_with("-updates")
            }
            Some(Archive::Proxmox) => has(&["pve-no-subscription", "pve-test", "pvetest"]),
            Some(Archive::Linbit) => has(&["drbd-9"]) && self.suite == format!("proxmox-{}", debian - 4),
            None => false,
        }
    }
}

/// All enabled sources, or what apt says about a file that it cannot read.
pub fn configured(ctx: &Ctx) -> Result<Vec<Source>, String> {
    let view = ctx.view();
    let mut sources = Vec::new();
    if let Some(text) = view.text("/etc/apt/sources.list") {
        sources.extend(one_line_file("/etc/apt/sources.list", &text)?);
    }
    for name in view.list("/etc/apt/sources.list.d").ok().flatten().unwrap_or_default() {
        let path = format!("/etc/apt/sources.list.d/{name}");
        let text = view.text(&path).unwrap_or_default();
        if name.ends_with(".list") {
            sources.extend(one_line_file(&path, &text)?);
        } else if name.ends_with(".sources") {
            sources.extend(deb822_file(&path, &text)?);
        }
    }
    Ok(sources)
}

fn one_line_file(path: &str, text: &str) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let malformed = |what: &str| {
            format!(
                "E: Malformed entry {} in list file {path} ({what})\nE: The list of sources could not be read.\n",
                n + 1
            )
        };
        let Some((kind, mut rest)) = line.split_once(char::is_whitespace) else { return Err(malformed("type")) };
        if kind == "deb-src" {
            continue;
        }
        if kind != "deb" {
            return Err(format!(
                "E: Type '{kind}' is not known on line {} in source list {path}\nE: The list of sources could not be read.\n",
                n + 1
            ));
        }
        let (mut signed_by, mut trusted) = (None, false);
        rest = rest.trim_start();
        if let Some(inner) = rest.strip_prefix('[') {
            let (options, after) = inner.split_once(']').ok_or_else(|| malformed("[option] not assignment"))?;
            for option in options.split_whitespace() {
                match option.split_once('=') {
                    Some(("signed-by", value)) => signed_by = Some(value.to_owned()),
                    Some(("trusted", value)) => trusted = value == "yes",
                    Some(_) => {}
                    None => return Err(malformed("[option] not assignment")),
                }
            }
            rest = after.trim_start();
        }
        let mut words = rest.split_whitespace();
        let uri = words.next().ok_or_else(|| malformed("URI"))?;
        let suite = words.next().ok_or_else(|| malformed("Suite"))?;
        let components: Vec<String> = words.map(str::to_owned).collect();
        if components.is_empty() && !suite.ends_with('/') {
            return Err(malformed("Component"));
        }
        sources.push(Source { uri: uri.into(), suite: suite.into(), components, signed_by, trusted });
    }
    Ok(sources)
}

fn deb822_file(path: &str, text: &str) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for (n, stanza) in stanzas(text).into_iter().enumerate() {
        let field = |name: &str| stanza.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim());
        if stanza.is_empty() || field("Enabled").is_some_and(|v| v == "no" || v == "false") {
            continue;
        }
        let required = |name: &str| {
            field(name).filter(|v| !v.is_empty()).ok_or_else(|| {
                format!("E: Malformed entry {} in sources file {path} ({name})\nE: The list of sources could not be read.\n", n + 1)
            })
        };
        if !required("Types")?.split_whitespace().any(|t| t == "deb") {
            continue;
        }
        let components: Vec<String> =
            field("Components").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        for uri in required("URIs")?.split_whitespace() {
            for suite in required("Suites")?.split_whitespace() {
                if components.is_empty() && !suite.ends_with('/') {
                    required("Components")?;
                }
                sources.push(Source {
                    uri: uri.into(),
                    suite: suite.into(),
                    components: components.clone(),
                    signed_by: field("Signed-By").map(str::to_owned),
                    trusted: field("Trusted") == Some("yes"),
                });
            }
        }
    }
    Ok(sources)
}

/// Paragraphs of `Key: value` with continuation lines.
fn stanzas(text: &str) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::<(String, String)>::new()];
    for line in text.lines() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            all.push(Vec::new());
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = all.last_mut().and_then(|s| s.last_mut()) {
                value.push('\n');
                value.push_str(if line.trim() == "." { "" } else { line.trim_start() });
            }
        } else if let (Some((key, value)), Some(stanza)) = (line.split_once(':'), all.last_mut()) {
            stanza.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    all.retain(|s| !s.is_empty());
    all
}

/// Why a source's signature cannot be verified, as apt says it; `None`: it can.
pub fn key_fault(ctx: &Ctx, source: &Source) -> Option<String> {
    if source.trusted {
        return None;
    }
    let wanted = match source.archive()? {
        Archive::Linbit => Wanted::Linbit,
        Archive::Debian => Wanted::Placeholder("lab: Debian archive keyring"),
        Archive::Proxmox => Wanted::Placeholder("lab: Proxmox"),
    };
    let no_key = match wanted {
        Wanted::Linbit => format!("NO_PUBKEY {}", web::LINBIT_KEY_ID),
        Wanted::Placeholder(_) => "NO_PUBKEY 6ED0E7B82643E131".to_owned(),
    };
    let fits = |bytes: &[u8]| match wanted {
        Wanted::Linbit => web::is_linbit_key(bytes),
        Wanted::Placeholder(text) => bytes.starts_with(text.as_bytes()),
    };
    match &source.signed_by {
        Some(embedded) if embedded.contains("BEGIN PGP PUBLIC KEY BLOCK") => {
            (!fits(embedded.as_bytes())).then_some(no_key)
        }
        Some(path) => {
            let readable = match ctx.view().read(path) {
                Ok(Some(bytes)) => bytes,
                _ => return Some(no_key),
            };
            // apt verifies as the user _apt.
            let mode = ctx.view().stat(path).ok().flatten().map_or(0, |s| s.mode);
            (mode & 0o004 == 0 || !fits(&readable)).then_some(no_key)
        }
        None => {
            let view = ctx.view();
            let dir = "/etc/apt/trusted.gpg.d";
            let mut keys: Vec<Vec<u8>> = view
                .list(dir)
                .ok()
                .flatten()
                .unwrap_or_default()
                .iter()
                .filter_map(|name| view.read(&format!("{dir}/{name}")).ok().flatten())
                .collect();
            // Debian's own keys are trusted everywhere.
            if matches!(ctx.place, Place::Node(_) | Place::Container(_)) {
                keys.extend(view.read("/usr/share/keyrings/debian-archive-keyring.gpg").ok().flatten());
            }
            (!keys.iter().any(|k| fits(k))).then_some(no_key)
        }
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Linbit,
    Placeholder(&'static str),
}
