//! Links from a file that an officer uploads in the console: what the file says, what would become of it, and creating the links once.
//!
//! The file waits in the store, so that the officer may look at a preview on one node and confirm on another. Confirming is a request that may
//! be repeated (see `store/idempotency.rs`), and the upload's id is its key: however often the button is pressed or the page loaded again,
//! each row creates one link, also when a node dies in the middle. What became of the rows is that request's answer, and is kept for a day.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    bulk::{self, ROWS_MAX, Refused},
    domain::{Email, Link, Source},
    links::{Attempt, CreateError, Wish},
    rows::{
        self, Field, Rules, Wrong,
        columns::Dialect,
        read::{BYTE_ORDER_MARK, Broken, ReadError, Reader, Record},
        write::push_cells,
    },
    state::App,
    store::{Actor, Answer, Begun, Held, Progress, Quota, StoreError, Upload},
};

/// A thousand rows with targets of the greatest length.
pub const FILE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// For the work itself: well within the lease of its record.
const WORK_TIME_MAX: Duration = Duration::from_secs(10);
/// A repetition waits for the first, and when that has died, for its lease to end.
const WAIT_MAX: Duration = Duration::from_secs(20);
const WAIT_STEP: Duration = Duration::from_millis(50);

/// Of a cell that an outcome repeats: no code or target that can be created is longer.
const CELL_CHARS_MAX: usize = 2_100;
/// Of the names of columns that mean nothing, which a preview repeats.
const IGNORED_CHARS_MAX: usize = 300;

/// Of the name that a file has on the officer's computer.
const NAME_CHARS_MAX: usize = 100;

const ID_LENGTH: usize = 21;

/// Who uploads, and whether they may make links for others.
#[derive(Clone, Copy)]
pub struct Uploader<'a> {
    pub email: &'a Email,
    pub is_admin: bool,
    pub actor: &'a Actor,
}

/// Why no row of a file can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    Empty,
    /// Of a spreadsheet program, not CSV.
    Workbook,
    /// UTF-16, as some programs write Unicode.
    Utf16,
    UnknownColumns(String),
    RepeatedColumn(String),
    TooManyRows,
    /// Perhaps a quotation mark is never closed.
    RowTooLong,
}

/// Why a row creates no link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowProblem {
    Cells(Vec<(Field, Wrong)>),
    /// It can't be taken apart.
    Broken(Broken),
    Repeated(String),
    Taken(String),
    NotYours,
}

/// What became of a row, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// In the file; 1 is the first.
    pub line: u64,
    /// What was created; else what the row asks for, and empty for any.
    pub code: String,
    pub target: String,
    pub problem: Option<RowProblem>,
}

/// How far an upload has come.
pub enum State {
    /// Never there, replaced, or its time is over; or it is somebody else's.
    Gone,
    /// To be confirmed: what the rows would become.
    Previewed(Preview),
    Running,
    Done(Vec<Outcome>),
}

pub struct Preview {
    pub name: String,
    pub rows: Vec<Outcome>,
    /// Columns that mean nothing here.
    pub ignored: String,
    /// Confirmed once already, but broken off.
    pub is_begun: bool,
}

/// What confirming comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    Done,
    Running,
    Gone,
    /// As much is kept for the officer as may be. Nothing was created; try again after this time.
    OverQuota(Duration),
}

/// Why a row that is being worked on creates no link.
enum RowError {
    Problem(RowProblem),
    Store(StoreError),
}

/// A file taken apart.
struct Sheet {
    records: Vec<Record>,
    wishes: Vec<Result<Wish, RowError>>,
    ignored: Vec<String>,
}

