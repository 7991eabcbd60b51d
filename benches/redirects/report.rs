//! The tables, and where they go.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use jiff::Timestamp;

use crate::{Load, servers::Cores};

const BEGIN: &str = "<!-- make bench writes from here -->\n";
const END: &str = "<!-- to here -->";

#[derive(Default)]
pub struct Report {
    head: String,
    servers: String,
    situations: String,
    workers: String,
    sizes: String,
    facts: String,
    parts: String,
}

impl Report {
    pub fn begin(&mut self, cores: &Cores, rounds: usize, seconds: f64, connections: usize) {
        let first_line = |command: &[&str]| {
            let output = Command::new(command[0]).args(&command[1..]).output().expect("it is installed");
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
        };
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("a CPU without a name", |name| name.trim_start_matches([':', '\t', ' ']));
        let pinned = format!("servers on core {}, wrk, visitors and Redis on {}", cores.server, cores.client);
        self.head = format!(
            "**{}**, {cpu} ({} cores), Linux {}, {}, {}, {}; {pinned}; wrk -t1 -c{connections} -d{seconds:.0}s, medians of {rounds} rounds.\n",
            Timestamp::now().strftime("%Y-%m-%d"),
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            first_line(&["uname", "-r"]),
            first_line(&[env!("CARGO_BIN_EXE_merlink"), "--version"]),
            first_line(&["nginx", "-v"]),
            first_line(&["redis-server", "--version"]).split(" sha").next().unwrap_or_default(),
        );
    }

    /// Names, whether there is a Redis, and memory; loads by server; p50, p99 and p99.9 by server. The bare handler is the second.
    pub fn servers(&mut self, servers: &[(&str, bool, f64)], loads: &[Vec<Load>], latencies: &[Vec<[f64; 3]>]) {
        let bare = &loads[1];
        for (index, (name, has_redis, resident)) in servers.iter().enumerate() {
            let loads = &loads[index];
            let rates: Vec<f64> = loads.iter().zip(bare).map(|(load, bare)| load.rate / bare.rate).collect();
            let costs: Vec<f64> = loads.iter().zip(bare).map(|(load, bare)| load.cpu_us / bare.cpu_us).collect();
            let time = |percentile: usize| {
                let times = latencies[index].iter().map(|times| times[percentile]);
                if latencies[index].is_empty() { "-".to_owned() } else { format!("{:.0}", median(times)) }
            };
            writeln!(
                self.servers,
                "| {name} | {:.0} | {} | {:.1} | {} | {} | {} / {} / {} | {:.0} |",
                median(loads.iter().map(|load| load.rate)),
                ratio(&rates),
                median(loads.iter().map(|load| load.cpu_us)),
                ratio(&costs),
                if *has_redis {
                    format!("{:.1}", median(loads.iter().map(|load| load.redis_us)))
                } else {
                    "-".to_owned()
                },
                time(0),
                time(1),
                time(2),
                resident / 1e6,
            )
            .expect("memory takes it");
        }
    }

    pub fn line(&mut self, situation: &str, loads: &[Load]) {
        writeln!(
            self.situations,
            "| {situation} | {:.0} | {:.1} | {:.1} |",
            median(loads.iter().map(|load| load.rate)),
            median(loads.iter().map(|load| load.cpu_us)),
            median(loads.iter().map(|load| load.redis_us)),
        )
        .expect("memory takes it");
    }

    /// Merlink and the bare handler, round by round.
    pub fn workers(&mut self, workers: usize, pairs: &[(Load, Load)]) {
        let rates: Vec<f64> = pairs.iter().map(|(merlink, bare)| merlink.rate / bare.rate).collect();
        let costs: Vec<f64> = pairs.iter().map(|(merlink, bare)| merlink.cpu_us / bare.cpu_us).collect();
        writeln!(
            self.workers,
            "| {workers} | {:.0} | {} | {:.1} | {} |",
            median(pairs.iter().map(|(merlink, _)| merlink.rate)),
            ratio(&rates),
            median(pairs.iter().map(|(merlink, _)| merlink.cpu_us)),
            ratio(&costs),
        )
        .expect("memory takes it");
    }

    /// `memory`: a link's bytes without and with its clicks. `cold`: Merlink's CPU for a first visit, and Redis'.
    pub fn size(&mut self, links: usize, stored: f64, memory: (f64, f64), cold: (f64, f64), loads: &[Load]) {
        writeln!(
            self.sizes,
            "| {links} | {stored:.0} | {:.0} | {:.0} | {:.1} + {:.1} | {:.0} | {:.1} |",
            memory.0,
            memory.1,
            cold.0,
            cold.1,
            median(loads.iter().map(|load| load.rate)),
            median(loads.iter().map(|load| load.cpu_us)),
        )
        .expect("memory takes it");
    }

    pub fn fact(&mut self, fact: &str) {
        writeln!(self.facts, "- {fact}").expect("memory takes it");
    }

    /// What divan printed.
    pub fn parts(&mut self, table: &str) {
        let lines = table.lines().skip_while(|line| !line.starts_with("parts")).map(str::trim_end);
        for line in lines.filter(|line| !line.is_empty()) {
            writeln!(self.parts, "{line}").expect("memory takes it");
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("\n{}\n", self.head);
        let tables = [
            (
                "100,000 links, visited by Zipf's law; times at half the server's own maximum, counted from the visitor's arrival",
                "server | requests/s | of bare's | CPU µs a request | of bare's | and Redis' | p50 / p99 / p99.9 µs | MB",
                &self.servers,
            ),
            (
                "Merlink where memory doesn't help",
                "situation | requests/s | CPU µs a request | and Redis'",
                &self.situations,
            ),
            (
                "Merlink's workers, 10,000 links, nothing pinned",
                "workers | requests/s | of bare's | CPU µs a request | of bare's",
                &self.workers,
            ),
            (
                "Merlink by number of links, codes of 8 letters, targets of 87 bytes; the first visit to a link asks Redis, and all of a link's bytes count",
                "links | bytes a link in Redis | in memory | and its clicks | first visit: CPU µs + Redis' | requests/s | CPU µs a request",
                &self.sizes,
            ),
        ];
        for (title, columns, rows) in tables.iter().filter(|(_, _, rows)| !rows.is_empty()) {
            let line = "---:|".repeat(columns.matches('|').count());
            write!(text, "{title}:\n\n| {columns} |\n|---|{line}\n{rows}\n").expect("memory takes it");
        }
        text += &self.facts;
        if !self.parts.is_empty() {
            write!(text, "\nThe parts of a redirect:\n\n```text\n{}```\n", self.parts).expect("memory takes it");
        }
        text
    }

    /// Puts it in the place of the last one.
    pub fn write(&self) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
        let page = fs::read_to_string(&file).expect("docs/benchmarks.md");
        let (before, rest) = page.split_once(BEGIN).expect("where to begin");
        let (_, after) = rest.split_once(END).expect("where to end");
        fs::write(&file, format!("{before}{BEGIN}{}\n{END}{after}", self.text())).expect("written");
        eprintln!("merlink bench: docs/benchmarks.md has the tables");
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

pub fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN), |(lowest, highest), value| (lowest.min(value), highest.max(value)))
}

/// The median, with the lowest and the highest.
pub fn ratio(values: &[f64]) -> String {
    let (lowest, highest) = range(values.iter().copied());
    format!("{:.2} ({lowest:.2} to {highest:.2})", median(values.iter().copied()))
}

pub fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
