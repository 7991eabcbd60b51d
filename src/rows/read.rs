//! Taking a file apart into rows: CSV, or JSON objects one a line.
//!
//! Which of the two it is shows in its first character; what separates cells, in its header. A byte order mark, blank lines and Windows'
//! line ends are fine. A row that can't be read is an error of its own, and the next one is read; only what leaves no next one ends it.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Field, TAG_SEPARATOR,
    columns::{Dialect, Meaning},
    parse_flag,
    write::arm,
};

/// Of one row. A target has 2,082 bytes at most; a quotation mark that is never closed makes the rest of a file one row.
const ROW_BYTES_MAX: usize = 256 * 1024;
const COLUMNS_MAX: usize = 200;
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The same mark in UTF-16, of either byte order.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
/// What .xlsx and .ods begin with, which are ZIP archives, and .xls.
const WORKBOOK_MARKS: [&[u8]; 2] = [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"];

/// One row's cells; what isn't there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// 1 is the first below the header.
    pub row: u64,
    /// Where it begins in the file; 1 is the first line.
    pub line: u64,
    cells: [String; Field::ALL.len()],
    /// Why it can't be read.
    pub broken: Option<Broken>,
}

impl Record {
    pub fn cell(&self, field: Field) -> &str {
        &self.cells[field as usize]
    }

    /// Has the row say something else in a cell.
    pub fn replace(&mut self, field: Field, text: String) {
        self.cells[field as usize] = text;
    }

    fn set(&mut self, meaning: Meaning, text: &str) {
        let (field, text) = match meaning {
            Meaning::Is(field) => (field, text),
            Meaning::ShortUrl if self.cell(Field::Code).is_empty() => (Field::Code, last_part(text)),
            Meaning::CustomShortUrl if !text.is_empty() => (Field::Code, last_part(text)),
            Meaning::Off if parse_flag(text) == Ok(true) => (Field::State, "inactive"),
            Meaning::Ignored | Meaning::ShortUrl | Meaning::CustomShortUrl | Meaning::Off => return,
        };
        text.clone_into(&mut self.cells[field as usize]);
    }

    fn is_blank(&self) -> bool {
        self.broken.is_none() && self.cells.iter().all(String::is_empty)
    }
}

/// Why a row can't be taken apart, in English: "the row …". The console has words of its own for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Broken {
    #[error("has {cells} cells, the header {header}")]
    Cells { cells: usize, header: usize },
    #[error("isn't UTF-8")]
    NotUtf8,
    #[error("has a quotation mark that is never closed")]
    Unclosed,
    #[error("says nothing of a link")]
    Empty,
    #[error("isn't a JSON object: {0}")]
    NoObject(String),
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("there are no rows: a header and a row, or JSON objects, are needed")]
    Empty,
    #[error(
        "the columns are nobody's that are known. Needed is target_url, and perhaps code and others; or an export of GoGovSG, Shlink, \
         YOURLS, Kutt or Bitly. There are: {0}"
    )]
    UnknownColumns(String),
    #[error("the column {0} is there more than once: leave the one that counts")]
    RepeatedColumn(String),
    #[error("this is a file of a spreadsheet program: save it there as \"CSV UTF-8\"")]
    Workbook,
    #[error("the text is UTF-16: save it as \"CSV UTF-8\"")]
    Utf16,
    #[error("a row is longer than {} kB: perhaps a quotation mark is never closed", ROW_BYTES_MAX / 1024)]
    RowTooLong,
    #[error("there are more than {COLUMNS_MAX} columns")]
    TooManyColumns,
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
}

pub struct Reader<R: Read> {
    dialect: Dialect,
    rows: u64,
    ignored: Vec<String>,
    form: Form<R>,
}

/// Is put behind a CSV file: a row of its own, unless the file ends within a quotation; then it is the end of that.
const END: &[u8] = b"\n\0the end\0\n";

enum Form<R: Read> {
    Csv {
        reader: csv::Reader<io::Chain<Metered<BufReader<R>>, &'static [u8]>>,
        meanings: Vec<Meaning>,
        record: ByteRecord,
        read: Rc<Cell<usize>>,
        /// Lines above the header, which the CSV reader doesn't see.
        skipped: u64,
    },
    Json {
        reader: BufReader<R>,
        line: u64,
        ahead: Option<Vec<u8>>,
    },
}

