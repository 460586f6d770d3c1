use super::*;
use crate::agent::serve_beating;
use crate::host::{Local, Output};
use crate::wire::WireTask;
use std::collections::BTreeMap;
use std::io::{BufReader, PipeReader, PipeWriter};
use std::thread;

/// A link to whatever `agent` does with its ends of the pipes, which loses patience quickly.
fn linked(agent: impl FnOnce(PipeReader, PipeWriter) + Send + 'static) -> Link {
    let (far_input, near_output) = std::io::pipe().unwrap();
    let (near_input, far_output) = std::io::pipe().unwrap();
    thread::spawn(move || agent(far_input, far_output));
    let mut link = Link::open("pve1", BufReader::new(near_input), near_output).unwrap();
    link.silence = Duration::from_millis(300);
    link
}

/// An agent whose program `slow` takes longer than the link is patient.
fn beating(beat: Duration) -> Link {
    linked(move |input, mut output| {
        let dir = tempfile::tempdir().unwrap();
        let host = Local::rooted("pve1", dir.path()).with_programs(Box::new(|argv, _| {
            if argv[0] == "slow" {
                thread::sleep(Duration::from_millis(900));
            }
            Some(Output::ok(argv[0].clone()))
        }));
        let _ = serve_beating(&mut BufReader::new(input), &mut output, Box::new(host), Mode::Apply, beat);
    })
}

fn run(program: &str) -> Request {
    let task = WireTask { kind: "command".into(), args: serde_json::json!({ "argv": [program] }) };
    Request::Run { task, notify: Vec::new(), environment: BTreeMap::new(), look_only: false }
}

fn stdout(answer: Result<Response, LinkError>) -> String {
    match answer {
        Ok(Response::Run(result)) => result.data["stdout"].as_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn frame(id: u64, body: Response) -> Numbered<Response> {
    Numbered { id, body }
}

fn read(input: &mut impl BufRead) -> Option<u64> {
    read_frame::<Numbered<Request>>(input, &mut |_| {}).unwrap().map(|request| request.id)
}

#[test]
fn a_step_may_take_longer_than_silence_is_borne_as_long_as_the_agent_shows_that_it_lives() {
    let mut link = beating(Duration::from_millis(50));
    assert_eq!(stdout(link.call(&run("slow"))), "slow");
    let mut silent = beating(Duration::from_secs(60));
    let error = silent.call(&run("slow")).unwrap_err();
    assert!(matches!(error, LinkError::Silent { .. }), "{error:?}");
}

#[test]
fn an_answer_that_comes_too_late_is_not_taken_for_the_next_one() {
    let mut link = beating(Duration::from_millis(50));
    link.send(&run("slow")).unwrap();
    let late = link.answer(Some(Duration::from_millis(100)), &mut |_, _| {}).unwrap_err();
    assert!(matches!(late, LinkError::Late { .. }), "{late:?}");
    assert_eq!(stdout(link.call(&run("quick"))), "quick");
}

#[test]
fn an_answer_to_what_was_not_asked_ends_the_link() {
    let mut link = linked(|input, mut output| {
        let mut input = BufReader::new(input);
        write_frame(&mut output, &frame(GREETING, Response::Hello { owed: Ok(Vec::new()) })).unwrap();
        while let Some(id) = read(&mut input) {
            write_frame(&mut output, &frame(id + 1, Response::Done)).unwrap();
        }
    });
    let error = link.call(&Request::HandlerDone { handler: String::new() }).unwrap_err();
    assert!(error.to_string().contains("it answered request 3 before request 2"), "{error}");
    assert!(link.answer(None, &mut |_, _| {}).is_err(), "nothing is open");
}
