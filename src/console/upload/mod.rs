//! Creating many links from a file: the form, a preview in which nothing is created yet, and what became of each row.
//!
//! A form is answered by another page's address, so loading a page again uploads nothing and creates nothing. What lies between the pages is
//! told in `uploads.rs`.

mod codes;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    web::{Data, Path},
};
use askama::Template;

use self::codes::Drawn;
use super::{
    form::{Posted, PostedFile},
    links::edit::no_target,
    page::{Error, Frame, Section, html, see_other},
    session::SignedIn,
};
use crate::{
    bulk::ROWS_MAX,
    domain::{
        code::CODE_BYTES_MAX,
        link::{DESCRIPTION_CHARS_MAX, TAG_BYTES_MAX, TAGS_MAX},
    },
    languages::{Html, Language, escaped},
    metrics::Class,
    qr::Format,
    rows::{Field, Wrong, read::Broken, write::push_cells},
    state::App,
    store::Actor,
    uploads::{self, Confirmed, FILE_BYTES_MAX, FileError, Outcome, RowProblem, State, Uploader},
};

/// Of each kind on a page; the file of all rows has the others too.
const ROWS_SHOWN_MAX: usize = 100;

/// What a file to begin with has: all that an officer may say of a new link.
const TEMPLATE: [Field; 8] = [
    Field::TargetUrl,
    Field::Code,
    Field::Description,
    Field::ContactEmail,
    Field::Tags,
    Field::ExpiresAt,
    Field::ForwardQuery,
    Field::State,
];

#[derive(Template)]
#[template(path = "upload/upload.html")]
struct UploadPage<'a> {
    frame: Frame<'a>,
    columns: Vec<(&'static str, Html<'a>)>,
    rows_max: u64,
    megabytes_max: usize,
    mistake: Option<Html<'a>>,
}

#[derive(Template)]
#[template(path = "upload/preview.html")]
struct PreviewPage<'a> {
    frame: Frame<'a>,
    id: &'a str,
    name: &'a str,
    is_begun: bool,
    ignored: Option<String>,
    good: Rows<Shown>,
    bad: Rows<Troubled<'a>>,
}

#[derive(Template)]
#[template(path = "upload/done.html")]
struct DonePage<'a> {
    frame: Frame<'a>,
    id: &'a str,
    good: Rows<Shown>,
    bad: Rows<Troubled<'a>>,
}

#[derive(Template)]
#[template(path = "upload/running.html")]
struct RunningPage<'a> {
    frame: Frame<'a>,
    id: &'a str,
}

/// Rows of one kind: how many there are, and those that the page has room for.
struct Rows<T> {
    count: usize,
    shown: Vec<T>,
}

/// A row that was created, or can be.
struct Shown {
    line: u64,
    /// Empty: any that is free.
    code: String,
    /// `None`: there is no link yet.
    short_url: Option<String>,
    target: String,
}

struct Troubled<'a> {
    line: u64,
    code: String,
    target: String,
    problems: Vec<Html<'a>>,
}

/// `GET /console/upload`.
pub async fn show(app: Data<App>, officer: SignedIn) -> Result<HttpResponse, Error> {
    Ok(upload_page(&app, &officer, None, StatusCode::OK))
}

/// `GET /console/upload/template.csv`.
pub async fn template(_: SignedIn) -> Result<HttpResponse, Error> {
    let mut file = Vec::new();
    push_cells(&mut file, TEMPLATE.map(Field::name));
    Ok(csv("links-template.csv", file))
}

/// `POST /console/upload`.
pub async fn upload(app: Data<App>, posted: PostedFile<SignedIn>) -> Result<HttpResponse, Error> {
    let PostedFile { by: officer, file } = posted;
    let Some(file) = file else {
        let too_large = officer.words.upload_too_large(FILE_BYTES_MAX / (1024 * 1024));
        return Ok(upload_page(&app, &officer, Some(too_large), StatusCode::PAYLOAD_TOO_LARGE));
    };
    let actor = officer.actor();
    match uploads::keep(&app, uploader(&officer, &actor), &file.name, file.bytes).await? {
        Ok(id) => Ok(see_other(&format!("/console/upload/{id}"))),
        Err(error) => {
            let mistake = file_mistake(&officer.words, &error);
            Ok(upload_page(&app, &officer, Some(mistake), StatusCode::UNPROCESSABLE_ENTITY))
        }
    }
}

