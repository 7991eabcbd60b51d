//! The way of finished spans to the collector: a bounded queue, a thread that sends what is in it, and an end in a bounded time.
//!
//! A request leaves its spans in the queue and never waits: what doesn't fit is dropped and counted. The thread sends them by OTLP over HTTP,
//! some hundreds at once; what a collector can't take just now it sends again, a few times. A collector that is slow or away costs spans and
//! a line in the log once a minute. Made of the SDK's parts and its protocol's messages; why not of its exporter, docs/adr/0010 says.

use std::{
    fmt, io, iter,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT},
    http::uri::Authority,
};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::Context;
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use prost::Message as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    config,
    metrics::{Metrics, SpanOutcome},
};

/// Spans that wait, at some 1 kB. A request has three to ten.
const QUEUE_MAX: usize = 2_048;
/// Spans that are sent at once.
const BATCH_MAX: usize = 512;
/// How long a span waits for others to be sent with.
const GATHERING: Duration = Duration::from_secs(1);
/// For connecting, sending, and the collector's answer: what OpenTelemetry's own exporters allow.
const EXPORT_TIME_MAX: Duration = Duration::from_secs(10);
/// Between tries. A collector that restarts is back by then.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// However long a collector asks to be left alone.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// For what is still to be sent when the service ends.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// An answer has a number and a sentence in it, at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("traces.tls_ca_file: {0} can't be read as certificates in PEM: {1}")]
pub struct TracesSettingsError(PathBuf, String);

/// Where spans go when they end.
pub struct Queue {
    spans: mpsc::Sender<SpanData>,
    metrics: Arc<Metrics>,
}

/// The part that speaks to the collector, before it has begun.
pub struct Exporter {
    queue: mpsc::Receiver<SpanData>,
    collector: Collector,
    metrics: Arc<Metrics>,
    warned_at: Option<Instant>,
}

/// The part that speaks to the collector, at work.
pub struct Exporting {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// Connects to nothing. `None`: there is no collector.
pub fn prepare(
    settings: &config::Traces,
    resource: &Resource,
    metrics: &Arc<Metrics>,
) -> Result<Option<(Queue, Exporter)>, TracesSettingsError> {
    let Some(collector) = Collector::new(settings, resource)? else { return Ok(None) };
    let (spans, queue) = mpsc::channel(QUEUE_MAX);
    let exporter = Exporter { queue, collector, metrics: Arc::clone(metrics), warned_at: None };
    Ok(Some((Queue { spans, metrics: Arc::clone(metrics) }, exporter)))
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.metrics.trace_spans(SpanOutcome::Dropped, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// Nothing: [`Exporting::finish`] is the end.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Exporter {
    /// Sends the collector no span at all, to see whether it would take one; answers where it is.
    ///
    /// # Errors
    ///
    /// Where it is, and why it doesn't.
    pub async fn try_out(&self) -> Result<String, String> {
        let place = self.collector.place();
        match self.collector.send(self.collector.message(Vec::new())).await {
            Ok(_) => Ok(place),
            Err(failure) => Err(format!("{place}: {}", failure.reason)),
        }
    }

    /// On a thread and a runtime of its own: names are looked up there, and may take the system longer than the service has when it ends.
    ///
    /// # Errors
    ///
    /// When there can't be another thread.
    pub fn start(self) -> io::Result<Exporting> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        thread::Builder::new().name("traces".to_owned()).spawn(move || {
            runtime.block_on(self.run(stopped));
            runtime.shutdown_background();
            let _ = done.send(());
        })?;
        Ok(Exporting { stop, ended })
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let batch = self.gather(&mut stopped).await;
            if batch.is_empty() {
                return;
            }
            self.export(batch).await;
        }
    }

    /// The next spans to be sent; none when there won't be any more.
    async fn gather(&mut self, stopped: &mut oneshot::Receiver<()>) -> Vec<SpanData> {
        let mut batch = Vec::new();
        if self.receive(&mut batch, stopped).await {
            let more = async { while batch.len() < BATCH_MAX && self.receive(&mut batch, stopped).await {} };
            let _ = timeout(GATHERING, more).await;
        }
        batch
    }

