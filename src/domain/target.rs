//! The target of a link: an https address on the public internet that a citizen may be sent to.
//!
//! A browser repairs what it is given: `https:\\evil.com`, a tab inside a host, full-width dots and percent-encoded hosts all lead
//! somewhere, and not always where the officer who pasted them, or the colleague who checked them, read. So the text is
//! parsed once with the parser browsers use (WHATWG, crate `url`), every test looks at the parsed form, and a text whose host had to
//! be repaired is refused rather than understood.
//!
//! Nothing here asks DNS or fetches anything: a public name may still point at a private address, today or tomorrow. Names that do so by design
//! are in `lists/`, beside shorteners, trackers and ports that browsers refuse. Whether a site is malicious is the threat check's business.

use std::{collections::HashSet, fmt, net::Ipv4Addr, sync::LazyLock};

use serde::{Deserialize, Serialize};
use unicode_security::{RestrictionLevel, RestrictionLevelDetection, confusable_detection::skeleton};
use url::{Host, Url, quirks::domain_to_unicode};

use super::HostNames;

/// 2,082: `GoGovSG` refuses 2,083 characters or more (its validator's limit, once Internet Explorer's). The stored form is held to
/// it too, percent-encoding included: what was stored can be sent again, and fits the 4 kB that nginx keeps for an answer's head.
pub const TARGET_BYTES_MAX: usize = 2082;

const SCHEME: &str = "https://";

/// The lists that come with merlink. Their headers say what is in them, by which rule, and since when.
static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists {
    special_use: HostNames::parse(include_str!("lists/special-use.txt")).0,
    stand_ins: HostNames::parse(include_str!("lists/stand-ins.txt")).0,
    shorteners: HostNames::parse(include_str!("lists/shorteners.txt")).0,
    trackers: HostNames::parse(include_str!("lists/trackers.txt")).0,
    ports: include_str!("lists/ports.txt").lines().filter_map(|line| line.parse().ok()).collect(),
});

struct Lists {
    special_use: HostNames,
    stand_ins: HostNames,
    shorteners: HostNames,
    trackers: HostNames,
    ports: HashSet<u16>,
}

/// A top-level domain that isn't in the Public Suffix List and is allowed: RFC 2606 keeps it for documentation, so it leads nowhere.
const DOCUMENTATION: &str = "example";

/// An installation's rules for targets, beside the lists that come with merlink.
#[derive(Clone, Debug, Default)]
pub struct TargetRules {
    /// The host of the service's own short links, without a port.
    pub own_host: String,
    /// Hosts that no link may lead to.
    pub blocked: HostNames,
    /// Hosts that links may lead to although they are in a list, or below no known public suffix.
    pub allowed: HostNames,
}

/// An https address with a public host name. Always ASCII without spaces or control characters, so it can stand in a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target(Box<str>);

/// Why an address can't be a target, and what to do. Kept for a day with the outcome of an upload, so a case keeps its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum TargetError {
    #[error("the address must begin with https:// in lower case")]
    NotHttps,
    #[error("the address is longer than {TARGET_BYTES_MAX} characters once it is percent-encoded: shorten it")]
    TooLong,
    #[error("the address has white space, a control character, < or > in it: remove it, or percent-encode it, as %20")]
    NeverWritten,
    #[error("the address has a user name or a password before an @: remove all between https:// and the host name")]
    UserInfo,
    #[error("the address has an IP address instead of a host name: use the website's name")]
    IpAddress,
    #[error("the host name or port isn't written as browsers read it: copy the address from a browser's address bar")]
    Malformed,
    #[error("the host name mixes alphabets, so it can pass for another: check where the address comes from")]
    LookAlike,
    #[error("the address leads back to this service: use the address that the short link leads to")]
    Circular,
    #[error("the host name is private or local: use an address that everybody on the internet can open")]
    PrivateName,
    #[error("the host name ends in no known domain, such as .sg or .com: check its spelling")]
    UnknownSuffix,
    #[error("browsers refuse to open port {0}: use another port, or none")]
    Port(u16),
    #[error("this service doesn't allow the host name as a target: use another address, or ask the service's operator")]
    Blocked,
    #[error("the host name stands for an address in a private network: use the name of a public website")]
    StandIn,
    #[error("the address belongs to a link shortener, which hides where it leads: use the address that it leads to")]
    Shortener,
    #[error(
        "the address belongs to a redirection or tracking service, which hides where it leads: use the address that it leads to"
    )]
    Tracker,
}

