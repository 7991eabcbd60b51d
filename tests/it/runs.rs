//! The runs behind docs/reliability.md: real clients that write down what they were answered, while things are broken under them; at the
//! end each link's counter is compared with the answers.
//!
//! Each run has a short form, which is part of the suite. `make test-faults` sets the lengths; what was measured is printed. Only that long
//! form, on a machine that does nothing else, is held to times.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use redis::cmd;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{CURL, Home, Random, Server, eventually},
    http::Connection,
    load::{Pace, StopAtEnd, Traffic, distribution, percentile},
    proxy::Proxy,
    redis_server::{RedisServer, append_only_file, cut_tail, length, mend},
    small_disk::SmallDisk,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// Primaries of Sentinel's and of a Cluster that are killed, one after another: see `sentinel.rs` and `cluster.rs`.
pub const FAILOVERS: &str = "MERLINK_TEST_FAILOVERS";

/// How long a run is: what `make test-faults` says, or the short form's.
pub fn length_of_run(variable: &str, short: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.map_or(short, |number| number.parse().unwrap_or_else(|_| panic!("{variable}={number} is no number")))
}

fn is_long(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

/// Kills of merlink; every other time Redis is killed too.
const KILLS: &str = "MERLINK_TEST_KILLS";
const CLIENTS: i64 = 6;

/// What a network does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    Well,
    SwallowsReplies,
    DelaysReplies,
    Cuts,
}

/// What becomes of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Lives,
    DiesAlone,
    /// Together with merlink.
    DiesToo,
    Hangs,
}

/// Redis is the test's own, behind a proxy; a cut file is mended as config/redis.conf tells.
#[test]
fn clicks_stay_exact_through_kills() {
    let kills = length_of_run(KILLS, 4);
    let started = Instant::now();
    let mut redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let server = Home::new().set("redis.url", proxy.url()).start();
    server.expect_log("redis");
    let traffic = Traffic::new(8, Duration::ZERO);
    for visited in &traffic.links {
        server.officer("amy@agency.gov.sg").creates(&visited.code, TARGET);
    }
    let file = append_only_file(redis.directory());
    let made_at = length(&file);
    let random = Random::new();
    let (mut did, mut cuts) = (BTreeMap::<String, usize>::new(), 0);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&traffic.over);
        for _ in 0..CLIENTS {
            scope.spawn(|| traffic.visit(&random));
        }
        traffic.goes_to(Some(server.public_address()));
        for round in 0..kills {
            let network = match random.below(8) {
                0..3 => Network::SwallowsReplies,
                3 => Network::DelaysReplies,
                4 => Network::Cuts,
                _ => Network::Well,
            };
            let fate = match round % 4 {
                0 => Fate::DiesAlone,
                1 => Fate::Hangs,
                2 => Fate::DiesToo,
                _ => Fate::Lives,
            };
            for about in [format!("{network:?}"), format!("{fate:?}")] {
                *did.entry(about).or_default() += 1;
            }
            proxy.swallow(if network == Network::SwallowsReplies { 5 } else { 0 });
            proxy.delay(if network == Network::DelaysReplies { Duration::from_millis(30) } else { Duration::ZERO });
            traffic.await_answers(100 + random.below(400));
            if network == Network::Cuts {
                proxy.cut();
                traffic.await_answers(random.below(100));
            }
            if fate == Fate::Hangs {
                redis.freeze();
                traffic.await_answers(100 + random.below(400));
            }
            let dies = matches!(fate, Fate::DiesAlone | Fate::DiesToo);
            if dies {
                redis.kill();
            }
            if fate == Fate::DiesToo {
                traffic.goes_to(None);
                assert_eq!(server.end_by(Signal::KILL), None);
            }
            if dies {
                if fate == Fate::DiesAlone {
                    traffic.await_answers(random.below(400));
                }
                // The links must stay: they are what nobody writes a second time.
                let tail = (1 + random.below(200)).min(length(&file) - made_at);
                if random.below(10) < 7 && tail > 0 {
                    cut_tail(&file, tail);
                    cuts += 1;
                }
                mend(redis.directory());
                redis.start_again();
            }
            if fate == Fate::Hangs && random.below(2) == 0 {
                redis.thaw();
                traffic.await_answers(random.below(400));
            }
            if fate != Fate::DiesToo {
                traffic.await_answers(random.below(400));
                traffic.goes_to(None);
                assert_eq!(server.end_by(Signal::KILL), None);
            }
            redis.thaw();
            if random.below(4) == 0 {
                // Killed again while it starts.
                server.start_again_unready();
                assert_eq!(server.end_by(Signal::KILL), None);
            }
            server.start_again();
            traffic.goes_to(Some(server.public_address()));
        }
        traffic.await_answers(100);
        proxy.swallow(0);
        proxy.delay(Duration::ZERO);
    });
    server.await_flushed();

    let counted = traffic.assert_counted(&server);
    let cut_off = traffic.sum(|link| &link.cut_off);
    // A listener that was killed as soon as it listened cut nobody off: nobody had its address.
    assert!(cut_off <= CLIENTS * kills.cast_signed(), "{cut_off}: one per connection and kill");
    assert!(!server.log().iter().any(|line| line.contains("older copy of data_dir")), "nothing was rewound");
    println!(
        "kills: merlink {kills} times; rounds {did:?}, the file's tail cut {cuts} times: {} clicks answered, {counted} counted, {cut_off} \
         cut off by a kill, {} answers 503, in {} s",
        traffic.sum(|link| &link.answered),
        traffic.unavailable.load(Ordering::SeqCst),
        started.elapsed().as_secs(),
    );
}

