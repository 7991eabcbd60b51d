//! The world of a test: the built `merlink`, a directory of its own, its redis-server, and the people around it.
//!
//! Each [`Server`] is the real binary as a child process with its own embedded Redis. At its end (drop or
//! [`Server::finish`]) the harness asks for three things on the test's behalf: every click is flushed and the sums agree, SIGTERM
//! ends with exit code 0, and the log holds no WARN or ERROR line that the test didn't announce, nor a line that isn't JSON (a panic's).

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Read, Write as _},
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::{Pid, Signal, kill_process},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, Connection, Request};

/// How long anything may take before a test gives up. Generous: it bounds hangs and measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub const MERLINK: &str = env!("CARGO_BIN_EXE_merlink");

pub const CURL: &str = "curl/8.5.0";
pub const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
pub const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1";
pub const IPAD: &str = "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
pub const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/// What a server may log in any test. A shared machine may stand still for a second, and a disk for longer, and Redis with it: to say so is
/// right, and no fault of the server's. And who connects in the moment in which it stops, as a browser does ahead, is what actix says the last of.
const FAULTLESS: [&str; 4] = ["a setting is weak", "no answer for", "no answer within", "\"no workers\""];

/// Looks until there is something to see; fails the test when there is nothing after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain: {what}", PATIENCE.as_secs());
        thread::sleep(POLL_INTERVAL);
    }
}

/// Chance, for faults that come at any moment and anywhere. Not the same in each run; what it chose is for the test to say.
pub struct Random(AtomicU64);

impl Random {
    pub fn new() -> Self {
        Self(AtomicU64::new(RandomState::new().hash_one(0)))
    }

