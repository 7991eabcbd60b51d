//! Settings: the built-in file, the operator's file, the environment, in that order; checked once, all mistakes reported together.
//!
//! `config/merlink.toml` is compiled in as the first layer, so a default stands in one place only, and a setting that
//! the code doesn't take, or takes without its being in the file, is a mistake that [`Config::load`] reports.
//! Settings don't change while the process runs.

mod redis_url;
mod settings;
mod site;
mod together;
mod traces;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use url::Url;

use crate::domain::{Email, EmailDomains, HostName, HostNames};
use settings::{DURATION_HINT, Settings, Source, bytes, in_range, non_empty, parsed};

pub use redis_url::{Host, Hosts, RedisUrl};
pub use settings::duration;
pub use site::{Contact, FooterLink, Palette, Site};
pub use traces::Traces;

/// The file of defaults: the reference that operators read is what the code runs on.
pub const DEFAULTS: &str = include_str!("../config/merlink.toml");

#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub site: Site,
    pub public: Public,
    pub operator_listen: SocketAddr,
    pub redis: Redis,
    pub officers: Officers,
    pub console: Console,
    pub redirect: Redirect,
    pub targets: Targets,
    pub clicks: Clicks,
    pub limits: Limits,
    pub overload: Overload,
    pub smtp: Smtp,
    pub audit: Audit,
    pub log: Log,
    pub traces: Traces,
    /// All settings as they were set.
    pub in_force: InForce,
    /// Settings that are allowed and don't do what they seem to do, or are dangerous. One sentence
    /// each.
    pub weaknesses: Vec<String>,
}

/// Each setting's value as TOML, without secrets, and its origin.
#[derive(Clone, Debug, Default)]
pub struct InForce(BTreeMap<String, (String, Origin)>);

/// The layer that a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        path: String,
        line: usize,
    },
    /// The variable's name.
    Environment(String),
}

#[derive(Clone, Debug)]
pub struct Public {
    pub listen: SocketAddr,
    pub base_url: BaseUrl,
    pub workers: usize,
    pub trusted_proxies: Vec<IpNet>,
    pub connections_max: usize,
    /// `None` when the limit is disabled.
    pub connections_per_address_max: Option<usize>,
    /// Between a signal and the end of new connections.
    pub stop_delay: Duration,
}

/// The scheme and host that short links are printed with, without a slash at the end.
#[derive(Clone, Debug)]
pub struct BaseUrl {
    text: String,
    host: String,
    port: Option<u16>,
    https: bool,
}

#[derive(Clone, Debug)]
pub struct Redis {
    /// `None`: merlink runs its own redis-server.
    pub url: Option<RedisUrl>,
    /// `None`: the public authorities.
    pub tls_ca_file: Option<PathBuf>,
    /// Dangers that the operator accepts.
    pub allow_unsafe: Vec<Danger>,
    pub pool_size: usize,
    /// For one look-up of a visitor's code.
    pub lookup_timeout: Duration,
    /// Between two passes of the check of indexes.
    pub index_check_every: Duration,
}

/// A way in which Redis may lose links although it acknowledged them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// It deletes keys when its memory is full.
    Eviction,
    /// It keeps no append-only file.
    NoPersistence,
    /// It can't write its append-only file.
    FailingPersistence,
}

#[derive(Clone, Debug)]
pub struct Officers {
    pub email_domains: EmailDomains,
    pub admins: Vec<Email>,
    /// If set, a stranger gets no password, even with an address that `email_domains` allows.
    pub known_only: bool,
}

#[derive(Clone, Debug)]
pub struct Console {
    pub session_idle: Duration,
    pub session_max: Duration,
}

#[derive(Clone, Debug)]
pub struct Redirect {
    pub transition_page: TransitionPage,
    pub serve_stale_for: Duration,
    pub revalidate_after: Duration,
    pub deny_file: Option<PathBuf>,
    pub cache_bytes_max: u64,
}