/// Seconds that Redis is away, and redirects a second meanwhile.
const OUTAGE: &str = "MERLINK_TEST_OUTAGE_SECONDS";
const OUTAGE_RATE: &str = "MERLINK_TEST_OUTAGE_REDIRECTS_PER_SECOND";

/// Beside it, under the same load and on the same noisy machine, runs an instance whose Redis stays: what is normal is what that one does.
#[test]
fn an_outage_of_redis_fails_no_warm_redirect_and_costs_no_click() {
    const VISITORS: u64 = 20;
    let seconds = length_of_run(OUTAGE, 3);
    let per_second = length_of_run(OUTAGE_RATE, 400);
    let (mut redis, redis_that_stays) = (RedisServer::start(), RedisServer::start());
    let [server, normal] = [&redis, &redis_that_stays].map(|redis| Home::new().set("redis.url", redis.url()).start());
    server.expect_log("redis");
    let [visits, normal_visits] = [&server, &normal].map(|server| {
        let traffic = Traffic::new(100, Duration::from_secs(1) * VISITORS as u32 / per_second as u32);
        traffic.warm_up(server, &server.officer("amy@agency.gov.sg"));
        traffic
    });
    let random = Random::new();
    let lasts = |seconds: u64| {
        let enough = visits.sum(|link| &link.answered) + (seconds * per_second).cast_signed();
        while visits.sum(|link| &link.answered) < enough {
            visits.await_answers(VISITORS);
        }
    };
    let begin_part = |part: usize| [visits.begin_part(part), normal_visits.begin_part(part)];
    let (before, away, drained) = thread::scope(|scope| {
        let _stops = [&visits, &normal_visits].map(|traffic| StopAtEnd(&traffic.over));
        for traffic in [&visits, &normal_visits] {
            for _ in 0..VISITORS {
                scope.spawn(|| traffic.visit(&random));
            }
        }
        lasts(seconds.min(60));
        let before = begin_part(1);
        redis.kill();
        lasts(seconds);
        let away = begin_part(2);
        let recorded = server.metrics().sum("merlink_clicks_recorded_total");
        redis.start_again();
        let returned = Instant::now();
        eventually("all clicks of the outage are counted", || {
            (server.metrics().sum("merlink_clicks_flushed_total") >= recorded).then_some(())
        });
        let drained = returned.elapsed();
        lasts(seconds.min(10));
        (before, away, drained)
    });
    let after = begin_part(0);
    let mut counted = 0;
    for (server, traffic) in [(&server, &visits), (&normal, &normal_visits)] {
        assert_eq!(traffic.unavailable.load(Ordering::SeqCst), 0, "no warm redirect fails");
        assert_eq!(traffic.sum(|link| &link.cut_off), 0, "and none is cut off");
        server.await_flushed();
        counted += traffic.assert_counted(server);
    }
    println!("outage: Redis away {seconds} s, {per_second} redirects/s, and as many on an instance whose Redis stays:");
    for (about, [tried, normal]) in [("before", before), ("away", away), ("after", after)] {
        let ratio = percentile(&tried, 99).as_secs_f64() / percentile(&normal, 99).as_secs_f64();
        println!("  {about}: {}; normal: {}; p99 {ratio:.2} times normal", distribution(&tried), distribution(&normal));
    }
    println!("  drained {:.1} s after its return; {counted} clicks answered and counted", drained.as_secs_f64());
}

