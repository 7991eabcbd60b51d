//! `merlink check`: looks at settings and Redis and says what it found; also the probe for containers.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::{self, Path},
    time::Duration,
};

use anstyle::AnsiColor;
use clap::Args;
use jiff::Timestamp;
use url::Url;

use super::{Failure, block_on, print, progress::Progress, with_store};
use crate::{
    config::{self, Config, ConfigError},
    domain::Email,
    mail::Mailer,
    metrics::Metrics,
    redirect::deny,
    server::ServeError,
    site::Site,
    store::{self, Found, Repaired, Step, Store, StoreError},
    targets,
    traces::Traces,
};

/// For a probe's whole exchange.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// Read the settings, connect to Redis, print what was found; fail when something is unsafe
#[derive(Args)]
#[command(after_help = "Example:\n  merlink check --config /etc/merlink/merlink.toml")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Arguments {
    /// Rebuild what can be derived from the links (owners' indexes), drop what instances that are gone left beside the counters, and
    /// API keys that ended more than 90 days ago
    #[arg(long, conflicts_with_all = ["alive", "ready"])]
    repair: bool,
    /// With --repair: which instances are gone, those that ended this long ago with all their clicks counted
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30d", requires = "repair")]
    gone_for: Duration,
    /// Only read the settings and the files that they name; connect to nothing, so this passes
    /// while Redis is away
    #[arg(long, conflicts_with_all = ["repair", "alive", "ready"])]
    settings: bool,
    /// Only print all settings in force, without their secrets, and where each was set
    #[arg(long, conflicts_with_all = ["repair", "settings", "alive", "ready", "mail_to"])]
    print: bool,
    /// Only send a test mail to this address, and say what the mail server answered
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["repair", "settings", "alive", "ready"])]
    mail_to: Option<Email>,
    /// Only ask the running service whether it is alive
    #[arg(long)]
    alive: bool,
    /// Only ask the running service whether it is ready for visitors
    #[arg(long, conflicts_with = "alive")]
    ready: bool,
}

pub fn run(arguments: Arguments, config: Config) -> Result<(), Failure> {
    match arguments {
        Arguments { alive: true, .. } => probe(&config, "/healthz"),
        Arguments { ready: true, .. } => probe(&config, "/readyz"),
        Arguments { print: true, .. } => {
            print(config.in_force.to_string().trim_end());
            Ok(())
        }
        Arguments { mail_to: Some(to), .. } => block_on(try_mail(&config, &to)),
        Arguments { settings: true, .. } => check_settings(&config),
        Arguments { repair, gone_for, .. } => block_on(check(config, repair.then_some(gone_for))),
    }
}

/// Findings about the settings and the files that they name.
#[derive(Default)]
pub struct Looked {
    /// A label of up to 13 characters, and what was found.
    facts: Vec<(&'static str, String)>,
    /// With any of them, Merlink doesn't start.
    pub mistakes: Vec<String>,
    pub weaknesses: Vec<String>,
}

impl Looked {
    /// Reads all files that the settings name, and goes on after a mistake. Connects to nothing.
    pub fn at(config: &Config) -> Self {
        Self::beside(config, &BTreeSet::new())
    }

    /// Leaves out what depends on a setting that was `refused`: its default stands in for it.
    fn beside(config: &Config, refused: &BTreeSet<String>) -> Self {
        let mut looked = Self { weaknesses: config.weaknesses.clone(), ..Self::default() };
        let is_refused = |key: &str| refused.contains(key);
        looked.mistakes.extend(Site::mistakes(config).iter().map(ToString::to_string));
        if looked.mistakes.is_empty()
            && let Some(site) = looked.unless_wrong(Site::new(config))
        {
            let languages: Vec<&str> = site.languages.offered().iter().map(|language| language.tag.as_str()).collect();
            looked.facts.push(("languages", languages.join(", ")));
        }
        looked.facts.push(("short links", format!("{}/<code>", config.public.base_url.as_str())));
        looked.facts.push(("data_dir", config.data_dir.display().to_string()));
        looked.facts.push(("mail", mail(config)));
        if let Some(path) = config.redirect.deny_file.as_ref().filter(|_| !is_refused("public.base_url")) {
            let codes = deny::read(path, config.public.base_url.host());
            if let Some(codes) = looked.unless_wrong(codes.map_err(|error| ServeError::DenyFile(path.clone(), error))) {
                looked.facts.push(("denied", format!("codes {}, by {}", codes.len(), path.display())));
            }
        }
        if let Some(path) = &config.targets.blocked_file {
            let hosts = targets::read_blocked(path).map_err(|error| ServeError::blocked_file(config, error));
            if let Some(hosts) = looked.unless_wrong(hosts) {
                looked.facts.push(("blocked", format!("targets' hosts {}, by {}", hosts.len(), path.display())));
            }
        }
        looked.mistakes.extend(unusable_places(config));
        let _ = looked.unless_wrong(store::check_settings(config));
        let _ = looked.unless_wrong(Mailer::new(config, &Metrics::new()));
        let _ = looked.unless_wrong(Traces::new(config, &Metrics::new()));
        looked
    }

