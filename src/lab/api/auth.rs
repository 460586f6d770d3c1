//! Tickets, CSRF tokens and API tokens: who is asking.
//! It grants nothing; what a known asker may do is `acl`'s business.

use super::acl::Identity;
use super::request::{Fault, Request, percent_decode};
use super::state::{Cluster, hex};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// What must not be in the lab's readable state.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Secrets {
    /// The password of root@pam, on every node.
    pub root_password: String,
    /// Signs tickets, hex.
    pub key: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// Seconds a ticket lives, and how far in the future one may be dated.
const TICKET_LIFE_S: i64 = 2 * 3600;
const TICKET_AHEAD_S: i64 = 300;
const TERMINAL_TICKET_LIFE_S: i64 = 40;

impl Secrets {
    /// Keyed twice, so that knowing one signature does not allow extending the text.
    fn sign(&self, text: &str) -> String {
        let inner = Sha256::digest(format!("{}\n{text}", self.key));
        STANDARD.encode(Sha256::new().chain_update(&self.key).chain_update(inner).finalize())
    }

    pub fn ticket(&self, user: &str, now_s: i64) -> String {
        let plain = format!("PVE:{user}:{now_s:08X}");
        format!("{plain}::{}", self.sign(&plain))
    }

    pub fn csrf(&self, user: &str, now_s: i64) -> String {
        format!("{now_s:08X}:{}", self.sign(&format!("csrf {now_s:08X}:{user}")))
    }

    /// The user a valid ticket names.
    fn verify_ticket(&self, ticket: &str, now_s: i64) -> Option<String> {
        let (plain, signature) = ticket.split_once("::")?;
        if self.sign(plain) != signature {
            return None;
        }
        let (user, time) = plain.strip_prefix("PVE:")?.rsplit_once(':')?;
        let age = now_s - i64::from_str_radix(time, 16).ok()?;
        (-TICKET_AHEAD_S..TICKET_LIFE_S).contains(&age).then(|| user.to_string())
    }

    /// A ticket for one terminal: bound to the user, the node's path and the port.
    pub fn terminal_ticket(&self, user: &str, path: &str, port: u16, now_s: i64) -> String {
        let plain = format!("PVEVNC:{now_s:08X}");
        format!("{plain}::{}", self.sign(&format!("{plain}:{user}:{path}:{port}")))
    }

    pub fn is_terminal_ticket(&self, ticket: &str, user: &str, path: &str, port: u16, now_s: i64) -> bool {
        let made = ticket.strip_prefix("PVEVNC:").and_then(|rest| rest.split_once("::"));
        let made = made.and_then(|(time, _)| i64::from_str_radix(time, 16).ok());
        made.is_some_and(|made| {
            (-20..TERMINAL_TICKET_LIFE_S).contains(&(now_s - made))
                && self.terminal_ticket(user, path, port, made) == ticket
        })
    }

    fn verify_csrf(&self, token: &str, user: &str, now_s: i64) -> bool {
        let Some((time, signature)) = token.split_once(':') else { return false };
        let Ok(made) = i64::from_str_radix(time, 16) else { return false };
        (-TICKET_AHEAD_S..TICKET_LIFE_S).contains(&(now_s - made))
            && self.sign(&format!("csrf {time}:{user}")) == signature
    }
}

/// Who asks, or the refusal without a body. `upload` requests need no CSRF token.
pub fn identify(
    cluster: &Cluster,
    secrets: &Secrets,
    request: &Request,
    now_s: i64,
    upload: bool,
) -> Result<Identity, Fault> {
    let refuse = |text: &str| Fault::Bare(401, text.into());
    if let Some(token) = request.header("authorization").and_then(|value| value.strip_prefix("PVEAPIToken=")) {
        return api_token(cluster, token, now_s).ok_or_else(|| refuse("Authentication failed!"));
    }
    let ticket = request
        .header("cookie")
        .and_then(|cookies| cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("PVEAuthCookie=")))
        .ok_or_else(|| refuse("No ticket"))?;
    let ticket = percent_decode(ticket, false);
    let user = secrets
        .verify_ticket(&ticket, now_s)
        .filter(|user| cluster.users.get(user).is_some_and(|user| user.enabled))
        .ok_or_else(|| refuse("permission denied - invalid PVE ticket"))?;
    if request.method != "GET" && !upload {
        let csrf = request.header("csrfpreventiontoken").unwrap_or_default();
        if !secrets.verify_csrf(csrf, &user, now_s) {
            return Err(refuse("Permission denied - invalid csrf token"));
        }
    }
    Ok(Identity { user, token: None })
}

fn api_token(cluster: &Cluster, text: &str, now_s: i64) -> Option<Identity> {
    let (id, secret) = text.split_once('=')?;
    let (user, name) = id.split_once('!')?;
    let token = cluster.users.get(user).filter(|user| user.enabled)?.tokens.get(name)?;
    let fresh = token.expire == 0 || token.expire > now_s;
    (fresh && token.secret_sha256 == hash(secret))
        .then(|| Identity { user: user.to_string(), token: Some(name.to_string()) })
}

/// Whether this password, or a ticket that is still valid, belongs to `user`.
pub fn login(cluster: &Cluster, secrets: &Secrets, user: &str, password: &str, now_s: i64) -> bool {
    let Some(account) = cluster.users.get(user).filter(|account| account.enabled) else { return false };
    if secrets.verify_ticket(password, now_s).is_some_and(|named| named == user) {
        return true;
    }
    if user == "root@pam" {
        return password == secrets.root_password;
    }
    account.password.as_ref().is_some_and(|(salt, kept)| *kept == hash(&format!("{salt}{password}")))
}

pub fn hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// `bytes` random bytes from the kernel.
pub fn random(bytes: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut buffer = vec![0; bytes];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    Ok(buffer)
}
