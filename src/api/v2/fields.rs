//! Reading JSON objects and query strings, field by field: every mistake is found, not only the first, and what nobody asked for is one.

use std::fmt::Display;

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::problem::{Mistake, Mistakes, Problem};

/// A field of a merge patch (RFC 7396).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch<T> {
    /// Not named: it stays.
    Keep,
    /// `null`: back to what it is when nothing is said.
    Reset,
    Set(T),
}

/// An object that is being read.
pub struct Fields {
    pointer: String,
    left: Map<String, Value>,
    mistakes: Mistakes,
}

impl Fields {
    /// # Errors
    ///
    /// When it is no object.
    pub fn new(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(left) => Ok(Self { pointer: String::new(), left, mistakes: Mistakes::default() }),
            _ => Err(Problem::mistakes(vec![Mistake::at("", "must be an object")])),
        }
    }

    /// Says that something is wrong with a field.
    pub fn mistake(&mut self, name: &str, detail: impl Display) {
        self.mistakes.push(|| Mistake::at(format!("{}/{}", self.pointer, escape(name)), detail));
    }

    /// A text that must be there, read by `parse`.
    pub fn required<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        if !self.left.contains_key(name) {
            self.mistake(name, "is required");
        }
        match self.text(name, parse) {
            Patch::Set(value) => Some(value),
            Patch::Keep => None,
            Patch::Reset => {
                self.mistake(name, "must be a text, not null");
                None
            }
        }
    }

    /// A text, read by `parse`.
    pub fn text<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Patch<T> {
        match self.left.shift_remove(name) {
            None => Patch::Keep,
            Some(Value::Null) => Patch::Reset,
            Some(Value::String(text)) => match parse(&text) {
                Ok(value) => Patch::Set(value),
                Err(error) => {
                    self.mistake(name, error);
                    Patch::Keep
                }
            },
            Some(_) => {
                self.mistake(name, "must be a text");
                Patch::Keep
            }
        }
    }

    pub fn flag(&mut self, name: &str) -> Patch<bool> {
        match self.left.shift_remove(name) {
            None => Patch::Keep,
            Some(Value::Null) => Patch::Reset,
            Some(Value::Bool(flag)) => Patch::Set(flag),
            Some(_) => {
                self.mistake(name, "must be true or false");
                Patch::Keep
            }
        }
    }

    /// A list of texts, each read by `parse`. One with a mistake in it is as if it weren't there.
    pub fn texts<T, E: Display>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Patch<Vec<T>> {
        let items = match self.left.shift_remove(name) {
            None => return Patch::Keep,
            Some(Value::Null) => return Patch::Reset,
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.mistake(name, "must be a list of texts");
                return Patch::Keep;
            }
        };
        let (mut read, mistakes_before) = (Vec::with_capacity(items.len()), self.mistakes.found());
        for (index, item) in items.iter().enumerate() {
            let pointer = || format!("{}/{name}/{index}", self.pointer);
            match item.as_str().map(&parse) {
                Some(Ok(value)) => read.push(value),
                Some(Err(error)) => self.mistakes.push(|| Mistake::at(pointer(), error)),
                None => self.mistakes.push(|| Mistake::at(pointer(), "must be a text")),
            }
        }
        if self.mistakes.found() == mistakes_before { Patch::Set(read) } else { Patch::Keep }
    }

    /// Answers what was read if nothing was wrong; fields that nobody asked for are.
    ///
    /// # Errors
    ///
    /// Every mistake.
    pub fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        for name in std::mem::take(&mut self.left).keys() {
            self.mistake(name, "isn't a field that can be set here");
        }
        match read {
            Some(read) if self.mistakes.is_empty() => Ok(read),
            _ => Err(Problem::mistakes(self.mistakes)),
        }
    }
}

impl<T> Patch<T> {
    /// What a new thing has, where `null` is the same as nothing.
    pub fn given(self) -> Option<T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Reset => None,
        }
    }

    /// What a change sets, where `null` means `default`.
    pub fn change(self, default: T) -> Option<T> {
        match self {
            Self::Keep => None,
            Self::Reset => Some(default),
            Self::Set(value) => Some(value),
        }
    }

    /// What a change sets in a field that can be empty.
    pub fn nullable(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Reset => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }
}

/// RFC 6901: `~` and `/` within a name.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The parameters of a request that are being read.
pub struct Parameters {
    left: Vec<(String, String)>,
    mistakes: Mistakes,
}

impl Parameters {
    pub fn of(query: &str) -> Self {
        let left = form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into(), value.into())).collect();
        Self { left, mistakes: Mistakes::default() }
    }

    pub fn mistake(&mut self, name: &str, detail: impl Display) {
        self.mistakes.push(|| Mistake::of(name, detail));
    }

    /// A parameter that may come once, read by `parse`.
    pub fn one<T, E: Display>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let mut all = self.many(name, parse);
        if all.len() > 1 {
            self.mistake(name, "may be given once");
        }
        all.pop()
    }

    /// A parameter that may be repeated.
    pub fn many<T, E: Display>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let (named, left) = std::mem::take(&mut self.left).into_iter().partition(|(other, _)| other == name);
        self.left = left;
        let mut read = Vec::new();
        for (_, value) in named {
            match parse(&value) {
                Ok(value) => read.push(value),
                Err(error) => self.mistake(name, error),
            }
        }
        read
    }

    /// # Errors
    ///
    /// Every mistake; parameters that nobody asked for are.
    pub fn finish<T>(mut self, read: T) -> Result<T, Problem> {
        for (name, _) in std::mem::take(&mut self.left) {
            self.mistake(&name, "isn't a parameter of this address");
        }
        if self.mistakes.is_empty() { Ok(read) } else { Err(Problem::mistakes(self.mistakes)) }
    }
}

/// For [`Parameters::one`]: a whole number within bounds.
pub fn number(min: usize, max: usize) -> impl Fn(&str) -> Result<usize, String> {
    move |text| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (min..=max).contains(number));
        number.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
    }
}

/// For [`Parameters::one`]: one of a few words.
pub fn choice<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            format!("must be one of {}", words.join(", "))
        })
    }
}
