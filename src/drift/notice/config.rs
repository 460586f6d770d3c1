//! `notify.yml`: who is told, by which way, when. Without the file nobody is told.
//!
//! A file that does not read is never half obeyed: every fault is given back with its place. A secret never stands in
//! the file itself; one that does is refused without being shown.

use super::schedule::{DIGEST_FORMS, Digest, QUIET_FORMS, QuietHours};
use crate::diagnostic::{Fault, Sources, Span, did_you_mean};
use crate::event::Outcome;
use crate::inventory::cluster::Source;
use crate::yaml::{self, Node};
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PER_HOUR: u32 = 6;
const GIVE_UP_DAYS: u32 = 7;
const DEADLINE_S: u64 = 20;

#[derive(Debug, Clone)]
pub struct Config {
    /// In the order of their names.
    pub channels: Vec<Channel>,
    /// Of quiet hours, digests and the times in messages.
    pub zone: TimeZone,
    /// How long a message is tried (seconds).
    pub give_up_s: i64,
    /// Where people find the report; else its path is told.
    pub report_url: Option<String>,
    /// Where relative paths begin.
    pub folder: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Channel {
    pub name: String,
    pub way: Way,
    pub on: On,
    pub digest: Option<Digest>,
    pub quiet: Option<QuietHours>,
    /// Findings of these outcomes are told.
    pub outcomes: Vec<Outcome>,
    /// Findings of these outcomes wait neither for the end of quiet hours nor for a digest.
    pub urgent: Vec<Outcome>,
    /// At most so many messages an hour; what is beyond is summed up in the next.
    pub per_hour: u32,
}

#[derive(Debug, Clone)]
pub enum Way {
    Mail(Mail),
    Webhook(Webhook),
}

/// When there is something to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// New, back, gone, another outcome, the end of a mute; once when it could not be looked at all.
    #[default]
    Change,
    /// After every run.
    Always,
    Never,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    #[serde(default = "root")]
    pub to: Vec<String>,
    #[serde(default = "one_root")]
    pub from: String,
    /// Before every subject, with a space between.
    #[serde(default)]
    pub subject_prefix: String,
    /// Reads a mail with its headers from standard input, and the recipients from these.
    #[serde(default = "sendmail")]
    pub command: Vec<String>,
    #[serde(default = "deadline")]
    pub deadline_s: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// One of the two: the address, or where it comes from when it holds a secret (as those of most chat systems do).
    pub url: Option<String>,
    pub url_from: Option<Source>,
    #[serde(default)]
    pub headers: BTreeMap<String, Source>,
    #[serde(default)]
    pub format: Format,
    /// `format: text`: the key under which the text stands. Slack, Mattermost, Teams: `text`; Discord: `content`.
    #[serde(default = "text")]
    pub field: String,
    /// `format: text`: a longer text is cut (characters).
    pub max_chars: Option<usize>,
    /// A PEM file with the authorities to trust instead of this machine's.
    pub ca_file: Option<PathBuf>,
    /// Allows http:// to another machine: whoever is on the way reads and changes what is told.
    #[serde(default)]
    pub plaintext: bool,
    /// For all of one try (seconds).
    #[serde(default = "deadline")]
    pub deadline_s: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The object of `docs/design/notify.md`.
    #[default]
    Json,
    /// `{"text": "…"}`.
    Text,
}

fn root() -> Vec<String> {
    vec!["root".into()]
}
fn one_root() -> String {
    "root".into()
}
fn sendmail() -> Vec<String> {
    crate::mail::SENDMAIL.map(str::to_owned).to_vec()
}
fn deadline() -> u64 {
    DEADLINE_S
}
fn text() -> String {
    "text".into()
}

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Drifted,
    Blocked,
    Failed,
    Unreachable,
}

