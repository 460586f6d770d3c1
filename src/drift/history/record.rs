//! One more run: what is new, back, still there, gone, and what nobody looked at.

use super::super::report::{Finding, MarkKind, Report, Run, Standing, Time, shell_word};
use super::super::sighting::{self, Sighting, Sightings};
use super::rows::{self, spelled};
use super::{History, HistoryError, log};
use crate::drift::collect::Traces;
use crate::event::{Outcome, TaskResult, Totals};
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::BTreeSet;

/// What a run found, before it is remembered.
#[derive(Debug, Clone)]
pub struct Facts {
    pub started: Time,
    pub ended: Time,
    pub took_ms: u64,
    pub playbooks: Vec<String>,
    pub hosts: Vec<String>,
    pub totals: Totals,
    /// The exit code of the check itself.
    pub exit: u8,
    /// What failed and has no result.
    pub untold: usize,
    pub results: Vec<TaskResult>,
    pub notes: Vec<String>,
    pub traces: Traces,
    /// The machine that looked.
    pub by: String,
    /// What converges a host: `converge apply site.yml -i cluster.yml`, to which `--limit HOST` is added.
    pub heal: String,
}

impl History {
    /// Remembers a run and gives its report. `also` works in the same transaction: what it leaves is there exactly when
    /// the run is.
    pub fn record(
        &mut self,
        facts: Facts,
        also: impl FnOnce(&Transaction<'_>, &Report) -> rusqlite::Result<()>,
    ) -> Result<Report, HistoryError> {
        let fault = self.fault();
        self.transaction(|tx| {
            let report = record(tx, facts).map_err(&fault)?;
            also(tx, &report).map_err(&fault)?;
            Ok(report)
        })
    }
}

fn record(tx: &Transaction<'_>, mut facts: Facts) -> rusqlite::Result<Report> {
    let previous: Option<Time> =
        tx.query_row("SELECT ended FROM runs ORDER BY id DESC LIMIT 1", [], |row| row.get(0)).optional()?;
    // Runs beside each other end in any order.
    if let Some(previous) = previous.filter(|previous| *previous > facts.ended + 600) {
        let minutes = (previous - facts.ended) / 60;
        facts.notes.push(format!(
            "the clock of {} is {minutes} min behind the run before this one: times of this report are not to be trusted",
            facts.by
        ));
    }
    let now = facts.ended;
    let sightings = Sightings::of(&facts.results, &facts.traces);
    tx.execute(
        "INSERT INTO runs (started, ended, took_ms, exit, totals, playbooks) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            facts.started,
            facts.ended,
            facts.took_ms as i64,
            facts.exit,
            serde_json::to_string(&facts.totals).unwrap_or_default(),
            serde_json::to_string(&facts.playbooks).unwrap_or_default(),
        ],
    )?;
    let id = tx.last_insert_rowid();
    end_marks(tx, now)?;
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for sighting in &sightings.seen {
        seen.insert(sighting.id.clone());
        findings.push(sight(tx, sighting, id, now)?);
    }
    for (id, host, kind, tasks) in open(tx)? {
        if seen.contains(&id) {
            continue;
        }
        let gone = sightings.is_fine(&id, &host, &kind, &tasks);
        if gone {
            leave(tx, &id, now)?;
        }
        let mut finding = get(tx, &id, now)?;
        if gone {
            finding.standing = Standing::Gone;
        }
        findings.push(finding);
    }
    // A mark without an end ends with its finding; the report of that run still shows it.
    tx.execute(
        "DELETE FROM marks WHERE until IS NULL AND finding IN (SELECT id FROM findings WHERE gone_since = ?1)",
        [now],
    )?;
    for finding in &mut findings {
        finding.earlier = rows::spells(tx, &finding.id)?;
        if finding.outcome == Outcome::Drifted && finding.is_open() && !facts.heal.is_empty() {
            finding.heal = format!("{} --limit {}", facts.heal, shell_word(&finding.host));
        }
    }
    findings.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.host.cmp(&b.host)));
    let run = Run {
        id,
        started: facts.started,
        ended: facts.ended,
        took_ms: facts.took_ms,
        playbooks: facts.playbooks,
        hosts: facts.hosts,
        version: env!("CARGO_PKG_VERSION").into(),
        by: facts.by,
        previous,
    };
    Ok(Report {
        mode: "drift".into(),
        exit: facts.exit,
        totals: facts.totals,
        run,
        findings,
        results: facts.results,
        notes: facts.notes,
        undelivered: Vec::new(),
    })
}

