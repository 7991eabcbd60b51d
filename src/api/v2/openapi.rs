//! The `OpenAPI` document, made of the types and handlers of this API.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header::CONTENT_TYPE, web::Data};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, HeaderBuilder, Ref, RefOr, ResponseBuilder, Server,
        path::{Operation, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{batch, clicks, export, keys, link, links, me, problem, qr};
use crate::{api::v2::kind::Kind, state::App};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Merlink API v2",
        description = "Create and look after short links. Requests carry `Authorization: Bearer <key>`; every answer carries `X-Request-Id`, \
                       and those to a valid key `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`. Refusals are problem documents \
                       (RFC 9457). Times are RFC 3339 in UTC.",
        license(name = "MIT", identifier = "MIT"),
    ),
    paths(
        links::create, links::list, links::read, links::change, links::transfer, links::history, qr::read,
        clicks::read, clicks::tags, batch::create, export::export,
        keys::list, keys::create, keys::revoke, me::read,
    ),
    components(schemas(problem::ProblemBody, problem::Mistake, link::State)),
    tags(
        (name = "links", description = "Short links"),
        (name = "bulk", description = "Many links at once"),
        (name = "statistics", description = "Clicks"),
        (name = "keys", description = "API keys, and whose they are"),
    ),
    security(("key" = [])),
    modifiers(&Common),
)]
struct Document;

/// What all operations have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("mlk_<id>_<secret>")
            .description(Some("An API key. Its scopes say what it may do."))
            .build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(bearer));
        for item in document.paths.paths.values_mut() {
            for operation in operations(item) {
                add_refusals(operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let methods = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete, &mut item.put];
    methods.into_iter().filter_map(Option::as_mut)
}

/// Every operation may be refused in these ways; those with a body in some more.
fn add_refusals(operation: &mut Operation) {
    let mut kinds = vec![
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Validation,
        Kind::RateLimited,
        Kind::Unavailable,
    ];
    if operation.request_body.is_some() {
        kinds.extend([Kind::Malformed, Kind::BodyTimeout, Kind::BodyTooLarge, Kind::UnsupportedMediaType]);
    }
    for kind in kinds {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let mut response =
            ResponseBuilder::new().description(kind.title()).content("application/problem+json", content);
        if matches!(kind, Kind::RateLimited | Kind::Unavailable) {
            response = response.header("Retry-After", HeaderBuilder::new().description(Some("Seconds")).build());
        }
        let status = kind.status().as_u16().to_string();
        operation.responses.responses.entry(status).or_insert_with(|| RefOr::T(response.build()));
    }
}

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Document::openapi);

/// The document, for a service at this address.
pub fn document(base_url: &str) -> String {
    let mut document = DOCUMENT.clone();
    document.servers = Some(vec![Server::new(format!("{base_url}/api/v2"))]);
    document.to_pretty_json().expect("a document is made of text and numbers")
}

/// `GET /api/v2/openapi.json`: to whoever asks, since it holds no secret.
pub async fn serve(app: Data<App>) -> HttpResponse {
    let document = document(app.config.public.base_url.as_str());
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(document)
}
