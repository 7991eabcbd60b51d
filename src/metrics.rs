//! Every number an operator can watch, registered in one place, each labelled child looked up once.
//!
//! Asking a labelled metric for its child costs 0.6 µs, so the hot path holds the children themselves. Labels come from closed sets:
//! never a code, a raw path or an address. Rendering is the operator port's; what is measured, and when, is its owner's.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

use crate::{audit::Counters, domain::Source};

/// Seconds. From a cache hit (some 20 µs with the framework) to an outage's 250 ms and beyond.
const REDIRECT_BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.0,
];

/// Seconds. A command on a socket takes some 50 µs; the longest time-out is 5 s.
const REDIS_BUCKETS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Seconds. An API call is a few Redis round trips; a long list is the slow end.
const HTTP_BUCKETS: &[f64] = &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How a visit was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Redirect,
    Transition,
    NotFound,
    Gone,
    Unavailable,
    Limited,
}

impl Outcome {
    const ALL: [Self; 6] =
        [Self::Redirect, Self::Transition, Self::NotFound, Self::Gone, Self::Unavailable, Self::Limited];

    fn label(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Transition => "transition",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::Unavailable => "unavailable",
            Self::Limited => "limited",
        }
    }
}

/// What the link cache knew of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    Hit,
    Miss,
    /// Served although Redis couldn't be asked whether it still holds.
    Stale,
    /// The code was lately found not to exist.
    Negative,
}

impl CacheResult {
    const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Stale, Self::Negative];

    fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Negative => "negative",
        }
    }
}

/// Requests that have places in common (`admission.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Officers at their desks.
    Console,
    /// Their programs.
    Api,
    /// Batches and exports.
    Bulk,
}

impl Class {
    pub const ALL: [Self; 3] = [Self::Console, Self::Api, Self::Bulk];

    fn label(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Api => "api",
            Self::Bulk => "bulk",
        }
    }
}

/// Limits on the memory of bodies that are arriving (`admission/body_budget.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRefusal {
    Total,
    Strangers,
    Sender,
}

impl BodyRefusal {
    const ALL: [Self; 3] = [Self::Total, Self::Strangers, Self::Sender];

    fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Strangers => "strangers",
            Self::Sender => "sender",
        }
    }
}

/// Bodies that are still arriving.
pub struct BodyMetrics {
    pub bytes: IntGauge,
    refused: [IntCounter; BodyRefusal::ALL.len()],
}

impl BodyMetrics {
    fn new(register: &Register) -> Self {
        let refused = register.counters(
            "merlink_bodies_refused_total",
            "Bodies refused for lack of memory, by the limit: all bodies', all strangers' or one sender's.",
            "limit",
        );
        Self {
            bytes: register.gauge("merlink_body_bytes", "Memory taken by bodies that are still arriving."),
            refused: BodyRefusal::ALL.map(|limit| refused.with_label_values(&[limit.label()])),
        }
    }

    pub fn refused(&self, limit: BodyRefusal) {
        self.refused[limit as usize].inc();
    }
}

/// What merlink asks of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Resolve,
    Revalidate,
    LinkRead,
    LinkWrite,
    LinkList,
    ClickFlush,
    ClickPositions,
    ClickRead,
    KeyRead,
    KeyWrite,
    SessionRead,
    SessionWrite,
    UploadRead,
    UploadWrite,
    OtpWrite,
    Totals,
    Idempotency,
    Ping,
}

impl Operation {
    const ALL: [Self; 18] = [
        Self::Resolve,
        Self::Revalidate,
        Self::LinkRead,
        Self::LinkWrite,
        Self::LinkList,
        Self::ClickFlush,
        Self::ClickPositions,
        Self::ClickRead,
        Self::KeyRead,
        Self::KeyWrite,
        Self::SessionRead,
        Self::SessionWrite,
        Self::UploadRead,
        Self::UploadWrite,
        Self::OtpWrite,
        Self::Totals,
        Self::Idempotency,
        Self::Ping,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Revalidate => "revalidate",
            Self::LinkRead => "link_read",
            Self::LinkWrite => "link_write",
            Self::LinkList => "link_list",
            Self::ClickFlush => "click_flush",
            Self::ClickPositions => "click_positions",
            Self::ClickRead => "click_read",
            Self::KeyRead => "key_read",
            Self::KeyWrite => "key_write",
            Self::SessionRead => "session_read",
            Self::SessionWrite => "session_write",
            Self::UploadRead => "upload_read",
            Self::UploadWrite => "upload_write",
            Self::OtpWrite => "otp_write",
            Self::Totals => "totals",
            Self::Idempotency => "idempotency",
            Self::Ping => "ping",
        }
    }
}

