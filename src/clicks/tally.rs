//! Adding up recorded clicks: by class, and by day and hour of the week in the counting time zone.
//!
//! What is added up, and when, is `ledger.rs`'s and `flush.rs`'s.

use jiff::{Timestamp, tz::TimeZone};
use smallvec::SmallVec;

use super::segment::Record;
use crate::{
    domain::{Click, statistics},
    store::{Counted, Counts},
};

/// What some clicks of one counter add up to.
#[derive(Default)]
pub struct Tally {
    pub clicks: u64,
    /// When the first of them was.
    pub first_s: u32,
    /// Where the last of them ends.
    pub last: u64,
    classes: [u64; Click::ALL.len()],
    /// Those that count in the total, by day and hour of the week. Nearly always there is one such hour.
    hours: SmallVec<[((i32, u8), u64); 1]>,
}

impl Tally {
    pub fn add(&mut self, record: Record<'_>, calendar: &mut Calendar) {
        if self.clicks == 0 {
            self.first_s = record.at_s;
        }
        self.clicks += 1;
        self.last = record.end;
        self.classes[record.click.index()] += 1;
        match record.click {
            Click::Person(_) => {
                let hour = calendar.locate(record.at_s);
                match self.hours.iter_mut().rfind(|(other, _)| *other == hour) {
                    Some((_, clicks)) => *clicks += 1,
                    None => self.hours.push((hour, 1)),
                }
            }
            Click::Bot | Click::Prefetch => {}
        }
    }

    /// Each field once, in an order that is the same for tallies with the same fields.
    pub fn counts(&self) -> Counts {
        let classes = Click::ALL.into_iter().map(|click| (Counted::Class(click), self.classes[click.index()]));
        let days = self.hours.iter().map(|((day, _), clicks)| (Counted::Day(*day), *clicks));
        let hours = self.hours.iter().map(|((_, hour), clicks)| (Counted::HourOfWeek(*hour), *clicks));
        let mut counts = Counts::new();
        for (counted, clicks) in classes.chain(days).chain(hours).filter(|(_, clicks)| *clicks > 0) {
            match counts.iter_mut().rfind(|(other, _)| *other == counted) {
                Some((_, sum)) => *sum += clicks,
                None => counts.push((counted, clicks)),
            }
        }
        counts
    }
}

/// Days and hours in the counting time zone. Every zone's offset is a multiple of a quarter of an hour, so one answer serves for that long.
pub struct Calendar {
    timezone: TimeZone,
    quarter: u32,
    located: (i32, u8),
}

impl Calendar {
    const QUARTER_S: u32 = 15 * 60;

    pub fn new(timezone: TimeZone) -> Self {
        let mut calendar = Self { timezone, quarter: 0, located: (0, 0) };
        calendar.located = calendar.compute(0);
        calendar
    }

    /// The day since 1970-01-01 and the hour of the week, 0 = Sunday's first.
    pub fn locate(&mut self, at_s: u32) -> (i32, u8) {
        let quarter = at_s / Self::QUARTER_S;
        if quarter != self.quarter {
            self.quarter = quarter;
            self.located = self.compute(at_s);
        }
        self.located
    }

