use super::*;

fn result(host: &str, task: &str, object: &str, outcome: Outcome) -> TaskResult {
    let words = |text: &str| text.to_owned();
    TaskResult {
        play: words("p"),
        task: words(task),
        kind: words("systemd"),
        host: words(host),
        item: None,
        outcome,
        summary: words("s"),
        diff: String::new(),
        provisional: false,
        provisional_reason: None,
        warnings: Vec::new(),
        took_ms: 0,
        place: words("site.yml:1"),
        delegated_to: None,
        object: words(object),
        handler: false,
        ignored: false,
    }
}

fn of(results: &[TaskResult]) -> Sightings {
    Sightings::of(results, &BTreeMap::new())
}

fn names(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[test]
fn texts_names_and_places_do_not_change_an_identity() {
    let before = of(&[result("pve1", "Start it", "nfs", Outcome::Drifted)]);
    let mut changed = result("pve1", "The unit nfs runs", "nfs", Outcome::Blocked);
    (changed.summary, changed.diff, changed.place) = ("other".into(), "d".into(), "x.yml:99".into());
    assert_eq!(before.seen[0].id, of(&[changed]).seen[0].id);
    for other in
        [result("pve2", "Start it", "nfs", Outcome::Drifted), result("pve1", "Start it", "x", Outcome::Drifted)]
    {
        assert_ne!(before.seen[0].id, of(&[other]).seen[0].id);
    }
}

#[test]
fn parts_of_an_identity_do_not_run_into_each_other() {
    let one = of(&[result("a", "t", "bc", Outcome::Drifted)]);
    let two = of(&[result("ab", "t", "c", Outcome::Drifted)]);
    assert_ne!(one.seen[0].id, two.seen[0].id);
}

#[test]
fn two_tasks_on_one_thing_are_one_finding_and_the_worse_speaks() {
    let all = of(&[
        result("pve1", "enabled", "nfs", Outcome::Drifted),
        result("pve1", "started", "nfs", Outcome::Failed),
        result("pve1", "other", "nfs", Outcome::Ok),
    ]);
    assert_eq!(all.seen.len(), 1);
    assert_eq!(all.seen[0].result.task, "started");
    assert_eq!(all.seen[0].tasks, names(&["enabled", "started"]));
}

#[test]
fn gone_needs_the_word_of_every_task_that_found_it() {
    let id = of(&[result("pve1", "enabled", "nfs", Outcome::Drifted)]).seen[0].id.clone();
    let fine = |results: &[TaskResult], tasks: &[&str]| of(results).is_fine(&id, "pve1", "systemd", &names(tasks));
    let ok = result("pve1", "enabled", "nfs", Outcome::Ok);
    assert!(fine(std::slice::from_ref(&ok), &["enabled"]));
    // The other task got no turn, because the host failed before it.
    let failed = result("pve1", "something", "x", Outcome::Failed);
    assert!(!fine(&[ok.clone(), failed], &["enabled", "started"]));
    // It was skipped: nobody looked.
    let skipped = result("pve1", "started", "nfs", Outcome::Skipped);
    assert!(!fine(&[ok.clone(), skipped], &["enabled", "started"]));
    // It was left out: by tags, or because another playbook was run.
    assert!(!fine(std::slice::from_ref(&ok), &["enabled", "started"]));
    // Nobody looked at it at all.
    assert!(!fine(&[result("pve1", "other", "y", Outcome::Ok)], &["enabled"]));
    // What is only predicted to be fine is no sight.
    let predicted = TaskResult { provisional: true, ..ok };
    assert!(!fine(&[predicted], &["enabled"]));
}

#[test]
fn a_lost_host_is_one_finding_until_it_answers() {
    let lost = of(&[
        result("pve1", "a", "x", Outcome::Unreachable),
        result("pve1", "b", "y", Outcome::Unreachable),
        result("pve2", "a", "x", Outcome::Ok),
    ]);
    assert_eq!(lost.seen.len(), 1);
    let found = &lost.seen[0];
    assert_eq!((found.object.as_str(), kind_of(&found.result)), ("pve1", "host"));
    let back = of(&[result("pve1", "a", "x", Outcome::Drifted)]);
    assert!(back.is_fine(&found.id, "pve1", "host", &found.tasks));
    assert!(!of(&[]).is_fine(&found.id, "pve1", "host", &found.tasks));
}

#[test]
fn handlers_and_ignored_failures_are_no_findings() {
    let handler = TaskResult { handler: true, ..result("pve1", "h", "nfs", Outcome::Drifted) };
    let ignored = TaskResult { ignored: true, ..result("pve1", "i", "nfs", Outcome::Failed) };
    assert!(of(&[handler, ignored]).seen.is_empty());
}

#[test]
fn tasks_without_a_word_of_their_own_are_told_apart_by_their_turn() {
    let command = |outcome| TaskResult { kind: "command".into(), ..result("pve1", "command", "", outcome) };
    let before = of(&[command(Outcome::Drifted), command(Outcome::Drifted)]);
    assert_eq!(before.seen.len(), 2);
    let first = &before.seen[0];
    // The first is skipped, the second is fine: nobody looked at the first.
    let after = of(&[command(Outcome::Skipped), command(Outcome::Ok)]);
    assert!(!after.is_fine(&first.id, "pve1", "command", &first.tasks));
    assert!(after.is_fine(&before.seen[1].id, "pve1", "command", &first.tasks));
    let other_play = TaskResult { play: "q".into(), ..command(Outcome::Drifted) };
    assert_ne!(of(&[other_play]).seen[0].id, first.id);
}

#[test]
fn a_host_that_was_not_asked_did_not_answer() {
    let lost = of(&[result("pve3", "a", "x", Outcome::Unreachable)]);
    let delegated = TaskResult { delegated_to: Some("pve1".into()), ..result("pve3", "b", "y", Outcome::Ok) };
    assert!(!of(&[delegated]).is_fine(&lost.seen[0].id, "pve3", "host", &lost.seen[0].tasks));
    let away = TaskResult { delegated_to: Some("pve1".into()), ..result("pve3", "b", "y", Outcome::Unreachable) };
    assert_eq!(host_of(&of(&[away]).seen[0].result), "pve1");
}
