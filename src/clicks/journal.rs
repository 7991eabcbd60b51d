//! The click journal: what was answered and is not yet certain to stay in Redis, on this machine's disk.
//!
//! One endless sequence of bytes, cut into segment files named by the position of their first byte. A position is a byte's place in the
//! whole sequence; it is never used twice, and what was written stays byte for byte the same. The newest segment is a preallocated,
//! memory-mapped file: an append is a copy into the page cache, so killing the process loses nothing that was answered. Losing power
//! loses what wasn't synced; the flusher syncs every second.
//!
//! A new process starts a new segment. What one looks like inside is `segment.rs`'s. What the journal doesn't know: what the counters
//! are, or how far Redis has come. See `flush.rs`.

use std::{
    fs::{self, File},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::segment::{
    MAGIC, RECORD_BYTES_MAX, Record, SEGMENT_BYTES, Segment, list_segments, read_segment, records, segment_path, trim,
};
use crate::{config, domain::Click};

/// After a segment couldn't be made, the next attempt waits this long: a full disk isn't asked for every click.
const RETRY_SEGMENT_AFTER: Duration = Duration::from_secs(1);

/// What a scan reads at once.
const READ_BYTES: u64 = 1024 * 1024;

/// Names this journal's positions in Redis. A journal that lost its files is another journal, with another name.
const INSTANCE_FILE: &str = "instance";

/// 32^8 names: two of a thousand instances share one with a chance of 1 in 2 million.
const INSTANCE_LENGTH: usize = 8;
pub const NAME_ALPHABET: [char; 32] = [
    '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'p',
    'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y',
];

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the click journal in {0} can't be used: {1}")]
    Unusable(PathBuf, #[source] io::Error),
}

pub struct Journal {
    folder: PathBuf,
    name: Mutex<Name>,
    bytes_max: u64,
    /// Behind the last whole record. What lies before it may be read without the writer's lock.
    end: AtomicU64,
    /// A click could not be kept lately.
    failing: AtomicBool,
    writer: Mutex<Writer>,
}

/// What this journal's positions are called in Redis, and from which one on they are called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub instance: String,
    /// What lies before it was counted under an earlier name, all of it.
    pub from: u64,
}

struct Writer {
    segment: Option<Segment>,
    /// Made ahead by the flusher, so that no visitor waits for the disk.
    spare: Option<Segment>,
    next_base: u64,
    retry_at: Option<Instant>,
    /// Clicks of this process.
    kept: u64,
    /// Closed since the last sync.
    unsynced: Vec<Arc<File>>,
    /// First positions and sizes of all segment files but the spare's, oldest first.
    files: Vec<(u64, u64)>,
}

