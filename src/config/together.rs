//! Settings that are valid alone and wrong together.
//!
//! A mistake stops the start: Merlink can't do what is set. A weakness doesn't: Merlink runs, but a
//! setting has no effect, or opens a door. Each finding names the settings that contradict each
//! other and where they were set. Nothing here connects to anything, or reads what is in a file.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use super::{Config, Origin, RedisUrl};

/// Networks that are shorter than this take in strangers: content delivery networks announce /12
/// and longer.
const IPV4_PREFIX_MIN: u8 = 8;
/// Content delivery networks announce /29 and longer.
const IPV6_PREFIX_MIN: u8 = 20;
/// A batch holds this many connections to Redis.
const CONNECTIONS_PER_BATCH: usize = 6;
const REDIS_PORT: u16 = 6379;
/// All addresses of IPv4 in the notation of IPv6, `::ffff:0:0/96`.
const IPV4_MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Service managers wait for a stop for 90 seconds to a few minutes, then they kill.
const STOP_DELAY_SOUND_MAX: Duration = Duration::from_secs(5 * 60);
/// Browsers and proxies give up after a minute.
const WAIT_SOUND_MAX: Duration = Duration::from_secs(60);
/// Headers of a trace's request that Merlink sets itself, or that belong to the connection.
const OWN_HEADERS: [&str; 5] =
    ["connection", "content-encoding", "content-length", "content-type", "transfer-encoding"];

pub struct Findings {
    pub mistakes: Vec<String>,
    pub weaknesses: Vec<String>,
}

impl Findings {
    /// Leaves out what involves a setting whose value was `refused`: the default stands in for it.
    pub fn of(config: &Config, refused: &BTreeSet<String>) -> Self {
        let mut look = Look { config, refused, found: Self { mistakes: Vec::new(), weaknesses: Vec::new() } };
        look.at_addresses();
        look.at_proxies();
        look.at_officers();
        look.at_peers();
        look.at_redis();
        look.at_places();
        look.at_lives();
        look.at_extremes();
        look.at_limits();
        look.at_mail();
        look.at_files();
        look.at_targets();
        look.at_traces();
        look.found
    }
}

struct Look<'c> {
    config: &'c Config,
    refused: &'c BTreeSet<String>,
    found: Findings,
}

