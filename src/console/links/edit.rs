//! Creating a link, changing it, switching it off and on, and giving it to somebody else.
//!
//! A page carries the version of the link that it showed. Saving asks for that version: what a colleague, or the same officer in another
//! window, changed meanwhile isn't overwritten unseen. The officer is shown both, keeps what they typed, and may save once more.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path, Query},
};
use askama::Template;
use jiff::{Timestamp, civil::DateTime};
use serde::Deserialize;

use super::{Heading, OwnLink, State, Tab, own_link};
use crate::{
    console::{
        form::{Fields, Posted},
        page::{Error, Frame, Section, html, see_other, shown_time},
        session::SignedIn,
    },
    domain::{
        Code, Description, Email, Link, LinkState, Source, Tag, Tags, Target, TargetError,
        code::CODE_BYTES_MAX,
        link::{DESCRIPTION_CHARS_MAX, TAG_BYTES_MAX, TAGS_MAX},
        target::TARGET_BYTES_MAX,
    },
    languages::{Html, Language},
    links::{self, Attempt, CreateError, Transfer, TransferError, Wish},
    routes,
    state::App,
    store::{Change, Changed},
};

/// What `<input type="datetime-local">` writes, in the service's time zone.
const LOCAL_TIME: &str = "%Y-%m-%dT%H:%M";

/// What an officer typed, as typed.
#[derive(Clone, Debug, Default)]
struct Typed {
    code: String,
    /// Empty: the officer who typed it.
    owner: String,
    target: String,
    description: String,
    contact: String,
    tags: String,
    expires: String,
    forward_query: bool,
    /// 0 for a link that is not yet.
    version: u64,
}

/// The same, understood.
struct Understood {
    target: Target,
    description: Description,
    contact_email: Option<Email>,
    tags: Tags,
    expires_at: Option<Timestamp>,
    forward_query: bool,
}

/// What is wrong, field by field.
#[derive(Default)]
struct Mistakes<'w>(Vec<(&'static str, Html<'w>)>);

impl<'w> Mistakes<'w> {
    fn of(&self, field: &str) -> Option<&Html<'w>> {
        self.0.iter().find(|(found, _)| *found == field).map(|(_, mistake)| mistake)
    }

    fn note<T>(&mut self, field: &'static str, read: Result<T, Html<'w>>) -> Option<T> {
        read.map_err(|mistake| self.0.push((field, mistake))).ok()
    }
}

#[derive(Template)]
#[template(path = "links/create.html")]
struct CreatePage<'a> {
    frame: Frame<'a>,
    typed: &'a Typed,
    mistakes: &'a Mistakes<'a>,
    host: &'a str,
    timezone: &'a str,
}

#[derive(Template)]
#[template(path = "links/edit.html")]
struct EditPage<'a> {
    frame: Frame<'a>,
    heading: Heading,
    typed: &'a Typed,
    mistakes: &'a Mistakes<'a>,
    timezone: &'a str,
    is_on: bool,
    done: Option<Html<'a>>,
    /// Why nobody is led there for all that.
    but: Option<Html<'a>>,
    now: Option<Now>,
}

/// What the link is now, when it isn't what the form was made of.
struct Now {
    link: Typed,
    expires: Option<Html<'static>>,
}

#[derive(Template)]
#[template(path = "links/transfer.html")]
struct TransferPage<'a> {
    frame: Frame<'a>,
    code: &'a str,
    owner: &'a str,
    version: u64,
    mistake: Option<Html<'a>>,
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    done: String,
}

#[derive(Deserialize)]
pub struct AskedCode {
    #[serde(default)]
    code: String,
}

/// `GET /console/create`.
pub async fn new(app: Data<App>, officer: SignedIn) -> Result<HttpResponse, Error> {
    Ok(create_page(&app, &officer, &Typed::default(), &Mistakes::default()))
}

