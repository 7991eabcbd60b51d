//! From JSON and query strings to typed requests, in the words of `GoGovSG`'s validator (@hapi/joi 17 behind Express).
//!
//! Programs match on these messages, so they stand here letter by letter, double dots included: the contract is
//! `api-v1.md`, "Validation messages" and "List query". Pure: whether a code is taken, reserved or somebody else's is for later, and
//! so is anything better than these words, which is v2's.
//!
//! What a schema knows is taken out of the fields one by one, in the schema's order; what is then left is unknown. That gives
//! the order of the messages.
//!
//! Kept from joi: numbers may be written `1e2`, `10.0` or with spaces around; a parameter given twice is a list, so no number and no
//! string. Not kept: joi calls whole numbers in odd spellings (`00`, `10.`, `.5e1`) unsafe, reads UTF-8 that isn't,
//! and sorts unknown fields whose names are numbers to the front.

use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::Value;

use crate::{
    domain::{Code, Email, EmailDomains, LinkState, Target, TargetError, TargetRules},
    store::OrderBy,
};

/// Also what a list is cut to when it says nothing.
const LIST_LIMIT_MAX: usize = 1000;

/// 2^53 - 1, JavaScript's `Number.MAX_SAFE_INTEGER`: beyond it neighbouring whole numbers can't be told apart.
const SAFE_NUMBER_MAX: f64 = 9_007_199_254_740_991.0;

/// What Express reads of a query (`parameterLimit` of its parser, qs); the rest is dropped there too.
const QUERY_PARAMETERS_MAX: usize = 1000;

const STATES: [(&str, LinkState); 2] = [("ACTIVE", LinkState::Active), ("INACTIVE", LinkState::Inactive)];
const ORDERS: [(&str, OrderBy); 2] = [("createdAt", OrderBy::CreatedAt), ("clicks", OrderBy::Clicks)];
const DIRECTIONS: [(&str, Direction); 2] = [("desc", Direction::Descending), ("asc", Direction::Ascending)];

/// What the rules need to know of this installation.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    pub targets: Arc<TargetRules>,
    pub email_domains: &'a EmailDomains,
}

/// `POST /urls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// `None`: draw one.
    pub code: Option<Code>,
    pub target: Target,
}

/// `POST /admin/urls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCreate {
    /// `None`: draw one.
    pub code: Option<Code>,
    pub target: Target,
    pub owner: Email,
}

/// `PATCH /urls/{shortUrl}`: `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub target: Option<Target>,
    pub state: Option<LinkState>,
}

/// `GET /urls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// 0 to 1000; 0 asks for the count only.
    pub limit: usize,
    pub offset: usize,
    pub order_by: OrderBy,
    pub descending: bool,
    /// In lower case; empty: any.
    pub search_text: String,
    pub state: Option<LinkState>,
    pub is_file: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Descending,
    Ascending,
}

/// Everything that is wrong with a request, in the contract's order: `ValidationError: m1. m2`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ValidationError: {}", self.0.join(". "))
    }
}

/// Why a body can't be read at all. Its size is the caller's to bound, before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("Bad Request. JSON is malformed")]
    Malformed,
}

/// Reads a body as Express does: an object or a list; `{}` when there is none or when it isn't `application/json`.
///
/// A byte order mark is dropped, as Express does. Invalid UTF-8 is malformed (RFC 8259 §8.1), where Express guesses.
///
/// # Errors
/// Malformed JSON, or a scalar or `null` at the top.
pub fn parse_body(content_type: Option<&str>, bytes: &[u8]) -> Result<Value, BodyError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.is_empty() || !content_type.is_some_and(is_json) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_slice(bytes) {
        Ok(body @ (Value::Object(_) | Value::Array(_))) => Ok(body),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | Err(_) => Err(BodyError::Malformed),
    }
}

/// The media type alone, whatever its parameters (RFC 9110 §8.3.1).
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or(content_type);
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// # Errors
/// All that is wrong with the body, as for the other readers below.
pub fn create(body: &Value, rules: &Rules<'_>) -> Result<Create, Invalid> {
    let mut fields = Fields::of_body(body)?;
    fields.ignore("userId");
    let code = fields.code();
    fields.require("longUrl");
    let target = fields.target(rules);
    fields.finish(target.map(|target| Create { code, target }))
}

