//! One segment of the click journal: a file of records, preallocated and memory-mapped while it is written, plain bytes when it is read.
//!
//! A record: length of the code (1), class (1), time in seconds since 1970 (4), code, CRC-32 of all that (4); numbers little-endian. A length of
//! 0 ends a segment, and so does a record whose checksum is wrong: it was being written when the process died, so nobody had been
//! answered. How segments follow one another is `journal.rs`'s.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use memmap2::MmapMut;

use crate::domain::{Click, Device};

/// 8 MiB: some 450,000 clicks of 8-letter codes. Small enough to be reserved and read in one go, large enough that a new one is rare.
pub const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Names the format, so that a file of something else is never read as clicks.
pub const MAGIC: &[u8; 16] = b"merlink clicks 1";

/// Length, class and time before the code, checksum after it.
const RECORD_OVERHEAD: usize = 1 + 1 + 4 + 4;
/// With a code of 255 bytes.
pub const RECORD_BYTES_MAX: u64 = RECORD_OVERHEAD as u64 + 255;

/// A recorded click, and the position behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub end: u64,
    pub code: &'a str,
    pub click: Click,
    /// Since 1970-01-01 UTC.
    pub at_s: u32,
}

/// A file being written.
pub struct Segment {
    pub base: u64,
    pub written: usize,
    /// When its first click came.
    first_at: Option<Instant>,
    map: MmapMut,
    pub file: Arc<File>,
}

impl Segment {
    /// Makes the file of the segment that starts at `base`, its blocks reserved, its name on the disk.
    ///
    /// # Errors
    ///
    /// What the disk says; nothing is left behind then.
    pub fn make(folder: &Path, base: u64) -> io::Result<Self> {
        let path = segment_path(folder, base);
        // A leftover of this name holds no record: a spare that was never written to, or a file that couldn't be completed.
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let segment = reserve(&file).and_then(|()| map(&file));
        let mut map = match segment {
            Ok(map) => map,
            Err(error) => {
                let _ = fs::remove_file(&path);
                return Err(error);
            }
        };
        map[..MAGIC.len()].copy_from_slice(MAGIC);
        // A name that a power cut took away would be given again, and its positions with it.
        File::open(folder)?.sync_all()?;
        Ok(Self { base, written: MAGIC.len(), first_at: None, map, file: Arc::new(file) })
    }

    /// Writes a record; the position behind it, or `None` when there is no room. `code` has 1 to 255 bytes.
    pub fn append(&mut self, code: &str, click: Click, at_s: u32) -> Option<u64> {
        let size = RECORD_OVERHEAD + code.len();
        let record = self.map.get_mut(self.written..self.written + size)?;
        record[0] = u8::try_from(code.len()).ok().filter(|length| *length > 0)?;
        record[1] = encode_click(click);
        record[2..6].copy_from_slice(&at_s.to_le_bytes());
        record[6..6 + code.len()].copy_from_slice(code.as_bytes());
        let checksum = crc32fast::hash(&record[..6 + code.len()]);
        record[6 + code.len()..].copy_from_slice(&checksum.to_le_bytes());
        self.written += size;
        if self.first_at.is_none() {
            self.first_at = Some(Instant::now());
        }
        Some(self.end())
    }

    /// The position behind the last record.
    pub fn end(&self) -> u64 {
        self.base + self.written as u64
    }

    /// Whether its first click came that long ago.
    pub fn is_older_than(&self, age: Duration) -> bool {
        self.first_at.is_some_and(|at| at.elapsed() >= age)
    }

    /// Gives the unwritten rest back to the disk; answers where the segment starts, its file, and the size that remains.
    pub fn close(self) -> (u64, Arc<File>, u64) {
        let used = self.written as u64;
        drop(self.map);
        let shortened = self.file.set_len(used);
        (self.base, self.file, if shortened.is_ok() { used } else { SEGMENT_BYTES })
    }
}

