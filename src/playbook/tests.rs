//! What right playbooks mean. Wrong ones are cases under `tests/cases/diagnostics`.

mod bounds;
mod meaning;

use super::*;
use crate::diagnostic::Sources;

/// Reads text that has no fault.
fn playbook(text: &str) -> Playbook {
    let mut sources = Sources::default();
    parse_str("site.yml", text, &mut sources, &Context::default())
        .unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)))
}

/// What is shown for text that has faults.
fn faults(text: &str) -> String {
    let mut sources = Sources::default();
    match parse_str("site.yml", text, &mut sources, &Context::default()) {
        Ok(playbook) => panic!("there is no fault in {playbook:?}"),
        Err(faults) => sources.show(&faults, false),
    }
}

/// Reads a playbook of several files, the first of which is the one to read.
fn files(files: &[(&str, &str)]) -> Result<Playbook, String> {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    let mut sources = Sources::default();
    match load(&[dir.path().join(files[0].0)], &mut sources, &Context::default()) {
        Ok(mut found) => Ok(found.remove(0)),
        Err(faults) => Err(sources.show(&faults, false).replace(&dir.path().display().to_string(), "DIR")),
    }
}

/// The tasks in order, through blocks and includes.
fn tasks(items: &[Item]) -> Vec<&TaskDef> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Task(task) => found.push(&**task),
            Item::Block(block) => {
                for list in [&block.body, &block.rescue, &block.always] {
                    found.extend(tasks(list));
                }
            }
            Item::Include(include) => {
                if let Included::Loaded(block) = &include.what {
                    found.extend(tasks(&block.body));
                }
            }
            Item::Meta(..) => {}
        }
    }
    found
}

fn names(items: &[Item]) -> Vec<&str> {
    tasks(items).into_iter().map(|task| task.name.as_str()).collect()
}
