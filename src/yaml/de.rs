//! serde's view of a tree. One pass stops at the first fault, as serde must; [`super::collect`] runs it again with
//! that place stood in for, until all faults are known.

use super::access::{Fields, Items};
use super::error::{Error, wrong_type};
use super::stand_in::{StandIn, Variant};
use super::{Node, Value, scalar};
use serde::de::{Deserializer, Visitor};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

/// What stands in for nodes that cannot be read, and what was learnt on the way.
#[derive(Default)]
pub struct State {
    /// Templates are not rendered yet and fit any type.
    pub lenient: bool,
    /// A template was taken as right, so the value as a whole is not known.
    pub templated: Cell<bool>,
    /// Nodes that answer any request with some value.
    pub stood_in: HashSet<usize>,
    /// Entries of mappings and items of lists that are passed over.
    pub left_out: HashSet<usize>,
    /// Fields to make up, by the mapping they are missing from.
    pub made_up: HashMap<usize, Vec<&'static str>>,
    /// Unknown keys and their structs' fields, found up front.
    pub unknown: RefCell<Vec<(usize, &'static [&'static str])>>,
}

impl State {
    /// All at once, because the pass may end before it comes to the last of them.
    pub fn note_unknown(&self, entries: &[(Node, Node)], known: &'static [&'static str]) {
        for (key, _) in entries {
            if known.contains(&key.as_str().unwrap_or_default()) {
                continue;
            }
            let mut unknown = self.unknown.borrow_mut();
            if !unknown.iter().any(|(at, _)| *at == address(key)) {
                unknown.push((address(key), known));
            }
        }
    }
}

pub fn address(node: &Node) -> usize {
    std::ptr::from_ref(node) as usize
}

#[derive(Clone, Copy)]
pub struct De<'a> {
    pub node: &'a Node,
    pub state: &'a State,
}

/// `DrbdResource` → `drbd_resource`.
pub fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

impl<'a> De<'a> {
    fn poisoned(&self) -> bool {
        !self.state.stood_in.is_empty() && self.state.stood_in.contains(&address(self.node))
    }

    fn stands_in(&self) -> bool {
        if self.poisoned() {
            return true;
        }
        if self.state.lenient && self.node.is_template() {
            self.state.templated.set(true);
            return true;
        }
        false
    }

    pub fn placed<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|mut error| {
            error.path.push(address(self.node));
            error
        })
    }

    pub fn other(&self, node: &'a Node) -> De<'a> {
        De { node, state: self.state }
    }

    fn text(&self, expected: &str) -> Result<&'a str, Error> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => Ok(text),
            _ => Err(wrong_type(expected, self.node.what())),
        }
    }

    fn integer<T: std::str::FromStr>(&self, expected: &str) -> Result<T, Error> {
        let text = self.text(expected)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::message(format!("`{text}` could be decimal or octal"))
                .label("not a plain whole number")
                .help(Some(format!("write `{}`", digits.trim_start_matches('0')))));
        }
        text.parse().map_err(|_| {
            if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
                return Error::message(format!("{text} is out of range"))
                    .label(format!("expected {}", super::error::in_words(expected)));
            }
            wrong_type(expected, self.node.what())
        })
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty,)*) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
            if self.stands_in() {
                return self.placed(StandIn(self).$method(visitor));
            }
            let result = self.integer::<$type>(stringify!($type)).and_then(|number| visitor.$visit(number));
            self.placed(result)
        })*
    };
}

