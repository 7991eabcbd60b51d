//! Up to a thousand creations in one request. Each row is answered, in its place, as if it had been a request of its own.

use actix_web::{HttpResponse, http::StatusCode};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::{Map, Value, json as object};
use utoipa::ToSchema;

use super::{
    call::{Call, json},
    fields::{Parameters, choice},
    idempotency::Replay,
    kind::Kind,
    link::{LinkBody, NewLinkBody, Rules, parse_state, read_wish},
    problem::{Mistake, Problem, ProblemBody},
};
use crate::{
    auth::LinksWrite,
    bulk::{self, ROWS_MAX},
    domain::Source,
    links::{Attempt, Wish},
    rows::{
        Field, TAG_SEPARATOR,
        columns::Dialect,
        parse_flag,
        read::{Reader, Record},
    },
};

/// What `GoGovSG` allows a file of as many rows.
const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;

/// Mistakes that an answer names, of one row and of all rows together. A batch of 4 MB can have half a million.
const ROW_MISTAKES_MAX: usize = 20;
const MISTAKES_MAX: usize = 1_000;

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
pub struct BatchBody {
    /// Links that were created, or with `dry_run` would be.
    #[schema(example = 1)]
    pub created: usize,
    #[schema(example = 1)]
    pub failed: usize,
    /// One for each row, in order.
    pub results: Vec<RowBody>,
}

/// What became of a row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchRow)]
pub struct RowBody {
    /// 1 is the first, in CSV the first below the header.
    #[schema(minimum = 1, example = 1)]
    pub row: usize,
    /// What a request of its own would have been answered.
    #[schema(example = 201)]
    pub status: u16,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkBody>,
    /// When it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemBody>,
}

/// A batch that was refused whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusedBatch)]
pub struct RefusedBody {
    #[serde(flatten)]
    pub problem: ProblemBody,
    #[serde(flatten)]
    pub batch: BatchBody,
}

#[derive(Clone, Copy)]
struct How {
    dry_run: bool,
    atomic: bool,
}

