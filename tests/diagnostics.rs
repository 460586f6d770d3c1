//! Every fault as people see it: `tests/cases/diagnostics/NAME.yml` with `NAME.txt`, what `converge validate` prints.
//!
//! To add a case, write the playbook and run with `BLESS=1`; then read what was written. A first line
//! `# inventory: pve1 pve2 @group` makes hosts and groups known.

use converge::diagnostic::Sources;
use converge::playbook::{Context, Known, load};
use std::path::{Path, PathBuf};

fn context(text: &str) -> Context {
    let mut context = Context::default();
    if let Some(names) = text.lines().next().and_then(|line| line.strip_prefix("# inventory:")) {
        let mut known = Known::default();
        for name in names.split_whitespace() {
            match name.strip_prefix('@') {
                Some(group) => known.groups.insert(group.to_owned()),
                None => known.hosts.insert(name.to_owned()),
            };
        }
        context.inventory = Some(known);
    }
    context
}

fn shown(path: &Path) -> String {
    let text = std::fs::read(path).expect("the case can be read");
    let context = context(&String::from_utf8_lossy(&text));
    let mut sources = Sources::default();
    match load(&[path.to_owned()], &mut sources, &context) {
        Ok(playbooks) => {
            let warnings: Vec<_> = playbooks.into_iter().flat_map(|playbook| playbook.warnings).collect();
            format!("no fault\n\n{}", sources.show(&warnings, false))
        }
        Err(faults) => sources.show(&faults, false),
    }
}

#[test]
fn every_case_is_shown_as_written_down() {
    let dir = Path::new("tests/cases/diagnostics");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the cases are there")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yml"))
        .collect();
    cases.sort();
    assert!(cases.len() > 10, "only {} cases found", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let found = shown(&case);
        let expected_in = case.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected_in, &found).expect("it can be written");
        }
        let expected = std::fs::read_to_string(&expected_in).unwrap_or_default();
        if found != expected {
            let diff = similar::TextDiff::from_lines(&expected, &found);
            wrong.push(format!("{}:\n{}", case.display(), diff.unified_diff().header("expected", "found")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