impl From<Word> for Outcome {
    fn from(word: Word) -> Self {
        match word {
            Word::Drifted => Self::Drifted,
            Word::Blocked => Self::Blocked,
            Word::Failed => Self::Failed,
            Word::Unreachable => Self::Unreachable,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    timezone: Option<String>,
    give_up_after_days: Option<u32>,
    report_url: Option<String>,
    channels: BTreeMap<String, ChannelFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelFields {
    mail: Option<Mail>,
    webhook: Option<Webhook>,
    #[serde(default)]
    on: On,
    digest: Option<String>,
    quiet_hours: Option<String>,
    outcomes: Option<Vec<Word>>,
    #[serde(default)]
    urgent: Vec<Word>,
    per_hour: Option<u32>,
}

impl Config {
    /// Reads the file. It gets no secret yet: that is done when a message is sent.
    ///
    /// # Errors
    /// Every fault with its place in `sources`.
    pub fn read(path: &Path, sources: &mut Sources) -> Result<Self, Vec<Fault>> {
        let file = yaml::read(path, sources).map_err(|fault| vec![fault])?;
        let root = yaml::parse(sources, file)?;
        let faults = plain_secrets(&root);
        if !faults.is_empty() {
            // Decoding would tell the same faults in words that quote the secret.
            return Err(faults);
        }
        let fields: Fields = yaml::decode_as(&root, Some("notify.yml"))?;
        let mut faults = Faults { root: &root, found: Vec::new() };
        let zone = zone(fields.timezone.as_deref(), &mut faults);
        let days = fields.give_up_after_days.unwrap_or(GIVE_UP_DAYS);
        if !(1..=365).contains(&days) {
            faults.at(&["give_up_after_days"], "not from 1 to 365", "a message that cannot be sent is tried so long");
        }
        if fields.channels.is_empty() {
            faults.at(&["channels"], "no channel is given", "as in `channels: { root: { mail: { to: [root] } } }`");
        }
        if fields.report_url.as_ref().is_some_and(|url| reqwest::Url::parse(url).is_err()) {
            faults.at(&["report_url"], "this is no URL", "as in https://pve1.example.org/drift/");
        }
        let mut channels = Vec::new();
        for (name, fields) in fields.channels {
            channels.extend(channel(name, fields, &mut faults));
        }
        if !faults.found.is_empty() {
            return Err(faults.found);
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { channels, zone, give_up_s: i64::from(days) * 86_400, report_url: fields.report_url, folder })
    }

    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.name == name)
    }
}

/// Finds the place for a fault by keys.
struct Faults<'a> {
    root: &'a Node,
    found: Vec<Fault>,
}

impl Faults<'_> {
    /// At the value under these keys, or at the last of them that is written.
    fn place(&self, keys: &[&str]) -> Span {
        let mut node = self.root;
        for key in keys {
            match node.get(key) {
                Some(next) => node = next,
                None => break,
            }
        }
        node.span
    }

    fn at(&mut self, keys: &[&str], message: impl Into<String>, help: impl Into<String>) {
        self.found.push(Fault::new(self.place(keys), message).help(help));
    }
}

fn zone(name: Option<&str>, faults: &mut Faults<'_>) -> TimeZone {
    let Some(name) = name else { return TimeZone::system() };
    TimeZone::get(name).unwrap_or_else(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let help = did_you_mean(name, known.iter().map(String::as_str));
        let help = help.unwrap_or_else(|| match known.is_empty() {
            true => "this machine has no time zones: install the package tzdata".into(),
            false => "as in Europe/Berlin; `timedatectl list-timezones` shows them".into(),
        });
        faults.at(&["timezone"], format!("there is no time zone `{name}` on this machine"), help);
        TimeZone::UTC
    })
}

fn channel(name: String, fields: ChannelFields, faults: &mut Faults<'_>) -> Option<Channel> {
    let here = |rest: &[&'static str]| -> Vec<String> {
        let base = ["channels", name.as_str()].into_iter().chain(rest.iter().copied());
        base.map(str::to_owned).collect()
    };
    let before = faults.found.len();
    let mut wrong = |rest: &[&'static str], message: String, help: &str| {
        let keys = here(rest);
        faults.at(&keys.iter().map(String::as_str).collect::<Vec<_>>(), message, help);
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_fine) {
        wrong(&[], format!("`{}` is no name of a channel", name.escape_debug()), "letters, digits, `-`, `_` and `.`");
    }
    let digest = fields.digest.as_deref().map(|text| Digest::parse(text).ok_or(text));
    if let Some(Err(text)) = digest {
        wrong(&["digest"], format!("`{text}` is no time for a digest"), DIGEST_FORMS);
    }
    let quiet = fields.quiet_hours.as_deref().map(|text| QuietHours::parse(text).ok_or(text));
    if let Some(Err(text)) = quiet {
        wrong(&["quiet_hours"], format!("`{text}` are no hours"), QUIET_FORMS);
    }
    let (digest, quiet) = (digest.and_then(Result::ok), quiet.and_then(Result::ok));
    if let (Some(time), Some(quiet)) = (digest.and_then(|d| d.time()), quiet)
        && quiet.has(time)
    {
        let help = "move one of them: the digest would always be late";
        wrong(&["digest"], "the digest lies in the quiet hours".into(), help);
    }
    if !fields.urgent.is_empty() && digest.is_none() && quiet.is_none() {
        let help = "it says what does not wait for `digest` or `quiet_hours`, and neither is given";
        wrong(&["urgent"], "`urgent` has nothing to break through".into(), help);
    }
    let per_hour = fields.per_hour.unwrap_or(PER_HOUR);
    if per_hour == 0 {
        wrong(&["per_hour"], "a channel that may send nothing".into(), "`on: never` switches it off");
    }
    let way = match (fields.mail, fields.webhook) {
        (Some(mail), None) => {
            check_mail(&mail, &mut wrong);
            Some(Way::Mail(mail))
        }
        (None, Some(webhook)) => {
            check_webhook(&webhook, &mut wrong);
            Some(Way::Webhook(webhook))
        }
        _ => {
            wrong(&[], "a channel is either `mail` or `webhook`".into(), "give one of the two");
            None
        }
    };
    let all = vec![Word::Drifted, Word::Blocked, Word::Failed, Word::Unreachable];
    let outcomes: Vec<Outcome> = fields.outcomes.unwrap_or(all).into_iter().map(Outcome::from).collect();
    if outcomes.is_empty() {
        wrong(&["outcomes"], "no outcome would be told".into(), "`on: never` switches the channel off");
    }
    let way = way.filter(|_| faults.found.len() == before)?;
    let urgent = fields.urgent.into_iter().map(Outcome::from).collect();
    Some(Channel { name, way, on: fields.on, digest, quiet, outcomes, urgent, per_hour })
}

