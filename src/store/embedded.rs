//! merlink's own Redis: a redis-server child on a unix socket in `data_dir/redis`, without a TCP port.
//!
//! One that is alive there already is adopted: it outlives a merlink that was killed. A server that dies is started again. At exit it is
//! told to shut down, adopted or not. It runs in a process group of its own, so that Ctrl-C stops merlink first, which then drains its
//! clicks into a Redis that is still there. The data directory's lock keeps two merlinks from starting two.

use std::{
    env,
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::{
    io::AsyncWriteExt as _,
    net::UnixStream,
    process::{Child, Command},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{DEADLINE, Store, StoreError, connect, engine::Engine};
use crate::{
    config::{self, Config},
    metrics::Operation,
};

/// What it runs with. Port, socket and folder come on the command line.
const SETTINGS: &str = include_str!("../../config/redis.conf");

/// Asked in this order: the two speak the same protocol.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// `sockaddr_un` holds 108 bytes, the closing NUL included.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Between looks at a server that is starting. An empty one answers after some 10 ms.
const POLL: Duration = Duration::from_millis(5);
/// Between looks at an adopted server, which can't be waited for as a child can.
const ADOPTED_POLL: Duration = Duration::from_millis(100);
/// Time for a server to answer anything at all. That it loads its data is an answer; 1 million
/// links load in some 4 s.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Between looks at a server that loads its data, which it interrupts to answer.
const LOADING_POLL: Duration = Duration::from_millis(50);
/// Time for SHUTDOWN before the server is killed. With `appendfsync always` nothing acknowledged depends on it.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);
/// A server that lived for this long was well, and is started again at once.
const STEADY: Duration = Duration::from_secs(10);
/// Between two starts of a server that keeps dying: each time twice as long, up to the second.
const RESTART_PAUSE: Duration = Duration::from_millis(50);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(2);

/// What Redis says of an append-only file whose last write was cut off (7.0.15). With `aof-load-truncated no` it then refuses to start;
/// with `yes` it would start, and a transaction that was cut off would swallow the writes that follow it.
const TORN: &str = "Unexpected end of file reading the append only file";

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "neither redis-server nor valkey-server is on the PATH. Install one (Debian: apt-get install redis-server; Alpine: apk add redis; \
         Fedora: dnf install valkey; macOS: brew install redis), or set redis.url"
    )]
    NoProgram,
    #[error("{0}: the path of the Redis socket may have {SOCKET_PATH_BYTES_MAX} bytes: set data_dir to a shorter path")]
    PathTooLong(PathBuf),
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    #[error("{program} ended while starting ({status}); its log, {log}, says: {last_words}")]
    Ended { program: String, status: String, log: PathBuf, last_words: String },
    #[error(
        "{program} is too old ({version}): Merlink needs Redis 7.0 or later, or Valkey. Upgrade it, or set redis.url"
    )]
    TooOld { program: String, version: Engine },
    #[error("something listens on {0} but doesn't answer as Redis: stop it first")]
    Deaf(PathBuf),
}

/// How far the first start of a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    /// It reads its data, which takes as long as there is data.
    Loading,
    Started,
}

/// The server that merlink looks after.
pub struct Embedded {
    phase: watch::Sender<Phase>,
    store: Store,
    folder: PathBuf,
    socket: PathBuf,
    program: PathBuf,
    server: Server,
}

/// The process, however it was come by.
enum Server {
    Ours(Child),
    /// Started by a merlink that is no more. Which process it is isn't known while it loads.
    Adopted(Option<Pid>),
    /// Not yet known.
    None,
}

