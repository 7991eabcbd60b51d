//! Several redis-servers that know each other: a primary with replicas and Sentinels, or a Cluster. Real processes on loopback ports.

use std::{
    fmt::Write as _,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use redis::{FromRedisValue, RedisResult};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{PATIENCE, eventually};

/// What each node runs with besides: safe as merlink wants it, and quick to copy itself to a replica.
const SETTINGS: &str = "port {port}
bind 127.0.0.1
protected-mode no
appendonly yes
appendfsync always
aof-load-truncated no
maxmemory-policy noeviction
save \"\"
repl-diskless-sync-delay 0
repl-ping-replica-period 1
";

/// One redis-server with a port and a folder of its own.
pub struct Node {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    settings: String,
    arguments: Vec<String>,
    password: String,
}

impl Node {
    /// Starts a redis-server with these settings; `{port}` and `{other}` in them are two free ports, the first of them its own.
    pub fn start(settings: &str, password: &str) -> Self {
        Self::start_with(&format!("{SETTINGS}{settings}"), &[], password)
    }

    pub fn start_sentinel(settings: &str, password: &str) -> Self {
        Self::start_with(
            &format!("port {{port}}\nbind 127.0.0.1\nprotected-mode no\n{settings}"),
            &["--sentinel"],
            password,
        )
    }

    fn start_with(settings: &str, arguments: &[&str], password: &str) -> Self {
        loop {
            let (port, other) = (free_port(), free_port());
            let settings = settings.replace("{port}", &port.to_string()).replace("{other}", &other.to_string());
            let mut node = Self {
                child: None,
                folder: TempDir::new().expect("a temporary directory can be made"),
                port,
                settings,
                arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
                password: password.to_owned(),
            };
            // Another process may have been faster to take a port.
            if node.try_start() {
                return node;
            }
        }
    }

    pub fn start_again(&mut self) {
        assert!(self.try_start(), "redis-server on port {} can't be started again", self.port);
    }

    /// Starts it again with these settings besides, without waiting until it has read its files.
    pub fn begin_again(&mut self, settings: &[&str]) {
        let child = self.spawn(settings);
        self.child = Some(child);
    }

    /// Waits until it answers; `false` when it ends instead.
    fn try_start(&mut self) -> bool {
        let mut child = self.spawn(&[]);
        let lives = eventually("a redis-server answers or ends", || {
            if child.try_wait().expect("our child can be waited for").is_some() {
                return Some(false);
            }
            self.ask::<redis::Value>(&["PING"]).ok().map(|_| true)
        });
        self.child = Some(child);
        lives
    }

    fn spawn(&self, settings: &[&str]) -> Child {
        let file = self.folder.path().join("redis.conf");
        // A Sentinel, and a replica, rewrites its file: what it has learnt is kept for the next start.
        if !file.exists() {
            let text = format!("dir {}\n{}", self.folder.path().display(), self.settings);
            std::fs::write(&file, text).expect("the temporary directory can be written");
        }
        let mut command = Command::new("redis-server");
        command.arg(&file).args(&self.arguments).args(settings);
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("redis-server is installed")
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let password = if self.password.is_empty() { String::new() } else { format!(":{}@", self.password) };
        let address = self.address();
        let client = match self.settings.lines().find_map(|line| line.strip_prefix("tls-ca-cert-file ")) {
            None => redis::Client::open(format!("redis://{password}{address}"))?,
            Some(file) => {
                let root_cert = Some(std::fs::read(file).expect("the file is there"));
                let trusted = redis::TlsCertificates { client_tls: None, root_cert };
                redis::Client::build_with_tls(format!("rediss://{password}{address}"), trusted)?
            }
        };
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        redis::cmd(command[0]).arg(&command[1..]).query(&mut connection)
    }

    /// A field of INFO or of CLUSTER INFO; empty when there is none, or nobody who answers.
    pub fn info(&self, command: &[&str], field: &str) -> String {
        let info: String = self.ask(command).unwrap_or_default();
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our child can be killed");
        child.wait().expect("our child can be waited for");
    }

    /// Copies its append-only file as it stands.
    pub fn back_up(&self) -> TempDir {
        let copy = TempDir::new().expect("a temporary directory can be made");
        copy_files(&self.folder.path().join("appendonlydir"), copy.path());
        copy
    }

    /// Puts a copy in the place of the append-only file. It must not run.
    pub fn restore(&self, copy: &TempDir) {
        let folder = self.folder.path().join("appendonlydir");
        std::fs::remove_dir_all(&folder).expect("what was there is lost");
        copy_files(copy.path(), &folder);
    }

    /// Stops it in its tracks: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("it runs")), signal).expect("our child takes signals");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Copies the files of one folder into another, which is made if there is none.
pub fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let file = entry.expect("the folder can be listed").path();
        std::fs::copy(&file, to.join(file.file_name().expect("is a file"))).expect("the file can be copied");
    }
}

