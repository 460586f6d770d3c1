//! Held to what a person would get: a real HTTP server, a program in `sendmail`'s place, days of simulated time.

mod faults;
mod sending;
mod server;
mod timeline;
mod waiting;
mod words;

use super::*;
use crate::diagnostic::Sources;
use crate::drift::{Finding, Mark, MarkKind, Report, Run, Standing, Time};
use crate::event::{Outcome, Totals};
use rusqlite::Connection;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// 2026-03-23 12:00 in Berlin, a Monday.
const NOON: Time = 1_774_263_600;

fn database() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    SCHEMA.iter().for_each(|schema| db.execute_batch(schema).unwrap());
    // Every run of the program does it again.
    SCHEMA.iter().for_each(|schema| db.execute_batch(schema).unwrap());
    db
}

fn config_in(folder: &Path, text: &str) -> Result<Config, String> {
    let path = folder.join("notify.yml");
    std::fs::write(&path, text).unwrap();
    let mut sources = Sources::default();
    Config::read(&path, &mut sources).map_err(|faults| {
        let lines = faults.iter().map(|fault| {
            let (line, column) = sources.line_column(fault.span);
            let help = fault.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{line}:{column} {}{help}", fault.message)
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

fn config(folder: &Path, text: &str) -> Config {
    config_in(folder, text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn finding(id: &str, host: &str, outcome: Outcome, standing: Standing, now: Time) -> Finding {
    Finding {
        id: id.into(),
        play: "storage".into(),
        task: format!("The state of {id}"),
        kind: "systemd".into(),
        host: host.into(),
        object: format!("{id}.service"),
        place: "site.yml:12".into(),
        outcome,
        summary: format!("enable {id}.service"),
        diff: "--- a\n+++ b\n-off\n+on\n".into(),
        provisional: false,
        standing,
        first_seen: now,
        since: now,
        last_seen: now,
        seen: 1,
        gone_since: None,
        earlier: Vec::new(),
        mark: None,
        traces: Vec::new(),
        heal: format!("converge apply site.yml -l {host}"),
    }
}

fn marked(kind: MarkKind, finding: Finding) -> Finding {
    let mark = Mark { kind, reason: "known".into(), by: "anna".into(), at: finding.first_seen, until: None };
    Finding { mark: Some(mark), ..finding }
}

fn report(id: i64, now: Time, findings: Vec<Finding>) -> Report {
    let unreachable = findings.iter().filter(|f| f.is_open() && f.outcome == Outcome::Unreachable).count();
    let run = Run {
        id,
        started: now - 5,
        ended: now,
        took_ms: 5000,
        playbooks: vec!["site.yml".into()],
        hosts: vec!["pve1".into(), "pve2".into(), "pve3".into()],
        version: "0.1.0".into(),
        by: "pve1".into(),
        previous: None,
    };
    Report {
        mode: "drift".into(),
        exit: 3,
        totals: Totals { unreachable, ..Totals::default() },
        run,
        findings,
        results: Vec::new(),
        notes: Vec::new(),
        undelivered: Vec::new(),
    }
}

/// A program in `sendmail`'s place: it appends each mail to `FOLDER/mails`, after a line with its arguments.
fn sendmail(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("sendmail");
    let text = format!("#!/bin/sh\ncd '{}' || exit 1\n{script}\n", folder.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The last message in the outbox.
fn last_message(db: &Connection) -> Message {
    let text: String =
        db.query_row("SELECT message FROM outbox ORDER BY id DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn count(db: &Connection) -> i64 {
    db.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap()
}
