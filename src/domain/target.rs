//! The target of a link: an https address on the public internet that a citizen may be sent to.
//!
//! A browser repairs what it is given: `https:\\evil.com`, a tab inside a host, full-width dots and percent-encoded hosts all lead
//! somewhere, and not always where the officer who pasted them, or the colleague who checked them, read. So the text is
//! parsed once with the parser browsers use (WHATWG, crate `url`), every test looks at the parsed form, and a text whose host had to
//! be repaired is refused rather than understood.
//!
//! Nothing here asks DNS or fetches anything: a public name may still point at a private address, today or tomorrow. Whether a
//! site is malicious is the threat check's business.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_security::{RestrictionLevel, RestrictionLevelDetection, confusable_detection::skeleton};
use url::{Host, Url, quirks::domain_to_unicode};

/// 2,082: `GoGovSG` refuses 2,083 characters or more (its validator's limit, once Internet Explorer's). The stored form is held to
/// it too, percent-encoding included: what was stored can be sent again, and fits the 4 kB that nginx keeps for an answer's head.
pub const TARGET_BYTES_MAX: usize = 2082;

const SCHEME: &str = "https://";

/// Names that no public DNS answers, or that mean another machine on each network: RFC 6761 (`localhost`, `test`, `invalid`),
/// RFC 6762 (`local`, and appendix G's `intranet`, `internal`, `private`, `corp`, `home`, `lan`), RFC 8375 (`home.arpa`), ICANN 2024
/// (`internal`), and what home routers and resolvers hand out (`localdomain`).
///
/// `example` isn't one: it is kept for documentation, so it leads nowhere, but it leads into nobody's network either.
const PRIVATE_NAMES: [&str; 12] = [
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "private",
    "test",
];

/// Services where anybody can make a link to anywhere, and change it later: behind one, none of our tests mean anything.
///
/// The first eleven are `GoGovSG`'s, which looks for them anywhere in the text, and so refuses `this.gd` and accepts `Bit.ly`. A
/// brand's own short domain (`youtu.be`, `amzn.to`) isn't listed: it leads to that brand only.
const SHORTENERS: [&str; 47] = [
    "rebrand.ly",
    "bit.ly",
    "goo.gl",
    "tinyurl.com",
    "tiny.cc",
    "lc.chat",
    "is.gd",
    "soo.gd",
    "s2r.co",
    "clicky.me",
    "bl.ink",
    // Others that are in wide use.
    "adf.ly",
    "bit.do",
    "bitly.com",
    "buff.ly",
    "chilp.it",
    "clck.ru",
    "cutt.ly",
    "cutt.us",
    "dlvr.it",
    "dub.sh",
    "gg.gg",
    "ift.tt",
    "j.mp",
    "kutt.it",
    "kutt.to",
    "lnkd.in",
    "ow.ly",
    "qrco.de",
    "rb.gy",
    "s.id",
    "short.gy",
    "short.io",
    "shorte.st",
    "shorturl.asia",
    "shorturl.at",
    "sniply.io",
    "surl.li",
    "t.co",
    "t.ly",
    "tiny.one",
    "tiny.pl",
    "trib.al",
    "u.to",
    "urlz.fr",
    "v.gd",
    "x.gd",
];

/// An https address with a public host name. Always ASCII without spaces or control characters, so it can stand in a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TargetError {
    #[error("the address must begin with https:// in lower case")]
    NotHttps,
    #[error("the address isn't one that everybody on the internet can open")]
    Malformed,
    #[error("the address leads back to this service")]
    Circular,
    #[error("the address belongs to a link shortener, which hides where it leads")]
    Shortener,
}

