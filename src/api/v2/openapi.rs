//! The `OpenAPI` document, made of the types and handlers of this API.

use std::sync::{LazyLock, OnceLock};

use actix_web::{HttpResponse, http::header::CONTENT_TYPE, web::Data};
use bytes::Bytes;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Header, HeaderBuilder, Ref, RefOr, ResponseBuilder, Schema, Server,
        path::{Operation, PathItem},
        schema::{AdditionalProperties, ObjectBuilder, SchemaType, Type},
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
    components(schemas(problem::ProblemBody, problem::Mistake, link::State, batch::RefusedBody)),
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
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                name(path, operation);
                leave_out_null(operation);
                add_refusals(path, operation);
                add_headers(operation);
            }
        }
        refuse_unknown_fields(document);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let methods = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete, &mut item.put];
    methods.into_iter().filter_map(Option::as_mut)
}

/// Handlers are named within their resource; operations, which become functions of generated clients, must differ in the whole document:
/// `create_link`, `list_links`, `read_link_clicks`. One that has a name of several words keeps it.
fn name(path: &str, operation: &mut Operation) {
    let Some(verb) = operation.operation_id.take_if(|name| !name.contains('_')) else { return };
    let mut words = path.split('/').filter(|word| !word.is_empty() && !word.starts_with('{'));
    let resource = words.next().unwrap_or_default();
    let one = resource.strip_suffix('s').unwrap_or(resource);
    let of = if verb == "list" { resource } else { one };
    operation.operation_id = Some(match words.next() {
        None => format!("{verb}_{of}"),
        Some(part) if part == verb => format!("{verb}_{one}"),
        Some(part) => format!("{verb}_{one}_{part}"),
    });
}

/// A parameter that needn't be there is left out: there is no `null` in a query or a header.
fn leave_out_null(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
            && let SchemaType::Array(types) = &mut schema.schema_type
        {
            types.retain(|one| *one != Type::Null);
            if let [only] = types.as_slice() {
                schema.schema_type = SchemaType::Type(only.clone());
            }
        }
    }
}

/// Every operation may be refused in these ways; those that name something, or take a body, in some more.
fn add_refusals(path: &str, operation: &mut Operation) {
    let mut kinds = vec![Kind::Unauthorized, Kind::Forbidden, Kind::RateLimited, Kind::Unavailable];
    if path.contains('{') {
        kinds.extend([Kind::NotFound, Kind::Damaged]);
    }
    if operation.request_body.is_some() || operation.parameters.is_some() {
        kinds.push(Kind::Validation);
    }
    if operation.request_body.is_some() {
        kinds.extend([Kind::Malformed, Kind::BodyTimeout, Kind::BodyTooLarge, Kind::UnsupportedMediaType]);
    }
    for kind in kinds {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let mut response =
            ResponseBuilder::new().description(kind.title()).content("application/problem+json", content);
        if matches!(kind, Kind::RateLimited | Kind::Unavailable) {
            response = response.header("Retry-After", number("Seconds until it is worth trying again"));
        }
        if kind == Kind::Unauthorized {
            response = response.header("WWW-Authenticate", words("Bearer"));
        }
        let status = kind.status().as_u16().to_string();
        operation.responses.responses.entry(status).or_insert_with(|| RefOr::T(response.build()));
    }
}

/// What every answer carries, and what those to a good key do.
fn add_headers(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        response.headers.insert("X-Request-Id".to_owned(), words("The request's id: the caller's own, or a new one"));
        if status != "401" {
            for (name, about) in [
                ("RateLimit-Limit", "Requests a minute with this key; not there when there is no limit"),
                ("RateLimit-Remaining", "How many are left"),
                ("RateLimit-Reset", "Seconds until all are back"),
            ] {
                response.headers.insert(name.to_owned(), number(about));
            }
        }
    }
}

fn words(about: &str) -> Header {
    HeaderBuilder::new().description(Some(about)).build()
}

fn number(about: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    HeaderBuilder::new().schema(schema).description(Some(about)).build()
}

fn refuse_unknown_fields(document: &mut utoipa::openapi::OpenApi) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    for name in ["NewLink", "LinkPatch", "Transfer", "NewKey"] {
        if let Some(RefOr::T(Schema::Object(object))) = schemas.get_mut(name) {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Document::openapi);

/// The document, for a service at this address.
pub fn document(base_url: &str) -> String {
    let mut document = DOCUMENT.clone();
    document.servers = Some(vec![Server::new(format!("{base_url}/api/v2"))]);
    document.to_pretty_json().expect("a document is made of text and numbers")
}

/// `GET /api/v2/openapi.json`: to whoever asks, since it holds no secret. Made once: 200 kB for every reader who is slow would be much.
pub async fn serve(app: Data<App>) -> HttpResponse {
    /// A process has one `public.base_url`.
    static SERVED: OnceLock<Bytes> = OnceLock::new();
    let document = SERVED.get_or_init(|| document(app.config.public.base_url.as_str()).into());
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(document.clone())
}
