//! `make bench`: what a redirect costs, beside what the framework, a web server and the obvious program cost, on this machine, in one run.
//!
//! Servers take turns, round by round, so that a noisy neighbour meets all of them; numbers are medians of the rounds, ratios are taken within a
//! round. Servers have the first half of the cores; wrk, the visitors of `open_loop.rs` and Redis the other. The report is printed, and, when
//! everything was measured, written into docs/benchmarks.md.
//!
//! `BENCH_ROUNDS` (5), `BENCH_SECONDS` (4, for each measurement), `BENCH_CONNECTIONS` (64), `BENCH_LINKS` (`10000 100000 1000000 10000000`; the last
//! takes five minutes of the twenty, and some GB of memory and disk), `BENCH_SOAK` (10000000 redirects), `BENCH_ONLY` (some of `servers latency workers misses sizes flush soak start parts`).

#![expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]

mod bare;
mod naive;
mod open_loop;
mod process;
mod report;
mod servers;
mod visits;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use report::{Report, median, microseconds, range};
use servers::{Cores, Redis, Server};
use visits::Visit;

/// Of the comparison between servers.
const LINKS: usize = 100_000;

fn main() {
    actix_web::rt::System::new().block_on(play());
}

async fn play() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bare", port, workers] => serve_bare(number(port), number(workers)).await,
        ["naive", port, redis] => naive::serve(number(port), redis).await,
        [] => Bench::new().run().await,
        _ => panic!("usage: cargo bench --bench redirects"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

async fn serve_bare(port: u16, workers: usize) {
    let server = actix_web::HttpServer::new(|| actix_web::App::new().configure(bare::routes)).workers(workers);
    server.bind(("127.0.0.1", port)).expect("a free port").run().await.expect("it runs");
}

struct Bench {
    folder: PathBuf,
    cores: Cores,
    rounds: usize,
    seconds: f64,
    connections: usize,
    links: Vec<usize>,
    soak: f64,
    only: Option<Vec<String>>,
    report: Report,
}

/// One of those that are compared.
struct Subject<'a> {
    name: &'static str,
    server: Server,
    redis: Option<&'a Redis>,
    /// Whether Redis is stopped while it is measured.
    redis_is_away: bool,
}

impl<'a> Subject<'a> {
    fn new(name: &'static str, server: Server, redis: Option<&'a Redis>) -> Self {
        Self { name, server, redis, redis_is_away: false }
    }

    /// Stops its Redis if that is how it is measured; when what is answered is dropped, Redis is back and all that waited for it is done.
    fn without_redis(&self) -> Option<Away<'_>> {
        let redis = self.redis.filter(|_| self.redis_is_away)?;
        redis.stop();
        self.server.wait_until_redis_is(false);
        Some(Away { server: &self.server, redis })
    }
}

struct Away<'a> {
    server: &'a Server,
    redis: &'a Redis,
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.redis.go_on();
        self.server.wait_until_redis_is(true);
        self.server.settle();
    }
}

/// What one server came to in one measurement.
#[derive(Clone, Copy, Default)]
struct Load {
    requests: f64,
    rate: f64,
    cpu_us: f64,
    redis_us: f64,
}

impl Bench {
    fn new() -> Self {
        let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        Self {
            folder: tempfile::Builder::new().prefix("merlink-bench.").tempdir().expect("a folder").keep(),
            cores: Cores::halves(),
            rounds: number(&setting("BENCH_ROUNDS", "5")),
            seconds: number(&setting("BENCH_SECONDS", "4")),
            connections: number(&setting("BENCH_CONNECTIONS", "64")),
            links: words(setting("BENCH_LINKS", "10000 100000 1000000 10000000"))
                .iter()
                .map(|links| number(links))
                .collect(),
            soak: number(&setting("BENCH_SOAK", "10000000")),
            only: std::env::var("BENCH_ONLY").ok().map(words),
            report: Report::default(),
        }
    }

