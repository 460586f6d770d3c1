//! Every task kind, one line each. Documentation, schema, wire form, completion and laws follow from it.

use super::{AnyTask, Task, Touches};
use crate::yaml;
use serde_json::Value as Json;
use std::borrow::Cow;

type Faults = Vec<crate::diagnostic::Fault>;

/// A kind as the rest of the program sees it: no type, only what can be asked of it.
pub struct Kind {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub example: &'static str,
    pub touches: Touches,
    pub gives_facts: bool,
    /// The field that a bare string stands for.
    pub free_form: Option<&'static str>,
    /// JSON schema of the arguments; `description` is the documentation.
    pub schema: fn() -> schemars::Schema,
    /// Reads the arguments from YAML; every fault with its place. Scalars that hold templates are taken as right.
    pub check: fn(&yaml::Node) -> Faults,
    /// Reads rendered arguments.
    pub decode: fn(&yaml::Node) -> Result<Box<dyn AnyTask>, Faults>,
    /// Reads the wire form.
    pub from_json: fn(Json) -> Result<Box<dyn AnyTask>, serde_json::Error>,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kind").field(&self.name).finish()
    }
}

impl Kind {
    const fn of<T: Task>() -> Self {
        Self {
            name: T::KIND,
            aliases: T::ALIASES,
            example: T::EXAMPLE,
            touches: T::TOUCHES,
            gives_facts: T::GIVES_FACTS,
            free_form: T::FREE_FORM,
            schema: || schemars::schema_for!(T),
            check: |node| match yaml::check_as::<T>(&free_form::<T>(node), Some(T::KIND)) {
                Ok(Some(task)) => arg_faults(&task, node),
                Ok(None) => Vec::new(),
                Err(faults) => faults,
            },
            decode: |node| {
                let task: T = yaml::decode_as(&free_form::<T>(node), Some(T::KIND))?;
                let faults = arg_faults(&task, node);
                if faults.is_empty() { Ok(Box::new(task)) } else { Err(faults) }
            },
            from_json: |json| Ok(Box::new(serde_json::from_value::<T>(json)?)),
        }
    }
}

/// A bare string as the field it stands for, at the same place.
fn free_form<T: Task>(node: &yaml::Node) -> Cow<'_, yaml::Node> {
    match (T::FREE_FORM, &node.value) {
        (Some(field), yaml::Value::Scalar { .. }) => {
            let key = yaml::Node::scalar(field, true, node.span);
            let value = yaml::Value::Mapping(vec![(key, node.clone())]);
            Cow::Owned(yaml::Node { value, span: node.span })
        }
        _ => Cow::Borrowed(node),
    }
}

fn arg_faults<T: Task>(task: &T, node: &yaml::Node) -> Faults {
    Task::check_args(task)
        .into_iter()
        .map(|fault| {
            let place = fault.field.and_then(|name| node.get(name)).unwrap_or(node).span;
            let found = crate::diagnostic::Fault::new(place, fault.message);
            match fault.help {
                Some(help) => found.help(help),
                None => found,
            }
        })
        .collect()
}

/// The kind of that name.
pub fn find(name: &str) -> Option<&'static Kind> {
    // Ansible's fully qualified names mean the same modules.
    let short = name
        .strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.posix."))
        .or_else(|| name.strip_prefix("community.general."))
        .unwrap_or(name);
    KINDS.iter().find(|kind| kind.name == short || kind.aliases.contains(&short))
}

/// Sorted by name.
#[rustfmt::skip]
pub static KINDS: &[Kind] = &[
    Kind::of::<super::apparmor_lines::ApparmorLines>(),
    Kind::of::<super::apt::Apt>(),
    Kind::of::<super::apt_repository::AptRepository>(),
    Kind::of::<super::assert::Assert>(),
    Kind::of::<super::blockinfile::BlockInFile>(),
    Kind::of::<super::command::Command>(),
    Kind::of::<super::copy::Copy>(),
    Kind::of::<super::debug::Debug>(),
    Kind::of::<super::drbd_global::DrbdGlobal>(),
    Kind::of::<super::drbd_module::DrbdModule>(),
    Kind::of::<super::drbd_resource::DrbdResource>(),
    Kind::of::<super::drift_schedule::DriftSchedule>(),
    Kind::of::<super::fail::Fail>(),
    Kind::of::<super::file::File>(),
    Kind::of::<super::filesystem::Filesystem>(),
    Kind::of::<super::get_url::GetUrl>(),
    Kind::of::<super::ha_group::HaGroup>(),
    Kind::of::<super::ha_resource::HaResource>(),
    Kind::of::<super::ha_stop_fix::HaStopFix>(),
    Kind::of::<super::hookscript::Hookscript>(),
    Kind::of::<super::lineinfile::LineInFile>(),
    Kind::of::<super::modprobe::Modprobe>(),
    Kind::of::<super::mount::Mount>(),
    Kind::of::<super::pause::Pause>(),
    Kind::of::<super::pct::Pct>(),
    Kind::of::<super::pve_storage::PveStorage>(),
    Kind::of::<super::pve_template::PveTemplate>(),
    Kind::of::<super::replace::Replace>(),
    Kind::of::<super::set_fact::SetFact>(),
    Kind::of::<super::setup::Setup>(),
    Kind::of::<super::shell::Shell>(),
    Kind::of::<super::stat::Stat>(),
    Kind::of::<super::sysctl::Sysctl>(),
    Kind::of::<super::systemd::Systemd>(),
    Kind::of::<super::template::Template>(),
    Kind::of::<super::wait_for::WaitFor>(),
];
