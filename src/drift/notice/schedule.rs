//! When a channel may speak: digests and quiet hours, in the local time of a place. It never asks the clock.
//!
//! On the day the clocks change a digest comes once: at the first of two 02:30, and at 03:30 where 02:30 is left out.

use crate::drift::Time;
use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// When what was collected is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// On the hour.
    Hourly,
    Daily(civil::Time),
    /// Monday to Friday.
    Workdays(civil::Time),
    Weekly(civil::Weekday, civil::Time),
}

/// From the first time of day up to, and without, the second; over midnight where that is the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    pub from: civil::Time,
    pub to: civil::Time,
}

pub const DIGEST_FORMS: &str = "write `hourly`, `daily at 07:00`, `workdays at 07:00` or `weekly on monday at 07:00`";
pub const QUIET_FORMS: &str = "write `22:00-07:00`";

const DAYS: [(&str, civil::Weekday); 7] = [
    ("monday", civil::Weekday::Monday),
    ("tuesday", civil::Weekday::Tuesday),
    ("wednesday", civil::Weekday::Wednesday),
    ("thursday", civil::Weekday::Thursday),
    ("friday", civil::Weekday::Friday),
    ("saturday", civil::Weekday::Saturday),
    ("sunday", civil::Weekday::Sunday),
];

impl Digest {
    /// One of [`DIGEST_FORMS`].
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["hourly"] => Some(Self::Hourly),
            ["daily", "at", time] => Some(Self::Daily(time_of_day(time)?)),
            ["workdays", "at", time] => Some(Self::Workdays(time_of_day(time)?)),
            ["weekly", "on", day, "at", time] => {
                let day = DAYS.iter().find(|(name, _)| *name == day)?.1;
                Some(Self::Weekly(day, time_of_day(time)?))
            }
            _ => None,
        }
    }

    /// The last moment up to `now` at which it was due; `None` beyond the calendar's end.
    pub fn last_due(&self, now: Time, zone: &TimeZone) -> Option<Time> {
        let here = local(now, zone)?;
        if *self == Self::Hourly {
            return Some(now - i64::from(here.minute()) * 60 - i64::from(here.second()));
        }
        // Nine days back hold every weekday, whatever the clocks do.
        (0..9).find_map(|back: i64| {
            let day = here.date().checked_sub(back.days()).ok()?;
            let at = match self {
                Self::Hourly => return None,
                Self::Daily(at) => at,
                Self::Workdays(at) => (day.weekday().to_monday_zero_offset() < 5).then_some(at)?,
                Self::Weekly(on, at) => (day.weekday() == *on).then_some(at)?,
            };
            let due = day.to_datetime(*at).to_zoned(zone.clone()).ok()?.timestamp().as_second();
            (due <= now).then_some(due)
        })
    }

    /// The time of day; an hourly one has none.
    pub fn time(&self) -> Option<civil::Time> {
        match self {
            Self::Hourly => None,
            Self::Daily(at) | Self::Workdays(at) | Self::Weekly(_, at) => Some(*at),
        }
    }
}

impl QuietHours {
    /// One of [`QUIET_FORMS`]. The same time twice is neither always nor never, so it is not taken.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let (from, to) = (time_of_day(from.trim())?, time_of_day(to.trim())?);
        (from != to).then_some(Self { from, to })
    }

    pub fn covers(&self, now: Time, zone: &TimeZone) -> bool {
        local(now, zone).is_some_and(|here| self.has(here.time()))
    }

    pub fn has(&self, time: civil::Time) -> bool {
        if self.from < self.to { self.from <= time && time < self.to } else { self.from <= time || time < self.to }
    }
}

/// `7:00`, `07:00`; 24:00 is the day's beginning.
fn time_of_day(text: &str) -> Option<civil::Time> {
    let (hour, minute) = text.split_once(':')?;
    let is_number =
        |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(hour, 2) || !is_number(minute, 2) || minute.len() != 2 {
        return None;
    }
    match (hour.parse().ok()?, minute.parse().ok()?) {
        (24, 0) => Some(civil::Time::midnight()),
        (hour, minute) => civil::Time::new(hour, minute, 0, 0).ok(),
    }
}

fn local(at: Time, zone: &TimeZone) -> Option<Zoned> {
    Some(Timestamp::from_second(at).ok()?.to_zoned(zone.clone()))
}

/// `2026-11-22 03:10 CET`.
pub fn show(at: Time, zone: &TimeZone) -> String {
    match local(at, zone) {
        Some(here) => here.strftime("%Y-%m-%d %H:%M %Z").to_string(),
        None => format!("{at} s after 1970"),
    }
}