    fn compute(&self, at_s: u32) -> (i32, u8) {
        let instant = Timestamp::from_second(i64::from(at_s)).expect("32 bits of seconds end in 2106");
        let local = self.timezone.to_datetime(instant);
        let day = statistics::number(local.date());
        let unsigned = |small: i8| u8::try_from(small).expect("0 to 6, and 0 to 23");
        (day, unsigned(local.weekday().to_sunday_zero_offset()) * 24 + unsigned(local.hour()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Device;
    use jiff::civil::Date;
    use std::collections::BTreeMap;

    fn at(text: &str) -> u32 {
        u32::try_from(text.parse::<Timestamp>().expect("a time").as_second()).expect("32 bits")
    }

    fn calendar(zone: &str) -> Calendar {
        Calendar::new(TimeZone::get(zone).expect("a zone"))
    }

    #[test]
    fn clicks_count_for_the_day_and_hour_of_the_counting_time_zone() {
        let mut singapore = calendar("Asia/Singapore");
        // Monday, 23 November 2026, 00:30 there: still Sunday in UTC.
        assert_eq!(singapore.locate(at("2026-11-22T16:30:00Z")), (20_780, 24));
        assert_eq!(singapore.locate(at("2026-11-22T15:59:59Z")), (20_779, 23));
        assert_eq!(calendar("UTC").locate(at("1970-01-01T00:00:00Z")), (0, 4 * 24));
    }

    /// What a wall clock in `zone` shows: the day, the weekday (0 = Sunday) and the hour.
    fn shown(zone: &str, time: &str) -> (Date, u8, u8) {
        let (day, hour_of_week) = calendar(zone).locate(at(time));
        let date = Date::constant(1970, 1, 1) + jiff::Span::new().days(day);
        (date, hour_of_week / 24, hour_of_week % 24)
    }

    #[test]
    fn daylight_saving_time_and_half_hour_zones_are_right() {
        for (zone, time, date, weekday, hour) in [
            // On Sunday, 29 March 2026, London's 01:00 became 02:00: that day has no clicks between.
            ("Europe/London", "2026-03-28T23:59:59Z", (2026, 3, 28), 6, 23),
            ("Europe/London", "2026-03-29T00:00:00Z", (2026, 3, 29), 0, 0),
            ("Europe/London", "2026-03-29T00:59:59Z", (2026, 3, 29), 0, 0),
            ("Europe/London", "2026-03-29T01:00:00Z", (2026, 3, 29), 0, 2),
            // In summer its midnight is 23:00 in UTC.
            ("Europe/London", "2026-07-01T22:59:59Z", (2026, 7, 1), 3, 23),
            ("Europe/London", "2026-07-01T23:00:00Z", (2026, 7, 2), 4, 0),
            // On Sunday, 25 October 2026, 02:00 became 01:00: two hours count as one.
            ("Europe/London", "2026-10-25T00:59:59Z", (2026, 10, 25), 0, 1),
            ("Europe/London", "2026-10-25T01:00:00Z", (2026, 10, 25), 0, 1),
            ("Europe/London", "2026-10-25T02:00:00Z", (2026, 10, 25), 0, 2),
            ("Europe/London", "2026-10-25T23:59:59Z", (2026, 10, 25), 0, 23),
            ("Europe/London", "2026-10-26T00:00:00Z", (2026, 10, 26), 1, 0),
            // St. John's is three and a half hours behind UTC, and two and a half from 8 March to 1 November 2026.
            ("America/St_Johns", "2026-03-08T03:29:59Z", (2026, 3, 7), 6, 23),
            ("America/St_Johns", "2026-03-08T03:30:00Z", (2026, 3, 8), 0, 0),
            ("America/St_Johns", "2026-03-08T05:29:59Z", (2026, 3, 8), 0, 1),
            ("America/St_Johns", "2026-03-08T05:30:00Z", (2026, 3, 8), 0, 3),
            ("America/St_Johns", "2026-07-01T02:29:59Z", (2026, 6, 30), 2, 23),
            ("America/St_Johns", "2026-07-01T02:30:00Z", (2026, 7, 1), 3, 0),
            ("America/St_Johns", "2026-11-01T04:29:59Z", (2026, 11, 1), 0, 1),
            ("America/St_Johns", "2026-11-01T04:30:00Z", (2026, 11, 1), 0, 1),
            ("America/St_Johns", "2026-11-01T05:30:00Z", (2026, 11, 1), 0, 2),
            ("America/St_Johns", "2026-11-02T03:29:59Z", (2026, 11, 1), 0, 23),
            ("America/St_Johns", "2026-11-02T03:30:00Z", (2026, 11, 2), 1, 0),
        ] {
            let (year, month, day) = date;
            assert_eq!(shown(zone, time), (Date::constant(year, month, day), weekday, hour), "{time} in {zone}");
        }
    }

    #[test]
    fn a_calendar_that_was_asked_before_answers_as_a_new_one() {
        for zone in ["Europe/London", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"] {
            let mut kept = calendar(zone);
            // All of 2026, at odd minutes, so that quarters are left and met again at every second of them.
            for at_s in (at("2026-01-01T00:00:00Z")..at("2027-01-01T00:00:00Z")).step_by(431) {
                assert_eq!(kept.locate(at_s), kept.compute(at_s), "{at_s} in {zone}");
            }
        }
    }

    #[test]
    fn bots_and_prefetches_are_counted_apart() {
        let mut utc = calendar("UTC");
        let mut tally = Tally::default();
        for (end, click) in (1..).zip(Click::ALL) {
            tally.add(Record { end, code: "abc", click, at_s: 0 }, &mut utc);
        }
        let counts: BTreeMap<Counted, u64> = tally.counts().into_iter().collect();
        assert_eq!(tally.last, 6);
        assert_eq!(counts[&Counted::Day(0)], 4);
        assert_eq!(counts[&Counted::Class(Click::Bot)], 1);
        assert_eq!(counts[&Counted::Class(Click::Prefetch)], 1);
    }

    #[test]
    fn clicks_of_several_hours_add_up_to_each_field_once() {
        let mut utc = calendar("UTC");
        let mut tally = Tally::default();
        let (hour_s, week_s) = (60 * 60, 7 * 24 * 60 * 60);
        // Two hours of a Thursday, and the first of them a week later.
        for (end, at_s) in [(1, 0), (2, hour_s), (3, 0), (4, week_s), (5, hour_s - 1)] {
            tally.add(Record { end, code: "abc", click: Click::Person(Device::Tablet), at_s }, &mut utc);
        }
        let counts = tally.counts();
        let unique: BTreeMap<Counted, u64> = counts.iter().copied().collect();
        assert_eq!(unique.len(), counts.len(), "{counts:?}");
        let expected = [
            (Counted::Class(Click::Person(Device::Tablet)), 5),
            (Counted::Day(0), 4),
            (Counted::Day(7), 1),
            (Counted::HourOfWeek(4 * 24), 4),
            (Counted::HourOfWeek(4 * 24 + 1), 1),
        ];
        assert_eq!(unique, BTreeMap::from(expected));
    }
}
