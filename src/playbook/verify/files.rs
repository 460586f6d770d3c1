//! Files that tasks name: are they there, and are the templates among them right?

use super::Verifier;
use crate::diagnostic::{Fault, Span};
use crate::playbook::loader::clean;
use crate::playbook::model::TaskDef;
use crate::template::has_template;
use std::path::{Path, PathBuf};

/// Fields that name a file of the workstation, with the directory of a role it is looked for in.
const FILES: &[(&str, &str, &str)] = &[("copy", "src", "files"), ("template", "src", "templates")];

impl Verifier<'_, '_> {
    pub(super) fn file(&mut self, task: &TaskDef) {
        let Some((kind, field, dir)) = FILES.iter().find(|(kind, ..)| *kind == task.kind.name) else { return };
        let Some(node) = task.args.get(field) else { return };
        let Some(name) = node.as_str().filter(|name| !name.is_empty() && !has_template(name)) else { return };
        if task.args.get("remote_src").is_some_and(|flag| flag.as_bool() != Some(false)) {
            return;
        }
        let contents = name.ends_with('/');
        let name = Path::new(name);
        let above = task.folder.parent().unwrap_or(&task.folder);
        let mut places: Vec<PathBuf> = match name.is_absolute() {
            true => vec![name.to_owned()],
            false => [task.folder.join(dir), task.folder.clone(), above.join(dir), above.to_owned()]
                .iter()
                .map(|dir| clean(&dir.join(name)))
                .collect(),
        };
        places.dedup();
        match places.iter().find(|place| place.exists()) {
            None => {
                let looked: Vec<String> = places.iter().map(|place| format!("`{}`", place.display())).collect();
                let fault = Fault::new(node.span, format!("there is no file `{}`", name.display()));
                self.tell(fault.label(format!("looked for {}", looked.join(", "))));
            }
            Some(path) if path.is_dir() && *kind == "template" => {
                let fault = Fault::new(node.span, format!("`{}` is a directory, not a template", path.display()));
                self.tell(fault.help("`copy` takes whole directories; `template` with `loop` renders each file"));
            }
            Some(path) if contents && !path.is_dir() => {
                let fault = Fault::new(node.span, format!("`{}` is a file, not a directory", path.display()));
                self.tell(fault.help("write it without the last `/`"));
            }
            Some(path) if *kind == "template" => self.template_file(path, node.span),
            Some(_) => {}
        }
    }

    fn template_file(&mut self, path: &Path, named: Span) {
        let file = match self.templates.get(path) {
            Some(known) => *known,
            None => {
                let file = match crate::yaml::read(path, self.loader.sources) {
                    Ok(file) => Some(file),
                    Err(mut fault) => {
                        fault.message = fault.message.replace("a binary file, not YAML", "a binary file");
                        self.tell(fault.also(named, "named here"));
                        None
                    }
                };
                self.templates.insert(path.to_owned(), file);
                file
            }
        };
        let Some(file) = file else { return };
        let text = self.loader.sources.text(file).clone();
        let found = self.analyser.template(&text);
        let whole = Span { file, start: 0, end: text.len() };
        self.analysed(&found, &text, whole, false, true);
    }
}
