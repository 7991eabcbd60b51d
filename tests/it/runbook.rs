//! The commands of docs/operations.md that touch a Redis with data, run as the page has them.
//!
//! A block of the page runs in a shell whose folders are the test's own. What needs a real machine (`apt`, `systemctl`, owners of files) is
//! replaced by functions of the same name; Redis, its files and Merlink are real.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use redis::{Connection, cmd};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    harness::{Home, MERLINK, eventually},
    redis_server::{free_address, running_in, signal},
};

const PAGE: &str = "docs/operations.md";

/// Replacements for what belongs to a whole machine. `$ROOT` is the machine's root folder here, `$PORT` its Redis' port.
const MACHINE: &str = r#"
set -eu
apt() { :; }
chown() { :; }
sysctl() { :; }
redis-cli() { command redis-cli -p "$PORT" "$@"; }
install() {
    folder=
    while [ "${1#-}" != "$1" ]; do case $1 in -d) folder=yes; shift ;; *) shift 2 ;; esac; done
    if [ "$folder" ]; then mkdir -p "$1"; else cat "$1" >"$2"; fi
}
systemctl() {
    if [ "$1" != start ]; then
        redis-cli SHUTDOWN || true
        while redis-cli PING >/dev/null 2>&1; do :; done
    fi
    if [ "$1" != stop ]; then
        command redis-server "$ROOT/etc/redis/redis.conf" --daemonize yes
        # A loading Redis answers, too.
        until redis-cli PING 2>/dev/null | grep -qE 'PONG|NOAUTH'; do :; done
    fi
}
"#;

/// A machine with Debian's Redis on it: `etc/redis/redis.conf`, `var/lib/redis`.
struct Machine {
    root: TempDir,
    address: SocketAddr,
}

impl Machine {
    fn new() -> Self {
        let machine =
            Self { root: TempDir::new().expect("a temporary directory can be made"), address: free_address() };
        for folder in ["etc/redis", "etc/sysctl.d", "var/lib/redis", "backup"] {
            fs::create_dir_all(machine.path(folder)).expect("the temporary directory can be written");
        }
        let configuration = format!(
            "dir {}\nport {}\nlogfile {}\nappendonly no\nsave \"\"\n",
            machine.path("var/lib/redis").display(),
            machine.address.port(),
            machine.path("redis.log").display()
        );
        fs::write(machine.path("etc/redis/redis.conf"), configuration).expect("is written");
        machine.run("systemctl start redis-server");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Runs commands of the page on this machine; they must all succeed.
    #[track_caller]
    fn run(&self, commands: &str) -> String {
        let root = self.root.path().display().to_string();
        // Commands are found below /etc and /var of the real machine, so only whole words are moved.
        let mut here = commands.to_owned();
        for folder in ["/etc/", "/var/", "/backup/"] {
            here = here.replace(folder, &format!("{root}{folder}"));
        }
        let here = here
            .replace("@10.0.0.20", &format!("@127.0.0.2:{}", self.address.port()))
            .replace("10.0.0.20", "127.0.0.2")
            .replace("6399", &free_address().port().to_string());
        let ran = Command::new("bash")
            .args(["-c", &format!("{MACHINE}\n{here}")])
            .envs([("ROOT", root), ("PORT", self.address.port().to_string())])
            .current_dir(self.root.path())
            .output()
            .expect("bash runs");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let log = fs::read_to_string(self.path("redis.log")).unwrap_or_default();
        assert!(ran.status.success(), "{here}\n{said}\n{}\n{log}", String::from_utf8_lossy(&ran.stderr));
        said
    }

    fn redis(&self, credentials: &str) -> Connection {
        let url = format!("redis://{credentials}{}", self.address);
        let client = redis::Client::open(url.as_str()).expect("a Redis address");
        eventually("Redis answers", || client.get_connection().ok())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for redis in running_in(&self.path("var/lib/redis")) {
            signal(redis, Signal::KILL);
        }
    }
}

/// A shell block of the page, found by one of its lines.
fn block_with(line: &str) -> String {
    let found = blocks().into_iter().find(|block| block.commands.contains(line));
    found.unwrap_or_else(|| panic!("{PAGE} has no block with {line:?}")).commands
}

struct Block {
    commands: String,
    /// The paragraph above it.
    above: String,
}

fn blocks() -> Vec<Block> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).expect("the page is there");
    let pieces: Vec<&str> = page.split("```").collect();
    let fenced = pieces.windows(2).step_by(2);
    fenced
        .filter_map(|pair| {
            let commands = pair[1].strip_prefix("sh\n")?.to_owned();
            let above = pair[0].trim_end().rsplit("\n\n").next().unwrap_or_default().to_owned();
            Some(Block { commands, above })
        })
        .collect()
}

