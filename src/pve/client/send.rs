//! One request on its way: entry points, login, retries of what may be retried.

use super::answer::{Envelope, Raw};
use super::words::no_answer;
use super::{Config, Method};
use crate::pve::login::{Answer, Ticket};
use crate::pve::tls::Met;
use crate::pve::{Error, Login, Secret, form};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A read that failed between two nodes sooner than this is tried once more.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Core {
    http: reqwest::Client,
    login: Login,
    /// `https://host:port`
    entries: Vec<String>,
    /// The entry point that answered last.
    current: AtomicUsize,
    deadline: Duration,
    met: Met,
    ticket: Arc<Mutex<Option<Ticket>>>,
    tls: Arc<rustls::ClientConfig>,
}

/// How one attempt at one entry point ended without an answer.
enum Lost {
    /// Nothing was sent: the connection could not be made.
    NotSent(Error),
    TimedOut,
    /// Sent, or sent in part, and the connection ended.
    Broken(String),
}

/// The headers that say who asks.
enum Identity {
    Ticket(Ticket),
    Token(Secret),
    Nobody,
}

impl Core {
    pub fn new(http: reqwest::Client, config: Config, met: Met, tls: Arc<rustls::ClientConfig>) -> Result<Self, Error> {
        if config.entry_points.is_empty() {
            return Err(Error::Config("no entry point of the cluster is given".into()));
        }
        if let Login::Password { user, .. } = &config.login
            && !user.contains('@')
        {
            return Err(Error::Config(format!("user `{user}` lacks its realm, as in `{user}@pam`")));
        }
        if let Login::Token { id, .. } = &config.login
            && !(id.contains('@') && id.contains('!'))
        {
            return Err(Error::Config(format!("`{id}` is not the name of a token, as in `root@pam!name`")));
        }
        let entries = config.entry_points.iter().map(|text| entry(text)).collect::<Result<_, _>>()?;
        Ok(Self {
            http,
            login: config.login,
            entries,
            current: AtomicUsize::new(0),
            deadline: config.deadline,
            met,
            ticket: Arc::default(),
            tls,
        })
    }