/// `GET /console/upload/{id}`: the preview, and once it was confirmed what became of it.
pub async fn look(app: Data<App>, officer: SignedIn, id: Path<String>) -> Result<HttpResponse, Error> {
    let actor = officer.actor();
    let frame = Frame::of(&app, &officer, Section::Links);
    let words = &*officer.words;
    Ok(match uploads::look(&app, uploader(&officer, &actor), &id).await? {
        State::Gone => gone(&app, &officer),
        State::Running => html(StatusCode::OK, &RunningPage { frame, id: &id }),
        State::Previewed(preview) => {
            let (good, bad) = sorted(words, &preview.rows, |_| None);
            let ignored = Some(preview.ignored).filter(|columns| !columns.is_empty());
            let (name, is_begun) = (preview.name.as_str(), preview.is_begun);
            html(StatusCode::OK, &PreviewPage { frame, id: &id, name, is_begun, ignored, good, bad })
        }
        State::Done(outcomes) => {
            let (good, bad) = sorted(words, &outcomes, |code| Some(app.short_url(code)));
            html(StatusCode::OK, &DonePage { frame, id: &id, good, bad })
        }
    })
}

/// `POST /console/upload/{id}`: creates the links, once.
pub async fn confirm(app: Data<App>, posted: Posted<SignedIn>, id: Path<String>) -> Result<HttpResponse, Error> {
    let officer = posted.by;
    let actor = officer.actor();
    // Links by the hundred are bulk, whoever makes them.
    let _place = app.admission.enter(Class::Bulk).await?;
    match uploads::confirm(&app, uploader(&officer, &actor), &id).await? {
        Confirmed::Done | Confirmed::Running => Ok(see_other(&format!("/console/upload/{}", *id))),
        Confirmed::Gone => Ok(gone(&app, &officer)),
        Confirmed::OverQuota(wait) => Err(Error::OverQuota(wait)),
    }
}

/// `GET /console/upload/{id}/rows.csv`: each row, and what became of it or would.
pub async fn rows(app: Data<App>, officer: SignedIn, id: Path<String>) -> Result<HttpResponse, Error> {
    let actor = officer.actor();
    let (outcomes, is_done) = match uploads::look(&app, uploader(&officer, &actor), &id).await? {
        State::Previewed(preview) => (preview.rows, false),
        State::Done(outcomes) => (outcomes, true),
        State::Gone | State::Running => return Err(Error::NotFound),
    };
    let name = if is_done { "links-created.csv" } else { "links-preview.csv" };
    Ok(csv(name, uploads::report(&outcomes, is_done, |code| app.short_url(code))))
}

/// `GET /console/upload/{id}/qr-svg.zip`.
pub async fn svg_codes(app: Data<App>, officer: SignedIn, id: Path<String>) -> Result<HttpResponse, Error> {
    codes(app, &officer, &id, Format::Svg).await
}

/// `GET /console/upload/{id}/qr-png.zip`.
pub async fn png_codes(app: Data<App>, officer: SignedIn, id: Path<String>) -> Result<HttpResponse, Error> {
    codes(app, &officer, &id, Format::Png).await
}

async fn codes(app: Data<App>, officer: &SignedIn, id: &str, format: Format) -> Result<HttpResponse, Error> {
    let actor = officer.actor();
    let State::Done(outcomes) = uploads::look(&app, uploader(officer, &actor), id).await? else {
        return Err(Error::NotFound);
    };
    let created = outcomes.into_iter().filter(|outcome| outcome.problem.is_none());
    let links: Vec<Drawn> = created.map(|Outcome { line, code, .. }| Drawn { line, code }).collect();
    if links.is_empty() {
        return Err(Error::NotFound);
    }
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/zip"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"qr-codes.zip\""))
        .streaming(codes::archive(app, links, format)))
}

fn uploader<'a>(officer: &'a SignedIn, actor: &'a Actor) -> Uploader<'a> {
    Uploader { email: &officer.email, is_admin: officer.is_admin, actor }
}

fn csv(name: &str, file: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(file)
}

/// An upload that isn't there any more is uploaded again.
fn gone(app: &App, officer: &SignedIn) -> HttpResponse {
    upload_page(app, officer, Some(officer.words.upload_gone()), StatusCode::NOT_FOUND)
}

fn upload_page(app: &App, officer: &SignedIn, mistake: Option<Html<'_>>, status: StatusCode) -> HttpResponse {
    let words = &*officer.words;
    let mut columns: Vec<(&'static str, Html<'_>)> = TEMPLATE.map(|field| (field.name(), meaning(words, field))).into();
    if officer.is_admin {
        columns.push((Field::Owner.name(), meaning(words, Field::Owner)));
    }
    let page = UploadPage {
        frame: Frame::of(app, officer, Section::Links),
        columns,
        rows_max: ROWS_MAX as u64,
        megabytes_max: FILE_BYTES_MAX / (1024 * 1024),
        mistake,
    };
    html(status, &page)
}

