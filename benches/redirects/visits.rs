//! Who visits what: codes drawn by Zipf's law (the n-th most popular link is visited 1/n as often as the first), browsers as they are spread
//! in the wild, the same sequence for every server.

use std::{fmt::Write as _, fs, path::Path};

/// Visits in a sequence, which is begun again at its end.
pub const VISITS: usize = 400_000;

/// Each as often as it stands here.
const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
];

/// What a browser sends besides that has been here before.
const HEADERS: &str = "Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-SG,en;q=0.9,zh;q=0.8\r\n\
    Cookie: seen=1\r\n\r\n";

/// Eight of them, as Merlink draws its codes.
const LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";

/// The code of the link with this rank, the most visited being 0.
pub fn code(rank: usize) -> String {
    // An odd factor, so that no two ranks have one code, and neighbours in rank aren't neighbours in anything else.
    let spread = (rank as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % (1 << 40);
    let letter = |place: u32| char::from(LETTERS[(spread >> (5 * place)) as usize % LETTERS.len()]);
    (0..8).map(letter).collect()
}

/// A request for a code with one of [`AGENTS`].
#[derive(Clone)]
pub struct Visit {
    /// HEAD looks where a link leads and counts no click.
    method: &'static str,
    pub code: String,
    /// The link's, if it was drawn by rank.
    pub rank: usize,
    agent: usize,
}

impl Visit {
    pub fn request(&self) -> String {
        let Self { method, code, agent, .. } = self;
        format!("{method} /{code} HTTP/1.1\r\nHost: go.gov.sg\r\nUser-Agent: {}\r\n{HEADERS}", AGENTS[*agent])
    }
}

/// Random numbers that are the same in each run (`SplitMix64`).
pub struct Draw(pub u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1, 0 left out.
    pub fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn agent(&mut self) -> usize {
        usize::try_from(self.next() % AGENTS.len() as u64).expect("a small number")
    }
}

/// Visits of `links` links by Zipf's law.
pub fn zipf(links: usize) -> Vec<Visit> {
    let mut draw = Draw(1);
    let mut sum = 0.0;
    let weights: Vec<f64> = (1..=links)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let mut visit = || {
        let at = draw.fraction() * sum;
        let rank = weights.partition_point(|weight| *weight < at).min(links - 1);
        Visit { method: "GET", code: code(rank), rank, agent: draw.agent() }
    };
    (0..VISITS).map(|_| visit()).collect()
}

/// One visit to each of these codes.
pub fn each(codes: impl Iterator<Item = String>) -> Vec<Visit> {
    let mut draw = Draw(2);
    (0..).zip(codes).map(|(rank, code)| Visit { method: "GET", code, rank, agent: draw.agent() }).collect()
}

/// The same, without a click.
pub fn looks(codes: impl Iterator<Item = String>) -> Vec<Visit> {
    each(codes).into_iter().map(|visit| Visit { method: "HEAD", ..visit }).collect()
}

/// Replaces every tenth visit by one to the next of `codes`.
pub fn with_misses(mut visits: Vec<Visit>, codes: impl Iterator<Item = String>) -> Vec<Visit> {
    for (visit, code) in visits.iter_mut().step_by(10).zip(codes) {
        visit.code = code;
    }
    visits
}

/// Writes the visits for wrk, and the script that has it make them.
pub fn write_script(folder: &Path, name: &str, visits: &[Visit]) -> std::io::Result<()> {
    let mut list = String::with_capacity(visits.len() * 20);
    for visit in visits {
        writeln!(list, "{} {}", visit.code, visit.agent + 1).expect("memory takes it");
    }
    let list_file = folder.join(format!("{name}.txt"));
    fs::write(&list_file, list)?;
    let mut script = String::from("local heads = {\n");
    for agent in AGENTS {
        writeln!(script, "  {:?},", format!(" HTTP/1.1\r\nHost: go.gov.sg\r\nUser-Agent: {agent}\r\n{HEADERS}"))
            .expect("memory takes it");
    }
    write!(
        script,
        "}}\nlocal requests, at = {{}}, 0\nfunction init()\n  for line in io.lines('{}') do\n    local code, agent = line:match('(%S+) (%d)')\n    \
         requests[#requests + 1] = 'GET /' .. code .. heads[tonumber(agent)]\n  end\nend\n\
         function request()\n  at = at % #requests + 1\n  return requests[at]\nend\n",
        list_file.display()
    )
    .expect("memory takes it");
    fs::write(folder.join(format!("{name}.lua")), script)
}