impl Look<'_> {
    fn mistake(&mut self, key: &str, reason: &str) {
        let sentence = self.sentence(key, reason);
        self.found.mistakes.extend(sentence);
    }

    fn weakness(&mut self, key: &str, reason: &str) {
        let sentence = self.sentence(key, reason);
        self.found.weaknesses.extend(sentence);
    }

    fn sentence(&self, key: &str, reason: &str) -> Option<String> {
        let origin = self.config.in_force.origin(key);
        let involves = |refused: &String| key == refused || reason.contains(refused.as_str());
        (!self.refused.iter().any(involves)).then(|| format!("{origin}: {key}: {reason}"))
    }

    /// Names another setting and, unless it is the default, its origin.
    fn other(&self, key: &str) -> String {
        match self.config.in_force.origin(key) {
            Origin::Default => key.to_owned(),
            origin => format!("{key} ({origin})"),
        }
    }

    fn is_set(&self, key: &str) -> bool {
        *self.config.in_force.origin(key) != Origin::Default
    }

    fn at_addresses(&mut self) {
        let (public, operator) = (self.config.public.listen, self.config.operator_listen);
        if overlap(public, operator) {
            let public_listen = self.other("public.listen");
            self.mistake(
                "operator.listen",
                &format!("{operator} is taken by {public_listen}, {public}. Set another port"),
            );
        }
        if operator.ip().is_unspecified() {
            self.weakness(
                "operator.listen",
                &format!(
                    "{operator} takes requests on all networks of this machine, and metrics aren't for strangers. Set an address that only \
                     Prometheus reaches, or keep the port shut to others"
                ),
            );
        } else if is_public(operator.ip()) {
            self.weakness(
                "operator.listen",
                &format!("{operator} is a public address, and metrics aren't for strangers"),
            );
        }
        let base_url = &self.config.public.base_url;
        if base_url.is_local() {
            let is_own_port = !public.ip().is_loopback()
                || public.port() == 0
                || base_url.port().unwrap_or(if base_url.is_https() { 443 } else { 80 }) == public.port();
            if !is_own_port {
                let listen = self.other("public.listen");
                self.weakness(
                    "public.base_url",
                    &format!("short links lead to {}, but {listen} is {public}", base_url.as_str()),
                );
            }
            if self.is_set("smtp.from") && self.config.smtp.url.is_none() {
                self.weakness("smtp.from", "has no effect while smtp.url is empty");
            }
            return;
        }
        if !base_url.is_https() {
            let host = base_url.host().to_owned();
            self.weakness(
                "public.base_url",
                &format!(
                    "with http://, passwords, sessions and keys travel in clear text, and cookies aren't Secure. Set https://{host}, and let a \
                     proxy end TLS"
                ),
            );
        }
        if matches!((base_url.is_https(), base_url.port()), (true, Some(80)) | (false, Some(443))) {
            self.weakness("public.base_url", "http:// has port 80 and https:// has port 443: here they are mixed up");
        }
        if self.config.smtp.url.is_none() {
            self.weakness("smtp.url", "is empty, so nobody can log in to the console. Set the mail server");
        }
    }

    fn at_proxies(&mut self) {
        let proxies = &self.config.public.trusted_proxies;
        let together = IpNet::aggregate(&proxies.iter().copied().map(canonical).collect());
        let wide: Vec<String> = if are_wide(&together) {
            proxies.iter().map(IpNet::to_string).collect()
        } else {
            proxies.iter().filter(|network| is_wide(&canonical(**network))).map(IpNet::to_string).collect()
        };
        if !wide.is_empty() {
            self.weakness(
                "public.trusted_proxies",
                &format!(
                    "{} takes in strangers: whoever is in it can claim any address in X-Forwarded-For, and has no limits. Name the proxies' own \
                     networks",
                    wide.join(", ")
                ),
            );
        }
        let listen = self.config.public.listen.ip();
        let base_url = &self.config.public.base_url;
        if proxies.is_empty() {
            if base_url.is_https() {
                let base_url = self.other("public.base_url");
                self.weakness(
                    "public.trusted_proxies",
                    &format!(
                        "is empty, but {base_url} is https:// and Merlink doesn't end TLS. Behind a proxy, all visitors count as one address and \
                         share its limits. Name the proxy"
                    ),
                );
            }
        } else if listen.is_loopback() && !proxies.iter().any(includes_loopback) {
            let public_listen = self.other("public.listen");
            self.weakness(
                "public.trusted_proxies",
                &format!("none of them is on this machine, and no other reaches {public_listen}, {listen}"),
            );
        }
    }

    fn at_officers(&mut self) {
        let officers = &self.config.officers;
        let unmatchable = officers.email_domains.unmatchable();
        if !unmatchable.is_empty() {
            let reason = format!(
                "{} can't match an e-mail address. Write *@gov.example for a domain, *.gov.example for those below it",
                unmatchable.join(", ")
            );
            // Not a mistake: a node that only redirects does well without officers.
            self.weakness("officers.email_domains", &reason);
        }
        for glob in officers.email_domains.open_to_anybody() {
            self.weakness(
                "officers.email_domains",
                &format!("{glob} matches addresses in domains that anybody can register, so anybody can be an officer"),
            );
        }
        let outside = officers.admins.iter().filter(|admin| !officers.email_domains.matches(admin));
        let outside: Vec<&str> = outside.map(super::Email::as_str).collect();
        if !outside.is_empty() {
            let domains = self.other("officers.email_domains");
            self.weakness(
                "officers.admins",
                &format!("{} can't log in or have keys, because {domains} doesn't match", outside.join(", ")),
            );
        }
    }

    /// Finds other servers' addresses on which Merlink itself is to listen.
    fn at_peers(&mut self) {
        let (redis, smtp, traces) = (&self.config.redis.url, &self.config.smtp.url, &self.config.traces.otlp_url);
        let mut peers: Vec<(&str, Option<SocketAddr>)> = Vec::new();
        match redis {
            Some(RedisUrl::One(url)) => {
                let url = Url::parse(url).ok();
                let peer = url.and_then(|url| address_of(url.host_str()?, url.port().unwrap_or(REDIS_PORT)));
                peers.push(("redis.url", peer));
            }
            Some(RedisUrl::Sentinel { sentinels: hosts, .. } | RedisUrl::Cluster(hosts)) => {
                peers.extend(hosts.iter().map(|host| ("redis.url", address_of(&host.name, host.port))));
            }
            None => {}
        }
        let mail = smtp.as_ref().and_then(|url| Url::parse(url).ok());
        peers.push(("smtp.url", mail.and_then(|url| address_of(url.host_str()?, url.port()?))));
        peers.push(("traces.otlp_url", traces.as_ref().and_then(|url| address_of(url.host()?, url.port_u16()?))));
        let own = [("public.listen", self.config.public.listen), ("operator.listen", self.config.operator_listen)];
        for (peer, address) in peers.into_iter().filter_map(|(peer, address)| Some((peer, address?))) {
            for (key, listen) in own.into_iter().filter(|(_, listen)| takes(*listen, address)) {
                let reason = format!("{listen} is taken by {}, {address}. Set another port", self.other(peer));
                // Others of several servers may do without the one that can't be there.
                if matches!(redis, Some(RedisUrl::One(_))) && peer == "redis.url" {
                    self.mistake(key, &reason);
                } else {
                    self.weakness(key, &reason);
                }
            }
        }
    }

    fn at_redis(&mut self) {
        let redis = &self.config.redis;
        let is_tls = redis.url.as_ref().is_some_and(RedisUrl::is_tls);
        if redis.tls_ca_file.is_some() && !is_tls {
            let url = self.other("redis.url");
            self.weakness(
                "redis.tls_ca_file",
                &format!("has no effect: {url} isn't TLS. Write rediss:// there, or leave this empty"),
            );
        }
        if redis.url.is_none() && !redis.allow_unsafe.is_empty() {
            self.weakness("redis.allow_unsafe", "has no effect on Merlink's own Redis: redis.url is empty");
        }
    }

    fn at_places(&mut self) {
        let (pool, overload) = (self.config.redis.pool_size, &self.config.overload);
        let wanted = overload.api_at_once + CONNECTIONS_PER_BATCH * overload.bulk_at_once;
        if wanted >= pool {
            let (api, bulk, pool_size) = (
                self.other("overload.api_at_once"),
                self.other("overload.bulk_at_once"),
                self.other("redis.pool_size"),
            );
            let key = ["redis.pool_size", "overload.api_at_once", "overload.bulk_at_once"]
                .into_iter()
                .find(|key| self.is_set(key))
                .unwrap_or("redis.pool_size");
            self.weakness(
                key,
                &format!(
                    "{api} + {CONNECTIONS_PER_BATCH} × {bulk} is {wanted} and isn't below {pool_size}, {pool}: the console may wait for the APIs"
                ),
            );
        }
        if overload.body_bytes_per_client_max > overload.body_bytes_max {
            let key = if self.is_set("overload.body_bytes_per_client_max") {
                "overload.body_bytes_per_client_max"
            } else {
                "overload.body_bytes_max"
            };
            self.weakness(
                key,
                "overload.body_bytes_per_client_max is above overload.body_bytes_max: one client can take all the memory for bodies",
            );
        }
    }

    fn at_lives(&mut self) {
        let (console, redirect) = (&self.config.console, &self.config.redirect);
        if console.session_idle > console.session_max {
            let session_max = self.other("console.session_max");
            self.weakness(
                "console.session_idle",
                &format!("has no effect: it is longer than {session_max}, after which sessions end in any case"),
            );
        }
        if redirect.revalidate_after > redirect.serve_stale_for {
            let revalidate_after = self.other("redirect.revalidate_after");
            self.weakness(
                "redirect.serve_stale_for",
                &format!(
                    "is shorter than {revalidate_after}: when Redis goes away, links that weren't compared with it lately stop at once"
                ),
            );
        }
    }

    /// Finds durations that are allowed and so short or long that they serve nobody.
    fn at_extremes(&mut self) {
        let config = self.config;
        let (redirect, wait) = (&config.redirect, config.overload.wait_max);
        let extremes = [
            (
                config.public.stop_delay > STOP_DELAY_SOUND_MAX,
                "public.stop_delay",
                "is more than 5m: service managers kill what takes so long to stop, and requests with it",
            ),
            (
                wait.is_zero(),
                "overload.wait_max",
                "is 0: whatever finds no place free at once is refused, even in the shortest rush",
            ),
            (
                wait > WAIT_SOUND_MAX,
                "overload.wait_max",
                "is more than 1m: browsers and proxies have given up by then, and the wait fills the queue",
            ),
            (
                redirect.serve_stale_for.is_zero(),
                "redirect.serve_stale_for",
                "is 0: all redirects stop as soon as Redis doesn't answer",
            ),
            (
                redirect.serve_stale_for > 30 * DAY,
                "redirect.serve_stale_for",
                "is more than 30d: while Redis is away, links go on for that long although they were switched off",
            ),
            (
                redirect.revalidate_after > DAY,
                "redirect.revalidate_after",
                "is more than 24h: links in memory are hardly ever compared with Redis",
            ),
            (
                config.clicks.journal_keep.is_zero(),
                "clicks.journal_keep",
                "is 0: when Redis goes back in time, the clicks that it forgets are lost",
            ),
            (
                config.clicks.journal_keep > 30 * DAY,
                "clicks.journal_keep",
                "is more than 30d: the journal grows until it fills clicks.journal_bytes_max",
            ),
            (
                config.console.session_max > 90 * DAY,
                "console.session_max",
                "is more than 90d: whoever gets hold of a browser or its cookie is that officer for as long",
            ),
        ];
        for (_, key, reason) in extremes.into_iter().filter(|(is_extreme, ..)| *is_extreme) {
            self.weakness(key, reason);
        }
    }

    fn at_limits(&mut self) {
        let public = &self.config.public;
        let connections_max = public.connections_max;
        if public.connections_per_address_max.is_some_and(|max| max > connections_max) {
            let key = if self.is_set("public.connections_per_address_max") {
                "public.connections_per_address_max"
            } else {
                "public.connections_max"
            };
            self.weakness(
                key,
                "public.connections_per_address_max is above public.connections_max: one address can take all connections",
            );
        }
        if self.is_set("limits.officer_per_minute") {
            let (of_key, set) = (self.config.limits.api_per_minute, self.config.limits.officer_per_minute_set);
            let api_per_minute = self.other("limits.api_per_minute");
            if set > 0 && of_key == 0 {
                self.weakness(
                    "limits.officer_per_minute",
                    &format!("has no effect: without {api_per_minute} there is no limit per officer"),
                );
            } else if set > 0 && set < of_key {
                self.weakness(
                    "limits.officer_per_minute",
                    &format!("has no effect: {api_per_minute}, {of_key}, applies, which is more"),
                );
            }
        }
    }

    fn at_mail(&mut self) {
        let smtp = &self.config.smtp;
        let Some(url) = smtp.url.as_ref().and_then(|url| Url::parse(url).ok()) else {
            for key in ["smtp.from", "smtp.tls_ca_file"] {
                // On a developer's machine `smtp.from` was looked at with the address.
                if self.is_set(key) && !(key == "smtp.from" && self.config.public.base_url.is_local()) {
                    self.weakness(key, "has no effect while smtp.url is empty");
                }
            }
            return;
        };
        let is_here = url.host_str().is_some_and(is_this_machine);
        let has_password = url.password().is_some();
        if !url.username().is_empty() && !has_password {
            self.weakness("smtp.url", "has a user without a password, so Merlink doesn't log in to the mail server");
        }
        if url.query().is_some() || !matches!(url.path(), "" | "/") {
            self.weakness("smtp.url", "what follows the host and the port has no effect");
        }
        match (url.scheme(), url.port()) {
            ("smtps", Some(port @ (25 | 587))) => self.weakness(
                "smtp.url",
                &format!("port {port} begins in clear text on most servers, and smtps:// begins with TLS. Write smtp://, or port 465"),
            ),
            ("smtp", Some(465)) => self.weakness(
                "smtp.url",
                "port 465 begins with TLS on most servers, and smtp:// begins in clear text. Write smtps://, or port 587",
            ),
            _ => {}
        }
        if url.scheme() == "smtp" && !is_here && !has_password {
            self.weakness(
                "smtp.url",
                "smtp:// goes on in clear text when the server, or somebody on the way, offers no TLS; one-time passwords are in the mails. \
                 Write smtps://",
            );
        }
        if url.scheme() == "smtp" && is_here && smtp.tls_ca_file.is_some() {
            self.weakness(
                "smtp.tls_ca_file",
                "has no effect: Merlink speaks to a mail server on this machine without TLS",
            );
        }
        let host = self.config.public.base_url.host();
        if smtp.from.is_none()
            && !self.config.public.base_url.is_local()
            && format!("no-reply@{host}").parse::<super::Email>().is_err()
        {
            self.weakness(
                "smtp.from",
                &format!("is empty, and no-reply@{host} isn't an address that mail servers take. Set the sender"),
            );
        }
    }

    fn at_files(&mut self) {
        let config = self.config;
        if config.audit.file.is_none() {
            for key in ["audit.addresses", "audit.disk_reserve"] {
                if self.is_set(key) && (key != "audit.addresses" || config.audit.addresses) {
                    self.weakness(key, "has no effect while audit.file is empty");
                }
            }
            return;
        }
        let Some(audit) = &config.audit.file else { return };
        let settings_file = config.in_force.0.values().find_map(|(_, origin)| match origin {
            Origin::File { path, .. } => Some(PathBuf::from(path)),
            Origin::Default | Origin::Environment(_) => None,
        });
        let files = [
            ("redirect.deny_file", config.redirect.deny_file.as_ref()),
            ("targets.blocked_file", config.targets.blocked_file.as_ref()),
            ("redis.tls_ca_file", config.redis.tls_ca_file.as_ref()),
            ("smtp.tls_ca_file", config.smtp.tls_ca_file.as_ref()),
            ("traces.tls_ca_file", config.traces.tls_ca_file.as_ref()),
            ("the file of settings", settings_file.as_ref()),
        ];
        for (key, file) in files {
            if file.is_some_and(|file| is_same(file, audit)) {
                let key = self.other(key);
                self.mistake("audit.file", &format!("{} is {key}, too: Merlink would write into it", audit.display()));
            }
        }
    }

    fn at_targets(&mut self) {
        let (targets, own) = (&self.config.targets, self.config.public.base_url.host());
        let both: Vec<&str> = targets.blocked_hosts.iter().filter(|host| targets.allowed_hosts.cover(host)).collect();
        if !both.is_empty() {
            let blocked = self.other("targets.blocked_hosts");
            self.weakness("targets.allowed_hosts", &format!("allows what {blocked} blocks: {}", both.join(", ")));
        }
        if targets.allowed_hosts.iter().any(|host| host == own) {
            self.weakness(
                "targets.allowed_hosts",
                &format!(
                    "{own} has no effect: links can't lead to Merlink's own host, since they would go round in circles"
                ),
            );
        }
    }

    fn at_traces(&mut self) {
        let traces = &self.config.traces;
        let own: Vec<&str> = traces
            .headers
            .keys()
            .map(hyper::header::HeaderName::as_str)
            .filter(|name| OWN_HEADERS.contains(name))
            .collect();
        if !own.is_empty() {
            self.weakness("traces.headers", &format!("{} can't be set: Merlink sets it itself", own.join(", ")));
        }
        let Some(url) = &traces.otlp_url else {
            for key in ["traces.headers", "traces.tls_ca_file", "traces.sampled_share"] {
                if self.is_set(key) {
                    self.weakness(key, "has no effect while traces.otlp_url is empty");
                }
            }
            return;
        };
        if url.scheme_str() == Some("https") {
            return;
        }
        let otlp_url = self.other("traces.otlp_url");
        if traces.tls_ca_file.is_some() {
            self.weakness("traces.tls_ca_file", &format!("has no effect: {otlp_url} is http://"));
        }
        if !traces.headers.is_empty() && !url.host().is_some_and(is_this_machine) {
            self.weakness(
                "traces.headers",
                &format!("travel in clear text to another machine: {otlp_url} is http://. Write https://"),
            );
        }
    }
}

