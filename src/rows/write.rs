//! Links as CSV and as JSON objects, one a line. What is written can be read again.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;

use super::{Field, TAG_SEPARATOR, read::BYTE_ORDER_MARK};
use crate::domain::{Code, Email, Link, Tag};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Csv,
    Json,
}

impl Form {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/x-ndjson",
        }
    }

    /// Of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "ndjson",
        }
    }
}

/// Stands for the state of a link that can't be read.
const DAMAGED: &str = "damaged";

/// Collects rows until somebody takes what there is.
pub struct Writer {
    form: Form,
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins with a header, if the form has one.
    pub fn new(form: Form) -> Self {
        let mut writer = Self { form, bytes: Vec::new() };
        if form == Form::Csv {
            push_cells(&mut writer.bytes, Field::ALL.map(Field::name));
        }
        writer
    }

    /// As CSV for a spreadsheet, which takes the text for UTF-8 only behind a byte order mark.
    pub fn for_spreadsheets() -> Self {
        let mut writer = Self::new(Form::Csv);
        writer.bytes.splice(0..0, BYTE_ORDER_MARK.iter().copied());
        writer
    }

    pub fn push(&mut self, link: &Link, clicks: u64) {
        match self.form {
            Form::Csv => push_cells(&mut self.bytes, Field::ALL.into_iter().map(|field| cell(field, link, clicks))),
            Form::Json => {
                serde_json::to_writer(&mut self.bytes, &Object::of(link, clicks))
                    .expect("a Vec takes everything, and an object is texts and numbers");
                self.bytes.push(b'\n');
            }
        }
    }

    /// A link that can't be read, as a row that says so. No reader of rows takes it for a link.
    pub fn push_damaged(&mut self, code: &Code) {
        match self.form {
            Form::Csv => push_cells(
                &mut self.bytes,
                Field::ALL.map(|field| match field {
                    Field::Code => code.as_str(),
                    Field::State => DAMAGED,
                    _ => "",
                }),
            ),
            Form::Json => {
                let row = serde_json::json!({ "code": code.as_str(), "state": DAMAGED });
                self.bytes.extend_from_slice(format!("{row}\n").as_bytes());
            }
        }
    }

    /// What was written since this was last asked.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// A row of CSV, whatever its cells hold.
pub fn push_cells<C: AsRef<str>>(bytes: &mut Vec<u8>, cells: impl IntoIterator<Item = C>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        let cell = defuse(cell.as_ref());
        if cell.contains(['"', ',', '\n', '\r']) {
            bytes.push(b'"');
            bytes.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            bytes.push(b'"');
        } else {
            bytes.extend_from_slice(cell.as_bytes());
        }
    }
    bytes.push(b'\n');
}

/// Characters that begin a formula, or a cell that some spreadsheet takes for one. Excel in Japanese and Chinese reads full-width ones as ASCII.
const FORMULA_STARTS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// Characters behind which a spreadsheet may begin a cell, whatever the quotation marks say: Excel separates cells by `;` in many countries, and
/// then takes the marks around a cell of ours for text.
const CELL_ENDS: [char; 4] = [';', '\t', '\n', '\r'];

/// Puts an apostrophe before each formula that a spreadsheet would run, at the cell's start or behind a [separator](CELL_ENDS): then it is text to
/// all of them. A text that looks as if that had been done to it gets another one, so [`arm`] takes off the right ones.
pub fn defuse(text: &str) -> Cow<'_, str> {
    at_each_start(text, |rest| is_formula(rest).then_some(("'", rest)))
}

/// Undoes [`defuse`].
pub fn arm(text: &str) -> Cow<'_, str> {
    at_each_start(text, |rest| rest.strip_prefix('\'').filter(|rest| is_formula(rest)).map(|rest| ("", rest)))
}

/// Rewrites the text wherever a cell may start: `rewrite` gets all from there on, and returns what stands there instead and what follows it.
fn at_each_start<'t>(text: &'t str, rewrite: impl Fn(&'t str) -> Option<(&'static str, &'t str)>) -> Cow<'t, str> {
    let mut starts = std::iter::once(0).chain(text.match_indices(CELL_ENDS).map(|(at, _)| at + 1)).peekable();
    let mut rewritten = String::new();
    let mut is_rewritten = false;
    while let Some(start) = starts.next() {
        let end = starts.peek().copied().unwrap_or(text.len());
        let (inserted, rest) = rewrite(&text[start..]).unwrap_or(("", &text[start..]));
        is_rewritten |= !inserted.is_empty() || rest.len() < text.len() - start;
        rewritten.push_str(inserted);
        rewritten.push_str(&rest[..rest.len() - (text.len() - end)]);
    }
    if is_rewritten { Cow::Owned(rewritten) } else { Cow::Borrowed(text) }
}

/// True if the text begins, behind apostrophes, quotation marks and spaces, as what spreadsheets take for a formula.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches(['\'', '"', ' ']).starts_with(FORMULA_STARTS)
}

