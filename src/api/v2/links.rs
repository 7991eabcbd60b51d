//! Links: create, list, read, change, transfer, and what they were.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{ETAG, IF_MATCH, LINK, LOCATION},
    },
    web::Path,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::Value;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::{
    call::{Call, json},
    fields::{Fields, Parameters, choice, number},
    idempotency::Replay,
    kind::Kind,
    link::{
        LinkBody, LinkFields, LinkPatchBody, NewLinkBody, Rules, code_in_path, etag, expected_versions, no_such_link,
        parse_owner, parse_state, parse_time_in_query, read_change, read_wish, time,
    },
    problem::{Problem, ProblemBody},
    texts::{EmailText, TagText},
};
use crate::{
    auth::{LinksRead, LinksWrite},
    domain::{Code, Email, Source, Tag},
    links::{self, Transfer},
    store::{Actor, BrowseQuery, Changed, Filter, ListedLink, Place, Reach, Revision, Search, Sort},
};

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 100;

/// Characters of a search text.
const SEARCH_CHARS_MAX: usize = 200;

const SORTS: [(&str, Sort); 5] = [
    ("-created_at", Sort::NewestFirst),
    ("created_at", Sort::OldestFirst),
    ("-clicks", Sort::MostClicks),
    ("clicks", Sort::FewestClicks),
    ("code", Sort::Code),
];

/// One page of links.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkPage)]
pub struct PageBody {
    pub items: Vec<LinkBody>,
    /// What to send as `cursor` for the next page; null when there is none. A page of a search may be short, even empty, and yet have a next.
    #[schema(example = json!(null), required = true)]
    pub next_cursor: Option<String>,
}