/// When a person's browser is shown where a link leads before it goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitionPage {
    FirstVisit,
    Always,
    Never,
}

/// Where links may lead, beside the lists that come with merlink.
#[derive(Clone, Debug)]
pub struct Targets {
    pub blocked_hosts: HostNames,
    /// `None`: no file.
    pub blocked_file: Option<PathBuf>,
    pub allowed_hosts: HostNames,
}

#[derive(Clone, Debug)]
pub struct Clicks {
    pub timezone: TimeZone,
    pub journal_bytes_max: u64,
    pub journal_keep: Duration,
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// 0: no limit.
    pub api_per_minute: u32,
    /// At least `api_per_minute`. 0: no limit.
    pub officer_per_minute: u32,
    /// As it was set.
    officer_per_minute_set: u32,
    /// 0: no limit.
    pub misses_per_minute: u32,
    /// 0: no limit.
    pub logins_per_minute: u32,
    /// 0: no limit.
    pub otps_per_hour: u32,
    /// For one officer.
    pub kept_answers_bytes_max: u64,
    /// By browsers in which the officer hasn't logged in before. Never 0.
    pub wrong_otps_per_hour: u32,
}

/// What officers' requests may take of the service at once.
#[derive(Clone, Debug)]
pub struct Overload {
    pub console_at_once: usize,
    pub api_at_once: usize,
    pub bulk_at_once: usize,
    /// For a place.
    pub wait_max: Duration,
    /// Of all bodies that are on their way.
    pub body_bytes_max: usize,
    /// Of those of one client address, and of one officer.
    pub body_bytes_per_client_max: usize,
}

#[derive(Clone, Debug)]
pub struct Audit {
    /// `None`: no audit trail.
    pub file: Option<PathBuf>,
    /// If set, the file has clients' addresses.
    pub addresses: bool,
    /// Free on its disk, or failures aren't written.
    pub disk_reserve_bytes: u64,
}

#[derive(Clone)]
pub struct Smtp {
    /// `None`: no mail server.
    pub url: Option<String>,
    pub from: Option<Email>,
    /// `None`: the public authorities.
    pub tls_ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub level: tracing::Level,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// Every mistake found in the settings, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .mistakes.join("\n"))]
pub struct ConfigError {
    pub mistakes: Vec<String>,
    /// The settings that are mistaken.
    pub refused: BTreeSet<String>,
    /// The settings with their defaults in place of those that were refused, to look for further
    /// mistakes. `None` if a whole file couldn't be read.
    pub stand_in: Option<Box<Config>>,
}

impl Config {
    /// Reads the settings of this process.
    ///
    /// # Errors
    ///
    /// All mistakes at once: a file that can't be read or isn't TOML, unknown keys, values out of range; each with its origin, key and
    /// what is allowed.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let env =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_layers(file, env)
    }

    fn from_layers(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut settings = Settings::default();
        settings.add_toml(DEFAULTS, Source::BuiltIn);
        if let Some(path) = file {
            match fs::read_to_string(path) {
                Ok(text) => settings.add_toml(&text, Source::File(&path.display().to_string())),
                Err(error) => settings.incomplete(format!("{}: can't be read: {error}", path.display())),
            }
        }
        settings.add_env(env);
        let mut config = Self::read(&mut settings);
        if let (Some(config), Some(refused)) = (&mut config, settings.refused()) {
            let found = together::Findings::of(config, refused);
            for mistake in found.mistakes {
                settings.problem(mistake);
            }
            config.weaknesses = found.weaknesses;
        }
        settings.finish(config)
    }

