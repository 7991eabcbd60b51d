//! A small HTTP/1.1 client on a plain socket, so that a test decides each byte it sends and sees each byte it gets.
//!
//! It deliberately follows no redirect, keeps no cookie, pools nothing and corrects nothing.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::harness::PATIENCE;

const LINE_END_BYTES: usize = "\r\n".len();

/// A request in the making. Only `Host` and, with a body, `Content-Length` are added to what the test says.
#[derive(Clone, Debug)]
pub struct Request {
    to: SocketAddr,
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(to: SocketAddr, method: &str, target: impl AsRef<[u8]>) -> Self {
        Self { to, method: method.into(), target: target.as_ref().to_vec(), headers: Vec::new(), body: None }
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    pub fn user_agent(self, agent: &str) -> Self {
        self.header("User-Agent", agent)
    }

    pub fn key(self, key: &str) -> Self {
        self.header("Authorization", format!("Bearer {key}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn body(self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.header("Content-Type", content_type).untyped_body(body)
    }

    pub fn untyped_body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Sends and waits for the whole answer. Fails the test when none comes.
    #[track_caller]
    pub fn send(self) -> Answer {
        let asked = format!("{} {}", self.method, shortened(&String::from_utf8_lossy(&self.target)));
        self.try_send().unwrap_or_else(|error| panic!("{asked}: no answer: {error}"))
    }

    pub fn try_send(self) -> io::Result<Answer> {
        let mut connection = Connection::open(self.to)?;
        // A server may answer, and close, before it has read all: then the answer counts, not the failed write.
        let written = connection.write(&self.bytes());
        match connection.read_answer(&self.method) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(written.err().unwrap_or(error)),
        }
    }

    /// The request as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.method.as_bytes());
        bytes.push(b' ');
        bytes.extend(&self.target);
        bytes.extend(format!(" HTTP/1.1\r\nHost: {}\r\n", self.to).as_bytes());
        for (name, value) in &self.headers {
            bytes.extend(name.as_bytes());
            bytes.extend(b": ");
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        if let Some(body) = &self.body {
            bytes.extend(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// One connection, kept open: for pipelining, half-sent requests and load.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(to: SocketAddr) -> io::Result<Self> {
        Self::open_for(to, PATIENCE)
    }

    /// Waits no longer than this for anything.
    pub fn open_for(to: SocketAddr, patience: Duration) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&to, patience)?, patience)
    }

    /// Opens a connection from another address of this machine, as one more visitor's: all of 127.0.0.0/8 are its own.
    pub fn open_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        Self::over(socket.into(), PATIENCE)
    }

    fn over(stream: TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn close_sending(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(std::net::Shutdown::Write)
    }

    /// Reads one line of a head, for interim answers such as `HTTP/1.1 100 Continue`.
    pub fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        let text: String = line.iter().map(|&byte| char::from(byte)).collect();
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Fails the test unless the server closes the connection without another byte.
    #[track_caller]
    pub fn assert_closed(&mut self, about: &str) {
        match self.read_line() {
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {}
            other => panic!("{about}: the connection stays open: {other:?}"),
        }
    }

    pub fn read_bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads the answer to a request of this method: an answer to HEAD has no body, whatever its head says.
    pub fn read_answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut answer = self.read_head()?;
        while (100..200).contains(&answer.status) {
            answer = self.read_head()?;
        }
        let bodiless = method == "HEAD" || answer.status == 204 || answer.status == 304;
        if !bodiless {
            answer.body = self.read_body(&answer)?;
        }
        Ok(answer)
    }

    /// The answer to a GET, if it begins within this time.
    pub fn read_within(&mut self, time: Duration) -> Option<io::Result<Answer>> {
        self.stream.get_ref().set_read_timeout(Some(time)).expect("a time above zero");
        let has_begun = self.stream.fill_buf().map(|_| ());
        self.stream.get_ref().set_read_timeout(Some(PATIENCE)).expect("a time above zero");
        match has_begun {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => None,
            _ => Some(self.read_answer("GET")),
        }
    }