/// Create a link.
#[utoipa::path(
    post, path = "/links", tag = "links", request_body = NewLinkBody, security(("key" = ["links:write"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text of 1 to 255 characters. The same key with the same body replays the first answer, for 24 hours.", max_length = 255, pattern = "^[!-~]([ -~]{0,253}[!-~])?$")),
    responses(
        (status = 201, description = "Created", body = LinkBody, headers(("Location" = String), ("ETag" = String))),
        (status = 409, description = "The code is taken, or the first request with this Idempotency-Key is still running", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn create(mut call: Call<LinksWrite>) -> Result<HttpResponse, Problem> {
    let (body, bytes) = call.json().await?;
    let replay = Replay::begin(&call, &bytes).await?;
    replay
        .answer(&call, async |attempt| {
            let officer = call.officer();
            let rules = Rules { app: &call.app, asker: &officer.email, reach: &officer.reach(), source: Source::Api };
            let wish = read_wish(body, &rules)?;
            let link = links::create(&call.app, wish, attempt, &officer.actor()).await?;
            let mut response = json(StatusCode::CREATED, &LinkBody::created(&link, &call.app));
            let headers = response.headers_mut();
            let location = format!("{}/api/v2/links/{}", call.app.config.public.base_url.as_str(), link.code);
            headers.insert(LOCATION, location.parse().expect("an address is a header"));
            headers.insert(ETAG, etag(link.version).parse().expect("a quoted number is a header"));
            Ok(response)
        })
        .await
}

/// List links.
///
/// Your own, or, with the scope `admin`, those of `owner`. The page's cost doesn't grow with their number, but for `q`, `state` and a second
/// `tag`: those look through links for 130 ms at most, and answer what they found and where to go on.
#[utoipa::path(
    get, path = "/links", tag = "links", security(("key" = ["links:read"])),
    params(
        ("q" = Option<String>, Query, description = "Part of the code, the target or the description, in any case", max_length = 200),
        ("state" = Option<super::link::State>, Query, description = "Only these"),
        ("tag" = Option<Vec<TagText>>, Query, description = "Only links with this tag, in any case; repeated: with all of them", max_items = 10),
        ("owner" = Option<EmailText>, Query, description = "Whose links; only with the scope admin"),
        ("sort" = Option<String>, Query, description = "-created_at (the default), created_at, -clicks, clicks or code", pattern = "^-?created_at$|^-?clicks$|^code$"),
        ("limit" = Option<usize>, Query, description = "Links on a page, 50 when it isn't said", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before; the other parameters stay as they were"),
    ),
    responses((status = 200, description = "A page", body = PageBody, headers(("Link" = String, description = "rel=\"next\", when there is a next page"))))
)]
pub async fn list(call: Call<LinksRead>) -> Result<HttpResponse, Problem> {
    let query_string = call.request.query_string();
    let (owner, query) = read_list(query_string, &call)?;
    let browsed = links::browse(&call.app, &owner, &query).await?;
    let next_cursor = browsed.next.map(|place| encode_cursor(query.sort, &place));
    let items = browsed.links.iter().map(|listed| LinkBody::new(listed, &call.app)).collect();
    let mut response = json(StatusCode::OK, &PageBody { items, next_cursor: next_cursor.clone() });
    if let Some(cursor) = next_cursor {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        parameters.extend_pairs(form_urlencoded::parse(query_string.as_bytes()).filter(|(name, _)| name != "cursor"));
        let next = parameters.append_pair("cursor", &cursor).finish();
        let link = format!("<{}/api/v2/links?{next}>; rel=\"next\"", call.app.config.public.base_url.as_str());
        response.headers_mut().insert(LINK, link.parse().expect("an encoded address is a header"));
    }
    Ok(response)
}

/// Read a link.
#[utoipa::path(
    get, path = "/links/{code}", tag = "links", security(("key" = ["links:read"])),
    params(("code" = String, Path, description = "The link's code")),
    responses((status = 200, description = "The link", body = LinkBody, headers(("ETag" = String))))
)]
pub async fn read(call: Call<LinksRead>, code: Path<String>) -> Result<HttpResponse, Problem> {
    let listed = find(&call, &code).await?;
    Ok(with_etag(&call, &listed))
}

/// Change a link.
///
/// With `If-Match` only if nobody else has changed it since: that way no edit is lost.
#[utoipa::path(
    patch, path = "/links/{code}", tag = "links", security(("key" = ["links:write"])),
    params(
        ("code" = String, Path, description = "The link's code"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the link had when you read it"),
    ),
    request_body(content((LinkPatchBody = "application/merge-patch+json"), (LinkPatchBody = "application/json"))),
    responses(
        (status = 200, description = "The link as it is now", body = LinkBody, headers(("ETag" = String))),
        (status = 412, description = "It has changed meanwhile", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn change(mut call: Call<LinksWrite>, code: Path<String>) -> Result<HttpResponse, Problem> {
    let code = code_in_path(&code)?;
    let (body, _) = call.json().await?;
    let expected = expected_versions(call.headers(IF_MATCH));
    let officer = call.officer();
    // What isn't theirs to see is not found, whatever they want of it.
    let now = find(&call, code.as_str()).await?;
    let change = read_change(body, &call.app, &now.link)?;
    let changed =
        links::change(&call.app, &code, &officer.reach(), &change, expected.as_deref(), &officer.actor()).await?;
    match changed {
        Changed::Yes(listed) => Ok(with_etag(&call, &listed)),
        Changed::NotFound => Err(no_such_link(code.as_str())),
        Changed::Stale(now) => Err(stale(&now)),
    }
}

/// Who is to have a link.
#[derive(Debug, ToSchema)]
#[schema(as = Transfer, example = json!({"owner": "ben@iras.gov.sg"}))]
#[expect(dead_code, reason = "read by `transfer`, which finds every mistake; here it is described")]
pub struct TransferBody {
    #[schema(value_type = EmailText)]
    owner: String,
}

/// Give a link to another officer.
///
/// To one whom the service knows: who has logged in, has a key or owns links.
#[utoipa::path(
    post, path = "/links/{code}/transfer", tag = "links", request_body = TransferBody, security(("key" = ["links:write"])),
    params(
        ("code" = String, Path, description = "The link's code"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the link had when you read it"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for creating a link", max_length = 255, pattern = "^[!-~]([ -~]{0,253}[!-~])?$"),
    ),
    responses(
        (status = 200, description = "The link as it is now", body = LinkBody, headers(("ETag" = String))),
        (status = 409, description = "The first request with this Idempotency-Key is still running", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "It has changed meanwhile", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn transfer(mut call: Call<LinksWrite>, code: Path<String>) -> Result<HttpResponse, Problem> {
    let code = code_in_path(&code)?;
    let (body, bytes) = call.json().await?;
    let replay = Replay::begin(&call, &bytes).await?;
    replay
        .answer(&call, async |attempt| {
            let officer = call.officer();
            let mut fields = Fields::new(body)?;
            let owner = fields.required("owner", |text| parse_owner(text, &call.app));
            let to = fields.finish(owner)?;
            let transfer =
                Transfer { code: code.clone(), to, expected_versions: expected_versions(call.headers(IF_MATCH)) };
            match links::transfer(&call.app, &transfer, &officer.reach(), attempt, &officer.actor()).await? {
                Changed::Yes(listed) => Ok(with_etag(&call, &listed)),
                Changed::NotFound => Err(no_such_link(code.as_str())),
                Changed::Stale(now) => Err(stale(&now)),
            }
        })
        .await
}

/// One change of a link.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HistoryEntry)]
pub struct HistoryEntry {
    /// The link's version after the change; 1 is its creation.
    #[schema(example = 2)]
    pub version: u64,
    #[schema(format = DateTime, value_type = String, example = "2026-01-31T23:59:59.123Z")]
    pub at: String,
    pub by: ActorBody,
    pub changes: Vec<FieldChange>,
}

/// Who made a change: a key by its id, or an officer in the console.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Actor)]
pub struct ActorBody {
    /// `key`, `session`, `operator` or `unknown`.
    #[schema(example = "key")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "wc9kqglk7rpa")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub officer: Option<String>,
}

/// What one field was and became.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FieldChange)]
pub struct FieldChange {
    #[schema(example = "target_url")]
    pub field: String,
    pub from: Value,
    pub to: Value,
}

/// A link's past, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub struct HistoryBody {
    pub items: Vec<HistoryEntry>,
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// A link as it was.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkThen)]
pub struct ThenBody {
    pub link: LinkFields,
    pub by: ActorBody,
}

/// What is answered about a link's past.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Past)]
#[serde(untagged)]
pub enum PastBody {
    Changes(HistoryBody),
    Then(Box<ThenBody>),
}

/// Read a link's history.
///
/// Every change, newest first: when, by whom, what from, what to. With `at`, what the link was then.
#[utoipa::path(
    get, path = "/links/{code}/history", operation_id = "read_link_history", tag = "links", security(("key" = ["links:read"])),
    params(
        ("code" = String, Path, description = "The link's code"),
        ("at" = Option<String>, Query, format = DateTime, description = "A time (RFC 3339): answers what the link was then, instead of the list"),
        ("limit" = Option<usize>, Query, description = "Changes on a page, 50 when it isn't said", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
    ),
    responses((status = 200, description = "The changes, or with `at` the link as it was", body = PastBody))
)]
pub async fn history(call: Call<LinksRead>, code: Path<String>) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::of(call.request.query_string());
    let at = parameters.one("at", parse_time_in_query);
    let limit = parameters.one("limit", number(1, PAGE_MAX));
    let upto = parameters.one("cursor", |text| text.parse::<u64>().map_err(|_| "is no cursor of this list"));
    if at.is_some() && (limit.is_some() || upto.is_some()) {
        parameters.mistake("at", "can't go with limit or cursor");
    }
    let (at, limit, upto) = parameters.finish((at, limit.unwrap_or(PAGE_DEFAULT), upto))?;
    let code = find(&call, &code).await?.link.code;
    let Some(at) = at else { return history_page(&call, &code, upto, limit).await };
    let then = call.app.store.link_at(&code, at).await?;
    let then = then.ok_or_else(|| Problem::not_found(format!("the link {code} wasn't there yet")))?;
    let body = ThenBody { link: LinkFields::new(&then.link, &call.app), by: ActorBody::from(&then.by) };
    Ok(json(StatusCode::OK, &PastBody::Then(Box::new(body))))
}

async fn history_page(
    call: &Call<LinksRead>,
    code: &Code,
    upto: Option<u64>,
    limit: usize,
) -> Result<HttpResponse, Problem> {
    // One more than the page holds: what the last one on it was made of.
    let revisions = call.app.store.link_history(code, upto, limit + 1).await?.unwrap_or_default();
    let entry = |(index, revision): (usize, &Revision)| HistoryEntry {
        version: revision.link.version,
        at: time(revision.link.updated_at),
        by: ActorBody::from(&revision.by),
        changes: changes(call, revisions.get(index + 1), revision),
    };
    let items = revisions.iter().take(limit).enumerate().map(entry).collect();
    let next_cursor = revisions.get(limit).map(|revision| revision.link.version.to_string());
    Ok(json(StatusCode::OK, &PastBody::Changes(HistoryBody { items, next_cursor })))
}

/// What differs between two revisions, as the API shows it; from nothing when there was none before.
fn changes(call: &Call<LinksRead>, before: Option<&Revision>, after: &Revision) -> Vec<FieldChange> {
    const SHOWN: [&str; 8] =
        ["target_url", "state", "owner", "description", "contact_email", "tags", "forward_query", "expires_at"];
    let fields = |revision: &Revision| {
        serde_json::to_value(LinkFields::new(&revision.link, &call.app)).expect("a link is made of text and numbers")
    };
    let (from, to) = (before.map(fields), fields(after));
    let change = |field: &str| {
        let (from, to) = (from.as_ref().map_or(Value::Null, |from| from[field].clone()), to[field].clone());
        (from != to).then(|| FieldChange { field: field.to_owned(), from, to })
    };
    SHOWN.into_iter().filter_map(change).collect()
}

impl From<&Actor> for ActorBody {
    fn from(actor: &Actor) -> Self {
        let body = |kind, key, officer| Self { kind, key, officer };
        match actor {
            Actor::ApiKey(id) => body("key", Some(id.clone()), None),
            Actor::Session(email) => body("session", None, Some(email.to_string())),
            Actor::Operator => body("operator", None, None),
            Actor::Unknown => body("unknown", None, None),
        }
    }
}

/// The link of a path, if the caller may see it.
pub async fn find<P>(call: &Call<P>, code: &str) -> Result<ListedLink, Problem> {
    let parsed = code_in_path(code)?;
    let found = call.app.store.find_link(&parsed).await?;
    found.filter(|listed| call.officer().reach().includes(&listed.link)).ok_or_else(|| no_such_link(code))
}

fn with_etag<P>(call: &Call<P>, listed: &ListedLink) -> HttpResponse {
    let mut response = json(StatusCode::OK, &LinkBody::new(listed, &call.app));
    response.headers_mut().insert(ETAG, etag(listed.link.version).parse().expect("a quoted number is a header"));
    response
}

fn stale(now: &ListedLink) -> Problem {
    Problem::new(Kind::Stale, format!("the link's ETag is {} now", etag(now.link.version)))
}

fn read_list(query: &str, call: &Call<LinksRead>) -> Result<(Email, BrowseQuery), Problem> {
    let mut parameters = Parameters::of(query);
    let officer = call.officer();
    let search = parameters.one("q", |text| {
        let fits = text.chars().count() <= SEARCH_CHARS_MAX;
        if fits { Ok(Search::new(text, true)) } else { Err(format!("has at most {SEARCH_CHARS_MAX} characters")) }
    });
    let state = parameters.one("state", parse_state);
    let tags = parameters.many("tag", str::parse::<Tag>);
    if tags.len() > crate::domain::link::TAGS_MAX {
        parameters.mistake("tag", "a link has at most ten");
    }
    let owner = parameters.one("owner", str::parse::<Email>).unwrap_or_else(|| officer.email.clone());
    let sort = parameters.one("sort", choice(&SORTS)).unwrap_or(Sort::NewestFirst);
    let limit = parameters.one("limit", number(1, PAGE_MAX)).unwrap_or(PAGE_DEFAULT);
    let after = parameters.one("cursor", |text| {
        decode_cursor(sort, text).ok_or("is no cursor of this list: send the other parameters as before")
    });
    let filter = Filter { search: search.flatten(), state, tags };
    let query = parameters.finish(BrowseQuery { limit, sort, after, filter })?;
    if owner == officer.email || officer.reach() == Reach::Everybodys {
        Ok((owner, query))
    } else {
        let detail = "only an administrator's key with the scope admin may list the links of others";
        Err(Problem::new(Kind::Forbidden, detail))
    }
}

/// A place in a list sorted so. Opaque to programs, so that it can become another.
fn encode_cursor(sort: Sort, place: &Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {} {}", word(sort), place.rank, place.code))
}

fn decode_cursor(sort: Sort, cursor: &str) -> Option<Place> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let mut parts = text.split(' ');
    let (of, rank, code) = (parts.next()?, parts.next()?, parts.next()?);
    if of != word(sort) || parts.next().is_some() {
        return None;
    }
    Some(Place { rank: rank.parse().ok()?, code: code.parse().ok()? })
}

fn word(sort: Sort) -> &'static str {
    SORTS.iter().find(|(_, other)| *other == sort).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_of_one_list() {
        let place = Place { rank: -5, code: "a-b".parse().expect("a code") };
        for (_, sort) in SORTS {
            let cursor = encode_cursor(sort, &place);
            assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
            for (_, other) in SORTS {
                assert_eq!(decode_cursor(other, &cursor), (other == sort).then(|| place.clone()));
            }
        }
        for bad in ["", "a", "====", "Y29kZSAxIA", "Y29kZSAxIGEgYg"] {
            assert_eq!(decode_cursor(Sort::Code, bad), None, "{bad}");
        }
    }
}
