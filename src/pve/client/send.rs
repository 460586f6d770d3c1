//! One request on its way: entry points, login, retries of what may be retried.

use super::answer::Envelope;
use super::once::{Identity, Lost};
use super::{Config, Method};
use crate::pve::login::{Answer, Ticket};
use crate::pve::{Error, Login, Secret, form};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A read that failed between two nodes sooner than this is tried once more.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many entry points one request waits for that take it and say nothing, each for the whole deadline. What was found
/// to hang is asked last from then on, so that this is paid once.
const MAX_SILENT: usize = 3;

const TICKET: &str = "/access/ticket";

pub struct Core {
    pub(super) http: reqwest::Client,
    login: Login,
    /// `https://host:port`
    entries: Vec<String>,
    /// The entry point that answered last.
    current: AtomicUsize,
    pub(super) deadline: Duration,
    /// Of one answer (bytes).
    pub(super) answer_limit: usize,
    ticket: Arc<Mutex<Option<Ticket>>>,
    tls: Arc<rustls::ClientConfig>,
}

impl Core {
    pub fn new(http: reqwest::Client, config: Config, tls: Arc<rustls::ClientConfig>) -> Result<Self, Error> {
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
            answer_limit: config.answer_limit,
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
            answer_limit: self.answer_limit,
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
        let answer = match self.at_any_entry("POST", TICKET, &params, &Identity::Nobody).await {
            Err(Error::UnknownOutcome { .. } | Error::Broken { .. }) => {
                self.at_any_entry("POST", TICKET, &params, &Identity::Nobody).await
            }
            other => other,
        };
        match answer {
            Ok(envelope) => Answer::read(&envelope.data).map_err(|why| Error::BadAnswer { path: TICKET.into(), why }),
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
        // Logging in changes nothing.
        let is_harmless = is_read || path == TICKET;
        let mut tried: Vec<(String, String)> = Vec::new();
        let mut untrusted = None;
        let mut without_quorum = None;
        let mut again = is_read;
        let (start, since) = (self.current.load(Ordering::Relaxed), Instant::now());
        let (mut step, mut silent) = (0, 0);
        while step < self.entries.len() {
            let at = (start + step) % self.entries.len();
            let is_last = step + 1 == self.entries.len();
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
                    // Whatever is asked next, by whomever, is asked elsewhere first.
                    self.current.store((at + 1) % self.entries.len(), Ordering::Relaxed);
                    silent += 1;
                    let late = Error::Timeout { method, path: path.into(), after_s: self.deadline.as_secs() };
                    if !is_harmless || is_last || silent == MAX_SILENT {
                        return Err(late);
                    }
                    tried.push((self.entries[at].clone(), late.to_string()));
                    step += 1;
                }
                Lost::Broken(_) if again => again = false,
                Lost::Broken(why) if is_harmless && !is_last => {
                    tried.push((self.entries[at].clone(), why));
                    step += 1;
                }
                Lost::Broken(why) if is_read => return Err(Error::Broken { method, path: path.into(), why }),
                Lost::Broken(why) => return Err(Error::UnknownOutcome { method, path: path.into(), why }),
            }
        }
        Err(without_quorum.or(untrusted).unwrap_or(Error::Unreachable { tried }))
    }
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
