//! A link as v2 shows and takes it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    fields::{Fields, Patch},
    kind::Kind,
    problem::Problem,
    texts::{CodeText, DescriptionText, EmailText, TagText, TargetText},
};
use crate::{
    domain::{
        Code, Description, Email, Link, LinkState, Source, Tag, Tags, Target,
        link::{TAGS_MAX, TooManyTags},
    },
    links::Wish,
    state::App,
    store::{Change, ListedLink, Reach},
};

/// A link and how often it was followed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Link)]
pub struct LinkBody {
    #[serde(flatten)]
    pub link: LinkFields,
    /// Clicks of people so far; bots and prefetches apart.
    #[schema(example = 1042)]
    pub clicks: u64,
}

/// A link.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkFields {
    #[schema(value_type = CodeText)]
    pub code: String,
    #[schema(example = "https://go.example/iras-tax")]
    pub short_url: String,
    #[schema(example = "https://www.iras.gov.sg/taxes")]
    pub target_url: String,
    pub state: State,
    #[schema(example = "amy@iras.gov.sg")]
    pub owner: String,
    /// Citizens read it when the link is switched off.
    #[schema(example = "Income tax for individuals", max_length = 200)]
    pub description: String,
    /// Whom to ask about the link, when that isn't the owner.
    #[schema(example = json!(null), required = true)]
    pub contact_email: Option<String>,
    #[schema(example = json!(["tax"]), max_items = 10)]
    pub tags: Vec<String>,
    #[schema(example = "api")]
    pub source: &'static str,
    /// Whether the query of a visit is appended to the target's.
    pub forward_query: bool,
    /// From then on the link answers 410. Its state stays.
    #[schema(format = DateTime, value_type = Option<String>, example = json!(null), required = true)]
    pub expires_at: Option<String>,
    /// There, and true, when `expires_at` has passed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    #[schema(format = DateTime, value_type = String, example = "2026-01-31T23:59:59.123Z")]
    pub created_at: String,
    #[schema(format = DateTime, value_type = String, example = "2026-01-31T23:59:59.123Z")]
    pub updated_at: String,
    /// 1 at creation, one more with each change; the `ETag` is this number in quotes.
    #[schema(example = 3)]
    pub version: u64,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Active,
    Inactive,
}

/// What a link is made of.
#[derive(Debug, ToSchema)]
#[schema(as = NewLink, example = json!({"target_url": "https://www.iras.gov.sg/taxes", "code": "iras-tax", "tags": ["tax"]}))]
#[expect(dead_code, reason = "read by `read_wish`, which finds every mistake; here it is described")]
pub struct NewLinkBody {
    #[schema(value_type = TargetText)]
    target_url: String,
    /// Left out: eight random letters and digits.
    #[schema(value_type = Option<CodeText>)]
    code: Option<String>,
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<String>,
    /// An officer's address.
    #[schema(value_type = Option<EmailText>)]
    contact_email: Option<String>,
    #[schema(value_type = Option<Vec<TagText>>, max_items = 10)]
    tags: Option<Vec<String>>,
    forward_query: Option<bool>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Whose link it is to be, when not that of who asks. Only with the scope `admin`.
    #[schema(value_type = Option<EmailText>)]
    owner: Option<String>,
}

/// What is to be different (RFC 7396): what isn't named stays, `null` empties.
#[derive(Debug, ToSchema)]
#[schema(as = LinkPatch, example = json!({"state": "inactive", "expires_at": null}))]
#[expect(dead_code, reason = "read by `read_change`, which finds every mistake; here it is described")]
pub struct LinkPatchBody {
    #[schema(value_type = TargetText, required = false)]
    target_url: Option<String>,
    #[schema(value_type = State, required = false)]
    state: Option<State>,
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<String>,
    /// An officer's address, or the one that the link has.
    #[schema(value_type = Option<EmailText>)]
    contact_email: Option<String>,
    #[schema(value_type = Option<Vec<TagText>>, max_items = 10)]
    tags: Option<Vec<String>>,
    forward_query: Option<bool>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// What one must know of this installation, and of who asks, to read a link.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub app: &'a App,
    pub asker: &'a Email,
    pub reach: &'a Reach,
    pub source: Source,
}

