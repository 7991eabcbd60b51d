//! What is counted of a link's clicks, as an officer reads it.
//!
//! Counters are kept per link for its life, and per day; all days and hours are those of `clicks.timezone`. What isn't here was never
//! kept: who clicked, from where, and the minute.

use jiff::{ToSpan as _, civil::Date};

/// Days in one answer: ten years and their leap days. Some 100 kB of JSON.
pub const DAYS_MAX: i32 = 3_653;

/// The days that are asked for when nobody says which.
const DAYS_DEFAULT: i32 = 7;

/// Some days in a row, at most [`DAYS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    first: Date,
    count: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDays {
    #[error("the first day is after the last")]
    Backwards,
    #[error("at most {DAYS_MAX} days can be asked for at once")]
    TooMany,
}

impl Days {
    /// The days from `first` to `last`, both included.
    pub fn new(first: Date, last: Date) -> Result<Self, InvalidDays> {
        let count = number(last) - number(first) + 1;
        if count < 1 {
            return Err(InvalidDays::Backwards);
        }
        if count > DAYS_MAX { Err(InvalidDays::TooMany) } else { Ok(Self { first, count }) }
    }

    /// What somebody asked for who may have left out one end or both: the last day is today, the first six days before the last.
    pub fn asked(first: Option<Date>, last: Option<Date>, today: Date) -> Result<Self, InvalidDays> {
        let last = last.unwrap_or(today);
        Self::new(first.unwrap_or_else(|| last.saturating_sub((DAYS_DEFAULT - 1).days())), last)
    }

    pub fn iter(self) -> impl Iterator<Item = Date> {
        (0..self.count).map(move |days| self.first.saturating_add(days.days()))
    }
}

/// A day's number since 1970-01-01: what counters know it by.
pub fn number(day: Date) -> i32 {
    (day - Date::constant(1970, 1, 1)).get_days()
}

/// A link's counters. Bots and prefetches are in none of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// By people, in the link's life; so are the next three.
    pub total: u64,
    pub bots: u64,
    pub prefetches: u64,
    pub devices: DeviceClicks,
    /// Each day that was asked for, in order, days without a click too.
    pub daily: Vec<(Date, u64)>,
    /// The hours of the week in which the link was ever clicked, in order.
    pub hours_of_week: Vec<HourOfWeek>,
}

/// Their sum is the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceClicks {
    pub desktop: u64,
    pub mobile: u64,
    pub tablet: u64,
    pub others: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourOfWeek {
    /// 0 = Sunday.
    pub weekday: u8,
    pub hour: u8,
    pub clicks: u64,
}

/// What the links with one tag come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagSums {
    pub links: u64,
    /// By people, in the links' lives.
    pub clicks: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn every_day_of_the_range_is_there_across_a_leap_day() {
        let days = Days::new(date(2028, 2, 27), date(2028, 3, 1)).expect("a range");
        let listed: Vec<Date> = days.iter().collect();
        assert_eq!(listed, [date(2028, 2, 27), date(2028, 2, 28), date(2028, 2, 29), date(2028, 3, 1)]);
        assert_eq!(Days::new(date(2028, 2, 27), date(2028, 2, 27)).expect("one day").iter().count(), 1);
    }

    #[test]
    fn a_range_is_neither_backwards_nor_over_ten_years() {
        let day = date(2026, 1, 1);
        assert_eq!(Days::new(day, date(2025, 12, 31)), Err(InvalidDays::Backwards));
        let last = day.checked_add((DAYS_MAX - 1).days()).expect("a date");
        assert_eq!(Days::new(day, last).expect("the longest").iter().last(), Some(last));
        assert_eq!(Days::new(day, last.tomorrow().expect("a date")), Err(InvalidDays::TooMany));
        assert_eq!(Days::new(Date::MIN, Date::MAX), Err(InvalidDays::TooMany));
    }

    #[test]
    fn without_dates_it_is_the_last_seven_days() {
        let today = date(2026, 11, 25);
        let all = |first, last| Days::asked(first, last, today).map(|days| days.iter().collect::<Vec<Date>>());
        let week = all(None, None).expect("a week");
        assert_eq!((week.len(), week[0], week[6]), (7, date(2026, 11, 19), today));
        let until = all(None, Some(date(2026, 1, 3))).expect("a week");
        assert_eq!((until.len(), until[0]), (7, date(2025, 12, 28)));
        let since = all(Some(date(2026, 11, 24)), None).expect("two days");
        assert_eq!(since, [date(2026, 11, 24), today]);
        assert_eq!(all(Some(date(2026, 11, 26)), None), Err(InvalidDays::Backwards));
        assert!(all(None, Some(Date::MIN)).is_ok(), "the first day there is");
    }
}