pub fn admin_create(body: &Value, rules: &Rules<'_>) -> Result<AdminCreate, Invalid> {
    let mut fields = Fields::of_body(body)?;
    fields.ignore("userId");
    let code = fields.code();
    fields.require("longUrl");
    let target = fields.target(rules);
    fields.require("email");
    let owner = fields.email(rules);
    fields.finish(target.zip(owner).map(|(target, owner)| AdminCreate { code, target, owner }))
}

/// A `shortUrl` in the body is ignored: the path's replaces it.
pub fn update(body: &Value, rules: &Rules<'_>) -> Result<Update, Invalid> {
    let mut fields = Fields::of_body(body)?;
    fields.ignore("userId");
    fields.ignore("shortUrl");
    let target = fields.target(rules);
    let state = fields.choice("state", &STATES);
    fields.finish(Some(Update { target, state }))
}

/// Reads the query string as it stands in the request line, without its `?`.
pub fn list(query_string: &str) -> Result<ListQuery, Invalid> {
    let mut fields = Fields::of_query(query_string);
    let limit = fields.whole_number("limit", Some(LIST_LIMIT_MAX)).unwrap_or(LIST_LIMIT_MAX);
    let offset = fields.whole_number("offset", None).unwrap_or(0);
    let order_by = fields.choice("orderBy", &ORDERS).unwrap_or(OrderBy::CreatedAt);
    let direction = fields.choice("sortDirection", &DIRECTIONS).unwrap_or(Direction::Descending);
    let search_text = fields.text("searchText").unwrap_or_default().to_lowercase();
    let state = fields.choice("state", &STATES);
    let is_file = fields.boolean("isFile");
    let descending = direction == Direction::Descending;
    fields.finish(Some(ListQuery { limit, offset, order_by, descending, search_text, state, is_file }))
}

/// What the client gave and no reader has taken yet, and what was wrong with the rest.
struct Fields<'a> {
    given: Vec<(Cow<'a, str>, Given<'a>)>,
    problems: Vec<String>,
}

enum Given<'a> {
    Text(Cow<'a, str>),
    /// A number, a list, … in JSON; a parameter given twice or with brackets in a query.
    Other,
}

