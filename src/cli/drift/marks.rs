//! `converge drift list|show|ack|mute|unmark|forget`.

use super::{Folder, author, complain, layout, now};
use crate::drift::folder::Folder as ReportFolder;
use crate::drift::history::{self, Asked, History, HistoryError};
use crate::drift::{Finding, MarkKind, Time, forms};
use crate::exit;
use clap::Parser;
use jiff::tz::TimeZone;
use jiff::{SpanRelativeTo, Timestamp, civil};
use std::path::PathBuf;

#[derive(Debug, Parser)]
pub struct List {
    #[command(flatten)]
    folder: Folder,
    /// Also what is gone
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Parser)]
pub struct Show {
    /// The finding: at least four digits of its id
    id: String,
    #[command(flatten)]
    folder: Folder,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Parser)]
pub struct Which {
    /// Findings: at least four digits of each id
    #[arg(required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Parser)]
pub struct Mark {
    #[command(flatten)]
    which: Which,
    /// Why; whoever reads it in a month will want to know
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long: 90m, 8h, 7d, 2w
    #[arg(long = "for", value_name = "TIME", conflicts_with_all = ["until", "until_gone"])]
    lasting: Option<String>,
    /// Until when: 2026-12-24, 2026-12-24T18:00 (this machine's zone), 2026-12-24T18:00+01:00
    #[arg(long, value_name = "MOMENT", conflicts_with = "until_gone")]
    until: Option<String>,
    /// Until it is as described again
    #[arg(long)]
    until_gone: bool,
}

#[derive(Debug, Parser)]
pub struct TestNotify {
    /// The channel's name
    channel: String,
    #[arg(long, value_name = "FILE")]
    notify: PathBuf,
}

pub fn test_notify(args: &TestNotify) -> u8 {
    let config = match super::look::notify_config(&args.notify) {
        Ok(config) => config,
        Err(faults) => {
            tell!("{faults}");
            return exit::USAGE;
        }
    };
    match crate::drift::notice::test(&config, &args.channel, &super::machine(), Timestamp::now().as_second()) {
        Ok(()) => {
            out!("sent by {}", args.channel);
            exit::OK
        }
        Err(why) => crate::cli::complain(exit::FAILED, why),
    }
}

pub fn list(args: &List) -> u8 {
    read(&args.folder, |history, now| {
        let found = history.list(args.all, now)?;
        if args.json {
            return Ok(json(&found));
        }
        let text = forms::findings(&found, &layout(true));
        let when = history.last_run()?.map(|at| layout(true).time(at));
        let text = if text.is_empty() { "nothing differs\n".to_owned() } else { text };
        Ok(match when {
            Some(when) => format!("{text}\nAs of the run of {when}.\n"),
            None => "nothing was looked at yet\n".to_owned(),
        })
    })
}

pub fn show(args: &Show) -> u8 {
    read(&args.folder, |history, now| {
        let entry = history.entry(&args.id, now)?;
        if args.json {
            return Ok(json(&entry));
        }
        let look = layout(true);
        let mut text = forms::findings(std::slice::from_ref(&entry.finding), &look);
        if !entry.finding.diff.is_empty() {
            text.push_str(&format!("\n{}\n", entry.finding.diff.trim_end()));
        }
        text.push('\n');
        for told in &entry.log {
            text.push_str(&format!("{}  {}\n", look.time(told.at), told.what));
        }
        Ok(text)
    })
}

pub fn mark(args: &Mark, kind: MarkKind) -> u8 {
    let until = match now(args.which.folder.lab.as_ref()).and_then(|now| args.until(kind, now)) {
        Ok(until) => until,
        Err(why) => return crate::cli::complain(exit::USAGE, why),
    };
    change(&args.which.folder, |history, now| {
        let asked = Asked { kind, reason: args.reason.trim().to_owned(), by: author(), at: now, until };
        Ok(said(&history.mark(&args.which.ids, &asked)?))
    })
}

pub fn unmark(args: &Which) -> u8 {
    change(&args.folder, |history, now| Ok(said(&history.unmark(&args.ids, &author(), now)?)))
}

pub fn forget(args: &Which) -> u8 {
    change(&args.folder, |history, now| {
        let gone = history.forget(&args.ids, now)?;
        Ok(gone.iter().map(|f| format!("forgotten: {} on {} [{}]\n", f.object, f.host, f.id)).collect())
    })
}

fn said(findings: &[Finding]) -> String {
    forms::findings(findings, &layout(true))
}

fn json(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("findings have only text for keys");
    text.push('\n');
    text
}

/// Looks at the history; where nodes share one, at what they share.
fn read(folder: &Folder, work: impl FnOnce(&History, Time) -> Result<String, HistoryError>) -> u8 {
    let copy = tempfile::tempdir();
    let opened = || match (History::shared(&folder.out)?, &copy) {
        (Some(shared), Ok(copy)) => match History::of_copy(&shared, copy.path()) {
            Ok(Some(history)) => Ok(history),
            Ok(None) => History::open_existing(&folder.out),
            Err(why) => {
                tell!("warning: as this node knows it; what the nodes share cannot be read: {why}");
                History::open_existing(&folder.out)
            }
        },
        _ => History::open_existing(&folder.out),
    };
    answer(folder, |now| work(&opened()?, now))
}

/// Says something about findings. What nodes share is taken over first and handed on after, so that a word said on one
/// counts on all.
fn change(folder: &Folder, work: impl FnOnce(&mut History, Time) -> Result<String, HistoryError>) -> u8 {
    let mut only_here = None;
    let code = answer(folder, |now| {
        let Some(shared) = History::shared(&folder.out)? else {
            return work(&mut History::open_existing(&folder.out)?, now);
        };
        let _alone = ReportFolder::open(&folder.out).map_err(|e| HistoryError::Usage(e.to_string()))?;
        history::pull(&folder.out, &shared)?;
        let mut history = History::open_existing(&folder.out)?;
        let text = work(&mut history, now)?;
        only_here = history::push(&mut history, &folder.out, &shared).err();
        Ok(text)
    });
    match only_here {
        Some(why) => {
            crate::cli::complain(exit::FAILED, format!("said here, and the other nodes do not know yet: {why}"))
        }
        None => code,
    }
}

fn answer(folder: &Folder, work: impl FnOnce(Time) -> Result<String, HistoryError>) -> u8 {
    let now = match now(folder.lab.as_ref()) {
        Ok(now) => now,
        Err(why) => return crate::cli::complain(exit::USAGE, why),
    };
    match work(now) {
        Ok(text) => {
            put!("{text}");
            exit::OK
        }
        Err(error) => complain(&error),
    }
}

impl Mark {
    /// The end of the mark. A mute without one would hide a fault for ever by mistake.
    fn until(&self, kind: MarkKind, now: Time) -> Result<Option<Time>, String> {
        match (&self.lasting, &self.until) {
            (Some(lasting), _) => after(now, lasting).map(Some),
            (None, Some(until)) => moment(until).map(Some),
            (None, None) if kind == MarkKind::Muted && !self.until_gone => {
                Err("say for how long: --for 7d, --until 2026-12-24, or --until-gone".into())
            }
            (None, None) => Ok(None),
        }
    }
}

/// `7d` from now.
fn after(now: Time, lasting: &str) -> Result<Time, String> {
    let wrong = |why: jiff::Error| format!("--for {lasting}: {why}; write it as 90m, 8h, 7d or 2w");
    let span: jiff::Span = lasting.parse().map_err(wrong)?;
    let seconds = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(wrong)?.as_secs();
    if seconds <= 0 {
        return Err(format!("--for {lasting}: this is no time to come"));
    }
    now.checked_add(seconds).ok_or_else(|| format!("--for {lasting}: too long"))
}

/// A day (its beginning), or a moment; without a zone in this machine's.
fn moment(text: &str) -> Result<Time, String> {
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(exact.as_second());
    }
    let local = match text.parse::<civil::Date>() {
        Ok(day) if !text.contains('T') => day.at(0, 0, 0, 0),
        _ => text
            .parse::<civil::DateTime>()
            .map_err(|why| format!("--until {text}: {why}; write it as 2026-12-24 or 2026-12-24T18:00"))?,
    };
    local
        .to_zoned(TimeZone::system())
        .map(|zoned| zoned.timestamp().as_second())
        .map_err(|e| format!("--until {text}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(after(1000, "90m"), Ok(1000 + 5400));
        assert_eq!(after(0, "7d"), Ok(7 * 86_400));
        assert_eq!(after(0, "2w"), Ok(14 * 86_400));
        for wrong in ["", "7", "-1d", "0s", "soon", "1y"] {
            assert!(after(0, wrong).is_err(), "{wrong}");
        }
        assert_eq!(moment("2026-12-24T18:00:00+01:00"), Ok(1_798_131_600));
        assert!(moment("2026-12-24").is_ok() && moment("2026-12-24T18:00").is_ok());
        assert!(moment("24.12.2026").unwrap_err().contains("2026-12-24"));
    }
}