fn cell(field: Field, link: &Link, clicks: u64) -> Cow<'_, str> {
    match field {
        Field::Code => Cow::Borrowed(link.code.as_str()),
        Field::TargetUrl => Cow::Borrowed(link.target.as_str()),
        Field::State => Cow::Borrowed(link.state.as_str()),
        Field::Owner => Cow::Borrowed(link.owner.as_str()),
        Field::Description => Cow::Borrowed(link.description.as_str()),
        Field::ContactEmail => Cow::Borrowed(link.contact_email.as_ref().map_or("", Email::as_str)),
        Field::Tags => {
            let tags: Vec<&str> = link.tags.iter().map(Tag::as_str).collect();
            Cow::Owned(tags.join(&TAG_SEPARATOR.to_string()))
        }
        Field::ForwardQuery => Cow::Borrowed(if link.forward_query { "true" } else { "false" }),
        Field::ExpiresAt => Cow::Owned(link.expires_at.map(|at| at.to_string()).unwrap_or_default()),
        Field::CreatedAt => Cow::Owned(link.created_at.to_string()),
        Field::Clicks => Cow::Owned(clicks.to_string()),
    }
}

/// A link as an object, its names those of [`Field`].
#[derive(Serialize)]
struct Object<'l> {
    code: &'l str,
    target_url: &'l str,
    state: &'static str,
    owner: &'l str,
    description: &'l str,
    contact_email: Option<&'l str>,
    tags: Vec<&'l str>,
    forward_query: bool,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    clicks: u64,
}