/// `POST /console/create`.
pub async fn create(app: Data<App>, posted: Posted<SignedIn>) -> Result<HttpResponse, Error> {
    let Posted { by: officer, fields } = posted;
    let typed = Typed::read(&fields);
    let words = &officer.words;
    let mut mistakes = Mistakes::default();
    let understood = typed.understand(&app, words, None, &mut mistakes);
    let code = match typed.code.as_str() {
        "" => Some(None),
        code => {
            mistakes.note("code", code.parse::<Code>().map_err(|_| words.create_code_mistake(CODE_BYTES_MAX))).map(Some)
        }
    };
    let owner = match typed.owner.as_str() {
        "" => Some(officer.email.clone()),
        _ if !officer.is_admin => return Err(Error::Malformed),
        owner => mistakes.note("owner", read_owner(&app, words, owner)),
    };
    let (Some(understood), Some(code), Some(owner)) = (understood, code, owner) else {
        return Ok(create_page(&app, &officer, &typed, &mistakes));
    };
    let wish = Wish {
        code,
        target: understood.target,
        owner,
        description: understood.description,
        contact_email: understood.contact_email,
        tags: understood.tags,
        forward_query: understood.forward_query,
        expires_at: understood.expires_at,
        state: LinkState::Active,
        source: Source::Console,
    };
    match links::create(&app, wish, &Attempt::once(&app), &officer.actor()).await {
        Ok(link) => Ok(see_other(&format!("/console/links/{}?done=created", link.code))),
        Err(CreateError::Store(error)) => Err(error.into()),
        Err(CreateError::CodeTaken(code)) => {
            mistakes.0.push(("code", words.create_code_taken(code.as_str())));
            Ok(create_page(&app, &officer, &typed, &mistakes))
        }
    }
}

/// `GET /console/availability`: a few words that the script puts into the page, while a code is being typed.
pub async fn availability(app: Data<App>, officer: SignedIn, asked: Query<AskedCode>) -> Result<HttpResponse, Error> {
    let words = &officer.words;
    let answer = match asked.code.parse::<Code>() {
        Err(_) => words.create_code_mistake(CODE_BYTES_MAX),
        Ok(code) if routes::is_reserved(&code) || app.store.find_link(&code).await?.is_some() => {
            words.create_code_taken(code.as_str())
        }
        Ok(code) => words.create_code_free(code.as_str()),
    };
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(answer.to_string()))
}

/// `GET /console/links/{code}`.
pub async fn show(app: Data<App>, own: OwnLink, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let OwnLink { officer, link } = own;
    let typed = Typed::of(&app, &link);
    Ok(edit_page(&app, &officer, &link, &typed, &Mistakes::default(), &asked.done, StatusCode::OK))
}

/// `POST /console/links/{code}`.
pub async fn save(app: Data<App>, posted: Posted<SignedIn>, code: Path<String>) -> Result<HttpResponse, Error> {
    let Posted { by: officer, fields } = posted;
    let link = own_link(&app, &officer, &code).await?;
    let mut typed = Typed::read(&fields);
    let mut mistakes = Mistakes::default();
    let Some(understood) = typed.understand(&app, &officer.words, Some(&link), &mut mistakes) else {
        return Ok(edit_page(&app, &officer, &link, &typed, &mistakes, "", StatusCode::UNPROCESSABLE_ENTITY));
    };
    let change = Change {
        target: Some(understood.target),
        description: Some(understood.description),
        contact_email: Some(understood.contact_email),
        tags: Some(understood.tags),
        forward_query: Some(understood.forward_query),
        expires_at: Some(understood.expires_at),
        ..Change::default()
    };
    let version = [typed.version];
    match links::change(&app, &link.code, &officer.reach(), &change, Some(&version), &officer.actor()).await? {
        Changed::Yes(_) => Ok(see_other(&format!("/console/links/{}?done=saved", link.code))),
        Changed::NotFound => Err(Error::NotFound),
        Changed::Stale(now) => {
            typed.version = now.link.version;
            Ok(edit_page(&app, &officer, &now.link, &typed, &mistakes, "stale", StatusCode::CONFLICT))
        }
    }
}

/// `POST /console/links/{code}/state`: `on` or `off`. To switch off is never too late: no version is asked for.
pub async fn switch(app: Data<App>, posted: Posted<SignedIn>, code: Path<String>) -> Result<HttpResponse, Error> {
    let Posted { by: officer, fields } = posted;
    let link = own_link(&app, &officer, &code).await?;
    let (state, done) = match fields.text("state") {
        "on" => (LinkState::Active, "on"),
        "off" => (LinkState::Inactive, "off"),
        _ => return Err(Error::Malformed),
    };
    let change = Change { state: Some(state), ..Change::default() };
    match links::change(&app, &link.code, &officer.reach(), &change, None, &officer.actor()).await? {
        Changed::Yes(_) => Ok(see_other(&format!("/console/links/{}?done={done}", link.code))),
        Changed::NotFound | Changed::Stale(_) => Err(Error::NotFound),
    }
}

/// `GET /console/links/{code}/transfer`.
pub async fn ask_transfer(app: Data<App>, own: OwnLink) -> Result<HttpResponse, Error> {
    let OwnLink { officer, link } = own;
    Ok(transfer_page(&app, &officer, &link, "", None, StatusCode::OK))
}

