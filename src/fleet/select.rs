//! Which tasks run: tags and `--start-at-task`; and how they are called.

use super::flow::Scene;
use super::vars::Vars;
use super::{Fleet, Options};
use crate::playbook::TaskDef;
use crate::template;

impl Fleet<'_> {
    /// Tags and `--start-at-task`.
    pub(super) fn selected(&mut self, scene: &Scene<'_>, own: &[String], name: Option<&str>) -> bool {
        if scene.handler {
            return true;
        }
        if !self.started {
            match &self.options.start_at_task {
                Some(wanted) if name == Some(wanted) => self.started = true,
                _ => return false,
            }
        }
        let inherited = scene.chain.iter().flat_map(|e| &e.tags);
        let tags: Vec<&str> = own.iter().chain(inherited).chain(&scene.play.tags).map(String::as_str).collect();
        selected_by_tags(&tags, self.options)
    }

    pub(super) fn task_name(&mut self, scene: &Scene<'_>, def: &TaskDef, host: &str) -> String {
        // A name may hold what `no_log` hides.
        if def.common.no_log || !template::has_template(&def.name) {
            return def.name.clone();
        }
        let scope = self.scope(scene, host, &def.common.vars, Vars::new());
        template::render(&def.name, &scope.value()).unwrap_or_else(|_| def.name.clone())
    }
}

/// Ansible's meaning of `always`, `never`, `all`, `tagged` and `untagged`.
pub fn selected_by_tags(tags: &[&str], options: &Options) -> bool {
    let has = |set: &std::collections::BTreeSet<String>| tags.iter().any(|t| set.contains(*t));
    let never = tags.contains(&"never");
    let wanted = if options.tags.is_empty() || options.tags.contains("all") {
        !never || has(&options.tags)
    } else {
        has(&options.tags)
            || (tags.contains(&"always") && !options.skip_tags.contains("always"))
            || (options.tags.contains("tagged") && !tags.is_empty() && !never)
            || (options.tags.contains("untagged") && tags.is_empty())
    };
    wanted && !has(&options.skip_tags)
}
