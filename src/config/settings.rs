//! The layers of settings, merged: each setting's value and origin, and the mistakes in them. The
//! caller that takes a setting says what it may be. A value that isn't allowed is a mistake, and
//! its default stands in for it while the other settings are looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::Duration,
};

use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, InForce, Origin};

/// Settings that may hold a password: a mistake in them is reported without them.
const SECRETS: [&str; 2] = ["smtp.url", "traces.headers"];

const ENV_PREFIX: &str = "MERLINK_";
/// Names the commit for a build, and may still be set when the service starts.
const COMMIT: &str = "COMMIT";

pub const DURATION_HINT: &str = "a duration of up to 10 years, as 250ms, 15s, 10m or 24h";

/// The merged layers: each setting's value and origin.
#[derive(Default)]
pub struct Settings {
    values: BTreeMap<String, Value>,
    defaults: BTreeMap<String, Items>,
    problems: Vec<String>,
    /// Origins of the settings that were taken.
    taken: BTreeMap<String, Origin>,
    /// Settings whose value isn't allowed.
    refused: BTreeSet<String>,
    is_incomplete: bool,
}

struct Value {
    items: Items,
    origin: Origin,
}

/// The file that a layer is read from.
#[derive(Clone, Copy)]
pub enum Source<'f> {
    BuiltIn,
    File(&'f str),
}

impl Source<'_> {
    fn at(self, line: usize) -> Origin {
        match self {
            Self::BuiltIn => Origin::Default,
            Self::File(path) => Origin::File { path: path.to_owned(), line },
        }
    }
}

#[derive(Clone)]
enum Items {
    One(String),
    Many(Vec<String>),
}

impl Settings {
    pub fn add_toml(&mut self, text: &str, source: Source<'_>) {
        let parsed = text.parse::<toml::Table>().and_then(|table| Ok((table, DeTable::parse(text)?)));
        match parsed {
            Ok((table, spanned)) => {
                let mut lines = BTreeMap::new();
                add_lines(&mut lines, spanned.get_ref(), "", text);
                self.add_table(&table, "", source, &lines);
            }
            Err(error) => {
                let file = match source {
                    Source::BuiltIn => "config/merlink.toml",
                    Source::File(path) => path,
                };
                self.incomplete(format!("{file}: isn't TOML{}", place_of(&error, text)));
            }
        }
    }