    fn read(settings: &mut Settings) -> Option<Self> {
        let in_force = settings.in_force();
        let data_dir = settings.take("data_dir", "the path of a folder", |text| non_empty(text).map(PathBuf::from));
        let site = Site::read(settings);
        let public = Public::read(settings);
        let operator_listen = settings.take("operator.listen", LISTEN_HINT, parsed);
        let redis = Redis::read(settings);
        let officers = Officers::read(settings);
        let console = Console::read(settings);
        let redirect = Redirect::read(settings);
        let targets = Targets::read(settings);
        let clicks = Clicks::read(settings);
        let limits = Limits::read(settings);
        let overload = Overload::read(settings);
        let smtp = Smtp::read(settings);
        let audit = Audit::read(settings);
        let log = Log::read(settings);
        let traces = Traces::read(settings);
        Some(Self {
            data_dir: data_dir?,
            site: site?,
            public: public?,
            operator_listen: operator_listen?,
            redis: redis?,
            officers: officers?,
            console: console?,
            redirect: redirect?,
            targets: targets?,
            clicks: clicks?,
            limits: limits?,
            overload: overload?,
            smtp: smtp?,
            audit: audit?,
            log: log?,
            traces: traces?,
            in_force,
            weaknesses: Vec::new(),
        })
    }
}

impl InForce {
    pub fn origin(&self, key: &str) -> &Origin {
        self.0.get(key).map_or(&Origin::Default, |(_, origin)| origin)
    }
}

/// As a TOML file, with each setting's origin in a comment.
impl fmt::Display for InForce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Settings without a section come before all sections.
        let (bare, sectioned): (Vec<_>, Vec<_>) = self.0.iter().partition(|(key, _)| !key.contains('.'));
        let mut section = "";
        for (key, (value, origin)) in bare.into_iter().chain(sectioned) {
            let (its_section, name) = key.split_once('.').unwrap_or(("", key));
            if its_section != section {
                section = its_section;
                write!(formatter, "\n[{section}]\n")?;
            }
            match origin {
                Origin::Default => writeln!(formatter, "{name} = {value}  # default")?,
                origin => writeln!(formatter, "{name} = {value}  # {origin}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("config/merlink.toml"),
            Self::File { path, line } => write!(formatter, "{path}:{line}"),
            Self::Environment(name) => write!(formatter, "environment {name}"),
        }
    }
}

const LISTEN_HINT: &str = "an address and port, as 127.0.0.1:8080";

impl Public {
    fn read(settings: &mut Settings) -> Option<Self> {
        let listen = settings.take("public.listen", LISTEN_HINT, parsed);
        let base_url = settings.take(
            "public.base_url",
            "http:// or https://, a host, no path, as https://go.example",
            BaseUrl::parse,
        );
        let workers = settings.take("public.workers", "1 to 256, or auto", |text| match text {
            "auto" => Some(std::thread::available_parallelism().map_or(1, usize::from).min(256)),
            number => in_range(1, 256)(number),
        });
        let trusted_proxies =
            settings.take_list("public.trusted_proxies", "addresses or networks, as 10.0.0.0/8", |text| {
                text.parse::<IpNet>()
                    .ok()
                    .or_else(|| text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address)))
            });
        let connections_max = settings.take("public.connections_max", "100 to 1000000", in_range(100, 1_000_000));
        let connections_per_address_max =
            settings.take("public.connections_per_address_max", "0, or 10 to 1000000", |text| match text {
                "0" => Some(None),
                number => in_range(10, 1_000_000)(number).map(Some),
            });
        let stop_delay = settings.take("public.stop_delay", DURATION_HINT, duration);
        Some(Self {
            listen: listen?,
            base_url: base_url?,
            workers: workers?,
            trusted_proxies: trusted_proxies?,
            connections_max: connections_max?,
            connections_per_address_max: connections_per_address_max?,
            stop_delay: stop_delay?,
        })
    }

    pub fn connections_per_worker_max(&self) -> usize {
        self.connections_max.div_ceil(self.workers)
    }
}