impl<'l> Object<'l> {
    fn of(link: &'l Link, clicks: u64) -> Self {
        Self {
            code: link.code.as_str(),
            target_url: link.target.as_str(),
            state: link.state.as_str(),
            owner: link.owner.as_str(),
            description: link.description.as_str(),
            contact_email: link.contact_email.as_ref().map(Email::as_str),
            tags: link.tags.iter().map(Tag::as_str).collect(),
            forward_query: link.forward_query,
            expires_at: link.expires_at,
            created_at: link.created_at,
            clicks,
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::{Code, Description, EmailDomains, LinkState, Source, Tags, Target, TargetRules},
        rows::{Row, Rules, columns::Dialect, read::Reader},
    };

    pub fn link() -> Link {
        Link {
            code: "-tax".parse().expect("a code"),
            target: Target::from_store("https://example.com/?a=1,2&b=\"x\"".to_owned()),
            owner: "amy@agency.gov.sg".parse().expect("an address"),
            state: LinkState::Inactive,
            description: "=1+1, \"quoted\"".parse().expect("a line"),
            contact_email: Some("help@agency.gov.sg".parse().expect("an address")),
            tags: Tags::from_store(["tax", "GST"]),
            source: Source::Import,
            forward_query: true,
            expires_at: Some("2027-01-31T00:00:00Z".parse().expect("a time")),
            created_at: "2026-01-31T23:59:59.123Z".parse().expect("a time"),
            updated_at: "2026-02-01T00:00:00Z".parse().expect("a time"),
            version: 2,
        }
    }

    fn written(form: Form, link: &Link) -> String {
        let mut writer = Writer::new(form);
        writer.push(link, 42);
        String::from_utf8(writer.take()).expect("UTF-8")
    }

    #[test]
    fn a_link_as_csv() {
        assert_eq!(
            written(Form::Csv, &link()),
            "code,target_url,state,owner,description,contact_email,tags,forward_query,expires_at,created_at,clicks\n\
             '-tax,\"https://example.com/?a=1,2&b=\"\"x\"\"\",inactive,amy@agency.gov.sg,\"'=1+1, \"\"quoted\"\"\",\
             help@agency.gov.sg,tax;GST,true,2027-01-31T00:00:00Z,2026-01-31T23:59:59.123Z,42\n"
        );
    }

    #[test]
    fn a_link_as_a_json_object() {
        assert_eq!(
            written(Form::Json, &link()),
            "{\"code\":\"-tax\",\"target_url\":\"https://example.com/?a=1,2&b=\\\"x\\\"\",\"state\":\"inactive\",\
             \"owner\":\"amy@agency.gov.sg\",\"description\":\"=1+1, \\\"quoted\\\"\",\
             \"contact_email\":\"help@agency.gov.sg\",\"tags\":[\"tax\",\"GST\"],\"forward_query\":true,\
             \"expires_at\":\"2027-01-31T00:00:00Z\",\"created_at\":\"2026-01-31T23:59:59.123Z\",\"clicks\":42}\n"
        );
    }

    fn read_again(form: Form, link: &Link) -> Row {
        let rules = Rules {
            targets: Arc::default(),
            email_domains: EmailDomains::parse(&["*".to_owned()]).expect("globs"),
            any_contact: true,
            owner: None,
            now: Timestamp::MAX,
        };
        let file = written(form, link);
        let record = Reader::new(file.as_bytes()).expect("a file").next().expect("can be read").expect("a row");
        rules.read(&record, Dialect::Merlink).unwrap_or_else(|mistakes| panic!("{mistakes:?} in {file}"))
    }

    prop_compose! {
        fn any_link()(
            code in "[a-z0-9-]{1,20}",
            path in "[!-~]{0,40}",
            description in "['=+@＝－;\", a-zé税-]{0,60}",
            contact in prop::option::of("[=+'a-z-]{1,9}@[a-z]{1,9}\\.gov\\.sg"),
            tags in prop::collection::vec("[A-Za-z0-9_-]{1,25}", 0..10),
            (off, forward_query) in any::<(bool, bool)>(),
            created_ms in 0..253_402_207_200_999_i64,
            expires_ms in prop::option::of(0..253_402_207_200_999_i64),
        ) -> Option<Link> {
            let time = |ms| Timestamp::from_millisecond(ms).expect("before the year 10000");
            Some(Link {
                code: code.parse::<Code>().ok()?,
                target: Target::parse(&format!("https://example.com/{path}"), &TargetRules::default()).ok()?,
                state: if off { LinkState::Inactive } else { LinkState::Active },
                description: description.parse::<Description>().ok()?,
                contact_email: contact.map(|contact| contact.parse()).transpose().ok()?,
                tags: Tags::new(tags.iter().filter_map(|tag| tag.parse().ok())).ok()?,
                forward_query,
                expires_at: expires_ms.map(time),
                created_at: time(created_ms),
                ..link()
            })
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_as_it_was(link in any_link()) {
            prop_assume!(link.is_some());
            let link = link.expect("assumed");
            for form in [Form::Csv, Form::Json] {
                let expected = Row {
                    code: Some(link.code.clone()),
                    target: link.target.clone(),
                    state: link.state,
                    owner: link.owner.clone(),
                    description: link.description.clone(),
                    contact_email: link.contact_email.clone(),
                    tags: link.tags.clone(),
                    forward_query: link.forward_query,
                    expires_at: link.expires_at,
                    created_at: Some(link.created_at),
                };
                prop_assert_eq!(read_again(form, &link), expected);
            }
        }

        #[test]
        fn no_cell_runs_in_a_spreadsheet(text in "['\"=＝@；;\t\r\n a-]{0,9}") {
            let defused = defuse(&text);
            for cell in defused.split(CELL_ENDS) {
                let shown = cell.trim_start_matches(['"', ' ']);
                prop_assert!(!shown.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']), "{:?} in {:?}", cell, defused);
            }
            prop_assert!(!defused.starts_with(FORMULA_STARTS), "{:?}", defused);
        }

        #[test]
        fn defusing_can_be_undone(text in "['\"=＝+＋－@＠;\t\r\n a-]{0,12}|\\PC{0,20}") {
            let defused = defuse(&text);
            let armed = arm(&defused);
            prop_assert_eq!(armed.as_ref(), text.as_str());
        }
    }

    #[test]
    fn a_formula_is_defused_wherever_a_spreadsheet_may_begin_a_cell() {
        for (text, defused) in [
            ("=1+1", "'=1+1"),
            ("'=1", "''=1"),
            ("＝1", "'＝1"),
            ("＋1", "'＋1"),
            ("－1", "'－1"),
            ("＠SUM(1)", "'＠SUM(1)"),
            ("tax;=cmd|'/c calc'!A1", "tax;'=cmd|'/c calc'!A1"),
            ("tax;-gst;@x", "tax;'-gst;'@x"),
            ("a;\"=1", "a;'\"=1"),
            ("a\n=1", "a\n'=1"),
            ("a\t=1", "a\t'=1"),
            (" =1", "' =1"),
            ("a;;b; c=d", "a;;b; c=d"),
            ("https://example.com/?a=1&b=-2", "https://example.com/?a=1&b=-2"),
            ("", ""),
        ] {
            assert_eq!(defuse(text), defused);
            assert_eq!(arm(defused), text);
        }
    }
}