impl Journal {
    /// Opens the journal in `folder` behind all that is in it. The caller holds the data directory's lock.
    ///
    /// # Errors
    ///
    /// When the folder can't be made, read or written, or holds something else.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, JournalError> {
        let unusable = |error| JournalError::Unusable(folder.to_owned(), error);
        config::make_dir(folder).map_err(unusable)?;
        let mut files = list_segments(folder).map_err(unusable)?;
        for (base, size) in &mut files {
            *size = trim(folder, *base, *size).map_err(unusable)?;
        }
        let name = read_or_make_name(folder, files.is_empty()).map_err(unusable)?;
        let next_base = files.last().map_or(0, |(base, _)| base + SEGMENT_BYTES);
        let mut writer =
            Writer { segment: None, spare: None, next_base, retry_at: None, kept: 0, unsynced: Vec::new(), files };
        // A full disk keeps nobody from starting: what is in the journal has to be brought to Redis before there can be room.
        let (end, failing) = match writer.make_segment(folder, bytes_max) {
            Ok(segment) => {
                let end = segment.end();
                writer.install(segment);
                (end, false)
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                writer.retry_at = Some(Instant::now());
                (next_base, true)
            }
            Err(error) => return Err(unusable(error)),
        };
        Ok(Self {
            folder: folder.to_owned(),
            name: Mutex::new(name),
            bytes_max,
            end: AtomicU64::new(end),
            failing: AtomicBool::new(failing),
            writer: Mutex::new(writer),
        })
    }

    pub fn name(&self) -> Name {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes another name for what lies behind `from`: all before it was counted under the last one.
    ///
    /// # Errors
    ///
    /// What the disk says; then the name stays.
    pub fn rename(&self, from: u64) -> io::Result<Name> {
        let name = make_name(&self.folder, from)?;
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&name);
        Ok(name)
    }

    /// The position behind the last click.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The same, and how many clicks this process has put before it.
    pub fn end_and_kept(&self) -> (u64, u64) {
        let writer = self.lock();
        (self.end(), writer.kept)
    }

    /// Whether the last click could not be kept.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Keeps a click; `false` when the disk or the bound doesn't allow it. `code` has 1 to 255 bytes.
    ///
    /// Takes the time of a short copy. Only once in a segment, and only if the flusher didn't get to it, a file is made here.
    pub fn append(&self, code: &str, click: Click, at_s: u32) -> bool {
        let mut writer = self.lock();
        let kept = writer.append(&self.folder, self.bytes_max, code, click, at_s);
        if let Some(end) = kept {
            self.end.store(end, Ordering::Release);
        }
        // Written only when it changes, so that workers don't fight for its cache line.
        if self.failing.load(Ordering::Relaxed) == kept.is_some() {
            self.failing.store(kept.is_none(), Ordering::Relaxed);
        }
        kept.is_some()
    }

    /// Makes the next segment before it is needed, aside, so that no visitor waits for the disk. And goes on in it if the one being
    /// written holds clicks older than `age`, so that none stays on this disk for longer than it must: a quiet instance would fill a
    /// segment in months.
    pub fn prepare(&self, age: Duration) {
        self.make_spare(age);
        let mut writer = self.lock();
        if writer.spare.is_some() && writer.segment.as_ref().is_some_and(|segment| segment.is_older_than(age)) {
            writer.renew(&self.folder, self.bytes_max);
        }
    }

    fn make_spare(&self, age: Duration) {
        let base = {
            let mut writer = self.lock();
            let is_due = writer
                .segment
                .as_ref()
                .is_none_or(|segment| segment.written as u64 > SEGMENT_BYTES / 2 || segment.is_older_than(age));
            if !is_due || writer.spare.is_some() || !writer.may_retry() {
                return;
            }
            writer.reserve_base(self.bytes_max)
        };
        let spare = base.and_then(|base| Segment::make(&self.folder, base));
        let mut writer = self.lock();
        match spare {
            Ok(spare) => {
                // In the meantime a visitor may have needed one, and made one further on: the sequence only goes forward.
                if writer.segment.as_ref().is_none_or(|segment| segment.base < spare.base) {
                    writer.spare = Some(spare);
                    writer.retry_at = None;
                    // There is room again, and nobody may come to find out: who isn't ready is sent no visitors.
                    self.failing.store(false, Ordering::Relaxed);
                } else {
                    let _ = fs::remove_file(segment_path(&self.folder, spare.base));
                }
            }
            Err(_) => writer.retry_at = Some(Instant::now() + RETRY_SEGMENT_AFTER),
        }
    }

    /// Brings what was appended to the disk. Blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn sync(&self) -> io::Result<()> {
        let mut writer = self.lock();
        let mut files = std::mem::take(&mut writer.unsynced);
        files.extend(writer.segment.as_ref().map(|segment| Arc::clone(&segment.file)));
        drop(writer);
        files.iter().try_for_each(|file| file.sync_data())
    }

    /// Calls `visit` with each record behind `from`, oldest first, up to the journal's end or until it breaks. `from` is a record's end
    /// or a segment's start ([`segment_start`]): elsewhere no record begins.
    ///
    /// # Errors
    ///
    /// When a segment can't be read.
    pub fn scan(&self, from: u64, visit: impl FnMut(Record<'_>) -> ControlFlow<()>) -> io::Result<()> {
        self.scan_by(READ_BYTES, from, visit)
    }

    /// When the first click behind `from` was, as [`Self::scan`] means it; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When a segment can't be read.
    pub fn first_behind(&self, from: u64) -> io::Result<Option<u32>> {
        let mut first = None;
        if from < self.end() {
            self.scan_by(RECORD_BYTES_MAX, from, |record| {
                first = Some(record.at_s);
                ControlFlow::Break(())
            })?;
        }
        Ok(first)
    }

    /// Reads pieces of `piece` bytes, each of which has room for a record at least.
    fn scan_by(&self, piece: u64, from: u64, mut visit: impl FnMut(Record<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let end = self.end();
        let files = self.lock().files.clone();
        for (base, size) in files {
            if base + size <= from || base >= end {
                continue;
            }
            let to = end.min(base + size);
            let mut at = from.max(base + MAGIC.len() as u64);
            while at < to {
                let bytes = match read_segment(&self.folder, base, at, to.min(at + piece)) {
                    // Somebody made room by hand: what it held and Redis lacks is lost, and nothing can bring it back.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    bytes => bytes?,
                };
                let read_from = at;
                for record in records(&bytes, read_from) {
                    at = record.end;
                    if visit(record).is_break() {
                        return Ok(());
                    }
                }
                if at == read_from {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The first position still kept.
    pub fn start(&self) -> u64 {
        self.lock().files.first().map_or(0, |(base, _)| *base)
    }

    /// The segments that lie wholly before `position` and aren't being written, oldest first: their first positions.
    pub fn segments_before(&self, position: u64) -> Vec<u64> {
        let writer = self.lock();
        let closed = writer.files.len().saturating_sub(1);
        writer.files[..closed].iter().filter(|(base, size)| base + size <= position).map(|(base, _)| *base).collect()
    }

    /// Removes the segment that starts at `base`; answers how much disk that gives back.
    ///
    /// # Errors
    ///
    /// When the file can't be removed. That somebody else has done so is no error.
    pub fn remove(&self, base: u64) -> io::Result<u64> {
        match fs::remove_file(segment_path(&self.folder, base)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let files = &mut self.lock().files;
        let position = files.iter().position(|(other, _)| *other == base);
        Ok(position.map_or(0, |position| files.remove(position).1))
    }

    /// Disk taken, reserved but unwritten bytes included.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    /// Whether another segment would go beyond the bound, or the disk had no room for the last one that was tried.
    pub fn is_full(&self) -> bool {
        let writer = self.lock();
        writer.retry_at.is_some() || writer.bytes() + SEGMENT_BYTES > self.bytes_max
    }

    /// Room was made: the next who needs a segment tries at once.
    pub fn retry_soon(&self) {
        self.lock().retry_at = None;
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        // A panic under the lock leaves at worst a record without its checksum: as after a crash.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// The position behind the new record, or `None` when there is no room for it.
    fn append(&mut self, folder: &Path, bytes_max: u64, code: &str, click: Click, at_s: u32) -> Option<u64> {
        let put = |writer: &mut Self| writer.segment.as_mut()?.append(code, click, at_s);
        let end = match put(self) {
            None if self.renew(folder, bytes_max) => put(self),
            end => end,
        }?;
        self.kept += 1;
        Some(end)
    }

    /// Goes on in a fresh segment; `false` when none can be had now.
    fn renew(&mut self, folder: &Path, bytes_max: u64) -> bool {
        let fresh = match self.spare.take() {
            Some(spare) => spare,
            None if self.may_retry() => match self.make_segment(folder, bytes_max) {
                Ok(segment) => segment,
                Err(_) => {
                    self.retry_at = Some(Instant::now() + RETRY_SEGMENT_AFTER);
                    return false;
                }
            },
            None => return false,
        };
        self.install(fresh);
        true
    }

    fn may_retry(&self) -> bool {
        self.retry_at.is_none_or(|at| Instant::now() >= at)
    }

    fn install(&mut self, segment: Segment) {
        self.files.push((segment.base, SEGMENT_BYTES));
        self.retry_at = None;
        if let Some(closed) = self.segment.replace(segment) {
            let (base, file, used) = closed.close();
            self.unsynced.push(file);
            if let Some((_, size)) = self.files.iter_mut().find(|(other, _)| *other == base) {
                *size = used;
            }
        }
    }

    fn bytes(&self) -> u64 {
        let spare = if self.spare.is_some() { SEGMENT_BYTES } else { 0 };
        self.files.iter().map(|(_, size)| size).sum::<u64>() + spare
    }

    fn make_segment(&mut self, folder: &Path, bytes_max: u64) -> io::Result<Segment> {
        let base = self.reserve_base(bytes_max)?;
        Segment::make(folder, base)
    }

    /// Where the next segment starts, if the bound allows one. Positions that come to nothing are never used.
    fn reserve_base(&mut self, bytes_max: u64) -> io::Result<u64> {
        if self.bytes() + SEGMENT_BYTES > bytes_max {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "clicks.journal_bytes_max is reached"));
        }
        let base = self.next_base;
        self.next_base += SEGMENT_BYTES;
        Ok(base)
    }
}

fn read_or_make_name(folder: &Path, is_new: bool) -> io::Result<Name> {
    if is_new {
        return make_name(folder, 0);
    }
    // Under another name everything in the journal would be counted once more.
    let text = fs::read_to_string(folder.join(INSTANCE_FILE))?;
    let mut words = text.split_ascii_whitespace();
    let instance = words.next().filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let from = words.next().map_or(Some(0), |from| from.parse().ok());
    match (instance, from, words.next()) {
        (Some(instance), Some(from), None) => Ok(Name { instance: instance.to_owned(), from }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the file \"instance\" in it is damaged")),
    }
}

/// Draws a name and writes it in one step, so that a crash leaves the old one or the new one.
fn make_name(folder: &Path, from: u64) -> io::Result<Name> {
    let instance = nanoid::nanoid!(INSTANCE_LENGTH, &NAME_ALPHABET);
    let draft = folder.join("instance.new");
    fs::write(&draft, format!("{instance} {from}"))?;
    File::open(&draft)?.sync_all()?;
    fs::rename(&draft, folder.join(INSTANCE_FILE))?;
    File::open(folder)?.sync_all()?;
    Ok(Name { instance, from })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use proptest::prelude::*;

    use super::*;

    const BYTES_MAX: u64 = 4 * SEGMENT_BYTES;
    /// No click of a test is as old.
    const AGE: Duration = Duration::from_secs(3600);

    fn open(folder: &Path) -> Journal {
        Journal::open(folder, BYTES_MAX).expect("a journal")
    }

    fn all(journal: &Journal) -> Vec<(u64, String, Click, u32)> {
        let mut found = Vec::new();
        journal
            .scan(0, |record| {
                found.push((record.end, record.code.to_owned(), record.click, record.at_s));
                ControlFlow::Continue(())
            })
            .expect("readable");
        found
    }

    #[test]
    fn what_was_appended_is_there_after_a_restart_at_the_same_positions() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        for (at_s, click) in (0..).zip(Click::ALL) {
            assert!(journal.append(&"x".repeat(1 + at_s as usize * 50), click, at_s));
        }
        let before = all(&journal);
        let (instance, end) = (journal.name(), journal.end());
        assert_eq!(before.len(), 6);
        drop(journal);
        let journal = open(folder.path());
        assert_eq!(all(&journal), before);
        assert_eq!(journal.name(), instance);
        assert!(journal.end() > end, "positions are never used twice");
    }

    #[test]
    fn a_scan_begins_behind_a_position_and_ends_when_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        for at_s in 0..10 {
            journal.append("abc", Click::Bot, at_s);
        }
        let third = all(&journal)[2].0;
        let mut seen = Vec::new();
        journal
            .scan(third, |record| {
                seen.push(record.at_s);
                if record.at_s == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .expect("readable");
        assert_eq!(seen, [3, 4, 5, 6]);
    }

    #[test]
    fn a_record_torn_by_a_kill_ends_its_segment_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        journal.append("whole", Click::Bot, 1);
        let whole = journal.end();
        journal.append("torn", Click::Bot, 2);
        drop(journal);
        let path = segment_path(folder.path(), 0);
        let file = File::options().write(true).open(&path).expect("the segment");
        file.write_all_at(&[0xff], whole + 8).expect("torn");
        let journal = open(folder.path());
        journal.append("next", Click::Bot, 3);
        let codes: Vec<String> = all(&journal).into_iter().map(|record| record.1).collect();
        assert_eq!(codes, ["whole", "next"]);
        assert_eq!(fs::metadata(path).expect("the segment").len(), whole, "the rest goes back to the disk");
    }

    #[test]
    fn the_bound_holds_and_room_made_is_used_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path(), 2 * SEGMENT_BYTES).expect("a journal");
        let code = "c".repeat(255);
        let mut kept = 0_u64;
        while journal.append(&code, Click::Bot, 1) {
            kept += 1;
        }
        assert_eq!(kept, 2 * ((SEGMENT_BYTES - MAGIC.len() as u64) / 265));
        assert!(journal.is_failing() && journal.is_full());
        assert_eq!(all(&journal).len() as u64, kept);
        let oldest = journal.segments_before(journal.end());
        assert_eq!(oldest, [0]);
        journal.remove(0).expect("removed");
        // The pause after a failure is over when a spare is made.
        while !journal.append(&code, Click::Bot, 2) {
            std::thread::yield_now();
        }
        assert!(!journal.is_failing());
        assert_eq!(journal.start(), SEGMENT_BYTES);
    }

    #[test]
    fn a_full_journal_that_got_room_says_so_before_the_next_click() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path(), 2 * SEGMENT_BYTES).expect("a journal");
        while journal.append("abc", Click::Bot, 1) {}
        assert!(journal.is_failing());
        journal.remove(0).expect("removed");
        while journal.is_failing() {
            journal.prepare(AGE);
            std::thread::yield_now();
        }
        assert!(journal.append("abc", Click::Bot, 2));
    }

    #[test]
    fn a_spare_is_made_ahead_and_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        journal.prepare(AGE);
        assert_eq!(journal.bytes(), SEGMENT_BYTES, "not before the segment is half full");
        let code = "c".repeat(255);
        while journal.end() < SEGMENT_BYTES * 3 / 4 {
            journal.append(&code, Click::Bot, 1);
        }
        journal.prepare(AGE);
        assert_eq!(journal.bytes(), 2 * SEGMENT_BYTES);
        while journal.end() < SEGMENT_BYTES {
            assert!(journal.append(&code, Click::Bot, 1));
        }
        assert!(journal.bytes() <= 2 * SEGMENT_BYTES);
        journal.sync().expect("synced");
    }

    #[test]
    fn a_segment_with_old_clicks_is_closed_and_the_next_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        journal.prepare(Duration::ZERO);
        assert!(journal.segments_before(u64::MAX).is_empty(), "an empty segment has nothing to get rid of");
        journal.append("old", Click::Bot, 1);
        journal.prepare(AGE);
        assert!(journal.segments_before(u64::MAX).is_empty());
        journal.prepare(Duration::ZERO);
        journal.append("new", Click::Bot, 2);
        assert_eq!(journal.segments_before(journal.end()), [0]);
        let codes: Vec<String> = all(&journal).into_iter().map(|record| record.1).collect();
        assert_eq!(codes, ["old", "new"]);
    }

    #[test]
    fn a_journal_that_lost_its_segments_is_another_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path()).name().instance;
        fs::remove_file(segment_path(folder.path(), 0)).expect("removed");
        assert_ne!(open(folder.path()).name().instance, first);
    }

    #[test]
    fn a_journal_that_took_another_name_keeps_it_and_from_where() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        let first = journal.name();
        assert_eq!(first.from, 0);
        let second = journal.rename(SEGMENT_BYTES).expect("renamed");
        assert_ne!(second.instance, first.instance);
        assert_eq!((second.from, journal.name()), (SEGMENT_BYTES, second.clone()));
        drop(journal);
        assert_eq!(open(folder.path()).name(), second);
        // As versions before this one wrote it.
        fs::write(folder.path().join(INSTANCE_FILE), &first.instance).expect("written");
        assert_eq!(open(folder.path()).name(), first);
    }

    #[test]
    fn a_damaged_instance_file_stops_the_start_rather_than_counting_everything_again() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open(folder.path()));
        fs::write(folder.path().join(INSTANCE_FILE), [0xff, 0xfe]).expect("written");
        assert!(matches!(Journal::open(folder.path(), BYTES_MAX), Err(JournalError::Unusable(..))));
    }

    #[test]
    fn a_journal_at_its_bound_opens_and_goes_on_when_it_gets_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path(), 2 * SEGMENT_BYTES).expect("a journal");
        while journal.append("abc", Click::Bot, 1) {}
        let before = all(&journal);
        drop(journal);
        let journal = Journal::open(folder.path(), 2 * SEGMENT_BYTES).expect("it opens");
        assert!(journal.is_failing() && journal.is_full());
        assert_eq!(all(&journal).len(), before.len());
        assert!(!journal.append("abc", Click::Bot, 2));
        let flushed = journal.end();
        for base in journal.segments_before(flushed) {
            journal.remove(base).expect("removed");
        }
        while journal.is_failing() {
            journal.prepare(AGE);
            std::thread::yield_now();
        }
        assert!(journal.append("abc", Click::Bot, 3));
        assert!(journal.end() > flushed);
    }

    #[test]
    fn a_segment_that_somebody_removed_is_gone_without_a_fuss() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        fs::remove_file(segment_path(folder.path(), 0)).expect("removed");
        journal.remove(0).expect("no error");
    }

    #[test]
    fn a_file_of_something_else_is_named_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = segment_path(folder.path(), 0);
        fs::write(&path, "somebody's letters").expect("written");
        assert!(matches!(Journal::open(folder.path(), BYTES_MAX), Err(JournalError::Unusable(..))));
        assert_eq!(fs::read(&path).expect("there"), b"somebody's letters");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_read_too_far(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut last = 0;
            for record in records(&bytes, 7) {
                prop_assert!(record.end > last && record.end <= 7 + bytes.len() as u64);
                last = record.end;
            }
        }

        #[test]
        fn a_journal_cut_anywhere_keeps_every_whole_record(cut in 0_u64..400) {
            let folder = tempfile::tempdir().expect("a folder");
            let journal = open(folder.path());
            for at_s in 0..10 {
                journal.append("abcdefgh", Click::Prefetch, at_s);
            }
            let before = all(&journal);
            drop(journal);
            let path = segment_path(folder.path(), 0);
            File::options().write(true).open(&path).expect("open").set_len(cut).expect("cut");
            let journal = open(folder.path());
            let kept: Vec<_> = before.into_iter().filter(|record| record.0 <= cut).collect();
            prop_assert_eq!(all(&journal), kept);
        }
    }
}
