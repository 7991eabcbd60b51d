//! What most would write: GET the target and INCR the counter for each visit, over a pool of connections.

use actix_web::{
    App, HttpResponse, HttpServer,
    http::header,
    web::{self, Data, Path},
};
use deadpool::managed::{Manager, Metrics, Pool, RecycleError, RecycleResult};
use redis::{AsyncCommands as _, RedisError, aio::MultiplexedConnection};

struct Connections(redis::Client);

impl Manager for Connections {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        self.0.get_multiplexed_async_connection().await
    }

    async fn recycle(&self, connection: &mut MultiplexedConnection, _: &Metrics) -> RecycleResult<RedisError> {
        redis::cmd("PING").exec_async(connection).await.map_err(RecycleError::Backend)
    }
}

pub async fn serve(port: u16, redis: &str) {
    let connections = Connections(redis::Client::open(redis).expect("an address"));
    let pool: Pool<Connections> = Pool::builder(connections).max_size(32).build().expect("a pool");
    let server =
        HttpServer::new(move || App::new().app_data(Data::new(pool.clone())).route("/{code}", web::get().to(redirect)));
    server.workers(1).bind(("127.0.0.1", port)).expect("a free port").run().await.expect("it runs");
}

async fn redirect(code: Path<String>, pool: Data<Pool<Connections>>) -> HttpResponse {
    let mut redis = pool.get().await.expect("a connection");
    let target: Option<String> = redis.get(format!("target:{code}")).await.expect("an answer");
    let Some(target) = target else { return HttpResponse::NotFound().finish() };
    let _: u64 = redis.incr(format!("clicks:{code}"), 1).await.expect("an answer");
    HttpResponse::Found().insert_header((header::LOCATION, target)).finish()
}

/// Gives it `links` links.
pub async fn fill(redis: &str, links: usize) {
    let client = redis::Client::open(redis).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    for first in (0..links).step_by(10_000) {
        let mut sets = redis::pipe();
        for number in first..links.min(first + 10_000) {
            sets.set(format!("target:{}", super::visits::code(number)), super::bare::TARGET).ignore();
        }
        sets.exec_async(&mut connection).await.expect("set");
    }
}
