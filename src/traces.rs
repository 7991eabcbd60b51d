//! Traces for OpenTelemetry: a span of each request to the APIs and the console, and within it one of each exchange with Redis.
//!
//! Off unless `traces.otlp_url` is set; then nothing of this is made. A span says what kind of request it was, how it went and where the time
//! went, in the words of OpenTelemetry's semantic conventions. It never says whose it was nor what about: no path, query, address, key or
//! code, and nothing of a caller's but the ids of its trace and of the request. Visits have no spans (docs/adr/0010): no code here is on their way.
//!
//! A request's span is the OpenTelemetry *context* of its task, for as long as that is polled: so the store can hang a span under it
//! without knowing of requests. [`export`] brings finished spans to the collector.

mod export;

use std::{future::Future, sync::Arc};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    context::FutureExt as _,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};

use crate::{
    config::Config,
    metrics::{Metrics, Operation},
};

pub use export::{Exporter, Exporting, TracesSettingsError};

/// The version of the conventions that names and values below follow.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.42.0";

const TRACEPARENT: &str = "traceparent";

/// Makes spans.
pub struct Traces {
    tracer: SdkTracer,
    /// What all requests have in common.
    place: Vec<KeyValue>,
}

impl Traces {
    /// Prepares what the settings say, with the part that speaks to the collector; connects to nothing. `None`: no traces are wanted.
    ///
    /// # Errors
    ///
    /// When a file that the settings name can't be used.
    pub fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<(Self, Exporter)>, TracesSettingsError> {
        let settings = &config.traces;
        let resource = resource();
        let Some((queue, exporter)) = export::prepare(settings, &resource, metrics)? else { return Ok(None) };
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sampled_share))))
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        let scope = InstrumentationScope::builder("merlink")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(CONVENTIONS)
            .build();
        let base_url = &config.public.base_url;
        let mut place = vec![
            KeyValue::new("url.scheme", if base_url.is_https() { "https" } else { "http" }),
            KeyValue::new("server.address", base_url.host().trim_matches(['[', ']']).to_owned()),
        ];
        place.extend(base_url.port().map(|port| KeyValue::new("server.port", i64::from(port))));
        Ok(Some((Self { tracer: provider.tracer_with_scope(scope), place }, exporter)))
    }

    /// Begins the span of a request; `None` when that isn't among the sampled. `method` is a known one or `OTHER`,
    /// `route` a pattern.
    pub fn begin(
        &self,
        traceparent: Option<&str>,
        method: &'static str,
        route: &str,
        request_id: &str,
    ) -> Option<RequestSpan> {
        let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &Caller(traceparent));
        let mut span =
            self.tracer.span_builder("").with_kind(SpanKind::Server).start_with_context(&self.tracer, &caller);
        if !span.is_recording() {
            return None;
        }
        let (name, method) = if method == "OTHER" { ("HTTP", "_OTHER") } else { (method, method) };
        span.update_name(format!("{name} {route}"));
        span.set_attributes(self.place.iter().cloned().chain([
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("request.id", request_id.to_owned()),
        ]));
        Some(RequestSpan(Context::new().with_span(span).with_value(self.tracer.clone())))
    }
}

/// All that is read of a caller's headers: its `tracestate` may hold anything.
struct Caller<'h>(Option<&'h str>);

impl Extractor for Caller<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.filter(|_| name == TRACEPARENT)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// A request that is being answered. Its span ends with it, also when its client goes away.
pub struct RequestSpan(Context);

impl RequestSpan {
    pub fn trace_id(&self) -> String {
        self.0.span().span_context().trace_id().to_string()
    }

    /// Does the work of the request; exchanges with Redis meanwhile become spans under this one.
    pub async fn around<T>(&self, work: impl Future<Output = T>) -> T {
        work.with_context(self.0.clone()).await
    }

    pub fn end(self, status: u16) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        // What a caller did wrong is no error of ours.
        if status >= 500 {
            span.set_attribute(KeyValue::new("error.type", status.to_string()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// An exchange with Redis within a request.
pub struct ExchangeSpan(Span);

/// Begins the span of an exchange; `None` when there is no request that it is for, or that isn't traced.
pub fn exchange(operation: Operation) -> Option<ExchangeSpan> {
    Context::map_current(|context| {
        let tracer = context.get::<SdkTracer>()?;
        let operation = operation.label();
        let attributes = [KeyValue::new("db.system.name", "redis"), KeyValue::new("db.operation.name", operation)];
        let builder = tracer.span_builder(operation).with_kind(SpanKind::Client).with_attributes(attributes);
        Some(ExchangeSpan(builder.start_with_context(tracer, context)))
    })
}

impl ExchangeSpan {
    /// `error` is a word for its kind.
    pub fn end(mut self, error: Option<&'static str>) {
        if let Some(kind) = error {
            self.0.set_attribute(KeyValue::new("error.type", kind));
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

/// Who sends the spans. Of nodes on several machines it tells which.
fn resource() -> Resource {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Resource::builder_empty()
        .with_service_name("merlink")
        .with_schema_url(
            [KeyValue::new("service.version", env!("CARGO_PKG_VERSION")), KeyValue::new("host.name", host)],
            CONVENTIONS,
        )
        .build()
}