impl Target {
    /// Reads what an officer wrote. `own_host` is the host of the service's own short links, without a port.
    ///
    /// Kept byte for byte when it differs from its parsed form by an empty path at most (`https://example.com`), else the parsed
    /// form is kept: `https://Example.com/a/../ü` becomes `https://example.com/%C3%BC`.
    ///
    /// # Errors
    /// The first rule broken, in the order of [`TargetError`]'s cases. One exception: when the service itself lives under a private
    /// name, its own links are `Circular`, which says more than `Malformed`.
    pub fn parse(raw: &str, own_host: &str) -> Result<Self, TargetError> {
        let after_scheme = raw.strip_prefix(SCHEME).ok_or(TargetError::NotHttps)?;
        if raw.chars().count() > TARGET_BYTES_MAX || raw.chars().any(is_never_written) {
            return Err(TargetError::Malformed);
        }
        let url = Url::parse(raw).map_err(|_| TargetError::Malformed)?;
        let authority_end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
        let (authority, tail) = after_scheme.split_at(authority_end);
        let host = public_host(&url, authority).ok_or(TargetError::Malformed)?;

        if host.eq_ignore_ascii_case(own_host) {
            return Err(TargetError::Circular);
        }
        if is_at_or_below(host, &PRIVATE_NAMES) {
            return Err(TargetError::Malformed);
        }
        let lacks_only_the_path = format!("{SCHEME}{authority}/{tail}") == url.as_str();
        let stored = if lacks_only_the_path { raw } else { url.as_str() };
        if stored.len() > TARGET_BYTES_MAX {
            return Err(TargetError::Malformed);
        }
        if is_at_or_below(host, &SHORTENERS) {
            return Err(TargetError::Shortener);
        }
        Ok(Self(stored.into()))
    }

    /// Takes back what [`Target::as_str`] gave. Not tested again: rules that came later must not break links already printed.
    pub fn from_store(text: String) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host in lower case, an internationalised one in punycode.
    pub fn host(&self) -> &str {
        let after_scheme = self.0.strip_prefix(SCHEME).unwrap_or(&self.0);
        after_scheme.split(['/', '?', '#', ':']).next().unwrap_or(after_scheme)
    }

    /// What somebody registered, so what a person should look at: `iras.gov.sg` for `www.iras.gov.sg` (Public Suffix List). The
    /// whole host when it is itself a public suffix, as `gov.sg` is.
    pub fn registrable_domain(&self) -> &str {
        psl::domain_str(self.host()).unwrap_or_else(|| self.host())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Characters that the parser drops or repairs, or that a person who copies an address takes along by mistake.
fn is_never_written(character: char) -> bool {
    // JavaScript's `\s`, which GoGovSG tests, has U+FEFF (byte order mark); Unicode's white space hasn't.
    character.is_whitespace() || character.is_control() || matches!(character, '<' | '>' | '\u{feff}')
}

/// The parsed host when it is a public DNS name, and the one that `authority` (the text between `https://` and the path) shows.
fn public_host<'a>(url: &'a Url, authority: &str) -> Option<&'a str> {
    // An address in any spelling (`0x7f.1`, `①②⑦.0.0.1`, `[::1]`) isn't a `Domain` once it is parsed.
    let Some(Host::Domain(host)) = url.host() else { return None };
    let (written_host, port) = authority.split_once(':').unwrap_or((authority, ""));
    // Whatever is left of an `@` or `\` fails here: such a host isn't the parsed one, and such a port isn't a number.
    if !port.bytes().all(|digit| digit.is_ascii_digit()) || url.port() == Some(0) {
        return None;
    }
    let unicode_host = domain_to_unicode(host);
    let as_written = if written_host.is_ascii() {
        written_host.eq_ignore_ascii_case(host)
    } else {
        // Soft hyphens, zero-width spaces, full-width letters and other dots vanish or change in the parser: refused by this.
        written_host.to_lowercase() == unicode_host
    };
    (as_written && is_dns_name(host) && !unicode_host.split('.').any(is_look_alike)).then_some(host)
}

