//! PVE's named formats and small value syntaxes (booleans, lists, sizes, volume ids).
//! A format not known here lets every value through: guessing a refusal would be worse than missing one.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Splits a `*-list`: commas, semicolons, white space and NUL separate.
pub fn split_list(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ';', ' ', '\t', '\n', '\0']).filter(|item| !item.is_empty())
}

/// The words that property strings and configuration files accept.
pub fn boolean(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Some(true),
        "0" | "off" | "no" | "false" => Some(false),
        _ => None,
    }
}

/// `STORAGE:NAME`, as PVE splits it.
pub fn parse_volume_id(text: &str) -> Result<(&str, &str), String> {
    let fault = || format!("unable to parse volume ID '{text}'");
    let (storage, name) = text.split_once(':').ok_or_else(fault)?;
    if !is_storage_id(storage) || name.is_empty() { Err(fault()) } else { Ok((storage, name)) }
}

pub fn is_storage_id(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(ok)
        && text.len() > 1
}

/// `vm:100`, `ct:101`, or the bare number where `bare` allows it.
pub fn is_ha_id(text: &str, bare: bool) -> bool {
    let number = |digits: &str| digits.parse::<u32>().is_ok_and(|id| id >= 100) && !digits.starts_with('0');
    match text.split_once(':') {
        Some(("ct" | "vm", digits)) => number(digits),
        Some(_) => false,
        None => bare && number(text),
    }
}

/// Whether `value` has the named format; the text is what PVE's check dies with.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    // These look like lists by name, and have a check of their own.
    if name == "pve-storage-content-list" {
        return each(value, "pve-storage-content");
    }
    match name.strip_suffix("-list") {
        Some(of) => each(value, of),
        None => one(name, value),
    }
}

fn each(value: &str, format: &str) -> Result<(), String> {
    split_list(value).try_for_each(|item| one(format, item))
}

fn one(name: &str, value: &str) -> Result<(), String> {
    let need = |ok: bool, text: &str| if ok { Ok(()) } else { Err(text.to_string()) };
    match name {
        "pve-vmid" => need(
            value.parse::<u32>().is_ok_and(|id| (100..=999_999_999).contains(&id)),
            "value does not look like a valid VM ID",
        ),
        "pve-node" => need(is_dns_label(value), "value does not look like a valid node name"),
        "pve-configid" => {
            let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let whole = value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.len() > 1;
            need(whole && value.chars().all(ok), &format!("invalid configuration ID '{value}'"))
        }
        "pve-storage-id" => need(is_storage_id(value), &format!("storage ID '{value}' contains illegal characters")),
        "pve-volume-id" => parse_volume_id(value).map(drop),
        "pve-storage-content" => {
            let known = ["images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"];
            need(known.contains(&value), &format!("invalid content type '{value}'"))
        }
        "pve-ha-resource-or-vm-id" => need(is_ha_id(value, true), "value does not look like a valid ha resource id"),
        "pve-ha-resource-id" => need(is_ha_id(value, false), "value does not look like a valid ha resource id"),
        "pve-ha-node" => {
            let (node, priority) = value.split_once(':').unwrap_or((value, "0"));
            let ok = is_dns_label(node) && priority.parse::<u32>().is_ok();
            need(ok, "value does not look like a valid ha node id")
        }
        "pve-tag" => {
            let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let later = |c: char| first(c) || matches!(c, '-' | '+' | '.');
            need(value.starts_with(first) && value.chars().all(later), "invalid characters in tag")
        }
        "pve-priv" => need(super::acl::PRIVILEGES.contains(&value), &format!("invalid privilege '{value}'")),
        "pve-roleid" => need(
            value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
            &format!("role name '{value}' contains invalid characters"),
        ),
        "pve-userid" => {
            let ok = value.rsplit_once('@').is_some_and(|(user, realm)| !user.is_empty() && !realm.is_empty());
            need(ok && !value.contains(char::is_whitespace), "value does not look like a valid user name")
        }
        "pve-ipv4-config" => {
            let fault = "value does not look like a valid ipv4 network configuration";
            need(matches!(value, "dhcp" | "manual") || is_cidr::<Ipv4Addr>(value, 32), fault)
        }
        "pve-ipv6-config" => {
            let fault = "value does not look like a valid ipv6 network configuration";
            need(matches!(value, "auto" | "dhcp" | "manual") || is_cidr::<Ipv6Addr>(value, 128), fault)
        }
        "ipv4" => need(value.parse::<Ipv4Addr>().is_ok(), "value does not look like a valid IPv4 address"),
        "ipv6" => need(value.parse::<Ipv6Addr>().is_ok(), "value does not look like a valid IPv6 address"),
        "mac-addr" => {
            let bytes: Vec<&str> = value.split(':').collect();
            let hex = |byte: &&str| byte.len() == 2 && byte.chars().all(|c| c.is_ascii_hexdigit());
            let unicast = u8::from_str_radix(bytes[0], 16).is_ok_and(|first| first & 1 == 0);
            let ok = bytes.len() == 6 && bytes.iter().all(hex) && unicast;
            need(ok, "value does not look like a valid unicast MAC address")
        }
        "dns-name" => need(value.split('.').all(is_dns_label), "value does not look like a valid DNS name"),
        "disk-size" => need(size_bytes(value).is_some(), "value does not look like a valid disk size"),
        _ => Ok(()),
    }
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn is_cidr<A: std::str::FromStr>(text: &str, most: u8) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        address.parse::<A>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    })
}

/// `8G`, `512M`, `0T`, or a plain number of bytes.
pub fn size_bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        b'T' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: f64 = digits.parse().ok().filter(|n: &f64| *n >= 0.0)?;
    Some((number * (1u64 << shift) as f64) as u64)
}

/// As PVE prints sizes: the largest unit that divides without rest.
pub fn print_size(bytes: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}
