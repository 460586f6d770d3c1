//! Times as programs print them, in UTC.

/// `Sun 2026-11-22 07:58:01 UTC`, as systemd writes time stamps.
pub fn systemd(at_s: i64) -> String {
    let t = Civil::of(at_s);
    format!(
        "{} {:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
        t.weekday(),
        t.year,
        t.month,
        t.day,
        t.hour,
        t.minute,
        t.second
    )
}

/// `Sun Nov 22 07:58:01 2026`, as `ctime` writes it.
pub fn ctime(at_s: i64) -> String {
    let t = Civil::of(at_s);
    format!(
        "{} {} {:>2} {:02}:{:02}:{:02} {:04}",
        t.weekday(),
        t.month_name(),
        t.day,
        t.hour,
        t.minute,
        t.second,
        t.year
    )
}

struct Civil {
    days: i64,
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    /// Days to a date after Howard Hinnant's `civil_from_days`.
    fn of(at_s: i64) -> Self {
        let (days, rest) = (at_s.div_euclid(86_400), at_s.rem_euclid(86_400));
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let day = doy - (153 * mp + 2) / 5 + 1;
        Self { days, year, month, day, hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60 }
    }

    fn weekday(&self) -> &'static str {
        const NAMES: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        NAMES[usize::try_from(self.days.rem_euclid(7)).unwrap_or(0)]
    }

    fn month_name(&self) -> &'static str {
        const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        NAMES[usize::try_from(self.month - 1).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_recorded() {
        // dumpe2fs on a real node: mmp_update_time 1795334281.
        assert_eq!(super::ctime(1_795_334_281), "Sun Nov 22 07:58:01 2026");
        assert_eq!(super::systemd(1_795_334_281), "Sun 2026-11-22 07:58:01 UTC");
        assert_eq!(super::ctime(951_782_400), "Tue Feb 29 00:00:00 2000");
    }
}