/// Create many links.
///
/// Up to 1,000: a JSON array of what `POST /links` takes, the same as JSON objects one a line, or CSV with a header row, in which tags are
/// separated by semicolons. A row may also say `state`, and what else an export says is no mistake, so that an export can be sent again.
/// With `atomic`, nothing is created while any row has a mistake or a code that is taken; only a code that somebody else takes in that
/// very moment fails alone.
#[utoipa::path(
    post, path = "/batch", tag = "bulk", security(("key" = ["links:write"])),
    request_body(content((Vec<NewLinkBody> = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    params(
        ("dry_run" = Option<bool>, Query, description = "Checks every row and creates nothing"),
        ("atomic" = Option<bool>, Query, description = "All or nothing"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for creating a link", max_length = 255),
    ),
    responses(
        (status = 200, description = "What became of each row", body = BatchBody),
        (status = 409, description = "The first request with this Idempotency-Key is still running", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The request has mistakes; or with `atomic` a row has, and the document is a `RefusedBatch`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn create(mut call: Call<LinksWrite>) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::of(call.request.query_string());
    let yes_or_no = [("true", true), ("false", false)];
    let dry_run = parameters.one("dry_run", choice(&yes_or_no)).unwrap_or(false);
    let atomic = parameters.one("atomic", choice(&yes_or_no)).unwrap_or(false);
    let how = parameters.finish(How { dry_run, atomic })?;
    let media_type = call.media_type();
    let bytes = call.body(BODY_BYTES_MAX).await?;
    let rows = take_apart(&media_type, &bytes)?;
    let replay = Replay::begin(&call, &bytes).await?;
    replay.answer(&call, async |attempt| answer(&call, rows, how, attempt).await).await
}

async fn answer(
    call: &Call<LinksWrite>,
    rows: Vec<Result<Value, Problem>>,
    how: How,
    attempt: &Attempt,
) -> Result<HttpResponse, Problem> {
    let mut wishes = read_all(call, rows);
    bulk::refuse_repeated_codes(&mut wishes);
    if how.dry_run || how.atomic {
        bulk::refuse_taken_codes(&call.app, &mut wishes, attempt, &call.officer().actor()).await?;
    }
    let is_refused = how.atomic && wishes.iter().any(Result::is_err);
    let mut refusals = Refusals { request_id: call.id(), mistakes_left: MISTAKES_MAX };
    let results: Vec<RowBody> = if how.dry_run || is_refused {
        let fine = Problem::new(Kind::BatchRefused, "this row is fine, but others of its batch aren't");
        let untouched = |(index, wish): (usize, Result<Wish, Problem>)| match wish {
            Ok(_) if is_refused => refusals.row(index, &fine),
            Ok(_) => RowBody { row: index + 1, status: StatusCode::CREATED.as_u16(), link: None, problem: None },
            Err(problem) => refusals.row(index, &problem),
        };
        wishes.into_iter().enumerate().map(untouched).collect()
    } else {
        create_each(call, wishes, how, attempt, &mut refusals).await?
    };
    let created = results.iter().filter(|row| row.problem.is_none()).count();
    let batch = BatchBody { created, failed: results.len() - created, results };
    if !is_refused {
        return Ok(json(StatusCode::OK, &batch));
    }
    let problem = Problem::new(Kind::BatchRefused, "rows have mistakes; see \"results\"");
    let body = RefusedBody { problem: problem.body(&call.id()), batch };
    let mut response = json(problem.kind.status(), &body);
    let headers = response.headers_mut();
    headers.insert(actix_web::http::header::CONTENT_TYPE, "application/problem+json".parse().expect("a media type"));
    Ok(response)
}

/// Answers rows that failed, within what an answer may name.
struct Refusals {
    request_id: String,
    mistakes_left: usize,
}

impl Refusals {
    fn row(&mut self, index: usize, problem: &Problem) -> RowBody {
        let body = problem.body_naming(ROW_MISTAKES_MAX.min(self.mistakes_left), &self.request_id);
        self.mistakes_left -= body.errors.len();
        RowBody { row: index + 1, status: body.status, link: None, problem: Some(body) }
    }
}

async fn create_each(
    call: &Call<LinksWrite>,
    wishes: Vec<Result<Wish, Problem>>,
    how: How,
    attempt: &Attempt,
    refusals: &mut Refusals,
) -> Result<Vec<RowBody>, Problem> {
    let (by, rows) = (call.officer().actor(), wishes.len());
    let mut created = std::pin::pin!(bulk::create(&call.app, wishes, attempt, &by));
    let mut results = Vec::new();
    while let Some(created) = created.next().await {
        let index = results.len();
        results.push(match created {
            Ok(link) => {
                let link = Some(LinkBody::created(&link, &call.app));
                RowBody { row: index + 1, status: StatusCode::CREATED.as_u16(), link, problem: None }
            }
            // Sent again with its Idempotency-Key, it goes on where it stopped.
            Err(problem) if problem.kind == Kind::Unavailable && attempt.mark.is_some() => return Err(problem),
            // All or nothing was asked for, and the answer can't be either.
            Err(problem) if problem.kind == Kind::Unavailable && how.atomic => {
                let created = results.iter().filter(|row: &&RowBody| row.problem.is_none()).count();
                let detail = format!(
                    "the store stopped answering after {created} of {rows} rows were created, and of those that were under way any may be: read GET /links \
                     before you send the others. With an Idempotency-Key, sending the batch again finishes it"
                );
                return Err(Problem::new(Kind::Unavailable, detail));
            }
            Err(problem) => refusals.row(index, &problem),
        });
    }
    Ok(results)
}

fn read_all(call: &Call<LinksWrite>, rows: Vec<Result<Value, Problem>>) -> Vec<Result<Wish, Problem>> {
    let officer = call.officer();
    let reach = officer.reach();
    let rules = Rules { app: &call.app, asker: &officer.email, reach: &reach, source: Source::Bulk };
    rows.into_iter().map(|row| row.and_then(|row| read_row(row, &rules))).collect()
}

/// What `POST /links` takes, a state, and without notice what only an export says.
fn read_row(mut row: Value, rules: &Rules<'_>) -> Result<Wish, Problem> {
    let mut state = None;
    if let Value::Object(fields) = &mut row {
        fields.shift_remove(Field::CreatedAt.name());
        fields.shift_remove(Field::Clicks.name());
        state = fields.shift_remove(Field::State.name()).filter(|state| !state.is_null());
    }
    let wish = read_wish(row, rules);
    let state = match state {
        None => return wish,
        Some(Value::String(text)) => parse_state(&text),
        Some(_) => Err("must be a text".to_owned()),
    };
    match (wish, state) {
        (Ok(wish), Ok(state)) => Ok(Wish { state, ..wish }),
        (Err(problem), Ok(_)) => Err(problem),
        (wish, Err(detail)) => {
            Err(wish.err().unwrap_or_else(|| Problem::mistakes(vec![])).and(Mistake::at("/state", detail)))
        }
    }
}

/// The rows of a body, each as the JSON object that `POST /links` would take.
fn take_apart(media_type: &str, bytes: &[u8]) -> Result<Vec<Result<Value, Problem>>, Problem> {
    let rows = match media_type {
        "application/json" => from_array(bytes)?,
        "application/x-ndjson" => from_lines(bytes),
        "text/csv" => from_csv(bytes)?,
        _ => {
            let detail = "send application/json, application/x-ndjson or text/csv";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
    };
    match rows.len() {
        0 => Err(Problem::mistakes(vec![Mistake::at("", "must have a row")])),
        1..=ROWS_MAX => Ok(rows),
        more => Err(Problem::mistakes(vec![Mistake::at("", format!("has {more} rows; at most {ROWS_MAX}"))])),
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn malformed(error: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::Malformed, error)
}

fn from_array(bytes: &[u8]) -> Result<Vec<Result<Value, Problem>>, Problem> {
    match serde_json::from_slice(without_mark(bytes)) {
        Ok(Value::Array(rows)) => Ok(rows.into_iter().map(Ok).collect()),
        Ok(_) => Err(Problem::mistakes(vec![Mistake::at("", "must be an array of objects")])),
        Err(error) => Err(malformed(format!("the body isn't JSON: {error}"))),
    }
}

fn from_lines(bytes: &[u8]) -> Vec<Result<Value, Problem>> {
    let lines = without_mark(bytes).split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines
        .map(|line| serde_json::from_slice(line).map_err(|error| malformed(format!("the row isn't JSON: {error}"))))
        .collect()
}

fn from_csv(bytes: &[u8]) -> Result<Vec<Result<Value, Problem>>, Problem> {
    let whole = |detail: String| Problem::mistakes(vec![Mistake::at("", detail)]);
    let mut reader = Reader::new(bytes).map_err(|error| whole(error.to_string()))?;
    if reader.dialect() != Dialect::Merlink {
        return Err(whole("needs the column target_url".to_owned()));
    }
    if !reader.ignored().is_empty() {
        return Err(whole(format!("has columns that aren't known: {}", reader.ignored().join(", "))));
    }
    let mut rows = Vec::new();
    while let Some(record) = reader.next().map_err(|error| malformed(error.to_string()))? {
        rows.push(match &record.broken {
            Some(broken) => Err(malformed(format!("the row {broken}"))),
            None => Ok(from_record(&record)),
        });
    }
    Ok(rows)
}

fn from_record(record: &Record) -> Value {
    let mut row = Map::new();
    for field in Field::ALL {
        let cell = record.cell(field);
        let value = match (field, cell) {
            (_, "") => continue,
            (Field::Tags, tags) => {
                object!(tags.split(TAG_SEPARATOR).map(str::trim).filter(|tag| !tag.is_empty()).collect::<Vec<_>>())
            }
            (Field::ForwardQuery, text) => parse_flag(text).map_or_else(|_| text.into(), Value::Bool),
            (_, text) => Value::String(text.to_owned()),
        };
        row.insert(field.name().to_owned(), value);
    }
    Value::Object(row)
}
