//! The items of lists and the entries of mappings, as serde asks for them one by one.
//!
//! What is passed over after a fault is not handed out; an unknown key is noted, never taken for a field.

use super::Node;
use super::de::{De, address};
use super::error::Error;
use super::stand_in::StandIn;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

pub struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    of: De<'a>,
}

impl<'a> Items<'a> {
    pub fn new(items: &'a [Node], of: De<'a>) -> Self {
        Self { items: items.iter(), of }
    }
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        for node in self.items.by_ref() {
            if self.of.state.left_out.contains(&address(node)) {
                continue;
            }
            let de = self.of.other(node);
            return de.placed(seed.deserialize(de)).map(Some);
        }
        Ok(None)
    }
}

/// The entries of a mapping, without those passed over, with those made up.
pub struct Fields<'a> {
    entries: std::slice::Iter<'a, (Node, Node)>,
    known: Option<&'static [&'static str]>,
    made_up: std::slice::Iter<'a, &'static str>,
    /// The value to the key just given; `None`: made up.
    value: Option<&'a Node>,
    of: De<'a>,
}

impl<'a> Fields<'a> {
    pub fn new(of: De<'a>, known: Option<&'static [&'static str]>) -> Self {
        let entries = of.node.entries().unwrap_or_default();
        if let Some(known) = known {
            of.state.note_unknown(entries, known);
        }
        Self { entries: entries.iter(), known, ..Self::empty(of) }
    }

    pub fn empty(of: De<'a>) -> Self {
        let made_up = of.state.made_up.get(&address(of.node)).map_or([].iter(), |fields| fields.iter());
        Self { entries: [].iter(), known: None, made_up, value: None, of }
    }
}

impl<'a> MapAccess<'a> for Fields<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        for (key, value) in self.entries.by_ref() {
            let left_out = &self.of.state.left_out;
            if !left_out.is_empty() && (left_out.contains(&address(key)) || left_out.contains(&address(value))) {
                continue;
            }
            if let Some(known) = self.known
                && !known.contains(&key.as_str().unwrap_or_default())
            {
                continue;
            }
            self.value = Some(value);
            let de = self.of.other(key);
            return de.placed(seed.deserialize(super::key::Key(de))).map(Some);
        }
        match self.made_up.next() {
            None => Ok(None),
            Some(name) => {
                self.value = None;
                seed.deserialize(StrDeserializer::<Error>::new(name)).map(Some)
            }
        }
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Error> {
        match self.value.take() {
            None => seed.deserialize(StandIn(self.of)),
            Some(node) => {
                let de = self.of.other(node);
                de.placed(seed.deserialize(de))
            }
        }
    }
}
