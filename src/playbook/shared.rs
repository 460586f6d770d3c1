//! Words that tasks share with blocks, includes and plays.

use super::loader::Loader;
use super::model::{Common, LoopControl};
use super::tasks::add_tags;
use crate::diagnostic::Fault;
use crate::tasks::Touches;
use crate::tasks::registry::Kind;
use crate::yaml::Node;

impl Loader<'_> {
    /// A word that tasks, blocks and includes share; `false` if it is none.
    pub(super) fn common_word(&mut self, common: &mut Common, key: &Node, value: &Node) -> bool {
        match key.as_str().unwrap_or_default() {
            "when" => common.when = self.expressions(value),
            "changed_when" => common.changed_when = Some(self.expressions(value)),
            "failed_when" => common.failed_when = Some(self.expressions(value)),
            "until" => common.until = Some(self.expressions(value)),
            "loop" | "with_list" => self.loop_over(common, value),
            "with_items" => {
                self.loop_over(common, value);
                common.loop_flatten = true;
            }
            "loop_control" => self.loop_control(common, value),
            "register" => {
                if self.written_out(value).is_some() && self.is_variable(value) {
                    common.register = value.as_str().map(str::to_owned);
                }
            }
            "notify" => common.notify = self.words(value, false),
            "listen" => common.listen = self.words(value, false).into_iter().map(|(word, _)| word).collect(),
            "vars" => common.vars = self.variables(value),
            "retries" => common.retries = self.number(value),
            "delay" => common.delay_s = self.number(value).unwrap_or(common.delay_s),
            "delegate_to" => {
                if self.text(value).is_some() {
                    common.delegate_to = Some(value.clone());
                }
            }
            "delegate_facts" => {
                if self.flag(value) == Some(true) {
                    let fault = Fault::new(key.span, "`delegate_facts` is not supported");
                    self.fault(
                        fault
                            .label("facts and results belong to the host of the play")
                            .help("leave it out; what was found is in `hostvars` of the host that delegated"),
                    );
                }
            }
            "become" | "become_method" | "become_user" => {
                common.becomes = self.become_root(key, value).or(common.becomes);
            }
            word => return self.shared_word(common, word, value),
        }
        true
    }

    /// A word that also plays may say; `false` if it is none.
    pub(super) fn shared_word(&mut self, common: &mut Common, word: &str, value: &Node) -> bool {
        match word {
            "tags" => {
                let tags = self.words(value, true);
                add_tags(&mut common.tags, tags.into_iter().map(|(tag, _)| tag));
            }
            "environment" => {
                for (name, value) in self.entries(value, "a mapping of environment variables") {
                    common.environment.push((name.as_str().unwrap_or_default().to_owned(), value.clone()));
                }
            }
            "no_log" => common.no_log = self.flag(value).unwrap_or(true),
            "ignore_errors" => common.ignore_errors = self.flag(value).unwrap_or_default(),
            "ignore_unreachable" => common.ignore_unreachable = self.flag(value).unwrap_or_default(),
            "any_errors_fatal" => common.any_errors_fatal = self.flag(value).unwrap_or_default(),
            "run_once" => common.run_once = self.flag(value).unwrap_or_default(),
            "check_mode" => common.check_mode = self.flag(value),
            "throttle" => common.throttle = self.number(value),
            "timeout" => common.timeout_s = self.number(value),
            _ => return false,
        }
        true
    }

    /// Words that need one host which does the work; kinds that decide over many have none.
    pub(super) fn without_a_host(&mut self, kind: &Kind, node: &Node) {
        let word = |name: &str| node.entries()?.iter().find(|(key, _)| key.as_str() == Some(name));
        let (all, cluster) = (kind.touches == Touches::AllHosts, kind.touches == Touches::Cluster);
        if let (Some((key, value)), true) = (word("delegate_to"), all || cluster)
            && !(cluster && value.as_str() == Some("cluster"))
        {
            let fault = Fault::new(key.span, format!("`{}` cannot be delegated", kind.name));
            let (label, help) = if all {
                ("it is decided for all hosts of the play at once", "leave it out; `hosts` of the play says where")
            } else {
                ("it concerns the cluster, wherever it is said", "leave it out, in a play with `hosts: cluster`")
            };
            self.fault(fault.label(label).help(help));
        }
        if let (Some((key, _)), true) = (word("environment"), cluster) {
            let fault = Fault::new(key.span, format!("`{}` has no environment", kind.name));
            let fault = fault.label("it asks the Proxmox API, and runs no program of its own");
            self.fault(fault.help("leave it out, or put it on the tasks that run programs"));
        }
    }

    fn loop_over(&mut self, common: &mut Common, value: &Node) {
        if value.items().is_some() || value.is_template() {
            common.loop_ = Some(value.clone());
        } else {
            self.wrong_type(value, "a list, or a template that gives one");
        }
    }

    fn loop_control(&mut self, common: &mut Common, value: &Node) {
        let mut control = LoopControl::default();
        for (key, value) in self.entries(value, "a mapping") {
            match key.as_str().unwrap_or_default() {
                "loop_var" if self.is_variable(value) => {
                    control.loop_var = value.as_str().unwrap_or_default().to_owned();
                }
                "index_var" if self.is_variable(value) => control.index_var = value.as_str().map(str::to_owned),
                "loop_var" | "index_var" => {}
                "label" => control.label = Some(value.clone()),
                "pause" => control.pause_s = self.number::<f64>(value).unwrap_or_default().ceil() as u64,
                "extended" => control.extended = self.flag(value).unwrap_or_default(),
                _ => {
                    let known = ["loop_var", "index_var", "label", "pause", "extended"];
                    self.unknown_key(key, "`loop_control`", known);
                }
            }
        }
        common.loop_control = control;
    }
}
