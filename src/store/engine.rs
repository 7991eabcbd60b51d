//! The engine behind `redis.url`: its name and version, and whether it can do what Merlink needs.
//!
//! Engines that speak Redis' protocol differ in their scripts' functions, managed services in the commands that they forbid, and an ACL
//! in anything. So nothing is assumed: every script and every kind of command runs once on scratch keys, and its answer is compared with
//! Redis' own. A trial is one pipeline per primary, some 1 ms, at the start and whenever the safety check meets a server that it hasn't
//! tried yet. The scratch keys are deleted by the same pipeline.
//!
//! An error that will pass (memory or disk full, a failover under way) is no missing ability: a node that starts in the midst of an outage
//! must be able to redirect. The trial is then repeated by the next safety check.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
    sync::PoisonError,
};

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Value, cmd, from_redis_value};
use tokio::time::timeout;

use super::{
    Store, StoreError, bulk, clicks,
    connection::{Connection, Lua},
    idempotency, index, instances,
    keys::{LINKS_CHANNEL, Scratch},
    links, logins,
    subscription::SILENCE,
};
use crate::metrics::Operation;

/// Scripts rely on ACL rules for subcommands, and `config/redis.conf` on settings, that came with 7.0.
const REDIS_MAJOR_MIN: u32 = 7;

/// Keys of the clean-up, at least. No other step has as many.
const CLEAN_UP_KEYS_MIN: usize = 4;

/// Characters of an engine's error that are passed on.
const REASON_CHARS_MAX: usize = 300;

/// Which server program this is, as INFO has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// `Redis`, `Valkey` …
    pub name: String,
    /// Empty when INFO doesn't have it.
    pub version: String,
}

impl Engine {
    /// Reads INFO. Others than Redis give the version of the Redis that they are compatible with as `redis_version`, and their own besides.
    pub fn of(field: impl Fn(&str) -> String) -> Self {
        for (name, own) in
            [("Valkey", "valkey_version"), ("Dragonfly", "dragonfly_version"), ("Kvrocks", "kvrocks_version")]
        {
            let version = field(own);
            if !version.is_empty() {
                return Self { name: name.to_owned(), version };
            }
        }
        let name = Some(field("server_name")).filter(|name| !name.is_empty() && name != "redis");
        Self { name: name.unwrap_or_else(|| "Redis".to_owned()), version: field("redis_version") }
    }

    /// Below the oldest Redis that is supported. An engine of another name is judged by its trial alone.
    pub fn is_too_old(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        self.name == "Redis" && major.is_some_and(|major| major < REDIS_MAJOR_MIN)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.version.is_empty() { "of unknown version" } else { &self.version };
        write!(formatter, "{} {version}", self.name)
    }
}

/// The result of trials, of all primaries together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Failed steps that Merlink can't work without, with the engine's reason.
    pub missing: Vec<String>,
    /// Rights that Redis' user for Merlink lacks.
    pub denied: Denied,
    /// Missing functions that Merlink does without.
    pub without: Vec<String>,
    /// Steps that couldn't be tried at present, and why.
    pub untried: Vec<String>,
}

/// Rights that an ACL denies to Merlink's user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// Primaries of a Cluster that deny something.
    servers: BTreeSet<String>,
    /// In the ACL's own words: `+zadd`, `~mails:*`, `&merlink:links`. Engines don't name every
    /// right.
    rights: BTreeSet<String>,
    /// Steps that failed for want of them.
    steps: BTreeSet<&'static str>,
}

