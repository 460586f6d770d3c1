//! Why a certificate that was met is not believed: every reason, not the first.
//!
//! It decides by the same checks as a connection does ([`super::tls_config`]) and adds none of its own; where there is
//! no reason here, a connection is made there.

use super::tls::{Trust, file_roots, system_roots};
use super::{Certificate, Error, Fingerprint, Presented};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use std::fmt;

/// Names of a certificate that a message lists.
const NAMES: usize = 10;

/// One reason not to believe a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// None of the authorities signed it, nor the one who did.
    UnknownIssuer {
        issuer: String,
        by_itself: bool,
    },
    /// It is not for the name that was asked for.
    WrongName {
        asked: String,
        names: Vec<String>,
    },
    Expired {
        since_s: i64,
    },
    NotYetValid {
        from_s: i64,
    },
    /// None of these.
    NotPinned {
        pinned: Vec<Fingerprint>,
    },
    /// Any other fault of the certificate.
    Faulty(String),
    /// What it is to be judged by cannot be read.
    NoJudge(String),
}

impl Doubt {
    /// A word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnknownIssuer { .. } => "unknown_issuer",
            Self::WrongName { .. } => "wrong_name",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::NotPinned { .. } => "not_pinned",
            Self::Faulty(_) => "faulty",
            Self::NoJudge(_) => "no_judge",
        }
    }
}

impl Doubt {
    /// What a connection's own check says of a certificate.
    pub fn of(error: &rustls::Error, certificate: &CertificateDer<'_>, asked: &ServerName<'_>) -> Self {
        doubt(error, asked.to_str().into_owned(), Certificate::read(certificate).ok().as_ref())
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer { by_itself: true, .. } => f.write_str("it is signed by itself, by no authority"),
            Self::UnknownIssuer { issuer, .. } => write!(f, "its issuer is not known: {issuer}"),
            Self::WrongName { asked, names } if names.is_empty() => {
                write!(f, "it is not for `{asked}`: it has no subject alternative name at all")
            }
            Self::WrongName { asked, names } => {
                let more =
                    if names.len() > NAMES { format!(" and {} more", names.len() - NAMES) } else { String::new() };
                let names: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
                write!(f, "it is not for `{asked}`, but for {}{more}", names.join(", "))
            }
            // The dates stand beside it.
            Self::Expired { .. } => f.write_str("it has expired"),
            Self::NotYetValid { .. } => f.write_str("it is not valid yet; is this machine's clock right?"),
            Self::NotPinned { .. } => f.write_str("it is not one of those pinned"),
            Self::Faulty(why) | Self::NoJudge(why) => f.write_str(why),
        }
    }
}

impl Trust {
    /// Every reason not to believe what an endpoint showed; none: it is believed.
    pub fn doubts(&self, met: &Presented) -> Vec<Doubt> {
        let roots = match self {
            Self::Pinned(pins) if pins.contains(&met.fingerprint()) => return Vec::new(),
            Self::Pinned(pins) => return vec![Doubt::NotPinned { pinned: pins.clone() }],
            Self::System => system_roots(),
            Self::CaFile(path) => file_roots(path),
        };
        match roots {
            Ok(roots) => by(&roots, &met.chain, Some(&met.asked)),
            Err(error) => vec![Doubt::NoJudge(error.to_string())],
        }
    }
}

/// Reasons not to believe certificates (a node's own first), had one but this authority. `met` also says under which
/// name; without, the name is not asked.
pub fn doubts_under(
    authority: &[u8],
    chain: &[CertificateDer<'static>],
    met: Option<&Presented>,
) -> Result<Vec<Doubt>, Error> {
    let mut roots = RootCertStore::empty();
    let bad = |e: rustls::Error| Error::Config(format!("the authority's certificate cannot be used: {e}"));
    roots.add(CertificateDer::from(authority.to_vec())).map_err(bad)?;
    Ok(by(&roots, chain, met.map(|met| &met.asked)))
}

fn by(roots: &RootCertStore, chain: &[CertificateDer<'static>], asked: Option<&ServerName<'static>>) -> Vec<Doubt> {
    let Some((leaf, others)) = chain.split_first() else {
        return vec![Doubt::Faulty("there is no certificate".into())];
    };
    let says = Certificate::read(leaf).ok();
    let name = asked.map(|asked| asked.to_str().into_owned()).unwrap_or_default();
    let parsed = match ParsedCertificate::try_from(leaf) {
        Ok(parsed) => parsed,
        Err(error) => return vec![doubt(&error, name, says.as_ref())],
    };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let now = UnixTime::now();
    let mut doubts = Vec::new();
    let mut found = |result: Result<(), rustls::Error>| {
        if let Err(error) = result {
            let doubt = doubt(&error, name.clone(), says.as_ref());
            if !doubts.contains(&doubt) {
                doubts.push(doubt);
            }
        }
    };
    let chain = |at| verify_server_cert_signed_by_trust_anchor(&parsed, roots, others, at, algorithms.all);
    found(chain(now));
    // The dates hide what else is wrong with the chain: asked once more for a moment at which they were right.
    if let Some(says) = &says
        && !(says.not_before_s..=says.not_after_s).contains(&seconds(now))
        && let Ok(then) = u64::try_from(says.not_before_s)
    {
        found(chain(UnixTime::since_unix_epoch(std::time::Duration::from_secs(then))));
    }
    if let Some(asked) = asked {
        found(verify_server_name(&parsed, asked));
    }
    doubts
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn doubt(error: &rustls::Error, asked: String, says: Option<&Certificate>) -> Doubt {
    use CertificateError as Fault;
    let rustls::Error::InvalidCertificate(fault) = error else { return Doubt::Faulty(error.to_string()) };
    let date = |of: fn(&Certificate) -> i64| says.map_or(0, of);
    match fault {
        Fault::UnknownIssuer => Doubt::UnknownIssuer {
            issuer: says.map_or_else(String::new, |says| says.issuer.to_string()),
            by_itself: says.is_some_and(Certificate::is_self_issued),
        },
        // Of the whole chain, so the dates at fault may be another's.
        Fault::Expired | Fault::ExpiredContext { .. } => match date(|says| says.not_after_s) {
            since_s if since_s < seconds(UnixTime::now()) => Doubt::Expired { since_s },
            _ => Doubt::Faulty("a certificate that it is signed with has expired".into()),
        },
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => match date(|says| says.not_before_s) {
            from_s if from_s > seconds(UnixTime::now()) => Doubt::NotYetValid { from_s },
            _ => Doubt::Faulty("a certificate that it is signed with is not valid yet".into()),
        },
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            Doubt::WrongName { asked, names: says.map(|says| says.names.clone()).unwrap_or_default() }
        }
        // An authority's own certificate where a server's is expected: what `openssl req -x509` makes.
        _ if says.is_some_and(|says| says.is_ca && says.is_self_issued()) => {
            Doubt::UnknownIssuer { issuer: says.map_or_else(String::new, |s| s.issuer.to_string()), by_itself: true }
        }
        other => Doubt::Faulty(other.to_string()),
    }
}
