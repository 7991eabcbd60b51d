//! The operator port: metrics and health. Listens on its own address, so that a public proxy can't reach it by mistake.

use std::io::Write as _;

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse,
    http::{StatusCode, header},
    middleware::from_fn,
    web::{self, Data, ServiceConfig},
};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde::Serialize;

use crate::{data_dir, head::without_body, state::App};

pub fn routes(config: &mut ServiceConfig) {
    shown(config, "/metrics", metrics);
    shown(config, "/healthz", healthz);
    shown(config, "/readyz", readyz);
}

/// Probes ask with GET or HEAD; the others are told so.
fn shown<A: FromRequest + 'static>(
    config: &mut ServiceConfig,
    path: &str,
    get: impl Handler<A, Output = HttpResponse> + Copy,
) {
    let others = || async { HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).finish() };
    let resource = web::resource(path).get(get).head(get).default_service(web::to(others));
    config.service(resource.wrap(from_fn(without_body)));
}

/// Compressed for who takes that: a tenth of 60 kB with each scrape.
async fn metrics(app: Data<App>, request: HttpRequest) -> HttpResponse {
    app.clicks.observe(Timestamp::now());
    app.cache.observe();
    observe_bounds(&app);
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"));
    response.insert_header((header::VARY, "Accept-Encoding"));
    let rendered = app.metrics.render();
    if !takes_gzip(&request) {
        return response.body(rendered);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(rendered.as_ref()).and_then(|()| encoder.finish());
    response.insert_header((header::CONTENT_ENCODING, "gzip")).body(written.expect("writing to memory doesn't fail"))
}

/// True for `gzip` among the accepted encodings, unless its weight is 0.
fn takes_gzip(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|encoding| {
        let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
    })
}

/// What memory and disk may be filled with. A disk that can't be asked keeps its last numbers: a failing one is the journal's to report.
fn observe_bounds(app: &App) {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    app.metrics.cache_bytes_max.set(bytes(app.config.redirect.cache_bytes_max));
    let connections_max = app.config.public.connections_max;
    app.metrics.public_connections_max.set(i64::try_from(connections_max).unwrap_or(i64::MAX));
    app.metrics.click_journal_bytes_max.set(bytes(app.config.clicks.journal_bytes_max));
    if let Ok(disk) = data_dir::disk(&app.config.data_dir) {
        app.metrics.data_dir_free_bytes.set(bytes(disk.free_bytes));
        app.metrics.data_dir_size_bytes.set(bytes(disk.size_bytes));
    }
}

/// The process is alive. Touches nothing.
async fn healthz() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8")).body("ok\n")
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    dependencies: Dependencies,
}

#[derive(Serialize)]
struct Dependencies {
    redis: Dependency,
    click_journal: Dependency,
}

#[derive(Serialize)]
struct Dependency {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Whether this instance should be sent visitors: 503 while Redis is away, clicks are being lost, or it is about to end.
///
/// An instance that isn't ready still redirects what it has in memory; if none is ready, send visitors all the same.
async fn readyz(app: Data<App>) -> HttpResponse {
    let redis = if !app.cache.is_trusted() && app.store.is_loading() {
        Dependency::failed("Redis reads its data; links in memory redirect meanwhile".to_owned())
    } else if !app.cache.is_trusted() {
        Dependency::failed("Redis doesn't answer; links in memory go on redirecting".to_owned())
    } else if app.is_redis_refused() {
        Dependency::failed("Redis may lose links, or lacks what Merlink needs: run merlink check".to_owned())
    } else {
        Dependency::ok()
    };
    let click_journal = if app.clicks.is_losing() {
        Dependency::failed(
            "clicks are being lost: the disk is full or clicks.journal_bytes_max is reached; redirects go on"
                .to_owned(),
        )
    } else {
        Dependency::ok()
    };
    let ready = redis.is_ok() && click_journal.is_ok() && !app.is_stopping();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = match (ready, app.is_stopping()) {
        (true, _) => "ready",
        (false, true) => "stopping",
        (false, false) => "not ready",
    };
    let body = Readiness { status: word, dependencies: Dependencies { redis, click_journal } };
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

impl Dependency {
    fn ok() -> Self {
        Self { status: "ok", detail: None }
    }

    fn failed(detail: String) -> Self {
        Self { status: "failed", detail: Some(detail) }
    }

    fn is_ok(&self) -> bool {
        self.detail.is_none()
    }
}