/// Reads a creation; finds every mistake.
///
/// # Errors
///
/// All of them.
pub fn read_wish(body: Value, rules: &Rules<'_>) -> Result<Wish, Problem> {
    let mut fields = Fields::new(body)?;
    let target = fields.required("target_url", |text| parse_target(text, rules.app));
    let code = fields.text("code", str::parse::<Code>).given();
    let description = fields.text("description", str::parse::<Description>).given().unwrap_or_default();
    let contact_email = fields.text("contact_email", |text| parse_contact(text, rules.app, None)).given();
    let tags = read_tags(&mut fields).given().unwrap_or_default();
    let forward_query = fields.flag("forward_query").given().unwrap_or(false);
    let expires_at = fields.text("expires_at", parse_time).given();
    let owner = fields.text("owner", |text| parse_owner(text, rules.app)).given();
    let may_own = owner.as_ref().is_none_or(|owner| owner == rules.asker) || *rules.reach == Reach::Everybodys;
    let wish = target.map(|target| Wish {
        code,
        target,
        owner: owner.unwrap_or_else(|| rules.asker.clone()),
        description,
        contact_email,
        tags,
        forward_query,
        expires_at,
        state: LinkState::Active,
        source: rules.source,
    });
    let wish = fields.finish(wish)?;
    if may_own {
        Ok(wish)
    } else {
        Err(Problem::new(Kind::Forbidden, "only an administrator's key with the scope admin may name another owner"))
    }
}

/// Reads a change of `link`; finds every mistake.
///
/// # Errors
///
/// All of them.
pub fn read_change(body: Value, app: &App, link: &Link) -> Result<Change, Problem> {
    let mut fields = Fields::new(body)?;
    let target = fields.text("target_url", |text| parse_target(text, app));
    if target == Patch::Reset {
        fields.mistake("target_url", "can't be emptied");
    }
    let state = fields.text("state", parse_state);
    if state == Patch::Reset {
        fields.mistake("state", "must be active or inactive, not null");
    }
    let change = Change {
        target: target.given(),
        owner: None,
        state: state.given(),
        description: fields.text("description", str::parse::<Description>).change(Description::default()),
        contact_email: fields
            .text("contact_email", |text| parse_contact(text, app, link.contact_email.as_ref()))
            .nullable(),
        tags: read_tags(&mut fields).change(Tags::default()),
        forward_query: fields.flag("forward_query").change(false),
        expires_at: fields.text("expires_at", parse_time).nullable(),
    };
    for (name, why) in [("owner", "is changed by POST …/transfer"), ("code", "can't be changed: it may be printed")] {
        if fields.text(name, |_| Ok::<_, String>(())) != Patch::Keep {
            fields.mistake(name, why);
        }
    }
    fields.finish(Some(change))
}

fn read_tags(fields: &mut Fields) -> Patch<Tags> {
    match fields.texts("tags", str::parse::<Tag>) {
        Patch::Keep => Patch::Keep,
        Patch::Reset => Patch::Reset,
        // Counted as they came: how long a list may be is no question of what is in it twice.
        Patch::Set(tags) => match (tags.len() <= TAGS_MAX).then(|| Tags::new(tags)) {
            Some(Ok(tags)) => Patch::Set(tags),
            Some(Err(_)) | None => {
                fields.mistake("tags", TooManyTags);
                Patch::Keep
            }
        },
    }
}

pub fn parse_target(text: &str, app: &App) -> Result<Target, String> {
    Target::parse(text, &app.targets.rules()).map_err(|error| error.to_string())
}

/// An address of somebody who may own links.
pub fn parse_owner(text: &str, app: &App) -> Result<Email, String> {
    let email: Email = text.parse().map_err(|error: crate::domain::email::InvalidEmail| error.to_string())?;
    if app.config.officers.email_domains.matches(&email) {
        Ok(email)
    } else {
        Err("links are owned by officers only, whose addresses officers.email_domains names".to_owned())
    }
}

