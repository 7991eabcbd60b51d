//! The short code of a link: `iras-tax` in `https://go.example/iras-tax`.
//!
//! Two grammars meet here. Creation is strict ([`Code::from_str`]): lower case only, nothing is repaired, so that
//! an officer sees exactly what will be printed. A visit is lenient ([`visited`]): people type capitals, and messaging apps glue
//! punctuation to a link's end.
//!
//! Reserved words are not known here: they follow from the route table (`routes.rs`).

use std::{borrow::Borrow, borrow::Cow, fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// 255: the width of `GoGovSG`'s column, so that its data can be taken over whole.
pub const CODE_BYTES_MAX: usize = 255;

/// Lower-case letters and digits that can't be mistaken for one another in print: without `0 o 1 i l`.
const UNAMBIGUOUS: [char; 31] = [
    '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'j', 'k', 'm', 'n', 'p', 'q', 'r',
    's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
];

/// Length of a random code. 31^8 is 8.5 · 10¹¹: at ten million links one draw in 85,000 meets a taken code and is drawn again.
const RANDOM_LENGTH: usize = 8;

/// A well-formed code: 1 to 255 bytes of `[a-z0-9-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code has 1 to {CODE_BYTES_MAX} characters of a-z, 0-9 and -")]
pub struct InvalidCode;

impl Code {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Draws a code of eight characters from the system's random generator. It may be taken: the caller draws again.
    pub fn random() -> Self {
        Self(nanoid::nanoid!(RANDOM_LENGTH, &UNAMBIGUOUS).into())
    }

    /// The code that draw number `draw` from a secret `seed` gives, always the same: whoever has to create a link that somebody else began
    /// to create draws what they drew. As random as the seed.
    pub fn drawn(seed: &str, draw: u64) -> Self {
        let digest = Sha256::new().chain_update(seed).chain_update(draw.to_be_bytes()).finalize();
        // 248 is 8 · 31: taking more would make the first letters likelier. Of 32 bytes one takes the first eight that are below.
        let fair = digest.iter().filter(|byte| **byte < 248).map(|byte| UNAMBIGUOUS[usize::from(byte % 31)]);
        Self(fair.take(RANDOM_LENGTH).collect::<String>().into())
    }
}

impl FromStr for Code {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let well_formed = (1..=CODE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_code_byte);
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidCode) }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Lets maps keyed by `Code` be asked with a `&str`: both hash and compare as the text.
impl Borrow<str> for Code {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What the path of a visit asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visited<'a> {
    /// The code in lower case; borrowed from the path when it was so already, which is nearly always.
    pub code: Cow<'a, str>,
    /// The path ended in `+`: the visitor wants to see where the link goes, not to go there.
    pub preview: bool,
}

/// Reads a visit's path, without its leading `/`: a code in any case, one optional `+`, then what messaging apps and people glue
/// to the end: any run of `. , ; : ! ? ) ] ' "`, raw or percent-encoded, and one `/` at most.
///
/// `None`: no code can be meant, so the answer is 404 without asking anybody. Never allocates for a path in lower case.
pub fn visited(path: &str) -> Option<Visited<'_>> {
    let trimmed = trim_glued(path);
    let (written, preview) = match trimmed.strip_suffix('+').or_else(|| strip_encoded(trimmed, is_plus)) {
        Some(code) => (code, true),
        None => (trimmed, false),
    };
    if written.is_empty() || written.len() > CODE_BYTES_MAX {
        return None;
    }
    let mut upper_case = false;
    for byte in written.bytes() {
        upper_case |= byte.is_ascii_uppercase();
        if !is_code_byte(byte.to_ascii_lowercase()) {
            return None;
        }
    }
    let code = if upper_case { Cow::Owned(written.to_ascii_lowercase()) } else { Cow::Borrowed(written) };
    Some(Visited { code, preview })
}

