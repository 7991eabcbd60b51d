//! One-time passwords: six digits, mailed to an officer who wants to log in.

use std::{fmt, str::FromStr, time::Duration};

const LENGTH: usize = 6;
const DIGITS: [char; 10] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

/// Long enough for mail to arrive, short enough for a screen left open.
pub const OTP_LIFE: Duration = Duration::from_secs(300);

/// Wrong guesses that end a password: with three, one guess in 333,333 is right.
pub const OTP_TRIES_MAX: u32 = 3;

/// Never printed by `Debug`, never logged but by a mail server's stand-in on a developer's machine.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimePassword(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a one-time password has six digits")]
pub struct InvalidOtp;

impl OneTimePassword {
    /// Draws one from the system's random generator.
    pub fn random() -> Self {
        Self(nanoid::nanoid!(LENGTH, &DIGITS))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for OneTimePassword {
    type Err = InvalidOtp;

    /// Six digits; spaces and hyphens that a person or a mail program put in between are ignored.
    fn from_str(text: &str) -> Result<Self, InvalidOtp> {
        let digits: String = text.chars().filter(|character| !matches!(character, ' ' | '-')).collect();
        let well_formed = digits.len() == LENGTH && digits.bytes().all(|byte| byte.is_ascii_digit());
        if well_formed { Ok(Self(digits)) } else { Err(InvalidOtp) }
    }
}

impl fmt::Debug for OneTimePassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OneTimePassword(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_read_however_they_are_grouped() {
        for text in ["123456", " 123 456 ", "123-456", "1 2 3 4 5 6"] {
            assert_eq!(text.parse::<OneTimePassword>().expect(text).reveal(), "123456");
        }
        for text in ["", "12345", "1234567", "12345a", "１２３４５６", "123.456", "-123456-1"] {
            assert_eq!(text.parse::<OneTimePassword>(), Err(InvalidOtp), "{text}");
        }
        let random = OneTimePassword::random();
        assert_eq!(random.reveal().parse(), Ok(random.clone()));
        assert!(!format!("{random:?}").contains(random.reveal()));
    }
}
