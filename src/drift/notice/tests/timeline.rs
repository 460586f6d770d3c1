//! Days of simulated time: a timeline goes in, what people get comes out. Each case is a file that one can read; what is
//! expected stands in it after `=>`, and the whole file must come out as it is.
//!
//! A run looks every half an hour. A line says how things are from then on (`what@host outcome [acked|muted]`, or
//! `cannot look: why`), or that a channel's server is `down` or `up`.

use super::server::{Answer, Server};
use super::*;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt::Write;

const EVERY: Time = 1800;

struct World<'a> {
    config: Config,
    db: Connection,
    servers: &'a BTreeMap<String, Server>,
    heard: BTreeMap<String, usize>,
    zone: TimeZone,
    runs: i64,
    spells: BTreeMap<String, Finding>,
}

impl World<'_> {
    fn run(&mut self, state: &str, now: Time) {
        self.runs += 1;
        match state.strip_prefix("cannot look: ") {
            Some(error) => {
                let trouble = Trouble { error, by: "pve1", command: "converge drift site.yml" };
                plan_trouble(&self.config, &self.db, &trouble, now).unwrap();
            }
            None => {
                let report = report(self.runs, now, self.findings(state, now));
                plan(&self.config, &self.db, &report, "pve1:/drift", now).unwrap();
            }
        }
        deliver(&self.config, &self.db, now).unwrap();
    }

    /// As the history tells them: new, back, still there, gone.
    fn findings(&mut self, state: &str, now: Time) -> Vec<Finding> {
        let mut all = Vec::new();
        let said = state.split(',').map(str::trim).filter(|part| *part != "all as described");
        for part in said {
            let words: Vec<&str> = part.split_whitespace().collect();
            let (id, host) = words[0].split_once('@').unwrap();
            let outcome: Outcome = serde_json::from_value(words[1].into()).unwrap();
            let standing = match self.spells.get(id) {
                None => Standing::New,
                Some(before) if before.is_open() => Standing::Still,
                Some(_) => Standing::Back,
            };
            let first = self.spells.get(id).map_or(now, |before| before.first_seen);
            let since = match standing {
                Standing::Still => self.spells[id].since,
                _ => now,
            };
            let now = Finding { since, ..finding(id, host, outcome, standing, first) };
            all.push(match words.get(2) {
                Some(&"acked") => marked(MarkKind::Acknowledged, now),
                Some(&"muted") => marked(MarkKind::Muted, now),
                other => {
                    assert_eq!(other, None);
                    now
                }
            });
        }
        let is_over = |before: &&Finding| before.is_open() && all.iter().all(|now| now.id != before.id);
        let over: Vec<Finding> = self.spells.values().filter(is_over).cloned().collect();
        let gone = |before| Finding { standing: Standing::Gone, gone_since: Some(now), mark: None, ..before };
        all.extend(over.into_iter().map(gone));
        // As a report does, it names once what is gone.
        all.iter().for_each(|finding| drop(self.spells.insert(finding.id.clone(), finding.clone())));
        all
    }

    /// What arrived since, channel by channel.
    fn arrived(&mut self, now: Time, out: &mut String) {
        for (channel, server) in self.servers {
            let heard = self.heard.entry(channel.clone()).or_default();
            let asked = server.asked();
            if matches!(*server.answer.lock().unwrap(), Answer::Status(200)) {
                for message in asked[*heard..].iter().map(|asked| &asked.body) {
                    let at = Timestamp::from_second(now).unwrap().to_zoned(self.zone.clone()).strftime("%a %H:%M");
                    let (kind, subject) = (message["kind"].as_str().unwrap(), message["subject"].as_str().unwrap());
                    let changes = message["changes"].as_array().unwrap().iter();
                    let named = changes.map(|change| {
                        let was = change["was"].as_str().map(|was| format!(" (was {was})")).unwrap_or_default();
                        format!(
                            "{} {}{was}",
                            change["change"].as_str().unwrap(),
                            change["finding"]["id"].as_str().unwrap()
                        )
                    });
                    let text = message["text"].as_str().unwrap();
                    let still = text.split("\nSTILL THERE").nth(1).map_or(0, |rest| rest.matches("\n- ").count());
                    let still = Some(format!("{still} still there")).filter(|_| still > 0);
                    let named = named.chain(still).collect::<Vec<_>>().join(", ");
                    writeln!(out, "    => {at} {channel}, {kind}: {subject} [{named}]").unwrap();
                }
            }
            *heard = asked.len();
        }
    }
}

fn play(case: &str) -> String {
    let (head, timeline) = case.split_once("\n---\n").unwrap();
    let names: Vec<&str> = head
        .match_indices("URL-OF-")
        .map(|(at, key)| head[at + key.len()..].split(|c: char| !c.is_alphanumeric()).next().unwrap())
        .collect();
    let servers: BTreeMap<String, Server> =
        names.iter().map(|name| ((*name).to_owned(), Server::start(Answer::Status(200)))).collect();
    let mut text = head.to_owned();
    for (name, server) in &servers {
        text = text.replace(&format!("URL-OF-{name}"), &server.url());
    }
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &text);
    let zone = config.zone.clone();
    let at = |text: &str| text.parse::<DateTime>().unwrap().to_zoned(zone.clone()).unwrap().timestamp().as_second();
    let mut world = World {
        config,
        db: database(),
        servers: &servers,
        heard: BTreeMap::new(),
        zone: zone.clone(),
        runs: 0,
        spells: BTreeMap::new(),
    };
    let mut out = format!("{head}\n---\n");
    let lines: Vec<&str> = timeline.lines().filter(|line| !line.starts_with("    =>")).collect();
    let times: Vec<Option<Time>> =
        lines.iter().map(|line| Some(at(line.split_once(" | ").filter(|_| !line.starts_with('#'))?.0))).collect();
    let mut state = "all as described";
    let mut now = times.iter().flatten().next().copied().unwrap();
    for (n, line) in lines.iter().enumerate() {
        writeln!(out, "{line}").unwrap();
        if times[n].is_none() {
            continue;
        }
        let said = line.split_once(" | ").unwrap().1;
        match said.rsplit_once(' ') {
            Some((channel, "down")) => servers[channel].answers(Answer::Status(503)),
            Some((channel, "up")) => servers[channel].answers(Answer::Status(200)),
            _ => state = said,
        }
        let Some(until) = times[n + 1..].iter().flatten().next().copied() else { break };
        while now < until {
            world.run(state, now);
            world.arrived(now, &mut out);
            now += EVERY;
        }
    }
    out
}

/// `CONVERGE_WRITE=1` writes what comes out, to be read and judged before it is kept.
fn compare(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/drift/notice/tests").join(name);
    let case = std::fs::read_to_string(&path).unwrap();
    let played = play(&case);
    if std::env::var_os("CONVERGE_WRITE").is_some() {
        std::fs::write(&path, &played).unwrap();
    }
    assert!(
        case == played,
        "what people get is not what {name} says:\n{}",
        similar::TextDiff::from_lines(&case, &played).unified_diff()
    );
}

#[test]
fn a_week() {
    compare("week.txt");
}

#[test]
fn marks() {
    compare("marks.txt");
}

#[test]
fn the_night_the_clocks_change() {
    compare("clocks.txt");
}
