//! The arguments, and what they say in Proxmox's keys.

use crate::pve::lxc_conf::{self, RawLine};
use crate::pve::values::Property;
use crate::tasks::args::OneOrMany;
use crate::tasks::cluster::flag;
use crate::tasks::secret::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// An LXC container of the cluster. Created where `node` says, or on the first node that can; after that it is kept as
/// described wherever it runs, because HA may have moved it. Only what is stated is compared, by meaning: order,
/// defaults and what Proxmox fills in (hardware address, size) are no drift.
///
/// On a block device as `rootfs` nothing is formatted: it must hold an empty ext4 that no node uses. A device with
/// anything on it is never created over (see `adopt`), and what lies on a device is never removed. A device, bind mounts,
/// `hookscript` and most `features` need the login of root@pam itself; no API token can set them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pct {
    /// The container's number.
    pub vmid: u32,
    /// `present`, `started`, `stopped` (shut down, never killed), or `absent`. Absent is refused while the container
    /// runs, is protected or is an HA resource.
    #[serde(default)]
    pub state: State,
    /// Node to create it on. Not compared later: HA moves containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Template: `local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst`, or its beginning for the newest there. Used only
    /// when the container is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ostemplate: Option<String>,
    /// Host name inside the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Notes, shown by Proxmox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Root file system: `/dev/drbd100,shared=1`, `local-lvm:8` (GiB), or the same as a mapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<Properties>,
    /// First network interface: `name=eth0,bridge=vmbr0,ip=192.168.1.11/24,gw=192.168.1.1`, or a mapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net0: Option<Properties>,
    /// A second network interface, like `net0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net1: Option<Properties>,
    /// A third network interface, like `net0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net2: Option<Properties>,
    /// A fourth network interface, like `net0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net3: Option<Properties>,
    /// Further interfaces by their key: `{net4: …}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub netif: BTreeMap<String, Properties>,
    /// First mount point: `/dev/drbd101,mp=/data,shared=1`, or a mapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp0: Option<Properties>,
    /// A second mount point, like `mp0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp1: Option<Properties>,
    /// A third mount point, like `mp0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp2: Option<Properties>,
    /// A fourth mount point, like `mp0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp3: Option<Properties>,
    /// Further mount points by their key: `{mp4: …}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, Properties>,
    /// `nesting=1,mount=nfsd;rpc_pipefs`, or a mapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Properties>,
    /// `order=1,up=30,down=60`, or a mapping. HA does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Properties>,
    /// MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// CPU cores the container may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Runs with shifted user ids. Fixed once created; always sent then, because the default differs by version: true
    /// where nothing is stated, false on a device, whose ext4 belongs to root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unprivileged: Option<bool>,
    /// Started when its node boots. Leave it off for HA resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onboot: Option<bool>,
    /// Proxmox refuses to remove it, and so does `state: absent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<bool>,
    /// Tags of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<OneOrMany>,
    /// Name servers for the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nameserver: Option<OneOrMany>,
    /// Search domains for the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searchdomain: Option<OneOrMany>,
    /// Time zone of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// `debian`, `ubuntu`, …; found out by Proxmox on creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ostype: Option<String>,
    /// `local:snippets/converge-hook`. The kind `hookscript` also puts the file on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hookscript: Option<String>,
    /// SSH public keys for root, one a line. Used only when the container is created.
    #[serde(default, alias = "ssh_public_keys", skip_serializing_if = "Option::is_none")]
    pub pubkey: Option<String>,
    /// Password of root inside, at least five characters. From a variable or `lookup('env', …)` only, with `no_log:
    /// true`. Used only when the container is created, never compared and never shown. It is sent to the API as a form;
    /// on a node itself it would stand on a command line, and is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Raw lines for LXC, such as `lxc.apparmor.profile: unconfined`, written into the container's file on its node,
    /// since no API call can. For each key named, these values and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lxc: Option<OneOrMany>,
    /// Where there is no container but its device holds a root file system: writes the configuration for it instead of
    /// refusing. State `ostype`, too.
    #[serde(default)]
    pub adopt: bool,
    /// With `absent`: also when that destroys volumes that Proxmox made for it on a storage.
    #[serde(default)]
    pub destroy_volumes: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Started,
    Stopped,
    Absent,
}