type Wrong<'a> = dyn FnMut(&[&'static str], String, &str) + 'a;

fn check_mail(mail: &Mail, wrong: &mut Wrong<'_>) {
    if mail.to.is_empty() {
        wrong(&["mail", "to"], "nobody would get the mail".into(), "as in `to: [root]`");
    }
    for to in mail.to.iter().filter(|to| !crate::mail::is_address(to)) {
        let help = "one address without a name, as in root or ops@example.org";
        wrong(&["mail", "to"], format!("`{}` is no address", to.escape_debug()), help);
    }
    if !crate::mail::is_address(&mail.from) {
        let help = "one address without a name, as in root or converge@example.org";
        wrong(&["mail", "from"], format!("`{}` is no address", mail.from.escape_debug()), help);
    }
    if mail.subject_prefix.chars().count() > 60 || mail.subject_prefix.contains(char::is_control) {
        wrong(&["mail", "subject_prefix"], "not one short line".into(), "at most 60 characters");
    }
    if mail.command.first().is_none_or(String::is_empty) {
        wrong(&["mail", "command"], "no program is given".into(), "as in `command: [sendmail, -i, -t]`");
    }
    check_deadline("mail", mail.deadline_s, wrong);
}

fn check_deadline(way: &'static str, seconds: u64, wrong: &mut Wrong<'_>) {
    if !(1..=120).contains(&seconds) {
        wrong(&[way, "deadline_s"], "not from 1 to 120".into(), "how long one try may take, in seconds");
    }
}

fn check_webhook(hook: &Webhook, wrong: &mut Wrong<'_>) {
    match (&hook.url, &hook.url_from) {
        (Some(url), None) => {
            if let Err((message, help)) = super::webhook::check_url(url, hook.plaintext) {
                wrong(&["webhook", "url"], message, help);
            }
        }
        (None, Some(_)) => {}
        _ => {
            let help = "`url: https://…`, or `url_from:` with { env: NAME }, { file: PATH } or { command: [...] }";
            wrong(&["webhook"], "a webhook has either `url` or `url_from`".into(), help);
        }
    }
    let nobody = "a run on a schedule has nobody to ask: { env: NAME }, { file: PATH } or { command: [...] }";
    if hook.url_from == Some(Source::Prompt) {
        wrong(&["webhook", "url_from"], "a prompt cannot be answered".into(), nobody);
    }
    for (name, source) in &hook.headers {
        let header = reqwest::header::HeaderName::from_bytes(name.as_bytes());
        let ours = ["host", "content-length", "content-type", "transfer-encoding", "connection"];
        if header.is_err() || ours.contains(&name.to_ascii_lowercase().as_str()) {
            let message = format!("`{}` is no header that can be set", name.escape_debug());
            wrong(&["webhook", "headers"], message, "as in Authorization");
        }
        if *source == Source::Prompt {
            wrong(&["webhook", "headers"], "a prompt cannot be answered".into(), nobody);
        }
    }
    if hook.format == Format::Json && (hook.field != "text" || hook.max_chars.is_some()) {
        let help = "`format: text` is the one that chat systems take";
        wrong(&["webhook"], "`field` and `max_chars` belong to `format: text`".into(), help);
    }
    if hook.field.is_empty() || hook.max_chars.is_some_and(|most| most < 200) {
        wrong(&["webhook", "max_chars"], "there is no room for a message".into(), "at least 200");
    }
    check_deadline("webhook", hook.deadline_s, wrong);
}

/// A secret written out: the fault stands at its key, and the value is never shown.
fn plain_secrets(root: &Node) -> Vec<Fault> {
    let channels = root.get("channels").and_then(Node::entries).unwrap_or_default();
    let hooks = channels.iter().filter_map(|(_, channel)| channel.get("webhook"));
    let places = hooks.flat_map(|hook| {
        let address = hook.entries().unwrap_or_default().iter().filter(|(key, _)| key.as_str() == Some("url_from"));
        address.chain(hook.get("headers").and_then(Node::entries).unwrap_or_default())
    });
    let plain = places.filter(|(_, value)| value.as_str().is_some_and(|text| text != "prompt") && !value.is_null());
    plain
        .map(|(key, _)| {
            let name = key.as_str().unwrap_or_default();
            Fault::new(key.span, format!("`{name}` says where the secret comes from; here it stands itself"))
                .help("write { env: NAME }, { file: PATH } (mode 0600) or { command: [program, argument] }")
        })
        .collect()
}