impl Denied {
    /// Adds what `error` denies of this step. `false` if it is another error.
    fn add(&mut self, step: &Step, error: &RedisError) -> bool {
        let text = error.to_string();
        // Within a script, Redis says "ERR The user executing the script can't …", and Valkey "ERR
        // ACL failure in script: …".
        let is_denied =
            error.code() == Some("NOPERM") || text.contains("executing the script") || text.contains("ACL failure");
        if !is_denied {
            return false;
        }
        if let Some((_, rest)) = text.split_once("run the '") {
            self.rights.extend(rest.split_once('\'').map(|(command, _)| format!("+{command}")));
        } else if text.contains("channel") {
            self.rights.insert(format!("&{LINKS_CHANNEL}"));
        } else if text.contains("key") {
            let keys: Vec<String> = step.keys().collect();
            // The clean-up is about all keys. The steps before it name those that are denied.
            if keys.len() >= CLEAN_UP_KEYS_MIN {
                return true;
            }
            self.rights.extend(keys.into_iter().map(|key| format!("~{key}")));
        }
        self.steps.insert(step.what);
        true
    }

    fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// One sentence about all of it. `None` if nothing is denied.
    pub fn sentence(&self) -> Option<String> {
        fn list<'w>(words: impl Iterator<Item = &'w str>) -> String {
            words.collect::<Vec<_>>().join(", ")
        }
        if self.is_empty() {
            return None;
        }
        let mut servers = list(self.servers.iter().map(String::as_str));
        if !servers.is_empty() {
            servers.push_str(": ");
        }
        let rights = match list(self.rights.iter().map(String::as_str)) {
            none if none.is_empty() => String::new(),
            rights => format!(" {rights}"),
        };
        Some(format!(
            "{servers}Merlink's user lacks the rights{rights} for {}. Load deploy/redis-acl.conf of this version on every Redis server, \
             replicas too.",
            list(self.steps.iter().copied())
        ))
    }
}

impl Store {
    /// Tries what the engine can do, unless `servers`, which names all primaries, is who was tried last.
    pub(super) async fn try_engine(&self, servers: &str) -> Result<Trial, StoreError> {
        let lock = || self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, tried)) = &*lock()
            && known == servers
        {
            return Ok(tried.clone());
        }
        let shards = self.ask(Operation::Ping, async |redis| shards(redis).await).await?;
        let mut tried = Trial::default();
        for shard in shards {
            let found = self.ask(Operation::Ping, async |redis| try_shard(redis, &shard).await).await?;
            tried.add(found, &shard.name);
        }
        let subscribed =
            timeout(SILENCE, async { self.connector.subscribe(LINKS_CHANNEL, |_: &str| {}).await?.prove().await });
        match subscribed.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if is_lasting_for_subscriptions(&error) => {
                let step = step("SUBSCRIBE", &["SUBSCRIBE", LINKS_CHANNEL], Value::Nil);
                if !tried.denied.add(&step, &error) {
                    tried.missing.push(reason("SUBSCRIBE over RESP3", &error));
                }
            }
            Ok(Err(error)) => tried.untried.push(reason("SUBSCRIBE", &error)),
            Err(_) => tried.untried.push("SUBSCRIBE: no answer".to_owned()),
        }
        if tried.untried.is_empty() {
            *lock() = Some((servers.to_owned(), tried.clone()));
        }
        Ok(tried)
    }
}

impl Trial {
    /// Adds what was found on `shard`, an empty name where there is only one.
    fn add(&mut self, other: Self, shard: &str) {
        let of_shard = |reason: String| if shard.is_empty() { reason } else { format!("{shard}: {reason}") };
        self.missing.extend(other.missing.into_iter().map(of_shard));
        if !shard.is_empty() && !other.denied.is_empty() {
            self.denied.servers.insert(shard.to_owned());
        }
        self.denied.rights.extend(other.denied.rights);
        self.denied.steps.extend(other.denied.steps);
        self.without.extend(other.without.into_iter().map(of_shard));
        self.untried.extend(other.untried.into_iter().map(of_shard));
    }
}

/// A part of the keys that one primary has, and scratch keys among them.
struct Shard {
    /// The primary's address in a Cluster, else empty.
    name: String,
    scratch: Scratch,
}

