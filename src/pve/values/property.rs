//! Property strings: `key=value,key=value`, of which one key may stand first without its name.

use super::size::parse_size;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the keys of a property string mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `rootfs`, `mpN`: the volume stands first.
    Volume,
    Net,
    Features,
    Startup,
    /// A string whose keys are not known here: compared as text, key by key.
    Other,
}

/// Of a container's key: `mp0` → [`Shape::Volume`]. `None`: not a property string.
pub fn shape_of(key: &str) -> Option<Shape> {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    match (stem, stem.len() < key.len()) {
        ("rootfs", false) | ("mp", true) => Some(Shape::Volume),
        ("net", true) => Some(Shape::Net),
        ("features", false) => Some(Shape::Features),
        ("startup", false) => Some(Shape::Startup),
        ("dev", true) => Some(Shape::Other),
        _ => None,
    }
}

impl Shape {
    /// The key that may stand without its name.
    fn default_key(self) -> Option<&'static str> {
        match self {
            Self::Volume => Some("volume"),
            Self::Startup => Some("order"),
            Self::Other => Some("path"),
            Self::Net | Self::Features => None,
        }
    }

    /// What an absent key means. Keys that are not here mean "not set".
    fn default_of(self, key: &str) -> Option<&'static str> {
        match (self, key) {
            (Self::Volume, "shared" | "ro" | "quota" | "backup") => Some("0"),
            (Self::Volume, "replicate") => Some("1"),
            (Self::Net, "firewall" | "link_down") => Some("0"),
            (Self::Net, "type") => Some("veth"),
            (Self::Features, "nesting" | "keyctl" | "fuse" | "mknod" | "force_rw_sys") => Some("0"),
            _ => None,
        }
    }

    fn is_flag(self, key: &str) -> bool {
        matches!(
            (self, key),
            (Self::Volume, "shared" | "ro" | "quota" | "backup" | "replicate" | "acl")
                | (Self::Net, "firewall" | "link_down")
                | (Self::Features, "nesting" | "keyctl" | "fuse" | "mknod" | "force_rw_sys")
        )
    }

    /// Keys that Proxmox fills in by itself: nobody's drift unless they were asked for.
    fn is_filled_in(self, key: &str) -> bool {
        matches!((self, key), (Self::Volume, "size") | (Self::Net, "hwaddr" | "type" | "host-managed"))
    }

    /// Every key known here; others are left alone unless they were asked for.
    fn knows(self, key: &str) -> bool {
        match self {
            Self::Volume => matches!(key, "volume" | "mp" | "size" | "mountoptions") || self.is_flag(key),
            Self::Net => matches!(
                key,
                "name"
                    | "bridge"
                    | "hwaddr"
                    | "ip"
                    | "gw"
                    | "ip6"
                    | "gw6"
                    | "mtu"
                    | "rate"
                    | "tag"
                    | "trunks"
                    | "type"
                    | "firewall"
                    | "link_down"
            ),
            Self::Features => key == "mount" || self.is_flag(key),
            Self::Startup => matches!(key, "order" | "up" | "down"),
            Self::Other => true,
        }
    }

    /// The value in a form in which equal meanings are equal texts.
    fn meaning(self, key: &str, value: &str) -> String {
        let value = value.trim();
        if self.is_flag(key) {
            return match value.to_ascii_lowercase().as_str() {
                "1" | "yes" | "on" | "true" => "1".into(),
                "0" | "no" | "off" | "false" => "0".into(),
                other => other.into(),
            };
        }
        match (self, key) {
            (Self::Volume, "size") => parse_size(value).map_or_else(|| value.into(), |bytes| bytes.to_string()),
            (Self::Net, "hwaddr" | "ip" | "gw" | "ip6" | "gw6") => value.to_ascii_lowercase(),
            (Self::Net, "rate") => value.parse::<f64>().map_or_else(|_| value.into(), |rate| rate.to_string()),
            (Self::Features, "mount") | (Self::Net, "trunks") | (Self::Volume, "mountoptions") => value
                .split(';')
                .map(str::trim)
                .filter(|w| !w.is_empty())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(";"),
            _ => value.into(),
        }
    }
}