const EDITS: &str = "MERLINK_TEST_EDITS";

/// How an instance's way to Redis is broken just before an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscriptions {
    Live,
    Cut,
    /// Without a word.
    Dead,
}

#[test]
fn an_edit_is_followed_by_every_instance_in_time() {
    const INSTANCES: usize = 3;
    let edits = length_of_run(EDITS, 20);
    let redis = RedisServer::on_tcp();
    let proxies: Vec<Proxy> = (0..INSTANCES).map(|_| Proxy::before(redis.address())).collect();
    let officers_server = Home::new().set("redis.url", redis.url()).start();
    let amy = officers_server.officer("amy@agency.gov.sg");
    let servers: Vec<Server> = proxies
        .iter()
        .map(|proxy| {
            // What operators run with: an instance must not wait for a dead connection for longer.
            let server = Home::new().set("redis.url", proxy.url()).unset("redis.lookup_timeout").start();
            server.expect_log("redis");
            server
        })
        .collect();
    let links: Vec<Edited> = (0..50).map(|number| Edited::new(format!("form-{number}"))).collect();
    for link in &links {
        amy.creates(&link.code, &edited_target(0));
        for server in &servers {
            eventually("is in memory", || link.version_at(&mut server.connect(), server).map(|_| ()));
        }
    }
    let over = AtomicBool::new(false);
    let random = Random::new();
    let mut took: Vec<(Subscriptions, Vec<Duration>)> = Vec::new();
    thread::scope(|scope| {
        let _stop = StopAtEnd(&over);
        for server in &servers {
            let (over, links, random) = (&over, &links, &random);
            scope.spawn(move || {
                let (mut connection, mut pace) = (server.connect(), Pace::new(Duration::from_millis(3)));
                while !over.load(Ordering::SeqCst) {
                    let link = &links[random.below(links.len() as u64) as usize];
                    let proven = link.proven.load(Ordering::SeqCst);
                    if let Some(version) = link.version_at(&mut connection, server) {
                        assert!(version >= proven, "{}: target {version} after {proven} had been followed", link.code);
                    }
                    pace.keep();
                }
            });
        }
        for (subscriptions, share) in [(Subscriptions::Live, 1), (Subscriptions::Cut, 20), (Subscriptions::Dead, 20)] {
            let mut delays = Vec::new();
            for number in 0..edits.div_ceil(share) {
                let link = &links[random.below(links.len() as u64) as usize];
                for proxy in &proxies {
                    match subscriptions {
                        Subscriptions::Live => {}
                        Subscriptions::Cut => proxy.cut(),
                        Subscriptions::Dead => proxy.black_hole(),
                    }
                }
                let version = link.version.fetch_add(1, Ordering::SeqCst) + 1;
                amy.update(&link.code, &json!({"longUrl": edited_target(version)})).assert_v1_status("edit", 200);
                let edited = Instant::now();
                let until_followed = |server: &Server| {
                    let mut connection = server.connect();
                    eventually(&format!("edit {number}, {subscriptions:?}: an instance follows"), || {
                        link.version_at(&mut connection, server).filter(|seen| *seen >= version)
                    });
                    edited.elapsed()
                };
                thread::scope(|pollers| {
                    let pollers: Vec<_> =
                        servers.iter().map(|server| pollers.spawn(|| until_followed(server))).collect();
                    delays.extend(pollers.into_iter().map(|poller| poller.join().expect("an instance follows")));
                });
                link.proven.fetch_max(version, Ordering::SeqCst);
                if subscriptions != Subscriptions::Live {
                    servers.iter().for_each(Server::await_ready);
                }
            }
            delays.sort_unstable();
            took.push((subscriptions, delays));
        }
    });
    for server in &servers {
        server.await_flushed();
    }
    for link in &links {
        let answered = link.answered.load(Ordering::SeqCst);
        assert_eq!(servers[0].counters(&link.code).get("t"), Some(&answered), "{}", link.code);
    }
    for (subscriptions, delays) in &took {
        println!(
            "edits: subscriptions {subscriptions:?}, {INSTANCES} instances, until an instance follows: {}",
            distribution(delays)
        );
        let bound = if *subscriptions == Subscriptions::Live { 1 } else { 2 };
        let longest = delays.last().copied().unwrap_or_default();
        assert!(!is_long(EDITS) || longest <= Duration::from_secs(bound), "{subscriptions:?}: {longest:?}");
    }
}

