//! The primary that Sentinels name. They are asked whenever a connection is opened, and their word is checked: who is named must say of
//! itself that it is the primary.
//!
//! All Sentinels are asked at once. While a failover is under way they disagree for up to two seconds: whom most of them name is tried
//! first, then the others, so that a dead primary is left as soon as one Sentinel knows better.

use std::{fmt, time::Duration};

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, ProtocolVersion, RedisError, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd, from_redis_value,
};
use tokio::time::timeout;

use super::connect::{Trust, limits, speaking, trouble};
use crate::config::{Host, Hosts};

/// For one Sentinel's answer, connecting included. One that is cut off holds up the opening of a connection for so long.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(300);

pub struct Sentinels {
    /// With the credentials of the primary. A Sentinel gets them only if it asks for some.
    hosts: Hosts,
    service: String,
    trust: Trust,
}

/// A connection to the primary.
pub struct ToPrimary {
    pub host: Host,
    pub connection: MultiplexedConnection,
}

impl Sentinels {
    pub fn new(hosts: Hosts, service: String, trust: Trust) -> Result<Self, RedisError> {
        for host in hosts.iter() {
            trust.client(hosts.url(host))?;
        }
        Ok(Self { hosts, service, trust })
    }

    /// Finds the primary and opens a connection to it.
    pub async fn open(
        &self,
        protocol: ProtocolVersion,
        limits: &AsyncConnectionConfig,
    ) -> Result<ToPrimary, RedisError> {
        let mut failed = None;
        for host in self.named().await? {
            match self.open_if_primary(&host, protocol, limits).await {
                Ok(connection) => return Ok(ToPrimary { host, connection }),
                Err(error) => {
                    failed.get_or_insert_with(|| {
                        trouble(format!("{host}, which the Sentinels name as primary: {error}"))
                    });
                }
            }
        }
        Err(failed.unwrap_or_else(|| trouble(format!("{self} name no primary"))))
    }

    /// Whether another server than `host` is the primary by now. When nobody can be asked, nothing is known, and the answer is no.
    pub async fn is_superseded(&self, host: &Host) -> bool {
        match self.named().await {
            Ok(named) if named.first() != Some(host) => {
                // Most of the Sentinels may only not have heard yet of the failover that made `host` the primary.
                let found = self.open(ProtocolVersion::RESP2, &limits(ANSWER_TIME_MAX)).await;
                found.is_ok_and(|primary| primary.host != *host)
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Whom the Sentinels name, the one that most of them name first.
    async fn named(&self) -> Result<Vec<Host>, RedisError> {
        let answers = join_all(self.hosts.iter().map(|sentinel| self.ask(sentinel))).await;
        let mut named: Vec<(Host, usize)> = Vec::new();
        let mut failed = None;
        for answer in answers {
            match answer {
                Ok(host) => match named.iter_mut().find(|(other, _)| *other == host) {
                    Some((_, votes)) => *votes += 1,
                    None => named.push((host, 1)),
                },
                Err(error) => failed = Some(error),
            }
        }
        named.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        match failed {
            Some(error) if named.is_empty() => Err(error),
            _ => Ok(named.into_iter().map(|(host, _)| host).collect()),
        }
    }

    /// Whom one Sentinel names.
    async fn ask(&self, sentinel: &Host) -> Result<Host, RedisError> {
        let exchange = async {
            match self.ask_at(&self.hosts.url_without_credentials(sentinel)).await {
                Err(error) if error.code() == Some("NOAUTH") => self.ask_at(&self.hosts.url(sentinel)).await,
                result => result,
            }
        };
        let answer = match timeout(ANSWER_TIME_MAX, exchange).await {
            Ok(answer) => answer.map_err(|error| trouble(format!("the Sentinel at {sentinel}: {error}"))),
            Err(_) => Err(trouble(format!(
                "the Sentinel at {sentinel} didn't answer within {} ms",
                ANSWER_TIME_MAX.as_millis()
            ))),
        };
        answer?.ok_or_else(|| trouble(format!("the Sentinel at {sentinel} knows no service called {}", self.service)))
    }

    async fn ask_at(&self, url: &str) -> Result<Option<Host>, RedisError> {
        let mut connection =
            self.trust.client(url)?.get_multiplexed_async_connection_with_config(&limits(ANSWER_TIME_MAX)).await?;
        let named: Option<(String, u16)> =
            cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service).query_async(&mut connection).await?;
        Ok(named.map(|(name, port)| Host { name, port }))
    }

    async fn open_if_primary(
        &self,
        host: &Host,
        protocol: ProtocolVersion,
        limits: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let client = speaking(protocol, &self.trust.client(self.hosts.url(host))?)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(limits).await?;
        check_is_primary(&mut connection).await?;
        Ok(connection)
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the primary of {} by the Sentinels {}", self.service, self.hosts)
    }
}

/// Asks a server whether it is a primary, and whether it has read its files: until then it tells its role and nothing else.
pub async fn check_is_primary(server: &mut impl ConnectionLike) -> Result<(), RedisError> {
    let asked = redis::pipe().cmd("PING").ignore().cmd("ROLE").query_async::<(Vec<Value>,)>(server).await;
    let (role,) = asked?;
    let role: String = role.into_iter().next().map_or_else(|| Ok(String::new()), from_redis_value)?;
    if role == "master" { Ok(()) } else { Err(trouble(format!("it is no primary; its role is {role}"))) }
}