/// `POST /console/links/{code}/transfer`.
pub async fn transfer(app: Data<App>, posted: Posted<SignedIn>, code: Path<String>) -> Result<HttpResponse, Error> {
    let Posted { by: officer, fields } = posted;
    let link = own_link(&app, &officer, &code).await?;
    let typed = fields.text("owner");
    let words = &officer.words;
    let refused =
        |mistake| Ok(transfer_page(&app, &officer, &link, typed, Some(mistake), StatusCode::UNPROCESSABLE_ENTITY));
    let to = match read_owner(&app, words, typed) {
        Ok(to) => to,
        Err(mistake) => return refused(mistake),
    };
    if to == link.owner {
        return refused(words.transfer_is_owner());
    }
    let version = fields.text("version").parse().unwrap_or(0);
    let transfer = Transfer { code: link.code.clone(), to, expected_versions: Some(vec![version]) };
    let transferred = links::transfer(&app, &transfer, &officer.reach(), &Attempt::once(&app), &officer.actor()).await;
    match transferred {
        Err(TransferError::UnknownOfficer) => refused(words.transfer_unknown_officer()),
        Err(TransferError::SuspendedOfficer) => refused(words.transfer_suspended_officer()),
        Err(TransferError::Store(error)) => Err(error.into()),
        Ok(Changed::Yes(_)) => Ok(see_other(&format!("/console/links?done=transferred&code={}", link.code))),
        Ok(Changed::NotFound) => Err(Error::NotFound),
        Ok(Changed::Stale(_)) => refused(words.transfer_stale()),
    }
}

impl Typed {
    fn read(fields: &Fields) -> Self {
        let text = |name| fields.text(name).to_owned();
        Self {
            code: text("code").to_ascii_lowercase(),
            owner: text("owner"),
            target: text("target"),
            description: text("description"),
            contact: text("contact"),
            tags: text("tags"),
            expires: text("expires"),
            forward_query: fields.is_ticked("forward_query"),
            version: fields.text("version").parse().unwrap_or(0),
        }
    }

    fn of(app: &App, link: &Link) -> Self {
        let timezone = app.config.clicks.timezone.clone();
        let tags: Vec<&str> = link.tags.iter().map(Tag::as_str).collect();
        Self {
            code: link.code.to_string(),
            owner: link.owner.to_string(),
            target: link.target.to_string(),
            description: link.description.as_str().to_owned(),
            contact: link.contact_email.as_ref().map(Email::to_string).unwrap_or_default(),
            tags: tags.join(", "),
            expires: link
                .expires_at
                .map(|at| at.to_zoned(timezone).strftime(LOCAL_TIME).to_string())
                .unwrap_or_default(),
            forward_query: link.forward_query,
            version: link.version,
        }
    }

    /// Finds every mistake. `link` is what it changes.
    fn understand<'w>(
        &self,
        app: &App,
        words: &'w Language,
        link: Option<&Link>,
        mistakes: &mut Mistakes<'w>,
    ) -> Option<Understood> {
        // A target that rules of a later day refuse stays until somebody changes it.
        let target = match link.filter(|link| link.target.as_str() == self.target) {
            Some(link) => Some(link.target.clone()),
            None => {
                let read = Target::parse(&self.target, &app.targets.rules());
                mistakes.note("target", read.map_err(|error| no_target(words, error)))
            }
        };
        let description = mistakes.note(
            "description",
            self.description.parse().map_err(|_| words.fields_description_mistake(DESCRIPTION_CHARS_MAX)),
        );
        let current = link.and_then(|link| link.contact_email.as_ref());
        let contact_email =
            mistakes.note("contact", optional(&self.contact, |text| read_contact(app, words, text, current)));
        let tags = mistakes.note("tags", read_tags(words, &self.tags));
        let expires_at = mistakes.note("expires", optional(&self.expires, |text| read_time(app, words, text)));
        Some(Understood {
            target: target?,
            description: description?,
            contact_email: contact_email?,
            tags: tags?,
            expires_at: expires_at?,
            forward_query: self.forward_query,
        })
    }
}

fn optional<'w, T>(text: &str, read: impl FnOnce(&str) -> Result<T, Html<'w>>) -> Result<Option<T>, Html<'w>> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

pub fn no_target(words: &Language, error: TargetError) -> Html<'_> {
    match error {
        TargetError::NotHttps => words.fields_target_not_https(),
        TargetError::TooLong => words.fields_target_too_long(TARGET_BYTES_MAX),
        TargetError::NeverWritten => words.fields_target_never_written(),
        TargetError::UserInfo => words.fields_target_user_info(),
        TargetError::IpAddress => words.fields_target_ip_address(),
        TargetError::Malformed => words.fields_target_malformed(),
        TargetError::LookAlike => words.fields_target_look_alike(),
        TargetError::Circular => words.fields_target_circular(),
        TargetError::PrivateName => words.fields_target_private_name(),
        TargetError::UnknownSuffix => words.fields_target_unknown_suffix(),
        TargetError::Port(port) => words.fields_target_port(usize::from(port)),
        TargetError::Blocked => words.fields_target_blocked(),
        TargetError::StandIn => words.fields_target_stand_in(),
        TargetError::Shortener => words.fields_target_shortener(),
        TargetError::Tracker => words.fields_target_tracker(),
    }
}

