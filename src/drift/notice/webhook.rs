//! One POST to a webhook: certificates are verified, a redirect leads to no other host, an answer is read to a limit.
//!
//! Nothing of the address, the headers or the far end's answer comes into an error: each may hold the secret.

use super::config::{Config, Format, Webhook};
use super::message::Message;
use super::outbox::Failure;
use crate::inventory::path_from;
use crate::pve::{Trust, tls_config};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Response, StatusCode, Url};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Discord takes 2000 characters, most others some thousands.
const MAX_CHARS: usize = 1900;
const MAX_REDIRECTS: usize = 3;

/// What is wrong with an address, and what to do.
pub fn check_url(url: &str, plaintext: bool) -> Result<(), (String, &'static str)> {
    let Ok(url) = Url::parse(url) else {
        return Err(("this is no URL".into(), "as in https://chat.example.org/hooks/drift"));
    };
    let is_here = is_loopback(&url);
    match url.scheme() {
        "https" => {}
        "http" if is_here || plaintext => {}
        "http" => {
            let help = "write https, or `plaintext: true` where nobody on the way matters";
            return Err(("what is told would go over the network unprotected".into(), help));
        }
        other => return Err((format!("`{other}` is no way to a webhook"), "write https")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        let help = "use `headers: { Authorization: { file: PATH } }`, or `url_from`";
        return Err(("a password stands in the URL".into(), help));
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        None => false,
    }
}

/// What is posted.
pub fn body(hook: &Webhook, message: &Message) -> Json {
    match hook.format {
        Format::Json => message.object.clone(),
        Format::Text => {
            let text = format!("{}\n{}", message.subject, message.short);
            let text = harmless(&shortened(text.trim_end(), hook.max_chars.unwrap_or(MAX_CHARS)));
            let mut body = json!({ hook.field.as_str(): text });
            if hook.field == "content" {
                // Discord: nobody is called, whatever a text says.
                body["allowed_mentions"] = json!({ "parse": [] });
            }
            body
        }
    }
}

/// Cut to so many characters, by whole lines.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let last = text.lines().rev().find(|line| line.starts_with("Report: ")).unwrap_or_default();
    let tail: String = format!("\n[cut]\n{last}").chars().take(most / 2).collect();
    let room = most - tail.chars().count();
    let end = text.char_indices().nth(room).map_or(text.len(), |(at, _)| at);
    let end = text[..end].rfind('\n').unwrap_or(end);
    format!("{}{tail}", &text[..end])
}

/// Text that calls nobody: a host or a file may be named `@everyone`, or hold `<!channel>`.
fn harmless(text: &str) -> String {
    let mut text = text.replace("<!", "<\u{200b}!").replace("<@", "<\u{200b}@").replace("<#", "<\u{200b}#");
    for word in ["@everyone", "@here", "@channel", "@all", "@room"] {
        text = text.replace(word, &word.replace('@', "@\u{200b}"));
    }
    text
}

/// Posts once.
///
/// # Errors
/// Why it did not arrive, or is not known to have.
pub fn post(config: &Config, hook: &Webhook, message: &Message) -> Result<(), Failure> {
    let own = |why: String| Failure { why, unsure: false, whole_channel: true, pause_s: None };
    let url = match (&hook.url, &hook.url_from) {
        (Some(url), _) => url.clone(),
        (None, Some(source)) => source.get("address of the webhook", &config.folder).map_err(own)?.expose().to_owned(),
        (None, None) => return Err(own("the webhook has no address".into())),
    };
    check_url(&url, hook.plaintext).map_err(|(message, help)| own(format!("{message}: {help}")))?;
    let url = Url::parse(&url).map_err(|_| own("this is no URL".into()))?;
    let headers = headers(config, hook, message).map_err(own)?;
    let body = body(hook, message).to_string();
    let client = client(config, hook, &url).map_err(own)?;
    let deadline = Duration::from_secs(hook.deadline_s);
    let work = async move {
        let sent = client.post(url).headers(headers).body(body).timeout(deadline).send();
        match tokio::time::timeout(deadline, sent).await {
            Ok(Ok(response)) => judge(&response),
            Ok(Err(error)) => Err(failure(&error, deadline)),
            Err(_) => Err(Failure { unsure: true, ..own(no_answer(deadline)) }),
        }
    };
    // On a thread of its own: the caller may belong to another runtime, where waiting is forbidden.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|e| format!("no runtime: {e}")).map(|runtime| runtime.block_on(work))
    })
    .join()
    .unwrap_or_else(|_| Err("the request ended in a fault of the program".into()))
    .map_err(own)?
}

