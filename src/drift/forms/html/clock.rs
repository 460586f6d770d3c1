//! Moments as people of this machine's zone write them, and as programs read them.
//!
//! A number that is no moment is shown as it is.

use crate::drift::Time;
use jiff::{Timestamp, tz::TimeZone};
use std::cell::RefCell;
use std::collections::HashMap;

pub struct Clock {
    zone: TimeZone,
    /// Most findings of a page share a few moments.
    written: RefCell<HashMap<Time, String>>,
}

impl Clock {
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, written: RefCell::default() }
    }

    /// `<time datetime="2026-11-22T21:44:27+01:00">2026-11-22 21:44 CET</time>`
    pub fn write(&self, out: &mut String, time: Time) {
        let mut written = self.written.borrow_mut();
        out.push_str(written.entry(time).or_insert_with(|| self.element(time)));
    }

    fn element(&self, time: Time) -> String {
        let Ok(moment) = Timestamp::from_second(time) else { return format!("second {time} since 1970 (UTC)") };
        let local = moment.to_zoned(self.zone.clone());
        let (exact, shown) = (local.strftime("%Y-%m-%dT%H:%M:%S%:z"), local.strftime("%Y-%m-%d %H:%M %Z"));
        format!("<time datetime=\"{exact}\">{shown}</time>")
    }
}
