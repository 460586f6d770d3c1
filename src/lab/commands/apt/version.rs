//! Debian version numbers: `[epoch:]upstream[-revision]`, compared as dpkg compares them.

use std::cmp::Ordering;

pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    a.0.cmp(&b.0).then_with(|| part(a.1, b.1)).then_with(|| part(a.2, b.2))
}

fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch.parse().unwrap_or(0), upstream, revision)
}

/// `~` sorts before the end, letters before other characters, digits by value.
fn weight(c: Option<u8>) -> i32 {
    match c {
        None => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_digit() => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(c),
        Some(c) => i32::from(c) + 256,
    }
}

fn part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (a.first().copied(), b.first().copied());
            let more = |c: Option<u8>| c.is_some_and(|c| !c.is_ascii_digit());
            if !more(x) && !more(y) {
                break;
            }
            match weight(x).cmp(&weight(y)) {
                Ordering::Equal => {
                    a = a.get(1..).unwrap_or_default();
                    b = b.get(1..).unwrap_or_default();
                }
                unequal => return unequal,
            }
        }
        let (x, y) = (number(&mut a), number(&mut b));
        match x.len().cmp(&y.len()).then_with(|| x.cmp(y)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// The leading digits without leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|c| **c == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::compare;
    use std::cmp::Ordering::{Equal, Greater, Less};

    #[test]
    fn as_dpkg_orders_them() {
        let cases = [
            ("1.0", "1.0", Equal),
            ("1.0~rc1", "1.0", Less),
            ("1:0.9", "2.0", Greater),
            ("9.34.0-1", "9.22.0-1.1", Greater),
            ("1.0-1", "1.0-1+b1", Less),
            ("2.0.7", "2.0-6", Greater),
            ("1.10", "1.9", Greater),
            ("1.01", "1.1", Equal),
            ("3.2.2-1~deb13u1", "3.2.2-1", Less),
            ("1.0a", "1.0+", Less),
        ];
        for (a, b, wanted) in cases {
            assert_eq!(compare(a, b), wanted, "{a} {b}");
            assert_eq!(compare(b, a), wanted.reverse(), "{b} {a}");
        }
    }
}
