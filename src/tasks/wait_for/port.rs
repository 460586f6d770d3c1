//! `/proc/net/tcp` and `tcp6`: who listens on which port, without asking a program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    pub address: IpAddr,
    pub port: u16,
    /// As the kernel numbers them (include/net/tcp_states.h).
    state: u8,
}

const LISTEN: u8 = 0x0A;
/// ESTABLISHED to TIME_WAIT: what Ansible counts as active.
const ACTIVE: std::ops::RangeInclusive<u8> = 0x01..=0x06;

impl Socket {
    pub fn is_connection(&self) -> bool {
        ACTIVE.contains(&self.state)
    }

    /// Whether a connection to `host`, a name of this host, would reach it.
    pub fn listens_on(&self, host: &str) -> bool {
        let loopback = self.address.to_canonical().is_loopback();
        let any = self.address.is_unspecified();
        // `0.0.0.0` as the host asked for means any address of this host.
        self.state == LISTEN && (any || loopback || host == "0.0.0.0" || host == "::")
    }
}

/// Whether the host's own socket tables can answer.
pub fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "0.0.0.0" | "::") || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

/// A whole table, heading included.
pub fn parse(table: &str) -> Result<Vec<Socket>, String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        Some(Socket {
            address: self::address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        })
    };
    table.lines().skip(1).map(|text| line(text).ok_or_else(|| format!("cannot read the line `{text}`"))).collect()
}

/// Words of 32 bits in the byte order of the machine; all machines that Proxmox VE runs on are little-endian.
fn address(hex: &str) -> Option<IpAddr> {
    if !hex.is_ascii() {
        return None;
    }
    let mut bytes = Vec::new();
    for word in hex.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_le_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}
