//! The runs that had a journal: a file beside the segments has an id for each start.
//!
//! A copy of the folder shares the ids until the copy was made, and no later one.
//! `store/instances.rs` says what follows from that.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::store::Run;

const FILE: &str = "runs";
const ID_LENGTH: usize = 12;
/// Older ones would matter to a Redis that was restored from a backup older than so many starts.
const KEPT_MAX: usize = 500;

/// Draws an id for a start with the journal in `folder`, and keeps it there. On a full disk the
/// last start's id serves again.
///
/// # Errors
///
/// The disk's error.
pub fn begin(folder: &Path) -> io::Result<Run> {
    let text = match fs::read_to_string(folder.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut ids: Vec<&str> = text.split_ascii_whitespace().collect();
    let drawn = nanoid::nanoid!(ID_LENGTH, &super::journal::NAME_ALPHABET);
    ids.push(&drawn);
    let kept = &ids[ids.len().saturating_sub(KEPT_MAX)..];
    let id = match keep(folder, kept) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            text.split_ascii_whitespace().last().unwrap_or(&drawn)
        }
        kept => kept.map(|()| drawn.as_str())?,
    };
    Ok(Run { id: id.to_owned(), place: place(folder)?, earlier: ids.into_iter().map(str::to_owned).collect() })
}

/// Writes the file in one step, so that a crash leaves the old one or the new one.
fn keep(folder: &Path, ids: &[&str]) -> io::Result<()> {
    let draft = folder.join("runs.new");
    let mut file = File::create(&draft)?;
    file.write_all(ids.join("\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

/// The data directory on this machine since its last boot. A copy has another, and so has the same
/// directory after the next boot.
fn place(folder: &Path) -> io::Result<String> {
    let data_dir = fs::metadata(folder.parent().unwrap_or(folder))?;
    // Unreadable in some sandboxes. Then a copy of the whole disk isn't told apart, and any other
    // still is.
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digest = Sha256::new()
        .chain_update(data_dir.dev().to_be_bytes())
        .chain_update(data_dir.ino().to_be_bytes())
        .chain_update(boot)
        .finalize();
    Ok(digest[..8].iter().fold(String::with_capacity(16), |place, byte| place + &format!("{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_knows_those_before_it_and_a_copy_is_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal");
        fs::create_dir(&journal).expect("made");
        let first = begin(&journal).expect("begun");
        let second = begin(&journal).expect("begun");
        assert_eq!(first.place, second.place);
        assert!(second.earlier.contains(&first.id) && !first.earlier.contains(&second.id));
        let copied = tempfile::tempdir().expect("a folder");
        let copy = copied.path().join("journal");
        fs::create_dir(&copy).expect("made");
        fs::copy(journal.join(FILE), copy.join(FILE)).expect("copied");
        let third = begin(&copy).expect("begun");
        assert_ne!(third.place, first.place);
        assert!(third.earlier.contains(&second.id));
        for _ in 0..KEPT_MAX {
            begin(&journal).expect("begun");
        }
        assert_eq!(fs::read_to_string(journal.join(FILE)).expect("read").lines().count(), KEPT_MAX);
    }
}
