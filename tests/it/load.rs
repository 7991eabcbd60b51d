//! Citizens and an officer who go on while a test breaks things, and what they were answered.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    harness::{CURL, Officer, Random, Server, eventually},
    http::{Connection, Request},
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// Between two visits of one citizen whom a test has no reason to hurry.
const VISIT_INTERVAL: Duration = Duration::from_millis(1);
const CREATION_INTERVAL: Duration = Duration::from_millis(5);

/// What was answered under load.
#[derive(Default)]
pub struct Answered {
    clicks: Mutex<BTreeMap<String, i64>>,
    /// Creations that were answered with 200, and with 503.
    pub created: AtomicUsize,
    pub refused: AtomicUsize,
}

impl Answered {
    /// The clicks on each code that were answered with a redirect.
    pub fn clicks(&self) -> BTreeMap<String, i64> {
        lock(&self.clicks).clone()
    }

    pub fn add(&self, code: &str, clicks: i64) {
        *lock(&self.clicks).entry(code.to_owned()).or_default() += clicks;
    }
}

impl std::fmt::Display for Answered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clicks: i64 = lock(&self.clicks).values().sum();
        let [created, refused] = [&self.created, &self.refused].map(|count| count.load(Ordering::Relaxed));
        write!(
            formatter,
            "{clicks} clicks answered, each with its redirect, and counted; {created} links created, {refused} refused with 503"
        )
    }
}