    fn add_table(&mut self, table: &toml::Table, prefix: &str, source: Source<'_>, lines: &BTreeMap<String, usize>) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let items = match value {
                toml::Value::Table(table) => {
                    self.add_table(table, &key, source, lines);
                    continue;
                }
                toml::Value::Array(items) => Items::Many(items.iter().map(scalar).collect()),
                one => Items::One(scalar(one)),
            };
            let origin = source.at(lines.get(&key).copied().unwrap_or(1));
            self.set(key, items, origin);
        }
    }

    pub fn add_env(&mut self, env: impl Iterator<Item = (String, String)>) {
        for (name, value) in env {
            let Some(rest) = name.strip_prefix(ENV_PREFIX).filter(|rest| !is_service_link(rest) && *rest != COMMIT)
            else {
                continue;
            };
            let key = rest.to_ascii_lowercase().replacen("__", ".", 1);
            self.set(key, Items::One(value), Origin::Environment(name));
        }
    }

    fn set(&mut self, key: String, items: Items, origin: Origin) {
        if origin == Origin::Default {
            self.defaults.insert(key.clone(), items.clone());
        }
        if origin == Origin::Default || self.values.contains_key(&key) {
            self.values.insert(key, Value { items, origin });
        } else {
            self.problem(format!("{origin}: {key}: there is no such setting; config/merlink.toml lists them all"));
        }
    }

    pub fn take<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let Value { items, origin } = self.remove(key)?;
        let read = |items: &Items| match items {
            Items::One(text) => parse(text.trim()),
            Items::Many(_) => None,
        };
        read(&items).or_else(|| {
            self.refuse(&origin, key, &items.to_string(), allowed);
            read(self.defaults.get(key)?)
        })
    }

    /// As [`Self::take`], for what has several ways to be wrong: the reason says which, and nothing of a secret.
    pub fn take_explained<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let Value { items, origin } = self.remove(key)?;
        let read = |items: &Items| match items {
            Items::One(text) => parse(text.trim()),
            Items::Many(_) => Err("a list isn't allowed".to_owned()),
        };
        read(&items)
            .or_else(|reason| {
                self.mistake(&origin, key, &reason);
                self.defaults.get(key).ok_or(()).and_then(|items| read(items).map_err(drop))
            })
            .ok()
    }

    pub fn take_list<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let Value { items, origin } = self.remove(key)?;
        let texts = items.texts();
        let mut values = Vec::with_capacity(texts.len());
        for text in &texts {
            match parse(text.trim()) {
                Some(value) => values.push(value),
                None => self.refuse(&origin, key, &format!("\"{text}\""), allowed),
            }
        }
        if values.len() == texts.len() {
            return Some(values);
        }
        self.defaults.get(key)?.texts().iter().map(|text| parse(text.trim())).collect()
    }

    pub fn origin(&self, key: &str) -> Origin {
        let origin = self.values.get(key).map(|value| &value.origin).or_else(|| self.taken.get(key));
        origin.cloned().unwrap_or(Origin::Default)
    }

    /// All settings that weren't taken yet, with their secrets masked.
    pub fn in_force(&self) -> InForce {
        let shown = |(key, Value { items, origin }): (&String, &Value)| {
            let text = match items {
                Items::One(text) => shown_scalar(key, text),
                Items::Many(texts) => {
                    let texts: Vec<String> = texts.iter().map(|text| shown_scalar(key, text)).collect();
                    format!("[{}]", texts.join(", "))
                }
            };
            (key.clone(), (text, origin.clone()))
        };
        InForce(self.values.iter().map(shown).collect())
    }

    fn remove(&mut self, key: &str) -> Option<Value> {
        let value = self.values.remove(key);
        match &value {
            Some(value) => {
                self.taken.insert(key.to_owned(), value.origin.clone());
            }
            None => self.problem(format!("config/merlink.toml: {key}: is missing from the built-in defaults")),
        }
        value
    }

    fn refuse(&mut self, origin: &Origin, key: &str, what: &str, allowed: &str) {
        let shown = if SECRETS.contains(&key) || may_hold_password(what) { "what is set" } else { what };
        self.mistake(origin, key, &format!("{shown} isn't allowed; allowed: {allowed}"));
    }

    /// Reports a setting whose value isn't allowed.
    pub fn mistake(&mut self, origin: &Origin, key: &str, reason: &str) {
        self.refused.insert(key.to_owned());
        self.problem(format!("{origin}: {key}: {reason}"));
    }

    pub fn is_refused(&self, key: &str) -> bool {
        self.refused.contains(key)
    }

    /// Settings for which the default stands in, since their values aren't allowed. `None` if a
    /// whole file couldn't be read.
    pub fn refused(&self) -> Option<&BTreeSet<String>> {
        (!self.is_incomplete).then_some(&self.refused)
    }

    /// Reports a file that can't be read.
    pub fn incomplete(&mut self, problem: String) {
        self.is_incomplete = true;
        self.problem(problem);
    }

    pub fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    /// What was never taken is a default that the code doesn't know.
    pub fn finish(mut self, config: Option<Config>) -> Result<Config, ConfigError> {
        let untaken: Vec<String> = self.values.keys().cloned().collect();
        for key in untaken {
            self.problem(format!("config/merlink.toml: {key}: no code takes this setting"));
        }
        match config {
            Some(config) if self.problems.is_empty() => Ok(config),
            config => {
                let stand_in = config.filter(|_| !self.is_incomplete).map(Box::new);
                Err(ConfigError { mistakes: self.problems, refused: self.refused, stand_in })
            }
        }
    }
}

