//! Reading a language's files, and refusing what would show a visitor something broken.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::Arc,
};

use fluent_bundle::FluentResource;
use fluent_syntax::{
    ast::{Entry, Expression, InlineExpression, Message, Pattern, PatternElement},
    unicode::unescape_unicode_to_string,
};
use unic_langid::LanguageIdentifier;

use super::{BUILT_IN, ENGLISH, Part, html};

/// All that is wrong with a language's files, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct LanguagesError(Vec<String>);

impl LanguagesError {
    pub fn new(problems: Vec<String>) -> Self {
        Self(problems)
    }
}

/// Message by message, the variables that it fills in.
type Messages = BTreeMap<String, BTreeSet<String>>;

/// A language as it was read: English first, then what overrides it.
pub struct Source {
    pub resources: Vec<Arc<FluentResource>>,
    pub parts: Vec<Part>,
    pub right_to_left: bool,
    is_english: bool,
    /// The operator's files, for whose mistakes the operator is told.
    own: Vec<OwnFile>,
}

struct OwnFile {
    path: String,
    part: Part,
    resource: Arc<FluentResource>,
}

impl Source {
    pub fn read(tag: &LanguageIdentifier, folder: Option<&Path>) -> Result<Self, LanguagesError> {
        let name = tag.to_string();
        let mut source = Self {
            resources: Vec::new(),
            parts: Vec::new(),
            right_to_left: false,
            is_english: name == ENGLISH,
            own: Vec::new(),
        };
        for (of, part, text) in &BUILT_IN {
            let is_base = *of == ENGLISH;
            if is_base || *of == name {
                source.resources.push(parsed(&format!("{of}/{}", part.file_name()), text)?);
            }
            if *of == name {
                source.parts.push(*part);
            }
        }
        // English stands first in the table, so that every other language comes to lie over it.
        if let Some(folder) = folder {
            source.read_own(&folder.join(&name))?;
        }
        if source.parts.is_empty() {
            return Err(LanguagesError(vec![format!(
                "site.languages: {name}: there is no file for this language; put {name}/{} into site.languages_dir",
                Part::Citizens.file_name()
            )]));
        }
        source.right_to_left = source.value("language-direction").as_deref() == Some("rtl");
        Ok(source)
    }