/// As people say it: `3 days`, `4 hours`, `12 minutes`.
pub fn ago(seconds: i64) -> String {
    let of = |n: i64, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match seconds {
        ..60 => "less than a minute".to_owned(),
        60..5_400 => of(seconds / 60, "minute"),
        5_400..172_800 => of(seconds / 3600, "hour"),
        _ => of(seconds / 86_400, "day"),
    }
}

/// RFC 3339 in UTC.
pub fn rfc3339(at: Time) -> String {
    Timestamp::from_second(at).map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse::<Zoned>().unwrap().timestamp().as_second()
    }

    #[test]
    fn what_is_no_time_is_not_taken() {
        for good in ["hourly", "daily at 7:00", "Daily at 07:30", "workdays  at 00:00", "weekly on Sunday at 24:00"] {
            assert!(Digest::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "daily", "daily at 25:00", "daily at 7", "daily at 07:60", "weekly on funday at 07:00", "at 07:00"]
        {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
        for bad in ["", "22:00", "22:00-22:00", "22:00-7", "22-07", "22:00–07:00", "+1:00-2:00"] {
            assert!(QuietHours::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn quiet_hours_are_the_wall_clocks() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let night = QuietHours::parse("22:00-07:00").unwrap();
        let noon = QuietHours::parse("12:00 - 13:00").unwrap();
        for (time, quiet, lunch) in [
            ("2026-11-22T21:59:59[Europe/Berlin]", false, false),
            ("2026-11-22T22:00[Europe/Berlin]", true, false),
            ("2026-11-23T06:59:59[Europe/Berlin]", true, false),
            ("2026-11-23T07:00[Europe/Berlin]", false, false),
            ("2026-11-23T12:30[Europe/Berlin]", false, true),
            // The same wall clock on both sides of a change, though UTC moved.
            ("2026-03-29T07:00[Europe/Berlin]", false, false),
            ("2026-03-29T06:59[Europe/Berlin]", true, false),
            ("2026-10-25T06:59[Europe/Berlin]", true, false),
            ("2026-10-25T07:00[Europe/Berlin]", false, false),
        ] {
            assert_eq!((night.covers(at(time), &zone), noon.covers(at(time), &zone)), (quiet, lunch), "{time}");
        }
    }

    #[test]
    fn a_digest_is_due_once_a_day_also_when_the_clocks_change() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let digest = Digest::parse("daily at 02:30").unwrap();
        for (from, days) in [("2026-03-27T12:00[Europe/Berlin]", 4), ("2026-10-23T12:00[Europe/Berlin]", 4)] {
            let (mut due, mut last) = (Vec::new(), digest.last_due(at(from), &zone).unwrap());
            for quarter in 0..days * 96 {
                let now = digest.last_due(at(from) + quarter * 900, &zone).unwrap();
                if now > last {
                    due.push(show(now, &zone));
                    last = now;
                }
            }
            assert_eq!(due.len(), days as usize, "{due:?}");
            let all = due.join(" ");
            assert!(all.contains("03-29 03:30 CEST") || all.contains("10-25 02:30 CEST"), "{all}");
        }
    }

    #[test]
    fn the_last_due_moment() {
        let zone = TimeZone::get("America/New_York").unwrap();
        for (form, now, due) in [
            ("daily at 07:00", "2026-11-22T06:59[America/New_York]", "2026-11-21T07:00[America/New_York]"),
            ("daily at 07:00", "2026-11-22T07:00[America/New_York]", "2026-11-22T07:00[America/New_York]"),
            // The 22nd is a Sunday.
            ("workdays at 07:00", "2026-11-22T12:00[America/New_York]", "2026-11-20T07:00[America/New_York]"),
            ("weekly on monday at 07:00", "2026-11-23T06:00[America/New_York]", "2026-11-16T07:00[America/New_York]"),
            ("hourly", "2026-11-22T12:34:56[America/New_York]", "2026-11-22T12:00[America/New_York]"),
        ] {
            assert_eq!(Digest::parse(form).unwrap().last_due(at(now), &zone), Some(at(due)), "{form} {now}");
        }
    }

    #[test]
    fn spans_as_people_say_them() {
        for (seconds, words) in
            [(0, "less than a minute"), (60, "1 minute"), (7200, "2 hours"), (90_000, "25 hours"), (259_200, "3 days")]
        {
            assert_eq!(ago(seconds), words);
        }
    }
}