fn headers(config: &Config, hook: &Webhook, message: &Message) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("user-agent", HeaderValue::from_static(concat!("converge/", env!("CARGO_PKG_VERSION"))));
    // The same for every try, so that the far end can drop a second one.
    if let Ok(id) = HeaderValue::from_str(&message.id) {
        headers.insert("idempotency-key", id);
    }
    for (name, source) in &hook.headers {
        let secret = source.get(&format!("header {name}"), &config.folder)?;
        let mut value = HeaderValue::from_str(secret.expose())
            .map_err(|_| format!("header {name}: its value holds characters that no header may have"))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("header {name}: no name"))?, value);
    }
    Ok(headers)
}

fn client(config: &Config, hook: &Webhook, url: &Url) -> Result<reqwest::Client, String> {
    let tls = if url.scheme() == "https" {
        let trust = match &hook.ca_file {
            Some(path) => Trust::CaFile(path_from(path, &config.folder)),
            None => Trust::System,
        };
        tls_config(&trust).map_err(|e| e.to_string())?
    } else {
        // Believes nobody: no https is spoken.
        rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    };
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(Policy::custom(redirect))
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(hook.deadline_s))
        .pool_max_idle_per_host(0);
    // A proxy of the environment is for the way out, not for this machine.
    let client = if is_loopback(url) { client.no_proxy() } else { client };
    client.build().map_err(|_| "the client cannot be built".into())
}

/// Only where the message goes along (307, 308), and only to the same host, port and scheme. After a 301, 302 or 303 a
/// GET without the message would follow, whose 200 says nothing.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let keeps = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let to = attempt.url().origin();
    let is_same = attempt.previous().iter().all(|from| from.origin() == to);
    if keeps && is_same && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
}

/// The status alone decides; the answer's body is not read, however long it is.
fn judge(response: &Response) -> Result<(), Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let why = match status.as_u16() {
        300..=399 => {
            format!("the server redirects ({status}) to where the message must not follow: correct the address")
        }
        401 | 403 => format!("the server refuses us ({status}): is the secret right?"),
        404 | 410 => format!("the server knows no such webhook ({status})"),
        _ => format!("the server answered {status}"),
    };
    let about_message = matches!(status.as_u16(), 400 | 413 | 415 | 422);
    let pause = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    // A server that fails in the middle may have passed the message on.
    let unsure = matches!(status.as_u16(), 500 | 502 | 504);
    Err(Failure { why, unsure, whole_channel: !about_message, pause_s: pause })
}

/// The causes, without the address.
fn failure(error: &reqwest::Error, deadline: Duration) -> Failure {
    let mut cause = std::error::Error::source(error);
    let mut causes = Vec::new();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let last = causes.pop().unwrap_or_else(|| "the request failed".into());
    let why = match error {
        _ if error.is_timeout() => no_answer(deadline),
        _ if error.is_connect() => format!("the server cannot be reached: {last}"),
        _ => format!("the server gave no answer: {last}"),
    };
    Failure { why, unsure: !error.is_connect() && !error.is_builder(), whole_channel: true, pause_s: None }
}

fn no_answer(deadline: Duration) -> String {
    format!("no answer within {} s", deadline.as_secs())
}
