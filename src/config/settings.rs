//! The layers of settings, merged: what each is, where that was said, and what is wrong with it. What a setting may be, whoever takes it says.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use super::{Config, ConfigError};

/// Settings that may hold a password: a mistake in them is reported without them.
const SECRETS: [&str; 2] = ["smtp.url", "traces.headers"];

const ENV_PREFIX: &str = "MERLINK_";

pub const DURATION_HINT: &str = "a duration of up to 10 years, as 250ms, 15s, 10m or 24h";

/// The merged layers: what each setting is, and where that was said.
#[derive(Default)]
pub struct Settings {
    values: BTreeMap<String, Value>,
    problems: Vec<String>,
}

struct Value {
    items: Items,
    origin: String,
}

enum Items {
    One(String),
    Many(Vec<String>),
}

impl Settings {
    pub fn add_toml(&mut self, text: &str, origin: &str) {
        match text.parse::<toml::Table>() {
            Ok(table) => self.add_table(&table, "", origin),
            Err(error) => self.problem(format!("{origin}: isn't TOML{}", place_of(&error, text))),
        }
    }

    fn add_table(&mut self, table: &toml::Table, prefix: &str, origin: &str) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let items = match value {
                toml::Value::Table(table) => {
                    self.add_table(table, &key, origin);
                    continue;
                }
                toml::Value::Array(items) => Items::Many(items.iter().map(scalar).collect()),
                one => Items::One(scalar(one)),
            };
            self.set(key, items, origin.to_owned());
        }
    }

    pub fn add_env(&mut self, env: impl Iterator<Item = (String, String)>) {
        for (name, value) in env {
            let Some(rest) = name.strip_prefix(ENV_PREFIX).filter(|rest| !is_service_link(rest)) else { continue };
            let key = rest.to_ascii_lowercase().replacen("__", ".", 1);
            self.set(key, Items::One(value), format!("environment {name}"));
        }
    }

    fn set(&mut self, key: String, items: Items, origin: String) {
        let first_layer = origin == "config/merlink.toml";
        if first_layer || self.values.contains_key(&key) {
            self.values.insert(key, Value { items, origin });
        } else {
            self.problem(format!("{origin}: {key}: there is no such setting; config/merlink.toml lists them all"));
        }
    }

    pub fn take<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let Value { items, origin } = self.remove(key)?;
        let value = match &items {
            Items::One(text) => parse(text.trim()),
            Items::Many(_) => None,
        };
        if value.is_none() {
            self.refuse(&origin, key, &items.to_string(), allowed);
        }
        value
    }

    /// As [`Self::take`], for what has several ways to be wrong: the reason says which, and nothing of a secret.
    pub fn take_explained<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let Value { items, origin } = self.remove(key)?;
        let value = match &items {
            Items::One(text) => parse(text.trim()),
            Items::Many(_) => Err("a list isn't allowed".to_owned()),
        };
        value.map_err(|reason| self.problem(format!("{origin}: {key}: {reason}"))).ok()
    }

    pub fn take_list<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let Value { items, origin } = self.remove(key)?;
        let texts = match items {
            Items::One(text) => {
                text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
            }
            Items::Many(texts) => texts,
        };
        let mut values = Vec::with_capacity(texts.len());
        for text in &texts {
            match parse(text.trim()) {
                Some(value) => values.push(value),
                None => self.refuse(&origin, key, &format!("\"{text}\""), allowed),
            }
        }
        (values.len() == texts.len()).then_some(values)
    }

    /// Where a setting that wasn't taken yet comes from.
    pub fn origin(&self, key: &str) -> String {
        self.values.get(key).map(|value| value.origin.clone()).unwrap_or_default()
    }

    fn remove(&mut self, key: &str) -> Option<Value> {
        let value = self.values.remove(key);
        if value.is_none() {
            self.problem(format!("config/merlink.toml: {key}: is missing from the built-in defaults"));
        }
        value
    }

    fn refuse(&mut self, origin: &str, key: &str, what: &str, allowed: &str) {
        let shown = if SECRETS.contains(&key) || may_hold_password(what) { "what is set" } else { what };
        self.problem(format!("{origin}: {key}: {shown} isn't allowed; allowed: {allowed}"));
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
            _ => Err(ConfigError(self.problems)),
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
