//! A redis-server that the test owns, for what an embedded one can't show: away for long, hanging, configured wrongly.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use redis::Connection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::eventually;

/// What merlink asks of a Redis: every write on disk before its answer, nothing evicted, no half file loaded.
const SAFE: [(&str, &str); 5] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("maxmemory-policy", "noeviction"),
    ("aof-load-truncated", "no"),
    ("save", ""),
];

pub struct RedisServer {
    program: PathBuf,
    child: Option<Child>,
    directory: TempDir,
    socket: PathBuf,
    options: Vec<(String, String)>,
    /// Where it listens besides, for proxies.
    tcp: Option<SocketAddr>,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one that listens on a TCP port too, and never begins its append-only file anew: a test may want to cut it.
    pub fn on_tcp() -> Self {
        let address = free_address();
        let port = address.port().to_string();
        let options = [("bind", "127.0.0.1"), ("port", port.as_str()), ("auto-aof-rewrite-percentage", "0")];
        let mut server = Self::with(&options);
        server.tcp = Some(address);
        server
    }

    /// Starts one with these options in place of the safe ones.
    pub fn with(options: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let socket = directory.path().join("redis.sock");
        Self::on(directory, socket, options)
    }

    /// Starts one that listens on this socket.
    pub fn on(directory: TempDir, socket: PathBuf, options: &[(&str, &str)]) -> Self {
        Self::run(PathBuf::from("redis-server"), directory, socket, options)
    }

    /// Starts another program than the one on the PATH.
    pub fn of(program: &Path) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let socket = directory.path().join("redis.sock");
        Self::run(program.to_owned(), directory, socket, &[])
    }

    /// Starts a copy of redis-server in which one text in its program, which ends with a NUL, is another.
    pub fn altered(from: &str, to: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let program = alter(directory.path(), from, to);
        let socket = directory.path().join("redis.sock");
        Self::run(program, directory, socket, &[])
    }

    fn run(program: PathBuf, directory: TempDir, socket: PathBuf, options: &[(&str, &str)]) -> Self {
        let options = SAFE.iter().chain(options).map(|&(name, value)| (name.into(), value.into())).collect();
        let mut server = Self { program, child: None, directory, socket, options, tcp: None };
        server.start_again();
        server
    }

    /// Sets an option for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.options.push((name.to_owned(), value.to_owned()));
    }

    /// Starts again on the same files and the same socket.
    pub fn start_again(&mut self) {
        self.begin_again();
        eventually("redis-server answers", || redis::cmd("PING").exec(&mut self.connect()?).ok());
    }

    /// The same without waiting until it has read its files.
    pub fn begin_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new(&self.program);
        command.args(["--port", "0", "--unixsocket"]).arg(&self.socket).arg("--dir").arg(self.directory.path());
        for (name, value) in &self.options {
            command.arg(format!("--{name}")).arg(value);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("redis-server is installed");
        self.child = Some(child);
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Its TCP address.
    pub fn address(&self) -> SocketAddr {
        self.tcp.expect("it was started with one")
    }

    /// Its folder.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn connect(&self) -> Option<redis::Connection> {
        redis::Client::open(self.url()).ok()?.get_connection().ok()
    }

    pub fn process_id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Ends it at once: connections break, new ones are refused.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our child can be killed");
        child.wait().expect("our child can be waited for");
    }

    /// Stops it in its tracks: connections stay open and nothing answers, as over a cut wire.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("it runs")), signal).expect("our child takes signals");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The redis-server that is on the PATH.
pub fn program() -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    let programs = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    programs.into_iter().find(|program| program.is_file()).expect("redis-server is installed")
}

/// Copies redis-server into this folder, with one text in it changed to another of the same length.
fn alter(folder: &Path, from: &str, to: &str) -> PathBuf {
    assert_eq!(from.len(), to.len(), "what follows stays where it is");
    let mut bytes = fs::read(program()).expect("redis-server can be read");
    let whole = format!("\0{from}\0").into_bytes();
    let places: Vec<usize> = (0..bytes.len() - whole.len()).filter(|&at| bytes[at..].starts_with(&whole)).collect();
    assert!(!places.is_empty(), "redis-server has no {from:?} in it");
    for at in places {
        bytes[at + 1..=at + to.len()].copy_from_slice(to.as_bytes());
    }
    let copy = folder.join("redis-server");
    fs::write(&copy, bytes).expect("the temporary directory can be written");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("ours can be changed");
    copy
}

/// A loopback address that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback has a free port")
}

pub fn process_id(redis: &mut Connection) -> i64 {
    let info: redis::InfoDict = redis::cmd("INFO").arg("server").query(redis).expect("Redis answers INFO");
    info.get("process_id").expect("INFO names the process")
}

pub fn signal(process: i64, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).expect("is a process id");
    kill_process(process, signal).expect("it takes signals");
}

pub fn is_alive(process: i64) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The processes that call themselves redis-server and work in this folder.
pub fn running_in(folder: &Path) -> Vec<i64> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let processes = fs::read_dir("/proc").expect("the system tells its processes");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id: &i64| {
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        name.trim() == "redis-server" && fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|works| works == folder)
    })
    .collect()
}

/// The append-only file that is being written, of the Redis in this folder.
pub fn append_only_file(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.join("appendonlydir")).expect("it keeps its files there");
    let files = entries.map(|entry| entry.expect("can be listed").path());
    files.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max().expect("there is one")
}

pub fn length(file: &Path) -> u64 {
    file.metadata().expect("the file is there").len()
}

/// Cuts a file's last bytes off, as a kill in the midst of a write leaves it.
pub fn cut_tail(file: &Path, bytes: u64) {
    let open = File::options().write(true).open(file).expect("it can be written");
    open.set_len(length(file) - bytes).expect("it can be shortened");
}

/// Drops what is unfinished at the end of the append-only file, as an operator does.
pub fn mend(folder: &Path) {
    let mut checker = Command::new("redis-check-aof")
        .arg("--fix")
        .arg(append_only_file(folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-check-aof comes with redis-server");
    // It asks only when there is something to cut.
    checker.stdin.take().expect("is piped").write_all(b"y\n").ok();
    checker.wait().expect("our child can be waited for");
}