    /// The operator's folder for this language. Not having one is fine.
    fn read_own(&mut self, folder: &Path) -> Result<(), LanguagesError> {
        let unreadable =
            |path: &Path, error| LanguagesError(vec![format!("{}: can't be read: {error}", path.display())]);
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(folder, error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| unreadable(folder, error))?.path();
            if path.extension().is_none_or(|extension| extension != "ftl") {
                continue;
            }
            let shown = path.display().to_string();
            let Some(part) =
                Part::ALL.into_iter().find(|part| path.file_name().is_some_and(|name| name == part.file_name()))
            else {
                let known = Part::ALL.map(Part::file_name).join(", ");
                return Err(LanguagesError(vec![format!(
                    "{shown}: no part of Merlink has this file; there is {known}"
                )]));
            };
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            let resource = parsed(&shown, &text)?;
            self.resources.push(Arc::clone(&resource));
            self.own.push(OwnFile { path: shown, part, resource });
            if !self.parts.contains(&part) {
                self.parts.push(part);
            }
        }
        Ok(())
    }

    /// Refuses what an operator's file says that can't be shown, and warns of what it leaves in English.
    pub fn check(&self, constants: &[(&'static str, &str)]) -> Result<(), LanguagesError> {
        let mut problems = Vec::new();
        for file in &self.own {
            let known = english(file.part);
            for message in messages_in(&file.resource) {
                let found = mistakes(message, &known, constants);
                problems.extend(found.iter().map(|problem| format!("{}: {}: {problem}", file.path, message.id.name)));
            }
            self.warn_of_missing(file);
        }
        if problems.is_empty() { Ok(()) } else { Err(LanguagesError(problems)) }
    }

    /// The messages of a part that stay in English.
    pub fn lacking(&self, part: Part) -> BTreeSet<String> {
        if self.is_english {
            return BTreeSet::new();
        }
        let in_english = BUILT_IN.iter().filter(|(of, _, _)| *of == ENGLISH).count();
        let own = self.resources[in_english..].iter().flat_map(|own| messages_in(own));
        let said: BTreeSet<&str> = own.map(|message| message.id.name).collect();
        english(part).into_keys().filter(|key| !said.contains(key.as_str())).collect()
    }

    /// An operator's file may be older than this version.
    fn warn_of_missing(&self, file: &OwnFile) {
        let missing: Vec<String> = self.lacking(file.part).into_iter().collect();
        if !missing.is_empty() {
            tracing::warn!("{}: these messages are missing and stay in English: {}", file.path, missing.join(", "));
        }
    }

    /// The operator's messages that are shown: file, name, variables.
    pub fn own_messages(&self) -> impl Iterator<Item = (&str, String, BTreeSet<String>)> {
        self.own.iter().flat_map(|file| {
            let known = english(file.part);
            let shown = messages_in(&file.resource).filter(move |message| known.contains_key(message.id.name));
            shown.map(|message| (file.path.as_str(), message.id.name.to_owned(), variables(message)))
        })
    }

    /// All messages, with the variables of the version that counts.
    pub fn messages(&self) -> Messages {
        let messages = self.resources.iter().flat_map(|resource| messages_in(resource));
        messages.map(|message| (message.id.name.to_owned(), variables(message))).collect()
    }

    /// What a message of one plain line says.
    fn value(&self, key: &str) -> Option<String> {
        let messages = self.resources.iter().rev().flat_map(|resource| messages_in(resource));
        let pattern = messages.into_iter().find(|message| message.id.name == key)?.value.as_ref()?;
        match pattern.elements.as_slice() {
            [PatternElement::TextElement { value }] => Some((*value).to_owned()),
            _ => None,
        }
    }
}

/// What there is to be said in a part.
fn english(part: Part) -> Messages {
    let built_in = BUILT_IN.iter().find(|(of, file, _)| *of == ENGLISH && *file == part);
    let (_, _, text) = built_in.expect("every part is in English");
    messages_of(part.file_name(), text).expect("our own files are Fluent: tests read them")
}

pub fn messages_of(path: &str, text: &str) -> Result<Messages, LanguagesError> {
    let resource = parsed(path, text)?;
    Ok(messages_in(&resource).map(|message| (message.id.name.to_owned(), variables(message))).collect())
}

fn parsed(path: &str, text: &str) -> Result<Arc<FluentResource>, LanguagesError> {
    FluentResource::try_new(text.to_owned()).map(Arc::new).map_err(|(_, errors)| {
        let problems = errors.into_iter().map(|error| {
            let line = text[..error.pos.start.min(text.len())].matches('\n').count() + 1;
            format!("{path}:{line}: isn't Fluent: {}", error.kind)
        });
        LanguagesError(problems.collect())
    })
}

fn messages_in(resource: &FluentResource) -> impl Iterator<Item = &Message<&str>> {
    resource.entries().filter_map(|entry| match entry {
        Entry::Message(message) => Some(message),
        _ => None,
    })
}

fn variables(message: &Message<&str>) -> BTreeSet<String> {
    let mut found = Found::default();
    if let Some(pattern) = &message.value {
        found.look(pattern);
    }
    found.variables
}

/// What may not be in an operator's message, in words.
fn mistakes(message: &Message<&str>, known: &Messages, constants: &[(&'static str, &str)]) -> Vec<String> {
    let key = message.id.name;
    let mut found = Found::default();
    match &message.value {
        Some(pattern) => found.look(pattern),
        None => return vec!["says nothing".to_owned()],
    }
    let mut problems = found.problems;
    match known.get(key) {
        None => tracing::warn!("language files: {key} is no message of this version, and is never shown"),
        Some(variables) => {
            let allowed: BTreeSet<&str> =
                variables.iter().map(String::as_str).chain(constants.iter().map(|(name, _)| *name)).collect();
            let unknown = found.variables.iter().filter(|name| !allowed.contains(name.as_str()));
            let listed = allowed.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ");
            problems.extend(unknown.map(|name| format!("there is no ${name}; known are: {listed}")));
        }
    }
    problems.extend(
        found
            .references
            .iter()
            .filter(|name| !known.contains_key(*name))
            .map(|name| format!("there is no message {name}")),
    );
    for element in html::ELEMENTS {
        let opened = found.text.matches(&format!("<{element}>")).count();
        let closed = found.text.matches(&format!("</{element}>")).count();
        if opened != closed {
            problems.push(format!("<{element}> is opened {opened} times and closed {closed} times"));
        } else if opened > 0 && (key.ends_with("-title") || key.ends_with("-label")) {
            problems.push("takes no markup".to_owned());
        }
    }
    if key == "language-direction" && !["ltr", "rtl"].contains(&found.text.trim()) {
        problems.push("is ltr or rtl".to_owned());
    }
    problems
}

/// What a pattern is made of.
#[derive(Default)]
struct Found {
    text: String,
    variables: BTreeSet<String>,
    references: BTreeSet<String>,
    problems: Vec<String>,
}

impl Found {
    fn look(&mut self, pattern: &Pattern<&str>) {
        for element in &pattern.elements {
            match element {
                PatternElement::TextElement { value } => self.text.push_str(value),
                PatternElement::Placeable { expression } => self.look_at(expression),
            }
        }
    }

    fn look_at(&mut self, expression: &Expression<&str>) {
        match expression {
            Expression::Inline(inline) => self.look_into(inline),
            Expression::Select { selector, variants } => {
                self.look_into(selector);
                for variant in variants {
                    self.look(&variant.value);
                }
            }
        }
    }

    fn look_into(&mut self, inline: &InlineExpression<&str>) {
        match inline {
            InlineExpression::VariableReference { id } => {
                self.variables.insert(id.name.to_owned());
            }
            InlineExpression::MessageReference { id, .. } => {
                self.references.insert(id.name.to_owned());
            }
            // Put into the page as it is.
            InlineExpression::StringLiteral { value } => {
                if unescape_unicode_to_string(value).contains(['<', '>', '&', '"', '\'']) {
                    self.problems.push("text in quotes may not contain < > & \" '".to_owned());
                }
            }
            InlineExpression::NumberLiteral { .. } => {}
            InlineExpression::FunctionReference { .. } => self.problems.push("functions aren't taken".to_owned()),
            InlineExpression::TermReference { .. } => self.problems.push("terms aren't taken".to_owned()),
            InlineExpression::Placeable { expression } => self.look_at(expression),
        }
    }
}
