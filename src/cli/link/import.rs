//! `merlink link import`: from a file to links.
//!
//! One thread takes the file apart, as many as there are processors read the rows, and some exchanges with Redis are under way at the
//! same time; between them wait a few thousand rows, whatever the file's size. The report keeps the order of the rows.
//!
//! Doing it again is harmless: a link that is what its row says is left as it is. A row without a code gets one that is drawn from what
//! it says, so that the same row finds the same link again.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Write as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::json;
use tokio::{
    sync::{mpsc as async_mpsc, oneshot},
    time::sleep,
};

use crate::{
    cli::{
        Failure,
        progress::{Progress, grouped},
        with_store,
    },
    config::Config,
    domain::{Code, Email, Link, Source},
    routes,
    rows::{
        self, Field, Mistake, Row, Rules, Wrong,
        columns::Dialect,
        read::{ReadError, Reader, Record},
    },
    server::ServeError,
    store::{Actor, BulkCreated, LINKS_AT_ONCE, NewLink, Store, StoreError},
    targets,
};

/// Exchanges with Redis under way at once: enough for it to have the next one ready when it is done with one.
const UNDER_WAY: usize = 4;
/// Draws of a code for a row that has none.
const DRAWS_MAX: u64 = 8;
/// How long an outage of Redis is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);
/// Of a code in the report, which may be anything when it is refused.
const SHOWN_CHARS_MAX: usize = 60;

#[derive(Clone, Copy)]
pub struct How {
    pub dry_run: bool,
    pub json: bool,
}