fn read_tags<'w>(words: &'w Language, text: &str) -> Result<Tags, Html<'w>> {
    let typed = text.split([',', ';', ' ']).map(str::trim).filter(|word| !word.is_empty());
    let tags: Result<Vec<Tag>, _> = typed.map(str::parse::<Tag>).collect();
    let tags = tags.map_err(|_| words.fields_tag_mistake(TAG_BYTES_MAX))?;
    Tags::new(tags).map_err(|_| words.fields_tags_mistake(TAGS_MAX))
}

/// A moment on the officer's clock. Of one that comes twice, when clocks go back, the first.
fn read_time<'w>(app: &App, words: &'w Language, text: &str) -> Result<Timestamp, Html<'w>> {
    let local: DateTime = text.parse().map_err(|_| words.fields_expires_mistake())?;
    let zoned = local.to_zoned(app.config.clicks.timezone.clone()).map_err(|_| words.fields_expires_mistake())?;
    Ok(zoned.timestamp())
}

/// An officer to whom a link can be given.
fn read_owner<'w>(app: &App, words: &'w Language, text: &str) -> Result<Email, Html<'w>> {
    let email = text.parse::<Email>().map_err(|_| words.console_no_email())?;
    if app.config.officers.email_domains.matches(&email) { Ok(email) } else { Err(words.transfer_no_officer()) }
}

/// An address that citizens are told to ask. Contacts from before they had to be officers' may stay.
fn read_contact<'w>(app: &App, words: &'w Language, text: &str, current: Option<&Email>) -> Result<Email, Html<'w>> {
    let email = text.parse::<Email>().map_err(|_| words.console_no_email())?;
    let may_be = Some(&email) == current || app.config.officers.email_domains.matches(&email);
    if may_be { Ok(email) } else { Err(words.fields_contact_no_officer()) }
}

fn create_page(app: &App, officer: &SignedIn, typed: &Typed, mistakes: &Mistakes<'_>) -> HttpResponse {
    let status = if mistakes.0.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = CreatePage {
        frame: Frame::of(app, officer, Section::Links),
        typed,
        mistakes,
        host: &app.site.host,
        timezone: timezone(app),
    };
    html(status, &page)
}

fn edit_page(
    app: &App,
    officer: &SignedIn,
    link: &Link,
    typed: &Typed,
    mistakes: &Mistakes<'_>,
    done: &str,
    status: StatusCode,
) -> HttpResponse {
    let now = (status == StatusCode::CONFLICT).then(|| Now {
        link: Typed::of(app, link),
        expires: link.expires_at.map(|at| shown_time(app, &officer.words, at)),
    });
    let heading = Heading::of(app, officer, link, Tab::Settings);
    let (done, but) = said_of(&officer.words, done, heading.state);
    let page = EditPage {
        frame: Frame::of(app, officer, Section::Links),
        heading,
        typed,
        mistakes,
        timezone: timezone(app),
        is_on: link.state == LinkState::Active,
        done,
        but,
        now,
    };
    html(status, &page)
}

/// What was done, and why visitors notice nothing of it, where they don't.
fn said_of<'w>(words: &'w Language, done: &str, state: State) -> (Option<Html<'w>>, Option<Html<'w>>) {
    let done = match (done, state) {
        ("created", State::On) => words.edit_created(),
        ("created", State::Off | State::Expired) => words.edit_created_only(),
        ("saved", State::On) => words.edit_saved(),
        ("saved", State::Off | State::Expired) => words.edit_saved_only(),
        ("on", _) => words.edit_switched_on(),
        ("off", _) => return (Some(words.edit_switched_off()), None),
        _ => return (None, None),
    };
    let but = match state {
        State::On => None,
        State::Off => Some(words.edit_while_off()),
        State::Expired => Some(words.edit_while_expired()),
    };
    (Some(done), but)
}

fn transfer_page(
    app: &App,
    officer: &SignedIn,
    link: &Link,
    owner: &str,
    mistake: Option<Html<'_>>,
    status: StatusCode,
) -> HttpResponse {
    let frame = Frame::of(app, officer, Section::Links);
    html(status, &TransferPage { frame, code: link.code.as_str(), owner, version: link.version, mistake })
}

fn timezone(app: &App) -> &str {
    app.config.clicks.timezone.iana_name().unwrap_or("UTC")
}
