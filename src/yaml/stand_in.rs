//! Answers for values that cannot be read (or are templates yet), so that the reading goes on to the next fault.
//! Nothing made here leaves the module: a value with a fault is never returned.

use super::Node;
use super::de::De;
use super::error::Error;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Gives the poorest value of any type.
pub struct StandIn<'a>(pub De<'a>);

macro_rules! poorest {
    ($($method:ident $visit:ident $value:expr,)*) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit($value)
        })*
    };
}

impl<'a> Deserializer<'a> for StandIn<'a> {
    type Error = Error;

    poorest! {
        deserialize_bool visit_bool false,
        deserialize_i8 visit_i8 0,
        deserialize_i16 visit_i16 0,
        deserialize_i32 visit_i32 0,
        deserialize_i64 visit_i64 0,
        deserialize_i128 visit_i128 0,
        deserialize_u8 visit_u8 0,
        deserialize_u16 visit_u16 0,
        deserialize_u32 visit_u32 0,
        deserialize_u64 visit_u64 0,
        deserialize_u128 visit_u128 0,
        deserialize_f32 visit_f32 0.0,
        deserialize_f64 visit_f64 0.0,
        deserialize_char visit_char '-',
        deserialize_bytes visit_borrowed_bytes b"",
        deserialize_byte_buf visit_borrowed_bytes b"",
        deserialize_seq visit_seq Nothing,
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MadeUp { fields: [].iter(), of: self.0 })
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    /// The template as written, where it is one: some checks look into it.
    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0.node.as_str().unwrap_or_default())
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Nothing)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Nothing)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(MadeUp { fields: fields.iter(), of: self.0 })
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match variants.first() {
            Some(first) => visitor.visit_enum(Variant { name: first, value: None, made_up: true, of: self.0 }),
            None => Err(Error::message("no value fits here")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

struct Nothing;

impl<'a> SeqAccess<'a> for Nothing {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, _seed: T) -> Result<Option<T::Value>, Error> {
        Ok(None)
    }
}

/// A struct of which every field is made up.
struct MadeUp<'a> {
    fields: std::slice::Iter<'static, &'static str>,
    of: De<'a>,
}

impl<'a> MapAccess<'a> for MadeUp<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.fields.next().map(|name| seed.deserialize(StrDeserializer::<Error>::new(name))).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(StandIn(self.of))
    }
}

/// A variant of an enum, as written or made up.
pub struct Variant<'a> {
    pub name: &'a str,
    /// What stands below its name.
    pub value: Option<&'a Node>,
    pub made_up: bool,
    pub of: De<'a>,
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        Ok((seed.deserialize(StrDeserializer::<Error>::new(self.name))?, self))
    }
}

impl<'a> Variant<'a> {
    fn below(&self) -> Result<De<'a>, Error> {
        let value = self.value.map(|node| self.of.other(node));
        value.ok_or_else(|| Error::message(format!("`{}` needs a value: write `{}: …`", self.name, self.name)))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.value {
            Some(node) if !node.is_null() => Err(Error::message(format!("`{}` takes no value", self.name))),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Error> {
        if self.made_up {
            return seed.deserialize(StandIn(self.of));
        }
        let below = self.below()?;
        below.placed(seed.deserialize(below))
    }

    fn tuple_variant<V: Visitor<'a>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        if self.made_up { visitor.visit_seq(Nothing) } else { self.below()?.deserialize_tuple(len, visitor) }
    }

    fn struct_variant<V: Visitor<'a>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        if self.made_up {
            return StandIn(self.of).deserialize_struct("", fields, visitor);
        }
        self.below()?.deserialize_struct("", fields, visitor)
    }
}
