//! Reading a link's counters.

use jiff::civil::Date;
use redis::cmd;

use super::{
    Store, StoreError,
    keys::{self, class_field, click_field},
};
use crate::{
    domain::{
        Click, Code, Device,
        statistics::{self, Days, DeviceClicks, HourOfWeek, Statistics},
    },
    metrics::Operation,
};

const HOURS_OF_WEEK: u8 = 7 * 24;

impl Store {
    /// What was counted of a link; zeros for one that was never clicked, or never made.
    ///
    /// Costs one command that reads as many fields as days are asked for, and 174: a link of ten years' age with 50 instances' positions
    /// in it is no dearer than a young one.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn statistics(&self, code: &Code, days: Days) -> Result<Statistics, StoreError> {
        let days: Vec<Date> = days.iter().collect();
        let key = keys::clicks(code.as_str());
        let mut read = cmd("HMGET");
        read.arg(&key);
        for click in Click::ALL {
            read.arg(class_field(click));
        }
        for hour in 0..HOURS_OF_WEEK {
            read.arg(click_field::hour_of_week(hour));
        }
        for day in &days {
            read.arg(click_field::day(statistics::number(*day)));
        }
        let counts: Vec<Option<u64>> = self
            .ask(Operation::ClickRead, async |redis| read.query_async(redis).await)
            .await
            .map_err(|error| error.about(&key))?;
        Ok(arrange(&mut counts.into_iter().map(Option::unwrap_or_default), &days))
    }
}

/// The counts, in the order in which they were asked for.
fn arrange(counts: &mut impl Iterator<Item = u64>, days: &[Date]) -> Statistics {
    let mut next = || counts.next().unwrap_or_default();
    let mut statistics = Statistics::default();
    for click in Click::ALL {
        let clicks = next();
        *class(&mut statistics, click) = clicks;
        if let Click::Person(_) = click {
            statistics.total += clicks;
        }
    }
    for hour in 0..HOURS_OF_WEEK {
        let clicks = next();
        if clicks > 0 {
            statistics.hours_of_week.push(HourOfWeek { weekday: hour / 24, hour: hour % 24, clicks });
        }
    }
    statistics.daily = days.iter().map(|day| (*day, next())).collect();
    statistics
}

fn class(statistics: &mut Statistics, click: Click) -> &mut u64 {
    let Statistics { bots, prefetches, devices: DeviceClicks { desktop, mobile, tablet, others }, .. } = statistics;
    match click {
        Click::Person(Device::Desktop) => desktop,
        Click::Person(Device::Mobile) => mobile,
        Click::Person(Device::Tablet) => tablet,
        Click::Person(Device::Others) => others,
        Click::Bot => bots,
        Click::Prefetch => prefetches,
    }
}