impl<'a> Fields<'a> {
    fn of_body(body: &'a Value) -> Result<Self, Invalid> {
        let object = body.as_object().ok_or_else(|| Invalid(vec![r#""value" must be of type object"#.to_owned()]))?;
        let read = |(name, value): (&'a String, &'a Value)| {
            let given = value.as_str().map_or(Given::Other, |text| Given::Text(text.into()));
            (name.into(), given)
        };
        Ok(Self { given: object.iter().map(read).collect(), problems: Vec::new() })
    }

    /// Reads a query as Express does: `a=1&a=2`, `a[]=1` and `a[b]=1` are all an `a` that is no text; a name may not be empty.
    fn of_query(query_string: &'a str) -> Self {
        let mut given: Vec<(Cow<'a, str>, Given<'a>)> = Vec::new();
        for parameter in query_string.split('&').take(QUERY_PARAMETERS_MAX) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut name = percent_decoded(name);
            let bracket = name.find('[').filter(|&at| at > 0);
            if let Some(at) = bracket {
                name = name[..at].to_owned().into();
            }
            if name.is_empty() {
                continue;
            }
            match given.iter_mut().find(|(earlier, _)| *earlier == name) {
                Some((_, earlier)) => *earlier = Given::Other,
                None if bracket.is_some() => given.push((name, Given::Other)),
                None => given.push((name, Given::Text(percent_decoded(value)))),
            }
        }
        Self { given, problems: Vec::new() }
    }

    /// What was read, unless there were problems. `parsed` is `None` only when a field that is required made one.
    fn finish<T>(mut self, parsed: Option<T>) -> Result<T, Invalid> {
        self.problems.extend(self.given.iter().map(|(name, _)| format!("\"{name}\" is not allowed")));
        parsed.filter(|_| self.problems.is_empty()).ok_or(Invalid(self.problems))
    }

    fn code(&mut self) -> Option<Code> {
        let text = self.filled_text("shortUrl")?;
        self.noted(text.parse().map_err(|_| "Short URL format is invalid."))
    }

    fn target(&mut self, rules: &Rules<'_>) -> Option<Target> {
        let text = self.filled_text("longUrl")?;
        self.noted(Target::parse(&text, &rules.targets).map_err(target_message))
    }

    fn email(&mut self, rules: &Rules<'_>) -> Option<Email> {
        // Trimmed before it is looked at, so that white space alone is "empty".
        if let Some((_, Given::Text(text))) = self.given.iter_mut().find(|(name, _)| name == "email") {
            *text = text.trim().to_owned().into();
        }
        let text = self.filled_text("email")?;
        let email = text.parse().ok().filter(|email| rules.email_domains.matches(email));
        self.noted(email.ok_or("Invalid email provided. Email domain is not whitelisted."))
    }

    fn filled_text(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let text = self.text(name)?;
        if text.is_empty() {
            self.problem(name, "is not allowed to be empty");
        }
        Some(text).filter(|text| !text.is_empty())
    }

    fn text(&mut self, name: &str) -> Option<Cow<'a, str>> {
        match self.take(name)? {
            Given::Text(text) => Some(text),
            Given::Other => {
                self.problem(name, "must be a string");
                None
            }
        }
    }

    /// joi reports a value outside the list, and then goes on to say what else is wrong with it.
    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let given = self.take(name)?;
        let chosen = match &given {
            Given::Text(text) => choices.iter().find(|(choice, _)| text == choice).map(|&(_, value)| value),
            Given::Other => None,
        };
        if chosen.is_none() {
            let allowed: Vec<&str> = choices.iter().map(|&(choice, _)| choice).collect();
            self.problem(name, &format!("must be one of [{}]", allowed.join(", ")));
            match given {
                Given::Text(text) if text.is_empty() => self.problem(name, "is not allowed to be empty"),
                Given::Text(_) => {}
                Given::Other => self.problem(name, "must be a string"),
            }
        }
        chosen
    }

    fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Given::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Given::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Given::Text(_) | Given::Other => {
                self.problem(name, "must be a boolean");
                None
            }
        }
    }

    /// A whole number from 0 to `max`. Each rule that a number breaks is reported, unless it is too large for any.
    fn whole_number(&mut self, name: &str, max: Option<usize>) -> Option<usize> {
        let number = match self.take(name)? {
            Given::Text(text) => decimal(&text),
            Given::Other => None,
        };
        let Some(number) = number else {
            self.problem(name, "must be a number");
            return None;
        };
        if number.abs() > SAFE_NUMBER_MAX {
            self.problem(name, "must be a safe number");
            return None;
        }
        if number.fract() != 0.0 {
            self.problem(name, "must be an integer");
        }
        if number < 0.0 {
            self.problem(name, "must be larger than or equal to 0");
        }
        // Upwards, so that 1000.5 is more than 1000.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 2^53 - 1, else refused above"
        )]
        let whole = number.ceil() as usize;
        if let Some(max) = max.filter(|&max| whole > max) {
            self.problem(name, &format!("must be less than or equal to {max}"));
        }
        Some(whole)
    }

    fn require(&mut self, name: &str) {
        if !self.given.iter().any(|(given, _)| given == name) {
            self.problem(name, "is required");
        }
    }

    fn ignore(&mut self, name: &str) {
        let _ = self.take(name);
    }

    fn take(&mut self, name: &str) -> Option<Given<'a>> {
        let at = self.given.iter().position(|(given, _)| given == name)?;
        Some(self.given.remove(at).1)
    }

    fn problem(&mut self, name: &str, problem: &str) {
        self.problems.push(format!("\"{name}\" {problem}"));
    }

    /// The value, or its message noted as it stands: those of `GoGovSG`'s own rules don't name the field.
    fn noted<T>(&mut self, read: Result<T, &str>) -> Option<T> {
        read.map_err(|message| self.problems.push(message.to_owned())).ok()
    }
}

