//! All faults of a typed value in one run: reads it, notes the fault, lets something stand in there, reads it again.

use super::Node;
use super::de::{De, State, address};
use super::error::{Error, What, one_of};
use crate::diagnostic::{Fault, did_you_mean};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};

/// Each fault costs at most a few readings; whoever has this many will run again anyway.
const MAX_READINGS: usize = 200;

/// The value, if it has no fault and no template keeps it from being known; and every fault.
pub fn run<T: DeserializeOwned>(root: &Node, name: Option<&str>, lenient: bool) -> (Option<T>, Vec<Fault>) {
    let mut state = State { lenient, ..State::default() };
    let mut found = Found { root, name, tree: HashMap::new(), faults: BTreeMap::new() };
    for _ in 0..MAX_READINGS {
        state.templated.set(false);
        let result = T::deserialize(De { node: root, state: &state });
        found.note_unknown(&state);
        match result {
            Ok(value) => {
                let whole = !state.templated.get() && found.faults.is_empty();
                return (whole.then_some(value), found.done());
            }
            Err(error) => {
                if !found.stand_in(error, &mut state) {
                    break;
                }
            }
        }
    }
    (None, found.done())
}

struct Found<'a> {
    root: &'a Node,
    name: Option<&'a str>,
    /// Every node by its address, with the key it stands under; filled when the first fault comes.
    tree: HashMap<usize, (&'a Node, Option<&'a Node>)>,
    /// By place, so that a second reading does not repeat them.
    faults: BTreeMap<(usize, usize, String), Fault>,
}

impl<'a> Found<'a> {
    fn done(self) -> Vec<Fault> {
        self.faults.into_values().collect()
    }

    fn look_up(&mut self, at: usize) -> (&'a Node, Option<&'a Node>) {
        if self.tree.is_empty() {
            index(self.root, None, &mut self.tree);
        }
        self.tree.get(&at).copied().unwrap_or((self.root, None))
    }

    fn add(&mut self, fault: Fault) {
        self.faults.entry((fault.span.start, fault.span.end, fault.message.clone())).or_insert(fault);
    }

    /// The word under which the struct is known to who wrote it.
    fn owner(&self, key: Option<&Node>) -> Option<String> {
        key.and_then(Node::as_str).or(self.name).map(str::to_owned)
    }

    fn note_unknown(&mut self, state: &State) {
        for (at, known) in state.unknown.take() {
            let (key, parent) = self.look_up(at);
            let fault = unknown_field(key, self.owner(parent).as_deref(), known);
            self.add(fault);
        }
    }

    /// Notes the fault and arranges that the next reading gets past it; `false` when nothing more can be done.
    fn stand_in(&mut self, error: Error, state: &mut State) -> bool {
        let Some(&at) = error.path.first() else {
            self.add(Fault::new(self.root.span, error.to_string()));
            return false;
        };
        let (node, key) = self.look_up(at);
        match error.what {
            What::MissingField(field) => {
                // Passed over because of an earlier fault: that one was told.
                let passed_over = node.get(field).is_some();
                if !passed_over {
                    let place = key.unwrap_or(node).span;
                    let fault = Fault::new(place, format!("missing field `{field}`"));
                    self.add(match self.owner(key) {
                        Some(owner) => fault.label(format!("`{owner}` needs `{field}`")),
                        None => fault,
                    });
                }
                let made_up = state.made_up.entry(at).or_default();
                if !made_up.contains(&field) {
                    made_up.push(field);
                    return true;
                }
            }
            What::UnknownField { known, .. } => {
                let fault = unknown_field(node, self.owner(key).as_deref(), known);
                self.add(fault);
                if state.left_out.insert(at) {
                    return true;
                }
            }
            What::Message { message, label, help } => {
                let told = state.stood_in.contains(&at) || state.made_up.contains_key(&at);
                if !(told || state.lenient && node.is_template()) {
                    let mut fault = Fault::new(node.span, message);
                    (fault.label, fault.help) = (label, help);
                    self.add(fault);
                }
            }
        }
        // First another value in its place; if that does not fit either, without it; then the same for what is around.
        error
            .path
            .iter()
            .any(|at| state.stood_in.insert(*at) || (*at != address(self.root) && state.left_out.insert(*at)))
    }
}

fn unknown_field(key: &Node, owner: Option<&str>, known: &[&str]) -> Fault {
    let name = key.as_str().unwrap_or_default();
    let fault = Fault::new(key.span, format!("unknown field `{name}`"));
    let fault = match owner {
        Some(owner) => fault.label(format!("not a field of `{owner}`")),
        None => fault.label("not a field here"),
    };
    match did_you_mean(name, known.iter().copied()) {
        Some(help) => fault.help(help),
        None if known.is_empty() => fault,
        None => fault.help(format!("it has {}", one_of(known).replace(" or ", " and "))),
    }
}

fn index<'a>(node: &'a Node, key: Option<&'a Node>, tree: &mut HashMap<usize, (&'a Node, Option<&'a Node>)>) {
    tree.insert(address(node), (node, key));
    for item in node.items().unwrap_or_default() {
        index(item, key, tree);
    }
    for (name, value) in node.entries().unwrap_or_default() {
        tree.insert(address(name), (name, key));
        index(value, Some(name), tree);
    }
}