impl BaseUrl {
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let bare = bare && url.username().is_empty() && url.password().is_none();
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host_str().filter(|_| bare)?.to_owned();
        Some(Self { text: url.as_str().trim_end_matches('/').to_owned(), host, port: url.port(), https })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Lower case, without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `None`: that of its scheme.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether this names the machine itself: then only a developer is here.
    pub fn is_local(&self) -> bool {
        let address = self.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Below, a Redis that is well would be called slow; beyond, visitors of a code that isn't in memory would hang with one that is not.
const LOOKUP_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);
const INDEX_CHECKS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);

impl Redis {
    fn read(settings: &mut Settings) -> Option<Self> {
        let url = settings.take_explained("redis.url", |text| match text {
            "" => Ok(None),
            text => RedisUrl::parse(text).map(Some),
        });
        let tls_ca_file = settings
            .take("redis.tls_ca_file", "the path of a file, or empty", |text| Some(non_empty(text).map(PathBuf::from)));
        let allow_unsafe = settings.take_list("redis.allow_unsafe", Danger::ALLOWED, Danger::read);
        let pool_size = settings.take("redis.pool_size", "1 to 1000", in_range(1, 1000));
        let lookup_timeout = settings.take("redis.lookup_timeout", "a duration of 10ms to 10s", |text| {
            duration(text).filter(|timeout| LOOKUP_TIMEOUTS.contains(timeout))
        });
        let index_check_every = settings.take("redis.index_check_every", "a duration of 100ms to 24h", |text| {
            duration(text).filter(|every| INDEX_CHECKS.contains(every))
        });
        Some(Self {
            url: url?,
            tls_ca_file: tls_ca_file?,
            allow_unsafe: allow_unsafe?.concat(),
            pool_size: pool_size?,
            lookup_timeout: lookup_timeout?,
            index_check_every: index_check_every?,
        })
    }
}

impl Danger {
    const ALL: [Self; 3] = [Self::Eviction, Self::NoPersistence, Self::FailingPersistence];
    const ALLOWED: &str = "true, false, or a list of eviction, no-persistence and failing-persistence";

    pub fn name(self) -> &'static str {
        match self {
            Self::Eviction => "eviction",
            Self::NoPersistence => "no-persistence",
            Self::FailingPersistence => "failing-persistence",
        }
    }

    fn read(text: &str) -> Option<Vec<Self>> {
        match text {
            "true" => Some(Self::ALL.to_vec()),
            "false" => Some(Vec::new()),
            name => Some(vec![Self::ALL.into_iter().find(|danger| danger.name() == name)?]),
        }
    }
}

impl Officers {
    fn read(settings: &mut Settings) -> Option<Self> {
        let key = "officers.email_domains";
        let globs = settings.take_list(key, "at least one glob, as *.gov.sg", |text| {
            EmailDomains::parse(&[text]).ok().map(|_| text.to_owned())
        });
        if globs.as_ref().is_some_and(Vec::is_empty) {
            let origin = settings.origin(key);
            settings.mistake(&origin, key, "is empty; allowed: at least one glob, as *.gov.sg");
        }
        let email_domains = globs.and_then(|globs| EmailDomains::parse(&globs).ok());
        let admins = settings.take_list("officers.admins", "e-mail addresses", parsed);
        let known_only = settings.take("officers.known_only", "true or false", parsed);
        Some(Self { email_domains: email_domains?, admins: admins?, known_only: known_only? })
    }
}

impl Console {
    fn read(settings: &mut Settings) -> Option<Self> {
        let at_least_a_minute = |text: &str| duration(text).filter(|life| *life >= Duration::from_secs(60));
        let allowed = "a duration of 1m to 10 years, as 30m or 12h";
        let session_idle = settings.take("console.session_idle", allowed, at_least_a_minute);
        let session_max = settings.take("console.session_max", allowed, at_least_a_minute);
        Some(Self { session_idle: session_idle?, session_max: session_max? })
    }
}