impl<'a> Deserializer<'a> for De<'a> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            _ if self.poisoned() => StandIn(self).deserialize_any(visitor),
            Value::Sequence(items) => visitor.visit_seq(Items::new(items, self)),
            Value::Mapping(_) => visitor.visit_map(Fields::new(self, None)),
            Value::Scalar { text, plain } => {
                // Counts as a template even when text fits, because the final value is another.
                if self.state.lenient && scalar::has_template(text) {
                    self.state.templated.set(true);
                }
                if *plain { visit_untyped(text, visitor) } else { visitor.visit_borrowed_str(text) }
            }
        };
        self.placed(result)
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.stands_in() {
            return self.placed(StandIn(self).deserialize_bool(visitor));
        }
        let result = match self.node.as_bool() {
            Some(truth) => visitor.visit_bool(truth),
            None => Err(wrong_type("true or false", self.node.what())),
        };
        self.placed(result)
    }

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.stands_in() {
            return self.placed(StandIn(self).deserialize_f64(visitor));
        }
        let number = self.text("f64").and_then(|text| {
            let looks_right = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            let number: Option<f64> = text.parse().ok().filter(|n: &f64| looks_right && n.is_finite());
            number.ok_or_else(|| wrong_type("f64", self.node.what()))
        });
        self.placed(number.and_then(|number| visitor.visit_f64(number)))
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.stands_in() {
            return self.placed(StandIn(self).deserialize_str(visitor));
        }
        let result = self.text("a string").and_then(|text| visitor.visit_borrowed_str(text));
        self.placed(result)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = self.text("a string").and_then(|text| visitor.visit_borrowed_bytes(text.as_bytes()));
        self.placed(result)
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() || self.poisoned() {
            return self.placed(visitor.visit_none());
        }
        let result = visitor.visit_some(self);
        self.placed(result)
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.stands_in() || self.node.is_null() {
            return self.placed(visitor.visit_unit());
        }
        self.placed(Err(wrong_type("unit", self.node.what())))
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        let result = visitor.visit_newtype_struct(self);
        self.placed(result)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            _ if self.stands_in() => StandIn(self).deserialize_seq(visitor),
            Value::Sequence(items) => visitor.visit_seq(Items::new(items, self)),
            _ => Err(wrong_type("a list", self.node.what())),
        };
        self.placed(result)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            _ if self.stands_in() => StandIn(self).deserialize_map(visitor),
            Value::Mapping(_) => visitor.visit_map(Fields::new(self, None)),
            _ => Err(wrong_type("a mapping", self.node.what())),
        };
        self.placed(result)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            _ if self.stands_in() => StandIn(self).deserialize_struct(name, fields, visitor),
            Value::Mapping(_) => visitor.visit_map(Fields::new(self, Some(fields))),
            // `apt:` without anything below it: all defaults.
            _ if self.node.is_null() => visitor.visit_map(Fields::empty(self)),
            _ => Err(wrong_type(&format!("struct {name}"), self.node.what())),
        };
        self.placed(result)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            _ if self.stands_in() => StandIn(self).deserialize_enum(name, variants, visitor),
            Value::Scalar { text, .. } if !self.node.is_null() => {
                visitor.visit_enum(Variant { name: text, value: None, made_up: false, of: self })
            }
            Value::Mapping(entries) => match entries.as_slice() {
                [(key, value)] => {
                    let name = key.as_str().unwrap_or_default();
                    visitor.visit_enum(Variant { name, value: Some(value), made_up: false, of: self })
                }
                _ => Err(wrong_type(&format!("one key of {}", super::error::one_of(variants)), "several")),
            },
            _ => Err(wrong_type(&super::error::one_of(variants), self.node.what())),
        };
        self.placed(result)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = visitor.visit_borrowed_str(self.node.as_str().unwrap_or_default());
        self.placed(result)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

fn visit_untyped<'a, V: Visitor<'a>>(text: &'a str, visitor: V) -> Result<V::Value, Error> {
    use serde_json::Value as Json;
    match scalar::untyped(text) {
        Json::Null => visitor.visit_unit(),
        Json::Bool(truth) => visitor.visit_bool(truth),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => visitor.visit_u64(number),
            (_, Some(number), _) => visitor.visit_i64(number),
            (_, _, number) => visitor.visit_f64(number.unwrap_or_default()),
        },
        _ => visitor.visit_borrowed_str(text),
    }
}
