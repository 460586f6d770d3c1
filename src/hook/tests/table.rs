//! The table itself: complete, readable, and the same as in the documentation.

use super::*;
use crate::hook::rows::{ALL, Aspect};
use std::collections::BTreeSet;
use std::fmt::Write as _;

fn listed(aspects: &[Aspect]) -> BTreeSet<&'static str> {
    ALL.iter().filter(|r| aspects.contains(&r.aspect)).flat_map(|r| r.words.iter().copied()).collect()
}

fn missing(known: &[&'static str], aspects: &[Aspect]) -> Vec<&'static str> {
    let listed = listed(aspects);
    known.iter().copied().filter(|w| !listed.contains(w)).collect()
}

#[test]
fn every_word_of_drbd_has_a_row() {
    let none: Vec<&str> = Vec::new();
    assert_eq!(missing(Role::KNOWN, &[Aspect::RoleHere]), none);
    assert_eq!(missing(Role::KNOWN, &[Aspect::RoleThere]), none);
    assert_eq!(missing(DiskState::KNOWN, &[Aspect::Disk]), none);
    assert_eq!(missing(DiskState::KNOWN, &[Aspect::PeerDisk]), none);
    assert_eq!(missing(ConnectionState::KNOWN, &[Aspect::Connection]), none);
    assert_eq!(missing(ReplicationState::KNOWN, &[Aspect::Replication]), none);
}

/// The tools of this machine carry the kernel's tables one after the other: every string between the first and the
/// last word is a state word, also one that was not there when this was written.
#[test]
fn every_word_of_the_installed_drbd_utils_has_a_row() {
    let Ok(binary) = std::fs::read("/usr/sbin/drbdsetup") else {
        eprintln!("skipped: no /usr/sbin/drbdsetup");
        return;
    };
    let first = b"Diskless\0Attaching\0";
    let Some(start) = binary.windows(first.len()).position(|w| w == first) else {
        panic!("drbdsetup has no table of words where it used to be");
    };
    let words: Vec<&str> = binary[start..]
        .split(|b| *b == 0)
        .map(|word| std::str::from_utf8(word).expect("words are text"))
        .take_while(|word| word.chars().all(|c| c.is_ascii_alphabetic()) && !word.is_empty())
        .collect();
    assert!(words.len() >= 25 && words.contains(&"PausedSyncT") && words.contains(&"Connecting"), "{words:?}");
    let rows = listed(&[Aspect::RoleHere, Aspect::Disk, Aspect::Connection, Aspect::Replication]);
    let unknown: Vec<_> = words.iter().filter(|w| !rows.contains(*w)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_row_that_speaks_says_what_why_and_what_to_do_in_one_line() {
    let mut ids = BTreeSet::new();
    for row in ALL {
        assert!(ids.insert(row.id), "{} twice", row.id);
        let texts = [row.wrong, row.danger, row.todo];
        if row.answer == Answer::Allow {
            assert_eq!(texts, [""; 3], "{}", row.id);
            continue;
        }
        for text in texts {
            assert!(!text.is_empty() && !text.contains('\n') && !text.ends_with('.'), "{}: {text:?}", row.id);
            assert!(!text.contains("  "), "{}: {text:?}", row.id);
        }
        // Waiting is offered by denials alone.
        assert!(!row.heals || row.answer == Answer::Deny, "{}", row.id);
    }
}

/// The table as the documentation prints it.
fn printed() -> String {
    let mut text = "| about | words | situation | answer | what is said |\n|---|---|---|---|---|\n".to_owned();
    let mut rows: Vec<_> = ALL.to_vec();
    rows.sort_by_key(|r| r.aspect);
    for row in rows {
        let answer = match (row.answer, row.heals) {
            (Answer::Allow, _) => "allow",
            (Answer::Warn, _) => "allow, warning",
            (Answer::Deny, false) => "**deny**",
            (Answer::Deny, true) => "wait, then **deny**",
        };
        let words = row.words.iter().filter(|w| **w != "*").map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" ");
        let said = row.wrong.replace("{r}", "*resource*").replace("{p}", "*peer*").replace("{s}", "*state*");
        let _ = writeln!(
            text,
            "| {} | {words} | {} | {answer} | {said} |",
            row.aspect.title(),
            row.when.replace('|', "\\|")
        );
    }
    text
}

/// The message ids as the documentation prints them.
fn ids() -> String {
    let one = |kind: &tell::Kind| format!("| {} | `{}` | {} |\n", kind.word(), kind.message_id(), kind.priority());
    let head = "| result | MESSAGE_ID | priority |\n|---|---|---|\n";
    head.to_owned() + &tell::Kind::ALL.iter().map(one).collect::<String>()
}

/// What is in the documentation between two marks is what the code says.
fn documented(mark: &str, now: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/design/hook.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->"));
    let (before, rest) = text.split_once(&begin).expect("it begins somewhere");
    let (kept, after) = rest.split_once(&end).expect("it ends somewhere");
    if std::env::var_os("CONVERGE_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{now}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(kept, now, "CONVERGE_BLESS=1 cargo test --lib hook writes it");
}

#[test]
fn the_documentation_has_this_table_and_these_ids() {
    documented("table", &printed());
    documented("ids", &ids());
    let all: BTreeSet<_> = tell::Kind::ALL.iter().map(|kind| kind.message_id()).collect();
    assert!(all.len() == tell::Kind::ALL.len() && all.iter().all(|id| id.len() == 32));
}