impl Embedded {
    /// Prepares the folder of a server; starts none.
    ///
    /// # Errors
    ///
    /// When no program is installed or the folder can't be used: the message says what to do.
    pub fn new(config: &Config, store: Store) -> Result<Self, EmbeddedError> {
        let socket = std::path::absolute(connect::embedded_socket(config))
            .map_err(|error| file_error(&config.data_dir, error))?;
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(EmbeddedError::PathTooLong(socket));
        }
        let folder = socket.parent().expect("the socket is in data_dir/redis").to_owned();
        config::make_dir(&folder).map_err(|error| file_error(&folder, error))?;
        let program = find_program().ok_or(EmbeddedError::NoProgram)?;
        Ok(Self { phase: watch::Sender::new(Phase::Starting), store, folder, socket, program, server: Server::None })
    }

    /// Finds a live server or starts one, and waits until it has loaded its data.
    ///
    /// # Errors
    ///
    /// When a file can't be written, or the server ends while it starts: the message says what to
    /// do.
    pub async fn start(&mut self) -> Result<(), EmbeddedError> {
        self.revive().await?;
        self.phase.send_replace(Phase::Started);
        Ok(())
    }

    /// Follows the first start. Closed when the server is given up.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Waits until the server that another merlink runs answers.
    ///
    /// # Errors
    ///
    /// When it neither answers nor loads its data for 10 s.
    pub async fn wait(config: &Config, store: &Store) -> Result<(), EmbeddedError> {
        let mut give_up = Instant::now() + ANSWER_MAX;
        while let Err(error) = store.ping().await {
            if error.is_loading() {
                give_up = Instant::now() + ANSWER_MAX;
            } else if Instant::now() > give_up {
                return Err(EmbeddedError::Deaf(connect::embedded_socket(config)));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Starts the server, and starts it again whenever it dies, until `stop` says so; then shuts it
    /// down.
    ///
    /// # Errors
    ///
    /// When the first start fails, as [`Embedded::start`] has it.
    pub async fn supervise(mut self, mut stop: watch::Receiver<bool>) -> Result<(), EmbeddedError> {
        let started = tokio::select! {
            started = self.start() => Some(started),
            () = told(&mut stop) => None,
        };
        match started {
            Some(started) => started?,
            None => {
                self.abandon().await;
                return Ok(());
            }
        }
        let mut pause = Duration::ZERO;
        loop {
            let revived_at = Instant::now();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                ended = self.ended() => tracing::warn!("redis-server ended ({ended}); starting it again"),
            }
            // One death is met at once; a server that keeps dying, on a full disk perhaps, is given time.
            pause = if revived_at.elapsed() > STEADY {
                Duration::ZERO
            } else {
                (pause * 2).clamp(RESTART_PAUSE, RESTART_PAUSE_MAX)
            };
            if timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok() {
                break;
            }
            loop {
                let revived = tokio::select! {
                    revived = self.revive() => Some(revived),
                    () = told(&mut stop) => None,
                };
                let error = match revived {
                    Some(Ok(())) => break,
                    Some(Err(error)) => error,
                    None => {
                        self.abandon().await;
                        return Ok(());
                    }
                };
                tracing::error!("redis-server can't be started again: {error}");
                if timeout(RESTART_PAUSE_MAX, stop.wait_for(|stop| *stop)).await.is_ok() {
                    return Ok(());
                }
            }
        }
        self.stop().await;
        Ok(())
    }

    /// Ends a server that doesn't answer yet. It has acknowledged nothing, so a kill costs nothing.
    async fn abandon(mut self) {
        if let Server::Ours(child) = &mut self.server {
            let _ = child.kill().await;
        } else {
            self.stop().await;
        }
    }

    /// Shuts the server down, whoever started it; kills it when it doesn't obey.
    pub async fn stop(mut self) {
        // The connection is closed by the server instead of being answered: there is no reply to look at.
        let _ = timeout(SHUTDOWN_MAX, self.store.ask_shutdown()).await;
        if timeout(SHUTDOWN_MAX, self.ended()).await.is_ok() {
            return;
        }
        tracing::error!("redis-server didn't shut down within {} s: killing it", SHUTDOWN_MAX.as_secs());
        match &mut self.server {
            Server::Ours(child) => {
                let _ = child.kill().await;
            }
            Server::Adopted(pid) => {
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
            Server::None => {}
        }
    }

    /// Adopts the server that is alive, or starts one when none is. One that was just killed may take connections for a moment more.
    async fn revive(&mut self) -> Result<(), EmbeddedError> {
        self.server = Server::None;
        let mut give_up = Instant::now() + ANSWER_MAX;
        while !is_deserted(&self.socket).await {
            match self.store.ping().await {
                Ok(()) => return self.adopt().await,
                Err(error) if error.is_loading() => give_up = self.note_loading().await,
                Err(_) if Instant::now() > give_up => return Err(EmbeddedError::Deaf(self.socket.clone())),
                Err(_) => sleep(POLL).await,
            }
        }
        self.spawn().await
    }

    /// Pauses before the next look; returns until when the server may now be silent.
    async fn note_loading(&self) -> Instant {
        self.phase.send_if_modified(|phase| {
            let is_new = *phase == Phase::Starting;
            if is_new {
                *phase = Phase::Loading;
            }
            is_new
        });
        sleep(LOADING_POLL).await;
        Instant::now() + ANSWER_MAX
    }

    async fn adopt(&mut self) -> Result<(), EmbeddedError> {
        let pid = self.store.process_id().await.ok().flatten().and_then(Pid::from_raw);
        self.server = Server::Adopted(pid);
        tracing::info!("adopted the redis-server that is alive in {}", self.folder.display());
        Ok(())
    }

    /// Starts a server; mends the file of one that was killed in the middle of a write.
    async fn spawn(&mut self) -> Result<(), EmbeddedError> {
        match self.spawn_once().await {
            Err(EmbeddedError::Ended { last_words, .. }) if last_words.contains(TORN) => {
                tracing::warn!(
                    "Redis' append-only file ends in a torn write, which nobody was told of: cutting it off"
                );
                self.cut_torn_tail().await?;
                self.spawn_once().await
            }
            result => result,
        }
    }

    /// Keeps a copy of the append-only file, then has the checking program that comes with the server cut the torn tail off.
    ///
    /// The program gets the last file instead of the manifest: given that, Valkey 9 takes its own snapshot for damaged, since its files begin
    /// with another word than Redis' (9.1.2).
    async fn cut_torn_tail(&self) -> Result<(), EmbeddedError> {
        let files = self.folder.join("appendonlydir");
        let manifest = files.join("appendonly.aof.manifest");
        let text = fs::read_to_string(&manifest).map_err(|error| file_error(&manifest, error))?;
        let torn = last_file(&text)
            .ok_or_else(|| file_error(&manifest, io::Error::new(io::ErrorKind::InvalidData, "it names no file")))?;
        let copy = self.folder.join("appendonlydir.torn");
        copy_files(&files, &copy).map_err(|error| file_error(&copy, error))?;
        let name = self.program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let checker = self.program.with_file_name(name.replace("-server", "-check-aof"));
        let run = async {
            let mut child = Command::new(&checker)
                .arg("--fix")
                .arg(files.join(torn))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // It asks before it cuts.
                stdin.write_all(b"y\n").await?;
            }
            child.wait().await.map(drop)
        };
        run.await.map_err(|error| file_error(&checker, error))
    }

    async fn spawn_once(&mut self) -> Result<(), EmbeddedError> {
        let settings = self.folder.join("redis.conf");
        fs::write(&settings, SETTINGS).map_err(|error| file_error(&settings, error))?;
        let child = Command::new(&self.program)
            .arg(&settings)
            .args(["--port", "0", "--daemonize", "no", "--unixsocketperm", "700"])
            .arg("--unixsocket")
            .arg(&self.socket)
            .arg("--dir")
            .arg(&self.folder)
            .arg("--logfile")
            .arg(self.log())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            // When the start is given up half-way. What it had acknowledged is on its disk.
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| file_error(&self.program, error))?;
        self.server = Server::Ours(child);
        self.wait_for_answer().await
    }

    async fn wait_for_answer(&mut self) -> Result<(), EmbeddedError> {
        let mut give_up = Instant::now() + ANSWER_MAX;
        loop {
            match self.store.ping().await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_loading() => give_up = self.note_loading().await,
                Err(error) if Instant::now() > give_up => {
                    tracing::warn!("redis-server doesn't answer yet; going on without it: {error}");
                    return Ok(());
                }
                Err(_) => {}
            }
            if let Server::Ours(child) = &mut self.server
                && let Ok(Some(status)) = child.try_wait()
            {
                let program = self.program.display().to_string();
                return Err(match version_of(&self.program).await.filter(Engine::is_too_old) {
                    // It doesn't know some of the settings, and says so only to a terminal.
                    Some(version) => EmbeddedError::TooOld { program, version },
                    None => EmbeddedError::Ended {
                        program,
                        status: status.to_string(),
                        log: self.log(),
                        last_words: last_line(&self.log()),
                    },
                });
            }
            sleep(POLL).await;
        }
    }

    /// Resolves, with what is known of the reason, when the server is no more.
    async fn ended(&mut self) -> String {
        match &mut self.server {
            Server::Ours(child) => {
                child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            Server::Adopted(pid) => {
                // A process that ended but wasn't waited for by its parent still takes signals; its socket tells.
                let is_alive = |pid: &Option<Pid>| pid.is_none_or(|pid| test_kill_process(pid).is_ok());
                while is_alive(pid) && !is_deserted(&self.socket).await {
                    sleep(ADOPTED_POLL).await;
                }
                "adopted, so the reason isn't known".to_owned()
            }
            Server::None => "it never started".to_owned(),
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("redis.log")
    }
}

impl Store {
    async fn process_id(&self) -> Result<Option<i32>, StoreError> {
        let info: String =
            self.ask(Operation::Ping, async |redis| redis::cmd("INFO").arg("server").query_async(redis).await).await?;
        Ok(info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok()))
    }

    async fn ask_shutdown(&self) -> Result<(), StoreError> {
        let mut connection = self.connector.open(DEADLINE).await?;
        redis::cmd("SHUTDOWN").arg("NOSAVE").exec_async(&mut connection).await?;
        Ok(())
    }
}