    /// Waits for spans; whether there were any. When the service ends, what is in the queue is the last.
    async fn receive(&mut self, batch: &mut Vec<SpanData>, stopped: &mut oneshot::Receiver<()>) -> bool {
        let room = BATCH_MAX - batch.len();
        loop {
            tokio::select! {
                _ = &mut *stopped, if !self.queue.is_closed() => self.queue.close(),
                received = self.queue.recv_many(batch, room) => return received > 0,
            }
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        let body = self.collector.message(batch);
        let mut pauses = PAUSES.iter();
        let failed = loop {
            match self.collector.send(body.clone()).await {
                Ok(0) => break 0,
                Ok(refused) => {
                    self.warn(&format!("the collector refused {refused} of {spans}"));
                    break refused.min(spans);
                }
                Err(failure) => {
                    self.warn(&failure.reason);
                    let (Some(wait), Some(pause)) = (failure.again_in, pauses.next()) else { break spans };
                    sleep(wait.max(*pause)).await;
                }
            }
        };
        self.metrics.trace_spans(SpanOutcome::Failed, failed);
        self.metrics.trace_spans(SpanOutcome::Exported, spans - failed);
    }

    fn warn(&mut self, reason: &str) {
        if self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            self.warned_at = Some(Instant::now());
            tracing::warn!("traces can't be exported to {}: {reason}", self.collector.place());
        }
    }
}

impl Exporting {
    /// Sends what is still in the queue; when that takes too long, the thread is left to end with the process.
    pub async fn finish(self) {
        drop(self.stop);
        match timeout(FLUSH_TIME_MAX, self.ended).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the thread that exports traces panicked"),
            Err(_) => {
                let seconds = FLUSH_TIME_MAX.as_secs();
                tracing::warn!("the last traces are lost: the collector didn't take them within {seconds} s");
            }
        }
    }
}

/// Whom spans are sent to.
struct Collector {
    url: Uri,
    headers: HeaderMap,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    resource: ResourceAttributesWithSchema,
}

/// Why a collector didn't take what was sent.
struct Failure {
    reason: String,
    /// At the earliest. `None`: it would be refused again.
    again_in: Option<Duration>,
}

impl Collector {
    fn new(settings: &config::Traces, resource: &Resource) -> Result<Option<Self>, TracesSettingsError> {
        let Some(url) = settings.otlp_url.clone() else { return Ok(None) };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings.tls_ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .build();
        let mut headers = settings.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("merlink/", env!("CARGO_PKG_VERSION"))));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Some(Self { url, headers, client, resource: resource.into() }))
    }

    /// Without a query, in which some have a key.
    fn place(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        format!("{scheme}://{}{}", self.url.authority().map(Authority::as_str).unwrap_or_default(), self.url.path())
    }

    fn message(&self, spans: Vec<SpanData>) -> Bytes {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
    }

    /// Answers how many of the spans were refused.
    async fn send(&self, message: Bytes) -> Result<u64, Failure> {
        let mut request = Request::post(self.url.clone()).body(Full::new(message)).expect("all parts are well-formed");
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| Failure::passing(chain(&error)))?;
            read_answer(response).await
        };
        timeout(EXPORT_TIME_MAX, exchange)
            .await
            .unwrap_or_else(|_| Err(Failure::passing(format!("no answer within {} s", EXPORT_TIME_MAX.as_secs()))))
    }
}

/// As the protocol says: <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>.
async fn read_answer(response: Response<Incoming>) -> Result<u64, Failure> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let reason = || format!("the collector answered {}", head.status.as_u16());
    match head.status {
        status if status.is_success() => {
            // One that answers in other words took them all the same.
            let answer = body.ok().and_then(|body| ExportTraceServiceResponse::decode(body.to_bytes()).ok());
            let partly = answer.and_then(|answer| answer.partial_success);
            Ok(partly.map_or(0, |partly| u64::try_from(partly.rejected_spans).unwrap_or(0)))
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let asked = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let again_in = Some(asked.map_or(Duration::ZERO, Duration::from_secs).min(PAUSE_MAX));
            Err(Failure { reason: reason(), again_in })
        }
        _ => Err(Failure { reason: reason(), again_in: None }),
    }
}

impl Failure {
    fn passing(reason: String) -> Self {
        Self { reason, again_in: Some(Duration::ZERO) }
    }
}

/// What went wrong, and because of what.
fn chain(error: &dyn std::error::Error) -> String {
    iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, TracesSettingsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions");
    let builder = match ca_file {
        None => builder.with_webpki_roots(),
        Some(path) => builder.with_root_certificates(authorities(path)?),
    };
    Ok(builder.with_no_client_auth())
}

fn authorities(path: &Path) -> Result<RootCertStore, TracesSettingsError> {
    let unusable = |reason: String| TracesSettingsError(path.to_owned(), reason);
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        store.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if store.is_empty() { Err(unusable("there is none in it".to_owned())) } else { Ok(store) }
}