impl Target {
    /// Reads what an officer wrote.
    ///
    /// Kept byte for byte when it differs from its parsed form by an empty path at most (`https://example.com`), else the parsed
    /// form is kept: `https://Example.com/a/../ü` becomes `https://example.com/%C3%BC`.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn parse(raw: &str, rules: &TargetRules) -> Result<Self, TargetError> {
        let after_scheme = raw.strip_prefix(SCHEME).ok_or(TargetError::NotHttps)?;
        if raw.chars().count() > TARGET_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        if raw.chars().any(is_never_written) {
            return Err(TargetError::NeverWritten);
        }
        let authority_end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
        let (authority, tail) = after_scheme.split_at(authority_end);
        if authority.contains('\\') {
            return Err(TargetError::Malformed);
        }
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        let url = Url::parse(raw).map_err(|_| TargetError::Malformed)?;
        let host = host_as_written(&url, authority)?;
        if !host.contains('.') {
            let is_special = LISTS.special_use.cover(host);
            return Err(if is_special { TargetError::PrivateName } else { TargetError::UnknownSuffix });
        }
        if host.eq_ignore_ascii_case(&rules.own_host) {
            return Err(TargetError::Circular);
        }
        check_host(host, rules)?;
        if let Some(port) = url.port().filter(|port| LISTS.ports.contains(port)) {
            return Err(TargetError::Port(port));
        }
        let lacks_only_the_path = format!("{SCHEME}{authority}/{tail}") == url.as_str();
        let stored = if lacks_only_the_path { raw } else { url.as_str() };
        if stored.len() > TARGET_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        Ok(Self(stored.into()))
    }

    /// Takes back what [`Target::as_str`] gave. Not tested again: rules that came later must not break links already printed.
    pub fn from_store(text: String) -> Self {
        Self(text.into())
    }

    /// Takes back what stands in Redis, as [`Self::from_store`] does. `None` if no browser could
    /// follow it: no version has written that.
    pub fn if_followable(text: String) -> Option<Self> {
        let is_address = text.starts_with(SCHEME) || text.starts_with("http://");
        (is_address && text.bytes().all(|byte| byte > b' ' && byte != 0x7f)).then(|| Self::from_store(text))
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

/// The parsed host when it is a DNS name, and the one that `authority` (the text between `https://` and the path) shows.
fn host_as_written<'a>(url: &'a Url, authority: &str) -> Result<&'a str, TargetError> {
    let host = match url.host() {
        Some(Host::Domain(host)) => host,
        // An address in any spelling: `0x7f.1`, `①②⑦.0.0.1`, `[::1]`.
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(TargetError::IpAddress),
        None => return Err(TargetError::Malformed),
    };
    let (written_host, port) = authority.split_once(':').unwrap_or((authority, ""));
    if !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(TargetError::Malformed);
    }
    let unicode_host = domain_to_unicode(host);
    let is_as_written = if written_host.is_ascii() {
        written_host.eq_ignore_ascii_case(host)
    } else {
        // Soft hyphens, zero-width spaces, full-width letters and other dots vanish or change in the parser: refused by this.
        written_host.to_lowercase() == unicode_host
    };
    if !is_as_written || !is_host_name(host) {
        return Err(TargetError::Malformed);
    }
    if unicode_host.split('.').any(is_look_alike) { Err(TargetError::LookAlike) } else { Ok(host) }
}

