//! Redis' clock, which all nodes share. Links are dated by it, and leases of requests run by it.
//!
//! A node's own clock may be wrong or jump. So it counts from the last time that Redis told it, by
//! a clock that never jumps. Each node asks once a second, off every path that somebody waits for.
//! Before the first answer, and on an engine that doesn't tell, the node's own clock has to do.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use redis::cmd;
use tokio::time::sleep;

use super::{Store, safety};
use crate::metrics::Operation;

const EVERY: Duration = Duration::from_secs(1);
/// An answer that took longer says too little: the time in it is half of that old, more or less.
const DELAY_MAX: Duration = Duration::from_millis(100);

/// A time by Redis, and when it was.
#[derive(Default)]
pub struct Clock(Mutex<Option<(Instant, Timestamp)>>);

impl Clock {
    pub fn now(&self) -> Timestamp {
        let told = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.map_or_else(Timestamp::now, |(at, time)| time + at.elapsed())
    }

    fn set(&self, at: Instant, time: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, time));
    }
}

impl Store {
    /// The time by Redis.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks Redis for the time, again and again.
    pub(super) async fn keep_time(&self) -> Infallible {
        loop {
            self.ask_time().await;
            sleep(EVERY).await;
        }
    }

    async fn ask_time(&self) {
        let asked = Instant::now();
        // TIME would tell it too, but Redis users that are in place may not call it.
        let info = self.ask(Operation::Ping, async |redis| {
            let mut info = cmd("INFO");
            info.arg("server");
            let primary = redis.primaries().await?.into_iter().min();
            match primary {
                Some(primary) => redis.ask_primary::<String>(&primary, info).await,
                None => Ok(String::new()),
            }
        });
        let Ok(info) = info.await else { return };
        let delay = asked.elapsed();
        let told = safety::field(&info, "server_time_usec").parse().ok();
        let Some(time) = told.and_then(|us| Timestamp::from_microsecond(us).ok()) else { return };
        let at = asked + delay / 2;
        if delay > DELAY_MAX {
            return;
        }
        self.clock.set(at, time);
        self.metrics.clock_offset_seconds.set((Timestamp::now() - at.elapsed()).duration_since(time).as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_what_was_told() {
        let clock = Clock::default();
        let told: Timestamp = "2020-01-01T00:00:00Z".parse().expect("a time");
        clock.set(Instant::now(), told);
        let (first, second) = (clock.now(), clock.now());
        assert!(told <= first && first <= second && second < told + Duration::from_secs(60), "{first} {second}");
    }
}
