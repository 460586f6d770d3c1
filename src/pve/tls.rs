//! Whom to believe: system roots, a CA file, or pinned certificates. There is no way to believe anyone.

use super::{Doubt, Error};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// What makes a node's certificate trustworthy.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The certificate authorities that this machine trusts (nodes with a certificate of ACME or of a company CA).
    System,
    /// Only the authorities in this PEM file, usually a copy of `/etc/pve/pve-root-ca.pem`. Names are verified.
    CaFile(PathBuf),
    /// Exactly these leaf certificates, one for each node; names and dates are then of no interest. The pins break
    /// when a node renews its certificate, so a CA file is to be preferred.
    Pinned(Vec<Fingerprint>),
}

/// SHA-256 over a certificate's DER, written as `pvenode cert info` does: upper-case hex with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// With or without colons, in any case, with or without `SHA256:` or `sha256 Fingerprint=` before it.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a SHA-256 fingerprint (64 hex digits, colons allowed)");
        let lower = text.trim().to_ascii_lowercase();
        let hex = lower.strip_prefix("sha256 fingerprint=").or(lower.strip_prefix("sha256:")).unwrap_or(&lower);
        let digits: Vec<u32> =
            hex.chars().filter(|c| *c != ':').map(|c| c.to_digit(16).ok_or_else(bad)).collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |n, d| n * 16 + *d as u8)).collect();
        if digits.len() != 64 {
            return Err(bad());
        }
        Ok(Self(bytes.try_into().map_err(|_| bad())?))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: Vec<String> = self.0.iter().map(|b| format!("{b:02X}")).collect();
        f.write_str(&hex.join(":"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A certificate that was met and is not believed. It travels inside the error of the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    pub fingerprint: Fingerprint,
    pub why: String,
}

impl Refused {
    /// The refusal that a TLS error is, if it is one.
    pub fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
            _ => None,
        }
    }
}

impl From<Refused> for rustls::Error {
    fn from(refused: Refused) -> Self {
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

/// A TLS configuration that verifies by `trust`; what it does not believe it says as [`Refused`].
pub fn config(trust: &Trust) -> Result<ClientConfig, Error> {
    // Given explicitly: no provider is installed for the whole process, which is not ours to decide for.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = match trust {
        Trust::Pinned(pins) if pins.is_empty() => return Err(Error::Config("no certificate to trust is given".into())),
        Trust::Pinned(pins) => Judge::Pinned(pins.clone()),
        Trust::System => Judge::Roots(verifier(system_roots()?, &provider)?),
        Trust::CaFile(path) => Judge::Roots(verifier(file_roots(path)?, &provider)?),
    };
    let verifier = Verifier { judge, provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Config(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // pveproxy speaks HTTP/1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

pub(super) fn file_roots(path: &Path) -> Result<RootCertStore, Error> {
    let bad = |why: String| Error::Config(format!("CA file {}: {why}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))? {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("holds no certificate".into()));
    }
    Ok(roots)
}

pub(super) fn system_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(Error::Config(format!("this machine's certificate authorities cannot be used: {why}")));
    }
    Ok(roots)
}

fn verifier(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| Error::Config(e.to_string()))
}

#[derive(Debug)]
enum Judge {
    Roots(Arc<WebPkiServerVerifier>),
    Pinned(Vec<Fingerprint>),
}

#[derive(Debug)]
struct Verifier {
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = Fingerprint::of(end_entity);
        match &self.judge {
            Judge::Roots(roots) => {
                let verified = roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
                verified.map_err(|error| Doubt::of(&error, end_entity, server_name))
            }
            Judge::Pinned(pins) if pins.contains(&leaf) => Ok(ServerCertVerified::assertion()),
            Judge::Pinned(pins) => Err(Doubt::NotPinned { pinned: pins.clone() }),
        }
        .map_err(|doubt| Refused { fingerprint: leaf, why: doubt.to_string() }.into())
    }

    // A pinned leaf proves nothing by itself, anybody can present it: the handshake signature is what shows that the
    // far end holds its key. So both are verified in every mode.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_every_tool_writes_them() {
        let plain = Fingerprint::of(b"x");
        let shown = plain.to_string();
        assert_eq!(shown.len(), 95);
        for text in [shown.clone(), shown.to_lowercase(), shown.replace(':', ""), format!("sha256 Fingerprint={shown}")]
        {
            assert_eq!(text.parse::<Fingerprint>().unwrap(), plain, "{text}");
        }
        for bad in ["", "AB:CD", &shown[..92], &format!("{shown}:00"), &shown.replace('A', "Z").replace('2', "G")] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
