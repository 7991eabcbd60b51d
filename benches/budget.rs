//! What a redirect costs in instructions, counted where noise can't reach: the public port's whole service, HTTP parser and all, driven in this
//! process over a connection in memory. Run it under callgrind, which counts what happens within [`counted`]; `scripts/budget.sh` does, and
//! compares with the budget that is committed.
//!
//! `budget SUBJECT VISITS`, where the subject is `merlink` or `bare`.

#[path = "support/app.rs"]
mod app;
#[path = "redirects/bare.rs"]
mod bare;

use std::{
    fmt::Debug,
    io::{self, Write as _},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use actix_http::{HttpService, Request, body::BoxBody, error::DispatchError};
use actix_rt::net::{ActixStream, Ready};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, map_config};
use actix_web::{
    App as WebApp, Error,
    dev::{AppConfig, Response},
};
use merlink::public;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Each is met again and again, as a redirect's usual case is a link that is in memory.
const LINKS: usize = 1_000;

/// What a browser sends that has been here before.
const HEADERS: &str = "Host: go.gov.sg\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-SG,en;q=0.9,zh;q=0.8\r\n\
    Cookie: seen=1\r\n\r\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [subject, visits] = arguments.as_slice() else { panic!("usage: budget merlink|bare VISITS") };
    let visits: usize = visits.parse().expect("a number of visits");
    actix_web::rt::System::new().block_on(async {
        match subject.as_str() {
            "merlink" => {
                let folder = tempfile::tempdir().expect("a folder");
                drive(public::service(&app::app(folder.path(), LINKS)), visits).await;
            }
            "bare" => drive(WebApp::new().configure(bare::routes), visits).await,
            other => panic!("there is no subject {other}"),
        }
    });
}

async fn drive<S, I, R>(service: I, visits: usize)
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = R, Error = Error> + 'static,
    S::InitError: Debug,
    S::Service: 'static,
    S::Future: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    R: Into<Response<BoxBody>> + 'static,
{
    let service = HttpService::build().h1(map_config(service, |()| AppConfig::default()));
    let service = service.new_service(()).await.expect("a service");
    // Once round all links first, so that memos, pools and buffers are as they are in a service that runs.
    to_the_end(pin!(service.call((Visitor::of(LINKS), None))));
    counted(pin!(service.call((Visitor::of(visits), None))));
}

/// What callgrind counts.
#[inline(never)]
fn counted(connection: Pin<&mut dyn Future<Output = Result<(), DispatchError>>>) {
    to_the_end(connection);
}

/// Polls again and again: the visitor has always something to send, so nothing is ever waited for.
fn to_the_end(mut connection: Pin<&mut dyn Future<Output = Result<(), DispatchError>>>) {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(ended) = connection.as_mut().poll(&mut context) {
            return ended.expect("a connection that ends well");
        }
    }
}

/// A browser at the other end of a connection in memory: sends its next request when the last was answered, and hangs up at the end.
struct Visitor {
    visits: usize,
    sent: usize,
    answered: usize,
    request: Vec<u8>,
}

impl Visitor {
    fn of(visits: usize) -> Self {
        Self { visits, sent: 0, answered: 0, request: Vec::with_capacity(1024) }
    }
}

impl AsyncRead for Visitor {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.sent > self.answered {
            return Poll::Pending;
        }
        if self.sent < self.visits {
            let number = self.sent % LINKS;
            self.request.clear();
            write!(self.request, "GET /{} HTTP/1.1\r\n{HEADERS}", app::code(number))?;
            buffer.put_slice(&self.request);
            self.sent += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, answer: &[u8]) -> Poll<io::Result<usize>> {
        assert!(answer.starts_with(b"HTTP/1.1 302 Found\r\n"), "{}", String::from_utf8_lossy(answer));
        self.answered += 1;
        Poll::Ready(Ok(answer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ActixStream for Visitor {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::READABLE))
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::WRITABLE))
    }
}