    async fn run(mut self) {
        self.report.begin(&self.cores, self.rounds, self.seconds, self.connections);
        if self.wants("servers")
            || self.wants("latency")
            || self.wants("misses")
            || self.wants("flush")
            || self.wants("soak")
        {
            self.compare().await;
        }
        if self.wants("workers") {
            self.workers().await;
        }
        if self.wants("sizes") {
            self.sizes().await;
        }
        if self.wants("start") {
            self.start();
        }
        if self.wants("parts") {
            self.parts();
        }
        fs::remove_dir_all(&self.folder).expect("the bench's own folder");
        println!("{}", self.report.text());
        if self.only.is_none() {
            self.report.write();
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted == part))
    }

    fn redis(&self, name: &str) -> Redis {
        let settings = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/redis.conf");
        Redis::start(&self.folder.join(name), &self.cores.client, Some(&settings))
    }

    /// All servers with the same links, and Merlink in what only it can do.
    async fn compare(&mut self) {
        say("filling Redis with 100,000 links");
        let redis = self.redis("redis");
        redis.fill(&self.folder, LINKS).await;
        let stopped_redis = self.redis("redis-stopped");
        stopped_redis.fill(&self.folder, LINKS).await;
        let plain_redis = Redis::start(&self.folder.join("redis-plain"), &self.cores.client, None);
        Server::fill_naive(&plain_redis, LINKS).await;
        let durable_redis = self.redis("redis-durable");
        Server::fill_naive(&durable_redis, LINKS).await;
        let zipf = visits::zipf(LINKS);
        visits::write_script(&self.folder, "zipf", &zipf).expect("written");
        let at = &self.cores.server;
        let merlink = |name: &str, redis| Server::merlink(&self.folder.join(name), at, Some(redis), 1);
        let subjects = [
            Subject::new("merlink, everything on", merlink("merlink", &redis), Some(&redis)),
            Subject::new("bare actix-web handler", Server::bare(&self.folder, at, 1), None),
            Subject {
                redis_is_away: true,
                ..Subject::new(
                    "merlink, its Redis stopped meanwhile",
                    merlink("merlink-alone", &stopped_redis),
                    Some(&stopped_redis),
                )
            },
            Subject::new("nginx, `return 302`", Server::nginx(&self.folder, at, None), None),
            Subject::new("nginx, `map` of the links", Server::nginx(&self.folder, at, Some(LINKS)), None),
            Subject::new(
                "GET and INCR, Redis' defaults",
                Server::naive(&self.folder, at, &plain_redis),
                Some(&plain_redis),
            ),
            Subject::new(
                "GET and INCR, Redis set as Merlink's",
                Server::naive(&self.folder, at, &durable_redis),
                Some(&durable_redis),
            ),
        ];
        let all = visits::each((0..LINKS).map(visits::code));
        for subject in subjects.iter().filter(|subject| subject.server.is_merlink()) {
            self.visit(subject.server.port, &all[..50_000], 10_000.0, 5.0);
        }
        say("warming up");
        for subject in &subjects {
            self.load(&subject.server, subject.redis, "zipf", 3.0);
        }
        let loads = self.turns("servers", &subjects, |subject, _| self.load_of(subject, "zipf"));
        let rates: Vec<f64> = loads.iter().map(|loads| median(loads.iter().map(|load| load.rate))).collect();
        let latencies = if self.wants("latency") {
            self.turns("latency", &subjects, |subject, index| {
                let _away = subject.without_redis();
                let times = self.visit(subject.server.port, &zipf, rates[index] / 2.0, self.seconds);
                [50.0, 99.0, 99.9].map(|percent| microseconds(times.percentile(percent)))
            })
        } else {
            vec![Vec::new(); subjects.len()]
        };
        let servers = subjects
            .each_ref()
            .map(|subject| (subject.name, subject.redis.is_some(), subject.server.process.resident_bytes()));
        self.report.servers(&servers, &loads, &latencies);
        let [Subject { server: merlink, .. }, ..] = subjects;
        if self.wants("misses") {
            self.misses(&merlink, &redis, &zipf);
        }
        if self.wants("flush") {
            self.flush(&merlink, &redis, &zipf);
        }
        if self.wants("soak") {
            self.soak(&merlink, &redis);
        }
    }

    /// Each subject in its turn, once a round; what was measured of each.
    fn turns<T>(
        &self,
        what: &str,
        subjects: &[Subject<'_>],
        measure: impl Fn(&Subject<'_>, usize) -> T,
    ) -> Vec<Vec<T>> {
        let mut measured: Vec<Vec<T>> = subjects.iter().map(|_| Vec::new()).collect();
        for round in 0..self.rounds {
            say(&format!("{what}, round {} of {}", round + 1, self.rounds));
            for step in 0..subjects.len() {
                // Who goes first changes with each round.
                let index = (round + step) % subjects.len();
                measured[index].push(measure(&subjects[index], index));
                for redis in subjects.iter().filter_map(|subject| subject.redis) {
                    redis.settle();
                }
            }
        }
        measured
    }

    /// A flood of guesses, and visits of links that aren't in memory.
    fn misses(&mut self, merlink: &Server, redis: &Redis, zipf: &[Visit]) {
        say("a flood of guesses; one visit in ten of a link that isn't in memory");
        let guesses = visits::each((0..visits::VISITS).map(|number| format!("guess-{number:x}")));
        visits::write_script(&self.folder, "guesses", &guesses).expect("written");
        let flood: Vec<Load> =
            (0..self.rounds).map(|_| self.load(merlink, Some(redis), "guesses", self.seconds)).collect();
        self.report.line("a flood of guesses, no two alike", &flood);
        // A fresh instance each time: in memory is what is visited often, which half of the links are not.
        let mut tenth = Vec::new();
        for round in 0..self.rounds {
            let fresh =
                Server::merlink(&self.folder.join(format!("fresh-{round}")), &self.cores.server, Some(redis), 1);
            let hot: Vec<Visit> = zipf.iter().filter(|visit| visit.rank < LINKS / 10).cloned().collect();
            visits::write_script(&self.folder, "hot", &hot).expect("written");
            self.load(&fresh, Some(redis), "hot", 2.0);
            let mixed = visits::with_misses(
                hot.into_iter().cycle().take(visits::VISITS).collect(),
                (LINKS / 10..LINKS).map(visits::code),
            );
            visits::write_script(&self.folder, "mixed", &mixed).expect("written");
            let before = fresh.metric("merlink_link_cache_lookups_total{result=\"miss\"}");
            // No longer than the links that aren't in memory last.
            let load = self.load(&fresh, Some(redis), "mixed", self.seconds.min(4.0));
            let misses = fresh.metric("merlink_link_cache_lookups_total{result=\"miss\"}") - before;
            say(&format!("{:.1} % of the visits were misses", misses / load.requests * 100.0));
            tenth.push(load);
        }
        self.report.line("one visit in ten of a link that isn't in memory", &tenth);
    }

    /// 50,000 clicks a second for ten seconds: what their counting costs Redis, and how far behind it is.
    fn flush(&mut self, merlink: &Server, redis: &Redis, zipf: &[Visit]) {
        say("50,000 clicks a second");
        let (before, cpu) = (merlink.metric("merlink_clicks_flushed_total"), redis.process.cpu_s());
        let (rate, started) = (50_000.0, Instant::now());
        let mut behind = 0.0_f64;
        thread::scope(|scope| {
            let visitors = scope.spawn(|| self.visit(merlink.port, zipf, rate, 10.0));
            while !visitors.is_finished() {
                behind = behind.max(merlink.metric("merlink_clicks_pending") / rate);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let visited_for = started.elapsed();
        merlink.settle();
        let clicks = merlink.metric("merlink_clicks_flushed_total") - before;
        let cost = (redis.process.cpu_s() - cpu) / clicks * 1e6;
        self.report.fact(&format!(
            "Counting at {:.0} clicks/s (50,000 wanted) over 100,000 links costs Redis {cost:.2} µs of CPU a click, synced to disk; clicks were {behind:.2} s behind at most.",
            clicks / visited_for.as_secs_f64()
        ));
    }

    fn soak(&mut self, merlink: &Server, redis: &Redis) {
        let before = merlink.process.resident_bytes();
        let mut done = 0.0;
        while done < self.soak {
            done += self.load(merlink, Some(redis), "zipf", 20.0).requests;
            say(&format!("{done:.0} of {:.0} redirects", self.soak));
        }
        let after = merlink.process.resident_bytes();
        self.report.fact(&format!(
            "Resident memory before {done:.0} redirects {:.1} MB, after them {:.1} MB.",
            before / 1e6,
            after / 1e6
        ));
    }

    /// With more workers, all on all cores, wrk too.
    async fn workers(&mut self) {
        let redis = self.redis("redis-workers");
        redis.fill(&self.folder, 10_000).await;
        visits::write_script(&self.folder, "few", &visits::zipf(10_000)).expect("written");
        for workers in [1, 2, 4] {
            say(&format!("{workers} workers"));
            let merlink = Server::merlink(
                &self.folder.join(format!("workers-{workers}")),
                &self.cores.all,
                Some(&redis),
                workers,
            );
            let bare = Server::bare(&self.folder, &self.cores.all, workers);
            self.load(&merlink, Some(&redis), "few", 2.0);
            let mut pairs = Vec::new();
            for _ in 0..self.rounds {
                pairs.push((
                    self.load(&merlink, Some(&redis), "few", self.seconds),
                    self.load(&bare, None, "few", self.seconds),
                ));
            }
            self.report.workers(workers, &pairs);
        }
    }

    /// What grows with the number of links, and that redirects don't.
    async fn sizes(&mut self) {
        for links in self.links.clone() {
            say(&format!("{links} links"));
            let redis = self.redis(&format!("redis-{links}"));
            let empty = redis.used_bytes().await;
            let started = Instant::now();
            redis.fill(&self.folder, links).await;
            let (filled_in, stored) = (started.elapsed(), (redis.used_bytes().await - empty) / links as f64);
            let merlink =
                Server::merlink(&self.folder.join(format!("merlink-{links}")), &self.cores.server, Some(&redis), 1);
            // The first visit to each, as far as they fit in memory, costs a look-up.
            let some = links.min(400_000);
            let (cpu, redis_cpu) = (merlink.process.cpu_s(), redis.process.cpu_s());
            let clicks = merlink.metric("merlink_clicks_recorded_total");
            let counted = self.grown_by(&merlink, &visits::each((0..some).map(visits::code)));
            let cold = merlink.metric("merlink_clicks_recorded_total") - clicks;
            let cold_us = (merlink.process.cpu_s() - cpu) / cold * 1e6;
            let cold_redis_us = (redis.process.cpu_s() - redis_cpu) / cold * 1e6;
            // Another, whose links are looked at but not counted: what links alone take.
            let looked_at =
                Server::merlink(&self.folder.join(format!("looked-at-{links}")), &self.cores.server, Some(&redis), 1);
            let cached = self.grown_by(&looked_at, &visits::looks((0..some).map(visits::code)));
            drop(looked_at);
            visits::write_script(&self.folder, "zipf-all", &visits::zipf(links)).expect("written");
            self.load(&merlink, Some(&redis), "zipf-all", 5.0);
            let loads: Vec<Load> =
                (0..self.rounds).map(|_| self.load(&merlink, Some(&redis), "zipf-all", self.seconds)).collect();
            let hits = merlink.metric("merlink_link_cache_lookups_total{result=\"hit\"}");
            let misses = merlink.metric("merlink_link_cache_lookups_total{result=\"miss\"}");
            say(&format!(
                "filled in {:.0} s; {:.1} % hits in all",
                filled_in.as_secs_f64(),
                hits / (hits + misses) * 100.0
            ));
            self.report.size(links, stored, (cached, counted), (cold_us, cold_redis_us), &loads);
        }
    }

    /// Bytes that each link in memory takes after these visits.
    fn grown_by(&self, merlink: &Server, visits: &[Visit]) -> f64 {
        // The first requests need memory of their own.
        self.visit(merlink.port, &visits[..100], 1_000.0, 1.0);
        let (memory, links) = (merlink.process.own_bytes(), merlink.metric("merlink_link_cache_entries"));
        for some in visits.chunks(50_000) {
            self.visit(merlink.port, some, 10_000.0, some.len() as f64 / 10_000.0);
        }
        merlink.settle();
        (merlink.process.own_bytes() - memory) / (merlink.metric("merlink_link_cache_entries") - links)
    }

    /// From `merlink serve` to `/readyz` 200, its own Redis started too.
    fn start(&mut self) {
        let times: Vec<f64> = (0..self.rounds)
            .map(|round| {
                Server::merlink(&self.folder.join(format!("start-{round}")), &self.cores.all, None, 1)
                    .started_in
                    .as_secs_f64()
            })
            .collect();
        let (lowest, highest) = range(times.iter().copied());
        self.report.fact(&format!(
            "From `merlink serve` to `/readyz` 200, its own Redis started too: {:.2} s ({lowest:.2} to {highest:.2}).",
            median(times.into_iter())
        ));
    }

    /// `benches/parts.rs`, a program of its own.
    fn parts(&mut self) {
        say("the parts of a redirect");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo);
        command.args(["bench", "--locked", "--quiet", "--bench", "parts", "--", "--color", "never"]);
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo is installed");
        assert!(output.status.success(), "parts: {}", String::from_utf8_lossy(&output.stderr));
        self.report.parts(&String::from_utf8_lossy(&output.stdout));
    }

    /// Visits at a rate, from the cores of visitors.
    fn visit(&self, port: u16, visits: &[Visit], rate: f64, seconds: f64) -> open_loop::Latencies {
        let (cores, connections) = (self.cores.client_set(), self.connections);
        let visitors = move || {
            rustix::thread::sched_setaffinity(None, &cores).expect("cores of this machine");
            open_loop::visit(port, visits, rate, seconds, connections)
        };
        thread::scope(|scope| scope.spawn(visitors).join().expect("the visitors' thread"))
    }

    /// As many visits as the server takes in so many seconds.
    fn load(&self, server: &Server, redis: Option<&Redis>, script: &str, seconds: f64) -> Load {
        let (cpu, redis_cpu) = (server.process.cpu_s(), redis.map_or(0.0, |redis| redis.process.cpu_s()));
        let (requests, rate) = self.wrk(server.port, script, seconds);
        server.settle();
        Load {
            requests,
            rate,
            cpu_us: (server.process.cpu_s() - cpu) / requests * 1e6,
            redis_us: (redis.map_or(0.0, |redis| redis.process.cpu_s()) - redis_cpu) / requests * 1e6,
        }
    }

    /// The same of one of those that are compared. What is counted later, because Redis is away, isn't in it.
    fn load_of(&self, subject: &Subject<'_>, script: &str) -> Load {
        let Some(_away) = subject.without_redis() else {
            return self.load(&subject.server, subject.redis, script, self.seconds);
        };
        let cpu = subject.server.process.cpu_s();
        let (requests, rate) = self.wrk(subject.server.port, script, self.seconds);
        Load { requests, rate, cpu_us: (subject.server.process.cpu_s() - cpu) / requests * 1e6, redis_us: 0.0 }
    }

    /// Requests answered, and how many a second.
    fn wrk(&self, port: u16, script: &str, seconds: f64) -> (f64, f64) {
        let whole_seconds = format!("-d{:.0}s", seconds.max(1.0));
        let script = self.folder.join(format!("{script}.lua"));
        let mut command = Command::new("taskset");
        command.args(["-c", &self.cores.client, "wrk"]);
        command.args(["-t1", &format!("-c{}", self.connections), &whole_seconds, "-s"]).arg(script);
        let output = command.arg(format!("http://127.0.0.1:{port}/")).output().expect("wrk is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && !text.contains("Socket errors"),
            "wrk: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let requests: f64 =
            text.split(" requests in").next().and_then(|head| head.split_whitespace().last()).map_or(0.0, number);
        let rate =
            text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).map_or(0.0, |rate| number(rate.trim()));
        (requests, rate)
    }
}

fn say(what: &str) {
    eprintln!("merlink bench: {what}");
}
