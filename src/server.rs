//! From settings to a service that answers, and back to silence without losing a click.
//!
//! Start: data directory claimed, ports bound, Redis found or started and checked, journal opened,
//! links of the last run read, requests answered, then the watch that makes the cache trustworthy.
//! A Redis of our own that takes long to load its data is waited for by nobody: links in memory
//! redirect meanwhile. Stop, on SIGTERM or SIGINT: not ready any more; then, `public.stop_delay`
//! later, no new connections, requests answered, clicks flushed, Redis (if it is ours) shut down.
//! Each task has an owner here that ends it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, error::DispatchError};
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{
    App as WebApp, HttpServer,
    dev::{AppConfig, Server, ServerHandle},
    web::Data,
};
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpStream,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    audit::Audit,
    clicks::{Clicks, ClicksError},
    config::Config,
    connections::{Connections, HEAD_TIME_MAX, Pulse, Stream, Worker},
    data_dir::{self, DataDirError, DataDirLock},
    hot_links, limits, log,
    mail::{MailSettingsError, Mailer, Postman},
    metrics::Metrics,
    operator, public, redirect,
    service_manager::{self, Passed, Sockets},
    site::{Site, SiteError},
    state::{App, CacheEvents},
    store::{self, Embedded, EmbeddedError, Phase, Safety, Store, StoreError, StoreSettingsError},
    traces::{Exporter, Traces, TracesSettingsError},
    watched_file::Unusable,
};