/// Why a caller was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    MissingHeader,
    MalformedHeader,
    InvalidKey,
    NotAdmin,
    MissingScope,
    /// A browser's session that has ended, or never was.
    NoSession,
    /// A form from a page of another site.
    ForeignOrigin,
    /// A form without the token that the page had.
    FormToken,
    WrongOtp,
    /// No one-time password is mailed to such an address.
    NotAnOfficer,
    /// An officer whom `merlink officer suspend` keeps out.
    Suspended,
    /// Too many logins from one address.
    ManyLogins,
    /// Too many one-time passwords for one mailbox.
    ManyOtps,
    /// A one-time password wasn't looked at, since the hour's wrong guesses are spent.
    GuessesSpent,
    /// A login link opened in another browser, too late, or twice.
    WrongLink,
}

impl AuthFailure {
    const ALL: [Self; 15] = [
        Self::MissingHeader,
        Self::MalformedHeader,
        Self::InvalidKey,
        Self::NotAdmin,
        Self::MissingScope,
        Self::NoSession,
        Self::ForeignOrigin,
        Self::FormToken,
        Self::WrongOtp,
        Self::NotAnOfficer,
        Self::Suspended,
        Self::ManyLogins,
        Self::ManyOtps,
        Self::GuessesSpent,
        Self::WrongLink,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_header",
            Self::MalformedHeader => "malformed_header",
            Self::InvalidKey => "invalid_key",
            Self::NotAdmin => "not_admin",
            Self::MissingScope => "missing_scope",
            Self::NoSession => "no_session",
            Self::ForeignOrigin => "foreign_origin",
            Self::FormToken => "form_token",
            Self::WrongOtp => "wrong_otp",
            Self::NotAnOfficer => "not_an_officer",
            Self::Suspended => "suspended",
            Self::ManyLogins => "many_logins",
            Self::ManyOtps => "many_otps",
            Self::GuessesSpent => "guesses_spent",
            Self::WrongLink => "wrong_link",
        }
    }
}

/// A part that was left out of an answer because its head would have been too long (`head_size.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortened {
    /// The query that a link forwards.
    Query,
    /// The cookie for a visit's path as it was written.
    Cookie,
    /// The page that login returns to.
    Next,
    /// The `Link` header with a list's next page.
    Link,
    /// The backstop replaced the whole answer.
    Whole,
}

impl Shortened {
    const ALL: [Self; 5] = [Self::Query, Self::Cookie, Self::Next, Self::Link, Self::Whole];

    fn label(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Cookie => "cookie",
            Self::Next => "next",
            Self::Link => "link",
            Self::Whole => "whole",
        }
    }
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailOutcome {
    Sent,
    /// The mail server refused the mailbox. Anybody can bring that about, with an invented address.
    Refused,
    /// The mail server can't be reached, or refused the mail for another reason.
    Failed,
    /// The queue was full: a mail server that is slow or away.
    Dropped,
}

impl MailOutcome {
    const ALL: [Self; 4] = [Self::Sent, Self::Refused, Self::Failed, Self::Dropped];

    fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// What became of a span (`traces.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanOutcome {
    Exported,
    /// The collector refused it, or couldn't be reached for long enough.
    Failed,
    /// The queue was full: a collector that is slow or away.
    Dropped,
}

impl SpanOutcome {
    const ALL: [Self; 3] = [Self::Exported, Self::Failed, Self::Dropped];

