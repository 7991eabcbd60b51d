//! `merlink link export`: from links to a file, some hundreds in memory at a time.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use jiff::Timestamp;

use crate::{
    cli::{
        Failure,
        progress::{Progress, grouped},
        with_store,
    },
    config::Config,
    domain::Email,
    rows::{
        nginx,
        write::{Form, Writer},
    },
    store::{Damaged, Filter, ListedLink, Store},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Csv,
    /// JSON objects, one a line
    Ndjson,
    /// Live links for nginx, for where there is no merlink
    NginxMap,
}

pub async fn run(config: &Config, file: &Path, format: Option<Format>, owner: Option<Email>) -> Result<(), Failure> {
    let format = format.unwrap_or_else(|| match file.extension().and_then(|extension| extension.to_str()) {
        Some("ndjson" | "jsonl") => Format::Ndjson,
        _ => Format::Csv,
    });
    let mut output = Output::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut progress = Progress::new("links");
    let written = with_store(config, async |store| {
        let written = write_all(store, owner, format, &mut output.bytes, &mut progress).await;
        progress.hide();
        match written {
            // Whoever reads stdout has had enough.
            Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            Err(Trouble::Output(error)) => Err(format!("{}: {error}", file.display()).into()),
            Err(Trouble::Other(failure)) => Err(failure),
            Ok(written) => Ok(Some(written)),
        }
    })
    .await?;
    let Some((links, damaged)) = written else { return Ok(()) };
    output.keep().map_err(|error| format!("{}: {error}", file.display()))?;
    eprintln!("{} links in {}.", grouped(links), progress.summary(links));
    if damaged.links > 0 {
        return Err(format!(
            "the file lacks {} links whose data are damaged: {damaged}. To see what a link holds: redis-cli HGETALL 'l:{{CODE}}'",
            damaged.links
        )
        .into());
    }
    Ok(())
}

enum Trouble {
    Output(io::Error),
    Other(Failure),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Answers how many links were written, and which were left out.
async fn write_all(
    store: &Store,
    owner: Option<Email>,
    format: Format,
    output: &mut impl Write,
    progress: &mut Progress,
) -> Result<(u64, Damaged), Trouble> {
    let mut walk = store.walk_links(owner, Filter::default());
    let mut printer = Printer::new(format, Timestamp::now(), output)?;
    let mut links = 0;
    loop {
        let some = walk.next().await.map_err(|error| Trouble::Other(error.into()))?;
        if some.is_empty() {
            break;
        }
        for listed in &some {
            printer.print(listed, output)?;
        }
        links += some.len() as u64;
        progress.show(links, None);
    }
    printer.end(output)?;
    output.flush()?;
    Ok((links, walk.damaged().clone()))
}

enum Printer {
    Rows(Writer),
    NginxMap(Timestamp),
}

impl Printer {
    fn new(format: Format, now: Timestamp, output: &mut impl Write) -> io::Result<Self> {
        Ok(match format {
            Format::Csv => Self::Rows(Writer::new(Form::Csv)),
            Format::Ndjson => Self::Rows(Writer::new(Form::Json)),
            Format::NginxMap => {
                nginx::head(output, now)?;
                Self::NginxMap(now)
            }
        })
    }

    fn print(&mut self, listed: &ListedLink, output: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Rows(writer) => {
                writer.push(&listed.link, listed.clicks);
                output.write_all(&writer.take())
            }
            Self::NginxMap(now) => nginx::line(output, &listed.link, *now),
        }
    }

    fn end(mut self, output: &mut impl Write) -> io::Result<()> {
        match &mut self {
            // The header, when there was no link.
            Self::Rows(writer) => output.write_all(&writer.take()),
            Self::NginxMap(_) => nginx::tail(output),
        }
    }
}

/// Where the links go. A file is there when it is whole, and not before.
struct Output {
    bytes: BufWriter<Box<dyn Write>>,
    /// Where it is written, and its name when it is done.
    file: Option<(PathBuf, PathBuf)>,
}

impl Output {
    fn open(file: &Path) -> io::Result<Self> {
        if file == Path::new("-") {
            return Ok(Self { bytes: BufWriter::new(Box::new(io::stdout())), file: None });
        }
        // A pipe or a device is written as it is.
        if fs::metadata(file).is_ok_and(|about| !about.is_file()) {
            let opened = File::options().write(true).open(file)?;
            return Ok(Self { bytes: BufWriter::new(Box::new(opened)), file: None });
        }
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        Ok(Self { bytes: BufWriter::new(Box::new(File::create(&part)?)), file: Some((part, file.to_owned())) })
    }

    fn keep(mut self) -> io::Result<()> {
        self.bytes.flush()?;
        match self.file.take() {
            Some((part, name)) => fs::rename(part, name),
            None => Ok(()),
        }
    }
}

impl Drop for Output {
    /// What didn't become whole isn't left behind.
    fn drop(&mut self) {
        if let Some((part, _)) = &self.file {
            let _ = fs::remove_file(part);
        }
    }
}