    /// The same in each run with this seed.
    pub fn of_seed(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `bound`: splitmix64, by Sebastiano Vigna.
    pub fn below(&self, bound: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A place to run merlink in: a directory that goes away with the test, and settings in the environment.
pub struct Home {
    directory: TempDir,
    settings: BTreeMap<String, String>,
    /// Words before each command: another program that runs it.
    within: Vec<String>,
    /// Standard input of `serve`.
    stdin: Mutex<Option<OwnedFd>>,
}

impl Home {
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let data_dir = directory.path().join("data").display().to_string();
        // The limits are off: most tests come from one address and do more than any one person would.
        Self { directory, settings: BTreeMap::new(), within: Vec::new(), stdin: Mutex::default() }
            .set("public.listen", "127.0.0.1:0")
            .set("operator.listen", "127.0.0.1:0")
            .set("data_dir", data_dir)
            .set("public.connections_per_address_max", "0")
            .set("limits.api_per_minute", "0")
            .set("limits.misses_per_minute", "0")
            .set("limits.logins_per_minute", "0")
            .set("limits.otps_per_hour", "0")
            // A shared machine may stand still: only what a test slows down on purpose is to be slow.
            .set("redis.lookup_timeout", "3s")
    }

    /// Sets `section.key` by the environment.
    pub fn set(mut self, setting: &str, value: impl Into<String>) -> Self {
        self.settings.insert(variable(setting), value.into());
        self
    }

    /// Leaves `section.key` to the file or the default.
    pub fn unset(mut self, setting: &str) -> Self {
        self.settings.remove(&variable(setting));
        self
    }

    /// Any other variable of the environment, `PATH` among them.
    pub fn environment(mut self, variable: &str, value: &str) -> Self {
        self.settings.insert(variable.into(), value.into());
        self
    }

    /// Has another program run merlink, as `nsenter --mount=… --` does. It must become merlink, not start it.
    pub fn within(mut self, words: Vec<String>) -> Self {
        self.within = words;
        self
    }

    /// Gives this to the next `serve` as its standard input.
    pub fn give(&self, stdin: Option<OwnedFd>) {
        *lock(&self.stdin) = stdin;
    }

    /// Looks for a name without end, in a mount namespace of its own. `None` where that can't be had, since it takes root.
    pub fn where_names_are_never_found(self) -> Option<Self> {
        // Whoever looks for a name in it waits for its writer, who never comes.
        let hosts = self.path().join("hosts");
        mkfifoat(CWD, &hosts, Mode::RUSR | Mode::WUSR).expect("the temporary directory can be written");
        let script = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
        let within = ["unshare", "--mount", "sh", "-c", script, hosts.to_str().expect("UTF-8")].map(str::to_owned);
        let tried = Command::new(&within[0]).args(&within[1..]).arg("true").status();
        tried.is_ok_and(|status| status.success()).then(|| self.within(within.to_vec()))
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a file beside the data directory.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("the temporary directory can be written");
        path
    }

    /// Runs a subcommand to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_reading(arguments, "")
    }

    /// The same with this on its standard input, through a pipe.
    #[track_caller]
    pub fn run_reading(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("runs");
        let (mut pipe, text) = (child.stdin.take().expect("is piped"), stdin.to_owned());
        // A command that ends before it has read everything closes the pipe.
        thread::spawn(move || pipe.write_all(text.as_bytes()).ok());
        let stdout = read_to_end(child.stdout.take().expect("is piped"));
        let stderr = read_to_end(child.stderr.take().expect("is piped"));
        let Some(status) = exit_status(&mut child) else {
            child.kill().expect("our child can be killed");
            panic!("merlink {} didn't end within {} s", arguments.join(" "), PATIENCE.as_secs());
        };
        Ran {
            command: format!("merlink {}", arguments.join(" ")),
            code: status.code(),
            stdout: stdout.join().expect("reading stdout doesn't panic"),
            stderr: stderr.join().expect("reading stderr doesn't panic"),
        }
    }

    /// Begins `merlink serve` and waits for nothing; its log goes to a file beside the data directory.
    #[track_caller]
    pub fn begin(&self) -> Beginning {
        let log = self.path().join("serve.log");
        let stderr = File::create(&log).expect("the temporary directory can be written");
        let child = self.command(&["serve"]).stdout(Stdio::null()).stderr(stderr).spawn().expect("merlink runs");
        Beginning { child, log }
    }

    #[track_caller]
    pub fn start(self) -> Server {
        self.start_with(&[])
    }

    /// Starts `merlink serve` with further arguments and waits until it is ready.
    #[track_caller]
    pub fn start_with(self, arguments: &[&str]) -> Server {
        let server = self.unstarted(arguments);
        server.start_again();
        server
    }

    /// Starts `merlink serve` whose Redis can't be reached.
    #[track_caller]
    pub fn start_unready(self) -> Server {
        let server = self.unstarted(&[]);
        server.start_again_unready();
        server
    }

    fn unstarted(self, arguments: &[&str]) -> Server {
        Server {
            process: Mutex::new(None),
            home: self,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            log: Arc::default(),
            expected_logs: Mutex::default(),
            may_lose_clicks: AtomicBool::new(false),
        }
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let words: Vec<&OsStr> = self.within.iter().map(OsStr::new).chain([OsStr::new(MERLINK)]).collect();
        let mut command = Command::new(words[0]);
        let stdin = lock(&self.stdin).as_ref().map(|stdin| stdin.try_clone().expect("it can be shared"));
        let stdin = stdin.map_or_else(Stdio::null, Stdio::from);
        command.args(&words[1..]).args(arguments).current_dir(self.path()).stdin(stdin).env_clear();
        for kept in ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.envs(&self.settings);
        command
    }

    /// Where this home's Redis listens.
    pub fn redis_url(&self) -> String {
        match self.settings.get("MERLINK_REDIS__URL") {
            Some(url) if !url.is_empty() => url.clone(),
            _ => format!("redis+unix://{}", self.data_dir().join("redis/redis.sock").display()),
        }
    }

    /// A test's own connection to Redis, to arrange what no API can and to look at what was kept.
    pub fn redis(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.redis_url())?.get_connection_with_timeout(PATIENCE)
    }

    fn is_embedded(&self) -> bool {
        self.settings.get("MERLINK_REDIS__URL").is_none_or(String::is_empty)
    }
}

impl Drop for Home {
    /// Ends an embedded Redis that outlived its merlink (a test that killed it, or failed).
    fn drop(&mut self) {
        if self.is_embedded()
            && let Ok(mut redis) = self.redis()
        {
            redis::cmd("SHUTDOWN").arg("NOSAVE").exec(&mut redis).ok();
        }
    }
}

fn variable(setting: &str) -> String {
    format!("MERLINK_{}", setting.replace('.', "__").to_uppercase())
}

