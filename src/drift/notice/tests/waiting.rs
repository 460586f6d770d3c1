//! The outbox: nothing lost, nothing twice, nothing for ever.

use super::server::{Answer, Server};
use super::*;

const DAY: Time = 86_400;

fn chat(folder: &Path, server: &Server) -> Config {
    config(folder, &format!("channels: {{ chat: {{ webhook: {{ url: \"{}\", deadline_s: 1 }} }} }}", server.url()))
}

fn new(id: &str, now: Time) -> Finding {
    finding(id, "pve3", Outcome::Drifted, Standing::New, now)
}

#[test]
fn the_same_run_planned_twice_says_nothing_twice() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(200)));
    let config = chat(folder.path(), &server);
    let report = report(1, NOON, vec![new("a", NOON)]);
    assert_eq!(plan(&config, &db, &report, "", NOON).unwrap(), 1);
    assert_eq!(plan(&config, &db, &report, "", NOON + 60).unwrap(), 0);
    assert_eq!(count(&db), 1);
}

#[test]
fn a_crash_at_any_point_loses_nothing_and_repeats_only_what_may_not_have_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Answer::Status(200));
    let config = chat(folder.path(), &server);
    // Before the commit: neither the run nor the message is there, and the next run says it.
    let mut db = database();
    let transaction = db.transaction().unwrap();
    plan(&config, &transaction, &report(1, NOON, vec![new("a", NOON)]), "", NOON).unwrap();
    drop(transaction);
    assert_eq!(count(&db), 0);
    assert_eq!(plan(&config, &db, &report(1, NOON, vec![new("a", NOON)]), "", NOON).unwrap(), 1);
    // After the try was noted, before it ended: nobody knows, so it is said, and tried again.
    let waiting = outbox::due(&db, NOON).unwrap().remove(0);
    assert!(outbox::claim(&db, &waiting, NOON).unwrap());
    assert!(!outbox::claim(&db, &waiting, NOON).unwrap(), "two runs at once make one try");
    let late = undelivered(&db, NOON + 60).unwrap();
    assert_eq!(late[0].error, "a try was not ended: whether it arrived is not known");
    assert_eq!(deliver(&config, &db, NOON + 60).unwrap().len(), 1);
    assert_eq!(server.asked().len(), 0);
    assert_eq!(deliver(&config, &db, NOON + 600).unwrap(), []);
    assert_eq!(deliver(&config, &db, NOON + 6000).unwrap(), []);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn later_and_later_then_given_up_for_all_to_see_then_told_anew() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(503)));
    let config = chat(folder.path(), &server);
    plan(&config, &db, &report(1, NOON, vec![new("a", NOON)]), "", NOON).unwrap();
    // Every five minutes there is a run; in which ones was it tried?
    let mut tried = Vec::new();
    for minute in (0..8 * 24 * 60).step_by(5) {
        let before = server.asked().len();
        deliver(&config, &db, NOON + minute * 60).unwrap();
        if server.asked().len() > before {
            tried.push(minute);
        }
    }
    assert_eq!(tried[..8], [0, 5, 15, 35, 75, 155, 315, 635]);
    assert!(tried.windows(2).all(|pair| pair[1] - pair[0] <= 360), "{tried:?}");
    let last = *tried.last().unwrap();
    assert!((7 * 24 * 60..7 * 24 * 60 + 360).contains(&last), "{last}");
    let late = undelivered(&db, NOON + 8 * DAY).unwrap();
    assert_eq!(late[0].error, "given up; the last try: the server answered 503 Service Unavailable");
    assert_eq!((late[0].since, late[0].tries as usize), (NOON, tried.len()));
    assert_eq!(undelivered(&db, NOON + 15 * DAY).unwrap(), []);
    // Nobody heard of it, so it is told again.
    server.answers(Answer::Status(200));
    let still = finding("a", "pve3", Outcome::Drifted, Standing::Still, NOON);
    let now = NOON + 8 * DAY;
    assert_eq!(plan(&config, &db, &report(2, now, vec![still]), "", now).unwrap(), 1);
    deliver(&config, &db, now).unwrap();
    assert_eq!(server.asked().last().unwrap().body["subject"], "converge: pve3: 1 known, 1 differs");
}

#[test]
fn a_channel_that_is_down_gets_one_message_that_sums_up() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(503)));
    let config = chat(folder.path(), &server);
    let mut all: Vec<Finding> = Vec::new();
    for run in 0..20 {
        let now = NOON + run * 900;
        all.iter_mut().for_each(|finding| finding.standing = Standing::Still);
        all.push(new(&format!("f{run}"), now));
        plan(&config, &db, &report(run + 1, now, all.clone()), "", now).unwrap();
        deliver(&config, &db, now).unwrap();
    }
    assert_eq!(count(&db), 1);
    server.answers(Answer::Status(200));
    let now = NOON + 2 * DAY;
    deliver(&config, &db, now).unwrap();
    all.iter_mut().for_each(|finding| finding.standing = Standing::Still);
    plan(&config, &db, &report(99, now, all), "", now).unwrap();
    deliver(&config, &db, now).unwrap();
    let asked = server.asked();
    assert_eq!(asked[asked.len() - 2].body["subject"], "converge: pve3: 1 new, 1 differs");
    assert_eq!(asked[asked.len() - 1].body["subject"], "converge: pve3: 19 new, 20 differ");
}

