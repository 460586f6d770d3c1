//! One message: what is said, in the three forms that the ways to people need. It is fixed when it is put in the outbox.

use super::memory::RUN;
use crate::drift::{Finding, Run, Time};
use crate::event::{Outcome, Totals};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// Changes that are told one by one; what is beyond is counted (in JSON `more`).
const MAX_CHANGES: usize = 100;
/// Of a diff in JSON (bytes).
const MAX_DIFF: usize = 4096;
const MAX_SUBJECT: usize = 160;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The same for every try; 16 hexadecimal digits.
    pub id: String,
    pub kind: Kind,
    pub at: Time,
    /// The machine that looked.
    pub by: String,
    pub subject: String,
    /// For mail.
    pub text: String,
    /// For chat: without diffs.
    pub short: String,
    /// For programs.
    pub object: Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Change,
    Digest,
    /// After a run, whether something changed or not.
    Status,
    /// What could not wait for a digest or the end of quiet hours.
    Urgent,
    Test,
}

/// What became of a finding since the channel last heard of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub what: What,
    pub finding: Finding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    New,
    Back,
    /// It was another outcome before.
    Outcome(Outcome),
    /// Its mute ended, and it is still there.
    Unmuted,
    /// There since before, and the channel never heard of it.
    Known,
    Gone,
    /// It came and went between two messages.
    Passed,
}

impl What {
    /// In the order in which they are told.
    pub const ALL: [&'static str; 7] = ["new", "back", "outcome", "unmuted", "known", "gone", "passed"];

    pub fn word(self) -> &'static str {
        Self::ALL[self.rank()]
    }

    pub fn rank(self) -> usize {
        match self {
            Self::New => 0,
            Self::Back => 1,
            Self::Outcome(_) => 2,
            Self::Unmuted => 3,
            Self::Known => 4,
            Self::Gone => 5,
            Self::Passed => 6,
        }
    }

    /// It is not as described now.
    pub fn is_open(self) -> bool {
        self.rank() < Self::Gone.rank()
    }
}

/// What a message is made from.
pub struct Content<'a> {
    pub kind: Kind,
    pub now: Time,
    pub by: &'a str,
    /// Without one it could not be looked at all.
    pub run: Option<(&'a Run, &'a Totals, u8)>,
    pub changes: &'a [Change],
    /// Every finding that is open and not muted.
    pub open: Vec<&'a Finding>,
    /// Where people find the report.
    pub report: &'a str,
    /// "chat: 3 tries since …: the server answered 503"
    pub troubles: Vec<String>,
}

impl Content<'_> {
    pub fn count(&self, what: What) -> usize {
        let is_one = |change: &&Change| change.what.rank() == what.rank() && change.finding.id != RUN;
        self.changes.iter().filter(is_one).count()
    }

    /// What became of runs that could not look.
    fn runs(&self) -> Option<&'static str> {
        let change = self.changes.iter().find(|change| change.finding.id == RUN)?;
        Some(if change.what == What::Gone { "can look again" } else { "could not look for a while" })
    }
}

/// Such that two messages never have the same, also from two machines.
pub fn id(channel: &str, content: &Content<'_>) -> String {
    use sha2::{Digest, Sha256};
    let run = content.run.map(|(run, ..)| (run.id, run.started, &run.by));
    let seed = format!("{channel}\n{:?}\n{}\n{}\n{run:?}", content.kind, content.now, content.by);
    Sha256::digest(seed).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// `converge: pve3: 2 new, 1 gone, 5 differ`.
pub fn subject(content: &Content<'_>) -> String {
    let told: Vec<&Finding> = match content.changes {
        [] => content.open.clone(),
        changes => changes.iter().map(|change| &change.finding).collect(),
    };
    let mut hosts: Vec<&str> = told.iter().map(|finding| finding.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let hosts = match hosts.len() {
        0 => String::new(),
        1..4 => format!("{}: ", hosts.join(", ")),
        many => format!("{many} hosts: "),
    };
    let subject = format!("converge: {hosts}{}", essence(content));
    subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SUBJECT).collect()
}

/// `2 new, 1 gone, 5 differ, 1 could not be told`.
pub fn essence(content: &Content<'_>) -> String {
    if content.run.is_none() {
        return "could not look".to_owned();
    }
    let named = [
        (What::New, "new"),
        (What::Back, "back"),
        (What::Outcome(Outcome::Ok), "changed"),
        (What::Unmuted, "no longer muted"),
        (What::Known, "known"),
        (What::Gone, "gone"),
        (What::Passed, "came and went"),
    ];
    let count =
        |(what, word): (What, &str)| Some(content.count(what)).filter(|n| *n > 0).map(|n| format!("{n} {word}"));
    let runs = content.runs().map(str::to_owned);
    let mut parts: Vec<String> = runs.into_iter().chain(named.into_iter().filter_map(count)).collect();
    let untold = content.open.iter().filter(|f| matches!(f.outcome, Outcome::Failed | Outcome::Unreachable)).count();
    match content.open.len() - untold {
        0 if untold == 0 => parts.push("all as described".into()),
        0 => {}
        1 => parts.push("1 differs".into()),
        n => parts.push(format!("{n} differ")),
    }
    if untold > 0 {
        parts.push(format!("{untold} could not be told"));
    }
    parts.join(", ")
}

/// The object of `docs/design/notify.md`: fields are added at times, never renamed or removed.
pub fn object(id: &str, subject: &str, text: &str, content: &Content<'_>) -> Json {
    let changes = content.changes.iter().take(MAX_CHANGES).map(|change| {
        let mut finding = change.finding.clone();
        finding.diff = cut(&finding.diff, MAX_DIFF);
        let was = match change.what {
            What::Outcome(was) => json!(was),
            _ => Json::Null,
        };
        json!({ "change": change.what.word(), "was": was, "finding": finding })
    });
    let counts: serde_json::Map<String, Json> = What::ALL
        .iter()
        .map(|word| ((*word).to_owned(), content.changes.iter().filter(|c| c.what.word() == *word).count().into()))
        .chain([("open".to_owned(), content.open.len().into())])
        .collect();
    let run = content.run.map(|(run, totals, exit)| {
        json!({
            "id": run.id, "started": run.started, "ended": run.ended, "playbooks": run.playbooks,
            "exit": exit, "totals": totals,
        })
    });
    json!({
        "version": 1,
        "id": id,
        "kind": content.kind,
        "at": super::schedule::rfc3339(content.now),
        "by": content.by,
        "program": env!("CARGO_PKG_VERSION"),
        "subject": subject,
        "text": text,
        "report": content.report,
        "run": run,
        "counts": counts,
        "changes": changes.collect::<Vec<_>>(),
        "more": content.changes.len().saturating_sub(MAX_CHANGES),
        "open": content.open.iter().take(1000).map(|finding| &finding.id).collect::<Vec<_>>(),
    })
}

/// At most so many bytes, by whole lines, with a word on what is left out.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most);
    let end = text[..end].rfind('\n').map_or(end, |at| at + 1);
    let left = text[end..].lines().count();
    format!("{}\n[{left} more lines: see the report]\n", text[..end].trim_end_matches('\n'))
}
