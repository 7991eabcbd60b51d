//! Two Merlinks behind the nginx that deploy/nginx describes: the shipped file itself, with this test's addresses in it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rcgen::generate_simple_self_signed;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    harness::{CHROME, CURL, Home, Server, eventually},
    http::{Connection, Request},
    load::Pace,
    redis_server::{RedisServer, free_address},
    runs::length_of_run,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";
const SHIPPED: &str = "deploy/nginx/merlink.conf";
/// nginx speaks to the nodes from an address of its own, as it would from another machine.
const PROXY: &str = "127.0.0.9";

pub struct Nginx {
    child: Child,
    folder: TempDir,
    tls: SocketAddr,
    /// Port 80, which leads to TLS.
    plain: SocketAddr,
    /// The site itself without TLS, for clients that decide each byte they send.
    pub site: SocketAddr,
}

impl Nginx {
    /// The shipped site with rate limits that no test reaches.
    pub fn before(nodes: [SocketAddr; 2]) -> Self {
        Self::with(nodes, &[("rate=100r/s", "rate=100000r/s"), ("rate=20r/s", "rate=100000r/s")], "")
    }

    /// `changes` to the shipped file, and directives of the test's own beside it.
    fn with(nodes: [SocketAddr; 2], changes: &[(&str, &str)], beside: &str) -> Self {
        let folder = TempDir::new().expect("a temporary directory can be made");
        let [tls, plain, open] = [free_address(), free_address(), free_address()];
        let certificate = generate_simple_self_signed(["go.agency.gov.sg".to_owned()]).expect("a certificate");
        fs::write(folder.path().join("fullchain.pem"), certificate.cert.pem()).expect("is written");
        fs::write(folder.path().join("privkey.pem"), certificate.signing_key.serialize_pem()).expect("is written");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(SHIPPED);
        let mut site = fs::read_to_string(shipped).expect("the shipped configuration is there");
        for (shipped, here) in [
            ("server 10.0.0.11:8080", format!("server {}", nodes[0])),
            ("server 10.0.0.12:8080", format!("server {}", nodes[1])),
            ("    listen [::]:80;\n", String::new()),
            ("    listen [::]:80 default_server;\n", String::new()),
            ("    listen [::]:443 ssl http2;\n", String::new()),
            ("    listen [::]:443 ssl http2 default_server;\n", String::new()),
            ("listen 80", format!("listen {plain}")),
            ("listen 443 ssl http2;", format!("listen 443 ssl http2;\n    listen {open};")),
            ("listen 443 ssl", format!("listen {tls} ssl")),
            ("/etc/ssl/merlink", folder.path().display().to_string()),
            ("proxy_http_version 1.1;", format!("proxy_http_version 1.1;\n    proxy_bind {PROXY};")),
        ] {
            assert!(site.contains(shipped), "{SHIPPED} has no {shipped:?}");
            site = site.replace(shipped, &here);
        }
        for (shipped, here) in changes {
            assert!(site.contains(shipped), "{SHIPPED} has no {shipped:?}");
            site = site.replace(shipped, here);
        }
        let here = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .concat();
        let main = format!(
            "daemon off; worker_processes 1; pid {here}/pid; error_log {here}/error.log warn;\n\
             events {{ worker_connections 512; }}\nhttp {{ access_log off;\n{beside}\n{temporary}{site}}}\n"
        );
        fs::write(folder.path().join("nginx.conf"), main).expect("is written");
        let test = nginx(folder.path()).arg("-t").output().expect("nginx runs: make test-all installs it");
        assert!(test.status.success(), "nginx -t: {}", String::from_utf8_lossy(&test.stderr));
        let child = nginx(folder.path()).stderr(Stdio::null()).spawn().expect("nginx runs");
        let nginx = Self { child, folder, tls, plain, site: open };
        eventually("nginx answers", || (nginx.curl(&["-o", "/dev/null"], "/robots.txt").0 == Some(0)).then_some(()));
        nginx
    }

