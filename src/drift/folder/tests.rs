use super::*;

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn all_forms_change_at_once_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reports");
    for id in 1..=5 {
        let folder = Folder::open(&path).unwrap();
        let text = format!("run {id}");
        folder.publish(id, &[("report.html", text.as_bytes()), ("drift.prom", text.as_bytes())]).unwrap();
        assert_eq!(read(&path, "report.html"), text);
        assert_eq!(read(&path, "drift.prom"), text);
    }
    let runs: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .flatten()
        .map(|e| e.file_name().into_string().unwrap())
        .filter(|n| n.starts_with(PREFIX))
        .collect();
    assert_eq!(runs.len(), KEPT, "{runs:?}");
}

#[test]
fn a_run_that_died_while_writing_leaves_the_report_before() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    folder.publish(1, &[("report.html", b"good")]).unwrap();
    // What a death before the last step leaves.
    fs::create_dir(dir.path().join("run-2")).unwrap();
    fs::write(dir.path().join("run-2/report.html"), "ha").unwrap();
    symlink("run-2", dir.path().join(".current.new")).unwrap();
    assert_eq!(read(dir.path(), "report.html"), "good");
    folder.publish(2, &[("report.html", b"better")]).unwrap();
    assert_eq!(read(dir.path(), "report.html"), "better");
}

#[test]
fn a_file_of_somebody_else_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("report.html"), "mine").unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let error = folder.publish(1, &[("report.html", b"x")]).unwrap_err().to_string();
    assert!(error.contains("move it away"), "{error}");
    assert_eq!(read(dir.path(), "report.html"), "mine");
}

#[test]
fn two_writers_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let first = Folder::open(dir.path()).unwrap();
    let path = dir.path().to_owned();
    let second = std::thread::spawn(move || Folder::open(&path).map(|folder| folder.publish(2, &[("a", b"2")])));
    std::thread::sleep(Duration::from_millis(120));
    assert!(!dir.path().join("a").exists());
    first.publish(1, &[("a", b"1")]).unwrap();
    drop(first);
    second.join().unwrap().unwrap().unwrap();
    assert_eq!(read(dir.path(), "a"), "2");
}

#[test]
fn a_history_that_is_begun_anew_does_not_take_the_report_away() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    folder.publish(1, &[("report.html", b"old")]).unwrap();
    let before = fs::read_link(dir.path().join(CURRENT)).unwrap();
    folder.publish(1, &[("report.html", b"new")]).unwrap();
    assert_eq!(read(dir.path(), "report.html"), "new");
    assert!(dir.path().join(before).exists(), "whoever reads the old one may end");
}