    fn unless_wrong<T>(&mut self, read: Result<T, impl std::fmt::Display>) -> Option<T> {
        read.map_err(|error| self.mistakes.push(error.to_string())).ok()
    }
}

/// Returns what keeps Merlink from writing where it is to write. Makes nothing.
fn unusable_places(config: &Config) -> Vec<String> {
    let mut mistakes = Vec::new();
    let data_dir = &config.data_dir;
    if data_dir.exists() && !data_dir.is_dir() {
        mistakes.push(format!("data_dir: {} isn't a folder", data_dir.display()));
    }
    if let Some(file) = &config.audit.file {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if file.is_dir() {
            mistakes.push(format!("audit.file: {} is a folder", file.display()));
        } else if let Some(folder) = folder.filter(|folder| !is_within(folder, data_dir))
            && let Err(error) = fs::metadata(folder)
            && error.kind() == io::ErrorKind::NotFound
        {
            mistakes.push(format!("audit.file: the folder {}: {error}. Make it first", folder.display()));
        }
    }
    mistakes
}

/// True also if the paths don't exist yet.
fn is_within(path: &Path, folder: &Path) -> bool {
    let absolute = |path: &Path| path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute(path).starts_with(absolute(folder))
}

/// Reports what is wrong with the files, too, beside settings that can't be used.
pub fn refuse(error: ConfigError, weak: impl Fn(&str)) -> Failure {
    let ConfigError { mut mistakes, refused, stand_in } = error;
    if let Some(config) = stand_in {
        let looked = Looked::beside(&config, &refused);
        looked.weaknesses.iter().for_each(|weakness| weak(weakness));
        mistakes.extend(looked.mistakes);
    }
    mistakes.join("\n").into()
}

fn check_settings(config: &Config) -> Result<(), Failure> {
    let looked = Looked::at(config);
    if looked.mistakes.is_empty() {
        print("settings      ok");
    }
    for (label, fact) in looked.facts {
        print(&format!("{label:<13} {fact}"));
    }
    looked.weaknesses.iter().for_each(|weakness| print_weak(weakness));
    if looked.mistakes.is_empty() { Ok(()) } else { Err(looked.mistakes.join("\n").into()) }
}

pub fn print_weak(weakness: &str) {
    let yellow = AnsiColor::Yellow.on_default();
    // A reader that has gone is no failure.
    let _ = writeln!(anstream::stdout(), "{yellow}weak{yellow:#}          {weakness}");
}

/// Sends a test mail, and prints what became of it.
async fn try_mail(config: &Config, to: &Email) -> Result<(), Failure> {
    let done = Mailer::try_out(config, to).await.map_err(|reason| format!("the mail to {to} wasn't sent: {reason}"))?;
    print(&format!("mail          {done}"));
    Ok(())
}

/// Goes on after a mistake in the settings, so that all is reported at once.
async fn check(config: Config, repair: Option<Duration>) -> Result<(), Failure> {
    let mut wrong: Vec<String> = Vec::new();
    for found in [check_settings(&config), check_redis(&config, repair).await] {
        let lines = found.err().map(|failure| failure.to_string()).unwrap_or_default();
        for line in lines.lines() {
            if !wrong.iter().any(|known| known == line) {
                wrong.push(line.to_owned());
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Repairs the indexes, and shows first how many links were read, then how many officers' lists
/// were compared.
#[expect(clippy::cast_precision_loss, reason = "for people")]
async fn repair_indexes(store: &Store) -> Result<Repaired, StoreError> {
    let mut progress = Progress::new("links");
    let mut is_with_officers = false;
    let repaired = store
        .repair_owner_indexes(|step| match step {
            Step::Links(links) => progress.show(links, None),
            Step::Officers { done, of } => {
                if !is_with_officers {
                    is_with_officers = true;
                    progress.hide();
                    progress = Progress::new("officers' lists");
                }
                progress.show(done as u64, Some(done as f64 / of as f64));
            }
        })
        .await;
    progress.hide();
    repaired
}

async fn check_redis(config: &Config, repair: Option<Duration>) -> Result<(), Failure> {
    if let Some((_, exporter)) = Traces::new(config, &Metrics::new())? {
        match exporter.try_out().await {
            Ok(place) => print(&format!("traces        {place}, a share of {}", config.traces.sampled_share)),
            Err(reason) => print_weak(&format!("traces aren't taken: {reason}")),
        }
    }
    let (safety, totals, repaired, damaged) = with_store(config, async |store| {
        let repaired = match repair {
            Some(gone_for) => {
                let now = Timestamp::now();
                store.move_renamed_indexes().await?;
                let indexes = repair_indexes(store).await?;
                let instances = store.retire_instances(now - gone_for, now).await?;
                Some((indexes, instances, store.tidy_api_keys(now).await?))
            }
            None => None,
        };
        let damaged = match &repaired {
            Some((indexes, ..)) => indexes.damaged.clone(),
            None => store.damaged_links().await?,
        };
        Ok((store.safety().await?, store.totals().await?, repaired, damaged))
    })
    .await?;
    let place = if config.redis.url.is_some() { "redis.url" } else { "merlink's own, in data_dir/redis" };
    print(&format!("engine        {} ({place})", safety.engines.join(", ")));
    print(&format!("holds         links {}, clicks {}, officers {}", totals.links, totals.clicks, totals.officers));
    let mut dangers = safety.dangers;
    if let Some((repaired, retired, keys_dropped)) = repaired {
        print(&format!(
            "repaired      {} links read, {} index entries added, {} dropped",
            repaired.links, repaired.added, repaired.dropped
        ));
        print(&format!("gone          instances {}, {} positions dropped", retired.instances, retired.positions));
        print(&format!("keys          {keys_dropped} dropped, which ended more than 90 days ago"));
    }
    if damaged.links > 0 {
        let reason = format!(
            "{} links are in no list, because their data are damaged: {damaged}. To see what a link holds: redis-cli HGETALL 'l:{{CODE}}'",
            damaged.links
        );
        dangers.push(Found { danger: None, reason });
    }
    safety.weaknesses.iter().for_each(|weakness| print_weak(weakness));
    for unknown in &safety.unknown {
        print(&format!("not known     {unknown}"));
    }
    for without in &safety.without {
        print(&format!("without       {without}"));
    }
    if dangers.is_empty() {
        return Ok(());
    }
    let reason = |found: Found| {
        let is_accepted = found.danger.is_some_and(|danger| config.redis.allow_unsafe.contains(&danger));
        format!("{}{}", found.reason, if is_accepted { " It is accepted: Merlink starts." } else { "" })
    };
    Err(dangers.into_iter().map(reason).collect::<Vec<_>>().join("\n").into())
}

/// Where one-time passwords go; without them nobody comes into the console.
fn mail(config: &Config) -> String {
    match &config.smtp.url {
        Some(url) => format!("by {}", Url::parse(url).ok().as_ref().and_then(Url::host_str).unwrap_or_default()),
        None if config.public.base_url.is_local() => "into data_dir/outbox, and the log".to_owned(),
        None => "none, so nobody can log in to the console: smtp.url".to_owned(),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "a duration of up to ten years, as 90d or 12h".to_owned())
}

/// Asks the operator port. Touches neither Redis nor the data directory.
fn probe(config: &Config, path: &str) -> Result<(), Failure> {
    let mut address = config.operator_listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let answer = ask(address, path).map_err(|error| format!("no answer from operator.listen, {address}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    print(body.trim());
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        status => Err(format!("{address}{path} answers {}", status.unwrap_or("nothing")).into()),
    }
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_MAX)?;
    stream.set_read_timeout(Some(PROBE_MAX))?;
    stream.set_write_timeout(Some(PROBE_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
