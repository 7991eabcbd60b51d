//! A collector as far as an exporter needs one: OTLP over HTTP, read with the protocol's own messages, over TLS when a test wants it.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{self as otlp, span::SpanKind, status::StatusCode},
};
use prost::Message as _;

use crate::harness::eventually;

pub struct Collector {
    pub address: SocketAddr,
    world: Arc<World>,
}

/// What its connections share.
#[derive(Default)]
struct World {
    exports: Mutex<Vec<Export>>,
    answers: Mutex<VecDeque<Vec<u8>>>,
}

/// A request that it got.
#[derive(Clone, Debug)]
pub struct Export {
    pub request_line: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    message: ExportTraceServiceRequest,
}

/// A span as a person reads it.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub is_server: bool,
    pub trace: String,
    pub id: String,
    /// Empty: none.
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
    pub started: u64,
    pub ended: u64,
    /// All that the wire has of it, for what must be nowhere.
    pub whole: otlp::Span,
}

impl Collector {
    pub fn start() -> Self {
        Self::answering(&[], None)
    }

    /// One that gives these answers first, and then takes everything. It listens until the test ends.
    pub fn answering(answers: &[Vec<u8>], tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let world = Arc::new(World { answers: Mutex::new(answers.iter().cloned().collect()), ..World::default() });
        let shared = Arc::clone(&world);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), world, tls) = (stream, Arc::clone(&shared), tls.clone()) else { return };
                thread::spawn(move || {
                    // A client that leaves, or doesn't trust the certificate, has had its answer.
                    let _ = match tls {
                        None => converse(stream, &world),
                        Some(tls) => {
                            let session = rustls::ServerConnection::new(tls).expect("well-formed settings");
                            converse(rustls::StreamOwned::<_, TcpStream>::new(session, stream), &world)
                        }
                    };
                });
            }
        });
        Self { address, world }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    pub fn exports(&self) -> Vec<Export> {
        self.world.exports.lock().expect("no panic").clone()
    }

    /// All that it took.
    pub fn spans(&self) -> Vec<Span> {
        self.exports().iter().flat_map(Export::spans).collect()
    }

    /// Waits for the span of a request of this name. Those of its exchanges ended before it, so they are there too.
    #[track_caller]
    pub fn awaits(&self, name: &str) -> Span {
        eventually(name, || self.spans().into_iter().find(|span| span.is_server && span.name == name))
    }

    pub fn children(&self, parent: &Span) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.parent == parent.id).collect()
    }
}

impl Export {
    pub fn spans(&self) -> Vec<Span> {
        let scopes = self.message.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(Span::read).collect()
    }

    pub fn resource(&self) -> BTreeMap<String, String> {
        let resource = self.message.resource_spans.first().and_then(|spans| spans.resource.as_ref());
        read_attributes(&resource.expect("a resource").attributes)
    }
}

impl Span {
    fn read(span: &otlp::Span) -> Self {
        let kind = span.kind();
        assert!(matches!(kind, SpanKind::Server | SpanKind::Client), "{span:?}");
        Self {
            name: span.name.clone(),
            is_server: kind == SpanKind::Server,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: read_attributes(&span.attributes),
            failed: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
            started: span.start_time_unix_nano,
            ended: span.end_time_unix_nano,
            whole: span.clone(),
        }
    }
}

fn read_attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let read = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref()).expect("a value");
        let text = match value {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            other => panic!("{}: {other:?}", attribute.key),
        };
        (attribute.key.clone(), text)
    };
    attributes.iter().map(read).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// An answer without a body, with these headers, each with its end of line.
pub fn answer(status: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes()
}

/// An answer that says that so many spans weren't taken.
pub fn refusal(rejected_spans: i64) -> Vec<u8> {
    let error_message = "they are too many".to_owned();
    let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
    let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

fn converse(stream: impl Read + Write, world: &World) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request_line = read_line(&mut stream)?;
        if request_line.is_empty() {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let line = read_line(&mut stream)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).expect("a length");
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let message = ExportTraceServiceRequest::decode(body.as_slice()).expect("the protocol's message");
        let next = world.answers.lock().expect("no panic").pop_front();
        let answer = next.unwrap_or_else(|| refusal(0));
        // First, so that who waits for the export finds it when the exporter goes on.
        world.exports.lock().expect("no panic").push(Export { request_line, headers, body, message });
        stream.get_mut().write_all(&answer)?;
        stream.get_mut().flush()?;
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