/// Ends a row that doesn't end.
struct Metered<R> {
    inner: R,
    read: Rc<Cell<usize>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > ROW_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.inner.read(buffer)?;
        self.read.set(self.read.get() + read);
        Ok(read)
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header, or the first object.
    ///
    /// # Errors
    ///
    /// When it can't be known what the columns are.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut input = BufReader::with_capacity(64 * 1024, input);
        if input.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            input.consume(BYTE_ORDER_MARK.len());
        }
        let start = input.fill_buf()?;
        let begins_with = |marks: [&[u8]; 2]| marks.into_iter().any(|mark| start.starts_with(mark));
        if begins_with(WORKBOOK_MARKS) {
            return Err(ReadError::Workbook);
        }
        if begins_with(UTF_16_MARKS) {
            return Err(ReadError::Utf16);
        }
        let mut skipped = 0;
        let first = loop {
            match input.fill_buf()?.first().copied().ok_or(ReadError::Empty)? {
                b'\n' => skipped += 1,
                b'\r' | b' ' => {}
                other => break other,
            }
            input.consume(1);
        };
        if first == b'{' { Self::json(input, skipped) } else { Self::csv(input, skipped) }
    }

    fn csv(mut input: BufReader<R>, skipped: u64) -> Result<Self, ReadError> {
        let separator = separator(input.fill_buf()?);
        let read = Rc::new(Cell::new(0));
        let metered = Metered { inner: input, read: Rc::clone(&read) };
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(metered.chain(END));
        let mut header = ByteRecord::new();
        if !reader.read_byte_record(&mut header).map_err(csv_error)? {
            return Err(ReadError::Empty);
        }
        if header.len() > COLUMNS_MAX {
            return Err(ReadError::TooManyColumns);
        }
        let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let dialect = Dialect::of(&names)
            .ok_or_else(|| ReadError::UnknownColumns(names.join(", ").chars().take(300).collect()))?;
        let meanings: Vec<Meaning> = names.iter().map(|name| dialect.meaning(name)).collect();
        // In others' exports two columns may be of one field; in ours one would silently win.
        let is_repeated = |at: &usize| dialect == Dialect::Merlink && meanings[..*at].contains(&meanings[*at]);
        let fields = (0..names.len()).filter(|at| meanings[*at] != Meaning::Ignored);
        if let Some(at) = fields.into_iter().find(is_repeated) {
            return Err(ReadError::RepeatedColumn(names[at].clone()));
        }
        let is_ignored = |(name, meaning): (String, &Meaning)| (*meaning == Meaning::Ignored).then_some(name);
        let ignored = names.into_iter().zip(&meanings).filter_map(is_ignored).collect();
        read.set(0);
        Ok(Self {
            dialect,
            rows: 0,
            ignored,
            form: Form::Csv { reader, meanings, record: ByteRecord::new(), read, skipped },
        })
    }

    fn json(mut reader: BufReader<R>, mut line: u64) -> Result<Self, ReadError> {
        let first = next_line(&mut reader, &mut line)?.ok_or(ReadError::Empty)?;
        // One that isn't JSON is refused as a row: there is nothing to see other names in.
        let names: Vec<String> = serde_json::from_slice::<Map<String, Value>>(&first)
            .map(|object| object.into_iter().map(|(name, _)| name).collect())
            .unwrap_or_default();
        let dialect = Dialect::of(&names).unwrap_or(Dialect::Merlink);
        let ignored = names.into_iter().filter(|name| dialect.meaning(name) == Meaning::Ignored).collect();
        Ok(Self { dialect, rows: 0, ignored, form: Form::Json { reader, line: line - 1, ahead: Some(first) } })
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Columns, or names in the first object, that mean nothing here.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The next row; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// When no more rows can be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would go on behind the end")]
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let Some(mut record) = self.form.next(self.dialect)? else { return Ok(None) };
            if !record.is_blank() {
                self.rows += 1;
                record.row = self.rows;
                return Ok(Some(record));
            }
        }
    }
}