/// Takes the blocks from the file system now: a write to a mapped page without one would kill the process when the disk is full.
fn reserve(file: &File) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, SEGMENT_BYTES) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let zeros = vec![0; 1024 * 1024];
            (0..SEGMENT_BYTES).step_by(zeros.len()).try_for_each(|offset| file.write_all_at(&zeros, offset))
        }
        Err(error) => Err(error.into()),
    }
}

/// Maps the whole of a reserved segment for writing.
#[expect(
    unsafe_code,
    reason = "an append by write(2) costs 2 µs, into mapped memory 0.05: the redirect's budget for everything is 1.3"
)]
fn map(file: &File) -> io::Result<MmapMut> {
    // SAFETY: the file was just made by this process in a folder that it holds the lock of, its blocks are reserved, and nobody shortens
    // it while it is mapped: `trim` runs before the first segment is made, `close` unmaps it first, `remove` never takes the one being written.
    unsafe { memmap2::MmapOptions::new().map_mut(file) }
}

pub fn segment_path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}.clicks"))
}

/// First positions and sizes of the segment files, oldest first.
pub fn list_segments(folder: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let base = name.to_str().and_then(|name| name.strip_suffix(".clicks")).and_then(|base| base.parse().ok());
        if let Some(base) = base {
            files.push((base, entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Gives the unwritten rest of a segment, left by a process that ended, back to the disk; answers the size that remains. Only a file of the
/// full size can have such a rest, so that a start needn't read gigabytes of those that were closed.
pub fn trim(folder: &Path, base: u64, size: u64) -> io::Result<u64> {
    let path = segment_path(folder, base);
    let start = base + MAGIC.len() as u64;
    let magic = read_segment(folder, base, base, start)?;
    // A file that was being made when the process died has no whole name of its format yet, and nothing else either.
    if magic != MAGIC && !MAGIC.starts_with(&magic) && magic.iter().any(|byte| *byte != 0) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is no segment of it", path.display())));
    }
    if size < SEGMENT_BYTES {
        return Ok(size);
    }
    let written = read_segment(folder, base, start, base + size)?;
    let used = records(&written, start).last().map_or(MAGIC.len() as u64, |record| record.end - base);
    let file = File::options().write(true).open(&path)?;
    file.set_len(used)?;
    file.sync_data()?;
    Ok(used)
}

/// The start of the segment that `position` lies in.
pub fn segment_start(position: u64) -> u64 {
    position - position % SEGMENT_BYTES
}

/// The bytes between two positions of the segment that starts at `base`; fewer when the file is shorter.
pub fn read_segment(folder: &Path, base: u64, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let size = to.saturating_sub(from);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let mut file = File::open(segment_path(folder, base))?;
    file.seek(io::SeekFrom::Start(from - base))?;
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The whole records in `bytes`, which stand at `position` in the journal, up to the first that isn't one.
pub fn records(bytes: &[u8], position: u64) -> impl Iterator<Item = Record<'_>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..)?;
        let length = usize::from(*rest.first()?);
        let record = rest.get(..RECORD_OVERHEAD + length).filter(|_| length > 0)?;
        let (body, checksum) = record.split_at(record.len() - 4);
        if crc32fast::hash(body).to_le_bytes() != checksum {
            return None;
        }
        offset += record.len();
        Some(Record {
            end: position + offset as u64,
            click: decode_click(body[1])?,
            at_s: u32::from_le_bytes(body[2..6].try_into().ok()?),
            code: str::from_utf8(&body[6..]).ok()?,
        })
    })
}

/// Never change a number: journals outlive the program.
fn encode_click(click: Click) -> u8 {
    match click {
        Click::Person(Device::Desktop) => 1,
        Click::Person(Device::Mobile) => 2,
        Click::Person(Device::Tablet) => 3,
        Click::Person(Device::Others) => 4,
        Click::Bot => 5,
        Click::Prefetch => 6,
    }
}

fn decode_click(byte: u8) -> Option<Click> {
    Click::ALL.into_iter().find(|click| encode_click(*click) == byte)
}
