//! Sets of host names: the lists that come with merlink, and those of an operator.

use std::{collections::HashSet, str::FromStr};

use url::{Host, Url};

use super::target::is_host_name;

/// A host name and all below it, in lower case and punycode: `bit.ly`, or a whole top-level domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name such as bit.ly: write it without https://, port and path")]
pub struct InvalidHostName;

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        let Ok(Host::Domain(name)) = Host::parse(text) else { return Err(InvalidHostName) };
        if is_host_name(&name) { Ok(Self(name.into())) } else { Err(InvalidHostName) }
    }
}

impl HostName {
    /// Reads a host name, or the host of an address as it is pasted: `https://Bit.ly./abc`,
    /// `bit.ly:443/abc`.
    ///
    /// # Errors
    ///
    /// When there is no host name in it.
    pub fn pasted(text: &str) -> Result<Self, InvalidHostName> {
        let text = text.trim_matches(['<', '>', '"', '\'', ',', ';']);
        let host = if text.contains("://") {
            let url = Url::parse(text).map_err(|_| InvalidHostName)?;
            url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).ok_or(InvalidHostName)?.to_owned()
        } else {
            let host = text.split(['/', '?']).next().unwrap_or_default();
            match host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
                _ => host.to_owned(),
            }
        };
        host.strip_suffix('.').unwrap_or(&host).parse()
    }
}

/// A set of host names, each of which stands for all below it, too.
#[derive(Clone, Debug, Default)]
pub struct HostNames(HashSet<Box<str>>);

impl HostNames {
    /// Reads one name a line; empty lines and what follows a `#` are skipped. Returns the set, and a sentence for each line that isn't a name.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let (mut hosts, mut mistakes) = (Self::default(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            match entry.parse::<HostName>() {
                _ if entry.is_empty() => {}
                Ok(name) => {
                    hosts.0.insert(name.0);
                }
                Err(reason) => mistakes.push(format!("line {} is skipped: {reason}", index + 1)),
            }
        }
        (hosts, mistakes)
    }

    /// True if the set has this host or one above it, comparing whole labels: `this.gd` isn't below `is.gd`.
    pub fn cover(&self, host: &str) -> bool {
        let parents = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
        !self.0.is_empty() && std::iter::once(host).chain(parents).any(|name| self.0.contains(name))
    }

    pub fn insert(&mut self, name: HostName) {
        self.0.insert(name.0);
    }

    pub fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<HostName> for HostNames {
    fn from_iter<I: IntoIterator<Item = HostName>>(names: I) -> Self {
        Self(names.into_iter().map(|name| name.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_names_hosts_one_a_line() {
        let (hosts, mistakes) = HostNames::parse(
            "# ours\r\nBit.LY\n\n bücher.example # reported\nhttps://x.gd\nzzzz\n*.a.b\n1.2.3.4\na_b.c\na:1",
        );
        assert_eq!(hosts.len(), 3, "{hosts:?}");
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
        assert!(mistakes[0].starts_with("line 5 is skipped: not a host name"), "{mistakes:?}");
        for covered in ["bit.ly", "www.bit.ly", "xn--bcher-kva.example", "a.zzzz", "zzzz"] {
            assert!(hosts.cover(covered), "{covered}");
        }
        for other in ["notbit.ly", "bit.ly.example", "ly", "example", "", "."] {
            assert!(!hosts.cover(other), "{other}");
        }
        assert!(!HostNames::default().cover("bit.ly"));
    }

    #[test]
    fn the_host_of_a_pasted_address_is_taken() {
        for pasted in [
            "bit.ly",
            "Bit.LY.",
            "https://bit.ly",
            "HTTPS://user@Bit.ly.:8443/a?b",
            "bit.ly/abc",
            "<http://bit.ly/>,",
            "bit.ly:443/x",
        ] {
            assert_eq!(HostName::pasted(pasted).map(|name| name.0), Ok("bit.ly".into()), "{pasted}");
        }
        for bad in [
            "",
            "https://",
            "ftp://bit.ly",
            "*.bit.ly",
            "1.2.3.4",
            "https://1.2.3.4/",
            "a_b.c",
            "two words",
            "mailto:a@b.c",
        ] {
            assert_eq!(HostName::pasted(bad), Err(InvalidHostName), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_set_covers_its_names_and_all_below_and_nothing_else(
            names in prop::collection::vec("([ab]\\.){0,2}[ab]", 0..4),
            host in "([ab]\\.){0,4}[ab]",
        ) {
            let (hosts, mistakes) = HostNames::parse(&names.join("\n"));
            prop_assert!(mistakes.is_empty(), "{:?}", mistakes);
            let expected = names.iter().any(|name| host == *name || host.ends_with(&format!(".{name}")));
            prop_assert_eq!(hosts.cover(&host), expected);
        }

        #[test]
        fn no_text_at_all_makes_it_panic(text in any::<String>(), host in any::<String>()) {
            let _ = HostNames::parse(&text).0.cover(&host);
            let _ = HostName::pasted(&text);
        }
    }
}