/// A port below those that the kernel gives to outgoing connections, so that it is still free when a killed server starts again.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 12_000).expect("below 12,000");
    eventually("a free port", || {
        let offset = spread.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        let port = PORTS.start + offset;
        TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    })
}

/// A primary with two replicas, and three Sentinels that watch over them. All of them want a password.
pub struct SentinelGroup {
    pub nodes: Vec<Node>,
    pub sentinels: Vec<Node>,
}

/// Of everybody but merlink.
const PASSWORD: &str = "three-of-a-kind";
/// Merlink's, in need of escaping in a URL.
pub const MERLINKS_PASSWORD: &str = "m/r:l@nk";
const MERLINKS_LOGIN: &str = "merlink:m%2Fr:l%40nk@";

/// The user that `deploy/` gives merlink.
pub fn acl() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis-acl.conf");
    let text = std::fs::read_to_string(file).expect("the file is in the repository");
    let (placeholder, count) = ("REPLACE-THIS-PASSWORD", text.matches("REPLACE-THIS-PASSWORD").count());
    assert_eq!(count, 1, "{file}");
    text.replace(placeholder, MERLINKS_PASSWORD)
}

impl SentinelGroup {
    pub fn start() -> Self {
        let protected = format!("requirepass {PASSWORD}\nmasterauth {PASSWORD}\n{}", acl());
        let mut nodes = vec![Node::start(&protected, PASSWORD)];
        let replica = format!("{protected}replicaof 127.0.0.1 {}\n", nodes[0].port());
        nodes.extend((0..2).map(|_| Node::start(&replica, PASSWORD)));
        let watch = format!(
            "sentinel monitor main 127.0.0.1 {} 2
sentinel auth-pass main {PASSWORD}
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 1500
sentinel parallel-syncs main 2
requirepass {PASSWORD}
sentinel sentinel-pass {PASSWORD}
user merlink on >{MERLINKS_PASSWORD} -@all +@connection +sentinel|get-master-addr-by-name
",
            nodes[0].port()
        );
        let sentinels = (0..3).map(|_| Node::start_sentinel(&watch, PASSWORD)).collect();
        let group = Self { nodes, sentinels };
        group.await_whole();
        group
    }

    pub fn url(&self) -> String {
        let sentinels: Vec<String> = self.sentinels.iter().map(Node::address).collect();
        format!("redis-sentinel://{MERLINKS_LOGIN}{}/main", sentinels.join(","))
    }

    /// The node that a majority of the Sentinels names.
    pub fn primary(&self) -> usize {
        eventually("two Sentinels name the same primary", || {
            let named: Vec<u16> = self.sentinels.iter().filter_map(named_by).collect();
            let is_primary = |node: &&Node| named.iter().filter(|&&port| port == node.port()).count() >= 2;
            self.nodes.iter().position(|node| is_primary(&node))
        })
    }

    /// Has the Sentinels take no primary for dead that is away for less than a minute.
    pub fn be_patient(&self) {
        for sentinel in &self.sentinels {
            let patience = ["SENTINEL", "SET", "main", "down-after-milliseconds", "60000"];
            sentinel.ask::<()>(&patience).expect("the Sentinel obeys");
        }
    }

    /// Has the replicas copy nothing from now on. They may still take the primary's place, for 20
    /// s.
    pub fn leave_replicas_behind(&self) {
        for sentinel in &self.sentinels {
            let patience = ["SENTINEL", "SET", "main", "down-after-milliseconds", "2000"];
            sentinel.ask::<()>(&patience).expect("the Sentinel obeys");
        }
        let primary = self.primary();
        let offset = |node: &Node, field: &str| node.info(&["INFO", "replication"], field);
        eventually("the replicas have everything", || {
            let mut replicas = self.nodes.iter().enumerate().filter(|(number, _)| *number != primary);
            let written = offset(&self.nodes[primary], "master_repl_offset");
            replicas.all(|(_, replica)| offset(replica, "slave_repl_offset") == written).then_some(())
        });
        for (_, replica) in self.nodes.iter().enumerate().filter(|(number, _)| *number != primary) {
            replica.ask::<()>(&["CONFIG", "SET", "masterauth", "wrong"]).expect("the replica obeys");
        }
        self.nodes[primary].ask::<u64>(&["CLIENT", "KILL", "TYPE", "replica"]).expect("the primary obeys");
        eventually("the replicas have no primary", || {
            let replicas = self.nodes.iter().enumerate().filter(|(number, _)| *number != primary);
            let mut links = replicas.map(|(_, replica)| offset(replica, "master_link_status"));
            links.all(|link| link == "down").then_some(())
        });
    }

