//! Which options DRBD has, what values they take and in which unit a plain number counts.
//!
//! An option that is not in [`KNOWN`] is not refused: it may be one of a later release, and `drbdadm` has the last word.

mod known;

pub use known::KNOWN;

/// One option of one section (`options`, `net`, `disk`, `startup`, `global`, `handlers`).
pub struct Known {
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    /// As the tools print it; empty where they name none.
    pub default: &'static str,
}

pub enum Kind {
    /// Bounds in units of `unit` bytes (1 also where the option counts no bytes). `words` stand beside numbers.
    Number {
        min: u64,
        max: u64,
        unit: u64,
        words: &'static [&'static str],
    },
    /// `yes` or `no`; a bare name means yes.
    Bool,
    OneOf(&'static [&'static str]),
    Text,
}

/// The option of that name in that section.
pub fn find(section: &str, name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|k| k.section == section && k.name == name)
}

/// Sections in which an option of that name exists.
pub fn sections_of(name: &str) -> Vec<&'static str> {
    KNOWN.iter().filter(|k| k.name == name).map(|k| k.section).collect()
}

/// Why `value` is no value for the option; `Ok` also for options that are not known.
pub fn check(section: &str, name: &str, value: &str) -> Result<(), String> {
    let Some(known) = find(section, name) else { return Ok(()) };
    match &known.kind {
        Kind::Text => Ok(()),
        Kind::Bool if matches!(value, "" | "yes" | "no") => Ok(()),
        Kind::Bool => Err(format!("`{value}` is not yes or no")),
        Kind::OneOf(words) if words.contains(&value) => Ok(()),
        Kind::OneOf(words) => Err(format!("`{value}` is not one of {}", words.join(", "))),
        Kind::Number { words, .. } if words.contains(&value) => Ok(()),
        Kind::Number { min, max, unit, words } => {
            let beside = if words.is_empty() { String::new() } else { format!(" or one of {}", words.join(", ")) };
            let Some(number) = in_units(value, *unit) else {
                return Err(format!("`{value}` is not a number{beside} (units are k, M, G and s: `2M`, not `2MB`)"));
            };
            if number < u128::from(*min) || number > u128::from(*max) {
                let of = if *unit == 1 { String::new() } else { format!(" (in units of {unit} bytes)") };
                return Err(format!("{value} is out of range [{min}..{max}]{of}"));
            }
            Ok(())
        }
    }
}

/// A value in a form in which equal meanings are equal texts: `10M` and `20480` of c-fill-target, a bare flag and `yes`.
pub fn normal(section: &str, name: &str, value: &str) -> String {
    match find(section, name).map(|k| &k.kind) {
        Some(Kind::Bool) if value.is_empty() => "yes".into(),
        Some(Kind::Number { unit, words, .. }) if !words.contains(&value) => {
            in_units(value, *unit).map_or_else(|| value.to_owned(), |n| n.to_string())
        }
        _ => value.to_owned(),
    }
}

/// `10M` → how many `unit` bytes; a plain number counts units already.
fn in_units(value: &str, unit: u64) -> Option<u128> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u128 = digits.parse().ok()?;
    let factor: u128 = match &value[digits.len()..] {
        "" => return Some(number),
        "s" => 512,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    Some(number.checked_mul(factor)? / u128::from(unit))
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
