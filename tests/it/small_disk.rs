//! A disk of its own for one merlink, small enough to be filled: a tmpfs in a mount namespace that nobody else sees and that ends with
//! the test, whatever becomes of it. It takes root, or a kernel that lets users have namespaces; where there is neither there is none.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::fs::{FallocateFlags, fallocate};
use tempfile::TempDir;

use crate::harness::eventually;

pub struct SmallDisk {
    /// Keeps the namespace: it ends when its stdin does, which is with the test.
    keeper: Child,
    folder: TempDir,
    is_own_user: bool,
}

impl SmallDisk {
    /// `None` where this user can't have one.
    pub fn new(bytes: u64) -> Option<Self> {
        [false, true].into_iter().find_map(|is_own_user| Self::try_new(bytes, is_own_user))
    }

    fn try_new(bytes: u64, is_own_user: bool) -> Option<Self> {
        let folder = TempDir::new().expect("a temporary directory can be made");
        let mut unshare = Command::new("unshare");
        unshare.arg("--mount");
        if is_own_user {
            unshare.arg("--map-root-user");
        }
        let keep = r#"mount -t tmpfs -o "size=$1" small-disk "$0" && touch "$0/is-mounted" && exec cat"#;
        unshare.args(["sh", "-c", keep]).arg(folder.path()).arg(bytes.to_string());
        unshare.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = unshare.spawn().ok()?;
        let mut disk = Self { keeper, folder, is_own_user };
        let is_mounted = eventually("a small disk is there or can't be had", || {
            if disk.seen_from_here().join("is-mounted").exists() {
                return Some(true);
            }
            disk.keeper.try_wait().expect("our child can be waited for").map(|_| false)
        });
        is_mounted.then_some(disk)
    }

    /// Where it is to whoever runs [`Self::within`].
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What to put before a command that is to run where the disk is.
    pub fn within(&self) -> Vec<String> {
        // `--root`: in a chroot, the mounts' own root is another.
        let target = format!("--target={}", self.keeper.id());
        let mut words = vec!["nsenter".to_owned(), target, "--mount".to_owned(), "--root".to_owned()];
        if self.is_own_user {
            words.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        words.push("--".to_owned());
        words
    }

    /// Takes all the room there is.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("the disk can be written");
        let mut piece = 1024 * 1024;
        let mut taken = 0;
        while piece > 0 {
            match fallocate(&filler, FallocateFlags::empty(), taken, piece) {
                Ok(()) => taken += piece,
                Err(_) => piece /= 2,
            }
        }
        filler.write_all(b"full").expect("these bytes are reserved");
    }

    /// Gives it back.
    pub fn clear(&self) {
        fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.seen_from_here().join("filler")
    }

    fn seen_from_here(&self) -> PathBuf {
        let path = self.folder.path().strip_prefix("/").expect("a temporary directory's path is absolute");
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.keeper.kill().ok();
        self.keeper.wait().ok();
    }
}
