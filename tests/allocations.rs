//! What a redirect allocates. A test program of its own, since the allocator that counts is for a whole program.

#[path = "../benches/support/app.rs"]
mod app;

use actix_web::{
    HttpResponse,
    body::BoxBody,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    rt::System,
    test::TestRequest,
};
use allocation_counter::{AllocationInfo, measure};
use merlink::redirect::follow;

const LINKS: usize = 10;

/// The same response, made by hand.
fn response() -> HttpResponse {
    let mut response = HttpResponse::with_body(StatusCode::FOUND, BoxBody::new(()));
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_bytes(app::TARGET.as_bytes()).expect("a header"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[test]
fn a_redirect_allocates_what_its_response_is_made_of_and_nothing_else() {
    System::new().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let app = app::app(folder.path(), LINKS);
        for agent in [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "curl/8.5.0",
        ] {
            let request = TestRequest::get().uri(&format!("/{}", app::code(3)));
            let request = request.insert_header((header::USER_AGENT, agent)).insert_header((header::COOKIE, "seen=1"));
            let request = request.to_request();
            let redirect = || {
                let response = follow::at_once(request.head(), &app).expect("the link is in memory");
                assert_eq!(response.status(), StatusCode::FOUND, "{agent}");
                assert_eq!(response.headers().get(header::LOCATION).expect("a target"), app::TARGET);
            };
            // Once before, as in a service that runs: pools and memos are filled.
            redirect();
            drop(response());
            let by_hand = allocated(&measure(|| drop(response())));
            assert_eq!(allocated(&measure(redirect)), by_hand, "{agent}");
            assert_ne!(by_hand, (0, 0), "the counter counts");
        }
    });
}

fn allocated(info: &AllocationInfo) -> (u64, u64) {
    (info.count_total, info.bytes_total)
}
