//! The page for a request that can't be read.
//!
//! actix answers it itself, before any handler, and without a body. Such an answer is recognized by its head, and sent with our page as its body.

use actix_http::header::HeaderValue;
use bytes::Bytes;

/// The headers and body of a refusal.
pub struct Page(String);

impl Page {
    pub fn new(html: &str, policy: &HeaderValue) -> Self {
        let policy = policy.to_str().expect("our policy is ASCII");
        Self(format!(
            "content-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             content-security-policy: {policy}\r\nx-content-type-options: nosniff\r\nx-robots-tag: noindex\r\n\
             referrer-policy: no-referrer\r\n\r\n{html}",
            html.len()
        ))
    }
}

/// The page with the status, connection and date of an answer that is the dispatcher's own 400 or 431. `None` for any other answer.
pub fn page_instead_of(answer: &[u8], page: &Page) -> Option<Bytes> {
    // Nearly all answers end here: theirs aren't 4xx.
    if answer.get(9) != Some(&b'4') {
        return None;
    }
    let head = std::str::from_utf8(answer).ok()?.strip_suffix("\r\n\r\n")?;
    let (status_line, headers) = head.split_once("\r\n")?;
    let refuses = ["400 Bad Request", "431 Request Header Fields Too Large"];
    let is_refusal = status_line.get(9..).is_some_and(|status| refuses.contains(&status));
    // A handler's answer has other headers, too.
    let is_bare = headers
        .split("\r\n")
        .all(|header| header == "content-length: 0" || header == "connection: close" || header.starts_with("date: "));
    if !is_refusal || !is_bare {
        return None;
    }
    let kept = headers.split("\r\n").filter(|header| !header.starts_with("content-length"));
    let kept = kept.fold(String::new(), |kept, header| kept + header + "\r\n");
    Some(format!("{status_line}\r\n{kept}{}", page.0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page::new("<p>No</p>", &HeaderValue::from_static("default-src 'none'"))
    }

    #[test]
    fn the_dispatchers_own_refusal_gets_the_page() {
        let bare = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: today\r\n\r\n";
        let answer = page_instead_of(bare, &page()).expect("a refusal");
        let answer = std::str::from_utf8(&answer).expect("ASCII");
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ndate: today\r\ncontent-type"));
        assert!(answer.ends_with("\r\n\r\n<p>No</p>") && answer.contains("content-length: 9\r\n"), "{answer}");
    }

    #[test]
    fn a_handlers_answer_stays_as_it_is() {
        for answer in [
            &b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\ndate: today\r\n\r\n{}",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: 7\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 4",
        ] {
            assert!(page_instead_of(answer, &page()).is_none(), "{}", String::from_utf8_lossy(answer));
        }
    }
}
