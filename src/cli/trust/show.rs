//! What was seen, for people and for programs, and what to do now. Texts of certificates arrive here made harmless.

use super::Ground;
use super::seen::{Met, Seen};
use super::write::Written;
use crate::inventory::cluster::Tls;
use crate::pve::{Certificate, Doubt, Fingerprint};
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

const NAMES: usize = 20;

struct Paint(bool);

impl Paint {
    fn with(&self, style: Style, text: &str) -> String {
        if self.0 { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn good(&self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    fn bad(&self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }
}

pub fn text(ground: &Ground, colour: bool) -> String {
    let paint = Paint(colour);
    let mut text = String::new();
    for seen in &ground.seen {
        text.push_str(&format!("{}\n", paint.with(Style::new().bold(), &name(seen))));
        match &seen.met {
            Err(why) => text.push_str(&format!("  {}  {why}\n", paint.bad("not reached"))),
            Ok(met) => text.push_str(&block(met, ground, &paint)),
        }
        text.push('\n');
    }
    text
}

/// With the port, where the file leaves it out.
fn name(seen: &Seen) -> String {
    seen.met.as_ref().map_or_else(|_| seen.endpoint.clone(), |met| met.presented.entry.clone())
}

fn block(met: &Met, ground: &Ground, paint: &Paint) -> String {
    let mut lines = vec![("SHA-256", met.fingerprint.to_string())];
    match &met.certificate {
        Ok(says) => {
            let mut names: Vec<&str> = says.names.iter().take(NAMES).map(String::as_str).collect();
            let more = format!("and {} more", says.names.len().saturating_sub(NAMES));
            names.extend((says.names.len() > NAMES).then_some(more.as_str()));
            lines.extend([
                ("subject", says.subject.to_string()),
                ("issuer", says.issuer.to_string()),
                ("valid", validity(says)),
                ("names", if names.is_empty() { "none".into() } else { names.join(", ") }),
            ]);
        }
        Err(why) => lines.push(("content", why.clone())),
    }
    let judge = ground.judge();
    match met.doubts.as_slice() {
        [] => lines.push(("believed", format!("{}, by {judge}", paint.good("yes")))),
        _ if met.changed => lines.push(("believed", paint.bad("NO: THE CERTIFICATE CHANGED"))),
        [doubt] => lines.push(("believed", format!("{}, by {judge}: {doubt}", paint.bad("no")))),
        doubts => {
            lines.push(("believed", format!("{}, by {judge}:", paint.bad("no"))));
            lines.extend(doubts.iter().map(|doubt| ("", format!("- {doubt}"))));
        }
    }
    if met.changed {
        let (gone, key) = (unshown(ground), |at| if at == 0 { "  pinned" } else { "" });
        lines.extend(gone.iter().enumerate().map(|(at, pin)| (key(at), pin.to_string())));
        lines.push(("  met", met.fingerprint.to_string()));
    }
    lines.iter().map(|(key, value)| format!("  {key:<10}{value}\n")).collect()
}

/// Pins that no endpoint shows.
pub fn unshown(ground: &Ground) -> Vec<Fingerprint> {
    ground.pinned().iter().copied().filter(|pin| !ground.met().any(|met| met.fingerprint == *pin)).collect()
}

fn validity(says: &Certificate) -> String {
    let (now, day) = (Timestamp::now().as_second(), 86_400);
    let days = |seconds: i64| match seconds / day {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let left = if now < says.not_before_s {
        format!("begins in {}", days(says.not_before_s - now))
    } else if now > says.not_after_s {
        format!("EXPIRED {} ago", days(now - says.not_after_s))
    } else {
        format!("ends in {}", days(says.not_after_s - now))
    };
    format!("{} to {} ({left})", date(says.not_before_s), date(says.not_after_s))
}

fn date(seconds: i64) -> String {
    moment(seconds).map_or_else(
        || format!("{seconds} s after 1970-01-01 00:00:00 UTC"),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

fn moment(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds).ok()
}

/// What a person can do about certificates that are not believed. As loud as ssh where one changed.
pub fn what_now(ground: &Ground, colour: bool) -> String {
    let paint = Paint(colour);
    let file = ground.cluster.path.display();
    let doubted: Vec<&Met> = ground.met().filter(|met| !met.is_believed()).collect();
    let reached = ground.met().count();
    let mut parts: Vec<String> = Vec::new();
    for met in doubted.iter().filter(|met| met.changed) {
        parts.push(warning(met, ground, &paint));
    }
    if reached < ground.seen.len() {
        parts.push(format!(
            "{} of {} not reached: what they show is not known, and nothing can be written until they answer.",
            ground.seen.len() - reached,
            ground.seen.len()
        ));
    }
    if doubted.is_empty() {
        if reached > 0 {
            parts
                .push(format!("{reached} of {} believed. {}", ground.seen.len(), advice(ground)).trim_end().to_owned());
        }
        return parts.join("\n\n");
    }
    parts.push(compare());
    let replace = match doubted.iter().any(|met| met.changed) {
        true => " --replace OLD-PIN",
        false => "",
    };
    parts.push(format!(
        "Then let it be written:\n  \
         converge trust -i {file} --write ca{replace}\n      the cluster's own authority; lasts when nodes renew their \
         certificates\n  \
         converge trust -i {file} --write pins{replace}\n      these certificates, also where some are of ACME\n\
         Each asks whether you have compared, or takes `--expect SHA256:…`. One node is enough: it tells those of the others."
    ));
    parts.join("\n\n")
}

/// How the true fingerprint is found out.
pub fn compare() -> String {
    "Compare the fingerprint on the node itself (its console, or an ssh whose host key you know), with one of:\n  \
     pvenode cert info      pveproxy-ssl.pem where it is listed, else pve-ssl.pem\n  \
     openssl x509 -in /etc/pve/local/pve-ssl.pem -noout -fingerprint -sha256\n                         \
     pveproxy-ssl.pem in its place where that file is there"
        .to_owned()
}

fn advice(ground: &Ground) -> &'static str {
    match &ground.cluster.tls {
        Tls::Fingerprints(_) => {
            "Pins break when a node renews its certificate (Proxmox VE does with less than 14 days left); \
             `--write ca` lasts."
        }
        _ => "",
    }
}

fn warning(met: &Met, ground: &Ground, paint: &Paint) -> String {
    let head = format!("THE CERTIFICATE OF {} HAS CHANGED", met.presented.entry);
    let rule = "@".repeat(head.len() + 10);
    let gone: Vec<String> = unshown(ground).iter().map(|pin| format!("pinned  {pin}")).collect();
    format!(
        "{}\n{}\nmet     {}\n\
         Somebody may stand between you and the node. Or it renewed its certificate (Proxmox VE does with less than 14 \
         days left),\nor got another one. Nothing was sent, and nobody logs in there until you have compared it.",
        paint.bad(&format!("{rule}\n@    {head}    @\n{rule}")),
        gone.join("\n"),
        met.fingerprint
    )
}

pub fn endpoint(seen: &Seen) -> Json {
    let mut json = json!({ "endpoint": seen.endpoint, "reached": seen.met.is_ok() });
    let met = match &seen.met {
        Ok(met) => met,
        Err(why) => {
            json["error"] = json!(why);
            return json;
        }
    };
    json["url"] = json!(met.presented.entry);
    json["fingerprint"] = json!(met.fingerprint.to_string());
    if let Ok(says) = &met.certificate {
        let at = |seconds| moment(seconds).map_or(Json::Null, |at| json!(at.to_string()));
        json["subject"] = json!(says.subject.to_string());
        json["issuer"] = json!(says.issuer.to_string());
        json["not_before"] = at(says.not_before_s);
        json["not_after"] = at(says.not_after_s);
        json["names"] = json!(says.names);
    }
    json["believed"] = json!(met.is_believed());
    json["changed"] = json!(met.changed);
    let doubt = |doubt: &Doubt| {
        let mut json = json!({ "kind": doubt.kind(), "text": doubt.to_string() });
        if let Doubt::NotPinned { pinned } = doubt {
            json["pinned"] = pinned.iter().map(|pin| json!(pin.to_string())).collect();
        }
        json
    };
    json["doubts"] = met.doubts.iter().map(doubt).collect();
    json
}

/// The last line of `-o jsonl`.
pub fn end(ground: &Ground, code: u8, written: Option<&Result<Written, String>>) -> Json {
    let tls = match &ground.cluster.tls {
        Tls::System => "system",
        Tls::CaFile(_) => "ca_file",
        Tls::Fingerprints(_) => "fingerprints",
    };
    json!({
        "mode": "trust", "exit": code, "inventory": ground.cluster.path, "tls": tls,
        "written": written.and_then(|written| written.as_ref().ok()).map(Written::json),
        "error": written.and_then(|written| written.as_ref().err()),
    })
}

pub fn json(ground: &Ground, code: u8, written: Option<&Result<Written, String>>) -> Json {
    let mut json = end(ground, code, written);
    json["endpoints"] = ground.seen.iter().map(endpoint).collect();
    json
}