/// Waits for the word to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether certainly nobody listens. A server that hangs has a full queue, which is another error, and a second server beside it would
/// spoil its files.
async fn is_deserted(socket: &Path) -> bool {
    let gone = |error: io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    UnixStream::connect(socket).await.is_err_and(gone)
}

fn find_program() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    PROGRAMS.iter().find_map(|name| {
        env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| is_executable(candidate))
    })
}

/// Asks the program for its version: `Redis server v=7.0.15 sha=…`.
async fn version_of(program: &Path) -> Option<Engine> {
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).output().await.ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let name = said.split(' ').next()?.to_owned();
    let version = said.split("v=").nth(1)?.split(' ').next()?.to_owned();
    Some(Engine { name, version })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Copies the files of a folder, over those of an earlier copy.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    config::make_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The file that is being written, by the manifest: each line of it is `file NAME seq NUMBER type TYPE`.
fn last_file(manifest: &str) -> Option<&str> {
    manifest.lines().rev().find_map(|line| line.strip_prefix("file ")?.split(' ').next())
}

/// The last line of a log that may be long, and may hold anything.
fn last_line(log: &Path) -> String {
    const TAIL_BYTES: u64 = 8 * 1024;
    let tail = File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    let tail = tail.unwrap_or_default();
    tail.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").to_owned()
}

fn file_error(path: &Path, error: io::Error) -> EmbeddedError {
    EmbeddedError::File(path.to_owned(), error)
}