async fn shards(redis: &mut Connection) -> Result<Vec<Shard>, RedisError> {
    let mark = nanoid::nanoid!(12);
    let Connection::Cluster(_) = redis else {
        return Ok(vec![Shard { name: String::new(), scratch: Scratch::new(&mark, 0) }]);
    };
    let ranges: Vec<Value> = cmd("CLUSTER").arg("SLOTS").query_async(redis).await?;
    let mut slots: BTreeMap<String, Vec<RangeInclusive<u16>>> = BTreeMap::new();
    for range in ranges {
        let range: Vec<Value> = from_redis_value(range)?;
        if let [first, last, primary, ..] = &range[..] {
            let primary: Vec<Value> = from_redis_value(primary.clone())?;
            if let [host, port, ..] = &primary[..] {
                let (host, port): (Option<String>, u16) = (parse(host)?, parse(port)?);
                let name = format!("{}:{port}", host.unwrap_or_default());
                slots.entry(name).or_default().push(parse(first)?..=parse(last)?);
            }
        }
    }
    let there =
        |scratch: &Scratch, ranges: &[RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&scratch.slot()));
    let shards = slots.into_iter().filter_map(|(name, ranges)| {
        // A primary with a single slot takes 16,384 names on average.
        let mut names = (0..1_000_000).map(|number| Scratch::new(&mark, number));
        Some(Shard { name, scratch: names.find(|scratch| there(scratch, &ranges))? })
    });
    Ok(shards.collect())
}

fn parse<T: FromRedisValue>(value: &Value) -> Result<T, RedisError> {
    Ok(from_redis_value(value.clone())?)
}

/// One command, and the answer that Redis gives.
struct Step {
    what: &'static str,
    command: Cmd,
    /// `None`: any answer but an error.
    expected: Option<Value>,
}

impl Step {
    /// Patterns of the scratch keys in it, as `l:*`.
    fn keys(&self) -> impl Iterator<Item = String> {
        let words = self.command.args_iter().filter_map(|word| match word {
            redis::Arg::Simple(word) => std::str::from_utf8(word).ok(),
            _ => None,
        });
        words.filter_map(|word| Some(format!("{}:*", word.split_once(":{!")?.0)))
    }
}

async fn try_shard(redis: &mut Connection, shard: &Shard) -> Result<Trial, RedisError> {
    let mut steps = Vec::new();
    if matches!(redis, Connection::Node(_)) {
        steps.push(Step { what: "SCRIPT LOAD", command: links::CREATE.load(), expected: None });
    }
    let several_keys = redis.takes_transactions().await;
    steps.extend(scripts(&shard.scratch, several_keys));
    steps.extend(commands(&shard.scratch));
    // Last of all: whatever the steps left.
    let keys = shard.scratch.all();
    let none_left = Some(Value::Int(0));
    steps.push(Step { what: "DEL", command: cmd("DEL").arg(&keys).to_owned(), expected: None });
    steps.push(Step { what: "EXISTS", command: cmd("EXISTS").arg(&keys).to_owned(), expected: none_left });

    let set_repl = cmd("EVAL").arg(HAS_SET_REPL).arg(1).arg(&keys[0]).to_owned();
    let commands = steps.iter().map(|step| step.command.clone()).chain([set_repl]).collect();
    let mut answers = redis.in_one_slot(commands).await?;
    let has_set_repl = answers.pop();
    let mut tried = Trial::default();
    let mut wrong = Vec::new();
    for (step, answer) in steps.iter().zip(answers) {
        match (answer.extract_error(), &step.expected) {
            (Err(error), _) if tried.denied.add(step, &error) => {}
            (Err(error), _) if is_lasting(&error) => tried.missing.push(reason(step.what, &error)),
            // One of many commands that a full memory, say, refuses.
            (Err(error), _) if tried.untried.is_empty() => tried.untried.push(reason(step.what, &error)),
            (Ok(answer), Some(expected)) if answer != *expected => {
                wrong.push(reason(step.what, &format!("the answer is {answer:?} instead of {expected:?}")));
            }
            (Err(_) | Ok(_), _) => {}
        }
    }
    // After an error a wrong answer shows nothing: an earlier step may have failed.
    if tried.missing.is_empty() && tried.denied.is_empty() && tried.untried.is_empty() {
        tried.missing = wrong;
    }
    if has_set_repl == Some(Value::Int(0)) {
        tried.without.push(WITHOUT_SET_REPL.to_owned());
    }
    Ok(tried)
}