fn read_to_end(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `None` when the child still runs after [`PATIENCE`].
fn exit_status(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("our child can be waited for") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// A `merlink serve` of which nothing is known yet.
pub struct Beginning {
    child: Child,
    log: PathBuf,
}

impl Beginning {
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("our child can be waited for").is_some()
    }

    /// Sends a signal, waits for the end and answers the exit code (`None`: ended by the signal itself).
    #[track_caller]
    pub fn end_by(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).expect("our child takes signals");
        exit_status(&mut self.child).unwrap_or_else(|| panic!("{signal:?} didn't end it: {}", self.log())).code()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A subcommand that has ended.
#[derive(Debug)]
pub struct Ran {
    pub command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}: exit code; {self}", self.command);
        assert!(!self.stderr.contains("panicked"), "{}: panics; {self}", self.command);
        self
    }

    /// Asserts that the errors name each of these.
    #[track_caller]
    pub fn assert_names(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.stderr.contains(word), "{}: stderr doesn't name {word:?}; {self}", self.command);
        }
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit code {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// A running `merlink serve`.
pub struct Server {
    process: Mutex<Option<Process>>,
    home: Home,
    arguments: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
    expected_logs: Mutex<Vec<String>>,
    may_lose_clicks: AtomicBool,
}

struct Process {
    child: Child,
    public: SocketAddr,
    operator: SocketAddr,
    log_reader: thread::JoinHandle<()>,
}

impl Drop for Process {
    /// A test that fails leaves no child behind.
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    #[track_caller]
    pub fn start() -> Self {
        Home::new().start()
    }

    #[track_caller]
    pub fn with(settings: &[(&str, &str)]) -> Self {
        settings.iter().fold(Home::new(), |home, (setting, value)| home.set(setting, *value)).start()
    }

    /// Starts `serve` in the same home, with the same settings; for a server that was ended before.
    #[track_caller]
    pub fn start_again(&self) {
        self.start_again_unready();
        self.await_ready();
    }

    /// The same without waiting for `/readyz`: for a server whose Redis is away.
    #[track_caller]
    pub fn start_again_unready(&self) {
        let first_line = lock(&self.log).len();
        let arguments: Vec<&str> = ["serve"].into_iter().chain(self.arguments.iter().map(String::as_str)).collect();
        let mut child =
            self.home.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("merlink runs");
        let log_reader = keep_lines(child.stderr.take().expect("is piped"), Arc::clone(&self.log));
        let listening = eventually("the server says that it listens", || {
            if let Some(status) = child.try_wait().expect("our child can be waited for") {
                panic!("merlink serve ended with {status}:\n{}", self.log().join("\n"));
            }
            lock(&self.log)[first_line..].iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["message"] == "listening").then_some(line)
            })
        });
        let address = |field: &str| {
            let text = listening[field].as_str().unwrap_or_else(|| panic!("no {field} in {listening}"));
            text.parse().unwrap_or_else(|_| panic!("{field} is no address in {listening}"))
        };
        let process = Process { public: address("public.addr"), operator: address("operator.addr"), child, log_reader };
        *lock(&self.process) = Some(process);
    }

    #[track_caller]
    pub fn await_ready(&self) {
        let mut last = None;
        let mut is_ready = || {
            last = self.operator("/readyz").try_send().ok();
            last.as_ref().is_some_and(|answer| answer.status == 200)
        };
        let deadline = Instant::now() + PATIENCE;
        while !is_ready() {
            assert!(Instant::now() < deadline, "never ready: {}", last.map(|answer| answer.text()).unwrap_or_default());
            thread::sleep(POLL_INTERVAL);
        }
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    #[track_caller]
    pub fn public_address(&self) -> SocketAddr {
        lock(&self.process).as_ref().expect("the server runs").public
    }

    #[track_caller]
    pub fn operator_address(&self) -> SocketAddr {
        lock(&self.process).as_ref().expect("the server runs").operator
    }

    #[track_caller]
    pub fn request(&self, method: &str, target: impl AsRef<[u8]>) -> Request {
        Request::new(self.public_address(), method, target)
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// A GET on the operator port.
    #[track_caller]
    pub fn operator(&self, target: &str) -> Request {
        Request::new(self.operator_address(), "GET", target)
    }

    /// A citizen's tool follows a link.
    #[track_caller]
    pub fn follow(&self, code: &str) -> Answer {
        self.get(&format!("/{code}")).user_agent(CURL).send()
    }

    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.public_address()).expect("the public port accepts connections")
    }

    /// A new API key, made by the command as an operator makes it.
    #[track_caller]
    pub fn key(&self, owner: &str) -> String {
        self.key_with(&["--owner", owner])
    }

    #[track_caller]
    pub fn key_with(&self, arguments: &[&str]) -> String {
        let ran = self.home.run(&[&["key", "create"], arguments].concat());
        ran.assert_code(0);
        ran.stdout.trim_end().to_owned()
    }

    /// Makes the service know an officer, as if they had logged in once.
    #[track_caller]
    pub fn knows(&self, email: &str) {
        let mut add = redis::cmd("ZADD");
        add.arg("accounts").arg(1).arg(email).exec(&mut self.redis()).expect("Redis takes the officer");
    }

    /// An officer with a key of their own.
    #[track_caller]
    pub fn officer(&self, email: &str) -> Officer<'_> {
        self.officer_with_key(&self.key(email))
    }

    pub fn officer_with_key(&self, key: &str) -> Officer<'_> {
        Officer { server: self, key: key.to_owned() }
    }

    /// A citizen's browser, without any cookie yet.
    pub fn browser(&self, user_agent: &str) -> Browser<'_> {
        Browser { server: self, user_agent: user_agent.to_owned(), cookies: Vec::new() }
    }

    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let answer = self.operator("/metrics").send();
        assert_eq!(answer.status, 200, "/metrics");
        Metrics(answer.text())
    }

    #[track_caller]
    pub fn redis(&self) -> redis::Connection {
        self.home.redis().expect("the server's Redis answers")
    }

    /// Writes fields of a link that API v1 can't set. Only before the link's first visit: nothing tells the server.
    #[track_caller]
    pub fn set_link_field(&self, code: &str, field: &str, value: u64) {
        redis::cmd("HSET")
            .arg(format!("l:{{{code}}}"))
            .arg(field)
            .arg(value.to_string())
            .exec(&mut self.redis())
            .expect("Redis takes the field");
    }

    /// A link's counters as they are kept: `b` bots, `p` prefetches, `d m a o` devices, days by number, `w<hour of the week>`; and as `t` what
    /// the devices come to, which is the total.
    #[track_caller]
    pub fn counters(&self, code: &str) -> BTreeMap<String, i64> {
        let fields: BTreeMap<String, String> = redis::cmd("HGETALL")
            .arg(format!("clicks:{{{code}}}"))
            .query(&mut self.redis())
            .expect("Redis gives the counters");
        // `@<instance>` holds a position in a journal, no count.
        let counters = fields.into_iter().filter(|(name, _)| !name.starts_with('@'));
        let mut counters: BTreeMap<String, i64> =
            counters.map(|(name, value)| (name, value.parse().expect("a counter is a number"))).collect();
        let total: i64 = ["d", "m", "a", "o"].iter().filter_map(|device| counters.get(*device)).sum();
        if total > 0 {
            counters.insert("t".to_owned(), total);
        }
        counters
    }

    /// Waits until all that was recorded is applied.
    #[track_caller]
    pub fn await_flushed(&self) {
        eventually("every click is flushed", || (self.metrics().sum("merlink_clicks_pending") == 0.0).then_some(()));
        let metrics = self.metrics();
        let [recorded, flushed, pending, lost] = [
            "merlink_clicks_recorded_total",
            "merlink_clicks_flushed_total",
            "merlink_clicks_pending",
            "merlink_clicks_lost_total",
        ]
        .map(|name| metrics.sum(name));
        let sums = format!("recorded {recorded}, flushed {flushed}, pending {pending}, lost {lost}");
        assert!((recorded - (flushed + pending + lost)).abs() < 0.5, "recorded = flushed + pending + lost: {sums}");
        assert!(lost == 0.0 || self.may_lose_clicks.load(Ordering::Relaxed), "no click is lost: {sums}");
    }

    /// Announces WARN or ERROR lines that contain `text`, in any case: the test makes the trouble that they are about.
    pub fn expect_log(&self, text: &str) {
        lock(&self.expected_logs).push(text.to_lowercase());
    }

    /// Announces that the test takes away the room that clicks are kept in.
    pub fn expect_lost_clicks(&self) {
        self.may_lose_clicks.store(true, Ordering::Relaxed);
    }

    pub fn log(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    /// Sends a signal, waits for the end and answers the exit code (`None`: ended by the signal itself).
    #[track_caller]
    pub fn end_by(&self, signal: Signal) -> Option<i32> {
        let mut process = lock(&self.process).take().expect("the server runs");
        kill_process(Pid::from_child(&process.child), signal).expect("our child takes signals");
        let status = exit_status(&mut process.child)
            .unwrap_or_else(|| panic!("{signal:?} didn't end the server within {} s", PATIENCE.as_secs()));
        // A Redis that outlives its merlink may hold the pipe open: then the lines read so far must do.
        let deadline = Instant::now() + Duration::from_secs(2);
        while status.code().is_some() && !process.log_reader.is_finished() && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        status.code()
    }

    #[track_caller]
    pub fn process_id(&self) -> u32 {
        lock(&self.process).as_ref().expect("the server runs").child.id()
    }

    /// Only sends the signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let process = lock(&self.process);
        kill_process(Pid::from_child(&process.as_ref().expect("the server runs").child), signal).expect("is taken");
    }

    /// Waits for the end of a server that was signalled.
    #[track_caller]
    pub fn await_end(&self) -> Option<i32> {
        let mut process = lock(&self.process).take().expect("the server runs");
        exit_status(&mut process.child).expect("the server ends").code()
    }

    /// What dropping does too; as a call, for tests that go on afterwards.
    #[track_caller]
    pub fn finish(&self) {
        let running = lock(&self.process).is_some();
        if running {
            self.await_flushed();
            assert_eq!(self.end_by(Signal::TERM), Some(0), "SIGTERM ends with exit code 0:\n{}", self.log().join("\n"));
            if self.home.is_embedded() {
                assert!(self.home.redis().is_err(), "the embedded Redis ends with its merlink");
            }
        }
        let unexpected = self.unexpected_log_lines();
        assert!(unexpected.is_empty(), "unexpected lines in the log:\n{}", unexpected.join("\n"));
    }

    fn unexpected_log_lines(&self) -> Vec<String> {
        let expected = lock(&self.expected_logs);
        let is_unexpected = |line: &String| match serde_json::from_str::<Value>(line) {
            Ok(fields) if matches!(fields["level"].as_str(), Some("INFO" | "DEBUG" | "TRACE")) => false,
            Ok(_) => {
                let line = line.to_lowercase();
                !FAULTLESS.iter().copied().chain(expected.iter().map(String::as_str)).any(|text| line.contains(text))
            }
            Err(_) => true,
        };
        let mut lines: Vec<String> = self.log().into_iter().filter(is_unexpected).collect();
        lines.truncate(20);
        lines
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            eprintln!("--- the server's last lines\n{}", log[log.len().saturating_sub(40)..].join("\n"));
        } else {
            self.finish();
        }
    }
}

