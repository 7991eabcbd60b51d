//! E-mail addresses, which name officers, and the domains whose addresses may be officers'.
//!
//! One spelling for each address: trimmed and in lower case, so that two spellings never own two sets of links. Only the plain form
//! of RFC 5321 is read, without quoted local parts, comments or address literals: agencies don't use them, and their parsers
//! disagree. Whether anybody reads the mailbox is for the one-time password to show.

use std::{fmt, str::FromStr};

use super::target::is_dns_name;

/// RFC 5321 §4.5.3.1.3: a path has 256 bytes at most, two of them its brackets.
pub const EMAIL_BYTES_MAX: usize = 254;

/// RFC 5321 §4.5.3.1.1.
pub const EMAIL_LOCAL_PART_BYTES_MAX: usize = 64;

/// An address in lower case: `officer@agency.gov.sg`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address of the form name@agency.example")]
pub struct InvalidEmail;

impl Email {
    /// Takes back what [`Email::as_str`] gave, without testing it again.
    pub fn from_store(text: String) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address without a subaddress, the part of RFC 5233 between `+` and `@`: `a+news@x.org` is delivered to `a@x.org`. An account is
    /// the whole address; a limit on mails is for the mailbox.
    pub fn mailbox(&self) -> String {
        let (local_part, domain) = self.0.rsplit_once('@').unwrap_or((&self.0, ""));
        match local_part.split_once('+') {
            Some((user, _)) if !user.is_empty() => format!("{user}@{domain}"),
            _ => self.0.to_string(),
        }
    }

    /// What stands behind the `@`: the agency.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        // ASCII only: Unicode's lower case would make the Kelvin sign a `k`, and one officer's address another's.
        let address = text.trim().to_ascii_lowercase();
        let (local_part, domain) = address.split_once('@').ok_or(InvalidEmail)?;
        let well_formed = address.len() <= EMAIL_BYTES_MAX && is_dot_string(local_part) && is_dns_name(domain);
        if well_formed { Ok(Self(address.into())) } else { Err(InvalidEmail) }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// RFC 5321's `Dot-string`: atoms joined by single dots.
fn is_dot_string(local_part: &str) -> bool {
    local_part.len() <= EMAIL_LOCAL_PART_BYTES_MAX
        && local_part.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom_byte))
}

/// RFC 5322's `atext`.
fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// The setting `officers.email_domains`: globs over whole addresses, any one of which makes an address an officer's.
///
/// `*` stands for any run of characters, none included, but `/`: `*.gov.sg` takes `a@x.gov.sg` but not `a@gov.sg` or `a@evilgov.sg`,
/// `*@example.org` takes one domain, `a@x.org` one address. That a match never begins with a dot, as `GoGovSG`'s globs demand, is
/// `Email`'s own rule. An empty list takes nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmailDomains(Vec<Box<str>>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    #[error("an empty pattern would match no address: write one as *.gov.sg, or leave it out")]
    Empty,
    /// `GoGovSG`'s globs knew classes and alternatives. Taken literally they would lock everybody out without a word.
    #[error("the pattern {0:?} has a character that no pattern may have: only * is special, as in *.gov.sg")]
    Unsupported(String),
}

impl EmailDomains {
    /// Reads each glob, trimmed and in lower case.
    ///
    /// # Errors
    /// The first glob that can't be meant.
    pub fn parse<S: AsRef<str>>(globs: &[S]) -> Result<Self, InvalidGlob> {
        let read = |glob: &S| {
            let glob = glob.as_ref().trim().to_ascii_lowercase();
            if glob.is_empty() {
                return Err(InvalidGlob::Empty);
            }
            let readable = glob.bytes().all(|byte| byte.is_ascii_graphic() && !b"?[]{}()!\\,;\"<>".contains(&byte));
            if readable { Ok(glob.into()) } else { Err(InvalidGlob::Unsupported(glob)) }
        };
        globs.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    pub fn matches(&self, email: &Email) -> bool {
        self.0.iter().any(|glob| matches_glob(glob.as_bytes(), email.as_str().as_bytes()))
    }

    /// Returns the globs that no address can match, as `gov.sg` and `*@gov`. Globs with more than
    /// three `*` aren't tried.
    pub fn unmatchable(&self) -> Vec<&str> {
        self.0.iter().map(AsRef::as_ref).filter(|glob| !can_match(glob)).collect()
    }

    /// Returns the globs that match addresses in domains that anybody can register, as `*`, `*.sg`
    /// and `*gov.sg` (`evilgov.sg`).
    pub fn open_to_anybody(&self) -> Vec<&str> {
        let is_open = |glob: &&str| {
            let Some((_, suffix)) = glob.rsplit_once('*') else { return false };
            let is_below_a_domain = suffix.strip_prefix('.').is_some_and(|domain| domain.contains('.'));
            !suffix.contains('@') && !is_below_a_domain
        };
        self.0.iter().map(AsRef::as_ref).filter(is_open).collect()
    }
}

/// Tries each `*` as every part of an address that it may have to stand for.
fn can_match(glob: &str) -> bool {
    const PARTS: [&str; 11] = ["", "a", "a@", "@", "a@a", "@a", "a@a.aa", "@a.aa", "a.aa", ".aa", "."];
    match glob.matches('*').count() {
        0 => glob.parse::<Email>().is_ok(),
        1..=3 => PARTS.iter().any(|part| can_match(&glob.replacen('*', part, 1))),
        _ => true,
    }
}

/// As people read it: `*.gov.sg, *@example.org`.
impl fmt::Display for EmailDomains {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(", "))
    }
}

