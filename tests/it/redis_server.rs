//! A redis-server that the test owns, for what an embedded one can't show: away for long, hanging, configured wrongly.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

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
    child: Option<Child>,
    directory: TempDir,
    socket: PathBuf,
    options: Vec<(String, String)>,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with these options in place of the safe ones.
    pub fn with(options: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let socket = directory.path().join("redis.sock");
        Self::on(directory, socket, options)
    }

    /// Starts one that listens on this socket.
    pub fn on(directory: TempDir, socket: PathBuf, options: &[(&str, &str)]) -> Self {
        let options = SAFE.iter().chain(options).map(|&(name, value)| (name.into(), value.into())).collect();
        let mut server = Self { child: None, directory, socket, options };
        server.start_again();
        server
    }

    /// Starts again on the same files and the same socket.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket"]).arg(&self.socket).arg("--dir").arg(self.directory.path());
        for (name, value) in &self.options {
            command.arg(format!("--{name}")).arg(value);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("redis-server is installed");
        self.child = Some(child);
        eventually("redis-server answers", || redis::cmd("PING").exec(&mut self.connect()?).ok());
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
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