impl Pct {
    /// Field, Proxmox's key, and text of everything that is a property string.
    pub fn properties(&self) -> Vec<(&'static str, String, String)> {
        let single = [
            ("rootfs", &self.rootfs),
            ("net0", &self.net0),
            ("net1", &self.net1),
            ("net2", &self.net2),
            ("net3", &self.net3),
            ("mp0", &self.mp0),
            ("mp1", &self.mp1),
            ("mp2", &self.mp2),
            ("mp3", &self.mp3),
            ("features", &self.features),
            ("startup", &self.startup),
        ];
        let single =
            single.into_iter().filter_map(|(key, value)| Some((key, key.to_owned(), value.as_ref()?.0.clone())));
        let netif = self.netif.iter().map(|(key, value)| ("netif", key.clone(), value.0.clone()));
        let mounts = self.mounts.iter().map(|(key, value)| ("mounts", key.clone(), value.0.clone()));
        single.chain(netif).chain(mounts).collect()
    }

    /// Everything stated that can be compared and changed, as Proxmox's keys and texts.
    pub fn keys(&self) -> BTreeMap<String, String> {
        let words = |list: &Option<OneOrMany>, between: &str| {
            list.as_ref().map(|l| {
                l.iter()
                    .flat_map(|i| i.split([',', ';', ' ']))
                    .filter(|w| !w.is_empty())
                    .collect::<Vec<_>>()
                    .join(between)
            })
        };
        let plain = [
            ("hostname", self.hostname.clone()),
            ("description", self.description.clone()),
            ("memory", self.memory.map(|n| n.to_string())),
            ("swap", self.swap.map(|n| n.to_string())),
            ("cores", self.cores.map(|n| n.to_string())),
            ("onboot", self.onboot.map(flag)),
            ("protection", self.protection.map(flag)),
            ("tags", words(&self.tags, ";")),
            ("nameserver", words(&self.nameserver, " ")),
            ("searchdomain", words(&self.searchdomain, " ")),
            ("timezone", self.timezone.clone()),
            ("ostype", self.ostype.clone()),
            ("hookscript", self.hookscript.clone()),
        ];
        let plain = plain.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        plain.chain(self.properties().into_iter().map(|(_, key, value)| (key, value))).collect()
    }

    /// The device that is to be the root file system.
    pub fn device(&self) -> Option<String> {
        let rootfs = Property::parse(crate::pve::values::Shape::Volume, &self.rootfs.as_ref()?.0).ok()?;
        rootfs.device().map(str::to_owned)
    }

    pub fn raw(&self) -> Vec<RawLine> {
        let lines = self.lxc.iter().flat_map(|lines| lines.iter());
        lines.filter_map(|line| lxc_conf::parse_raw(line).ok()).collect()
    }

    /// What it will be when it is created.
    pub fn unprivileged(&self) -> bool {
        self.unprivileged.unwrap_or(self.device().is_none())
    }
}

/// What a property string cannot do without.
pub fn incomplete(key: &str, property: &Property) -> Option<String> {
    let needs: &[&str] = match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "rootfs" => &["volume"],
        "mp" => &["volume", "mp"],
        "net" => &["name"],
        _ => &[],
    };
    let missing = needs.iter().find(|need| property.get(need).is_none())?;
    Some(format!("`{key}` lacks `{missing}=`"))
}

/// A property string, written as one or as a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties(pub String);

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Properties;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("`key=value,key=value` or a mapping")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Properties, E> {
                Ok(Properties(text.trim().to_owned()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Properties, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
                let mut parts = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Word>()? {
                    parts.push(format!("{key}={}", value.0));
                }
                Ok(Properties(parts.join(",")))
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

impl JsonSchema for Properties {
    fn schema_name() -> Cow<'static, str> {
        "Properties".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "object"] })
    }
}

/// A value inside a mapping: a word, a number, a switch, or a list (`mount: [nfsd, rpc_pipefs]`).
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl<'de> Visitor<'de> for Scalar {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a word, a number, true or false, or a list of words")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
                if text.contains([',', '\n']) {
                    return Err(E::custom(format!("`{text}` holds a comma, which separates properties")));
                }
                Ok(Word(text.to_owned()))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Word, E> {
                Ok(Word(flag(value)))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Word, A::Error> {
                let mut words = Vec::new();
                while let Some(item) = items.next_element::<String>()? {
                    words.push(item);
                }
                Ok(Word(words.join(";")))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}