/// An address that citizens are told to ask. `current` is the link's: contacts from before they had to be officers' may stay.
fn parse_contact(text: &str, app: &App, current: Option<&Email>) -> Result<Email, String> {
    let email: Email = text.parse().map_err(|error: crate::domain::email::InvalidEmail| error.to_string())?;
    if Some(&email) == current || app.config.officers.email_domains.matches(&email) {
        Ok(email)
    } else {
        Err("citizens are told to ask it, so it must be an officer's address, which officers.email_domains names"
            .to_owned())
    }
}

pub fn parse_state(text: &str) -> Result<LinkState, String> {
    let found = LinkState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| "must be active or inactive".to_owned())
}

/// RFC 3339, with an offset: `2026-01-31T23:59:59Z`. Jiff knows no later than 9999-12-30T22:00:00Z, and people mean "never" by 9999-12-31.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "must be a time before 9999-12-30, as 2026-01-31T23:59:59Z (RFC 3339)".to_owned())
}

/// The same where a plus sign means a space and few write it as `%2B`: `2026-01-31T23:59:59+08:00`.
pub fn parse_time_in_query(text: &str) -> Result<Timestamp, String> {
    match text.rsplit_once(' ') {
        Some((time, offset)) if time.contains(':') => parse_time(&format!("{time}+{offset}")),
        _ => parse_time(text),
    }
}

/// RFC 3339 in UTC, with milliseconds.
pub fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

impl LinkFields {
    pub fn new(link: &Link, app: &App) -> Self {
        Self {
            code: link.code.to_string(),
            short_url: app.short_url(link.code.as_str()),
            target_url: link.target.to_string(),
            state: match link.state {
                LinkState::Active => State::Active,
                LinkState::Inactive => State::Inactive,
            },
            owner: link.owner.to_string(),
            description: link.description.as_str().to_owned(),
            contact_email: link.contact_email.as_ref().map(Email::to_string),
            tags: link.tags.iter().map(Tag::to_string).collect(),
            source: link.source.as_str(),
            forward_query: link.forward_query,
            expires_at: link.expires_at.map(time),
            expired: link.is_expired(Timestamp::now()),
            created_at: time(link.created_at),
            updated_at: time(link.updated_at),
            version: link.version,
        }
    }
}

impl LinkBody {
    pub fn new(listed: &ListedLink, app: &App) -> Self {
        Self { link: LinkFields::new(&listed.link, app), clicks: listed.clicks }
    }

    /// A link that was just created.
    pub fn created(link: &Link, app: &App) -> Self {
        Self { link: LinkFields::new(link, app), clicks: 0 }
    }
}

/// Reads a code in a path: what is no code is nobody's link.
pub fn code_in_path(text: &str) -> Result<Code, Problem> {
    text.parse().map_err(|_| no_such_link(text))
}

pub fn no_such_link(code: &str) -> Problem {
    Problem::not_found(format!("there is no link {code} that you may see"))
}

/// The `ETag` of a version.
pub fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The versions of which `If-Match` headers allow one (RFC 9110 §13.1.1). `None`: any. Tags that aren't ours, and weak ones, match nothing.
pub fn expected_versions<'h>(if_match: impl Iterator<Item = &'h str>) -> Option<Vec<u64>> {
    let tags: Vec<&str> = if_match.flat_map(|tags| tags.split(',')).map(str::trim).collect();
    let version = |tag: &&str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    (!matches!(tags[..], [] | ["*"])).then(|| tags.iter().filter_map(version).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_names_versions_or_any() {
        for (if_match, versions) in [
            (&[][..], None),
            (&["*"], None),
            (&[" \"3\" "], Some(vec![3])),
            (&["\"1\",\"3\"", "\"7\""], Some(vec![1, 3, 7])),
            (&["\"1\", *"], Some(vec![1])),
            (&["3", "W/\"3\"", "\"a\"", "", "\""], Some(vec![])),
        ] {
            assert_eq!(expected_versions(if_match.iter().copied()), versions, "{if_match:?}");
        }
    }
}
