//! Tickets and tokens: logging in, the second factor, renewal, and the headers a request needs.

use super::{Error, Secret};
use serde_json::Value as Json;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A ticket is good for two hours; Proxmox's own client renews after one.
const RENEW_AFTER: Duration = Duration::from_secs(3600);

/// Who asks.
#[derive(Debug, Clone)]
pub enum Login {
    /// A user with its realm (`root@pam`). The only way to what is reserved for `root@pam`: a device as rootfs,
    /// hookscripts, most container features.
    Password { user: String, password: Secret, second_factor: SecondFactor },
    /// `user@realm!name` and the token's secret.
    Token { id: String, secret: Secret },
}

/// Asks a person for the code; gets the factors that the account has (`totp`, `recovery`, …).
pub type AskCode = Arc<dyn Fn(&[String]) -> Option<Secret> + Send + Sync>;

/// Where the one-time code comes from. A code may carry its factor (`recovery:…`); a bare one is a TOTP code.
#[derive(Clone, Default)]
pub enum SecondFactor {
    #[default]
    None,
    /// Known now, and good for one login: a run longer than the ticket renews it with the ticket itself.
    Code(Secret),
    Ask(AskCode),
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Code(_) => "Code(<secret>)",
            Self::Ask(_) => "Ask",
        })
    }
}

impl SecondFactor {
    /// What goes into `password` of the second login request.
    pub(super) fn answer(&self, user: &str, entry: &str, factors: &[String]) -> Result<Secret, Error> {
        let refused = |why: String| Error::Login { user: user.into(), entry: entry.into(), why };
        let code = match self {
            Self::None => None,
            Self::Code(code) => Some(code.clone()),
            Self::Ask(ask) => ask(factors),
        };
        let Some(code) = code else {
            return Err(refused(format!("a second factor is needed ({}) and none is given", factors.join(", "))));
        };
        let text = code.expose().trim();
        let named = ["totp:", "recovery:", "yubico:"].iter().any(|factor| text.starts_with(factor));
        Ok(Secret::new(if named { text.to_owned() } else { format!("totp:{text}") }))
    }
}

/// A session: the ticket goes into the cookie, the CSRF token into a header of writes.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub ticket: Secret,
    pub csrf: Secret,
    pub since: Instant,
}

impl Ticket {
    pub fn is_due(&self) -> bool {
        self.since.elapsed() > RENEW_AFTER
    }

    /// The value of the `Cookie` header.
    pub fn cookie(&self) -> Secret {
        Secret::new(format!("PVEAuthCookie={}", super::segment(self.ticket.expose())))
    }
}

/// What `POST /access/ticket` answered.
pub(super) enum Answer {
    Ticket(Ticket),
    /// The half ticket, and the factors that the account has.
    SecondFactor(Secret, Vec<String>),
}

impl Answer {
    pub fn read(data: &Json) -> Result<Self, String> {
        let text = |key: &str| data.get(key).and_then(Json::as_str).map(Secret::new);
        let ticket = text("ticket").ok_or("no ticket in the answer")?;
        if super::values::truthy(data.get("NeedTFA")) {
            let factors = factors(ticket.expose());
            return Ok(Self::SecondFactor(ticket, factors));
        }
        let csrf = text("CSRFPreventionToken").ok_or("no CSRF token in the answer")?;
        Ok(Self::Ticket(Ticket { ticket, csrf, since: Instant::now() }))
    }
}

/// `PVE:!tfa!%7B%22totp%22%3Atrue…%7D:TIME::signature` → the factors that are set up.
fn factors(ticket: &str) -> Vec<String> {
    let part = ticket.split(':').find_map(|p| p.strip_prefix("!tfa!")).unwrap_or_default();
    let decoded = decode(part);
    let Ok(Json::Object(map)) = serde_json::from_str::<Json>(&decoded) else { return Vec::new() };
    map.into_iter().filter(|(_, v)| !matches!(v, Json::Null | Json::Bool(false))).map(|(k, _)| k).collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[at], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_second_factor_is_recognised_with_its_kinds() {
        let data = json!({"username": "root@pam", "NeedTFA": 1, "CSRFPreventionToken": "x",
            "ticket": "PVE:!tfa!%7B%22totp%22%3Atrue%2C%22recovery%22%3A%22low%22%2C%22u2f%22%3Anull%7D:6B02A6C7::sig"});
        let Answer::SecondFactor(_, mut factors) = Answer::read(&data).unwrap() else { panic!("no second factor") };
        factors.sort();
        assert_eq!(factors, ["recovery", "totp"]);
        let bare = SecondFactor::Code(Secret::new("123456")).answer("root@pam", "pve1", &factors).unwrap();
        assert_eq!(bare.expose(), "totp:123456");
        let named = SecondFactor::Code(Secret::new("recovery:aa-bb")).answer("root@pam", "pve1", &factors).unwrap();
        assert_eq!(named.expose(), "recovery:aa-bb");
        let none = SecondFactor::None.answer("root@pam", "pve1", &factors).unwrap_err();
        assert!(none.to_string().contains("totp"), "{none}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let login = Login::Password {
            user: "root@pam".into(),
            password: Secret::new("hunter2"),
            second_factor: SecondFactor::Code(Secret::new("123456")),
        };
        let ticket = Ticket { ticket: Secret::new("PVE:t"), csrf: Secret::new("c5rf"), since: Instant::now() };
        let shown =
            format!("{login:?} {ticket:?} {:?}", Login::Token { id: "a!b".into(), secret: Secret::new("t0ken") });
        for secret in ["hunter2", "123456", "PVE:t", "c5rf", "t0ken"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
