use super::systemd::Shown;
use super::*;

fn schedule() -> Schedule {
    Schedule {
        name: "x".into(),
        program: "/bin/converge".into(),
        arguments: vec!["drift".into(), "/srv/a \\b\"c.yml".into()],
        calendar: vec!["daily".into()],
        spread_s: 60,
        timeout_s: 60,
        out: "/var/lib/converge/x".into(),
        place: Place::Workstation,
        run_as: RunAs::Root,
        homes: true,
        credentials: Vec::new(),
        mail: false,
    }
}

#[test]
fn what_was_written_tells_what_it_was_written_from() {
    for text in [service(&schedule()), timer(&schedule())] {
        assert_eq!(owner(&text), Owner::Ours(Box::new(schedule())));
    }
    assert_eq!(owner("[Service]\nExecStart=/bin/true\n"), Owner::Foreign);
    assert!(matches!(owner("[Unit]\n\n[X-Converge]\nSchedule={}\n"), Owner::Unclear(_)));
    assert!(matches!(owner("[Unit]\n\n[X-Converge]\n"), Owner::Unclear(_)));
}

#[test]
fn what_a_unit_cannot_hold_is_refused() {
    assert_eq!(schedule().faults(), [""; 0]);
    let credential = |path: &str| vec![Credential { id: "c".into(), path: path.into() }];
    for faulty in [
        Schedule { name: "A".into(), ..schedule() },
        Schedule { name: "-x".into(), ..schedule() },
        Schedule { program: "converge".into(), ..schedule() },
        Schedule { program: "/srv/it's/converge".into(), ..schedule() },
        Schedule { arguments: vec!["a\nb".into()], ..schedule() },
        Schedule { calendar: Vec::new(), ..schedule() },
        Schedule { out: "/".into(), ..schedule() },
        Schedule { run_as: RunAs::User("a b".into()), ..schedule() },
        Schedule { credentials: credential("/x\\"), ..schedule() },
    ] {
        assert_eq!(faulty.faults().len(), 1, "{faulty:?}");
    }
}

/// As `systemctl show` of systemd 252 writes it.
fn shown(service: &[(&str, &str)]) -> Shown {
    let pairs = service.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Shown { service: pairs.collect(), ..Shown::default() }
}

#[test]
fn an_end_is_told_in_words() {
    let started = ("ExecMainStartTimestamp", "Mon 2026-11-23 00:03:11 UTC");
    let exit = |status| shown(&[("Result", "exit-code"), started, ("ExecMainCode", "1"), ("ExecMainStatus", status)]);
    for (shown, expected) in [
        (shown(&[("Result", "success"), ("ExecMainStartTimestamp", "")]), "no run since this machine booted"),
        (
            shown(&[("Result", "success"), started, ("ExecMainCode", "1"), ("ExecMainStatus", "3")]),
            "exit 3: drift was found",
        ),
        (exit("0"), "exit 0: nothing to report, or another node's turn"),
        (exit("1"), "exit 1: a task failed or was blocked"),
        (exit("4"), "exit 4: a host could not be reached"),
        (exit("226"), "exit 226: systemd could not set up what the unit asks for; see the journal"),
        (
            shown(&[("Result", "timeout"), started, ("ExecMainCode", "2"), ("ExecMainStatus", "15")]),
            "it took too long and was ended",
        ),
        (
            shown(&[("Result", "signal"), started, ("ExecMainCode", "2"), ("ExecMainStatus", "9")]),
            "ended by signal 9 (signal)",
        ),
        (shown(&[("Result", "resources")]), "the program could not be started (resources)"),
        (shown(&[("ActiveState", "activating")]), "a run is under way"),
        (shown(&[]), "cannot tell: systemd does not say"),
    ] {
        assert_eq!(shown.ended(), expected);
    }
}
