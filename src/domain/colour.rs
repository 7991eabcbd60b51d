//! Colours, and whether one can be read on another.

use std::{fmt, str::FromStr};

/// WCAG 2.2, 1.4.3: what words need on what they stand on.
pub const READABLE: f64 = 4.5;

/// What signals danger and success is the same everywhere, whatever an operator's own colours are: two by day, two by night.
pub const DEEP_RED: Colour = Colour([0xa3, 0x19, 0x0f]);
pub const PALE_RED: Colour = Colour([0xff, 0xb4, 0xa9]);
pub const DEEP_GREEN: Colour = Colour([0x11, 0x64, 0x3a]);
pub const PALE_GREEN: Colour = Colour([0x8f, 0xdb, 0xae]);

/// An sRGB colour, `#0a5299`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

#[derive(Debug, thiserror::Error)]
#[error("a colour is # and six hexadecimal digits, as #0a5299")]
pub struct ColourError;

impl Colour {
    pub const BLACK: Self = Self([0; 3]);
    pub const WHITE: Self = Self([255; 3]);

    /// `1.0` (the same) to `21.0` (black on white), as WCAG 2.2 defines it.
    pub fn contrast(self, other: Self) -> f64 {
        let [mine, its] = [self.luminance(), other.luminance()];
        (mine.max(its) + 0.05) / (mine.min(its) + 0.05)
    }

    /// `percent` of this colour over `ground`.
    #[must_use]
    pub fn over(self, ground: Self, percent: u16) -> Self {
        let mix = |index: usize| {
            let (top, bottom) = (u16::from(self.0[index]), u16::from(ground.0[index]));
            let sum = u32::from(top) * u32::from(percent) + u32::from(bottom) * u32::from(100 - percent);
            u8::try_from(sum / 100).expect("an average of bytes is a byte")
        };
        Self([mix(0), mix(1), mix(2)])
    }

    fn luminance(self) -> f64 {
        let linear = self.0.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }
}

impl FromStr for Colour {
    type Err = ColourError;

    fn from_str(text: &str) -> Result<Self, ColourError> {
        let digits =
            text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii()).ok_or(ColourError)?;
        let channel = |from: usize| u8::from_str_radix(&digits[from..from + 2], 16).map_err(|_| ColourError);
        if digits.contains(['+', '-']) {
            return Err(ColourError);
        }
        Ok(Self([channel(0)?, channel(2)?, channel(4)?]))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        text.parse().expect("a colour")
    }

    #[test]
    fn a_colour_is_six_digits() {
        assert_eq!(colour("#0A5299").to_string(), "#0a5299");
        for bad in ["", "#", "0a5299", "#0a529", "#0a52999", "#0a529g", "#+a5299", "red", "#é1234"] {
            assert!(bad.parse::<Colour>().is_err(), "{bad}");
        }
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        for (one, other, expected) in [
            ("#000000", "#ffffff", 21.0),
            ("#ffffff", "#ffffff", 1.0),
            ("#777777", "#ffffff", 4.478),
            ("#767676", "#ffffff", 4.542),
            ("#0a5299", "#ffffff", 7.836),
        ] {
            let [one, other] = [one, other].map(colour);
            assert!((one.contrast(other) - expected).abs() < 0.01, "{one} {other}: {}", one.contrast(other));
            assert!((one.contrast(other) - other.contrast(one)).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_mixture_lies_between() {
        assert_eq!(colour("#000000").over(colour("#ffffff"), 50).to_string(), "#7f7f7f");
        assert_eq!(colour("#123456").over(colour("#ffffff"), 100).to_string(), "#123456");
        assert_eq!(colour("#123456").over(colour("#ffffff"), 0).to_string(), "#ffffff");
    }
}
