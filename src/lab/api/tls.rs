//! The lab's certificates: one authority, a leaf for each node, where PVE keeps them in `/etc/pve`.
//! Keys are readable by the owner of the lab directory alone.

use crate::lab::files::Files;
use crate::pve::Fingerprint;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A node's certificate of ACME or of a company, which pveproxy prefers.
const OWN: &str = "pveproxy-ssl.pem";

/// Certificates of a lab, as PEM.
pub struct Pki {
    pub ca_pem: String,
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Writes beside and renames; `mode` holds from the first byte on.
pub fn write_private(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let beside = path.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&beside, path)
}

/// From today on, for as many days as PVE gives: ten years to an authority, two to a node.
fn last(params: &mut CertificateParams, days: i32) -> io::Result<()> {
    let today = jiff::Zoned::now().date();
    let end = today.checked_add(jiff::Span::new().days(days)).map_err(other)?;
    let day = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(today.yesterday().map_err(other)?), day(end));
    Ok(())
}

/// Makes what is missing: the authority first, then leaves signed by it.
pub fn ensure(files: &Files, nodes: &[(String, String)]) -> io::Result<Pki> {
    let pve = files.pve();
    let (ca_file, ca_key_file) = (pve.join("pve-root-ca.pem"), pve.join("priv/pve-root-ca.key"));
    let mut params = CertificateParams::new(Vec::new()).map_err(other)?;
    last(&mut params, 3650)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Proxmox Virtual Environment");
    params.distinguished_name.push(DnType::OrganizationName, "PVE Cluster Manager CA");
    let key = match std::fs::read_to_string(&ca_key_file) {
        Ok(pem) if ca_file.exists() => KeyPair::from_pem(&pem).map_err(other)?,
        _ => {
            let key = KeyPair::generate().map_err(other)?;
            let ca = params.self_signed(&key).map_err(other)?;
            write_private(&ca_key_file, &key.serialize_pem(), 0o600)?;
            write_private(&ca_file, &ca.pem(), 0o644)?;
            // Leaves of an authority that is gone are worth nothing.
            for (name, _) in nodes {
                let _ = std::fs::remove_file(pve.join("nodes").join(name).join("pve-ssl.pem"));
            }
            key
        }
    };
    let issuer = Issuer::from_params(&params, &key);
    for (name, ip) in nodes {
        let dir = pve.join("nodes").join(name);
        if dir.join("pve-ssl.pem").exists() && dir.join("pve-ssl.key").exists() {
            continue;
        }
        let names = ["127.0.0.1", "::1", "localhost", ip, name, &format!("{name}.lab")].map(String::from);
        let mut leaf = CertificateParams::new(names).map_err(other)?;
        last(&mut leaf, 730)?;
        leaf.distinguished_name.push(DnType::CommonName, name.as_str());
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf_key = KeyPair::generate().map_err(other)?;
        let cert = leaf.signed_by(&leaf_key, &issuer).map_err(other)?;
        write_private(&dir.join("pve-ssl.key"), &leaf_key.serialize_pem(), 0o600)?;
        write_private(&dir.join("pve-ssl.pem"), &cert.pem(), 0o644)?;
    }
    Ok(Pki { ca_pem: std::fs::read_to_string(&ca_file)? })
}

/// The certificate that a node presents, out of the way to its files.
pub fn presented(read: impl Fn(&str) -> Option<Vec<u8>>) -> String {
    let pem = read(OWN).or_else(|| read("pve-ssl.pem")).unwrap_or_default();
    fingerprint(&String::from_utf8_lossy(&pem))
}

/// TLS for one node's port. HTTP/1.1 only, as pveproxy.
pub fn server_config(files: &Files, node: &str) -> io::Result<rustls::ServerConfig> {
    let dir = files.pve().join("nodes").join(node);
    let name = if dir.join(OWN).exists() { "pveproxy-ssl" } else { "pve-ssl" };
    let chain: Vec<CertificateDer> = CertificateDer::pem_file_iter(dir.join(format!("{name}.pem")))
        .map_err(other)?
        .collect::<Result<_, _>>()
        .map_err(other)?;
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key"))).map_err(other)?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.map_err(other)?.with_no_client_auth().with_single_cert(chain, key).map_err(other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// SHA-256 over the first certificate of a PEM text, upper case with colons; empty when it is none.
fn fingerprint(pem: &str) -> String {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_or_else(|_| String::new(), |der| Fingerprint::of(&der).to_string())
}
