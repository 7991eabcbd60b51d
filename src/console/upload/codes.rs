//! The QR codes of many links as one ZIP, made while it is sent.
//!
//! A few pictures at a time are drawn on a thread of their own, added to the archive, and sent before the next ones are drawn: memory stays the
//! same however many there are, no worker draws, and a browser that reads slowly holds up no thread. Entries are stored as they are: a PNG is
//! compressed already, and an archive that is streamed needs no more work on the way.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::web::{self, Bytes, Data};
use futures_util::{Stream, stream};
use zip::{
    CompressionMethod, ZipWriter,
    result::ZipError,
    write::{SimpleFileOptions, StreamWriter},
};

use crate::{console::links::qr::picture, qr::Format, state::App};

/// Pictures drawn between two pieces of the answer: some 20 ms of work, and 300 kB.
const PICTURES_AT_ONCE: usize = 16;

/// Wide enough for a print of 8 cm at 300 dots an inch.
const SIZE: u32 = 1000;

/// Of a code, in the name of its picture. A name has at most 255 bytes on most disks.
const NAME_BYTES_MAX: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive can't be written: {0}")]
    Zip(#[from] ZipError),
    #[error("the archive can't be written: {0}")]
    Io(#[from] io::Error),
    #[error("the drawing thread is gone")]
    Thread,
}

/// A link whose code is drawn.
pub struct Drawn {
    pub line: u64,
    pub code: String,
}

/// What the archive has written and nobody has sent yet.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Bytes {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Archive {
    app: Data<App>,
    zip: ZipWriter<StreamWriter<Written>>,
    written: Written,
    left: std::vec::IntoIter<Drawn>,
    format: Format,
}

/// A ZIP with a picture of each, as a link's own page shows it: with the service's logo, if it has one.
pub fn archive(app: Data<App>, links: Vec<Drawn>, format: Format) -> impl Stream<Item = Result<Bytes, ArchiveError>> {
    let written = Written::default();
    let zip = ZipWriter::new_stream(written.clone());
    let archive = Archive { app, zip, written, left: links.into_iter(), format };
    stream::unfold(Some(archive), async |archive| {
        let archive = archive?;
        match web::block(move || archive.draw_some()).await {
            Ok(Ok((bytes, archive))) => Some((Ok(bytes), archive)),
            Ok(Err(error)) => Some((Err(error), None)),
            Err(_) => Some((Err(ArchiveError::Thread), None)),
        }
    })
}

impl Archive {
    /// Draws the next ones, or ends the archive when there are none.
    fn draw_some(mut self) -> Result<(Bytes, Option<Self>), ArchiveError> {
        let mut drew = false;
        for _ in 0..PICTURES_AT_ONCE {
            let Some(link) = self.left.next() else { break };
            drew = true;
            // A short link too long for any code has no picture; its row in the results tells of the link.
            let Ok(picture) = picture(&self.app, &link.code, self.format, SIZE, true) else { continue };
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            self.zip.start_file(file_name(&link, self.format), options)?;
            self.zip.write_all(&picture)?;
        }
        if drew {
            let bytes = self.written.take();
            return Ok((bytes, Some(self)));
        }
        self.zip.finish()?;
        Ok((self.written.take(), None))
    }
}

/// In the order of the upload's lines; and `con.svg`, which no Windows can store, is none of them.
fn file_name(link: &Drawn, format: Format) -> String {
    let code = &link.code[..link.code.len().min(NAME_BYTES_MAX)];
    format!("{:04}-{code}.{}", link.line, format.extension())
}
