//! What is measured: each server, ready to be visited, with one worker unless said otherwise.

use std::{
    fmt::Write as _,
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use merlink::{
    config::Config,
    domain::{Description, Email, LinkState, Source, Tags, Target},
    metrics::Metrics,
    store::{Actor, LINKS_AT_ONCE, NewLink, Store},
};

use rustix::{process::Signal, thread::CpuSet};

use crate::{bare, naive, process::Process, visits};

/// Where things run, as `taskset` wants it: servers on the first half of the cores, whoever visits them and Redis on the other. On a machine
/// with one core they take each other's time.
pub struct Cores {
    pub server: String,
    pub client: String,
    pub all: String,
    first_of_client: usize,
    count: usize,
}

impl Cores {
    pub fn halves() -> Self {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let first_of_client = count / 2;
        Self {
            server: format!("0-{}", first_of_client.saturating_sub(1)),
            client: format!("{first_of_client}-{}", count - 1),
            all: format!("0-{}", count - 1),
            first_of_client,
            count,
        }
    }

    pub fn client_set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        (self.first_of_client..self.count).for_each(|core| set.set(core));
        set
    }
}

/// A Redis as `config/redis.conf` says, of its own.
pub struct Redis {
    pub process: Process,
    pub url: String,
    socket: PathBuf,
}

impl Redis {
    /// `settings`: a file, or none for Redis' defaults.
    pub fn start(folder: &Path, cores: &str, settings: Option<&Path>) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let (socket, log) = (folder.join("redis.sock"), folder.join("redis.log"));
        let mut command = vec!["redis-server"];
        command.extend(settings.and_then(Path::to_str));
        let (socket_text, folder_text) = (socket.display().to_string(), folder.display().to_string());
        command.extend(["--port", "0", "--unixsocket", &socket_text, "--dir", &folder_text]);
        let mut process = Process::start("redis-server", cores, &log, &command, &[]);
        let url = format!("redis+unix://{}", socket.display());
        process.wait_for(|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Self { process, url, socket }
    }