    fn read_head(&mut self) -> io::Result<Answer> {
        let status_line = self.read_line()?;
        let mut head_bytes = status_line.len() + LINE_END_BYTES;
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| malformed(format!("not a status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            head_bytes += line.len() + LINE_END_BYTES;
            if line.is_empty() {
                return Ok(Answer { status, headers, head_bytes, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(format!("not a header: {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn read_body(&mut self, head: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.header("transfer-encoding") == Some("chunked") {
            loop {
                let size_line = self.read_line()?;
                let size = usize::from_str_radix(&size_line, 16)
                    .map_err(|_| malformed(format!("not a chunk size: {size_line:?}")))?;
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk)?;
                body.extend(chunk);
                self.read_line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        if let Some(length) = head.header("content-length") {
            body.resize(length.parse().map_err(|_| malformed(format!("not a length: {length:?}")))?, 0);
            self.stream.read_exact(&mut body)?;
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

fn malformed(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// What came back: header names in lower case, in the order they came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The status line, all headers and the empty line, as they came over the wire.
    pub head_bytes: usize,
    pub body: Vec<u8>,
}

impl Answer {
    /// The header's value; `None` when absent. A header that comes twice fails the test.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "{name} comes twice: {:?}", self.headers);
        first
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, shortened(&self.text())))
    }

    /// Asserts an answer of API v1: its status, its whole body, and the headers that all of its answers carry.
    #[track_caller]
    pub fn assert_v1(&self, about: &str, status: u16, body: &Value) {
        self.assert_v1_status(about, status);
        assert_eq!(&self.json(), body, "{about}: body");
    }

    #[track_caller]
    pub fn assert_v1_status(&self, about: &str, status: u16) {
        assert_eq!(self.status, status, "{about}: status; the body is {}", shortened(&self.text()));
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"), "{about}: Content-Type");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{about}: Cache-Control");
    }

    /// Asserts the 302 of a followed link, with the headers that the contract names and an empty body.
    #[track_caller]
    pub fn assert_redirects(&self, about: &str, target: &str) {
        assert_eq!(self.status, 302, "{about}: status; the body is {}", shortened(&self.text()));
        assert_eq!(self.header("location"), Some(target), "{about}: Location");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{about}: Cache-Control");
        assert_eq!(self.header("x-robots-tag"), Some("noindex"), "{about}: X-Robots-Tag");
        assert_eq!(self.header("referrer-policy"), Some("no-referrer"), "{about}: Referrer-Policy");
        assert_eq!(self.header("set-cookie"), None, "{about}: a redirect sets no cookie");
        assert_eq!(self.text(), "", "{about}: the body is empty");
    }

    /// Asserts one of our HTML pages: whole, readable on a phone, of modest size, loading nothing from elsewhere.
    #[track_caller]
    pub fn assert_page(&self, about: &str, status: u16) {
        assert_eq!(self.status, status, "{about}: status; the body is {}", shortened(&self.text()));
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"), "{about}: Content-Type");
        let html = self.text();
        assert!(html.to_ascii_lowercase().starts_with("<!doctype html>"), "{about}: begins with the doctype");
        assert!(html.contains("<html lang=\""), "{about}: says its language");
        assert!(html.contains("<title>"), "{about}: has a title");
        assert!(html.contains("name=\"viewport\""), "{about}: is readable on a phone");
        assert!(html.len() < 64 * 1024, "{about}: is small, not {} bytes", html.len());
        assert_loads_nothing_from_elsewhere(about, &html);
    }

    /// Asserts `Retry-After` in whole seconds, at least one and at most `seconds_max`.
    #[track_caller]
    pub fn assert_retry_after(&self, about: &str, seconds_max: u64) {
        let value = self.header("retry-after").unwrap_or_else(|| panic!("{about}: Retry-After is missing"));
        let seconds: u64 = value.parse().unwrap_or_else(|_| panic!("{about}: Retry-After in seconds, not {value:?}"));
        assert!((1..=seconds_max).contains(&seconds), "{about}: Retry-After: {seconds}");
    }
}

#[track_caller]
fn assert_loads_nothing_from_elsewhere(about: &str, html: &str) {
    for source in attributes(html, "src") {
        let own = source.starts_with("data:") || (source.starts_with('/') && !source.starts_with("//"));
        assert!(own, "{about}: loads {source}");
    }
    for link in html.split("<link").skip(1) {
        let tag = link.split('>').next().unwrap_or_default();
        for address in attributes(tag, "href") {
            let own = address.starts_with("data:") || (address.starts_with('/') && !address.starts_with("//"));
            assert!(own, "{about}: loads {address}");
        }
    }
    assert!(!html.contains("@import"), "{about}: imports a style sheet");
    assert!(!html.contains("url(http") && !html.contains("url('http") && !html.contains("url(\"http"), "{about}");
}

/// The values of every `name="…"` in a page, entities undone.
pub fn attributes(html: &str, name: &str) -> Vec<String> {
    html.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).map(unescaped).collect()
}

/// A page's text with the entities undone that HTML writers use for the five special characters.
pub fn unescaped(html: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#x22;", "\"")];
    let quotes = [("&#39;", "'"), ("&#x27;", "'"), ("&apos;", "'"), ("&#x2F;", "/"), ("&#38;", "&"), ("&amp;", "&")];
    named.iter().chain(&quotes).fold(html.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// `text` for use in a query or path: everything but letters and digits percent-encoded.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String can't fail");
        }
        encoded
    })
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 400 {
        return text.to_owned();
    }
    format!("{}… ({} bytes)", text.chars().take(400).collect::<String>(), text.len())
}