/// Gone ones last, muted ones before them; then the worst, then the newest.
fn rank(finding: &Finding) -> (bool, bool, std::cmp::Reverse<u8>, Standing) {
    (!finding.is_open(), finding.is_muted(), std::cmp::Reverse(sighting::badness(finding.outcome)), finding.standing)
}

/// Marks whose time is over.
fn end_marks(tx: &Transaction<'_>, now: Time) -> rusqlite::Result<()> {
    let over: Vec<(String, String)> = tx
        .prepare_cached("SELECT finding, kind FROM marks WHERE until <= ?1")?
        .query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (finding, kind) in over {
        tx.execute("DELETE FROM marks WHERE finding = ?1", [&finding])?;
        log(tx, &finding, now, &format!("no longer {kind}: its time is over"))?;
    }
    Ok(())
}

/// Findings that were there after the run before: id, host, kind, tasks.
type Open = (String, String, String, BTreeSet<String>);

fn open(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Open>> {
    tx.prepare_cached("SELECT id, host, kind, tasks FROM findings WHERE gone_since IS NULL ORDER BY id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, rows::json(3, &row.get::<_, String>(3)?)?)))?
        .collect()
}

fn get(tx: &Transaction<'_>, id: &str, now: Time) -> rusqlite::Result<Finding> {
    let query = format!("{} WHERE f.id = ?2", rows::FINDING);
    tx.prepare_cached(&query)?.query_row(params![now, id], rows::finding)
}

/// It is there: for the first time, again, or still.
fn sight(tx: &Transaction<'_>, sighting: &Sighting, run: i64, now: Time) -> rusqlite::Result<Finding> {
    let result = &sighting.result;
    let id = &sighting.id;
    let before: Option<(Time, Time, Option<Time>, String)> = tx
        .prepare_cached("SELECT since, last_seen, gone_since, outcome FROM findings WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let outcome = spelled(&result.outcome);
    let standing = match &before {
        None => Standing::New,
        Some((_, _, Some(_), _)) => Standing::Back,
        Some(_) => Standing::Still,
    };
    let since = match &before {
        Some((since, _, None, _)) => *since,
        _ => now,
    };
    tx.prepare_cached(
        "INSERT INTO findings (id, host, kind, object, play, task, tasks, place, outcome, summary, diff, provisional,
           traces, first_seen, since, last_seen, seen, last_run, gone_since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14, ?14, 1, ?16, NULL)
         ON CONFLICT (id) DO UPDATE SET object = ?4, play = ?5, task = ?6, tasks = ?7, place = ?8, outcome = ?9,
           summary = ?10, diff = ?11, provisional = ?12, traces = ?13, since = ?15,
           last_seen = max(last_seen, ?14), seen = seen + 1, last_run = ?16, gone_since = NULL",
    )?
    .execute(params![
        id,
        sighting::host_of(result),
        sighting::kind_of(result),
        sighting.object,
        result.play,
        sighting::name_of(result),
        serde_json::to_string(&sighting.tasks).unwrap_or_default(),
        result.place,
        outcome,
        result.summary,
        result.diff,
        result.provisional,
        serde_json::to_string(&sighting.traces).unwrap_or_default(),
        now,
        since,
        run,
    ])?;
    match (&before, standing) {
        (_, Standing::New) => log(tx, id, now, &format!("seen for the first time: {outcome}"))?,
        (_, Standing::Back) => log(tx, id, now, &format!("there again: {outcome}"))?,
        (Some((.., was)), _) if *was != outcome => log(tx, id, now, &format!("was {was}, is {outcome}"))?,
        _ => {}
    }
    let mut finding = get(tx, id, now)?;
    finding.standing = standing;
    Ok(finding)
}

/// It was looked at and is as described.
fn leave(tx: &Transaction<'_>, id: &str, now: Time) -> rusqlite::Result<()> {
    tx.execute("UPDATE findings SET gone_since = ?2 WHERE id = ?1", params![id, now])?;
    tx.execute(
        "INSERT OR REPLACE INTO spells (finding, since, until) SELECT id, since, ?2 FROM findings WHERE id = ?1",
        params![id, now],
    )?;
    log(tx, id, now, "gone: as described again")
}

impl Report {
    /// Findings of this run that nobody muted: what the exit code and messages are about.
    pub fn counted(&self) -> impl Iterator<Item = &Finding> {
        let looked = |f: &&Finding| matches!(f.standing, Standing::New | Standing::Back | Standing::Still);
        self.findings.iter().filter(looked).filter(|f| f.mark.as_ref().is_none_or(|m| m.kind != MarkKind::Muted))
    }
}