/// Keeps a file for a preview; answers its id.
///
/// # Errors
///
/// In the inner result what is wrong with the file; when the store can't be asked, in the outer.
pub async fn keep(
    app: &App,
    by: Uploader<'_>,
    name: &str,
    file: Vec<u8>,
) -> Result<Result<String, FileError>, StoreError> {
    if let Err(error) = read(app, by, &file) {
        return Ok(Err(error));
    }
    let upload = Upload { id: nanoid::nanoid!(ID_LENGTH), name: plain_name(name), file };
    app.store.keep_upload(by.email, &upload).await?;
    Ok(Ok(upload.id))
}

/// How far an upload has come, and what its rows would become now.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn look(app: &App, by: Uploader<'_>, id: &str) -> Result<State, StoreError> {
    let begun = match app.store.request_progress(by.email.as_str(), &request_key(id), app.store.now()).await? {
        Progress::Answered(answer) => return Ok(State::Done(outcomes_in(&answer)?)),
        Progress::Begun { is_running: true, .. } => return Ok(State::Running),
        Progress::Begun { seed, is_running: false } => Some(seed),
        Progress::None => None,
    };
    let Some(upload) = app.store.find_upload(by.email, id).await? else { return Ok(State::Gone) };
    // What the settings allow may have changed since it was kept.
    let Ok(mut sheet) = read(app, by, &upload.file) else { return Ok(State::Gone) };
    bulk::refuse_repeated_codes(&mut sheet.wishes);
    // Links created by an earlier run of this request don't count as taken.
    let attempt = begun.as_deref().map_or_else(|| Attempt::once(app), |seed| Attempt::again(app, seed));
    bulk::refuse_taken_codes(app, &mut sheet.wishes, &attempt, by.actor).await?;
    let rows = sheet.records.iter().zip(sheet.wishes).map(|(record, wish)| {
        let problem = match wish {
            Ok(_) => None,
            Err(RowError::Problem(problem)) => Some(problem),
            Err(RowError::Store(error)) => return Err(error),
        };
        Ok(Outcome::of(record, problem))
    });
    let rows = rows.collect::<Result<_, _>>()?;
    let ignored = sheet.ignored.join(", ").chars().take(IGNORED_CHARS_MAX).collect();
    Ok(State::Previewed(Preview { name: upload.name, rows, ignored, is_begun: begun.is_some() }))
}

/// Creates the links of an upload, unless that was done already. Waits for whoever is at it.
///
/// # Errors
///
/// When the store can't be asked, or takes too long: pressed again, it goes on.
pub async fn confirm(app: &App, by: Uploader<'_>, id: &str) -> Result<Confirmed, StoreError> {
    let (asker, key) = (by.email.as_str(), request_key(id));
    if let Progress::Answered(_) = app.store.request_progress(asker, &key, app.store.now()).await? {
        return Ok(Confirmed::Done);
    }
    let Some(upload) = app.store.find_upload(by.email, id).await? else { return Ok(Confirmed::Gone) };
    let Ok(sheet) = read(app, by, &upload.file) else { return Ok(Confirmed::Gone) };
    let quota = Quota { officer: by.email, bytes_max: app.config.limits.kept_answers_bytes_max };
    let give_up = Instant::now() + WAIT_MAX;
    let held = loop {
        match app.store.begin_request(asker, &key, id, quota, app.store.now()).await? {
            Begun::Mine(held) => break held,
            Begun::Answered(_) => return Ok(Confirmed::Done),
            // An id names one upload, and nothing else is asked under this key.
            Begun::OfAnother => return Ok(Confirmed::Gone),
            Begun::OverQuota(wait) => return Ok(Confirmed::OverQuota(wait)),
            Begun::Running if Instant::now() >= give_up => return Ok(Confirmed::Running),
            Begun::Running => sleep(WAIT_STEP).await,
        }
    };
    let late = |_| Err(StoreError::Unavailable("the creation of many links took too long".to_owned()));
    let created = timeout(WORK_TIME_MAX, create(app, by, sheet, &held)).await.unwrap_or_else(late);
    let outcomes = match created {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let _ = app.store.leave_request(held).await;
            return Err(error);
        }
    };
    let body = serde_json::to_string(&outcomes).expect("outcomes are texts and numbers");
    app.store.finish_request(held, Answer { status: 200, headers: Vec::new(), body: Some(body) }).await?;
    Ok(Confirmed::Done)
}

