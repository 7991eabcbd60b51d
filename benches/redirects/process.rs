//! Processes: started on cores of their choice, ended when dropped, and what the kernel says that they took.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The kernel counts CPU time in ticks of 10 ms (`USER_HZ`, 100 on every Linux that Rust's std supports).
const TICKS_A_SECOND: f64 = 100.0;

pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program on these cores, with its output in `log`.
    pub fn start(
        name: &str,
        cores: &str,
        log: &std::path::Path,
        command: &[&str],
        environment: &[(&str, String)],
    ) -> Self {
        let mut whole = vec!["taskset", "-c", cores];
        whole.extend(command);
        let output = fs::File::create(log).expect("a log");
        let mut process = Command::new(whole[0]);
        process.args(&whole[1..]).stdin(Stdio::null()).stderr(output.try_clone().expect("a log")).stdout(output);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MERLINK_")) {
            process.env_remove(name);
        }
        process.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = process.spawn().unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        Self { child, name: name.to_owned() }
    }

    /// Waits until `ready`, for a minute at most.
    pub fn wait_for(&mut self, mut ready: impl FnMut() -> bool) -> Duration {
        let started = Instant::now();
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended instead of answering: {status}", self.name);
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{} doesn't answer", self.name);
            thread::sleep(Duration::from_millis(2));
        }
        started.elapsed()
    }

    /// CPU time of all threads, and of child processes, so far, in seconds.
    pub fn cpu_s(&self) -> f64 {
        self.tree().iter().map(|pid| cpu_s(*pid)).sum()
    }

    /// Memory that is really there, in bytes.
    pub fn resident_bytes(&self) -> f64 {
        self.tree().iter().map(|pid| status_bytes(*pid, "VmRSS:")).sum()
    }

    /// The same without the pages of files, such as the journal's, which the kernel takes back when it needs them.
    pub fn own_bytes(&self) -> f64 {
        self.tree().iter().map(|pid| status_bytes(*pid, "RssAnon:")).sum()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    pub fn has_children(&self) -> bool {
        self.tree().len() > 1
    }

    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.child.id()];
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.child.id())).unwrap_or_default();
        tree.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        tree
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let give_up = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > give_up {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn cpu_s(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // utime and stime, the 14th and 15th field; the second may hold spaces, so count from its closing bracket.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_A_SECOND
}

fn status_bytes(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}
