//! Answers to HEAD: those to GET, without the body.
//!
//! The framework drops a body itself, but by a flag that the next pipelined request resets while the first is still being answered: then
//! the body goes out, and the client takes it for the next answer. So the body is dropped here. Its length isn't told, which the framework
//! leaves out for an answer without a body and RFC 9110 §9.3.2 leaves open.

use actix_web::{
    Error, HttpResponse,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
    middleware::Next,
};

/// Takes the body off an answer to HEAD; leaves every other answer as it is.
pub fn strip(method: &Method, response: HttpResponse) -> HttpResponse {
    if *method != Method::HEAD {
        return response;
    }
    response.set_body(BoxBody::new(actix_web::body::None::new()))
}

/// Wraps routes that have no place of their own to call [`strip`].
pub async fn without_body(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let method = request.method().clone();
    let (request, response) = next.call(request).await?.into_parts();
    Ok(ServiceResponse::new(request, strip(&method, response)))
}