#[test]
fn a_redis_that_has_data_keeps_it_when_it_is_set_up_as_the_page_says() {
    let machine = Machine::new();
    let mut redis = machine.redis("");
    cmd("SET").arg("older").arg("than Merlink").exec(&mut redis).expect("Redis writes");
    cmd("SAVE").exec(&mut redis).expect("Redis saves");
    for (file, from) in [("redis.conf", "config/redis.conf"), ("redis-acl.conf", "deploy/redis-acl.conf")] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(from), machine.path(file)).expect("is copied");
    }
    let said = machine.run(&block_with("systemctl restart redis-server"));
    assert!(said.trim_end().ends_with("PONG"), "Merlink's user is let in: {said}");
    let admin = said.lines().find_map(|line| line.split_once(' ')).map(|(_, admin)| admin.to_owned());
    let mut redis = machine.redis(&format!(":{}@", admin.expect("the block prints both passwords")));
    let kept: Option<String> = cmd("GET").arg("older").query(&mut redis).expect("Redis reads");
    assert_eq!(kept.as_deref(), Some("than Merlink"));
    let info: String = cmd("INFO").arg("persistence").query(&mut redis).expect("Redis answers");
    assert!(info.contains("aof_enabled:1"), "and is as config/redis.conf says: {info}");
}

#[test]
fn a_restore_as_the_page_has_it_brings_the_backup_back_and_deletes_nothing() {
    let machine = Machine::new();
    let base = fs::read_to_string(machine.path("etc/redis/redis.conf")).expect("is read");
    let safe = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/redis.conf");
    fs::copy(safe, machine.path("merlink.conf")).expect("is copied");
    machine.run("systemctl stop redis-server");
    let with_ours = format!("{base}include {}\n", machine.path("merlink.conf").display());
    fs::write(machine.path("etc/redis/redis.conf"), with_ours).expect("is written");
    machine.run("systemctl start redis-server");
    let home = Home::new().set("redis.url", format!("redis://{}", machine.address));
    fs::create_dir_all(machine.path("backup/audit")).expect("the temporary directory can be written");
    let home = home.set("audit.file", machine.path("backup/audit/audit.ndjson").to_str().expect("UTF-8"));
    let key = home.run(&["key", "create", "--owner", "amy@agency.gov.sg"]).assert_code(0).stdout.clone();
    let rows = "code,target_url,owner\nkept,https://www.iras.gov.sg/taxes,amy@agency.gov.sg\n";
    let file = machine.path("links.csv");
    fs::write(&file, rows).expect("is written");
    home.run(&["link", "import", file.to_str().expect("UTF-8")]).assert_code(0);
    machine.run("redis-cli --rdb /backup/merlink-2026-11-24.rdb >&2");
    fs::write(&file, rows.replace("kept", "younger")).expect("is written");
    home.run(&["link", "import", file.to_str().expect("UTF-8")]).assert_code(0);

    home.run(&["key", "revoke", key.trim_end()]).assert_code(0);

    let settings = machine.path("merlink.toml");
    let text = format!("data_dir = \"data\"\n[redis]\nurl = \"redis://{}\"\n", machine.address);
    fs::write(&settings, text).expect("is written");
    let steps = block_with("mv /var/lib/redis /var/lib/redis.lost")
        .replace("--config FILE", &format!("--config {}", settings.display()))
        .replace("merlink check", &format!("{MERLINK} check"))
        .replace("merlink restore", &format!("{MERLINK} restore"));
    machine.run(&steps);
    let export = home.run(&["link", "export"]).assert_code(0).stdout.clone();
    assert!(export.contains("kept,") && !export.contains("younger,"), "{export}");
    let keys = home.run(&["key", "list"]).assert_code(0).stdout.clone();
    assert!(keys.contains("revoked") && !keys.contains("active"), "{keys}");
    let mut folders = fs::read_dir(machine.path("var/lib")).expect("is listed").map(|entry| entry.expect("has a name"));
    let lost = folders.find(|entry| entry.file_name().to_string_lossy().starts_with("redis.lost-"));
    let lost = lost.expect("what was there is set aside").path();
    assert!(lost.join("appendonlydir").is_dir(), "with the file of all that is not in the backup");
}

#[test]
fn every_block_that_can_lose_data_is_headed_by_a_warning() {
    let dangerous = ["rm -r", "appendonly yes", "mv /var/lib", "NOSAVE", "FLUSH", "aof --fix"];
    let dangers: Vec<Block> =
        blocks().into_iter().filter(|block| dangerous.iter().any(|word| block.commands.contains(word))).collect();
    assert!(!dangers.is_empty());
    for block in dangers {
        assert!(block.above.starts_with("> **This step "), "no warning above:\n{}\n{}", block.above, block.commands);
    }
}

#[test]
fn signals_go_to_merlink_alone_and_not_to_its_redis() {
    // By default systemctl sends them to all processes of the unit, and SIGUSR1 ends Redis.
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).expect("the page is there");
    let mut commands = page.split("systemctl kill").skip(1).peekable();
    assert!(commands.peek().is_some(), "{PAGE} has a signal");
    for command in commands {
        assert!(command.starts_with(" --kill-whom=main "), "systemctl kill{}", command.lines().next().unwrap_or(""));
    }
}