    fn label(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Why a connection of the public port was closed by us before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedConnection {
    /// Refused: its address has as many as it may.
    AddressLimit,
    /// After an answer: its address has more than half of what it may.
    AddressShare,
    /// Idle, and few places were left.
    Evicted,
    /// After the answer to a request with a long head, whose buffer isn't kept.
    LongRequest,
    /// A request's head took too long.
    SlowHead,
    /// The peer didn't read its answers.
    SlowReader,
}

impl ClosedConnection {
    const ALL: [Self; 6] =
        [Self::AddressLimit, Self::AddressShare, Self::Evicted, Self::LongRequest, Self::SlowHead, Self::SlowReader];

    fn label(self) -> &'static str {
        match self {
            Self::AddressLimit => "address_limit",
            Self::AddressShare => "address_share",
            Self::Evicted => "evicted",
            Self::LongRequest => "long_request",
            Self::SlowHead => "slow_head",
            Self::SlowReader => "slow_reader",
        }
    }
}

/// What became of the clicks so far, counted as it happens.
pub struct ClickCounts {
    /// Answered since the start, bots and prefetches too, and what an earlier run left unflushed.
    pub recorded: IntCounter,
    pub flushed: IntCounter,
    pub lost: IntCounter,
}

/// The same as of one moment: shown numbers move only between two renderings, so that `recorded = flushed + pending + lost` holds in each.
struct ShownClicks {
    recorded: IntCounter,
    flushed: IntCounter,
    lost: IntCounter,
    pending: IntGauge,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    redirects: [(IntCounter, Histogram); Outcome::ALL.len()],
    cache_lookups: [IntCounter; CacheResult::ALL.len()],
    pub cache_entries: IntGauge,
    pub cache_bytes: IntGauge,
    pub cache_bytes_max: IntGauge,
    pub clicks: ClickCounts,
    shown_clicks: Mutex<ShownClicks>,
    /// Applied a second time because Redis had gone back in time; in neither recorded nor flushed.
    pub clicks_reapplied: IntCounter,
    pub clicks_oldest_pending_seconds: IntGauge,
    pub click_flush_duration: Histogram,
    pub click_journal_bytes: IntGauge,
    pub click_journal_bytes_max: IntGauge,
    pub data_dir_free_bytes: IntGauge,
    pub data_dir_size_bytes: IntGauge,
    pub clock_offset_seconds: Gauge,
    pub redis_up: IntGauge,
    pub links_damaged: IntGauge,
    pub redis_unsafe: IntGauge,
    pub redis_memory_bytes: IntGauge,
    pub redis_memory_bytes_max: IntGauge,
    pub redis_file: RedisFileMetrics,
    audit_failures: IntCounter,
    audit_withheld: IntCounter,
    pub public_connections: IntGauge,
    pub public_connections_max: IntGauge,
    public_connections_closed: [IntCounter; ClosedConnection::ALL.len()],
    redis_commands: [Histogram; Operation::ALL.len()],
    /// Places taken, places there are, and requests turned away.
    admission: [(IntGauge, IntGauge, IntCounter); Class::ALL.len()],
    pub bodies: BodyMetrics,
    http_requests: IntCounterVec,
    http_durations: HistogramVec,
    links_created: [IntCounter; Source::ALL.len()],
    index_entries_settled: [IntCounter; 2],
    auth_failures: [IntCounter; AuthFailure::ALL.len()],
    heads_shortened: [IntCounter; Shortened::ALL.len()],
    mails: [IntCounter; MailOutcome::ALL.len()],
    trace_spans: [IntCounter; SpanOutcome::ALL.len()],
}

/// Redis' report on the files that it keeps its data in; of several primaries the sum of bytes,
/// and the worst of the others.
pub struct RedisFileMetrics {
    pub bytes: IntGauge,
    pub loading_seconds: Gauge,
    pub is_rewriting: IntGauge,
    pub fork_seconds: Gauge,
    pub has_failed: IntGauge,
}

impl RedisFileMetrics {
    fn new(register: &Register) -> Self {
        Self {
            bytes: register
                .gauge("merlink_redis_file_bytes", "Size of Redis' append-only file, which it reads when it starts."),
            loading_seconds: register.seconds(
                "merlink_redis_loading_seconds",
                "Time that Redis would take to read its file, at 40 MB a second.",
            ),
            is_rewriting: register
                .gauge("merlink_redis_file_rewriting", "1 while Redis writes its file anew, or saves a snapshot."),
            fork_seconds: register.seconds(
                "merlink_redis_fork_seconds",
                "How long Redis stood still when it last began to write its file anew, or a snapshot.",
            ),
            has_failed: register.gauge(
                "merlink_redis_file_failed",
                "1 if the last rewrite of Redis' file, the last snapshot or the last write to the file failed.",
            ),
        }
    }
}

/// Of each class: places taken, places there are, and requests turned away.
fn admission(register: &Register) -> [(IntGauge, IntGauge, IntCounter); Class::ALL.len()] {
    let in_flight = register.gauges("merlink_requests_in_flight", "Requests of officers being worked on.", "class");
    let in_flight_max = register.gauges("merlink_requests_in_flight_max", "overload.*_at_once.", "class");
    let shed = register.counters(
        "merlink_requests_shed_total",
        "Requests of officers turned away because there was too much to do.",
        "class",
    );
    Class::ALL.map(|class| {
        let label = &[class.label()];
        (in_flight.with_label_values(label), in_flight_max.with_label_values(label), shed.with_label_values(label))
    })
}

fn shortened_heads(register: &Register) -> [IntCounter; Shortened::ALL.len()] {
    let shortened = register.counters(
        "merlink_answer_heads_shortened_total",
        "Parts left out of an answer because its head would have been longer than 3,500 bytes.",
        "part",
    );
    Shortened::ALL.map(|part| shortened.with_label_values(&[part.label()]))
}

fn index_entries(register: &Register) -> [IntCounter; 2] {
    let settled = register.counters(
        "merlink_index_entries_settled_total",
        "Entries of officers' lists that the check in the background found missing, or wrong, and mended.",
        "was",
    );
    ["missing", "wrong"].map(|was| settled.with_label_values(&[was]))
}

fn closed_connections(register: &Register) -> [IntCounter; ClosedConnection::ALL.len()] {
    let closed = register.counters(
        "merlink_public_connections_closed_total",
        "Connections of the public port that were refused or closed early to protect the others, by reason.",
        "reason",
    );
    ClosedConnection::ALL.map(|reason| closed.with_label_values(&[reason.label()]))
}

impl Metrics {
    pub fn new() -> Arc<Self> {
        let register = Register(Registry::new());
        let redirects =
            register.counters("merlink_redirects_total", "Visits of codes, by how they were answered.", "outcome");
        let redirect_durations = register.histograms(
            "merlink_redirect_duration_seconds",
            "Time from a visit's arrival in the handler to its answer.",
            &["outcome"],
            REDIRECT_BUCKETS,
        );
        let cache_lookups =
            register.counters("merlink_link_cache_lookups_total", "Link cache lookups, by what was known.", "result");
        let redis_commands = register.histograms(
            "merlink_redis_command_duration_seconds",
            "Time of one exchange with Redis, failures and time-outs included.",
            &["operation"],
            REDIS_BUCKETS,
        );
        let links_created =
            register.counters("merlink_links_created_total", "Links created, by way of creation.", "source");
        let auth_failures = register.counters("merlink_auth_failures_total", "Refused callers, by reason.", "kind");
        let mails = register.counters("merlink_mails_total", "Mails with one-time passwords, by outcome.", "outcome");
        let trace_spans =
            register.counters("merlink_trace_spans_total", "Spans for the collector of traces, by outcome.", "outcome");
        register.build_info();
        register.process();
        Arc::new(Self {
            redirects: Outcome::ALL.map(|outcome| {
                let label = &[outcome.label()];
                (redirects.with_label_values(label), redirect_durations.with_label_values(label))
            }),
            cache_lookups: CacheResult::ALL.map(|result| cache_lookups.with_label_values(&[result.label()])),
            cache_entries: register.gauge("merlink_link_cache_entries", "Links in memory."),
            cache_bytes: register
                .gauge("merlink_link_cache_bytes", "Memory that the links in memory are reckoned to take."),
            cache_bytes_max: register.gauge("merlink_link_cache_bytes_max", "redirect.cache_bytes_max."),
            clicks: ClickCounts::default(),
            shown_clicks: Mutex::new(ShownClicks::new(&register)),
            clicks_reapplied: register
                .counter("merlink_clicks_reapplied_total", "Clicks applied again because Redis had gone back in time."),
            clicks_oldest_pending_seconds: register.gauge(
                "merlink_clicks_oldest_pending_seconds",
                "Age of the oldest pending click; 0 when there is none.",
            ),
            click_flush_duration: register.histogram(
                "merlink_click_flush_duration_seconds",
                "Time to bring one batch of clicks to Redis.",
                REDIS_BUCKETS,
            ),
            click_journal_bytes: register.gauge("merlink_click_journal_bytes", "Disk that the click journal takes."),
            click_journal_bytes_max: register.gauge("merlink_click_journal_bytes_max", "clicks.journal_bytes_max."),
            data_dir_free_bytes: register
                .gauge("merlink_data_dir_free_bytes", "Room left on the disk of data_dir for this user."),
            data_dir_size_bytes: register.gauge("merlink_data_dir_size_bytes", "Size of the disk of data_dir."),
            clock_offset_seconds: register
                .seconds("merlink_clock_offset_seconds", "How far this node's clock is ahead of Redis' one."),
            redis_up: register.gauge("merlink_redis_up", "1 while Redis answers, 0 while it doesn't."),
            links_damaged: register.gauge(
                "merlink_links_damaged",
                "Links that can't be read, by the last check of all of them; 0 on nodes that don't check.",
            ),
            redis_unsafe: register
                .gauge("merlink_redis_unsafe", "1 while Redis may lose links, or lacks what Merlink needs."),
            redis_memory_bytes: register
                .gauge("merlink_redis_memory_bytes", "Memory that Redis uses, as it said within the last minute."),
            redis_file: RedisFileMetrics::new(&register),
            redis_memory_bytes_max: register.gauge(
                "merlink_redis_memory_bytes_max",
                "Memory that Redis may use: maxmemory, or what its machine has.",
            ),
            public_connections: register.gauge("merlink_public_connections", "Open connections of the public port."),
            public_connections_max: register.gauge("merlink_public_connections_max", "public.connections_max."),
            public_connections_closed: closed_connections(&register),
            audit_failures: register
                .counter("merlink_audit_failures_total", "Entries that could not be written to the audit file."),
            audit_withheld: register.counter(
                "merlink_audit_withheld_total",
                "Failed logins not written to the audit file because its disk had less than audit.disk_reserve free.",
            ),
            redis_commands: Operation::ALL.map(|operation| redis_commands.with_label_values(&[operation.label()])),
            admission: admission(&register),
            bodies: BodyMetrics::new(&register),
            http_requests: register.counter_vec(
                "merlink_http_requests_total",
                "Requests of the APIs and the console.",
                &["api", "route", "method", "status"],
            ),
            http_durations: register.histograms(
                "merlink_http_request_duration_seconds",
                "Time to answer a request of the APIs or the console.",
                &["api", "route", "method", "status"],
                HTTP_BUCKETS,
            ),
            index_entries_settled: index_entries(&register),
            links_created: Source::ALL.map(|source| links_created.with_label_values(&[source.as_str()])),
            auth_failures: AuthFailure::ALL.map(|kind| auth_failures.with_label_values(&[kind.label()])),
            heads_shortened: shortened_heads(&register),
            mails: MailOutcome::ALL.map(|outcome| mails.with_label_values(&[outcome.label()])),
            trace_spans: SpanOutcome::ALL.map(|outcome| trace_spans.with_label_values(&[outcome.label()])),
            registry: register.0,
        })
    }

