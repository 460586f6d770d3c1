//! One attempt of one request at one entry point: what is sent, and what came back. Repeats nothing.

use super::answer::{Envelope, Raw};
use super::send::Core;
use super::words::{causes, no_answer};
use crate::pve::login::Ticket;
use crate::pve::tls::Refused;
use crate::pve::{Error, Secret};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue};

/// How one attempt at one entry point ended without an answer.
pub enum Lost {
    /// Nothing was sent: the connection could not be made.
    NotSent(Error),
    TimedOut,
    /// Sent, or sent in part, and the connection ended.
    Broken(String),
}

/// The headers that say who asks.
pub enum Identity {
    Ticket(Ticket),
    Token(Secret),
    Nobody,
}

impl Core {
    /// One attempt at one entry point. `Err(Ok(_))` is an answer, and a bad one.
    pub(super) async fn once(
        &self,
        entry: &str,
        method: &'static str,
        path: &str,
        params: &str,
        identity: &Identity,
    ) -> Result<Envelope, Result<Error, Lost>> {
        // A body on GET and DELETE is answered 501, so their parameters go into the query.
        let in_query = matches!(method, "GET" | "DELETE") && !params.is_empty();
        let url =
            if in_query { format!("{entry}/api2/json{path}?{params}") } else { format!("{entry}/api2/json{path}") };
        let verb = reqwest::Method::from_bytes(method.as_bytes()).expect("four fixed words");
        let mut request = self.http.request(verb, url).timeout(self.deadline);
        if matches!(method, "POST" | "PUT") {
            request = request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                // A whole string, so that head and body leave in one write: pveproxy may drop a request whose parts
                // come in two TLS records.
                .body(params.to_owned());
        }
        match identity {
            Identity::Nobody => {}
            Identity::Token(value) => request = request.header(AUTHORIZATION, sensitive(value)),
            Identity::Ticket(ticket) => {
                request = request.header(COOKIE, sensitive(&ticket.cookie()));
                if method != "GET" {
                    request = request.header("CSRFPreventionToken", sensitive(&ticket.csrf));
                }
            }
        }
        let mut response = request.send().await.map_err(|e| Err(Self::lost(entry, &e)))?;
        let status = response.status();
        let reason = match response.extensions().get::<hyper::ext::ReasonPhrase>() {
            Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
            None => status.canonical_reason().unwrap_or_default().to_owned(),
        };
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|e| Err(Self::lost(entry, &e)))? {
            // No answer of Proxmox comes near it; whatever sends this must not take the memory of this machine.
            if body.len() + piece.len() > self.answer_limit {
                return Err(Ok(Error::TooLong { method, path: path.into(), limit_bytes: self.answer_limit }));
            }
            body.extend_from_slice(&piece);
        }
        Raw { method, path, status: status.as_u16(), reason: &reason, body: &body }.judge().map_err(Ok)
    }

    fn lost(entry: &str, error: &reqwest::Error) -> Lost {
        if error.is_connect() || error.is_builder() {
            return Lost::NotSent(match certificate_fault(error) {
                Some((why, fingerprint)) => Error::Untrusted { entry: entry.into(), why, fingerprint },
                None => Error::Config(no_answer(error)),
            });
        }
        if error.is_timeout() { Lost::TimedOut } else { Lost::Broken(no_answer(error)) }
    }
}

/// Kept out of the debug output of HTTP libraries.
fn sensitive(text: &Secret) -> HeaderValue {
    let mut value = HeaderValue::from_str(text.expose()).unwrap_or_else(|_| HeaderValue::from_static("unusable"));
    value.set_sensitive(true);
    value
}

/// Why the certificate was refused, and its fingerprint, if that is what happened.
fn certificate_fault(error: &(dyn std::error::Error + 'static)) -> Option<(String, Option<String>)> {
    causes(error).find_map(|cause| {
        let error @ rustls::Error::InvalidCertificate(fault) = cause.downcast_ref::<rustls::Error>()? else {
            return None;
        };
        Some(match Refused::of(error) {
            Some(refused) => (refused.to_string(), Some(refused.fingerprint.to_string())),
            None => (fault.to_string(), None),
        })
    })
}