/// Matches from the left, and on a mismatch lets the last `*` take one byte more. Going back to an earlier `*` can't help: the last
/// one can take whatever the earlier would have, and neither may take a `/`. So at most glob × address steps, and no recursion.
fn matches_glob(glob: &[u8], address: &[u8]) -> bool {
    let (mut at_glob, mut at_address) = (0, 0);
    // Where to go on after a mismatch: behind the last `*`, and the first byte of the address that it hasn't taken.
    let mut last_star: Option<(usize, usize)> = None;
    while at_address < address.len() {
        if glob.get(at_glob) == Some(&b'*') {
            at_glob += 1;
            last_star = Some((at_glob, at_address));
        } else if glob.get(at_glob) == Some(&address[at_address]) {
            at_glob += 1;
            at_address += 1;
        } else if let Some((behind_star, untaken)) = last_star
            && address[untaken] != b'/'
        {
            at_glob = behind_star;
            at_address = untaken + 1;
            last_star = Some((behind_star, at_address));
        } else {
            return false;
        }
    }
    glob[at_glob..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn email(text: &str) -> Email {
        text.parse().expect(text)
    }

    #[test]
    fn globs_that_match_nobody_or_anybody_are_found() {
        let globs = |text: &str| EmailDomains::parse(&[text]).expect(text);
        for good in ["*.gov.sg", "*@gov.sg", "a@x.org", "a*@x.org", "*-desk@x.org", "*@*.gov.sg", "*@a.*.gov.sg"] {
            assert!(globs(good).unmatchable().is_empty() && globs(good).open_to_anybody().is_empty(), "{good}");
        }
        for nobody in ["gov.sg", "@gov.sg", "*@gov", "*.g", "*@.gov.sg", "*.gov.sg.", "*@gov.sg@*", "*/x", "*@a_b.org"]
        {
            assert_eq!(globs(nobody).unmatchable(), [nobody]);
        }
        for anybody in ["*", "*.sg", "*gov.sg", "*@*", "*@*.com", "*@gov.*", "*@*gov.sg"] {
            assert_eq!(globs(anybody).open_to_anybody(), [anybody]);
            assert!(globs(anybody).unmatchable().is_empty(), "{anybody}");
        }
    }

    #[test]
    fn an_address_is_kept_trimmed_and_in_lower_case() {
        for (text, kept) in [
            ("a@x.gov.sg", "a@x.gov.sg"),
            ("  Tan.Ah-Kow+go@Agency.GOV.sg\n", "tan.ah-kow+go@agency.gov.sg"),
            ("o'brien/x!#$%&*=?^_`{|}~@x.org", "o'brien/x!#$%&*=?^_`{|}~@x.org"),
        ] {
            assert_eq!(email(text).as_str(), kept);
        }
    }

    #[test]
    fn subaddresses_are_one_mailbox() {
        for (address, mailbox) in [
            ("a@x.org", "a@x.org"),
            ("a+1@x.org", "a@x.org"),
            ("A+b+c@X.org", "a@x.org"),
            ("a+@x.org", "a@x.org"),
            ("+a@x.org", "+a@x.org"),
        ] {
            assert_eq!(email(address).mailbox(), mailbox);
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for text in [
            "",
            " ",
            "a",
            "@",
            "a@",
            "@x.org",
            "a@b@x.org",
            "a@localhost",
            "a@x.o",
            "a@.org",
            "a@x..org",
            "a@x.org.",
            "a@-x.org",
            "a@x_y.org",
            "a@1.2.3.4",
            "a@[1.2.3.4]",
            ".a@x.org",
            "a.@x.org",
            "a..b@x.org",
            "a b@x.org",
            "a@x. org",
            "\"a\"@x.org",
            "a(b)@x.org",
            "a,b@x.org",
            "a@x.org,b@x.org",
            "A <a@x.org>",
            "é@x.org",
            "a@é.org",
            "\u{212a}@x.org",
            "a\r\n@x.org",
            "a@x.org\0",
        ] {
            assert_eq!(text.parse::<Email>(), Err(InvalidEmail), "{text:?}");
        }
    }

    #[test]
    fn the_limits_of_rfc_5321_hold() {
        let local_part = |length: usize| format!("{}@x.org", "a".repeat(length)).parse::<Email>().is_ok();
        assert!(local_part(1) && local_part(64) && !local_part(65));
        let total =
            |length: usize| format!("a@{}{}", "b.".repeat(120), "c".repeat(length - 242)).parse::<Email>().is_ok();
        assert!(total(253) && total(254) && !total(255));
    }

    #[test]
    fn a_glob_spans_the_whole_address() {
        for (glob, matching, others) in [
            (
                "*.gov.sg",
                &["a@x.gov.sg", "A@X.GOV.SG", "a.b@x.y.gov.sg"][..],
                &["a@gov.sg", "a@evilgov.sg", "a@x.gov.sg.evil.com", "a/b@x.gov.sg", "a@x.org"][..],
            ),
            ("*@example.org", &["a@example.org"], &["a@x.example.org", "a/b@example.org", "a@example.org.sg"]),
            ("A@X.org", &["a@x.org"], &["b@x.org", "aa@x.org", "a@x.org.sg"]),
            ("*@*.gov.sg", &["a@x.gov.sg", "a@x.y.gov.sg"], &["a@gov.sg"]),
            ("a*@x*.org", &["a@x.org", "ab@xy.org", "a@x.x.org"], &["b@x.org", "a@y.org"]),
            ("*a/*@x.org", &["a/b@x.org", "aba/@x.org"], &["a/b/c@x.org", "b/a@x.org"]),
            ("*", &["a@x.org"], &["a/b@x.org"]),
            (" *.gov.sg ", &["a@x.gov.sg"], &[]),
        ] {
            let domains = EmailDomains::parse(&[glob]).expect(glob);
            for address in matching {
                assert!(domains.matches(&email(address)), "{glob} {address}");
            }
            for address in others {
                assert!(!domains.matches(&email(address)), "{glob} {address}");
            }
        }
        // The rule that a match begins with no dot needs no code: such a text is no address.
        assert!(".a@x.gov.sg".parse::<Email>().is_err());
    }

    #[test]
    fn any_glob_of_the_list_will_do_and_none_takes_nobody() {
        let domains = EmailDomains::parse(&["*.gov.sg".to_owned(), "*@example.org".to_owned()]).expect("globs");
        assert!(domains.matches(&email("a@example.org")) && domains.matches(&email("a@x.gov.sg")));
        assert!(!EmailDomains::parse::<&str>(&[]).expect("no globs").matches(&email("a@x.gov.sg")));
    }

    #[test]
    fn a_glob_that_cannot_be_meant_is_refused_with_the_reason() {
        for empty in ["", " "] {
            assert_eq!(EmailDomains::parse(&["*.gov.sg", empty]), Err(InvalidGlob::Empty));
        }
        for glob in ["*@{a,b}.org", "*@(a|b).org", "!*.org", "*@[ab].org", "a?@x.org", "*.gov.sg *.edu.sg", "*.é"] {
            let error = EmailDomains::parse(&[glob]).expect_err(glob);
            assert!(error.to_string().contains(glob), "{error}");
        }
    }

    /// The definition, too slow to run: tries every length for every `*`.
    fn matches_by_definition(glob: &[u8], address: &[u8]) -> bool {
        match glob.split_first() {
            None => address.is_empty(),
            Some((b'*', rest)) => {
                let run_max = address.iter().position(|&byte| byte == b'/').unwrap_or(address.len());
                (0..=run_max).any(|run| matches_by_definition(rest, &address[run..]))
            }
            Some((byte, rest)) => address.first() == Some(byte) && matches_by_definition(rest, &address[1..]),
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_defined(glob in "[ab/*]{0,8}", address in "[ab/]{0,10}") {
            let (glob, address) = (glob.as_bytes(), address.as_bytes());
            prop_assert_eq!(matches_glob(glob, address), matches_by_definition(glob, address));
        }

        #[test]
        fn whatever_is_an_address_is_one_again(text in "\\PC{0,20}(@\\PC{0,20})?|[a-zA-Z.+_-]{1,9}@[A-Za-z.-]{1,12}\\.[a-zA-Z]{1,3}") {
            if let Ok(email) = text.parse::<Email>() {
                prop_assert!(email.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
                prop_assert!(!email.as_str().starts_with('.'));
                prop_assert_eq!(email.as_str().parse(), Ok(email.clone()));
            }
        }
    }
}