/// A link that is edited again and again: its target says how often it was.
struct Edited {
    code: String,
    version: AtomicU64,
    /// Every instance has followed this one: none may follow an older one any more.
    proven: AtomicU64,
    answered: AtomicI64,
}

impl Edited {
    fn new(code: String) -> Self {
        Self { code, version: AtomicU64::new(0), proven: AtomicU64::new(0), answered: AtomicI64::new(0) }
    }

    /// Which target an instance sends a visitor to; `None` when it can't tell just now.
    fn version_at(&self, connection: &mut Connection, server: &Server) -> Option<u64> {
        let visit = server.get(&format!("/{}", self.code)).user_agent(CURL);
        connection.write(&visit.bytes()).expect("sends");
        let answer = connection.read_answer("GET").expect("is answered");
        if answer.status == 503 {
            return None;
        }
        assert_eq!(answer.status, 302, "{}: {}", self.code, answer.text());
        self.answered.fetch_add(1, Ordering::SeqCst);
        let target = answer.header("location").expect("a redirect says where to");
        let version = target.strip_prefix(TARGET).and_then(|rest| rest.strip_prefix("?version="));
        Some(version.and_then(|version| version.parse().ok()).unwrap_or_else(|| panic!("{}: {target}", self.code)))
    }
}

fn edited_target(version: u64) -> String {
    format!("{TARGET}?version={version}")
}

/// Seconds of guessing, from one address and again from many.
const GUESSES: &str = "MERLINK_TEST_GUESSES_SECONDS";