/// True if both can't be listened on. A wildcard takes the port on all addresses; that of IPv6 on
/// those of IPv4, too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes =
        |wildcard: IpAddr, address: IpAddr| wildcard.is_unspecified() && (wildcard.is_ipv6() || address.is_ipv4());
    let (one_ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() != 0
        && one.port() == other.port()
        && (one_ip == other_ip || takes(one_ip, other_ip) || takes(other_ip, one_ip))
}

fn is_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < IPV4_PREFIX_MIN,
        IpNet::V6(network) => {
            let is_private = network.addr().is_unique_local() && network.prefix_len() >= 7;
            let is_link_local = network.addr().is_unicast_link_local() && network.prefix_len() >= 10;
            let includes_ipv4 = network.contains(&IPV4_MAPPED);
            (network.prefix_len() < IPV6_PREFIX_MIN || includes_ipv4) && !is_private && !is_link_local
        }
    }
}

/// True if networks that are narrow enough take in a sixteenth of all addresses of IPv4 together.
fn are_wide(networks: &[IpNet]) -> bool {
    let addresses = networks.iter().map(|network| match network {
        IpNet::V4(network) => 1_u64 << (32 - network.prefix_len()),
        IpNet::V6(_) => 0,
    });
    addresses.sum::<u64>() >= 1 << 28
}