impl<R: Read> Form<R> {
    fn next(&mut self, dialect: Dialect) -> Result<Option<Record>, ReadError> {
        match self {
            Self::Csv { reader, meanings, record, read, skipped } => {
                read.set(0);
                if !reader.read_byte_record(record).map_err(csv_error)? || record.as_slice() == END.trim_ascii() {
                    return Ok(None);
                }
                if record.as_slice().ends_with(END) {
                    let line = *skipped + reader.position().line() - lines_within(record);
                    let broken = Some(Broken::Unclosed);
                    return Ok(Some(Record { line, broken, ..Record::default() }));
                }
                let line = *skipped + reader.position().line() - 1 - lines_within(record);
                let mut row = Record { line, ..Record::default() };
                // A stray separator at the end is no cell.
                if record.len() > meanings.len()
                    && record.iter().skip(meanings.len()).any(|cell| !cell.trim_ascii().is_empty())
                {
                    row.broken = Some(Broken::Cells { cells: record.len(), header: meanings.len() });
                }
                for (meaning, cell) in meanings.iter().zip(record.iter()) {
                    match std::str::from_utf8(cell) {
                        Ok(text) => row.set(*meaning, &arm(text.trim())),
                        Err(_) => row.broken = Some(Broken::NotUtf8),
                    }
                }
                Ok(Some(row))
            }
            Self::Json { reader, line, ahead } => {
                let bytes = match ahead.take() {
                    Some(first) => {
                        *line += 1;
                        first
                    }
                    None => match next_line(reader, line)? {
                        Some(bytes) => bytes,
                        None => return Ok(None),
                    },
                };
                let mut row = Record { line: *line, ..Record::default() };
                match serde_json::from_slice::<Map<String, Value>>(&bytes) {
                    Ok(object) => {
                        for (name, value) in object {
                            row.set(dialect.meaning(&name), &text_of(value));
                        }
                        // Unlike a blank line, an empty object is a row.
                        if row.is_blank() {
                            row.broken = Some(Broken::Empty);
                        }
                    }
                    Err(error) => row.broken = Some(Broken::NoObject(error.to_string())),
                }
                Ok(Some(row))
            }
        }
    }
}

/// A record knows on which line the search for it began, which was perhaps a blank one. So lines are counted from its end, which a line
/// feed always is: of `\r\n`, the first is trimmed off the last cell, and [`END`] begins with one.
fn lines_within(record: &ByteRecord) -> u64 {
    record.as_slice().split(|byte| *byte == b'\n').count() as u64 - 1
}

fn csv_error(error: csv::Error) -> ReadError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => ReadError::RowTooLong,
        csv::ErrorKind::Io(error) => ReadError::Io(error),
        other => ReadError::Io(io::Error::other(format!("{other:?}"))),
    }
}

/// The next line that isn't blank.
fn next_line(reader: &mut impl BufRead, line: &mut u64) -> Result<Option<Vec<u8>>, ReadError> {
    let limit = ROW_BYTES_MAX as u64 + 1;
    loop {
        let mut bytes = Vec::new();
        if reader.take(limit).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        if bytes.len() > ROW_BYTES_MAX {
            return Err(ReadError::RowTooLong);
        }
        *line += 1;
        if !bytes.trim_ascii().is_empty() {
            return Ok(Some(bytes));
        }
    }
}

/// What a JSON value would be in a cell.
fn text_of(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        Value::Array(items) => items.into_iter().map(text_of).collect::<Vec<_>>().join(&TAG_SEPARATOR.to_string()),
        other => other.to_string(),
    }
}

/// What the header has most of: spreadsheets of some countries write semicolons.
fn separator(start: &[u8]) -> u8 {
    let header = start.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or(start);
    let count = |separator: u8| header.split(|byte| *byte == separator).count();
    // The comma is last, and `max_by_key` takes the last of equals.
    [b'\t', b';', b','].into_iter().max_by_key(|separator| count(*separator)).unwrap_or(b',')
}

