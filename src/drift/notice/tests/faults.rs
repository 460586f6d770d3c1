//! What is written wrongly in `notify.yml`, told with its place, all at once, and never with a secret.

use super::*;

#[test]
fn every_fault_at_once_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\
timezone: Europe/Berlni
give_up_after_days: 0
channels:
  mail root:
    mail: {}
  night:
    mail:
      to: [root, \"Ops <ops@example.org>\"]
      from: \"root\\nBcc: everyone@example.org\"
      command: []
    digest: daily at 7
    quiet_hours: 22-7
  late:
    mail: {}
    digest: daily at 23:00
    quiet_hours: 22:00-07:00
    per_hour: 0
  both:
    mail: {}
    webhook: { url: \"https://chat.example.org\" }
  open:
    webhook: { url: \"http://chat.example.org/x\", deadline_s: 0 }
    urgent: [blocked]
  odd:
    webhook:
      url: \"https://user:hunter2@chat.example.org/x\"
      field: content
      headers: { Host: { env: X }, Authorization: prompt }
";
    let faults = config_in(folder.path(), text).unwrap_err();
    let expected = "\
1:11 there is no time zone `Europe/Berlni` on this machine (did you mean `Europe/Berlin`?)
2:21 not from 1 to 365 (a message that cannot be sent is tried so long)
19:5 a channel is either `mail` or `webhook` (give one of the two)
14:5 the digest lies in the quiet hours (move one of them: the digest would always be late)
";
    for line in expected.lines().map(|line| line.split_once(' ').unwrap().1) {
        assert!(faults.contains(line), "{line}\n--- in\n{faults}");
    }
    for part in [
        "1:11 there is no time zone",
        "2:21 not from 1 to 365",
        "5:5 `mail root` is no name of a channel",
        "8:11 `Ops <ops@example.org>` is no address",
        "9:13 `root\\nBcc: everyone@example.org` is no address",
        "10:16 no program is given",
        "11:13 `daily at 7` is no time for a digest (write `hourly`, `daily at 07:00`",
        "12:18 `22-7` are no hours (write `22:00-07:00`)",
        "15:13 the digest lies in the quiet hours",
        "17:15 a channel that may send nothing",
        "what is told would go over the network unprotected",
        "not from 1 to 120",
        "23:13 `urgent` has nothing to break through",
        "26:12 a password stands in the URL",
        "`field` and `max_chars` belong to `format: text`",
        "`Host` is no header that can be set",
        "a prompt cannot be answered",
    ] {
        assert!(faults.contains(part), "{part}\n--- in\n{faults}");
    }
    assert!(!faults.contains("hunter2"), "{faults}");
}

#[test]
fn unknown_words_get_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let text = "chanels: {}\nchannels:\n  a:\n    mail: { too: [root] }\n    on: changes\n    outcomes: [blokced]\n";
    let faults = config_in(folder.path(), text).unwrap_err();
    for part in ["1:1 ", "`channels`", "4:13 ", "`to`", "5:9 ", "`change`", "6:16 ", "`blocked`"] {
        assert!(faults.contains(part), "{part}\n--- in\n{faults}");
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let text = "channels:\n  a:\n    webhook:\n      url_from: https://chat.example.org/s3cret-1\n\
        \x20     headers: { Authorization: Bearer s3cret-2 }\n";
    let faults = config_in(folder.path(), text).unwrap_err();
    assert!(faults.contains("4:7 `url_from` says where the secret comes from"), "{faults}");
    assert!(faults.contains("5:18 `Authorization` says where the secret comes from"), "{faults}");
    assert!(!faults.contains("s3cret"), "{faults}");
}

#[test]
fn nothing_but_a_name_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "channels: { root: { mail: {} } }\n");
    let Way::Mail(mail) = &config.channels[0].way else { panic!() };
    assert_eq!((mail.to.join(","), mail.from.as_str()), ("root".into(), "root"));
    assert_eq!(mail.command, ["sendmail", "-i", "-t"]);
    assert_eq!((config.channels[0].on, config.give_up_s), (On::Change, 7 * 86_400));
    assert_eq!(config_in(folder.path(), "").unwrap_err().lines().count(), 1);
    assert!(config_in(folder.path(), "channels: {}").unwrap_err().contains("no channel is given"));
}

#[test]
fn the_example_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/notify.yml");
    let mut sources = Sources::default();
    let config = Config::read(&path, &mut sources).unwrap();
    assert!(config.channels.len() >= 3, "{:?}", config.channels);
}