    /// The last lines of nginx's log about nodes that it couldn't use.
    pub fn upstream_errors(&self) -> String {
        let log = fs::read(self.folder.path().join("error.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("upstream")).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// A request to the site without TLS, in its own name.
    fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.site, method, target)
    }

    /// Runs curl on a path of the TLS server; answers its exit code and what it printed.
    fn curl(&self, arguments: &[&str], path: &str) -> (Option<i32>, String) {
        let resolve = format!("go.agency.gov.sg:{}:127.0.0.1", self.tls.port());
        let ran = Command::new("curl")
            .args(["-s", "--cacert"])
            .arg(self.folder.path().join("fullchain.pem"))
            .args(["--resolve", &resolve])
            .args(arguments)
            .arg(format!("https://go.agency.gov.sg:{}{path}", self.tls.port()))
            .output()
            .expect("curl runs: make test-all installs it");
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    }

    fn status(&self, arguments: &[&str], path: &str) -> String {
        self.curl(&[&["-o", "/dev/null", "-w", "%{http_code}"], arguments].concat(), path).1
    }
}

impl Drop for Nginx {
    /// Its master ends its workers.
    fn drop(&mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), Signal::TERM).ok();
        self.child.wait().ok();
    }
}

fn nginx(folder: &Path) -> Command {
    // Debian has it where only root looks.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let program = std::env::split_paths(&path).map(|folder| folder.join("nginx")).find(|program| program.exists());
    let mut command = Command::new(program.unwrap_or_else(|| "nginx".into()));
    command.arg("-c").arg(folder.join("nginx.conf")).arg("-p").arg(folder).arg("-e").arg(folder.join("error.log"));
    command
}

fn node(redis: &RedisServer) -> Server {
    started(home(redis).set("limits.misses_per_minute", "3"))
}

/// The home of a node that believes [`PROXY`].
pub fn home(redis: &RedisServer) -> Home {
    Home::new()
        .set("redis.url", redis.url())
        .set("public.listen", free_address().to_string())
        .set("public.trusted_proxies", PROXY)
}

pub fn started(home: Home) -> Server {
    let server = home.start();
    // On a busy machine its heartbeat may miss its turn.
    server.expect_log("redis is away");
    server
}

