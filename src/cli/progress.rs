//! How far a long command is, in one line on a terminal that is written anew; nothing where nobody looks.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_millis(200);

pub struct Progress {
    what: &'static str,
    started: Instant,
    /// `None`: stderr is no terminal.
    shown_at: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// `what` is counted, as "rows".
    pub fn new(what: &'static str) -> Self {
        let now = Instant::now();
        Self { what, started: now, shown_at: stderr().is_terminal().then_some(now), is_shown: false }
    }

    /// Says how many there are so far, and which part of all that is, if that is known.
    pub fn show(&mut self, count: u64, part: Option<f64>) {
        if self.shown_at.is_some_and(|at| at.elapsed() >= INTERVAL) {
            self.shown_at = Some(Instant::now());
            self.is_shown = true;
            eprint!("\r{}\x1b[K", line(self.what, count, self.started.elapsed(), part));
            let _ = stderr().flush();
        }
    }

    /// Takes the line away, for something else to be written.
    pub fn hide(&mut self) {
        if self.is_shown {
            self.is_shown = false;
            eprint!("\r\x1b[K");
            let _ = stderr().flush();
        }
    }

    /// How long it took and how fast it was.
    pub fn summary(&self, count: u64) -> String {
        let elapsed = self.started.elapsed();
        format!("{:.1} s ({} a second)", elapsed.as_secs_f64(), grouped(rate(count, elapsed)))
    }
}

fn line(what: &str, count: u64, elapsed: Duration, part: Option<f64>) -> String {
    let mut line = format!("{} {what}, {} a second", grouped(count), grouped(rate(count, elapsed)));
    if let Some(part) = part.filter(|part| *part > 0.0) {
        let part = part.min(1.0);
        let width = 20.0 * part;
        let bar: String = (1..=20).map(|step| if f64::from(step) <= width { '#' } else { '.' }).collect();
        let left = elapsed.mul_f64((1.0 - part) / part);
        line = format!("[{bar}] {:.0} %  {line}, {} left", part * 100.0, clock(left));
    }
    line
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
fn rate(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_many_how_fast_and_how_long_still() {
        assert_eq!(line("rows", 1_200_000, Duration::from_secs(20), None), "1,200,000 rows, 60,000 a second");
        assert_eq!(
            line("rows", 500, Duration::from_secs(50), Some(0.4)),
            "[########............] 40 %  500 rows, 10 a second, 1 min 15 s left"
        );
        assert_eq!(line("rows", 0, Duration::ZERO, Some(0.0)), "0 rows, 0 a second");
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }
}