#[test]
fn ten_thousand_guesses_a_second_harm_no_link() {
    const GUESSERS: usize = 8;
    const AT_ONCE: usize = 50;
    const PER_SECOND: usize = 10_000;
    let seconds = length_of_run(GUESSES, 1);
    let redis = RedisServer::start();
    let server = Home::new()
        .set("redis.url", redis.url())
        .set("public.trusted_proxies", "127.0.0.0/8")
        .unset("limits.misses_per_minute")
        .start();
    let amy = server.officer("amy@agency.gov.sg");
    let rarely_visited = 24 * seconds;
    for number in 0..50 {
        amy.creates(&format!("warm-{number}"), TARGET);
    }
    for number in 0..2 * rarely_visited {
        amy.creates(&format!("cold-{number}"), TARGET);
    }
    let (random, mut cold) = (Random::new(), 0..2 * rarely_visited);
    for (about, addresses) in [("one address", 1), ("a million addresses", 1_000_000)] {
        let (over, guesses, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let took = Mutex::new(Vec::new());
        let lookups =
            || server.metrics().with("merlink_redis_command_duration_seconds_count", &[("operation", "resolve")]);
        let (lookups_before, memory_before, redis_before) = (lookups(), memory_kib(&server), redis_cpu_seconds(&redis));
        let started = Instant::now();
        thread::scope(|scope| {
            let _stop = StopAtEnd(&over);
            for _ in 0..GUESSERS {
                scope.spawn(|| {
                    let interval = Duration::from_secs(1) * (GUESSERS * AT_ONCE) as u32 / PER_SECOND as u32;
                    let (mut connection, mut pace) = (server.connect(), Pace::new(interval));
                    while !over.load(Ordering::SeqCst) {
                        let mut bytes = Vec::new();
                        for _ in 0..AT_ONCE {
                            let code = format!("/{:08x}", random.below(1 << 32));
                            let guess = server.get(&code).header("X-Forwarded-For", address(random.below(addresses)));
                            bytes.extend(guess.user_agent(CURL).bytes());
                        }
                        connection.write(&bytes).expect("sends");
                        for _ in 0..AT_ONCE {
                            match connection.read_answer("GET").expect("is answered").status {
                                404 => {}
                                // Beyond a client's limit; or beyond what merlink asks Redis at once.
                                429 | 503 => _ = refused.fetch_add(1, Ordering::Relaxed),
                                status => panic!("a guess is answered {status}"),
                            }
                            guesses.fetch_add(1, Ordering::Relaxed);
                        }
                        pace.keep();
                    }
                });
            }
            // A citizen, meanwhile: twenty links that are in memory, and one that isn't.
            let (mut connection, mut pace) = (server.connect(), Pace::new(Duration::from_millis(2)));
            for number in cold.by_ref().take(rarely_visited as usize) {
                let warm = (0..20).map(|_| format!("warm-{}", random.below(50)));
                for code in warm.chain([format!("cold-{number}")]) {
                    let visit = server.get(&format!("/{code}")).header("X-Forwarded-For", "203.0.113.7");
                    let asked = Instant::now();
                    connection.write(&visit.user_agent(CURL).bytes()).expect("sends");
                    let answer = connection.read_answer("GET").expect("is answered");
                    took.lock().unwrap_or_else(PoisonError::into_inner).push(asked.elapsed());
                    answer.assert_redirects(&code, TARGET);
                    pace.keep();
                }
            }
        });
        let seconds = started.elapsed().as_secs_f64();
        let (asked, grown) = (lookups() - lookups_before, memory_kib(&server).saturating_sub(memory_before));
        let guesses = guesses.into_inner();
        let mut took = took.into_inner().unwrap_or_else(PoisonError::into_inner);
        took.sort_unstable();
        println!(
            "guesses from {about}: {guesses} in {seconds:.1} s, {} refused; {asked} look-ups in Redis, which took {:.0} % of a core; memory \
             grew by {} KiB to {} KiB; good links: {}",
            refused.into_inner(),
            (redis_cpu_seconds(&redis) - redis_before) / seconds * 100.0,
            grown,
            memory_kib(&server),
            distribution(&took),
        );
        assert!(grown < 96 * 1024, "{about}: memory grew by {grown} KiB");
        if addresses == 1 {
            // Its 60 a minute, what there is for all such visitors, and the citizen's.
            let bound = 60.0 + seconds + 100.0 + 100.0 * (1.0 + seconds) + 50.0 + rarely_visited as f64;
            assert!(asked <= bound, "{guesses} guesses cost {asked} look-ups in {seconds} s");
        }
    }
}

fn address(number: u64) -> String {
    format!("100.{}.{}.{}", number >> 16 & 0xff, number >> 8 & 0xff, number & 0xff)
}

/// What the process has in memory.
fn memory_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id())).expect("the server runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
    resident.trim().trim_end_matches(" kB").parse().expect("is a number")
}

fn redis_cpu_seconds(redis: &RedisServer) -> f64 {
    let info: String = cmd("INFO").arg("cpu").query(&mut redis.connect().expect("answers")).expect("says");
    let used = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    used("used_cpu_user:").zip(used("used_cpu_sys:")).map(|(user, system)| user + system).expect("both are said")
}