fn keep_lines(pipe: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let line = String::from_utf8_lossy(&line.expect("a pipe can be read")).into_owned();
            lock(&log).push(line);
        }
    })
}

/// A thread that panicked has failed its test already; the others may go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody who owns links and works through API v1.
pub struct Officer<'s> {
    server: &'s Server,
    pub key: String,
}

impl Officer<'_> {
    #[track_caller]
    pub fn create(&self, body: &Value) -> Answer {
        self.server.request("POST", "/api/v1/urls").key(&self.key).json(body).send()
    }

    /// Creates a link that must succeed, and answers its JSON.
    #[track_caller]
    pub fn creates(&self, code: &str, target: &str) -> Value {
        let answer = self.create(&json!({"shortUrl": code, "longUrl": target}));
        answer.assert_v1_status(&format!("creating {code} to {target}"), 200);
        answer.json()
    }

    #[track_caller]
    pub fn update(&self, code: &str, body: &Value) -> Answer {
        self.server.request("PATCH", format!("/api/v1/urls/{code}")).key(&self.key).json(body).send()
    }

    #[track_caller]
    pub fn switches(&self, code: &str, state: &str) {
        self.update(code, &json!({"state": state})).assert_v1_status(&format!("switching {code} {state}"), 200);
    }

    #[track_caller]
    pub fn list(&self, query: &str) -> Answer {
        let question_mark = if query.is_empty() { "" } else { "?" };
        self.server.get(&format!("/api/v1/urls{question_mark}{query}")).key(&self.key).send()
    }

    /// The codes of a list that must succeed, in its order.
    #[track_caller]
    pub fn codes(&self, query: &str) -> Vec<String> {
        let answer = self.list(query);
        answer.assert_v1_status(query, 200);
        let codes = answer.json()["urls"].as_array().expect("urls is an array").clone();
        codes.iter().map(|link| link["shortUrl"].as_str().expect("shortUrl is a string").to_owned()).collect()
    }

    /// What API v1 shows of the link.
    #[track_caller]
    pub fn link(&self, code: &str) -> Value {
        let answer = self.list(&format!("searchText={code}"));
        answer.assert_v1_status(code, 200);
        let links = answer.json()["urls"].as_array().expect("urls is an array").clone();
        links.into_iter().find(|link| link["shortUrl"] == code).unwrap_or_else(|| panic!("{code} isn't listed"))
    }

    #[track_caller]
    pub fn clicks(&self, code: &str) -> i64 {
        self.link(code)["clicks"].as_i64().expect("clicks is an integer")
    }

    /// Waits until API v1 shows this many clicks.
    #[track_caller]
    pub fn sees_clicks(&self, code: &str, expected: i64) {
        let mut last = 0;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            last = self.clicks(code);
            if last >= expected {
                break;
            }
            thread::sleep(POLL_INTERVAL);
        }
        assert_eq!(last, expected, "clicks of {code} in API v1");
    }
}