/// A host name with at least one dot, no dot at the end, and a top-level domain that can exist: two letters or more, or punycode.
/// In lower case; RFC 1123 §2.1 (letters, digits, inner hyphens, labels of 63 bytes) and RFC 1035 §2.3.4 (253 bytes in all).
pub(super) fn is_dns_name(name: &str) -> bool {
    let Some((_, top_level)) = name.rsplit_once('.') else { return false };
    let top_level_can_exist = top_level.starts_with("xn--")
        || (top_level.len() >= 2 && top_level.bytes().all(|letter| letter.is_ascii_lowercase()));
    top_level_can_exist && name.len() <= 253 && name.split('.').all(is_dns_label)
}

fn is_dns_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A label made to look like another: scripts mixed beyond what UTS 39 calls highly restrictive (Latin with one Cyrillic letter), or
/// one foreign script all of whose letters look like ASCII (Cyrillic `аррӏе`). Chinese, Japanese and Korean mix with Latin freely.
fn is_look_alike(label: &str) -> bool {
    !label.is_ascii()
        && (!label.check_restriction_level(RestrictionLevel::HighlyRestrictive)
            || skeleton(label).all(|character| character.is_ascii()))
}

/// Compares whole labels: `this.gd` isn't below `is.gd`.
fn is_at_or_below(host: &str, names: &[&str]) -> bool {
    names.iter().any(|name| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN_HOST: &str = "go.example.gov.sg";

    fn parse(raw: &str) -> Result<String, TargetError> {
        Target::parse(raw, OWN_HOST).map(|target| target.to_string())
    }

    fn assert_refused(with: TargetError, texts: &[&str]) {
        for text in texts {
            assert_eq!(parse(text), Err(with), "{text:?}");
        }
    }

    #[test]
    fn a_target_in_normal_form_is_kept_byte_for_byte() {
        for text in [
            "https://example.com",
            "https://example.com/",
            "https://example.com?a=b",
            "https://example.com#top",
            "https://example.com:8443",
            "https://example.com:8443/a//b/;c?d=%20&e=it#f's",
            "https://gov.sg",
            "https://go.example/x",
            "https://r3---sn.example.com/%zz",
            "https://xn--r8jz45g.jp/",
            "https://example.com/?u=bit.ly",
            "https://www.go.example.gov.sg/",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_target_that_browsers_would_change_is_kept_as_they_would_send_it() {
        for (text, stored) in [
            ("https://Example.com", "https://example.com/"),
            ("https://example.com:443", "https://example.com/"),
            ("https://example.com:/x", "https://example.com/x"),
            ("https://example.com/a/../b", "https://example.com/b"),
            ("https://example.com/a\\b", "https://example.com/a/b"),
            ("https://example.com/ü?ü#ü", "https://example.com/%C3%BC?%C3%BC#%C3%BC"),
            ("https://example.com/\"", "https://example.com/%22"),
            ("https://例え.jp", "https://xn--r8jz45g.jp/"),
            ("https://École.fr", "https://xn--cole-9oa.fr/"),
            ("https://例え.JP:8443/x", "https://xn--r8jz45g.jp:8443/x"),
            ("https://五洲.新加坡", "https://xn--dlq595e.xn--yfro4i67o/"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(stored), "{text}");
        }
    }

    #[test]
    fn only_lower_case_https_is_https() {
        assert_refused(
            TargetError::NotHttps,
            &[
                "",
                "x",
                "example.com",
                "http://example.com",
                "HTTPS://example.com",
                "Https://example.com",
                " https://example.com",
                "https:example.com",
                "https:/example.com",
                "https:\\\\example.com",
                "javascript:alert(1)//https://",
                "//example.com",
                "\u{feff}https://example.com",
            ],
        );
    }

    #[test]
    fn a_host_that_the_parser_would_repair_is_refused() {
        assert_refused(
            TargetError::Malformed,
            &[
                "https://",
                "https:///example.com",
                "https://\\example.com",
                "https://example.com\\@evil.com",
                "https://example.com:443\\x",
                "https://exam\tple.com",
                "https://exam\nple.com",
                "https://example.com/a\r\nb",
                "https://example.com\u{7f}",
                "https://%65xample.com",
                "https://example%2ecom",
                "https://example．com",
                "https://example。com",
                "https://ｅxample.com",
                "https://exa\u{ad}mple.com",
                "https://exa\u{200b}mple.com",
                "https://\u{202e}example.com",
                "https://①.example.com",
            ],
        );
    }

    #[test]
    fn white_space_and_angle_brackets_are_refused_anywhere() {
        assert_refused(
            TargetError::Malformed,
            &[
                "https://example.com ",
                "https://example.com/a b",
                "https://example.com/\u{a0}",
                "https://example.com/\u{3000}",
                "https://example.com/\u{feff}",
                "https://example.com/<",
                "https://example.com/?q=>",
            ],
        );
    }

    #[test]
    fn user_info_is_refused_even_when_it_looks_like_the_host() {
        assert_refused(
            TargetError::Malformed,
            &[
                "https://user@example.com",
                "https://user:pw@example.com",
                "https://@example.com",
                "https://:@example.com",
                "https://example.com:443@example.com",
                "https://good.gov.sg@evil.com",
            ],
        );
    }

    #[test]
    fn an_ip_address_is_refused_in_every_spelling() {
        assert_refused(
            TargetError::Malformed,
            &[
                "https://1.2.3.4/x",
                "https://127.1",
                "https://0x7f.1",
                "https://2130706433",
                "https://0177.0.0.1",
                "https://①②⑦.0.0.1",
                "https://[::1]/",
                "https://[::ffff:127.0.0.1]:443/",
                "https://1.2.3.4.",
                "https://256.1.1.1",
            ],
        );
    }

    #[test]
    fn a_private_name_is_refused() {
        for name in PRIVATE_NAMES {
            assert_eq!(parse(&format!("https://printer.{name}/")), Err(TargetError::Malformed), "{name}");
        }
        assert_refused(TargetError::Malformed, &["https://localhost", "https://localhost:8080/x", "https://A.LOCAL"]);
        assert!(parse("https://example.com").is_ok() && parse("https://home.example").is_ok());
        assert!(parse("https://notlocal.com").is_ok() && parse("https://local.gov").is_ok());
    }

    #[test]
    fn a_host_that_is_no_public_name_is_refused() {
        let long_label = format!("https://{}.com", "a".repeat(64));
        let long_name = format!("https://{}com", "a234567890.".repeat(23));
        assert_refused(
            TargetError::Malformed,
            &[
                "https://x",
                "https://example.c",
                "https://example.c0m",
                "https://a_b.com",
                "https://example.com.",
                "https://example.com./x",
                "https://.example.com",
                "https://example..com",
                "https://-a.com",
                "https://a-.com",
                "https://a!b.com",
                "https://a*b.com",
                "https://xn--a.com",
                "https://https://example.com",
                "https://example.com:99999",
                "https://example.com:65536",
                "https://example.com:0",
                "https://example.com:8x",
                "https://example.com:-1",
                &long_label,
                &long_name,
            ],
        );
        assert!(parse("https://example.com:65535").is_ok());
        assert!(parse(&format!("https://{}.com", "a".repeat(63))).is_ok());
    }

    #[test]
    fn a_label_made_to_look_like_another_is_refused() {
        assert_refused(
            TargetError::Malformed,
            &[
                "https://g\u{43e}v.sg",                            // Cyrillic o
                "https://xn--gv-fmc.sg",                           // the same in punycode
                "https://\u{430}\u{440}\u{440}\u{4cf}\u{435}.com", // all Cyrillic: apple
                "https://xn--80ak6aa92e.com",                      // the same in punycode
                "https://p\u{3b1}ypal.com",                        // Greek alpha
                "https://l\u{131}nkedin.com",                      // dotless i
                "https://i\u{2764}.ws",                            // emoji
            ],
        );
        for text in [
            "https://例え.jp",
            "https://中国abc.cn",
            "https://bücher.de",
            "https://почта.рф",
            "https://한국.kr",
            "https://தமிழ்.சிங்கப்பூர்",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_limit_holds_for_what_is_written_and_for_what_is_stored() {
        let of_length = |length: usize| format!("{:a<length$}", "https://example.com/");
        assert!(parse(&of_length(2082)).is_ok());
        assert_eq!(parse(&of_length(2083)), Err(TargetError::Malformed));
        let without_path = format!("{:a<2082}", "https://example.com?");
        assert_eq!(parse(&without_path), Ok(without_path));
        assert!(parse(&format!("https://example.com/{}", "例".repeat(229))).is_ok());
        assert_eq!(parse(&format!("https://example.com/{}", "例".repeat(230))), Err(TargetError::Malformed));
    }

    #[test]
    fn our_own_host_is_circular_whatever_its_case_and_port() {
        assert_refused(
            TargetError::Circular,
            &["https://go.example.gov.sg", "https://GO.example.gov.sg/a", "https://go.example.gov.sg:8443/a"],
        );
        assert_eq!(Target::parse("https://go.test/a", "Go.Test"), Err(TargetError::Circular));
        assert_eq!(Target::parse("https://localhost/a", "localhost"), Err(TargetError::Malformed));
        assert_eq!(Target::parse("https://bit.ly/a", "bit.ly"), Err(TargetError::Circular));
    }

    #[test]
    fn a_shortener_is_known_by_its_host_name() {
        for name in SHORTENERS {
            for host in [name.to_owned(), format!("www.{name}"), name.to_uppercase()] {
                assert_eq!(parse(&format!("https://{host}/a")), Err(TargetError::Shortener), "{host}");
            }
        }
        for text in
            ["https://this.gd/", "https://notbit.ly/", "https://bit.ly.example.com/", "https://example.com/tinyurl"]
        {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_target_knows_its_host_and_who_registered_it() {
        for (text, host, registrable) in [
            ("https://www.iras.gov.sg:8443/x", "www.iras.gov.sg", "iras.gov.sg"),
            ("https://gov.sg?x=a.b/c", "gov.sg", "gov.sg"),
            ("https://a.b.github.io#x", "a.b.github.io", "b.github.io"),
            ("https://www.五洲.公司.cn/", "www.xn--dlq595e.xn--55qx5d.cn", "xn--dlq595e.xn--55qx5d.cn"),
        ] {
            let target = Target::parse(text, OWN_HOST).expect(text);
            assert_eq!((target.host(), target.registrable_domain()), (host, registrable), "{text}");
        }
    }

    #[test]
    fn whatever_the_store_held_can_be_shown() {
        for text in ["", "https://", "http://old.example/", "é", "x:1"] {
            let target = Target::from_store(text.to_owned());
            assert_eq!(target.as_str(), text);
            let _ = (target.host(), target.registrable_domain());
        }
    }

    fn assert_stored_form(raw: &str) -> Result<(), TestCaseError> {
        if let Ok(target) = Target::parse(raw, OWN_HOST) {
            prop_assert!(target.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{}", target);
            prop_assert!(target.as_str().len() <= TARGET_BYTES_MAX);
            let url = Url::parse(target.as_str()).expect("a URL");
            prop_assert_eq!(url.host_str(), Some(target.host()));
            prop_assert_eq!(Target::parse(target.as_str(), OWN_HOST), Ok(target));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn whatever_is_stored_fits_a_header_and_parses_to_itself(raw in "https://[a-z]{1,9}\\.com(:[0-9]{0,4})?([/?#\\\\]\\PC{0,60})?") {
            assert_stored_form(&raw)?;
        }

        #[test]
        fn an_odd_host_is_refused_or_kept_stable(raw in "https://([a-zA-Z0-9éя例ß。．％%@:\\\\_\\-\\[\\]]{0,12}\\.){0,3}(com|SG|例え)?[:/?#@\\\\]?\\PC{0,9}") {
            assert_stored_form(&raw)?;
        }

        #[test]
        fn no_text_at_all_makes_it_panic(raw in any::<String>(), own_host in any::<String>()) {
            let _ = Target::parse(&raw, &own_host);
            let _ = Target::parse(&format!("https://{raw}"), &own_host);
        }
    }
}