#[test]
fn one_message_that_is_refused_does_not_hold_up_the_others_of_the_run() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(413)));
    let config = chat(folder.path(), &server);
    for n in 0..3 {
        let message = Message {
            id: format!("{n}"),
            kind: Kind::Change,
            at: NOON,
            by: "pve1".into(),
            subject: String::new(),
            text: String::new(),
            short: String::new(),
            object: serde_json::json!({ "n": n }),
        };
        assert!(outbox::enqueue(&db, "chat", &message, NOON).unwrap());
        assert!(!outbox::enqueue(&db, "chat", &message, NOON).unwrap(), "the same key is the same message");
    }
    deliver(&config, &db, NOON).unwrap();
    assert_eq!(server.asked().len(), 3);
    // A server that is down is asked once a run.
    server.answers(Answer::Status(503));
    deliver(&config, &db, NOON + 3600).unwrap();
    assert_eq!(server.asked().len(), 4);
}

#[test]
fn a_message_that_is_refused_for_what_it_is_does_not_silence_its_channel() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(413)));
    let config = chat(folder.path(), &server);
    let mut all: Vec<Finding> = Vec::new();
    for run in 0..6 {
        let now = NOON + run * 900;
        all.iter_mut().for_each(|finding| finding.standing = Standing::Still);
        all.push(new(&format!("f{run}"), now));
        plan(&config, &db, &report(run + 1, now, all.clone()), "", now).unwrap();
        deliver(&config, &db, now).unwrap();
    }
    // Where all are refused they do not pile up either.
    assert_eq!(count(&db), 3);
}

#[test]
fn a_pause_that_the_server_asks_for_is_kept() {
    let (folder, db) = (tempfile::tempdir().unwrap(), database());
    let server = Server::start(Answer::Header(429, "retry-after", "1800".into()));
    let config = chat(folder.path(), &server);
    plan(&config, &db, &report(1, NOON, vec![new("a", NOON)]), "", NOON).unwrap();
    for minute in [0, 5, 29, 30] {
        deliver(&config, &db, NOON + minute * 60).unwrap();
    }
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_channel_that_was_taken_out_of_the_configuration_is_not_silent() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(503)));
    let config_before = chat(folder.path(), &server);
    plan(&config_before, &db, &report(1, NOON, vec![new("a", NOON)]), "", NOON).unwrap();
    let config = config(folder.path(), "channels: { root: { mail: {} } }");
    let late = deliver(&config, &db, NOON).unwrap();
    assert_eq!(
        (late[0].channel.as_str(), late[0].error.as_str()),
        ("chat", "this channel is no longer in the configuration")
    );
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn no_more_messages_an_hour_than_allowed_and_the_rest_summed_up() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(200)));
    let text = format!("channels: {{ chat: {{ per_hour: 2, webhook: {{ url: \"{}\" }} }} }}", server.url());
    let config = config(folder.path(), &text);
    let mut all: Vec<Finding> = Vec::new();
    for run in 0..13 {
        let now = NOON + run * 300;
        all.iter_mut().for_each(|finding| finding.standing = Standing::Still);
        all.push(new(&format!("f{run}"), now));
        plan(&config, &db, &report(run + 1, now, all.clone()), "", now).unwrap();
        deliver(&config, &db, now).unwrap();
    }
    let subjects: Vec<String> = server.asked().iter().map(|a| a.body["subject"].as_str().unwrap().to_owned()).collect();
    let expected =
        ["converge: pve3: 1 new, 1 differs", "converge: pve3: 1 new, 2 differ", "converge: pve3: 11 new, 13 differ"];
    assert_eq!(subjects, expected);
}

#[test]
fn a_clock_that_was_wrong_silences_nobody() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(503)));
    let config = chat(folder.path(), &server);
    let future = NOON + 400 * DAY;
    plan(&config, &db, &report(1, future, vec![new("a", future)]), "", future).unwrap();
    deliver(&config, &db, future).unwrap();
    server.answers(Answer::Status(200));
    plan(&config, &db, &report(2, NOON, vec![new("b", NOON)]), "", NOON).unwrap();
    assert_eq!(deliver(&config, &db, NOON).unwrap(), []);
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn what_was_sent_long_ago_is_forgotten() {
    let (folder, db, server) = (tempfile::tempdir().unwrap(), database(), Server::start(Answer::Status(200)));
    let config = chat(folder.path(), &server);
    plan(&config, &db, &report(1, NOON, vec![new("a", NOON)]), "", NOON).unwrap();
    deliver(&config, &db, NOON).unwrap();
    deliver(&config, &db, NOON + 29 * DAY).unwrap();
    assert_eq!(count(&db), 1);
    deliver(&config, &db, NOON + 31 * DAY).unwrap();
    assert_eq!(count(&db), 0);
}