fn last_part(short_url: &str) -> &str {
    short_url.trim_end_matches('/').rsplit('/').next().unwrap_or(short_url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: impl AsRef<[u8]>) -> Vec<(u64, u64, String, String)> {
        let mut reader = Reader::new(file.as_ref()).expect("a file");
        let mut rows = Vec::new();
        while let Some(record) = reader.next().expect("can be read") {
            let target = || record.cell(Field::TargetUrl).to_owned();
            let said = record.broken.as_ref().map_or_else(target, Broken::to_string);
            rows.push((record.row, record.line, record.cell(Field::Code).to_owned(), said));
        }
        rows
    }

    fn row(row: u64, line: u64, code: &str, said: &str) -> (u64, u64, String, String) {
        (row, line, code.to_owned(), said.to_owned())
    }

    #[test]
    fn rows_know_their_lines_and_blank_ones_are_none() {
        assert_eq!(
            read(
                "\u{feff}\r\ncode,target_url,description\r\na,T1,\"two\r\nlines\"\r\n\r\n,,\r\nb,T2\r\nc,T3,x,,\r\n\r\n\r\n"
            ),
            [row(1, 3, "a", "T1"), row(2, 7, "b", "T2"), row(3, 8, "c", "T3")]
        );
        assert_eq!(
            read("\u{feff}\n{\"code\":\"a\",\"target_url\":\"T1\"}\n\n  \n{\"target_url\":\"T2\",\"code\":null}\r\n"),
            [row(1, 2, "a", "T1"), row(2, 5, "", "T2")]
        );
    }

    #[test]
    fn a_quotation_that_is_never_closed_is_named_with_the_line_where_it_begins() {
        for end in ["", "\n", "\r\n", "\n\n"] {
            assert_eq!(
                read(format!("code,target_url\na,T1\n\nb,\"T2\nc,T3\nd,T4{end}")),
                [row(1, 2, "a", "T1"), row(2, 4, "", "has a quotation mark that is never closed")],
                "{end:?}"
            );
            assert_eq!(read(format!("code,target_url\na,\"T1\n\"{end}")), [row(1, 2, "a", "T1")], "{end:?}");
        }
    }

    #[test]
    fn one_broken_row_leaves_the_others_whole() {
        assert_eq!(
            read(b"code,target_url\na,T1,more\n\xff,T2\nc,T3\n"),
            [row(1, 2, "a", "has 3 cells, the header 2"), row(2, 3, "", "isn't UTF-8"), row(3, 4, "c", "T3")]
        );
        let broken = read("{\"target_url\":\"T1\"}\n[]\n{}\n{\"target_url\":\"T4\"}");
        assert_eq!((&broken[0], &broken[3]), (&row(1, 1, "", "T1"), &row(4, 4, "", "T4")));
        assert!(broken[1].3.starts_with("isn't a JSON object"), "{broken:?}");
        assert_eq!(broken[2].3, "says nothing of a link");
    }

    #[test]
    fn cells_may_be_separated_by_semicolons_or_tabs() {
        for separator in [";", "\t", ","] {
            let file = ["code,target_url,tags", "a,T1,x"].join("\n").replace(',', separator);
            assert_eq!(read(file), [row(1, 2, "a", "T1")], "{separator:?}");
        }
    }

    #[test]
    fn a_row_that_never_ends_and_columns_that_nobody_knows_end_it() {
        let open = format!("code,target_url\na,T1\nb,\"{}", "x\n".repeat(ROW_BYTES_MAX));
        let mut reader = Reader::new(open.as_bytes()).expect("a file");
        assert!(reader.next().expect("a row").is_some());
        assert!(matches!(reader.next(), Err(ReadError::RowTooLong)));
        let long = format!("{{\"target_url\":\"{}\"}}\n", "x".repeat(ROW_BYTES_MAX));
        assert!(matches!(Reader::new(long.as_bytes()).err(), Some(ReadError::RowTooLong)));
        assert!(matches!(Reader::new(&b"name,phone\n"[..]).err(), Some(ReadError::UnknownColumns(_))));
        assert!(matches!(Reader::new(&b"\xef\xbb\xbf \n"[..]).err(), Some(ReadError::Empty)));
        let repeated = Reader::new(&b"target_url,code, Code\nT1,a,b\n"[..]).err();
        assert!(matches!(repeated, Some(ReadError::RepeatedColumn(name)) if name == "Code"));
        assert!(matches!(Reader::new(&b"\xff\xfet\0"[..]).err(), Some(ReadError::Utf16)));
        assert!(matches!(Reader::new(&b"PK\x03\x04"[..]).err(), Some(ReadError::Workbook)));
        let many = ",".repeat(COLUMNS_MAX) + "target_url\n";
        assert!(matches!(Reader::new(many.as_bytes()).err(), Some(ReadError::TooManyColumns)));
    }

    #[test]
    fn the_code_of_a_short_link_is_its_last_part_and_a_custom_one_counts_for_more() {
        let file = "Link,Custom Link,Destination URL,Archived\n\
                    https://bit.ly/3xYz,,T1,false\nbit.ly/3abc,https://go.gov.sg/tax/,T2,true\n";
        assert_eq!(read(file), [row(1, 2, "3xYz", "T1"), row(2, 3, "tax", "T2")]);
    }

    #[test]
    fn the_apostrophe_before_a_formula_is_taken_off_and_no_other() {
        let codes: Vec<String> = read("code,target_url\n'-a,x\n'a,x\n''=1,x\n'',x\n'＝1,x\nb;'=1,x\nb;'c,x\n")
            .into_iter()
            .map(|(_, _, code, _)| code)
            .collect();
        assert_eq!(codes, ["-a", "'a", "'=1", "''", "＝1", "b;=1", "b;'c"]);
    }
}
