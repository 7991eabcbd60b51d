//! An open way to Redis: to one server, or to a Cluster. What differs between the two is known here and to no caller.
//!
//! A Cluster's client can't pipeline over several slots, so [`Connection::many`] sends one pipeline to a server, and single commands, some
//! at a time, to a Cluster. That client also repeats a command whose answer was lost: whatever is sent must bear that.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{
    Arg, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, Script, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo},
    cmd, from_redis_value,
};

/// Commands of one caller under way in a Cluster at once: enough to hide the way there and back, few enough for others to get their turn.
const AT_ONCE: usize = 64;

/// Cheap to clone; all clones share what lies beneath.
#[derive(Clone)]
pub enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A server that takes writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Primary {
    /// The one that the connection leads to.
    Only,
    OfCluster {
        host: String,
        port: u16,
    },
}

/// A script of ours.
pub struct Lua {
    source: &'static str,
    script: Script,
}

impl Lua {
    pub fn new(source: &'static str) -> Self {
        Self { source, script: Script::new(source) }
    }

    /// A call with this key, by the script's hash; arguments are to be added.
    pub fn call(&self, key: String) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(1).arg(key);
        call
    }

    /// A call with keys of one server.
    pub fn call_with(&self, keys: &[String]) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(keys.len()).arg(keys);
        call
    }

    /// A call with these keys and arguments.
    pub fn call_for(&self, keys: &[String], arguments: &[&str]) -> Cmd {
        let mut call = self.call_with(keys);
        call.arg(arguments);
        call
    }

    /// Makes the script known under its hash.
    pub fn load(&self) -> Cmd {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(self.source);
        load
    }

    /// The same call for a server that doesn't know the hash: it brings the script along.
    pub fn call_in_full(&self, call: &Cmd) -> Cmd {
        let mut full = cmd("EVAL");
        full.arg(self.source);
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                full.arg(argument);
            }
        }
        full
    }
}

impl Connection {
    /// Sends commands that don't depend on each other; their answers come in the same order.
    pub async fn many<T: FromRedisValue>(&mut self, commands: Vec<Cmd>) -> Result<Vec<T>, RedisError> {
        let answers = self.answers(commands).await?;
        answers.into_iter().map(|answer| Ok(from_redis_value(answer.extract_error()?)?)).collect()
    }

    /// As [`Self::many`], and one that Redis refuses doesn't spoil the others.
    pub async fn each(&mut self, commands: Vec<Cmd>) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
        Ok(self.answers(commands).await?.into_iter().map(Value::extract_error).collect())
    }

    /// Sends commands whose keys are all in one slot; the answers, errors among them, come in the same order.
    pub async fn in_one_slot(&mut self, commands: Vec<Cmd>) -> Result<Vec<Value>, RedisError> {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for command in commands {
            pipeline.add_command(command);
        }
        self.req_packed_commands(&pipeline, 0, count).await
    }

    async fn answers(&mut self, commands: Vec<Cmd>) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::Node(_) if commands.is_empty() => Ok(Vec::new()),
            Self::Node(_) => self.in_one_slot(commands).await,
            Self::Cluster(cluster) => {
                let ask = |command: Cmd| {
                    let mut cluster = cluster.clone();
                    async move { cluster.req_packed_command(&command).await }
                };
                stream::iter(commands).map(ask).buffered(AT_ONCE).try_collect().await
            }
        }
    }

    /// Calls a script.
    pub async fn run<T: FromRedisValue>(&mut self, lua: &Lua, call: &Cmd) -> Result<T, RedisError> {
        match call.query_async(self).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                lua.call_in_full(call).query_async(self).await
            }
            result => result,
        }
    }

    /// Calls scripts whose keys are on one server, in this order and in one exchange; answers what
    /// each answered. Fails with the first that fails.
    pub async fn run_in_order(&mut self, calls: &[(&Lua, &Cmd)]) -> Result<Vec<Value>, RedisError> {
        let commands = calls.iter().map(|(_, call)| (*call).clone()).collect();
        let mut answers = Vec::with_capacity(calls.len());
        for answer in self.in_one_slot(commands).await? {
            match answer.extract_error() {
                // Redis has forgotten the script, so what came after it came too early.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    for (lua, call) in &calls[answers.len()..] {
                        answers.push(lua.call_in_full(call).query_async(self).await?);
                    }
                    return Ok(answers);
                }
                answer => answers.push(answer?),
            }
        }
        Ok(answers)
    }

    /// Calls a script often; the answers come in the order of the calls.
    pub async fn run_many<T: FromRedisValue>(&mut self, lua: &Lua, calls: Vec<Cmd>) -> Result<Vec<T>, RedisError> {
        match self {
            Self::Node(node) => {
                let mut all = Pipeline::with_capacity(calls.len() + 1);
                // Sent along each time: 20 bytes of hash a call and no second round trip when Redis has forgotten the script.
                all.add_command(lua.load()).ignore();
                for call in calls {
                    all.add_command(call);
                }
                all.query_async(node).await
            }
            Self::Cluster(_) => {
                let run = |call: Cmd| {
                    let mut connection = self.clone();
                    async move { connection.run(lua, &call).await }
                };
                stream::iter(calls).map(run).buffered(AT_ONCE).try_collect().await
            }
        }
    }

    /// Whether a script may write several keys, which stands in the append-only file as a transaction. Not in a Cluster, where keys are on several
    /// servers. Nor if Redis would start on a file that was cut off within one: it loses what it writes after that (`config/redis.conf`,
    /// `aof-load-truncated`). To be asked each time, since each time it may be another Redis.
    pub async fn takes_transactions(&mut self) -> bool {
        if matches!(self, Self::Cluster(_)) {
            return false;
        }
        // Forbidden by many managed services: then it isn't known.
        let setting = cmd("CONFIG").arg("GET").arg("aof-load-truncated").query_async::<Vec<String>>(self).await;
        setting.is_ok_and(|pair| pair.get(1).is_some_and(|loads| loads == "no"))
    }

    /// The servers that take writes.
    pub async fn primaries(&mut self) -> Result<Vec<Primary>, RedisError> {
        let Self::Cluster(cluster) = self else { return Ok(vec![Primary::Only]) };
        let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answers: Vec<(String, Value)> = from_redis_value(cluster.route_command(cmd("PING"), all).await?)?;
        let parse = |address: &str| {
            let (host, port) = address.rsplit_once(':')?;
            Some(Primary::OfCluster { host: host.to_owned(), port: port.parse().ok()? })
        };
        Ok(answers.iter().filter_map(|(address, _)| parse(address)).collect())
    }

    /// Asks one of [`Self::primaries`] what concerns the server and no key.
    pub async fn ask_primary<T: FromRedisValue>(&mut self, primary: &Primary, command: Cmd) -> Result<T, RedisError> {
        match (self, primary) {
            (Self::Cluster(cluster), Primary::OfCluster { host, port }) => {
                let there = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                let answer = cluster.route_command(command, RoutingInfo::SingleNode(there)).await?;
                Ok(from_redis_value(answer.extract_error()?)?)
            }
            (connection, Primary::Only | Primary::OfCluster { .. }) => command.query_async(connection).await,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Node(node) => node.req_packed_command(command),
            Self::Cluster(cluster) => cluster.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Node(node) => node.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Node(node) => node.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}
