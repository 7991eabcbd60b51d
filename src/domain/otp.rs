//! The secrets that an officer is mailed to log in with: a one-time password to type, and the secret of a link to open.
//!
//! **Why guessing doesn't work.** A password is one of 32⁸ = 2⁴⁰. It is bound to the browser that asked for it, exists only once the mail server has
//! accepted its mail, and ends with three wrong guesses. All nodes together allow `limits.wrong_otps_per_hour` wrong guesses an hour by browsers
//! in which the officer never logged in: 1,000 by default, 100,000 at most. Beyond that, passwords from such browsers aren't looked at, and their
//! mails have the link alone, whose secret has 131 bits. The chance that anybody gets in by guessing within a week, from however many
//! addresses, is at most 169 started hours × 1,000 ÷ 2⁴⁰ = 1.5 in 10 million; with the greatest setting 1.5 in 100,000. Guesses at links add
//! nothing: at 100,000 a second, a week's are 6 × 10¹⁰ of 2.7 × 10³⁹.

use std::{fmt, str::FromStr, time::Duration};

use super::key::ALPHANUMERIC;

const LENGTH: usize = 8;

/// Crockford's base 32: digits and letters without I, L, O and U, which are misread, or make words.
const ALPHABET: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'M', 'N', 'P',
    'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];

/// 22 of 62 characters: 131 bits.
const LINK_LENGTH: usize = 22;

/// Long enough for mail to arrive, short enough for a screen left open. Counted from when the mail server accepted the mail.
pub const OTP_LIFE: Duration = Duration::from_secs(300);

/// Wrong guesses that end a password. The link of the same mail goes on.
pub const OTP_TRIES_MAX: u32 = 3;

/// Never printed by `Debug`, never logged but by a mail server's stand-in on a developer's machine.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimePassword(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a one-time password has eight letters and digits")]
pub struct InvalidOtp;

impl OneTimePassword {
    /// Draws one from the system's random generator.
    pub fn random() -> Self {
        Self(nanoid::nanoid!(LENGTH, &ALPHABET))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The password as it is mailed: `K7QM-3XTP`.
    pub fn grouped(&self) -> String {
        format!("{}-{}", &self.0[..LENGTH / 2], &self.0[LENGTH / 2..])
    }
}

impl FromStr for OneTimePassword {
    type Err = InvalidOtp;

    /// Accepts either case, letters that are misread for digits, and spaces and hyphens that a person or a mail program put in between.
    fn from_str(text: &str) -> Result<Self, InvalidOtp> {
        let is_between =
            |character: &char| character.is_whitespace() || "-\u{2010}\u{2011}\u{2013}".contains(*character);
        let meant = |character: char| match character.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        // One too many is enough to tell that it is too long.
        let password: String =
            text.chars().filter(|character| !is_between(character)).take(LENGTH + 1).map(meant).collect();
        let well_formed = password.len() == LENGTH && password.chars().all(|character| ALPHABET.contains(&character));
        if well_formed { Ok(Self(password)) } else { Err(InvalidOtp) }
    }
}

impl fmt::Debug for OneTimePassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OneTimePassword(…)")
    }
}

/// The secret in the address of a login link. Kept as secret as a password.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSecret(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a login link's secret")]
pub struct InvalidLinkSecret;

impl LinkSecret {
    /// Draws one from the system's random generator.
    pub fn random() -> Self {
        Self(nanoid::nanoid!(LINK_LENGTH, &ALPHANUMERIC))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkSecret {
    type Err = InvalidLinkSecret;

    fn from_str(text: &str) -> Result<Self, InvalidLinkSecret> {
        let well_formed = text.len() == LINK_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if well_formed { Ok(Self(text.to_owned())) } else { Err(InvalidLinkSecret) }
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LinkSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_however_it_is_grouped_and_spelled() {
        for text in ["K7QM-3XT0", " k7qm 3xto ", "k7qm3xt0", "K7-QM-3X-TO", "k7qm\u{2011}3xt0", "K7QM\u{a0}3XT0"] {
            assert_eq!(text.parse::<OneTimePassword>().expect(text).reveal(), "K7QM3XT0");
        }
        assert_eq!("iLoO-1111".parse::<OneTimePassword>().expect("letters for digits").reveal(), "11001111");
        for text in ["", "K7QM3XT", "K7QM3XT00", "K7QM3XTU", "K7QM-3XT!", "K7QM3XTé", "１２３４５６７８", "K7QM.3XT0"]
        {
            assert_eq!(text.parse::<OneTimePassword>(), Err(InvalidOtp), "{text}");
        }
        let random = OneTimePassword::random();
        assert_eq!(random.reveal().parse(), Ok(random.clone()));
        assert_eq!(random.grouped().parse(), Ok(random.clone()));
        assert!(!format!("{random:?}").contains(random.reveal()));
    }

    #[test]
    fn a_password_has_the_bits_that_the_arithmetic_counts_on() {
        let distinct: std::collections::BTreeSet<char> = ALPHABET.into_iter().collect();
        assert_eq!((distinct.len(), LENGTH), (32, 8), "2^40 passwords");
        let secret = LinkSecret::random();
        assert_eq!((ALPHANUMERIC.len(), secret.reveal().len()), (62, 22), "62^22 links, more than 2^128");
        assert_eq!(secret.reveal().parse(), Ok(secret.clone()));
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        for bad in ["", "a", &secret.reveal()[1..], &format!("{}a", secret.reveal()), "a-a-a-a-a-a-a-a-a-a-aa"] {
            assert_eq!(bad.parse::<LinkSecret>(), Err(InvalidLinkSecret), "{bad}");
        }
    }
}
