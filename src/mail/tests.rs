//! Python's email parser, which nobody here wrote, reads back what was written.

use super::*;
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

/// Reads mails (a list of byte strings as text) and gives headers and text of each back as JSON.
const PYTHON: &str = r"
import sys, json, email, email.policy
out = []
for raw in json.load(sys.stdin):
    mail = email.message_from_bytes(bytes(raw), policy=email.policy.default)
    out.append({
        'subject': mail['Subject'], 'from': mail['From'], 'to': [str(a) for a in mail['To'].addresses],
        'names': mail.keys(), 'id': mail['Message-ID'], 'date': str(mail['Date'] and int(mail['Date'].datetime.timestamp())),
        'text': mail.get_content(), 'defects': [repr(d) for d in mail.defects] +
            [repr(d) for v in mail.values() for d in v.defects],
    })
json.dump(out, sys.stdout)
";

fn read_back(mails: &[Vec<u8>]) -> Option<Vec<serde_json::Value>> {
    let python = Command::new("python3").args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = python else {
        eprintln!("skipped: no python3");
        return None;
    };
    let input = serde_json::to_vec(mails).unwrap();
    python.stdin.take().unwrap().write_all(&input).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_plain_mail_is_legible_as_it_is() {
    let mail = Mail { from: "root", to: vec!["root"], subject: "pve3: 2 new", text: "one\ntwo", ..Mail::default() };
    let text = "From: root\nTo: root\nSubject: pve3: 2 new\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n\
        Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\none\ntwo\n";
    assert_eq!(String::from_utf8(mail.to_bytes()).unwrap(), text);
}

#[test]
fn another_program_reads_every_mail_as_it_was_meant() {
    let long = "ein sehr langer Betreff über Überraschungen, ".repeat(8);
    let dots = "a\n.\n..\nFrom here on\nüber\n.\nFrom there\n \t\nend ";
    let line = format!("{}\n{}\n", "x".repeat(5000), "é".repeat(3000));
    let cases = [
        ("pve3: 2 new, 1 gone", "plain text\n"),
        ("Gerät weg: ☠ DRBD 🦀", "Größe\tändert sich = 3\n"),
        (long.as_str(), line.as_str()),
        ("=?utf-8?B?aGk=?= is no encoded word here", dots),
        ("", ""),
    ];
    let mails: Vec<Vec<u8>> = cases
        .iter()
        .map(|(subject, text)| {
            let to = vec!["root@pve1", "ops+drbd@example.org"];
            let (date, message_id) = (Some(1_790_000_000), Some("abc.1@converge.pve1".into()));
            Mail { from: "root@pve1", to, subject, text, date, message_id }.to_bytes()
        })
        .collect();
    for mail in &mails {
        for line in String::from_utf8(mail.clone()).unwrap().lines() {
            assert!(line.len() <= MAX_QUOTED + 1 || line.len() <= MAX_LINE && line.is_ascii(), "{line}");
        }
    }
    let Some(read) = read_back(&mails) else { return };
    for ((subject, text), read) in cases.iter().zip(read) {
        assert_eq!(read["defects"], serde_json::json!([]), "{read}");
        assert_eq!(read["subject"], subject.trim(), "{read}");
        assert_eq!(read["from"], "root@pve1");
        assert_eq!(read["to"], serde_json::json!(["root@pve1", "ops+drbd@example.org"]));
        assert_eq!(read["id"], "<abc.1@converge.pve1>");
        assert_eq!(read["date"], "1790000000");
        assert_eq!(read["text"].as_str().unwrap().trim_end_matches('\n'), text.trim_end_matches('\n'));
    }
}

#[test]
fn no_value_leaves_its_header() {
    let evil = "pve3\nBcc: everyone@example.org\r\n\r\nbody";
    let mail =
        Mail { from: evil, to: vec![evil], subject: evil, text: "text", date: Some(0), message_id: Some(evil.into()) };
    let text = String::from_utf8(mail.to_bytes()).unwrap();
    let (head, _) = text.split_once("\n\n").unwrap();
    let names: Vec<&str> = head.lines().map(|line| line.split(':').next().unwrap()).collect();
    let expected = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"];
    assert_eq!(names[..7], expected);
    assert!(text.ends_with("\n\ntext\n") && text.matches("\n\n").count() == 1, "{text}");
}

#[test]
fn addresses() {
    for good in ["root", "root@pve1", "ops+drbd@example.org", "a.b-c_d@x.example"] {
        assert!(is_address(good), "{good}");
    }
    for bad in ["", "-oQ/tmp", "a b", "a,b", "a@b@c", "Ops <a@b>", "a\nb", "|sh", "/etc/passwd", "@x", "x@", "ü@x"] {
        assert!(!is_address(bad), "{bad}");
    }
}

proptest! {
    // Each case is a Python; all texts of one go in one call.
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn whatever_the_text_it_comes_back(texts in prop::collection::vec((any::<String>(), any::<String>()), 100)) {
        let mails: Vec<Vec<u8>> = texts
            .iter()
            .map(|(subject, text)| Mail { from: "root", to: vec!["root"], subject, text, ..Mail::default() }.to_bytes())
            .collect();
        prop_assert!(mails.iter().all(|mail| mail.iter().filter(|b| **b == b'\r').count() == 0));
        if let Some(read) = read_back(&mails) {
            for ((subject, text), read) in texts.iter().zip(read) {
                let subject = plain(subject);
                prop_assert_eq!(read["subject"].as_str().unwrap(), subject.trim());
                let text = text.replace("\r\n", "\n").replace('\r', "\n");
                prop_assert_eq!(read["text"].as_str().unwrap().trim_end_matches('\n'), text.trim_end_matches('\n'));
            }
        }
    }
}
