//! The byte stream under actix's HTTP/1.1 dispatcher. It bounds what the dispatcher may hold in memory, which bounds only what it reads.
//!
//! The dispatcher parses everything it can read into requests of 7 kB each, whatever waits to be written. So it is given one request at a time:
//! - A *turn* is one poll of the dispatcher, from reading to flushing. In a turn it gets bytes up to the end of one head, or 16 kB. Bytes that
//!   came after that head wait here, up to a buffer of the dispatcher's, 8 kB.
//! - While bytes wait to be written, it gets nothing.
//! - While a handler is at work, it gets nothing but what the handler reads of the body ([`super::Serving`]).
//!
//! A request that is answered at once, as a redirect from memory, goes through in one turn without a timer or an allocation; its cost is
//! the search for the head's end.
//!
//! Two deadlines close a connection. Half a head, also of a second request: 5 s from its first byte, then 408. A peer that doesn't read: 15 s
//! in which the kernel took no more bytes. The kernel asks for more once half of [`UNSENT_BYTES_MAX`] is sent, so this is a minimum rate of
//! 2.1 kB/s, not a byte every 15 s. When the kernel has taken the whole answer, its own time-out covers the rest.
//!
//! Memory of a connection, at worst: 8 kB waiting here, 7 kB and its head for the request, 48 kB of its answer, and the rest of that answer's body
//! if it isn't a file or page that is in memory anyway. The dispatcher takes heads of up to 128 kB and keeps the buffer, so a connection with a
//! head of more than 16 kB is closed after the answer. A long body doesn't stay in that buffer.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use memchr::memchr_iter;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::{Connection, Work, refusal};
use crate::metrics::ClosedConnection;

/// Connections that the kernel queues while workers are busy, or while a restart has none: four
/// seconds of 1,000 new connections a second. Linux allows no more unless `net.core.somaxconn` is
/// raised.
const LISTENER_BACKLOG: i32 = 4096;
/// Most that the dispatcher is given in one turn, when no head ends in it.
const TURN_BYTES_MAX: usize = 16 * 1024;
/// Longest head whose buffer in the dispatcher is worth keeping for the connection's next request.
const HEAD_BYTES_KEPT: usize = 16 * 1024;
/// For a request's head.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Without a byte taken by the kernel.
const WRITE_TIME_MAX: Duration = Duration::from_secs(15);
/// For bytes that the kernel took and the peer doesn't acknowledge, or has no room for (`TCP_USER_TIMEOUT`).
const ACKNOWLEDGE_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes that the kernel takes before it sends them (`TCP_NOTSENT_LOWAT`). Without it, the kernel buffers up to 4 MB for each peer that doesn't read.
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Listens for connections. Each inherits the listener's options.
///
/// # Errors
///
/// When the address is taken or isn't ours.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    let socket = socket.into();
    prepare(&socket)?;
    Ok(socket)
}

/// Gives a bound socket the port's options and its queue. It may listen already.
///
/// # Errors
///
/// When the kernel refuses an option, as for a socket that isn't TCP's.
pub fn prepare(socket: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(socket);
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(ACKNOWLEDGE_TIME_MAX))?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    }
    socket.listen(LISTENER_BACKLOG)
}

pub struct Stream {
    io: TcpStream,
    connection: Rc<Connection>,
    /// Bytes that were read beyond the end of a head.
    rest: Bytes,
    head: HeadEnd,
    turn: Turn,
    /// Bytes were given to the dispatcher since it last wrote: a head that isn't complete, unless a handler is at work.
    is_unanswered: bool,
    /// Bytes were written, and the connection wasn't idle since.
    was_answered: bool,
    /// Bytes of the current request's head that were given to the dispatcher. `None` once the head is complete: more bytes are of the body.
    head_bytes: Option<usize>,
    /// The dispatcher wanted to read while it might not.
    is_held: bool,
    /// For the rest of a head; while blocked, for the peer to read.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Written in place of the dispatcher's own answer.
    refusal: Option<Bytes>,
}