/// A property string, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub shape: Shape,
    pub values: BTreeMap<String, String>,
}

impl Property {
    /// Reads `/dev/drbd100,shared=1` and `volume=/dev/drbd100,shared=1` as the same.
    pub fn parse(shape: Shape, text: &str) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                None => match shape.default_key() {
                    Some(key) => (key, part),
                    None => return Err(format!("`{part}` in `{text}` is not `key=value`")),
                },
            };
            // The short name that old configurations have.
            let key = if shape == Shape::Volume && key == "file" { "volume" } else { key };
            if values.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("`{key}` is written twice in `{text}`"));
            }
        }
        Ok(Self { shape, values })
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The value, or what its absence means.
    fn effective(&self, key: &str) -> Option<String> {
        let value = self.get(key).or_else(|| self.shape.default_of(key))?;
        Some(self.shape.meaning(key, value)).filter(|v| !v.is_empty())
    }

    /// The keys in which `actual` is not what `self` describes. A known key that is not stated means its default; what
    /// Proxmox fills in and what nobody here knows is only compared when stated.
    pub fn differing<'a>(&'a self, actual: &'a Self) -> Vec<&'a str> {
        let keys: BTreeSet<&str> = self.values.keys().chain(actual.values.keys()).map(String::as_str).collect();
        keys.into_iter()
            .filter(|key| {
                let stated = self.values.contains_key(*key);
                stated || self.shape.knows(key) && !self.shape.is_filled_in(key)
            })
            .filter(|key| !self.same_volume(key, actual) && self.effective(key) != actual.effective(key))
            .collect()
    }

    /// `local-lvm:8` asks for eight GiB on a storage; what was made of it has a name of its own and a size.
    fn same_volume(&self, key: &str, actual: &Self) -> bool {
        if self.shape != Shape::Volume || key != "volume" {
            return false;
        }
        let (Some(wanted), Some(is)) = (self.get("volume"), actual.get("volume")) else { return false };
        let (Some((storage, size)), Some((on, _))) = (wanted.split_once(':'), is.split_once(':')) else { return false };
        let Ok(wanted_gib) = size.parse::<f64>() else { return false };
        let bytes = actual.get("size").and_then(parse_size);
        storage == on && bytes.is_none_or(|b| b as f64 >= wanted_gib * f64::from(1 << 30))
    }

    /// What to send so that `actual` becomes what `self` describes: what Proxmox filled in is sent back, because it
    /// would draw a new hardware address otherwise, and so is what nobody here knows.
    pub fn over(&self, actual: &Self) -> Self {
        let mut values = self.values.clone();
        for (key, value) in &actual.values {
            let ours = self.shape.knows(key) && !self.shape.is_filled_in(key);
            let same_volume = key == "volume" && self.same_volume(key, actual);
            if same_volume {
                values.insert(key.clone(), value.clone());
            } else if !ours {
                values.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        Self { shape: self.shape, values }
    }

    /// `/dev/…`: a block device, which Proxmox neither makes nor removes.
    pub fn device(&self) -> Option<&str> {
        self.get("volume").filter(|v| v.starts_with("/dev/"))
    }

    /// A volume on a storage, which goes with its container.
    pub fn is_storage_volume(&self) -> bool {
        self.get("volume").is_some_and(|v| !v.starts_with('/'))
    }
}

/// As Proxmox prints it: the key without a name first, the others sorted.
impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value with `=` would be read as a key.
        let short = |value: &&String| !value.contains('=') && !value.is_empty();
        let first = self.shape.default_key().and_then(|key| Some((key, self.values.get(key).filter(short)?)));
        let mut parts: Vec<String> = first.iter().map(|(_, value)| (*value).clone()).collect();
        let rest = self.values.iter().filter(|(key, _)| first.is_none_or(|(k, _)| k != key.as_str()));
        parts.extend(rest.map(|(key, value)| format!("{key}={value}")));
        f.write_str(&parts.join(","))
    }
}