#[test]
fn redirects_and_the_api_go_through_with_tls_and_http_2() {
    let redis = RedisServer::start();
    let nodes = [node(&redis), node(&redis)];
    let nginx = Nginx::before([nodes[0].public_address(), nodes[1].public_address()]);
    let amy = nodes[0].officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    let shown = "%{http_code} %{http_version} %{redirect_url}";
    let (_, answer) = nginx.curl(&["-o", "/dev/null", "-w", shown], "/form");
    assert_eq!(answer, format!("302 2 {TARGET}"));
    let (_, head) = nginx.curl(&["-I"], "/form");
    let strict = "strict-transport-security: max-age=31536000; includesubdomains";
    assert!(head.to_lowercase().contains(strict), "{head}");
    assert!(head.to_lowercase().contains("cache-control: no-store"), "what Merlink says arrives: {head}");
    let key = format!("Authorization: Bearer {}", amy.key);
    assert_eq!(nginx.status(&["-H", &key], "/api/v1/urls"), "200");
    assert_eq!(
        nginx.status(&["-H", &key, "-X", "POST", "--json", r#"{"longUrl":"https://example.com"}"#], "/api/v1/urls"),
        "200"
    );
    amy.sees_clicks("form", 1);
}

#[test]
fn a_key_sent_without_tls_is_refused_and_not_led_on() {
    let redis = RedisServer::start();
    let node = node(&redis);
    let nginx = Nginx::before([node.public_address(), node.public_address()]);
    let key = node.key("amy@agency.gov.sg");
    let ask = |path: &str| {
        let mut connection = crate::http::Connection::open(nginx.plain).expect("nginx listens");
        let head = format!("GET {path} HTTP/1.1\r\nHost: go.agency.gov.sg\r\nAuthorization: Bearer {key}\r\n\r\n");
        connection.write(head.as_bytes()).expect("is sent");
        connection.read_answer("GET").expect("is answered")
    };
    for path in ["/api/v1/urls", "/api/v2/links?limit=1", "/api", "/%61pi/v2/links", "//api/v2/links"] {
        let answer = ask(path);
        assert_eq!((answer.status, answer.header("location")), (403, None), "{path}");
    }
    for path in ["/api-guide", "/console/login"] {
        let (answer, to) = (ask(path), format!("https://go.agency.gov.sg{path}"));
        assert_eq!((answer.status, answer.header("location")), (308, Some(to.as_str())), "a person's browser");
    }
}

#[test]
fn an_old_cipher_is_refused() {
    let redis = RedisServer::start();
    let node = node(&redis);
    let nginx = Nginx::before([node.public_address(), node.public_address()]);
    let code_of =
        |cipher: &str| nginx.curl(&["-o", "/dev/null", "--tls-max", "1.2", "--ciphers", cipher], "/robots.txt").0;
    assert_eq!(code_of("ECDHE-ECDSA-AES128-GCM-SHA256"), Some(0));
    // CBC instead of an AEAD. curl's 35: the handshake fails.
    assert_eq!(code_of("ECDHE-ECDSA-AES128-SHA"), Some(35));
}

#[test]
fn forwarded_addresses_are_believed_from_the_proxy_and_from_nobody_else() {
    let redis = RedisServer::start();
    let nodes = [node(&redis), node(&redis)];
    // One node, so that its limit is reached after three.
    let only = nodes[0].public_address();
    let nginx = Nginx::before([only, only]);
    let unknown = |from: &str, forged: &str| {
        nginx.status(&["--interface", from, "-H", &format!("X-Forwarded-For: {forged}")], "/never-made")
    };
    for forged in ["6.6.6.1", "6.6.6.2", "6.6.6.3"] {
        assert_eq!(unknown("127.0.0.2", forged), "404");
    }
    assert_eq!(unknown("127.0.0.2", "6.6.6.4"), "429", "what the client claims changes nothing");
    assert_eq!(unknown("127.0.0.3", "6.6.6.4"), "404", "another client has a limit of its own: the proxy is believed");
    let direct =
        |forged: &str| nodes[1].get("/never-made").user_agent("curl/8").header("X-Forwarded-For", forged).send().status;
    for forged in ["6.6.6.1", "6.6.6.2", "6.6.6.3"] {
        assert_eq!(direct(forged), 404);
    }
    assert_eq!(direct("6.6.6.4"), 429, "who isn't the proxy is one client");
}

/// A visitor who does nothing odd, and is redirected each time.
#[track_caller]
fn visits(nginx: &Nginx, count: usize, about: &str) {
    for _ in 0..count {
        nginx.request("GET", "/form").user_agent(CURL).send().assert_redirects(about, TARGET);
    }
}

#[test]
fn requests_for_long_answer_heads_cost_other_visitors_nothing() {
    let redis = RedisServer::start();
    let nodes = [node(&redis), node(&redis)];
    let nginx = Nginx::before([nodes[0].public_address(), nodes[1].public_address()]);
    let amy = nodes[0].program("amy@agency.gov.sg");
    let link = serde_json::json!({"code": "form", "target_url": TARGET, "forward_query": true});
    assert_eq!(amy.post("/links", &link).status, 201);
    visits(&nginx, 4, "before");
    let dots = format!("/form{}", ".".repeat(3_900));
    for (attack, agent) in [
        (format!("/form?gclid={}", "x".repeat(5_000)), CURL),
        (format!("/console/links?{}", "=".repeat(1_200)), CURL),
        (dots, CHROME),
    ] {
        // Each node gets it, and more than once.
        for _ in 0..6 {
            let answer = nginx.request("GET", &attack).user_agent(agent).send();
            assert!(answer.status < 400, "{} to {attack:.40}", answer.status);
        }
        visits(&nginx, 20, &format!("after {attack:.40}"));
    }
}

/// A node that answers badly on purpose: `/long` with a head of 20 kB, `/cut` with the end of the connection, `/slow` never, `/last` with
/// the last answer of a connection that it doesn't close yet, and anything else with 200.
struct BadNode {
    address: SocketAddr,
    /// Requests that it can't answer well.
    asked: Arc<AtomicUsize>,
}

impl BadNode {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("is bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counted = Arc::clone(&counted);
                thread::spawn(move || Self::serve(BufReader::new(stream), &counted));
            }
        });
        Self { address, asked }
    }

    fn serve(mut stream: BufReader<TcpStream>, asked: &AtomicUsize) {
        let mut was_last = false;
        loop {
            let (mut request_line, mut line) = (String::new(), String::new());
            if !stream.read_line(&mut request_line).is_ok_and(|read| read > 0) {
                return;
            }
            while line != "\r\n" {
                line.clear();
                if !stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                    return;
                }
            }
            let path = request_line.split(' ').nth(1).unwrap_or_default();
            let padding = if path == "/long" { "x".repeat(20_000) } else { String::new() };
            if ["/long", "/cut", "/slow"].contains(&path) {
                asked.fetch_add(1, Ordering::SeqCst);
            }
            if path == "/cut" || was_last {
                return;
            }
            was_last = path == "/last";
            if path == "/slow" {
                // Until the other side gives up.
                let _ = stream.read(&mut [0]);
                return;
            }
            let answer = format!("HTTP/1.1 200 OK\r\nX-Padding: {padding}\r\nContent-Length: 2\r\n\r\nok");
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

#[test]
fn answers_that_nginx_cannot_use_take_no_node_from_others_and_are_not_asked_for_again() {
    let nodes = [BadNode::start(), BadNode::start()];
    let quick = [("proxy_read_timeout 30s;", "proxy_read_timeout 3s;")];
    let nginx = Nginx::with([nodes[0].address, nodes[1].address], &quick, "");
    let asked = || nodes.iter().map(|node| node.asked.swap(0, Ordering::SeqCst)).sum::<usize>();
    for (method, path, status, times) in [
        ("GET", "/long", 502, 1),
        // A node that restarts looks like this, so a visit is given to the other one.
        ("GET", "/cut", 502, 2),
        ("POST", "/cut", 502, 1),
        ("GET", "/slow", 504, 1),
    ] {
        let attempts = if path == "/slow" { 1 } else { 4 };
        for _ in 0..attempts {
            assert_eq!(nginx.request(method, path).send().status, status, "{method} {path}");
            assert_eq!(asked(), times, "{method} {path}: nodes that were asked");
        }
        for _ in 0..20 {
            assert_eq!(nginx.request("GET", "/fine").send().status, 200, "after {method} {path}");
        }
    }
}

/// Merlink's HTTP server closes a connection after a request that it can't parse without announcing it (docs/upstream), so nginx keeps it for the next request.
#[test]
fn no_request_fails_on_a_connection_that_ends_in_the_moment_in_which_it_is_used() {
    let node = BadNode::start();
    // One node in two places: at any time nginx keeps one connection, and a second try opens another.
    let nginx = Nginx::with([node.address, node.address], &[], "");
    for method in ["GET", "HEAD", "POST", "PATCH", "DELETE"] {
        for _ in 0..4 {
            assert_eq!(nginx.request("GET", "/last").send().status, 200);
            assert_eq!(nginx.request(method, "/fine").send().status, 200, "{method}");
        }
    }
}

#[test]
fn hosts_that_are_not_the_sites_get_no_answer_and_http_leads_to_the_sites_name() {
    let node = BadNode::start();
    let nginx = Nginx::with([node.address, node.address], &[], "");
    let plain = |host: &str| {
        let mut connection = Connection::open(nginx.plain).expect("port 80 is open");
        connection.write(format!("GET /form?x=1 HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("sends");
        connection.read_answer("GET").ok()
    };
    let led = plain("go.agency.gov.sg").expect("the site answers");
    assert_eq!((led.status, led.header("location")), (308, Some("https://go.agency.gov.sg/form?x=1")));
    for host in ["evil.example", "go.agency.gov.sg.evil.example", "127.0.0.1", "_"] {
        assert!(plain(host).is_none(), "{host}");
    }
    let handshake = |host: &str| {
        let resolve = format!("{host}:{}:127.0.0.1", nginx.tls.port());
        let address = format!("https://{host}:{}/fine", nginx.tls.port());
        let ran = Command::new("curl").args(["-sk", "--resolve", &resolve, "-w", "%{http_code}", &address]).output();
        let ran = ran.expect("curl runs: make test-all installs it");
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    assert_eq!(handshake("go.agency.gov.sg"), (Some(0), "ok200".to_owned()));
    for host in ["evil.example", "127.0.0.1"] {
        assert_eq!(handshake(host), (Some(35), "000".to_owned()), "{host}: curl says that the handshake failed");
    }
    let other_host = nginx.curl(&["-H", "Host: evil.example", "-w", "%{http_code}"], "/fine");
    assert!(other_host.1.ends_with("000"), "the site's name in the handshake, another in the request: {other_host:?}");
}

#[test]
fn an_ipv6_network_of_64_bits_is_one_client_to_nginx() {
    const REQUESTS: u16 = 400;
    let node = BadNode::start();
    let beside = "set_real_ip_from 127.0.0.1; real_ip_header X-Test-Address;";
    let nginx = Nginx::with([node.address, node.address], &[], beside);
    // 20 requests a second and 100 at once are what officers may send.
    let refused = |addresses: &dyn Fn(u16) -> String| {
        let mut connection = Connection::open(nginx.site).expect("nginx listens");
        let ask = |number: u16| {
            let request = nginx.request("GET", "/api/x").header("X-Test-Address", addresses(number));
            connection.write(&request.bytes()).expect("sends");
            connection.read_answer("GET").expect("is answered").status
        };
        (1..=REQUESTS).map(ask).filter(|status| *status == 429).count()
    };
    let v6 = |network: u16, host: u16| Ipv6Addr::from([0x2001, 0xdb8, 0, network, host, 0, 0, host]).to_string();
    assert!(refused(&|number| v6(0, number)) > 100, "one network, many addresses");
    assert_eq!(refused(&|number| v6(number, 1)), 0, "many networks");
    assert!(refused(&|_| "198.51.100.7".to_owned()) > 100, "one IPv4 address");
    assert_eq!(refused(&|number| format!("203.0.{}.{}", number / 250, number % 250)), 0, "many IPv4 addresses");
}

/// Redirects a second while nodes are restarted.
const ROLLING_RATE: &str = "MERLINK_TEST_ROLLING_REDIRECTS_PER_SECOND";

#[test]
fn a_rolling_restart_under_load_fails_no_request_and_counts_each_click_once() {
    const VISITORS: u64 = 8;
    const BATCH: u64 = 100;
    let asked_per_second = length_of_run(ROLLING_RATE, 400);
    let redis = RedisServer::start();
    let nodes = [node(&redis), node(&redis)];
    let nginx = Nginx::before([nodes[0].public_address(), nodes[1].public_address()]);
    let amy = nodes[0].officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let answered: u64 = thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut answered, mut pace) =
                        (0, Pace::new(Duration::from_secs(BATCH * VISITORS) / asked_per_second as u32));
                    // curl spreads a batch's requests, a little faster than they have to be; the pace of batches makes the rate.
                    let spread = format!("{}/s", asked_per_second * 5 / 4 / VISITORS);
                    while !over.load(Ordering::Relaxed) {
                        pace.keep();
                        let each = ["--rate", &spread, "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}\n"];
                        let (_, printed) = nginx.curl(&each, &format!("/form?[1-{BATCH}]"));
                        let lines: Vec<&str> = printed.lines().collect();
                        let wrong: Vec<_> = lines.iter().filter(|line| **line != format!("302 {TARGET}")).collect();
                        assert!(
                            wrong.is_empty() && lines.len() as u64 == BATCH,
                            "{} answers, wrong: {wrong:?}",
                            lines.len()
                        );
                        answered += BATCH;
                    }
                    answered
                })
            })
            .collect();
        let rolled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let gets_visitors = |node: &Server| {
                let before = node.metrics().sum("merlink_clicks_recorded_total");
                eventually("it gets visitors", || {
                    (node.metrics().sum("merlink_clicks_recorded_total") >= before + 50.0).then_some(())
                });
            };
            nodes.iter().for_each(gets_visitors);
            for node in nodes.iter().chain(&nodes) {
                assert_eq!(node.end_by(Signal::TERM), Some(0));
                node.start_again();
                // As docs/operations.md says: not before this one has visitors again is it the other's turn.
                gets_visitors(node);
            }
        }));
        over.store(true, Ordering::Relaxed);
        let answered = visitors.into_iter().map(|visitor| visitor.join().expect("no visitor is failed")).sum();
        rolled.expect("the nodes are restarted");
        answered
    });
    let per_second = answered as f64 / started.elapsed().as_secs_f64();
    println!(
        "rolling restart: each node twice, {answered} redirects, {per_second:.0} a second of {asked_per_second} asked for, none failed"
    );
    nodes.iter().for_each(Server::await_flushed);
    assert_eq!(nodes[0].counters("form").get("t"), Some(&answered.cast_signed()), "each answered click once");
}