impl Redirect {
    fn read(settings: &mut Settings) -> Option<Self> {
        let transition_page =
            settings.take("redirect.transition_page", "first-visit, always or never", |text| match text {
                "first-visit" => Some(TransitionPage::FirstVisit),
                "always" => Some(TransitionPage::Always),
                "never" => Some(TransitionPage::Never),
                _ => None,
            });
        let serve_stale_for = settings.take("redirect.serve_stale_for", DURATION_HINT, duration);
        let revalidate_after = settings.take("redirect.revalidate_after", DURATION_HINT, duration);
        let deny_file = settings.take("redirect.deny_file", "the path of a file, or empty", |text| {
            Some(non_empty(text).map(PathBuf::from))
        });
        let cache_bytes_max =
            settings.take("redirect.cache_bytes_max", "1MiB to 1TiB", bytes(1024 * 1024, 1024 * 1024 * 1024 * 1024));
        Some(Self {
            transition_page: transition_page?,
            serve_stale_for: serve_stale_for?,
            revalidate_after: revalidate_after?,
            deny_file: deny_file?,
            cache_bytes_max: cache_bytes_max?,
        })
    }
}

impl Targets {
    fn read(settings: &mut Settings) -> Option<Self> {
        let mut hosts = |key: &str| {
            let names =
                settings.take_list(key, "host names without https://, port and path, as bit.ly", parsed::<HostName>);
            names.map(|names| names.into_iter().collect::<HostNames>())
        };
        let blocked_hosts = hosts("targets.blocked_hosts");
        let allowed_hosts = hosts("targets.allowed_hosts");
        let blocked_file = settings.take("targets.blocked_file", "the path of a file, or empty", |text| {
            Some(non_empty(text).map(PathBuf::from))
        });
        Some(Self { blocked_hosts: blocked_hosts?, blocked_file: blocked_file?, allowed_hosts: allowed_hosts? })
    }
}

impl Clicks {
    fn read(settings: &mut Settings) -> Option<Self> {
        let timezone =
            settings.take("clicks.timezone", "an IANA time zone, as Asia/Singapore", |text| TimeZone::get(text).ok());
        let journal_bytes_max = settings.take(
            "clicks.journal_bytes_max",
            "16MiB to 1TiB",
            bytes(16 * 1024 * 1024, 1024 * 1024 * 1024 * 1024),
        );
        let journal_keep = settings.take("clicks.journal_keep", DURATION_HINT, duration);
        Some(Self { timezone: timezone?, journal_bytes_max: journal_bytes_max?, journal_keep: journal_keep? })
    }
}

impl Limits {
    fn read(settings: &mut Settings) -> Option<Self> {
        let api_per_minute = settings.take("limits.api_per_minute", "0 to 1000000", in_range(0, 1_000_000));
        let officer_per_minute = settings.take("limits.officer_per_minute", "0 to 1000000", in_range(0, 1_000_000));
        let misses_per_minute = settings.take("limits.misses_per_minute", "0 to 1000000", in_range(0, 1_000_000));
        let logins_per_minute = settings.take("limits.logins_per_minute", "0 to 1000000", in_range(0, 1_000_000));
        let otps_per_hour = settings.take("limits.otps_per_hour", "0 to 1000", in_range(0, 1000));
        let wrong_otps_per_hour = settings.take("limits.wrong_otps_per_hour", "1 to 100000", in_range(1, 100_000));
        let kept_answers_bytes_max = settings.take(
            "limits.kept_answers_bytes_max",
            "1MiB to 10GiB",
            bytes(1024 * 1024, 10 * 1024 * 1024 * 1024),
        );
        Some(Self {
            api_per_minute: api_per_minute?,
            officer_per_minute: match (api_per_minute?, officer_per_minute?) {
                (0, _) | (_, 0) => 0,
                (of_key, of_officer) => of_officer.max(of_key),
            },
            officer_per_minute_set: officer_per_minute?,
            misses_per_minute: misses_per_minute?,
            logins_per_minute: logins_per_minute?,
            otps_per_hour: otps_per_hour?,
            wrong_otps_per_hour: wrong_otps_per_hour?,
            kept_answers_bytes_max: kept_answers_bytes_max?,
        })
    }
}