const HAS_SET_REPL: &str = "return redis.set_repl and 1 or 0";

const WITHOUT_SET_REPL: &str = "redis.set_repl: the engine has none, so messages about changed links are replicated, which does no harm. \
                                 If it writes an append-only file, it must not load a truncated one (aof-load-truncated no)";

/// One call of each script, or several where one can't show all that it does.
fn scripts(scratch: &Scratch, several_keys: bool) -> Vec<Step> {
    // The real channel, since an ACL may deny it. A message without a line is about no link.
    let nothing = "";
    let create = links::CREATE.call_for(&[scratch.link()], &[LINKS_CHANNEL, nothing, "1", "1", "probe", "t", "probe"]);
    let many = bulk::CREATE_MANY.call_for(&[scratch.third_link()], &[LINKS_CHANNEL, nothing, "2", "t", "probe"]);
    // A code that is none, so that the message is about no link.
    let change = ["", "by", "5", "mark", "1", "owner", ",1,", "d", "new"];
    let change = links::CHANGE.call_for(&[scratch.other_link()], &[&[LINKS_CHANNEL][..], &change].concat());
    // Clicks of one class, from position 0 to 7.
    let apply = clicks::APPLY.call_for(&[scratch.clicks()], &["@probe", "7", "1", "d", "2", "0", "0"]);
    // At most two entries in a part: the third opens another part, and the fourth splits the first.
    let add = |entries: &[&str]| index::ADD.call_for(&[scratch.index()], &[&["2", "60000"][..], entries].concat());
    // The entry is removed, since there is no such link.
    let settle =
        index::SETTLE.call_for(&[scratch.index(), scratch.third_link()], &["2", "60000", "a@b", "tag", "1", "a"]);
    let sizes = index::SIZES.call_for(&[scratch.index()], &["-inf", "10"]);
    let take_mail = logins::TAKE_MAIL.call_for(&[scratch.mails()], &["1000000", "60000", "1", "call"]);
    let login = r#"{"asked_ms":1,"code":"hash","tries":0}"#;
    let accept = logins::ACCEPT_OTP.call_for(&[scratch.otp()], &[login, "60000"]);
    let attempt = logins::TRY_OTP.call_for(&[scratch.otp()], &["code", "hash", "3", "try"]);
    let take_guess = logins::TAKE_GUESS.call_for(&[scratch.guesses()], &["1", "60000"]);
    let return_guess = logins::RETURN_GUESS.call_for(&[scratch.guesses()], &[]);
    let replace = idempotency::REPLACE.call_for(&[scratch.idempotency()], &["known", "new"]);
    let keep = idempotency::KEEP.call_for(&[scratch.kept_bytes()], &["100", "7", "10", "76", "60000"]);
    let drop = idempotency::DROP.call_for(&[scratch.idempotency()], &["new"]);
    let claim = instances::CLAIM.call_for(&[scratch.instances()], &["probe", "", "running"]);
    let retire = instances::RETIRE.call_for(&[scratch.instances()], &["ended", "10", "20"]);

    let one = Value::Int(1);
    let before = ["probe", "owner", "", "", "", "", "", "", "", "", "", ""].map(|text| Value::BulkString(text.into()));
    let changed =
        [Value::BulkString("changed".into()), Value::Int(2), Value::Int(5)].into_iter().chain(before).collect();
    let run = |what, lua: &Lua, call: &Cmd, expected: &Value| Step {
        what,
        command: lua.call_in_full(call),
        expected: Some(expected.clone()),
    };
    let mut steps = vec![
        run("create_link.lua", &links::CREATE, &create, &one),
        // The same call again, by the script's hash: it finds its own creation.
        Step { what: "EVALSHA", command: create, expected: Some(one.clone()) },
        step("HSET", &["HSET", &scratch.other_link(), "t", "probe", "o", "owner"], Value::Int(2)),
        run("change_link.lua", &links::CHANGE, &change, &Value::Array(changed)),
        step("change_link.lua", &["HGET", &scratch.other_link(), "v"], Value::BulkString(b"2".to_vec())),
        run("apply_clicks.lua", &clicks::APPLY, &apply, &Value::Array(vec![Value::Int(7)])),
        step("apply_clicks.lua", &["HGET", &scratch.clicks(), "d"], Value::BulkString(b"2".to_vec())),
        run("index_add.lua", &index::ADD, &add(&["3", "1", "a", "2", "b", "4", "c"]), &Value::Int(3)),
        run("index_add.lua", &index::ADD, &add(&["1", "2", "d"]), &one),
        run("index_settle.lua", &index::SETTLE, &settle, &Value::Array(vec![Value::Int(0), one.clone()])),
        step("index_settle.lua", &["ZCARD", &scratch.index()], Value::Int(2)),
        run("index_sizes.lua", &index::SIZES, &sizes, &Value::Array([2, 2, 4, 1].map(Value::Int).to_vec())),
        run("take_mail.lua", &logins::TAKE_MAIL, &take_mail, &Value::Array(vec![Value::Int(1), Value::Int(60_000)])),
        run("accept_otp.lua", &logins::ACCEPT_OTP, &accept, &Value::Nil),
        run("try_otp.lua", &logins::TRY_OTP, &attempt, &one),
        run("take_guess.lua", &logins::TAKE_GUESS, &take_guess, &one),
        run("return_guess.lua", &logins::RETURN_GUESS, &return_guess, &Value::Nil),
        step("return_guess.lua", &["GET", &scratch.guesses()], Value::BulkString(b"0".to_vec())),
        step("SET NX PX", &["SET", &scratch.idempotency(), "known", "NX", "PX", "60000"], Value::Okay),
        run("replace.lua", &idempotency::REPLACE, &replace, &one),
        step("replace.lua", &["GET", &scratch.idempotency()], Value::BulkString(b"new".to_vec())),
        run("keep.lua", &idempotency::KEEP, &keep, &Value::Int(-1)),
        step("keep.lua", &["GET", &scratch.kept_bytes()], Value::BulkString(b"100:7".to_vec())),
        run("drop.lua", &idempotency::DROP, &drop, &one),
        step("drop.lua", &["EXISTS", &scratch.idempotency()], Value::Int(0)),
        run("claim_instance.lua", &instances::CLAIM, &claim, &one),
        step("HSET", &["HSET", &scratch.instances(), "ended", "ended 5"], one.clone()),
        run("retire_instance.lua", &instances::RETIRE, &retire, &one),
    ];
    if several_keys {
        steps.push(run("create_links.lua", &bulk::CREATE_MANY, &many, &Value::Array(vec![one])));
    }
    steps
}

