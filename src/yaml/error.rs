//! What can go wrong while a typed value is read, before it has a place.

use serde::de::{Expected, Unexpected};
use std::fmt::{self, Display};

/// Made where no place is known; the deserializer adds the innermost one as the error passes up.
#[derive(Debug)]
pub struct Error {
    pub what: What,
    /// Address of the node in question and of those around it, innermost first.
    pub path: Vec<usize>,
}

#[derive(Debug)]
pub enum What {
    Message { message: String, label: Option<String>, help: Option<String> },
    UnknownField { name: String, known: &'static [&'static str] },
    MissingField(&'static str),
}

impl Error {
    pub fn message(message: impl Into<String>) -> Self {
        Self { what: What::Message { message: message.into(), label: None, help: None }, path: Vec::new() }
    }

    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let What::Message { label, .. } = &mut self.what {
            *label = Some(text.into());
        }
        self
    }

    pub fn help(mut self, text: Option<String>) -> Self {
        if let What::Message { help, .. } = &mut self.what {
            *help = text;
        }
        self
    }
}

impl serde::de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self::message(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Map => "a mapping",
            Unexpected::Seq => "a list",
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) | Unexpected::Char(_) => "text",
            other => return Self::custom(format_args!("expected {expected}, found {other}")),
        };
        wrong_type(&expected.to_string(), found)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match unexpected {
            Unexpected::Str(text) => {
                Self::message(format!("`{text}` does not fit here")).label(format!("expected {}", plain(expected)))
            }
            Unexpected::Signed(number) => Self::out_of_range(number, expected),
            Unexpected::Unsigned(number) => Self::out_of_range(number, expected),
            other => Self::message(format!("{other} does not fit here")).label(format!("expected {}", plain(expected))),
        }
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let error = Self::message(format!("unknown value `{variant}`"));
        let help = crate::diagnostic::did_you_mean(variant, known.iter().copied());
        error.label(format!("expected {}", one_of(known))).help(help)
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self { what: What::UnknownField { name: name.to_owned(), known }, path: Vec::new() }
    }

    fn missing_field(name: &'static str) -> Self {
        Self { what: What::MissingField(name), path: Vec::new() }
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::message(format!("`{name}` is given twice, under two of its names"))
    }
}

impl Error {
    fn out_of_range(number: impl Display, expected: &dyn Expected) -> Self {
        Self::message(format!("{number} is out of range")).label(format!("expected {}", plain(expected)))
    }
}

pub fn wrong_type(expected: &str, found: &str) -> Error {
    Error::message(format!("wrong type: expected {}, found {found}", in_words(expected)))
        .label(format!("not {}", in_words(expected)))
}

/// "`a`, `b` or `c`".
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", most.join(", "))
        }
    }
}

fn plain(expected: &dyn Expected) -> String {
    in_words(&expected.to_string())
}

/// serde's names of Rust types in the words of those who write playbooks.
pub fn in_words(expected: &str) -> String {
    match expected {
        "a string" | "a borrowed string" | "string" => "text",
        "a sequence" => "a list",
        "a map" => "a mapping",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" | "u128" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => "a whole number",
        "f32" | "f64" => "a number",
        "unit" => "nothing",
        other => {
            if let Some(name) = other.strip_prefix("struct ").or_else(|| other.strip_prefix("enum ")) {
                return format!("the parameters of `{}`", super::de::snake_case(name));
            }
            other
        }
    }
    .to_owned()
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Message { message, .. } => f.write_str(message),
            What::UnknownField { name, .. } => write!(f, "unknown field `{name}`"),
            What::MissingField(name) => write!(f, "missing field `{name}`"),
        }
    }
}

impl std::error::Error for Error {}