    pub fn redirect(&self, outcome: Outcome, duration: Duration) {
        let (count, histogram) = &self.redirects[outcome as usize];
        count.inc();
        histogram.observe(duration.as_secs_f64());
    }

    pub fn cache_lookup(&self, result: CacheResult) {
        self.cache_lookups[result as usize].inc();
    }

    pub fn redis_command(&self, operation: Operation, duration: Duration) {
        self.redis_commands[operation as usize].observe(duration.as_secs_f64());
    }

    /// Of a class: places taken, places there are, requests turned away.
    pub fn admission(&self, class: Class) -> (IntGauge, IntGauge, IntCounter) {
        self.admission[class as usize].clone()
    }

    pub fn audit_counters(&self) -> Counters {
        Counters { failed: self.audit_failures.clone(), withheld: self.audit_withheld.clone() }
    }

    /// `route` is the pattern that matched and `method` one of the methods served, so that a caller can't make labels.
    pub fn http_request(&self, api: &str, route: &str, method: &str, status: u16, duration: Duration) {
        let status = status.to_string();
        let labels = [api, route, method, &status];
        self.http_requests.with_label_values(&labels).inc();
        self.http_durations.with_label_values(&labels).observe(duration.as_secs_f64());
    }

    pub fn link_created(&self, source: Source) {
        self.links_created[source as usize].inc();
    }