impl Overload {
    fn read(settings: &mut Settings) -> Option<Self> {
        let console_at_once = settings.take("overload.console_at_once", "1 to 10000", in_range(1, 10_000));
        let api_at_once = settings.take("overload.api_at_once", "1 to 10000", in_range(1, 10_000));
        let bulk_at_once = settings.take("overload.bulk_at_once", "1 to 10000", in_range(1, 10_000));
        let wait_max = settings.take("overload.wait_max", DURATION_HINT, duration);
        let body_bytes_max =
            settings.take("overload.body_bytes_max", "8MiB to 256MiB", bytes(8 * 1024 * 1024, 256 * 1024 * 1024));
        let body_bytes_per_client_max = settings.take(
            "overload.body_bytes_per_client_max",
            "6MiB to 256MiB",
            bytes(6 * 1024 * 1024, 256 * 1024 * 1024),
        );
        Some(Self {
            console_at_once: console_at_once?,
            api_at_once: api_at_once?,
            bulk_at_once: bulk_at_once?,
            wait_max: wait_max?,
            body_bytes_max: usize::try_from(body_bytes_max?).ok()?,
            body_bytes_per_client_max: usize::try_from(body_bytes_per_client_max?).ok()?,
        })
    }
}

impl Audit {
    fn read(settings: &mut Settings) -> Option<Self> {
        let file = settings
            .take("audit.file", "the path of a file, or empty", |text| Some(non_empty(text).map(PathBuf::from)));
        let addresses = settings.take("audit.addresses", "true or false", parsed);
        let disk_reserve = settings.take("audit.disk_reserve", "0B to 1TiB", bytes(0, 1024 * 1024 * 1024 * 1024));
        Some(Self { file: file?, addresses: addresses?, disk_reserve_bytes: disk_reserve? })
    }
}

impl Smtp {
    fn read(settings: &mut Settings) -> Option<Self> {
        let url = settings.take("smtp.url", "empty, or smtp:// or smtps:// and where the server is", |text| {
            let known = |url: &Url| matches!(url.scheme(), "smtp" | "smtps") && url.has_host();
            match text {
                "" => Some(None),
                url => Url::parse(url).ok().filter(known).map(|_| Some(url.to_owned())),
            }
        });
        let from = settings.take("smtp.from", "empty, or an e-mail address", |text| match text {
            "" => Some(None),
            address => address.parse().ok().map(Some),
        });
        let tls_ca_file = settings
            .take("smtp.tls_ca_file", "the path of a file, or empty", |text| Some(non_empty(text).map(PathBuf::from)));
        Some(Self { url: url?, from: from?, tls_ca_file: tls_ca_file? })
    }
}

impl Log {
    fn read(settings: &mut Settings) -> Option<Self> {
        let level = settings.take("log.level", "error, warn, info, debug or trace", parsed);
        let format = settings.take("log.format", "auto, text or json", |text| match text {
            "auto" => Some(LogFormat::Auto),
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        Some(Self { level: level?, format: format? })
    }
}

/// Not derived: the password in `url` must not get into a log.
impl fmt::Debug for Smtp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, from, tls_ca_file } = self;
        let url = url.as_ref().map(|_| "..");
        formatter.debug_struct("Smtp").field("url", &url).field("from", from).field("tls_ca_file", tls_ca_file).finish()
    }
}

