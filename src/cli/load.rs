//! What several commands need before they start: playbooks and extra variables, read and proved.

use crate::diagnostic::Sources;
use crate::inventory::Inventory;
use crate::playbook::{self, Context, Known, Playbook};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// `-e key=value`, `-e '{"key": 1}'`, `-e @file`; later wins.
pub fn extra_vars(given: &[String]) -> Result<BTreeMap<String, Json>, String> {
    let mut vars = BTreeMap::new();
    for word in given {
        let text = match word.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file).map_err(|e| format!("--extra-vars {word}: {e}"))?,
            None if word.trim_start().starts_with('{') => word.clone(),
            None => {
                let (key, value) = word
                    .split_once('=')
                    .ok_or_else(|| format!("--extra-vars {word}: write key=value, JSON, or @file"))?;
                vars.insert(key.trim().to_owned(), Json::String(value.to_owned()));
                continue;
            }
        };
        let map: BTreeMap<String, Json> =
            serde_yaml::from_str(&text).map_err(|e| format!("--extra-vars {word}: {e}"))?;
        vars.extend(map);
    }
    Ok(vars)
}

pub fn context(inventory: Option<Known>, extra_vars: &BTreeMap<String, Json>) -> Context {
    Context { extra_vars: extra_vars.keys().cloned().collect(), inventory }
}

/// The names that an inventory defines.
pub fn known(inventory: &Inventory) -> Known {
    let mut groups: BTreeSet<String> = inventory.groups.keys().cloned().collect();
    groups.insert("all".to_owned());
    Known { hosts: inventory.hosts.iter().cloned().collect(), groups, vars: inventory.var_names(), open: false }
}

/// The playbooks, or every fault as text.
pub fn playbooks(paths: &[PathBuf], sources: &mut Sources, context: &Context) -> Result<Vec<Playbook>, String> {
    super::playbooks_exist(paths)?;
    let colour = super::colour(&std::io::stderr());
    let loaded = playbook::load(paths, sources, context).map_err(|faults| {
        let count = faults.len();
        let shown = sources.show(&faults, colour);
        format!("{}\n{count} fault{} found; no host was touched", shown.trim_end(), if count == 1 { "" } else { "s" })
    })?;
    for playbook in &loaded {
        for warning in &playbook.warnings {
            tell!("warning: {}: {}", sources.place(warning.span), warning.message);
        }
    }
    Ok(loaded)
}