    pub fn auth_failure(&self, kind: AuthFailure) {
        self.auth_failures[kind as usize].inc();
    }

    pub fn head_shortened(&self, part: Shortened) {
        self.heads_shortened[part as usize].inc();
    }

    pub fn closed_connection(&self, reason: ClosedConnection) {
        self.public_connections_closed[reason as usize].inc();
    }

    /// Counts entries that had been missing from an index, or had been in it wrongly.
    pub fn index_entries_settled(&self, missing: u64, wrong: u64) {
        self.index_entries_settled[0].inc_by(missing);
        self.index_entries_settled[1].inc_by(wrong);
    }

    pub fn mail(&self, outcome: MailOutcome) {
        self.mails[outcome as usize].inc();
    }

    pub fn trace_spans(&self, outcome: SpanOutcome, spans: u64) {
        self.trace_spans[outcome as usize].inc_by(spans);
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let shown = self.shown_clicks.lock().unwrap_or_else(PoisonError::into_inner);
        shown.catch_up(&self.clicks);
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("every family has a name and a type, and writing to memory can't fail");
        text
    }
}

impl Default for ClickCounts {
    fn default() -> Self {
        let count = || IntCounter::new("clicks", "not shown itself").expect("a well-formed constant");
        Self { recorded: count(), flushed: count(), lost: count() }
    }
}

impl ClickCounts {
    /// Recorded, and neither flushed nor lost. Read in this order, what comes meanwhile is pending, and the number never negative.
    pub fn pending(&self) -> u64 {
        let settled = self.flushed.get() + self.lost.get();
        self.recorded.get().saturating_sub(settled)
    }
}

impl ShownClicks {
    fn new(register: &Register) -> Self {
        Self {
            recorded: register.counter(
                "merlink_clicks_recorded_total",
                "Clicks answered, bots and prefetches too, and those that an earlier run left in the journal.",
            ),
            flushed: register.counter("merlink_clicks_flushed_total", "Clicks that Redis acknowledged."),
            lost: register.counter("merlink_clicks_lost_total", "Clicks that could not be kept: no room for the journal, or its files or their counters in Redis were damaged."),
            pending: register.gauge("merlink_clicks_pending", "Clicks in the journal that Redis doesn't have yet."),
        }
    }