/// While `work` goes on, two citizens follow `codes`, which every server has in memory, and must be redirected each time; and an officer
/// creates links, which may be refused with 503 for the time being and with nothing else.
pub fn during<T>(
    server: &Server,
    officer: &Officer<'_>,
    codes: &[String],
    answered: &Answered,
    work: impl FnOnce() -> T,
) -> T {
    let over = AtomicBool::new(false);
    let stop = StopAtEnd(&over);
    thread::scope(|scope| {
        for citizen in 0..2 {
            let over = &over;
            scope.spawn(move || {
                let mut connection = server.connect();
                let mut clicks = vec![0; codes.len()];
                let mut pace = Pace::new(VISIT_INTERVAL);
                for visit in citizen.. {
                    let which = visit % codes.len();
                    let request = server.get(&format!("/{}", codes[which])).user_agent(CURL);
                    connection.write(&request.bytes()).expect("sends");
                    connection.read_answer("GET").expect("is answered").assert_redirects("a link in memory", TARGET);
                    clicks[which] += 1;
                    pace.keep();
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
                for (code, clicks) in codes.iter().zip(clicks) {
                    answered.add(code, clicks);
                }
            });
        }
        let over = &over;
        scope.spawn(move || {
            let first = answered.created.load(Ordering::Relaxed) + answered.refused.load(Ordering::Relaxed);
            let mut pace = Pace::new(CREATION_INTERVAL);
            for number in first.. {
                pace.keep();
                let answer =
                    officer.create(&json!({"shortUrl": format!("made-under-load-{number}"), "longUrl": TARGET}));
                match answer.status {
                    200 => answered.created.fetch_add(1, Ordering::Relaxed),
                    503 => {
                        answer.assert_retry_after("a creation that can't be made now", 3_600);
                        answered.refused.fetch_add(1, Ordering::Relaxed)
                    }
                    status => panic!("creating made-under-load-{number}: {status} {}", answer.text()),
                };
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let result = work();
        drop(stop);
        result
    })
}

/// Creates links that lead to the same place, and visits each on each server, so that all have them in memory.
pub fn warm_links(servers: &[&Server], officer: &Officer<'_>, count: usize, answered: &Answered) -> Vec<String> {
    let codes: Vec<String> = (0..count).map(|number| format!("warm-{number}")).collect();
    for code in &codes {
        officer.creates(code, TARGET);
        for server in servers {
            server.follow(code).assert_redirects("before", TARGET);
            answered.add(code, 1);
        }
    }
    codes
}

/// Compares each code's clicks in API v1 with the answers.
pub fn assert_clicks_are_exact(officer: &Officer<'_>, answered: &Answered) {
    for (code, clicks) in answered.clicks() {
        officer.sees_clicks(&code, clicks);
    }
}

/// Clients that follow links all the time and write down what they got.
pub struct Traffic {
    pub links: Vec<Visited>,
    /// `None` while there is no server.
    to: Mutex<Option<SocketAddr>>,
    /// Between two visits of one client.
    interval: Duration,
    /// Which part of a test this is, and how long each answer of that part took.
    part: AtomicUsize,
    took: Mutex<BTreeMap<usize, Vec<Duration>>>,
    pub unavailable: AtomicI64,
    pub over: AtomicBool,
}

pub struct Visited {
    pub code: String,
    request: Vec<u8>,
    pub answered: AtomicI64,
    /// Requests whose answer was never read to its end: each may have been counted.
    pub cut_off: AtomicI64,
}

impl Traffic {
    /// Visits of so many links; `interval` may be zero.
    pub fn new(links: usize, interval: Duration) -> Self {
        let links = (0..links).map(|number| {
            let code = format!("form-{number}");
            let host = SocketAddr::from(([127, 0, 0, 1], 80));
            let request = Request::new(host, "GET", format!("/{code}")).user_agent(CURL).bytes();
            Visited { code, request, answered: AtomicI64::new(0), cut_off: AtomicI64::new(0) }
        });
        Self {
            links: links.collect(),
            to: Mutex::default(),
            interval,
            part: AtomicUsize::new(0),
            took: Mutex::default(),
            unavailable: AtomicI64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Creates the links and visits each once.
    #[track_caller]
    pub fn warm_up(&self, server: &Server, officer: &Officer<'_>) {
        for link in &self.links {
            officer.creates(&link.code, TARGET);
            server.follow(&link.code).assert_redirects("before", TARGET);
            link.answered.fetch_add(1, Ordering::SeqCst);
        }
        self.goes_to(Some(server.public_address()));
    }

    pub fn goes_to(&self, address: Option<SocketAddr>) {
        *lock(&self.to) = address;
    }

    /// Begins another part of the test; answers what the last part's answers took, sorted.
    pub fn begin_part(&self, part: usize) -> Vec<Duration> {
        let last = self.part.swap(part, Ordering::SeqCst);
        let mut took = lock(&self.took).remove(&last).unwrap_or_default();
        took.sort_unstable();
        took
    }

    /// One client's life.
    pub fn visit(&self, random: &Random) {
        while !self.over.load(Ordering::SeqCst) {
            let to = *lock(&self.to);
            match to.map(Connection::open) {
                Some(Ok(connection)) => self.visit_over(connection, random),
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Until the connection breaks.
    fn visit_over(&self, mut connection: Connection, random: &Random) {
        let mut pace = Pace::new(self.interval);
        while !self.over.load(Ordering::SeqCst) {
            pace.keep();
            let link = &self.links[random.below(self.links.len() as u64) as usize];
            let (part, asked) = (self.part.load(Ordering::SeqCst), Instant::now());
            let answer = connection.write(&link.request).and_then(|()| connection.read_answer("GET"));
            match answer {
                Ok(answer) if answer.status == 503 => {
                    self.unavailable.fetch_add(1, Ordering::SeqCst);
                }
                Ok(answer) => {
                    answer.assert_redirects(&link.code, TARGET);
                    link.answered.fetch_add(1, Ordering::SeqCst);
                    if !self.interval.is_zero() {
                        lock(&self.took).entry(part).or_default().push(asked.elapsed());
                    }
                }
                Err(_) => {
                    link.cut_off.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        }
    }

    pub fn sum(&self, of: impl Fn(&Visited) -> &AtomicI64) -> i64 {
        self.links.iter().map(|link| of(link).load(Ordering::SeqCst)).sum()
    }

    #[track_caller]
    pub fn await_answers(&self, more: u64) {
        let enough = self.sum(|link| &link.answered) + i64::try_from(more).expect("is small");
        eventually("the clients get answers", || (self.sum(|link| &link.answered) >= enough).then_some(()));
    }

    /// Compares each code's counter with its answers; answers the clicks in all.
    #[track_caller]
    pub fn assert_counted(&self, server: &Server) -> i64 {
        let mut counted_in_all = 0;
        for link in &self.links {
            let counted = server.counters(&link.code).get("t").copied().unwrap_or_default();
            let (answered, cut_off) = (link.answered.load(Ordering::SeqCst), link.cut_off.load(Ordering::SeqCst));
            let about = format!("{}: {answered} answered, {cut_off} cut off, {counted} counted", link.code);
            assert!((answered..=answered + cut_off).contains(&counted), "{about}");
            counted_in_all += counted;
        }
        assert_eq!(server.counters("*").get("t"), Some(&counted_in_all), "over all links");
        counted_in_all
    }
}

/// Something that is done so often a second; what a slow moment put off is caught up with, for a second at most.
pub struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    pub fn new(interval: Duration) -> Self {
        Self { next: Instant::now(), interval }
    }

    /// Waits until it is time again.
    pub fn keep(&mut self) {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        let late = Instant::now().saturating_duration_since(self.next);
        self.next += if late > Duration::from_secs(1) { late } else { self.interval };
    }
}

/// Ends the load also when the test fails: the scope waits for it.
pub struct StopAtEnd<'t>(pub &'t AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The time within which so many percent were done; `took` is sorted.
pub fn percentile(took: &[Duration], percent: usize) -> Duration {
    let last = took.len().saturating_sub(1);
    took.get(last * percent / 100).copied().unwrap_or_default()
}

/// Three numbers that tell a distribution.
pub fn distribution(took: &[Duration]) -> String {
    let [p50, p99, p100] = [50, 99, 100].map(|percent| percentile(took, percent).as_secs_f64() * 1000.0);
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, longest {p100:.2} ms of {}", took.len())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