impl Items {
    /// The items of a list, which may be one text with commas.
    fn texts(&self) -> Vec<String> {
        match self {
            Self::One(text) => {
                text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
            }
            Self::Many(texts) => texts.clone(),
        }
    }
}

impl fmt::Display for Items {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => write!(formatter, "\"{text}\""),
            Self::Many(_) => write!(formatter, "a list"),
        }
    }
}

/// The line and column of a mistake, and what is wrong there. The parser's own text would print the line, which may hold a password.
fn place_of(error: &toml::de::Error, text: &str) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return String::new() };
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    format!(", line {line}, column {column}: check the quotation marks and brackets there and in the line before")
}

/// Collects the line, counted from 1, of each key.
fn add_lines(lines: &mut BTreeMap<String, usize>, table: &DeTable<'_>, prefix: &str, text: &str) {
    for (key, value) in table {
        let start = key.span().start;
        let key = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(table) => add_lines(lines, table, &key, text),
            _ => {
                lines.insert(key, text[..start].matches('\n').count() + 1);
            }
        }
    }
}

/// A value as TOML, without what is secret in it: the password of a URL, the query of a URL, the
/// value of a header.
fn shown_scalar(key: &str, text: &str) -> String {
    match text.parse() {
        Ok(toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_)) => text.to_owned(),
        _ => toml::Value::String(masked(key, text)).to_string(),
    }
}

const MASK: &str = "***";

fn masked(key: &str, text: &str) -> String {
    if key == "traces.headers" {
        // From the environment, the whole list is one text.
        let names = text.split(',').map(|header| match header.split_once('=') {
            Some((name, _)) => format!("{name}={MASK}"),
            None => MASK.to_owned(),
        });
        return names.collect::<Vec<_>>().join(",");
    }
    if !matches!(key, "redis.url" | "smtp.url" | "traces.otlp_url") {
        return without_credentials(text);
    }
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = match rest.split_once('?') {
        // A password in which ? isn't written as %3F.
        Some((_, query)) if query.contains('@') => return format!("{scheme}://{MASK}"),
        Some((rest, _)) => (rest, format!("?{MASK}")),
        None => (rest, String::new()),
    };
    let place = match rest.rsplit_once('@') {
        Some((credentials, place)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{place}"),
            None => format!("{MASK}@{place}"),
        },
        None => rest.to_owned(),
    };
    format!("{scheme}://{place}{query}")
}

/// Masks the credentials of all URLs in a text.
fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c)).unwrap_or(part.len());
        let (authority, rest) = part.split_at(end);
        shown.push_str("://");
        if let Some((_, host)) = authority.rsplit_once('@') {
            shown.push_str(MASK);
            shown.push('@');
            shown.push_str(host);
        } else {
            shown.push_str(authority);
        }
        shown.push_str(rest);
    }
    shown
}

/// A URL with a user in it, in a setting that takes none.
fn may_hold_password(value: &str) -> bool {
    value.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}

fn scalar(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Kubernetes puts `MERLINK_SERVICE_HOST`, `MERLINK_PORT_8080_TCP` … into every pod beside a Service called merlink.
fn is_service_link(name: &str) -> bool {
    !name.contains("__") && (name.starts_with("SERVICE_") || name.starts_with("PORT"))
}

pub fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

pub fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

pub fn in_range<T: FromStr + PartialOrd>(low: T, high: T) -> impl Fn(&str) -> Option<T> {
    move |text| text.parse().ok().filter(|number| (&low..=&high).contains(&number))
}

/// `24h`, `15m`, `90d`; days have 24 hours. Nothing negative, nothing beyond ten years.
pub fn duration(text: &str) -> Option<Duration> {
    const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
    let span: jiff::Span = text.parse().ok()?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok().filter(|duration| *duration <= TEN_YEARS)
}

pub fn bytes(low: u64, high: u64) -> impl Fn(&str) -> Option<u64> {
    move |text| {
        text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64()).filter(|size| (low..=high).contains(size))
    }
}