/// Refuses a host name by what is known of it.
fn check_host(host: &str, rules: &TargetRules) -> Result<(), TargetError> {
    let lists = &*LISTS;
    if lists.special_use.cover(host) {
        return Err(TargetError::PrivateName);
    }
    if rules.allowed.cover(host) {
        return Ok(());
    }
    if !has_known_suffix(host) {
        return Err(TargetError::UnknownSuffix);
    }
    if rules.blocked.cover(host) {
        return Err(TargetError::Blocked);
    }
    if lists.stand_ins.cover(host) || spells_private_address(host) {
        return Err(TargetError::StandIn);
    }
    if lists.shorteners.cover(host) {
        return Err(TargetError::Shortener);
    }
    if lists.trackers.cover(host) {
        return Err(TargetError::Tracker);
    }
    Ok(())
}

fn has_known_suffix(host: &str) -> bool {
    host.rsplit('.').next() == Some(DOCUMENTATION)
        || psl::suffix(host.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

/// True if the name has a private IPv4 address in it, as services that answer with it want it: `app.10.0.0.1.nip.example`,
/// `app-10-0-0-1.nip.example`. Four numbers that belong to a longer row of numbers are a version or a date.
fn spells_private_address(host: &str) -> bool {
    let has_private_run = |words: &[&str]| words.split(|word| !is_number(word)).any(is_private);
    let labels: Vec<&str> = host.split('.').collect();
    has_private_run(&labels) || labels.iter().any(|label| has_private_run(&label.split('-').collect::<Vec<_>>()))
}

fn is_number(word: &str) -> bool {
    (1..=3).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 1918, 6598 (carriers' NAT), 1122 (loopback, this host) and 3927 (link-local, where clouds keep their metadata).
fn is_private(octets: &[&str]) -> bool {
    let [a, b, c, d] = octets else { return false };
    let octets: Option<Vec<u8>> = [a, b, c, d].iter().map(|octet| octet.parse().ok()).collect();
    let Some([a, b, c, d]) = octets.as_deref() else { return false };
    let address = Ipv4Addr::new(*a, *b, *c, *d);
    let is_shared = *a == 100 && (64..128).contains(b);
    address.is_private() || address.is_loopback() || address.is_link_local() || address.is_unspecified() || is_shared
}

/// A host name with at least one dot and a top-level domain that can exist: two letters or more, or punycode. In lower case.
pub(super) fn is_dns_name(name: &str) -> bool {
    let Some((_, top_level)) = name.rsplit_once('.') else { return false };
    let top_level_can_exist = top_level.starts_with("xn--")
        || (top_level.len() >= 2 && top_level.bytes().all(|letter| letter.is_ascii_lowercase()));
    top_level_can_exist && is_host_name(name)
}

/// Labels joined by dots, with none at the end, in lower case: RFC 1123 §2.1 (letters, digits, inner hyphens, labels of 63 bytes) and RFC 1035
/// §2.3.4 (253 bytes in all).
pub(super) fn is_host_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN_HOST: &str = "go.example.gov.sg";

    fn rules(own_host: &str) -> TargetRules {
        TargetRules { own_host: own_host.to_owned(), ..TargetRules::default() }
    }

    fn parse(raw: &str) -> Result<String, TargetError> {
        Target::parse(raw, &rules(OWN_HOST)).map(|target| target.to_string())
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
    fn what_nobody_writes_in_an_address_is_refused_anywhere() {
        assert_refused(
            TargetError::NeverWritten,
            &[
                "https://example.com ",
                "https://example.com/a b",
                "https://example.com/\u{a0}",
                "https://example.com/\u{3000}",
                "https://example.com/\u{feff}",
                "https://example.com/<",
                "https://example.com/?q=>",
                "https://exam\tple.com",
                "https://exam\nple.com",
                "https://example.com/a\r\nb",
                "https://example.com\u{7f}",
            ],
        );
    }

    #[test]
    fn user_info_is_refused_even_when_it_looks_like_the_host() {
        assert_refused(
            TargetError::UserInfo,
            &[
                "https://user@example.com",
                "https://user:pw@example.com",
                "https://@example.com",
                "https://:@example.com",
                "https://example.com:443@example.com",
                "https://good.gov.sg@evil.com",
            ],
        );
        assert!(parse("https://example.com/@user").is_ok() && parse("https://example.com/?to=a@b.com").is_ok());
    }

    #[test]
    fn an_ip_address_is_refused_in_every_spelling() {
        assert_refused(
            TargetError::IpAddress,
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
            ],
        );
        assert_refused(TargetError::Malformed, &["https://256.1.1.1", "https://[::1"]);
    }

    #[test]
    fn a_private_name_is_refused() {
        assert_refused(
            TargetError::PrivateName,
            &[
                "https://localhost",
                "https://localhost:8080/x",
                "https://A.LOCAL",
                "https://printer.home.arpa",
                "https://1.0.0.127.in-addr.arpa",
                "https://e164.arpa",
                "https://facebookwkhpilnemxj7asaniu7vnjjbiltxjqhye3mhbshg7kx5tfyd.onion",
                "https://metadata.google.internal/computeMetadata/v1/",
                "https://kubernetes.default.svc.cluster.local",
                "https://a.alt",
                "https://a.test",
            ],
        );
        for text in ["https://example.com", "https://home.example", "https://notlocal.com", "https://local.gov"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_name_below_no_known_public_suffix_is_refused() {
        assert_refused(
            TargetError::UnknownSuffix,
            &[
                "https://x",
                "https://example.c",
                "https://example.c0m",
                "https://example.zzzz",
                "https://kubernetes.default.svc",
                "https://example.consul",
                "https://wpad.dhcp",
                "https://example.xn--fsqa",
                "https://go.gov.sgg:8443/x",
            ],
        );
        for text in [
            "https://gov.sg",
            "https://a.gov.sg",
            "https://a.github.io",
            "https://a.co.uk",
            "https://a.museum",
            "https://a.example",
            "https://a.xn--yfro4i67o",
            "https://a.xn--clchc0ea0b2g2a9gcd",
            "https://go.ck",
            "https://a.b.ck",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_name_that_stands_for_a_private_address_is_refused() {
        assert_refused(
            TargetError::StandIn,
            &[
                "https://nip.io",
                "https://8.8.8.8.nip.io",
                "https://www.192.168.1.250.sslip.io",
                "https://lvh.me",
                "https://app.LVH.me:8443/x",
                "https://a.localtest.me",
                "https://metadata.tencentyun.com",
                "https://127-0-0-1.org.uk",
                "https://10.0.0.1.example.com",
                "https://a.172.16.0.1.b.example.com",
                "https://192-168-0-1.example.com",
                "https://app-100-64-0-1-x.example.com",
                "https://169-254-169-254.example.com",
                "https://0-0-0-0.example.com",
            ],
        );
        for text in [
            "https://8-8-8-8.example.com",
            "https://ec2-13-228-1-1.ap-southeast-1.compute.amazonaws.com",
            "https://release-10-0-0-1-2.example.com",
            "https://10.0.0.1.2.example.com",
            "https://10-0-0.example.com",
            "https://10-0-0-256.example.com",
            "https://10-0-0-0001.example.com",
            "https://172-15-0-1.example.com",
            "https://100-128-0-1.example.com",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_port_that_browsers_refuse_is_refused() {
        for port in [0, 1, 22, 25, 6000, 6697, 10080] {
            assert_eq!(parse(&format!("https://example.com:{port}/x")), Err(TargetError::Port(port)));
        }
        for port in [2, 24, 80, 442, 444, 5999, 6001, 8080, 8443, 10079, 10081, 65535] {
            assert!(parse(&format!("https://example.com:{port}")).is_ok(), "{port}");
        }
        assert_eq!(parse("https://example.com:0443/x").as_deref(), Ok("https://example.com/x"));
        assert_eq!(parse("https://example.com:0025/x"), Err(TargetError::Port(25)));
    }

    #[test]
    fn a_host_that_is_no_public_name_is_refused() {
        let long_label = format!("https://{}.com", "a".repeat(64));
        let long_name = format!("https://{}com", "a234567890.".repeat(23));
        assert_refused(
            TargetError::Malformed,
            &[
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
                "https://example.com:99999",
                "https://example.com:65536",
                "https://example.com:8x",
                "https://example.com:-1",
                &long_label,
                &long_name,
            ],
        );
        assert_refused(TargetError::UnknownSuffix, &["https://https://example.com"]);
        assert!(parse(&format!("https://{}.com", "a".repeat(63))).is_ok());
    }

    #[test]
    fn a_label_made_to_look_like_another_is_refused() {
        assert_refused(
            TargetError::LookAlike,
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
        assert_eq!(parse(&of_length(2083)), Err(TargetError::TooLong));
        let without_path = format!("{:a<2082}", "https://example.com?");
        assert_eq!(parse(&without_path), Ok(without_path));
        assert!(parse(&format!("https://example.com/{}", "例".repeat(229))).is_ok());
        assert_eq!(parse(&format!("https://example.com/{}", "例".repeat(230))), Err(TargetError::TooLong));
    }

    #[test]
    fn our_own_host_is_circular_whatever_its_case_and_port() {
        assert_refused(
            TargetError::Circular,
            &["https://go.example.gov.sg", "https://GO.example.gov.sg/a", "https://go.example.gov.sg:8443/a"],
        );
        for (text, own_host) in
            [("https://go.test/a", "Go.Test"), ("https://go.zzzz/a", "go.zzzz"), ("https://bit.ly/a", "bit.ly")]
        {
            assert_eq!(Target::parse(text, &rules(own_host)), Err(TargetError::Circular), "{text}");
        }
        // API v1 says of a name without a dot, whatever it is, that it can't be used.
        assert_eq!(Target::parse("https://localhost/a", &rules("localhost")), Err(TargetError::PrivateName));
    }

    #[test]
    fn shorteners_and_trackers_are_known_by_their_host_names() {
        for (error, names) in [
            (
                TargetError::Shortener,
                &["bit.ly", "lc.chat", "this.tinyurl.com", "dub.sh", "spoo.me", "hubs.ly", "lnk.to"][..],
            ),
            (
                TargetError::Tracker,
                &["nam02.safelinks.protection.outlook.com", "u1.ct.sendgrid.net", "l.facebook.com", "x.app.link"],
            ),
        ] {
            for name in names {
                for host in [(*name).to_owned(), format!("www.{name}"), name.to_uppercase()] {
                    assert_eq!(parse(&format!("https://{host}/a")), Err(error), "{host}");
                }
            }
        }
        for text in [
            "https://this.gd/",
            "https://notbit.ly/",
            "https://bit.ly.example.com/",
            "https://example.com/tinyurl",
            "https://youtu.be/a",
            "https://g.co/a",
            "https://forms.gle/a",
            "https://t.me/a",
            "https://www.google.com/",
            "https://www.facebook.com/",
            "https://outlook.com/",
            "https://linktr.ee/a",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn an_operator_blocks_and_allows_hosts() {
        let hosts = |text: &str| HostNames::parse(text).0;
        let rules = TargetRules {
            own_host: OWN_HOST.to_owned(),
            blocked: hosts("casino.example\nallowed.casino.example\nlocalhost"),
            allowed: hosts("allowed.casino.example\nlnk.to\nagency.app.link\nnewtld\n10-0-0-1.example.com\ncorp"),
        };
        for (text, error) in [
            ("https://casino.example/x", TargetError::Blocked),
            ("https://www.casino.example/x", TargetError::Blocked),
            ("https://app.link/x", TargetError::Tracker),
            ("https://other.app.link/x", TargetError::Tracker),
            ("https://newtld/x", TargetError::UnknownSuffix),
            // No setting opens these.
            ("https://a.corp/x", TargetError::PrivateName),
            ("https://lnk.to:25/x", TargetError::Port(25)),
            ("https://u@lnk.to/x", TargetError::UserInfo),
        ] {
            assert_eq!(Target::parse(text, &rules), Err(error), "{text}");
        }
        for text in [
            "https://allowed.casino.example/x",
            "https://www.lnk.to/x",
            "https://agency.app.link/x",
            "https://a.newtld/x",
            "https://10-0-0-1.example.com/x",
        ] {
            assert_eq!(Target::parse(text, &rules).map(|target| target.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn the_lists_are_in_order_and_say_where_they_come_from() {
        for (name, list) in [
            ("special-use", include_str!("lists/special-use.txt")),
            ("stand-ins", include_str!("lists/stand-ins.txt")),
            ("shorteners", include_str!("lists/shorteners.txt")),
            ("trackers", include_str!("lists/trackers.txt")),
        ] {
            let (hosts, mistakes) = HostNames::parse(list);
            assert!(mistakes.is_empty(), "{name}: {mistakes:?}");
            let (header, entries): (Vec<&str>, Vec<&str>) =
                list.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with('#'));
            assert!(entries.is_sorted(), "{name} is sorted");
            assert_eq!(hosts.len(), entries.len(), "{name} has no entry twice");
            let header = header.join("\n");
            assert!(header.contains("Source") && header.contains("Date: 20"), "{name}: {header}");
            for entry in entries.iter().filter(|entry| entry.contains('.')) {
                let above = entry.split_once('.').expect("a dot").1;
                assert!(!hosts.cover(above), "{name}: {entry} lies below another entry");
                assert!(has_known_suffix(entry) || name == "special-use", "{name}: {entry}");
            }
        }
        assert_eq!(LISTS.ports.len(), 83, "as many as the standard names");
    }

    /// An upload's outcome that an earlier version wrote is shown by this one.
    #[test]
    fn cases_keep_their_names() {
        for (name, error) in [
            ("\"NotHttps\"", TargetError::NotHttps),
            ("\"Malformed\"", TargetError::Malformed),
            ("\"Circular\"", TargetError::Circular),
            ("\"Shortener\"", TargetError::Shortener),
        ] {
            assert_eq!(serde_json::from_str::<TargetError>(name).expect(name), error);
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
            let target = Target::parse(text, &rules(OWN_HOST)).expect(text);
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

    #[test]
    fn what_no_browser_could_follow_is_no_target() {
        for (text, is_one) in [
            ("https://example.com/", true),
            ("http://old.example/", true),
            ("", false),
            ("example.com", false),
            ("javascript:alert(1)", false),
            ("https://example.com/\r\nSet-Cookie: a=b", false),
            ("https://example.com/a b", false),
        ] {
            assert_eq!(Target::if_followable(text.to_owned()).is_some(), is_one, "{text:?}");
        }
    }

    fn assert_stored_form(raw: &str) -> Result<(), TestCaseError> {
        if let Ok(target) = Target::parse(raw, &rules(OWN_HOST)) {
            prop_assert!(target.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{}", target);
            prop_assert!(target.as_str().len() <= TARGET_BYTES_MAX);
            let url = Url::parse(target.as_str()).expect("a URL");
            prop_assert_eq!(url.host_str(), Some(target.host()));
            prop_assert_eq!(Target::parse(target.as_str(), &rules(OWN_HOST)), Ok(target));
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
        fn no_accepted_host_is_private_listed_or_below_an_unknown_suffix(
            host in "([a-z0-9-]{1,9}\\.){0,3}((1?[0-9]{1,2}[.-]){4})?([a-z]{2,9}\\.)?(com|sg|io|svc|onion|arpa|local|zzzz|lvh\\.me|nip\\.io|bit\\.ly|app\\.link)",
            port in prop::option::of(0..12_000_u16),
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            if let Ok(target) = Target::parse(&format!("https://{host}{port}/"), &rules(OWN_HOST)) {
                let lists = &*LISTS;
                for list in [&lists.special_use, &lists.stand_ins, &lists.shorteners, &lists.trackers] {
                    prop_assert!(!list.cover(target.host()), "{}", target);
                }
                prop_assert!(psl::suffix(target.host().as_bytes()).expect("a suffix").is_known(), "{}", target);
                let url = Url::parse(target.as_str()).expect("a URL");
                prop_assert!(url.port().is_none_or(|port| !lists.ports.contains(&port)), "{}", target);
            }
        }

        #[test]
        fn no_text_at_all_makes_it_panic(raw in any::<String>(), own_host in any::<String>()) {
            let _ = Target::parse(&raw, &rules(&own_host));
            let _ = Target::parse(&format!("https://{raw}"), &rules(&own_host));
        }
    }
}
