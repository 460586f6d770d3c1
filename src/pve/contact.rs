//! Meeting endpoints: a TLS handshake that shows who answers there.
//!
//! It sends no request and no secret, and believes nobody: the connection is closed right after the handshake, and
//! whether the certificate is to be believed is asked of it afterwards, by [`super::Trust::doubts`].

use super::client::entry;
use super::{Error, Fingerprint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The next address of a name is tried when this one has not answered for so long.
const NEXT_ADDRESS: Duration = Duration::from_millis(300);

/// The certificates that an endpoint showed, its own first. It has proved that it holds the key of its own.
#[derive(Debug, Clone)]
pub struct Presented {
    /// `https://host:port`
    pub entry: String,
    pub(super) asked: ServerName<'static>,
    pub chain: Vec<CertificateDer<'static>>,
}

impl Presented {
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.chain[0])
    }

    /// The name or address that it was met under.
    pub fn asked(&self) -> String {
        self.asked.to_str().into_owned()
    }
}

/// Meets all endpoints at the same time, each within `deadline`; the answers are in the order asked. The text of an
/// endpoint that was not met says why.
pub fn meet(endpoints: &[String], deadline: Duration) -> Result<Vec<Result<Presented, String>>, Error> {
    let entries: Vec<String> = endpoints.iter().map(|text| entry(text)).collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| Error::Config(format!("no threads for the client: {e}")))?;
    let met = runtime.block_on(async {
        let mut waiting = Vec::new();
        for entry in entries {
            waiting.push(tokio::spawn(async move {
                match tokio::time::timeout(deadline, one(&entry)).await {
                    Ok(met) => met,
                    Err(_) => Err(format!("no answer within {} s", deadline.as_secs())),
                }
            }));
        }
        let mut met = Vec::new();
        for task in waiting {
            met.push(task.await.unwrap_or_else(|e| Err(e.to_string())));
        }
        met
    });
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    Ok(met)
}

async fn one(entry: &str) -> Result<Presented, String> {
    let url = reqwest::Url::parse(entry).map_err(|e| e.to_string())?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(8006);
    let asked = ServerName::try_from(host.clone()).map_err(|_| format!("`{host}` is no name of a host"))?;
    let stream = connect(&host, port).await?;
    let witness =
        Arc::new(Witness { provider: Arc::new(rustls::crypto::ring::default_provider()), chain: Mutex::default() });
    let mut config = ClientConfig::builder_with_provider(witness.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let shaken = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(asked.clone(), stream).await;
    let mut stream = shaken.map_err(|e| no_handshake(&e))?;
    let _ = stream.shutdown().await;
    let chain = witness.chain.lock().map(|chain| chain.clone()).unwrap_or_default();
    if chain.is_empty() {
        return Err("it showed no certificate".into());
    }
    Ok(Presented { entry: entry.to_owned(), asked, chain })
}

/// The first of the name's addresses that answers; one that does not is not waited for long.
async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host((host, port)).await.map_err(|e| format!("`{host}` is not found: {e}"))?.collect();
    let mut tries = JoinSet::new();
    for (at, address) in addresses.into_iter().enumerate() {
        tries.spawn(async move {
            tokio::time::sleep(NEXT_ADDRESS * u32::try_from(at).unwrap_or(u32::MAX)).await;
            TcpStream::connect(address).await
        });
    }
    let mut why = format!("`{host}` has no address");
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => why = e.to_string(),
            Err(e) => why = e.to_string(),
        }
    }
    Err(why)
}

fn no_handshake(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => "what answers there does not speak TLS".into(),
        Some(rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => {
            "it does not hold the key of the certificate that it shows".into()
        }
        Some(other) => format!("no TLS handshake: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection during the TLS handshake".into()
        }
        None => error.to_string(),
    }
}

/// Takes down what is shown. It lets every certificate pass, which is why its connections carry nothing.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut chain) = self.chain.lock() {
            *chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    // Whoever shows the certificate of another has not its key: what is shown to a person is at least the far end's own.
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
