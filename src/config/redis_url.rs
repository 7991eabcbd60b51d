//! Where Redis is: the forms of `redis.url`.
//!
//! What names several hosts is no URL to any parser, so it is taken apart here, into URLs of one host each. The credentials are the same on
//! all of them. Nothing here prints them.

use std::fmt;

use url::Url;

/// Redis' own default.
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What may be said, for the message when something else is.
pub const ALLOWED: &str = "empty, or redis://, rediss:// or redis+unix:// and where Redis is, or redis-sentinel://h1,h2,h3/service, or \
     redis-cluster://h1,h2,h3 (rediss- for TLS)";

#[derive(Clone, PartialEq, Eq)]
pub enum RedisUrl {
    /// As the Redis client takes it.
    One(String),
    /// A primary that the Sentinels name, under the name that they know it by.
    Sentinel { sentinels: Hosts, service: String },
    /// Some nodes of a Redis Cluster, of which one must be alive.
    Cluster(Hosts),
}

/// Servers that are spoken to in the same way. At least one.
#[derive(Clone, PartialEq, Eq)]
pub struct Hosts {
    tls: bool,
    /// `user:password@` as it stood in the URL, or nothing.
    credentials: String,
    all: Vec<Host>,
}

/// A host's name or address (IPv6 without brackets) and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    pub name: String,
    pub port: u16,
}

impl RedisUrl {
    /// # Errors
    ///
    /// What is wrong, without what may be secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let not_allowed = || format!("what is set isn't allowed; allowed: {ALLOWED}");
        let (scheme, rest) = text.split_once("://").ok_or_else(not_allowed)?;
        match scheme {
            "redis" | "rediss" | "redis+unix" => {
                let url = Url::parse(text).map_err(|_| not_allowed())?;
                let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                if scheme == "redis+unix" {
                    if url.path().len() < 2 {
                        return Err(format!(
                            "{scheme}:// is followed by a socket's path, as {scheme}:///run/redis.sock"
                        ));
                    }
                } else if url.host_str().is_none_or(str::is_empty) || !is_number(url.path().trim_start_matches('/')) {
                    return Err(format!(
                        "{scheme}:// is followed by a host, and perhaps a port and a database's number, as {scheme}://h:6379/0"
                    ));
                }
                Ok(Self::One(text.to_owned()))
            }
            "redis-sentinel" | "rediss-sentinel" => {
                let (authority, service) = rest.rsplit_once('/').unwrap_or((rest, ""));
                if service.is_empty() || service.contains(['?', '#', ',', '@']) {
                    return Err(format!(
                        "{scheme}:// ends in the name that the Sentinels know the service by: {scheme}://h1,h2,h3/service"
                    ));
                }
                let sentinels = Hosts::parse(scheme, authority, SENTINEL_PORT)?;
                Ok(Self::Sentinel { sentinels, service: service.to_owned() })
            }
            "redis-cluster" | "rediss-cluster" => {
                Ok(Self::Cluster(Hosts::parse(scheme, rest.strip_suffix('/').unwrap_or(rest), REDIS_PORT)?))
            }
            _ => Err(not_allowed()),
        }
    }

    pub fn is_tls(&self) -> bool {
        match self {
            Self::One(url) => url.starts_with("rediss://"),
            Self::Sentinel { sentinels: hosts, .. } | Self::Cluster(hosts) => hosts.tls(),
        }
    }
}

impl Hosts {
    fn parse(scheme: &str, authority: &str, default_port: u16) -> Result<Self, String> {
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), authority),
        };
        let all = hosts
            .split(',')
            .map(|host| Host::parse(host, default_port))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("{scheme}:// is followed by hosts, as h1,h2:7000,[2001:db8::1]:7000"))?;
        let parsed = Self { tls: scheme.starts_with("rediss"), credentials, all };
        // Only credentials that aren't written as a URL has them can be wrong with it by now.
        Url::parse(&parsed.url(&parsed.all[0]))
            .ok()
            .filter(|url| url.path().is_empty() && url.query().is_none() && url.fragment().is_none())
            .map(|_| parsed)
            .ok_or_else(|| format!("{scheme}://user:password@: write / ? # and @ in it as %2F %3F %23 and %40"))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.all.iter()
    }

    pub fn tls(&self) -> bool {
        self.tls
    }

    /// One server's address as the Redis client takes it, with the credentials.
    pub fn url(&self, host: &Host) -> String {
        format!("{}://{}{host}", self.scheme(), self.credentials)
    }

    pub fn url_without_credentials(&self, host: &Host) -> String {
        format!("{}://{host}", self.scheme())
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
    }
}

