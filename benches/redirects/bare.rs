//! The least that actix-web can do: the same 302 to everybody. What a redirect of Merlink's is measured against.

use actix_web::{HttpResponse, http::header, web::ServiceConfig};

/// 87 bytes.
pub const TARGET: &str = "https://www.example.gov.sg/services/a-page-of-usual-length?language=en&from=your-letter";

pub fn routes(config: &mut ServiceConfig) {
    config.default_service(actix_web::web::to(redirect));
}

async fn redirect() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, TARGET)).finish()
}