/// Strips glued punctuation and one slash, in whatever order they stand (`/abc/.`, `/abc./`).
fn trim_glued(path: &str) -> &str {
    let mut rest = path;
    let mut slash_seen = false;
    loop {
        match rest.as_bytes().last() {
            Some(&byte) if is_glued(byte) => rest = &rest[..rest.len() - 1],
            Some(b'/') if !slash_seen => {
                slash_seen = true;
                rest = &rest[..rest.len() - 1];
            }
            Some(_) => match strip_encoded(rest, is_glued) {
                Some(shorter) => rest = shorter,
                None => return rest,
            },
            None => return rest,
        }
    }
}

/// `abc%29` to `abc` when the last three bytes are a percent-encoded byte that `accept`s.
fn strip_encoded(text: &str, accept: fn(u8) -> bool) -> Option<&str> {
    let (head, tail) = text.split_at_checked(text.len().checked_sub(3)?)?;
    let hex = tail.strip_prefix('%').filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let byte = u8::from_str_radix(hex, 16).ok()?;
    accept(byte).then_some(head)
}

fn is_code_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

fn is_plus(byte: u8) -> bool {
    byte == b'+'
}

/// Punctuation that messaging apps, mail programs and people take to be part of a link that ends a sentence.
fn is_glued(byte: u8) -> bool {
    matches!(byte, b'.' | b',' | b';' | b':' | b'!' | b'?' | b')' | b']' | b'\'' | b'"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code_of(path: &str) -> Option<String> {
        visited(path).map(|visit| visit.code.into_owned())
    }

    #[test]
    fn a_code_is_created_only_as_it_will_be_printed() {
        for good in ["a", "-", "iras-tax", "0", &"a".repeat(255)] {
            assert_eq!(good.parse::<Code>().map(|code| code.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "A", "a b", "a_b", "a.", "é", "a%", "a/", "a\0", &"a".repeat(256)] {
            assert_eq!(bad.parse::<Code>(), Err(InvalidCode), "{bad:?}");
        }
    }

    #[test]
    fn a_visit_forgives_case_and_glued_punctuation() {
        for path in [
            "abc",
            "ABC",
            "abc.",
            "abc)",
            "abc/",
            "abc/.",
            "abc./",
            "abc).,!",
            "abc%29",
            "abc%2C%22",
            "abc%2e",
            "abc?%3F",
        ] {
            assert_eq!(code_of(path).as_deref(), Some("abc"), "{path}");
        }
    }

    #[test]
    fn a_visit_that_cannot_mean_a_code_is_none() {
        for path in [
            "", "/", "abc//", "abc/d", "a b", "a%20b", "abc_d", "abc%00", "abc%", "abc%2", "%+29", "abc.html", "é",
            "+", ".", "a++", "%2f",
        ] {
            assert_eq!(code_of(path), None, "{path}");
        }
    }

    #[test]
    fn a_plus_asks_for_the_preview() {
        for path in ["abc+", "ABC+", "abc+.", "abc+/", "abc%2B", "abc%2b)"] {
            let visit = visited(path).expect(path);
            assert!(visit.preview && visit.code == "abc", "{path}");
        }
        assert!(!visited("abc").expect("a code").preview);
    }

    #[test]
    fn random_codes_have_no_look_alikes() {
        for _ in 0..500 {
            let code = Code::random();
            assert_eq!(code.as_str().len(), 8);
            assert!(!code.as_str().contains(['0', 'o', '1', 'i', 'l']), "{code}");
            assert_eq!(code.as_str().parse::<Code>().as_ref(), Ok(&code));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_visited_is_a_well_formed_code(path in "\\PC{0,300}") {
            if let Some(visit) = visited(&path) {
                prop_assert!(visit.code.parse::<Code>().is_ok());
                prop_assert!(path.to_ascii_lowercase().starts_with(&*visit.code));
            }
        }

        #[test]
        fn every_code_can_be_visited_as_printed(code in "[a-z0-9-]{1,255}", glue in "[.,;:!?)\\]'\"]{0,4}") {
            prop_assert_eq!(code_of(&format!("{code}{glue}")), Some(code));
        }
    }
}