/// A browser that keeps cookies and sends them back by RFC 6265's rules of path and name.
pub struct Browser<'s> {
    server: &'s Server,
    user_agent: String,
    /// Name, value, path.
    cookies: Vec<(String, String, String)>,
}

impl Browser<'_> {
    #[track_caller]
    pub fn opens(&mut self, path: &str) -> Answer {
        let mut request = self.server.get(path).user_agent(&self.user_agent).header("Accept", "text/html");
        let path_only = path.split('?').next().unwrap_or_default();
        let matching = self.cookies.iter().filter(|(_, _, scope)| path_matches(path_only, scope));
        let cookies: Vec<String> = matching.map(|(name, value, _)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("Cookie", cookies.join("; "));
        }
        let answer = request.send();
        for (name, value) in &answer.headers {
            if name == "set-cookie" {
                self.keep(value);
            }
        }
        answer
    }

    fn keep(&mut self, set_cookie: &str) {
        let mut parts = set_cookie.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a cookie has name and value");
        let path = parts.find_map(|part| part.strip_prefix("Path=")).unwrap_or("/");
        self.cookies.retain(|(kept, _, scope)| kept != name || scope != path);
        self.cookies.push((name.into(), value.into(), path.into()));
    }
}

/// RFC 6265, section 5.1.4.
fn path_matches(path: &str, scope: &str) -> bool {
    path == scope || path.strip_prefix(scope).is_some_and(|rest| scope.ends_with('/') || rest.starts_with('/'))
}

/// One scrape in Prometheus' text format.
pub struct Metrics(pub String);

impl Metrics {
    /// The sum over all of a metric's label sets; fails the test when it isn't there.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        let samples = self.samples(name);
        assert!(!samples.is_empty(), "no metric {name} in:\n{}", self.0);
        samples.iter().map(|(_, value)| value).sum()
    }

    /// The sum over the label sets that contain these; 0 when none does.
    pub fn with(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| found.get(*label).is_some_and(|found| found == value))
        };
        self.samples(name).iter().filter(|(found, _)| has(found)).map(|(_, value)| value).sum()
    }

    pub fn type_of(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix("# TYPE ")?.strip_prefix(name)?.strip_prefix(' '))
    }

    pub fn samples(&self, name: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let of_this_name = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let rows = of_this_name.filter(|rest| rest.starts_with(['{', ' ']));
        rows.map(|rest| {
            let (labels, value) = rest.rsplit_once(' ').expect("a sample ends in a value");
            let labels = labels.trim_start_matches('{').trim_end_matches('}');
            let pairs = labels.split("\",").filter_map(|pair| pair.split_once("=\""));
            let labels = pairs.map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned()));
            (labels.collect(), value.parse().expect("a value is a number"))
        })
        .collect()
    }
}