/// Makes the data directory, readable for this user alone.
///
/// # Errors
///
/// When it can't be made.
pub fn make_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn with_env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_layers(None, pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn with_file(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        Config::from_layers(Some(file.path()), std::iter::empty())
    }

    #[test]
    fn the_built_in_file_and_the_code_name_the_same_settings() {
        with_env(&[]).expect("every default is allowed, every key is taken");
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
        let config = with_file("[public]\nlisten = \"127.0.0.1:9\"\n[limits]\napi_per_minute = 7").expect("good");
        assert_eq!((config.public.listen.port(), config.limits.api_per_minute), (9, 7));
        let config = with_env(&[("MERLINK_PUBLIC__LISTEN", "[::1]:10"), ("MERLINK_DATA_DIR", "/d")]).expect("good");
        assert_eq!((config.public.listen.port(), config.data_dir.to_str()), (10, Some("/d")));
        assert_eq!(config.limits.misses_per_minute, 60);
    }

    #[test]
    fn what_kubernetes_adds_to_the_environment_is_no_setting() {
        with_env(&[
            ("MERLINK_SERVICE_HOST", "10.0.0.1"),
            ("MERLINK_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("MERLINK_COMMIT", "0123abc"),
        ])
        .expect("good");
    }

    #[test]
    fn lists_come_as_arrays_or_with_commas() {
        let config = with_env(&[("MERLINK_OFFICERS__ADMINS", "A@x.gov.sg, b@x.gov.sg,")]).expect("good");
        assert_eq!(config.officers.admins.iter().map(Email::as_str).collect::<Vec<_>>(), ["a@x.gov.sg", "b@x.gov.sg"]);
        let config = with_file("[public]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]").expect("good");
        assert_eq!(config.public.trusted_proxies.len(), 2);
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_origin_key_and_what_is_allowed() {
        let error = with_env(&[
            ("MERLINK_PUBLIC__LISTEN", "here"),
            ("MERLINK_PUBLIC__LISTN", "x"),
            ("MERLINK_REDIRECT__TRANSITION_PAGE", "sometimes"),
            ("MERLINK_CLICKS__TIMEZONE", "Mars/Olympus"),
            ("MERLINK_CLICKS__JOURNAL_BYTES_MAX", "1KiB"),
            ("MERLINK_OFFICERS__EMAIL_DOMAINS", ""),
            ("MERLINK_REDIS__URL", "http://user:hunter2@x"),
            ("MERLINK_REDIS__LOOKUP_TIMEOUT", "9ms"),
        ])
        .expect_err("eight mistakes")
        .to_string();
        for part in [
            "environment MERLINK_PUBLIC__LISTEN: public.listen: \"here\" isn't allowed; allowed: an address and port",
            "environment MERLINK_PUBLIC__LISTN: public.listn: there is no such setting",
            "redirect.transition_page: \"sometimes\" isn't allowed; allowed: first-visit, always or never",
            "clicks.timezone: \"Mars/Olympus\"",
            "clicks.journal_bytes_max: \"1KiB\" isn't allowed; allowed: 16MiB to 1TiB",
            "officers.email_domains: is empty",
            "redis.url: what is set isn't allowed",
            "redis.lookup_timeout: \"9ms\" isn't allowed; allowed: a duration of 10ms to 10s",
        ] {
            assert!(error.contains(part), "{part}\nnot in:\n{error}");
        }
        assert_eq!(error.lines().count(), 8, "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn no_mistake_and_no_debugging_shows_a_password() {
        const SECRET: &str = "hunter2";
        let in_file = [
            "[redis]\nurl = \"redis://merlink:hunter2@h",
            "[redis]\nurl = redis://merlink:hunter2@h",
            "[redis]\nurl = 'redis://merlink:hunter2@h'x",
            "[redis]\nurl = \"a\"\nurl = \"redis://merlink:hunter2@h\"",
            "[redis]\nurl = \"redis://merlink:hunter2\\q@h\"",
            "[redis]\nurl : redis://merlink:hunter2@h",
            "[redis]\nurl = [\"redis://merlink:hunter2@h\"]",
            "[redis]\nurl = { password = \"hunter2\" }",
            "[redis]\nredis://merlink:hunter2@h",
            "[smtp]\nurl = \"smtps://merlink:hunter2@h\nfrom = \"\"",
            "[smtp]\nurl = [\"smtps://merlink:hunter2@h\"]",
            "[traces]\nheaders = [\"hunter2\", 1",
            "[redis\nurl = \"redis://merlink:hunter2@h\"",
            "redis = \"redis://merlink:hunter2@h\"",
            "[public]\nbase_url = \"https://merlink:hunter2@go.example\"",
            "[officers]\nadmins = [\"redis://merlink:hunter2@h\"]",
        ];
        for text in in_file {
            let error = with_file(text).expect_err(text).to_string();
            assert!(!error.contains(SECRET), "{error}");
        }
        for name in ["REDIS__URL", "REDIS__ALLOW_UNSAFE", "SMTP__URL", "SMTP__FROM", "PUBLIC__LISTEN", "REDIS__URI"] {
            let value = format!("amqp://merlink:{SECRET}@h");
            let error = with_env(&[(&format!("MERLINK_{name}"), &value)]).expect_err(name).to_string();
            assert!(error.contains(name) && !error.contains(SECRET), "{error}");
        }
        let config =
            with_env(&[("MERLINK_REDIS__URL", "redis://u:hunter2@h"), ("MERLINK_SMTP__URL", "smtps://u:hunter2@h")]);
        let shown = format!("{:?}", config.expect("good"));
        assert!(!shown.contains(SECRET), "{shown}");
        for url in ["redis://u:hunter2@h", "redis://hunter2@h", "redis://u:12?hunter2@h", "redis://h?pass=hunter2"] {
            let shown = with_env(&[("MERLINK_REDIS__URL", url)]).expect(url).in_force.to_string();
            assert!(shown.contains("url = \"redis://") && !shown.contains(SECRET), "{shown}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_is_named_with_line_and_column() {
        for (text, place) in [
            ("[public", "line 1, column 8"),
            ("[redis]\npool_size = 1\nurl = redis://h", "line 3, column 7"),
            ("[redis]\npool_size = 1\npool_size = 2\n", "line 3, column 1"),
        ] {
            let error = with_file(text).expect_err(text).to_string();
            assert!(error.contains("isn't TOML, ") && error.contains(place), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_or_not_there_is_named() {
        assert!(with_file("[public").expect_err("bad").to_string().contains("isn't TOML"));
        let error = Config::from_layers(Some(Path::new("/nowhere.toml")), std::iter::empty()).expect_err("bad");
        assert!(error.to_string().contains("/nowhere.toml: can't be read"));
    }

    #[test]
    fn a_base_url_is_a_bare_origin() {
        for good in ["http://localhost:8080", "https://go.example/", "https://GO.example"] {
            assert!(BaseUrl::parse(good).is_some(), "{good}");
        }
        for bad in ["go.example", "https://go.example/x", "ftp://x.y", "https://u@go.example", "https://go.example/?a"]
            .into_iter()
            .chain(["https://:p@go.example", "https://u:p@go.example"])
        {
            assert!(BaseUrl::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(BaseUrl::parse("https://GO.example/").expect("good").as_str(), "https://go.example");
    }

    #[test]
    fn hosts_to_block_and_allow_are_names() {
        let targets = |name: &str, value: &str| {
            with_env(&[(&format!("MERLINK_TARGETS__{name}"), value)]).map(|config| config.targets)
        };
        let blocked = targets("BLOCKED_HOSTS", "Casino.example, bücher.example,zzzz").expect("good").blocked_hosts;
        assert!(
            blocked.cover("www.casino.example") && blocked.cover("xn--bcher-kva.example") && blocked.cover("a.zzzz")
        );
        for bad in ["https://a.b", "a.b/c", "a.b:1", "*.a.b", "a_b.c", "1.2.3.4", ".a.b"] {
            let error = targets("ALLOWED_HOSTS", bad).expect_err(bad).to_string();
            assert!(
                error.contains("targets.allowed_hosts") && error.contains("host names without https://"),
                "{error}"
            );
        }
    }

    #[test]
    fn durations_are_plain() {
        assert_eq!(duration("90d"), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["", "5", "-1s", "soon", "99999d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
