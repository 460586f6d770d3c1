//! What a certificate says of itself, for people to read.
//!
//! Judges nothing: whoever makes a certificate writes into it what he likes, also letters that move a terminal's
//! cursor, so texts are handed out with those made visible.

use super::Fingerprint;
use std::fmt;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};
use x509_parser::public_key::PublicKey;

/// Letters of a name that are shown; a DNS name has at most 253.
const MOST: usize = 256;

/// The parts of a certificate that a person compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub fingerprint: Fingerprint,
    pub subject: Name,
    pub issuer: Name,
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub not_before_s: i64,
    pub not_after_s: i64,
    /// Subject alternative names: DNS names and addresses; of other kinds with the kind before (`email:…`).
    pub names: Vec<String>,
    pub is_ca: bool,
    /// `rsaEncryption`, `id-ecPublicKey` or the number of another algorithm, and the length of the key.
    pub key: (String, usize),
}

/// A distinguished name, its parts in the order written: `CN=pve1`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Name(pub Vec<(String, String)>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(kind, value)| format!("{kind}={value}")).collect();
        f.write_str(if parts.is_empty() { "(no name)".to_owned() } else { parts.join(", ") }.as_str())
    }
}

impl Certificate {
    /// Of a certificate's DER. The text says what is wrong with it.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|e| format!("it is no X.509 certificate: {e}"))?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().map(alternative).collect(),
            Ok(None) => Vec::new(),
            Err(e) => return Err(format!("its subject alternative names: {e}")),
        };
        Ok(Self {
            fingerprint: Fingerprint::of(der),
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            not_before_s: parsed.validity().not_before.timestamp(),
            not_after_s: parsed.validity().not_after.timestamp(),
            names,
            is_ca: parsed.is_ca(),
            key: key(&parsed),
        })
    }

    /// Whether it names itself as the one who made it.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

fn key(parsed: &X509Certificate) -> (String, usize) {
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => ("rsaEncryption".into(), key.key_size()),
        Ok(PublicKey::EC(point)) => ("id-ecPublicKey".into(), point.key_size()),
        _ => (
            parsed.public_key().algorithm.algorithm.to_id_string(),
            8 * parsed.public_key().subject_public_key.data.len(),
        ),
    }
}

fn name(name: &X509Name) -> Name {
    let parts = name.iter_attributes().map(|part| {
        let oid = part.attr_type();
        let kind = x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry());
        let value = part.as_str().map_or_else(|_| String::from_utf8_lossy(part.as_slice()).into_owned(), str::to_owned);
        (kind.map_or_else(|_| oid.to_id_string(), str::to_owned), visible(&value))
    });
    Name(parts.collect())
}

fn alternative(name: &GeneralName) -> String {
    match name {
        GeneralName::DNSName(name) => visible(name),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(four), _) => std::net::Ipv4Addr::from(four).to_string(),
            (_, Ok(sixteen)) => std::net::Ipv6Addr::from(sixteen).to_string(),
            _ => format!("address of {} bytes", bytes.len()),
        },
        GeneralName::RFC822Name(name) => format!("email:{}", visible(name)),
        GeneralName::URI(name) => format!("URI:{}", visible(name)),
        other => visible(&format!("{other:?}")),
    }
}

/// Letters that a terminal obeys instead of showing them, shown by their number. What is longer than any name is cut.
fn visible(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut shown: String = text
        .chars()
        .take(MOST)
        .map(|c| if obeyed(c) { c.escape_unicode().to_string() } else { c.to_string() })
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn what_it_says_is_read_and_cannot_move_the_cursor() {
        let mut params = CertificateParams::new(["pve1".to_owned(), "::1".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "pve1\u{1b}[2K\rpve9 \u{202e}");
        params.not_before = rcgen::date_time_ymd(2026, 11, 22);
        params.not_after = rcgen::date_time_ymd(2028, 11, 22);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::read(made.der()).unwrap();
        assert_eq!(read.names, ["pve1", "::1", "192.0.2.1"]);
        assert!(read.subject.to_string().ends_with("CN=pve1\\u{1b}[2K\\u{d}pve9 \\u{202e}"), "{}", read.subject);
        assert_eq!((read.not_before_s, read.not_after_s), (1_795_305_600, 1_858_464_000));
        assert_eq!(read.key, ("id-ecPublicKey".to_owned(), 256));
        assert!(read.is_self_issued() && !read.is_ca);
    }

    #[test]
    fn a_name_without_end_is_cut() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "x".repeat(30_000));
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let shown = Certificate::read(made.der()).unwrap().subject.to_string();
        assert!(shown.ends_with("xx…") && shown.chars().count() < 300, "{}", shown.len());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let made =
            CertificateParams::new(["a".to_owned()]).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
        for end in 0..made.der().len() {
            assert!(Certificate::read(&made.der()[..end]).is_err());
        }
        for at in 0..made.der().len() {
            let mut bytes = made.der().to_vec();
            bytes[at] ^= 0x5a;
            let _ = Certificate::read(&bytes);
        }
        let longer = [made.der().as_ref(), b"x"].concat();
        assert!(Certificate::read(&longer).unwrap_err().contains("1 bytes follow"));
    }
}