/// A network of IPv4 in the notation of IPv6 (`::ffff:0:0/96`) as what it is.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let address = mapped.addr().to_ipv4_mapped();
    let of_ipv4 = address.zip(mapped.prefix_len().checked_sub(96));
    of_ipv4.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}

fn includes_loopback(network: &IpNet) -> bool {
    network.network().is_loopback() || network.contains(&IpAddr::from([127, 0, 0, 1]))
}

/// True for addresses that strangers can reach.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            !(address.is_loopback() || address.is_private() || address.is_link_local() || is_shared)
        }
        IpAddr::V6(address) => !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()),
    }
}

fn is_this_machine(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost",
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

/// Returns a server's address, unless its host is a name that must be looked up.
fn address_of(host: &str, port: u16) -> Option<SocketAddr> {
    let here = IpAddr::from([127, 0, 0, 1]);
    let address = match Host::parse(host).or_else(|_| Host::parse(&format!("[{host}]"))).ok()? {
        Host::Domain(name) if name == "localhost" => here,
        Host::Domain(name) => name.parse().ok()?,
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
    };
    Some(SocketAddr::new(if address.is_unspecified() { here } else { address }, port))
}

/// True if no other server can be at `address` while Merlink listens on `own`. A wildcard says
/// nothing of addresses that may be another machine's.
fn takes(own: SocketAddr, address: SocketAddr) -> bool {
    overlap(own, address) && (!own.ip().is_unspecified() || address.ip().to_canonical().is_loopback())
}

/// True if both paths name one file, through links and relative paths. The file itself needn't
/// exist yet.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        let in_folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
    };
    real(one) == real(other)
}