    /// Has those that were left behind copy again, from whichever primary there is.
    pub fn let_replicas_catch_up(&self) {
        for node in self.nodes.iter().filter(|node| node.child.is_some()) {
            node.ask::<()>(&["CONFIG", "SET", "masterauth", PASSWORD]).expect("the replica obeys");
        }
    }

    /// Waits until the primary has a replica that could take its place.
    pub fn await_replica(&self) {
        eventually("a replica has the primary's data", || {
            let replica = self.nodes[self.primary()].info(&["INFO", "replication"], "slave0");
            replica.contains("state=online").then_some(())
        });
    }

    /// Waits until all Sentinels know the same primary, each other and two replicas that have its data.
    fn await_whole(&self) {
        eventually("the Sentinels and the replicas know each other", || {
            let primary = self.primary();
            let port = self.nodes[primary].port();
            let agreed = self.sentinels.iter().all(|sentinel| {
                let state: Vec<String> = sentinel.ask(&["SENTINEL", "MASTER", "main"]).unwrap_or_default();
                let field = |name: &str| state.iter().position(|field| field == name).map(|at| state[at + 1].as_str());
                field("port") == Some(&port.to_string())
                    && field("num-slaves") == Some("2")
                    && field("num-other-sentinels") == Some("2")
                    && field("flags") == Some("master")
            });
            let replication = ["INFO", "replication"];
            let copied =
                self.nodes.iter().enumerate().all(|(position, node)| {
                    position == primary || node.info(&replication, "master_link_status") == "up"
                });
            (agreed && copied && self.nodes[primary].info(&replication, "connected_slaves") == "2").then_some(())
        });
    }
}

fn named_by(sentinel: &Node) -> Option<u16> {
    let (_, port): (String, u16) = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]).ok()?;
    Some(port)
}

/// Three primaries with a replica each.
pub struct Cluster {
    pub nodes: Vec<Node>,
}

impl Cluster {
    pub fn start() -> Self {
        let settings = "cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 1000
cluster-replica-validity-factor 0
cluster-port {other}
";
        let settings = format!("{settings}{}", acl());
        let cluster = Self { nodes: (0..6).map(|_| Node::start(&settings, "")).collect() };
        let mut arguments = vec!["create".to_owned()];
        arguments.extend(cluster.nodes.iter().map(Node::address));
        arguments.extend(["--cluster-replicas", "1"].map(str::to_owned));
        Self::manage(&arguments);
        cluster.await_whole();
        cluster
    }

    pub fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(Node::address).collect();
        format!("redis-cluster://{MERLINKS_LOGIN}{}", nodes.join(","))
    }

    /// `redis-cli --cluster`.
    pub fn manage(arguments: &[String]) {
        let output = Command::new("redis-cli")
            .arg("--cluster")
            .args(arguments)
            .arg("--cluster-yes")
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli is installed");
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        write!(said, "{}", String::from_utf8_lossy(&output.stderr)).expect("a text can be written to");
        assert!(output.status.success(), "redis-cli --cluster {}:\n{said}", arguments.join(" "));
    }

    /// The name that the Cluster gave a node.
    pub fn id(&self, node: usize) -> String {
        self.nodes[node].ask(&["CLUSTER", "MYID"]).expect("the node answers")
    }

    pub fn is_primary(&self, node: usize) -> bool {
        self.nodes[node].info(&["INFO", "replication"], "role") == "master"
    }

    /// The node that copies this primary.
    pub fn replica_of(&self, primary: usize) -> usize {
        let port = self.nodes[primary].port().to_string();
        let copies = |node: &Node| node.info(&["INFO", "replication"], "master_port") == port;
        self.nodes.iter().position(copies).expect("each primary has a replica")
    }

    /// Whether this primary has the key's slot.
    pub fn serves(&self, primary: usize, key: &str) -> bool {
        self.nodes[primary].ask::<u8>(&["EXISTS", key]).is_ok()
    }

    /// Has slots whose nodes are all away keep none of the others from being served.
    pub fn serve_in_part(&self) {
        for node in &self.nodes {
            node.ask::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).expect("the node obeys");
        }
    }

    /// Waits until all nodes live, every slot is served, and every replica has its primary's data.
    pub fn await_whole(&self) {
        eventually("the Cluster is whole", || {
            let whole = |node: &Node| {
                node.info(&["CLUSTER", "INFO"], "cluster_state") == "ok"
                    && node.info(&["CLUSTER", "INFO"], "cluster_known_nodes") == "6"
                    && node.info(&["CLUSTER", "INFO"], "cluster_slots_fail") == "0"
                    && match node.info(&["INFO", "replication"], "role").as_str() {
                        "master" => node.info(&["INFO", "replication"], "connected_slaves") == "1",
                        _ => node.info(&["INFO", "replication"], "master_link_status") == "up",
                    }
            };
            self.nodes.iter().all(whole).then_some(())
        });
    }
}