#[derive(Default)]
struct Turn {
    bytes: usize,
    had_head: bool,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.had_head || self.bytes >= TURN_BYTES_MAX
    }
}

impl Stream {
    pub(super) fn new(io: TcpStream, connection: Rc<Connection>) -> Self {
        Self {
            io,
            connection,
            rest: Bytes::new(),
            head: HeadEnd::default(),
            turn: Turn::default(),
            is_unanswered: false,
            was_answered: false,
            head_bytes: Some(0),
            is_held: false,
            deadline: None,
            refusal: None,
        }
    }

    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.io.peer_addr().ok()
    }

    /// The error that closes the connection, when a deadline has passed.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Option<io::Error> {
        if self.deadline.as_mut()?.as_mut().poll(context).is_pending() {
            return None;
        }
        self.deadline = None;
        if self.connection.is_blocked.get() {
            self.connection.count(ClosedConnection::SlowReader);
        } else {
            self.connection.count(ClosedConnection::SlowHead);
            // A few bytes fit in the kernel's buffer, for nothing waits to be written.
            let _ = self.io.try_write(REQUEST_TIMEOUT);
        }
        Some(io::ErrorKind::TimedOut.into())
    }

    fn start_deadline(&mut self, context: &mut Context<'_>, time: Duration) {
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(time)));
        if deadline.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }

    fn poll_write_some(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        if written.is_pending() {
            self.connection.is_blocked.set(true);
            self.connection.remember(context.waker());
            self.start_deadline(context, WRITE_TIME_MAX);
        } else {
            self.connection.is_blocked.set(false);
            self.deadline = None;
        }
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(error) = this.poll_deadline(context) {
            return Poll::Ready(Err(error));
        }
        if this.connection.is_closing.get() {
            // An end of input has the dispatcher close in good order, once everything is written.
            let aborted = || Err(io::ErrorKind::ConnectionAborted.into());
            return Poll::Ready(if this.connection.is_blocked.get() { aborted() } else { Ok(()) });
        }
        this.connection.remember(context.waker());
        if this.connection.is_blocked.get() || this.connection.work.get() == Work::Answering {
            this.is_held = true;
            return Poll::Pending;
        }
        if this.turn.is_over() {
            // Asked again at once only if there is more: a peer that sends one request at a time costs one turn for each.
            if !this.rest.is_empty() || this.io.poll_read_ready(context).is_ready() {
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let (length, end) = if this.rest.is_empty() {
            let start = buffer.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
            let read = &buffer.filled()[start..];
            let (length, end) = (read.len(), this.head.find(read));
            if let Some(end) = end.filter(|&end| end < length) {
                this.rest = Bytes::copy_from_slice(&read[end..]);
                buffer.set_filled(start + end);
            }
            (length, end)
        } else {
            let length = this.rest.len().min(buffer.remaining());
            let end = this.head.find(&this.rest[..length]);
            buffer.put_slice(&this.rest.split_to(end.unwrap_or(length)));
            (length, end)
        };
        this.turn.had_head = end.is_some();
        let length = end.unwrap_or(length);
        this.turn.bytes += length;
        if let Some(before) = this.head_bytes {
            let head_bytes = before + length;
            this.head_bytes = (!this.turn.had_head).then_some(head_bytes);
            if head_bytes > HEAD_BYTES_KEPT {
                this.connection.had_long_head.set(true);
            }
        }
        this.is_unanswered |= length > 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.connection.is_blocked.get() {
            if let Some(error) = this.poll_deadline(context) {
                return Poll::Ready(Err(error));
            }
            if this.connection.is_closing.get() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        } else {
            this.deadline = None;
        }
        this.is_unanswered = false;
        this.was_answered = true;
        this.connection.was_used.set(true);
        if this.refusal.is_none() {
            match refusal::page_instead_of(bytes, &this.connection.worker.all.page) {
                Some(page) => this.refusal = Some(page),
                None => return this.poll_write_some(context, bytes),
            }
        }
        while let Some(mut page) = this.refusal.take_if(|page| !page.is_empty()) {
            let written = this.poll_write_some(context, &page);
            if let Poll::Ready(Ok(length)) = written {
                page.advance(length);
            }
            this.refusal = Some(page);
            ready!(written)?;
        }
        this.refusal = None;
        Poll::Ready(Ok(bytes.len()))
    }

    /// The end of a turn. The dispatcher comes here only once everything is written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.turn = Turn::default();
        let work = this.connection.work.get();
        if this.is_held && work != Work::Answering {
            this.is_held = false;
            context.waker().wake_by_ref();
        }
        if work != Work::None {
            this.is_unanswered = false;
            this.deadline = None;
        } else if this.is_unanswered {
            this.start_deadline(context, HEAD_TIME_MAX);
        } else if std::mem::take(&mut this.was_answered) {
            this.head_bytes = Some(0);
            if this.rest.is_empty() && this.connection.had_long_head.get() {
                this.connection.close(ClosedConnection::LongRequest);
            } else if this.rest.is_empty() && this.connection.is_crowded() {
                this.connection.close(ClosedConnection::AddressShare);
            }
        }
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

/// Finds the end of a head: the first empty line after one that isn't. Lines end as the parser has it, with or without a carriage return.
///
/// A body may have empty lines too. Then it is given to the dispatcher in more turns than it would take, and nothing else changes.
#[derive(Default)]
struct HeadEnd {
    line: Line,
    had_text: bool,
}

/// Content of the current line so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Empty,
    CarriageReturn,
    Text,
}

impl HeadEnd {
    /// The length up to the head's end and with it, if it ends in these bytes. The search starts anew behind an end.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut start = 0;
        for newline in memchr_iter(b'\n', bytes) {
            let is_empty = self.line_with(&bytes[start..newline]) != Line::Text;
            start = newline + 1;
            self.line = Line::Empty;
            if !is_empty {
                self.had_text = true;
            } else if self.had_text {
                self.had_text = false;
                return Some(start);
            }
        }
        self.line = self.line_with(&bytes[start..]);
        None
    }

    fn line_with(&self, more: &[u8]) -> Line {
        match (self.line, more) {
            (line, []) => line,
            (Line::Empty, b"\r") => Line::CarriageReturn,
            _ => Line::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(parts: &[&[u8]]) -> Vec<Option<usize>> {
        let mut head = HeadEnd::default();
        parts.iter().map(|part| head.find(part)).collect()
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        assert_eq!(ends(&[b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"]), [Some(27)]);
        assert_eq!(ends(&[b"GET / HTTP/1.1\nHost: x\n\nGET"]), [Some(24)]);
        assert_eq!(ends(&[b"GET / HTTP/1.1\r\nHost: x\n\r\n"]), [Some(26)]);
        assert_eq!(ends(&[b"\r\n\r\nGET / HTTP/1.1\r\n"]), [None]);
        assert_eq!(ends(&[b"GET / HTTP/1.1\r\nHost: x\r\n\r", b"\n", b"x"]), [None, Some(1), None]);
        assert_eq!(ends(&[b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r", b"\r\n\n"]), [None, None, Some(3)]);
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_doesnt_change_where_heads_end(bytes in "[ab\r\n]{0,40}", cuts in prop::collection::vec(1..5_usize, 0..40)) {
            let whole = all_ends(&[bytes.as_bytes()]);
            let (mut rest, mut parts) = (bytes.as_bytes(), Vec::new());
            for cut in cuts {
                let (part, behind) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = behind;
            }
            parts.push(rest);
            prop_assert_eq!(all_ends(&parts), whole);
        }
    }

    /// Where heads end, counted from the first byte.
    fn all_ends(parts: &[&[u8]]) -> Vec<usize> {
        let (mut head, mut passed, mut ends) = (HeadEnd::default(), 0, Vec::new());
        for mut part in parts.iter().copied() {
            while let Some(end) = head.find(part) {
                passed += end;
                ends.push(passed);
                part = &part[end..];
            }
            passed += part.len();
        }
        ends
    }
}
