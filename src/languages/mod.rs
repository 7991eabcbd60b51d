//! The languages that pages are shown in: which there are, which one a visitor gets, and the words.
//!
//! A language is a folder of Fluent files (projectfluent.org), one per [`Part`] of Merlink. English, Chinese, Malay and Tamil are compiled
//! in from `languages/`; an operator's own folder adds others, or other words for single messages. All is read and checked at start:
//! while the service runs, words come from memory, and those that are the same on every page are made only once.
//!
//! What a language lacks is said in English, and marked as English. Nothing here is specific to a page: `build.rs` makes a method of each English
//! message, `words.landing_title()`, so that the compiler knows which there are, what they want filled in, and which nobody says.

mod choice;
mod html;
mod source;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use fluent_bundle::{FluentArgs, FluentError, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

pub use choice::{Choice, PARAMETER};
pub use html::{Html, escaped};
pub use source::LanguagesError;
use source::Source;

/// The language that every message is written in first.
const ENGLISH: &str = "en";

/// Signs that aren't seen (UAX #9): from here on left to right, from here on as the first letter says, and back to what it was.
const ISOLATES: [char; 3] = ['\u{2066}', '\u{2068}', '\u{2069}'];

/// A part of Merlink with words of its own: a file in each language's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Citizens,
    Console,
}

impl Part {
    pub const ALL: [Self; 2] = [Self::Citizens, Self::Console];

    pub fn file_name(self) -> &'static str {
        match self {
            Self::Citizens => "citizens.ftl",
            Self::Console => "console.ftl",
        }
    }
}

/// What is compiled in. A part that a language lacks is offered in English.
static BUILT_IN: [(&str, Part, &str); 5] = [
    (ENGLISH, Part::Citizens, include_str!("../../languages/en/citizens.ftl")),
    (ENGLISH, Part::Console, include_str!("../../languages/en/console.ftl")),
    ("zh-Hans", Part::Citizens, include_str!("../../languages/zh-Hans/citizens.ftl")),
    ("ms", Part::Citizens, include_str!("../../languages/ms/citizens.ftl")),
    ("ta", Part::Citizens, include_str!("../../languages/ta/citizens.ftl")),
];

/// The languages that are offered, the operator's first choice first.
pub struct Languages {
    offered: Vec<Arc<Language>>,
    /// For a part that none of the offered ones covers.
    english: Arc<Language>,
}

/// One language: its words, ready to be put into a page.
pub struct Language {
    /// `zh-Hans`
    pub tag: String,
    /// As its speakers write it: `中文`.
    pub name: String,
    pub right_to_left: bool,
    /// Its place among the offered ones.
    pub index: usize,
    parts: Vec<Part>,
    /// Messages that it lacks.
    in_english: BTreeSet<String>,
    /// Messages that say the same on every page.
    fixed: HashMap<String, String>,
    /// What is filled in everywhere: the service's name and the like.
    constants: Vec<(&'static str, String)>,
    markup: FluentBundle<Arc<FluentResource>>,
    plain: FluentBundle<Arc<FluentResource>>,
}

/// Something to fill in.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Text(&'a str),
    /// Also chooses between singular and plural.
    Number(u64),
    Html(&'a Html<'a>),
}

/// What can be filled in. Templates hand on references, of whatever depth.
pub trait Fill {
    fn value(&self) -> Value<'_>;
}

impl Fill for str {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Fill for String {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Fill for u32 {
    fn value(&self) -> Value<'_> {
        Value::Number(u64::from(*self))
    }
}

impl Fill for u64 {
    fn value(&self) -> Value<'_> {
        Value::Number(*self)
    }
}

/// Limits are of this type.
impl Fill for usize {
    fn value(&self) -> Value<'_> {
        Value::Number(*self as u64)
    }
}

impl Fill for Html<'_> {
    fn value(&self) -> Value<'_> {
        Value::Html(self)
    }
}