/// The commands that are sent outside scripts, in the forms in which they are sent.
fn commands(scratch: &Scratch) -> Vec<Step> {
    let (hash, set, sorted, text) = (scratch.hash(), scratch.set(), scratch.sorted(), scratch.text());
    let text_of = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    vec![
        step("HSET", &["HSET", &hash, "a", "1", "b", "2"], Value::Int(2)),
        step("HSETNX", &["HSETNX", &hash, "a", "3"], Value::Int(0)),
        step("HMGET", &["HMGET", &hash, "a", "c"], Value::Array(vec![text_of("1"), Value::Nil])),
        step("HDEL", &["HDEL", &hash, "b"], Value::Int(1)),
        step("HGETALL", &["HGETALL", &hash], Value::Array(vec![text_of("a"), text_of("1")])),
        step("SADD", &["SADD", &set, "a"], Value::Int(1)),
        step("SMEMBERS", &["SMEMBERS", &set], Value::Array(vec![text_of("a")])),
        step("ZADD NX", &["ZADD", &sorted, "NX", "1", "a", "2", "b"], Value::Int(2)),
        step("ZADD GT", &["ZADD", &sorted, "GT", "1", "b"], Value::Int(0)),
        step("ZSCORE", &["ZSCORE", &sorted, "b"], text_of("2")),
        step("ZRANK", &["ZRANK", &sorted, "b"], Value::Int(1)),
        step(
            "ZRANGE BYSCORE REV",
            &["ZRANGE", &sorted, "+inf", "-inf", "BYSCORE", "REV", "LIMIT", "0", "1"],
            Value::Array(vec![text_of("b")]),
        ),
        step(
            "ZRANGE WITHSCORES",
            &["ZRANGE", &sorted, "0", "0", "WITHSCORES"],
            Value::Array(vec![text_of("a"), text_of("1")]),
        ),
        step("SET PX", &["SET", &text, "a", "PX", "60000"], Value::Okay),
        step("PEXPIRE", &["PEXPIRE", &text, "30000"], Value::Int(1)),
        Step { what: "PTTL", command: command(&["PTTL", &text]), expected: None },
        step("EXISTS", &["EXISTS", &text], Value::Int(1)),
    ]
}