    fn catch_up(&self, counts: &ClickCounts) {
        let (flushed, lost) = (counts.flushed.get(), counts.lost.get());
        let recorded = counts.recorded.get();
        for (shown, now) in [(&self.recorded, recorded), (&self.flushed, flushed), (&self.lost, lost)] {
            shown.inc_by(now - shown.get());
        }
        self.pending.set(i64::try_from(recorded.saturating_sub(flushed + lost)).unwrap_or(i64::MAX));
    }
}

/// Registration that can't fail: names are constants of this file, and a test renders them all.
struct Register(Registry);

impl Register {
    fn register<C: Collector + Clone + 'static>(&self, collector: prometheus::Result<C>) -> C {
        let collector = collector.expect("names and labels are well-formed constants");
        self.0.register(Box::new(collector.clone())).expect("names are distinct constants");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn seconds(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help))
    }

    fn build_info(&self) {
        let about =
            Opts::new("merlink_build_info", "1, labelled with the version, and the commit that it was built of.")
                .const_label("version", env!("CARGO_PKG_VERSION"))
                .const_label("commit", env!("BUILD_COMMIT"));
        self.register(IntGauge::with_opts(about)).set(1);
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.counter_vec(name, help, &[label])
    }

    fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    /// CPU, memory, file descriptors and start time of this process; on systems without /proc, nothing.
    fn process(&self) {
        #[cfg(target_os = "linux")]
        {
            let collector = prometheus::process_collector::ProcessCollector::for_self();
            self.0.register(Box::new(collector)).expect("its names are its own");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_counts_for_itself() {
        let metrics = Metrics::new();
        for outcome in Outcome::ALL {
            metrics.redirect(outcome, Duration::from_micros(30));
        }
        metrics.redirect(Outcome::Gone, Duration::from_micros(30));
        for operation in Operation::ALL {
            metrics.redis_command(operation, Duration::from_millis(1));
        }
        metrics.cache_lookup(CacheResult::Negative);
        metrics.link_created(Source::Import);
        metrics.auth_failure(AuthFailure::MissingScope);
        let text = String::from_utf8(metrics.render()).expect("UTF-8");
        for line in [
            "merlink_redirects_total{outcome=\"gone\"} 2",
            "merlink_redirects_total{outcome=\"limited\"} 1",
            "merlink_redirect_duration_seconds_count{outcome=\"transition\"} 1",
            "merlink_link_cache_lookups_total{result=\"negative\"} 1",
            "merlink_redis_command_duration_seconds_count{operation=\"ping\"} 1",
            "merlink_links_created_total{source=\"import\"} 1",
            "merlink_auth_failures_total{kind=\"missing_scope\"} 1",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