fn target_message(error: TargetError) -> &'static str {
    match error {
        TargetError::NotHttps => "Only HTTPS URLs are allowed.",
        TargetError::TooLong
        | TargetError::NeverWritten
        | TargetError::UserInfo
        | TargetError::IpAddress
        | TargetError::Malformed
        | TargetError::LookAlike
        | TargetError::PrivateName
        | TargetError::UnknownSuffix
        | TargetError::Port(_)
        | TargetError::StandIn => "Long URL format is invalid.",
        TargetError::Circular => "Circular redirects are not allowed.",
        // Hosts that an operator blocks are mostly of this kind.
        TargetError::Shortener | TargetError::Tracker | TargetError::Blocked => {
            "Creation of URLs to link shortener sites are not allowed."
        }
    }
}

/// `5`, `-1.5`, `.5`, `1e2`, with white space around; neither `0x10` nor `Infinity`.
fn decimal(text: &str) -> Option<f64> {
    // JavaScript's `\s` has U+FEFF (byte order mark).
    let trimmed = text.trim_matches(|character: char| character.is_whitespace() || character == '\u{feff}');
    let plain = trimmed.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    trimmed.parse().ok().filter(|_| plain)
}

/// `+` is a space. A text with a broken escape, or whose escapes aren't UTF-8, is left undecoded as a whole.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    if !spaced.contains('%') {
        return spaced;
    }
    let mut pieces = spaced.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let Some(byte) = piece.as_bytes().get(..2).and_then(hex_byte) else { return spaced };
        bytes.push(byte);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_or(spaced, Cow::Owned)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(value(digits[0])? * 16 + value(digits[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn domains() -> EmailDomains {
        EmailDomains::parse(&["*.gov.sg"]).expect("a glob")
    }

    fn read<T>(reader: fn(&Value, &Rules<'_>) -> Result<T, Invalid>, body: &Value) -> Result<T, String> {
        let targets = TargetRules { own_host: "go.example.gov.sg".to_owned(), ..TargetRules::default() };
        reader(body, &Rules { targets: Arc::new(targets), email_domains: &domains() })
            .map_err(|invalid| invalid.to_string())
    }

    fn target(text: &str) -> Target {
        Target::from_store(text.to_owned())
    }

    fn assert_problems<T: fmt::Debug>(read: Result<T, String>, problems: &str, input: &dyn fmt::Debug) {
        assert_eq!(read.expect_err(problems), format!("ValidationError: {problems}"), "{input:?}");
    }

    #[test]
    fn a_body_is_an_object_or_a_list_in_json() {
        let json_type = Some("application/json");
        for (content_type, bytes, body) in [
            (json_type, &br#" {"a":1} "#[..], json!({"a": 1})),
            (json_type, b"[1]", json!([1])),
            (json_type, b"", json!({})),
            (json_type, b"\xEF\xBB\xBF", json!({})),
            (json_type, b"\xEF\xBB\xBF{\"a\":1}", json!({"a": 1})),
            (json_type, br#"{"a":1,"a":2}"#, json!({"a": 2})),
            (Some("Application/JSON; charset=utf-8"), br#"{"a":1}"#, json!({"a": 1})),
            (Some("application/json ; x=y"), br#"{"a":1}"#, json!({"a": 1})),
            (Some("application/problem+json"), br#"{"a":1}"#, json!({})),
            (Some("text/plain; a=application/json"), b"{", json!({})),
            (Some("multipart/form-data; boundary=x"), b"--x", json!({})),
            (Some(""), b"{", json!({})),
            (None, br#"{"a":1}"#, json!({})),
        ] {
            assert_eq!(parse_body(content_type, bytes), Ok(body), "{content_type:?}");
        }
        for bytes in [
            &b" "[..],
            b"{",
            b"{}x",
            b"null",
            b"1",
            b"true",
            b"\"a\"",
            b"{'a':1}",
            b"{\"a\":\"\xFF\"}",
            b"\xEF\xBB\xBF ",
        ] {
            assert_eq!(parse_body(json_type, bytes), Err(BodyError::Malformed), "{bytes:?}");
        }
        let bottomless = "[".repeat(100_000);
        assert_eq!(parse_body(json_type, bottomless.as_bytes()), Err(BodyError::Malformed));
    }

    #[test]
    fn a_link_is_created_from_a_target_and_perhaps_a_code() {
        let body = json!({"longUrl": "https://Example.com"});
        assert_eq!(read(create, &body), Ok(Create { code: None, target: target("https://example.com/") }));
        let body = json!({"longUrl": "https://example.com", "shortUrl": "iras-tax", "userId": {"any": 1}});
        let code = "iras-tax".parse().ok();
        assert_eq!(read(create, &body), Ok(Create { code, target: target("https://example.com") }));
    }

    #[test]
    fn what_is_wrong_with_a_creation_is_said_in_gogovsgs_words() {
        const SHORT: &str = "Short URL format is invalid.";
        for (body, problems) in [
            (json!({}), r#""longUrl" is required"#),
            (json!([]), r#""value" must be of type object"#),
            (json!([{"longUrl": 1}]), r#""value" must be of type object"#),
            (json!({"longUrl": ""}), r#""longUrl" is not allowed to be empty"#),
            (json!({"longUrl": null}), r#""longUrl" must be a string"#),
            (json!({"longUrl": ["https://example.com"]}), r#""longUrl" must be a string"#),
            (json!({"longUrl": "this-is-an-invalid-url"}), "Only HTTPS URLs are allowed."),
            (json!({"longUrl": "HTTPS://example.com"}), "Only HTTPS URLs are allowed."),
            (json!({"longUrl": "https://localhost"}), "Long URL format is invalid."),
            (json!({"longUrl": "https://GO.example.gov.sg:8443/a"}), "Circular redirects are not allowed."),
            (json!({"longUrl": "https://Bit.ly/a"}), "Creation of URLs to link shortener sites are not allowed."),
            (json!({"longUrl": "https://example.com", "shortUrl": ""}), r#""shortUrl" is not allowed to be empty"#),
            (json!({"longUrl": "https://example.com", "shortUrl": null}), r#""shortUrl" must be a string"#),
            (json!({"longUrl": "https://example.com", "shortUrl": "A"}), SHORT),
            (json!({"longUrl": "https://example.com", "shortUrl": " "}), SHORT),
            (json!({"longUrl": "https://example.com", "shortUrl": "a".repeat(256)}), SHORT),
            (json!({"longUrl": "https://example.com", "state": "ACTIVE"}), r#""state" is not allowed"#),
            (
                json!({"z": 1, "longUrl": "https://example.com", "a\"b": 2, "": 3}),
                r#""z" is not allowed. "a"b" is not allowed. "" is not allowed"#,
            ),
            (
                json!({"shortUrl": "A b", "longUrl": "x", "foo": 1}),
                r#"Short URL format is invalid.. Only HTTPS URLs are allowed.. "foo" is not allowed"#,
            ),
            (
                json!({"foo": 1, "shortUrl": 2}),
                r#""shortUrl" must be a string. "longUrl" is required. "foo" is not allowed"#,
            ),
        ] {
            assert_problems(read(create, &body), problems, &body);
        }
    }

    #[test]
    fn an_admin_names_the_owner_in_any_case_with_spaces_around() {
        let body = json!({"longUrl": "https://example.com", "email": " Tan@X.GOV.sg\n"});
        let owner = "tan@x.gov.sg".parse().expect("an address");
        let created = AdminCreate { code: None, target: target("https://example.com"), owner };
        assert_eq!(read(admin_create, &body), Ok(created));
    }

    #[test]
    fn what_is_wrong_with_the_owner_is_said_in_gogovsgs_words() {
        const EMAIL: &str = "Invalid email provided. Email domain is not whitelisted.";
        for (email, problems) in [
            (json!(""), r#""email" is not allowed to be empty"#),
            (json!("  "), r#""email" is not allowed to be empty"#),
            (json!(1), r#""email" must be a string"#),
            (json!("a"), EMAIL),
            (json!("a@gov.sg"), EMAIL),
            (json!("a@evilgov.sg"), EMAIL),
            (json!(".a@x.gov.sg"), EMAIL),
        ] {
            let body = json!({"longUrl": "https://example.com", "email": email});
            assert_problems(read(admin_create, &body), problems, &body);
        }
        assert_problems(read(admin_create, &json!({})), r#""longUrl" is required. "email" is required"#, &"{}");
        let body = json!({"email": 1, "foo": 1, "longUrl": "x", "shortUrl": "_"});
        let problems = r#"Short URL format is invalid.. Only HTTPS URLs are allowed.. "email" must be a string. "foo" is not allowed"#;
        assert_problems(read(admin_create, &body), problems, &body);
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let nothing = Update { target: None, state: None };
        assert_eq!(read(update, &json!({})), Ok(nothing.clone()));
        assert_eq!(read(update, &json!({"shortUrl": "IGNORED", "userId": 1})), Ok(nothing.clone()));
        let off = Update { state: Some(LinkState::Inactive), ..nothing.clone() };
        assert_eq!(read(update, &json!({"state": "INACTIVE"})), Ok(off));
        let moved = Update { target: Some(target("https://example.com")), state: Some(LinkState::Active) };
        assert_eq!(read(update, &json!({"state": "ACTIVE", "longUrl": "https://example.com"})), Ok(moved));
    }

    #[test]
    fn what_is_wrong_with_an_update_is_said_in_gogovsgs_words() {
        const STATE: &str = r#""state" must be one of [ACTIVE, INACTIVE]"#;
        for (body, problems) in [
            (json!({"state": "active"}), STATE.to_owned()),
            (json!({"state": ""}), format!(r#"{STATE}. "state" is not allowed to be empty"#)),
            (json!({"state": null}), format!(r#"{STATE}. "state" must be a string"#)),
            (
                json!({"state": true, "longUrl": ""}),
                format!(r#""longUrl" is not allowed to be empty. {STATE}. "state" must be a string"#),
            ),
            (json!({"email": "a@x.gov.sg"}), r#""email" is not allowed"#.to_owned()),
            (json!([]), r#""value" must be of type object"#.to_owned()),
        ] {
            assert_problems(read(update, &body), &problems, &body);
        }
    }

    fn everything() -> ListQuery {
        ListQuery {
            limit: 1000,
            offset: 0,
            order_by: OrderBy::CreatedAt,
            descending: true,
            search_text: String::new(),
            state: None,
            is_file: None,
        }
    }

    #[test]
    fn a_list_that_says_nothing_is_all_of_it() {
        for query in
            ["", "&&", "=5", "searchText", "searchText=", "limit=1000&offset=0&orderBy=createdAt&sortDirection=desc"]
        {
            assert_eq!(list(query), Ok(everything()), "{query}");
        }
    }

    #[test]
    fn a_list_is_narrowed_by_each_parameter() {
        let query = "limit=0&offset=9007199254740991&orderBy=clicks&sortDirection=asc&searchText=IRAS+%26%C3%89%25_&state=INACTIVE&isFile=TRUE";
        let narrowed = ListQuery {
            limit: 0,
            offset: 9_007_199_254_740_991,
            order_by: OrderBy::Clicks,
            descending: false,
            search_text: "iras &é%_".to_owned(),
            state: Some(LinkState::Inactive),
            is_file: Some(true),
        };
        assert_eq!(list(query), Ok(narrowed));
    }

    #[test]
    fn numbers_are_read_as_joi_reads_them() {
        for (text, limit) in [
            ("5", 5),
            ("+5", 5),
            ("%2B5", 5),
            ("%205%20", 5),
            ("007", 7),
            ("-0", 0),
            ("10.0", 10),
            ("1e2", 100),
            ("1E%2B2", 100),
            ("100e-2", 1),
            ("5%EF%BB%BF", 5),
        ] {
            assert_eq!(list(&format!("limit={text}")), Ok(ListQuery { limit, ..everything() }), "{text}");
        }
    }

    #[test]
    fn texts_that_cannot_be_decoded_are_searched_as_they_stand() {
        for (text, search_text) in
            [("%ff+A", "%ff a"), ("%41%", "%41%"), ("%zz", "%zz"), ("%4", "%4"), ("a=b", "a=b"), ("%00", "\0")]
        {
            assert_eq!(list(&format!("searchText={text}")).expect(text).search_text, search_text);
        }
    }

    /// What @hapi/joi 17.1.1 said behind qs 6.17, in November 2026.
    #[test]
    fn what_is_wrong_with_a_list_query_is_said_in_jois_words() {
        const ORDER: &str = r#""orderBy" must be one of [createdAt, clicks]"#;
        for (query, problems) in [
            ("limit=", r#""limit" must be a number"#),
            ("limit", r#""limit" must be a number"#),
            ("limit=0x10", r#""limit" must be a number"#),
            ("limit=NaN", r#""limit" must be a number"#),
            ("limit=Infinity", r#""limit" must be a number"#),
            ("limit=1_0", r#""limit" must be a number"#),
            ("limit=5&limit=5", r#""limit" must be a number"#),
            ("limit[]=5", r#""limit" must be a number"#),
            ("limit%5Ba%5D=5", r#""limit" must be a number"#),
            ("limit=.5", r#""limit" must be an integer"#),
            ("limit=1001", r#""limit" must be less than or equal to 1000"#),
            ("limit=1000.5", r#""limit" must be an integer. "limit" must be less than or equal to 1000"#),
            ("limit=-1", r#""limit" must be larger than or equal to 0"#),
            ("limit=-1.5", r#""limit" must be an integer. "limit" must be larger than or equal to 0"#),
            ("limit=1e400", r#""limit" must be a safe number"#),
            ("limit=-9007199254740993", r#""limit" must be a safe number"#),
            ("offset=9007199254740992", r#""offset" must be a safe number"#),
            ("offset=-1", r#""offset" must be larger than or equal to 0"#),
            ("orderBy=Clicks", ORDER),
            ("orderBy=", &format!(r#"{ORDER}. "orderBy" is not allowed to be empty"#)),
            ("orderBy=clicks&orderBy=clicks", &format!(r#"{ORDER}. "orderBy" must be a string"#)),
            ("sortDirection=ASC", r#""sortDirection" must be one of [desc, asc]"#),
            ("searchText=a&searchText=b", r#""searchText" must be a string"#),
            ("state=active", r#""state" must be one of [ACTIVE, INACTIVE]"#),
            ("isFile=", r#""isFile" must be a boolean"#),
            ("isFile=1", r#""isFile" must be a boolean"#),
            ("isFile=%20true", r#""isFile" must be a boolean"#),
            ("tags=a&tags=b&b%20c", r#""tags" is not allowed. "b c" is not allowed"#),
            ("limit+=7", r#""limit " is not allowed"#),
            (
                "x=1&isFile=q&state=q&searchText[]=q&sortDirection=q&orderBy=q&offset=q&limit=q&userId=1",
                &[
                    r#""limit" must be a number"#,
                    r#""offset" must be a number"#,
                    ORDER,
                    r#""sortDirection" must be one of [desc, asc]"#,
                    r#""searchText" must be a string"#,
                    r#""state" must be one of [ACTIVE, INACTIVE]"#,
                    r#""isFile" must be a boolean"#,
                    r#""x" is not allowed"#,
                    r#""userId" is not allowed"#,
                ]
                .join(". "),
            ),
        ] {
            assert_problems(list(query).map_err(|invalid| invalid.to_string()), problems, &query);
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes in any::<Vec<u8>>(), name in "shortUrl|longUrl|email|state|\\PC{0,9}", value in "\\PC{0,20}") {
            let _ = parse_body(Some("application/json"), &bytes);
            let body = json!({name: value});
            let _ = (read(create, &body), read(admin_create, &body), read(update, &body));
        }

        #[test]
        fn a_list_query_is_within_its_limits_or_says_why(query in "((limit|offset|searchText|isFile|\\PC{0,4})[=&\\[]?[0-9.eE+%-]{0,9}&?){0,4}|\\PC{0,40}") {
            match list(&query) {
                Ok(list) => prop_assert!(list.limit <= LIST_LIMIT_MAX),
                Err(invalid) => prop_assert!(!invalid.0.is_empty()),
            }
        }

        #[test]
        fn what_is_searched_is_what_was_encoded(text in "[a-z0-9é例 +%&=?#]{0,20}") {
            let encoded: String = text.bytes().flat_map(|byte| format!("%{byte:02x}").into_bytes()).map(char::from).collect();
            prop_assert_eq!(list(&format!("searchText={encoded}")).map(|list| list.search_text), Ok(text));
        }
    }
}