#[test]
fn a_full_disk_costs_clicks_and_no_redirect_and_is_over_when_there_is_room() {
    let Some(disk) = SmallDisk::new(40 * 1024 * 1024) else {
        println!("a full disk: not tried, since this user can have no namespace to mount a small one in");
        return;
    };
    let mut redis = RedisServer::start();
    let server = Home::new()
        .set("redis.url", redis.url())
        .set("data_dir", disk.path().join("data").display().to_string())
        .within(disk.within())
        .start();
    for about in ["redis", "journal", "the disk is full", "memory"] {
        server.expect_log(about);
    }
    server.expect_lost_clicks();
    let amy = server.officer("amy@agency.gov.sg");
    // The longest code makes the longest records: some 31,000 fill a segment.
    let code = "a".repeat(255);
    amy.creates(&code, TARGET);
    let answered = AtomicI64::new(0);
    let follow = |times: usize| {
        let mut connection = server.connect();
        let visit = server.get(&format!("/{code}")).user_agent(CURL).bytes();
        for _ in 0..times / 50 {
            connection.write(&visit.repeat(50)).expect("sends");
            for _ in 0..50 {
                connection.read_answer("GET").expect("is answered").assert_redirects("a full disk or not", TARGET);
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let lost = || server.metrics().sum("merlink_clicks_lost_total");
    let mut lost_before_the_kill = 0.0;
    let counted = || server.counters(&code).get("t").copied().unwrap_or_default();
    for round in 0..2 {
        follow(50);
        disk.fill();
        // With Redis away, no segment can be given up for new clicks.
        redis.kill();
        while lost() == 0.0 || server.operator("/readyz").send().status == 200 {
            assert!(answered.load(Ordering::SeqCst) < 200_000, "round {round}: the disk isn't full");
            follow(1_000);
        }
        let ready = server.operator("/readyz").send();
        assert!(ready.text().contains("journal"), "says so: {}", ready.text());
        if round == 1 {
            // A start on a full disk: what was kept is counted all the same.
            lost_before_the_kill = lost();
            assert_eq!(server.end_by(Signal::KILL), None);
            server.start_again_unready();
        }
        disk.clear();
        redis.start_again();
        server.await_ready();
        server.await_flushed();
        let so_far = lost();
        follow(1_000);
        server.await_flushed();
        assert_eq!(lost(), so_far, "round {round}: with room again, none is lost");
        let lost = lost_before_the_kill as i64 + so_far as i64;
        assert_eq!(counted() + lost, answered.load(Ordering::SeqCst), "round {round}: counted, or said to be lost");
    }
    let answered = answered.into_inner();
    println!("a full disk: {answered} clicks answered, {} counted, the others said to be lost", counted());
}

/// Its own Redis and the journal on one disk: Redis ends when it can't write, and is started again until it can.
#[test]
fn merlinks_own_redis_on_a_full_disk_is_away_until_there_is_room_and_forgets_nothing() {
    let Some(disk) = SmallDisk::new(40 * 1024 * 1024) else {
        println!("Redis on a full disk: not tried, since this user can have no namespace to mount a small one in");
        return;
    };
    let data_dir = disk.path().join("data").display().to_string();
    let server = Home::new().set("data_dir", data_dir).within(disk.within()).start();
    for about in ["redis", "journal", "torn"] {
        server.expect_log(about);
    }
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    server.follow("form").assert_redirects("before", TARGET);
    disk.fill();
    let mut visits = 1;
    let mut made = Vec::new();
    eventually("what can't be written is refused", || {
        let code = format!("made-{}", made.len());
        let answer = amy.create(&json!({"shortUrl": code, "longUrl": TARGET}));
        server.follow("form").assert_redirects("on a full disk", TARGET);
        visits += 1;
        match answer.status {
            200 => made.push(code),
            503 => return Some(()),
            status => panic!("creating {code}: {status} {}", answer.text()),
        }
        None
    });
    for _ in 0..50 {
        server.follow("form").assert_redirects("without Redis", TARGET);
        visits += 1;
    }
    disk.clear();
    server.await_ready();
    eventually("links are made again", || {
        let answer = amy.create(&json!({"shortUrl": "after", "longUrl": TARGET}));
        ([200, 400].contains(&answer.status) && server.follow("after").status == 302).then_some(())
    });
    for code in &made {
        eventually("what was acknowledged is there", || (server.follow(code).status == 302).then_some(()));
    }
    server.await_flushed();
    amy.sees_clicks("form", visits);
    println!(
        "Redis on a full disk: {} links acknowledged before it ended, all there; {visits} clicks, all counted",
        made.len()
    );
}