impl Host {
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let url = Url::parse(&format!("redis://{text}")).ok()?;
        let bare = url.path().is_empty() && url.query().is_none() && url.fragment().is_none();
        let name = url.host_str().filter(|name| bare && !name.is_empty())?;
        Some(Self { name: name.trim_matches(['[', ']']).to_owned(), port: url.port().unwrap_or(default_port) })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(formatter, "[{}]:{}", self.name, self.port)
        } else {
            write!(formatter, "{}:{}", self.name, self.port)
        }
    }
}

/// The hosts alone.
impl fmt::Display for Hosts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, host) in self.all.iter().enumerate() {
            if position > 0 {
                formatter.write_str(", ")?;
            }
            host.fmt(formatter)?;
        }
        Ok(())
    }
}

/// Not derived: the credentials must not come into a log.
impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(_) => formatter.write_str("One(..)"),
            Self::Sentinel { sentinels, service } => write!(formatter, "Sentinel({sentinels}/{service})"),
            Self::Cluster(hosts) => write!(formatter, "Cluster({hosts})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &RedisUrl) -> String {
        match url {
            RedisUrl::One(url) => url.clone(),
            RedisUrl::Sentinel { sentinels: hosts, .. } | RedisUrl::Cluster(hosts) => hosts.to_string(),
        }
    }

    #[test]
    fn several_hosts_are_taken_apart_and_get_their_default_ports() {
        for (url, expected) in [
            ("redis-sentinel://a,b:1,c/main", "a:26379, b:1, c:26379"),
            ("redis-sentinel://user:p%40ss,word@a/main", "a:26379"),
            (
                "redis-cluster://a,10.0.0.1:7000,[2001:db8::1],[::1]:7000",
                "a:6379, 10.0.0.1:7000, [2001:db8::1]:6379, [::1]:7000",
            ),
            ("rediss-cluster://:secret@a/", "a:6379"),
            ("redis://a,b", "redis://a,b"),
        ] {
            assert_eq!(hosts(&RedisUrl::parse(url).expect(url)), expected, "{url}");
        }
    }

    #[test]
    fn one_servers_url_has_the_credentials_and_the_scheme() {
        let RedisUrl::Cluster(nodes) = RedisUrl::parse("rediss-cluster://user:p%40ss@a,b").expect("good") else {
            panic!("a cluster");
        };
        let other = Host { name: "::1".to_owned(), port: 7000 };
        assert_eq!(nodes.url(&other), "rediss://user:p%40ss@[::1]:7000");
        assert_eq!(nodes.url_without_credentials(&other), "rediss://[::1]:7000");
    }

    #[test]
    fn mistakes_are_named_without_what_may_be_secret() {
        for (url, reason) in [
            ("redis-sentinel://u:hunter2@a,b", "redis-sentinel://h1,h2,h3/service"),
            ("redis-sentinel://u:hunter2@a,b/", "redis-sentinel://h1,h2,h3/service"),
            ("redis-sentinel://u:hunter2@a,/main", "followed by hosts"),
            ("redis-sentinel://u:hunter2@/main", "followed by hosts"),
            ("redis-cluster://", "followed by hosts"),
            ("redis-cluster://u:hunter2@a:99999", "followed by hosts"),
            ("redis-cluster://u:hunter2@a b", "followed by hosts"),
            ("redis-cluster://u:hunter2@a/0", "followed by hosts"),
            ("redis-cluster://u:hunter2/@a", "%2F"),
            ("redis-cluster://u:hunter2?@a", "%2F"),
            ("redis://", "followed by a host"),
            ("rediss://u:hunter2@", "isn't allowed"),
            ("redis://u:hunter2@a/b", "database's number"),
            ("redis://u:hunter2@a:99999", "isn't allowed"),
            ("redis+unix://", "socket's path"),
            ("redis+unix:///", "socket's path"),
            ("http://u:hunter2@a", "isn't allowed; allowed: empty, or redis://"),
            ("hunter2", "isn't allowed; allowed: empty, or redis://"),
        ] {
            let error = RedisUrl::parse(url).expect_err(url);
            assert!(error.contains(reason) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn debugging_shows_no_password() {
        for url in ["redis://u:hunter2@a", "redis-cluster://u:hunter2@a", "redis-sentinel://u:hunter2@a/main"] {
            assert!(!format!("{:?}", RedisUrl::parse(url).expect("good")).contains("hunter2"));
        }
    }
}