    pub fn at(&self, entry_point: &str) -> Result<Self, Error> {
        Ok(Self {
            http: self.http.clone(),
            login: self.login.clone(),
            entries: vec![entry(entry_point)?],
            current: AtomicUsize::new(0),
            deadline: self.deadline,
            met: self.met.clone(),
            ticket: self.ticket.clone(),
            tls: self.tls.clone(),
        })
    }

    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        self.tls.clone()
    }

    /// The value of the `Cookie` header, for connections that are not made here.
    pub async fn cookie(&self) -> Result<Secret, Error> {
        match self.identity().await? {
            Identity::Ticket(ticket) => Ok(ticket.cookie()),
            _ => Err(Error::Config("a token has no ticket".into())),
        }
    }

    pub fn login(&self) -> &Login {
        &self.login
    }

    pub fn entry_points(&self) -> &[String] {
        &self.entries
    }

    /// The next request begins at the next entry point.
    pub fn pass_over(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    pub async fn read(&self, path: &str, query: &str) -> Result<Envelope, Error> {
        self.as_somebody("GET", path, query).await
    }

    pub async fn write(&self, method: Method, path: &str, params: &str) -> Result<Envelope, Error> {
        self.as_somebody(method.name(), path, params).await
    }

    /// A 401 says that nothing was done, so a request with a ticket that went bad is repeated with a fresh one.
    async fn as_somebody(&self, method: &'static str, path: &str, params: &str) -> Result<Envelope, Error> {
        let identity = self.identity().await?;
        let first = self.at_any_entry(method, path, params, &identity).await;
        match (first, identity) {
            (Err(Error::Api { status: 401, .. }), Identity::Ticket(stale)) => {
                self.forget(&stale).await;
                let identity = self.identity().await?;
                self.at_any_entry(method, path, params, &identity).await
            }
            (answer, _) => answer,
        }
    }

    async fn identity(&self) -> Result<Identity, Error> {
        let Login::Password { user, password, second_factor } = &self.login else {
            let Login::Token { id, secret } = &self.login else { unreachable!("two kinds of login") };
            return Ok(Identity::Token(Secret::new(format!("PVEAPIToken={id}={}", secret.expose()))));
        };
        // Held while logging in: other threads wait for this login instead of starting their own.
        let mut kept = self.ticket.lock().await;
        if let Some(ticket) = kept.as_ref().filter(|t| !t.is_due()) {
            return Ok(Identity::Ticket(ticket.clone()));
        }
        if let Some(old) = kept.take()
            && let Ok(Answer::Ticket(ticket)) = self.ask_ticket(user, &old.ticket, None).await
        {
            *kept = Some(ticket.clone());
            return Ok(Identity::Ticket(ticket));
        }
        let ticket = match self.ask_ticket(user, password, None).await? {
            Answer::Ticket(ticket) => ticket,
            Answer::SecondFactor(half, factors) => {
                let (asker, who, entry) = (second_factor.clone(), user.clone(), self.entry().to_owned());
                // It may wait for a person at a keyboard.
                let code = tokio::task::spawn_blocking(move || asker.answer(&who, &entry, &factors))
                    .await
                    .map_err(|e| Error::Config(format!("asking for the second factor: {e}")))??;
                match self.ask_ticket(user, &code, Some(&half)).await? {
                    Answer::Ticket(ticket) => ticket,
                    Answer::SecondFactor(..) => return Err(self.refused(user, "the second factor was not accepted")),
                }
            }
        };
        *kept = Some(ticket.clone());
        Ok(Identity::Ticket(ticket))
    }

    async fn forget(&self, stale: &Ticket) {
        let mut kept = self.ticket.lock().await;
        if kept.as_ref().is_some_and(|t| t.ticket == stale.ticket) {
            *kept = None;
        }
    }

    async fn ask_ticket(&self, user: &str, password: &Secret, half: Option<&Secret>) -> Result<Answer, Error> {
        // `new-format` is needed by 7 to name the second factors; 8 and 9 accept and ignore it.
        let mut params = vec![("username", user), ("password", password.expose()), ("new-format", "1")];
        params.extend(half.map(|h| ("tfa-challenge", h.expose())));
        let params = form(params);
        // A login may be repeated: it changes nothing.
        let answer = match self.at_any_entry("POST", "/access/ticket", &params, &Identity::Nobody).await {
            Err(Error::UnknownOutcome { .. } | Error::Broken { .. }) => {
                self.at_any_entry("POST", "/access/ticket", &params, &Identity::Nobody).await
            }
            other => other,
        };
        match answer {
            Ok(envelope) => {
                Answer::read(&envelope.data).map_err(|why| Error::BadAnswer { path: "/access/ticket".into(), why })
            }
            Err(Error::Api { status: 401, message, .. }) => Err(self.refused(user, &message)),
            Err(error) => Err(error),
        }
    }

    fn refused(&self, user: &str, why: &str) -> Error {
        Error::Login { user: user.into(), entry: self.entry().to_owned(), why: why.into() }
    }

    pub fn entry(&self) -> &str {
        &self.entries[self.current.load(Ordering::Relaxed) % self.entries.len()]
    }

    async fn at_any_entry(
        &self,
        method: &'static str,
        path: &str,
        params: &str,
        identity: &Identity,
    ) -> Result<Envelope, Error> {
        let is_read = method == "GET";
        let mut tried: Vec<(String, String)> = Vec::new();
        let mut untrusted = None;
        let mut without_quorum = None;
        let mut again = is_read;
        let (start, since) = (self.current.load(Ordering::Relaxed), Instant::now());
        let mut step = 0;
        while step < self.entries.len() {
            let at = (start + step) % self.entries.len();
            let lost = match self.once(&self.entries[at], method, path, params, identity).await {
                Ok(envelope) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(envelope);
                }
                // The node reused a connection to another node that was just closed (599), or lost the other node
                // for a moment. Where it waited long for an answer, another wait is the caller's to decide.
                Err(Ok(Error::Api { status: 595 | 596 | 599, .. })) if again && since.elapsed() < PATIENCE => {
                    again = false;
                    continue;
                }
                // Nothing was done. Only this node may be cut off from the others.
                Err(Ok(answered)) if !is_read && answered.is_without_quorum() => {
                    without_quorum.get_or_insert(answered);
                    step += 1;
                    continue;
                }
                Err(Ok(answered)) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Err(answered);
                }
                Err(Err(lost)) => lost,
            };
            match lost {
                Lost::NotSent(error) => {
                    tried.push((self.entries[at].clone(), error.to_string()));
                    if matches!(error, Error::Untrusted { .. }) {
                        untrusted.get_or_insert(error);
                    }
                    step += 1;
                }
                Lost::TimedOut => {
                    let late = Error::Timeout { method, path: path.into(), after_s: self.deadline.as_secs() };
                    if !is_read || step + 1 == self.entries.len() {
                        return Err(late);
                    }
                    tried.push((self.entries[at].clone(), late.to_string()));
                    step += 1;
                }
                Lost::Broken(_) if again => again = false,
                Lost::Broken(why) if is_read => return Err(Error::Broken { method, path: path.into(), why }),
                Lost::Broken(why) => return Err(Error::UnknownOutcome { method, path: path.into(), why }),
            }
        }
        Err(without_quorum.or(untrusted).unwrap_or(Error::Unreachable { tried }))
    }

    /// One attempt at one entry point. `Err(Ok(_))` is an answer, and a bad one.
    async fn once(
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
        let response = request.send().await.map_err(|e| Err(self.lost(entry, &e)))?;
        let status = response.status();
        let reason = match response.extensions().get::<hyper::ext::ReasonPhrase>() {
            Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
            None => status.canonical_reason().unwrap_or_default().to_owned(),
        };
        let body = response.bytes().await.map_err(|e| Err(self.lost(entry, &e)))?;
        Raw { method, path, status: status.as_u16(), reason: &reason, body: &body }.judge().map_err(Ok)
    }

    fn lost(&self, entry: &str, error: &reqwest::Error) -> Lost {
        if error.is_connect() || error.is_builder() {
            return Lost::NotSent(match certificate_fault(error) {
                Some(why) => {
                    let host = entry.strip_prefix("https://").unwrap_or(entry);
                    let host = host.rsplit_once(':').map_or(host, |(h, _)| h).trim_matches(['[', ']']);
                    let fingerprint = self.met.lock().ok().and_then(|met| met.get(host).map(ToString::to_string));
                    Error::Untrusted { entry: entry.into(), why, fingerprint }
                }
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

/// Why the certificate was refused, if that is what happened.
fn certificate_fault(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(fault)) = error.downcast_ref::<rustls::Error>() {
            return Some(match fault {
                rustls::CertificateError::ApplicationVerificationFailure => "it is not one of those pinned".into(),
                other => other.to_string(),
            });
        }
        // `source` of an I/O error is that of the error inside it, which would be skipped.
        let inner = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// `https://host:port` of what a person wrote.
pub fn entry(text: &str) -> Result<String, Error> {
    let bad = |why: &str| Error::Config(format!("entry point `{text}`: {why}"));
    let rest = match text.trim().split_once("://") {
        None => text.trim(),
        Some(("https", rest)) => rest,
        Some(_) => return Err(bad("only https is spoken")),
    };
    let rest = rest.trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
        return Err(bad("expected `host` or `host:port`"));
    }
    // A bare IPv6 address has several colons and no brackets.
    let bare_v6 = rest.matches(':').count() > 1 && !rest.starts_with('[');
    let host = if bare_v6 { format!("[{rest}]") } else { rest.to_owned() };
    let after_host = host.rsplit(']').next().unwrap_or_default();
    let url = if after_host.contains(':') { format!("https://{host}") } else { format!("https://{host}:8006") };
    reqwest::Url::parse(&url).map_err(|e| bad(&e.to_string()))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_points_as_people_write_them() {
        for (text, url) in [
            ("pve1", "https://pve1:8006"),
            ("pve1:443", "https://pve1:443"),
            ("https://pve1.example.org:8006/", "https://pve1.example.org:8006"),
            ("192.168.1.11", "https://192.168.1.11:8006"),
            ("fd00::11", "https://[fd00::11]:8006"),
            ("[fd00::11]:8006", "https://[fd00::11]:8006"),
        ] {
            assert_eq!(entry(text).unwrap(), url);
        }
        for bad in ["", "http://pve1:8006", "pve1/api2", "root@pve1", "pve1:x"] {
            assert!(entry(bad).is_err(), "{bad}");
        }
    }
}
