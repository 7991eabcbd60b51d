//! Browsers in which an officer has logged in before.
//!
//! Such a browser holds a ticket signed with a key of the service. A ticket opens nothing: it only takes its holder out of the limits that
//! strangers share, so that nobody else can use up what the officer is allowed. It is good for one address, and for [`KNOWN_FOR`].

use std::time::Duration;

use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use super::{Email, key::ALPHANUMERIC};

/// Half a year after the last login.
pub const KNOWN_FOR: Duration = Duration::from_secs(180 * 24 * 3600);

const ID_LENGTH: usize = 16;

/// Signs tickets and names counters. Never printed, never logged.
#[derive(Clone)]
pub struct ServiceKey(String);

/// The name under which a known browser's mails and tries are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KnownBrowserId(String);

impl KnownBrowserId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ServiceKey {
    /// 43 of 62 characters: 256 bits.
    const LENGTH: usize = 43;

    /// Draws a new one from the system's random generator.
    pub fn random() -> Self {
        Self(nanoid::nanoid!(Self::LENGTH, &ALPHANUMERIC))
    }

    /// Takes back what [`ServiceKey::reveal`] gave. `None` for anything else.
    pub fn from_store(text: String) -> Option<Self> {
        (text.len() == Self::LENGTH).then_some(Self(text))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Makes the ticket of a browser in which `email` logs in at `now`: `<seconds since 1970>.<id>.<signature>`. A browser that was known
    /// `before` keeps its id.
    pub fn ticket(&self, email: &Email, now: Timestamp, before: Option<KnownBrowserId>) -> String {
        let id = before.map_or_else(|| nanoid::nanoid!(ID_LENGTH, &ALPHANUMERIC), |before| before.0);
        let since = now.as_second().to_string();
        let signature = hex(&self.mac(&["ticket", email.as_str(), &since, &id]).finalize().into_bytes());
        format!("{since}.{id}.{signature}")
    }

    /// The browser that holds `ticket`, if it was given for this address and is still good. Compares in constant time.
    pub fn recognise(&self, ticket: &str, email: &Email, now: Timestamp) -> Option<KnownBrowserId> {
        let mut parts = ticket.splitn(3, '.');
        let (since, id, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let mac = self.mac(&["ticket", email.as_str(), since, id]);
        mac.verify_slice(&unhex(signature)?).ok()?;
        let age = now.as_second().checked_sub(since.parse().ok()?)?;
        let is_good = u64::try_from(age).is_ok_and(|age| age < KNOWN_FOR.as_secs());
        is_good.then(|| KnownBrowserId(id.to_owned()))
    }

    /// A name for a counter about these words, which doesn't show them.
    pub fn name(&self, purpose: &str, words: &[&str]) -> String {
        let all: Vec<&str> = [purpose].iter().chain(words).copied().collect();
        hex(&self.mac(&all).finalize().into_bytes()[..16])
    }

    fn mac(&self, words: &[&str]) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        for word in words {
            mac.update(word.as_bytes());
            mac.update(&[0]);
        }
        mac
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits.chunks_exact(2).map(|pair| Some(value(pair[0])? * 16 + value(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(text: &str) -> Email {
        text.parse().expect(text)
    }

    #[test]
    fn a_ticket_is_good_for_its_address_key_and_time_alone() {
        let key = ServiceKey::random();
        let (amy, now) = (email("amy@x.gov.sg"), Timestamp::from_second(1_800_000_000).expect("a time"));
        let later = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).expect("a time");
        let ticket = key.ticket(&amy, now, None);
        let id = key.recognise(&ticket, &amy, now).expect("is good");
        assert!(ticket.contains(id.as_str()) && !ticket.contains("amy"), "{ticket}");
        let half_a_year = 180 * 24 * 3600;
        assert_eq!(key.recognise(&ticket, &amy, later(half_a_year - 1)), Some(id.clone()));
        let renewed = key.ticket(&amy, later(1), Some(id.clone()));
        assert_eq!(key.recognise(&renewed, &amy, later(half_a_year)), Some(id));
        for (about, key, ticket, email, now) in [
            ("too old", &key, &ticket, &amy, later(half_a_year)),
            ("from the future", &key, &ticket, &amy, later(-1)),
            ("another officer's", &key, &ticket, &email("ben@x.gov.sg"), now),
            ("another service's", &ServiceKey::random(), &ticket, &amy, now),
            ("prolonged", &key, &ticket.replacen("18", "19", 1), &amy, now),
            ("nothing", &key, &String::new(), &amy, now),
            ("dots", &key, &"..".to_owned(), &amy, now),
            ("cut off", &key, &ticket[..ticket.len() - 1].to_owned(), &amy, now),
            ("no ASCII", &key, &format!("{}.é.{}", now.as_second(), "é".repeat(32)), &amy, now),
        ] {
            assert_eq!(key.recognise(ticket, email, now), None, "{about}");
        }
        let again = ServiceKey::from_store(key.reveal().to_owned()).expect("a key");
        assert!(again.recognise(&ticket, &amy, now).is_some());
        assert!(ServiceKey::from_store("short".to_owned()).is_none());
    }

    #[test]
    fn names_differ_by_purpose_and_word_and_show_nothing() {
        let key = ServiceKey::random();
        let names = [
            key.name("mailbox", &["amy@x.gov.sg"]),
            key.name("mailbox", &["ben@x.gov.sg"]),
            key.name("share", &["amy@x.gov.sg"]),
            key.name("share", &["amy@x.gov.sg", "192.0.2.1"]),
            ServiceKey::random().name("mailbox", &["amy@x.gov.sg"]),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(name.len() == 32 && !names[..index].contains(name), "{names:?}");
        }
        assert_eq!(names[0], key.name("mailbox", &["amy@x.gov.sg"]));
    }
}