async fn create(app: &App, by: Uploader<'_>, mut sheet: Sheet, held: &Held) -> Result<Vec<Outcome>, StoreError> {
    let attempt = Attempt::of(app, held);
    bulk::refuse_repeated_codes(&mut sheet.wishes);
    let mut created = pin!(bulk::create(app, sheet.wishes, &attempt, by.actor));
    let mut outcomes = Vec::with_capacity(sheet.records.len());
    for record in &sheet.records {
        let became: Option<Result<Link, RowError>> = created.next().await;
        outcomes.push(match became.expect("each wish has its outcome") {
            Ok(link) => Outcome { code: link.code.to_string(), ..Outcome::of(record, None) },
            Err(RowError::Problem(problem)) => Outcome::of(record, Some(problem)),
            Err(RowError::Store(error)) => return Err(error),
        });
    }
    Ok(outcomes)
}

fn read(app: &App, by: Uploader<'_>, file: &[u8]) -> Result<Sheet, FileError> {
    let rules = Rules {
        targets: app.targets.rules(),
        email_domains: app.config.officers.email_domains.clone(),
        any_contact: false,
        owner: Some(by.email.clone()),
        now: Timestamp::now(),
    };
    let mut reader = Reader::new(file)?;
    let dialect = reader.dialect();
    let (mut records, mut wishes) = (Vec::new(), Vec::new());
    while let Some(mut record) = reader.next()? {
        if records.len() == ROWS_MAX {
            return Err(FileError::TooManyRows);
        }
        // Links begin when they are created, and a code is the same in capitals, as in the console's form.
        record.replace(Field::CreatedAt, String::new());
        record.replace(Field::Code, record.cell(Field::Code).to_ascii_lowercase());
        wishes.push(read_row(&rules, &record, dialect, by).map_err(RowError::Problem));
        records.push(record);
    }
    if records.is_empty() {
        return Err(FileError::Empty);
    }
    Ok(Sheet { records, wishes, ignored: reader.ignored().to_vec() })
}

fn read_row(rules: &Rules, record: &Record, dialect: Dialect, by: Uploader<'_>) -> Result<Wish, RowProblem> {
    if let Some(broken) = &record.broken {
        return Err(RowProblem::Broken(broken.clone()));
    }
    let row = rules.read(record, dialect).map_err(RowProblem::of)?;
    if row.owner != *by.email && !by.is_admin {
        return Err(RowProblem::NotYours);
    }
    Ok(Wish {
        code: row.code,
        target: row.target,
        owner: row.owner,
        description: row.description,
        contact_email: row.contact_email,
        tags: row.tags,
        forward_query: row.forward_query,
        expires_at: row.expires_at,
        state: row.state,
        source: Source::Bulk,
    })
}

/// What the store knows a confirmation by.
fn request_key(id: &str) -> String {
    format!("upload {id}")
}

fn outcomes_in(answer: &Answer) -> Result<Vec<Outcome>, StoreError> {
    let body = answer.body.as_deref().unwrap_or_default();
    serde_json::from_str(body).map_err(|_| StoreError::Corrupt("outcomes of an upload that can't be read".to_owned()))
}

/// A file's name without its folders and what can't be printed.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars().filter(|character| !character.is_control()).take(NAME_CHARS_MAX).collect()
}

