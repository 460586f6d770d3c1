//! Calendar expressions, as systemd understands them. They are read by systemd alone: what it does not know is no time.

use crate::host::{LookError, Output, Probe, Query, Topic};
use jiff::civil::DateTime;

/// What systemd makes of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub normalized: String,
    /// In words, with a zone; `None`: it never comes.
    pub next: Option<String>,
}

pub fn query(expression: &str) -> Query {
    Query::new(Topic::Other, ["systemd-analyze", "calendar", "--", expression])
}

/// `Ok(None)`: there is no systemd-analyze to ask.
///
/// # Errors
/// When systemd does not know the expression, in its words, or nobody answered.
pub fn read(host: &dyn Probe, expression: &str) -> Result<Option<Read>, String> {
    match host.query(&query(expression)) {
        Ok(output) => parse(&output).map(Some),
        Err(LookError::NoProgram { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn parse(output: &Output) -> Result<Read, String> {
    if output.rc != 0 {
        return Err(output.complaint().to_owned());
    }
    let value = |key: &str| {
        output.stdout.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':')).map(str::trim)
    };
    let Some(normalized) = value("Normalized form") else {
        return Err(format!("systemd-analyze answered something else: {}", output.stdout.trim()));
    };
    let next = value("Next elapse").filter(|next| *next != "never").map(str::to_owned);
    Ok(Read { normalized: normalized.to_owned(), next })
}

/// The shortest time between two of the moments that come next (seconds). Where there is no systemd-analyze, that of the
/// words that everybody knows, and an hour for the rest.
///
/// # Errors
/// When systemd does not know a time, when none ever comes, or nobody answered.
pub fn pause(host: &dyn Probe, times: &[&str]) -> Result<u64, String> {
    let mut moments: Vec<DateTime> = Vec::new();
    for time in times {
        let argv = ["systemd-analyze", "calendar", "--iterations=3", "--", time];
        match host.query(&Query::new(Topic::Other, argv)) {
            Ok(output) => {
                let read = parse(&output).map_err(|why| format!("{time}: {why}"))?;
                if read.next.is_none() {
                    return Err(format!("{time}: that time never comes"));
                }
                moments.extend(elapses(&output.stdout));
            }
            Err(LookError::NoProgram { .. }) => return Ok(times.iter().map(|time| known(time)).min().unwrap_or(HOUR)),
            Err(error) => return Err(error.to_string()),
        }
    }
    moments.sort();
    let pairs = moments.windows(2).filter_map(|pair| u64::try_from(pair[0].duration_until(pair[1]).as_secs()).ok());
    Ok(pairs.filter(|seconds| *seconds > 0).min().unwrap_or(24 * HOUR))
}

const HOUR: u64 = 3600;

fn known(time: &str) -> u64 {
    match time {
        "minutely" => 60,
        "daily" => 24 * HOUR,
        "weekly" => 7 * 24 * HOUR,
        "monthly" => 28 * 24 * HOUR,
        "quarterly" => 90 * 24 * HOUR,
        "semiannually" => 181 * 24 * HOUR,
        "yearly" | "annually" => 365 * 24 * HOUR,
        _ => HOUR,
    }
}

/// `Next elapse: Mon 2026-11-23 00:00:00 UTC`, `Iter. #2: …`. All in one zone; a clock change between two of them makes
/// them an hour longer or shorter, which does not matter here.
fn elapses(text: &str) -> impl Iterator<Item = DateTime> {
    text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once(": ")?;
        let moment = key == "Next elapse" || key.starts_with("Iter. #");
        let mut words = value.split_whitespace().skip(1).filter(|_| moment);
        format!("{}T{}", words.next()?, words.next()?).parse().ok()
    })
}

/// A span of time as systemd writes it: `90`, `15m`, `1h 30min`. In seconds.
///
/// # Errors
/// What is not understood.
pub fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no span of time: `90`, `15m`, `1h 30m`");
    let (mut total, mut rest) = (0_u64, text.trim());
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let after = rest[digits..].trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = match &after[..letters] {
            "" | "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hr" | "hour" | "hours" => 3600,
            "d" | "day" | "days" => 86400,
            "w" | "week" | "weeks" => 604_800,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(unit).and_then(|s| total.checked_add(s)).ok_or_else(wrong)?;
        rest = after[letters..].trim_start();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        for (text, expected) in
            [("90", 90), ("15m", 900), ("1h 30min", 5400), ("2d", 172_800), ("0", 0), ("1h30m", 5400)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "soon", "5 fortnights", "m", "-5", "1.5h", "99999999999999999999"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    /// As systemd 252 answers.
    #[test]
    fn the_shortest_pause_is_told_by_the_moments_that_come() {
        let said = "  Original form: daily\nNormalized form: *-*-* 00:00:00\n    Next elapse: Mon 2026-11-23 00:00:00 UTC\n       From now: 3h 9min left\n       Iter. #2: Tue 2026-11-24 00:00:00 UTC\n       From now: 1 day 3h left\n";
        let moments: Vec<DateTime> = elapses(said).collect();
        assert_eq!(moments, ["2026-11-23T00:00:00".parse().unwrap(), "2026-11-24T00:00:00".parse().unwrap()]);
    }

    #[test]
    fn an_answer_is_read_by_its_keys() {
        let said = "  Original form: daily\nNormalized form: *-*-* 00:00:00\n    Next elapse: Mon 2026-11-23 00:00:00 UTC\n       From now: 3h left\n";
        let read = parse(&Output::ok(said)).unwrap();
        assert_eq!(read.normalized, "*-*-* 00:00:00");
        assert_eq!(read.next.as_deref(), Some("Mon 2026-11-23 00:00:00 UTC"));
        let never = "Normalized form: 2020-01-01 00:00:00\n    Next elapse: never\n";
        assert_eq!(parse(&Output::ok(never)).unwrap().next, None);
        assert!(parse(&Output::failed(1, "Failed to parse calendar specification 'x': Invalid argument")).is_err());
        assert!(parse(&Output::ok("")).is_err());
    }
}