    fn client_url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.client_url()).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await.expect("an answer")
    }

    /// Bytes of the data, by Redis' own count.
    pub async fn used_bytes(&self) -> f64 {
        let info: String = self.ask(&["INFO", "memory"]).await;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        used.and_then(|bytes| bytes.trim().parse().ok()).expect("a number")
    }

    /// Lets it neither answer nor end.
    pub fn stop(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Waits until no child of it rewrites its file, which would take from the next measurement.
    pub fn settle(&self) {
        while self.process.has_children() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives Merlink `links` links, by its own code and schema, without waiting for the disk.
    pub async fn fill(&self, folder: &Path, links: usize) {
        let _: () = self.ask(&["CONFIG", "SET", "appendfsync", "no"]).await;
        let settings = folder.join("fill.toml");
        fs::write(&settings, format!("[redis]\nurl = '{}'\n", self.url)).expect("written");
        let config = Config::load(Some(&settings)).expect("settings");
        let store = Store::new(&config, Metrics::new()).expect("a store");
        // One a second, the last one now.
        let begun_s = Timestamp::now().as_second() - i64::try_from(links).expect("a small number");
        let link = |number: usize| NewLink {
            code: visits::code(number).parse().expect("a code"),
            target: Target::from_store(bare::TARGET.to_owned()),
            owner: Email::from_store(format!("officer-{}@agency.gov.sg", number % 100)),
            state: LinkState::Active,
            description: Description::default(),
            contact_email: None,
            tags: Tags::default(),
            source: Source::Api,
            forward_query: false,
            expires_at: None,
            at: Timestamp::from_second(begun_s + i64::try_from(number).expect("a small number")).expect("a time"),
            by: Actor::ApiKey("bench0000000".to_owned()),
            mark: None,
        };
        for first in (0..links).step_by(LINKS_AT_ONCE) {
            let some: Vec<NewLink> = (first..links.min(first + LINKS_AT_ONCE)).map(link).collect();
            store.create_links(&some).await.expect("created");
        }
        let _: () = self.ask(&["CONFIG", "SET", "appendfsync", "always"]).await;
    }
}

pub struct Server {
    pub process: Process,
    pub port: u16,
    /// Merlink's, for its metrics.
    operator_port: Option<u16>,
    /// From its start to its first answer.
    pub started_in: Duration,
}

impl Server {
    /// Merlink as `serve` runs it, with everything on. Without a Redis it starts its own.
    pub fn merlink(folder: &Path, cores: &str, redis: Option<&Redis>, workers: usize) -> Self {
        let (port, operator_port) = (free_port(), free_port());
        fs::create_dir_all(folder).expect("a folder");
        let mut environment = vec![
            ("MERLINK_DATA_DIR", folder.join("data").display().to_string()),
            ("MERLINK_PUBLIC__LISTEN", format!("127.0.0.1:{port}")),
            ("MERLINK_PUBLIC__BASE_URL", format!("http://localhost:{port}")),
            ("MERLINK_PUBLIC__WORKERS", workers.to_string()),
            ("MERLINK_OPERATOR__LISTEN", format!("127.0.0.1:{operator_port}")),
            // A machine that others use too is sometimes away for longer than a citizen should have to wait.
            ("MERLINK_REDIS__LOOKUP_TIMEOUT", "3s".to_owned()),
        ];
        environment.extend(redis.map(|redis| ("MERLINK_REDIS__URL", redis.url.clone())));
        let binary = env!("CARGO_BIN_EXE_merlink");
        let started = Instant::now();
        let mut process =
            Process::start("merlink", cores, &folder.join("merlink.log"), &[binary, "serve"], &environment);
        process.wait_for(|| get(operator_port, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
        Self { process, port, operator_port: Some(operator_port), started_in: started.elapsed() }
    }

    pub fn bare(folder: &Path, cores: &str, workers: usize) -> Self {
        Self::role(folder, cores, "bare", &workers.to_string())
    }

    pub fn naive(folder: &Path, cores: &str, redis: &Redis) -> Self {
        Self::role(folder, cores, "naive", &redis.client_url())
    }

    pub async fn fill_naive(redis: &Redis, links: usize) {
        naive::fill(&redis.client_url(), links).await;
    }

    fn role(folder: &Path, cores: &str, role: &str, argument: &str) -> Self {
        let port = free_port();
        let this = std::env::current_exe().expect("this program").display().to_string();
        let command = [this.as_str(), role, &port.to_string(), argument];
        let started = Instant::now();
        let mut process = Process::start(role, cores, &folder.join(format!("{role}.log")), &command, &[]);
        process.wait_for(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port, operator_port: None, started_in: started.elapsed() }
    }

    /// nginx with `return 302`, or, with links, with a map of them.
    pub fn nginx(folder: &Path, cores: &str, links: Option<usize>) -> Self {
        let port = free_port();
        let folder = folder.join(if links.is_some() { "nginx-map" } else { "nginx-return" });
        fs::create_dir_all(&folder).expect("a folder");
        let at = folder.display();
        let mut map = String::new();
        if let Some(links) = links {
            map.push_str("map_hash_max_size 262144; map_hash_bucket_size 128; map $uri $target {\n");
            for number in 0..links {
                writeln!(map, "/{} \"{}\";", visits::code(number), bare::TARGET).expect("memory takes it");
            }
            map.push_str("}\n");
        }
        let answer = if links.is_some() {
            "if ($target = \"\") { return 404; } return 302 $target;".to_owned()
        } else {
            format!("return 302 \"{}\";", bare::TARGET)
        };
        let user = if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            "user root;"
        } else {
            ""
        };
        let settings = format!(
            "daemon off; {user} worker_processes 1; pid {at}/nginx.pid; error_log stderr warn;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; server_tokens off;\n\
             # The default closes a connection after 1,000 requests, which would measure connecting.\n\
             keepalive_requests 1000000000;\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n{map}\
             server {{ listen 127.0.0.1:{port}; location / {{ {answer} }} }} }}\n"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, settings).expect("written");
        let file = file.display().to_string();
        let started = Instant::now();
        let command = ["nginx", "-c", &file, "-e", "stderr"];
        let mut process = Process::start("nginx", cores, &folder.join("nginx.log"), &command, &[]);
        process.wait_for(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port, operator_port: None, started_in: started.elapsed() }
    }

    pub fn is_merlink(&self) -> bool {
        self.operator_port.is_some()
    }

    /// Waits until Merlink has noticed that Redis is there, or isn't.
    pub fn wait_until_redis_is(&self, there: bool) {
        while (self.metric("merlink_redis_up") > 0.0) != there {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all clicks are counted, so that their counting is in the figures.
    pub fn settle(&self) {
        while self.is_merlink() && self.metric("merlink_clicks_pending") > 0.0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One of Merlink's numbers.
    pub fn metric(&self, name: &str) -> f64 {
        let page = get(self.operator_port.expect("Merlink"), "/metrics").expect("metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("there is no metric {name}"))
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn get(port: u16, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