/// What became of each row, for a spreadsheet. `short_url` makes a whole address of a code.
pub fn report(outcomes: &[Outcome], is_done: bool, short_url: impl Fn(&str) -> String) -> Vec<u8> {
    let mut bytes = BYTE_ORDER_MARK.to_vec();
    push_cells(&mut bytes, ["line", "status", "short_url", "code", "target_url", "error"]);
    for outcome in outcomes {
        let (status, link) = match (&outcome.problem, is_done) {
            (Some(_), true) => ("failed", String::new()),
            (Some(_), false) => ("has a problem", String::new()),
            (None, true) => ("created", short_url(&outcome.code)),
            (None, false) => ("can be created", String::new()),
        };
        let error = outcome.problem.as_ref().map(ToString::to_string).unwrap_or_default();
        push_cells(&mut bytes, [&outcome.line.to_string(), status, &link, &outcome.code, &outcome.target, &error]);
    }
    bytes
}

impl Outcome {
    fn of(record: &Record, problem: Option<RowProblem>) -> Self {
        let cell = |field| record.cell(field).chars().take(CELL_CHARS_MAX).collect();
        Self { line: record.line, code: cell(Field::Code), target: cell(Field::TargetUrl), problem }
    }
}

impl From<ReadError> for FileError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::UnknownColumns(columns) => Self::UnknownColumns(columns),
            ReadError::RepeatedColumn(column) => Self::RepeatedColumn(column),
            ReadError::Workbook => Self::Workbook,
            ReadError::Utf16 => Self::Utf16,
            ReadError::TooManyColumns => Self::UnknownColumns(String::new()),
            ReadError::RowTooLong => Self::RowTooLong,
            // A file in memory can be read.
            ReadError::Empty | ReadError::Io(_) => Self::Empty,
        }
    }
}

impl From<Refused> for RowError {
    fn from(refused: Refused) -> Self {
        Self::Problem(match refused {
            Refused::Repeated(code) => RowProblem::Repeated(code.to_string()),
            Refused::Taken(code) => RowProblem::Taken(code.to_string()),
        })
    }
}

impl From<CreateError> for RowError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::CodeTaken(code) => Self::Problem(RowProblem::Taken(code.to_string())),
            CreateError::Store(error) => Self::Store(error),
        }
    }
}

impl RowProblem {
    fn of(mistakes: Vec<rows::Mistake>) -> Self {
        let cell = |mistake: rows::Mistake| mistake.field.map(|field| (field, mistake.wrong));
        Self::Cells(mistakes.into_iter().filter_map(cell).collect())
    }
}

impl std::fmt::Display for RowProblem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cells(cells) => {
                for (index, (column, wrong)) in cells.iter().enumerate() {
                    write!(formatter, "{}{}: {wrong}", if index > 0 { "; " } else { "" }, column.name())?;
                }
                Ok(())
            }
            Self::Broken(why) => write!(formatter, "the row {why}"),
            Self::Repeated(code) => write!(formatter, "an earlier row has the code {code}"),
            Self::Taken(code) => write!(formatter, "the code {code} is taken"),
            Self::NotYours => formatter.write_str("owner: only administrators create links for others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_folders_and_no_control_characters() {
        for (name, plain) in [
            ("links.csv", "links.csv"),
            ("C:\\Users\\amy\\links.csv", "links.csv"),
            ("../../etc/passwd", "passwd"),
            ("a\r\nb\0.csv", "ab.csv"),
            ("", ""),
        ] {
            assert_eq!(plain_name(name), plain, "{name:?}");
        }
        assert_eq!(plain_name(&"é".repeat(500)).chars().count(), NAME_CHARS_MAX);
    }

    #[test]
    fn no_cell_of_a_report_runs_in_a_spreadsheet() {
        let outcome = Outcome {
            line: 2,
            code: "=cmd|'/c calc'!A1".to_owned(),
            target: "@sum(1), \"x\"\n+1".to_owned(),
            problem: Some(RowProblem::Repeated("=1".to_owned())),
        };
        let report = String::from_utf8(report(&[outcome], true, |_| "-short".to_owned())).expect("UTF-8");
        let row = report.split_once('\n').expect("a header").1;
        assert_eq!(row, "2,failed,,'=cmd|'/c calc'!A1,\"'@sum(1), \"\"x\"\"\n'+1\",an earlier row has the code =1\n");
    }
}