pub async fn run(config: &Config, file: &Path, owner: Option<Email>, how: How) -> Result<(), Failure> {
    if let Some(owner) = owner.as_ref().filter(|owner| !config.officers.email_domains.matches(owner)) {
        return Err(format!("--owner: {owner} is no officer's address: officers.email_domains doesn't allow it").into());
    }
    let rules = Rules {
        targets: Arc::new(targets::rules(config).map_err(|error| ServeError::blocked_file(config, error))?),
        email_domains: config.officers.email_domains.clone(),
        any_contact: true,
        owner,
        now: Timestamp::now(),
    };
    let in_file = |error: ReadError| format!("{}: {error}", file.display());
    let input = Input::open(file).map_err(|error| in_file(error.into()))?;
    let size = input.size;
    let now = rules.now;
    let mut reading = Reading::start(input, &rules).map_err(in_file)?;
    let mut report = Report::new(how);
    with_store(config, async |store| {
        let ahead = stream::unfold(&mut reading.chunks, async |chunks| Some((chunks.recv().await?, chunks)));
        let bring_in = async |ahead: Ahead| (ahead.read, bring_in(store, ahead.rows, now, how.dry_run).await);
        let mut outcomes = std::pin::pin!(ahead.map(bring_in).buffered(UNDER_WAY));
        while let Some((read, outcomes)) = outcomes.next().await {
            report.add(outcomes?, size.map(|size| ratio(read, size)))?;
        }
        Ok(())
    })
    .await?;
    let ended = reading.end();
    report.conclude();
    ended.map_err(in_file)?;
    match report.refused {
        0 => Ok(()),
        refused => Err(format!("{} of {} rows were refused", grouped(refused), grouped(report.rows())).into()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a progress bar")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The file, and how much of it has been read.
struct Input {
    bytes: Box<dyn Read + Send>,
    /// `None`: nobody knows.
    size: Option<u64>,
    done: Arc<AtomicU64>,
}

impl Input {
    fn open(file: &Path) -> io::Result<Self> {
        let done = Arc::default();
        if file == Path::new("-") {
            return Ok(Self { bytes: Box::new(io::stdin()), size: None, done });
        }
        let opened = File::open(file)?;
        let about = opened.metadata()?;
        if about.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self { bytes: Box::new(opened), size: about.is_file().then_some(about.len()), done })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.done.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A row of the file, and what it says.
struct ReadRow {
    row: u64,
    line: u64,
    code: String,
    said: Result<Row, Vec<Mistake>>,
}

/// Some rows that a thread is reading.
struct Ahead {
    rows: oneshot::Receiver<Vec<ReadRow>>,
    /// Bytes of the file up to them, about.
    read: u64,
}

/// Records to be read as rows, and who waits for them.
type Work = (Vec<Record>, oneshot::Sender<Vec<ReadRow>>);

/// The threads between the file and the links.
struct Reading {
    /// In the order of the file.
    chunks: async_mpsc::Receiver<Ahead>,
    file_thread: JoinHandle<Result<(), ReadError>>,
}

impl Reading {
    /// Reads the header, says what it is, and starts the threads. They end with the file, or when nobody wants the rows any more.
    fn start(input: Input, rules: &Rules) -> Result<Self, ReadError> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let (work, works) = mpsc::sync_channel::<Work>(processors);
        let (send_chunks, chunks) = async_mpsc::channel(UNDER_WAY + processors);
        let (say_dialect, dialect) = mpsc::sync_channel(1);
        // The reader isn't one that can be handed from thread to thread, so it is made where it is used.
        let file_thread = thread::spawn(move || {
            let done = Arc::clone(&input.done);
            let mut reader = match Reader::new(input) {
                Ok(reader) => reader,
                Err(error) => {
                    let _ = say_dialect.send(Err(error));
                    return Ok(());
                }
            };
            let _ = say_dialect.send(Ok((reader.dialect(), reader.ignored().to_vec())));
            take_apart(&mut reader, &done, &work, &send_chunks)
        });
        let (dialect, ignored) = dialect.recv().expect("the thread says what it has found")?;
        announce(dialect, &ignored);
        let works = Arc::new(Mutex::new(works));
        for _ in 0..processors {
            let (works, rules) = (Arc::clone(&works), rules.clone());
            thread::spawn(move || {
                loop {
                    let next = works.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((records, answer)) = next else { return };
                    let _ = answer.send(records.iter().map(|record| ReadRow::of(record, &rules, dialect)).collect());
                }
            });
        }
        Ok(Self { chunks, file_thread })
    }

    /// How the file ended.
    fn end(self) -> Result<(), ReadError> {
        drop(self.chunks);
        self.file_thread.join().expect("taking a file apart doesn't panic")
    }
}

fn take_apart(
    reader: &mut Reader<Input>,
    done: &AtomicU64,
    work: &mpsc::SyncSender<Work>,
    chunks: &async_mpsc::Sender<Ahead>,
) -> Result<(), ReadError> {
    loop {
        let mut records = Vec::with_capacity(LINKS_AT_ONCE);
        let ended = loop {
            match reader.next() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break Some(Ok(())),
                Err(error) => break Some(Err(error)),
            }
            if records.len() == LINKS_AT_ONCE {
                break None;
            }
        };
        let (answer, rows) = oneshot::channel();
        let ahead = Ahead { rows, read: done.load(Ordering::Relaxed) };
        let nobody_wants_more = chunks.blocking_send(ahead).is_err() || work.send((records, answer)).is_err();
        if let Some(ended) = ended {
            return ended;
        }
        if nobody_wants_more {
            return Ok(());
        }
    }
}

fn announce(dialect: Dialect, ignored: &[String]) {
    if dialect != Dialect::Merlink {
        eprintln!("This is an export of {}.", dialect.name());
    }
    if !ignored.is_empty() {
        eprintln!("These columns are left out: {}.", ignored.join(", "));
    }
}

impl ReadRow {
    fn of(record: &Record, rules: &Rules, dialect: Dialect) -> Self {
        let code = record.cell(Field::Code).chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
        let said = rules.read(record, dialect).and_then(|row| match &row.code {
            Some(code) if routes::is_reserved(code) => {
                Err(vec![mistake(Field::Code, "is a word that the service needs".to_owned())])
            }
            _ => Ok(row),
        });
        Self { row: record.row, line: record.line, code, said }
    }
}

fn mistake(field: Field, detail: String) -> Mistake {
    Mistake { field: Some(field), wrong: Wrong::Other(detail) }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Created,
    Unchanged,
    Refused(Vec<Mistake>),
}

/// Creates the links of some rows, or says what would become of them.
async fn bring_in(
    store: &Store,
    rows: oneshot::Receiver<Vec<ReadRow>>,
    now: Timestamp,
    dry_run: bool,
) -> Result<Vec<(ReadRow, Outcome)>, Failure> {
    let rows = rows.await.map_err(|_| "a thread that reads rows has ended: this is a fault of merlink's")?;
    let mut outcomes: Vec<(ReadRow, Outcome)> = Vec::with_capacity(rows.len());
    let mut open: Vec<usize> = Vec::new();
    for mut read in rows {
        let outcome = match &mut read.said {
            Ok(_) => {
                open.push(outcomes.len());
                Outcome::Created
            }
            Err(mistakes) => Outcome::Refused(std::mem::take(mistakes)),
        };
        outcomes.push((read, outcome));
    }
    // Rows without a code go round again when what they drew is another link's.
    for draw in 0..DRAWS_MAX {
        let new: Vec<NewLink> = open.iter().filter_map(|place| new_link(&outcomes[*place].0, draw, now)).collect();
        if new.is_empty() {
            break;
        }
        let became =
            patiently(async || if dry_run { preview(store, &new).await } else { store.create_links(&new).await })
                .await?;
        let mut again = Vec::new();
        for ((place, new), became) in open.into_iter().zip(new).zip(became) {
            let (read, outcome) = &mut outcomes[place];
            *outcome = judge(read, &new, became);
            let drawn = read.said.as_ref().is_ok_and(|row| row.code.is_none());
            if drawn && matches!(outcome, Outcome::Refused(_)) {
                again.push(place);
            }
        }
        open = again;
    }
    Ok(outcomes)
}

fn new_link(read: &ReadRow, draw: u64, now: Timestamp) -> Option<NewLink> {
    let row = read.said.as_ref().ok()?;
    Some(NewLink {
        code: row.code.clone().unwrap_or_else(|| draw_code(row, draw)),
        target: row.target.clone(),
        owner: row.owner.clone(),
        state: row.state,
        description: row.description.clone(),
        contact_email: row.contact_email.clone(),
        tags: row.tags.clone(),
        source: Source::Import,
        forward_query: row.forward_query,
        expires_at: row.expires_at,
        at: row.created_at.unwrap_or_else(|| rows::created_at(now, read.row)),
        by: Actor::Operator,
        mark: None,
    })
}

/// A code for a row that has none: always the same for the same row.
fn draw_code(row: &Row, draw: u64) -> Code {
    let seed = format!("import {row:?}");
    let mut number = draw;
    loop {
        let code = Code::drawn(&seed, number);
        if !routes::is_reserved(&code) {
            return code;
        }
        number += DRAWS_MAX;
    }
}

async fn preview(store: &Store, new: &[NewLink]) -> Result<Vec<BulkCreated>, StoreError> {
    let codes: Vec<Code> = new.iter().map(|new| new.code.clone()).collect();
    let existing = store.existing_links(&codes).await?;
    Ok(existing.into_iter().map(|existing| existing.unwrap_or(BulkCreated::Yes)).collect())
}

/// Tries again while Redis is away, for a while: a long import is a pity to begin anew.
async fn patiently<T>(attempt: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut away_since: Option<Instant> = None;
    loop {
        match attempt().await {
            Err(StoreError::Unavailable(_)) if away_since.is_none_or(|since| since.elapsed() < PATIENCE) => {
                away_since.get_or_insert_with(Instant::now);
                sleep(RETRY).await;
            }
            result => return result,
        }
    }
}

fn judge(read: &ReadRow, new: &NewLink, became: BulkCreated) -> Outcome {
    let existing = match became {
        BulkCreated::Yes => return Outcome::Created,
        BulkCreated::Damaged => {
            let detail = "is taken by a link that can't be read: merlink check says what is damaged".to_owned();
            return Outcome::Refused(vec![mistake(Field::Code, detail)]);
        }
        BulkCreated::Existed(existing) => existing,
    };
    let dated = read.said.as_ref().is_ok_and(|row| row.created_at.is_some());
    let differences = differences(new, &existing, dated);
    if differences.is_empty() {
        return Outcome::Unchanged;
    }
    let names: Vec<&str> = differences.into_iter().map(Field::name).collect();
    let detail = format!("is taken by a link with another {}", names.join(", "));
    Outcome::Refused(vec![mistake(Field::Code, detail)])
}

/// In what an existing link isn't what a row says.
fn differences(new: &NewLink, existing: &Link, dated: bool) -> Vec<Field> {
    let ms = |at: Timestamp| at.as_millisecond();
    [
        (Field::TargetUrl, new.target == existing.target),
        (Field::State, new.state == existing.state),
        (Field::Owner, new.owner == existing.owner),
        (Field::Description, new.description == existing.description),
        (Field::ContactEmail, new.contact_email == existing.contact_email),
        (Field::Tags, new.tags == existing.tags),
        (Field::ForwardQuery, new.forward_query == existing.forward_query),
        (Field::ExpiresAt, new.expires_at.map(ms) == existing.expires_at.map(ms)),
        (Field::CreatedAt, !dated || ms(new.at) == ms(existing.created_at)),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(field, _)| field)
    .collect()
}

/// What became of all rows so far.
struct Report {
    how: How,
    progress: Progress,
    created: u64,
    unchanged: u64,
    refused: u64,
    /// In a dry run: codes of earlier rows, which Redis doesn't have.
    seen: HashSet<Code>,
}

impl Report {
    fn new(how: How) -> Self {
        let progress = Progress::new("rows");
        Self { how, progress, created: 0, unchanged: 0, refused: 0, seen: HashSet::new() }
    }

    fn rows(&self) -> u64 {
        self.created + self.unchanged + self.refused
    }

    fn add(&mut self, outcomes: Vec<(ReadRow, Outcome)>, part: Option<f64>) -> io::Result<()> {
        for (read, mut outcome) in outcomes {
            if self.how.dry_run && outcome == Outcome::Created && self.was_seen(&read) {
                let detail = "is that of an earlier row".to_owned();
                outcome = Outcome::Refused(vec![mistake(Field::Code, detail)]);
            }
            match outcome {
                Outcome::Created => self.created += 1,
                Outcome::Unchanged => self.unchanged += 1,
                Outcome::Refused(mistakes) => {
                    self.refused += 1;
                    self.progress.hide();
                    writeln!(
                        io::stdout(),
                        "{}",
                        if self.how.json { as_json(&read, &mistakes) } else { as_text(&read, &mistakes) }
                    )?;
                }
            }
        }
        self.progress.show(self.rows(), part);
        Ok(())
    }

    fn was_seen(&mut self, read: &ReadRow) -> bool {
        let code = read.said.as_ref().ok().and_then(|row| row.code.clone());
        code.is_some_and(|code| !self.seen.insert(code))
    }

    fn conclude(&mut self) {
        self.progress.hide();
        let would_be = if self.how.dry_run { "would be " } else { "" };
        eprintln!(
            "{} rows in {}: {} {would_be}created, {} unchanged, {} {would_be}refused.",
            grouped(self.rows()),
            self.progress.summary(self.rows()),
            grouped(self.created),
            grouped(self.unchanged),
            grouped(self.refused),
        );
    }
}

fn as_text(read: &ReadRow, mistakes: &[Mistake]) -> String {
    let details: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let named = if read.code.is_empty() { String::new() } else { format!(" ({})", read.code) };
    format!("line {}{named}: {}", read.line, details.join("; "))
}

fn as_json(read: &ReadRow, mistakes: &[Mistake]) -> String {
    let errors: Vec<_> = mistakes
        .iter()
        .map(|mistake| json!({ "field": mistake.field.map(Field::name), "detail": mistake.wrong.to_string() }))
        .collect();
    json!({ "row": read.row, "line": read.line, "code": read.code, "errors": errors }).to_string()
}
