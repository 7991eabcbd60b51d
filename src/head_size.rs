//! The bound on the head of every answer.
//!
//! A reverse proxy keeps an answer's head in one buffer, 4 kB in nginx by default. It rejects a longer head and counts the node as failed, so two
//! requests for one can take both nodes from everybody.
//!
//! Each place that copies a visitor's input into a head bounds it, and counts what it leaves out: the forwarded query (`redirect/query.rs`), the cookie
//! for the path as written (`redirect/transition.rs`) and the page to return to after login (`console/page.rs`). Behind them, `public.rs`
//! shortens or replaces any answer that is still too long. Redirects from memory skip that check: targets are bounded when they enter the cache.

use actix_web::dev::ResponseHead;

/// 3,500 bytes for the status line, all headers and the empty line: within 4 kB, with room for what a proxy in between adds.
pub const HEAD_BYTES_MAX: usize = 3_500;

/// `Location` of a redirect. Its other headers take 200 bytes.
pub const LOCATION_BYTES_MAX: usize = 3_000;

/// Bytes of what the server adds later: `date`, `content-length` or `transfer-encoding`, and `connection`.
const ADDED_BYTES: usize = 37 + 40 + 24;

/// True if an answer's head is within [`HEAD_BYTES_MAX`].
pub fn fits(head: &ResponseHead) -> bool {
    bytes(head) <= HEAD_BYTES_MAX
}

fn bytes(head: &ResponseHead) -> usize {
    let status_line = "HTTP/1.1 200 \r\n".len() + head.reason().len();
    let headers: usize =
        head.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    status_line + headers + ADDED_BYTES + "\r\n".len()
}

#[cfg(test)]
mod tests {
    use actix_web::{HttpResponse, http::header::LINK};

    use super::*;

    fn with_a_link_of(length: usize) -> HttpResponse {
        HttpResponse::Ok().insert_header((LINK, "l".repeat(length))).finish()
    }

    #[test]
    fn a_head_may_take_3500_bytes_with_what_the_server_adds() {
        let room = HEAD_BYTES_MAX - bytes(with_a_link_of(0).head());
        for (length, expected) in [(0, true), (room, true), (room + 1, false), (100_000, false)] {
            assert_eq!(fits(with_a_link_of(length).head()), expected, "{length}");
        }
    }
}