impl<T: Fill + ?Sized> Fill for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl Languages {
    /// Reads the languages `tags` from what is compiled in and from `folder`. `constants` can be used in every message.
    ///
    /// # Errors
    ///
    /// When a file can't be read or has mistakes, or a language has no file at all.
    pub fn load(
        tags: &[LanguageIdentifier],
        folder: Option<&Path>,
        constants: &[(&'static str, &str)],
    ) -> Result<Self, LanguagesError> {
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(LanguagesError::new(vec![format!(
                "site.languages_dir: {}: there is no such folder",
                folder.display()
            )]));
        }
        let mut offered = Vec::with_capacity(tags.len());
        for tag in tags {
            let source = Source::read(tag, folder)?;
            source.check(constants)?;
            let language = Language::new(tag, &source, constants, offered.len());
            language.check(&source)?;
            offered.push(Arc::new(language));
        }
        let english: LanguageIdentifier = ENGLISH.parse().expect("en is a language tag");
        let source = Source::read(&english, folder)?;
        Ok(Self { offered, english: Arc::new(Language::new(&english, &source, constants, 0)) })
    }

    pub fn offered(&self) -> &[Arc<Language>] {
        &self.offered
    }

    /// Those in which `part` is worded, or else English.
    pub fn covering(&self, part: Part) -> impl Iterator<Item = &Arc<Language>> {
        let mut covering = self.offered.iter().filter(move |language| language.parts.contains(&part)).peekable();
        let english = if covering.peek().is_none() { Some(&self.english) } else { None };
        covering.chain(english)
    }
}

impl Language {
    fn new(tag: &LanguageIdentifier, source: &Source, constants: &[(&'static str, &str)], index: usize) -> Self {
        let bundle = |transform, isolates| {
            let mut bundle = FluentBundle::new_concurrent(vec![tag.clone()]);
            for resource in &source.resources {
                bundle.add_resource_overriding(Arc::clone(resource));
            }
            bundle.set_transform(transform);
            bundle.set_use_isolating(isolates);
            bundle
        };
        let mut language = Self {
            tag: tag.to_string(),
            name: String::new(),
            right_to_left: source.right_to_left,
            index,
            parts: source.parts.clone(),
            in_english: Part::ALL.into_iter().flat_map(|part| source.lacking(part)).collect(),
            fixed: HashMap::new(),
            constants: constants.iter().map(|&(name, value)| (name, value.to_owned())).collect(),
            // In right-to-left words, a domain or name keeps its own direction.
            markup: bundle(Some(html::message), source.right_to_left),
            // But invisible signs around a password would be copied along.
            plain: bundle(None, false),
        };
        for (key, variables) in source.messages() {
            if variables.iter().all(|variable| constants.iter().any(|(name, _)| name == variable)) {
                let (words, _) = language.format(&language.markup, &key, &[], |text| escaped(text).to_string());
                let words = language.left_to_right(&key, words);
                language.fixed.insert(key, words);
            }
        }
        (language.name, _) = language.format(&language.plain, "language-name", &[], str::to_owned);
        language
    }

    /// Says every message of the operator's once, which finds what reading them can't: messages that name each other in a circle, or one
    /// that needs something which isn't there.
    fn check(&self, source: &Source) -> Result<(), LanguagesError> {
        let values = |variables: &BTreeSet<String>| {
            let values = variables.iter().filter(|name| self.constants.iter().all(|(constant, _)| constant != name));
            values.cloned().collect::<Vec<String>>()
        };
        let mut problems = Vec::new();
        for (path, key, variables) in source.own_messages() {
            let names = values(&variables);
            let values: Vec<(&str, Value<'_>)> = names.iter().map(|name| (name.as_str(), Value::Number(2))).collect();
            let (_, errors) = self.format(&self.plain, &key, &values, str::to_owned);
            problems.extend(errors.iter().map(|error| format!("{path}: {key}: can't be said: {error}")));
        }
        if problems.is_empty() { Ok(()) } else { Err(LanguagesError::new(problems)) }
    }

    /// A message that says the same on every page, as HTML.
    fn text(&self, key: &str) -> Html<'_> {
        let words = self.fixed.get(key);
        debug_assert!(words.is_some(), "{key} is no message, or one that wants something filled in");
        self.marked(key, Html::trusted(words.map_or("", String::as_str)))
    }

    /// A message with something filled in, as HTML: what is filled in is escaped.
    fn fill(&self, key: &str, values: &[(&str, Value<'_>)]) -> Html<'static> {
        let (words, errors) = self.format(&self.markup, key, values, |text| escaped(text).to_string());
        debug_assert!(errors.is_empty(), "{key}: {errors:?}");
        self.marked(key, Html::made(self.left_to_right(key, words)))
    }

    /// What the language lacks says that it is English. Labels stand in attributes and in lists to choose from, which take no elements.
    fn marked<'a>(&self, key: &str, words: Html<'a>) -> Html<'a> {
        if !self.in_english.contains(key) {
            words
        } else if key.ends_with("-label") {
            words.in_english().unmarked()
        } else {
            words.in_english()
        }
    }

    /// English is read from left to right where all else goes the other way, or its full stop would stand in front: by signs that aren't
    /// seen, since they mean the same in titles and attributes.
    fn left_to_right(&self, key: &str, words: String) -> String {
        let is_turned = self.right_to_left && self.in_english.contains(key);
        if is_turned { format!("{}{words}{}", ISOLATES[0], ISOLATES[2]) } else { words }
    }

    /// A message for where there is no markup, as in a mail.
    fn plain(&self, key: &str, values: &[(&str, Value<'_>)]) -> String {
        let (words, errors) = self.format(&self.plain, key, values, str::to_owned);
        debug_assert!(errors.is_empty(), "{key}: {errors:?}");
        words
    }

    fn format(
        &self,
        bundle: &FluentBundle<Arc<FluentResource>>,
        key: &str,
        values: &[(&str, Value<'_>)],
        text: impl Fn(&str) -> String,
    ) -> (String, Vec<FluentError>) {
        let mut arguments = FluentArgs::with_capacity(self.constants.len() + values.len());
        for (name, value) in &self.constants {
            arguments.set(*name, FluentValue::from(text(value)));
        }
        for (name, value) in values {
            let value = match value {
                Value::Text(value) => FluentValue::from(text(value)),
                Value::Number(number) => FluentValue::from(*number),
                Value::Html(html) => FluentValue::from(html.to_string()),
            };
            arguments.set(*name, value);
        }
        let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) else {
            debug_assert!(false, "{key} is no message");
            return (String::new(), Vec::new());
        };
        let mut errors = Vec::new();
        let words = bundle.format_pattern(pattern, Some(&arguments), &mut errors).into_owned();
        (words, errors)
    }

    /// A day as its speakers write it.
    pub fn day(&self, date: jiff::civil::Date) -> Html<'static> {
        let number = |value: i8| u32::from(value.unsigned_abs());
        let words = self.date(number(date.day()), number(date.month()), u32::from(date.year().unsigned_abs()));
        // Numbers and the language's own words: if each were kept apart, a sentence that the date is put into would see no direction in it,
        // and run it from left to right (UAX #9, rule P3).
        let words = words.as_str().replace(ISOLATES, "");
        self.marked("date", Html::made(self.left_to_right("date", words)))
    }

    /// A number with its thousands apart: `1,234,567`.
    pub fn number(&self, number: u64) -> Html<'static> {
        let separator = self.number_separator().as_str().replace(ISOLATES, "");
        let digits = number.to_string();
        let mut grouped = String::with_capacity(digits.len() * 2);
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                grouped.push_str(&separator);
            }
            grouped.push(digit);
        }
        Html::made(grouped)
    }
}

/// A method for each message in English: made by `build.rs`.
#[allow(clippy::doc_markdown, clippy::missing_errors_doc, reason = "they are documented by what they say")]
mod messages {
    use super::{Fill, Html, Language};

    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(tags: &[&str], folder: Option<&Path>) -> Result<Languages, LanguagesError> {
        let tags: Vec<LanguageIdentifier> = tags.iter().map(|tag| tag.parse().expect("a tag")).collect();
        Languages::load(&tags, folder, &[("site", "Go & Co"), ("host", "go.example")])
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        folder
    }

    #[test]
    fn all_built_in_languages_have_the_same_messages_and_placeholders() {
        for part in Part::ALL {
            let messages = |tag: &str| {
                let text = BUILT_IN.iter().find(|(of, file, _)| *of == tag && *file == part).map(|(_, _, text)| *text);
                text.map(|text| source::messages_of(tag, text).expect("is Fluent"))
            };
            let english = messages(ENGLISH).expect("every part is in English");
            for tag in ["zh-Hans", "ms", "ta"] {
                let Some(messages) = messages(tag) else {
                    assert_ne!(part, Part::Citizens, "citizens' pages are in {tag}");
                    continue;
                };
                assert_eq!(messages, english, "{tag}");
            }
        }
    }

    #[test]
    fn words_have_the_markup_of_their_message_and_none_of_what_is_filled_in() {
        let languages = load(&["en"], None).expect("good");
        let english = &languages.offered()[0];
        assert!(english.check_beginning().as_str().contains("begin with <code>go.example/</code>"));
        assert!(english.footer_about().as_str().starts_with("Go &#38; Co makes"));
        let asked = english.preview_ask("<b>x</b>");
        assert!(asked.as_str().starts_with("Ask &#60;b&#62;x&#60;/b&#62;,"), "{asked}");
        let plain = english.plain("preview-ask", &[("agency", Value::Text("<b>"))]);
        assert!(plain.starts_with("Ask <b>,"), "{plain}");
    }

    #[test]
    fn dates_and_numbers_are_written_as_is_usual() {
        let languages = load(&["en", "zh-Hans", "ms", "ta"], None).expect("good");
        let date = jiff::civil::date(2026, 3, 4);
        let dates: Vec<String> = languages.offered().iter().map(|language| language.day(date).to_string()).collect();
        assert_eq!(dates, ["4 March 2026", "2026年3月4日", "4 Mac 2026", "4 மார்ச் 2026"]);
        for (number, text) in
            [(0, "0"), (12, "12"), (123, "123"), (1_234, "1,234"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(languages.offered()[0].number(number).as_str(), text);
        }
    }

    #[test]
    fn one_second_is_singular_where_the_language_has_a_singular() {
        let languages = load(&["en", "ta"], None).expect("good");
        let count = |language: &Language, seconds: u32| language.transition_countdown(seconds).to_string();
        let [english, tamil] = languages.offered() else { panic!("two languages") };
        assert!(count(english, 1).ends_with("1 second.") && count(english, 2).ends_with("2 seconds."));
        assert!(count(tamil, 1).contains("வினாடியில்") && count(tamil, 2).contains("வினாடிகளில்"));
    }

    #[test]
    fn an_operators_folder_adds_languages_and_other_words() {
        let arabic = "language-name = العربية\nlanguage-direction = rtl\ngone-title = هذا الرابط متوقف\n";
        let folder = folder(&[("ar/citizens.ftl", arabic), ("en/citizens.ftl", "gone-title = Gone for good\n")]);
        let languages = load(&["ar", "en"], Some(folder.path())).expect("good");
        let [arabic, english] = languages.offered() else { panic!("two languages") };
        assert_eq!((arabic.name.as_str(), arabic.right_to_left), ("العربية", true));
        assert_eq!(arabic.gone_title().as_str(), "هذا الرابط متوقف");
        for lacking in [arabic.not_found_title(), arabic.list_title()] {
            let words = lacking.as_str();
            assert!(words.starts_with('\u{2066}') && words.ends_with('\u{2069}'), "from left to right: {words}");
            assert_eq!(lacking.to_string(), format!("<span lang=\"en\">{words}</span>"), "what lacks is in English");
            assert_eq!(lacking.unmarked().to_string(), words, "but has no element in a title");
        }
        let label = arabic.list_on_label();
        assert_eq!(label.to_string(), "\u{2066}On\u{2069}", "nor in an attribute");
        assert_eq!(label.lang().as_str(), " lang=\"en\"", "where the tag can say it");
        assert_eq!((arabic.gone_title().lang().as_str(), english.list_title().lang().as_str()), ("", ""));
        assert_eq!(english.not_found_title().to_string(), "There is no such link");
        assert_eq!(arabic.number(1_234).to_string(), "1,234", "a number is a number");
        assert_eq!(english.gone_title().as_str(), "Gone for good");
        let isolated = arabic.preview_ask("x.example");
        assert!(isolated.as_str().contains("\u{2068}x.example\u{2069}"), "a domain keeps its direction: {isolated}");
        let day = arabic.day(jiff::civil::date(2026, 3, 4));
        assert_eq!(day.as_str(), "\u{2066}4 March 2026\u{2069}", "a date has the direction of its words");
    }

    #[test]
    fn mistakes_in_an_operators_folder_are_named_with_file_and_line() {
        for (file, text, expected) in [
            ("de/citizens.ftl", "gone-title = Weg\n???\n", "de/citizens.ftl:2: "),
            ("de/citizens.ftl", "gone-title = Weg von { $sight }\n", "gone-title: there is no $sight; known are: "),
            ("de/citizens.ftl", "gone-why = <code>x\n", "gone-why: <code> is opened 1 times and closed 0 times"),
            ("de/citizens.ftl", "gone-title = <strong>Weg</strong>\n", "gone-title: takes no markup"),
            ("de/citizens.ftl", "gone-why = { \"<img>\" }\n", "gone-why: text in quotes may not contain"),
            ("de/citizens.ftl", "gone-why = { gone }\n", "gone-why: there is no message gone"),
            ("de/citizens.ftl", "gone-why = { gone-ask }\ngone-ask = { gone-why }\n", "gone-ask: can't be said: "),
            ("de/citizens.ftl", "gone-why = { gone-ask-owner }\n", "gone-why: can't be said: "),
            ("de/citizens.ftl", "gone-why = { NUMBER(1) }\n", "gone-why: functions aren't taken"),
            ("de/citizens.ftl", "language-direction = up\n", "language-direction: is ltr or rtl"),
            (
                "de/other.ftl",
                "x = y\n",
                "de/other.ftl: no part of Merlink has this file; there is citizens.ftl, console.ftl",
            ),
            ("fr/citizens.ftl", "gone-title = Parti\n", "de: there is no file for this language"),
        ] {
            let folder = folder(&[(file, text)]);
            let error = load(&["de"], Some(folder.path())).err().expect("refused").to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