fn meaning(words: &Language, column: Field) -> Html<'_> {
    match column {
        Field::TargetUrl => words.upload_column_target(),
        Field::Code => words.upload_column_code(),
        Field::Description => words.upload_column_description(),
        Field::ContactEmail => words.upload_column_contact(),
        Field::Tags => words.upload_column_tags(),
        Field::ExpiresAt => words.upload_column_expires(),
        Field::ForwardQuery => words.upload_column_query(),
        Field::State => words.upload_column_state(),
        Field::Owner => words.upload_column_owner(),
        Field::CreatedAt | Field::Clicks => words.upload_column_unread(),
    }
}

fn file_mistake<'w>(words: &'w Language, error: &FileError) -> Html<'w> {
    match error {
        FileError::Empty => words.upload_empty(),
        FileError::Workbook => words.upload_workbook(),
        FileError::Utf16 => words.upload_utf16(),
        FileError::UnknownColumns(columns) => words.upload_unknown_columns(columns),
        FileError::RepeatedColumn(column) => words.upload_repeated_column(column),
        FileError::TooManyRows => words.upload_too_many_rows(words.number(ROWS_MAX as u64)),
        FileError::RowTooLong => words.upload_row_too_long(),
    }
}

/// Rows that are fine, and those that aren't.
fn sorted<'w>(
    words: &'w Language,
    outcomes: &[Outcome],
    short_url: impl Fn(&str) -> Option<String>,
) -> (Rows<Shown>, Rows<Troubled<'w>>) {
    let mut good = Rows { count: 0, shown: Vec::new() };
    let mut bad = Rows { count: 0, shown: Vec::new() };
    for Outcome { line, code, target, problem } in outcomes {
        let (line, code, target) = (*line, code.clone(), target.clone());
        match problem {
            None => good.push(|| Shown { line, short_url: short_url(&code), code, target }),
            Some(problem) => bad.push(|| Troubled { line, code, target, problems: problems(words, problem) }),
        }
    }
    (good, bad)
}

/// What is wrong with a row, and what to do.
fn problems<'w>(words: &'w Language, problem: &RowProblem) -> Vec<Html<'w>> {
    match problem {
        RowProblem::Cells(cells) => {
            cells.iter().map(|(column, wrong)| words.upload_problem_cell(column.name(), said(words, wrong))).collect()
        }
        RowProblem::Broken(why) => vec![broken(words, why), words.upload_broken_next()],
        RowProblem::Repeated(code) => vec![words.upload_problem_repeated(code)],
        RowProblem::Taken(code) => vec![words.upload_problem_taken(code)],
        RowProblem::NotYours => vec![words.upload_problem_not_yours()],
    }
}

/// Why a row can't be taken apart.
fn broken<'w>(words: &'w Language, why: &Broken) -> Html<'w> {
    match why {
        Broken::Cells { cells, header } => words.upload_broken_cells(cells, header),
        Broken::NotUtf8 => words.upload_broken_utf8(),
        Broken::Unclosed => words.upload_broken_quotation(),
        Broken::Empty => words.upload_broken_empty(),
        Broken::NoObject(error) => words.upload_broken_json(error),
    }
}

/// What is wrong with a cell; as the form for one link says it, where it asks for the same.
fn said<'w>(words: &'w Language, wrong: &Wrong) -> Html<'w> {
    match wrong {
        Wrong::Missing => words.upload_cell_missing(),
        Wrong::Code => words.create_code_mistake(CODE_BYTES_MAX),
        Wrong::Target(error) => no_target(words, *error),
        Wrong::State => words.upload_cell_state(),
        Wrong::Email => words.console_no_email(),
        Wrong::NoOfficer => words.transfer_no_officer(),
        Wrong::NoOfficersContact => words.fields_contact_no_officer(),
        Wrong::Description => words.fields_description_mistake(DESCRIPTION_CHARS_MAX),
        Wrong::Tag => words.fields_tag_mistake(TAG_BYTES_MAX),
        Wrong::TooManyTags => words.fields_tags_mistake(TAGS_MAX),
        Wrong::Flag => words.upload_cell_flag(),
        Wrong::Time => words.upload_cell_time(),
        // An upload has an owner, no time of creation, and nothing that its cells alone don't say.
        Wrong::NoOwner | Wrong::Future | Wrong::TooEarly | Wrong::Other(_) => escaped(&wrong.to_string()),
    }
}

impl<T> Rows<T> {
    fn push(&mut self, row: impl FnOnce() -> T) {
        self.count += 1;
        if self.shown.len() < ROWS_SHOWN_MAX {
            self.shown.push(row());
        }
    }

    /// How many the page has no room for.
    fn more(&self) -> usize {
        self.count - self.shown.len()
    }
}