fn step(what: &'static str, words: &[&str], expected: Value) -> Step {
    Step { what, command: command(words), expected: Some(expected) }
}

fn command(words: &[&str]) -> Cmd {
    cmd(words[0]).arg(&words[1..]).to_owned()
}

/// The engine will refuse this tomorrow too, unlike what a full disk or a failover brings about.
fn is_lasting(error: &RedisError) -> bool {
    matches!(error.code(), Some("ERR" | "NOPERM"))
}

/// The same for a connection that is opened for it: `ERR` may also be the number of clients.
fn is_lasting_for_subscriptions(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported || matches!(error.code(), Some("NOPERM" | "NOPROTO"))
}

fn reason(what: &str, why: &impl fmt::Display) -> String {
    let reason: String = why.to_string().chars().take(REASON_CHARS_MAX).collect();
    format!("{what}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(info: &str) -> Engine {
        Engine::of(|name| super::super::safety::field(info, name).to_owned())
    }

    #[test]
    fn engines_are_told_apart_by_their_own_versions() {
        for (info, said, too_old) in [
            ("redis_version:7.0.15\r\n", "Redis 7.0.15", false),
            ("redis_version:6.2.14\r\n", "Redis 6.2.14", true),
            ("redis_version:10.0.0\r\n", "Redis 10.0.0", false),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n", "Valkey 9.1.2", false),
            ("redis_version:7.4.0\r\ndragonfly_version:df-v1.27.1\r\n", "Dragonfly df-v1.27.1", false),
            ("redis_version:6.0.0\r\nserver_name:other\r\n", "other 6.0.0", false),
            ("", "Redis of unknown version", false),
        ] {
            let engine = engine(info);
            assert_eq!((engine.to_string().as_str(), engine.is_too_old()), (said, too_old));
        }
    }

    #[test]
    fn every_script_is_tried() {
        let steps = scripts(&Scratch::new("test", 0), true);
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/lua"));
        for file in folder.expect("the folder is in the repository") {
            let file = file.expect("it can be listed");
            if file.file_type().expect("it has a type").is_dir() {
                continue;
            }
            let name = file.file_name();
            assert!(steps.iter().any(|step| step.what == name), "{} isn't tried", name.display());
        }
    }

    #[test]
    fn all_scratch_keys_are_in_one_slot_and_deleted() {
        let scratch = Scratch::new("test", 0);
        let all = scratch.all();
        let steps = scripts(&scratch, true).into_iter().chain(commands(&scratch));
        for step in steps {
            let words: Vec<String> = step
                .command
                .args_iter()
                .filter_map(|word| match word {
                    redis::Arg::Simple(word) => Some(String::from_utf8_lossy(word).into_owned()),
                    _ => None,
                })
                .collect();
            let keys: Vec<&String> = words.iter().filter(|word| word.contains("{!")).collect();
            assert!(!keys.is_empty() && keys.iter().all(|key| all.contains(key)), "{}: {keys:?}", step.what);
        }
    }
}
