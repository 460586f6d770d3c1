//! Fields that hold a password: where it comes from, and that the task says nothing of its values.

use super::Verifier;
use crate::diagnostic::Fault;
use crate::playbook::model::TaskDef;
use crate::template::has_template;

/// Kind and field.
const SECRETS: &[(&str, &str)] = &[("pct", "password")];

impl Verifier<'_, '_> {
    /// The faults stand at the kind's name: at the field, they would show the password.
    pub(super) fn secret(&mut self, task: &TaskDef) {
        let Some((kind, field)) = SECRETS.iter().find(|(kind, _)| *kind == task.kind.name) else { return };
        let Some(text) = task.args.get(field).and_then(|node| node.as_str()) else { return };
        if !has_template(text) {
            let fault = Fault::new(task.kind_span, format!("the `{field}` of this `{kind}` stands in the playbook"));
            self.tell(fault.help(format!(
                "take it from outside: `{field}: \"{{{{ lookup('env', 'CT_PASSWORD') }}}}\"`, or a variable"
            )));
        }
        if !task.common.no_log {
            let fault = Fault::new(task.kind_span, format!("a task with `{field}` needs `no_log: true`"));
            self.tell(fault.help("without it, a fault may show the values of the task"));
        }
    }
}