/// For requests that are being answered when the signal comes.
const SHUTDOWN_S: u64 = 10;
/// Redis, the journal, the operator port, libraries.
const FILES_BESIDE_CONNECTIONS: u64 = 1_000;
/// A connection that sends nothing between requests is closed after this.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// For a peer that we close to stop sending.
const DISCONNECT_TIME_MAX: Duration = Duration::from_secs(1);
/// For the watch's first word when Redis is there: normally a few milliseconds.
const WATCH_START_MAX: Duration = Duration::from_secs(1);
const WATCH_POLL: Duration = Duration::from_millis(2);
/// Redis' settings may be changed while it runs.
const SAFETY_INTERVAL: Duration = Duration::from_secs(60);
/// Between attempts at what waits for Redis after a start without it.
const RETRY: Duration = Duration::from_secs(1);
/// A Redis of our own that loads its data has this long before requests are answered without it:
/// small data are there by then.
const LOADING_PATIENCE: Duration = Duration::from_millis(250);
/// For workers to come up, and for a sign of life of each.
const WORKERS_PATIENCE: Duration = Duration::from_secs(10);
/// A stop begins once workers have taken no connection for this long after the last was accepted,
/// or after the second time.
const HANDOVER: Duration = Duration::from_millis(50);
const HANDOVER_MAX: Duration = Duration::from_secs(2);
/// Signs of life within the time that the service manager allows.
const BEATS_PER_WATCHDOG: u32 = 4;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Store(#[from] StoreSettingsError),
    #[error(transparent)]
    Mail(#[from] MailSettingsError),
    #[error(transparent)]
    Traces(#[from] TracesSettingsError),
    #[error(transparent)]
    Clicks(#[from] ClicksError),
    #[error("{}", .0.join("\n"))]
    Unsafe(Vec<String>),
    #[error("can't listen on {1} ({0}): {2}; set {0} to a free address")]
    Listen(&'static str, SocketAddr, #[source] io::Error),
    #[error("redirect.deny_file: {0} {1}")]
    DenyFile(PathBuf, #[source] Unusable),
    #[error("targets.blocked_file: {0} {1}")]
    BlockedFile(PathBuf, #[source] Unusable),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ServeError {
    pub fn blocked_file(config: &Config, error: Unusable) -> Self {
        Self::BlockedFile(config.targets.blocked_file.clone().unwrap_or_default(), error)
    }
}

/// Runs the service until a signal ends it.
///
/// # Errors
///
/// When it can't be started; the message says what to do. Once it runs, nothing ends it but a signal.
pub async fn serve(config: Config, passed: Passed) -> Result<(), ServeError> {
    // First of all, so that a signal during the start is heard, also as a container's first process.
    let mut signals = Signals::listen()?;
    data_dir::keep_private();
    let site = Site::new(&config)?;
    let lock = DataDirLock::claim(&config.data_dir)?;
    // Before everything that takes time: connections wait in the kernel's queue instead of being
    // refused.
    let sockets = Sockets::open(passed, config.public.listen, config.operator_listen)
        .await
        .map_err(|(setting, address, error)| ServeError::Listen(setting, address, error))?;
    let metrics = Metrics::new();
    let store = Store::new(&config, Arc::clone(&metrics))?;
    let mut redis = OwnRedis::start(&config, &store)?;
    let goes_on = tokio::select! {
        there_is_one = redis.settled() => there_is_one,
        () = signals.next(store.audit()) => false,
    };
    let result = if goes_on {
        serve_with(config, site, store, metrics, sockets, redis.phase.clone(), signals).await
    } else {
        Ok(())
    };
    // The cause comes first: without its Redis nothing else may have worked.
    let result = redis.stop().await.map_err(ServeError::from).and(result);
    drop(lock);
    result
}

async fn serve_with(
    config: Config,
    site: Site,
    store: Store,
    metrics: Arc<Metrics>,
    sockets: Sockets,
    own_redis: Option<watch::Receiver<Phase>>,
    mut signals: Signals,
) -> Result<(), ServeError> {
    let (mailer, postman) = Mailer::new(&config, &metrics)?;
    let (traces, exporter) = Traces::new(&config, &metrics)?.unzip();
    let redis_answers = check_safety(&config, &store, &metrics).await?;
    let mut journal = Clicks::open(&config)?;
    if redis_answers {
        tokio::select! {
            refused = journal.refuse_copy(&store) => refused.map_err(ClicksError::from)?,
            () = signals.next(store.audit()) => return Ok(()),
        }
    }
    let (clicks, flush_thread) = Clicks::start(journal, &config, &store, &metrics)?;
    let app = Data::new(App::new(config, site, metrics, store, clicks, mailer, traces));
    let end = End { signals, own_redis };
    let result = run(&app, redis_answers, sockets, postman, exporter, end).await;
    app.store.trail_repeated_failures(true);
    if let Err(error) = hot_links::save(&hot_links::path(&app.config.data_dir), &app.cache, Timestamp::now()) {
        tracing::warn!("the most used links can't be written to data_dir: {error}");
    }
    // Aside, so that this runtime goes on looking after a Redis of our own, into which the last clicks flow.
    let drained = tokio::task::spawn_blocking(move || flush_thread.drain()).await;
    drained.map_err(io::Error::from)?;
    result
}

/// Listens until the signal, and until the last answer is out.
async fn run(
    app: &Data<App>,
    redis_answers: bool,
    sockets: Sockets,
    postman: Option<Postman>,
    exporter: Option<Exporter>,
    end: End,
) -> Result<(), ServeError> {
    let crawler_list = tokio::task::spawn_blocking(redirect::visitor::warm_up);
    if let Some(path) = &app.config.redirect.deny_file {
        app.denied
            .load(path, app.config.public.base_url.host())
            .map_err(|error| ServeError::DenyFile(path.clone(), error))?;
    }
    app.targets.load(&app.config).map_err(|error| ServeError::blocked_file(&app.config, error))?;
    match hot_links::load(&hot_links::path(&app.config.data_dir), &app.cache, Timestamp::now()) {
        Ok(0) => {}
        Ok(links) => tracing::info!("{links} links are in memory from the last run"),
        Err(error) => tracing::warn!("the most used links can't be read from data_dir: {error}"),
    }
    let mut tasks = background_tasks(app, redis_answers, postman);
    let exporting = exporter.map(Exporter::start).transpose()?;
    // No visitor waits for the list to be compiled, and none is sent away because the watch hasn't yet said that Redis may be asked.
    let _ = crawler_list.await;
    if redis_answers {
        let trusted = async {
            while !app.cache.is_trusted() {
                sleep(WATCH_POLL).await;
            }
        };
        let _ = timeout(WATCH_START_MAX, trusted).await;
    }
    let (public_address, operator_address) = (sockets.public.local_addr()?, sockets.operator.local_addr()?);
    let (public, workers) = public_server(app, sockets.public)?;
    let operator = operator_server(app, sockets.operator)?;
    tracing::info!(
        public.addr = %public_address,
        operator.addr = %operator_address,
        public.base_url = app.config.public.base_url.as_str(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    let handover = sockets.are_kept.then(|| Arc::clone(&workers));
    let stopper = tokio::spawn(stop_at_end(Data::clone(app), public.handle(), handover, end));
    let operator_handle = operator.handle();
    let operator_task = tokio::spawn(operator);
    tasks.push(tokio::spawn(tell_service_manager(workers)));
    public.await?;
    stopper.abort();
    operator_handle.stop(false).await;
    let _ = operator_task.await;
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
    Ok(())
}

/// The server that `actix_web::HttpServer` builds, with our [`Stream`] between the socket and the dispatcher: `HttpServer` takes none.
fn public_server(app: &Data<App>, socket: TcpListener) -> Result<(Server, Arc<Workers>), ServeError> {
    let settings = &app.config.public;
    raise_file_limit(settings.connections_max);
    let address = socket.local_addr()?;
    let (html, policy) = redirect::fixed::unreadable(app);
    let connections = Arc::new(Connections::new(settings, &html, policy, Arc::clone(&app.metrics)));
    let builder = Server::build()
        .workers(settings.workers)
        .max_concurrent_connections(settings.connections_per_worker_max())
        .shutdown_timeout(SHUTDOWN_S)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let shared = Data::clone(app);
    let workers = Arc::new(Workers { connections: Arc::clone(&connections), pulse: Pulse::default() });
    let of_workers = Arc::clone(&workers);
    let builder = builder.listen("public", socket, move || {
        of_workers.pulse.answer();
        let worker = Worker::new(Arc::clone(&connections));
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIME_MAX)
            .client_disconnect_timeout(DISCONNECT_TIME_MAX)
            .local_addr(address)
            .on_connect_ext(|stream: &Stream, data| {
                data.insert(std::rc::Rc::clone(stream.connection()));
            })
            .h1(map_config(public::service(&shared), |()| AppConfig::default()));
        fn_service(move |io: TcpStream| {
            let admitted = worker.admit(io).ok_or_else(|| DispatchError::Io(io::ErrorKind::ConnectionRefused.into()));
            std::future::ready(admitted.map(|stream| {
                let peer = stream.peer_addr();
                (stream, peer)
            }))
        })
        .and_then(http)
    })?;
    Ok((builder.run(), workers))
}

/// The public port's workers, as seen from outside.
struct Workers {
    connections: Arc<Connections>,
    pulse: Pulse,
}

/// Each connection is an open file, and many systems allow 1,024 unless asked for more.
fn raise_file_limit(connections: usize) {
    let wanted = connections as u64 + FILES_BESIDE_CONNECTIONS;
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        let raised = Rlimit { current: Some(allowed), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("the limit of open files can't be raised to {allowed}: {error}");
        }
    }
    if allowed < wanted {
        tracing::info!("{wanted} files may be open at once by public.connections_max, but the system allows {allowed}");
    }
}

fn operator_server(app: &Data<App>, socket: TcpListener) -> Result<Server, ServeError> {
    let shared = Data::clone(app);
    let server = HttpServer::new(move || WebApp::new().app_data(Data::clone(&shared)).configure(operator::routes))
        .workers(1)
        .client_request_timeout(HEAD_TIME_MAX)
        .disable_signals()
        .listen(socket)?;
    Ok(server.run())
}

fn background_tasks(app: &Data<App>, redis_answers: bool, postman: Option<Postman>) -> Vec<JoinHandle<()>> {
    let events = CacheEvents {
        cache: Arc::clone(&app.cache),
        rankings: Arc::clone(&app.rankings),
        metrics: Arc::clone(&app.metrics),
    };
    let mut tasks = vec![
        tokio::spawn(store::watch(app.store.clone(), events)),
        tokio::spawn(keep_checking_safety(Data::clone(app), redis_answers)),
        tokio::spawn(sweep_limits(Data::clone(app))),
        // On this thread: what a look-up awaits can't move to another.
        actix_web::rt::spawn(keep_revalidating(Data::clone(app))),
        actix_web::rt::spawn(app.store.clone().keep_tending(app.config.redis.index_check_every)),
        tokio::spawn(hot_links::keep_saving(hot_links::path(&app.config.data_dir), Arc::clone(&app.cache))),
    ];
    tasks.extend(postman.map(|postman| tokio::spawn(postman.deliver(app.store.clone()))));
    if let Some(path) = app.config.redirect.deny_file.clone() {
        let (denied, own_host) = (Arc::clone(&app.denied), app.config.public.base_url.host().to_owned());
        tasks.push(tokio::spawn(async move { denied.keep_reading(path, own_host).await }));
    }
    tasks.push(actix_web::rt::spawn(move_renamed_indexes(Data::clone(app))));
    if app.config.targets.blocked_file.is_some() {
        tasks.push(tokio::spawn(keep_reading_blocked_hosts(Data::clone(app))));
    }
    tasks
}

/// Runs once, as soon as Redis answers.
async fn move_renamed_indexes(app: Data<App>) {
    while let Err(error) = app.store.move_renamed_indexes().await {
        tracing::debug!("indexes with old names can't be moved now: {error}");
        if let StoreError::Corrupt(_) = error {
            break;
        }
        sleep(RETRY).await;
    }
}

async fn keep_reading_blocked_hosts(app: Data<App>) {
    if let Some(path) = &app.config.targets.blocked_file {
        app.targets.keep_reading(&app.config, path).await;
    }
}

/// The two signals that end the service; SIGHUP, by old custom: the file that is written to was
/// moved away, begin another; and two for the log's level, SIGUSR1 for more and SIGUSR2 for what is
/// set.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    log_more: Signal,
    log_as_set: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            log_more: signal(SignalKind::user_defined1())?,
            log_as_set: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for one that ends the service.
    async fn next(&mut self, audit: &Audit) {
        let name = loop {
            tokio::select! {
                _ = self.terminate.recv() => break "SIGTERM",
                _ = self.interrupt.recv() => break "SIGINT",
                _ = self.hangup.recv() => audit.reopen(),
                _ = self.log_more.recv() => log::more(),
                _ = self.log_as_set.recv() => log::as_set(),
            }
        };
        tracing::info!("{name}: stopping");
    }
}

/// Events that end the service: a signal, or the end of its own Redis.
struct End {
    signals: Signals,
    own_redis: Option<watch::Receiver<Phase>>,
}

impl End {
    async fn next(&mut self, audit: &Audit) {
        let Some(own_redis) = &mut self.own_redis else { return self.signals.next(audit).await };
        let given_up = tokio::select! {
            () = self.signals.next(audit) => false,
            // No phase satisfies this, so it waits for the supervisor's end.
            _ = own_redis.wait_for(|_| false) => true,
        };
        if given_up {
            self.own_redis = None;
        }
    }
}

/// At the first signal: not ready, then, when balancers have had the time to see that, stop with
/// grace. A second signal stops at once. `handover` is `None` when the socket's queue ends with
/// this process.
async fn stop_at_end(app: Data<App>, server: ServerHandle, handover: Option<Arc<Workers>>, mut end: End) {
    let (mut graceful, mut delay, mut handover) = (true, app.config.public.stop_delay, handover);
    loop {
        end.next(app.store.audit()).await;
        app.stop();
        service_manager::stopping();
        let (server, handover) = (server.clone(), handover.take());
        tokio::spawn(async move {
            sleep(delay).await;
            if let Some(workers) = handover {
                server.pause().await;
                hand_over(&workers).await;
            }
            server.stop(graceful).await;
        });
        (graceful, delay) = (false, Duration::ZERO);
    }
}

/// Waits until workers have taken all connections that were accepted before the pause. Workers drop
/// what they find in their queue at a stop; what stays in the kernel's queue is the next process's.
async fn hand_over(workers: &Workers) {
    let quiet = async {
        loop {
            let before = workers.connections.taken();
            sleep(HANDOVER).await;
            if workers.pulse.beat(HANDOVER_MAX).await && workers.connections.taken() == before {
                return;
            }
        }
    };
    let _ = timeout(HANDOVER_MAX, quiet).await;
}

/// Says that the service is ready once all workers answer, and then that it is alive as long as
/// they do. A Redis that is away is no reason for a restart.
async fn tell_service_manager(workers: Arc<Workers>) {
    while !workers.pulse.beat(WORKERS_PATIENCE).await {
        sleep(WATCH_POLL).await;
    }
    service_manager::ready();
    let Some(allowed) = service_manager::watchdog() else { return };
    let mut ticks = interval(allowed / BEATS_PER_WATCHDOG);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if workers.pulse.beat(allowed).await {
            service_manager::alive();
        }
    }
}

/// Refuses to start on a Redis that would lose what it acknowledges or lacks what Merlink needs; answers whether there is one. One that is away is judged when it comes.
async fn check_safety(config: &Config, store: &Store, metrics: &Metrics) -> Result<bool, ServeError> {
    match store.safety().await {
        Ok(safety) => {
            note_safety(&safety, metrics);
            let refused = safety.refused(&config.redis.allow_unsafe);
            if !refused.is_empty() {
                return Err(ServeError::Unsafe(refused));
            }
            claim_schema(store).await;
            Ok(true)
        }
        Err(error) if error.is_loading() => Ok(false),
        Err(error) => {
            tracing::warn!("starting without Redis, which should be at {}: {error}", store.place());
            Ok(false)
        }
    }
}

async fn keep_checking_safety(app: Data<App>, mut is_checked: bool) {
    loop {
        sleep(if is_checked { SAFETY_INTERVAL } else { RETRY }).await;
        if let Ok(safety) = app.store.safety().await {
            is_checked = true;
            note_safety(&safety, &app.metrics);
            let refused = safety.refused(&app.config.redis.allow_unsafe);
            app.refuse_redis(!refused.is_empty());
            if refused.is_empty() {
                claim_schema(&app.store).await;
            }
        }
    }
}

/// If it fails, the next check does it.
async fn claim_schema(store: &Store) {
    if let Err(error) = store.claim_schema().await {
        tracing::debug!("the schema isn't claimed: {error}");
    }
}

fn note_safety(safety: &Safety, metrics: &Metrics) {
    metrics.redis_unsafe.set(i64::from(!safety.dangers.is_empty()));
    metrics.redis_memory_bytes.set(safety.memory_bytes.try_into().unwrap_or(i64::MAX));
    metrics.redis_memory_bytes_max.set(safety.memory_bytes_max.try_into().unwrap_or(i64::MAX));
    let file = &metrics.redis_file;
    file.bytes.set(safety.file.bytes.try_into().unwrap_or(i64::MAX));
    file.loading_seconds.set(safety.file.loading.as_secs_f64());
    file.is_rewriting.set(i64::from(safety.file.is_rewriting));
    file.fork_seconds.set(safety.file.fork.as_secs_f64());
    file.has_failed.set(i64::from(safety.file.has_failed));
    for reason in safety.dangers.iter().map(|found| &found.reason).chain(&safety.weaknesses) {
        tracing::warn!("{reason}");
    }
}

async fn keep_revalidating(app: Data<App>) {
    app.cache.keep_revalidating(app.store.lane()).await;
}

async fn sweep_limits(app: Data<App>) {
    let mut ticks = interval(limits::SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        app.api_requests.sweep();
        app.store.trail_repeated_failures(false);
        if let Some(limit) = &app.misses {
            limit.sweep();
        }
        if let Some(limit) = &app.logins {
            limit.sweep();
        }
        if let Some(limit) = &app.known_logins {
            limit.sweep();
        }
    }
}

/// The redis-server that merlink runs when `redis.url` is empty, and the task that looks after it.
struct OwnRedis {
    supervisor: Option<(watch::Sender<bool>, Supervisor)>,
    phase: Option<watch::Receiver<Phase>>,
}

type Supervisor = JoinHandle<Result<(), EmbeddedError>>;

impl OwnRedis {
    fn start(config: &Config, store: &Store) -> Result<Self, EmbeddedError> {
        if config.redis.url.is_some() {
            return Ok(Self { supervisor: None, phase: None });
        }
        let embedded = Embedded::new(config, store.clone())?;
        let phase = embedded.phase();
        let (stop, stopped) = watch::channel(false);
        Ok(Self { supervisor: Some((stop, tokio::spawn(embedded.supervise(stopped)))), phase: Some(phase) })
    }

    /// Waits until the server answers, or has loaded its data for a moment without an end. `false`
    /// when it can't be started.
    async fn settled(&mut self) -> bool {
        let Some(phase) = &mut self.phase else { return true };
        if phase.wait_for(|phase| *phase != Phase::Starting).await.is_err() {
            return false;
        }
        let started = phase.wait_for(|phase| *phase == Phase::Started);
        !timeout(LOADING_PATIENCE, started).await.is_ok_and(|started| started.is_err())
    }

    async fn stop(self) -> Result<(), EmbeddedError> {
        let Some((stop, supervisor)) = self.supervisor else { return Ok(()) };
        let _ = stop.send(true);
        // A supervisor that panicked has said so.
        supervisor.await.unwrap_or(Ok(()))
    }
}
